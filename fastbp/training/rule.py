"""The compiled twin of an update rule, and its state."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _epoch, _kernels, rules
from .._types import Rule
from ..base import check_apart
from ..engine import checks, factors, frozen
from ..engine.plan import Plan
from ..engine.regularisation import Regularisation
from ..network import Network
from . import diagonal
from .diagonal import Diagonal

NO_RATES = np.empty(0)
KNOWN = frozenset({"compiled", "slots", "init", "rate", "update", "settings"})


class Fit(NamedTuple):
    """Everything the next step depends on, checked against the `Steps` that resume from it."""

    theta: NDArray[Any]
    state: Any
    regularisation: Regularisation
    numbers: dict[str, Any]
    """Settings of the optimizer that are numbers."""
    mean_weight: float | None = None
    notes: dict[str, Any] | None = None


def compiled_rule(optimizer: Rule) -> str | None:
    """The name of the optimizer's compiled twin; None if a subclass or the instance overrides any of KNOWN."""
    if not KNOWN.isdisjoint(getattr(optimizer, "__dict__", ())):
        return None
    for cls in type(optimizer).__mro__:
        if not KNOWN.isdisjoint(vars(cls)):
            return vars(cls).get("compiled")
    return None


class CompiledRule:
    """The optimizer and the regularisation as compiled steps take them.

    It is made once and kept from epoch to epoch, until one of its ingredients changes.
    """

    def __init__(
        self, net: Network, theta: NDArray[Any], taken: NDArray[np.int64], free: NDArray[np.bool_] | None,
        factors: NDArray[np.float64] | None, diagonal: Diagonal | None,
    ) -> None:
        self.code, self.turn, self.theta, self.taken = net.plan.code, net._turn, theta, taken
        self.free = None if free is None else free.tobytes()
        self.factors, self.diagonal = None if factors is None else factors.tobytes(), diagonal
        self._rule: Any = None
        self._made_of: tuple[Any, ...] | None = None    # name, settings, regularisation, scale
        self._state: Any = None
        self._arrays: list[tuple[str, Any]] = []        # of the state

    def has_arrays_of(self, state: Any) -> bool:
        """Does the state hold the arrays that the rule was made from?"""
        for name, a in self._arrays:    # noqa: SIM110  (quick steps wait for it)
            if state.get(name) is not a:
                return False
        return True

    def of(
        self, name: str, optimizer: Any, regularisation: Regularisation, scale: float, state: Any,
    ) -> _epoch.Rule:
        """The rule of this name for weights in units of scale. The state must have the slots of the optimizer."""
        settings = optimizer.settings()
        made_of = name, settings, regularisation, scale
        if made_of == self._made_of and self._state is state and self._rule.stays() and self.has_arrays_of(state):
            return self._rule
        if self._made_of is None or settings != self._made_of[1]:
            rules.check(optimizer)
        rate, *others = settings
        if missing := [slot for slot in optimizer.slots if slot not in state]:
            raise ValueError(f"{optimizer!r} needs {', '.join(missing)} in the state, but this training started "
                             "without it; start with a momentum above 0, or assign a state that has it")
        self._made_of = None    # if an array is refused below, the next call checks everything again
        layer = self.diagonal
        self._rule = _epoch.Rule(
            self.code, _kernels.rules[name], np.array([0.0 if callable(rate) else rate, *others], np.float64),
            regularisation.code(scale), [state[slot] for slot in optimizer.slots], state.get("scalars", NO_RATES),
            self.taken, self.free, self.factors, None if layer is None else layer.of(state), self.turn,
        )
        written = optimizer.slots if layer is None else (*optimizer.slots, *diagonal.NAMES)
        check_apart(self.theta, {slot: state[slot] for slot in written})
        self._made_of, self._state = made_of, state
        self._arrays = [(name, state.get(name)) for name in (*written, "scalars")]
        return self._rule


