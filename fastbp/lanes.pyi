from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._backprop import Examples
from .data import Data
from .distributed import Group
from .feed import Arrays, Stream
from .network import Network
from .shard import Shard

class Batch(NamedTuple):
    data: Data
    order: NDArray[np.int64] | None
    examples: Examples
    first: int
    last: int
    size: int
    more: bool
    @property
    def indices(self) -> NDArray[np.int64]: ...

def share(batch_size: int | None, group: Group, i: int) -> int | None: ...
def check_batch_size(batch_size: int | None, group: Group) -> None: ...
def batches(
    pieces: Iterable[tuple[Data, NDArray[np.int64] | None]], size: int | None, m: int | None = None, skip: int = 0,
    steps: int = 1,
) -> Iterator[Batch]: ...

class Lanes:
    group: Group
    m: int | None
    weight: float | None
    window: int | None
    brought: int
    def __init__(
        self, group: Group, feeds: list[Arrays | Stream | None], shares: list[int | None], window: int | None,
        m: int | None = None, weight: float | None = None, nothing: Data | None = None,
    ) -> None: ...
    def epoch(self, rng: np.random.Generator, steps_done: int, steps: int) -> Iterator[Iterator[Batch]]: ...
    def together(
        self, values: Callable[[Data, NDArray[np.int64] | None], NDArray[Any]]
    ) -> NDArray[Any]: ...

def sources(
    net: Network, X: Any, Y: Any, sample_weight: Any, batch_size: int | None, shuffle: bool, window: int | None,
    split: float, validation_data: Any, rng: np.random.Generator, lam: Any, group: Group, steps: int,
    settings: dict[str, Any],
) -> tuple[Lanes, Shard | None, Shard | None]: ...
