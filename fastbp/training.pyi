from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import _Count, _Flag, _Number, _PerLayer, _Seed
from .history import History
from .network import Network
from .optimizers import _Named
from .rule import _Rule

_Validation: TypeAlias = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None] | list[Any]

LARGE: Final[int]
ONLINE: Final[int]
NO_RATES: Final[NDArray[np.float64]]
NOT_EACH: Final[NDArray[np.float64]]

class DivergenceError(ArithmeticError):
    history: History | None
    def __init__(self, message: str, history: History | None = None) -> None: ...

def train(
    net: Network,
    X: ArrayLike,
    Y: ArrayLike,
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
    validation_data: _Validation | None = None,
    seed: _Seed = None,
    progress: _Flag = False,
    n_threads: _Count | None = None,
) -> History: ...

class Trainer:
    net: Network
    optimizer: _Rule
    weight_decay: Any  # a number, or a tuple of one a Theta
    l1: float
    batch_lam: float
    clip_value: float | None
    clip_norm: float | None
    n_threads: int | None
    state: dict[str, Any]
    @property
    def dropout(self) -> tuple[float, ...]: ...
    def __init__(
        self,
        net: Network,
        optimizer: _Rule | _Named = "adam",
        *,
        weight_decay: _PerLayer = 0.0,
        l1: _Number = 0.0,
        batch_lam: _Number = 0.0,
        clip_value: _Number | None = None,
        clip_norm: _Number | None = None,
        dropout: _PerLayer = 0.0,
        input_dropout: _Number = 0.0,
        seed: _Seed = None,
        n_threads: _Count | None = None,
    ) -> None: ...
    def step(self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None) -> float: ...
    def epoch(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        batch_size: _Count | None = 32,
        order: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float: ...
