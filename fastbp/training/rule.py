"""The compiled twin of an update rule, and its state."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._types import Rule
from ..base import check_apart
from ..engine import checks
from ..engine.plan import Plan
from ..engine.regularisation import Regularisation

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


def start(optimizer: Rule, theta: NDArray[Any], plan: Plan) -> Any:
    """A new state for a network with this plan; "bias" becomes the indices of its biases, if the rule has it."""
    state = optimizer.init(theta)
    if isinstance(state, dict) and "bias" in state:
        layers = zip(plan.offsets, plan.shapes, strict=False)
        state["bias"] = np.concatenate([begin + columns * np.arange(rows) for begin, (rows, columns) in layers])
    return state


def check_counts(state: Any, counts: dict[str, int]) -> None:
    """A ValueError if one of these counts, which only tell their owner how far the training is, has been changed."""
    for name, count in counts.items():
        value = state.get(name)
        if value is not count and not (isinstance(value, (int, np.integer)) and value == count):
            raise ValueError(f"state[{name!r}] cannot be changed alone; assign the whole dict: trainer.state = "
                             f"{{**trainer.state, {name!r}: ...}}")


def check_state(
    optimizer: Any, state: dict[str, Any], theta: NDArray[Any], others: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The state of a compiled rule, as `init` makes it, with such other entries; steps write into it in place."""
    if not isinstance(state, dict):
        raise TypeError(f"state must be a dict as optimizer.init(theta) makes it; got {type(state).__name__}")
    expected = optimizer.init(theta[:1])
    names = list(dict.fromkeys(["t", *optimizer.slots, *expected]))     # init of a subclass may make fewer
    if missing := [name for name in names if name not in state and name != "bias"]:
        raise ValueError(f"state lacks {', '.join(missing)}; {type(optimizer).__name__} has {', '.join(names)}")
    if unknown := [name for name in state if name not in names and name not in others]:
        raise ValueError(f"state has {', '.join(map(str, unknown))}; {type(optimizer).__name__} has only "
                         f"{', '.join([*names, *others])} here")
    checks.count(state["t"], "state['t']", low=0, most=checks.MOST_STEPS)
    for slot in optimizer.slots:
        checks.output_array(state[slot], theta.shape, theta.dtype, f"state[{slot!r}]")
    check_apart(theta, {slot: state[slot] for slot in optimizer.slots})
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
