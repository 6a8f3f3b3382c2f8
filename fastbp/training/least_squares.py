"""The stages of `minimize(method="lm")`: Levenberg-Marquardt on the full batch, with or without the evidence."""

import inspect
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import words
from .._types import Doubles
from ..distributed.shard import Shard
from ..engine import blas, checks, normal, regularisation
from ..engine import objective as J_of
from ..engine.normal import NormalEquations
from ..second_order.bayesian import Bayesian
from ..second_order.lm import START, Search
from ..second_order.ranks import RankEquations
from . import feed
from .problem import Problem

OPTIONS = {"mu": "of the first step", "scaling": "'columns' or 'none'"}
LIMIT, STOPPED = "maxiter was reached", "the callback stopped it"
TOLERANCE = "max|D| is at most tol"
FAILED = "the cost on validation_data has not improved {} times in a row"


def is_lm(method: Any) -> bool:
    """Is it "lm", under any of its names?"""
    return isinstance(method, str) and words.resolve(method, ("lm",), words.METHODS) == "lm"


@dataclass
class LeastSquares(Problem):
    """The arguments of `minimize(method="lm")`, and its stages."""

    bayesian: Any = False
    decay_bias: Any = None
    validation_data: Any = None
    max_fail: Any = 6

    methods: ClassVar[tuple[str, ...]] = ("lm",)

    def told(self) -> dict[str, Any]:
        """The settings that must be the same on all ranks."""
        return super().told() | {"bayesian": self.bayesian, "decay_bias": self.decay_bias, "max_fail": self.max_fail,
                                 "validation_data": self.validation_data is not None}

    def check(self) -> NDArray[np.float64]:
        start = super().check()
        plan = self.net.plan
        normal.form(plan)
        self.bayesian = checks.flag(self.bayesian, "bayesian")
        self.max_fail = checks.count(self.max_fail, "max_fail")
        if self.penalties["l1"]:
            raise ValueError("l1 has kinks, which method 'lm' cannot take; give weight_decay, or another method")
        options = self.options or {}
        if not options.keys() <= OPTIONS.keys():
            raise ValueError(f"options of method 'lm' are {', '.join(OPTIONS)}; got {', '.join(map(str, options))}")
        self.mu = checks.number(options.get("mu", START), "options['mu']", open_low=True)
        self.scaling = options.get("scaling", "columns")
        if self.scaling not in ("columns", "none"):
            raise ValueError(f"options['scaling'] is {self.scaling!r}; accepted are {OPTIONS['scaling']}")
        self._check_decay()
        n = int(self.free.sum()) if self.free is not None else plan.n_parameters
        normal.check_memory(n, 2, "method 'lm'", "method='L-BFGS'")
        return start

    def _check_decay(self) -> None:
        """decay_bias := True or False"""
        plan = self.net.plan
        hidden = len(plan.layer_sizes) > 2
        if self.decay_bias is not None and not self.bayesian:
            raise ValueError("decay_bias goes with bayesian=True; otherwise biases have no weight decay")
        if not self.bayesian:
            return
        self.decay_bias = hidden if self.decay_bias is None else checks.flag(self.decay_bias, "decay_bias")
        if plan.loss != "squared_error":
            raise ValueError(f"bayesian=True needs the loss squared_error; the network has {plan.loss!r}")
        if self.penalties["lam"] is not None or np.any(self.penalties["weight_decay"]):
            raise ValueError("weight_decay and lam are chosen by bayesian=True; give neither")
        if hidden and not self.decay_bias:
            raise ValueError("decay_bias=False with a hidden layer has an improper posterior: biases of saturated "
                             "units are undetermined; leave decay_bias at None, or give weight_decay without bayesian")
        if not self._decays().any():
            raise ValueError("bayesian=True needs a free parameter that decays; free leaves none")

    def _decays(self) -> NDArray[np.bool_]:
        """The free parameters that have weight decay, as a mask"""
        plan = self.net.plan
        decays = np.ones(plan.n_parameters, bool)
        if not self.decay_bias:
            for Theta in plan.views(decays):
                Theta[:, 0] = False
        return decays if self.free is None else decays[self.free]

    def search(self, start: NDArray[np.float64], data: Any) -> Any:
        """The result from this start."""
        group = data.group if isinstance(data, Shard) else None
        held = self._held(group)
        with blas.single_thread(everywhere=True), np.errstate(all="ignore"):
            sums: Any = (NormalEquations if group is None else RankEquations)(data, self.free, self.n_threads)
            x = start.copy() if self.free is None else start[self.free]
            penalties = self.regularisation(data.weight * data.scale)
            c = penalties.c
            decay = np.where(self._decays(), np.repeat(c, np.diff(self.net.plan.offsets))[self._at()], 0) * data.weight
            search = Search(sums, start, x, decay, self.mu, self.scaling == "columns")
            course: Any = search
            if self.bayesian:
                course = Bayesian(search, self._decays(), data.weight, data.scale, self.net.layer_sizes[-1], self.tol)
            loop = _Loop(self, search, course, data, held, start)
            if self.free is not None:
                loop.frozen = penalties.penalty(self.net.plan, np.where(self.free, 0, start), data.weight)
            try:
                message = loop.run()
            except KeyboardInterrupt:
                self.net.theta = loop.whole(search.x)
                raise
            return loop.result(message)

    def _at(self) -> Any:
        return slice(None) if self.free is None else self.free

    def _held(self, group: Any) -> Any:
        """validation_data, checked; with ranks, the rows of all of them"""
        if self.validation_data is None:
            return None
        if group is None:
            return feed.validation(self.net, self.validation_data)
        return Shard(group, lambda: feed.validation(self.net, self.validation_data, shard=True),    # type: ignore[arg-type, return-value]
                     "minimize", self.net.settings() | {"init": None}, "validation_data X")


