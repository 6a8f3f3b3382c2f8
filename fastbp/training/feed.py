"""The examples of an epoch and their order: from arrays, or from chunks of data larger than memory.

A feed yields the pieces (data, order) of an epoch. Each but the last holds whole batches, so that the pieces do not
change the steps.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _epoch
from .._types import Examples
from ..engine.data import Data
from ..network import Network
from .arguments import Arguments

Columns = tuple[Any, ...]  # X, dense targets, labels, weights: arrays or None

WINDOW = 8192  # examples in a window of chunks by default
PIECE = 2**16  # the order is drawn for this many examples at a time, or for one window if that is larger


class Arrays:
    """The examples `rows` of data (None: all), shuffled as a whole or within windows.

    Attributes
    ----------
    m : int
        Examples in an epoch.
    weight : float
        Sum of their weights.
    lowest, highest : float
        The smallest and the largest weight.
    mean_weight : float or None
        The mean weight of all examples; None without weights, or if all of them are 0.
    """

    def __init__(
        self, data: Data, batch_size: int | None, shuffle: bool, window: int | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.data, self.rows, self.shuffle = data, rows, shuffle
        self.m = data.m if rows is None else len(rows)
        self.weight, self.lowest, self.highest, self.mean_weight = float(self.m), 1.0, 1.0, None
        if data.w is not None:
            w = data.w if rows is None else data.w[rows]
            total = float(w.sum(dtype=np.float64))
            self.weight = total * data.scale
            self.lowest, self.highest = float(w.min()) * data.scale, float(w.max()) * data.scale
            self.mean_weight = mean_weight(total / self.m * data.scale, self.lowest, self.highest)
        batch_size = self.m if batch_size is None else min(batch_size, self.m)
        self.window = self.m if window is None else _whole(window, batch_size)

    def pieces(self, rng: np.random.Generator) -> Iterator[tuple[Data, NDArray[np.int64] | None]]:
        """(data, order) of the next epoch."""
        if not self.shuffle:
            yield self.data, self.rows
            return
        if self.window == self.m <= PIECE:
            order = permutation(rng, self.m)
            yield self.data, order if self.rows is None else self.rows[order]
            return
        piece = self.window * max(1, PIECE // self.window)
        for begin in range(0, self.m, piece):
            end = min(begin + piece, self.m)
            order = np.empty(end - begin, np.int64)
            for first in range(begin, end, self.window):
                last = min(first + self.window, end)
                order[first - begin : last - begin] = first + permutation(rng, last - first)
            yield self.data, order if self.rows is None else self.rows[order]


class Stream:
    """Chunks (X, Y) or (X, Y, sample_weight), in each epoch from the same iterable or from a function that returns one.

    They are cut and joined into windows. A window within one chunk is a view, any other is a copy, so that a source may
    overwrite its last chunk with the next. Memory holds one window and one chunk. The shard of a rank may have no
    chunks.
    """

    m = weight = None
    lowest = highest = mean_weight = 1.0    # the mean is unknown

    def __init__(
        self, net: Network, source: Iterable[Any] | Callable[[], Iterable[Any]], batch_size: int, shuffle: bool,
        window: int | None = None, shard: bool = False,
    ) -> None:
        self.net, self.source, self.shuffle, self.shard = net, source, shuffle, shard
        self.window = _whole(WINDOW if window is None else window, batch_size)

    def pieces(self, rng: np.random.Generator) -> Iterator[tuple[Data, NDArray[np.int64] | None]]:
        """(data, order) of the next epoch."""
        examples, weight = 0, 0.0
        for window in self._windows():
            data = Data.of(self.net.plan, *window)
            examples, weight = examples + data.m, weight + data.weight
            yield data, permutation(rng, data.m) if self.shuffle else None
        if not weight and not self.shard:
            raise ValueError("sample_weight of chunk 0 and of all others is 0" if examples else "X yields no examples")

    def _windows(self) -> Iterator[Columns]:
        """The windows (X, dense, labels, w), each overwriting the one before; the last may be shorter."""
        held: Columns = (None,) * 4
        filled = 0
        for chunk in self._chunks():
            at, m = 0, len(chunk[0])
            while at < m:
                n = min(self.window - filled, m - at)
                if n == self.window:
                    yield _cut(chunk, at, at + n)
                else:
                    held = tuple(self._room(a, filled, filled + n, b) for a, b in zip(held, chunk, strict=True))
                    for a, b in zip(held, chunk, strict=True):
                        if b is not None:
                            a[filled : filled + n] = b[at : at + n]
                    filled += n
                    if filled == self.window:
                        yield held
                        filled = 0
                at += n
        if filled:
            yield _cut(held, 0, filled)

    def _room(self, held: Any, filled: int, n: int, like: Any) -> Any:
        """Room for n rows: `held`, or a longer copy, whose dtype holds the values of `like` too; None for None."""
        if like is None:
            return None
        dtype = like.dtype if held is None else np.promote_types(held.dtype, like.dtype)
        if held is not None and len(held) >= n and held.dtype == dtype:
            return held
        length = self.window    # halved, so that growing never writes to more than one window
        while length > n and (length + 1) // 2 >= n:
            length = (length + 1) // 2
        room: NDArray[Any] = np.empty((length, *like.shape[1:]), dtype)
        if filled:
            room[:filled] = held[:filled]
        return room

    def _chunks(self) -> Iterator[Columns]:
        """The chunks, checked."""
        kind, i, source = None, -1, self.source() if callable(self.source) else self.source
        if not hasattr(source, "__iter__"):
            raise TypeError(f"X must return an iterator of chunks (X, Y); it returned {source!r}")
        for i, chunk in enumerate(source):
            if not isinstance(chunk, (tuple, list)) or len(chunk) not in (2, 3):
                raise TypeError(f"chunk {i} must be (X, Y) or (X, Y, sample_weight); got {type(chunk).__name__}")
            names = [f"{name} of chunk {i}" for name in ("X", "Y", "sample_weight")]
            data = Data(self.net.plan, self.net.dtype, *chunk, names=names, shard=True)     # type: ignore[misc]
            if not data.m:
                continue
            if data.scale != 1:
                raise ValueError(f"sample_weight of chunk {i} must not be that extreme; divide all by their mean first")
            columns = (data.X, data.dense, data.labels, data.w)
            present = [a is not None for a in columns]
            if kind not in (None, present):
                raise ValueError(f"chunk {i} must have labels or targets, and weights or none, like those before it")
            kind = present
            yield columns
        if i < 0 and not self.shard:
            raise ValueError("X yields no chunks; it must be iterable in every epoch: pass a function that returns "
                             "an iterator, or an object with __iter__")


def permutation(rng: np.random.Generator, m: int) -> NDArray[np.int64]:
    """rng.permutation(m), the same bits in less time."""
    if type(rng) is not np.random.Generator or m >= 2**31:
        return rng.permutation(m).astype(np.int64, copy=False)
    order = np.empty(m, np.int64)
    _epoch.permutation(rng.bit_generator, order)
    return order


def stream(asked: Arguments, shard: bool = False, batch_size: int | None = None) -> Stream:
    """A feed of chunks; arguments that need all examples at once are refused.

    batch_size: a window holds a multiple of it; None: that of the arguments.
    """
    X = asked.X
    if not callable(X) and (not hasattr(X, "__iter__") or isinstance(X, np.ndarray) or iter(X) is X):
        raise TypeError("without Y, X must be an iterable of chunks (X, Y) that restarts in each epoch, or a function "
                        f"that returns an iterator of them; got {type(X).__name__}")
    if asked.batch_size is None:
        raise ValueError("batch_size must be a number where X yields chunks; got None")
    instead = {"sample_weight": "chunks (X, Y, sample_weight)", "validation_split": "validation_data",
               "lam": "weight_decay"}
    given = asked.sample_weight is not None, asked.validation_split, asked.lam is not None
    for name, is_given in zip(instead, given, strict=True):
        if is_given:
            raise ValueError(f"{name} needs all examples at once; with chunks give {instead[name]}")
    size = asked.batch_size if batch_size is None else batch_size
    return Stream(asked.net, X, size, asked.shuffle, asked.window, shard)


def split(
    net: Network, data: Data, fraction: float, rng: np.random.Generator, shard: bool = False,
) -> tuple[Data, NDArray[np.int64]]:
    """(the examples held out for validation, the indices of the others); shard: data of one of several ranks, whose
    weights may all be 0."""
    order, kept = rng.permutation(data.m), round(fraction * data.m)
    if not 0 < kept < data.m:
        raise ValueError(f"validation_split {fraction:g} of {data.m} examples leaves nothing to "
                         f"{'train on' if kept else 'validate with'}")
    held, rest = np.sort(order[:kept]), np.sort(order[kept:])
    if data.w is None:
        return net.data(data.X[held], data.Y[held]), rest
    if not shard:
        check_split(bool(data.w[rest].any()), bool(data.w[held].any()))
    w = data.w[held, 0] * data.scale
    return Data(net.plan, net.dtype, data.X[held], data.Y[held], w, shard=shard), rest


def check_split(trains: bool, validates: bool) -> None:
    """Raise a ValueError if validation_split leaves no weight to train on, or to validate with."""
    if not (trains and validates):
        raise ValueError("validation_split leaves only examples whose sample_weight is 0 to "
                         f"{'validate with' if trains else 'train on'}")


def validation(net: Network, validation_data: Examples | None, shard: bool = False) -> Data | None:
    """validation_data as Data, or None; shard: they are one rank's rows, possibly none."""
    if validation_data is None:
        return None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError(
            f"validation_data must be (X, Y) or (X, Y, sample_weight); got {type(validation_data).__name__}"
        )
    names = [f"validation_data {name}" for name in ("X", "Y", "sample_weight")]
    return Data(net.plan, net.dtype, *validation_data, names=names, shard=shard)   # type: ignore[misc]


def sources(asked: Arguments, rng: np.random.Generator) -> tuple[Arrays | Stream, Data | None, Data | None]:
    """(the feed, the validation, all examples: None for chunks)."""
    net, fraction = asked.net, asked.validation_split
    held = validation(net, asked.validation_data)
    if held is not None and fraction:
        raise ValueError("validation_data and validation_split exclude each other; give one of them")
    if asked.Y is None:
        return stream(asked), held, None
    data, chosen = asked.data(shard=False), None
    if fraction:
        held, chosen = split(net, data, fraction, rng)
    return Arrays(data, asked.batch_size, asked.shuffle, asked.window, chosen), held, data


def mean_weight(mean: float, lowest: float, highest: float) -> float | None:
    """The mean of weights, without its rounding error if they are equal; None if it is 0."""
    return (lowest if lowest == highest else mean) or None


def _whole(window: int, batch_size: int) -> int:
    """window, rounded up to whole batches."""
    return -(-window // batch_size) * batch_size


def _cut(columns: Columns, first: int, last: int) -> Columns:
    """Rows first .. last - 1 of each column, as views."""
    return tuple(a if a is None else a[first:last] for a in columns)
