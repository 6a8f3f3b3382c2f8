from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._backprop import Examples, Team
from .checks import _Floats

@final
class Rule:
    def __new__(
        cls,
        plan: NDArray[np.int64],
        rule: int,
        settings: NDArray[np.float64],
        regularisation: NDArray[np.float64],
        slots: Sequence[_Floats],
        scalars: NDArray[np.float64],
        taken: NDArray[np.int64],
        _: object = None,
    ) -> Rule: ...

def groups(plan: NDArray[np.int64]) -> int: ...
def step(
    plan: NDArray[np.int64],
    theta: _Floats,
    m_b: float,
    rule: Rule,
    rates: NDArray[np.float64],
    Delta: _Floats,
) -> float: ...
def steps(
    plan: NDArray[np.int64],
    theta: _Floats,
    examples: Examples,
    m: int,
    batch_size: int,
    first: int,
    last: int,
    rule: Rule,
    rates: NDArray[np.float64],
    Delta: _Floats,
    work: _Floats,
    B: int,
    costs: NDArray[np.float64],
    each: NDArray[np.float64],
    total: float,
    weight: float,
    budget: float,
    team: Team,
    member: int,
) -> tuple[float, float, int, int]: ...
def online_steps(
    plan: NDArray[np.int64],
    theta: _Floats,
    examples: Examples,
    first: int,
    last: int,
    rule: Rule,
    rates: NDArray[np.float64],
    work: _Floats,
    B: int,
    packed: _Floats,
    total: float,
    weight: float,
    budget: float,
    stride: int,
) -> tuple[float, float, int]: ...
def packed_size(plan: NDArray[np.int64], theta: _Floats) -> int: ...

@disjoint_base
class Stepper:
    def __new__(
        cls,
        plan: NDArray[np.int64],
        theta: _Floats,
        _: object,
        __: object,
        B: int,
        ___: object,
        rule: Rule,
        lowest: float,
        highest: float,
        rows_sum_to_1: bool,
    ) -> Stepper: ...
    rate: float
    def step(self, X: NDArray[Any], Y: NDArray[Any]) -> float | None: ...
