"""Settings of many networks: one value for all, or a list of one for each."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def each(value: Any, n: int, name: str) -> list[Any]:
    """The value for each of n networks: the items of a list, or the same value n times; a tuple is one value."""
    if not isinstance(value, list):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} is a list of {len(value)}: a list has one value for each of the {n} networks; pass "
                         "a sequence that is meant for all of them as a tuple")
    return value


def lists(value: Any, n: int, name: str) -> list[Any]:
    """The list for each of n networks: callbacks or metrics. A flat list serves all; a list of lists has one each."""
    if isinstance(value, list) and value and all(isinstance(own, (list, tuple)) for own in value):
        return each(value, n, name)
    return [value] * n


def arrays(value: Any, n: int, name: str) -> list[Any]:
    """The array for each of n networks: an array, tuple or flat list of numbers serves all; a list of arrays has one
    each."""
    if isinstance(value, list) and not all(isinstance(own, (Integral, Real)) for own in value):
        return each(value, n, name)
    return [value] * n


SPREAD = {
    "rows": arrays, "validation_rows": arrays, "sample_weight": arrays, "callbacks": lists, "metrics": lists,
}


def settings(given: dict[str, Any], n: int) -> Sequence[dict[str, Any]]:
    """The settings of each of n networks."""
    columns = [SPREAD.get(name, each)(value, n, name) for name, value in given.items()]
    return [dict(zip(given, row, strict=True)) for row in zip(*columns, strict=True)]