def start(
    optimizer: Rule, theta: NDArray[Any], plan: Plan, layer: Diagonal | None = None, kept: Any = None,
) -> Any:
    """A new state for a network with this plan; "bias" becomes the indices of its biases, if the rule has it.

    A diagonal layer takes W and s from the state `kept`; None: it starts anew.
    """
    state = optimizer.init(theta) if layer is None else layer.start(optimizer, theta, kept)
    if isinstance(state, dict) and "bias" in state:
        layers = zip(plan.offsets, plan.shapes, strict=False)
        bias = np.concatenate([begin + columns * np.arange(rows) for begin, (rows, columns) in layers])
        state["bias"] = bias if layer is None else layer.biases(bias, len(theta))
    return state


def update(steps: Any, D: NDArray[Any]) -> None:
    """Clip D, and take the step of a Python rule along it."""
    theta, state, layer = steps.theta, steps.kept, steps.diagonal
    each = None if steps.factors is None else factors.each(steps.factors, steps.net.plan, theta.dtype)
    parameters = theta
    if layer is not None:
        parameters, D = layer.parameters(theta, state), layer.slopes(D, state)
        each = factors.followed(each, len(theta), layer.inputs, layer.factor, theta.dtype)
    D = steps.regularisation.clip(D)
    with frozen.leaving(theta, steps.free):
        with factors.scaling(parameters, each):
            steps.optimizer.update(parameters, D, state)
        if layer is not None:
            layer.put(parameters, theta, state)


def check_counts(state: Any, counts: dict[str, int]) -> None:
    """Raise a ValueError if one of these counts has been changed. They only report the progress of training."""
    for name, count in counts.items():
        value = state.get(name)
        if value is not count and not (isinstance(value, (int, np.integer)) and value == count):
            raise ValueError(f"state[{name!r}] cannot be changed alone; assign the whole dict: trainer.state = "
                             f"{{**trainer.state, {name!r}: ...}}")


def check_state(
    optimizer: Any, state: dict[str, Any], theta: NDArray[Any], others: tuple[str, ...] = (),
    layer: Diagonal | None = None,
) -> dict[str, Any]:
    """The state of a compiled rule, as `init` makes it, with these other entries; steps write into it in place."""
    if not isinstance(state, dict):
        raise TypeError(f"state must be a dict as optimizer.init(theta) makes it; got {type(state).__name__}")
    expected = optimizer.init(theta[:1])
    names = list(dict.fromkeys(["t", *optimizer.slots, *expected]))     # a subclass's init may make fewer
    names += [] if layer is None else diagonal.NAMES
    if missing := [name for name in names if name not in state and name != "bias"]:
        raise ValueError(f"state lacks {', '.join(missing)}; {type(optimizer).__name__} has {', '.join(names)}")
    if unknown := [name for name in state if name not in names and name not in others]:
        raise ValueError(f"state has {', '.join(map(str, unknown))}; {type(optimizer).__name__} has only "
                         f"{', '.join([*names, *others])} here")
    checks.count(state["t"], "state['t']", low=0, most=checks.MOST_STEPS)
    n = len(theta) + (0 if layer is None else layer.inputs)
    for slot in optimizer.slots:
        checks.output_array(state[slot], (n,), theta.dtype, f"state[{slot!r}]")
    if layer is not None:
        layer.check(state, theta)
    written = optimizer.slots if layer is None else (*optimizer.slots, *diagonal.NAMES)
    check_apart(theta, {name: state[name] for name in written})
    if "scalars" in expected:
        checks.output_array(state["scalars"], expected["scalars"].shape, np.dtype(np.float64), "state['scalars']")
    return state


def is_normal(value: float, dtype: np.dtype[Any]) -> bool:
    """Is a positive value a normal number in this dtype?"""
    if value == 1:
        return True
    with np.errstate(over="ignore", under="ignore"):
        own = dtype.type(value)
    return bool(np.finfo(dtype).tiny <= own < np.inf)
