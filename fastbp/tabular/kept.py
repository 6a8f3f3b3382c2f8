"""Columns, preparations and ensembles as values for files, and back; the values of a file are checked first."""

from typing import Any

import numpy as np

from ..files.estimator import number, of_type, whole, words
from ..files.strict_json import FormatError
from ..files.values import fields
from ..network import Network
from . import columns
from .columns import Category, Constant, Date, Fitted, Number

KINDS = ("number", "category", "date")
LEVELS = (str, bool, int, float, type(None))


def of_column(column: Fitted) -> dict[str, Any]:
    """A column as values."""
    if isinstance(column, Constant):
        return {"form": "constant", "name": column.name, "kind": column.kind}
    if isinstance(column, Category):
        return {"form": "category", "name": column.name, "levels": column.levels, "left_out": column.left_out}
    if isinstance(column, Date):
        return {"form": "date", "name": column.name, "time": of_column(column.time), "parts": column.parts}
    return {"form": "number", "name": column.name, "median": column.median, "half": column.half,
            "edges": column.edges, "missing": column.missing}


def to_column(kept: Any) -> Fitted:
    """The column of these values."""
    if not isinstance(kept, dict) or type(kept.get("name")) is not str:
        raise FormatError(f"a column must be a dict with a name; it is {kept!r:.100}")
    name, form = kept["name"], kept.get("form")
    where = f"column {name!r:.60}"
    if form == "constant":
        fields(kept, {"form", "name", "kind"}, where)
        if kept["kind"] not in KINDS:
            raise FormatError(f"{where}: kind is {kept['kind']!r:.60}")
        return Constant(name, kept["kind"])
    if form == "category":
        return _category(name, fields(kept, {"form", "name", "levels", "left_out"}, where))
    if form == "date":
        fields(kept, {"form", "name", "time", "parts"}, where)
        parts, time = words(kept, "parts"), to_column(kept["time"])
        if not isinstance(time, Number) or [part for part in ("year", "weekday", "day") if part in parts] != parts:
            raise FormatError(f"{where}: it has no such parts, or no time")
        return Date(name, time, parts)
    if form == "number":
        return _number(name, fields(kept, {"form", "name", "median", "half", "edges", "missing"}, where))
    raise FormatError(f"{where}: form is {form!r:.60}")


def _number(name: str, kept: dict[str, Any]) -> Number:
    largest = float(np.finfo(float).max)
    median, half = number(kept, "median", -largest, largest), number(kept, "half", 0, largest)
    edges, missing = kept["edges"], of_type(kept, "missing", bool)
    if not (isinstance(edges, np.ndarray) and edges.dtype == np.float64 and edges.ndim == 1 and len(edges) != 2
            and np.isfinite(edges).all() and (edges[:-1] < edges[1:]).all()) or len(edges) == 1:
        raise FormatError(f"column {name!r:.60}: edges must be rising numbers, none or at least three")
    if not half and (len(edges) or not missing):
        raise FormatError(f"column {name!r:.60}: it has no values that differ")
    return Number(name, median, half, edges, missing)


def _category(name: str, kept: dict[str, Any]) -> Category:
    levels, left_out = of_type(kept, "levels", list), whole(kept, "left_out")
    if len(levels) < 2 or not all(type(level) in LEVELS for level in levels) or len(set(levels)) < len(levels):
        raise FormatError(f"column {name!r:.60}: levels must be at least two different strings, numbers or null")
    return Category(name, levels, left_out)


def check_networks(networks: list[Network], d: int, K: int, output: str) -> None:
    """Raise a FormatError unless each network has d inputs (at least one) and K outputs of this function."""
    for k, net in enumerate(networks):
        if (net.layer_sizes[0], net.layer_sizes[-1], net.output) != (max(d, 1), K, output) or net.dtype != np.float32:
            raise FormatError(f"network {k} is {net!r:.200}; it must have {max(d, 1)} inputs and {K} outputs "
                              f"({output}), float32")


def epochs(kept: dict[str, Any], n: int) -> list[int]:
    """best_epochs_ of n networks."""
    found = of_type(kept, "best_epochs", list)
    if len(found) != n or not all(type(each) is int and each > 0 for each in found):
        raise FormatError(f"best_epochs must be {n} whole numbers above 0")
    return list(found)


def features(fitted: list[Fitted]) -> int:
    """The number of features of all columns."""
    return columns.places(fitted)[-1].stop if fitted else 0


