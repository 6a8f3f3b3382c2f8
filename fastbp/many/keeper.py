"""The checkpoint of `train_many`: one file with all finished networks, the start values of the others, and the states
of long training runs. Each rank has its own file until all networks are finished."""

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Literal, TypeAlias

import numpy as np

from .. import rules
from .._types import Arrays, Count, Number, Path
from ..distributed.describe import describe
from ..engine import checks
from ..files import atomic, container
from ..files.container import FormatError
from ..history import History
from ..training import states
from ..training.checkpoint import check_callbacks
from . import under_way
from .job import Job
from .kept import COLUMNS, KIND, Files, Kept, names, of_rank, read
from .together import Alone

Every: TypeAlias = Count | tuple[Number, Literal["networks", "seconds"]]

SECONDS = 60.0      # between two copies of a training state, if checkpoint_every counts networks
SLOWEST = 2e9       # floating-point operations per second of the slowest machine


class Keeper:
    """No checkpoint."""

    def is_long(self, operations: float) -> bool:
        """Do this many floating-point operations take so long that the state is kept during training?"""
        return False

    def begin(self, jobs: Sequence[Any]) -> None: ...

    def begun(self, job: Any) -> None: ...

    def ended(self, job: Any) -> None: ...

    def tick(self) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


class Checkpoint(Keeper):
    """The file of `train_many`, written atomically by the calling thread after some number of networks or seconds.

    Memory holds the start values of the networks under way, and a copy of the state of each that trains for long.

    Parameters
    ----------
    together : Alone
        The ranks.
    files : Files, optional
        The training runs to be resumed.
    """

    def __init__(self, run: Any, path: Path, every: float, unit: str, together: Alone, files: Files | None) -> None:
        self.run, self.path, self.every, self.unit, self.files = run, path, every, unit, files
        self.together, self.own = together, of_rank(path, together.rank)
        self.seconds = every if unit == "seconds" else SECONDS
        self._lock = Lock()     # while it is held, no network begins or ends
        self._ended, self._due, self._written = 0, 0, time.monotonic()
        self._states: dict[int, Any] = {}       # of the networks under way, as last written

    def is_long(self, operations: float) -> bool:
        return operations > SLOWEST * self.seconds

    def begin(self, jobs: Sequence[Any]) -> None:
        together, self.jobs = self.together, jobs
        told = together.section(lambda: [condition(job, given, self.run.form) for job, given in zip(
            jobs, self.run.settings, strict=True)])
        self.conditions = together.broadcast(np.array(told, np.uint8).reshape(len(jobs), 32))
        together.section(self._watch)
        together.section(self._resume)
        self.call = self._call() if self.files is None else self.files.call
        self.files = None
        together.section(self.write)
        for path in names(self.path, together.rank, together.size):
            if path != self.own:    # its contents are in the new files
                with suppress(FileNotFoundError):
                    os.remove(path)

    def _watch(self) -> None:
        """Let each job whose state can be kept during training keep it."""
        for job in self.jobs:
            if isinstance(job, Job):
                try:
                    check_callbacks(job.asked.callbacks)
                except TypeError as error:
                    raise TypeError(f"network {job.i}, {job.net!r}: {error}") from None
                job.every = self.seconds / 2

    def _resume(self) -> None:
        """Put what the files hold into the jobs."""
        if self.files is not None:
            self.files.check(self.jobs, self.conditions)
            self.files.into(self.jobs)

    def _call(self) -> str:
        """sha256 of everything that decides the results; the start values are the networks' present ones."""
        said = hashlib.sha256(self.conditions.tobytes())
        for job in self.jobs:
            said.update(job.net.theta.tobytes())
        return said.hexdigest()

    def begun(self, job: Any) -> None:
        with self._lock:
            job.start = job.net.theta.copy()

    def ended(self, job: Any) -> None:
        with self._lock:
            if job.error is None:
                job.start = None
                self._ended += 1
                if isinstance(job, Job):
                    job.state = None

    def tick(self) -> None:
        now = time.monotonic()
        networks, late = self._ended - self._due, now - self._written >= self.seconds
        if (networks >= self.every if self.unit == "networks" else networks and late) or (late and self._has_moved()):
            self.write()

    def _has_moved(self) -> bool:
        """Does a network under way have another state than the file?"""
        return any(self._states.get(i) is not state for i, state in states_of(self.jobs).items())

    def end(self) -> None:
        """Write the last state."""
        if self._ended > self._due or self._has_moved():
            self.write()

    def close(self) -> None:
        """All ranks have all results: the file of rank 0 keeps them, the other files are removed."""
        together = self.together
        if together.size > 1:
            together.section(lambda: None if together.rank else self.write())
            if together.rank:
                with suppress(FileNotFoundError):
                    os.remove(self.own)

    def write(self) -> None:
        with self._lock:
            self._due, self._states = self._ended, states_of(self.jobs)
            arrays, meta = packed(self.jobs)
        seeds = [int(given["seed"]) for given in self.run.settings]
        arrays |= {"conditions": self.conditions, "seeds": np.array(seeds, np.uint64)}
        if self._states:
            arrays |= under_way.to_arrays(self._states)
        container.write(self.own, arrays, {**meta, "call": self.call})
        self._written = time.monotonic()


def states_of(jobs: Sequence[Any]) -> dict[int, under_way.State]:
    """{number: state} of the networks that have begun and are not finished."""
    return {job.i: job.state for job in jobs if isinstance(job, Job) and job.state is not None
            and (job.history is None or job.start is not None)}


