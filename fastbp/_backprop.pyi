from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from .checks import _Floats

@final
class Examples:
    def __new__(
        cls,
        X: NDArray[Any],
        Y: NDArray[Any] | None = None,
        labels: NDArray[np.int64] | None = None,
        w: _Floats | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> Examples: ...
    @property
    def capsule(self) -> object: ...
    def weight(self, first: int, last: int) -> float: ...

@final
class Team:
    def __new__(cls, n: int) -> Team: ...
    @property
    def capsule(self) -> object: ...
    @property
    def n(self) -> int: ...
    def want_stop(self) -> None: ...
    @property
    def stopping(self) -> bool: ...
    def abandon(self) -> None: ...

@disjoint_base
class Predictor:
    def __new__(
        cls, plan: NDArray[np.int64], theta: _Floats, _: object, B: int, array: type,
        empty: Callable[..., NDArray[Any]],
    ) -> Predictor: ...
    def predict(self, x: object, out: object) -> _Floats | None: ...

def lead(put: Callable[[Any], None], job: Any, finished: Callable[[], Any], stop: Callable[[], None]) -> None: ...
def panel(theta: _Floats) -> int: ...
def predict(
    plan: NDArray[np.int64],
    theta: _Floats,
    examples: Examples,
    first: int,
    last: int,
    work: _Floats,
    B: int,
    out: _Floats,
    budget: float,
    team: Team,
) -> int: ...
def layer(unit: int, work: _Floats, B: int, out: _Floats) -> None: ...
def accumulate(
    plan: NDArray[np.int64],
    theta: _Floats,
    examples: Examples,
    first: int,
    last: int,
    work: _Floats,
    B: int,
    costs: NDArray[np.float64],
    each: NDArray[np.float64],
    Delta: _Floats,
    cost: float,
    budget: float,
    team: Team,
) -> tuple[float, int]: ...
def accumulate_per_example(
    plan: NDArray[np.int64],
    theta: _Floats,
    examples: Examples,
    first: int,
    last: int,
    work: _Floats,
    B: int,
    Delta: _Floats,
    cost: float,
    budget: float,
) -> tuple[float, int]: ...
