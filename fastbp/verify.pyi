from typing import Final

TAIL: Final[int]
LARGE: Final[tuple[int, ...]]
TOLERANCE: Final[int]

def selftest() -> dict[str, str | float]: ...
