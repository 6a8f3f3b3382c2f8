from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._types import Doubles, Floats

@final
class Examples:
    def __new__(
        cls,
        X: NDArray[Any],
        Y: NDArray[Any] | None = None,
        labels: NDArray[np.int64] | None = None,
        w: Floats | None = None,
        order: NDArray[np.int64] | None = None,
        K: int = ...,
    ) -> Examples: ...
    @property
    def capsule(self) -> object: ...
    def weight(self, first: int, last: int) -> float: ...

@final
class Crew:
    def __new__(cls, n: int = 0) -> Crew: ...
    @property
    def capsule(self) -> object: ...
    @property
    def here(self) -> bool: ...
    @property
    def jobs(self) -> list[int]: ...
    def reach(self, n: int) -> int: ...
    def want_stop(self) -> None: ...

@disjoint_base
class Predictor:
    def __new__(
        cls, plan: NDArray[np.int64], theta: Floats, B: int, array: type,
        empty: Callable[..., NDArray[Any]],
    ) -> Predictor: ...
    def predict(self, x: object, out: object) -> Floats | None: ...

def panel(theta: Floats) -> int: ...
def predict(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    first: int,
    last: int,
    work: Floats,
    B: int,
    out: Floats,
    budget: float,
    crew: Crew | None = None,
    apart: bool = False,
) -> int: ...
def layer(unit: int, work: Floats, B: int, out: Floats) -> None: ...
def accumulate(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    cuts: NDArray[np.int64],
    places: NDArray[np.int64],
    sums: Doubles,
    run_of: int,
    work: Floats,
    B: int,
    costs: Doubles,
    each: Doubles,
    Delta: Floats,
    others: Floats,
    budget: float,
    crew: Crew | None = None,
    n: int = 1,
    meet: bool = False,
    apart: bool = False,
) -> bool: ...
def spaced(n: int) -> int: ...
def accumulate_per_example(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    first: int,
    last: int,
    work: Floats,
    B: int,
    Delta: Floats,
    cost: float,
    budget: float,
) -> tuple[float, int]: ...
