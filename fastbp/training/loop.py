"""The training loop: epochs of steps, and measures between them. It knows neither files nor ranks."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from ..engine.data import Data
from ..history import History
from ..network import Network
from .hooks import Hooks
from .measures import Measures
from .stretch import Room, Stretch, can_watch, possible, watch


class DivergenceError(ArithmeticError):
    """J or theta became infinite or NaN. theta is as before that epoch; `history` holds the epochs before.

    Attributes
    ----------
    history : History or None
        The epochs before.

    See Also
    --------
    train

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([1, 1], output="identity", seed=0)
    >>> try:
    ...     fastbp.train(net, [[1e100]], [1e100], optimizer=fastbp.SGD(1e100), epochs=9, seed=0)
    ... except fastbp.DivergenceError:
    ...     print(np.isfinite(net.theta).all())
    True
    """

    def __init__(self, message: str, history: History | None = None) -> None:
        super().__init__(message)
        self.history = history


DivergenceError.__module__ = "fastbp"


def diverged(J: float, history: History) -> DivergenceError:
    """The error of the epoch after those of the history, at the end of which J or theta was not finite."""
    return DivergenceError(
        f"training diverged in epoch {len(history) + 1}: J is {J:g}. theta is as it was before this "
        "epoch; a smaller learning_rate or inputs scaled to about [-1, 1] may help", history)


def run(training: "Training", hooks: Hooks) -> None:
    """Run the epochs: steps, then measures, each followed by the hooks."""
    stretch = training.stretch() if hooks.are_idle else None
    if stretch is not None:
        run_stretch(training, stretch, hooks)
        return
    while training.goes_on:
        hooks.before_epoch(training)            # the order of the examples is not drawn yet
        with training.finite():                 # else theta is restored: DivergenceError
            for piece in training.steps(hooks):
                hooks.after_batches(training, piece)
                if training.left_off:           # stop() or pause()
                    break
        if training.is_paused:                  # the history has only whole epochs
            return
        training.record()
        training.measure()
        hooks.after_epoch(training)


def run_stretch(training: "Training", stretch: Stretch, hooks: Hooks) -> None:
    """Run the epochs in compiled code, each time up to the next measures or report."""
    measured = training.measures.any and not training.watched_by(stretch)
    one_by_one = hooks.shows or measured
    while training.goes_on:
        training.follow(stretch, training.epoch + 1 if one_by_one else training.epochs)
        if measured:
            training.measure()
        hooks.after_epoch(training)


class Piece(NamedTuple):
    """The batches run between two looks of the hooks: how many, and their weight.

    If no callback watches each batch, weight is that of the whole epoch so far.
    """

    batches: int
    weight: float


@dataclass
class Position:
    """How far an epoch has come: examples, sums of m_b J and of m_b over their batches, seconds."""

    examples: int = 0
    cost: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0


class Training:
    """A training under way, as callbacks see it.

    Attributes
    ----------
    net : Network
    trainer : Trainer
    optimizer : Optimizer
    history : History
        Of the finished epochs.
    epoch, epochs : int
        The number of finished epochs, and of all epochs.
    J : float
        Of the last epoch; in `on_batch_end` of the last batch, before its step.
    rng : numpy Generator
        Draws the order of each further epoch.
    callbacks : list
    position : Position
        How far the current epoch has come.
    paused : str or None
        Why the training is paused.
    rank : int
        Of this process; 0 if there is only one. A callback on one rank can stop all.
    """

    rank = 0

    def __init__(
        self, trainer: Any, feed: Any, batch_size: int, measures: Measures, callbacks: list[Any],
        rng: np.random.Generator, epochs: int,
    ) -> None:
        self.net: Network = trainer.net
        self.trainer, self.feed, self.batch_size, self.callbacks = trainer, feed, batch_size, callbacks
        self.rng, self.epochs, self.J = rng, epochs, np.nan
        self.position = Position()
        self.paused: str | None = None
        self.history = History(examples=feed.m or 0)
        self.measures, self._passed = measures, 0      # examples in the pieces of the epoch so far
        measures.begin(self.history)
        self._before = np.empty_like(self.net.theta)
        self.room = Room()

    def __repr__(self) -> str:
        return f"<Training of {self.net!r}, epoch {self.epoch} of {self.epochs}, J {self.J:.5g}>"

    @property
    def optimizer(self) -> Any:
        return self.trainer.optimizer

    @optimizer.setter
    def optimizer(self, value: Any) -> None:
        self.trainer.optimizer = value

    @property
    def epoch(self) -> int:
        return len(self.history)

    @property
    def validation(self) -> Any:
        """The validation examples, checked, or None."""
        return self.measures.validation

    def stop(self, reason: str) -> None:
        """Stop after this epoch or, in on_batch_end, after this batch; `history.stopped` holds the reason."""
        self.history.stopped = str(reason).encode(errors="backslashreplace").decode()   # a checkpoint keeps Unicode

    def pause(self, reason: str) -> None:
        """Pause after this epoch or, in on_batch_end, after this batch; the checkpoint can be resumed. The history has
        only whole epochs."""
        self.paused = str(reason)

    @property
    def goes_on(self) -> bool:
        return self.epoch < self.epochs and not self.left_off

    @property
    def left_off(self) -> bool:
        """Stopped or paused?"""
        return self.history.stopped is not None or self.paused is not None

    @property
    def is_paused(self) -> bool:
        """Paused, and not stopped?"""
        return self.paused is not None and self.history.stopped is None

    def steps(self, hooks: Hooks) -> Iterator[Piece]:
        """Take the steps of an epoch from its position on; one call takes all between two looks of the hooks."""
        skip, self._passed = self.position.examples, 0
        began = time.perf_counter() - self.position.seconds
        for data, order in self.feed.pieces(self.rng):
            m, first = data.m if order is None else len(order), skip
            skip, self._passed = max(0, skip - m), self._passed + m
            while first < m:
                batches = hooks.batches
                last = m if batches is None else min(m, first + batches * self.batch_size)
                weight = self._take(data, _between(order, first, last, m), hooks.watched)
                self.position.examples += last - first
                self.position.seconds = time.perf_counter() - began
                yield Piece(-(-(last - first) // self.batch_size), weight)
                first = last

    def _take(self, data: Data, order: NDArray[np.int64] | None, watched: bool) -> float:
        """Take steps over these examples in order; returns the weight of the epoch so far or, if callbacks watch each
        batch, of this batch."""
        position, steps = self.position, self.trainer.steps
        if not watched:
            before = position.cost, position.weight
            position.cost, position.weight = steps.take(data, self.batch_size, order, before=before)
            return position.weight
        cost, weight = steps.take(data, self.batch_size, order)
        self.J = cost / weight if weight else self.J
        position.cost, position.weight = position.cost + cost, position.weight + weight
        return weight

    @contextmanager
    def finite(self) -> Iterator[None]:
        """Guard the steps of an epoch: if J or theta is not finite after them, theta becomes what it was before."""
        np.copyto(self._before, self.net.theta)
        yield
        self.history.examples = self.feed.m or self._passed
        J = self._mean()
        if not (math.isfinite(J) and _kernels.first_nonfinite(self.net.theta[np.newaxis], np.inf) < 0):
            self.net.theta[:] = self._before
            raise diverged(J, self.history)

    def _mean(self) -> float:
        """J of the epoch's batches."""
        return self.position.cost / self.position.weight if self.position.weight else 0.0

    def record(self) -> None:
        """Write J and the seconds of the finished epoch into the history."""
        self.J = self._mean()
        self.history.J.append(self.J)
        self.history.seconds.append(self.position.seconds)
        self.position = Position()
        if (ended := self.trainer.steps.ended) and self.history.stopped is None:
            self.stop(ended)

    def measure(self) -> None:
        """Fill the other columns of the history."""
        self.measures.take(self.net, self.history)

    def stretch(self) -> Stretch | None:
        """The epochs in compiled code; None if that cannot follow them. Nothing in Python may be asked for between two
        of them but measures and reports."""
        feed, steps, m = self.feed, self.trainer.steps, self.feed.m
        if not m or self.trainer.driver is not steps or steps.crew.n > 1 or (
            feed.shuffle and type(self.rng) is not np.random.Generator
        ) or not possible(steps, feed.data, m, self.batch_size, feed.shuffle, feed.window):
            return None
        rng = self.rng if feed.shuffle else None
        return Stretch(steps, feed.data, self.batch_size, self.epochs, feed.rows, rng, self.room)

    def watched_by(self, stretch: Stretch) -> bool:
        """Let compiled code take the measures, if they are those of the validation data alone."""
        net, measures = self.net, self.measures
        if measures.functions or not can_watch(net, measures.validation):
            return False
        watch(stretch.own, net, measures.validation, self.room)
        return True

    def follow(self, stretch: Stretch, last: int) -> None:
        """Take the steps up to the end of epoch `last`, or of the one that `between` names, and write the epochs into
        the history."""
        while not stretch.advance(last):
            last = self.between(stretch, last)
        history = self.history
        history.examples = self.feed.m
        J = stretch.into(history)
        if not math.isfinite(J) or stretch.diverged:
            raise diverged(J, history)
        self.J = J

    def between(self, stretch: Stretch, last: int) -> int:
        """The epoch to stop after, at most `last`; asked between two compiled calls of a stretch, about every 20 ms."""
        return last

    def close(self) -> None:
        """End the training; if it was paused, the history says why."""
        if self.is_paused:
            self.history.stopped = self.paused


def _between(order: NDArray[np.int64] | None, first: int, last: int, m: int) -> NDArray[np.int64] | None:
    """The order of the examples first .. last - 1 of m; None: unshuffled."""
    if (first, last) == (0, m):
        return order
    return np.arange(first, last) if order is None else order[first:last]
