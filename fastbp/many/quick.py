"""The training of one network that needs nothing in Python: `training.quick` on shared examples.

`job.Job` is the readable twin, and trains all other networks. The bits are the same.
"""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .._types import Floats, Rows
from ..engine import checks, sums
from ..engine.data import Data
from ..engine.initialize import warn_if_equal_units
from ..history import History
from ..network import Network
from ..training.quick import PENALTIES, Epochs, Held, Look, are_quick, check_theta, is_plain, penalties, twin
from ..training.start import divergence
from ..training.stretch import Room, can_watch
from .shared import Shared


class Memo:
    """Settings that are checked once for many networks."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._counts: dict[tuple[Any, ...], int] = {}
        self.optimizers: Held = {}

    def count(self, value: Any, name: str) -> int:
        key = name, type(value), value if type(value) is int else id(value)
        known = self._counts.get(key)
        if known is None:
            known = self._counts[key] = checks.count(value, name)
        return known


def quick(
    i: int, net: Network, memo: Memo, rows: Rows | None, validation_rows: Rows | None, given: dict[str, Any],
) -> "Quick | None":
    """The job of this network, checked; None if it needs the stages of `train`."""
    if given["batch_size"] is None or not is_plain(given):
        return None
    shared, dtype = memo.shared, net.dtype
    own, m = twin(given["optimizer"], dtype, memo.optimizers), shared.m if rows is None else len(rows)
    epochs, batch_size = memo.count(given["epochs"], "epochs"), memo.count(given["batch_size"], "batch_size")
    code, decay_alone = penalties(tuple(given[name] for name in PENALTIES), net.plan, m)
    size = min(batch_size, m)
    if own.name is None or not are_quick(net.plan, dtype, m, size, given["shuffle"], own.online and decay_alone):
        return None
    check_theta(net)
    seed = given["seed"]
    if type(seed) is not int or seed < 0:
        seed = checks.generator(seed)
        if type(seed) is not np.random.Generator:
            return None
    data = shared.whole(net)
    warn_if_equal_units(net)
    if validation_rows is not None and not can_watch(net, shared.validation(net, validation_rows)):
        return None
    training = Epochs(net, own, code, m, size, epochs, given["shuffle"], seed, rows)
    return Quick(i, training, data, shared, validation_rows)


class Quick:
    """One network's training; the attributes are those of `Job`."""

    __slots__ = ("_data", "_shared", "_training", "error", "history", "i", "m", "net", "rows", "start",
                 "validation_rows", "warnings")

    def __init__(
        self, i: int, training: Epochs, data: Data, shared: Shared, validation_rows: Rows | None,
    ) -> None:
        self.i, self.net, self.m, self.rows = i, training.net, training.m, training.rows
        self._training, self._data, self._shared, self.validation_rows = training, data, shared, validation_rows
        self.history: History | None = None
        self.error: Exception | None = None
        self.start: Floats | None = None
        self.warnings: tuple[str, ...] = ()

    def train(self, room: Room, look: Look) -> None:
        """`Job.train`"""
        net, shared, held = self.net, self._shared, self.validation_rows
        history = self._training.run(
            self._data, room, look, None if held is None else shared.validation(net, held))
        self.history = history
        told = divergence(net, history.J, lambda: shared.part(net, self.rows))
        if told:
            self.warnings = (told,)

    @property
    def turn(self) -> AbstractContextManager[object]:
        """The lock that is held while the network is trained."""
        return self.net._turn

    @property
    def operations(self) -> float:
        """`Job.operations`"""
        return estimate(self.net, self.m, self._training.size, self._training.epochs)

    def outcome(self) -> History:
        """`Job.outcome`"""
        return outcome(self)


A_STEP = 1e5    # floating-point operations that a step costs in addition to its examples


def estimate(net: Network, m: int, size: int, epochs: int) -> float:
    """The approximate number of floating-point operations of training."""
    return float(epochs * (sums.operations(net.plan, m) + A_STEP * (m / size)))


def outcome(job: Any) -> History:
    """The history of a job; for a network that failed, that of its finished epochs, with the error."""
    if job.error is None:
        return job.history
    history = getattr(job.error, "history", None)
    history = history if isinstance(history, History) else History(examples=job.m)
    history.error = job.error
    return history
