from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .checkpoint import Checkpoint, Nothing, Position, _Every
from .checks import _Count, _Flag, _Number, _PerLayer, _Seed
from .container import _Path
from .data import Data
from .distributed import _Ranks
from .feed import Arrays, Stream, _Validation
from .history import History
from .lanes import Lanes
from .network import Network
from .optimizers import _Named
from .rule import _Rule
from .shard import Shard
from .training import Trainer

class DivergenceError(ArithmeticError):
    history: History | None
    def __init__(self, message: str, history: History | None = None) -> None: ...

def train(
    net: Network,
    X: ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]],
    Y: ArrayLike | None = None,
    *,
    optimizer: _Rule | _Named = "adam",
    epochs: _Count,
    batch_size: _Count | None = 32,
    weight_decay: _PerLayer = 0.0,
    lam: _Number | None = None,
    l1: _Number = 0.0,
    clip_value: _Number | None = None,
    clip_norm: _Number | None = None,
    dropout: _PerLayer = 0.0,
    input_dropout: _Number = 0.0,
    sample_weight: ArrayLike | None = None,
    shuffle: _Flag = True,
    window: _Count | None = None,
    validation_data: _Validation | None = None,
    validation_split: _Number = 0.0,
    metrics: Sequence[str | Callable[..., Any]] = (),
    callbacks: Sequence[object] = (),
    seed: _Seed = None,
    progress: _Flag = False,
    n_threads: _Count | None = None,
    checkpoint: _Path | None = None,
    checkpoint_every: _Every = 1,
    resume: _Flag = False,
    comm: _Ranks | None = None,
    sync_every: _Count | None = None,
) -> History: ...

class Training:
    net: Network
    trainer: Trainer
    optimizer: _Rule
    history: History
    epochs: int
    J: float
    rng: np.random.Generator
    feed: Arrays | Stream | Lanes
    validation: Data | Shard | None
    rank: int
    callbacks: list[Any]
    position: Position
    paused: str | None
    keeper: Nothing | Checkpoint
    def __init__(
        self,
        trainer: Trainer,
        feed: Arrays | Stream | Lanes,
        batch_size: int,
        validation: Data | Shard | None,
        functions: dict[str, Callable[..., float]],
        callbacks: list[Any],
        rng: np.random.Generator,
        epochs: int,
        keeper: Nothing | Checkpoint,
    ) -> None: ...
    @property
    def epoch(self) -> int: ...
    def stop(self, reason: str) -> None: ...
    def pause(self, reason: str) -> None: ...
    def run(self, report: Callable[..., None]) -> None: ...
    def call(self, name: str) -> None: ...
