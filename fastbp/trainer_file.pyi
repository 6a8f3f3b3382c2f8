from typing import Any

from .container import _Path
from .snapshot import Fit
from .training import Trainer

def save(path: _Path, trainer: Trainer, notes: dict[str, Any] | None) -> None: ...
def read(path: _Path, trainer: Trainer) -> Fit: ...
