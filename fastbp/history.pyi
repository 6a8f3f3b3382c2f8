from dataclasses import dataclass, field
from typing import Any

@dataclass
class History:
    J: list[float] = field(default_factory=list)
    # None without validation data, val_accuracy for regression too; Any, since a caller knows which it has
    val_J: list[float] | Any = None
    val_accuracy: list[float] | Any = None
    seconds: list[float] = field(default_factory=list)
    examples: int = 0
    def __len__(self) -> int: ...
    @property
    def examples_per_second(self) -> float: ...
