from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias

from numpy.typing import DTypeLike, NDArray

from .checks import _Flag, _Number

class _Rule(Protocol):
    """What `optimizer=` accepts: any object with these two methods."""

    def init(self, theta: NDArray[Any], /) -> Any: ...
    def update(self, theta: NDArray[Any], D: NDArray[Any], state: Any, /) -> object: ...

_Named: TypeAlias = Literal["sgd", "adam"]

class Optimizer:
    compiled: ClassVar[str | None]
    slots: tuple[str, ...]
    def init(self, theta: NDArray[Any]) -> dict[str, Any]: ...
    def update(self, theta: NDArray[Any], D: NDArray[Any], state: dict[str, Any]) -> None: ...
    def settings(self) -> tuple[float, ...]: ...
    def __eq__(self, other: object) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

class SGD(Optimizer):
    learning_rate: float
    momentum: float
    nesterov: bool
    def __init__(self, learning_rate: _Number = 0.1, momentum: _Number = 0.0, nesterov: _Flag = False) -> None: ...
    @property
    def slots(self) -> tuple[str, ...]: ...  # type: ignore[override]

class Adam(Optimizer):
    learning_rate: float
    beta_1: float
    beta_2: float
    epsilon: float
    def __init__(
        self,
        learning_rate: _Number = 1e-3,
        beta_1: _Number = 0.9,
        beta_2: _Number = 0.999,
        epsilon: _Number = 1e-8,
    ) -> None: ...

NAMED: Final[dict[str, type[SGD] | type[Adam]]]

def compiled_rule(optimizer: _Rule) -> str | None: ...
def resolve(optimizer: _Rule | _Named, dtype: DTypeLike) -> _Rule: ...
