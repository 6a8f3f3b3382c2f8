"""The optimizer of an estimator between its epochs: learning rates, state, and the loss as scikit-learn reports it."""

import copy
import os
import sys

import numpy as np

from .. import gradient, optimizers, threads
from ..optimizers import SGD, Optimizer
from ..training import Trainer


class UncorrectedAdam(Optimizer):
    """m := beta_1 m + (1 - beta_1) D;  v := beta_2 v + (1 - beta_2) D^2;
    theta := theta - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).

    Kingma & Ba 2015, the order of computation at the end of section 2: epsilon stands beside the uncorrected root.
    """

    slots = ("m", "v")

    def __init__(self, learning_rate, beta_1, beta_2, epsilon):
        self.learning_rate, self.beta_1, self.beta_2, self.epsilon = learning_rate, beta_1, beta_2, epsilon

    def update(self, theta, D, state):
        state["t"] += 1
        t, m, v = state["t"], state["m"], state["v"]
        m *= self.beta_1
        m += (1 - self.beta_1) * D
        v *= self.beta_2
        v += (1 - self.beta_2) * D * D
        rate = self.learning_rate * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        theta -= (rate * m / (np.sqrt(v) + self.epsilon)).astype(theta.dtype, copy=False)


def rule(estimator):
    """The update rule that the estimator's parameters ask for."""
    e = estimator
    if not isinstance(e.solver, str):
        return copy.deepcopy(e.solver)
    if e.solver == "sgd":
        return SGD(e.learning_rate_init, float(e.momentum), bool(e.nesterovs_momentum and e.momentum > 0))
    if e.solver == "adam":
        return UncorrectedAdam(float(e.learning_rate_init), float(e.beta_1), float(e.beta_2), float(e.epsilon))
    return optimizers.NAMED[e.solver](learning_rate=float(e.learning_rate_init))


class Stochastic:
    """An update rule with its state, on one network.

    Attributes
    ----------
    learning_rate : float
        Of the next step; for Adam the factor of its last one, corrections included, as scikit-learn has it.
    """

    def __init__(self, net, estimator):
        e = estimator
        self.schedule = e.learning_rate if e.solver == "sgd" else "constant"
        self.learning_rate_init, self.power_t = float(e.learning_rate_init), float(e.power_t)
        self.solver = e.solver if isinstance(e.solver, str) else type(e.solver).__name__
        self.rule = rule(e)
        self._attach(net, None)

    def _attach(self, net, state):
        self.trainer = Trainer(net, self.rule)
        if state is not None:
            self.trainer.state = state
        self.before = np.empty_like(net.theta)

    def on(self, net):
        """The same rule and state going on with this network: itself, where it is at work there already."""
        if self.trainer is not None and self.trainer.net is net:
            return self
        twin = copy.copy(self)
        twin.rule = copy.deepcopy(self.rule)
        state = copy.deepcopy(self.trainer.state if self.trainer is not None else self._state)
        if any(isinstance(a, np.ndarray) and a.shape not in ((), net.theta.shape) for a in state.values()):
            state = None    # of a network of another size
        twin._attach(net, state)
        return twin

    def __getstate__(self):
        kept = {name: value for name, value in vars(self).items() if name not in ("trainer", "before", "_state")}
        return {**kept, "_state": self.trainer.state if self.trainer is not None else self._state}

    def __setstate__(self, kept):
        vars(self).update(kept, trainer=None)

    @property
    def t(self):
        """steps taken"""
        return (self.trainer.state if self.trainer is not None else self._state)["t"]

    @property
    def learning_rate(self):
        if self.solver == "adam" and self.t:
            rule, t = self.rule, self.t
            return rule.learning_rate * np.sqrt(1 - rule.beta_2**t) / (1 - rule.beta_1**t)
        return getattr(self.rule, "learning_rate", None)

    def iteration_ends(self, t):
        """After an epoch, t examples seen so far: learning_rate_init / (t + 1)^power_t, if that is the schedule."""
        if self.schedule == "invscaling":
            self.rule.learning_rate = self.learning_rate_init / (t + 1) ** self.power_t

    def trigger_stopping(self, message, verbose):
        """No progress any more: stop (True), or go on with a fifth of the learning rate."""
        if self.schedule != "adaptive":
            ending = " Stopping."
        elif self.rule.learning_rate <= 1e-6:
            ending = " Learning rate too small. Stopping."
        else:
            self.rule.learning_rate /= 5.0
            ending = f" Setting learning rate to {self.rule.learning_rate:f}"
        if verbose:
            print(message + ending)
        return "Stopping" in ending

    def epoch(self, training, batch_size, order, alpha, divisor):
        """The steps of one epoch; returns the mean of the batches' losses, each counted by its number of examples.

        A batch's c is alpha / m_b, m_b its number of examples or their weight. Its loss is the mean cost over
        `divisor` (scikit-learn's squared error is a mean over the outputs too, its gradient is not), and the penalty.
        """
        total = 0.0
        for data, places in training.parts(batch_size, order):
            m = data.m if places is None else len(places)
            by_batch = data.w is not None or (divisor > 1 and alpha > 0)
            if by_batch:
                total += self._batches(data, batch_size, np.arange(m) if places is None else places, alpha, divisor)
            else:
                total += self._steps(data, batch_size, np.arange(m) if places is None else places, alpha, divisor)
        return total / (training.m if order is None else len(order))

    def _steps(self, data, batch_size, order, alpha, divisor):
        whole, total = len(order) // batch_size * batch_size, 0.0
        for part in (order[:whole], order[whole:]):
            if len(part):
                self.trainer.weight_decay = alpha / min(batch_size, len(part))
                total += len(part) * self.trainer._epoch(data, batch_size, part) / divisor
        return total

    def _batches(self, data, batch_size, order, alpha, divisor):
        net, total = self.trainer.net, 0.0
        for at in range(0, len(order), batch_size):
            part = order[at : at + batch_size]
            m_b = float(len(part)) if data.w is None else float(data.w[part].sum(dtype=np.float64)) * data.scale
            if m_b == 0:        # nothing to learn from
                continue
            self.trainer.weight_decay = c = alpha / m_b
            penalty = gradient.penalty(net.plan, net.theta, c) if divisor > 1 else 0.0
            J = self.trainer._epoch(data, None, part)
            total += len(part) * ((J - penalty) / divisor + penalty)
        return total

    def crew(self, n_threads, rows, batches):
        """The threads of so many steps of so many rows; hand it to the trainer inside a with block."""
        return threads.crew(n_threads, gradient.operations(self.trainer.net.plan, rows), batches)


def allowed_threads(n_threads):
    """n_threads, or what joblib leaves: one beside other jobs of this process, else what its worker was granted."""
    if n_threads is not None:
        return int(n_threads)
    parallel = sys.modules.get("joblib.parallel")
    if parallel is None:
        return None
    backend, _ = parallel.get_active_backend()
    if not getattr(backend, "nesting_level", 0):
        return None
    granted = os.environ.get("OMP_NUM_THREADS", "")     # set by loky in its workers: processors over jobs
    return int(granted) if granted.isdigit() and int(granted) else 1
