import logging
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from .checks import _Count, _Flag, _Number
from .loop import Training

_Monitor: TypeAlias = str | Callable[[Training], Any]

class Callback:
    def on_train_begin(self, training: Training) -> None: ...
    def on_epoch_end(self, training: Training) -> None: ...
    def on_train_end(self, training: Training) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: dict[str, Any]) -> None: ...

class _Watcher(Callback):
    monitor: _Monitor
    name: str
    patience: int
    min_delta: float
    sign: float
    best: float
    best_epoch: int
    waited: int
    def __init__(
        self, monitor: _Monitor, patience: _Count, min_delta: _Number, mode: Literal["min", "max"] | None
    ) -> None: ...
    def better(self, training: Training) -> bool: ...

class EarlyStopping(_Watcher):
    restore_best: bool
    theta: Any
    def __init__(
        self,
        monitor: _Monitor = "val_J",
        patience: _Count = 10,
        min_delta: _Number = 0.0,
        mode: Literal["min", "max"] | None = None,
        restore_best: _Flag = True,
    ) -> None: ...

class ReduceOnPlateau(_Watcher):
    factor: float
    least: float
    cooldown: int
    cooling: int
    def __init__(
        self,
        monitor: _Monitor = "val_J",
        patience: _Count = 5,
        factor: _Number = 0.1,
        min_delta: _Number = 0.0,
        mode: Literal["min", "max"] | None = None,
        least: _Number = 0.0,
        cooldown: _Count = 0,
    ) -> None: ...

class Logging(Callback):
    logger: logging.Logger | logging.LoggerAdapter[Any]
    level: int
    every: int
    def __init__(
        self, logger: str | logging.Logger | logging.LoggerAdapter[Any] = "fastbp", level: int = 20, every: _Count = 1
    ) -> None: ...

class _Function:
    on_epoch_end: Callable[[Training], Any]
    def __init__(self, function: Callable[[Training], Any]) -> None: ...

def check(callbacks: object) -> list[Any]: ...
