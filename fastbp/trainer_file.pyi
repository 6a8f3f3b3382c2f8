from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from .container import _Path
from .regularisation import Regularisation
from .training import Trainer

SETTINGS: Final[tuple[str, ...]]

class Kept(NamedTuple):
    theta: NDArray[Any]
    state: Any
    regularisation: Regularisation
    numbers: dict[str, float]
    notes: dict[str, Any]

def save(path: _Path, trainer: Trainer, notes: dict[str, Any] | None) -> None: ...
def read(path: _Path, trainer: Trainer) -> Kept: ...
