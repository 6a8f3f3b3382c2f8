"""The optimizer of an estimator: its learning rate, its state, and the loss as scikit-learn reports it."""

import copy
import math
import os
import sys
from itertools import pairwise
from multiprocessing import parent_process

import numpy as np

from .. import optimizers
from ..engine import blas, checks, sums, threads
from ..optimizers import SGD, Adam
from ..schedules import InverseScaling
from ..training.trainer import Trainer
from . import messages

SMALLEST = math.ulp(0)  # the smallest learning rate above 0


def rule(estimator):
    """The update rule for the estimator's parameters."""
    e = estimator
    if not isinstance(e.solver, str):
        return copy.deepcopy(e.solver)
    if e.solver == "sgd":
        return SGD(float(e.learning_rate_init), float(e.momentum), bool(e.nesterovs_momentum and e.momentum > 0))
    if e.solver == "adam":
        return Adam(float(e.learning_rate_init), float(e.beta_1), float(e.beta_2), float(e.epsilon), epsilon_hat=True)
    return optimizers.NAMED[e.solver](learning_rate=float(e.learning_rate_init))


def own(estimator, net):
    """The estimator's optimizer, for this network; a TypeError if another object has replaced it."""
    optimizer = estimator._optimizer
    if not isinstance(optimizer, Stochastic):
        raise TypeError(
            f"_optimizer must be the object that a fit with solver={estimator.solver!r} made; got {optimizer!r:.200}. "
            "Pass your own optimizer as solver=, or delete _optimizer to start with a new one"
        )
    return optimizer.on(net)


def _read(solver, name, of):
    """A read-only property `name`, computed by `of`, that only the optimizer of this solver has."""
    def get(self):
        if self.solver != solver:
            raise AttributeError(f"the optimizer of solver={self.solver!r} has no {name}")
        return of(self)

    return property(get)


