"""Metrics: functions of the outputs, the targets and the weights, which `train` measures by name.

h : (m, K), as `Network.predict` returns it;  Y : (m, K), (m,) for K = 1, or (m,) labels;  sample_weight : (m,) or None.
Arguments that do not fit raise a ValueError or TypeError that names the argument; outputs may be infinite or NaN.
"""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import words
from ._types import Floats, Metric
from .engine import blas, checks, classes
from .engine.data import Data

__all__ = ["accuracy", "balanced_accuracy", "cross_entropy", "mae", "mse", "r2", "rmse"]


def _metric(function: Callable[[Floats, NDArray[Any], Floats | None], float]) -> Metric:
    """Check the arguments first: h (m, K) floats, Y finite, the weights of m examples."""

    @wraps(function)
    def checked(h: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        h = checks.array(h, "h")
        if h.ndim != 2 or 0 in h.shape:
            raise ValueError(f"h must have shape (m, K), m and K at least 1, as predict returns it; got {h.shape}")
        h = h if h.dtype.kind == "f" else h.astype(np.float64)
        Y = checks.answers(Y, *h.shape)
        if Y.dtype.kind in "bu":    # differences would not fit in the dtype
            Y = Y.astype(np.result_type(h, Y))
        given, _ = checks.weights(sample_weight, len(h), np.float64)
        w = None if given is None else given[:, 0]
        if w is not None and not np.isfinite(h[w == 0]).all():
            h, Y, w = h[w > 0], Y[w > 0], w[w > 0]
        with np.errstate(over="ignore", invalid="ignore"):
            return function(h, Y, w)

    return checked


@_metric
def accuracy(h: Floats, Y: NDArray[Any], sample_weight: Floats | None = None) -> float:
    """Fraction of the examples in the right class.

    For labels and for rows with one largest target each, the largest output decides. Otherwise every output must be on
    the same side of the middle as its target; the middle is 0 if any target is negative, else 1/2.

    Parameters
    ----------
    h : ndarray (m, K)
        As `Network.predict` returns it.
    Y : ndarray (m, K), (m,) for K = 1, or (m,) labels
    sample_weight : ndarray (m,), optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    balanced_accuracy

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import metrics
    >>> h = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    >>> metrics.accuracy(h, np.array([0, 1, 1, 1]))
    0.75
    """
    return _mean(_right(h, Y), sample_weight)


@_metric
def balanced_accuracy(h: Floats, Y: NDArray[Any], sample_weight: Floats | None = None) -> float:
    """Recall averaged over the classes; recall is the fraction of a class's examples that are predicted as this class.

    Parameters
    ----------
    h : ndarray (m, K)
        As `Network.predict` returns it.
    Y : ndarray (m, K), (m,) for K = 1, or (m,) labels
    sample_weight : ndarray (m,), optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    accuracy

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import metrics
    >>> h = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> metrics.balanced_accuracy(h, np.array([0, 1, 1]))
    0.75
    """
    right, of = _right(h, Y), _classes(h, Y)
    w = np.ones(len(right)) if sample_weight is None else sample_weight
    recalls = [np.average(right[of == k], weights=w[of == k]) for k in np.unique(of[w > 0])]
    return float(np.mean(recalls))


@_metric
def mse(h: Floats, Y: NDArray[Any], sample_weight: Floats | None = None) -> float:
    """mean (h - y)^2, over examples and outputs

    Parameters
    ----------
    h : ndarray (m, K)
        As `Network.predict` returns it.
    Y : ndarray (m, K), (m,) for K = 1, or (m,) labels
    sample_weight : ndarray (m,), optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    rmse, mae

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import metrics
    >>> h = np.array([[1.0], [3.0]])
    >>> metrics.mse(h, np.array([1.0, 1.0]))
    2.0
    """
    return _mean(((h - _targets(h, Y)) ** 2).mean(axis=1, dtype=np.float64), sample_weight)


@_metric
def rmse(h: Floats, Y: NDArray[Any], sample_weight: Floats | None = None) -> float:
    """sqrt(mse)

    Parameters
    ----------
    h : ndarray (m, K)
        As `Network.predict` returns it.
    Y : ndarray (m, K), (m,) for K = 1, or (m,) labels
    sample_weight : ndarray (m,), optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    mse, mae

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import metrics
    >>> h = np.array([[1.0], [3.0]])
    >>> metrics.rmse(h, np.array([3.0, 1.0]))
    2.0
    """
    return mse(h, Y, sample_weight) ** 0.5


@_metric
def mae(h: Floats, Y: NDArray[Any], sample_weight: Floats | None = None) -> float:
    """mean |h - y|, over examples and outputs

    Parameters
    ----------
    h : ndarray (m, K)
        As `Network.predict` returns it.
    Y : ndarray (m, K), (m,) for K = 1, or (m,) labels
    sample_weight : ndarray (m,), optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    mse, rmse

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import metrics
    >>> h = np.array([[1.0], [3.0]])
    >>> metrics.mae(h, np.array([1.0, 1.0]))
    1.0
    """
    return _mean(np.abs(h - _targets(h, Y)).mean(axis=1, dtype=np.float64), sample_weight)


@_metric
def r2(h: Floats, Y: NDArray[Any], sample_weight: Floats | None = None) -> float:
    """1 - sum (h - y)^2 / sum (y - mean y)^2 of each output, averaged, like scikit-learn's r2_score.

    NaN for fewer than two examples. Unlike in scikit-learn, examples of weight 0 do not count.

    Parameters
    ----------
    h : ndarray (m, K)
        As `Network.predict` returns it.
    Y : ndarray (m, K), (m,) for K = 1, or (m,) labels
    sample_weight : ndarray (m,), optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    mse

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import metrics
    >>> h = np.array([[1.0], [2.0], [4.0]])
    >>> metrics.r2(h, np.array([1.0, 2.0, 3.0]))
    0.5
    """
    Y = _targets(h, Y).astype(np.float64)
    w = np.ones(len(Y)) if sample_weight is None else sample_weight
    if np.count_nonzero(w) < 2:
        return math.nan
    with blas.single_thread(everywhere=True):
        left = w @ (h - Y) ** 2
        spread = w @ (Y - np.average(Y, axis=0, weights=w)) ** 2
    constant = np.where(left == 0, 1.0, 0.0)
    return float(np.mean(np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1), constant)))


