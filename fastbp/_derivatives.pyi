from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ._backprop import Crew, Examples
from ._epoch import Rule
from ._types import Floats

def forward(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    cuts: NDArray[np.int64],
    places: NDArray[np.int64],
    work: Floats,
    B: int,
    kept: bool,
    z: Floats,
    budget: float,
    crew: Crew | None = None,
    n: int = 1,
    apart: bool = False,
) -> bool: ...
def backward(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    cuts: NDArray[np.int64],
    places: NDArray[np.int64],
    run_of: int,
    work: Floats,
    B: int,
    kept: bool,
    G: Floats,
    of_h: bool,
    Delta: Floats,
    others: Floats,
    dX: Floats,
    budget: float,
    crew: Crew | None = None,
    n: int = 1,
    apart: bool = False,
) -> bool: ...

@final
class Pass:
    def __new__(
        cls,
        plan: NDArray[np.int64],
        dtype: np.dtype[Any],
        most: int,
        keeps: bool,
        array: type,
        empty: Callable[..., NDArray[Any]],
    ) -> Pass: ...
    def forward(
        self, X: object, theta: object, seed: int = 0, step: int = 0, first: int = 0, last: int = 0
    ) -> Floats | None: ...
    def backward(
        self,
        X: object,
        G: object,
        theta: object,
        of_h: bool = False,
        inputs: bool = False,
        out: object = None,
        seed: int = 0,
        step: int = 0,
    ) -> Any: ...
    def step(
        self,
        X: object,
        G: object,
        theta: object,
        rule: Rule,
        rate: float,
        m_b: float,
        seed: int = 0,
        step: int = 0,
        divisor: float = 1.0,
        name: str = "gradient",
        kept: bool = False,
    ) -> bool | None: ...
