"""Files: the byte format, and a network in it. Reading executes nothing."""

from .network import load, save
from .strict_json import FormatError

__all__ = ["FormatError", "load", "save"]
