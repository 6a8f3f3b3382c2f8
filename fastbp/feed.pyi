from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .data import Data
from .network import Network

WINDOW: Final[int]
PIECE: Final[int]

class Arrays:
    data: Data
    rows: NDArray[np.int64] | None
    shuffle: bool
    m: int
    weight: float
    window: int
    def __init__(
        self, data: Data, batch_size: int | None, shuffle: bool, window: int | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> None: ...
    def pieces(self, rng: np.random.Generator) -> Iterator[tuple[Data, NDArray[np.int64] | None]]: ...

class Stream:
    m: None
    weight: None
    net: Network
    source: Iterable[Any] | Callable[[], Iterable[Any]]
    shuffle: bool
    window: int
    def __init__(
        self, net: Network, source: Iterable[Any] | Callable[[], Iterable[Any]], batch_size: int, shuffle: bool,
        window: int | None = None,
    ) -> None: ...
    def pieces(self, rng: np.random.Generator) -> Iterator[tuple[Data, NDArray[np.int64] | None]]: ...
