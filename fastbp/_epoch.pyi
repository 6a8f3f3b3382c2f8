from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._backprop import Examples, Team
from .checks import _Floats

rules: Final[dict[str, int]]

def groups(plan: NDArray[np.int64]) -> int: ...
def step(
    plan: NDArray[np.int64],
    theta: _Floats,
    m_b: float,
    weight_decay: float,
    rule: int,
    settings: NDArray[np.float64],
    taken: NDArray[np.int64],
    slot_1: _Floats,
    slot_2: _Floats,
    Delta: _Floats,
    squares: NDArray[np.float64],
) -> float: ...
def steps(
    plan: NDArray[np.int64],
    theta: _Floats,
    examples: Examples,
    m: int,
    batch_size: int,
    first: int,
    last: int,
    weight_decay: float,
    rule: int,
    settings: NDArray[np.float64],
    t: int,
    slot_1: _Floats,
    slot_2: _Floats,
    Delta: _Floats,
    work: _Floats,
    B: int,
    costs: NDArray[np.float64],
    squares: NDArray[np.float64],
    total: float,
    weight: float,
    budget: float,
    taken: NDArray[np.int64],
    team: Team,
    member: int,
) -> tuple[float, float, int, int]: ...
def online_steps(
    plan: NDArray[np.int64],
    theta: _Floats,
    examples: Examples,
    first: int,
    last: int,
    weight_decay: float,
    learning_rate: float,
    work: _Floats,
    B: int,
    packed: _Floats,
    total: float,
    weight: float,
    budget: float,
    stride: int,
    taken: NDArray[np.int64],
) -> tuple[float, float, int]: ...
def packed_size(plan: NDArray[np.int64], theta: _Floats) -> int: ...

@disjoint_base
class Stepper:
    def __new__(
        cls,
        plan: NDArray[np.int64],
        theta: _Floats,
        Delta: _Floats,
        slots: Sequence[_Floats],
        work: _Floats,
        B: int,
        costs: NDArray[np.float64],
        squares: NDArray[np.float64],
        weight_decay: float,
        rule: int,
        settings: NDArray[np.float64],
        taken: NDArray[np.int64],
        lowest: float,
        highest: float,
        rows_sum_to_1: bool,
    ) -> Stepper: ...
    def step(self, X: NDArray[Any], Y: NDArray[Any]) -> float | None: ...
