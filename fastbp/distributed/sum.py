"""The sum of a step over all ranks: one flat buffer, one Allreduce.

    Delta (n,) | cost, weight, flags, fingerprint of theta and more of rank 0 | the same of rank 1 | ...

Each rank writes its float64 numbers among zeros, so that the sum leaves them unchanged. A float32 buffer holds each
number as four whole numbers below 2^16.
"""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .._types import Doubles, Floats
from .group import Group, attempt, pair_by_pair

MORE, FAILED = 1, 2  # flags of a rank: it has more batches; it raised an error
SAMPLE = 64  # the fingerprint reads about this many values of theta


class Part(NamedTuple):
    """The numbers that one part brings to a step in addition to its Delta; more: does it have more batches?"""

    cost: float = 0.0
    weight: float = 0.0
    more: bool = False


class Sum:
    """Delta, cost and weight over all parts of a group.

    Parameters
    ----------
    group : Group
    n : int
        Length of Delta.
    dtype
        Of Delta.
    extra : int
        Further numbers of each rank.

    Attributes
    ----------
    Delta : (n,)
        The sum of the last call; the caller may write into it.
    extra : (size, extra)
        The ranks' further numbers of the last call.
    """

    def __init__(self, group: Group, n: int, dtype: DTypeLike, extra: int = 0) -> None:
        self.group, self.n, self._count = group, n, 4 + extra
        self._width = self._count * (8 // np.dtype(dtype).itemsize) ** 2    # values that hold a rank's numbers
        used = n + group.size * self._width
        self._own = np.zeros(-(-used // group.size) * group.size, dtype)    # in equal segments, one per rank
        self._all = self._own if group.size == 1 else np.empty_like(self._own)
        self._in_order = group.fixed and group.size > 1
        self._received = np.empty((group.size if self._in_order else 0, len(self._own) // group.size), dtype)
        self._others: list[NDArray[Any]] = []       # Delta of the parts that wait to be added
        self.Delta = self._all[:n]

    def __call__(
        self, theta: Floats, part: Callable[[int, Floats], Part], extra: Callable[[], Any] = lambda: (),
    ) -> tuple[float, float, bool]:
        """Sum over all parts, in a section; returns (cost, weight, does any part have more batches?).

        part(i, Delta) writes Delta (n,) of this rank's part i and returns its Part. extra() is called after them.
        """
        group, own, seen = self.group, self._own, fingerprint(theta)
        mine, error = attempt(lambda: self._parts(part, 0, group.own, own[: self.n], 0))
        numbers = np.zeros(self._count)
        if error is None:
            further, error = attempt(extra)
        if error is None:
            numbers[:4] = mine.cost, mine.weight, MORE if mine.more else 0, seen
            numbers[4:] = further
        else:
            own[: self.n], numbers[2] = 0, FAILED
        self._place(numbers)
        self._add()
        numbers = self._numbers()
        costs, weights, flags, marks = numbers[:, :4].T.tolist()
        if FAILED in flags:
            group.settle(np.array([flag == FAILED for flag in flags]), error)
        if marks.count(marks[0]) < len(marks):
            other = next(r for r, mark in enumerate(marks) if mark != marks[0])
            raise group.alike(ValueError(
                f"theta of rank {other} is not that of rank 0: something has changed it, or a setting of the optimizer "
                "on one rank, or the ranks' processors round differently"))
        self.extra = numbers[:, 4:]
        return pair_by_pair(costs), pair_by_pair(weights), MORE in flags

    def _parts(self, part: Callable[[int, Floats], Part], first: int, last: int, Delta: Floats, depth: int) -> Part:
        """Add the parts first .. last - 1, a power of two of them, in pairs; Delta := their sum."""
        if last - first == 1:
            return Part(*part(first, Delta))
        if len(self._others) == depth:
            self._others.append(np.empty_like(Delta))
        other, middle = self._others[depth], (first + last) // 2
        a = self._parts(part, first, middle, Delta, depth + 1)
        b = self._parts(part, middle, last, other, depth + 1)
        Delta += other
        return Part(a.cost + b.cost, a.weight + b.weight, a.more or b.more)

    def _place(self, numbers: Doubles) -> None:
        """Write the numbers of this rank; the places of the others stay zero."""
        places = self._own[self.n :]
        at = self.group.rank * self._width
        places[at : at + self._width] = numbers if places.itemsize == 8 else numbers.view(np.uint16)

    def _numbers(self) -> Doubles:
        """The numbers of all ranks, (size, 4 + extra)."""
        size = self.group.size
        places = self._all[self.n : self.n + size * self._width]
        if places.itemsize == 4:
            places = places.astype(np.uint16).view(np.float64)
        return places.reshape(size, self._count).copy()

    def _add(self) -> None:
        """_all := the sum of _own over the ranks."""
        comm: Any = self.group.comm
        if self.group.size == 1:
            return
        if not self._in_order:
            comm.Allreduce(self._own, self._all)
        elif hasattr(comm, "Alltoall") and hasattr(comm, "Allgather"):
            comm.Alltoall(self._own, self._received)    # segment r of all ranks goes to rank r
            comm.Allgather(pair_by_pair([*self._received]), self._all)
        else:
            gathered = np.zeros((self.group.size, len(self._own)), self._own.dtype)
            gathered[self.group.rank] = self._own
            self._all[:] = pair_by_pair(list(self.group.exchange(gathered)))


def fingerprint(theta: NDArray[Any]) -> int:
    """The CRC-32 of a sample of theta; a step changes nearly every value, so a sample shows it."""
    return zlib.crc32(theta[:: max(1, len(theta) // SAMPLE)].tobytes())
