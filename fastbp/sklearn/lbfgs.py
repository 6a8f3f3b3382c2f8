"""`fit` by L-BFGS on all examples, with scikit-learn's options and messages."""

from functools import partial

import numpy as np
from scipy.special import expit

from .. import _backprop
from ..engine import blas, sums
from ..engine.checks import LARGEST_32
from ..engine.plan import Plan
from ..engine.regularisation import Regularisation
from ..training import lbfgs
from . import callbacks, messages
from .inputs import TrainingSet
from .model import packed_places, packed_spans
from .stochastic import allowed_threads

EPS = float(np.finfo(np.float64).eps)
LOST = 1e-3     # a sigmoid's 1 - p below this has lost more than its last three digits


class Objective:
    """J and D of all examples as scikit-learn's minimiser sees them: mean cost over `divisor` plus alpha / (2 m) |W|^2.

    Parameters
    ----------
    net : Network
        Only its layout and functions are used; theta is an argument.
    training : TrainingSet
    """

    def __init__(self, net, training, alpha, divisor, n_threads):
        self.plan, self.training, self.divisor, self.n_threads = net.plan, training, divisor, n_threads
        plan = self.plan
        c = alpha / training.weight / training.scale
        if c > LARGEST_32 and training.weight * training.scale < 1:
            raise ValueError(f"alpha / m is too large: alpha is {alpha:g}, and m, the sum of sample_weight, is "
                             f"{training.weight * training.scale:g}")
        self.regularisation = Regularisation.of(plan, 1, weight_decay=c)
        self._predicted = plan if plan.output == "softmax" else Plan(
            plan.layer_sizes, plan.activations, "identity", "squared_error"
        )
        self.wrong = EPS if plan.output == "softmax" else LOST     # p from which nothing is clipped
        self.panel = _backprop.panel(np.empty(0))

    def __call__(self, theta):
        penalty = self.regularisation.penalty(self.plan, theta, 1)
        D, cost = np.zeros_like(theta), 0.0
        for data, _ in self.training.parts(self.training.m):
            scale = data.scale / self.training.scale
            part = D if scale == 1 else np.zeros_like(theta)
            each = np.zeros(-(-data.m // self.panel) if self.plan.loss == "cross_entropy" else 0)
            total = data.accumulate(theta, part, self.n_threads, each)
            cost += self._clipped(theta, data, total, each) * scale
            if part is not D:
                D += scale * part
        D = self.regularisation.regularise(self.plan, theta, D, self.training.weight)
        return cost / self.training.weight / self.divisor + penalty, D

    def search(self, theta, settings):
        """A search from this theta; compiled code computes what it can."""
        search, data = lbfgs.LBFGS(theta, self, settings), self.training.data
        if data is not None and data.scale == self.training.scale and self.divisor == 1:
            most = self._most(data) if self.plan.loss == "cross_entropy" else np.inf
            search.compile(data, self.regularisation, theta, None, most)
        return search

    def _most(self, data):
        """The most that a panel can cost if none of its examples is clipped."""
        return -np.log(self.wrong) * (1.0 if data.w is None else float(data.w[data.w > 0].min()))

    def _clipped(self, theta, data, cost, each):
        """The sum of the costs as scikit-learn counts it: -log p of the right class, with p at least eps.

        Its line search sees -log(eps) for an example that costs more, and the rounding error of a sigmoid's 1 - p.
        Only panels whose costs sum to at least one such example are computed again.
        """
        panels = np.flatnonzero(~(each <= self._most(data)))
        if not len(panels):
            return cost
        rows = (panels[:, np.newaxis] * self.panel + np.arange(self.panel)).ravel()
        rows = rows[rows < data.m]
        h = np.empty((len(rows), self.plan.layer_sizes[-1]))
        sums.predict(self._predicted, theta, data.X[rows], h)
        if data.labels is not None:
            p = np.take_along_axis(h, data.labels[rows, np.newaxis], axis=1)
        else:
            p = np.where(data.dense[rows], expit(h, out=h), 1 - h)
        if p.min() >= self.wrong:
            return cost
        costs = -np.log(np.clip(p, EPS, 1 - EPS))
        return float((costs if data.w is None else data.w[rows] * costs).sum() + np.delete(each, panels).sum())


def full_batch(estimator, model, X, y, target, w):
    """Return a function that sets theta to SciPy's minimum; all arguments are checked.

    Like scikit-learn's, it computes in float64 for every dtype of the network.
    """
    e, net = estimator, model.net
    e._coef_indptr, e._intercept_indptr = packed_spans(model)
    training = TrainingSet(net.plan, np.float64, X, target, w)
    objective = Objective(net, training, e.alpha, e._loss_divisor(), allowed_threads(e.n_threads))
    settings = {**lbfgs.OPTIONS, "maxfun": e.max_fun, "maxiter": e.max_iter, "gtol": e.tol}
    return partial(_minimise, e, model, objective, settings, (X, y, w))


def _minimise(e, model, objective, settings, examples):
    net, e.n_iter_, stopped = model.net, 0, False
    with callbacks.running(e, examples, e.max_iter) as report:
        listens = e.verbose or e.callbacks or hasattr(e, "_skl_callbacks")

        def each(intermediate_result):
            nonlocal stopped
            net.theta[:] = intermediate_result.x
            e.n_iter_ += 1
            e.loss_ = np.float64(intermediate_result.fun)
            if e.verbose:
                messages.say(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
            stopped = report(e)
            e._hold(model)
            if stopped:
                raise StopIteration

        search = objective.search(net.theta.astype(np.float64), settings)
        try:
            with blas.single_thread(everywhere=True):
                result = search.finish(each if listens else None)
        except KeyboardInterrupt:
            messages.warn("Training interrupted by user.")
            J, theta = search.best()
            if theta is not None:
                e.loss_, net.theta[:] = np.float64(J), theta
            return
        net.theta[:] = result.x
        e.loss_ = np.float64(result.fun)
        e.n_iter_ = min(result.nit, e.max_iter)
        if not stopped:
            messages.warn_unless_converged(result, e.max_iter)


def packed_loss_and_gradient(estimator, model, packed, X, target, w):
    """J and D for scikit-learn's packed parameters: all coefs, then all intercepts, row by row."""
    places, net = packed_places(model), model.net
    theta = np.empty(net.n_parameters)
    theta[places] = packed
    training = TrainingSet(net.plan, np.float64, X, target, w)
    J, D = Objective(net, training, estimator.alpha, estimator._loss_divisor(), None)(theta)
    return np.float64(J), D[places]
