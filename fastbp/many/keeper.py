"""The checkpoint of many trainings: one file with all finished networks, and the start values of the others."""

import hashlib
import time
from collections.abc import Sequence
from threading import Lock
from typing import Any, Literal, TypeAlias

import numpy as np

from .. import rules
from .._types import Arrays, Count, Number, Path
from ..distributed.describe import describe
from ..engine import checks
from ..files import atomic, container, values
from ..files.container import FormatError
from ..history import History
from ..training import states

Every: TypeAlias = Count | tuple[Number, Literal["networks", "seconds"]]

KIND = "trainings"
ARRAYS = ("conditions", "finished", "seeds", "theta32", "theta64", "epochs", "examples", "columns", "values")
COLUMNS = ("J", "seconds", "val_J", "val_accuracy")


class Keeper:
    """No checkpoint."""

    def begin(self, jobs: Sequence[Any]) -> None: ...

    def begun(self, job: Any) -> None: ...

    def ended(self, job: Any) -> None: ...

    def tick(self) -> None: ...

    def end(self) -> None: ...


class Checkpoint(Keeper):
    """The file of many trainings, written atomically every so many networks or seconds by the calling thread.

    Memory holds the start values of the networks under way, from which they begin anew.

    Parameters
    ----------
    kept : Kept, optional
        The trainings to be resumed.
    """

    def __init__(self, run: Any, path: Path, every: float, unit: str, kept: "Kept | None") -> None:
        self.run, self.path, self.every, self.unit, self.kept = run, path, every, unit, kept
        self._lock = Lock()     # while it is held, no network begins or ends
        self._ended, self._due, self._written = 0, 0, time.monotonic()

    def begin(self, jobs: Sequence[Any]) -> None:
        self.jobs = jobs
        told = [condition(job, given, self.run.form) for job, given in zip(jobs, self.run.settings, strict=True)]
        self.conditions = np.array(told, np.uint8).reshape(len(jobs), 32)
        if self.kept is not None:
            self.kept.check(jobs, self.conditions)
            self.kept.into(jobs)
        self.write()

    def begun(self, job: Any) -> None:
        with self._lock:
            job.start = job.net.theta.copy()

    def ended(self, job: Any) -> None:
        with self._lock:
            if job.error is None:
                job.start = None
                self._ended += 1

    def tick(self) -> None:
        if self._ended > self._due and (self._ended - self._due >= self.every if self.unit == "networks"
                                        else time.monotonic() - self._written >= self.every):
            self.write()

    def end(self) -> None:
        """Write the last state."""
        if self._ended > self._due:
            self.write()

    def write(self) -> None:
        with self._lock:
            self._due = self._ended
            arrays, meta = packed(self.jobs)
        seeds = [int(given["seed"]) for given in self.run.settings]
        arrays |= {"conditions": self.conditions, "seeds": np.array(seeds, np.uint64)}
        container.write(self.path, arrays, meta)
        self._written = time.monotonic()


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


