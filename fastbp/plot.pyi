from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import ArrayLike

from .checks import _Count
from .history import History
from .network import Network

BLUE: Final[str]
ORANGE: Final[str]
GREEN: Final[str]

MANY: Final[int]

def learning_curve(history: History, ax: Any = None) -> Any: ...
def first_layer_images(net: Network, shape: tuple[int, int], columns: _Count | None = None, ax: Any = None) -> Any: ...
def decision_boundary(net: Network, X: ArrayLike, y: ArrayLike, ax: Any = None, points: _Count = 200) -> Any: ...
def confusion_matrix(
    net: Network, X: ArrayLike, y: ArrayLike, ax: Any = None, names: Sequence[str] | None = None
) -> Any: ...
