import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias, type_check_only

from .checks import _Count, _Flag, _Number
from .loop import Training

_Monitor: TypeAlias = str | Callable[[Training], Any]
_Mode: TypeAlias = Literal["min", "max"] | None

@type_check_only
class _AtEpochs(Protocol):
    def on_epoch_end(self, training: Training, /) -> object: ...

@type_check_only
class _AtBatches(Protocol):
    def on_batch_end(self, training: Training, /) -> object: ...

_Callback: TypeAlias = _AtEpochs | _AtBatches | Callable[[Training], object]

class Callback:
    def on_train_begin(self, training: Training) -> None: ...
    def on_epoch_end(self, training: Training) -> None: ...
    def on_train_end(self, training: Training) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: dict[str, Any]) -> None: ...

class Watch(Callback):
    monitor: _Monitor
    mode: _Mode
    patience: int
    min_delta: float
    best: float | None
    best_epoch: int
    waited: int
    def __init__(
        self, monitor: _Monitor = "val_J", patience: _Count = 10, min_delta: _Number = 0.0, mode: _Mode = None
    ) -> None: ...
    def forget(self) -> None: ...
    def improved(self, training: Training) -> bool: ...
    @property
    def name(self) -> str: ...

class EarlyStopping(Watch):
    restore_best: bool
    def __init__(
        self,
        monitor: _Monitor = "val_J",
        patience: _Count = 10,
        min_delta: _Number = 0.0,
        mode: _Mode = None,
        restore_best: _Flag = True,
    ) -> None: ...

class ReduceOnPlateau(Watch):
    factor: float
    cooldown: int
    least: float
    def __init__(
        self,
        monitor: _Monitor = "val_J",
        factor: _Number = 0.1,
        patience: _Count = 10,
        min_delta: _Number = 0.0,
        mode: _Mode = None,
        cooldown: _Count = 0,
        least: _Number = 0.0,
    ) -> None: ...

class Logging(Callback):
    logger: logging.Logger
    level: int
    every: int
    def __init__(
        self, logger: str | logging.Logger = "fastbp", level: _Count = ..., every: _Count = 1
    ) -> None: ...

METHODS: Final[tuple[str, ...]]

class Callbacks:
    members: tuple[_Callback, ...]
    def __init__(self, callbacks: Sequence[_Callback]) -> None: ...
    def call(self, method: str, training: Training) -> None: ...
