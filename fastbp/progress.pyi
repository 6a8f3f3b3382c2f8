from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TextIO

from .history import History

def line(history: History) -> str: ...
def silent() -> nullcontext[Callable[[History], None]]: ...
@contextmanager
def bar(epochs: int, stream: TextIO | None = None, done: int = 0) -> Iterator[Callable[[History], None]]: ...
