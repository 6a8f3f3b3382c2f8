"""Parameters that are not trained."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from . import checks
from .plan import Plan

Mask = NDArray[np.bool_]


def mask(free: Any, plan: Plan) -> Mask | None:
    """The parameters that are trained, (n_parameters,), from a mask or from layer numbers; None if all are."""
    if free is None:
        return None
    if isinstance(free, (list, tuple)):
        own = _of_layers(free, plan)
    else:
        a = checks.dense(free, "free", "a boolean array like theta, or a list of layer numbers")
        if a.dtype != bool:
            got = f"{free!r:.100}" if a.ndim == 0 else f"an array of dtype {a.dtype}"
            raise TypeError(f"free must be a boolean array like theta, or a list of layer numbers; got {got}")
        if a.base is not None:
            _kernels.check_owner(a, "free")
        if a.shape != (plan.n_parameters,):
            raise ValueError(f"free must have the shape of theta, ({plan.n_parameters},); got {a.shape}")
        own = np.array(checks.booleans(a))
    if not own.any():
        raise ValueError("free leaves no parameter to train")
    return None if own.all() else own


def _of_layers(layers: list[Any] | tuple[Any, ...], plan: Plan) -> Mask:
    """The parameters of these Theta(l)."""
    own = np.zeros(plan.n_parameters, bool)
    for l in layers:
        if isinstance(l, (bool, np.bool_)) or not isinstance(l, (int, np.integer)):
            raise TypeError(f"free must be a boolean array like theta, or a list of layer numbers; got {l!r:.100} in a "
                            f"{type(layers).__name__}")
        if not 1 <= l <= len(plan.shapes):
            raise ValueError(f"free has {l}; the layers are 1 to {len(plan.shapes)}, Theta(1) .. "
                             f"Theta({len(plan.shapes)})")
        own[plan.offsets[l - 1] : plan.offsets[l]] = True
    return own


def told(own: Mask | None, plan: Plan) -> Any:
    """The mask as JSON: None, a list of layer numbers, or a digest."""
    if own is None:
        return None
    parts = [own[begin:end] for begin, end in zip(plan.offsets, plan.offsets[1:], strict=False)]
    if all(part.all() or not part.any() for part in parts):
        return [l for l, part in enumerate(parts, 1) if part.all()]
    return f"a mask of {int(own.sum())} parameters, sha256 {hashlib.sha256(own.tobytes()).hexdigest()}"


@contextmanager
def leaving(theta: NDArray[Any], free: Mask | None) -> Iterator[None]:
    """Inside the block, parameters that are not free keep their bits, whatever is done to theta."""
    before = None if free is None else theta.copy()
    try:
        yield
    finally:
        if before is not None:
            np.copyto(theta, before, where=~free)   # type: ignore[operator]
