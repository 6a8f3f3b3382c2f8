"""The training loop: epochs of batches, and what is decided between them."""

import time

import numpy as np

from . import _epoch, checks, gradient, optimizers, threads
from . import progress as reporting
from .history import History
from .initialize import warn_if_equal_units

EMPTY = {np.dtype(dtype): np.empty(0, dtype) for dtype in (np.float32, np.float64)}


class DivergenceError(ArithmeticError):
    """J or theta became infinite or NaN; theta holds its last finite state, `history` the epochs before."""

    def __init__(self, message, history=None):
        super().__init__(message)
        self.history = history


def train(
    net, X, Y, *, optimizer="adam", epochs, batch_size=32, weight_decay=0.0, lam=None, sample_weight=None,
    shuffle=True, validation_data=None, seed=None, progress=False, n_threads=None,
):
    """Train a network: `epochs` times over the examples, a step of the optimizer along D of each batch.

    Parameters
    ----------
    net : Network
        Its theta is changed in place.
    X, Y, sample_weight
        As for `Network.cost_and_gradient`.
    optimizer : Optimizer, "sgd" or "adam"
        Anything with ``init(theta)`` and ``update(theta, D, state)``; see `fastbp.optimizers`.
    epochs : int
    batch_size : int or None
        Examples of a step; None takes all of them (batch gradient descent), 1 is the online form, more than there
        are is clipped. Each batch divides by its own size (or sum of weights), the short last one too.
    weight_decay, lam : float
        c of MATH.md, or the course's lambda: c = lam / m, m the training rows (or the sum of their weights).
    shuffle : bool
        A new order of the examples each epoch; False takes them as they lie.
    validation_data : (X, Y) or (X, Y, sample_weight), optional
        Evaluated after each epoch.
    seed : int, numpy Generator or None
        Of the order. The same seed, machine and versions give the same bits; None draws fresh entropy.
    progress : bool
        Show a bar (tqdm, on a terminal) or a line now and then.
    n_threads : int, optional
        At most this many threads; None decides by what was measured to help. Never changes a bit.

    Returns
    -------
    History
        J, val_J, val_accuracy an epoch.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, before anything has changed.
    DivergenceError
        J or theta is no longer finite; theta is as it was before that epoch.
    """
    epochs = checks.count(epochs, "epochs")
    batch_size = None if batch_size is None else checks.count(batch_size, "batch_size")
    shuffle, show = checks.flag(shuffle, "shuffle"), checks.flag(progress, "progress")
    rng = checks.generator(seed)
    data = net.data(X, Y, sample_weight)
    validation = _validation(net, validation_data)
    c = checks.coefficient(weight_decay, lam, data.weight)
    rows = data.m if batch_size is None else min(batch_size, data.m)
    crew = threads.crew(n_threads, gradient.operations(net.plan, rows))
    run = Run(net, optimizers.resolve(optimizer), c, crew)
    warn_if_equal_units(net, stacklevel=2)

    history = History(examples=data.m)
    if validation is not None:
        history.val_J = []
        history.val_accuracy = [] if validation.classes else None
    with crew, reporting.bar(epochs) if show else reporting.silent() as report:
        for _ in range(epochs):
            before = net.theta.copy()
            started = time.perf_counter()
            J = run.epoch(data, batch_size, rng.permutation(data.m) if shuffle else None)
            elapsed = time.perf_counter() - started
            if not (np.isfinite(J) and np.isfinite(net.theta).all()):
                net.theta[:] = before
                raise DivergenceError(
                    f"training diverged in epoch {len(history) + 1}: J is {J:g}. theta is as it was before this "
                    "epoch; a smaller learning_rate or inputs scaled to about [-1, 1] may help", history,
                )
            history.J.append(J)
            history.seconds.append(elapsed)
            if validation is not None:
                result = net.evaluate_data(validation)
                history.val_J.append(result.cost)
                if result.accuracy is not None:
                    history.val_accuracy.append(result.accuracy)
            report(history)
    return history


