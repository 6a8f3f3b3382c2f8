"""`minimize` on several ranks: each runs the same optimizer on J and D over the rows of all."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..._types import Comm
from ...distributed.group import Group, as_group
from ...distributed.shard import Shard
from ...engine import blas, frozen
from ...engine.data import Data
from ...engine.initialize import warn_if_equal_units
from ..problem import Problem


class RankProblem:
    """`Problem` on every rank, each with its own rows."""

    def __init__(self, problem: Problem, comm: Comm | Group) -> None:
        self.problem, self.group = problem, as_group(comm)

    def solve(self) -> Any:
        """Run all stages; returns SciPy's result."""
        problem, group = self.problem, self.group
        with group.guard():
            start = group.section(problem.check)
            data = self._shard(start)
            problem.callback = _of_all(group, problem.callback)
            group.section(lambda: warn_if_equal_units(problem.net) if group.rank == 0 else None)
            try:
                result = problem.search(start, data)
            except Exception as error:
                if not isinstance(error, MemoryError):      # a MemoryError concerns only this rank
                    group.alike(error)      # SciPy takes the same course on every rank
                raise
            group.agree("minimize", {"result.x": result.x})
            return problem.finish(result)

    def _shard(self, start: NDArray[np.float64]) -> Shard:
        """The shard of this rank; start := that of rank 0."""
        p, net = self.problem, self.problem.net
        settings = {
            **p.told(), **net.settings(), "init": None, "free": frozen.told(p.free, net.plan),
            "scipy": scipy.__version__,
            "BLAS": [getattr(library, "architecture", None) for library in blas.libraries()],
        }
        data = Shard(self.group, lambda: Data(net.plan, net.dtype, p.X, p.Y, p.sample_weight, shard=True), "minimize",
                     settings)
        self.group.broadcast(start)
        return data


def _of_all(group: Group, callback: Callable[..., Any] | None) -> Callable[..., bool] | None:
    """Call each rank's callback, if it has one, in a section; a stop on one rank stops all."""
    if not group.agreed(None if callback is None else "there is one")[0]:
        return None

    def call(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        try:
            return callback is not None and callback(*args, **kwargs) and "true", None
        except StopIteration:
            return None, "StopIteration"

    def told(*args: Any, **kwargs: Any) -> bool:
        ended, stop = group.agreed(*(reason or None for reason in group.section(lambda: call(*args, **kwargs))))
        if stop:
            raise StopIteration
        return bool(ended)

    return told if callback is None else wraps(callback)(told)
