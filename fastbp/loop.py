"""The training loop: epochs, and what is measured and decided between them."""

import time

import numpy as np

from . import _kernels, checks, gradient, threads
from . import callbacks as calls
from . import metrics as measures
from . import progress as reporting
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
        As for `Network.cost_and_gradient`; memory-mapped arrays are read where they lie. Or, for data larger than
        memory, X alone: an iterable of chunks (X, Y) or (X, Y, sample_weight), gone through anew each epoch, or a
        function that returns an iterator of them.
    optimizer : Optimizer, or a name: "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop"
        Anything with ``init(theta)`` and ``update(theta, D, state)``; see `fastbp.optimizers`. Its learning_rate may
        be a function of the step, see `fastbp.schedules`.
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
        Shuffle within windows of so many examples (rounded up to whole batches), so that a memory map is read nearly
        in order; None: all of an array at once, 8192 of chunks.
    validation_data : (X, Y) or (X, Y, sample_weight), optional
        Evaluated after each epoch.
    validation_split : float
        In [0, 1): this share of the examples, drawn by `seed`, is kept from training and evaluated instead.
    metrics : list of str or callable
        Measured after each epoch, of the training data (not of chunks) and the validation data: names of
        `fastbp.metrics`, or functions of (h, Y).
    callbacks : list
        See `fastbp.callbacks`: early stopping and the like.
    seed : int, numpy Generator or None
        Of the order, of what is dropped and of validation_split. The same seed, machine and versions give the same
        bits; None draws fresh entropy.
    progress : bool
        Show a bar (tqdm, on a terminal) or a line now and then.
    n_threads : int, optional
        At most this many threads; None decides by what was measured to help. Never changes a bit.

    Returns
    -------
    History
        J, val_J, val_accuracy and the metrics an epoch.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, before anything has changed (a bad chunk: when it comes, theta as the last step left it).
    DivergenceError
        J or theta is no longer finite; theta is as it was before that epoch.
    """
    checks.network(net)
    epochs = checks.count(epochs, "epochs")
    batch_size = None if batch_size is None else checks.count(batch_size, "batch_size")
    window = None if window is None else checks.count(window, "window")
    shuffle, show = checks.flag(shuffle, "shuffle"), checks.flag(progress, "progress")
    split = checks.number(validation_split, "validation_split", high=1)
    functions, callbacks = measures.resolve(metrics), calls.check(callbacks)
    rng = checks.generator(seed)
    validation = _validation(net, validation_data)
    if validation is not None and split:
        raise ValueError("validation_data and validation_split exclude each other; give one of them")
    if Y is None:
        feed = _stream(net, X, batch_size, shuffle, window, sample_weight, split, lam)
        m, weight, rows = np.inf, 1.0, batch_size
        if functions and validation is None:
            raise ValueError("metrics of chunks are measured on the validation data alone; give validation_data")
    else:
        data, chosen = net.data(X, Y, sample_weight), None
        if split:
            validation, chosen = _split(net, data, split, rng)
        feed = Arrays(data, batch_size, shuffle, window, chosen)
        m, weight, rows = feed.m, feed.weight, feed.m if batch_size is None else min(batch_size, feed.m)
    _check_classes(functions, data if Y is not None else validation)
    trainer = Trainer(
        net, optimizer, weight_decay=checks.coefficients(weight_decay, lam, weight, len(net.plan.shapes)), l1=l1,
        clip_value=clip_value, clip_norm=clip_norm, dropout=dropout, input_dropout=input_dropout, seed=rng,
        n_threads=n_threads,
    )
    warn_if_equal_units(net, stacklevel=2)
    training = Training(trainer, feed, rows, validation, functions, callbacks, rng, epochs)
    training.call("on_train_begin")
    with (
        threads.crew(n_threads, gradient.operations(net.plan, rows), epochs * m / rows) as trainer._crew,
        reporting.bar(epochs) if show else reporting.silent() as report,
    ):
        training.run(report)
    training.call("on_train_end")
    return training.history


class Training:
    """A training under way, as callbacks see it.

    Attributes
    ----------
    net, trainer, optimizer
    history : History
        Of the epochs finished.
    epoch, epochs : int
        How many these are, and are to be.
    J : float
        Of the last epoch; in `on_batch_end` of the last batch, before its step.
    rng : numpy Generator
        Of the orders to come.
    """

    def __init__(self, trainer, feed, batch_size, validation, functions, callbacks, rng, epochs):
        self.net, self.trainer, self.optimizer = trainer.net, trainer, trainer.optimizer
        self.rng, self.epochs, self.J = rng, epochs, np.nan
        self._feed, self._batch_size, self._validation = feed, batch_size, validation
        self._functions, self._callbacks = functions, callbacks
        self.history = History(examples=feed.m or 0)
        if validation is not None:
            self.history.val_J = []
            self.history.val_accuracy = [] if validation.classes else None
        for name in functions:
            if feed.m:
                self.history.metrics[name] = []
            if validation is not None and (name != "accuracy" or self.history.val_accuracy is None):
                self.history.metrics[f"val_{name}"] = []

    @property
    def epoch(self):
        return len(self.history)

    def stop(self, reason):
        """End the training after this epoch, or, in on_batch_end, after this batch; `history.stopped` tells why."""
        self.history.stopped = str(reason)

    def run(self, report):
        """All epochs, unless a callback stops before."""
        before = np.empty_like(self.net.theta)
        while self.epoch < self.epochs and self.history.stopped is None:
            np.copyto(before, self.net.theta)
            started = time.perf_counter()
            J = self._run_epoch()
            self.history.seconds.append(time.perf_counter() - started)
            if not (np.isfinite(J) and _kernels.first_nonfinite(self.net.theta[np.newaxis], np.inf) < 0):
                self.net.theta[:] = before
                self.history.seconds.pop()
                raise DivergenceError(
                    f"training diverged in epoch {self.epoch + 1}: J is {J:g}. theta is as it was before this "
                    "epoch; a smaller learning_rate or inputs scaled to about [-1, 1] may help", self.history,
                )
            self.J = J
            self.history.J.append(J)
            self._measure()
            report(self.history)
            self.call("on_epoch_end")

    def _run_epoch(self):
        """The steps of an epoch; their mean J"""
        sums, examples = (0.0, 0.0), 0
        each_batch = any(callable(getattr(callback, "on_batch_end", None)) for callback in self._callbacks)
        steps = self._one_by_one if each_batch else self.trainer._steps
        for data, order in self._feed.pieces(self.rng):
            examples += data.m if order is None else len(order)
            sums = steps(data, self._batch_size, order, sums=sums)
            if self.history.stopped is not None:
                break
        self.history.examples = self._feed.m or examples
        return sums[0] / sums[1] if sums[1] else 0.0

    def _one_by_one(self, data, batch_size, order, sums):
        """The same steps, a call each; batches of weight 0 have none"""
        order = np.arange(data.m) if order is None else order
        for first in range(0, len(order), batch_size):
            total, weight = self.trainer._steps(data, batch_size, order[first : first + batch_size])
            sums = sums[0] + total, sums[1] + weight
            if weight:
                self.J = total / weight
                self.call("on_batch_end")
            if self.history.stopped is not None:
                break
        return sums

    def _measure(self):
        history, validation = self.history, self._validation
        if validation is not None:
            result = self.net.evaluate_data(validation)
            history.val_J.append(result.cost)
            if result.accuracy is not None:
                history.val_accuracy.append(result.accuracy)
            self._apply(validation, None, "val_")
        if self._functions and self._feed.m:
            self._apply(self._feed.data, self._feed.rows, "")

    def _apply(self, data, rows, prefix):
        wanted = {name: f for name, f in self._functions.items() if prefix + name in self.history.metrics}
        if not wanted:
            return
        Y, w = data.Y, None if data.w is None else data.w[:, 0]
        if rows is not None:
            Y, w = Y[rows], None if w is None else w[rows]
        h = np.empty((len(Y), self.net.layer_sizes[-1]), self.net.dtype)
        gradient.predict(self.net.plan, self.net.theta, data.X, h, rows)
        for name, function in wanted.items():
            self.history.metrics[prefix + name].append(function(h, Y, w))

    def call(self, name):
        """That method of all callbacks that have it."""
        for callback in self._callbacks:
            method = getattr(callback, name, None)
            if callable(method):
                method(self)


def _stream(net, X, batch_size, shuffle, window, sample_weight, split, lam):
    """A feed of chunks; what needs all examples at once is refused."""
    if not callable(X) and (not hasattr(X, "__iter__") or isinstance(X, np.ndarray) or iter(X) is X):
        raise TypeError("Y may be left out only where X is an iterable of chunks (X, Y) that can be gone through anew "
                        f"each epoch, or a function that returns an iterator of them; got {type(X).__name__}")
    if batch_size is None:
        raise ValueError("batch_size must be a number where X yields chunks")
    instead = {"sample_weight": "chunks (X, Y, sample_weight)", "validation_split": "validation_data",
               "lam": "weight_decay"}
    for name, given in zip(instead, (sample_weight is not None, split, lam is not None), strict=True):
        if given:
            raise ValueError(f"{name} needs all examples at once; with chunks give {instead[name]}")
    return Stream(net, X, batch_size, shuffle, window)


def _check_classes(functions, data):
    """Metrics of classes need classes."""
    wanted = {"accuracy", "balanced_accuracy"} & functions.keys()
    if wanted and data is not None and data.classes is None:
        raise ValueError(f"metrics: {' and '.join(sorted(wanted))} need classes in Y: labels, or targets at the low "
                         "and the high end of what the output reaches")


def _split(net, data, split, rng):
    """(the examples kept for validation as data, the indices of the others)"""
    order, kept = rng.permutation(data.m), round(split * data.m)
    if not 0 < kept < data.m:
        raise ValueError(f"validation_split {split:g} of {data.m} examples leaves nothing to "
                         f"{'train on' if kept else 'validate with'}")
    held, rest = np.sort(order[:kept]), np.sort(order[kept:])
    w = None if data.w is None else data.w[held, 0] * data.scale
    return net.data(data.X[held], data.Y[held], w), rest


def _validation(net, validation_data):
    if validation_data is None:
        return None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError(
            f"validation_data must be (X, Y) or (X, Y, sample_weight); got {type(validation_data).__name__}"
        )
    return net.data(*validation_data, names=[f"validation_data {name}" for name in ("X", "Y", "sample_weight")])
