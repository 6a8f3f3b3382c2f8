"""The byte format of fastbp's files, under its documented name. The code is in `fastbp.files.container`."""

from .files.container import read, write
from .files.strict_json import FormatError

__all__ = ["FormatError", "read", "write"]
