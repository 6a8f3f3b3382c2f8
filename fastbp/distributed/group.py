"""Ranks that train together: processes under `mpiexec`, each with its own rows.

Each rank works in sections. A section ends in one collective call that all ranks make, so that an error inside it on
one rank is raised on all. fastbp never imports mpi4py: a communicator is any object with the methods Get_rank,
Get_size, Allreduce and Bcast on NumPy arrays.
"""

import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from .._types import Array, Comm, Count, Value
from ..config import __version__
from ..engine import checks, threads
from .describe import digest

COMMON = {"fastbp": __version__, "numpy": np.__version__, "instruction set": _kernels.isa}  # equal bits need the same
HEARD = 0.3  # seconds in which mpiexec passes on printed text; it drops the rest when a rank aborts
SLOTS = 8  # numbers of a rank in a small message; the size is fixed, so that any two small messages match


class RankError(RuntimeError):
    """Another rank failed: `rank` is its number, the message says how.

    Attributes
    ----------
    rank : int or None
        The number of the rank that failed.

    See Also
    --------
    fastbp.train

    Examples
    --------
    >>> from fastbp.distributed import RankError
    >>> RankError("rank 1 of 4 failed: ValueError: ...", 1).rank
    1
    """

    def __init__(self, message: str, rank: int | None = None) -> None:
        super().__init__(message)
        self.rank = rank


