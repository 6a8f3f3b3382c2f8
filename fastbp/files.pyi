from collections.abc import Iterable
from typing import Any, Final

from numpy.typing import NDArray

from .container import FormatError as FormatError
from .container import _Path
from .network import Network

VERSION: Final[int]
SETTINGS: Final[set[str]]

def save(path: _Path, net: Network) -> None: ...
def load(path: _Path) -> Network: ...
def checked(meta: dict[str, Any], version: int, names: Iterable[str]) -> None: ...
def pack(net: Network) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]: ...
def unpack(arrays: dict[str, NDArray[Any]], settings: Any) -> Network: ...
