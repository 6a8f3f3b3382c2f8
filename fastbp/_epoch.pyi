from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._backprop import Crew, Examples
from ._kernels import Turn
from ._types import Doubles, Floats

@final
class Rule:
    def __new__(
        cls,
        plan: NDArray[np.int64],
        rule: int,
        settings: Doubles,
        regularisation: Doubles,
        slots: Sequence[Floats],
        scalars: Doubles,
        taken: NDArray[np.int64],
        free: bytes | None = None,
        factors: bytes | None = None,
        diagonal: tuple[Floats, Floats, float] | None = None,
        turn: Turn | None = None,
    ) -> Rule: ...
    @property
    def capsule(self) -> object: ...
    @property
    def penalty(self) -> float: ...
    def stays(self) -> bool: ...

def step(
    plan: NDArray[np.int64],
    theta: Floats,
    m_b: float,
    rule: Rule,
    rates: Doubles,
    Delta: Floats,
    divisor: float | None = None,
    crew: Crew | None = None,
    n: int = 1,
) -> float: ...
def steps(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    m: int,
    batch_size: int,
    first: int,
    last: int,
    rule: Rule,
    rates: Doubles,
    Delta: Floats,
    work: Floats,
    B: int,
    costs: Doubles,
    each: Doubles,
    total: float,
    weight: float,
    budget: float,
    crew: Crew | None = None,
    n: int = 1,
    apart: bool = False,
    divisors: Doubles | None = None,
) -> tuple[float, float, int, int]: ...
def permutation(bit_generator: np.random.BitGenerator, order: NDArray[np.int64]) -> None: ...
def online_steps(
    plan: NDArray[np.int64],
    theta: Floats,
    examples: Examples,
    first: int,
    last: int,
    rule: Rule,
    rates: Doubles,
    work: Floats,
    B: int,
    packed: Floats,
    total: float,
    weight: float,
    budget: float,
    stride: int,
    divisors: Doubles | None = None,
) -> tuple[float, float, int]: ...
def packed_size(plan: NDArray[np.int64], theta: Floats) -> int: ...

@disjoint_base
class Stepper:
    def __new__(
        cls,
        plan: NDArray[np.int64],
        theta: Floats,
        B: int,
        rule: Rule,
        lowest: float,
        highest: float,
        rows_sum_to_1: bool,
        w: float = 1,
        most: int = 0,
        full: int = 0,
    ) -> Stepper: ...
    rate: float
    @property
    def rule(self) -> Rule: ...
    def step(self, X: object, Y: object) -> float | None: ...
    def apply(self, D: object, m_b: float) -> bool | None: ...
