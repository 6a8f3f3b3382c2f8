from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, SupportsIndex, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .checks import _Count, _Flag, _Floats, _Number, _PerLayer, _Seed
from .data import Data
from .distributed import _Ranks
from .plan import Plan
from .shard import Shard

_Array = TypeVar("_Array", bound=NDArray[np.floating[Any]])

STATE: Final[set[str]]

class Evaluation(NamedTuple):
    cost: float
    accuracy: float | Any  # None for regression; Any, since a caller knows which of the two it has

class Network:
    def __init__(
        self,
        layer_sizes: Iterable[SupportsIndex],
        *,
        activation: str | list[str] | tuple[str, ...] = "sigmoid",
        output: str = "sigmoid",
        loss: str = "cross_entropy",
        huber_delta: _Number | None = None,
        quantile: _Number | None = None,
        dtype: DTypeLike = ...,
        init: str | NDArray[Any] | list[Any] | tuple[Any, ...] = "glorot_uniform",
        eps: _Number | None = None,
        seed: _Seed = None,
    ) -> None: ...
    def initialize(self, seed: _Seed = None) -> None: ...
    @property
    def theta(self) -> _Floats: ...
    @theta.setter
    def theta(self, values: ArrayLike) -> None: ...
    @property
    def Theta(self) -> tuple[_Floats, ...]: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def layer_sizes(self) -> tuple[int, ...]: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[np.floating[Any]]: ...
    @property
    def activation(self) -> tuple[str, ...]: ...
    @property
    def output(self) -> str: ...
    @property
    def loss(self) -> str: ...
    @property
    def loss_parameters(self) -> dict[str, float]: ...
    def copy(self, dtype: DTypeLike | None = None) -> Network: ...
    def __getstate__(self) -> dict[str, Any]: ...
    def __setstate__(self, state: dict[str, Any]) -> None: ...
    def summary(self) -> str: ...
    def data(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        names: Sequence[str] = ("X", "Y", "sample_weight"),
    ) -> Data: ...
    @overload
    def predict(self, X: ArrayLike, *, out: None = None) -> _Floats: ...
    @overload
    def predict(self, X: ArrayLike, *, out: _Array) -> _Array: ...
    def activations(self, X: ArrayLike) -> list[_Floats]: ...
    def deltas(self, X: ArrayLike, Y: ArrayLike) -> list[_Floats]: ...
    def accumulate(
        self, X: ArrayLike, Y: ArrayLike, per_example: _Flag = False, *, sample_weight: ArrayLike | None = None
    ) -> tuple[float, tuple[_Floats, ...]]: ...
    @overload  # D is in theta's dtype: the objective of scipy.optimize
    def cost_and_gradient(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        theta: NDArray[np.float64],
        weight_decay: _PerLayer = 0.0,
        lam: _Number | None = None,
        l1: _Number = 0.0,
        sample_weight: ArrayLike | None = None,
        out: NDArray[np.float64] | None = None,
        n_threads: _Count | None = None,
        comm: _Ranks | None = None,
    ) -> tuple[float, NDArray[np.float64]]: ...
    @overload
    def cost_and_gradient(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        theta: ArrayLike | None = None,
        weight_decay: _PerLayer = 0.0,
        lam: _Number | None = None,
        l1: _Number = 0.0,
        sample_weight: ArrayLike | None = None,
        out: _Floats | None = None,
        n_threads: _Count | None = None,
        comm: _Ranks | None = None,
    ) -> tuple[float, _Floats]: ...
    def cost(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        theta: ArrayLike | None = None,
        weight_decay: _PerLayer = 0.0,
        lam: _Number | None = None,
        l1: _Number = 0.0,
        sample_weight: ArrayLike | None = None,
        n_threads: _Count | None = None,
        comm: _Ranks | None = None,
    ) -> float: ...
    def evaluate(
        self, X: ArrayLike, Y: ArrayLike, *, sample_weight: ArrayLike | None = None, comm: _Ranks | None = None
    ) -> Evaluation: ...
    def evaluate_data(self, data: Data | Shard) -> Evaluation: ...
