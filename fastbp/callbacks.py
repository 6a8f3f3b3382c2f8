"""What may happen between the steps of a training: stopping, slower learning, logging, and callbacks of your own.

A callback is an object with any of these methods, each called with the `Training` under way (`fastbp.loop.Training`:
net, trainer, history, epoch, epochs, J, learning_rate, stop(reason)); a plain function is an `on_epoch_end`:

    on_train_begin(training)    everything is checked, nothing has changed: the place to refuse a setting
    on_epoch_end(training)      the history has the epoch's values
    on_batch_end(training)      only if defined: then every batch is a crossing into compiled code of its own
    on_train_end(training)      all epochs are run, or a callback has stopped the training; not after an exception

`training.stop("reason")` ends the training after the running epoch, or after the batch where a batch calls it. What a
callback raises leaves theta at the last finished step and reaches the caller of `train`.

>>> import numpy as np, fastbp
>>> X, Y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])
>>> net = fastbp.Network([2, 8, 1], activation="tanh", seed=1)
>>> def good_enough(training):
...     if training.J < 0.01:
...         training.stop("J is below 0.01")
>>> history = fastbp.train(net, X, Y, optimizer=fastbp.Adam(0.05), epochs=2000, seed=0, callbacks=[good_enough])
>>> history.stopped, len(history) < 2000
('J is below 0.01', True)
"""

import logging
import math

import numpy as np

from . import checks, metrics


class Callback:
    """Base of the callbacks: does nothing, has no state."""

    def on_train_begin(self, training):
        """Everything is checked, nothing has changed."""

    def on_epoch_end(self, training):
        """The history has the epoch's values."""

    def on_train_end(self, training):
        """All epochs are run, or a callback has stopped the training."""

    def state(self):
        """What a checkpoint has to keep of this callback: a dict of numbers, strings, None and arrays."""
        return {}

    def load_state(self, state):
        """Go on from there; called after `on_train_begin`."""


class Watch(Callback):
    """A monitored value and how long it has not improved: what stopping and slower learning are decided by.

    Parameters
    ----------
    monitor : str or callable
        A list of the history (J, val_J, val_accuracy, a metric, val_ and a metric), or a function of the training.
    patience : int
        Epochs without improvement that are too many.
    min_delta : float
        A smaller improvement is none.
    mode : "min", "max" or None
        What is better; None: more for accuracy, balanced_accuracy and r2, less for all else.
    """

    def __init__(self, monitor="val_J", patience=10, min_delta=0.0, mode=None):
        if not (isinstance(monitor, str) or callable(monitor)):
            raise TypeError(f"monitor must be a name or a function of the training; got {monitor!r}")
        if mode not in ("min", "max", None):
            raise ValueError(f'mode must be "min", "max" or None; got {mode!r}')
        self.monitor, self.mode = monitor, mode
        self.patience = checks.count(patience, "patience")
        self.min_delta = checks.number(min_delta, "min_delta")
        more = mode == "max" or (mode is None and isinstance(monitor, str)
                                 and monitor.removeprefix("val_") in metrics.HIGHER)
        self._sign = -1.0 if more else 1.0
        self.forget()

    def forget(self):
        """As if no epoch had been."""
        self.best, self.best_epoch, self.waited = None, 0, 0

    def on_train_begin(self, training):
        if isinstance(self.monitor, str) and self.monitor not in training.history.columns:
            needs = "; it needs validation data" if self.monitor.startswith("val_") else ""
            raise ValueError(f"monitor is {self.monitor!r}, but this training measures "
                             f"{', '.join(training.history.columns)}{needs}")
        self.forget()

    def improved(self, training):
        """Is the epoch's value better than the best by more than min_delta? Counts the epochs since the best."""
        named = isinstance(self.monitor, str)
        value = float(training.history[self.monitor][-1] if named else self.monitor(training))
        best = math.inf if self.best is None else self._sign * self.best
        if self._sign * value < best - self.min_delta:
            self.best, self.best_epoch, self.waited = value, training.epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def name(self):
        return self.monitor if isinstance(self.monitor, str) else getattr(self.monitor, "__name__", "the monitor")

    def state(self):
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state(self, state):
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]


