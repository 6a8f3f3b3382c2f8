"""The types that several modules share. They annotate arguments and results."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]  # float32 or float64, as the network
Number: TypeAlias = float | np.floating[Any] | np.integer[Any]
PerLayer: TypeAlias = Number | Sequence[Number] | NDArray[np.floating[Any] | np.integer[Any]]  # or one a layer
Rate: TypeAlias = Number | Callable[[int], Number]  # or a function of the steps taken
Count: TypeAlias = int | np.integer[Any]
Flag: TypeAlias = bool | np.bool_
Seed: TypeAlias = int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | None
Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Every: TypeAlias = Count | tuple[Number, Literal["epochs", "batches", "seconds"]]  # when a checkpoint is due
Examples: TypeAlias = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None] | list[Any]
RuleName: TypeAlias = Literal["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop"]

Array = TypeVar("Array", bound=NDArray[Any])
Value = TypeVar("Value")


class Rule(Protocol):
    """What ``optimizer=`` accepts: any object with these two methods."""

    def init(self, theta: NDArray[Any], /) -> Any: ...

    def update(self, theta: NDArray[Any], D: NDArray[Any], state: Any, /) -> object: ...


class Layout(Protocol):
    """What the checks of targets and parameters ask of a Plan."""

    layer_sizes: tuple[int, ...]
    output: str
    loss: str
    lowest: float
    highest: float

    @property
    def n_parameters(self) -> int: ...


class Net(Protocol):
    """What the modules below Network ask of one."""

    @property
    def theta(self) -> NDArray[Any]: ...

    @property
    def Theta(self) -> tuple[NDArray[Any], ...]: ...


class Comm(Protocol):
    """A communicator as of mpi4py."""

    def Get_rank(self) -> int: ...

    def Get_size(self) -> int: ...

    def Allreduce(self, sendbuf: Any, recvbuf: Any, /) -> object: ...

    def Bcast(self, buf: Any, root: int = 0) -> object: ...


class Readable(Protocol):
    """An open file, or what reads like one."""

    def readinto(self, buffer: Any, /) -> int | None: ...


class Watched(Protocol):
    """What a callback sees of a training under way; docs of `fastbp.callbacks`."""

    net: Any
    trainer: Any
    history: Any
    rng: np.random.Generator
    epochs: int
    J: float
    rank: int

    @property
    def optimizer(self) -> Any: ...

    @property
    def epoch(self) -> int: ...

    def stop(self, reason: str) -> None: ...

    def pause(self, reason: str) -> None: ...
