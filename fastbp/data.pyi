from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._backprop import Examples
from .checks import _Floats
from .plan import Plan

class Data:
    plan: Plan
    X: NDArray[Any]
    m: int
    dense: NDArray[Any] | None
    labels: NDArray[np.int64] | None
    w: _Floats | None
    weight: float
    scale: float
    def __init__(
        self,
        plan: Plan,
        dtype: DTypeLike,
        X: ArrayLike,
        Y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        names: Sequence[str] = ("X", "Y", "sample_weight"),
        shard: bool = False,
    ) -> None: ...
    @classmethod
    def of(
        cls, plan: Plan, X: NDArray[Any], dense: NDArray[Any] | None, labels: NDArray[np.int64] | None,
        w: _Floats | None,
    ) -> Data: ...
    @property
    def Y(self) -> NDArray[Any]: ...
    def examples(self, order: NDArray[np.int64] | None = None) -> Examples: ...
    @cached_property
    def classes(self) -> Literal["labels", "one_hot", "binary"] | None: ...
    def accuracy(self, h: _Floats) -> float: ...
    def right(self, h: _Floats) -> float: ...
