from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from numpy.typing import NDArray

from .checks import _Floats
from .data import Data
from .distributed import Group
from .plan import Plan

KINDS: Final[tuple[str | None, ...]]

class Shard:
    group: Group
    plan: Plan
    parts: list[Data]
    m: int
    weight: float
    scale: float
    classes: Literal["labels", "one_hot", "binary"] | None
    labels: Literal[True] | None
    w: Literal[True] | None
    def __init__(
        self, group: Group, make: Callable[[], Data | list[Data]], call: str, settings: Mapping[str, object],
        name: str = "X",
    ) -> None: ...
    def accumulate(self, theta: _Floats, Delta: _Floats, one: Callable[[Data, _Floats], float]) -> float: ...
    def accuracy(self, outputs: Callable[[Data], _Floats]) -> float: ...
    def together(self, values: Callable[[Data, None], NDArray[Any]]) -> NDArray[Any]: ...

def kind(data: Data) -> int: ...
def part(data: Data, first: int, last: int) -> Data: ...
