from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .network import Network

ROWS: Final[int]

class Standardise:
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    def __init__(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> None: ...
    def __setstate__(self, state: dict[str, Any]) -> None: ...
    def transform(self, X: ArrayLike) -> NDArray[Any]: ...
    def inverse(self, X: ArrayLike) -> NDArray[Any]: ...
    def fold(self, net: Network) -> Network: ...
