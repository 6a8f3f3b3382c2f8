"""Several targets of a classifier: each is a separate classification."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def targets(y: Any) -> list[Any] | None:
    """The columns of y if there are several, otherwise None.

    y : DataFrame of pandas or polars, or array-like; a column of a DataFrame keeps its dtype.
    """
    if hasattr(y, "iloc") and hasattr(y, "columns"):
        return [y.iloc[:, k] for k in range(y.shape[1])] if y.shape[1] > 1 else None
    if hasattr(y, "get_columns"):
        return y.get_columns() if y.width > 1 else None
    a = np.asarray(y)
    return list(a.T) if a.ndim == 2 and a.shape[1] > 1 else None


def side_by_side(labels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Labels (m, K) of K targets; their dtype is object if some are strings and others numbers."""
    kinds = {a.dtype.kind for a in labels}
    together = len(kinds) == 1 or kinds <= set("iuf")
    return np.stack(labels if together else [a.astype(object) for a in labels], axis=1)
