from pathlib import Path
from typing import Final

GROUPS: Final[Path]
OWN: Final[Path]

def processors() -> float: ...
def quota(folder: Path) -> float: ...
