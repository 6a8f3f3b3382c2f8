import numpy as np
from numpy.typing import NDArray

from ._backprop import Crew, Examples
from ._types import Doubles, Floats

def add(
    plan: NDArray[np.int64],
    theta: Doubles,
    examples: Examples,
    cuts: NDArray[np.int64],
    places: NDArray[np.int64],
    work: Floats,
    spare: Floats,
    B: int,
    free: NDArray[np.int64],
    rows: Doubles,
    A: Doubles,
    others: Doubles,
    sums: Doubles,
    form: int,
    what: int,
    budget: float,
    crew: Crew | None = None,
    n: int = 1,
    apart: bool = False,
) -> bool: ...
def solve(A: Doubles, diagonal: Doubles, g: Doubles, factor: Doubles, x: Doubles, n: int) -> bool: ...