class EarlyStopping(Watch):
    """Stop once a monitored value has not improved for `patience` epochs.

    Prechelt, Early stopping - but when?, 1998.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        As for `Watch`.
    restore_best : bool
        At the end of the training theta is that of the best epoch, whether it was stopped or not.

    Attributes
    ----------
    best, best_epoch
        The best value, and its epoch, counted from 1.
    """

    def __init__(self, monitor="val_J", patience=10, min_delta=0.0, mode=None, restore_best=True):
        super().__init__(monitor, patience, min_delta, mode)
        self.restore_best = checks.flag(restore_best, "restore_best")
        self._theta = None

    def on_train_begin(self, training):
        super().on_train_begin(training)
        self._theta = np.empty_like(training.net.theta) if self.restore_best else None

    def on_epoch_end(self, training):
        if self.improved(training):
            if self.restore_best:
                np.copyto(self._theta, training.net.theta)
        elif self.waited >= self.patience:
            training.stop(f"{self.name} has not improved for {self.patience} epochs")

    def on_train_end(self, training):
        if self.restore_best and self.best_epoch:
            np.copyto(training.net.theta, self._theta)

    def state(self):
        theta = self._theta.copy() if self.restore_best and self.best_epoch else None
        return {**super().state(), "theta": theta}

    def load_state(self, state):
        super().load_state(state)
        if state["theta"] is not None:
            np.copyto(self._theta, state["theta"])


class ReduceOnPlateau(Watch):
    """learning_rate := max(factor learning_rate, least) once a monitored value has not improved for `patience` epochs.

    torch's ReduceLROnPlateau with threshold_mode="abs", which counts one epoch less: its patience is ours - 1. The
    caller's optimizer keeps its own learning rate.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        As for `Watch`.
    factor : float
        In (0, 1).
    cooldown : int
        Epochs after a fall that are not counted.
    least : float
    """

    def __init__(self, monitor="val_J", factor=0.1, patience=10, min_delta=0.0, mode=None, cooldown=0, least=0.0):
        super().__init__(monitor, patience, min_delta, mode)
        self.factor = checks.number(factor, "factor", high=1, open_low=True)
        self.cooldown = checks.count(cooldown, "cooldown", low=0)
        self.least = checks.number(least, "least")

    def forget(self):
        super().forget()
        self._cooling = 0

    def on_train_begin(self, training):
        if not isinstance(getattr(training.trainer.optimizer, "learning_rate", None), float):
            raise TypeError("ReduceOnPlateau needs an optimizer whose learning_rate is a number; got "
                            f"{training.trainer.optimizer!r}")
        super().on_train_begin(training)

    def on_epoch_end(self, training):
        self.improved(training)
        if self._cooling:
            self._cooling, self.waited = self._cooling - 1, 0
        if self.waited >= self.patience:
            rate = training.learning_rate
            training.learning_rate = min(rate, max(self.factor * rate, self.least))
            self._cooling, self.waited = self.cooldown, 0

    def state(self):
        return {**super().state(), "cooling": self._cooling}

    def load_state(self, state):
        super().load_state(state)
        self._cooling = state["cooling"]


class Logging(Callback):
    """A line for every so many epochs, and for the last, to a logger of the `logging` module.

    Parameters
    ----------
    logger : str or logging.Logger
    level : int
    every : int
        Epochs from line to line.
    """

    def __init__(self, logger="fastbp", level=logging.INFO, every=1):
        self.logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self.level, self.every = checks.count(level, "level", low=0), checks.count(every, "every")

    def on_epoch_end(self, training):
        due = training.epoch % self.every == 0 or training.epoch == training.epochs
        if due and self.logger.isEnabledFor(self.level):
            self.logger.log(self.level, "epoch %d/%d: %s", training.epoch, training.epochs,
                            training.history.last_line())

    def on_train_end(self, training):
        if training.history.stopped:
            self.logger.log(self.level, "stopped after epoch %d: %s", training.epoch, training.history.stopped)


METHODS = ("on_train_begin", "on_epoch_end", "on_batch_end", "on_train_end")


class Callbacks:
    """Several callbacks as one: the bound methods of each moment, in the order given."""

    def __init__(self, callbacks):
        if not isinstance(callbacks, (list, tuple)):
            raise TypeError(f"callbacks must be a list of callbacks; got {callbacks!r}")
        self.members = tuple(callbacks)
        for method in METHODS:
            setattr(self, method, [])
        for i, callback in enumerate(callbacks):
            found = [method for method in METHODS if callable(getattr(callback, method, None))]
            if isinstance(callback, type) or not (found or callable(callback)):
                raise TypeError(f"callbacks[{i}] must be a function of the training or an object with one of "
                                f"{', '.join(METHODS)}; got {callback!r}")
            for method in found:
                getattr(self, method).append(getattr(callback, method))
            if not found:
                self.on_epoch_end.append(callback)

    def call(self, method, training):
        """Call that method of each callback that has it."""
        for function in getattr(self, method):
            function(training)
