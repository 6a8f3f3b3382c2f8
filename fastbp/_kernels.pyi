from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

available: Final[tuple[str, ...]]
isa: Final[str]
capsule: Final[object]
activations: Final[dict[str, tuple[int, bool]]]
outputs: Final[dict[str, tuple[int, float, float]]]
losses: Final[dict[str, tuple[int, str | None, float, float]]]
rules: Final[dict[str, int]]
pairs: Final[list[tuple[str, str]]]

def few_summed(costs: NDArray[Any]) -> float | None: ...
def low_level(function: Any) -> tuple[int, str, int]: ...
def check_owner(array: NDArray[Any], name: str = ..., write: bool = ...) -> None: ...
def first_nonfinite(X: NDArray[np.floating[Any]], limit: float) -> int: ...
def function(name: str, x: NDArray[np.floating[Any]], out: NDArray[np.floating[Any]]) -> None: ...
