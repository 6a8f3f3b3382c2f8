"""Examples and targets, checked and coerced once: all sums over examples run over them."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._backprop import Examples
from .._types import Classes, Count, Doubles, Floats
from . import checks, classes, outside, own, sums
from .curvature import BlockProducts
from .plan import SMOOTHING, Plan


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
        ``labels`` (m,) int64, or the targets ``dense`` (m, K); the other of the two is None. For an own loss ``dense``
        is Y as it was passed, or (m, any) in the network's dtype for a compiled one.
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
    _other: Self | None = None  # the last result of in_units_of
    _made = False               # made by in_units_of
    _plain: Self | None = None  # the last result of plain

    def __init__(
        self, plan: Plan, dtype: DTypeLike, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None,
        names: Sequence[str] = ("X", "Y", "sample_weight"), shard: bool = False,
    ) -> None:
        X, _ = checks.inputs(X, plan.layer_sizes[0], dtype, names[0], empty=shard)
        dense, labels = self._targets(plan, dtype, len(X), Y, names[1])
        w, self.scale = checks.weights(sample_weight, len(X), dtype, names[2], empty=shard)
        self.dtype = np.dtype(dtype)
        self._hold(plan, X, dense, labels, w)

    @staticmethod
    def _targets(plan: Plan, dtype: DTypeLike, m: int, Y: ArrayLike, name: str) -> tuple[Any, Any]:
        """(dense, labels)"""
        if plan.own is None:
            return checks.targets(Y, m, plan, dtype, name)
        plan.own.check_dtype(dtype)
        if plan.own.dtype is None:
            return own.targets(Y, m, name), None
        return own.compiled_targets(Y, m, dtype, name), None

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
        """The compiled core's view of the data, in the given order of indices; labels are checked again."""
        dense = None if self.outside else self.dense
        return Examples(self.X, dense, self.labels, self.w, order, self.plan.layer_sizes[-1])

    @property
    def outside(self) -> bool:
        """Is the loss a function in Python?"""
        return self.plan.own is not None and self.plan.own.dtype is None

    def refuse_own(self, what: str) -> None:
        """Raise a ValueError if the loss is a function in Python: it takes whole batches, not single examples."""
        if self.outside:
            raise ValueError(f"{what} needs the cost of each example; loss is {self.plan.own}, a function of a whole "
                             "batch. A LowLevelCallable is called for each example")

    def batch(self, first: int, last: int, order: NDArray[np.int64] | None = None) -> tuple[Any, Any]:
        """(Y, w) of these examples for a loss in Python: copies, in the units of the caller."""
        if order is None:
            return self.dense[first:last].copy(), None if self.given is None else self.given[first:last].copy()
        rows = order[first:last]
        return self.dense.take(rows, axis=0), None if self.given is None else self.given.take(rows)

    @cached_property
    def given(self) -> Floats | None:
        """The weights (m,) as they were given; None without."""
        return None if self.w is None else self.w[:, 0] * self.w.dtype.type(self.scale)

    def in_units_of(self, unit: float, dtype: DTypeLike) -> Self:
        """The same examples with weights w / unit, or without weights if all become 1. Kept for the next call.

        An example without a weight has w = 1.
        """
        if self.scale == unit and (self.w is None or self._made):
            return self
        other = self._other     # another thread may want other units
        if other is None or other.scale != unit:
            w = np.ones((self.m, 1)) if self.w is None else self.w
            with np.errstate(over="ignore", under="ignore"):
                divided = np.divide(w, unit / self.scale, dtype=np.float64).astype(dtype)
            if not np.isfinite(divided).all() or (w.any() and divided.max() < np.finfo(dtype).tiny):
                raise ValueError(f"mean_weight is {unit:g}, and sample_weight divided by it leaves the range of "
                                 f"{np.dtype(dtype).name}")
            other = type(self).of(self.plan, self.X, self.dense, self.labels, None if (divided == 1).all() else divided)
            other.scale, other.counts, other._made = unit, self.counts, True
            other.given, self._other = self.given, other
        return other

    @property
    def plain(self) -> Self:
        """The same examples for a network without label smoothing. Kept for the next call."""
        if SMOOTHING not in self.plan.loss_parameters:
            return self
        other = self._plain
        if other is None:
            other = type(self).of(self.plan.plain, self.X, self.dense, self.labels, self.w)
            other.scale, other.counts, other._made = self.scale, self.counts, self._made
            self._plain = other
        return other

    def divisors(self, order: NDArray[np.int64] | None, m: int, size: int) -> Doubles | None:
        """The divisor of Delta for each batch of `size` of the m examples in `order`: the number of its examples or
        the sum of their counts. None: it equals the sum of their weights."""
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
        if self.outside:
            return self._outside(theta, Delta, n_threads)
        return sums.accumulate(self.plan, theta, self.examples(), self.m, Delta, n_threads, each)

    @property
    def is_few(self) -> bool:
        """May compiled code take all examples in one call?"""
        return not self.outside and sums.are_few(self.plan, self.m)

    def _outside(self, theta: Floats, Delta: Floats, n_threads: Count | None) -> float:
        """`accumulate` for a loss in Python."""
        assert self.plan.own is not None
        examples, m = Examples(self.X), self.m
        kept = outside.room(self.plan, m, theta.dtype) if len(Delta) else None
        z = outside.forward(self.plan, theta, examples, m, kept=kept, n_threads=n_threads)
        cost, G = self.plan.own.at(theta, z, *self.batch(0, m))
        if len(Delta):
            into = Delta if self.scale == 1 else np.zeros_like(Delta)
            outside.backward(self.plan, theta, examples, m, G, Delta=into, kept=kept, n_threads=n_threads)
            if into is not Delta:
                Delta += into / into.dtype.type(self.scale)
        return cost / self.scale

    def deltas(self, theta: Floats) -> list[Floats]:
        """[delta(2), ..., delta(L)], each (m, s_l)."""
        if not self.outside:
            return sums.trace_back(self.plan, theta, self.examples(), self.m)
        assert self.plan.own is not None
        examples = Examples(self.X)
        z = outside.forward(self.plan, theta, examples, self.m)
        G = self.plan.own.at(theta, z, *self.batch(0, self.m))[1]
        return sums.trace_back(self.plan, theta, examples, self.m, outside.back_through(self.plan, theta, examples, G))

    def few(self, theta: Floats, c: tuple[float, ...], l1: float, gradient: bool) -> Any:
        """J, or (J, D), by `sums.evaluator`; None if it does not take these examples or this theta."""
        if not self.is_few:
            return None
        few = self._few         # another thread may want another dtype
        if few is None or few[0] != theta.dtype:
            few = self._few = theta.dtype, sums.evaluator(self.plan, theta.dtype), self.examples()
        _, evaluator, examples = few
        return evaluator.of_examples(examples, self.m, self.weight, theta, c, l1, gradient)

    def products(
        self, theta: Floats, gauss_newton: bool, n_threads: Count | None = None, keep: bool = False,
    ) -> BlockProducts:
        """Sums over the examples of w H p, or of w G p, at theta; `curvature.product` turns them into products."""
        return BlockProducts(self.plan, theta, self.examples, self.m, gauss_newton, n_threads, keep)

    @cached_property
    def classes(self) -> Classes | None:
        if self.plan.own is not None:
            return classes.of_own(self.Y, self.plan)
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
        Y = self.Y.reshape(len(h), -1) if self.classes in ("binary", "one_hot") else self.Y
        if self.classes == "labels" and Y.ndim == 2:    # as a compiled loss reads them
            Y = Y[:, 0]
        return classes.right(h, Y, self.classes, classes.middle(self.plan.lowest, self.plan.highest))
