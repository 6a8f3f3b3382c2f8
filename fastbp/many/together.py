"""What the ranks of a call exchange; a single process exchanges nothing."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Array, Value
from ..distributed.group import Group


class Alone:
    """One process."""

    rank, size = 0, 1

    def section(self, function: Callable[[], Value]) -> Value:
        """function() on every rank; an error on one rank is raised on all."""
        return function()

    def everyone(self, make: Callable[[], Any]) -> list[Any]:
        """make() of each rank, in their order."""
        return [make()]

    def broadcast(self, array: Array) -> Array:
        """array := the array of rank 0; returns it."""
        return array


class Ranks(Alone):
    """The ranks of a group."""

    def __init__(self, group: Group) -> None:
        self.group, self.rank, self.size = group, group.rank, group.size

    def section(self, function: Callable[[], Value]) -> Value:
        return self.group.section(function)

    def everyone(self, make: Callable[[], Any]) -> list[Any]:
        def packed() -> NDArray[np.uint8]:
            return np.frombuffer(pickle.dumps(make()), np.uint8).copy()

        stream = io.BytesIO(self.group.concatenate(packed).tobytes())
        return [pickle.load(stream) for _ in range(self.size)]

    def broadcast(self, array: Array) -> Array:
        return self.group.broadcast(array)
