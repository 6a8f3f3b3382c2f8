"""The training loop: epochs, what is measured after each, and who is told."""

import copy
import time

import numpy as np

from . import _kernels, checks, gradient, metrics, regularisation, threads
from . import progress as reporting
from .callbacks import Callbacks
from .feed import Arrays, Stream
from .history import History
from .initialize import warn_if_equal_units
from .training import Trainer


class DivergenceError(ArithmeticError):
    """J or theta became infinite or NaN; theta holds its last finite state, `history` the epochs before."""

    def __init__(self, message, history=None):
        super().__init__(message)
        self.history = history


def train(
    net, X, Y=None, *, optimizer="adam", epochs, batch_size=32, weight_decay=0.0, lam=None, l1=0.0, clip_value=None,
    clip_norm=None, dropout=0.0, input_dropout=0.0, sample_weight=None, shuffle=True, window=None,
    validation_data=None, validation_split=0.0, metrics=(), callbacks=(), seed=None, progress=False, n_threads=None,
):
    """Train a network: `epochs` times over the examples, a step of the optimizer along D of each batch.

    Parameters
    ----------
    net : Network
        Its theta is changed in place.
    X, Y, sample_weight
        As for `Network.cost_and_gradient`; memory-mapped arrays are read where they lie. Or X alone: an iterable of
        chunks (X, Y) or (X, Y, sample_weight), or a function that returns one, iterated anew each epoch.
    optimizer : Optimizer, or a name: "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop"
        Anything with ``init(theta)`` and ``update(theta, D, state)``; see `fastbp.optimizers`.
    epochs : int
    batch_size : int or None
        Examples of a step; None takes all of them (batch gradient descent), 1 is the online form, more than there
        are is clipped. Each batch divides by its own size (or sum of weights), the short last one too.
    weight_decay, lam : float
        c of docs/math.md, one number or one for each Theta; or the course's lambda: c = lam / m, m the training rows
        (or the sum of their weights).
    l1 : float
        J += l1 sum |Theta_ij|, D += l1 sign(Theta_ij), j >= 1.
    clip_value, clip_norm : float, optional
        Every D_ij, penalties included, is cut to [-clip_value, clip_value]; then D of all layers together is scaled so
        that |D| <= clip_norm.
    dropout : float or sequence of float
        Rate p of the hidden layers, one number or one a layer, in [0, 1): at each step an a of an example is 0 with
        probability p, else a / (1 - p) (Srivastava et al. 2014). The history's J is that of the steps; predictions and
        evaluations drop nothing.
    input_dropout : float
        The same for the inputs.
    shuffle : bool
        A new order of the examples each epoch; False takes them as they lie.
    window : int, optional
        Shuffle within windows of so many examples (rounded up to whole batches), one after the other: what lies on a
        disk is read in order. None: all of an array; 8192 of chunks. The same order has the same bits from either.
    validation_data : (X, Y) or (X, Y, sample_weight), optional
        Evaluated after each epoch.
    validation_split : float
        Instead: this share of the examples, in [0, 1), drawn by `seed` (the last part of a permutation), is held out.
    metrics : list of str or callable
        Measured after each epoch on the training data (one more pass; not of chunks) and the validation data: names of
        `fastbp.metrics`, or functions of (h, Y), Y as labels (m,) or targets (m, K).
    callbacks : list
        See `fastbp.callbacks`.
    seed : int, numpy Generator or None
        Of the order, and of what is dropped. The same seed, machine and versions give the same bits; None draws fresh
        entropy.
    progress : bool
        Show a bar (tqdm, on a terminal or in a notebook) or a line now and then.
    n_threads : int, optional
        At most this many threads; None decides by what was measured to help. Never changes a bit.

    Returns
    -------
    History
        J, val_J, val_accuracy and the metrics an epoch.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, before anything has changed (in a chunk: theta is that of the last finished step).
    DivergenceError
        J or theta is no longer finite; theta is as it was before that epoch.
    """
    checks.network(net)
    epochs = checks.count(epochs, "epochs")
    batch_size = None if batch_size is None else checks.count(batch_size, "batch_size")
    window = None if window is None else checks.count(window, "window")
    shuffle, show = checks.flag(shuffle, "shuffle"), checks.flag(progress, "progress")
    share = checks.number(validation_split, "validation_split", high=1)
    measures, told = _resolve(metrics), Callbacks(callbacks)
    rng = checks.generator(seed)
    if Y is None:
        feed = _stream(net, X, epochs, batch_size, shuffle, window, lam, sample_weight, share)
        validation = _validation(net, validation_data)
    else:
        feed, validation = _arrays(net, X, Y, sample_weight, batch_size, shuffle, window, validation_data, share, rng)
    _check_classes(measures, feed, validation)
    c = checks.coefficients(weight_decay, lam, feed.weight, len(net.plan.shapes))
    trainer = Trainer(
        net, optimizer, weight_decay=c, l1=l1, clip_value=clip_value, clip_norm=clip_norm, dropout=dropout,
        input_dropout=input_dropout, seed=rng, n_threads=n_threads,
    )
    warn_if_equal_units(net, stacklevel=2)

    rows = feed.m if batch_size is None else min(batch_size, feed.m or batch_size)
    training = Training(trainer, feed, epochs, rows, rng, validation, measures, told)
    told.call("on_train_begin", training)
    steps = epochs * feed.m / rows if feed.m else np.inf
    with (
        threads.crew(n_threads, gradient.operations(net.plan, rows), steps) as trainer._crew,
        reporting.bar(epochs) if show else reporting.silent() as report,
    ):
        training.run(report)
    told.call("on_train_end", training)
    return training.history


