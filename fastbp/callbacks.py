"""Callbacks watch the training and may change its course.

A callback is any object with one or more of the methods of `Callback`. Each method gets the running `Training`, with
``net``, ``trainer``, ``optimizer``, ``history``, ``epoch`` (epochs finished), ``epochs``, ``J`` (of the last epoch; in
`on_batch_end` of the last batch) and ``stop(reason)``. A plain function is called as `on_epoch_end`. `on_batch_end`
costs one call of compiled code per batch, so it is called only if a callback defines it. If a callback raises, theta
stays at the last finished step, and the exception reaches the caller of `train`.
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from . import metrics
from ._types import Count, Flag, Number, State, Watched
from .engine import checks
from .keywords import explained

__all__ = ["Callback", "EarlyStopping", "Logging", "ReduceOnPlateau"]

EVENTS = ("on_train_begin", "on_batch_end", "on_epoch_end", "on_train_end")


class Callback:
    """Base of the callbacks; a subclass defines what it needs.

    See Also
    --------
    EarlyStopping, ReduceOnPlateau, Logging

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> class Until(fastbp.callbacks.Callback):
    ...     def __init__(self, J):
    ...         self.J = J
    ...     def on_epoch_end(self, training):
    ...         if training.history.J[-1] < self.J:
    ...             training.stop(f"J is below {self.J}")
    >>> net = fastbp.Network([2, 8, 1], activation="tanh", seed=1)
    >>> X, Y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])
    >>> history = fastbp.train(net, X, Y, optimizer=fastbp.Adam(0.05), epochs=5000, seed=1, callbacks=[Until(0.01)])
    >>> history.stopped, len(history) < 5000
    ('J is below 0.01', True)
    """

    def __repr__(self) -> str:
        """The settings, without what was counted during training."""
        from inspect import signature

        names = [name for name in signature(type(self)).parameters if name in getattr(self, "__dict__", ())]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def on_train_begin(self, training: Watched) -> None:
        """Called before the first epoch. Reset what was counted in earlier runs here."""

    def on_epoch_end(self, training: Watched) -> None:
        """Called after each epoch; its measurements are in ``training.history``."""

    def on_train_end(self, training: Watched) -> None:
        """Called after the last epoch or after a stop, but not after an exception."""

    def state(self) -> State:
        """The state for a checkpoint: a dict of numbers, strings, None, arrays, and lists, tuples and dicts of them.

        If you define it, define `load_state` too.
        """
        return {}

    def load_state(self, state: State) -> None:
        """Resume from the state, after `on_train_begin`; raise KeyError, TypeError or ValueError if it does not fit."""


class _Watcher(Callback):
    """Compares a list of the history with its best value so far; the parameters are those of `EarlyStopping`."""

    unusable = 0    # pickles of 0.1.0 lack it

    def __init__(
        self, monitor: str | Callable[[Watched], Any], patience: Count, min_delta: Number,
        mode: Literal["min", "max"] | None,
    ) -> None:
        if not (isinstance(monitor, str) or callable(monitor)):
            raise TypeError("monitor must be the name of a list of the history, such as 'val_J', or a function of the "
                            f"training; got {monitor!r}")
        if not (mode is None or (isinstance(mode, str) and mode in ("min", "max"))):
            raise ValueError(f"mode must be 'min', 'max' or None; got {mode!r}")
        self.monitor, self.patience = monitor, checks.count(patience, "patience", low=0)
        self.min_delta = checks.number(min_delta, "min_delta")
        self.name = monitor if isinstance(monitor, str) else getattr(monitor, "__name__", "the monitor")
        higher = self.name.removeprefix("val_") in metrics.HIGHER if mode is None else mode == "max"
        self.sign = -1.0 if higher else 1.0

    def on_train_begin(self, training: Watched) -> None:
        if isinstance(self.monitor, str) and self.monitor not in training.history.columns:
            raise ValueError(f"{type(self).__name__}: monitor {self.monitor!r} is not measured; there are "
                             f"{', '.join(training.history.columns)}")
        self.best, self.best_epoch, self.waited, self.unusable = self.sign * np.inf, 0, 0, 0

    def better(self, training: Watched) -> bool:
        """Is the last epoch's value the best? If not, the epoch counts as waited, unless it is NaN or infinite."""
        if isinstance(self.monitor, str):
            value = training.history[self.monitor][-1]
        else:
            value = checks.value(self.monitor(training), self.name)
        if not np.isfinite(value):
            self.unusable += 1
            return False
        if self.sign * value < self.sign * self.best - self.min_delta:
            self.best, self.best_epoch, self.waited = value, training.epoch, 0
            return True
        self.waited += 1
        return False

    def warn(self, training: Watched, result: str) -> None:
        """Warn if some values were NaN or infinite; result: a sentence about the consequence."""
        unusable = self.unusable
        if isinstance(self.monitor, str):   # the count of a resumed training is what its file claims
            unusable = min(unusable, int((~np.isfinite(training.history[self.monitor])).sum()))
        if unusable:
            warnings.warn(f"{type(self).__name__} could not compare {unusable} of {training.epoch} epochs: "
                          f"{self.name} was NaN or infinite. {result}", stacklevel=2)

    def state(self) -> State:
        best = self.best if np.isfinite(self.best) else None
        counted = {"unusable": self.unusable} if self.unusable else {}     # old files have no such entry
        return {"best": best, "best_epoch": self.best_epoch, "waited": self.waited, **counted}

    def load_state(self, state: State) -> None:
        best = state["best"]
        self.best = self.sign * np.inf if best is None else checks.number(best, "best", low=-np.inf)
        self.best_epoch, self.waited = (checks.count(state[name], name, low=0) for name in ("best_epoch", "waited"))
        self.unusable = checks.count(state.get("unusable", 0), "unusable", low=0)


