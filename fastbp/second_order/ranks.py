"""Normal equations over the rows of several ranks: one Allreduce of B'B, g and the costs."""

from typing import Any

import numpy as np

from .._types import Count, Doubles, Floats
from ..distributed.shard import Shard
from ..distributed.sum import Part, Sum
from ..engine.frozen import Mask
from ..engine.normal import NormalEquations, triangle


class RankEquations:
    """`engine.normal.NormalEquations` of all ranks; each rank makes the same calls."""

    def __init__(self, shard: Shard, free: Mask | None = None, n_threads: Count | None = None) -> None:
        group = shard.group
        n_threads = group.threads(n_threads)
        self._group = group
        self._parts = group.section(lambda: [NormalEquations(data, free, n_threads) for data in shard.parts])
        first = self._parts[0]
        self.form, self.places, self.n = first.form, first.places, first.n
        self._costs, self._all = Sum(group, 1, np.float64), Sum(group, 1 + self.n + self.n**2, np.float64)

    def costs(self, theta: Doubles) -> float:
        """The sum of w cost"""
        def of(i: int, into: Floats) -> Part:
            into[0] = self._parts[i].costs(theta)
            return Part()

        self._costs(theta, of)
        return float(self._costs.Delta[0])

    def add(self, theta: Doubles, A: Doubles, total: Doubles) -> None:
        """total (1 + n,) += (sum of w cost, g); A (n n,) += B'B, at and right of the diagonal"""
        n = self.n

        def of(i: int, into: Any) -> Part:
            into[:] = 0
            self._parts[i].add(theta, into[1 + n :], into[: 1 + n])
            return Part()

        self._all(theta, of)
        total += self._all.Delta[: 1 + n]
        A += self._all.Delta[1 + n :]

    def triangle(self, theta: Doubles) -> tuple[Doubles, Doubles]:
        """(total, R) like `NormalEquations.triangle`, from the R of all parts in their order"""
        def own() -> Doubles:
            found = [part.triangle(theta) for part in self._parts]
            tops = [np.vstack([np.append(total, 0.0)[np.newaxis], *_square(R)]) for total, R in found]
            return np.vstack([top[: self.n + 2] for top in tops])

        stack = self._group.concatenate(own).reshape(-1, self.n + 2, self.n + 2)
        R = triangle(stack[:, 1:, :-1].reshape(-1, self.n + 1))
        return stack[:, 0, :-1].sum(axis=0), R


def _square(R: Doubles) -> list[Doubles]:
    """R with zeros below and beside it: (n + 1, n + 2)"""
    whole = np.zeros((R.shape[1], R.shape[1] + 1))
    whole[: len(R), :-1] = R
    return [whole]
