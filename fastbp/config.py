"""The parts of this installation: versions, instruction set, BLAS."""

import platform
import sys
from importlib.metadata import version

import numpy as np
import scipy

from . import _kernels
from .engine import blas, threads

__version__ = version("fastbp")


def show_config() -> dict[str, str | int | None]:
    """Print versions, instruction set and BLAS of this installation, and return them as a dict.

    The environment variable FASTBP_ISA forces one of the available instruction sets; it is read at import.

    Returns
    -------
    dict
        The printed values by name.

    See Also
    --------
    selftest

    Examples
    --------
    >>> import fastbp
    >>> config = fastbp.show_config()           # doctest: +ELLIPSIS
    fastbp ...
    >>> config["platform"].split()[0]
    'linux'
    """
    config: dict[str, str | int | None] = {
        "fastbp": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "platform": f"{sys.platform} {platform.machine()}",
        "instruction set": _kernels.isa,
        "instruction sets available": ", ".join(_kernels.available),
        "cores": threads.cores(),
        "blas": ", ".join(f"{library.internal_api} {library.version}" for library in blas.libraries()) or "unknown",
    }
    for name, value in config.items():
        print(f"{name:<28}{value}")
    return config
