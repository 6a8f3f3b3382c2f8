"""Checkpoints of `train`: when the state is copied, and when the copy is written."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Every, Flag, Path
from ..callbacks import Callback
from ..engine import checks, frozen
from ..files import atomic, container, values
from ..files.container import FormatError
from ..history import History
from . import states
from .arguments import Arguments
from .hooks import Keeper
from .kept import Kept, keeping, read
from .loop import DivergenceError, Position, Training

UNITS = ("epochs", "batches", "seconds")
PAIRS = {"batches": "(500, 'batches')", "seconds": "(30, 'seconds')"}     # examples of checkpoint_every
Key = tuple[int, int, str | None]  # tells states apart: epochs, examples, why it stopped
LEAST, TIMES = 0.02, 50  # seconds between two copies of the state: at least LEAST, and TIMES the duration of a copy


class Checkpoint(Keeper):
    """The checkpoint file of a training run, written atomically at intervals of epochs, batches or seconds.

    In between, memory holds a copy of the state. Its age is at most about 20 ms, or 50 times what copying takes. After
    an exception (Ctrl-C, a callback, out of memory) the last copy is written.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    every : int or float
    unit : "epochs", "batches" or "seconds"
    rng : numpy Generator
        The generator at the start of training.
    kept : Kept, optional
        The training run in the file, to be resumed.

    Attributes
    ----------
    conditions : dict
        Everything that must be the same when training resumes from the file.
    """

    def __init__(self, path: Path, every: float, unit: str, rng: np.random.Generator, kept: Kept | None) -> None:
        self.path, self.every, self.unit, self.kept = path, every, unit, kept
        self._generator = values.of_generator(rng)
        self._copy: tuple[dict[str, NDArray[Any]], dict[str, Any], Key] | None = None
        self._key: Key | None = None    # key of the state in the file
        self._copied, self._pause, self._written, self._since = 0.0, LEAST, 0.0, 0
        self._batches = 1       # batches in a piece, unless the unit is batches

    def begin(self, training: Training) -> None:
        """Resume, or write the first checkpoint, so that errors of copying and writing come before the first step."""
        self.resume(training)
        self.before_epoch(training)
        if self.kept is None:
            self._take(training)
            self._write(training)

    def resume(self, training: Training) -> None:
        """Restore the kept state, if there is one."""
        if self.kept is not None:
            self._generator, self.conditions = self.kept.generator, self.kept.conditions
            self._key, self._written = self.kept.key, time.monotonic()      # into() may stop the kept history
            self.kept.into(training)

    def before_epoch(self, training: Training) -> None:
        """Keep the generator that the order of the epoch will be drawn from."""
        self._epoch_generator = values.of_generator(training.rng)
        self._started = time.monotonic()

    @property
    def batches(self) -> int:
        """The number of batches in a piece."""
        return max(1, int(self.every) - self._since) if self.unit == "batches" else self._batches

    def after_batches(self, training: Training, batches: int) -> None:
        """Copy the state after a piece of an epoch, and write it, if due."""
        if training.history.stopped is not None:    # the epoch ends here: `end` writes the state
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

    def after_epoch(self, training: Training) -> None:
        """Copy the state between two epochs, and write it, if due."""
        now = time.monotonic()
        epochs = self._key is None or training.epoch - self._key[0] >= self.every
        due = epochs if self.unit == "epochs" else self._due(now)
        if (due or now - self._copied >= self._pause) and self._take(training) and due:
            self._write(training)

    def end(self, training: Training) -> None:
        """Write the last state, unless the file has it."""
        if self._key != _key(training) and self._take(training):
            self._write(training)

    def rescue(self, training: Training, error: BaseException) -> None:
        """Write the last copy after an exception, unless it is a divergence. If that fails, the error gets a note."""
        if self._copy is None or isinstance(error, DivergenceError):
            return
        try:
            self._write(training)
        except Exception as other:
            error.add_note(f"and the checkpoint could not be written: {other}")

    def _due(self, now: float) -> bool:
        """Is it time to write, by batches or seconds?"""
        if self.unit == "seconds":
            return now - self._written >= self.every
        return self.unit == "batches" and self._since >= self.every

    def _take(self, training: Training) -> bool:
        """Copy everything needed to resume. False if theta is not finite within an epoch: that epoch ends with an
        error, and nothing can resume from it."""
        begun = time.monotonic()
        if training.position.examples and not np.isfinite(training.net.theta).all():
            return False
        arrays, meta = states.of_steps(training.trainer.steps)
        drawn_from = self._epoch_generator if training.position.examples else values.of_generator(training.rng)
        meta |= {
            **states.kind("training", training.trainer.steps, arrays), "conditions": self.conditions,
            "history": values.encode(_columns(training.history), "history", arrays),
            "callbacks": [values.encode(callback.state(), f"callback.{i}", arrays)
                          for i, callback in enumerate(keeping(training.callbacks))],
            "generator": values.encode([self._generator, drawn_from], "generator", arrays),
            "position": values.encode(_plain(training.position), "position", arrays),
        }
        self._copy = arrays, meta, _key(training)
        self._copied = time.monotonic()
        self._pause = max(LEAST, TIMES * (self._copied - begun))
        return True

    def _write(self, training: Training) -> None:
        """Write the last copy."""
        assert self._copy is not None
        arrays, meta, key = self._copy
        container.write(self.path, arrays, meta)
        self._copy, self._key, self._since = None, key, 0
        self._written = self._started = time.monotonic()


def keeper(
    path: Path | None, every: Every, resume: Flag | None, rng: np.random.Generator,
) -> tuple[Keeper, Kept | None]:
    """(the checkpoint, the training run to be resumed from its file, or None)."""
    resumes, number, unit = check(path, every, resume)
    if path is None:
        return Keeper(), None
    path = atomic.absolute(path)
    kept = None
    if resumes:
        kept = read(path)
    elif resumes is None:
        refuse_to_lose(path)
    return Checkpoint(path, number, unit, rng, kept), kept


def refuse_to_lose(path: Path) -> None:
    """Raise a ValueError if the file exists and holds a finished step, since `resume` was not given."""
    try:
        kept = read(path)
    except FormatError as error:
        raise ValueError(f"checkpoint: the file exists and holds no training: {error}; resume=False overwrites it"
                         ) from None
    if kept is not None and kept.key[:2] != (0, 0):
        raise would_be_lost(path, "training", kept.key[0])


def would_be_lost(path: Path, what: str, epochs: int) -> ValueError:
    """The error for a file that holds finished steps of a training run or a fit if `resume` was not given."""
    return ValueError(f"checkpoint: {container.shown(path)} holds a {what} of {epochs} finished epochs; "
                      "resume=True resumes it, resume=False overwrites it")


def check(path: Path | None, every: Every, resume: Flag | None) -> tuple[bool | None, float, str]:
    """(resume, number, unit): a checkpoint is due every `number` units."""
    resumes = None if resume is None else checks.flag(resume, "resume")
    number, unit = checked_every(every)
    if path is None and resumes:
        raise ValueError("resume=True needs the file to resume from; got checkpoint=None")
    return resumes, number, unit


def checked_every(every: Every, units: tuple[str, ...] = UNITS) -> tuple[float, str]:
    """(number, unit) of checkpoint_every, in one of these units."""
    n, unit = every if isinstance(every, (tuple, list)) and len(every) == 2 else (every, "epochs")
    if unit not in units:
        pairs = " or ".join(PAIRS[unit] for unit in units if unit in PAIRS)
        raise ValueError(f"checkpoint_every must be a number of epochs, or a pair such as {pairs}; got {every!r}")
    if unit == "seconds":
        return checks.number(n, "checkpoint_every"), unit
    return checks.count(n, "checkpoint_every"), unit


def _key(training: Training) -> Key:
    """The key of the present state."""
    return training.epoch, training.position.examples, training.history.stopped


def _columns(history: History) -> dict[str, Any]:
    """The history as a dict, with arrays instead of lists."""
    def arrays(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: arrays(item) for name, item in value.items()}
        return np.array(value, np.float64) if isinstance(value, list) else value

    return {name: arrays(value) for name, value in vars(history).items()}


def _plain(position: Position) -> dict[str, Any]:
    """The position as a dict of Python's numbers."""
    return {"examples": int(position.examples), "cost": float(position.cost), "weight": float(position.weight),
            "seconds": float(position.seconds)}


