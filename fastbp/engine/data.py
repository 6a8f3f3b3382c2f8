"""Examples and targets, checked and coerced once: all sums over examples run over them."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._backprop import Examples
from .._types import Classes, Count, Doubles, Floats
from . import checks, classes, sums
from .curvature import BlockProducts
from .plan import Plan


class Data:
    """X, Y and weights of m examples, checked against one network and ready for the compiled core.

    X and Y are read in place if the core can read them; weights are copied. Make new data after changing X or Y.

    Parameters
    ----------
    plan : Plan
    dtype : of the network
    X : (m, s_1);  Y : (m, K), (m,) targets for K = 1, or (m,) labels;  sample_weight : (m,) or None
    shard : bool
        The examples of one rank of several: m may be 0, and the sum of the weights too.

    Attributes
    ----------
    m : int
        Number of examples.
    Y : ndarray
        ``labels`` (m,) int64, or the targets ``dense`` (m, K); the other of the two is None.
    weight : float
        The m of the formulas: number of examples, or the sum of their weights, in units of scale.
    scale : float
        The unit of the weights: 1, a power of two for extreme weights, or what `in_units_of` was given.
    counts : (m,) float64, or None
        What each example adds to the number by which its batch is divided; None: 1.
    classes : "labels", "one_hot", "binary" or None
        How Y names classes (`engine.classes`); None if it does not.
    """

    dense: NDArray[Any] | Any  # None if there are labels
    dtype: np.dtype[Any] | None = None  # of the network that checked them; None if they had been checked before
    counts: Doubles | None = None
    _other: Self | None = None  # what in_units_of has made of it
    _made = False               # by in_units_of

    def __init__(
        self, plan: Plan, dtype: DTypeLike, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None,
        names: Sequence[str] = ("X", "Y", "sample_weight"), shard: bool = False,
    ) -> None:
        X, _ = checks.inputs(X, plan.layer_sizes[0], dtype, names[0], empty=shard)
        dense, labels = checks.targets(Y, len(X), plan, dtype, names[1])
        w, self.scale = checks.weights(sample_weight, len(X), dtype, names[2], empty=shard)
        self.dtype = np.dtype(dtype)
        self._hold(plan, X, dense, labels, w)

    @classmethod
    def of(
        cls, plan: Plan, X: NDArray[Any], dense: NDArray[Any] | None, labels: NDArray[np.int64] | None,
        w: Floats | None,
    ) -> Self:
        """Data of arrays that were checked before."""
        data = cls.__new__(cls)
        data.scale = 1.0
        data._hold(plan, X, dense, labels, w)
        return data

    def _hold(
        self, plan: Plan, X: NDArray[Any], dense: NDArray[Any] | None, labels: NDArray[np.int64] | None,
        w: Floats | None,
    ) -> None:
        self.plan, self.X, self.m, self.dense, self.labels, self.w = plan, X, len(X), dense, labels, w
        self._few: tuple[Any, ...] | None = None     # dtype, evaluator and examples, from call to call
        self.weight = float(self.m) if w is None else float(w.sum(dtype=np.float64))

    def __repr__(self) -> str:
        Y = "labels" if self.labels is not None else f"targets {self.Y.shape}"
        return f"<Data: {self.m} examples {self.X.shape}, {Y}{'' if self.w is None else ', weights'}>"

    @property
    def Y(self) -> NDArray[Any]:
        """Labels (m,), or targets (m, K)."""
        return self.dense if self.labels is None else self.labels

    def examples(self, order: NDArray[np.int64] | None = None) -> Examples:
        """The compiled core's view of the data, in the given order of indices; labels are looked at again."""
        return Examples(self.X, self.dense, self.labels, self.w, order, self.plan.layer_sizes[-1])

    def in_units_of(self, unit: float, dtype: DTypeLike) -> Self:
        """The same examples with weights w / unit, without weights if all are 1 then. Kept for the next call.

        An example without a weight has w = 1.
        """
        if self.scale == unit and (self.w is None or self._made):
            return self
        if self._other is None or self._other.scale != unit:
            w = np.ones((self.m, 1)) if self.w is None else self.w
            with np.errstate(over="ignore", under="ignore"):
                divided = np.divide(w, unit / self.scale, dtype=np.float64).astype(dtype)
            if not np.isfinite(divided).all() or (w.any() and divided.max() < np.finfo(dtype).tiny):
                raise ValueError(f"mean_weight is {unit:g}, and sample_weight divided by it leaves the range of "
                                 f"{np.dtype(dtype).name}")
            other = type(self).of(self.plan, self.X, self.dense, self.labels, None if (divided == 1).all() else divided)
            other.scale, other.counts, other._made, self._other = unit, self.counts, True, other
        return self._other

    def divisors(self, order: NDArray[np.int64] | None, m: int, size: int) -> Doubles | None:
        """What Delta of each batch of `size` of the m examples in `order` is divided by: the number of its examples or
        the sum of their counts. None: that is the sum of their weights too."""
        if self.counts is None and self.w is None:
            return None
        first = np.arange(0, m, size)
        if self.counts is None:
            return np.minimum(size, m - first).astype(np.float64)
        return np.add.reduceat(self.counts if order is None else self.counts[order], first)

    def accumulate(
        self, theta: Floats, Delta: Floats, n_threads: Count | None = None, each: Doubles = sums.NO_COSTS,
    ) -> float:
        """Delta += the sum over the examples; returns the sum of their costs. See `sums.accumulate`."""
        return sums.accumulate(self.plan, theta, self.examples(), self.m, Delta, n_threads, each)

    def few(self, theta: Floats, c: tuple[float, ...], l1: float, gradient: bool) -> Any:
        """J, or (J, D), by `sums.evaluator`; None if it does not take these examples or this theta."""
        if not sums.are_few(self.plan, self.m):
            return None
        if self._few is None or self._few[0] != theta.dtype:
            self._few = theta.dtype, sums.evaluator(self.plan, theta.dtype), self.examples()
        _, evaluator, examples = self._few
        return evaluator.of_examples(examples, self.m, self.weight, theta, c, l1, gradient)

    def products(
        self, theta: Floats, gauss_newton: bool, n_threads: Count | None = None, keep: bool = False,
    ) -> BlockProducts:
        """Sums over the examples of w H p, or of w G p, at theta; `curvature.product` makes products of them."""
        return BlockProducts(self.plan, theta, self.examples, self.m, gauss_newton, n_threads, keep)

    @cached_property
    def classes(self) -> Classes | None:
        if self.labels is not None:
            return "labels"
        return "one_hot" if self.plan.output == "softmax" else classes.kind(self.Y, self.plan.lowest, self.plan.highest)

    def accuracy(self, outputs: Callable[[Self], Floats]) -> float:
        """Fraction of the examples, by weight, that their outputs(data), h (m, K), put into the right class."""
        return float(np.average(self._right(outputs(self)), weights=None if self.w is None else self.w[:, 0]))

    def right(self, h: Floats) -> float:
        """Sum of the weights of the examples that the outputs h (m, K) put into the right class."""
        right = self._right(h)
        return float(right.sum() if self.w is None else self.w[right, 0].sum(dtype=np.float64))

    def _right(self, h: Floats) -> NDArray[np.bool_]:
        return classes.right(h, self.Y, self.classes, classes.middle(self.plan.lowest, self.plan.highest))
