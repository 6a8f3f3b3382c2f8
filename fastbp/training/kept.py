"""A training run in a checkpoint, and how training resumes from it."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Path
from ..callbacks import Callback
from ..engine import frozen
from ..files import container, values
from ..files import network as files
from ..files.container import FormatError
from ..history import History
from . import states
from .loop import Position, Training


class Kept:
    """A training run read from a file, checked as far as possible without the one that will resume it.

    Attributes
    ----------
    generator : dict
        State of the generator at the start of training.
    free : (n_parameters,) bool or None
        The parameters that are trained; None: all.
    mean_weight : float or None
        None: each batch divides by its own weights, as in every file of version 1.
    """

    def __init__(self, path: Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        self.path = path
        with container.located(path):
            self.net = files.of_kind(arrays, meta, "training")
            self.conditions, self.mean_weight = meta["conditions"], states.checked_mean_weight(meta["mean_weight"])
            if not isinstance(self.conditions, dict) or not isinstance(meta["callbacks"], list):
                raise FormatError("conditions must be a dict, callbacks a list")
            if self.conditions.get("mean_weight") != self.mean_weight:
                raise FormatError("mean_weight must be that of the conditions")
            self.free = meta["added"]["free"]
            if self.conditions.get("free") != frozen.told(self.free, self.net.plan):
                raise FormatError("free must be that of the conditions")
            self.begun = states.checked_optimizer(self.conditions.get("optimizer"), "conditions, optimizer")
            self.last = states.checked_optimizer(meta["optimizer"], "optimizer")
            self.state, self.settings = (values.decode(meta[name], arrays) for name in ("state", "settings"))
            self.history = _history(values.decode(meta["history"], arrays))
            generators = values.decode(meta["generator"], arrays)
            if not isinstance(generators, list) or len(generators) != 2:
                raise FormatError("generator must hold two states")
            self.generator, self.epoch_generator = generators
            if len({type(values.to_generator(state).bit_generator) for state in generators}) != 1:
                raise FormatError("generator must hold two states of one kind")
            self.position = _position(values.decode(meta["position"], arrays))
            self.callbacks = [values.decode(state, arrays) for state in meta["callbacks"]]
            values.nothing_left(arrays)

    @property
    def key(self) -> tuple[int, int, str | None]:
        """Identifies the state: epochs, examples, why training stopped."""
        return len(self.history), self.position.examples, self.history.stopped

    def rewound(self) -> np.random.Generator:
        """A generator in the state at the start of the kept training run."""
        return values.to_generator(self.generator)

    def check(self, training: Training, now: dict[str, Any]) -> None:
        """Raise a ValueError that names the difference unless `training`, with conditions `now`, is the kept one."""
        with states.of_another(self.path, "training"):
            states.same_network(training.net, self.net)
            states.same_optimizer(training.optimizer, self.begun, self.last)
            leave = {"optimizer", "callbacks"} if looks_on(training) else {"optimizer"}
            for name in sorted((now.keys() | self.conditions.keys()) - leave):
                states.same(name, now.get(name), self.conditions.get(name))
        epoch = len(self.history) + bool(self.position.examples)
        if epoch > training.epochs:
            raise ValueError(f"{container.shown(self.path)} has reached epoch {epoch}; epochs is {training.epochs}")
        self._fit = states.fit(
            training.trainer.steps, self.path, "training", self.net, self.last, self.state, self.settings,
            self.mean_weight,
        )
        with container.located(self.path):
            if self.history.columns.keys() != training.history.columns.keys():
                raise FormatError("history has other columns than its conditions say")
            if len(self.callbacks) != len(keeping(training.callbacks)) and not looks_on(training):
                raise FormatError("callbacks are not as many as its conditions say")

    def into(self, training: Training) -> None:
        """Restore the kept state in `training`, which has begun; theta last."""
        kept = () if looks_on(training) else self.callbacks
        with container.located(self.path):
            for i, (callback, state) in enumerate(zip(keeping(training.callbacks), kept, strict=True)):
                try:
                    callback.load_state(state)
                except (KeyError, TypeError, ValueError) as error:
                    raise FormatError(f"callback {i}, {type(callback).__name__}: {error!r:.200}") from error
        stopped, training.history = training.history.stopped, self.history
        if stopped is not None:     # by a callback in on_train_begin
            self.history.stopped = stopped
        if type(training.rng.bit_generator).__name__ == self.epoch_generator["bit_generator"]:
            training.rng.bit_generator.state = self.epoch_generator     # the caller's generator, in place
        else:
            training.rng = values.to_generator(self.epoch_generator)
        training.position = self.position
        training.trainer.steps.become(self._fit)


def read(path: Path) -> Kept | None:
    """The training run in a file; None if there is no such file."""
    try:
        arrays, meta = container.read(path, ("theta",))
    except FileNotFoundError:
        return None
    return Kept(path, arrays, meta)


def _history(kept: Any) -> History:
    """The history of a file, checked."""
    values.fields(kept, asdict(History()), "history")
    metrics, columns = kept["metrics"], ("J", "val_J", "val_accuracy", "seconds")
    if not isinstance(metrics, dict):
        raise FormatError("history, metrics must be a dict")
    lists = [kept[name] for name in columns if kept[name] is not None] + list(metrics.values())
    if not all(isinstance(a, np.ndarray) and a.dtype == np.float64 and a.ndim == 1 for a in lists):
        raise FormatError("history must hold lists of numbers")
    if len({len(a) for a in lists}) != 1 or kept["J"] is None or kept["seconds"] is None:
        raise FormatError("history must hold lists of one length")
    if type(kept["examples"]) is not int or not isinstance(kept["stopped"], (str, type(None))):
        raise FormatError("history: examples must be a whole number, stopped a string or null")
    return History(**{name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in kept.items()
                      if name != "metrics"}, metrics={name: a.tolist() for name, a in metrics.items()})


def _position(value: Any) -> Position:
    """The position of a file, checked."""
    values.fields(value, asdict(Position()), "position")
    if type(value["examples"]) is not int or value["examples"] < 0:
        raise FormatError("position, examples must be a whole number")
    if not all(type(value[name]) is float for name in ("cost", "weight", "seconds")):
        raise FormatError("position: cost, weight and seconds must be numbers")
    return Position(**value)


def keeping(callbacks: list[Any]) -> list[Any]:
    """The callbacks that have a state to keep."""
    return [each for each in callbacks
            if callable(getattr(each, "state", None)) and getattr(type(each), "state", None) is not Callback.state]


def looks_on(training: Training) -> bool:
    """Does this rank leave the callbacks that have a state to rank 0?"""
    return training.rank > 0 and not keeping(training.callbacks)
