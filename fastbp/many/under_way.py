"""The state of a long training run, copied at intervals; the file of `train_many` holds the last copy."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Arrays
from ..files import strict_json, values
from ..files.container import FormatError
from ..training.checkpoint import Checkpoint
from ..training.kept import Kept
from ..training.loop import Training

State = tuple[Arrays, dict[str, Any]]       # arrays and fields of a file of the kind "training"
DEPTH = strict_json.MAX_DEPTH + 3           # of a field, in a dict, in a list for each network


class UnderWay(Checkpoint):
    """A checkpoint in memory.

    Parameters
    ----------
    give : callable
        Called with (arrays, fields) of each copy.
    every : float
        Seconds between two copies.
    rng : numpy Generator
        The generator at the start of training.
    kept : Kept, optional
        The training run to be resumed.
    """

    def __init__(
        self, give: Callable[[State], None], every: float, rng: np.random.Generator, kept: Kept | None,
    ) -> None:
        super().__init__("", every, "seconds", rng, kept)
        self._give = give

    def begin(self, training: Training) -> None:
        self.resume(training)
        self.before_epoch(training)
        self._written = time.monotonic()

    @property
    def due(self) -> bool:
        """Is it time for a copy? Copies take at most two percent of the time."""
        return time.monotonic() - self._written >= max(self.every, self._pause)

    def after_batches(self, training: Training, batches: int) -> None:
        if training.history.stopped is None:    # else the epoch ends here
            self.after_epoch(training)

    def after_epoch(self, training: Training) -> None:
        if self.due and self._take(training):
            assert self._copy is not None
            self._give(self._copy[:2])
            self._copy, self._written = None, time.monotonic()

    def end(self, training: Training) -> None:
        """The network is finished."""

    def rescue(self, training: Training, error: BaseException) -> None:
        """The last copy is kept."""


def to_arrays(states: dict[int, State]) -> Arrays:
    """The states of these networks, by number, as arrays of a file."""
    arrays: Arrays = {}
    told = []
    for i, (own, meta) in states.items():
        for name, value in meta.items():
            strict_json.check(value, name)
        told.append([i, meta, list(own)])
        arrays |= {f"under_way.{i}.{j}": a for j, a in enumerate(own.values())}
    text = strict_json.text(told).encode()
    return {"under_way": np.frombuffer(text, np.uint8), **arrays}


def from_arrays(arrays: Arrays, n: int) -> dict[int, State]:
    """The states of networks 0 .. n - 1; their arrays are removed from `arrays`."""
    text: NDArray[Any] = arrays.pop("under_way")
    if text.dtype != np.uint8 or text.ndim != 1:
        raise FormatError("array 'under_way' must be a JSON text in bytes")
    try:
        told = strict_json.parse(text.tobytes().decode(), "under_way", depth=DEPTH)
    except UnicodeDecodeError as error:
        raise FormatError(f"under_way is not UTF-8 text: {error}") from None
    states: dict[int, State] = {}
    for each in told if isinstance(told, list) else [None]:
        if not (isinstance(each, list) and len(each) == 3 and type(each[0]) is int and 0 <= each[0] < n
                and each[0] not in states and isinstance(each[1], dict) and isinstance(each[2], list)):
            raise FormatError("under_way must hold for each network its number, fields and names of arrays")
        i, meta, names = each
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise FormatError("under_way: names of arrays must differ")
        here = [f"under_way.{i}.{j}" for j in range(len(names))]
        if any(key not in arrays for key in here):
            raise FormatError(f"under_way: arrays of network {i} are missing")
        states[i] = {name: arrays.pop(key) for name, key in zip(names, here, strict=True)}, meta
    values.nothing_left({name: a for name, a in arrays.items() if name.startswith("under_way.")})
    return states
