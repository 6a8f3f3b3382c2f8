"""Tables of any library, read column by column: numbers, categories or dates."""

import datetime
import math
import numbers
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import check_array

# a day, then optionally the time of day (nanoseconds are skipped) and its zone
ISO_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:([ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(?:(?<=\.\d{6})\d{1,3})?"
                      r"(Z|[+-]\d\d:?\d\d)?)?")
CONTAINERS = (list, tuple, dict, set, frozenset, np.ndarray)
NUMBERS = (numbers.Real, np.number)
MICROSECONDS = "datetime64[us]"
ROWS = 2**13    # rows that are prepared or predicted at a time, so that temporary arrays stay in cache


@dataclass
class Column:
    """The values of one column, in one of three forms.

    Attributes
    ----------
    name : str
    kind : {"number", "category", "date"}
    values : ndarray (m,)
        Numbers and dates: float64, NaN for missing; a date is seconds since 1970 (UTC). Categories: places in
        `levels`, -1 for missing.
    levels : list
        The distinct values of a category.
    """

    name: str
    kind: str
    values: NDArray[Any]
    levels: Sequence[Any] = ()

    def as_kind(self, kind: str) -> "Column":
        """The column in the form that it had in the training data; if that is impossible, an error that names it."""
        if kind == self.kind:
            return self
        if kind == "category" and self.kind == "number":
            return _of_distinct(self.name, self.values)
        if (self.values == -1).all() if self.kind == "category" else np.isnan(self.values).all():
            none = np.full(len(self.values), -1) if kind == "category" else np.full(len(self.values), np.nan)
            return Column(self.name, kind, none)        # only missing values
        if self.kind == "category":
            found = _of_words(self, kind)
            if found is not None:
                return found
        example = f", such as {self.levels[0]!r:.60}" if self.levels else ""
        raise ValueError(f"column {self.name!r} held {FORMS[kind]} in fit; it now holds {FORMS[self.kind]}{example}")


FORMS = {"number": "numbers", "category": "categories", "date": "dates"}


def _of_distinct(name: str, values: NDArray[np.float64]) -> Column:
    """A column of numbers as categories."""
    levels, codes = np.unique(values, return_inverse=True)
    known = ~np.isnan(levels)
    return Column(name, "category", np.where(known, np.arange(len(levels)), -1)[codes], levels[known].tolist())


def _of_words(column: Column, kind: str) -> Column | None:
    """A column of categories as numbers or dates, if each level can be read as one; else None."""
    try:
        if kind == "number":
            read = np.array([float(level) for level in column.levels])
        else:
            read = _times(column.levels)
    except (TypeError, ValueError, OverflowError):
        return None
    return Column(column.name, kind, np.append(read, np.nan)[column.values])


# ---------------------------------------------------------------- tables


def read(X: Any) -> tuple[list[Column], bool]:
    """The columns of a table, and whether it has names.

    Parameters
    ----------
    X : DataFrame of pandas or polars, any object with `to_pandas`, or an array-like (m, n)

    Returns
    -------
    (list of Column, bool)
        An array's columns are called x0, x1, ...
    """
    package = type(X).__module__.partition(".")[0]
    if package == "polars":
        if not hasattr(X, "get_columns"):
            raise TypeError(f"X is a polars {type(X).__name__}; accepted is a DataFrame: call collect() or to_frame()")
        names, columns = X.columns, [_of_polars(series) for series in X.get_columns()]
    elif hasattr(X, "iloc") and hasattr(X, "columns"):
        names, columns = list(X.columns), _of_frame(X)
    elif hasattr(X, "to_pandas") and not isinstance(X, np.ndarray):
        return read(_to_pandas(X))
    else:
        return [_of_array(column, f"x{j}") for j, column in enumerate(_array(X).T)], False
    _check_shape(len(columns[0].values) if columns else 0, len(columns))
    return columns, _check_names(names)


def blocks(m: int) -> Iterator[slice]:
    """m rows, ROWS at a time."""
    for first in range(0, m, ROWS):
        yield slice(first, min(first + ROWS, m))


def _to_pandas(X: Any) -> Any:
    try:
        return X.to_pandas()
    except ImportError as error:
        raise ImportError(f"X is a {type(X).__name__}; reading it needs pandas: pip install pandas "
                          f"({error})") from error


def _check_names(names: Sequence[Any]) -> bool:
    """Are all names strings? Then columns are found by name. Mixed and repeated names are errors."""
    words = [isinstance(name, str) for name in names]
    if any(words) and not all(words):
        kinds = ", ".join(sorted({type(name).__name__ for name in names}))
        raise TypeError("Feature names are only supported if all input features have string names, but your input has "
                        f"{kinds} as feature name / column name types. Convert them: X.columns = X.columns.astype(str)")
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two columns are named {name!r}; each column needs its own name")
        seen.add(name)
    return all(words)


def _check_shape(m: int, n: int) -> None:
    """The errors of scikit-learn for an empty table."""
    for count, what, shape in ((n, "feature(s)", f"({m}, {n})"), (m, "sample(s)", f"({m}, {n})")):
        if count == 0:
            raise ValueError(f"Found array with 0 {what} (shape={shape}) while a minimum of 1 is required.")


def _array(X: Any) -> NDArray[Any]:
    """X (m, n) as scikit-learn checks arrays; lists keep the type of each value."""
    if sp.issparse(X):
        raise TypeError("Sparse data was passed, but dense data is required. Use '.toarray()' to convert to a dense "
                        "numpy array.")
    _refuse_dicts(X)
    if isinstance(X, (list, tuple)):
        X = np.array(X, dtype=object) if any(isinstance(row, (list, tuple)) for row in X) else np.asarray(X)
    return np.asarray(check_array(X, dtype=None, ensure_all_finite=False))


def _refuse_dicts(X: Any) -> None:
    """NumPy would take a dict for a single value."""
    if isinstance(X, dict):
        raise TypeError("X must be a DataFrame or a 2-D array; got a dict. Pass pandas.DataFrame(X), or "
                        "pandas.DataFrame([X]) if it is one row")
    if isinstance(X, (list, tuple)) and any(isinstance(row, dict) for row in X):
        raise TypeError("X must be a DataFrame or a 2-D array; got a list of dicts. Pass pandas.DataFrame(X)")


# ---------------------------------------------------------------- columns


def _of_array(values: NDArray[Any], name: str) -> Column:
    kind = values.dtype.kind
    if kind == "c":
        raise ValueError(f"Complex data not supported: column {name!r}")
    if kind in "iuf":
        return Column(name, "number", values.astype(np.float64))
    if kind == "b":
        return Column(name, "category", values.astype(np.int64), [False, True])
    if kind == "M":
        return Column(name, "date", _seconds(values))
    if kind == "m":
        return Column(name, "number", np.where(np.isnat(values), np.nan, values / np.timedelta64(1, "s")))
    return _of_objects(values.tolist(), name)


def _of_frame(X: Any) -> list[Column]:
    """The columns of a pandas DataFrame; all columns with NumPy numbers are read together: there may be thousands."""
    plain = [j for j, dtype in enumerate(X.dtypes) if isinstance(dtype, np.dtype) and dtype.kind in "iuf"]
    rows = iter(np.ascontiguousarray(X.iloc[:, plain].to_numpy(np.float64).T) if plain else ())
    are_plain = set(plain)
    return [Column(str(label), "number", next(rows)) if j in are_plain else _of_pandas(X.iloc[:, j], str(label))
            for j, label in enumerate(X.columns)]


def _of_pandas(series: Any, name: str) -> Column:
    dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    word = type(dtype).__name__
    if word == "CategoricalDtype":
        levels = [_plain(level) for level in series.cat.categories.tolist()]     # numbers too
        return Column(name, "category", series.cat.codes.to_numpy().astype(np.int64), levels)
    if word == "PeriodDtype":
        series, kind = series.dt.to_timestamp(), "M"
    if word == "SparseDtype":
        series = series.sparse.to_dense()
    if kind == "c":
        raise ValueError(f"Complex data not supported: column {name!r}")
    if kind == "b":
        missing, values = series.isna().to_numpy(), series.fillna(False).to_numpy(bool).astype(np.int64)
        return Column(name, "category", np.where(missing, -1, values), [False, True])
    if kind in "iuf":
        return Column(name, "number", series.to_numpy(np.float64, na_value=np.nan))
    if kind == "M":
        if getattr(series.dt, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return Column(name, "date", _seconds(series.to_numpy(MICROSECONDS)))
    if kind == "m":
        return Column(name, "number", series.dt.total_seconds().to_numpy(np.float64))
    try:
        codes, levels = series.factorize()
    except TypeError:
        return _of_objects(series.tolist(), name)       # its error names the value that cannot be hashed
    return _by_levels(name, codes.astype(np.int64), levels.tolist())


def _of_polars(series: Any) -> Column:
    import polars as pl

    name, dtype = series.name, series.dtype
    if dtype.is_numeric():
        return Column(name, "number", series.cast(pl.Float64).fill_null(math.nan).to_numpy().astype(np.float64))
    if dtype == pl.Boolean:
        return Column(name, "category", series.cast(pl.Int8).fill_null(-1).to_numpy().astype(np.int64), [False, True])
    if dtype in (pl.Date, pl.Datetime):
        values = series.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64).fill_null(math.nan).to_numpy()
        return Column(name, "date", values / 1e6)
    if dtype == pl.Duration:
        values = series.cast(pl.Duration("us")).cast(pl.Int64).cast(pl.Float64).fill_null(math.nan).to_numpy()
        return Column(name, "number", values / 1e6)
    if dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    return _of_objects(series.to_list(), name)


def _seconds(dates: NDArray[Any]) -> NDArray[np.float64]:
    """Seconds since 1970, NaN for NaT."""
    dates = dates.astype(MICROSECONDS)
    return np.where(np.isnat(dates), np.nan, dates.astype(np.int64) / 1e6)


def _times(texts: Sequence[str]) -> NDArray[np.float64]:
    """Seconds since 1970 of ISO dates, which are UTC without a time zone. A ValueError if one is not an ISO date."""
    found = [ISO_DATE.fullmatch(text) for text in texts]
    parts = [match.groups(default="") for match in found if match]
    if len(parts) < len(found):
        raise ValueError("not all are ISO dates")
    ahead = np.array([_ahead(zone) for *_, zone in parts])
    return _seconds(np.array([day + time for day, time, _ in parts], MICROSECONDS)) - ahead


def _ahead(zone: str) -> float:
    """Seconds by which a time zone, such as +02:00, is ahead of UTC."""
    if zone in ("", "Z"):
        return 0.0
    seconds = 3600.0 * int(zone[1:3]) + 60 * int(zone[-2:])
    return seconds if zone[0] == "+" else -seconds


def is_missing(value: Any) -> bool:
    """None, NaN, NA or NaT?"""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (
        isinstance(value, (float, np.floating)) and math.isnan(value)
    ) or (isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value)))


