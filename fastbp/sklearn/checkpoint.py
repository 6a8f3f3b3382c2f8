"""The checkpoint of a fit: the file of its trainer, with the rest of the state in its notes."""

import time

import numpy as np

from ..engine import checks, own
from ..files import atomic, container, values
from ..files.container import FormatError
from ..training import states, trainer_file
from ..training.checkpoint import checked_every, would_be_lost

UNITS = ("epochs", "seconds")
NUMBERS = ("n_iter_", "t_", "loss_", "best_loss_", "best_validation_score_", "_no_improvement_count")
COUNTS = ("n_iter_", "t_", "_no_improvement_count")
LOSSES = ("loss_", "best_loss_", "loss_curve_")     # np.float64, as in scikit-learn
CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
FIELDS = ("estimator", "parameters", "data", "numbers", "curves", "best_theta", "draws", "order", "held", "stopped")
# parameters that may differ in a resumed fit
FREE = ("max_iter", "verbose", "n_threads", "callbacks", "curve_length")


class Checkpoint:
    """The file of a fit, written at intervals of epochs or seconds.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    every : int or (number, "epochs" or "seconds")
    resume : bool or None
        True resumes from the file if it exists; None refuses to overwrite finished epochs.
    """

    def __init__(self, path, every, resume):
        self.path, self.resume = atomic.absolute(path), None if resume is None else checks.flag(resume, "resume")
        self.every, self.unit = checked_every(every, UNITS)

    def begin(self, estimator, data, order, held, kept):
        """Write the start of a new fit, so that errors of saving come before the first step.

        data: the result of `describe`; held: indices of the held-out examples, or None.
        """
        self._data, self._held, self._written = data, held, (estimator.n_iter_, time.monotonic())
        if kept is None:
            self._write(estimator, order, False)

    def after_epoch(self, estimator, order, stopped, last):
        """Write the file if it is due.

        order: the examples in this epoch, from which the next order is drawn. stopped: is there a reason to stop?
        last: is this the last epoch?
        """
        now = estimator.n_iter_, time.monotonic()
        if last or now[self.unit == "seconds"] - self._written[self.unit == "seconds"] >= self.every:
            self._write(estimator, order, stopped)

    def _write(self, estimator, order, stopped):
        e = estimator
        e._optimizer.trainer.save(self.path, {
            "estimator": type(e).__name__, "parameters": _parameters(e), "data": self._data,
            "stopped": bool(stopped),
            "numbers": {name: _number(getattr(e, name, None)) for name in NUMBERS},
            "curves": {name: _array(getattr(e, name)) for name in CURVES},
            "best_theta": e._best_theta if e.early_stopping else None, "draws": _draws(e._random_state),
            "order": order, "held": self._held,
        })
        self._written = e.n_iter_, time.monotonic()

    def read(self, estimator, data):
        """The fit in the file, or None without a file; raises ValueError if it is not this fit on `data`."""
        if self.resume is None:
            self._refuse_to_lose()
        if not self.resume:
            return None
        try:
            kept = trainer_file.read(self.path, estimator._optimizer.trainer.steps)
        except FileNotFoundError:
            return None
        return Kept(self.path, kept, estimator, data)

    def _refuse_to_lose(self):
        """Raise ValueError if the file holds a finished epoch or no fit, since `resume` was not given."""
        try:
            arrays, meta = container.read(self.path)
            epochs = values.decode(meta["notes"], arrays)["numbers"]["n_iter_"]
        except FileNotFoundError:
            return
        except (FormatError, LookupError, TypeError) as error:
            raise ValueError(f"checkpoint: {container.shown(self.path)} exists and holds no fit ({error}); "
                             "resume=False overwrites it") from None
        if epochs != 0:
            raise would_be_lost(self.path, "fit", epochs)


class Nothing:
    """No checkpoint: nothing is read or written."""

    read = begin = after_epoch = lambda self, *_: None


NOTHING = Nothing()