class _Loop:
    """The steps of a plain or Bayesian search, with callback and validation."""

    def __init__(
        self, problem: LeastSquares, search: Search, course: Any, data: Any, held: Any, start: Doubles,
    ) -> None:
        self.problem, self.search, self.course, self.data, self.held = problem, search, course, data, held
        self._start, self._call = start.copy(), _told(problem.callback)
        self._best: tuple[float, Doubles] = (math.inf, search.x)
        self._fails = 0
        self.frozen = 0.0       # the penalty of the parameters that are not free

    @property
    def J(self) -> float:
        """J at the last point of the equations"""
        return self.search.equations.F / self.data.weight + self.frozen

    def whole(self, x: Doubles) -> Doubles:
        """theta with these free parameters"""
        theta = self._start.copy()
        theta[self.problem._at()] = x
        return theta

    def run(self) -> str:
        """Take steps until there is a reason to stop; returns it."""
        problem, search = self.problem, self.search
        if self.held is not None:
            self._validate()
        while search.nit < problem.maxiter:
            if problem.tol is not None and not problem.bayesian and self._slope() <= problem.tol:
                return TOLERANCE
            before = search.nit
            reason: str | None = self.course.step()
            if search.nit > before and self._call is not None and self._call(self):
                return STOPPED
            if self.held is not None and search.nit > before and self._validate():
                return FAILED.format(problem.max_fail)
            if reason is not None:
                return reason
        return LIMIT

    def _slope(self) -> float:
        """max|D|"""
        return float(np.abs(self.search.equations.g).max()) / self.data.weight

    def _validate(self) -> bool:
        """Has the cost on validation_data not improved for max_fail steps?"""
        theta = self.whole(self.search.x)
        J = J_of.cost(theta, self.held.plain, regularisation.none(self.problem.net.plan), self.problem.n_threads)
        if self._best[0] > J:
            self._best, self._fails = (J, self.search.x), 0
        else:
            self._fails += 1
        return self._fails >= self.problem.max_fail

    def result(self, message: str) -> Any:
        """SciPy's OptimizeResult"""
        from scipy.optimize import OptimizeResult

        search, data = self.search, self.data
        more: dict[str, Any] = {}
        if self.held is not None and self._best[1] is not search.x:
            search.x = self._best[1]
            search.equations.form(search.x)
        if self.held is not None:
            more["val_J"] = self._best[0]
        if self.problem.bayesian:
            more |= self.course.evidence()._asdict() | {"weight_decay": self.course.c}
        return OptimizeResult(
            x=self.whole(search.x), fun=self.J, jac=search.equations.g / data.weight,
            mu=search.mu, nit=search.nit, nfev=search.nfev + search.njev, njev=search.njev, message=message,
            status=int(message == LIMIT), success=message != LIMIT and math.isfinite(self.J), **more,
        )


def _told(callback: Any) -> Any:
    """callback(loop): calls the caller's function as scipy.optimize does; True stops."""
    if callback is None:
        return None
    try:
        names = set(inspect.signature(callback).parameters)
    except (TypeError, ValueError):
        names = set()

    def call(loop: _Loop) -> bool:
        search = loop.search
        try:
            if names == {"intermediate_result"}:
                from scipy.optimize import OptimizeResult

                return bool(callback(intermediate_result=OptimizeResult(
                    x=search.x.copy(), fun=loop.J, mu=search.mu, nit=search.nit)))
            return bool(callback(search.x.copy()))
        except StopIteration:
            return True

    return call
