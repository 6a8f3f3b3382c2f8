"""The training of one network of which nothing in Python is asked for: a few compiled calls, prepared with care.

`job.Job` is the readable twin, and trains all others. The bits are the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _epoch, _kernels, _stretch, rules, schedules
from .._backprop import Examples
from .._types import Floats, Rows
from ..engine import checks, explain, sums, threads
from ..engine.initialize import warn_if_equal_units
from ..engine.regularisation import Regularisation
from ..history import History
from ..network import Network
from ..training.feed import PIECE
from ..training.kinds import is_large
from ..training.loop import diverged
from ..training.rule import NO_RATES, compiled_rule, start
from ..training.start import has_diverged, has_grown
from ..training.stretch import Room, can_watch, held_into, watch
from .shared import Shared

ZERO, EMPTY = ("dropout", "input_dropout"), ("callbacks", "metrics")      # what a quick training does not have
NONE = ("sample_weight", "mean_weight", "free", "learning_rate_factors", "input_scale")
PENALTIES = ("weight_decay", "lam", "l1", "clip_value", "clip_norm")
FIXED = (float, int)
Look = Callable[[Any], None]


class Twin:
    """An optimizer for networks of one dtype, checked, as compiled rules take it."""

    def __init__(self, optimizer: Any, dtype: np.dtype[Any]) -> None:
        own: Any = rules.resolve(optimizer, dtype)
        self.optimizer, self.name = own, compiled_rule(own)
        if self.name is None:
            return
        rules.check(own)
        rate, *others = own.settings()
        self.rate, self.slots = rate if callable(rate) else None, own.slots
        self.settings = np.array([0.0 if callable(rate) else rate, *others], np.float64)
        if self.rate is not None and type(self.rate).__module__ != schedules.__name__:
            self.name = None        # a function in Python
        self.online = self.name == "sgd" and not self.slots


class Memo:
    """Settings that have been checked once, for many networks."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._counts: dict[tuple[Any, ...], int] = {}
        self._twins: dict[tuple[Any, ...], tuple[Any, Twin]] = {}
        self._codes: dict[tuple[Any, ...], Any] = {}

    def count(self, value: Any, name: str) -> int:
        key = name, type(value), value if type(value) is int else id(value)
        known = self._counts.get(key)
        if known is None:
            known = self._counts[key] = checks.count(value, name)
        return known

    def twin(self, optimizer: Any, dtype: np.dtype[Any]) -> Twin:
        key = optimizer if type(optimizer) is str else id(optimizer), dtype
        known = self._twins.get(key)
        if known is None:
            known = self._twins[key] = optimizer, Twin(optimizer, dtype)    # it keeps its id as long as it is held
        return known[1]

    def penalties(self, given: dict[str, Any], net: Network, m: int) -> tuple[Any, bool]:
        """(the code of the penalties and clipping, is it decay alone?)"""
        values = tuple(given[name] for name in PENALTIES)
        n = len(net.plan.shapes)
        if any(type(value) not in FIXED for value in values if value is not None):
            return self._code(values, net, m)
        key = n, m if values[1] is not None else 0, values, tuple(map(type, values))
        known = self._codes.get(key)
        if known is None:
            known = self._codes[key] = self._code(values, net, m)
        return known

    def _code(self, values: tuple[Any, ...], net: Network, m: int) -> tuple[Any, bool]:
        own = Regularisation.of(net.plan, m, **dict(zip(PENALTIES, values, strict=True)))
        return own.code(), own.decay_alone


def quick(
    i: int, net: Network, memo: Memo, rows: Rows | None, validation_rows: Rows | None, given: dict[str, Any],
) -> "Quick | None":
    """The job of this network, checked; None if it needs the stages of `train`."""
    if given["batch_size"] is None or type(given["shuffle"]) is not bool or any(
        given[name] is not None for name in NONE
    ) or any(type(given[name]) not in (tuple, list) or given[name] for name in EMPTY) or any(
        type(given[name]) not in FIXED or given[name] != 0 for name in ZERO
    ):
        return None
    shared, dtype = memo.shared, net.dtype
    twin, m = memo.twin(given["optimizer"], dtype), shared.m if rows is None else len(rows)
    epochs, batch_size = memo.count(given["epochs"], "epochs"), memo.count(given["batch_size"], "batch_size")
    code, decay_alone = memo.penalties(given, net, m)
    size = min(batch_size, m)
    if twin.name is None or (twin.online and decay_alone and batch_size == 1) or (m > PIECE and given["shuffle"]):
        return None
    height = sums.height(net.plan, size, dtype)
    if is_large(net.plan, batch_size, dtype) or sums.operations(net.plan, size) >= threads.SHARED:
        return None
    theta, seed = checks.own_parameters(net.theta, net.plan, dtype), given["seed"]
    checks.output_array(theta, (net.n_parameters,), dtype, "net.theta")
    if type(seed) is not int or seed < 0:
        seed = checks.generator(seed)
        if type(seed) is not np.random.Generator:
            return None
    data = shared.whole(net)
    if data.outside:
        return None
    warn_if_equal_units(net)
    if validation_rows is not None and not can_watch(net, shared.validation(net, validation_rows)):
        return None
    seed = seed if given["shuffle"] else None
    return Quick(i, net, shared, rows, validation_rows, twin, code, (epochs, size, height), seed)


