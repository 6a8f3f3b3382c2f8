"""Training on several ranks: its stages and hooks, each in a section."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._types import Comm
from ...distributed.group import Group, as_group
from ...history import History
from ...network import Network
from .. import checkpoint, measures
from ..arguments import Arguments
from ..hooks import Callbacks, Hooks, Keeper, hidden
from ..kept import Kept
from ..loop import DivergenceError, Piece, Training
from ..measures import Answers, Functions, Measures
from . import feed
from .steps import Epoch, RankSteps

# `Start`: `train` puts the class below in front of it. Importing it here would be circular.
Stages: Any = object


class RankStages(Stages):
    """`Start` on every rank. Only rank 0 reads and writes files and shows progress."""

    keeper: Any
    kept: Any
    rng: Any

    def __init__(self, asked: Arguments, comm: Comm | Group) -> None:
        super().__init__(asked)
        self.group = self.comm = as_group(comm)
        self.processes = self.group.size

    def run(self) -> History:
        with self.group.guard():
            history = super().run()
            self.group.unchanged(self.asked.net.theta)
        return history

    def check(self) -> None:
        self.group.section(super().check)
        self.asked.rng = self.group.generator(self.asked.rng)

    def look_for_checkpoint(self) -> None:
        """Rank 0 reads the file; the others receive the kept training run."""
        asked = self.asked
        if self.group.rank:
            self.group.section(lambda: checkpoint.check(asked.checkpoint, asked.checkpoint_every, asked.resume))
        else:
            self.group.section(super().look_for_checkpoint)
        self.kept, = self.group.first_of(self.kept if self.group.rank == 0 else None)
        if self.group.rank:
            self.keeper = Follower(self.kept)
        self.rng = asked.rng if self.kept is None else self.kept.rewound()

    def sources(self) -> tuple[Any, Any, Any]:
        return feed.sources(self.asked, self.rng, self.group)

    def coefficients(self, weight: float) -> None:
        self.group.section(lambda: super(RankStages, self).coefficients(weight))

    @property
    def in_one_batch(self) -> bool:
        """Do all ranks take one step per epoch?"""
        return self.asked.batch_size is None and self.asked.sync_every is None

    def weigh(self, mean_weight: float) -> None:
        dtype = self.asked.net.dtype
        self.group.section(lambda: [part.in_units_of(mean_weight, dtype) for part in self.data.parts])

    def training_of(self, trainer: Any) -> Training:
        asked = self.asked
        measured = RankMeasures(self.group, asked.functions, self.source, self.validation)
        return RankTraining(
            trainer, self.source, self.batch_size, measured, asked.callbacks, asked.rng, asked.epochs)

    def hooks_of(self, show: Any) -> Hooks:
        """The hooks. Rank 0 shows progress; an event has a callback if it has one on any rank."""
        callbacks = Callbacks(self.asked.callbacks)
        shows = show if self.group.rank == 0 else hidden
        return RankHooks(shows, Callbacks(self.asked.callbacks, self.group.any_of(callbacks.has)), self.keeper,
                         self.group, self.asked.sync_every or 1)

    def admit(self) -> None:
        if self.kept is not None or self.group.rank == 0:
            self.group.section(super().admit)
        else:
            self.group.section(lambda: None)

    def warn(self, message: str) -> None:
        """Warn on rank 0."""
        self.group.section(partial(super().warn, message) if self.group.rank == 0 else lambda: None)


class Follower(Keeper):
    """The checkpoint on the ranks that do not write it; they only resume."""

    def __init__(self, kept: Kept | None) -> None:
        self.kept = kept

    def begin(self, training: Training) -> None:
        if self.kept is not None:
            self.kept.into(training)


class RankHooks(Hooks):
    """Each hook in a section. The hooks after a step wait for the section of the next step: one sum per step."""

    def __init__(self, show: Any, callbacks: Callbacks, keeper: Keeper, group: Group, sync_every: int) -> None:
        super().__init__(show, callbacks, keeper)
        self.group, self._sync_every, self._due = group, sync_every, False

    def begin(self, training: Training) -> None:
        self.call("on_train_begin", training)
        self.group.section(lambda: self.keeper.begin(training))

    def after_batches(self, training: Training, piece: Piece) -> None:
        self._due = True
        if self.watched and piece.weight:
            self.call("on_batch_end", training)

    def before_step(self, training: Training) -> None:
        """The hooks that the last step left waiting; called in the section of this step."""
        if self._due:
            self._due = False
            self.report(training.history, training.position.examples)
            self.keeper.after_batches(training, self._sync_every)

    def after_epoch(self, training: Training) -> None:
        self._due = False
        self.group.section(lambda: self.report(training.history))
        self.call("on_epoch_end", training)
        self.group.section(lambda: self.keeper.after_epoch(training))

    def finish(self, training: Training) -> None:
        self.group.section(lambda: self.keeper.end(training))

    def call(self, name: str, training: Training) -> None:
        """Call the callbacks of all ranks; a stop or pause on one rank applies to all."""
        if not self.callbacks.has[name]:
            return
        self.group.section(lambda: self.callbacks.call(name, training))
        training.history.stopped, training.paused = self.group.agreed(training.history.stopped, training.paused)


class RankTraining(Training):
    """Training by the steps of all ranks; callbacks see the same on each."""

    def __init__(self, trainer: Any, *others: Any) -> None:
        super().__init__(trainer, *others)
        self._ranks: RankSteps = trainer.driver
        self.group = self._ranks.group
        self.rank = self.group.rank

    def pieces(self, hooks: RankHooks) -> Iterator[Epoch]:   # type: ignore[override]
        """Pieces of the epoch: each is one step of all ranks, or sync_every steps of each rank."""
        position = self.position
        self._began = time.perf_counter() - position.seconds

        def prepare() -> Iterator[Any]:
            done = position.examples // self.batch_size
            return self.feed.epoch(self.rng, self._ranks.own.weighed, done, self._ranks.sync_every or 1)

        epoch = Epoch(prepare, lambda: hooks.before_step(self), hooks.watched)
        while epoch.more:
            yield epoch

    def take(self, batches: Epoch, watched: bool) -> Piece:
        position, sync_every = self.position, self._ranks.sync_every or 1
        cost, weight = self._ranks.step(batches)
        position.cost, position.weight = position.cost + cost, position.weight + weight
        position.examples += sync_every * self.batch_size
        position.seconds = time.perf_counter() - self._began
        if watched and weight:
            self.J = cost / weight
        return Piece(sync_every, weight)

    @contextmanager
    def finite(self) -> Iterator[None]:
        """As for one process; afterwards all ranks have the same seconds and examples, or the same error."""
        try:
            with super().finite():
                yield
                if self.feed.m is None and not self.position.weight and not self.left_off:
                    raise self.group.alike(ValueError(feed.NOTHING))
                told = self.group.gather(self.position.seconds, self.feed.brought)
                self.position.seconds = told[0, 0]      # the same on all ranks: callbacks see it
                self._passed = int(told[:, 1].sum())
        except DivergenceError as error:
            self.group.alike(error)
            raise


class RankMeasures(Measures):
    """Measures over the examples of all ranks; the values are the same on each."""

    def __init__(self, group: Group, functions: Functions, source: Any, validation: Any) -> None:
        super().__init__(functions, source, validation)
        self.group = group
        self._answers: dict[int, Answers] = {}

    def values(self, functions: Functions, h: NDArray[Any], answers: Answers) -> dict[str, float]:
        return self.group.section(lambda: super(RankMeasures, self).values(functions, h, answers))

    def outputs(self, net: Network, source: Any) -> NDArray[Any]:
        return source.together(lambda data, rows: measures.outputs(net, data, rows))

    def answers(self, source: Any) -> Answers:
        """(labels or targets, weights) of the examples; the ranks exchange them once."""
        if id(source) not in self._answers:
            self._answers[id(source)] = source.together(_targets), source.together(_weights)
        return self._answers[id(source)]


def _targets(data: Any, rows: NDArray[np.int64] | None) -> NDArray[Any]:
    """Labels, or targets as float64: the dtypes of the ranks may differ."""
    Y = measures.of_rows(data.Y, rows)
    as_passed = data.labels is not None or (data.plan.own is not None and data.classes == "labels")
    return Y if as_passed else Y.astype(np.float64)


def _weights(data: Any, rows: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Weights; 1 on ranks that have none."""
    if data.w is None:
        return np.ones(data.m if rows is None else len(rows))
    return measures.of_rows(data.w[:, 0], rows).astype(float)