def _of_objects(values: Iterable[Any], name: str) -> Column:
    """A column of Python objects."""
    places: dict[Any, int] = {}
    codes = []
    for value in values:
        if isinstance(value, CONTAINERS):
            raise TypeError(f"column {name!r} holds a {type(value).__name__}; accepted are numbers, strings, booleans, "
                            "dates and missing values")
        try:
            codes.append(-1 if is_missing(value) else places.setdefault(value, len(places)))
        except TypeError as error:
            raise TypeError(f"column {name!r} holds a {type(value).__name__}: {error}") from None
    return _by_levels(name, np.array(codes, np.int64), list(places))


def _by_levels(name: str, codes: NDArray[np.int64], levels: list[Any]) -> Column:
    """A column of these distinct values: numbers, dates or categories, by their types."""
    for level in levels:
        if isinstance(level, (*CONTAINERS, complex, np.complexfloating)):
            what = "" if isinstance(level, CONTAINERS) else "Complex data not supported: "
            raise TypeError(f"{what}column {name!r} holds a {type(level).__name__}; accepted are numbers, strings, "
                            "booleans, dates and missing values")
    column = Column(name, "category", codes, [_plain(level) for level in levels])
    if not levels:
        return Column(name, "number", np.full(len(codes), np.nan))
    if all(isinstance(level, (datetime.timedelta, np.timedelta64)) for level in levels):
        read = np.array(levels, "timedelta64[us]").astype(np.int64) / 1e6
        return Column(name, "number", np.append(read, np.nan)[codes])
    if all(isinstance(level, (datetime.date, np.datetime64)) for level in levels):
        read = np.array([_utc(level) for level in levels], MICROSECONDS)
        return Column(name, "date", np.append(_seconds(read), np.nan)[codes])
    if all(isinstance(level, str) and ISO_DATE.fullmatch(level) for level in levels):
        return _of_words(column, "date") or column
    if all(_is_number(level) for level in levels):
        found = _of_words(Column(name, "category", codes, levels), "number")
        if found is None:
            raise ValueError(f"column {name!r} holds a number that is too large for a float")
        return found
    return column


def _is_number(level: Any) -> bool:
    """Is it a number? Decimal is not a numbers.Real, but converts to float."""
    return (isinstance(level, NUMBERS) or type(level).__name__ == "Decimal") and not isinstance(level, (bool, np.bool_))


def _utc(date: Any) -> Any:
    """A date of Python or NumPy without a time zone."""
    if isinstance(date, datetime.datetime) and date.tzinfo is not None:
        date = date.astimezone(datetime.UTC)
    return date.replace(tzinfo=None) if isinstance(date, datetime.datetime) else date


def _plain(level: Any) -> Any:
    """A level as a string, a bool or a number; other objects by their text."""
    if isinstance(level, np.generic):
        level = level.item()
    return level if isinstance(level, (str, bool, int, float)) else str(level)
