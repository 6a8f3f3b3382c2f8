"""The byte format of fastbp's files: named arrays and named JSON values under one checksum.

docs/file_format.md specifies it. A file is a safetensors file: the length of a JSON header, the header, then the bytes
of the arrays without gaps; the last array is the SHA-256 of all bytes before it. Reading executes nothing, and compares
the header with the size of the file before it allocates arrays. A damaged file is refused.
"""

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .._types import Arrays, Path, Readable, State
from ..engine import memory
from . import atomic, folder, strict_json
from .strict_json import FormatError as FormatError  # also imported from here

VERSION = 1
MAX_HEADER = 2**20  # bytes
MAX_DIMENSIONS = 32  # of an array, as in NumPy 1
CHUNK = 2**20  # bytes that are hashed while they are in cache

DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "BOOL": "?", "U8": "u1", "I32": "<i4", "U32": "<u4", "I64": "<i8", "U64": "<u8", "F32": "<f4", "F64": "<f8",
    }.items()
}
CODES = {dtype.str: name for name, dtype in DTYPES.items()}
MARK = "fastbp_format"
DIGEST = "sha256"
METADATA = "__metadata__"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


def write(path: Path, arrays: Arrays, meta: State) -> None:
    """Write arrays and values into a file that replaces `path` atomically; see `files.atomic.replace`.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    arrays : dict of str to ndarray
        bool, uint8, int32, uint32, int64, uint64, float32 or float64, any shape and layout; NaN and infinities are
        kept bit by bit. A name has at most 100 letters, digits and ``_ . -``, the first a letter or ``_``.
    meta : dict of str to value
        None, bool, int (up to 600 digits), finite float, str, and lists, tuples (read as lists) and dicts of them, at
        most 16 deep. The header, with the names and shapes of the arrays, is below 1 MiB. Names follow the rule above.

    Raises
    ------
    ValueError, TypeError
        The message names the entry. Nothing has been written.
    OSError
        From the file system; the old file is unchanged.

    See Also
    --------
    read, fastbp.save

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import container
    >>> container.write("arrays.fastbp", {"x": np.zeros(2)}, {"unit": "m"})
    """
    path = atomic.checked(path)
    arrays = _storable_arrays(arrays)
    header = _header(arrays, _storable_meta(meta))
    atomic.replace(path, _chunks(header, arrays))


