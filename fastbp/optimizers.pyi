from typing import Any, Final, Literal, TypeAlias

from numpy.typing import DTypeLike

from .checks import _Flag, _Number, _Rate
from .rule import Optimizer as Optimizer
from .rule import _Rule

_Named: TypeAlias = Literal["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop"]

class SGD(Optimizer):
    learning_rate: _Rate
    momentum: float
    nesterov: bool
    def __init__(
        self,
        learning_rate: _Rate = 0.1,
        momentum: _Number = 0.0,
        nesterov: _Flag = False,
    ) -> None: ...
    @property
    def slots(self) -> tuple[str, ...]: ...  # type: ignore[override]

class Adam(Optimizer):
    learning_rate: _Rate
    beta_1: float
    beta_2: float
    epsilon: float
    epsilon_hat: bool
    def __init__(
        self,
        learning_rate: _Rate = 1e-3,
        beta_1: _Number = 0.9,
        beta_2: _Number = 0.999,
        epsilon: _Number = 1e-8,
        epsilon_hat: _Flag = False,
    ) -> None: ...

class AdamW(Adam):
    weight_decay: float
    def __init__(
        self,
        learning_rate: _Rate = 1e-3,
        beta_1: _Number = 0.9,
        beta_2: _Number = 0.999,
        epsilon: _Number = 1e-8,
        weight_decay: _Number = 0.01,
    ) -> None: ...

class Nadam(Optimizer):
    learning_rate: _Rate
    beta_1: float
    beta_2: float
    epsilon: float
    momentum_decay: float
    def __init__(
        self,
        learning_rate: _Rate = 2e-3,
        beta_1: _Number = 0.9,
        beta_2: _Number = 0.999,
        epsilon: _Number = 1e-8,
        momentum_decay: _Number = 4e-3,
    ) -> None: ...

class RMSprop(Optimizer):
    learning_rate: _Rate
    decay: float
    epsilon: float
    momentum: float
    def __init__(
        self,
        learning_rate: _Rate = 1e-3,
        decay: _Number = 0.9,
        epsilon: _Number = 1e-8,
        momentum: _Number = 0.0,
    ) -> None: ...
    @property
    def slots(self) -> tuple[str, ...]: ...  # type: ignore[override]

class Adagrad(Optimizer):
    learning_rate: _Rate
    initial: float
    epsilon: float
    def __init__(
        self,
        learning_rate: _Rate = 0.01,
        initial: _Number = 0.0,
        epsilon: _Number = 1e-10,
    ) -> None: ...

class RPROP(Optimizer):
    learning_rate: float
    eta_minus: float
    eta_plus: float
    least: float
    most: float
    def __init__(
        self,
        learning_rate: _Number = 0.01,
        eta_minus: _Number = 0.5,
        eta_plus: _Number = 1.2,
        least: _Number = 1e-6,
        most: _Number = 50.0,
    ) -> None: ...

NAMED: Final[dict[str, type[Any]]]

def resolve(optimizer: _Rule | _Named, dtype: DTypeLike) -> _Rule: ...
