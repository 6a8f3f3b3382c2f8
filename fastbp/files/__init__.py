"""Files: the byte format, and the network in it. Nothing read is executed."""

from .container import FormatError
from .network import load, save

__all__ = ["FormatError", "load", "save"]
