from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .checks import _Floats
from .distributed import Group

FAILED: Final[int]
MORE: Final[int]
SAMPLE: Final[int]

class Part(NamedTuple):
    cost: float = 0.0
    weight: float = 0.0
    more: bool = False

class Sum:
    group: Group
    n: int
    Delta: _Floats
    extra: NDArray[np.float64]
    def __init__(self, group: Group, n: int, dtype: DTypeLike, extra: int = 0) -> None: ...
    def __call__(
        self, theta: _Floats, part: Callable[[int, _Floats], Part], extra: Callable[[], Any] = ...
    ) -> tuple[float, float, bool]: ...

def fingerprint(theta: NDArray[Any]) -> int: ...
