"""A reader of fastbp's files written only from docs/file_format.md, without NumPy or fastbp."""

import hashlib
import json
import math
import re
import struct

ITEMS = {"BOOL": "?", "U8": "B", "I32": "i", "U32": "I", "I64": "q", "U64": "Q", "F32": "f", "F64": "d"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}\Z")


class RefusedError(Exception):
    """The file does not follow the page."""


def need(condition, what):
    if not condition:
        raise RefusedError(what)


def members(pairs):
    need(len({key for key, _ in pairs}) == len(pairs), "a key twice")
    return dict(pairs)


def whole(digits):
    need(re.match(r"(0|-?[1-9][0-9]{0,599})\Z", digits), "whole number")
    return int(digits)


def real(digits):
    need(math.isfinite(float(digits)), "finite number")
    return float(digits)


def no(_):
    raise RefusedError("number")


def depth(value):
    if isinstance(value, str):
        need(not re.search("[\ud800-\udfff]", value), "surrogate")
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(depth, parts), default=0)


def parse(text, deepest, fraction):
    try:
        value = json.loads(
            text, object_pairs_hook=members, parse_int=whole, parse_float=fraction, parse_constant=no
        )
        need(depth(value) <= deepest, "depth")
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"JSON: {error}") from error
    return value


def read(data):
    """(arrays as {name: (dtype, shape, list of items)}, values of __metadata__) of the bytes of a file"""
    need(len(data) >= 8, "length")
    (n,) = struct.unpack_from("<Q", data)
    need(n % 8 == 0 and n <= 1048576 and 8 + n <= len(data), "length of the header")
    need(data[8:9] == b"{", "header")
    try:
        header = parse(data[8 : 8 + n].decode(), 3, no)
    except UnicodeDecodeError as error:
        raise RefusedError("UTF-8") from error
    metadata, body, at, arrays = header.pop("__metadata__", None), data[8 + n :], 0, {}
    need(isinstance(metadata, dict) and metadata.pop("fastbp_format", None) == "1", "fastbp_format")
    for name, entry in header.items():
        need(NAME.match(name) and name != "fastbp_format", "name")
        need(isinstance(entry, dict) and set(entry) == {"dtype", "shape", "data_offsets"}, name)
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        need(isinstance(dtype, str) and dtype in ITEMS, "dtype")
        for numbers, most in ((shape, 32), (offsets, 2)):
            need(isinstance(numbers, list) and len(numbers) <= most, "list")
            need(all(type(k) is int and k >= 0 for k in numbers), "whole numbers")
        size = struct.calcsize("<" + ITEMS[dtype])
        need(len(offsets) == 2 and offsets[0] == at and offsets[1] <= len(body), "offsets")
        need(offsets[1] - at == math.prod(shape) * size, "shape")
        need(math.prod(k or 1 for k in shape) * size < 2**63, "shape")
        raw, at = body[at : offsets[1]], offsets[1]
        need(dtype != "BOOL" or set(raw) <= {0, 1}, "BOOL")
        arrays[name] = (dtype, shape, list(struct.unpack(f"<{len(raw) // size}{ITEMS[dtype]}", raw)))
    need(at == len(body) and list(arrays)[-1:] == ["sha256"], "end")
    need(arrays.pop("sha256") == ("U8", [32], list(hashlib.sha256(data[:-32]).digest())), "checksum")
    need(all(NAME.match(key) and key != "sha256" for key in metadata), "name")
    need(all(isinstance(text, str) for text in metadata.values()), "string")
    return arrays, {key: parse(text, 16, real) for key, text in metadata.items()}
