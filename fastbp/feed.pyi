from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .data import Data
from .network import Network

WINDOW: Final[int]
PIECE: Final[int]

_Validation: TypeAlias = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None] | list[Any]

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
    shard: bool
    window: int
    def __init__(
        self, net: Network, source: Iterable[Any] | Callable[[], Iterable[Any]], batch_size: int, shuffle: bool,
        window: int | None = None, shard: bool = False,
    ) -> None: ...
    def pieces(self, rng: np.random.Generator) -> Iterator[tuple[Data, NDArray[np.int64] | None]]: ...

def stream(
    net: Network, X: Any, batch_size: int | None, shuffle: bool, window: int | None, sample_weight: ArrayLike | None,
    split: float, lam: float | None, shard: bool = False,
) -> Stream: ...
def split(
    net: Network, data: Data, share: float, rng: np.random.Generator
) -> tuple[Data, NDArray[np.int64]]: ...
def validation(net: Network, validation_data: _Validation | None, shard: bool = False) -> Data | None: ...
def sources(
    net: Network, X: Any, Y: Any, sample_weight: ArrayLike | None, batch_size: int | None, shuffle: bool,
    window: int | None, share: float, validation_data: _Validation | None, rng: np.random.Generator, lam: float | None,
) -> tuple[Arrays | Stream, Data | None, Data | None]: ...
