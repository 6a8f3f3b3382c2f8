"""A loss in Python over the examples of all ranks: each rank calls it with z(L), Y and weights of all."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._backprop import Examples
from .._types import Count, Floats
from ..engine import outside
from ..engine.data import Data
from ..engine.own import check_unmoved, seen
from ..engine.plan import Plan
from .group import Group
from .sum import Part

KINDS = "biuf"


class Share(NamedTuple):
    """The examples first .. last - 1 of `data` in `order` (None: unshuffled) that one part brings, if any."""

    data: Data
    order: NDArray[np.int64] | None
    first: int
    last: int


class Together:
    """The examples that all ranks bring to one call of the loss. All ranks construct it together.

    Parameters
    ----------
    group : Group
    theta : (n_parameters,)
    make : callable
        Returns the plan, and a Share or None for each part of this rank; it runs in a section.
    ready : callable
        ready(i, share) is called before each pass over the share of this rank's part i.
    """

    def __init__(
        self, group: Group, theta: Floats, make: Callable[[], tuple[Plan, Sequence[Share | None]]],
        ready: Callable[[int, Share], object] = lambda i, share: None, n_threads: Count | None = None,
    ) -> None:
        self.group, self.theta, self.n_threads, self._ready = group, theta, n_threads, ready
        self._slopes: Floats | None = None

        def forward() -> Floats:
            self.plan, self.shares = make()
            z = [self._forward(i, share) for i, share in enumerate(self.shares) if share is not None]
            return np.concatenate([np.empty((0, self.plan.layer_sizes[-1]), theta.dtype), *z])

        self.z = group.concatenate(forward)
        lengths = [0 if share is None else share.last - share.first for share in self.shares]
        self._ends = np.cumsum([0, *lengths]) + self._before(sum(lengths))
        brought = [share.data.batch(share.first, share.last, share.order) for share in self.shares if share]
        self.Y = self._alike([Y for Y, _ in brought])
        weighed = group.gather(any(w is not None for _, w in brought))[:, 0].any()
        self.w = self._alike([np.ones(len(Y), theta.dtype) if w is None else w for Y, w in brought],
                             theta.dtype) if weighed else None

    def _before(self, m: int) -> int:
        """The number of examples of the ranks before this one."""
        return int(self.group.gather(m)[: self.group.rank, 0].sum())

    def _forward(self, i: int, share: Share) -> Floats:
        self._ready(i, share)
        examples, m = Examples(share.data.X, order=share.order), share.last - share.first
        return outside.forward(self.plan, self.theta, examples, m, first=share.first, n_threads=self.n_threads)

    def _alike(self, arrays: list[NDArray[Any]], dtype: Any = None) -> NDArray[Any]:
        """The rows of all ranks, in the dtype that holds them all."""

        def numbers() -> NDArray[Any]:
            mine = np.concatenate(arrays) if arrays else np.empty(0)
            if mine.dtype.kind not in KINDS or mine.itemsize > 8 or not mine.dtype.isnative:
                raise TypeError("Y must hold numbers, in native byte order, where the ranks exchange it for a loss of "
                                f"your own; it has dtype {mine.dtype}")
            return mine

        mine = self.group.section(numbers)
        told = self.group.gather(len(mine), KINDS.index(mine.dtype.kind), mine.itemsize, mine.ndim,
                                 int(np.prod(mine.shape[1:])))
        there = told[told[:, 0] > 0]
        if len(np.unique(there[:, 3:5], axis=0)) > 1:
            raise self.group.alike(ValueError("Y must have the same columns on every rank"))
        found = [np.dtype(f"{KINDS[int(kind)]}{int(size)}") for _, kind, size in there[:, :3]]
        common = np.result_type(*found) if found else mine.dtype
        return self.group.concatenate(lambda: mine.astype(common if dtype is None else dtype, copy=False))

    def bring(self, i: int, Delta: Floats) -> float:
        """Delta += the sum over this rank's share i; returns the sum of their costs.

        The first call calls the loss.
        """
        own, K = self.plan.own, self.plan.layer_sizes[-1]
        assert own is not None
        if self._slopes is None:
            z, Y, w = self.z.copy(), self.Y.copy(), None if self.w is None else self.w.copy()
            before = seen(self.theta).copy()
            self._costs, slopes = own.costs(z, Y, w)
            check_unmoved(self.theta, before)
            own.total(self._costs)
            self._slopes = own.slopes(slopes, len(self.z), K, self.theta.dtype)
        share = self.shares[i]
        if share is not None and share.last > share.first and len(Delta):
            self._ready(i, share)
            G = self._slopes[self._ends[i] : self._ends[i + 1]]
            outside.backward(self.plan, self.theta, Examples(share.data.X, order=share.order),
                             share.last - share.first, G, Delta=Delta, first=share.first, n_threads=self.n_threads)
        return own.total(self._costs[self._ends[i] : self._ends[i + 1]])

    @property
    def weight(self) -> float:
        """The sum of the weights as they were given, or the number of examples."""
        return float(len(self.z)) if self.w is None else float(self.w.sum(dtype=np.float64))


def accumulate(
    group: Group, parts: Sequence[Data], theta: Floats, total: Any, n_threads: Count | None,
) -> float:
    """total.Delta := the sum over the examples of all ranks; returns the sum of their costs."""
    together = Together(group, theta, lambda: (parts[0].plan, [Share(data, None, 0, data.m) for data in parts]),
                        n_threads=n_threads)

    def sum_of(i: int, into: Floats) -> Part:
        into[:] = 0
        return Part(together.bring(i, into), parts[i].weight)

    cost: float = total(theta, sum_of)[0]
    return cost