class Run:
    """One training under way: a network, an optimizer with its state, and the buffers that steps need.

    Parameters
    ----------
    net : Network
    optimizer : Optimizer
    c : float
        The coefficient of the regularisation.
    crew : Crew
    """

    def __init__(self, net, optimizer, c, crew=gradient.ALONE):
        self.net, self.optimizer, self.c, self.crew = net, optimizer, c, crew
        self.theta = checks.parameters(net.theta, net.plan, net.dtype, "net.theta")
        self.state = optimizer.init(self.theta)
        self.Delta = np.empty_like(self.theta)

    def epoch(self, data, batch_size=None, order=None):
        """One pass over the data in the given order (indices; None: as they lie); returns the mean J."""
        m = data.m if order is None else len(order)
        order = None if order is None else checks.order_of_examples(order, data.m)
        batch_size = m if batch_size is None else min(batch_size, m)
        if not getattr(self.optimizer, "compiled", None):
            steps = self._python_steps
        elif batch_size == 1 and self.optimizer.compiled == "sgd" and not self.optimizer.slots:
            steps = self._online_steps
        else:
            steps = self._compiled_steps
        total, weight = steps(data.examples(order), m, batch_size)
        return total / weight

    def _compiled_steps(self, examples, m, batch_size):
        """All steps in compiled code; the calling thread is back in Python at least every 20 ms."""
        state, plan, theta = self.state, self.net.plan, self.theta
        slots = [state[slot] for slot in self.optimizer.slots] + [EMPTY[theta.dtype]] * 2
        settings = np.array(self.optimizer.settings(), np.float64)
        rule = _epoch.rules[self.optimizer.compiled]
        work, squares = gradient.Workspace(plan, batch_size, theta.dtype), np.zeros(_epoch.groups(plan.code))
        total, weight, batch, batches = 0.0, 0.0, 0, -(-m // batch_size)
        while batch < batches:
            begin, t = batch, state["t"]
            part, part_weight, batch, state["t"] = self.crew.run(
                lambda team, member, begin=begin, t=t: _epoch.steps(
                    plan.code, theta, examples, m, batch_size, begin, batches, self.c, rule, settings, t, slots[0],
                    slots[1], self.Delta, work.block, work.rows, work.costs, squares, self.crew.budget, team, member,
                )
            )
            total += part
            weight += part_weight
        return total, weight

    def _online_steps(self, examples, m, _):
        """Plain SGD, one example a step: the fused sweeps."""
        plan, state = self.net.plan, self.state
        work = gradient.Workspace(plan, 1, self.theta.dtype)
        stride = max(1, int(1e6 / gradient.operations(plan, 1)))
        total, weight, done = 0.0, 0.0, 0
        while done < m:
            part, part_weight, done, state["t"] = _epoch.online_steps(
                plan.code, self.theta, examples, done, m, self.c, self.optimizer.learning_rate, state["t"], work.block,
                work.rows, 0.02, stride,
            )
            total += part
            weight += part_weight
        return total, weight

    def _python_steps(self, examples, m, batch_size):
        """One crossing a batch: Delta compiled, D and the update rule in Python."""
        plan, theta, Delta = self.net.plan, self.theta, self.Delta
        work = gradient.Workspace(plan, batch_size, theta.dtype)
        total, weight = 0.0, 0.0
        for first in range(0, m, batch_size):
            last = min(first + batch_size, m)
            m_b = examples.weight(first, last)
            if m_b == 0:    # nothing to learn from: no step
                continue
            Delta[:] = 0
            cost = gradient.accumulate_range(plan, theta, examples, first, last, work, Delta, self.crew)
            total += cost + m_b * gradient.penalty(plan, theta, self.c)
            weight += m_b
            self.optimizer.update(theta, gradient.regularise(plan, theta, Delta, m_b, self.c), self.state)
        return total, weight


def _validation(net, validation_data):
    if validation_data is None:
        return None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError(
            f"validation_data must be (X, Y) or (X, Y, sample_weight); got {type(validation_data).__name__}"
        )
    return net.data(*validation_data, names=("validation_data X", "validation_data Y"))
