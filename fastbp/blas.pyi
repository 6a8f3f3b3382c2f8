from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import LibController  # type: ignore[import-untyped]

def libraries() -> list[LibController]: ...
@contextmanager
def single_thread() -> Iterator[None]: ...
