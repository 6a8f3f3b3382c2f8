from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .checks import _Floats, _Number
from .network import Network
from .plan import Plan

DEFAULT_EPS: Final[dict[str, float | None]]

def check(
    init: str | NDArray[Any] | list[Any] | tuple[Any, ...], eps: _Number | None, plan: Plan, dtype: DTypeLike
) -> tuple[str | _Floats, float | None]: ...
def draw(init: str | _Floats, eps: float | None, plan: Plan, dtype: DTypeLike, rng: np.random.Generator) -> _Floats: ...
def warn_if_equal_units(net: Network, stacklevel: int = 3) -> None: ...
