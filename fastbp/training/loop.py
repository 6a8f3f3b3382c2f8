"""The training loop: epochs, and what is measured and decided between them."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _kernels
from .. import callbacks as calls
from .. import metrics as measures
from .._types import Comm, Count, Every, Examples, Flag, Number, Path, PerLayer, Rule, RuleName, Seed
from ..distributed import group as distributed
from ..distributed.group import Group
from ..distributed.shard import Shard
from ..engine import checks, sums, threads
from ..engine.data import Data
from ..engine.initialize import warn_if_equal_units
from ..history import History
from ..network import Network
from . import checkpoint as keeping
from . import feed, lanes
from . import progress as reporting
from .checkpoint import Checkpoint, Nothing, Position
from .feed import Arrays, Stream
from .lanes import Lanes
from .trainer import Trainer


class DivergenceError(ArithmeticError):
    """J or theta became infinite or NaN; theta holds its last finite state, `history` the epochs before."""

    def __init__(self, message: str, history: History | None = None) -> None:
        super().__init__(message)
        self.history = history


def train(
    net: Network, X: ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]], Y: ArrayLike | None = None, *,
    optimizer: Rule | RuleName = "adam", epochs: Count, batch_size: Count | None = 32, weight_decay: PerLayer = 0.0,
    lam: Number | None = None, l1: Number = 0.0, clip_value: Number | None = None, clip_norm: Number | None = None,
    dropout: PerLayer = 0.0, input_dropout: Number = 0.0, sample_weight: ArrayLike | None = None,
    shuffle: Flag = True, window: Count | None = None, validation_data: Examples | None = None,
    validation_split: Number = 0.0, metrics: Sequence[str | Callable[..., Any]] = (), callbacks: Sequence[object] = (),
    seed: Seed = None, progress: Flag = False, n_threads: Count | None = None, checkpoint: Path | None = None,
    checkpoint_every: Every = 1, resume: Flag = False, comm: Comm | Group | None = None,
    sync_every: Count | None = None,
) -> History:
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
    checkpoint : str, bytes or os.PathLike, optional
        A file that holds all this training goes on from, replaced as a whole: at once (without `resume` whatever it
        held), every `checkpoint_every`, at the end, and after an exception. `fastbp.load` reads its network.
    checkpoint_every : int, or (number, "epochs", "batches" or "seconds")
    resume : bool
        Go on from `checkpoint`, if it is there, to the bits of a training that was never stopped; `epochs` is the
        total. The network's theta and the generator of `seed` become those of the file. One made for another network,
        optimizer, data shape or setting is refused.
    comm : communicator, or fastbp.distributed.Group, optional
        Of mpi4py: each rank calls `train` with its own rows (none too), and theta, the history and what callbacks see
        are the same on all; batch_size counts the examples of all ranks, of which each brings its share, seed and start
        values are those of rank 0, which alone shows progress and writes files. docs/distributed.md
    sync_every : int, optional
        With comm: ranks take so many steps alone before theta and the optimizer's moments are averaged over them.

    Returns
    -------
    History
        J, val_J, val_accuracy and the metrics an epoch.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, before anything has changed (a bad chunk: when it comes, theta as the last step left it).
    DivergenceError
        J or theta is no longer finite; theta is as it was before that epoch (or where it was resumed in it).
    OSError
        The checkpoint cannot be read or written; the old file is as it was.
    RankError
        Another rank has raised one of these, or something else.
    """
    group = distributed.group(comm)

    def check():
        checks.network(net)
        return (
            checks.count(epochs, "epochs"), None if batch_size is None else checks.count(batch_size, "batch_size"),
            None if window is None else checks.count(window, "window"), checks.flag(shuffle, "shuffle"),
            checks.flag(progress, "progress") and group.rank == 0,
            checks.number(validation_split, "validation_split", high=1), measures.resolve(metrics),
            calls.check(callbacks), checks.generator(seed),
        )

    with group.guard():
        epochs, batch_size, window, shuffle, show, split, functions, callbacks, given = group.section(check)
        given = group.generator(given)
        keeper, kept = group.section(lambda: keeping.keeper(checkpoint, checkpoint_every, resume, given, group.rank))
        kept, = group.first_of(kept)
        rng = given if kept is None else kept.rewound()
        arguments = net, X, Y, sample_weight, batch_size, shuffle, window, split, validation_data, rng, lam
        if group.together:
            settings = {"epochs": epochs, "metrics": list(functions), "sync_every": sync_every}
            source, validation, data = lanes.sources(*arguments, group, sync_every or 1, settings)
        else:
            source, validation, data = feed.sources(*arguments)
        m, weight = (np.inf, 1.0) if data is None else (source.m, source.weight)
        rows = m if batch_size is None else min(batch_size, m)
        c = group.section(lambda: _coefficients(net, weight_decay, lam, weight, functions, data, validation))
        trainer = Trainer(
            net, optimizer, weight_decay=c, l1=l1, clip_value=clip_value, clip_norm=clip_norm, dropout=dropout,
            input_dropout=input_dropout, seed=rng, n_threads=n_threads, comm=group, sync_every=sync_every,
        )
        training = Training(trainer, source, rows, validation, functions, callbacks, given, epochs, keeper)
        conditions = None if checkpoint is None and kept is None else keeping.conditions(
            training, batch_size=rows, shuffle=shuffle, validation_split=split, data=data
        )
        if kept is None:
            group.section(lambda: group.rank or warn_if_equal_units(net, stacklevel=4))
        else:
            group.section(lambda: kept.check(training, conditions))
        training.call("on_train_begin")
        group.section(lambda: keeper.begin(training, conditions) if kept is None else kept.into(training))
        local = rows / group.size
        with (
            threads.crew(trainer.n_threads, sums.operations(net.plan, local), epochs * m / rows) as trainer._crew,
            reporting.bar(epochs, done=training.epoch) if show else reporting.silent() as report,
        ):
            training.run(report)
        training.call("on_train_end")
        group.unchanged(net.theta)
    return training.history


