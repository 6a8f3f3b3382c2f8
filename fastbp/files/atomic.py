"""Atomic replacement of files: a reader sees the old file or the new one, never a part of either.

Write a temporary file in the same folder, fsync it, rename it over the target, fsync the folder.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from typing import Any

from .._types import Path
from . import folder as folders

Place = folders.Folder | folders.NamedFolder
MAX_LINKS = 40  # symbolic links on the way to a target, as in Linux


def checked(path: Path) -> str | bytes:
    """path as str or bytes."""
    try:
        name = os.fspath(path)
    except TypeError:
        raise TypeError(f"path must be a str, bytes or os.PathLike; got {path!r}") from None
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError as error:
        raise ValueError(f"path must be a name that this system can encode; got {name!r} ({error})") from None
    if b"\0" in encoded:
        raise ValueError(f"path must not hold a NUL character; got {name!r}")
    return name


def absolute(path: Path) -> str | bytes:
    """path as str or bytes that names the same file after a change of the working folder."""
    name = checked(path)
    if os.path.isabs(name):
        return name
    return os.path.join(os.getcwdb(), name) if isinstance(name, bytes) else os.path.join(os.getcwd(), name)


def regular(status: os.stat_result, path: Path) -> None:
    """Raise an OSError unless `status` is that of an ordinary file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)


def replace(path: Path, chunks: Iterable[bytes]) -> None:
    """Write the chunks into a file that replaces `path`.

    A symbolic link stays: the file that it points to is replaced. The new file keeps the mode of the old one and, if
    permitted, its owner; hard links still point to the old file. Any failure, even an exception in `chunks`, leaves the
    old file unchanged and removes the temporary one (.fastbp-*.tmp; a killed process may leave one behind). There is
    one exception: if the last fsync, that of the folder, fails, the new file is in place but may not survive a power
    cut.

    Raises
    ------
    OSError
        As the system reports it, or if path is not a regular file.
    """
    target = _target(os.fspath(path))
    place, name = os.path.split(target)
    folder = folders.folder(place)
    try:
        _replace(folder, name, target, chunks)
        folder.sync()
    except OSError as error:
        error.filename = target
        del error.filename2
        raise
    finally:
        folder.close()


def _target(path: Any) -> Any:
    """The file that path names, after all symbolic links; str or bytes"""
    start = path
    for _ in range(MAX_LINKS):
        if not os.path.islink(path):
            return path
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), start)


def _replace(folder: Place, name: str | bytes, target: str | bytes, chunks: Iterable[bytes]) -> None:
    """Write a temporary file in the folder and rename it to `name`."""
    old = None
    with contextlib.suppress(FileNotFoundError):
        old = os.stat(target)
    if old is not None:
        regular(old, target)
    temporary = f".fastbp-{os.getpid()}-{os.urandom(8).hex()}.tmp"
    try:
        _write(folder, temporary, old, chunks)
        folder.replace(temporary, name)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.remove(temporary)
        raise


def _write(folder: Place, temporary: str, old: os.stat_result | None, chunks: Iterable[bytes]) -> None:
    """Create the temporary file, synced and closed, with the mode of the old one or, without one, of the umask."""
    file = folder.create(temporary, 0o666 if old is None else 0o600)
    try:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[_some(file, rest):]
        if old is not None:
            folder.keep(file, old)
        folders.sync(file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(file)
        raise
    os.close(file)  # may be the first call to report a full disk


def _some(file: int, rest: memoryview) -> int:
    """Write some of the bytes; returns their number, which is 0 only after a signal."""
    try:
        written = os.write(file, rest)
    except InterruptedError:
        return 0
    if not written:
        raise OSError(errno.EIO, "Nothing was written")
    return written
