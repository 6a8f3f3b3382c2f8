"""The training steps of this process: theta, Delta, the optimizer's state, and how a step is taken."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _epoch, optimizers, rules
from .._types import Count, Number, PerLayer, Rule, RuleName, Seed, Value
from ..engine import checks, factors, frozen, memory, sums, threads
from ..engine.data import Data
from ..engine.regularisation import Regularisation
from ..lbfgs import LBFGS
from ..network import Network
from . import full_batch, kinds
from .diagonal import Diagonal
from .own import OwnSteps
from .rule import NO_RATES, CompiledRule, Fit, check_counts, check_state, compiled_rule, is_normal, start, update

APART = 0x9E3779B97F4A7C15  # distance between the seeds of two parts' masks
NOT_EACH = np.empty((0, 2))
OURS = frozenset(optimizers.NAMED.values())


class Steps:
    """The trained parameters, the state kept from step to step, and the steps.

    Parameters
    ----------
    net, optimizer, dropout, input_dropout, seed, n_threads, mean_weight, free, learning_rate_factors, input_scale
        As for `Trainer`.
    penalties
        weight_decay, l1, batch_lam, clip_value, clip_norm, as for `Trainer`.

    Attributes
    ----------
    plan : Plan
        The plan of the network; with dropout it also has the masks of the next step.
    theta, Delta : (n_parameters,)
    kept : Any
        The optimizer's state in memory; `state` is the same with current counts.
    taken : (1,) int64
        Steps so far; compiled code counts those of a compiled rule.
    free : (n_parameters,) bool, or None
        The parameters that are trained; None: all.
    factors : (L - 1, 2) float64, or None
        Factors of the learning rate of the weights and the biases of each Theta; None: all are 1.
    diagonal : Diagonal, or None
        The diagonal layer in front of Theta(1).
    compiled : str or None
        Name of the optimizer's compiled twin.
    crew : Crew
        The threads that compute; the caller of `take` sets it.
    part : int
        Number of this rank's first part; 0 in one process.
    """

    part = 0

    def __init__(
        self, net: Network, optimizer: Rule | RuleName, *, dropout: PerLayer = 0.0, input_dropout: Number = 0.0,
        seed: Seed = None, n_threads: Count | None = None, mean_weight: Number | None = None, free: Any = None,
        learning_rate_factors: Any = None, input_scale: Any = None, **penalties: Any,
    ) -> None:
        self.net = checks.network(net)
        self._optimizer: Any = rules.resolve(optimizer, net.dtype)
        self._regularisation = Regularisation.of(net.plan, 1, **penalties)
        self.n_threads = None if n_threads is None else checks.count(n_threads, "n_threads")
        rates, rng = checks.dropout_rates(dropout, input_dropout, len(net.layer_sizes) - 2), checks.generator(seed)
        self.plan = net.plan.dropping(rates) if rates else net.plan
        self.dropout_seed = int(rng.integers(2**63)) if rates else 0
        self.theta = checks.own_parameters(net.theta, net.plan, net.dtype)
        checks.output_array(self.theta, (net.n_parameters,), net.dtype, "net.theta")
        self.free, self.factors = frozen.mask(free, net.plan), factors.of(learning_rate_factors, net.plan)
        self.diagonal = None if input_scale is None else Diagonal(input_scale, net.plan, self.free)
        self.kept = self._start(self._optimizer)
        self.Delta = np.empty_like(self.theta)
        self.compiled = compiled_rule(self._optimizer)
        self.taken = memory.fixed(1, np.int64)
        self.crew: threads.Crew | threads.Alone = threads.ALONE
        self.mean_weight = mean_weight
        self._work: tuple[int, sums.Workspace] | None = None     # batch size, its workspace
        self._along_own = OwnSteps(self) if net.plan.own is not None and net.plan.own.dtype is None else None
        self._stepper: _epoch.Stepper | None = None
        self._made_for: Any = None      # settings of the stepper
        self._made_by: Any = None       # class and attributes that identify the optimizer
        self._own: dict[str, Any] | None = None
        self._rule = CompiledRule(net, self.theta, self.taken, self.free, self.factors, self.diagonal)
        self.lent: dict[str, int] = {}  # the counts that `state` last handed out
        self._full_batch: full_batch.FullBatch | None = None
        self.set_masks()

    # ------------------------------------------------------------ settings and state

    @property
    def optimizer(self) -> Any:
        return self._optimizer

    @optimizer.setter
    def optimizer(self, value: Rule | RuleName) -> None:
        """Continue with another optimizer. It starts with a new state, and with dropout with new masks."""
        if value is self._optimizer:
            return
        optimizer = rules.resolve(value, self.net.dtype)
        kept, compiled = self._start(optimizer, self.kept), compiled_rule(optimizer)
        seed = np.random.default_rng([self.dropout_seed, int(self.taken[0])]).integers(2**63)
        self._optimizer, self.kept, self.compiled, self._stepper, self.lent = optimizer, kept, compiled, None, {}
        self._look_at_rule()
        self.dropout_seed, self.taken[0], self._full_batch = int(seed) if self.dropout else 0, 0, None
        self.set_masks()

    def put_optimizer(self, optimizer: Rule) -> None:
        """Replace the optimizer by this equal one, whose settings the caller may change."""
        self._optimizer = optimizer

    @property
    def regularisation(self) -> Regularisation:
        return self._regularisation

    @regularisation.setter
    def regularisation(self, value: Regularisation) -> None:
        self._regularisation, self._stepper = value, None

    @property
    def mean_weight(self) -> float | None:
        """The divisor of the examples' weights if a batch divides by its number of examples; None: a batch divides by
        the sum of its own weights."""
        return self._mean_weight

    @mean_weight.setter
    def mean_weight(self, value: Number | None) -> None:
        self._mean_weight, self._stepper = checks.mean_weight(value), None
        # a step is too short to release the GIL
        self._small = self.net.n_parameters <= sums.SMALL and is_normal(1 / self.unit, self.theta.dtype)
        self._quick = self.compiled is not None and self._small

    @property
    def unit(self) -> float:
        """The unit of the weights in a batch that does not divide by its own weights."""
        return 1.0 if self._mean_weight is None else self._mean_weight

    @property
    def dropout(self) -> tuple[float, ...]:
        """The rates of a(1) .. a(L-1); empty without dropout."""
        return self.plan.dropout

    @property
    def state(self) -> Any:
        """The optimizer's state, with the step count of a compiled rule, and with seed and step count of the masks."""
        check_counts(self.kept, self.lent)
        if self._full_batch is not None:
            self._full_batch.export()
        self.lent = {"t": int(self.taken[0])} if self.compiled else {}
        if self.dropout:
            self.lent |= {"dropout_seed": self.dropout_seed, "dropout_t": int(self.taken[0])}
        if self.lent:
            self.kept |= self.lent
        return self.kept

    @state.setter
    def state(self, value: Any) -> None:
        if self.compiled:
            check_state(self.optimizer, value, self.theta, ("dropout_seed", "dropout_t") if self.dropout else (),
                        self.diagonal)
            own = {name: np.array(a) for name, a in value.items() if isinstance(a, np.ndarray) and a.base is not None}
            if "bias" in self.kept:     # belongs to the network, not to the state
                own["bias"] = self.kept["bias"]
            value = {**value, **own}    # its arrays may be views of other or read-only memory, as from pickles
        elif self.diagonal is not None:
            self.diagonal.check(value, self.theta)
        full_batch.check_state(self, value)
        self._full_batch = None
        seed, t = checks.masks(value) if self.dropout else (0, 0)
        self.taken[0] = value["t"] if self.compiled else t
        self.kept, self._stepper, self.dropout_seed, self.lent = value, None, seed, {}
        self.set_masks()

    def restart(self, seed: int) -> None:
        """Start from the present theta with a new state, and masks drawn from this seed."""
        self.kept, self._stepper, self.dropout_seed = self._start(self.optimizer), None, seed
        self.lent, self._full_batch = {}, None
        self.set_masks()

    def _start(self, optimizer: Any, kept: Any = None) -> Any:
        """A new state of this optimizer, with the diagonal layer of the state `kept`, or with a new one."""
        return start(optimizer, self.theta, self.net.plan, self.diagonal, kept)

    def set_masks(self, first: int = 0, part: int | None = None) -> None:
        """Set the masks of the next step for the part of this number; its batch begins at example `first`."""
        if self.dropout:
            part = self.part if part is None else part
            seed = (self.dropout_seed + part * APART) % 2**63   # no two parts drop alike
            self.plan.set_masks(seed, int(self.taken[0]), first)

    def become(self, fit: Fit) -> None:
        """Resume from this state; if Ctrl-C or a lack of memory interrupts it, nothing changes."""
        now = {name: getattr(self.optimizer, name) for name in fit.numbers}
        before = Fit(self.theta.copy(), self.state, self._regularisation, now, self.mean_weight)
        try:
            self._become(fit)
        except BaseException:
            self._become(before)
            raise

    def _become(self, fit: Fit) -> None:
        for name, value in fit.numbers.items():
            setattr(self.optimizer, name, value)
        self._regularisation, self.state, self.mean_weight = fit.regularisation, fit.state, fit.mean_weight
        self.theta[:] = fit.theta

    # ------------------------------------------------------------ steps

    def quick(self, X: Any, Y: Any) -> float | None:
        """Take one step; returns J before it, or None, with nothing done, if the arrays must be checked first."""
        stepper = self.prepared()
        if stepper is None:
            return None
        J = stepper.step(X, Y)
        return self.quick_own(X, Y, stepper) if J is None else J

    def quick_own(self, X: Any, Y: Any, stepper: _epoch.Stepper) -> float | None:
        """`quick` for a loss in Python; None for any other."""
        if self._along_own is None or type(X) is not np.ndarray or type(Y) is not np.ndarray:
            return None
        return self._along_own.quick(X, Y, stepper)

    def prepared(self) -> _epoch.Stepper | None:
        """The stepper for quick steps, remade if anything has changed; None if the rule or the network has none."""
        stepper, optimizer = self._stepper, self._optimizer
        if stepper is None or type(optimizer) is not self._made_by or optimizer.__dict__ != self._own or (
            self.theta is not self.net._theta or (self.lent and not self._as_lent())
        ):
            return self._prepare(self._optimizer.settings()) if self._quick and self._look_at_rule() else None
        return stepper

    def _prepare(self, settings: tuple[Any, ...]) -> _epoch.Stepper:
        """The stepper for these settings; called before every step if the learning rate is a function."""
        plan, dtype = self.plan, self.theta.dtype
        self.check_network()
        self._follow_theta()
        if self._stepper is None or settings != self._made_for or not self._as_lent():
            most = min(kinds.LARGE * sums.LOWEST, int(sums.FEW / sums.operations(plan, 1)))
            self._stepper = _epoch.Stepper(
                plan.code, self.theta, sums.height(plan, sums.LOWEST, dtype), self.compiled_rule(self.unit),
                plan.lowest, plan.highest, (plan.output, plan.loss) == ("softmax", "cross_entropy"), 1 / self.unit,
                most, sums.height(plan, sums.MANY, dtype),
            )
        self._made_for, optimizer = settings, self._optimizer
        self._made_by = self._own = None        # then everything is checked before every step
        if callable(settings[0]):
            self._stepper.rate = self.rates(1)[0]
        elif type(optimizer) in OURS and self.diagonal is None and (
            all(isinstance(each, (int, float)) for each in vars(optimizer).values())
        ):
            self._made_by, self._own = type(optimizer), dict(vars(optimizer))
        return self._stepper

    def epoch(
        self, X: ArrayLike, Y: ArrayLike, batch_size: Count | None, order: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> float:
        """`Trainer.epoch` in this process."""
        batch_size = None if batch_size is None else checks.count(batch_size, "batch_size")
        data = self.net.data(X, Y, sample_weight)
        checks.own_parameters(self.theta, self.net.plan, self.net.dtype)
        if order is not None:
            order = checks.order_of_examples(order, data.m)
        m = data.m if order is None else len(order)
        rows = m if batch_size is None else min(batch_size, m)
        operations = sums.operations(self.net.plan, rows)
        with self.net._turn, threads.crew(self.plan.kept, self.n_threads, operations, m / rows) as self.crew:
            return self.mean(data, batch_size, order)

    def mean(
        self, data: Data, batch_size: int | None = None, order: NDArray[np.int64] | None = None,
        each: NDArray[np.float64] = NOT_EACH,
    ) -> float:
        """One pass over the examples; returns its mean J."""
        if batch_size is None:
            batch_size = max(2, data.m if order is None else len(order))
        total, weight = self.take(data, batch_size, order, each=each)
        if not weight:
            raise ValueError("sample_weight is 0 for all examples in order")
        return total / weight

    def take(
        self, data: Data, batch_size: int, order: NDArray[np.int64] | None = None, *, rates: ArrayLike | None = None,
        before: tuple[float, float] = (0.0, 0.0), each: NDArray[np.float64] = NOT_EACH,
    ) -> tuple[float, float]:
        """Take the steps of an epoch, or of a piece of one; cuts between batches change no bit.

        Parameters
        ----------
        rates : array of float, optional
            Learning rates of the steps, at least one per batch; None asks the optimizer.
        before : (float, float)
            The sums of the pieces before this one.
        each : (batches, 2), zeros
            Receives the mean cost and the penalty of each batch, unless its weights sum to 0.

        Returns
        -------
        (float, float)
            The sums of m_b J and of m_b over the batches of all pieces so far, in units of data.scale, or of
            mean_weight if there is one.
        """
        self.look()
        if isinstance(self._optimizer, LBFGS):
            m = data.m if order is None else len(order)
            self._full_batch = self._full_batch or full_batch.FullBatch(self)
            return self._full_batch.take(self.weighed(data), order, whole=batch_size >= m and before == (0.0, 0.0))
        data = self.weighed(data)
        batches = kinds.Batches.of(self, data, batch_size, order, rates, each, before)
        if self._along_own is not None:
            return self._along_own.take(batches, data, order)
        return kinds.way(self, batch_size, each)(self, batches)

    @property
    def ended(self) -> str | None:
        """The reason why further steps change nothing; None if they do."""
        return None if self._full_batch is None else self._full_batch.ended

    def look(self) -> None:
        """Check what the caller may have changed since the last step: the network, and the optimizer's settings."""
        self.check_network()
        self._look_at_rule()

    def _look_at_rule(self) -> bool:
        """Are quick steps possible? Setting an attribute may have cost the optimizer its compiled twin."""
        check_counts(self.kept, self.lent)
        compiled = compiled_rule(self._optimizer)
        if compiled != self.compiled:
            if self.compiled:
                self.kept["t"] = int(self.taken[0])     # counted in compiled code until now
            self.compiled, self._stepper, self.lent = compiled, None, {}
        self._quick = compiled is not None and self._small
        return self._quick

    def _as_lent(self) -> bool:
        """Does the state hold the arrays that the rule was made from? A changed count is a ValueError."""
        check_counts(self.kept, self.lent)
        return self._rule.has_arrays_of(self.kept)

    def check_network(self) -> None:
        """Check that the network is the one that training began with: `__setstate__` gives it another theta."""
        if self.theta is not self.net.theta:
            raise ValueError("net has been given another state since this training began; make a new Trainer for it")
        checks.output_array(self.theta, (self.net.n_parameters,), self.net.dtype, "net.theta")

    def weighed(self, data: Data) -> Data:
        """The examples with their weights in units of mean_weight, if there is one."""
        return data if self._mean_weight is None else data.in_units_of(self._mean_weight, self.theta.dtype)

    def rates(self, n: int) -> NDArray[np.float64]:
        """The learning rates of the next n steps; empty if it is constant, or if the rule is in Python."""
        rate = self._optimizer.settings()[0] if self.compiled else None
        return checks.rates(rate, int(self.taken[0]), n) if callable(rate) else NO_RATES

    def compiled_rule(self, scale: float) -> _epoch.Rule:
        """Optimizer and regularisation for compiled steps; weights are in units of scale."""
        assert self.compiled is not None
        check_counts(self.kept, self.lent)
        self._follow_theta()
        return self._rule.of(self.compiled, self._optimizer, self._regularisation, scale, self.kept)

    def workspace(self, batch_size: int) -> sums.Workspace:
        """The workspace for batches of this size, kept between calls."""
        if self._work is None or self._work[0] != batch_size:
            self._work = batch_size, sums.Workspace(self.plan, batch_size, self.theta.dtype)
        return self._work[1]

    def _follow_theta(self) -> None:
        """Adapt the diagonal layer to theta, which the caller may have changed."""
        if self.diagonal is not None:
            self.diagonal.follow(self.theta, self.kept)

    def learn(self, m_b: float, scale: float = 1.0, divisor: float | None = None) -> float:
        """Take a step of a Python rule along D, from Delta / divisor (None: m_b); returns the penalty before it."""
        plan, theta, regularisation = self.net.plan, self.theta, self._regularisation
        self._follow_theta()
        penalty = regularisation.penalty(plan, theta, m_b * scale)
        D = regularisation.regularise(plan, theta, self.Delta, m_b, scale, divisor, self.free)
        update(self, D)
        self.taken[0] += 1
        return penalty

    # ------------------------------------------------------------ the same interface as RankSteps

    conditions: dict[str, Any] = {}     # noqa: RUF012  (those of ranks; none here)

    def once(self, function: Callable[[], Value]) -> Value | None:
        """function(); with several ranks, only one of them calls it."""
        return function()

    def resume(self, read: Callable[[], Fit]) -> Fit:
        """Resume from what read() returns, and return it."""
        with self.net._turn:
            self.become(fit := read())
        return fit
