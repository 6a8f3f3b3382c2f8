"""The files of `train_many`, and how a call resumes from them."""

import copy
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Arrays, Path
from ..files import atomic, container, values
from ..files.container import FormatError
from ..history import History
from ..training import kept as trainings
from ..training import states
from . import under_way

KIND = "trainings"
FIELDS = ("kind", "version", "metrics", "stopped", "call")
ARRAYS = ("conditions", "finished", "seeds", "theta32", "theta64", "epochs", "examples", "columns", "values")
COLUMNS = ("J", "seconds", "val_J", "val_accuracy")


class Kept:
    """The training runs in a file, checked as far as possible without the call that resumes from it.

    Attributes
    ----------
    n : int
        Networks.
    call : str
        Identifies the call: equal in the files of all ranks.
    under_way : dict
        {number of a network: (its training run, the same as arrays and fields)}.
    """

    def __init__(self, path: Path, arrays: Arrays, meta: dict[str, Any]) -> None:
        self.path = path
        with container.located(path):
            values.of_kind(meta, KIND)
            values.fields(meta, FIELDS, "the file")
            own = {name: a for name, a in arrays.items() if not name.startswith("under_way")}
            values.fields(own, ARRAYS, "the arrays")
            if not isinstance(meta["call"], str):
                raise FormatError("call must be a text")
            self.arrays, self.metrics, self.call = own, meta["metrics"], meta["call"]
            self.n = len(own["finished"]) if own["finished"].ndim else -1
            self.stopped = self._stopped(meta["stopped"])
            self._check_form()
            self.histories = self._histories()
            others = {name: a for name, a in arrays.items() if name.startswith("under_way")}
            found = under_way.from_arrays(others, self.n) if others else {}
            self.under_way = {i: (_training(path, state), state) for i, state in found.items()
                              if not own["finished"][i]}

    def _stopped(self, found: Any) -> dict[int, str]:
        """The reasons why networks were stopped, by their number."""
        if not isinstance(found, list) or not all(
            isinstance(each, list) and len(each) == 2 and type(each[0]) is int and 0 <= each[0] < self.n
            and isinstance(each[1], str) for each in found
        ):
            raise FormatError("stopped must be pairs of the number of a network and a reason")
        return dict(found)

    def _check_form(self) -> None:
        """Check dtypes and shapes of all arrays, and that the columns account for all numbers."""
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

    def check(self, jobs: Sequence[Any], conditions: NDArray[np.uint8]) -> None:
        """Raise a ValueError unless these are the training runs of the file."""
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

    def thetas(self, jobs: Sequence[Any]) -> list[NDArray[Any]]:
        """The parameters of each network, as views."""
        at, found = {"float32": 0, "float64": 0}, []
        for job in jobs:
            name, n = job.net.dtype.name, job.net.n_parameters
            found.append(self.arrays[name.replace("float", "theta")][at[name] : at[name] + n])
            at[name] += n
        return found


def _training(path: Path, state: under_way.State) -> trainings.Kept:
    """The training run with this state, which stays unchanged."""
    arrays, meta = state
    return trainings.Kept(path, dict(arrays), copy.deepcopy(meta))


class Files:
    """What the files of a call hold together: one file per rank, or a single file."""

    def __init__(self, files: Sequence[Kept]) -> None:
        self.files, first = files, files[0]
        for each in files[1:]:
            if (each.call, each.n) != (first.call, first.n):
                raise ValueError(f"{container.shown(each.path)} and {container.shown(first.path)} are of different "
                                 "calls of train_many; resume=False overwrites both")
        self.n, self.call, self.seeds = first.n, first.call, first.arrays["seeds"]

    @property
    def finished(self) -> int:
        """The number of networks that are finished in at least one file."""
        return int(np.any([each.arrays["finished"] for each in self.files], axis=0).sum())

    def check(self, jobs: Sequence[Any], conditions: NDArray[np.uint8]) -> None:
        """Raise a ValueError unless these are the training runs of the files."""
        for each in self.files:
            each.check(jobs, conditions)

    def into(self, jobs: Sequence[Any]) -> None:
        """Put the kept values into the networks and the jobs: histories of finished networks, states of those under
        way."""
        resumed: dict[int, tuple[trainings.Kept, under_way.State]] = {}
        for file in self.files:
            for i, (kept, state) in file.under_way.items():
                if i not in resumed or resumed[i][0].key[:2] < kept.key[:2]:
                    resumed[i] = kept, state
        thetas = [each.thetas(jobs) for each in self.files]
        ended = [next((k for k, each in enumerate(self.files) if each.arrays["finished"][i]), None)
                 for i in range(len(jobs))]
        for i, (kept, state) in resumed.items():
            if ended[i] is None:
                jobs[i].resume(kept, state)
        for i, job in enumerate(jobs):
            k = ended[i]
            with job.turn:
                job.net.theta[:] = thetas[0 if k is None else k][i]
            if k is not None:
                job.history = self.files[k].histories[i]


def of_rank(path: Path, rank: int) -> Path:
    """The name of the file of this rank."""
    if not rank:
        return path
    return path + b".rank%d" % rank if isinstance(path, bytes) else f"{path}.rank{rank}"


def names(path: Path, rank: int, size: int) -> list[Path]:
    """The files that this rank reads: those of ranks r, r + size, ..., however many ranks wrote them."""
    folder, name = os.path.split(atomic.checked(path))
    dot = b".rank" if isinstance(name, bytes) else ".rank"
    numbers = {0}
    try:
        found: Any = os.listdir(folder)
    except OSError:
        found = []      # reading says what is wrong
    for each in found:
        own, _, number = each.rpartition(dot)
        if own == name and number.isdigit() and str(int(number)) == os.fsdecode(number):
            numbers.add(int(number))
    return [of_rank(path, number) for number in sorted(numbers) if number % size == rank]


def read(path: Path) -> tuple[Path, Arrays, dict[str, Any]] | None:
    """(path, arrays, fields) of a file, checked; None if there is none."""
    try:
        arrays, meta = container.read(path)
    except FileNotFoundError:
        return None
    Kept(path, arrays, meta)
    return path, arrays, meta
