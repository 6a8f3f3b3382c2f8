from collections.abc import Callable, Iterable
from typing import Final, Self, TypeVar

from ._backprop import Team
from .checks import _Count

_Result = TypeVar("_Result", bound=tuple[object, ...])
_Task = TypeVar("_Task")

SHARED: Final[float]
SHARED_CALL: Final[float]
SHARED_SUM: Final[float]
LONG: Final[float]
SLICE: Final[float]
ALONE_FIRST: Final[float]
TRIAL: Final[float]
LEAST: Final[float]
SETTLE: Final[float]
TERM: Final[float]
SHARE: Final[float]

def cores() -> int: ...
def members(n_threads: _Count | None, operations: float, least: float = ...) -> int: ...

def spread(member: int) -> None: ...

class Choice:
    now: int
    other: int
    @property
    def trying(self) -> bool: ...
    def __init__(self, n: int, alone: float) -> None: ...
    def next(self) -> tuple[int, float]: ...
    def took(self, n: int, steps: float, seconds: float) -> None: ...

class Crew:
    n: int
    team: Team
    def __init__(self, n: int = 1, apart: bool = False, alone: float = 0.0) -> None: ...
    def in_step(self, loop: Callable[[float, Team, int], _Result]) -> _Result: ...
    def share(self, work: Callable[[_Task, int], object], tasks: Iterable[_Task]) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def __del__(self) -> None: ...

ALONE: Final[Crew]

def crew(n_threads: _Count | None, operations: float, steps: float) -> Crew: ...