def _coefficients(net, weight_decay, lam, weight, functions, data, validation):
    """c of each Theta; and metrics of classes need classes"""
    if functions and data is None and validation is None:
        raise ValueError("metrics of chunks are measured on the validation data alone; give validation_data")
    measures.check_classes(functions, validation if data is None else data)
    return checks.coefficients(weight_decay, lam, weight, len(net.plan.shapes))


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
    callbacks : list
    position : Position
        Where in an epoch it stands.
    paused : str or None
        Why it is left off for now.
    rank : int
        Of this process, 0 where there is one: each rank has its callbacks, those of one may stop all.
    """

    def __init__(
        self, trainer: Trainer, feed: Arrays | Stream | Lanes, batch_size: int, validation: Data | Shard | None,
        functions: dict[str, Callable[..., float]], callbacks: list[Any], rng: np.random.Generator, epochs: int,
        keeper: Nothing | Checkpoint,
    ) -> None:
        self.net, self.trainer, self.optimizer = trainer.net, trainer, trainer.optimizer
        self._group, self.rank = trainer.group, trainer.group.rank
        self.rng, self.epochs, self.J = rng, epochs, np.nan
        self.feed, self.validation, self.callbacks = feed, validation, callbacks
        self.position, self.paused = Position(), None
        self._batch_size, self._functions, self.keeper = batch_size, functions, keeper
        self._methods = self._group.any_has(lambda name: any(callable(getattr(each, name, None)) for each in callbacks))
        self._watched = self._methods["on_batch_end"]
        self._answers = {}      # Y and weights of all ranks, by prefix
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
    def epoch(self) -> int:
        return len(self.history)

    def stop(self, reason: str) -> None:
        """End the training after this epoch, or, in on_batch_end, after this batch; `history.stopped` tells why."""
        self.history.stopped = str(reason).encode(errors="backslashreplace").decode()   # a checkpoint keeps Unicode

    def pause(self, reason: str) -> None:
        """Leave off after this epoch or, in on_batch_end, after this batch, for a training that goes on from the
        checkpoint; of an epoch that is not finished the history says nothing."""
        self.paused = str(reason)

    def run(self, report: Callable[..., None]) -> None:
        """All epochs, unless a callback stops before; whatever ends them, the checkpoint holds how far they came."""
        try:
            self._run(report)
            self._group.section(lambda: self.keeper.end(self))
        except DivergenceError:
            raise
        except BaseException as error:
            self.keeper.rescue(self, error)
            raise
        if self.paused is not None and self.history.stopped is None:
            self.history.stopped = self.paused

    def _run(self, report):
        before = np.empty_like(self.net.theta)
        while self.epoch < self.epochs and self.history.stopped is None and self.paused is None:
            np.copyto(before, self.net.theta)
            self.keeper.begin_epoch(self)
            J = self._run_epoch_of_ranks(report) if self._group.together else self._run_epoch(report)
            if not (np.isfinite(J) and _kernels.first_nonfinite(self.net.theta[np.newaxis], np.inf) < 0):
                self.net.theta[:] = before
                raise self._group.alike(DivergenceError(
                    f"training diverged in epoch {self.epoch + 1}: J is {J:g}. theta is as it was before this "
                    "epoch; a smaller learning_rate or inputs scaled to about [-1, 1] may help", self.history,
                ))
            if self.paused is not None and self.history.stopped is None:
                return
            self.J = J
            self.history.J.append(J)
            self.history.seconds.append(self.position.seconds)
            self.position = Position()
            self._measure()
            self._group.section(lambda: report(self.history))
            self.call("on_epoch_end")
            self._group.section(lambda: self.keeper.after_epoch(self))

    def _run_epoch(self, report):
        """The steps of an epoch, from where it stands; their mean J"""
        skip, examples = self.position.examples, 0
        self._began = time.perf_counter() - self.position.seconds
        for data, order in self.feed.pieces(self.rng):
            m = data.m if order is None else len(order)
            if skip < m:
                self._run_piece(data, order, skip, m)
            skip, examples = max(0, skip - m), examples + m
            report(self.history, examples)
            if self.history.stopped is not None or self.paused is not None:
                break
        self.history.examples = self.feed.m or examples
        self.position.seconds = time.perf_counter() - self._began
        return self.position.cost / self.position.weight if self.position.weight else 0.0

    def _run_epoch_of_ranks(self, report):
        """The same where each rank brings its share of every batch. What follows a step is done in the section of the
        next one: there is one sum a step."""
        position, trainer, due = self.position, self.trainer, False
        steps = trainer.sync_every or 1
        self._began = time.perf_counter() - position.seconds

        def prepare():
            return self.feed.epoch(self.rng, position.examples // self._batch_size, steps)

        def before():
            nonlocal due
            if due:
                due = False
                report(self.history, position.examples)
                self.keeper.after_batches(self, steps)

        for cost, weight in trainer.ranks.steps(prepare, before, self._watched):
            position.cost, position.weight = position.cost + cost, position.weight + weight
            position.examples += steps * self._batch_size
            position.seconds, due = time.perf_counter() - self._began, True
            if self._watched and weight:
                self.J = cost / weight
                self.call("on_batch_end")
            if self.history.stopped is not None or self.paused is not None:
                break
        told = self._group.gather(position.seconds, self.feed.brought)
        position.seconds = told[0, 0]       # the same on all ranks: callbacks see it
        self.history.examples = self.feed.m or int(told[:, 1].sum())
        return position.cost / position.weight if position.weight else 0.0

    def _run_piece(self, data, order, first, m):
        """The steps of a piece of an epoch from its example `first` on: in one call, or in as many as callbacks (one a
        batch) and checkpoints need."""
        position = self.position
        while first < m:
            batches = 1 if self._watched else self.keeper.batches
            last = m if batches is None else min(m, first + batches * self._batch_size)
            part = order
            if (first, last) != (0, m):
                part = np.arange(first, last) if order is None else order[first:last]
            sums = (0.0, 0.0) if self._watched else (position.cost, position.weight)
            cost, weight = self.trainer._steps(data, self._batch_size, part, sums=sums)
            if self._watched:
                self.J = cost / weight if weight else self.J
                position.cost, position.weight = position.cost + cost, position.weight + weight
            else:
                position.cost, position.weight = cost, weight
            position.examples += last - first
            position.seconds = time.perf_counter() - self._began
            if self._watched and weight:    # a batch of weight 0 has no step
                self.call("on_batch_end")
            self.keeper.after_batches(self, -(-(last - first) // self._batch_size))
            if self.history.stopped is not None or self.paused is not None:
                break
            first = last

    def _measure(self):
        history, validation = self.history, self.validation
        if validation is not None:
            result = self.net.evaluate_data(validation)
            history.val_J.append(result.cost)
            if result.accuracy is not None:
                history.val_accuracy.append(result.accuracy)
            self._apply(validation, "val_")
        if self._functions and self.feed.m:
            self._apply(self.feed, "")

    def _apply(self, source, prefix):
        """The metrics over a source of examples: of this process, or of all ranks"""
        wanted = {name: f for name, f in self._functions.items() if prefix + name in self.history.metrics}
        if not wanted:
            return
        if self._group.together:
            if prefix not in self._answers:
                self._answers[prefix] = source.together(_targets), source.together(_weights)
            h, (Y, w) = source.together(self._outputs), self._answers[prefix]
        else:
            data, rows = (source, None) if source is self.validation else (source.data, source.rows)
            h, Y, w = self._outputs(data, rows), _of(data.Y, rows), None if data.w is None else _of(data.w[:, 0], rows)
        values = self._group.section(lambda: {name: function(h, Y, w) for name, function in wanted.items()})
        for name, value in values.items():
            self.history.metrics[prefix + name].append(value)

    def _outputs(self, data, rows):
        """h (m, K)"""
        h = np.empty((data.m if rows is None else len(rows), self.net.layer_sizes[-1]), self.net.dtype)
        sums.predict(self.net.plan, self.net.theta, data.X, h, rows)
        return h

    def call(self, name: str) -> None:
        """That method of all callbacks that have it."""
        if not self._methods[name]:
            return

        def each():
            for callback in self.callbacks:
                method = getattr(callback, name, None)
                if callable(method):
                    method(self)

        self._group.section(each)
        self.history.stopped, self.paused = self._group.agreed(self.history.stopped, self.paused)


def _of(a, rows):
    return a if rows is None else a[rows]


def _targets(data, rows):
    """Labels, or targets in one dtype whatever each rank's were"""
    Y = _of(data.Y, rows)
    return Y if data.labels is not None else Y.astype(np.float64)


def _weights(data, rows):
    return np.ones(data.m if rows is None else len(rows)) if data.w is None else _of(data.w[:, 0], rows).astype(float)
