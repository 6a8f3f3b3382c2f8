"""Files replaced as a whole: whoever opens the path sees the old file or the new one, and never a part of either.

A temporary file in the same folder, fsync, rename over the target, fsync of the folder.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable

from .._types import Path

MAX_LINKS = 40  # symbolic links followed to a target, as Linux does
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)  # of fsync on the folders of some network file systems


def checked(path: Path) -> str | bytes:
    """path as str or bytes."""
    try:
        path = os.fspath(path)
    except TypeError:
        raise TypeError(f"path must be a str, bytes or os.PathLike; got {path!r}") from None
    if (b"\0" if isinstance(path, bytes) else "\0") in path:
        raise ValueError(f"path must not hold a NUL character; got {path!r}")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ValueError(f"path must be a name that this system can encode; got {path!r} ({error})") from None
    return path


def absolute(path: Path) -> str | bytes:
    """path as str or bytes that names the same file wherever the process goes."""
    path = checked(path)
    folder = os.getcwdb if isinstance(path, bytes) else os.getcwd
    return path if os.path.isabs(path) else os.path.join(folder(), path)


def regular(status: os.stat_result, path: Path) -> None:
    """An OSError unless `status` is that of an ordinary file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)


def replace(path: Path, chunks: Iterable[bytes]) -> None:
    """Write the chunks (bytes) into a file that takes the place of `path`.

    A symbolic link stays and the file it points to is replaced; mode and, where permitted, owner of an old file are
    kept; hard links go on pointing to the old file. Any failure, an exception out of `chunks` included, leaves the old
    file as it was and removes the temporary one (.fastbp-*.tmp; a killed process may leave its own behind). Only where
    the last fsync, that of the folder, fails, the new file is in place though the OSError says that it may not outlive
    a power cut.

    Raises
    ------
    OSError
        As the system reports it; also where path is not a regular file.
    """
    target = _target(path)
    folder, name = os.path.split(target)
    folder = os.open(folder or os.curdir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _replace(folder, name, target, chunks)
        _sync(folder)
    except OSError as error:
        error.filename = target
        del error.filename2
        raise
    finally:
        os.close(folder)


def _target(path):
    """The file that path names, behind symbolic links."""
    start = path
    for _ in range(MAX_LINKS):
        if not os.path.islink(path):
            return path
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), start)


def _replace(folder, name, target, chunks):
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    else:
        regular(old, target)
    temporary = f".fastbp-{os.getpid()}-{os.urandom(8).hex()}.tmp"
    try:
        _write(folder, temporary, old, chunks)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _write(folder, temporary, old, chunks):
    """Create the temporary file, synced and closed, with the mode of the old one (a new one: of the umask)."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    file = os.open(temporary, flags, 0o666 if old is None else 0o600, dir_fd=folder)
    try:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[_some(file, rest):]
        if old is not None:
            with contextlib.suppress(OSError):
                os.fchown(file, old.st_uid, old.st_gid)
            os.fchmod(file, stat.S_IMODE(old.st_mode) & 0o777)
        os.fsync(file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(file)
        raise
    os.close(file)  # may be the first to hear of a full disk


def _sync(folder):
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _some(file, rest):
    """The number of bytes written, at least one."""
    try:
        written = os.write(file, rest)
    except InterruptedError:
        return 0
    if not written:
        raise OSError(errno.EIO, "Nothing was written")
    return written
