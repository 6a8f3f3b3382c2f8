from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .checks import _Floats, _Number, _PerLayer
from .plan import Plan

@dataclass(frozen=True)
class Regularisation:
    c: tuple[float, ...]
    l1: float = 0.0
    batch_lam: float = 0.0
    clip_value: float = ...
    clip_norm: float = ...
    @classmethod
    def of(
        cls,
        plan: Plan,
        m: float,
        *,
        weight_decay: _PerLayer = 0.0,
        lam: _Number | None = None,
        l1: _Number = 0.0,
        batch_lam: _Number = 0.0,
        clip_value: _Number | None = None,
        clip_norm: _Number | None = None,
    ) -> Regularisation: ...
    def with_(self, **settings: object) -> Regularisation: ...
    @property
    def decay_alone(self) -> bool: ...
    def code(self, scale: float = 1.0) -> NDArray[np.float64]: ...
    def coefficients(self, m: float) -> list[float]: ...
    def penalty(self, plan: Plan, theta: _Floats, m: float) -> float: ...
    def regularise(self, plan: Plan, theta: _Floats, Delta: _Floats, m: float, scale: float = 1.0) -> _Floats: ...

CHECKS: Final[dict[str, Callable[[Regularisation, Any, str], Any]]]

def none(plan: Plan) -> Regularisation: ...
