"""Checkpoints of a training under way: when one is taken and written, and how a training goes on from it."""

import time
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Every, Flag, Path
from ..callbacks import Callback
from ..distributed.shard import Shard
from ..engine import checks
from ..engine.data import Data
from ..files import atomic, container, values
from ..files import network as files
from ..files.container import FormatError
from ..history import History
from . import states

UNITS = ("epochs", "batches", "seconds")
LEAST, SHARE = 0.02, 50  # seconds between two copies of a state: these, and so many times what copying takes


@dataclass
class Position:
    """Where in an epoch a training stands: examples done, sums of m_b J and of m_b over their batches, seconds."""

    examples: int = 0
    cost: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0


class Nothing:
    """No checkpoint: the epochs are run as they come."""

    batches = None
    begin = go_on = begin_epoch = after_batches = after_epoch = end = rescue = lambda self, *_: None


class Checkpoint:
    """The file of a training, written every so many epochs, batches or seconds, as a whole.

    Between these a copy of the state is held in memory, never older than about 20 ms or 50 times what copying takes: an
    exception (Ctrl-C, a callback's, a full memory) has the last one written.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    every : int or float
    unit : "epochs", "batches" or "seconds"
    rng : numpy Generator
        That the training begins with.
    """

    def __init__(self, path: Path, every: float, unit: str, rng: np.random.Generator) -> None:
        self.path, self.every, self.unit = path, every, unit
        self._generator = values.of_generator(rng)
        self._copy, self._copied, self._pause = None, 0.0, LEAST
        self._written, self._key, self._since = 0.0, None, 0
        self._batches = 1       # of a piece, where it is time that counts

    def begin(self, training: Any, conditions: dict[str, Any] | None) -> None:
        """Write the first one, so that what cannot be kept, or written, shows before the first step.

        conditions: what has to be the same in a training that goes on.
        """
        self._conditions = conditions
        self._take(training)
        self._write(training)

    def go_on(self, kept: 'Kept') -> None:
        """In the file of a training that was kept"""
        self._generator, self._conditions = kept.generator, kept.conditions
        self._key, self._written = kept.key, time.monotonic()

    def begin_epoch(self, training: Any) -> None:
        """Where the order of the epoch is drawn from."""
        self._epoch_generator = values.of_generator(training.rng)
        self._started = time.monotonic()

    @property
    def batches(self) -> int:
        """How many are run in a piece"""
        return max(1, self.every - self._since) if self.unit == "batches" else self._batches

    def after_batches(self, training: Any, batches: int) -> None:
        """A piece of an epoch is done: take a copy, and write it, if it is time."""
        if training.history.stopped is not None:    # the epoch ends here: `end` writes that
            return
        now = time.monotonic()
        self._since += batches
        took, self._started = now - self._started, now
        if took < self._pause / 2:
            self._batches *= 2
        elif took > self._pause:
            self._batches = max(1, self._batches // 2)
        due = self._due(now)
        if (due or now - self._copied >= self._pause) and self._take(training) and due:
            self._write(training)

    def after_epoch(self, training: Any) -> None:
        """The same between two epochs"""
        now = time.monotonic()
        epochs = self._key is None or training.epoch - self._key[0] >= self.every
        due = epochs if self.unit == "epochs" else self._due(now)
        if (due or now - self._copied >= self._pause) and self._take(training) and due:
            self._write(training)

    def end(self, training: Any) -> None:
        """The last state is written, unless it is there."""
        if self._key != _key(training) and self._take(training):
            self._write(training)

    def rescue(self, training: Any, error: BaseException) -> None:
        """Write the last copy after an exception; what that raises is told beside it."""
        if self._copy is None:
            return
        try:
            self._write(training)
        except Exception as other:
            error.add_note(f"and the checkpoint could not be written: {other}")

    def _due(self, now):
        if self.unit == "seconds":
            return now - self._written >= self.every
        return self.unit == "batches" and self._since >= self.every

    def _take(self, training):
        """Copy all that the training goes on from; False within an epoch in which theta is no longer finite: that is no
        state to go on from, and the epoch ends with an error."""
        begun = time.monotonic()
        if training.position.examples and not np.isfinite(training.net.theta).all():
            return False
        arrays, meta = states.of_trainer(training.trainer)
        drawn_from = self._epoch_generator if training.position.examples else values.of_generator(training.rng)
        meta |= {
            **files.kind("training"), "conditions": self._conditions,
            "history": values.encode(_columns(training.history), "history", arrays),
            "callbacks": [values.encode(callback.state(), f"callback.{i}", arrays)
                          for i, callback in enumerate(_keeping(training.callbacks))],
            "generator": values.encode([self._generator, drawn_from], "generator", arrays),
            "position": values.encode(_plain(training.position), "position", arrays),
        }
        self._copy = arrays, meta, _key(training)
        self._copied = time.monotonic()
        self._pause = max(LEAST, SHARE * (self._copied - begun))
        return True

    def _write(self, training):
        arrays, meta, key = self._copy
        container.write(self.path, arrays, meta)
        self._copy, self._key, self._since = None, key, 0
        self._written = self._started = time.monotonic()


def keeper(
    path: Path | None, every: Every, resume: Flag, rng: np.random.Generator, rank: int,
) -> tuple[Nothing | Checkpoint, 'Kept | None']:
    """(what keeps the training, the training that was kept and is to go on: None where there is none); of several ranks
    the first writes and reads."""
    resume, (every, unit) = checks.flag(resume, "resume"), _checked_every(every)
    if path is None:
        if resume:
            raise ValueError("resume=True needs the file to go on from; got checkpoint=None")
        return Nothing(), None
    if rank:
        return Nothing(), None
    path = atomic.absolute(path)
    return Checkpoint(path, every, unit, rng), read(path) if resume else None


def _checked_every(every):
    n, unit = every if isinstance(every, (tuple, list)) and len(every) == 2 else (every, "epochs")
    if unit not in UNITS:
        raise ValueError(f"checkpoint_every must be a number of epochs, or a pair such as (500, 'batches') or "
                         f"(30, 'seconds'); got {every!r}")
    if unit == "seconds":
        return checks.number(n, "checkpoint_every"), unit
    return checks.count(n, "checkpoint_every"), unit


def _key(training):
    """Which state it is"""
    return training.epoch, training.position.examples, training.history.stopped


def _keeping(callbacks):
    """Those that count something"""
    return [each for each in callbacks
            if callable(getattr(each, "state", None)) and getattr(type(each), "state", None) is not Callback.state]


def _looks_on(training):
    """Is this a rank that leaves the callbacks that count to rank 0?"""
    return training.rank > 0 and not _keeping(training.callbacks)


def _columns(history):
    """The history with arrays for its lists"""
    def arrays(value):
        if isinstance(value, dict):
            return {name: arrays(item) for name, item in value.items()}
        return np.array(value, np.float64) if isinstance(value, list) else value

    return arrays(vars(history))


def _plain(position):
    """As a dict of numbers of Python's"""
    return {field.name: field.type(getattr(position, field.name)) for field in fields(position)}


def conditions(
    training: Any, *, batch_size: int, shuffle: bool, validation_split: float, data: Data | Shard | None,
) -> dict[str, Any]:
    """What two trainings must have in common to be one, beside the network, as JSON. data: None for chunks"""
    trainer, feed, validation = training.trainer, training.feed, training.validation
    for each in _keeping(training.callbacks):
        own = getattr(type(each), "load_state", Callback.load_state)
        if own is Callback.load_state and "load_state" not in getattr(each, "__dict__", {}):
            raise TypeError(f"{type(each).__name__} has state() for a checkpoint to keep, and must have "
                            "load_state(state) to go on from there")
    return {
        "optimizer": states.of_optimizer(training.optimizer),
        "examples": feed.m, "labels": data and data.labels is not None, "weights": data and data.w is not None,
        "validation": validation and validation.m, "validation_split": validation_split,
        "batch_size": batch_size, "shuffle": shuffle, "window": feed.window,
        **{name: _json(getattr(trainer, name)) for name in ("weight_decay", "l1", "clip_value", "clip_norm")},
        **trainer.group.conditions(trainer.sync_every),
        "dropout": list(trainer.dropout), "metrics": list(training.history.metrics),
        "callbacks": [f"{type(each).__module__}.{type(each).__qualname__}" for each in _keeping(training.callbacks)],
    }


def _json(value):
    return list(value) if isinstance(value, tuple) else value


# ---------------------------------------------------------------- going on


class Kept:
    """A training as a file has it, checked as far as that can be done without the training that is to go on.

    Attributes
    ----------
    generator : dict
        State of the generator that the training began with.
    """

    def __init__(self, path: Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        self.path = path
        with container.located(path):
            self.net = files.of_kind(arrays, meta, "training")
            self.conditions = meta["conditions"]
            if not isinstance(self.conditions, dict) or not isinstance(meta["callbacks"], list):
                raise FormatError("conditions must be a dict, callbacks a list")
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
        return len(self.history), self.position.examples, self.history.stopped

    def rewound(self) -> np.random.Generator:
        """A generator as the kept training began with it."""
        return values.to_generator(self.generator)

    def check(self, training: Any, now: dict[str, Any]) -> None:
        """A ValueError that says what differs, unless `training`, with conditions `now`, is the one that was kept."""
        with states.of_another(self.path, "training"):
            states.same_network(training.net, self.net)
            states.same_optimizer(training.optimizer, self.begun, self.last)
            leave = {"optimizer", "callbacks"} if _looks_on(training) else {"optimizer"}
            for name in sorted((now.keys() | self.conditions.keys()) - leave):
                states.same(name, now.get(name), self.conditions.get(name))
        epoch = len(self.history) + bool(self.position.examples)
        if epoch > training.epochs:
            raise ValueError(f"{container.shown(self.path)} has come to epoch {epoch}; epochs is {training.epochs}")
        self._fit = states.fit(
            training.trainer, self.path, "training", self.net, self.last, self.state, self.settings
        )
        with container.located(self.path):
            if self.history.columns.keys() != training.history.columns.keys():
                raise FormatError("history has other columns than its conditions say")
            if len(self.callbacks) != len(_keeping(training.callbacks)) and not _looks_on(training):
                raise FormatError("callbacks are not as many as its conditions say")

    def into(self, training: Any) -> None:
        """Make `training`, which has begun, the one that was kept; theta last."""
        states = () if _looks_on(training) else self.callbacks
        with container.located(self.path):
            for i, (callback, state) in enumerate(zip(_keeping(training.callbacks), states, strict=True)):
                try:
                    callback.load_state(state)
                except (KeyError, TypeError, ValueError) as error:
                    raise FormatError(f"callback {i}, {type(callback).__name__}: {error!r:.200}") from error
        training.keeper.go_on(self)
        stopped, training.history = training.history.stopped, self.history
        if stopped is not None:     # by a callback that has just begun
            self.history.stopped = stopped
        if type(training.rng.bit_generator).__name__ == self.epoch_generator["bit_generator"]:
            training.rng.bit_generator.state = self.epoch_generator     # the caller's own
        else:
            training.rng = values.to_generator(self.epoch_generator)
        training.position = self.position
        training.trainer._go_on(self._fit)


def read(path: Path) -> Kept | None:
    """The training of a file; None where there is no such file."""
    try:
        arrays, meta = container.read(path)
    except FileNotFoundError:
        return None
    return Kept(path, arrays, meta)


def _history(values):
    values.fields(values, asdict(History()), "history")
    metrics, columns = values["metrics"], ("J", "val_J", "val_accuracy", "seconds")
    if not isinstance(metrics, dict):
        raise FormatError("history, metrics must be a dict")
    lists = [values[name] for name in columns if values[name] is not None] + list(metrics.values())
    if not all(isinstance(a, np.ndarray) and a.dtype == np.float64 and a.ndim == 1 for a in lists):
        raise FormatError("history must hold lists of numbers")
    if len({len(a) for a in lists}) != 1 or values["J"] is None or values["seconds"] is None:
        raise FormatError("history must hold lists of one length")
    if type(values["examples"]) is not int or not isinstance(values["stopped"], (str, type(None))):
        raise FormatError("history: examples must be a whole number, stopped a string or null")
    return History(**{name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()
                      if name != "metrics"}, metrics={name: a.tolist() for name, a in metrics.items()})


def _position(value):
    values.fields(value, asdict(Position()), "position")
    if type(value["examples"]) is not int or value["examples"] < 0:
        raise FormatError("position, examples must be a whole number")
    if not all(type(value[name]) is float for name in ("cost", "weight", "seconds")):
        raise FormatError("position: cost, weight and seconds must be numbers")
    return Position(**value)
