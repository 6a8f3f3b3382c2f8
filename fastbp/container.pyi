import os
import re
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .strict_json import FormatError as FormatError

# Shared by the other stubs; not there at run time.
_Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

class _Readable(Protocol):
    def readinto(self, buffer: Any, /) -> int | None: ...

VERSION: Final[int]
MAX_HEADER: Final[int]
MAX_DIMENSIONS: Final[int]
CHUNK: Final[int]
DTYPES: Final[dict[str, np.dtype[Any]]]
CODES: Final[dict[str, str]]
MARK: Final[str]
DIGEST: Final[str]
METADATA: Final[str]
NAME: Final[re.Pattern[str]]

def write(path: _Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None: ...
def read(path: _Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]: ...
def located(path: _Path) -> AbstractContextManager[None]: ...
def shown(path: _Path) -> str: ...
def parse(file: _Readable, size: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]: ...
