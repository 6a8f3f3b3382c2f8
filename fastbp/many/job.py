"""The training of one network among many: the stages of `train` on shared examples."""

import copy
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any, Self

from .. import callbacks, rules
from .._types import Floats, Rows
from ..engine import checks, sums, threads
from ..engine.initialize import warn_if_equal_units
from ..engine.regularisation import Regularisation
from ..history import History
from ..lbfgs import LBFGS
from ..metrics import check_classes
from ..network import Network
from ..training import checkpoint
from ..training.arguments import Arguments
from ..training.feed import Arrays
from ..training.hooks import Callbacks, Hooks, Keeper
from ..training.kept import Kept
from ..training.loop import Training, run
from ..training.measures import Measures
from ..training.quick import Look
from ..training.start import Start
from ..training.stretch import Room, Stretch
from .quick import A_STEP, estimate, outcome
from .shared import Shared
from .under_way import State, UnderWay

PENALTIES = ("l1", "clip_value", "clip_norm")
PIECE = 2e8     # floating-point operations between two checks for a stop
WATCHERS = (callbacks.EarlyStopping, callbacks.ReduceOnPlateau)    # they have a state


class Stopped(BaseException):
    """Training must end, since another network has failed or Ctrl-C was pressed."""


class Job(Start):
    """The training of one network by the stages of `Start`; the stage `check` runs before any network is trained.

    Attributes
    ----------
    i : int
        Number of the network.
    net : Network
    rows, validation_rows : indices, or None
    history : History or None
        The result of `train`, once it has finished.
    error : Exception or None
    start : (n_parameters,), or None
        theta before training, if it is kept.
    warnings : tuple of str
    every : float or None
        Seconds between two copies of the training state; None: no copies.
    state : (arrays, fields) or None
        The last copy.
    kept : Kept or None
        The training to be resumed.
    """

    keeper: Keeper

    def __init__(
        self, i: int, net: Network, shared: Shared, rows: Rows | None, validation_rows: Rows | None,
        settings: dict[str, Any],
    ) -> None:
        given = {name: value for name, value in settings.items() if not name.endswith("rows")}
        penalties = {name: given.pop(name) for name in PENALTIES}
        self.i, self.net, self.shared, self.rows, self.validation_rows = i, net, shared, rows, validation_rows
        self.history: History | None = None
        self.error: Exception | None = None
        self.start: Floats | None = None
        self.warnings: tuple[str, ...] = ()
        super().__init__(Arguments(
            net, None, None, penalties=penalties, window=None, validation_data=None, validation_split=0.0,
            progress=False, n_threads=1, checkpoint=None, checkpoint_every=1, resume=None, sync_every=None, **given,
        ))
        self.keeper, self.kept = Keeper(), None
        self.every: float | None = None
        self.state: State | None = None
        self._room = Room()
        self._look: Look = _no_look

    # ------------------------------------------------------------ before any network is trained

    def checked(self) -> Self:
        """The job itself, checked."""
        self.check()
        return self

    def check(self) -> None:
        """Check all arguments, as the stages of `train` do, without changing anything."""
        super().check()
        asked, net, dtype = self.asked, self.net, self.net.dtype
        checks.own_parameters(net.theta, net.plan, dtype)
        checks.output_array(net.theta, (net.n_parameters,), dtype, "net.theta")
        checks.dropout_rates(asked.dropout, asked.input_dropout, len(net.layer_sizes) - 2)
        asked.optimizer = rules.resolve(asked.optimizer, dtype)
        Regularisation.of(net.plan, 1, weight_decay=asked.weight_decay, **asked.penalties)
        self.shared.whole(net)
        self.m = self.shared.m if self.rows is None else len(self.rows)
        if asked.sample_weight is None and asked.mean_weight is None:
            checks.coefficients(asked.weight_decay, asked.lam, float(self.m), len(net.plan.shapes))
            self._check_metrics()
        else:
            self.rng = asked.rng
            self.gather()
            self._forget()
        warn_if_equal_units(net)

    def own(self, several: Collection[int]) -> None:
        """Copy objects that several networks share and that training changes; `several` has the id of each."""
        asked = self.asked
        if asked.callbacks and id(asked.optimizer) in several:
            asked.optimizer = copy.copy(asked.optimizer)    # a callback may change its learning rate
        asked.callbacks = [copy.deepcopy(each) if id(each) in several and type(each) in WATCHERS else each
                           for each in asked.callbacks]

    def _check_metrics(self) -> None:
        """Check that the metrics suit the examples."""
        if self.asked.functions:
            check_classes(self.asked.functions, self.shared.whole(self.net))

    def outcome(self) -> History:
        """The history; for a network that failed, that of its finished epochs, with the error."""
        return outcome(self)

    def _forget(self) -> None:
        """Drop everything that the next stages make."""
        self.source = self.validation = self.data = None

    @property
    def turn(self) -> AbstractContextManager[object]:
        """The lock that is held while the network is trained."""
        return self.net._turn

    @property
    def operations(self) -> float:
        """The approximate number of floating-point operations."""
        size = self.m if self.asked.batch_size is None else min(self.asked.batch_size, self.m)
        return estimate(self.net, self.m, size, self.asked.epochs)

    # ------------------------------------------------------------ the training

    def train(self, room: Room, look: Look) -> None:
        """Train the network in this room; look(stretch) is called now and then, and may raise an exception."""
        self._room, self._look = room, look
        try:
            self.prepare()
            self.begin()
            self.loop()
            self.look_back()
            self.history = self.training.history
        finally:
            self.leave()

    def prepare(self) -> None:
        """The stages up to the first step."""
        self.rng = self.asked.rng if self.kept is None else self.kept.rewound()
        self.keeper = Keeper() if self.every is None else UnderWay(self.keep, self.every, self.rng, self.kept)
        self.gather()
        self.make()

    def leave(self) -> None:
        """Drop everything that `prepare` has made."""
        self._forget()
        self.keeper, self._room, self._look = Keeper(), Room(), _no_look
        for name in ("training", "hooks"):
            self.__dict__.pop(name, None)

    def keep(self, state: State) -> None:
        """Keep this copy of the training state."""
        self.state = state

    def make(self) -> None:
        super().make()
        if self.every is not None:
            self.conditions = checkpoint.conditions(self.training, self.asked, self.batch_size, self.data)
            self.keeper.conditions = self.conditions

    def resume(self, kept: Kept, state: State) -> None:
        """Prepare to resume from this state; a ValueError if it belongs to another training run."""
        self.kept, self.state = kept, state
        try:
            self.prepare()
            self.admit()
        finally:
            self.leave()

    def sources(self) -> tuple[Any, Any, Any]:
        asked, net, rows = self.asked, self.net, self.rows
        if rows is not None and isinstance(asked.optimizer, LBFGS):     # its sums have the order of the examples
            data, rows = self.shared.part(net, rows, asked.sample_weight), None
        else:
            data = self.shared.data(net, rows, asked.sample_weight)
        held = None if self.validation_rows is None else self.shared.validation(net, self.validation_rows)
        return Arrays(data, asked.batch_size, asked.shuffle, None, rows), held, data

    def training_of(self, trainer: Any) -> Training:
        asked = self.asked
        measures = Measures(asked.functions, self.source, self.validation)
        training = OneOfMany(trainer, self.source, self.batch_size, measures, asked.callbacks, asked.rng, asked.epochs)
        training.room, training.look, training.keeper = self._room, self._look, self.keeper
        training.resumes = self.kept is not None
        return training

    def hooks_of(self, show: Any) -> Hooks:
        return Pieces(show, Callbacks(self.asked.callbacks), self.keeper, self)

    def admit(self) -> None:
        """Check the state to resume from; everything else has been checked."""
        if self.kept is not None:
            self.kept.check(self.training, self.conditions)

    def loop(self) -> None:
        training = self.training
        training.trainer.steps.crew = threads.ALONE
        with self.hooks.around(training):
            run(training, self.hooks)
        training.close()
        self.hooks.end(training)

    def examples(self) -> Any:
        return self.shared.part(self.net, self.rows, self.asked.sample_weight)

    def warn(self, message: str) -> None:
        self.warnings += (message,)


