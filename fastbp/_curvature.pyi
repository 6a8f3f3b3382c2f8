import numpy as np
from numpy.typing import NDArray

from ._backprop import Examples, Team
from ._types import Doubles, Floats

def units(plan: NDArray[np.int64]) -> tuple[int, int]: ...
def finish(plan: NDArray[np.int64], p: Floats, Delta: Floats, c: Doubles, m: float) -> None: ...
def keep(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    base: int,
    first: int,
    last: int,
    work: Floats,
    B: int,
    plus: bool,
    budget: float,
    team: Team,
) -> int: ...
def product(
    plan: NDArray[np.int64],
    theta: Floats,
    p: Floats,
    examples: Examples,
    base: int,
    first: int,
    last: int,
    work: Floats,
    spare: Floats,
    B: int,
    kept: bool,
    plus: bool,
    Delta: Floats,
    budget: float,
    team: Team,
) -> int: ...
