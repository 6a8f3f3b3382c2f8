"""Settings as text that is the same in every process, to compare the arguments of the ranks."""

import hashlib
from types import BuiltinFunctionType, FunctionType, MethodType

import numpy as np

DEPTH = 4  # levels of objects inside objects that are described


def describe(value: object, depth: int = DEPTH) -> str:
    """Numbers, text and arrays by value, functions by name, other objects by class and attributes; no addresses."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"array({value.dtype.str}, {value.shape}, {hashlib.blake2b(value.tobytes()).hexdigest()})"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, (FunctionType, BuiltinFunctionType, MethodType)):
        return f"{value.__module__}.{value.__qualname__}"
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if depth == 0:
        return name
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {describe(value[key], depth - 1)}' for key in sorted(value, key=str))}}}"
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [describe(item, depth - 1) for item in value]
        return f"({', '.join(sorted(items) if isinstance(value, (set, frozenset)) else items)})"
    return f"{name}{describe(getattr(value, '__dict__', {}), depth - 1)}"


def digest(value: object) -> int:
    """A whole number below 2^48; different descriptions share one only by chance."""
    return int.from_bytes(hashlib.blake2b(describe(value).encode(), digest_size=6).digest())
