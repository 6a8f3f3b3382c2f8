"""Examples and targets, checked and coerced once: what every sum over examples is taken over."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._backprop import Examples
from .._types import Count, Floats
from . import checks, sums
from .plan import Plan


class Data:
    """X, Y and weights of m examples, checked against one network and ready for the compiled core.

    Parameters
    ----------
    plan : Plan
    dtype : of the network
    X : (m, s_1);  Y : (m, K), (m,) targets for K = 1, or (m,) labels;  sample_weight : (m,) or None
    shard : bool
        A share of the examples, others being elsewhere: it may have no rows, or weights of sum 0.

    Attributes
    ----------
    m : int
        Number of examples.
    weight : float
        The m of the formulas: number of examples, or the sum of their weights, in units of scale.
    scale : float
        A power of two, 1 but for extreme weights.
    classes : "labels", "one_hot", "binary" or None
        How an accuracy is counted: by argmax, by every output on the right side, or not at all.
    """

    def __init__(
        self, plan: Plan, dtype: DTypeLike, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None,
        names: Sequence[str] = ("X", "Y", "sample_weight"), shard: bool = False,
    ) -> None:
        self.plan = plan
        self.X, _ = checks.inputs(X, plan.layer_sizes[0], dtype, names[0], empty=shard)
        self.m = len(self.X)
        self.dense, self.labels = checks.targets(Y, self.m, plan, dtype, names[1])
        self.w, self.scale = checks.weights(sample_weight, self.m, dtype, names[2], empty=shard)
        self.weight = float(self.m) if self.w is None else float(self.w.sum(dtype=np.float64))

    @classmethod
    def of(
        cls, plan: Plan, X: NDArray[Any], dense: NDArray[Any] | None, labels: NDArray[np.int64] | None,
        w: Floats | None,
    ) -> Self:
        """Data of arrays that were checked before."""
        data = cls.__new__(cls)
        data.plan, data.X, data.m, data.dense, data.labels, data.w, data.scale = plan, X, len(X), dense, labels, w, 1.0
        data.weight = float(data.m) if w is None else float(w.sum(dtype=np.float64))
        return data

    @property
    def Y(self) -> NDArray[Any]:
        """Labels (m,), or targets (m, K)."""
        return self.dense if self.labels is None else self.labels

    def examples(self, order: NDArray[np.int64] | None = None) -> Examples:
        """The compiled core's view of the data, in the given order of indices."""
        return Examples(self.X, self.dense, self.labels, self.w, order)

    def accumulate(
        self, theta: Floats, Delta: Floats, n_threads: Count | None = None, each: NDArray[np.float64] = sums.NOT_EACH,
    ) -> float:
        """Delta += the sum over the examples; returns the sum of their costs. See `sums.accumulate`."""
        return sums.accumulate(self.plan, theta, self.examples(), self.m, Delta, n_threads, each)

    @cached_property
    def classes(self) -> Literal['labels', 'one_hot', 'binary'] | None:
        if self.labels is not None:
            return "labels"
        Y, low, high = self.dense, self.plan.lowest, self.plan.highest
        if self.plan.output == "softmax":
            return "one_hot"
        if not np.isfinite(high) or not ((low == Y) | (high == Y)).all():
            return None
        return "one_hot" if Y.shape[1] > 1 and ((high == Y).sum(axis=1) == 1).all() else "binary"

    def accuracy(self, h: Floats) -> float:
        """Share of the examples, by weight, that the outputs h (m, K) put into the right class, where there are any."""
        return float(np.average(self._right(h), weights=None if self.w is None else self.w[:, 0]))

    def right(self, h: Floats) -> float:
        """Sum of the weights of the examples that the outputs h (m, K) put into the right class."""
        right = self._right(h)
        return float(right.sum() if self.w is None else self.w[right, 0].sum(dtype=np.float64))

    def _right(self, h):
        """Which examples are in the right class"""
        if self.classes == "binary":
            middle = (self.plan.lowest + self.plan.highest) / 2
            return ((h >= middle) == (self.dense >= middle)).all(axis=1)
        labels = self.labels if self.classes == "labels" else self.dense.argmax(axis=1)
        return h.argmax(axis=1) == labels