class OneOfMany(Training):
    """A training run that is looked at between its pieces."""

    look: Look
    keeper: Any
    resumes: bool

    def stretch(self) -> Stretch | None:
        """None when resuming: a stretch would begin with the first epoch."""
        return None if self.resumes else super().stretch()

    def follow(self, stretch: Stretch, last: int) -> None:
        super().follow(stretch, self.between(stretch, last))
        self.look(None)

    def between(self, stretch: Stretch, last: int) -> int:
        self.look(stretch.own)
        return stretch.own.epoch + 1 if isinstance(self.keeper, UnderWay) and self.keeper.due else last

    def _take(self, data: Any, order: Any, watched: bool) -> float:
        self.look(None)
        return super()._take(data, order, watched)


class Pieces(Hooks):
    """Hooks that keep the pieces short."""

    def __init__(self, show: Any, callbacks: Callbacks, keeper: Keeper, job: Job) -> None:
        super().__init__(show, callbacks, keeper)
        self._batches = max(1, int(PIECE / (sums.operations(job.net.plan, 1) * job.batch_size + A_STEP)))

    @property
    def batches(self) -> int | None:
        return 1 if self.watched else self._batches

    @property
    def are_idle(self) -> bool:
        """True even with a checkpoint: the state can be copied between two epochs of a stretch."""
        return not any(self.callbacks.has.values())


def _no_look(_: Any) -> None:
    """Do nothing."""
