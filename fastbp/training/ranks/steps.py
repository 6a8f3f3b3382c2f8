"""The steps that several ranks take together: a layer over the `Steps` of each."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import _epoch
from ..._types import Comm, Count, Value
from ...distributed.group import Group, as_group, attempt, bounds, reraise
from ...distributed.sum import Part, Sum
from ...engine import checks, factors, frozen, sums, threads
from ...engine.data import Data
from ...lbfgs import LBFGS
from .. import diagonal
from ..rule import Fit
from ..steps import Steps
from . import batches
from .batches import Batch
from .own import OwnBatches

NONE = np.empty(0)


class Epoch:
    """Batches of all ranks, from step to step until no part has more.

    Parameters
    ----------
    prepare, before : callable
        prepare() returns the batches of each of this rank's parts; before() is called before each step. Both run in a
        section.
    watched : bool
        Do the ranks work between two steps? The same on all.

    Attributes
    ----------
    more : bool
        Has a part of any rank more batches?
    error : Exception or None
        Of the last step's rule in Python.
    """

    def __init__(
        self, prepare: Callable[[], Iterable[Iterator[Batch]]], before: Callable[[], object] | None = None,
        watched: bool = False,
    ) -> None:
        self._prepare, self._before, self.watched = prepare, before, watched
        self._batches: list[Iterator[Batch]] | None = None
        self.error: BaseException | None = None
        self.more = True

    def begin(self) -> None:
        """Begin a step, in its section."""
        reraise(self.error)
        if self._before is not None:
            self._before()
        if self._batches is None:
            self._batches = list(self._prepare())

    @property
    def batches(self) -> list[Iterator[Batch]]:
        """The batches that are left, of each of this rank's parts."""
        assert self._batches is not None
        return self._batches