class Quick:
    """One network's training; the attributes are those of `Job`."""

    __slots__ = ("_code", "_data", "_seed", "_shared", "_sizes", "_twin", "error", "history", "i", "m", "net", "rows",
                 "start", "validation_rows", "warnings")

    def __init__(
        self, i: int, net: Network, shared: Shared, rows: Rows | None, validation_rows: Rows | None, twin: Twin,
        code: NDArray[np.float64], sizes: tuple[int, int, int], seed: Any,
    ) -> None:
        self.i, self.net, self.rows, self.validation_rows = i, net, rows, validation_rows
        self._shared, self._data = shared, shared.whole(net)
        self._twin, self._code, self._sizes, self._seed = twin, code, sizes, seed
        self.m = shared.m if rows is None else len(rows)
        self.history: History | None = None
        self.error: Exception | None = None
        self.start: Floats | None = None
        self.warnings: tuple[str, ...] = ()

    def train(self, room: Room, look: Look) -> None:
        """`Job.train`"""
        net, twin, m, (epochs, size, height) = self.net, self._twin, self.m, self._sizes
        plan, theta = net.plan, net.theta
        dtype, n = theta.dtype, len(theta)
        state, taken = start(twin.optimizer, theta, plan), np.zeros(1, np.int64)
        assert twin.name is not None
        rule = _epoch.Rule(
            plan.code, _kernels.rules[twin.name], twin.settings, self._code, [state[slot] for slot in twin.slots],
            state.get("scalars", NO_RATES), taken,
        )
        order, examples = self._examples(room)
        bits = None
        if self._seed is not None:
            bits = np.random.PCG64(self._seed) if type(self._seed) is int else self._seed.bit_generator
        own = _stretch.Stretch(m, size, epochs)
        history = History(examples=m)
        if self.validation_rows is not None:
            held = self._shared.validation(net, self.validation_rows)
            watch(own, net, held, room)
            history.val_J, history.val_accuracy = [], None if held.classes is None else []
        rates, first = NO_RATES, 0
        Delta, before = room.take("Delta", n, dtype), room.take("before", n, dtype)
        work, costs = room.take("work", height * plan.units, dtype), room.take("costs", height, np.dtype(np.float64))
        while True:
            look(own)
            if twin.rate is not None:
                rates, first = _rates(twin.rate, rates, first, int(taken[0]), -(-m // size), epochs - own.epoch)
            done = own.run(
                plan.code, theta, examples, rule, rates, first, Delta, work, height, costs, before, None, order,
                self.rows, bits, epochs, threads.SLICE,
            )
            if done == epochs or own.diverged:
                break
        self._close(own, history)

    def _examples(self, room: Room) -> tuple[Any, Examples]:
        """(the order, the examples in it). Those in a shuffled order are kept in the room: each epoch draws it anew."""
        if self._seed is None:
            return self.rows, self._data.examples(self.rows)
        key = id(self._data), self.m
        kept: Any = room.kept.get("examples")
        if kept is None or kept[0] != key:
            order = np.zeros(self.m, np.int64)
            kept = room.kept["examples"] = key, order, self._data.examples(order)
        return kept[1:]

    def _close(self, own: _stretch.Stretch, history: History) -> None:
        """The history; the errors and warnings of `train`."""
        history.J, history.seconds = J, _ = own.J(), own.seconds()
        held_into(own, history, 0)
        if own.diverged:
            raise diverged(J.pop(), history)
        self.history = history
        if has_grown(J) and has_diverged(self.net, J, self._shared.part(self.net, self.rows)):
            self.warnings = (explain.has_diverged(J),)

    @property
    def operations(self) -> float:
        """`Job.operations`"""
        epochs, size, _ = self._sizes
        return estimate(self.net, self.m, size, epochs)

    def outcome(self) -> History:
        """`Job.outcome`"""
        return outcome(self)


A_STEP = 1e5    # floating-point operations that a step costs beside its examples


def estimate(net: Network, m: int, size: int, epochs: int) -> float:
    """About how many floating-point operations a training has."""
    return float(epochs * (sums.operations(net.plan, m) + A_STEP * (m / size)))


def outcome(job: Any) -> History:
    """The history of a job; of a network that failed that of its finished epochs, with the error."""
    if job.error is None:
        return job.history
    history = getattr(job.error, "history", None)
    history = history if isinstance(history, History) else History(examples=job.m)
    history.error = job.error
    return history


def _rates(
    rate: Callable[[int], Any], rates: NDArray[np.float64], first: int, taken: int, n: int, epochs: int,
) -> tuple[NDArray[np.float64], int]:
    """(learning rates, the step of the first one) for the present epoch of n steps and some more."""
    if taken - first + n <= len(rates):
        return rates, first
    return checks.rates(rate, taken, n * max(1, min(epochs, 4096 // n))), taken
