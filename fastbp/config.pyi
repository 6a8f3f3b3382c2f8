from typing import Final

__version__: Final[str]

def show_config() -> dict[str, str | int | None]: ...
