from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .checks import _Count, _Flag, _Number
from .container import _Path
from .data import Data
from .history import History
from .loop import Training
from .network import Network
from .shard import Shard

UNITS: Final[tuple[str, ...]]
LEAST: Final[float]
SHARE: Final[int]

_Every: TypeAlias = _Count | tuple[_Number, Literal["epochs", "batches", "seconds"]]

@dataclass
class Position:
    examples: int = 0
    cost: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0

class Nothing:
    batches: None
    def begin(self, *_: Any) -> None: ...
    def go_on(self, *_: Any) -> None: ...
    def begin_epoch(self, *_: Any) -> None: ...
    def after_batches(self, *_: Any) -> None: ...
    def after_epoch(self, *_: Any) -> None: ...
    def end(self, *_: Any) -> None: ...
    def rescue(self, *_: Any) -> None: ...

class Checkpoint:
    path: _Path
    every: float
    unit: str
    def __init__(self, path: _Path, every: float, unit: str, rng: np.random.Generator) -> None: ...
    def begin(self, training: Training, conditions: dict[str, Any] | None) -> None: ...
    def go_on(self, kept: Kept) -> None: ...
    def begin_epoch(self, training: Training) -> None: ...
    @property
    def batches(self) -> int: ...
    def after_batches(self, training: Training, batches: int) -> None: ...
    def after_epoch(self, training: Training) -> None: ...
    def end(self, training: Training) -> None: ...
    def rescue(self, training: Training, error: BaseException) -> None: ...

def keeper(
    path: _Path | None, every: _Every, resume: _Flag, rng: np.random.Generator, rank: int
) -> tuple[Nothing | Checkpoint, Kept | None]: ...
def conditions(
    training: Training, *, batch_size: int, shuffle: bool, validation_split: float, data: Data | Shard | None
) -> dict[str, Any]: ...

class Kept:
    path: _Path
    net: Network
    begun: dict[str, Any]
    last: dict[str, Any]
    state: Any
    settings: Any
    history: History
    generator: dict[str, Any]
    epoch_generator: dict[str, Any]
    position: Position
    conditions: dict[str, Any]
    callbacks: list[Any]
    def __init__(self, path: _Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None: ...
    @property
    def key(self) -> tuple[int, int, str | None]: ...
    def rewound(self) -> np.random.Generator: ...
    def check(self, training: Training, now: dict[str, Any]) -> None: ...
    def into(self, training: Training) -> None: ...

def read(path: _Path) -> Kept | None: ...
