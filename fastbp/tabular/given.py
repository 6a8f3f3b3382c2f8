"""Arguments that are often given in another form: names of columns, targets with gaps."""

from typing import Any

import numpy as np

from .frames import is_missing


def check(y: Any, **others: Any) -> None:
    """Refuse names in place of columns, and rows without a target."""
    for name, value in {"y": y, **others}.items():
        if isinstance(value, str):
            drop = ", and drop it from X" if name == "y" else ""
            raise TypeError(f"{name} must hold a value for each row; got the string {value!r}. To use this column, "
                            f"pass X[{value!r}]{drop}")
    a = np.asarray(y, object if isinstance(y, (list, tuple)) else None)     # keeps NaN among strings NaN
    if a.dtype.kind not in "fO" or a.ndim not in (1, 2) or not a.size:
        return
    gaps = np.isnan(a) if a.dtype.kind == "f" else np.array([is_missing(value) for value in a.ravel().tolist()], bool)
    rows = np.flatnonzero(gaps.reshape(len(a), -1).any(axis=1))
    if rows.size:
        raise ValueError(f"Input y contains NaN. {len(rows)} of {len(a)} rows have no target, row {rows[0]} first; "
                         "leave these rows out of X and y")