class EarlyStopping(_Watcher):
    """Stop when a value has not improved for more than `patience` epochs (Prechelt 1998).

    A value that is NaN or infinite is neither better nor worse: its epoch does not count, and a warning at the end
    names the value. If no value is finite, theta stays that of the last epoch.

    Parameters
    ----------
    monitor : str or callable
        A list of the history: "J", "val_J", "val_accuracy", or a metric by its name; or a function of the training.
    patience : int
        Stop after `patience` + 1 epochs in a row without improvement.
    min_delta : float
        An improvement must be larger than this.
    mode : "min" or "max", optional
        Whether the lower or the higher value is better; None: "max" for accuracies and r2, else "min".
    restore_best : bool
        Restore the theta of the best epoch at the end, even after all epochs.

    Attributes
    ----------
    best : float
        The best value.
    best_epoch : int
        Counted from 1; 0 before the first.

    See Also
    --------
    ReduceOnPlateau

    Examples
    --------
    >>> import fastbp
    >>> from fastbp import callbacks
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer="adam", epochs=5, validation_split=0.2, seed=0,
    ...                        callbacks=[callbacks.EarlyStopping("val_accuracy", patience=2)])
    >>> len(history)
    5
    """

    @explained
    def __init__(
        self, monitor: str | Callable[[Watched], Any] = "val_J", patience: Count = 10, min_delta: Number = 0.0,
        mode: Literal["min", "max"] | None = None, restore_best: Flag = True,
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.restore_best = checks.flag(restore_best, "restore_best")

    def on_train_begin(self, training: Watched) -> None:
        super().on_train_begin(training)
        self.theta = training.net.theta.copy()

    def on_epoch_end(self, training: Watched) -> None:
        if self.better(training):
            if self.restore_best:
                np.copyto(self.theta, training.net.theta)
        elif self.waited > self.patience:
            training.stop(f"{self.name} has not improved since epoch {self.best_epoch}")

    def on_train_end(self, training: Watched) -> None:
        restores = self.restore_best and self.best_epoch
        if restores:
            np.copyto(training.net.theta, self.theta)
        self.warn(training, f"theta is that of {'the best remaining epoch' if restores else 'the last epoch'}.")

    def state(self) -> State:
        return {**super().state(), "theta": self.theta.copy() if self.restore_best and self.best_epoch else None}

    def load_state(self, state: State) -> None:
        super().load_state(state)
        if state["theta"] is not None:
            theta = checks.output_array(state["theta"], self.theta.shape, self.theta.dtype, "theta")
            checks.finite(theta[np.newaxis], theta.dtype, "theta", one_row=True)
            np.copyto(self.theta, theta)


class ReduceOnPlateau(_Watcher):
    """Multiply the learning rate by `factor` when a value has not improved for more than `patience` epochs.

    Like torch's ReduceLROnPlateau with an absolute threshold. Epochs whose value is NaN or infinite do not count; a
    warning at the end names the value.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        As for `EarlyStopping`.
    factor : float
        In (0, 1).
    least : float
        Lower bound of the learning rate.
    cooldown : int
        Epochs after a reduction that do not count as waited.

    See Also
    --------
    EarlyStopping, schedules.Cosine

    Notes
    -----
    The optimizer's ``learning_rate`` must be a number, not a function of the step. The optimizer keeps the last rate.

    Examples
    --------
    >>> import fastbp
    >>> from fastbp import callbacks
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer="adam", epochs=5, validation_split=0.2, seed=0,
    ...                        callbacks=[callbacks.ReduceOnPlateau(patience=3, factor=0.5)])
    >>> len(history)
    5
    """

    @explained
    def __init__(
        self, monitor: str | Callable[[Watched], Any] = "val_J", patience: Count = 5, factor: Number = 0.1,
        min_delta: Number = 0.0, mode: Literal["min", "max"] | None = None, least: Number = 0.0, cooldown: Count = 0,
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.factor = checks.number(factor, "factor", high=1, open_low=True)
        self.least = checks.number(least, "least")
        self.cooldown = checks.count(cooldown, "cooldown", low=0)

    def on_train_begin(self, training: Watched) -> None:
        super().on_train_begin(training)
        rate = getattr(training.optimizer, "learning_rate", None)
        if rate is None or callable(rate):
            raise ValueError(f"ReduceOnPlateau needs an optimizer with a number as learning_rate; it is {rate!r}")
        self.cooling = 0

    def on_epoch_end(self, training: Watched) -> None:
        unusable = self.unusable
        self.better(training)
        if self.unusable > unusable:
            return
        if self.cooling:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited > self.patience:
            optimizer = training.optimizer
            rate = optimizer.learning_rate
            optimizer.learning_rate = min(rate, max(self.least, rate * self.factor))
            self.cooling, self.waited = self.cooldown, 0

    def on_train_end(self, training: Watched) -> None:
        self.warn(training, "These epochs did not change the learning rate.")

    def state(self) -> State:
        return {**super().state(), "cooling": self.cooling}

    def load_state(self, state: State) -> None:
        super().load_state(state)
        self.cooling = checks.count(state["cooling"], "cooling", low=0)


class Logging(Callback):
    """Log a line every `every` epochs and after the last one, on rank 0, with a logger of the standard library.

    Parameters
    ----------
    logger : str or logging.Logger
    level : int
    every : int
        Epochs from one line to the next.

    See Also
    --------
    train : Its argument `progress` shows a bar.

    Examples
    --------
    >>> import fastbp
    >>> from fastbp import callbacks
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer="adam", epochs=5, validation_split=0.2, seed=0,
    ...                        callbacks=[callbacks.Logging("digits", every=2)])
    >>> len(history)
    5
    """

    @explained
    def __init__(
        self, logger: str | logging.Logger | logging.LoggerAdapter[Any] = "fastbp", level: int = logging.INFO,
        every: Count = 1,
    ) -> None:
        self.logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        if not (callable(getattr(self.logger, "log", None)) and callable(getattr(self.logger, "isEnabledFor", None))):
            raise TypeError(f"logger must be a name or a logging.Logger; got {logger!r}")
        self.level = checks.count(level, "level", low=0)
        self.every = checks.count(every, "every")

    def on_epoch_end(self, training: Watched) -> None:
        due = training.epoch % self.every == 0 or training.epoch == training.epochs
        if due and training.rank == 0 and self.logger.isEnabledFor(self.level):
            self.logger.log(self.level, "epoch %d: %s", training.epoch, training.history.line())

    def on_train_end(self, training: Watched) -> None:
        if training.history.stopped and training.rank == 0:
            self.logger.log(self.level, "stopped after epoch %d: %s", training.epoch, training.history.stopped)


class _Function:
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Watched], Any]) -> None:
        self.on_epoch_end = function


def check(callbacks: object) -> list[Any]:
    """The callbacks as a list."""
    if not isinstance(callbacks, (list, tuple)):
        one = any(callable(getattr(callbacks, name, None)) for name in EVENTS) or callable(callbacks)
        said = "; put it into a list: callbacks=[...]" if one else ""
        raise TypeError(f"callbacks must be a list of callbacks; got {callbacks!r}{said}")
    found = []
    for i, callback in enumerate(callbacks):
        has = any(callable(getattr(callback, name, None)) for name in EVENTS)
        if isinstance(callback, type) or not (has or callable(callback)):
            raise TypeError(f"callbacks[{i}] must be a function of the training, or an object with one of the methods "
                            f"{', '.join(EVENTS)}; got {callback!r}")
        found.append(callback if has else _Function(callback))
    return found
