from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .distributed import Group
from .lanes import Batch
from .training import Trainer

NONE: Final[NDArray[np.float64]]

class Ranks:
    trainer: Trainer
    group: Group
    def __init__(self, trainer: Trainer) -> None: ...
    def epoch(
        self, X: ArrayLike, Y: ArrayLike, batch_size: Any, order: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> float: ...
    def steps(
        self,
        prepare: Callable[[], Iterable[Iterator[Batch]]],
        before: Callable[[], object] | None = None,
        watched: bool = False,
    ) -> Iterator[tuple[float, float]]: ...
