"""The folder in which a file is replaced: by descriptor on POSIX, by name on Windows, which cannot open folders."""

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from typing import Any

UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)  # fsync of a folder on some network file systems
BY_DESCRIPTOR = hasattr(os, "O_DIRECTORY") and os.open in os.supports_dir_fd
BINARY = getattr(os, "O_BINARY", 0)  # on Windows; else newlines would be translated
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
HELD = (5, 32)  # Windows: access denied, sharing violation: another process, a virus scanner say, has the old file open
PATIENCE = 1.0  # seconds to wait for a file that another process has open
READ = os.O_RDONLY | BINARY | getattr(os, "O_NONBLOCK", 0)  # else the open of a FIFO would wait for a writer

_flush_disk: Callable[[int], Any] | None = None  # macOS: fsync leaves the bytes in the disk's own memory
if sys.platform == "darwin":    # pragma: no cover
    import fcntl

    def _flush_disk(file: int) -> Any:
        return fcntl.fcntl(file, fcntl.F_FULLFSYNC)


_move: Callable[[str, str], None] = os.replace
if sys.platform == "win32":     # pragma: no cover
    import ctypes

    def _move(old: str, new: str) -> None:
        """MoveFileExW with MOVEFILE_REPLACE_EXISTING and MOVEFILE_WRITE_THROUGH, which returns once it is written"""
        if not ctypes.WinDLL("kernel32", use_last_error=True).MoveFileExW(old, new, 1 | 8):
            raise ctypes.WinError(ctypes.get_last_error())


def sync(file: int) -> None:
    """fsync, to the disk itself."""
    if _flush_disk is not None:
        with contextlib.suppress(OSError):  # a file system that has none
            _flush_disk(file)
            return
    os.fsync(file)


class Folder:
    """A folder by its descriptor, which stays valid if the folder is renamed."""

    def __init__(self, place: str | bytes) -> None:
        self._descriptor = os.open(place or os.curdir, os.O_RDONLY | os.O_DIRECTORY)

    def create(self, name: str, mode: int) -> int:
        """The descriptor of a new file."""
        return os.open(name, NEW, mode, dir_fd=self._descriptor)

    def keep(self, file: int, old: os.stat_result) -> None:
        """Give the file the mode of the old one and, if permitted, its owner."""
        with contextlib.suppress(OSError):
            os.fchown(file, old.st_uid, old.st_gid)
        os.fchmod(file, stat.S_IMODE(old.st_mode) & 0o777)

    def replace(self, old: str, new: str | bytes) -> None:
        """Rename the file `old` to `new`, replacing it."""
        os.replace(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Unlink a file."""
        os.unlink(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Make the names survive a power cut, if the file system can."""
        try:
            sync(self._descriptor)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class NamedFolder:
    """A folder by its name, for Windows: files there have no mode or owner, and the move itself reaches the disk."""

    def __init__(self, place: str | bytes) -> None:
        self._place = os.fsdecode(place)

    def create(self, name: str, mode: int) -> int:
        """The descriptor of a new file."""
        return os.open(os.path.join(self._place, name), NEW, mode)

    def keep(self, file: int, old: os.stat_result) -> None:
        """Do nothing: see above."""

    def replace(self, old: str, new: str | bytes) -> None:
        """Rename the file `old` to `new`, replacing it; Windows refuses while another process has `new` open."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                _move(os.path.join(self._place, old), os.path.join(self._place, os.fsdecode(new)))
                return
            except OSError as error:
                if getattr(error, "winerror", None) not in HELD or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def remove(self, name: str) -> None:
        """Unlink a file."""
        os.unlink(os.path.join(self._place, name))

    def sync(self) -> None:
        """Do nothing: see above."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


def folder(place: str | bytes) -> Folder | NamedFolder:
    """The folder of this name, "" for the working folder."""
    return Folder(place) if BY_DESCRIPTOR else NamedFolder(place)
