"""The steps that several ranks take together: what a Trainer does when it has a communicator."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _epoch
from ..distributed import group as distributed
from ..distributed.group import attempt, reraise
from ..distributed.sum import Part, Sum
from ..engine import checks, sums, threads
from ..engine.data import Data
from . import lanes
from .lanes import Batch
from .rule import start

NONE = np.empty(0)


class Ranks:
    """The trainers of all ranks as one, theta and masks begun as those of rank 0.

    Either each step is the same one on every rank, along the D of all ranks' batches; or, with `sync_every`, each rank
    takes so many of its own, and theta and the optimizer's arrays are averaged, by the weight of the examples seen.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.group = trainer, trainer.group
        group, theta = self.group, trainer._theta
        group.agree("Trainer", {
            **trainer.net._settings(), "init": None, "optimizer": trainer.optimizer, "compiled": trainer.compiled,
            "regularisation": trainer.regularisation, "dropout": trainer.dropout, "sync_every": trainer.sync_every,
            "parts": group.parts, "fixed order": group.fixed,
        })
        group.share(theta)
        trainer._dropout_seed = int(group.share(np.array([trainer._dropout_seed], np.int64))[0])
        trainer._set_masks()
        trainer._state = group.section(lambda: start(trainer.optimizer, theta, trainer.net.plan))
        self._widest, self._told = 2, None      # what the compiled rule was told
        if trainer.sync_every is None:
            self._sum = Sum(group, len(theta), theta.dtype)
            trainer._Delta = self._sum.Delta
            self._bring, self._learn, self._further = self._bring_batch, self._step, tuple
        else:
            n = sum(a.size for a in self._averaged())
            self._sum = Sum(group, n, theta.dtype, extra=1 + len(self._scalars))
            self._bring, self._learn, self._further = self._bring_steps, self._average, self._progress

    def epoch(
        self, X: ArrayLike, Y: ArrayLike, batch_size: Any, order: ArrayLike | None, sample_weight: ArrayLike | None,
    ) -> float:
        """`Trainer.epoch`, each rank with its own rows"""
        trainer, group, total, weight = self.trainer, self.group, 0.0, 0.0
        net = trainer.net
        with ExitStack() as stack:

            def prepare():
                size = None if batch_size is None else checks.count(batch_size, "batch_size")
                lanes.check_batch_size(size, group)
                data = Data(net.plan, net.dtype, X, Y, sample_weight, shard=True)
                checks.parameters(trainer._theta, net.plan, net.dtype, "net.theta")
                if data.scale != 1:
                    raise ValueError("sample_weight must not be that extreme; divide all by their mean first")
                rows = np.arange(data.m) if order is None or not data.m else checks.order_of_examples(order, data.m)
                brought = []
                for i, (first, last) in enumerate(distributed.ranges(len(rows), group.own)):
                    pieces = [(data, rows[first:last])] if last > first else ()
                    brought.append(lanes.batches(
                        pieces, lanes.share(size, group, i), last - first, steps=trainer.sync_every or 1))
                m = max(1, len(rows) // group.own)
                m = m if size is None else min(m, lanes.share(size, group, 0))
                trainer._crew = stack.enter_context(threads.crew(
                    trainer.n_threads, sums.operations(net.plan, m), max(1, len(rows) / m)))
                return brought

            for J, m_b in self.steps(prepare):
                total, weight = total + J, weight + m_b
        if not weight:
            raise group.alike(ValueError("X has no rows on any rank, or their weights sum to 0"))
        return total / weight

    def steps(
        self, prepare: Callable[[], Iterable[Iterator[Batch]]], before: Callable[[], object] | None = None,
        watched: bool = False,
    ) -> Iterator[tuple[float, float]]:
        """Steps until no part has more to come; yields (m_b J, m_b) after each, penalty included.

        prepare() returns the Batches of each of this rank's parts, before() is called ahead of each step: both in a
        section. What a rule in Python raises goes into the next one; where ranks do more between the steps (`watched`,
        the same on all), and after the last, into one of its own. A compiled rule is asked all it could raise before.
        """
        brought, error, more, trainer = None, None, True, self.trainer

        def part(i, into):
            nonlocal brought
            if i == 0:
                reraise(error)
                if before is not None:
                    before()
                brought = list(prepare()) if brought is None else brought
                self._ask()
            batch = next(brought[i], None)
            into[:] = 0
            return Part() if batch is None else self._bring(i, batch, into)

        while more:
            self._begun = int(trainer._taken[0])
            cost, m_b, more = self._sum(trainer._theta, part, self._further)
            if not m_b:     # nothing to learn from: no step
                yield 0.0, 0.0
                continue
            penalty, error = attempt(lambda m_b=m_b: self._learn(m_b))
            if watched or not more:
                if not trainer.compiled:
                    self.group.section(lambda error=error: reraise(error))
                reraise(error)      # the others are not told: the guard ends them
            if error is None:
                yield cost + m_b * penalty, m_b

    def _bring_batch(self, i, batch, Delta):
        """Delta := the sum over a batch of this rank's part i"""
        trainer, first, last = self.trainer, batch.first, batch.last
        m_b = batch.examples.weight(first, last)
        if not m_b:
            return Part(more=batch.more)
        trainer._set_masks(first, i)
        self._widest = max(self._widest, last - first)
        work = trainer._workspaces(self._widest, trainer._crew.n)
        cost = sums.accumulate_range(
            trainer._plan, trainer._theta, batch.examples, first, last, work, Delta, trainer._crew)
        return Part(cost, m_b, batch.more)

    def _ask(self):
        """The compiled rule of the next step, and its learning rate"""
        trainer = self.trainer
        if not trainer.compiled or trainer.sync_every is not None:
            return
        told = trainer.optimizer.settings(), trainer.regularisation, trainer._state
        if self._told is None or told[:2] != self._told[:2] or told[2] is not self._told[2]:
            self._told, self._rule = told, trainer._compiled_rule(1.0)
        self._rate = trainer._rates(1)

    def _step(self, m_b):
        """The same step on every rank; the penalty before it"""
        trainer = self.trainer
        if not trainer.compiled:
            return trainer._learn(m_b)
        return _epoch.step(trainer.net.plan.code, trainer._theta, m_b, self._rule, self._rate, trainer._Delta)

    def _bring_steps(self, _, batch, into):
        """Steps of this rank alone; into := what is averaged, times the weight of their examples"""
        cost, weight = self.trainer._steps(batch.data, batch.size, batch.indices)
        at = 0
        for a in self._averaged():
            np.multiply(a.ravel(), weight, out=into[at : at + a.size], casting="same_kind")
            at += a.size
        return Part(cost, weight, batch.more)

    def _progress(self):
        """Steps since the last average, and what depends on their number alone"""
        return int(self.trainer._taken[0]) - self._begun, *self._scalars

    def _average(self, m_b):
        """theta and the optimizer's arrays := their averages; the count of steps that of the rank that took most"""
        at, ahead = 0, self._sum.extra[self._sum.extra[:, 0].argmax()]
        for a in self._averaged():
            np.divide(self._sum.Delta[at : at + a.size].reshape(a.shape), m_b, out=a, casting="same_kind")
            at += a.size
        trainer = self.trainer
        trainer._taken[0] = self._begun + int(ahead[0])
        self._scalars[:] = ahead[1:]
        if not trainer.compiled and isinstance(trainer._state, dict) and type(trainer._state.get("t")) is int:
            trainer._state["t"] = int(trainer._taken[0])
        return 0.0      # it is in the cost of the steps

    @property
    def _scalars(self):
        trainer = self.trainer
        return trainer._state["scalars"] if trainer.compiled and "scalars" in trainer._state else NONE

    def _averaged(self):
        """theta, and what the optimizer keeps in arrays of floating-point numbers"""
        trainer = self.trainer
        if trainer.compiled:
            return [trainer._theta, *(trainer._state[slot] for slot in trainer.optimizer.slots)]
        kept = trainer._state if isinstance(trainer._state, dict) else {}
        return [trainer._theta, *(kept[name] for name in sorted(kept)
                                  if isinstance(kept[name], np.ndarray) and kept[name].dtype.kind == "f")]
