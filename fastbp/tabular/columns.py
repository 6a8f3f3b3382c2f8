"""How a column of the training data becomes features of a network, by statistics that the fit keeps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import Column

DAY = 86400.0
YEAR = 365.2425 * DAY
FAR = 1e6       # |z| beyond which nothing changes; infinities are set to it
Doubles = NDArray[np.float64]


@dataclass
class Constant:
    """A column without information: it has at most one distinct value, and no features."""

    name: str
    kind: str

    @property
    def features(self) -> list[str]:
        return []

    def accept(self, column: Column) -> NDArray[Any]:
        """Accept values of any kind."""
        return column.values

    def write(self, values: NDArray[Any], out: NDArray[np.float32]) -> None:
        """Write nothing."""

    def __str__(self) -> str:
        return "constant, left out"


@dataclass
class Number:
    """z = (x - median) / spread, then z / sqrt(1 + (z/3)^2);  2 clip((z - e_i) / (e_{i+1} - e_i), 0, 1) - 1.

    spread is the distance of the quartiles or, if these coincide, as with many zeros, half of the median distance of
    the other values from the median. Missing values become the median, infinite ones the ends of z, -3 and 3.

    Attributes
    ----------
    half : float
        spread / 2, which is finite for all finite numbers.
    edges : (bins + 1,)
        e_i in units of z; fewer than three: no bins.
    missing : bool
        Did the training data lack values? If so, a further feature is 1 where the value is missing.
    """

    name: str
    median: float
    half: float
    edges: Doubles
    missing: bool
    kind: str = field(default="number", repr=False)

    @classmethod
    def of(cls, name: str, values: Doubles, bins: int) -> "Number | None":
        """The statistics of a column; None if its values do not differ and none is missing."""
        known, missing = np.sort(values[np.isfinite(values)]), bool(np.isnan(values).any())
        q25, median, q75 = _quartiles(known) if len(known) else np.zeros(3)
        half = q75 / 2 - q25 / 2 if q75 > q25 else _half_distance(known, median) / 2
        if half == 0 and np.isinf(values).any():
            half = 1.0      # finite values are all equal: infinities differ from them
        if half == 0 and (not missing or not len(known)):
            return None
        number = cls(name, float(median), float(half), np.empty(0), missing)
        if half and bins > 1:
            if np.isinf(values).any():
                known = np.sort(values[~np.isnan(values)])
            at = np.ceil(np.linspace(0, 1, bins + 1) * len(known)).astype(np.int64) - 1
            edges = np.unique(number.z(known[np.maximum(at, 0)]))       # quantiles that occur in the data
            number.edges = edges if len(edges) > 2 else np.empty(0)
        return number

    def z(self, values: Doubles) -> Doubles:
        """z of each value, in (-3, 3); 0 where it is missing."""
        if self.half == 0:
            return np.zeros(len(values))
        with np.errstate(over="ignore", invalid="ignore"):
            z = (values / 2 - self.median / 2) / self.half
        z = np.clip(np.where(np.isnan(values), 0.0, z), -FAR, FAR)
        return z / np.sqrt(1 + (z / 3) ** 2)

    @property
    def bins(self) -> int:
        return max(0, len(self.edges) - 1)

    @property
    def features(self) -> list[str]:
        own = [self.name] if self.half else []
        return own + [f"{self.name}_bin{i}" for i in range(self.bins)] + [f"{self.name}_missing"] * self.missing

    @property
    def is_bin(self) -> list[bool]:
        """Which of the features are piecewise-linear?"""
        return [False] * bool(self.half) + [True] * self.bins + [False] * self.missing

    def accept(self, column: Column) -> Doubles:
        """The numbers of a column, NaN for missing; an error that names it if it holds no numbers."""
        return column.as_kind("number").values

    def write(self, values: Doubles, out: NDArray[np.float32]) -> None:
        """Write out (m, features) for these values."""
        z, own = self.z(values), int(bool(self.half))
        out[:, :own] = z[:, np.newaxis]
        if self.bins:
            block = z[:, np.newaxis] - self.edges[:-1]
            block *= 2 / np.diff(self.edges)
            block -= 1
            np.clip(block, -1, 1, out=out[:, own : own + self.bins], casting="same_kind")
        if self.missing:
            out[:, -1] = np.isnan(values)

    def __str__(self) -> str:
        parts = [f"number, median {self.median:.6g}"] + [f"{self.bins} bins"] * bool(self.bins)
        return ", ".join(parts + ["missing"] * self.missing)


def _half_distance(values: Doubles, median: float) -> float:
    """Half of the median distance of the other values from the median (the lower of two); 0 if there are none."""
    others = values[values != median]
    return float(np.sort(np.abs(others / 2 - median / 2))[(len(others) - 1) // 2]) if len(others) else 0.0


def _quartiles(values: Doubles) -> Doubles:
    """The quartiles of sorted values, linear between two neighbours, without overflow."""
    at = np.array([0.25, 0.5, 0.75]) * (len(values) - 1)
    below = np.floor(at).astype(np.int64)
    part = at - below
    return (1 - part) * values[below] + part * values[np.minimum(below + 1, len(values) - 1)]


@dataclass
class Category:
    """A feature for each level, 1 where the value is this level; two levels share one feature, -1 and 1.

    Unseen levels are 0 in all features. A missing value is a level (None) if the training data lacked values.
    """

    name: str
    levels: list[Any]
    left_out: int = 0
    kind: str = field(default="category", repr=False)

    @classmethod
    def of(cls, name: str, codes: NDArray[np.int64], levels: Sequence[Any], most: int) -> "Category | None":
        """The levels of a column, the `most` frequent if there are more; None if its values do not differ."""
        counts = Counter(dict(enumerate(np.bincount(codes + 1, minlength=len(levels) + 1).tolist())))
        found = [(None if i == 0 else levels[i - 1], n) for i, n in counts.items() if n]
        found.sort(key=lambda item: _order(item[0]))
        if len(found) < 2:
            return None
        if len(found) > most:
            found.sort(key=lambda item: -item[1])       # stable: ties stay in order
            kept = [level for level, n in found[:most] if n > 1] or [level for level, _ in found[:most]]
            return cls(name, sorted(kept, key=_order), len(found) - len(kept))
        return cls(name, [level for level, _ in found])

    @property
    def is_pair(self) -> bool:
        return len(self.levels) == 2 and not self.left_out

    @property
    def features(self) -> list[str]:
        words = ["missing" if level is None else str(level) for level in self.levels]
        return [f"{self.name}_{word}" for word in (words[1:] if self.is_pair else words)]

    def accept(self, column: Column) -> NDArray[np.int64]:
        """The position of each value of a column among the levels; -1 if it is none of them.

        A level is also found by its text: where fit saw the number 1, "1" is this level. An error names a column that
        held text in fit and now holds numbers, none of which is known.
        """
        column = column.as_kind("category")
        own = {level: i for i, level in enumerate(self.levels)}
        words = {_text(level): i for i, level in enumerate(self.levels) if level is not None}
        at = [own.get(level, words.get(_text(level), -1)) for level in column.levels]
        if at and max(at) < 0 and _are_words(self.levels) and not any(isinstance(new, str) for new in column.levels):
            raise ValueError(f"column {self.name!r} held text in fit, such as {self.levels[0]!r:.60}; it now holds "
                             f"numbers, such as {column.levels[0]!r:.60}")
        into = np.array([*at, own.get(None, -1)], np.int64)     # -1: the last, for missing values
        return into[column.values]

    def write(self, at: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Write out (m, features) for these positions among the levels."""
        if self.is_pair:
            out[:, 0] = np.array([-1, 1, 0], np.float32)[at]
            return
        out[:] = 0
        seen = np.flatnonzero(at >= 0)
        out[seen, at[seen]] = 1

    def __str__(self) -> str:
        more = f", {self.left_out} rare ones left out" if self.left_out else ""
        return f"category, {len(self.levels)} level{'s' * (len(self.levels) != 1)}{more}"


