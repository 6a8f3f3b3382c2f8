"""The batches that the parts of a rank bring to the steps of an epoch."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._backprop import Examples
from ...distributed.group import Group
from ...engine.data import Data


class Batch(NamedTuple):
    """The examples first .. last - 1 of `data` in `order` (None: unshuffled), for one or more steps of `size` examples.

    more: does the part have more batches?
    """

    data: Data
    order: NDArray[np.int64] | None
    examples: Examples
    first: int
    last: int
    size: int
    more: bool

    @property
    def indices(self) -> NDArray[np.int64]:
        """The indices of these examples in `data`."""
        return np.arange(self.first, self.last) if self.order is None else self.order[self.first : self.last]


def share(batch_size: int | None, group: Group, i: int) -> int | None:
    """The examples that this rank's part i brings to a batch; parts differ by at most one. None: all it has."""
    if batch_size is None:
        return None
    return batch_size // group.parts + (group.part_number(i) < batch_size % group.parts)


def check_batch_size(batch_size: int | None, group: Group) -> None:
    """Check that a batch has at least one example of each part."""
    if batch_size is not None and batch_size < group.parts:
        raise ValueError(f"batch_size counts the examples of all {group.parts} parts and must be at least "
                         f"{group.parts}; got {batch_size}")


def batches(
    pieces: Iterable[tuple[Data, NDArray[np.int64] | None]], size: int | None, weighed: Callable[[Data], Data],
    m: int | None = None, skip: int = 0, steps: int = 1,
) -> Iterator[Batch]:
    """The batches of one part in an epoch: `steps` times `size` examples each, or fewer at the end of a piece.

    pieces: (data, order) of a feed. weighed: `Steps.weighed`. m: the number of examples; if it is unknown (None),
    `more` is always True.
    skip: examples left out at the beginning.
    """
    done = 0
    for piece, order in pieces:
        data = weighed(piece)
        n = data.m if order is None else len(order)
        first, examples = min(n, max(0, skip - done)), None
        while first < n:
            own = n if size is None else size
            last = min(n, first + own * steps)
            examples = data.examples(order) if examples is None else examples
            yield Batch(data, order, examples, first, last, own, m is None or done + last < m)
            first = last
        done += n
