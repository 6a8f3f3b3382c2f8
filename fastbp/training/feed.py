"""Where the examples of an epoch come from, and in which order: arrays, or chunks of what does not fit into memory.

A feed yields (data, order) pieces of an epoch, each but the last a whole number of batches: the steps are the same
ones, cut into calls.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Examples
from ..engine.data import Data
from ..network import Network
from .arguments import Arguments

Columns = tuple[Any, ...]  # X, dense targets, labels, weights: arrays, or None where there is none

WINDOW = 8192  # examples of a window of chunks, unless the caller says otherwise
PIECE = 2**16  # examples whose order is drawn at a time, or one window


class Arrays:
    """The examples `rows` of data (None: all of them); shuffled whole, or within windows of so many.

    Attributes
    ----------
    m : int
        Examples in an epoch.
    weight : float
        Sum of their weights.
    """

    def __init__(
        self, data: Data, batch_size: int | None, shuffle: bool, window: int | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.data, self.rows, self.shuffle = data, rows, shuffle
        self.m = data.m if rows is None else len(rows)
        self.weight = float(self.m) if data.w is None else float(data.w[slice(None) if rows is None else rows].sum(
            dtype=np.float64)) * data.scale
        batch_size = self.m if batch_size is None else min(batch_size, self.m)
        self.window = self.m if window is None else _whole(window, batch_size)

    def pieces(self, rng: np.random.Generator) -> Iterator[tuple[Data, NDArray[np.int64] | None]]:
        """(data, order) of the next epoch"""
        if not self.shuffle:
            yield self.data, self.rows
            return
        piece = self.window * max(1, PIECE // self.window)
        for begin in range(0, self.m, piece):
            end = min(begin + piece, self.m)
            order = np.empty(end - begin, np.int64)
            for first in range(begin, end, self.window):
                last = min(first + self.window, end)
                order[first - begin : last - begin] = first + rng.permutation(last - first)
            yield self.data, order if self.rows is None else self.rows[order]


class Stream:
    """Chunks (X, Y) or (X, Y, sample_weight) from an iterable, or from what a function returns, anew each epoch.

    Windows are put together from them: views where a chunk holds one whole, else copies, so that a source may write
    its next chunk over the last. One window is held, and one chunk. A shard, other ranks having theirs, may have none.
    """

    m = weight = None

    def __init__(
        self, net: Network, source: Iterable[Any] | Callable[[], Iterable[Any]], batch_size: int, shuffle: bool,
        window: int | None = None, shard: bool = False,
    ) -> None:
        self.net, self.source, self.shuffle, self.shard = net, source, shuffle, shard
        self.window = _whole(WINDOW if window is None else window, batch_size)

    def pieces(self, rng: np.random.Generator) -> Iterator[tuple[Data, NDArray[np.int64] | None]]:
        """(data, order) of the next epoch"""
        for window in self._windows():
            data = Data.of(self.net.plan, *window)
            order = rng.permutation(data.m) if self.shuffle else None
            if data.weight:
                yield data, order

    def _windows(self):
        """Windows (X, dense, labels, w), checked already, each written over the last; the last one a shorter one"""
        held: Columns = (None,) * 4
        filled = 0
        for part in self._chunks():
            at, m = 0, len(part[0])
            while at < m:
                n = min(self.window - filled, m - at)
                if n == self.window:
                    yield _cut(part, at, at + n)
                else:
                    held = tuple(self._room(a, filled, filled + n, b) for a, b in zip(held, part, strict=True))
                    for a, b in zip(held, part, strict=True):
                        if b is not None:
                            a[filled : filled + n] = b[at : at + n]
                    filled += n
                    if filled == self.window:
                        yield held
                        filled = 0
                at += n
        if filled:
            yield _cut(held, 0, filled)

    def _room(self, held, filled, rows, like):
        """held, or a copy, at least so long and of a dtype that holds the rows of `like` too; None for None"""
        if like is None:
            return None
        dtype = like.dtype if held is None else np.promote_types(held.dtype, like.dtype)
        if held is not None and len(held) >= rows and held.dtype == dtype:
            return held
        length = self.window    # halved: growing from half, never more than one window is written to
        while length > rows and (length + 1) // 2 >= rows:
            length = (length + 1) // 2
        room = np.empty((length, *like.shape[1:]), dtype)
        if filled:
            room[:filled] = held[:filled]
        return room

    def _chunks(self):
        """The chunks, checked"""
        kind, i, source = None, -1, self.source() if callable(self.source) else self.source
        if not hasattr(source, "__iter__"):
            raise TypeError(f"X must return an iterator of chunks (X, Y); it returned {source!r}")
        for i, chunk in enumerate(source):
            if not isinstance(chunk, (tuple, list)) or len(chunk) not in (2, 3):
                raise TypeError(f"chunk {i} must be (X, Y) or (X, Y, sample_weight); got {type(chunk).__name__}")
            names = [f"{name} of chunk {i}" for name in ("X", "Y", "sample_weight")]
            data = Data(self.net.plan, self.net.dtype, *chunk, names=names, shard=self.shard)   # type: ignore[misc]
            if data.scale != 1:
                raise ValueError(f"sample_weight of chunk {i} must not be that extreme; divide all by their mean first")
            part = (data.X, data.dense, data.labels, data.w)
            present = [a is not None for a in part]
            if kind not in (None, present):
                raise ValueError(f"chunk {i} must have labels, targets and weights as the chunks before it have them")
            kind = present
            yield part
        if i < 0 and not self.shard:
            raise ValueError("X yields no chunks; it must be iterable anew each epoch: pass a function that returns an "
                             "iterator, or an object with __iter__")


def stream(asked: Arguments, shard: bool = False, batch_size: int | None = None) -> Stream:
    """A feed of chunks; what needs all examples at once is refused.

    batch_size: of this part of a batch, where other ranks have the others.
    """
    X = asked.X
    if not callable(X) and (not hasattr(X, "__iter__") or isinstance(X, np.ndarray) or iter(X) is X):
        raise TypeError("Y may be left out only where X is an iterable of chunks (X, Y) that can be gone through anew "
                        f"each epoch, or a function that returns an iterator of them; got {type(X).__name__}")
    if asked.batch_size is None:
        raise ValueError("batch_size must be a number where X yields chunks")
    instead = {"sample_weight": "chunks (X, Y, sample_weight)", "validation_split": "validation_data",
               "lam": "weight_decay"}
    given = asked.sample_weight is not None, asked.validation_split, asked.lam is not None
    for name, is_given in zip(instead, given, strict=True):
        if is_given:
            raise ValueError(f"{name} needs all examples at once; with chunks give {instead[name]}")
    size = asked.batch_size if batch_size is None else batch_size
    return Stream(asked.net, X, size, asked.shuffle, asked.window, shard)


def split(net: Network, data: Data, share: float, rng: np.random.Generator) -> tuple[Data, NDArray[np.int64]]:
    """(the examples kept for validation as data, the indices of the others)"""
    order, kept = rng.permutation(data.m), round(share * data.m)
    if not 0 < kept < data.m:
        raise ValueError(f"validation_split {share:g} of {data.m} examples leaves nothing to "
                         f"{'train on' if kept else 'validate with'}")
    held, rest = np.sort(order[:kept]), np.sort(order[kept:])
    w = None if data.w is None else data.w[held, 0] * data.scale
    return net.data(data.X[held], data.Y[held], w), rest


def validation(net: Network, validation_data: Examples | None, shard: bool = False) -> Data | None:
    """validation_data as Data, a share of them where other ranks have more; None where there is none"""
    if validation_data is None:
        return None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError(
            f"validation_data must be (X, Y) or (X, Y, sample_weight); got {type(validation_data).__name__}"
        )
    names = [f"validation_data {name}" for name in ("X", "Y", "sample_weight")]
    return Data(net.plan, net.dtype, *validation_data, names=names, shard=shard)   # type: ignore[misc]


def sources(asked: Arguments, rng: np.random.Generator) -> tuple[Arrays | Stream, Data | None, Data | None]:
    """(the feed, the validation, all examples: None of chunks)"""
    net, share = asked.net, asked.validation_split
    held = validation(net, asked.validation_data)
    if held is not None and share:
        raise ValueError("validation_data and validation_split exclude each other; give one of them")
    if asked.Y is None:
        return stream(asked), held, None
    data, chosen = asked.data(shard=False), None
    if share:
        held, chosen = split(net, data, share, rng)
    return Arrays(data, asked.batch_size, asked.shuffle, asked.window, chosen), held, data


def _whole(window: int, batch_size: int) -> int:
    """window, rounded up to whole batches"""
    return -(-window // batch_size) * batch_size


def _cut(part: Columns, first: int, last: int) -> Columns:
    return tuple(a if a is None else a[first:last] for a in part)
