from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ._backprop import Crew, Examples
from ._types import Doubles, Floats

@final
class Few:
    def __new__(
        cls,
        plan: NDArray[np.int64],
        dtype: np.dtype[Any],
        most: int,
        full: int,
        lowest: float,
        highest: float,
        rows_sum_to_1: bool,
        array: type,
        empty: Any,
    ) -> Few: ...
    def product(
        self,
        X: Any,
        Y: Any,
        p: Any,
        theta: Any,
        weight_decay: Any,
        lam: Any,
        l1: Any,
        n_threads: Any,
        plus: bool,
    ) -> Floats | None: ...

def finish(plan: NDArray[np.int64], p: Floats, Delta: Floats, c: Doubles, m: float) -> None: ...
def keep(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    cuts: NDArray[np.int64],
    places: NDArray[np.int64],
    work: Floats,
    B: int,
    plus: bool,
    budget: float,
    crew: Crew | None = None,
    n: int = 1,
    apart: bool = False,
) -> bool: ...
def product(
    plan: NDArray[np.int64],
    theta: Floats,
    p: Floats,
    examples: Examples,
    cuts: NDArray[np.int64],
    places: NDArray[np.int64],
    run_of: int,
    work: Floats,
    spare: Floats,
    B: int,
    kept: bool,
    plus: bool,
    Delta: Floats,
    others: Floats,
    budget: float,
    crew: Crew | None = None,
    n: int = 1,
    apart: bool = False,
) -> bool: ...
