"""One rank's rows of data that lie on all ranks."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Count, Floats
from ..engine.data import Data
from . import group as distributed
from . import own
from .group import Group
from .sum import Part, Sum, fingerprint

KINDS = (None, "binary", "one_hot", "labels")


class Shard:
    """One rank's rows of the examples, cut into its parts. All ranks construct it together.

    Parameters
    ----------
    group : Group
    make : callable
        Returns this rank's rows as Data, possibly none, or its parts as a list of Data.
    call, settings
        The name of a function and a dict; they must be the same on all ranks.
    name : str
        The argument to name in the error if no rank has rows.

    Attributes
    ----------
    parts : list of Data
    m : int
        Examples of all ranks.
    weight : float
        m of the formulas, over all ranks.
    scale : float
        Always 1.
    classes : "labels", "one_hot", "binary" or None
        As for `Data`, over all ranks.
    labels, w : True or None
        True if the examples have labels, or if any rank has weights.
    """

    scale = 1.0

    def __init__(
        self, group: Group, make: Callable[[], Data | list[Data]], call: str, settings: Mapping[str, object],
        name: str = "X",
    ) -> None:
        def prepare() -> Any:
            data = make()
            parts = data if isinstance(data, list) else [
                part(data, first, last) for first, last in distributed.bounds(data.m, group.own)]
            weight = distributed.pair_by_pair([each.weight for each in parts])
            return parts, (sum(each.m for each in parts), weight, any(each.scale != 1 for each in parts),
                           min(kind(each) for each in parts), any(each.w is not None for each in parts))

        prepared, error = distributed.attempt(prepare)
        self.parts, told = ([], (0,) * 5) if error is not None else prepared
        everywhere = group.gather(error is not None, *told, *distributed.own_digests(call, settings))
        group.settle(everywhere[:, 0], error)
        group.agree(call, settings, everywhere[:, -2:])
        some = everywhere[everywhere[:, 1] > 0]     # the ranks that have examples
        if not len(some):
            raise group.alike(ValueError(f"{name} has 0 rows on every rank; at least one example is needed"))
        self.group, self.m = group, int(everywhere[:, 1].sum())
        self.weight = distributed.pair_by_pair(everywhere[:, 2].tolist())
        self.classes, self.w = KINDS[int(some[:, 4].min())], True if some[:, 5].any() else None
        if not self.weight:
            raise group.alike(ValueError("sample_weight must have a positive sum over all ranks"))
        if everywhere[:, 3].any():
            raise group.alike(ValueError("sample_weight must not be that extreme on several ranks; divide all by their "
                                         "mean first"))
        labels = some[:, 4] == KINDS.index("labels")
        if labels.any() and not labels.all() and self.parts[0].plan.own is None:
            raise group.alike(ValueError("Y must hold labels on every rank, or targets on every rank"))
        self.labels = True if labels.all() else None
        for each in self.parts:
            each.classes = self.classes
        self.plan = self.parts[0].plan
        self._sums: dict[Any, Sum] = {}

    def accumulate(self, theta: Floats, Delta: Floats, n_threads: Count | None = None) -> float:
        """Delta += the sum over all examples; returns the sum of their costs."""
        n_threads = self.group.threads(n_threads)
        key = len(Delta), Delta.dtype
        if key not in self._sums:
            self._sums[key] = Sum(self.group, *key)
        total = self._sums[key]
        if self.parts[0].outside:
            cost = own.accumulate(self.group, self.parts, theta, total, n_threads)
            Delta += total.Delta
            return cost

        def sum_of(i: int, into: Floats) -> Part:
            into[:] = 0
            data = self.parts[i]
            return Part(data.accumulate(theta, into, n_threads) if data.weight else 0.0, data.weight)

        cost, _, _ = total(theta, sum_of)
        Delta += total.Delta
        return cost

    def products(
        self, theta: Floats, gauss_newton: bool, n_threads: Count | None = None, keep: bool = False,
    ) -> "ShardProducts":
        """As for `Data`, over all ranks, which must all call it."""
        return ShardProducts(self, theta, gauss_newton, n_threads, keep)

    @property
    def plain(self) -> "Shard":
        """The same examples for a network without label smoothing."""
        parts = [each.plain for each in self.parts]
        if parts[0] is self.parts[0]:
            return self
        other = copy.copy(self)
        other.parts, other.plan = parts, parts[0].plan
        return other

    def few(self, theta: Floats, c: tuple[float, ...], l1: float, gradient: bool) -> None:
        """None: the ranks always sum together."""

    def accuracy(self, outputs: Callable[[Data], Floats]) -> float:
        """The fraction of all ranks' examples in the right class; outputs(data) returns h of a part."""
        right = self.group.add(lambda i: self.parts[i].right(outputs(self.parts[i])) if self.parts[i].m else 0.0)
        return right / self.weight

    def together(self, values: Callable[[Data, None], NDArray[Any]]) -> NDArray[Any]:
        """Concatenate values(data, None), one row per example, over all parts of all ranks."""
        return self.group.concatenate(lambda: np.concatenate([values(data, None) for data in self.parts]))


class ShardProducts:
    """Sums over all ranks of curvature products at one theta."""

    def __init__(self, shard: Shard, theta: Floats, gauss_newton: bool, n_threads: Count | None, keep: bool) -> None:
        n_threads = shard.group.threads(n_threads)
        self._theta, self._shard, self._sum = theta, shard, Sum(shard.group, len(theta), theta.dtype, extra=1)
        self._parts = shard.group.section(lambda: [
            data.products(theta, gauss_newton, n_threads, keep) if data.weight else None for data in shard.parts])

    def add(self, p: Floats, Delta: Floats) -> None:
        """Delta += the sum over the examples of all ranks; p must be the same on each."""
        def sum_of(i: int, into: Floats) -> Part:
            into[:] = 0
            products = self._parts[i]
            if products is not None:
                products.add(p, into)
            return Part()

        self._sum(self._theta, sum_of, lambda: fingerprint(p))
        marks = self._sum.extra[:, 0].tolist()
        if marks.count(marks[0]) < len(marks):
            other = next(r for r, mark in enumerate(marks) if mark != marks[0])
            raise self._shard.group.alike(ValueError(f"p of rank {other} is not that of rank 0"))
        Delta += self._sum.Delta


def kind(data: Data) -> int:
    """The index of the data's classes in KINDS; len(KINDS) if there are no examples."""
    return KINDS.index(data.classes) if data.m else len(KINDS)


def part(data: Data, first: int, last: int) -> Data:
    """The rows first .. last - 1 as Data of views."""
    columns: Any = [a if a is None else a[first:last] for a in (data.X, data.dense, data.labels, data.w)]
    some = Data.of(data.plan, *columns)
    some.scale = data.scale
    return some

