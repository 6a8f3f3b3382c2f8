import logging
from typing import Any, Literal

from .checks import _Count, _Flag, _Number
from .loop import Training

class Callback:
    def on_train_begin(self, training: Training) -> None: ...
    def on_epoch_end(self, training: Training) -> None: ...
    def on_train_end(self, training: Training) -> None: ...

class _Watcher(Callback):
    monitor: str
    patience: int
    min_delta: float
    sign: float
    best: float
    best_epoch: int
    waited: int
    def __init__(
        self, monitor: str, patience: _Count, min_delta: _Number, mode: Literal["min", "max"] | None
    ) -> None: ...
    def better(self, training: Training) -> bool: ...

class EarlyStopping(_Watcher):
    restore_best: bool
    theta: Any
    def __init__(
        self,
        monitor: str = "val_J",
        patience: _Count = 10,
        min_delta: _Number = 0.0,
        mode: Literal["min", "max"] | None = None,
        restore_best: _Flag = True,
    ) -> None: ...

class ReduceOnPlateau(_Watcher):
    factor: float
    least: float
    def __init__(
        self,
        monitor: str = "val_J",
        patience: _Count = 5,
        factor: _Number = 0.1,
        min_delta: _Number = 0.0,
        mode: Literal["min", "max"] | None = None,
        least: _Number = 0.0,
    ) -> None: ...

class Logging(Callback):
    logger: logging.Logger | logging.LoggerAdapter[Any]
    level: int
    def __init__(
        self, logger: str | logging.Logger | logging.LoggerAdapter[Any] = "fastbp", level: int = 20
    ) -> None: ...

def check(callbacks: object) -> list[Any]: ...
