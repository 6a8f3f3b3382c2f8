"""The training loop: epochs of steps, and what is measured between them. It knows neither files nor ranks."""

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


class DivergenceError(ArithmeticError):
    """J or theta became infinite or NaN; theta holds its last finite state, `history` the epochs before."""

    def __init__(self, message: str, history: History | None = None) -> None:
        super().__init__(message)
        self.history = history


DivergenceError.__module__ = "fastbp"


def run(training: "Training", hooks: Hooks) -> None:
    """Epoch after epoch: its steps, then the measures, each followed by the hooks."""
    while training.goes_on:
        hooks.before_epoch(training)            # the order of the examples is not drawn yet
        with training.finite():                 # else theta is put back: DivergenceError
            for piece in training.steps(hooks):
                hooks.after_batches(training, piece)
                if training.left_off:           # stop() or pause()
                    break
        if training.is_paused:                  # the history says nothing of a part of an epoch
            return
        training.record()
        training.measure()
        hooks.after_epoch(training)


class Piece(NamedTuple):
    """Steps that were taken between two looks of the hooks: how many batches, and the sum of their weights."""

    batches: int
    weight: float


@dataclass
class Position:
    """Where in an epoch a training stands: examples done, sums of m_b J and of m_b over their batches, seconds."""

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
        Of the epochs finished.
    epoch, epochs : int
        How many epochs are finished, and how many there are to be.
    J : float
        Of the last epoch; in `on_batch_end` of the last batch, before its step.
    rng : numpy Generator
        Draws the orders to come.
    callbacks : list
    position : Position
        Where in an epoch the training stands.
    paused : str or None
        Why it is left off for now.
    rank : int
        Of this process; 0 where there is only one. Each rank has its callbacks, and those of one may stop all.
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
        self._measures, self._passed = measures, 0      # examples in the pieces of the epoch so far
        measures.begin(self.history)
        self._before = np.empty_like(self.net.theta)

    @property
    def optimizer(self) -> Any:
        return self.trainer.optimizer

    @property
    def epoch(self) -> int:
        return len(self.history)

    @property
    def validation(self) -> Any:
        """The validation examples, checked; None where there are none."""
        return self._measures.validation

    def stop(self, reason: str) -> None:
        """End the training after this epoch, or, in on_batch_end, after this batch; `history.stopped` tells why."""
        self.history.stopped = str(reason).encode(errors="backslashreplace").decode()   # a checkpoint keeps Unicode

    def pause(self, reason: str) -> None:
        """Leave off after this epoch or, in on_batch_end, after this batch, to be resumed from the checkpoint. The
        history says nothing of an epoch that is not finished."""
        self.paused = str(reason)

    @property
    def goes_on(self) -> bool:
        return self.epoch < self.epochs and not self.left_off

    @property
    def left_off(self) -> bool:
        return self.history.stopped is not None or self.paused is not None

    @property
    def is_paused(self) -> bool:
        return self.paused is not None and self.history.stopped is None

    def steps(self, hooks: Hooks) -> Iterator[Piece]:
        """The steps of an epoch, from where it stands: all that no hook has to look between in one call."""
        skip, self._passed = self.position.examples, 0
        began = time.perf_counter() - self.position.seconds
        for data, order in self.feed.pieces(self.rng):
            m, first = data.m if order is None else len(order), skip
            skip, self._passed = max(0, skip - m), self._passed + m
            while first < m:
                batches = hooks.batches
                last = m if batches is None else min(m, first + batches * self.batch_size)
                weight = self._take(data, _part(order, first, last, m), hooks.watched)
                self.position.examples += last - first
                self.position.seconds = time.perf_counter() - began
                yield Piece(-(-(last - first) // self.batch_size), weight)
                first = last

    def _take(self, data: Data, order: NDArray[np.int64] | None, watched: bool) -> float:
        """Steps in the order of these examples; returns the weight of the batches since the epoch began or, where
        callbacks watch each batch, of this one."""
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
        """Around the steps of an epoch. Where J or theta is not finite after them, theta becomes what it was before."""
        np.copyto(self._before, self.net.theta)
        yield
        self.history.examples = self.feed.m or self._passed
        J = self._mean()
        if not (np.isfinite(J) and _kernels.first_nonfinite(self.net.theta[np.newaxis], np.inf) < 0):
            self.net.theta[:] = self._before
            raise DivergenceError(
                f"training diverged in epoch {self.epoch + 1}: J is {J:g}. theta is as it was before this "
                "epoch; a smaller learning_rate or inputs scaled to about [-1, 1] may help", self.history,
            )

    def _mean(self) -> float:
        """J of the epoch's batches"""
        return self.position.cost / self.position.weight if self.position.weight else 0.0

    def record(self) -> None:
        """The epoch is finished: J and its seconds into the history."""
        self.J = self._mean()
        self.history.J.append(self.J)
        self.history.seconds.append(self.position.seconds)
        self.position = Position()

    def measure(self) -> None:
        self._measures.take(self.net, self.history)

    def close(self) -> None:
        """The training has ended; the history says so too where it was paused."""
        if self.is_paused:
            self.history.stopped = self.paused


def _part(order: NDArray[np.int64] | None, first: int, last: int, m: int) -> NDArray[np.int64] | None:
    """The examples first .. last of m in their order; None: as they lie"""
    if (first, last) == (0, m):
        return order
    return np.arange(first, last) if order is None else order[first:last]
