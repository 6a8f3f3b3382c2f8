from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ._backprop import Examples
from ._types import Floats

@final
class Evaluator:
    def __new__(
        cls,
        plan: NDArray[np.int64],
        dtype: np.dtype[Any],
        most: int,
        full: int,
        lowest: float,
        highest: float,
        rows_sum_to_1: bool,
        softmax: bool,
        array: type,
        empty: Callable[..., NDArray[Any]],
    ) -> Evaluator: ...
    def cost_and_gradient(
        self,
        X: object,
        Y: object,
        theta: object,
        weight_decay: object,
        lam: object,
        l1: object,
        out: object,
        n_threads: object,
    ) -> tuple[float, Floats] | None: ...
    def cost(
        self, X: object, Y: object, theta: object, weight_decay: object, lam: object, l1: object, n_threads: object
    ) -> float | None: ...
    def of_examples(
        self,
        examples: Examples,
        m: int,
        weight: float,
        theta: Floats,
        c: tuple[float, ...],
        l1: float,
        gradient: bool,
    ) -> Any: ...
    def evaluate(self, X: object, Y: object, theta: object) -> tuple[float, float | None] | None: ...
    def predict(self, X: object, theta: object, out: object = None) -> Floats | None: ...
    def activations(self, X: object, theta: object) -> list[Floats] | None: ...
    def gradient_norms(self, X: object, Y: object, theta: object) -> Floats | None: ...
    def deltas(self, X: object, Y: object, theta: object) -> list[Floats] | None: ...