def check_callbacks(callbacks: list[Any]) -> None:
    """Raise a TypeError if one of these callbacks has a state but cannot resume from it."""
    for each in keeping(callbacks):
        own = getattr(type(each), "load_state", Callback.load_state)
        if own is Callback.load_state and "load_state" not in getattr(each, "__dict__", {}):
            raise TypeError(f"{type(each).__name__} has state(), which checkpoints keep, so it must also have "
                            "load_state(state) to resume from it")


def conditions(training: Training, asked: Arguments, batch_size: int, data: Any) -> dict[str, Any]:
    """Everything that a resumed training run must have in common with the kept one, as JSON; data: None for chunks."""
    trainer, feed, validation = training.trainer, training.feed, training.validation
    check_callbacks(training.callbacks)
    return {
        "optimizer": states.of_optimizer(training.optimizer),
        "examples": feed.m, "labels": data and data.labels is not None, "weights": data and data.w is not None,
        "validation": validation and validation.m, "validation_split": asked.validation_split,
        "batch_size": batch_size, "shuffle": asked.shuffle, "window": feed.window,
        **{name: _json(getattr(trainer, name)) for name in ("weight_decay", "l1", "clip_value", "clip_norm")},
        **({} if trainer.mean_weight is None else {"mean_weight": trainer.mean_weight}),
        **({} if trainer.learning_rate_factors is None else {"learning_rate_factors": trainer.learning_rate_factors}),
        **({} if trainer.input_scale is None else {"input_scale": trainer.input_scale}),
        **({} if trainer.free is None else {"free": frozen.told(trainer.free, trainer.net.plan)}), **trainer.conditions,
        "dropout": list(trainer.dropout), "metrics": list(training.history.metrics),
        "callbacks": [f"{type(each).__module__}.{type(each).__qualname__}" for each in keeping(training.callbacks)],
    }


def _json(value: Any) -> Any:
    """A tuple as a list, as JSON has it."""
    return list(value) if isinstance(value, tuple) else value
