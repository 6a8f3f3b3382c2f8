"""Checks of numbers, flags, dicts and seeds. `checks` re-exports them."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from .._types import Seed

MOST = 2**63 - 1  # compiled code counts up to it


def number(
    value: Any, name: str, *, low: float = 0.0, high: float = math.inf, open_low: bool = False,
    open_high: bool = True,
) -> float:
    """A finite real number in an interval, as float."""
    if type(value) not in (float, int) and (isinstance(value, (bool, np.bool_)) or not isinstance(value, Real)):
        raise TypeError(f"{name} must be a number; got {value!r}")
    try:
        x = float(value)
    except OverflowError:   # a whole number beyond float64
        x = -math.inf if value < 0 else math.inf
    inside = (x > low if open_low else x >= low) and (x < high if open_high else x <= high)
    if not inside:
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        raise ValueError(f"{name} must be in {interval}; got {x:g}")
    return x


def value(result: Any, name: str) -> float:
    """The result of a caller's function, as float; any number, NaN and infinities too."""
    try:
        return float(result)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must return a number; it returned {result!r:.100}") from None


def count(value: Any, name: str, *, low: int = 1, most: int = MOST) -> int:
    """A whole number from `low` to `most`, as int; `most` is one less than a power of two."""
    if type(value) is not int and (isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral)):
        raise TypeError(f"{name} must be a whole number of at least {low}; got {value!r}")
    n = int(value)
    if n < low:
        raise ValueError(f"{name} must be a whole number of at least {low}; got {n}")
    if n > most:
        raise ValueError(f"{name} must be less than 2^{most.bit_length()}; got {n}")
    return n


def mean_weight(value: object) -> float | None:
    """A positive finite number, or None."""
    return None if value is None else number(value, "mean_weight", open_low=True)


def flag(value: object, name: str) -> bool:
    """True or False, as bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return bool(value)


def dictionary(value: Any, name: str) -> dict[str, Any]:
    """A dict."""
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict; got {type(value).__name__}")
    return value


def members(value: Any, names: set[str], name: str) -> dict[str, Any]:
    """A dict of exactly these keys."""
    if dictionary(value, name).keys() != names:
        raise ValueError(f"{name} must have the keys {', '.join(sorted(names))}; "
                         f"got {', '.join(sorted(map(str, value)))}")
    return value


def generator(seed: Seed) -> np.random.Generator:
    """numpy's Generator from None (fresh entropy), a whole number, a SeedSequence or a Generator."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        accepted = "None, a whole number of at least 0 or a numpy Generator"
        raise type(error)(f"seed must be {accepted}; got {seed!r}") from None


def limit(value: object, name: str) -> float:
    """A positive number; infinity for None."""
    return math.inf if value is None else number(value, name, open_low=True)
