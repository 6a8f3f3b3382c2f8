"""The byte format of fastbp's files, under its documented name; the code is in `fastbp.files.container`."""

from .files.container import FormatError, read, write

__all__ = ["FormatError", "read", "write"]
