import os
from collections.abc import Iterable
from typing import Final

from .container import _Path

MAX_LINKS: Final[int]
UNSUPPORTED: Final[tuple[int, ...]]

def checked(path: _Path) -> str | bytes: ...
def regular(status: os.stat_result, path: _Path) -> None: ...
def replace(path: _Path, chunks: Iterable[bytes]) -> None: ...