def _text(level: Any) -> str:
    """A level as text; a whole number has no decimals."""
    return str(int(level)) if isinstance(level, float) and level.is_integer() else str(level)


def _are_words(levels: Sequence[Any]) -> bool:
    """Are all levels but "missing" strings?"""
    return all(level is None or isinstance(level, str) for level in levels)


def _order(level: Any) -> tuple[str, Any]:
    """Levels in order: numbers, strings, missing."""
    if level is None:
        return "z", 0
    return ("s", level) if isinstance(level, str) else ("n", level)


@dataclass
class Date:
    """The time as a number; if the training data span them, also the weekday, and sine and cosine of the time of year
    and of the time of day."""

    name: str
    time: Number
    parts: list[str]
    kind: str = field(default="date", repr=False)

    @classmethod
    def of(cls, name: str, seconds: Doubles, bins: int) -> "Date | None":
        time = Number.of(name, seconds, bins)
        known = seconds[np.isfinite(seconds)]
        if time is None:
            return None
        span = float(np.ptp(known)) if len(known) else 0.0
        parts = ["year"] * (span > YEAR / 2) + ["weekday"] * (span > 6 * DAY)
        return cls(name, time, parts + ["day"] * (len(known) > 0 and bool((known % DAY != known[0] % DAY).any())))

    @property
    def features(self) -> list[str]:
        words = [word for part in self.parts for word in PARTS[part]]
        return [*self.time.features, *(f"{self.name}_{word}" for word in words)]

    @property
    def is_bin(self) -> list[bool]:
        flags = self.time.is_bin
        return flags + [False] * (len(self.features) - len(flags))

    def accept(self, column: Column) -> Doubles:
        """Seconds since 1970, NaN for missing; an error that names the column if it holds no dates."""
        return column.as_kind("date").values

    def write(self, seconds: Doubles, out: NDArray[np.float32]) -> None:
        """Write out (m, features) for these times."""
        at = len(self.time.features)
        self.time.write(seconds, out[:, :at])
        known = np.isfinite(seconds)
        t = np.where(known, seconds, 0.0)
        for part in self.parts:
            if part == "weekday":
                block = (np.floor(t / DAY) + 3)[:, np.newaxis] % 7 == np.arange(7)
            else:
                phase = 2 * np.pi * (t / (YEAR if part == "year" else DAY) % 1)
                block = np.stack([np.sin(phase), np.cos(phase)], axis=1)
            out[:, at : at + block.shape[1]] = block * known[:, np.newaxis]
            at += block.shape[1]

    def __str__(self) -> str:
        return ", ".join(["date", *self.parts, *[f"{self.time.bins} bins"] * bool(self.time.bins)])


PARTS = {
    "year": ("year_sin", "year_cos"), "day": ("day_sin", "day_cos"),
    "weekday": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
}
Fitted = Constant | Number | Category | Date


def fit(column: Column, bins: int, levels: int) -> Fitted:
    """The fitted form of a column of the training data."""
    found: Fitted | None
    if column.kind == "category":
        found = Category.of(column.name, column.values, column.levels, levels)
    elif column.kind == "date":
        found = Date.of(column.name, column.values, bins)
    else:
        found = Number.of(column.name, column.values, bins)
    return found or Constant(column.name, column.kind)


def places(fitted: Sequence[Fitted]) -> list[slice]:
    """The places of each column's features in the matrix."""
    ends = np.cumsum([0, *(len(each.features) for each in fitted)]).tolist()
    return [slice(*ends_) for ends_ in pairwise(ends)]