class Group:
    """The ranks of a communicator, and how their sums are added.

    Parameters
    ----------
    comm : communicator
        Of mpi4py, for instance ``MPI.COMM_WORLD``.
    parts : int, optional
        Makes results independent of the number of ranks: 1, 2 and 4 ranks with parts=4 give the same bits. The rows
        are cut into this many parts, and each rank holds equally many of them. Sums over the parts are added pair by
        pair in one fixed order. It must be the number of ranks times a power of two. None: one part per rank, and the
        communicator's own order of addition.

    Attributes
    ----------
    rank, size : int
    parts, own : int
        The number of parts, and how many of them each rank holds.

    See Also
    --------
    rows, fastbp.train

    Examples
    --------
    >>> from fastbp import distributed
    >>> class Alone:                            # in place of mpi4py's MPI.COMM_SELF
    ...     def Get_rank(self): return 0
    ...     def Get_size(self): return 1
    ...     def Allreduce(self, mine, total): total[:] = mine
    ...     def Bcast(self, array, root=0): pass
    >>> group = distributed.Group(Alone(), parts=4)
    >>> group.rank, group.size, group.parts
    (0, 1, 4)
    """

    def __init__(self, comm: Comm, parts: int | None = None) -> None:
        self.comm, (self.rank, self.size) = comm, _place(comm)
        self.fixed = parts is not None
        self._raised: BaseException | None = None       # the error that every rank knows of
        count, error = attempt(lambda: self.size if parts is None else checks.count(parts, "parts"))
        bound_to = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        place = digest((socket.gethostname(), bound_to))
        everywhere = self.gather(place, 0 if error is not None else count, error is not None)
        self.settle(everywhere[:, 2], error)
        self.parts, self.own = count, count // self.size
        self._crowd = int((everywhere[:, 0] == place).sum())    # ranks on the same processors
        if self.parts % self.size or self.own & (self.own - 1) or not self.own:
            raise ValueError(f"parts must be the number of ranks ({self.size}) times a power of two; got {parts}")
        if len(set(everywhere[:, 1])) > 1:
            raise ValueError(f"parts must be the same on all ranks; it is {everywhere[:, 1].astype(int).tolist()}")

    def threads(self, n_threads: Count | None) -> Count:
        """n_threads; for None the number of processors for each rank."""
        return max(1, threads.cores() // self._crowd) if n_threads is None else n_threads

    def part_number(self, i: int = 0) -> int:
        """The number of this rank's part i among all parts."""
        return self.rank * self.own + i

    def gather(self, *values: float) -> NDArray[np.float64]:
        """(size, SLOTS): up to SLOTS float64 of each rank, bit for bit, then zeros."""
        mine = np.zeros((self.size, SLOTS))
        mine[self.rank, : len(values)] = values
        return self.exchange(mine)

    def exchange(self, mine: Array) -> Array:
        """The sum over the ranks of arrays, each zero except where its rank writes; as integers, so no bit changes."""
        total = np.empty_like(mine)
        self.comm.Allreduce(mine.view(f"i{mine.itemsize}"), total.view(f"i{mine.itemsize}"))
        return total

    def section(self, function: Callable[[], Value]) -> Value:
        """function() on every rank; an error on one rank is raised on all."""
        result, error = attempt(function)
        self.settle(self.gather(error is not None)[:, 0], error)
        return result

    def add(self, value: Callable[[int], float]) -> float:
        """Sum value(i) over all parts in their fixed order, in a section; i is one of this rank's parts."""
        mine, error = attempt(lambda: float(pair_by_pair([value(i) for i in range(self.own)])))
        told = self.gather(error is not None, 0.0 if error is not None else mine)
        self.settle(told[:, 0], error)
        return pair_by_pair(told[:, 1].tolist())

    def concatenate(self, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Concatenate make() of all ranks, in a section; arrays that have rows agree in dtype and columns."""
        mine, error = attempt(lambda: np.ascontiguousarray(make()))
        sizes = self.gather(error is not None, 0 if error is not None else len(mine))
        self.settle(sizes[:, 0], error)
        ends = np.cumsum(sizes[:, 1]).astype(int)
        if not sizes[:, 1].all():   # a rank without rows cannot know their shape
            form = self.tell(int(sizes[:, 1].argmax()), " ".join(map(str, (mine.dtype.str, *mine.shape[1:]))))
            dtype, *columns = form.split()
            mine = mine if len(mine) else np.empty((0, *map(int, columns)), dtype)
        whole = np.zeros((ends[-1], *mine.shape[1:]), mine.dtype)
        whole[ends[self.rank] - len(mine) : ends[self.rank]] = mine
        return self.exchange(whole)

    def agreed(self, *reasons: str | None) -> tuple[str | None, ...]:
        """For each reason the text of the first rank that has one, or None."""
        told = self.gather(*(reason is not None for reason in reasons))
        return tuple(self.tell(int(told[:, i].argmax()), reason) if told[:, i].any() else None
                     for i, reason in enumerate(reasons))

    def first_of(self, *values: Any) -> tuple[Any, ...]:
        """The values of rank 0; the other ranks receive copies."""
        raw, error = attempt(lambda: pickle.dumps(values) if self.rank == 0 else b"")
        self.section(lambda: reraise(error))
        length = self.broadcast(np.array([len(raw)], np.int64))
        raw = self.broadcast(np.frombuffer(raw.ljust(int(length[0])), np.uint8).copy())
        return values if self.rank == 0 else pickle.loads(raw.tobytes())

    def broadcast(self, array: Array) -> Array:
        """array := the array of rank 0; returns it."""
        self.comm.Bcast(array, root=0)
        return array

    def tell(self, root: int, text: str | None) -> str:
        """The text of rank `root`."""
        raw = (text or "").encode(errors="replace") if self.rank == root else b""
        length = np.array([len(raw)], np.int64)
        self.comm.Bcast(length, root=root)
        buffer = np.frombuffer(raw.ljust(int(length[0])), np.uint8).copy()
        self.comm.Bcast(buffer, root=root)
        return buffer.tobytes().decode(errors="replace")

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        """The same generator on all ranks, seeded by a number that the rng of rank 0 draws."""
        return np.random.default_rng(int(self.broadcast(np.array([rng.integers(2**63)], np.int64))[0]))

    def any_of(self, flags: Mapping[str, bool]) -> dict[str, bool]:
        """{name: is the flag True on any rank?} for up to SLOTS flags, whose names are the same on all ranks."""
        told = self.gather(*flags.values())
        return {name: bool(told[:, i].any()) for i, name in enumerate(flags)}

    def unchanged(self, theta: NDArray[Any]) -> None:
        """Raise a ValueError on every rank if the last callbacks changed theta on some ranks only."""
        if len(set(self.gather(digest(theta))[:, 0])) > 1:
            raise self.alike(ValueError("theta differs between the ranks: a callback that changes it must be given on "
                                        "all of them"))

    def settle(self, failed: NDArray[Any], error: BaseException | None) -> None:
        """Raise on all ranks if one failed, as a collective call has told all of them."""
        failed = np.flatnonzero(failed)
        if not len(failed):
            return
        first = int(failed[0])
        text = self.tell(first, "".join(traceback.format_exception_only(error)).strip() if error is not None else "")
        if error is None:
            error = RankError(f"rank {first} of {self.size} failed: {text}", first)
        else:
            error.add_note(f"on rank {self.rank} of {self.size}")
        raise self.alike(error)

    def alike(self, error: BaseException) -> BaseException:
        """Mark this error as one that every rank raises; returns it."""
        self._raised = error
        return error

    def agree(self, call: str, settings: Mapping[str, object], digests: NDArray[np.float64] | None = None) -> None:
        """Raise a ValueError on every rank unless all make this call with these settings; names are the same on all.

        digests: `own_digests` of all ranks, if they are gathered already. They stand last in a message and errors
        first, so that a rank in another call mistakes neither for the other.
        """
        if digests is None:
            digests = self.gather(*[0] * (SLOTS - 2), *own_digests(call, settings))[:, -2:]
        if (digests == digests[0]).all():
            return
        if (digests[:, 0] != digests[0, 0]).any():
            error = ValueError(f"the ranks must call the same function; rank {self.rank} called {call}")
            raise self.alike(error) if digests.all() else error     # a rank that sent no digest does not know
        settings = {**settings, **COMMON}
        names = [name for name in settings if len(set(self.gather(digest(settings[name]))[:, 0])) > 1]
        here = ", ".join(f"{name}={settings[name]!r:.200}" for name in names)
        raise self.alike(ValueError(
            f"{call}: the ranks differ in {', '.join(names)}; on rank {self.rank} of {self.size}: {here}"))

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Guard everything that the ranks do together. An error that some ranks do not know about would leave them
        waiting forever, so it is printed, and the communicator aborts if it can."""
        try:
            yield
        except BaseException as error:
            abort = getattr(self.comm, "Abort", None)
            if error is not self._raised and self.size > 1 and callable(abort):
                traceback.print_exc()
                print(f"fastbp: rank {self.rank} of {self.size} ends all: the others cannot be told about this error",
                      file=sys.stderr, flush=True)
                try:
                    time.sleep(HEARD)
                finally:
                    abort(1)
            raise


@overload
def as_group(comm: Comm | Group) -> Group: ...


@overload
def as_group(comm: None) -> None: ...


def as_group(comm: Comm | Group | None) -> Group | None:
    """The Group of a communicator, or the Group itself; None for None."""
    return comm if comm is None or isinstance(comm, Group) else Group(comm)


def guard(group: Group | None) -> AbstractContextManager[None]:
    """`Group.guard`; nothing without a group."""
    if group is None:
        return nullcontext()
    return group.guard()


def rows(m: int, comm: Comm | Group) -> slice:
    """The slice of m examples that this rank takes, in the order of the ranks; the sizes differ by at most one row.

    With `Group(comm, parts)` the parts do not depend on the number of ranks.

    Parameters
    ----------
    m : int
        The number of examples on all ranks together.
    comm : communicator, or Group

    Returns
    -------
    slice

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    Group

    Examples
    --------
    >>> from fastbp import distributed
    >>> class Alone:                            # in place of mpi4py's MPI.COMM_SELF
    ...     def Get_rank(self): return 0
    ...     def Get_size(self): return 1
    ...     def Allreduce(self, mine, total): total[:] = mine
    ...     def Bcast(self, array, root=0): pass
    >>> distributed.rows(100, Alone())
    slice(0, 100, None)
    """
    if isinstance(comm, Group):
        rank, parts, own = comm.rank, comm.parts, comm.own
    else:
        (rank, parts), own = _place(comm), 1
    ends = cuts(checks.count(m, "m", low=0), parts)
    return slice(ends[rank * own], ends[(rank + 1) * own])


def _place(comm: Any) -> tuple[int, int]:
    """(rank, size) of this process, checked."""
    if isinstance(comm, type):
        raise TypeError(f"comm must be a communicator as of mpi4py; got the class {comm.__name__}")
    if missing := [name for name in ("Get_rank", "Get_size", "Allreduce", "Bcast")
                   if not callable(getattr(comm, name, None))]:
        raise TypeError(f"comm must be a communicator as of mpi4py; {type(comm).__name__} has no {', '.join(missing)}")
    rank, size, why = 0, 0, None
    try:
        rank, size = int(comm.Get_rank()), int(comm.Get_size())
    except Exception as error:
        why = error
    if not 0 <= rank < size:
        raise ValueError(f"comm must be a communicator with ranks, this process among them; got {comm!r}") from why
    return rank, size


def cuts(m: int, n: int) -> list[int]:
    """The n + 1 ends of n parts of m rows; the first m mod n parts have one row more. A rank finds its parts again
    from its number of rows alone."""
    return [i * (m // n) + min(i, m % n) for i in range(n + 1)]


def bounds(m: int, n: int) -> list[tuple[int, int]]:
    """(first row, last row + 1) of each of n parts of m rows."""
    return list(pairwise(cuts(m, n)))


def own_digests(call: str, settings: Mapping[str, object]) -> tuple[int, int]:
    """Digests of the name of a call, and of its settings and COMMON."""
    return digest(call), digest({**settings, **COMMON})


def reraise(error: BaseException | None) -> None:
    """Raise the error, if there is one."""
    if error is not None:
        raise error


def attempt(function: Callable[[], Value]) -> tuple[Any, BaseException | None]:
    """(the result of function(), None), or (None, its error)."""
    try:
        return function(), None
    except BaseException as error:
        return None, error


def pair_by_pair(values: list[Any]) -> Any:
    """((v0 + v1) + (v2 + v3)) + ...: neighbours, then neighbouring sums; arrays are added in place."""
    while len(values) > 1:
        sums = []
        for i in range(0, len(values) - 1, 2):
            a = values[i]
            a += values[i + 1]
            sums.append(a)
        values = sums + values[len(sums) * 2 :]
    return values[0]