def read(path: Path, fixed: Sequence[str] = ()) -> tuple[Arrays, State]:
    """The arrays and values of a file that `write` made.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    fixed : list of str
        Flat arrays of these names are put into memory that is never moved (`memory.fixed`).

    Returns
    -------
    (dict of str to ndarray, dict of str to value)
        New arrays in native byte order, those with the largest items first; meta as it was given.

    Raises
    ------
    FormatError
        The file is damaged, or has another format or version.
    OSError
        The file cannot be opened or read, or is not a regular file.

    See Also
    --------
    write, fastbp.load

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import container
    >>> container.write("values.fastbp", {"x": np.arange(3)}, {"why": "an example"})
    >>> container.read("values.fastbp")
    ({'x': array([0, 1, 2])}, {'why': 'an example'})
    """
    path = atomic.checked(path)
    descriptor = os.open(path, folder.READ)
    try:
        status = os.fstat(descriptor)
        atomic.regular(status, path)
        with located(path), open(descriptor, "rb", buffering=0, closefd=False) as file:
            return parse(file, status.st_size, fixed)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def located(path: Path) -> Iterator[None]:
    """Put the path in front of the message of a FormatError raised inside the block."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{shown(path)}: {error}") from error.__cause__


def shown(path: Path) -> str:
    """The path as text, even if its bytes are not."""
    return os.fsencode(path).decode(errors="backslashreplace")


# ---------------------------------------------------------------- writing


def _named(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a name in {what} must be a string; got {name!r}")
    if not NAME.fullmatch(name) or name in (MARK, DIGEST, METADATA):
        raise ValueError(
            f"{what} has the name {name!r}; accepted are up to 100 letters, digits and _ . -, the first a letter or _, "
            f"but {MARK}, {DIGEST} and {METADATA}"
        )
    return name


def _storable_arrays(arrays: Arrays) -> Arrays:
    """The arrays as in the file: large items first, so that each array is aligned; little-endian."""
    if not isinstance(arrays, dict):
        raise TypeError(f"arrays must be a dict of ndarrays; got {type(arrays).__name__}")
    storable: Arrays = {}
    for name, a in arrays.items():
        _named(name, "arrays")
        if not isinstance(a, np.ndarray) or isinstance(a, np.ma.MaskedArray):
            raise TypeError(f"arrays[{name!r}] must be an ndarray; got {type(a).__name__}")
        dtype = a.dtype.newbyteorder("<")
        if dtype.str not in CODES:
            accepted = ", ".join(dtype.name for dtype in DTYPES.values())
            raise TypeError(f"arrays[{name!r}] has dtype {a.dtype}; accepted are {accepted}")
        if a.ndim > MAX_DIMENSIONS:
            raise ValueError(f"arrays[{name!r}] has {a.ndim} dimensions; accepted are up to {MAX_DIMENSIONS}")
        storable[name] = np.asarray(a, dtype, order="C")
    return dict(sorted(storable.items(), key=lambda item: -item[1].itemsize))


def _storable_meta(meta: State) -> dict[str, str]:
    """Each value as JSON text."""
    if not isinstance(meta, dict):
        raise TypeError(f"meta must be a dict; got {type(meta).__name__}")
    for name, value in meta.items():
        strict_json.check(value, f"meta[{_named(name, 'meta')!r}]")
    return {name: strict_json.text(value) for name, value in meta.items()}


def _header(arrays: Arrays, meta: dict[str, str]) -> bytes:
    """Length and header, padded with spaces so that the arrays begin at a multiple of 8."""
    header: dict[str, Any] = {METADATA: {MARK: str(VERSION), **meta}}
    at = 0
    for name, a in (*arrays.items(), (DIGEST, np.empty(32, np.uint8))):
        header[name] = {"dtype": CODES[a.dtype.str], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = strict_json.text(header).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        most = max(meta, key=lambda name: len(meta[name]), default="none")
        raise ValueError(f"meta and the names of arrays take {len(text)} bytes; accepted are up to {MAX_HEADER}; the "
                         f"largest in meta is {most!r}")
    return len(text).to_bytes(8, "little") + text


def _chunks(header: bytes, arrays: Arrays) -> Iterator[bytes]:
    """The bytes of the file. Each chunk is a copy, so that the hashed bytes are the written ones even if another thread
    changes the array meanwhile."""
    digest = _Sha256(header)
    yield header
    for a in arrays.values():
        data = a.reshape(-1).view(np.uint8)
        for at in range(0, len(data), CHUNK):
            chunk = data[at:at + CHUNK].tobytes()
            digest.update(chunk)
            yield chunk
    yield digest.digest()


# ---------------------------------------------------------------- reading


def parse(file: Readable, size: int, fixed: Sequence[str] = ()) -> tuple[Arrays, State]:
    """`read` for an open file of `size` bytes, an object with readinto."""
    digest, length = _Sha256(), bytearray(8)
    if size < 8:
        raise FormatError(f"the file of {size} bytes ends within the length of the header, bytes 0 to 7")
    _fill(file, length, digest)
    n = int.from_bytes(length, "little")
    if n > MAX_HEADER or n % 8:
        raise FormatError(f"bytes 0 to 7: a header of {n} bytes; accepted are multiples of 8 up to {MAX_HEADER}")
    if n > size - 8:
        raise FormatError(f"the file of {size} bytes ends within its header of {n} bytes")
    text = bytearray(n)
    _fill(file, text, digest)
    header = _parse_header(text)
    meta = _check_metadata(header.pop(METADATA, None))
    described = _check_arrays(header, size - 8 - n)

    arrays: Arrays = {}
    for name, (dtype, shape) in described.items():
        flat = len(shape) == 1 and shape[0] > 0
        a = arrays[name] = memory.fixed(shape[0], dtype) if flat and name in fixed else np.empty(shape, dtype)
        data = a.reshape(-1).view(np.uint8)
        _fill(file, data, digest)
        if dtype.kind == "b" and data.size and data.max() > 1:
            raise FormatError(f"array {name!r} is BOOL and holds the byte {data.max()}")
    expected = bytearray(32)
    _fill(file, expected, _Sha256())
    if digest.digest() != expected:
        raise FormatError(f"the file is damaged: the checksum in its last 32 bytes, {expected.hex()}, is not the "
                          f"SHA-256 of the {size - 32} bytes before, {digest.digest().hex()}")
    arrays = {name: a.astype(a.dtype.newbyteorder("="), copy=False) for name, a in arrays.items()}
    return arrays, {name: strict_json.parse(text, f"{METADATA}, {name}") for name, text in meta.items()}


class _Sha256:
    """The checksum. If OpenSSL has no memory, hashlib raises a ValueError, which would look like a damaged file."""

    def __init__(self, data: bytes = b"") -> None:
        self._hash = self._of_openssl(hashlib.sha256, data)
        self.update = self._hash.update

    def digest(self) -> bytes:
        return self._of_openssl(self._hash.digest)

    @staticmethod
    def _of_openssl(call: Callable[..., Any], *arguments: bytes) -> Any:
        try:
            return call(*arguments)
        except ValueError as error:
            raise MemoryError(f"SHA-256: {error}") from None


def _fill(file: Readable, buffer: Any, digest: _Sha256) -> None:
    """Read the next len(buffer) bytes of the file into the buffer and the digest."""
    rest = memoryview(buffer)
    while rest:
        n = file.readinto(rest[:CHUNK])
        if not n:
            raise FormatError(f"the file was cut while it was read: {len(rest)} bytes are missing")
        digest.update(rest[:n])
        rest = rest[n:]


def _parse_header(data: bytearray) -> dict[str, Any]:
    if not data.startswith(b"{"):
        raise FormatError("byte 8: the header must begin with '{'")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"byte {8 + error.start}: the header is not UTF-8") from None
    header: dict[str, Any] = strict_json.parse(text, "the header", depth=3, start=8, fractions=False)
    return header


def _check_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or MARK not in metadata:
        raise FormatError(f"this is not a file of fastbp: its header has no {MARK} in {METADATA}")
    if metadata[MARK] != str(VERSION):
        raise FormatError(f"{METADATA}, {MARK} is {metadata[MARK]!r:.40}; this version of fastbp reads '{VERSION}'")
    for name, text in metadata.items():
        if not NAME.fullmatch(name) or name in (DIGEST, METADATA):
            raise FormatError(f"{METADATA} has the name {name!r:.200}, which is not accepted")
        if not isinstance(text, str) or not strict_json.is_unicode(text):
            raise FormatError(f"{METADATA}, {name} must be a string; it is {text!r:.40}")
    return {name: text for name, text in metadata.items() if name != MARK}


def _check_arrays(header: dict[str, Any], size: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """(dtype, shape) of each array except the digest: in order, without gap or overlap, to the end of the file."""
    described: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    at = 0
    for name, entry in header.items():
        if not NAME.fullmatch(name) or name == MARK:
            raise FormatError(f"an array has the name {name!r:.200}, which is not accepted")
        if DIGEST in described:
            raise FormatError(f"array {name!r} comes after {DIGEST}, which must be the last")
        dtype, shape, (begin, end) = _check_array(name, entry)
        if begin != at:
            raise FormatError(f"array {name!r} begins at {begin} of the data; the one before it ends at {at}")
        if end > size:
            raise FormatError(f"array {name!r} ends at {end} of the data, which have {max(size, 0)} bytes")
        described[name], at = (dtype, shape), end
    if described.pop(DIGEST, None) != (np.dtype(np.uint8), (32,)):
        raise FormatError(f"the last array must be {DIGEST}, U8 of shape [32]")
    if at != size:
        raise FormatError(f"the arrays end at {at} of the data; {size - at} bytes follow")
    return described


def _check_array(name: str, entry: object) -> tuple[np.dtype[Any], tuple[int, ...], list[int]]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"array {name!r} must be described by dtype, shape and data_offsets alone")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise FormatError(f"array {name!r} has dtype {code!r:.40}; accepted are {', '.join(DTYPES)}")
    for what, values, longest in (("shape", shape, MAX_DIMENSIONS), ("data_offsets", offsets, 2)):
        if not isinstance(values, list) or len(values) > longest:
            raise FormatError(f"array {name!r}: {what} must be a list of up to {longest} numbers")
        if not all(type(n) is int and 0 <= n < 2**63 for n in values):
            raise FormatError(f"array {name!r}: {what} must hold whole numbers in [0, 2^63)")
    if len(offsets) != 2:
        raise FormatError(f"array {name!r}: data_offsets must be two numbers")
    dtype = DTYPES[code]
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize >= 2**63:
        raise FormatError(f"array {name!r}: no memory holds the shape {shape}")
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise FormatError(f"array {name!r}: {code} of shape {shape} takes {math.prod(shape) * dtype.itemsize} bytes; "
                          f"data_offsets {offsets} hold {offsets[1] - offsets[0]}")
    return dtype, tuple(shape), offsets