def packed(jobs: Sequence[Any]) -> tuple[Arrays, dict[str, Any]]:
    """(arrays, fields) of all networks and histories."""
    histories = [History() if job.start is not None else job.history or History() for job in jobs]
    finished = [job.history is not None and job.start is None for job in jobs]
    thetas: dict[str, list[Any]] = {"float32": [np.empty(0, np.float32)], "float64": [np.empty(0)]}
    for job in jobs:
        thetas[job.net.dtype.name].append(job.net.theta if job.start is None else job.start)
    names = sorted({name for history in histories for name in history.metrics})
    columns, numbers = [], [np.empty(0)]
    for history in histories:
        own = [*(getattr(history, name) for name in COLUMNS), *(history.metrics.get(name) for name in names)]
        columns.append([column is not None for column in own])
        numbers += [np.array(column, np.float64) for column in own if column is not None]
    return {
        "finished": np.array(finished, bool), "theta32": np.concatenate(thetas["float32"]),
        "theta64": np.concatenate(thetas["float64"]), "epochs": np.array([len(each) for each in histories], np.int64),
        "examples": np.array([each.examples for each in histories], np.int64),
        "columns": np.array(columns, bool).reshape(len(jobs), len(COLUMNS) + len(names)),
        "values": np.concatenate(numbers),
    }, {"kind": KIND, "version": 1, "metrics": names,
        "stopped": [[i, each.stopped] for i, each in enumerate(histories) if each.stopped is not None]}


def keeper(run: Any, path: Path | None, every: Every, resumes: bool | None, together: Alone | None = None) -> Keeper:
    """The checkpoint of a run, or none; all ranks make this call together."""
    number, unit = _checked_every(every)
    if path is None:
        if resumes:
            raise ValueError("resume=True needs the file to resume from; got checkpoint=None")
        return Keeper()
    together = Alone() if together is None else together
    place = together.section(lambda: _checked(run, path))
    raw = together.everyone(lambda: _found(place, resumes, together))
    files = together.section(lambda: _resumed([Kept(*each) for own in raw for each in own], resumes))
    if files is not None and files.n == len(run.settings):
        for each, seed, fresh in zip(run.settings, files.seeds, run.fresh, strict=True):
            if fresh:
                each["seed"] = int(seed)
    return Checkpoint(run, place, number, unit, together, files)


def _checked(run: Any, path: Path) -> Path:
    """The absolute path; a ValueError unless all seeds are whole numbers or None."""
    for i, each in enumerate(run.settings):
        try:
            each["seed"] = checks.count(each["seed"], "seed", low=0, most=2**64 - 1)
        except (TypeError, ValueError):
            raise ValueError(f"seed of network {i} must be a whole number below 2^64, or None, with checkpoint; got "
                             f"{each['seed']!r:.100}") from None
    return atomic.absolute(path)


def _found(path: Path, resumes: bool | None, together: Alone) -> list[Any]:
    """(path, arrays, fields) of the files that this rank reads."""
    if resumes is False:
        return []
    try:
        found = [read(name) for name in names(path, together.rank, together.size)]
    except FormatError as error:
        if resumes:
            raise
        raise ValueError(f"checkpoint: the file exists and holds no call of train_many: {error}; resume=False "
                         "overwrites it") from None
    return [each for each in found if each is not None]


def _resumed(files: Sequence[Kept], resumes: bool | None) -> Files | None:
    """The files to resume from, or None; a ValueError if `resumes` must be given."""
    if not files:
        return None
    if resumes:
        return Files(files)
    for each in files:
        if each.finished or each.under_way:
            raise ValueError(f"checkpoint: {container.shown(each.path)} holds {each.finished} finished networks"
                             f"{' and some under way' if each.under_way else ''}; resume=True resumes it, resume=False "
                             "overwrites it")
    return None


def _checked_every(every: Any) -> tuple[float, str]:
    """(number, unit) of checkpoint_every"""
    n, unit = every if isinstance(every, (tuple, list)) and len(every) == 2 else (every, "networks")
    if unit == "seconds":
        return checks.number(n, "checkpoint_every"), unit
    if unit != "networks":
        raise ValueError(f"checkpoint_every must be a number of networks, or a pair such as (60, 'seconds') or "
                         f"(100, 'networks'); got {every!r}")
    return checks.count(n, "checkpoint_every"), unit


def condition(job: Any, given: dict[str, Any], form: Any) -> list[int]:
    """sha256 of what a resumed training run must have in common with the kept one."""
    optimizer = rules.resolve(given["optimizer"], job.net.dtype)
    said: dict[str, Any] = {name: describe(value) for name, value in given.items()
            if name not in ("metrics", "callbacks", "optimizer", "seed", "rows", "validation_rows")}
    said |= {
        "network": {name: value for name, value in job.net.settings().items() if name != "init"},
        "optimizer": states.of_optimizer(optimizer), "seed": given["seed"], "examples": job.m,
        **{name: describe(given[name]) for name in ("rows", "validation_rows")},
        "metrics": [each if isinstance(each, str) else describe(each) for each in given["metrics"]],
        "callbacks": [f"{type(each).__module__}.{type(each).__qualname__}" for each in given["callbacks"]],
        "examples of all": form,
    }
    return list(hashlib.sha256(repr(sorted(said.items())).encode()).digest())
