"""The optimizer for what the caller passes: a name or an instance."""

from collections.abc import Mapping
from functools import cache
from inspect import signature
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import words
from ._types import Rule, RuleName
from .lbfgs import LBFGS
from .optimizers import NAMED


def check(optimizer: Rule, changes: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Raise the constructor's error if a rule of fastbp, with these changes, has a setting that it does not accept."""
    if type(optimizer) in (LBFGS, *NAMED.values()):
        settings = {**vars(optimizer), **changes}
        type(optimizer)(**{name: settings[name] for name in _names(type(optimizer)) if name in settings})


@cache
def _names(rule: type[Any]) -> tuple[str, ...]:
    """The arguments of the constructor."""
    return tuple(signature(rule).parameters)


def resolve(optimizer: Rule | RuleName, dtype: DTypeLike) -> Rule:
    """An optimizer for parameters of this dtype, from an instance or from a name (with the defaults)."""
    if isinstance(optimizer, str):
        known = words.resolve(optimizer, NAMED)
        if known is None:
            elsewhere = ("; fastbp.LBFGS() and fastbp.minimize search with all examples"
                         if "bfgs" in words.key(optimizer) else "")
            raise ValueError(f"optimizer is {optimizer!r}; accepted are {', '.join(NAMED)}, or an instance{elsewhere}")
        return NAMED[known]()
    if isinstance(optimizer, type) or not (
        callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))
    ):
        raise TypeError(
            "optimizer must be an instance with init(theta) and update(theta, D, state), such as fastbp.SGD(0.1), "
            f"or one of {', '.join(NAMED)}; got {optimizer!r}"
        )
    least = float(np.finfo(dtype).smallest_subnormal)
    if isinstance(optimizer, tuple(NAMED.values())) and (epsilon := getattr(optimizer, "epsilon", 1)) <= least / 2:
        name = np.dtype(dtype).name
        raise ValueError(f"epsilon {epsilon:g} is 0 in {name}: a parameter whose D is 0 would become NaN")
    return optimizer
