"""The classes of examples, and whether outputs name the right ones.

h : (m, K) outputs;  Y : (m,) labels 0 .. K-1, or (m, K) targets, each low (no) or high (yes).

Y names classes in one of three ways: "labels"; "one_hot", one high target per row; "binary", any number of high targets
per row, or one column. An output or a target says yes if it is at least the middle of low and high.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Classes, Layout


def kind(Y: NDArray[Any], low: float, high: float) -> Classes | None:
    """How targets (m, K) name classes; None if one of them is neither low nor high."""
    if not np.isfinite(high) or not (np.equal(Y, low) | np.equal(Y, high)).all():
        return None
    return "one_hot" if one_hot(Y, high) else "binary"


def of_own(Y: NDArray[Any], plan: Layout) -> Classes | None:
    """How Y names classes with the caller's own loss, for an output that has classes; None if it does not."""
    K = plan.layer_sizes[-1]
    if plan.output not in ("sigmoid", "softmax", "tanh") or Y.dtype.kind not in "biuf" or not Y.size:
        return None
    if K > 1 and Y.shape in ((len(Y),), (len(Y), 1)):
        whole = Y.dtype.kind in "iu" or (Y.ndim == 2 and bool((np.floor(Y) == Y).all()))
        return "labels" if whole and Y.min() >= 0 and Y.max() < K else None
    rows = Y.reshape(len(Y), -1)
    if rows.shape[1] != K:
        return None
    if plan.output == "softmax":
        return "one_hot" if ((rows >= 0) & (rows <= 1)).all() else None
    return kind(rows, plan.lowest, plan.highest)


def one_hot(Y: NDArray[Any], high: float) -> bool:
    """Does each row of the targets (m, K), K > 1, have exactly one high value?"""
    return Y.shape[1] > 1 and bool((np.equal(Y, high).sum(axis=1) == 1).all())


def middle(low: float, high: float) -> float:
    """The boundary between no and yes."""
    return (low + high) / 2


def says_yes(Y: NDArray[Any], plan: Layout) -> NDArray[np.bool_]:
    """Which targets say yes."""
    return np.greater_equal(Y, middle(plan.lowest, plan.highest))


def middle_of(Y: NDArray[Any]) -> float:
    """The middle, from the targets alone: of -1 and 1 if one is negative, else of 0 and 1."""
    return middle(-1.0 if (Y < 0).any() else 0.0, 1.0)


def right(
    h: NDArray[Any], Y: NDArray[Any], classes: Classes | None, middle: float,
    yes: Callable[[NDArray[Any], float], NDArray[np.bool_]] = np.greater_equal,
) -> NDArray[np.bool_]:
    """Is each example (m,) in the right class?

    For "labels" and "one_hot" the largest output must be that of the class. For "binary" every output must say the same
    as its target: `yes` compares them with the middle (np.greater for scikit-learn, which needs more than the middle).
    """
    if classes == "binary":
        return (yes(h, middle) == yes(Y, middle)).all(axis=1)
    return h.argmax(axis=1) == (Y if classes == "labels" else Y.argmax(axis=1))


def named(values: NDArray[Any], middle: float) -> NDArray[np.int64]:
    """The class (m,) of each row of outputs or targets (m, K): its largest column; for K = 1 yes is 1, no is 0."""
    if values.shape[1] == 1:
        return (values[:, 0] >= middle).astype(np.int64)
    return values.argmax(axis=1)