class Stochastic:
    """An update rule with its state, on one network.

    Attributes
    ----------
    learning_rate : float
        sgd: the rate of the next step. adam: the factor of the last step, corrections included, as in scikit-learn.
        It may be set; adam computes it again in each step, from learning_rate_init.
    learning_rate_init : float
        It may be set. It takes effect in adam's next step, or in the next epoch of "invscaling".
    t, ms, vs, beta_1, beta_2, epsilon
        For adam; read-only. ms and vs are copies, in the order and the shapes of coefs_ + intercepts_.
    velocities, momentum, nesterov, lr_schedule
        For sgd; read-only. velocities exist only with momentum.
    """

    t = _read("adam", "t", lambda self: self.state["t"])
    ms, vs = _read("adam", "ms", lambda self: self._arrays("m")), _read("adam", "vs", lambda self: self._arrays("v"))
    beta_1 = _read("adam", "beta_1", lambda self: self.rule.beta_1)
    beta_2 = _read("adam", "beta_2", lambda self: self.rule.beta_2)
    epsilon = _read("adam", "epsilon", lambda self: self.rule.epsilon)
    velocities = _read("sgd", "velocities", lambda self: self._arrays("v"))
    momentum = _read("sgd", "momentum", lambda self: self.rule.momentum)
    nesterov = _read("sgd", "nesterov", lambda self: vars(self).get("_nesterov", self.rule.nesterov))
    lr_schedule = _read("sgd", "lr_schedule", lambda self: self.schedule)

    def __init__(self, net, estimator):
        e = estimator
        self.schedule = e.learning_rate if e.solver == "sgd" else "constant"
        self.solver = e.solver if isinstance(e.solver, str) else type(e.solver).__name__ + "()"
        self.rule = rule(e)
        self._nesterov = bool(e.nesterovs_momentum)     # the rule has it only with momentum
        self.dropout = e.dropout
        self.seed = e._random_state.randint(2**31 - 1) if np.any(e.dropout) else 0
        self._attach(net, None)
        self.learning_rate_init, self.power_t = float(e.learning_rate_init), float(e.power_t)

    def _attach(self, net, state):
        self.trainer = Trainer(net, self.rule, dropout=self.dropout, seed=self.seed)
        self._settings = None       # as `set` has left them in the trainer
        if state is not None:
            self.trainer.state = state
        self.layer_sizes = net.layer_sizes
        self.before = np.empty_like(net.theta)

    def on(self, net):
        """This rule for this network: self if it has this network, else a copy. Other layers get a new state."""
        if self.trainer is not None and self.trainer.net is net:
            return self
        twin = copy.copy(self)
        twin.rule = copy.deepcopy(self.rule)
        twin._attach(net, self._copy_of_state(net.dtype) if self.layer_sizes == net.layer_sizes else None)
        return twin

    @property
    def state(self):
        return self.trainer.steps.state if self.trainer is not None else self._state

    def _copy_of_state(self, dtype):
        if not isinstance(self.state, dict):
            return copy.deepcopy(self.state)
        state = {name: np.array(a) if isinstance(a, np.ndarray) else copy.deepcopy(a) for name, a in self.state.items()}
        return {name: a.astype(dtype) if name in getattr(self.rule, "slots", ()) else a for name, a in state.items()}

    def __getstate__(self):
        made_anew = "trainer", "before", "_state", "_settings"
        kept = {name: value for name, value in vars(self).items() if name not in made_anew}
        return {**kept, "_state": self.state}

    def __setstate__(self, kept):
        vars(self).update(kept, trainer=None)

    @property
    def learning_rate(self):
        t = self.state["t"] if self.solver == "adam" else 0
        set_at, rate = vars(self).get("_rate_set", (None, None))
        if set_at == t:
            return rate
        if t:
            return self.rule.learning_rate * np.sqrt(1 - self.rule.beta_2**t) / (1 - self.rule.beta_1**t)
        return getattr(self.rule, "learning_rate", None)

    @learning_rate.setter
    def learning_rate(self, value):
        value = checks.number(value, "learning_rate")
        if self.solver == "adam":
            self._rate_set = self.t, value      # until the next step
        elif hasattr(self.rule, "learning_rate"):
            self.rule.learning_rate = max(value, SMALLEST)
        else:
            raise AttributeError(f"solver={self.rule!r:.200} has no learning_rate")

    @property
    def learning_rate_init(self):
        return self.rule.learning_rate if self.solver == "adam" else vars(self)["learning_rate_init"]

    @learning_rate_init.setter
    def learning_rate_init(self, value):
        value = checks.number(value, "learning_rate_init")
        if self.solver == "adam":
            self._rate_set = self.t, self.learning_rate     # the rate of the last step, until the next step
            self.rule.learning_rate = max(value, SMALLEST)
        vars(self)["learning_rate_init"] = value

    def _arrays(self, slot):
        """A slot of the state as read-only copies in the order and the shapes of coefs_ + intercepts_."""
        if slot not in self.state:
            raise AttributeError("sgd keeps velocities only with momentum above 0")
        a, coefs, intercepts = self.state[slot], [], []
        for k, n in pairwise(self.layer_sizes):
            T, a = a[: n * (k + 1)].reshape(n, k + 1), a[n * (k + 1) :]
            coefs.append(T[:, 1:].T.copy())
            intercepts.append(T[:, 0].copy())
        for copied in coefs + intercepts:
            copied.flags.writeable = False
        return coefs + intercepts

    def iteration_ends(self, t):
        """Set the learning rate of "invscaling" after t examples: learning_rate_init / (t + 1)^power_t."""
        if self.schedule == "invscaling":
            self.rule.learning_rate = max(InverseScaling(self.learning_rate_init, self.power_t)(t), SMALLEST)

    def trigger_stopping(self, message, verbose):
        """Called for lack of progress: return True to stop, or divide the learning rate by 5."""
        if self.schedule != "adaptive":
            ending = " Stopping."
        elif self.rule.learning_rate <= 1e-6:
            ending = " Learning rate too small. Stopping."
        else:
            self.rule.learning_rate /= 5.0
            ending = f" Setting learning rate to {self.rule.learning_rate:f}"
        if verbose:
            messages.say(message + ending)
        return "Stopping" in ending

    def set(self, alpha, clip_norm, mean_weight=None):
        """Set the parameters that may change between calls; mean_weight goes with class_weight."""
        if (settings := (alpha, clip_norm, mean_weight)) == self._settings:
            return
        self._settings = None
        if self.trainer.batch_lam != alpha:
            self.trainer.batch_lam = float(alpha)
        if self.trainer.clip_norm != clip_norm:
            self.trainer.clip_norm = clip_norm
        if self.trainer.mean_weight != mean_weight:
            self.trainer.steps.mean_weight = mean_weight
        self._settings = settings

    def epoch(self, training, batch_size, order, divisor):
        """The steps of one epoch; returns the mean of the batches' losses, each counted by its number of examples.

        A batch's c is alpha / m_b, where m_b is its number of examples or their weight. Its loss is the mean cost over
        `divisor` (scikit-learn's squared error is also a mean over the outputs, its gradient is not) plus the penalty.
        With class_weight the costs have the same divisor as D.
        """
        trainer, total = self.trainer, 0.0
        for part, order_of in training.parts(batch_size, order):
            data = trainer.steps.weighed(part)
            m = data.m if order_of is None else len(order_of)
            if data.w is None and data.counts is None and (divisor == 1 or trainer.batch_lam == 0):
                total += m * trainer.steps.mean(data, batch_size, order_of) / divisor
            elif data.w is None or (data.w if order_of is None else data.w[order_of]).any():
                rows = np.diff([*range(0, m, batch_size), m])
                each = np.zeros((len(rows), 2))
                trainer.steps.mean(data, batch_size, order_of, each)
                with blas.single_thread(everywhere=True):
                    each[:, 0] *= self._shares(data, batch_size, order_of)
                    total += float(rows @ (each @ [1 / divisor, 1]))
        return total / (training.m if order is None else len(order))

    def _shares(self, data, batch_size, order):
        """The weight of each batch over the divisor of its D; 1 without class_weight."""
        m = data.m if order is None else len(order)
        divisors = None if self.trainer.mean_weight is None else data.divisors(order, m, batch_size)
        if divisors is None:
            return 1.0
        w = np.ones(data.m) if data.w is None else data.w[:, 0]
        weights = np.add.reduceat(w if order is None else w[order], np.arange(0, m, batch_size), dtype=np.float64)
        return weights / np.where(divisors > 0, divisors, 1)

    def crew(self, n_threads, rows, batches):
        """The threads for this many batches of this many rows, lent to the trainer in a with block."""
        plan = self.trainer.net.plan
        return threads.crew(plan.kept, n_threads, sums.operations(plan, rows), batches)


def allowed_threads(n_threads):
    """n_threads, or as many as joblib leaves: one if this process runs other jobs, else those granted to its worker."""
    if n_threads is not None:
        return int(n_threads)
    parallel = sys.modules.get("joblib.parallel")
    if parallel is None:
        return None
    backend, _ = parallel.get_active_backend()
    if not getattr(backend, "nesting_level", 0):
        return None
    granted = os.environ.get("OMP_NUM_THREADS", "")     # set by loky in its workers: processors over jobs
    return int(granted) if parent_process() is not None and granted.isdigit() and int(granted) else 1
