from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._backprop import Crew, Examples
from ._types import Floats

def each(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    cuts: NDArray[np.int64],
    places: NDArray[np.int64],
    work: Floats,
    spare: Floats,
    B: int,
    what: int,
    out: NDArray[Any],
    budget: float,
    crew: Crew | None = None,
    n: int = 1,
    apart: bool = False,
) -> bool: ...
