from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._backprop import Examples
from .checks import _Count, _Floats, _Number, _PerLayer, _Seed
from .data import Data
from .network import Network
from .plan import Plan
from .regularisation import Regularisation
from .shard import Shard
from .threads import Crew

SMALL: Final[int]
SHARDS: Final[int]
SHARD_MEMORY: Final[int]
RUN: Final[int]
NOT_EACH: Final[NDArray[np.float64]]

class Workspace:
    rows: int
    block: _Floats
    costs: NDArray[np.float64]
    def __init__(self, plan: Plan, m: int, dtype: DTypeLike) -> None: ...

def rows(plan: Plan, m: int, dtype: DTypeLike) -> int: ...
def aligned(n: int, dtype: DTypeLike) -> _Floats: ...
def operations(plan: Plan, m: int) -> float: ...
def shards(plan: Plan, first: int, last: int, rows: int) -> list[tuple[int, int]]: ...
def accumulate(
    plan: Plan, theta: _Floats, data: Data | Shard, Delta: _Floats, per_example: bool = False,
    n_threads: _Count | None = None, each: NDArray[np.float64] = ...,
) -> float: ...
def accumulate_range(
    plan: Plan,
    theta: _Floats,
    examples: Examples,
    first: int,
    last: int,
    work: Sequence[Workspace],
    Delta: _Floats,
    crew: Crew = ...,
    each: NDArray[np.float64] = ...,
) -> float: ...
def predict(
    plan: Plan, theta: _Floats, X: NDArray[np.generic], out: _Floats, order: NDArray[np.int64] | None = None
) -> None: ...
def row_predictor(plan: Plan, theta: _Floats) -> Callable[[object, object], _Floats | None]: ...
def trace(plan: Plan, theta: _Floats, X: NDArray[np.generic]) -> list[_Floats]: ...
def trace_back(plan: Plan, theta: _Floats, data: Data) -> list[_Floats]: ...
def cost(
    plan: Plan, theta: _Floats, data: Data | Shard, regularisation: Regularisation, n_threads: _Count | None = None
) -> float: ...
def cost_and_gradient(
    plan: Plan, theta: _Floats, data: Data | Shard, regularisation: Regularisation, n_threads: _Count | None = None
) -> tuple[float, _Floats]: ...

class GradientCheck(NamedTuple):
    relative_difference: float
    analytic: NDArray[np.float64]
    numeric: NDArray[np.float64]

def check_gradient(
    net: Network,
    X: ArrayLike,
    Y: ArrayLike,
    *,
    weight_decay: _PerLayer = 0.0,
    lam: _Number | None = None,
    l1: _Number = 0.0,
    sample_weight: ArrayLike | None = None,
    directions: _Count | None = None,
    h: _Number = 1e-5,
    seed: _Seed = 0,
) -> GradientCheck: ...
