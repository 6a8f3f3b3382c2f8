from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final, Protocol, TextIO

from .history import History

FORM: Final[str]

def line(history: History) -> str: ...
class _Report(Protocol):
    def __call__(self, history: History, examples: int | None = None) -> None: ...

def silent() -> nullcontext[_Report]: ...
@contextmanager
def bar(epochs: int, stream: TextIO | None = None, done: int = 0) -> Iterator[_Report]: ...
