from typing import final

import numpy as np
from numpy.typing import NDArray

from ._backprop import Examples
from ._epoch import Rule
from ._types import Doubles, Floats

@final
class Stretch:
    def __new__(cls, m: int, batch_size: int, epochs: int) -> Stretch: ...
    @property
    def epochs(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def diverged(self) -> bool: ...
    @property
    def stopping(self) -> bool: ...
    def J(self, first: int = 0) -> list[float]: ...
    def seconds(self, first: int = 0) -> list[float]: ...
    @property
    def watches(self) -> bool: ...
    def held_J(self, first: int = 0) -> list[float]: ...
    def held_accuracy(self, first: int = 0) -> list[float]: ...
    def watch(
        self,
        plan: NDArray[np.int64],
        examples: Examples,
        m: int,
        work: Floats,
        B: int,
        panels: Doubles,
        h: Floats,
        answers: NDArray[np.int64] | None,
        binary: bool,
        middle: float,
        w: Doubles | None = None,
    ) -> None: ...
    @property
    def best_epoch(self) -> int: ...
    def keep(self, best: Floats, by_accuracy: bool) -> None: ...
    def want_stop(self) -> None: ...
    def run(
        self,
        plan: NDArray[np.int64],
        theta: Floats,
        examples: Examples,
        rule: Rule,
        rates: Doubles,
        first_rate: int,
        Delta: Floats,
        work: Floats,
        B: int,
        panels: Doubles,
        before: Floats,
        divisors: Doubles | None,
        order: NDArray[np.int64] | None,
        rows: NDArray[np.int64] | None,
        bit_generator: np.random.BitGenerator | None,
        last: int,
        budget: float,
    ) -> int: ...
