"""L-BFGS as the optimizer of `train`: a step is an iteration on all examples, with as many J and D as it needs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Doubles, Floats
from ..base import entry
from ..engine import blas, checks, objective
from ..engine.data import Data
from ..lbfgs import LBFGS
from . import lbfgs

ENDS = {    # what the history says
    lbfgs.FLAT: "L-BFGS has converged: max |D| <= gtol",
    lbfgs.LEVEL: "L-BFGS has converged: J hardly changes (ftol)",
    lbfgs.ABNORMAL: "L-BFGS has ended: no step lowers J",
}


def rows_of(data: Data, times: NDArray[np.int64]) -> Data:
    """The examples in the order of the data, each repeated `times` times."""
    if (times == 1).all():
        return data
    order = np.repeat(np.arange(data.m), times)
    rows = Data.of(
        data.plan, data.X[order], None if data.dense is None else data.dense[order],
        None if data.labels is None else data.labels[order], None if data.w is None else data.w[order],
    )
    rows.scale = data.scale
    return rows


class FullBatch:
    """The search behind the steps of an `LBFGS`. It continues while examples, penalties, settings and theta are the
    same; otherwise it restarts at theta, with the pairs that it has.

    Attributes
    ----------
    ended : str or None
        The reason why no further step changes theta.
    """

    def __init__(self, steps: Any) -> None:
        self.steps = steps
        self.ended: str | None = None
        self._search: lbfgs.LBFGS | None = None
        self._of: tuple[Any, ...] = ()      # settings, penalties
        self._data: Data | None = None
        self._times = np.empty(0, np.int64)     # number of times that each example counts
        self._weight = 0.0
        self._theta: Floats = steps.theta[:0]

    def take(self, data: Data, order: NDArray[np.int64] | None, whole: bool) -> tuple[float, float]:
        """Take a step on these examples, which must be the whole epoch; returns m J and m, with J before the step."""
        steps = self.steps
        if not whole:
            raise ValueError("LBFGS needs all examples in one batch; leave out batch_size, and pass arrays, not chunks")
        if steps.dropout:
            raise ValueError("LBFGS needs the same J at every theta; dropout changes it from step to step")
        if not steps.regularisation.in_J:
            raise ValueError("LBFGS minimises J, without clip_value, clip_norm and batch_lam; leave them out")
        if steps.factors is not None or steps.diagonal is not None:
            raise ValueError("LBFGS has no learning rate; leave out learning_rate_factors and input_scale")
        times = np.ones(data.m, np.int64) if order is None else np.bincount(order, minlength=data.m)
        of = steps.optimizer.settings(), steps.regularisation
        if self._search is None or of != self._of or data is not self._data or not (
            np.array_equal(times, self._times) and np.array_equal(self._theta, steps.theta)
        ):
            self._begin(rows_of(data, times), of)
            self._data, self._times = data, times
        assert self._search is not None
        J = self._iterate(self._search)
        return J * self._weight, self._weight

    def _begin(self, rows: Data, of: tuple[Any, ...]) -> None:
        if not rows.weight:
            raise ValueError("sample_weight is 0 for all examples")
        self.export()
        steps, state = self.steps, self.steps.kept
        places, theta = None if steps.free is None else np.flatnonzero(steps.free), steps.theta
        x = theta.astype(np.float64) if places is None else theta[places].astype(np.float64)
        check_state(steps, state)
        if "x" in state and np.array_equal(state["x"].astype(theta.dtype), x.astype(theta.dtype)):
            x = state["x"].copy()       # theta has fewer digits
        memory, gtol, ftol, maxls = of[0]
        regularisation, whole = steps.regularisation, theta.copy()

        def value(x: Doubles) -> tuple[float, Doubles]:
            whole[slice(None) if places is None else places] = x
            J, D = objective.cost_and_gradient(whole, rows, regularisation, steps.n_threads)
            return J, np.ascontiguousarray(D if places is None else D[places], np.float64)

        search = lbfgs.LBFGS(x, value, {
            "maxcor": memory, "ftol": ftol, "gtol": gtol, "maxls": maxls, "maxfun": checks.MOST, "maxiter": checks.MOST,
        })
        search.compile(rows, regularisation, whole, places)
        if "x" in state:
            search.search.load(state["S"].ravel(), state["Y"].ravel(), state["rho"], float(state["gamma"][0]),
                               int(state["t"]))
        self._search, self._of, self._weight, self.ended = search, of, rows.weight, None
        self._theta = theta.copy()

    def _iterate(self, search: lbfgs.LBFGS) -> float:
        """Run one iteration; returns J before it."""
        if self.ended:
            return search.search.f
        core, done = search.search, search.search.iterations
        with blas.single_thread(everywhere=True):
            status = core.go_on()
            while core.iterations == done and status not in ENDS:
                status = search.advance(done + 1)
            if status == lbfgs.STEPPED:
                status = core.settle()
        if core.iterations == done:
            J = core.f
        else:
            J, steps = core.f0, self.steps
            steps.theta[slice(None) if steps.free is None else steps.free] = search.read("x")
            self._theta = steps.theta.copy()
            steps.taken[0] += 1
            steps.kept["t"] += 1
        self.ended = ENDS.get(status)
        return J

    def export(self) -> None:
        """Write the search into the optimizer's state, if it has taken a step."""
        if self._search is None or not self._search.search.iterations:
            return
        core, state = self._search.search, self.steps.kept
        rho = np.empty(core.pairs)
        core.read("rho", rho)
        state.update(x=self._search.read("x"), S=self._search.read("S"), Y=self._search.read("Y"), rho=rho,
                     gamma=np.array([core.gamma]))


def check_state(steps: Any, state: Any) -> None:
    """Raise an error that names the first entry of an LBFGS's state that is not as `FullBatch` makes it."""
    if not isinstance(steps.optimizer, LBFGS):
        return
    n, memory = steps.theta.size if steps.free is None else int(steps.free.sum()), steps.optimizer.memory
    checks.dictionary(state, "state")
    if unknown := state.keys() - {"t", "x", "S", "Y", "rho", "gamma"}:
        raise ValueError(f"state has {', '.join(map(str, sorted(unknown)))}; LBFGS has t, x, S, Y, rho and gamma")
    checks.count(state.get("t"), "state['t']", low=0, most=checks.MOST_STEPS)
    if state.keys() == {"t"} and not state["t"]:
        return
    pairs = len(state["rho"]) if isinstance(state.get("rho"), np.ndarray) and state["rho"].ndim == 1 else 0
    if pairs > memory:
        raise ValueError(f"state['rho'] must have at most {memory} values, the optimizer's memory; got {pairs}")
    for name, shape in {"rho": (pairs,), "x": (n,), "S": (pairs, n), "Y": (pairs, n), "gamma": (1,)}.items():
        if not np.isfinite(entry(state, name, shape, np.float64)).all():
            raise ValueError(f"state[{name!r}] must be finite")
    if not ((state["rho"] > 0).all() and state["gamma"][0] >= 0):
        raise ValueError("state['rho'] must be above 0, and state['gamma'] at least 0")
