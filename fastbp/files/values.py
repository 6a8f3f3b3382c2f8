"""Convert values and NumPy's generators to arrays and JSON, and back. Reading executes nothing."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Arrays
from .container import NAME
from .strict_json import MAX_DEPTH, FormatError

GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")  # of numpy.random
POSITIONS = {"MT19937": ("state", "pos", 624), "Philox": (None, "buffer_pos", 4)}  # unchecked by numpy
LONG = 100  # a list of this many numbers or more becomes an array, since the header has a maximal size


def encode(value: Any, name: str, arrays: Arrays, depth: int = 0) -> Any:
    """JSON from which `decode` restores value exactly; copies of its arrays go into `arrays`, named after `name`.

    Values are None, numbers, strings, arrays, NumPy's scalars, and lists, tuples and dicts of these, with strings as
    keys. Each keeps its type, since steps in Python may depend on it. docs/file_format.md describes the JSON.
    """
    kind = type(value)
    if kind in (np.ndarray, np.memmap):
        turned = value.flags.f_contiguous and not value.flags.c_contiguous  # the layout decides the order of sums
        return {"transposed": _put(value.T, name, arrays)} if turned else {"array": _put(value, name, arrays)}
    if isinstance(value, np.generic) and not isinstance(value, (str, bytes)):
        return {"scalar": _put(value, name, arrays)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if kind not in (list, tuple, dict):
        raise TypeError(f"{name} is a {kind.__name__}; accepted are None, numbers, strings, arrays, and lists, tuples "
                        "and dicts of these")
    if depth == MAX_DEPTH:
        raise ValueError(f"{name} is nested more than {MAX_DEPTH} lists and dicts deep")
    if kind is dict:
        return {"dict": {_key(key, name): encode(item, f"{name}.{key}", arrays, depth + 1)
                         for key, item in value.items()}}
    if kind is list and len(value) >= LONG and (form := _of_one_kind(value)):
        return {form: _put(np.array(value), name, arrays)}
    items = [encode(item, f"{name}.{i}", arrays, depth + 1) for i, item in enumerate(value)]
    return items if kind is list else {"tuple": items}


def _put(array: Any, name: str, arrays: Arrays) -> str:
    """Put a copy into `arrays`; returns its name there"""
    key = name if NAME.fullmatch(name) and name not in arrays else f"array.{len(arrays)}"
    arrays[key] = np.array(array, order="C")
    return key


def _of_one_kind(values: list[Any]) -> str | None:
    """The form in which an array holds the whole list exactly; None if it cannot"""
    kind, *others = set(map(type, values))
    if others:
        return None
    if issubclass(kind, np.generic):
        return "scalars" if np.dtype(kind).kind in "biuf" else None
    return "list" if kind is float or (kind is int and -2**63 <= min(values) <= max(values) < 2**63) else None


def _key(key: object, name: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{name} has the key {key!r}; accepted are strings")
    return key


def decode(value: Any, arrays: Arrays) -> Any:
    """The value from its JSON; its arrays are removed from `arrays`."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (kind, content), = value.items()
        if kind in FROM_ARRAY and isinstance(content, str) and content in arrays:
            fits, form = FROM_ARRAY[kind]
            if fits(arrays[content]):
                return form(arrays.pop(content))
        if kind == "float" and content in ("nan", "inf", "-inf"):
            return float(content)
        if kind == "tuple" and isinstance(content, list):
            return tuple(decode(item, arrays) for item in content)
        if kind == "dict" and isinstance(content, dict):
            return {key: decode(item, arrays) for key, item in content.items()}
    raise FormatError(f"{value!r:.200} stands for no value; if it names an array, that array is missing, of another "
                      "kind or used twice")


# form: (does an array have this form?, the value of the array)
FROM_ARRAY: dict[str, tuple[Callable[[NDArray[Any]], bool], Callable[[NDArray[Any]], Any]]] = {
    "array": (lambda a: True, lambda a: a),
    "transposed": (lambda a: a.ndim > 1, lambda a: a.T),
    "scalar": (lambda a: a.ndim == 0, lambda a: a[()]),
    "scalars": (lambda a: a.ndim == 1, list),
    "list": (lambda a: a.ndim == 1 and a.dtype in (np.float64, np.int64), lambda a: a.tolist()),
}


def fields(value: Any, names: Iterable[str], where: str) -> dict[str, Any]:
    """value, if it is a dict of exactly these fields; else a FormatError."""
    if not isinstance(value, dict) or value.keys() != set(names):
        found = ", ".join(sorted(map(str, value))) if isinstance(value, dict) else repr(value)
        raise FormatError(f"{where} must have the fields {', '.join(sorted(names))}; it has {found:.200}")
    return value


def of_kind(meta: dict[str, Any], kind: str) -> None:
    """Raise a FormatError unless the file is of this kind, which has one version."""
    if meta.get("kind") != kind:
        raise FormatError(f"kind is {meta.get('kind')!r:.60}; accepted are {kind!r}")
    if type(meta.get("version")) is not int or meta["version"] != 1:
        raise FormatError(f"version is {meta.get('version')!r:.60}; this version of fastbp reads 1")


def nothing_left(arrays: Arrays) -> None:
    """Raise a FormatError if arrays are left that belong to no value."""
    if arrays:
        raise FormatError(f"these arrays belong to no value: {', '.join(sorted(arrays)):.200}")


# ---------------------------------------------------------------- generators


def of_generator(rng: np.random.Generator) -> Mapping[str, Any]:
    """The state of numpy's Generator."""
    kind = type(rng.bit_generator).__name__
    if kind not in GENERATORS:
        raise ValueError(f"seed is a Generator with {kind}; accepted are {', '.join(GENERATORS)}")
    return rng.bit_generator.state


def to_generator(state: Any) -> np.random.Generator:
    """A Generator in this state."""
    kind = state.get("bit_generator") if isinstance(state, dict) else None
    if not isinstance(kind, str) or kind not in GENERATORS:
        raise FormatError(f"generator is {kind!r:.60}; accepted are {', '.join(GENERATORS)}")
    bits = getattr(np.random, kind)(0)
    try:
        if kind in POSITIONS:
            part, name, limit = POSITIONS[kind]
            if not 0 <= (state[part] if part else state)[name] <= limit:
                raise ValueError(f"{name} is beyond {limit}")
        bits.state = state
        whole = _same(bits.state, state)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"generator, {kind}: {error!r:.200}") from None
    if not whole:
        raise FormatError(f"generator: the state does not fit {kind}")
    return np.random.Generator(bits)


def _same(a: Any, b: Any) -> bool:
    """Equal values; arrays in a may be lists in b."""
    if isinstance(a, Mapping):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    return np.shape(a) == np.shape(b) and bool(np.all(a == np.asarray(b)) if np.shape(a) else a == b)
