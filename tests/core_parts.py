"""Arguments of the compiled core, made by hand, for tests that call its entries without the layers above."""

import numpy as np

import fastbp
from fastbp import _backprop, _calls, _epoch, _kernels, rules
from fastbp.engine import sums

M, BATCH = 40, 8
NO_RATES = np.empty(0)


class Parts:
    """A small network with all its arguments for the core"""

    def __init__(self, dtype, rule="nadam"):
        rng = np.random.default_rng(0)
        self.net = fastbp.Network([4, 9, 3], output="softmax", dtype=dtype, seed=0)
        self.plan, self.theta = self.net.plan.code.copy(), self.net.theta.copy()
        self.X, self.Y = rng.standard_normal((M, 4)).astype(dtype), np.eye(3, dtype=dtype)[np.arange(M) % 3]
        self.labels, self.order, self.w = np.arange(M) % 3, rng.permutation(M), np.ones((M, 1), dtype)
        work = sums.Workspace(self.net.plan, M, dtype)
        self.work, self.B = np.zeros(work.height * self.net.plan.units, dtype), work.height
        self.costs = np.zeros(len(work.costs))
        self.Delta, self.packed = np.zeros_like(self.theta), np.zeros(_epoch.packed_size(self.plan, self.theta), dtype)
        self.taken = np.zeros(1, np.int64)
        self.cuts, self.places, self.sums = np.array([0, 16, M]), np.array([[-1, 0]] * 2), np.zeros(2)
        optimizer = rules.resolve(rule, dtype)
        state = optimizer.init(self.theta)
        self.settings = np.array([float(value) for value in optimizer.settings()])
        self.regularisation = np.array([0.0, 0.0, np.inf, np.inf, 0.0, 0.0])
        self.slots, self.scalars = [state[slot] for slot in optimizer.slots], state.get("scalars", NO_RATES)
        self.code = _kernels.rules[rule]

    def rule(self, settings=None, slots=None, scalars=None):
        return _epoch.Rule(
            self.plan, self.code, self.settings if settings is None else settings, self.regularisation,
            self.slots if slots is None else slots, self.scalars if scalars is None else scalars, self.taken)

    def stepper(self):
        return _epoch.Stepper(self.plan, self.theta, self.B, self.rule(), 0.0, 1.0, False)

    def predictor(self):
        return _backprop.Predictor(self.plan, self.theta, self.B, np.ndarray, np.empty)

    def evaluator(self):
        return _calls.Evaluator(self.plan, self.theta.dtype, M, 64, 0.0, 1.0, True, True, np.ndarray, np.empty)


def steps(p, plan=None, m=M, batch=BATCH, first=0, last=5, rule=None, B=None, crew=None, members=1, examples=None):
    return _epoch.steps(
        p.plan if plan is None else plan, p.theta, _backprop.Examples(p.X, p.Y) if examples is None else examples, m,
        batch, first, last, p.rule() if rule is None else rule, NO_RATES, p.Delta, p.work, p.B if B is None else B,
        p.costs, np.zeros((0, 2)), 0.0, 0.0, 60.0, crew, members)
