"""Training that needs nothing in Python: a few compiled calls, carefully prepared.

`start.Start` is the readable twin, and handles all other cases. The bits, the history and the messages are the same.
"""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _epoch, _kernels, _stretch, rules, schedules
from .._backprop import Examples
from .._types import Rows, Value
from ..engine import checks, explain, sums, threads
from ..engine.data import Data
from ..engine.initialize import warn_if_equal_units
from ..engine.plan import Plan
from ..engine.regularisation import Regularisation
from ..history import History
from ..network import Network
from .arguments import Arguments
from .feed import PIECE
from .kinds import is_large
from .loop import diverged
from .rule import NO_RATES, compiled_rule, start
from .start import divergence
from .steps import OURS
from .stretch import RATES, Room, held_into, watch

# Arguments that quick training does not support.
ZERO, EMPTY = ("dropout", "input_dropout"), ("callbacks", "metrics")
NONE = ("sample_weight", "mean_weight", "free", "learning_rate_factors", "input_scale")
NONE_ALONE = ("window", "validation_data", "checkpoint", "resume", "sync_every")      # arguments of `train` alone
FIXED, NUMBERS = (float, int), (float, int, bool)
PENALTIES = ("weight_decay", "lam", "l1", "clip_value", "clip_norm")
KEPT = 64       # most settings that are remembered
Look = Callable[[Any], None]


def is_plain(given: Mapping[str, Any]) -> bool:
    """Do these arguments need no Python, weights or masks?"""
    return (
        type(given["shuffle"]) is bool
        and all(given[name] is None for name in NONE)
        and all(type(given[name]) in (tuple, list) and not given[name] for name in EMPTY)
        and all(type(given[name]) in FIXED and given[name] == 0 for name in ZERO)
    )


class Twin:
    """An optimizer for networks of one dtype, checked, in the form for compiled rules.

    Attributes
    ----------
    name : str or None
        The name of the compiled rule; None if quick training does not support it.
    rate : Schedule or None
        The learning rate if it is not a number.
    online : bool
        Are there sweeps over single examples for it?
    """

    def __init__(self, optimizer: Any, dtype: np.dtype[Any]) -> None:
        own: Any = rules.resolve(optimizer, dtype)
        self.optimizer, self.name = own, compiled_rule(own) if type(own) in OURS else None
        if self.name is None:
            return
        rules.check(own)
        rate, *others = own.settings()
        self.rate, self.slots = rate if callable(rate) else None, own.slots
        self.settings = np.array([0.0 if callable(rate) else rate, *others], np.float64)
        if self.rate is not None and type(self.rate).__module__ != schedules.__name__:
            self.name = None        # a function in Python
        self.online = self.name == "sgd" and not self.slots


Held = dict[tuple[int, np.dtype[Any]], tuple[Any, Twin]]


def twin(optimizer: Any, dtype: np.dtype[Any], held: Held | None = None) -> Twin:
    """The twin of an optimizer or of its name. A twin whose settings are all numbers is remembered between calls.

    held : twins by the identity of their optimizers, whose settings do not change as long as `held` exists.
    """
    kind = type(optimizer)
    if held is not None and kind is not str:
        known = held.get((id(optimizer), dtype))
        if known is None:
            known = held[id(optimizer), dtype] = optimizer, twin(optimizer, dtype)
        return known[1]
    if kind is str:
        key: tuple[Any, ...] = optimizer, dtype
    elif kind in OURS and all(type(value) in NUMBERS for value in vars(optimizer).values()):
        own = vars(optimizer)
        key = kind, dtype, *own, *own.values(), *map(type, own.values())
    else:
        return Twin(optimizer, dtype)
    return _twins.get(key) or _kept(_twins, key, Twin(optimizer if kind is str else copy(optimizer), dtype))


def penalties(values: tuple[Any, ...], plan: Plan, m: int) -> tuple[NDArray[np.float64], bool]:
    """(the code of these PENALTIES, is it only decay?) for m examples. Numbers are remembered between calls."""
    if any(type(value) not in FIXED for value in values if value is not None):
        return _penalties(values, plan, m)
    key = len(plan.shapes), m if values[1] is not None else 0, *values, *map(type, values)
    return _codes.get(key) or _kept(_codes, key, _penalties(values, plan, m))


def _penalties(values: tuple[Any, ...], plan: Plan, m: int) -> tuple[NDArray[np.float64], bool]:
    own = Regularisation.of(plan, m, **dict(zip(PENALTIES, values, strict=True)))
    return own.code(), own.decay_alone


_twins: dict[tuple[Any, ...], Twin] = {}
_codes: dict[tuple[Any, ...], tuple[NDArray[np.float64], bool]] = {}


def _kept(known: dict[tuple[Any, ...], Value], key: tuple[Any, ...], value: Value) -> Value:
    """The value, kept for the next call."""
    if len(known) >= KEPT:
        known.clear()
    known[key] = value
    return value


