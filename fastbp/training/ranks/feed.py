"""The examples of an epoch on several ranks, and those held out."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...distributed.group import Group, attempt
from ...distributed.shard import Shard, part
from ...engine.data import Data
from .. import feed
from ..arguments import Arguments
from ..feed import Arrays, Stream
from . import batches

NOTHING = "X yields no examples on any rank, or sample_weight is 0 in all chunks"


class Total(NamedTuple):
    """The examples of all ranks in an epoch."""

    m: int | None = None                # None for chunks
    weight: float | None = None         # sum of their weights; None for chunks
    lowest: float = 1.0                 # weights, as for `Arrays` or `Stream`
    highest: float = 1.0
    mean_weight: float | None = 1.0
    nothing: Any = None                 # data of no rows, for ranks without examples


class RankFeed:
    """The feed of several ranks, made from an `Arrays` or `Stream` for each part of this rank.

    Parameters
    ----------
    group : Group
    feeds : list
        The feed of each part; None if it has no examples.
    shares : list
        The share of each part.
    window : int or None
        As for `train`.
    total : Total
        The examples of all ranks. Its m, weight, lowest, highest and mean_weight are attributes here too.

    Attributes
    ----------
    brought : int
        Examples of this rank in the epoch so far.
    """

    def __init__(
        self, group: Group, feeds: list[Any], shares: list[int | None], window: int | None, total: Total,
    ) -> None:
        self.group, self.window, self.m, self.weight = group, window, total.m, total.weight
        self.lowest, self.highest, self.mean_weight = total.lowest, total.highest, total.mean_weight
        self._feeds, self._shares, self._nothing = feeds, shares, total.nothing

    def epoch(
        self, rng: np.random.Generator, weighed: Callable[[Data], Data], steps_done: int, steps: int,
    ) -> Iterator[Iterator[batches.Batch]]:
        """For each part, an iterator over its batches of the next epoch, each of `steps` steps.

        The first `steps_done` steps are left out. weighed: `Steps.weighed`. rng is the same on all ranks: it draws a
        key for the parts' orders.
        """
        key, self.brought = int(rng.integers(2**63)), 0
        for i, (source, size) in enumerate(zip(self._feeds, self._shares, strict=True)):
            pieces = () if source is None else source.pieces(np.random.default_rng([key, self.group.part_number(i)]))
            m = 0 if source is None else source.m
            skip = 0 if size is None else steps_done * size
            yield batches.batches(self._counted(pieces), size, weighed, m, skip, steps)

    def _counted(self, pieces: Any) -> Iterator[Any]:
        """These pieces; counts their examples."""
        for data, order in pieces:
            self.brought += data.m if order is None else len(order)
            yield data, order

    def together(self, values: Callable[[Data, NDArray[np.int64] | None], NDArray[Any]]) -> NDArray[Any]:
        """Concatenate values(data, rows) over all parts of all ranks."""
        return self.group.concatenate(lambda: np.concatenate(
            [values(each.data, each.rows) for each in self._feeds if each is not None]
            or [values(self._nothing, None)]))


def sources(
    asked: Arguments, rng: np.random.Generator, group: Group,
) -> tuple[RankFeed, Shard | None, Shard | None]:
    """(the feed, the validation, all examples: None for chunks) of all ranks, like `feed.sources`."""
    settings = _agreed(asked, group)
    held = None
    if asked.validation_data is not None:
        held = Shard(group, lambda: _held_out(asked), "train", settings, "validation_data X")
    if asked.Y is None:
        return _of_chunks(asked, group), held, None
    net, steps = asked.net, asked.sync_every or 1
    shard = Shard(group, lambda: asked.data(shard=True), "train", settings)
    rows: list[Any] = [None] * group.own
    if asked.validation_split:
        key = int(rng.integers(2**63))
        divided = group.section(lambda: [
            feed.split(net, each, asked.validation_split, np.random.default_rng([key, group.part_number(i)]), True)
            if each.m else (each, np.arange(0)) for i, each in enumerate(shard.parts)])
        rows = [others for _, others in divided]
    shares = [batches.share(asked.batch_size, group, i) for i in range(group.own)]
    feeds: list[Any] = group.section(lambda: [
        Arrays(each, None if size is None else size * steps, asked.shuffle, asked.window, kept) if each.m else None
        for each, size, kept in zip(shard.parts, shares, rows, strict=True)])
    m, weight = (group.add(partial(_of_part, feeds, name)) for name in ("m", "weight"))
    if asked.validation_split:
        kept = group.add(lambda i: divided[i][0].weight)
        _, error = attempt(partial(feed.check_split, weight > 0, kept > 0))
        if error is not None:
            raise group.alike(error)
        held = Shard(group, lambda: [each for each, _ in divided], "train", settings)
    nothing = part(shard.parts[0], 0, 0)
    there = [each for each in feeds if each]
    lowest, highest = group.gather(min((each.lowest for each in there), default=np.inf),
                                   max((each.highest for each in there), default=0.0))[:, :2].T
    least, most = float(lowest.min()), float(highest.max())
    mean = feed.mean_weight(weight / m, least, most) if shard.w else None
    return RankFeed(group, feeds, shares, asked.window, Total(int(m), weight, least, most, mean, nothing)), held, shard


def _of_part(feeds: list[Any], name: str, i: int) -> float:
    """An attribute of the feed of part i; 0 if it has no examples."""
    return getattr(feeds[i], name) if feeds[i] else 0.0


def _held_out(asked: Arguments) -> Any:
    """This rank's rows of the validation data."""
    return feed.validation(asked.net, asked.validation_data, shard=True)


def _agreed(asked: Arguments, group: Group) -> dict[str, Any]:
    """The settings that all ranks must have in common, checked."""
    settings = {
        "epochs": asked.epochs, "metrics": list(asked.functions), "sync_every": asked.sync_every,
        **asked.net.settings(), "init": None, "batch_size": asked.batch_size, "shuffle": asked.shuffle,
        "window": asked.window, "validation_split": asked.validation_split, "lam": asked.lam,
        "mean_weight": asked.mean_weight,
        "chunks in X": asked.Y is None, "validation_data": asked.validation_data is not None,
    }

    def check() -> None:
        batches.check_batch_size(asked.batch_size, group)
        if asked.validation_data is not None and asked.validation_split:
            raise ValueError("validation_data and validation_split exclude each other; give one of them")

    group.section(check)
    group.agree("train", settings)
    return settings


def _of_chunks(asked: Arguments, group: Group) -> RankFeed:
    """Each rank's own chunks, one part per rank; a window holds whole rounds of sync_every batches."""
    def make() -> tuple[int | None, Stream]:
        if group.own > 1:
            raise ValueError("chunks cannot be cut into several parts per rank; parts must be the number of ranks")
        size = batches.share(asked.batch_size, group, 0)
        return size, feed.stream(asked, True, None if size is None else size * (asked.sync_every or 1))

    size, source = group.section(make)
    return RankFeed(group, [source], [size], asked.window, Total())
