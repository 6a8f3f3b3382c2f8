import numpy as np
from numpy.typing import NDArray

from ._backprop import Examples, Team
from ._types import Doubles, Floats

def add(
    plan: NDArray[np.int64],
    theta: Doubles,
    examples: Examples,
    first: int,
    last: int,
    work: Floats,
    spare: Floats,
    B: int,
    free: NDArray[np.int64],
    rows: Doubles,
    A: Doubles,
    sums: Doubles,
    form: int,
    what: int,
    budget: float,
    team: Team,
) -> int: ...
def solve(A: Doubles, diagonal: Doubles, g: Doubles, factor: Doubles, x: Doubles, n: int) -> bool: ...