class Epochs:
    """The training of one network; everything is checked.

    Attributes
    ----------
    net : Network
    twin : Twin
    code : ndarray
        Penalties and clipping, in the form for compiled steps.
    m, size, height, epochs : int
        The number of examples, those of a batch, those of a block, and the number of epochs.
    rows : indices, or None
        The training examples; None: all.
    bits : BitGenerator or None
        Draws the order of each epoch; None keeps that of the rows.
    """

    __slots__ = ("bits", "code", "epochs", "height", "m", "net", "rows", "size", "twin")

    def __init__(
        self, net: Network, twin: Twin, code: NDArray[np.float64], m: int, size: int, epochs: int, shuffle: bool,
        seed: Any, rows: Rows | None = None,
    ) -> None:
        self.net, self.twin, self.code, self.m, self.size, self.epochs = net, twin, code, m, size, epochs
        self.height, self.rows, self.bits = sums.height(net.plan, size, net.dtype), rows, None
        if shuffle:     # made here, where many are made in a row: between training runs it takes three times as long
            self.bits = seed.bit_generator if isinstance(seed, np.random.Generator) else np.random.PCG64(seed)

    def run(self, data: Data, room: Room, look: Look, held: Data | None = None) -> History:
        """Take all steps; look(stretch) is called at least every 20 ms, and may raise an exception.

        held : the examples that are evaluated after each epoch.
        """
        net, twin, m, size, epochs = self.net, self.twin, self.m, self.size, self.epochs
        plan, theta, height = net.plan, net.theta, self.height
        dtype, n = theta.dtype, len(theta)
        rule, taken = self._rule()
        order, examples = self._examples(data, room)
        own, history = _stretch.Stretch(m, size, epochs), History(examples=m)
        if held is not None:
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
                self.rows, self.bits, epochs, threads.SLICE,
            )
            if done == epochs or own.diverged:
                break
        return _written(own, history)

    def _rule(self) -> tuple[_epoch.Rule, NDArray[np.int64]]:
        """(the rule with a new state, the number of its steps)"""
        net, twin = self.net, self.twin
        plan, taken = net.plan, np.zeros(1, np.int64)
        state = start(twin.optimizer, net.theta, plan)
        assert twin.name is not None
        return _epoch.Rule(
            plan.code, _kernels.rules[twin.name], twin.settings, self.code, [state[slot] for slot in twin.slots],
            state.get("scalars", NO_RATES), taken,
        ), taken

    def _examples(self, data: Data, room: Room) -> tuple[Any, Examples]:
        """(the order, the examples in it). A shuffled order is kept in the room; each epoch draws a new one into it."""
        if self.bits is None:
            return self.rows, data.examples(self.rows)
        key = id(data), self.m
        kept: Any = room.kept.get("examples")
        if kept is None or kept[0] != key:
            order = np.zeros(self.m, np.int64)
            kept = room.kept["examples"] = key, order, data.examples(order)
        return kept[1:]


def are_quick(plan: Plan, dtype: np.dtype[Any], m: int, size: int, shuffle: bool, online: bool) -> bool:
    """Can the calling thread alone take these steps, in batches that are summed block by block? See also
    `stretch.possible`. online: there are sweeps over single examples."""
    return not (
        (online and size == 1) or (shuffle and m > PIECE) or is_large(plan, size, dtype)
        or sums.operations(plan, size) >= threads.SHARED or (plan.own is not None and plan.own.dtype is None)
    )


def check_theta(net: Network) -> None:
    """Check that the network's parameters are finite and writable."""
    checks.own_parameters(net.theta, net.plan, net.dtype)
    checks.output_array(net.theta, (net.n_parameters,), net.dtype, "net.theta")


def train(asked: Arguments) -> History | None:
    """The whole training in one process; None, with nothing done, if it needs the stages of `Start`.

    The stages also raise the errors for wrong arguments.
    """
    try:
        found = _checked(asked)
    except Exception:
        return None
    if found is None:
        return None
    own, data = found
    warn_if_equal_units(own.net)
    history = own.run(data, Room(), _nothing)
    told = divergence(own.net, history.J, lambda: data)
    if told:
        explain.warn(told, RuntimeWarning)
    return history


def _checked(asked: Arguments) -> tuple[Epochs, Data] | None:
    """The training and its examples, checked; the examples come last, since checking them may take long."""
    net, X, Y, seed, given = asked.net, asked.X, asked.Y, asked.seed, vars(asked)
    if not (
        isinstance(net, Network) and type(X) is type(Y) is np.ndarray and X.ndim == 2 and is_plain(given)
        and all(given[name] is None for name in NONE_ALONE)
        and type(asked.validation_split) in FIXED and asked.validation_split == 0
        and asked.progress is False and type(asked.checkpoint_every) is int and asked.checkpoint_every == 1
        and (type(seed) in (int, np.random.Generator) or seed is None)
    ):
        return None
    plan, dtype, m = net.plan, net.dtype, len(X)
    own = twin(asked.optimizer, dtype)
    if own.name is None:
        return None
    size = m if asked.batch_size is None else min(checks.count(asked.batch_size, "batch_size"), m)
    code, decay_alone = penalties((asked.weight_decay, asked.lam, *asked.penalties.values()), plan, m)
    if not are_quick(plan, dtype, m, size, asked.shuffle, own.online and decay_alone):
        return None
    epochs = checks.count(asked.epochs, "epochs")
    if asked.n_threads is not None:
        checks.count(asked.n_threads, "n_threads")
    if type(seed) is int and seed < 0:
        return None
    check_theta(net)
    data = Data(plan, dtype, X, Y)
    return Epochs(net, own, code, m, size, epochs, asked.shuffle, seed), data


def _nothing(_: object) -> None:
    """Do nothing: the training continues."""


def _written(own: _stretch.Stretch, history: History) -> History:
    """The history with the measurements of compiled code; the error of `train` if it has diverged."""
    history.J, history.seconds = own.J(), own.seconds()
    held_into(own, history, 0)
    if own.diverged:
        raise diverged(history.J.pop(), history)
    return history


def _rates(
    rate: Callable[[int], Any], rates: NDArray[np.float64], first: int, taken: int, n: int, epochs: int,
) -> tuple[NDArray[np.float64], int]:
    """(learning rates, the step of the first one) for the present epoch of n steps and some further steps."""
    if taken - first + n <= len(rates):
        return rates, first
    return checks.rates(rate, taken, n * max(1, min(epochs, RATES // n))), taken
