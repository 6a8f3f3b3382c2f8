"""Which examples are in the right class, and of which class they are.

h : (m, K) outputs;  Y : (m,) labels 0 .. K-1, or (m, K) targets;  middle : between low and high, the values of a target
that say no and yes. Classes are named by labels ("labels"), by one high target a row ("one_hot"), or by each target of
its own ("binary").
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Classes


def kind(Y: NDArray[Any], low: float, high: float) -> Classes | None:
    """How targets (m, K) name classes; None where one of them is neither low nor high."""
    if not np.isfinite(high) or not (np.equal(Y, low) | np.equal(Y, high)).all():
        return None
    return "one_hot" if one_hot(Y, high) else "binary"


def one_hot(Y: NDArray[Any], high: float) -> bool:
    """Has each row of the targets (m, K), K > 1, one high value?"""
    return Y.shape[1] > 1 and bool((np.equal(Y, high).sum(axis=1) == 1).all())


def middle(low: float, high: float) -> float:
    """The boundary between no and yes; an output or a target that lies on it says yes."""
    return (low + high) / 2


def middle_of(Y: NDArray[Any]) -> float:
    """The middle, from the targets alone: of -1 and 1 where one is negative, else of 0 and 1."""
    return middle(-1.0 if (Y < 0).any() else 0.0, 1.0)


def right(
    h: NDArray[Any], Y: NDArray[Any], classes: Classes | None, middle: float,
    yes: Callable[[NDArray[Any], float], NDArray[np.bool_]] = np.greater_equal,
) -> NDArray[np.bool_]:
    """Which examples (m,) are in the right class.

    "labels" and "one_hot": the largest output is that of the class. "binary": every output is on the side of the middle
    that its target is on; `yes` tells the upper side (scikit-learn's predictions take np.greater).
    """
    if classes == "binary":
        return (yes(h, middle) == yes(Y, middle)).all(axis=1)
    return h.argmax(axis=1) == (Y if classes == "labels" else Y.argmax(axis=1))


def named(values: NDArray[Any], middle: float) -> NDArray[np.int64]:
    """The class (m,) that each row of outputs or targets (m, K) names: the largest; for K = 1 the side, 0 or 1."""
    if values.shape[1] == 1:
        return (values[:, 0] >= middle).astype(np.int64)
    return values.argmax(axis=1)