class Kept:
    """A fit read from a file.

    Attributes
    ----------
    order, held : ndarray or None
    stopped : bool
    """

    def __init__(self, path, trainer, estimator, data):
        notes = trainer.notes
        with container.located(path):
            values.fields(notes, FIELDS, "notes")
            if not isinstance(notes["parameters"], dict):
                raise FormatError("parameters must be a dict")
        now = {**_parameters(estimator), "data": data, "estimator": type(estimator).__name__}
        then = {**notes["parameters"], "data": notes["data"], "estimator": notes["estimator"]}
        with states.of_another(path, "fit"):
            for name in sorted(now.keys() | then.keys()):
                states.same(name, now.get(name), then.get(name))
        with container.located(path):
            self._check(notes, estimator, data)
        self.trainer, self.notes = trainer, notes
        self.order, self.held, self.stopped = notes["order"], notes["held"], notes["stopped"]

    def _check(self, notes, estimator, data):
        e, numbers, curves = estimator, notes["numbers"], notes["curves"]
        values.fields(numbers, NUMBERS, "numbers")
        values.fields(curves, CURVES, "curves")
        kinds = {name: (int,) if name in COUNTS else (float, type(None)) for name in NUMBERS}
        if not all(type(numbers[name]) in kinds[name] for name in NUMBERS) or not all(
            0 <= numbers[name] <= checks.MOST_STEPS for name in COUNTS
        ):
            raise FormatError("numbers: counts must be whole and less than 2^62, the others floating-point")
        if not all(a is None or _is_vector(a, np.float64) for a in curves.values()) or curves["loss_curve_"] is None:
            raise FormatError("curves must be lists of numbers")
        if type(notes["stopped"]) is not bool:
            raise FormatError("stopped must be true or false")
        self._check_order(notes["order"], notes["held"], data["examples"], e.shuffle, e.early_stopping
                          and data["validation"] is None)
        best, theta = notes["best_theta"], e._optimizer.trainer.net.theta
        if not (_is_vector(best, theta.dtype) and len(best) == len(theta) if e.early_stopping else best is None):
            raise FormatError("best_theta does not fit the network")
        self._generator = values.to_generator(notes["draws"])
        if notes["draws"]["bit_generator"] != e._random_state.get_state(legacy=False)["bit_generator"]:
            raise FormatError("draws are of another generator than random_state")
        if numbers["n_iter_"] > e.max_iter:
            raise ValueError(f"the checkpoint has reached epoch {numbers['n_iter_']}; max_iter is {e.max_iter}")

    def _check_order(self, order, held, m, shuffles, holds_out):
        """Check that the arrays this fit needs are there and hold each example once."""
        parts = [order] * (shuffles or holds_out) + [held] * holds_out
        if (order is None) != (not (shuffles or holds_out)) or (held is None) == holds_out or not (
            all(_is_vector(a, np.int64) for a in parts)
            and (not parts or np.array_equal(np.sort(np.concatenate(parts)), np.arange(m)))
        ):
            raise FormatError("order and held must hold each example once")

    def into(self, estimator):
        """Give this estimator the state in the file."""
        e, notes = estimator, self.notes
        e._optimizer.trainer.steps.become(self.trainer)
        for name, value in notes["numbers"].items():
            setattr(e, name, np.float64(value) if name in LOSSES and value is not None else value)
        for name, a in notes["curves"].items():
            setattr(e, name, None if a is None else list(a) if name in LOSSES else a.tolist())
        if notes["best_theta"] is not None:
            e._best_theta = notes["best_theta"]
        e._random_state.set_state({**e._random_state.get_state(legacy=False), **self._generator.bit_generator.state})


def describe(X, y, w, validation):
    """The description of the data; a resumed fit must have the same."""
    return {"examples": X.shape[0], "features": X.shape[1], "targets": list(y.shape[1:]), "weights": w is not None,
            "validation": None if validation is None else validation[0].shape[0]}


def _parameters(estimator):
    """The parameters that affect the bits, as JSON: numbers as they are, others by their repr."""
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name not in FREE}
    own_loss = own.of(parameters["loss"])
    if own_loss is not None:
        parameters["loss"] = f"{own_loss.kept} {own_loss.parameters}" if own_loss.parameters else own_loss.kept
    return states.of_optimizer(type(estimator)(**parameters))["settings"]


def _draws(random_state):
    """The state of the bit generator of a RandomState."""
    state = random_state.get_state(legacy=False)
    return {"bit_generator": state["bit_generator"], "state": state["state"]}


def _number(value):
    """A float of NumPy as Python's, for JSON."""
    return float(value) if isinstance(value, np.floating) else value


def _array(curve):
    return None if curve is None else np.array(curve, np.float64)


def _is_vector(a, dtype):
    return isinstance(a, np.ndarray) and a.dtype == dtype and a.ndim == 1
