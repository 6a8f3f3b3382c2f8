"""The base classes of optimizers and schedules, which hold only settings, and the checks of an optimizer's state."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._types import Floats, Number, State
from .engine import checks


def steps_of(state: State) -> int:
    """The step count t in an optimizer's state; checked, since users can replace any entry."""
    checks.dictionary(state, "state")
    if "t" not in state:
        raise ValueError(f"state has no 't', the number of steps so far; it has {_names(state)}")
    return checks.count(state["t"], "state['t']", low=0, most=checks.MOST_STEPS)


def slots_of(state: State, theta: Floats, *slots: str) -> list[Floats]:
    """The arrays of these names in the state, each like theta.

    An error names the first entry, t included, that is not as `init` made it. Rules in Python call this before they
    change anything.
    """
    steps_of(state)
    arrays = [entry(state, slot, theta.shape, theta.dtype) for slot in slots]
    check_apart(theta, dict(zip(slots, arrays, strict=True)))
    return arrays


def check_apart(theta: Floats, slots: Mapping[str, Floats]) -> None:
    """Raise a ValueError if two of theta and the slots share memory: a step writes into all of them."""
    for (name, a), (other, b) in combinations([("", theta), *slots.items()], 2):
        if np.may_share_memory(a, b):
            raise ValueError(f"state[{other!r}] must have memory of its own; it shares that of "
                             f"{f'state[{name!r}]' if name else 'net.theta'}")


def entry(state: State, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """The entry of this name; an error unless it is a writable array of this shape and dtype."""
    if name not in state:
        raise ValueError(f"state has no {name!r}; it has {_names(state)}")
    a = state[name]
    if not isinstance(a, np.ndarray):
        raise TypeError(f"state[{name!r}] must be an ndarray; got {type(a).__name__}")
    if a.shape != shape or a.dtype != dtype:
        raise ValueError(f"state[{name!r}] must have shape {shape} and dtype {np.dtype(dtype).name}; "
                         f"got shape {a.shape} and dtype {a.dtype}")
    if not a.flags.writeable:
        raise ValueError(f"state[{name!r}] must be writeable")
    return a


def bias_of(state: State, theta: Floats) -> NDArray[np.int64]:
    """The indices of the biases that the state names."""
    bias = state.get("bias")
    if not isinstance(bias, np.ndarray) or bias.ndim != 1 or bias.dtype.kind not in "iu":
        raise ValueError(f"state['bias'] must be the indices of the biases in theta, a 1-D array of integers; got "
                         f"{bias!r:.100}")
    if bias.size and not 0 <= bias.min() <= bias.max() < theta.size:
        raise ValueError(f"state['bias'] must be indices of theta, 0 to {theta.size - 1}; it has {bias.min()} to "
                         f"{bias.max()}")
    return bias


def _names(state: State) -> str:
    return ", ".join(map(repr, state)) or "no entries"


class Settings:
    """Objects with equal attributes are equal; `repr` shows the attributes."""

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Optimizer(Settings):
    """Base of the update rules.

    See Also
    --------
    SGD, Adam, train

    Examples
    --------
    Your own rule defines `init` and `update`; any class with these two methods will do:

    >>> import numpy as np, fastbp
    >>> class SignDescent(fastbp.optimizers.Optimizer):
    ...     '''theta := theta - step sign(D)'''
    ...     def __init__(self, step):
    ...         self.step = step
    ...     def init(self, theta):
    ...         return {"t": 0}
    ...     def update(self, theta, D, state):
    ...         state["t"] += 1
    ...         theta -= self.step * np.sign(D)
    >>> net = fastbp.Network([2, 1], seed=0)
    >>> X, Y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1])
    >>> history = fastbp.train(net, X, Y, optimizer=SignDescent(0.01), epochs=100)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled: ClassVar[str | None] = None  # name of the rule in src/kernels/names.h
    learning_rate: float | Callable[[int], Number]

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state's arrays, in the order of the compiled rule."""
        return ()

    def init(self, theta: Floats) -> State:
        """The state of one training run: a dict of the step count t and arrays like theta.

        Other numbers that a rule keeps from step to step form a float64 array `scalars`. If the state has an entry
        `bias`, the trainer stores the indices of the biases in theta there.
        """
        return {"t": 0, **{slot: np.zeros(theta.shape, theta.dtype) for slot in self.slots}}

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        """Change theta (n_parameters,) and the state in place, given D (n_parameters,)."""
        raise NotImplementedError(f"{type(self).__name__} must define update(theta, D, state)")

    def rate(self, state: State) -> float:
        """The learning rate of the next step."""
        if callable(self.learning_rate):
            return float(checks.rates(self.learning_rate, steps_of(state), 1)[0])
        return self.learning_rate

    def settings(self) -> tuple[Any, ...]:
        """The numbers of the compiled rule in its order, first the learning rate or the function that returns it."""
        raise NotImplementedError(f"{type(self).__name__} names a compiled rule but not its settings")
