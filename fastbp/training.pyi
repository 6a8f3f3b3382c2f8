from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import _Count, _Number, _PerLayer, _Seed
from .container import _Path
from .distributed import Alone, Group, _Ranks
from .network import Network
from .optimizers import _Named
from .ranks import Ranks
from .regularisation import Regularisation
from .rule import _Rule

LARGE: Final[int]
APART: Final[int]
ONLINE: Final[int]
NO_RATES: Final[NDArray[np.float64]]
NOT_EACH: Final[NDArray[np.float64]]

class Trainer:
    net: Network
    optimizer: _Rule
    weight_decay: Any  # a number, or a tuple of one a Theta
    l1: float
    batch_lam: float
    clip_value: float | None
    clip_norm: float | None
    n_threads: int | None
    sync_every: int | None
    group: Group | Alone
    ranks: Ranks | None
    state: dict[str, Any]
    @property
    def compiled(self) -> bool: ...
    @property
    def regularisation(self) -> Regularisation: ...
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
        comm: _Ranks | None = None,
        sync_every: _Count | None = None,
    ) -> None: ...
    def step(self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None) -> float: ...
    def save(self, path: _Path, notes: dict[str, Any] | None = None) -> None: ...
    def __getstate__(self) -> dict[str, Any]: ...
    def __copy__(self) -> Trainer: ...
    def __setstate__(self, kept: dict[str, Any]) -> None: ...
    def restore(self, path: _Path) -> dict[str, Any]: ...
    def epoch(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        batch_size: _Count | None = 32,
        order: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float: ...