@_metric
def cross_entropy(h: Floats, Y: NDArray[Any], sample_weight: Floats | None = None) -> float:
    """Mean of -log of the probability of the right answer.

    Probabilities are clipped to [eps, 1 - eps], as in scikit-learn's log_loss. (J is computed from z(L), unclipped.)

    Parameters
    ----------
    h : ndarray (m, K)
        As `Network.predict` returns it.
    Y : ndarray (m, K), (m,) for K = 1, or (m,) labels
    sample_weight : ndarray (m,), optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    Network.evaluate

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import metrics
    >>> h = np.array([[0.5, 0.5], [0.5, 0.5]])
    >>> metrics.cross_entropy(h, np.array([0, 1]))
    0.6931471805599453
    """
    eps = np.finfo(h.dtype).eps
    p, Y = np.clip(h.astype(np.float64), eps, 1 - eps), _targets(h, Y)
    cost = -Y * np.log(p)
    if not _one_of_many(h, Y):
        cost -= (1 - Y) * np.log1p(-p)
    return _mean(cost.sum(axis=1), sample_weight)


NAMED: dict[str, Metric] = {f.__name__: f for f in (accuracy, balanced_accuracy, mse, rmse, mae, r2, cross_entropy)}
NAMED["log_loss"] = cross_entropy
HIGHER = ("accuracy", "balanced_accuracy", "r2")  # a higher value is better


def resolve(metrics: Sequence[str | Callable[..., Any]]) -> dict[str, Callable[..., float]]:
    """{name: function(h, Y, sample_weight)} from a list of names and functions of (h, Y)."""
    if isinstance(metrics, str) or not isinstance(metrics, (list, tuple)):
        raise TypeError(f"metrics must be a list of names or functions of (h, Y); got {metrics!r}")
    found: dict[str, Callable[..., float]] = {}
    for i, metric in enumerate(metrics):
        function: Callable[..., float]
        if isinstance(metric, str):
            known = words.resolve(metric, NAMED, words.METRICS)
            if known is None:
                raise ValueError(f"metrics[{i}] is {metric!r}; accepted are {', '.join(NAMED)}, or functions of (h, Y)")
            name, function = known, NAMED[known]
        elif callable(metric):
            name = getattr(metric, "__name__", type(metric).__name__)
            function = _unweighted(metric, name)
        else:
            raise TypeError(f"metrics[{i}] must be a name or a function of (h, Y); got {metric!r}")
        if name in found or name in ("J", "seconds"):
            raise ValueError(f"metrics[{i}]: there is a {name!r} already")
        found[name] = function
    return found


def _unweighted(function: Callable[..., Any], name: str) -> Callable[..., float]:
    return lambda h, Y, sample_weight=None: checks.value(function(h, Y), f"the metric {name}")


def check_classes(functions: dict[str, Callable[..., float]], data: Data | None) -> None:
    """Raise a ValueError if a metric needs classes and the data have none."""
    wanted = {"accuracy", "balanced_accuracy"} & functions.keys()
    if wanted and data is not None and data.classes is None:
        raise ValueError(f"metrics: {' and '.join(sorted(wanted))} need classes in Y: labels, or targets at the low "
                         "and the high end of the output's range")


def _mean(values: NDArray[Any], sample_weight: Floats | None) -> float:
    return float(np.average(values, weights=sample_weight))


def _is_labels(h: Floats, Y: NDArray[Any]) -> bool:
    return Y.ndim == 1 and h.shape[1] > 1


def _targets(h: Floats, Y: NDArray[Any]) -> NDArray[Any]:
    """Y as (m, K): labels as rows of 0 and 1"""
    return np.eye(h.shape[1], dtype=h.dtype)[Y] if _is_labels(h, Y) else Y.reshape(h.shape)


def _one_of_many(h: Floats, Y: NDArray[Any]) -> bool:
    """Does each row of the targets (m, K) have one right answer, or a distribution over the answers?"""
    return h.shape[1] > 1 and bool(np.allclose(Y.sum(axis=1), 1, atol=1e-4) and (Y >= 0).all())


def _classes(h: Floats, Y: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """The class of each example, as an integer"""
    if _is_labels(h, Y):
        return Y
    Y = _targets(h, Y)
    return classes.named(Y, classes.middle_of(Y))


def _right(h: Floats, Y: NDArray[Any]) -> NDArray[np.bool_]:
    if _is_labels(h, Y):
        return classes.right(h, Y, "labels", 0.5)
    Y = _targets(h, Y)
    return classes.right(h, Y, "one_hot" if classes.one_hot(Y, Y.max()) else "binary", classes.middle_of(Y))