class Training:
    """A training under way, as callbacks see it.

    Attributes
    ----------
    net : Network
    trainer : Trainer
        Its `state` is the optimizer's.
    history : History
    epoch : int
        Finished ones.
    epochs : int
        At most.
    J : float
        Of the last epoch; in `on_batch_end` of the last batch, before its step.
    learning_rate : float
        Of the next step; assigning leaves the optimizer that `train` was given as it is.
    rng : numpy Generator
        Of the orders to come.
    """

    def __init__(self, trainer, feed, epochs, batch_size, rng, validation=None, metrics=None, callbacks=None):
        self.net, self.trainer, self.rng = trainer.net, trainer, rng
        self.epoch, self.epochs, self.J = 0, epochs, np.nan
        self._feed, self._batch_size, self._validation = feed, batch_size, validation
        self._metrics, self._callbacks = metrics or {}, callbacks or Callbacks(())
        self._before = np.empty_like(self.net.theta)
        self.history = history = History(examples=feed.m or 0)
        if validation is not None:
            history.val_J = []
            history.val_accuracy = [] if validation.classes else None
        for name in self._metrics:
            if feed.m:
                history.metrics[name] = []
            if validation is not None and f"val_{name}" not in history.columns:
                history.metrics[f"val_{name}"] = []

    def stop(self, reason):
        """End the training after the running epoch, or after the batch in whose `on_batch_end` this is called."""
        self.history.stopped = str(reason)

    @property
    def learning_rate(self):
        optimizer = self.trainer.optimizer
        rate = getattr(optimizer, "learning_rate", None)
        return optimizer.rate(self.trainer.state) if callable(rate) else rate

    @learning_rate.setter
    def learning_rate(self, value):
        value = checks.rate(value)
        if not hasattr(self.trainer.optimizer, "learning_rate"):
            raise TypeError(f"{type(self.trainer.optimizer).__name__} has no learning_rate")
        self.trainer.optimizer = copy.copy(self.trainer.optimizer)
        self.trainer.optimizer.learning_rate = value

    def run(self, report):
        """Epochs until there are enough of them or a callback stops; `report(history)` after each."""
        history = self.history
        while self.epoch < self.epochs and history.stopped is None:
            np.copyto(self._before, self.net.theta)
            started = time.perf_counter()
            J = self._run_epoch()
            elapsed = time.perf_counter() - started
            self._check_finite(J)
            self.J = J
            self.epoch += 1
            history.J.append(J)
            history.seconds.append(elapsed)
            self._measure()
            self._callbacks.call("on_epoch_end", self)
            report(history)

    def _run_epoch(self):
        """All steps of one epoch; their mean J"""
        sums, examples, steps = (0.0, 0.0), 0, self._batchwise if self._callbacks.on_batch_end else self.trainer._steps
        for data, order in self._feed.pieces(self.rng):
            sums = steps(data, self._batch_size, order, sums=sums)
            examples += data.m if order is None else len(order)
            if self.history.stopped is not None:
                break
        if self._feed.m is None:
            self.history.examples = examples
        return sums[0] / sums[1] if sums[1] else np.nan

    def _batchwise(self, data, batch_size, order, sums):
        """The same steps, one call a batch"""
        order = np.arange(data.m) if order is None else order
        for first in range(0, len(order), batch_size):
            total, weight = self.trainer._steps(data, batch_size, order[first : first + batch_size])
            sums = sums[0] + total, sums[1] + weight
            if weight:      # else there was no step
                self.J = total / weight
                self._callbacks.call("on_batch_end", self)
            if self.history.stopped is not None:
                break
        return sums

    def _check_finite(self, J):
        if np.isfinite(J) and _kernels.first_nonfinite(self.net.theta[np.newaxis], np.inf) < 0:
            return
        np.copyto(self.net.theta, self._before)
        raise DivergenceError(
            f"training diverged in epoch {self.epoch + 1}: J is {J:g}. theta is as it was before this epoch; a smaller "
            "learning_rate or inputs scaled to about [-1, 1] may help", self.history,
        )

    def _measure(self):
        """The validation and the metrics, into the history"""
        history, validation = self.history, self._validation
        if validation is not None:
            history.val_J.append(gradient.cost(
                self.net.plan, self.net.theta, validation, regularisation.none(self.net.plan),
                self.trainer.n_threads,
            ))
            if validation.classes or self._metrics:
                h = self._predict(validation)
                if validation.classes:
                    history.val_accuracy.append(validation.accuracy(h))
                self._measure_on(validation, h, "val_")
        if self._metrics and self._feed.m:
            data = self._feed.data if self._feed.rows is None else _rows(self.net, self._feed.data, self._feed.rows)
            self._measure_on(data, self._predict(data), "")

    def _predict(self, data):
        h = np.empty((data.m, self.net.layer_sizes[-1]), self.net.dtype)
        gradient.predict(self.net.plan, self.net.theta, data.X, h)
        return h

    def _measure_on(self, data, h, prefix):
        w = None if data.w is None else data.w[:, 0]
        for name, function in self._metrics.items():
            if f"{prefix}{name}" in self.history.metrics:
                self.history.metrics[f"{prefix}{name}"].append(function(h, data.Y, w))


