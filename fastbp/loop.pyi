from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .callbacks import Callbacks, _Callback
from .checks import _Count, _Flag, _Number, _PerLayer, _Seed
from .data import Data
from .feed import Arrays, Stream
from .history import History
from .network import Network
from .optimizers import _Named
from .rule import _Rule
from .training import Trainer

_Chunks: TypeAlias = Iterable[tuple[ArrayLike, ...]] | Callable[[], Iterable[tuple[ArrayLike, ...]]]
_Validation: TypeAlias = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None] | list[Any]

class DivergenceError(ArithmeticError):
    history: History | None
    def __init__(self, message: str, history: History | None = None) -> None: ...

def train(
    net: Network,
    X: ArrayLike | _Chunks,
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
    callbacks: Sequence[_Callback] = (),
    seed: _Seed = None,
    progress: _Flag = False,
    n_threads: _Count | None = None,
) -> History: ...


class Training:
    net: Network
    trainer: Trainer
    history: History
    epoch: int
    epochs: int
    J: float
    learning_rate: Any  # a number; None where the optimizer has none
    rng: np.random.Generator
    def __init__(
        self,
        trainer: Trainer,
        feed: Arrays | Stream,
        epochs: int,
        batch_size: int,
        rng: np.random.Generator,
        validation: Data | None = None,
        metrics: Mapping[str, Callable[..., float]] | None = None,
        callbacks: Callbacks | None = None,
    ) -> None: ...
    def stop(self, reason: object) -> None: ...
    def run(self, report: Callable[[History], None]) -> None: ...
