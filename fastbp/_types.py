"""The types that several modules share. They annotate arguments and results."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]  # float32 or float64, like the network
Doubles: TypeAlias = NDArray[np.float64]
Number: TypeAlias = float | np.floating[Any] | np.integer[Any]
PerLayer: TypeAlias = Number | Sequence[Number] | NDArray[np.floating[Any] | np.integer[Any]]  # or one per layer
Rate: TypeAlias = Number | Callable[[int], Number]  # or a function of the steps taken
Free: TypeAlias = NDArray[np.bool_] | Sequence[int | np.integer[Any]]  # a mask like theta, or layer numbers
Loss: TypeAlias = str | Callable[..., Any] | tuple[Any, ...]  # tuple: a scipy.LowLevelCallable
Factors: TypeAlias = Mapping[str, Number] | Sequence[Any] | NDArray[Any]  # for all Theta, or one entry for each
Count: TypeAlias = int | np.integer[Any]
Flag: TypeAlias = bool | np.bool_
Seed: TypeAlias = int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | None
Start: TypeAlias = str | NDArray[Any] | list[Any] | tuple[Any, ...]  # the name of a scheme, or start values
Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Every: TypeAlias = Count | tuple[Number, Literal["epochs", "batches", "seconds"]]  # when a checkpoint is due
Examples: TypeAlias = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None] | list[Any]
RuleName: TypeAlias = str  # a key of optimizers.NAMED
State: TypeAlias = dict[str, Any]  # numbers, strings, None, arrays, and lists, tuples and dicts of them
Arrays: TypeAlias = dict[str, NDArray[Any]]  # the arrays of a file
Rows: TypeAlias = NDArray[np.int64]  # indices of examples
Classes: TypeAlias = Literal["labels", "one_hot", "binary"]  # how Y names classes: fastbp.engine.classes

Array = TypeVar("Array", bound=NDArray[Any])
Scalar = TypeVar("Scalar", bound=np.generic)
Value = TypeVar("Value")


class Rule(Protocol):
    """``optimizer=`` accepts any object with these two methods."""

    def init(self, theta: NDArray[Any], /) -> Any: ...

    def update(self, theta: NDArray[Any], D: NDArray[Any], state: Any, /) -> object: ...


class Metric(Protocol):
    """A metric of outputs h, targets Y and weights."""

    __name__: str

    def __call__(self, h: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None) -> float: ...


class Course(Protocol):
    """A `History`."""

    J: list[float]
    val_J: Any

    def __len__(self) -> int: ...

    @property
    def columns(self) -> dict[str, list[float]]: ...


class Layout(Protocol):
    """The part of a `Plan` that checks and penalties use."""

    code: NDArray[np.int64]
    layer_sizes: tuple[int, ...]
    output: str
    loss: str
    lowest: float
    highest: float

    @property
    def n_parameters(self) -> int: ...

    def views(self, theta: NDArray[Scalar]) -> tuple[NDArray[Scalar], ...]: ...


class Sum(Protocol):
    """J and D are means over these examples: `Data`, or the `Shard` of one rank."""

    @property
    def plan(self) -> Layout: ...

    @property
    def weight(self) -> float: ...

    def accumulate(self, theta: Floats, Delta: Floats, n_threads: Count | None = None) -> float: ...

    def few(self, theta: Floats, c: tuple[float, ...], l1: float, gradient: bool) -> Any: ...

    def products(
        self, theta: Floats, gauss_newton: bool, n_threads: Count | None = None, keep: bool = False,
    ) -> "Products": ...


class Products(Protocol):
    """Sums over the examples of curvature products at one theta."""

    def add(self, p: Floats, Delta: Floats) -> None: ...


class Net(Protocol):
    """The part of a `Network` that the engine uses."""

    @property
    def theta(self) -> NDArray[Any]: ...

    @property
    def Theta(self) -> tuple[NDArray[Any], ...]: ...


class Comm(Protocol):
    """A communicator of mpi4py, or an object with these methods."""

    def Get_rank(self) -> int: ...

    def Get_size(self) -> int: ...

    def Allreduce(self, sendbuf: Any, recvbuf: Any, /) -> object: ...

    def Bcast(self, buf: Any, root: int = 0) -> object: ...


class Library(Protocol):
    """threadpoolctl's controller of a BLAS."""

    internal_api: str
    version: str | None
    filepath: str

    def get_num_threads(self) -> int: ...

    def set_num_threads(self, num_threads: int) -> object: ...


class Readable(Protocol):
    """An open binary file."""

    def readinto(self, buffer: Any, /) -> int | None: ...


class Watched(Protocol):
    """The running training that a callback receives; see `fastbp.callbacks`."""

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
