from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._backprop import Examples, Team
from ._types import Floats

def each(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    first: int,
    last: int,
    work: Floats,
    spare: Floats,
    B: int,
    what: int,
    out: NDArray[Any],
    budget: float,
    team: Team,
) -> int: ...
