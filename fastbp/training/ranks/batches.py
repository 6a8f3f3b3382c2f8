"""The batches that the parts of a rank bring to the steps of an epoch."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._backprop import Examples
from ..distributed.group import Group
from ..distributed.shard import Shard, part
from ..engine.data import Data
from ..network import Network
from . import feed
from .feed import Arrays, Stream


class Batch(NamedTuple):
    """The examples first .. last of `data` in this order (None: as they lie), `size` of them or more a step; has the
    part more to come?"""

    data: Data
    order: NDArray[np.int64] | None
    examples: Examples
    first: int
    last: int
    size: int
    more: bool

    @property
    def indices(self) -> NDArray[np.int64]:
        """Of the examples in data"""
        return np.arange(self.first, self.last) if self.order is None else self.order[self.first : self.last]


def share(batch_size: int | None, group: Group, i: int) -> int | None:
    """Examples of a batch that this rank's part i brings: equal shares, up to one; None: all it has."""
    if batch_size is None:
        return None
    return batch_size // group.parts + (group.first(i) < batch_size % group.parts)


def check_batch_size(batch_size: int | None, group: Group) -> None:
    """An example of each part, at least."""
    if batch_size is not None and batch_size < group.parts:
        raise ValueError(f"batch_size is that of all {group.parts} parts together, and must be at least {group.parts}; "
                         f"got {batch_size}")


def batches(
    pieces: Iterable[tuple[Data, NDArray[np.int64] | None]], size: int | None, m: int | None = None, skip: int = 0,
    steps: int = 1,
) -> Iterator[Batch]:
    """The Batches of an epoch of a part, `steps` times `size` examples each and less at the end of a piece.

    pieces: (data, order) as of a feed; m: examples in all, None where that is not known, and then `more` is True; skip:
    examples at the beginning that are left out.
    """
    done = 0
    for data, order in pieces:
        n = data.m if order is None else len(order)
        first, examples = min(n, max(0, skip - done)), None
        while first < n:
            own = n if size is None else size
            last = min(n, first + own * steps)
            examples = data.examples(order) if examples is None else examples
            yield Batch(data, order, examples, first, last, own, m is None or done + last < m)
            first = last
        done += n


class Lanes:
    """Where the examples of an epoch come from, on all ranks: what `feed.Arrays` and `feed.Stream` are for one.

    Parameters
    ----------
    group : Group
    feeds : list
        A feed for each part of this rank; None where a part has no examples.
    shares : list
        Examples of each part in a batch.
    window : int or None
        As it was given to `train`.

    Attributes
    ----------
    m : int or None
        Examples of all ranks in an epoch; None of chunks.
    weight : float or None
        Sum of their weights.
    brought : int
        Examples of this rank in the pieces of the epoch so far.
    """

    def __init__(
        self, group: Group, feeds: list[Arrays | Stream | None], shares: list[int | None], window: int | None,
        m: int | None = None, weight: float | None = None, nothing: Data | None = None,
    ) -> None:
        self.group, self.window, self.m, self.weight = group, window, m, weight
        self._feeds, self._shares = feeds, shares
        self._nothing = nothing     # data of no rows

    def epoch(self, rng: np.random.Generator, steps_done: int, steps: int) -> Iterator[Iterator[Batch]]:
        """The batches of the next epoch, an iterator for each part; steps_done at its beginning are left out, `steps`
        are a batch. The order of each part is drawn from a number that rng, the same on all ranks, draws."""
        key, self.brought = int(rng.integers(2**63)), 0
        for i, (source, size) in enumerate(zip(self._feeds, self._shares, strict=True)):
            pieces = () if source is None else source.pieces(np.random.default_rng([key, self.group.first(i)]))
            m = 0 if source is None else source.m
            yield batches(self._counted(pieces), size, m, 0 if size is None else steps_done * size, steps)

    def _counted(self, pieces):
        for data, order in pieces:
            self.brought += data.m if order is None else len(order)
            yield data, order

    def together(self, values: Callable[[Data, NDArray[np.int64] | None], NDArray[Any]]) -> NDArray[Any]:
        """values(data, rows) of the examples of all ranks' parts, one after the other"""
        return self.group.concatenate(lambda: np.concatenate(
            [values(each.data, each.rows) for each in self._feeds if each is not None]
            or [values(self._nothing, None)]))


def sources(
    net: Network, X: Any, Y: Any, sample_weight: Any, batch_size: int | None, shuffle: bool, window: int | None,
    split: float, validation_data: Any, rng: np.random.Generator, lam: Any, group: Group, steps: int,
    settings: dict[str, Any],
) -> tuple[Lanes, Shard | None, Shard | None]:
    """What `feed.sources` gives, for the rows that each rank has: Lanes, and Shards of what is held out and of all.

    steps: batches between two sums; settings: what else all ranks must have in common.
    """
    settings |= {**net._settings(), "init": None, "batch_size": batch_size, "shuffle": shuffle, "window": window,
                 "validation_split": split, "lam": lam, "chunks in X": Y is None,
                 "validation_data": validation_data is not None}
    held = None

    def check():
        check_batch_size(batch_size, group)
        if validation_data is not None and split:
            raise ValueError("validation_data and validation_split exclude each other; give one of them")

    group.section(check)
    group.agree("train", settings)
    if validation_data is not None:
        held = Shard(group, lambda: feed.validation(net, validation_data, shard=True), "train", settings,
                     "validation_data X")
    if Y is None:
        return _of_chunks(net, group, X, batch_size, shuffle, window, sample_weight, split, lam, steps), held, None
    shard = Shard(group, lambda: Data(net.plan, net.dtype, X, Y, sample_weight, shard=True), "train", settings)
    rows = [None] * group.own
    if split:
        key = int(rng.integers(2**63))
        divided = group.section(lambda: [
            feed.split(net, each, split, np.random.default_rng([key, group.first(i)])) if each.m
            else (each, np.arange(0)) for i, each in enumerate(shard.parts)])
        rows = [others for _, others in divided]
        held = Shard(group, lambda: [kept for kept, _ in divided], "train", settings)
    shares = [share(batch_size, group, i) for i in range(group.own)]
    feeds = group.section(lambda: [
        feed.Arrays(each, None if size is None else size * steps, shuffle, window, kept) if each.m else None
        for each, size, kept in zip(shard.parts, shares, rows, strict=True)])
    m, weight = (group.add(lambda i, name=name: getattr(feeds[i], name) if feeds[i] else 0.0)
                 for name in ("m", "weight"))
    return Lanes(group, feeds, shares, window, int(m), weight, part(shard.parts[0], 0, 0)), held, shard


def _of_chunks(net, group, X, batch_size, shuffle, window, sample_weight, split, lam, steps):
    """Each rank's own chunks, a part a rank, cut into windows of whole rounds of `steps` batches"""
    def make():
        if group.own > 1:
            raise ValueError("chunks cannot be cut into several parts a rank; parts must be the number of ranks")
        size = share(batch_size, group, 0)
        return size, feed.stream(
            net, X, None if size is None else size * steps, shuffle, window, sample_weight, split, lam, shard=True)

    size, source = group.section(make)
    return Lanes(group, [source], [size], window)