class Kept:
    """The trainings of a file, checked as far as possible without those that resume from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        arrays, meta = container.read(path)
        with container.located(path):
            values.of_kind(meta, KIND)
            values.fields(meta, ("kind", "version", "metrics", "stopped"), "the file")
            values.fields(arrays, ARRAYS, "the arrays")
            self.arrays, self.metrics = arrays, meta["metrics"]
            self.n = len(arrays["finished"]) if arrays["finished"].ndim else -1
            self.stopped = self._stopped(meta["stopped"])
            self._check_form()
            self.histories = self._histories()

    def _stopped(self, found: Any) -> dict[int, str]:
        """Why networks were stopped, by their number."""
        if not isinstance(found, list) or not all(
            isinstance(each, list) and len(each) == 2 and type(each[0]) is int and 0 <= each[0] < self.n
            and isinstance(each[1], str) for each in found
        ):
            raise FormatError("stopped must be pairs of the number of a network and a reason")
        return dict(found)

    def _check_form(self) -> None:
        """Dtypes and shapes of all arrays, and that the numbers are as many as the columns say."""
        if not isinstance(self.metrics, list) or not all(isinstance(name, str) for name in self.metrics):
            raise FormatError("metrics must be a list of names")
        n, a = self.n, self.arrays
        forms = {
            "conditions": ("uint8", (n, 32)), "finished": ("bool", (n,)), "seeds": ("uint64", (n,)),
            "theta32": ("float32", None), "theta64": ("float64", None), "epochs": ("int64", (n,)),
            "examples": ("int64", (n,)), "columns": ("bool", (n, len(COLUMNS) + len(self.metrics))),
            "values": ("float64", None),
        }
        for name, (dtype, shape) in forms.items():
            if a[name].dtype.name != dtype or (a[name].shape != shape if shape else a[name].ndim != 1):
                raise FormatError(f"array {name!r} must be {dtype}, {shape or '1-D'}; it is {a[name].dtype.name}, "
                                  f"{a[name].shape}")
        numbers = len(a["values"])
        if (n and not (0 <= a["epochs"].min() <= a["epochs"].max() <= numbers)) or (a["examples"] < 0).any() or (
            a["epochs"] * a["columns"].sum(axis=1)
        ).sum() != numbers or not a["columns"][:, :2].all():
            raise FormatError("epochs, columns and values do not fit together")

    def _histories(self) -> list[History]:
        at, found = 0, []
        for i in range(self.n):
            own: dict[str, Any] = {"metrics": {}}
            for j, name in enumerate([*COLUMNS, *self.metrics]):
                if self.arrays["columns"][i, j]:
                    end = at + int(self.arrays["epochs"][i])
                    (own if j < len(COLUMNS) else own["metrics"])[name] = self.arrays["values"][at:end].tolist()
                    at = end
            found.append(History(**own, examples=int(self.arrays["examples"][i]), stopped=self.stopped.get(i)))
        return found

    @property
    def finished(self) -> int:
        """The number of finished networks."""
        return int(self.arrays["finished"].sum())

    def check(self, jobs: Sequence[Any], conditions: Any) -> None:
        """Raise a ValueError unless these are the trainings of the file."""
        with states.of_another(self.path, "call of train_many"):
            states.same("the number of networks", len(jobs), self.n)
            for job, now, then in zip(jobs, conditions, self.arrays["conditions"], strict=True):
                if not np.array_equal(now, then):
                    raise ValueError(f"network {job.i}, {job.net!r}, or a setting of it is not the one it was made "
                                     "with")
        for name in ("theta32", "theta64"):
            dtype = name.replace("theta", "float")
            n = sum(job.net.n_parameters for job in jobs if job.net.dtype.name == dtype)
            if len(self.arrays[name]) != n or not np.isfinite(self.arrays[name]).all():
                raise FormatError(f"{container.shown(self.path)}: array {name!r} must be {n} finite numbers")

    def into(self, jobs: Sequence[Any]) -> None:
        """Put the kept state into the networks, and the histories of finished ones into their jobs."""
        at = {"float32": 0, "float64": 0}
        for i, job in enumerate(jobs):
            name, n = job.net.dtype.name, job.net.n_parameters
            job.net.theta[:] = self.arrays[name.replace("float", "theta")][at[name] : at[name] + n]
            at[name] += n
            if self.arrays["finished"][i]:
                job.history = self.histories[i]


def keeper(run: Any, path: Path | None, every: Every, resumes: bool | None) -> Keeper:
    """The checkpoint of a run, or none."""
    number, unit = _checked_every(every)
    if path is None:
        if resumes:
            raise ValueError("resume=True needs the file to resume from; got checkpoint=None")
        return Keeper()
    path = atomic.absolute(path)
    for i, each in enumerate(run.settings):
        try:
            each["seed"] = checks.count(each["seed"], "seed", low=0, most=2**64 - 1)
        except (TypeError, ValueError):
            raise ValueError(f"seed of network {i} must be a whole number below 2^64, or None, with checkpoint; got "
                             f"{each['seed']!r:.100}") from None
    kept = None
    if resumes is not False:
        try:
            kept = Kept(path)
        except FileNotFoundError:
            pass
        except FormatError as error:
            if resumes:
                raise
            raise ValueError(f"checkpoint: the file exists and holds no call of train_many: {error}; resume=False "
                             "overwrites it") from None
    if kept is not None and resumes is None:
        if kept.finished:
            raise ValueError(f"checkpoint: {container.shown(path)} holds {kept.finished} finished networks; "
                             "resume=True resumes it, resume=False overwrites it")
        kept = None
    if kept is not None and kept.n == len(run.settings):
        for each, seed, fresh in zip(run.settings, kept.arrays["seeds"], run.fresh, strict=True):
            if fresh:
                each["seed"] = int(seed)
    return Checkpoint(run, path, number, unit, kept)


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
    """sha256 of what a resumed training must have in common with the kept one."""
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
