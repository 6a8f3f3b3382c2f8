"""Messages for refused data (text in X, labels that are words, targets out of reach), and warnings that point at the
caller's line."""

import sys
import warnings
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Layout

LABELS = ("labels must be integers 0 to K-1, such as np.unique({name}, return_inverse=True)[1]; "
          "fastbp.sklearn.MLPClassifier takes any labels")
FLOAT = "but its values are numbers; pass "
ENCODE = "encode it as numbers first, for example with pandas.get_dummies or scikit-learn's OneHotEncoder"


def warn(message: str, category: type[Warning], among: Callable[[str], bool] | None = None) -> None:
    """Warn from the innermost calling frame outside fastbp, or from the first whose module's name is `among` these."""
    level, frame = 2, sys._getframe(1)
    while frame is not None and not (among or _is_outside)(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back      # type: ignore[assignment]
    warnings.warn(message, category, stacklevel=level)


def _is_outside(module: str) -> bool:
    return module.partition(".")[0] != "fastbp"


def no_numbers(value: Any, a: NDArray[Any], name: str, labels: bool = False) -> str:
    """The message for an array, made from value, whose dtype is not real; labels: it may hold labels."""
    begin = f"{name} must hold real numbers; got dtype {a.dtype}"
    if a.dtype.kind not in "OUST":
        return begin
    at = next((at for at, cell in np.ndenumerate(a) if not isinstance(cell, (Real, np.bool_))), None)
    if at is None:      # numbers, each an object of its own
        return f"{begin}, {FLOAT}{_as_numbers(value, a, name, labels)}" if a.size else begin
    found = a[at].item() if isinstance(a[at], np.generic) else a[at]
    cell = f"{name}[{', '.join(map(str, at))}] is {found!r:.60}" if at else f"it is {found!r:.60}"
    column = _column(value, at)
    if column is not None:
        cell = f"column {column!r:.60} is not of numbers, {cell}"
    if not isinstance(found, (str, bytes)):
        return f"{begin}: {cell}"
    if _are_numbers(a):
        return f"{begin}: {cell}, {FLOAT}{_as_numbers(value, a, name, labels)}"
    if not labels:
        return f"{begin}: {cell}; {ENCODE}"
    return f"{begin}: {cell}; {LABELS.format(name=name)}{' of numbers or str, not bytes' * isinstance(found, bytes)}"


def _as_numbers(value: Any, a: NDArray[Any], name: str, labels: bool) -> str:
    """The expression that converts it to numbers: its own method if it has one, else NumPy; labels become integers."""
    kind = "int" if labels and a.ndim == 1 and _are_whole(a) else "float"
    return f"{name}.astype({kind})" if hasattr(value, "astype") else f"np.asarray({name}, {kind})"


def _are_whole(a: NDArray[Any]) -> bool:
    """Are all integers, as in "3"? "3.0" and 3.0 may be targets."""
    if any(isinstance(cell, (float, np.floating)) for cell in a.flat):
        return False
    try:
        return bool((a.astype(np.int64) == a.astype(np.float64)).all())
    except (ValueError, TypeError, OverflowError):
        return False


def _are_numbers(a: NDArray[Any]) -> bool:
    """Can all text be read as numbers, as in "1.5"?"""
    try:
        a.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _column(value: Any, at: tuple[int, ...]) -> Any:
    """The name of a cell's column in a data frame; None if there are no names."""
    try:
        return list(value.columns)[at[1]]
    except (AttributeError, IndexError, TypeError):
        return None


def out_of_reach(a: NDArray[Any], plan: Layout) -> str:
    """Advice for targets (m, K) that the output cannot reach: the network they need."""
    regression = "for regression make the network with output='identity', loss='squared_error'"
    classes = len(np.unique(a[:1000])) if a.shape[1] == 1 else 0
    if classes < 2 or classes > 100 or a.min() < 0 or (a != np.floor(a)).any():
        return regression
    K = int(a.max()) + 1
    return f"{regression}; for {K} classes with layer_sizes that end with {K} and output='softmax'"


def has_diverged(J: list[float]) -> str:
    """The message that J has risen far."""
    return (f"the training has diverged: J rose from {J[0]:.3g} in the first epoch to {J[-1]:.3g} in the last; a "
            "smaller learning_rate or inputs scaled to about [-1, 1] may help")
