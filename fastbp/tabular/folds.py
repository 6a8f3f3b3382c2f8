"""The rows that each network is trained on, and those it is measured on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length

from .frames import is_missing
from .training import Rows

FOLDS = 8


def splits(
    m: int, n_estimators: int, rng: np.random.Generator, *, labels: NDArray[np.int64] | None = None, groups: Any = None,
    cv: Any = None,
) -> list[tuple[Rows, Rows]]:
    """(rows, held-out rows) of each network.

    Parameters
    ----------
    m : int
        Rows.
    n_estimators : int
        Number of networks. Network k holds out fold k of n_estimators, or of 8 if n_estimators is 1; above 8, every 8
        networks get new folds. If there are fewer rows or groups, there are fewer folds. A single row is never held
        out.
    labels : (m,), optional
        Each class is spread over all folds.
    groups : (m,), optional
        Rows of a group are in the same fold.
    cv : int, splitter or iterable of (rows, held-out rows), optional
        The folds: one network for each, and repeated if n_estimators is larger.
    """
    codes = None if groups is None else _checked_groups(groups, m)
    if cv is not None:
        found = list(check_cv(cv, labels, classifier=labels is not None).split(np.zeros((m, 1)), labels, groups))
        given = [_checked(rows, held_out, m) for rows, held_out in found]
        if not given:
            raise ValueError("cv has no splits")
        return given * max(1, n_estimators // len(given))
    parts = m if codes is None else int(codes.max()) + 1
    wanted = FOLDS if n_estimators == 1 else min(n_estimators, FOLDS)
    n = min(wanted, parts)
    if n < 2:
        return [(np.arange(m), np.arange(0))] * n_estimators
    result: list[tuple[Rows, Rows]] = []
    while len(result) < n_estimators:
        fold = _shuffled(m, n, rng, labels) if codes is None else _grouped(codes, n, rng)
        result += [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n)]
    return result[:n_estimators]


def _checked_groups(groups: Any, m: int) -> NDArray[np.int64]:
    """The group of each row as a number."""
    a = np.asarray(groups)
    check_consistent_length(a, np.empty(m))
    if a.ndim != 1:
        raise ValueError(f"groups must be 1-D, one for each row; got shape {a.shape}")
    missing = [i for i, group in enumerate(a.tolist()) if is_missing(group)]
    if missing:
        raise ValueError(f"groups[{missing[0]}] is missing; each row needs a group")
    try:
        return np.unique(a, return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(f"groups must be all numbers or all strings: {error}") from None


def _shuffled(m: int, n: int, rng: np.random.Generator, labels: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The fold of each row: at random, each class dealt out in turn."""
    order = rng.permutation(m)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(m, np.int64)
    fold[order] = np.arange(m) % n
    return fold


def _grouped(codes: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The fold of each row: groups in random order, but the largest first, each into the fold with the fewest rows."""
    sizes = np.bincount(codes)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, of_group = np.zeros(n, np.int64), np.empty(len(sizes), np.int64)
    for group in order:
        of_group[group] = filled.argmin()
        filled[of_group[group]] += sizes[group]
    return of_group[codes]


def _checked(rows: Any, held_out: Any, m: int) -> tuple[Rows, Rows]:
    """The indices of a split of cv."""
    found = []
    for name, given in (("rows", rows), ("held-out rows", held_out)):
        a = np.asarray(given)
        a = np.flatnonzero(a) if a.dtype == bool and a.shape == (m,) else a
        if a.ndim != 1 or (a.size and a.dtype.kind not in "iu") or (a.size and not -m <= a.min() <= a.max() < m):
            raise ValueError(f"cv: {name} must be indices of the {m} rows; got {given!r:.100}")
        found.append(a.astype(np.int64) % m)
    if not len(found[0]):
        raise ValueError("cv: a split has no rows to train on")
    return found[0], found[1]


def kept(found: Sequence[tuple[Rows, Rows]], keep: NDArray[np.bool_]) -> list[tuple[Rows, Rows]]:
    """The same splits of the rows that are kept."""
    place = np.cumsum(keep) - 1
    result = [(place[rows[keep[rows]]], place[held_out[keep[held_out]]]) for rows, held_out in found]
    if not all(len(rows) for rows, _ in result):
        raise ValueError("cv: a split has only rows of weight 0 to train on")
    return result