class RankSteps:
    """The steps of all ranks; theta and masks start as those of rank 0.

    Every rank takes the same step, along the D of all ranks' batches. With `sync_every` each rank takes that many steps
    alone; then theta and the optimizer's arrays are averaged, weighted by the examples seen.

    Parameters
    ----------
    comm : communicator or Group
    make : callable
        Makes the Steps of this rank for a number of threads.
    n_threads, sync_every
        As for `Trainer`.

    Attributes
    ----------
    own : Steps
        The steps of this rank.
    """

    def __init__(
        self, comm: Comm | Group, make: Callable[[Count | None], Steps], n_threads: Count | None,
        sync_every: Count | None,
    ) -> None:
        group = self.group = as_group(comm)

        def begin() -> Steps:
            steps = make(group.threads(n_threads))
            if isinstance(steps.optimizer, LBFGS):
                raise ValueError("LBFGS works in one process; minimize(method=\"L-BFGS\") takes comm")
            self.sync_every = None if sync_every is None else checks.count(sync_every, "sync_every")
            if sync_every is not None and group.own > 1:
                raise ValueError("sync_every and several parts per rank exclude each other: each rank has one theta")
            return steps

        with group.guard():
            self.own = group.section(begin)
            self._start_alike()
            self._make_sum()

    def _make_sum(self) -> None:
        """Choose what the ranks sum, and the step they take from the sum."""
        group, theta = self.group, self.own.theta
        self._widest = 2        # examples of this rank's largest batch so far
        self._rule: Any = None
        self._bring: Callable[[int, Batch, NDArray[Any]], Part]
        self._learn: Callable[[float], float]
        self._count = 0         # examples that this rank brings to the present step
        self._further: Callable[[], tuple[float, ...]]
        self._outside = self.sync_every is None and self.own.plan.own is not None and self.own.plan.own.dtype is None
        self._together: Any = None      # the batches of a step, if a loss in Python sees those of all ranks
        if self.sync_every is None:
            self._sum = Sum(group, len(theta), theta.dtype, extra=1)
            self.own.Delta = self._sum.Delta
            self._bring, self._learn, self._further = self._bring_batch, self._step, lambda: (self._count,)
        else:
            n = sum(a.size for a in self._averaged())
            self._sum = Sum(group, n, theta.dtype, extra=1 + len(self._scalars))
            self._bring, self._learn, self._further = self._bring_steps, self._average, self._progress

    def _start_alike(self) -> None:
        """theta and masks := those of rank 0, if all ranks have the same settings."""
        group, own = self.group, self.own
        group.agree("Trainer", {
            **own.net.settings(), "init": None, "optimizer": own.optimizer, "compiled": own.compiled is not None,
            "regularisation": own.regularisation, "dropout": own.dropout, "sync_every": self.sync_every,
            "mean_weight": own.mean_weight, "free": frozen.told(own.free, own.net.plan),
            "learning_rate_factors": factors.told(own.factors),
            "input_scale": None if own.diagonal is None else own.diagonal.factor, "parts": group.parts,
            "fixed order": group.fixed,
        })
        group.broadcast(own.theta)
        own.part = group.part_number()
        seed = int(group.broadcast(np.array([own.dropout_seed], np.int64))[0])
        group.section(lambda: own.restart(seed))

    @property
    def conditions(self) -> dict[str, Any]:
        """Everything that a resumed training run must have in common with the kept one; without a fixed order, parts is
        the number of ranks."""
        return {"parts": self.group.parts, "fixed order": self.group.fixed, "sync_every": self.sync_every}

    def once(self, function: Callable[[], Value]) -> Value | None:
        """function() on rank 0 alone; its error is raised on all ranks."""
        with self.group.guard():
            return self.group.section(lambda: function() if self.group.rank == 0 else None)

    def resume(self, read: Callable[[], Fit]) -> Fit:
        """Resume on all ranks from what read() returns on rank 0, and return it."""
        group = self.group
        with group.guard():
            fit, = group.first_of(group.section(lambda: read() if group.rank == 0 else None))
            with self.own.net._turn:
                group.section(lambda: self.own.become(fit))
        return fit

    def prepared(self) -> None:
        """None: ranks have no quick steps, since they must sum Delta."""

    def epoch(
        self, X: ArrayLike, Y: ArrayLike, batch_size: Count | None, order: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> float:
        """`Trainer.epoch`, each rank with its own rows."""
        group, total, weight = self.group, 0.0, 0.0
        with self.own.net._turn, group.guard(), ExitStack() as stack:

            def prepare() -> list[Iterator[Batch]]:
                size = None if batch_size is None else checks.count(batch_size, "batch_size")
                batches.check_batch_size(size, group)
                data, rows = self._rows(X, Y, sample_weight, order)
                longest = max(1, len(rows) // group.own)
                longest = longest if size is None else min(longest, batches.share(size, group, 0))
                operations = sums.operations(self.own.net.plan, longest)
                self.own.crew = stack.enter_context(threads.crew(
                    self.own.plan.kept, self.own.n_threads, operations, max(1, len(rows) / longest)))
                return list(self._cut(data, rows, size))

            batches_of = Epoch(prepare)
            while batches_of.more:
                m_b_J, m_b = self.step(batches_of)
                total, weight = total + m_b_J, weight + m_b
            if not weight:
                raise group.alike(ValueError("X has no rows on any rank, or their weights sum to 0"))
        return total / weight

    def _rows(
        self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None, order: ArrayLike | None,
    ) -> tuple[Data, NDArray[np.int64]]:
        """(this rank's examples, their indices in order)."""
        net = self.own.net
        data = Data(net.plan, net.dtype, X, Y, sample_weight, shard=True)
        checks.own_parameters(self.own.theta, net.plan, net.dtype)
        if data.scale != 1:
            raise ValueError("sample_weight must not be that extreme; divide all by their mean first")
        return data, np.arange(data.m) if order is None or not data.m else checks.order_of_examples(order, data.m)

    def _cut(self, data: Data, rows: NDArray[np.int64], size: int | None) -> Iterator[Iterator[Batch]]:
        """The batches of each of this rank's parts."""
        for i, (first, last) in enumerate(bounds(len(rows), self.group.own)):
            pieces = [(data, rows[first:last])] if last > first else ()
            yield batches.batches(
                pieces, batches.share(size, self.group, i), self.own.weighed, last - first, steps=self.sync_every or 1)

    def step(self, epoch: "Epoch") -> tuple[float, float]:
        """Take the next step of an epoch; returns (m_b J, m_b), penalty included.

        An error of a rule in Python is raised in the section of the next step. After the last step, or if the ranks
        work between steps, it gets its own section.
        """
        def begin() -> None:
            epoch.begin()
            self._ask()
            self._count = 0

        def part(i: int, into: NDArray[Any]) -> Part:
            if i == 0 and not self._outside:
                begin()
            batch = self._together[i] if self._outside else next(epoch.batches[i], None)
            into[:] = 0
            return Part() if batch is None else self._bring(i, batch, into)

        def next_batches() -> list[Batch | None]:
            begin()
            return [next(batches, None) for batches in epoch.batches]

        while True:
            self._begun = int(self.own.taken[0])
            if self._outside:
                self._together = OwnBatches(self.group, self.own, next_batches)
            cost, m_b, epoch.more = self._sum(self.own.theta, part, self._further)
            if not m_b:     # nothing to learn from: no step
                return 0.0, 0.0
            _, error = attempt(partial(self.own.regularisation.check_batches, m_b))
            if error is not None:
                raise self.group.alike(error)
            penalty, epoch.error = attempt(partial(self._learn, m_b))
            if epoch.watched or not epoch.more:
                if not self.own.compiled:
                    self.group.section(partial(reraise, epoch.error))
                reraise(epoch.error)        # the other ranks do not know: the guard ends them
            if epoch.error is None:
                return cost + m_b * penalty, m_b

    # ------------------------------------------------------------ the same step on every rank

    def _bring_batch(self, i: int, batch: Batch, Delta: NDArray[Any]) -> Part:
        """Delta := the sum over a batch of this rank's part i."""
        own, first, last = self.own, batch.first, batch.last
        m_b = batch.examples.weight(first, last)
        self._count += last - first
        if not m_b and not self._outside:
            return Part(more=batch.more)
        own.set_masks(first, self.group.part_number(i))
        self._widest = max(self._widest, last - first)
        if self._outside:
            return Part(self._together.bring(i, Delta), m_b, batch.more)
        height = sums.height(own.plan, self._widest, own.theta.dtype)
        cost = sums.accumulate_range(own.plan, own.theta, batch.examples, first, last, height, Delta, own.crew)
        return Part(cost, m_b, batch.more)

    def _ask(self) -> None:
        """Make the compiled rule and the learning rate of the next step, so that their errors come before it."""
        own = self.own
        if not own.compiled or self.sync_every is not None:
            return
        self._rule = own.compiled_rule(own.unit)
        self._rate = own.rates(1)

    def _step(self, m_b: float) -> float:
        """Take the step; returns the penalty before it."""
        own = self.own
        divisor = m_b if own.mean_weight is None else float(self._sum.extra.sum())      # the examples of all ranks
        if not own.compiled:
            return own.learn(m_b, own.unit, divisor)
        return _epoch.step(own.net.plan.code, own.theta, m_b, self._rule, self._rate, own.Delta, divisor)

    # ------------------------------------------------------------ each rank's own steps, then an average

    def _bring_steps(self, _: int, batch: Batch, into: NDArray[Any]) -> Part:
        """Take this rank's own steps; into := the arrays to average, times the weight of their examples."""
        cost, weight = self.own.take(batch.data, batch.size, batch.indices)
        at = 0
        for a in self._averaged():
            np.multiply(a.ravel(), weight, out=into[at : at + a.size], casting="same_kind")
            at += a.size
        return Part(cost, weight, batch.more)

    def _progress(self) -> tuple[float, ...]:
        """Steps since the last average, and the scalars that depend only on the number of steps."""
        return int(self.own.taken[0]) - self._begun, *self._scalars

    def _average(self, m_b: float) -> float:
        """theta and the optimizer's arrays := their averages; the step count := the largest of any rank."""
        own, at, ahead = self.own, 0, self._sum.extra[self._sum.extra[:, 0].argmax()]
        with frozen.leaving(own.theta, own.free):
            for a in self._averaged():
                np.divide(self._sum.Delta[at : at + a.size].reshape(a.shape), m_b, out=a, casting="same_kind")
                at += a.size
            if own.diagonal is not None:
                own.diagonal.fold(own.theta, own.kept)
        own.taken[0] = self._begun + int(ahead[0])
        self._scalars[:] = ahead[1:]
        if not own.compiled and isinstance(own.kept, dict) and type(own.kept.get("t")) is int:
            own.kept["t"] = int(own.taken[0])
        return 0.0      # the cost of the steps includes the penalty

    @property
    def _scalars(self) -> NDArray[np.float64]:
        """The scalars of a compiled rule; empty if it has none."""
        own = self.own
        return own.kept["scalars"] if own.compiled and "scalars" in own.kept else NONE

    def _averaged(self) -> list[NDArray[Any]]:
        """theta and the floating-point arrays of the optimizer's state."""
        own = self.own
        if own.compiled:
            of_layer = () if own.diagonal is None else diagonal.NAMES
            return [own.theta, *(own.kept[name] for name in (*own.optimizer.slots, *of_layer))]
        kept = own.kept if isinstance(own.kept, dict) else {}
        return [own.theta, *(kept[name] for name in sorted(kept)
                             if isinstance(kept[name], np.ndarray) and kept[name].dtype.kind == "f")]