_resolve = metrics.resolve  # `metrics` is an argument of train


def _check_classes(measures, feed, validation):
    """Metrics of classes need classes"""
    data = feed.data if feed.m else validation
    if {"accuracy", "balanced_accuracy"} & measures.keys() and data is not None and data.classes is None:
        raise ValueError("metrics: accuracy and balanced_accuracy need classes, labels or targets of 0 and 1; Y has "
                         "others")


def _arrays(net, X, Y, sample_weight, batch_size, shuffle, window, validation_data, share, rng):
    """The feed of arrays, and the validation data: given, held out, or None"""
    data = net.data(X, Y, sample_weight)
    if not share:
        return Arrays(data, batch_size, shuffle, window), _validation(net, validation_data)
    if validation_data is not None:
        raise ValueError("validation_data and validation_split are two ways to the same thing; give one of them")
    held = round(share * data.m)
    if not 0 < held < data.m:
        raise ValueError(f"validation_split {share:g} of {data.m} examples holds out {held}; at least one must be, and "
                         "one left to learn from")
    order = rng.permutation(data.m)
    rows, held = np.sort(order[:-held]), np.sort(order[-held:])
    if data.w is not None and not data.w[rows].any():
        raise ValueError("sample_weight is 0 for all examples that validation_split leaves to learn from")
    return Arrays(data, batch_size, shuffle, window, rows), _rows(net, data, held)


def _rows(net, data, rows):
    """Data of some of the examples, a copy"""
    return net.data(data.X[rows], data.Y[rows], None if data.w is None else data.w[rows, 0])


def _stream(net, X, epochs, batch_size, shuffle, window, lam, sample_weight, share):
    """The feed of chunks"""
    if isinstance(X, np.ndarray) or hasattr(X, "__array__") or not (callable(X) or hasattr(X, "__iter__")):
        raise TypeError(f"Y is missing; X alone must be an iterable of chunks (X, Y) or a function that returns one; "
                        f"got {type(X).__name__}")
    if epochs > 1 and hasattr(X, "__next__"):
        raise TypeError(f"X is an iterator ({type(X).__name__}), which ends after one epoch; pass an object with "
                        "__iter__, or a function that returns an iterator")
    if batch_size is None:
        raise ValueError("batch_size must be a number where X is an iterable of chunks; got None")
    if sample_weight is not None:
        raise ValueError("sample_weight goes into the chunks: (X, Y, sample_weight)")
    if lam is not None:
        raise ValueError("lam needs the number of examples, which chunks do not tell; use weight_decay (c = lam / m)")
    if share:
        raise ValueError("validation_split needs arrays; use validation_data where X is an iterable of chunks")
    return Stream(net, X, batch_size, shuffle, window)


def _validation(net, validation_data):
    if validation_data is None:
        return None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError(
            f"validation_data must be (X, Y) or (X, Y, sample_weight); got {type(validation_data).__name__}"
        )
    return net.data(*validation_data, names=("validation_data X", "validation_data Y"))
