from collections.abc import Iterable, Sequence
from typing import Final, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from .checks import _Number

_Scalar = TypeVar("_Scalar", bound=np.generic)

FUNCTION_ALIASES: Final[dict[str, str]]
LOSS_ALIASES: Final[dict[str, str]]
BLAS_LIMIT: Final[int]
SMALLEST: Final[float]
CACHED: Final[int]
WORKSPACE: Final[int]

class Plan:
    layer_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    output: str
    loss: str
    loss_parameters: dict[str, float]
    shapes: list[tuple[int, int]]
    offsets: list[int]
    dropout: tuple[float, ...]
    code: NDArray[np.int64]
    units: int
    lowest: float
    highest: float
    def __init__(
        self,
        layer_sizes: Iterable[SupportsIndex],
        activation: str | list[str] | tuple[str, ...],
        output: str,
        loss: str,
        **parameters: _Number | None,
    ) -> None: ...
    def dropping(self, rates: Sequence[float]) -> Plan: ...
    def set_masks(self, seed: int, step: int, first: int = 0) -> None: ...
    @property
    def large(self) -> bool: ...
    @property
    def n_parameters(self) -> int: ...
    def block(self, m: int, itemsize: int, panel: int) -> int: ...
    def views(self, theta: NDArray[_Scalar]) -> tuple[NDArray[_Scalar], ...]: ...
