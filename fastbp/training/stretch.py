"""Consecutive epochs in compiled code, for training that needs Python between two epochs only for measures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _stretch, schedules
from ..engine import classes, sums, threads
from ..engine.data import Data
from ..history import History
from ..network import Network
from . import kinds
from .feed import PIECE
from .rule import NO_RATES
from .steps import Steps

RATES = 4096    # learning rates of a schedule that are computed together, if they cover several epochs


def possible(steps: Steps, data: Any, m: int, batch_size: int, shuffle: bool, window: int) -> bool:
    """Can compiled code run these epochs with the same bits? One thread must take the steps, and each batch must be
    summed block by block."""
    size = min(batch_size, m)
    return (
        steps.compiled is not None and steps.diagonal is None and not steps.regularisation.batch_lam
        and data.counts is None and not data.outside and (not shuffle or (window == m and m <= PIECE))
        and not kinds.is_online(steps, batch_size)
        and not kinds.is_large(steps.plan, batch_size, steps.theta.dtype)
        and sums.operations(steps.plan, size) < threads.SHARED
    )


class Room:
    """The arrays in which one thread computes, kept between training runs.

    Attributes
    ----------
    kept : dict
        Other kept objects.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self._arrays: dict[tuple[str, np.dtype[Any]], NDArray[Any]] = {}

    def take(self, name: str, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """n values, with any content; the next call with this name reuses the memory."""
        array = self._arrays.get((name, dtype))
        if array is None or len(array) < n:
            array = self._arrays[name, dtype] = sums.aligned(n, dtype)
        return array[:n]


def can_watch(net: Network, data: Data) -> bool:
    """Can compiled code compute the sums of `Network.evaluate_data`? They must have one range and no weights."""
    plan, m = net.plan, data.m
    return data.w is None and plan.own is None and not plan.large and (
        len(sums.ranges(plan, 0, m, sums.height(plan, m, net.dtype))) == 2      # begin and end of one range
    )


def watch(
    own: _stretch.Stretch, net: Network, data: Data, room: Room, rows: NDArray[np.int64] | None = None,
) -> None:
    """Let a stretch evaluate these examples (or their rows with these indices) after each epoch, if it can."""
    data = data.plain
    plan, dtype, m, K = data.plan, net.dtype, data.m if rows is None else len(rows), net.layer_sizes[-1]
    height = sums.height(plan, m, dtype)
    binary, answers = data.classes == "binary", None
    Y = data.Y if rows is None or data.classes is None else data.Y[rows]
    if binary:
        answers = classes.says_yes(Y, plan).astype(np.int64).ravel()
    elif data.classes is not None:
        answers = Y if data.classes == "labels" else Y.argmax(axis=1)
    w = None if data.w is None else np.array(data.w[:, 0] if rows is None else data.w[rows, 0], np.float64)
    own.watch(
        plan.plain.code, data.examples(rows), m, room.take("work", height * plan.units, dtype), height,
        room.take("costs", height, np.dtype(np.float64)), room.take("h", m * K if answers is not None else 0, dtype),
        answers, binary, classes.middle(plan.lowest, plan.highest) if binary else 0.0, w,
    )


def held_into(own: _stretch.Stretch, history: History, first: int) -> None:
    """Write the evaluations of the epochs from `first` on into their columns of the history."""
    if own.watches:
        history.val_J += own.held_J(first)
    if own.watches and history.val_accuracy is not None:
        history.val_accuracy += own.held_accuracy(first)


class Stretch:
    """The epochs of these steps over the rows of data.

    Parameters
    ----------
    steps : Steps
    data : Data
        The examples, with weights in the units of the caller.
    batch_size, epochs : int
    rows : (m,) int64, or None
        The training examples; None: all.
    rng : numpy Generator, or None
        Draws the order of each epoch; None keeps that of the rows.
    room : Room
        No other stretch may be under way in it.
    """

    def __init__(
        self, steps: Steps, data: Data, batch_size: int, epochs: int, rows: NDArray[np.int64] | None,
        rng: np.random.Generator | None, room: Room,
    ) -> None:
        steps.look()
        data, m = steps.weighed(data), data.m if rows is None else len(rows)
        size, dtype, plan = min(batch_size, m), steps.theta.dtype, steps.plan
        self.steps, self.per_epoch = steps, -(-m // size)
        self.own = _stretch.Stretch(m, size, epochs)
        self._bits = None if rng is None else rng.bit_generator
        self._rows, order = rows, rows
        if rng is not None:
            order = np.arange(m) if rows is None else rows.copy()
        self._examples, self._order = data.examples(order), order
        self._rule = steps.compiled_rule(data.scale)
        self._divisors = None if steps.mean_weight is None else data.divisors(None, m, size)
        height = sums.height(plan, size, dtype)
        self._height, self._work = height, room.take("work", height * plan.units, dtype)
        self._costs = room.take("costs", height, np.dtype(np.float64))
        self._before = room.take("before", len(steps.theta), dtype)
        self._rates, self._first = NO_RATES, 0

    @property
    def diverged(self) -> bool:
        """Was J or theta not finite after an epoch? theta is as before that epoch."""
        return self.own.diverged

    def keep_best(self, data: Data, rows: NDArray[np.int64], room: Room) -> NDArray[Any]:
        """Measure these rows after each epoch: their accuracy, or their cost if they have no classes. The returned
        array receives theta of the best epoch, the latest of several; `own.best_epoch` is its number, 0 for none."""
        watch(self.own, self.steps.net, data, room, rows)
        best = room.take("best", len(self.steps.theta), self.steps.theta.dtype)
        self.own.keep(best, data.classes is not None)
        return best

    def foresee(self) -> None:
        """Compute the learning rates of all epochs, so that none needs Python in between."""
        self._rates, self._first = self.steps.rates(self.per_epoch * self.own.epochs), int(self.steps.taken[0])

    def into(self, history: History) -> float:
        """Write the finished epochs that the history lacks into it; returns J of the last one, finite or not."""
        first = len(history)
        J = self.own.J(first)
        history.seconds += self.own.seconds(first)
        held_into(self.own, history, first)
        history.J += J[: len(history.seconds) - first]
        return J[-1] if J else history.J[-1]

    def advance(self, last: int, budget: float = threads.SLICE) -> bool:
        """Take steps up to the end of epoch `last`, for at most about `budget` seconds. Returns True if the end is
        reached, or if J or theta is not finite."""
        steps, rate = self.steps, self.steps.optimizer.settings()[0]
        if callable(rate):
            self._draw(rate, last)
        done = self.own.run(
            steps.plan.code, steps.theta, self._examples, self._rule, self._rates, self._first, steps.Delta,
            self._work, self._height, self._costs, self._before, self._divisors, self._order, self._rows, self._bits,
            last, budget,
        )
        return done == last or self.own.diverged

    def _draw(self, rate: Any, last: int) -> None:
        """Compute the learning rates of the present epoch, unless they are known. A schedule of fastbp is called for
        several epochs at a time; any other function may depend on the moment of the call."""
        taken, n = int(self.steps.taken[0]), self.per_epoch
        if taken - self._first + n <= len(self._rates):
            return
        epochs = 1
        if type(rate).__module__ == schedules.__name__:
            epochs = max(1, min(last - self.own.epoch, RATES // n))
        self._rates, self._first = self.steps.rates(n * epochs), taken
