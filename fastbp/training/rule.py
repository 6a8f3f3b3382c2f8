"""The compiled twin of an update rule, and its state."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._types import Rule
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


def check_state(
    optimizer: Any, state: dict[str, Any], theta: NDArray[Any], others: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The state of a compiled rule, as `init` makes it, with such other entries; steps write into it in place."""
    if not isinstance(state, dict):
        raise TypeError(f"state must be a dict as optimizer.init(theta) makes it; got {type(state).__name__}")
    expected = optimizer.init(theta[:1])
    if missing := [name for name in expected if name not in state and name != "bias"]:
        raise ValueError(f"state lacks {', '.join(missing)}; {type(optimizer).__name__} has {', '.join(expected)}")
    if unknown := [name for name in state if name not in expected and name not in others]:
        raise ValueError(f"state has {', '.join(map(str, unknown))}; {type(optimizer).__name__} has only "
                         f"{', '.join([*expected, *others])} here")
    checks.count(state["t"], "state['t']", low=0, most=checks.MOST_STEPS)
    for slot in optimizer.slots:
        checks.output_array(state[slot], theta.shape, theta.dtype, f"state[{slot!r}]")
    if "scalars" in expected:
        checks.output_array(state["scalars"], expected["scalars"].shape, np.dtype(np.float64), "state['scalars']")
    return state
