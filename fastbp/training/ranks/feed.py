"""Where the examples of an epoch come from on several ranks, and what is held out."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...distributed.group import Group
from ...distributed.shard import Shard, part
from ...engine.data import Data
from .. import feed
from ..arguments import Arguments
from ..feed import Arrays, Stream
from . import batches


class RankFeed:
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
        self, group: Group, feeds: list[Any], shares: list[int | None], window: int | None,
        m: int | None = None, weight: float | None = None, nothing: Any = None,
    ) -> None:
        self.group, self.window, self.m, self.weight = group, window, m, weight
        self._feeds, self._shares = feeds, shares
        self._nothing = nothing     # data of no rows

    def epoch(self, rng: np.random.Generator, steps_done: int, steps: int) -> Iterator[Iterator[batches.Batch]]:
        """The batches of the next epoch, an iterator for each part; steps_done at its beginning are left out, `steps`
        are a batch. The order of each part is drawn from a number that rng, the same on all ranks, draws."""
        key, self.brought = int(rng.integers(2**63)), 0
        for i, (source, size) in enumerate(zip(self._feeds, self._shares, strict=True)):
            pieces = () if source is None else source.pieces(np.random.default_rng([key, self.group.part_number(i)]))
            m = 0 if source is None else source.m
            yield batches.batches(self._counted(pieces), size, m, 0 if size is None else steps_done * size, steps)

    def _counted(self, pieces: Any) -> Iterator[Any]:
        for data, order in pieces:
            self.brought += data.m if order is None else len(order)
            yield data, order

    def together(self, values: Callable[[Data, NDArray[np.int64] | None], NDArray[Any]]) -> NDArray[Any]:
        """values(data, rows) of the examples of all ranks' parts, one after the other"""
        return self.group.concatenate(lambda: np.concatenate(
            [values(each.data, each.rows) for each in self._feeds if each is not None]
            or [values(self._nothing, None)]))


def sources(
    asked: Arguments, rng: np.random.Generator, group: Group,
) -> tuple[RankFeed, Shard | None, Shard | None]:
    """What `feed.sources` gives, for the rows that each rank has: a RankFeed, and Shards of what is held out and of
    all."""
    settings = _agreed(asked, group)
    held = None
    if asked.validation_data is not None:
        held = Shard(group, lambda: _held_out(asked), "train", settings,
                     "validation_data X")
    if asked.Y is None:
        return _of_chunks(asked, group), held, None
    net, steps = asked.net, asked.sync_every or 1
    shard = Shard(
        group, lambda: asked.data(shard=True), "train", settings)
    rows: list[Any] = [None] * group.own
    if asked.validation_split:
        key = int(rng.integers(2**63))
        divided = group.section(lambda: [
            feed.split(net, each, asked.validation_split, np.random.default_rng([key, group.part_number(i)])) if each.m
            else (each, np.arange(0)) for i, each in enumerate(shard.parts)])
        rows = [others for _, others in divided]
        held = Shard(group, lambda: [kept for kept, _ in divided], "train", settings)
    shares = [batches.share(asked.batch_size, group, i) for i in range(group.own)]
    feeds: list[Any] = group.section(lambda: [
        Arrays(each, None if size is None else size * steps, asked.shuffle, asked.window, kept) if each.m else None
        for each, size, kept in zip(shard.parts, shares, rows, strict=True)])
    m, weight = (group.add(partial(_of_part, feeds, name)) for name in ("m", "weight"))
    nothing = part(shard.parts[0], 0, 0)
    return RankFeed(group, feeds, shares, asked.window, int(m), weight, nothing), held, shard


def _of_part(feeds: list[Any], name: str, i: int) -> float:
    """An attribute of the feed of part i; 0 where it has no examples"""
    return getattr(feeds[i], name) if feeds[i] else 0.0


def _held_out(asked: Arguments) -> Any:
    """This rank's rows of the validation data"""
    return feed.validation(asked.net, asked.validation_data, shard=True)


def _agreed(asked: Arguments, group: Group) -> dict[str, Any]:
    """What all ranks must have in common, once they have"""
    settings = {
        "epochs": asked.epochs, "metrics": list(asked.functions), "sync_every": asked.sync_every,
        **asked.net.settings(), "init": None, "batch_size": asked.batch_size, "shuffle": asked.shuffle,
        "window": asked.window, "validation_split": asked.validation_split, "lam": asked.lam,
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
    """Each rank's own chunks, a part a rank, cut into windows of whole rounds of sync_every batches"""
    def make() -> tuple[int | None, Stream]:
        if group.own > 1:
            raise ValueError("chunks cannot be cut into several parts a rank; parts must be the number of ranks")
        size = batches.share(asked.batch_size, group, 0)
        return size, feed.stream(asked, True, None if size is None else size * (asked.sync_every or 1))

    size, source = group.section(make)
    return RankFeed(group, [source], [size], asked.window)
