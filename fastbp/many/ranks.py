"""Many networks on several ranks: each rank trains some of them, and all ranks get all results."""

import pickle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._types import Comm, Count, Floats, Path
from ..distributed.group import Group, RankError, as_group
from ..history import History
from ..network import Network
from .keeper import Every, keeper
from .together import Ranks


def on_ranks(
    comm: Comm | Group, make: Any, nets: list[Network], X: ArrayLike, Y: ArrayLike, given: dict[str, Any], keeps: bool,
    n_threads: Count | None, progress: bool, checkpoint: Path | None, every: Every, resume: bool | None,
) -> list[History]:
    """`train_many` on every rank. make: the class `Run`."""
    group = as_group(comm)
    together = Ranks(group)
    with group.guard():
        shows = progress and group.rank == 0
        run = group.section(lambda: make(nets, X, Y, given, keeps, group.threads(n_threads), shows))
        group.agree("train_many", {
            "nets": [each.settings() for each in nets], "X": np.asarray(X), "Y": np.asarray(Y),
            **{name: value for name, value in given.items() if name != "callbacks"}, "on_error": keeps,
            "checkpoint": checkpoint is None, "checkpoint_every": every, "resume": resume,
        })
        seeds, = group.first_of([None if isinstance(each["seed"], np.random.Generator) else each["seed"]
                                 for each in run.settings])
        for each, seed, fresh in zip(run.settings, seeds, run.fresh, strict=True):
            if fresh:
                each["seed"] = seed
        file = keeper(run, checkpoint, every, resume, together)
        group.section(lambda: run.check(file))
        _start_alike(group, nets)
        file.begin(run.jobs)
        waiting = [job for job in run.jobs if job.history is None]
        shares = shared_out([job.operations for job in waiting], group.size)
        mine = [waiting[i] for i in shares[group.rank]]
        group.section(lambda: run.train(mine, file, len(mine)))
        _share_results(together, run.jobs, mine)
        file.close()
        group.section(run.warn)
        return run.histories()


def _start_alike(group: Group, nets: list[Network]) -> None:
    """Give all ranks the start values of rank 0."""
    raw = group.broadcast(np.concatenate([np.empty(0, np.uint8), *(net.theta.view(np.uint8) for net in nets)]))
    at = 0
    for net in nets:
        with net._turn:
            net.theta.view(np.uint8)[:] = raw[at : at + net.theta.nbytes]
        at += net.theta.nbytes


def shared_out(costs: list[float], n: int) -> list[list[int]]:
    """The networks of each of n ranks, so that all ranks have about the same work: the largest first, each to the rank
    with the least work."""
    shares: list[list[int]] = [[] for _ in range(n)]
    loads = [0.0] * n
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = min(range(n), key=lambda rank: (loads[rank], rank))
        shares[least].append(i)
        loads[least] += costs[i]
    return shares


def _share_results(together: Ranks, jobs: list[Any], mine: list[Any]) -> None:
    """Give all ranks the parameters, histories, warnings and errors of all networks."""
    own = {job.i for job in mine}
    for share in together.everyone(lambda: [
        (job.i, job.history, None if job.error is None else _told(job.error), job.warnings, job.net.theta)
        for job in mine
    ]):
        for i, history, error, warnings, theta in share:
            if i not in own:
                _put(jobs[i], history, error, warnings, theta)


def _put(job: Any, history: History | None, error: Exception | None, warnings: list[str], theta: Floats) -> None:
    if error is not None:
        job.start = job.net.theta.copy()    # a checkpoint restarts it
    job.history, job.error, job.warnings = history, error, warnings
    with job.turn:
        job.net.theta[:] = theta


def _told(error: Exception) -> Exception:
    """The error, if it can be pickled; else its text."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RankError(f"{type(error).__name__}: {error}")
