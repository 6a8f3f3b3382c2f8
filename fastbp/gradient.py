"""From the sums over examples to J and D, and the check of D by differences of J."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from . import _backprop, blas, checks, threads
from .regularisation import Regularisation
from .shard import Shard

SMALL = 2**18  # parameters up to which one row is predicted without giving up the GIL
SHARDS = 8  # at most; each has a Delta of its own
SHARD_MEMORY = 2**22  # parameters that all of these may hold together
RUN = 64  # blocks that are added one by one: the sums of such runs are added next, so that roundings stay few
NOT_EACH = np.empty(0)


class Workspace:
    """The buffers of one member of a crew: a block of examples, the costs of its panels."""

    def __init__(self, plan, m, dtype):
        dtype = np.dtype(dtype)
        self.rows = rows(plan, m, dtype)
        self.block = aligned(self.rows * plan.units, dtype)
        self.costs = np.empty(self.rows // _backprop.panel(np.empty(0, dtype)))


def rows(plan, m, dtype):
    """Examples of a block of m, or of more."""
    return plan.block(m, np.dtype(dtype).itemsize, _backprop.panel(np.empty(0, dtype)))


def aligned(n, dtype):
    """n values that begin at a cache line"""
    line = 64 // dtype.itemsize
    buffer = np.empty(n + line, dtype)
    skip = -(buffer.ctypes.data // dtype.itemsize) % line
    return buffer[skip : skip + n]


def operations(plan, m):
    """Floating-point operations of forward, delta and Delta over m examples, about."""
    return 6.0 * m * plan.n_parameters


def _long(plan, m):
    """Would Ctrl-C have to wait for a block of examples? Then another thread computes, and leaves it undone."""
    return plan.large and operations(plan, m) >= threads.LONG


def shards(plan, first, last, rows):
    """The examples first .. last cut into ranges, each of whole blocks: how many depends on the sizes alone."""
    blocks = -(-(last - first) // rows)
    n = max(1, min(SHARDS, blocks // 4, SHARD_MEMORY // plan.n_parameters))
    cuts = [min(last, first + rows * (blocks * i // n)) for i in range(n + 1)]
    return list(pairwise(cuts))


def accumulate(plan, theta, data, Delta, per_example=False, n_threads=None, each=NOT_EACH):
    """Delta += the sum over the examples, those of a Shard on all ranks; returns the sum of their costs. Delta of
    length 0: costs alone.

    each: receives the costs of each panel of examples, as many panels as `data.m` needs.
    """
    if per_example:
        return _accumulate_per_example(plan, theta, data, Delta)
    if isinstance(data, Shard):
        n_threads = data.group.threads(n_threads)
        return data.accumulate(theta, Delta, lambda part, into: accumulate(plan, theta, part, into, False, n_threads))
    n = threads.members(n_threads, operations(plan, data.m), threads.SHARED_SUM)
    with threads.Crew(n, apart=_long(plan, data.m)) as crew:
        work = [Workspace(plan, data.m, theta.dtype) for _ in range(n)]
        return accumulate_range(plan, theta, data.examples(), 0, data.m, work, Delta, crew, each)


def accumulate_range(plan, theta, examples, first, last, work, Delta, crew=threads.ALONE, each=NOT_EACH):
    """The same over the examples first .. last, with a workspace for each member of a crew at hand.

    Each shard is summed on its own, by whichever member is free; the sums are added in the order of the shards.
    """
    ranges, run = shards(plan, first, last, work[0].rows), RUN * work[0].rows
    costs = [0.0] * len(ranges)
    Deltas = [Delta] + [np.zeros_like(Delta) for _ in ranges[1:]]

    def accumulate_shard(i, member):
        (begin, end), own, into = ranges[i], work[member], Deltas[i]
        at, partial = begin, np.zeros_like(Delta) if end - begin > run else into
        while at < end and not crew.team.stopping:
            stop = min(at - (at - begin) % run + run, end)      # of the run under way
            costs[i], at = _backprop.accumulate(
                plan.code, theta, examples, at, stop, own.block, own.rows, own.costs, each, partial, costs[i],
                threads.SLICE, crew.team,
            )
            if at == stop and partial is not into:
                into += partial
                partial[:] = 0

    crew.share(accumulate_shard, range(len(ranges)))
    for other in Deltas[1:]:
        Delta += other
    return sum(costs)


def _accumulate_per_example(plan, theta, data, Delta):
    examples, work = data.examples(), Workspace(plan, 1, theta.dtype)
    cost, first = 0.0, 0
    with blas.single_thread():
        while first < data.m:
            cost, first = _backprop.accumulate_per_example(
                plan.code, theta, examples, first, data.m, work.block, work.rows, Delta, cost, threads.SLICE
            )
    return cost


def predict(plan, theta, X, out, order=None):
    """out (m, K) := h(x) for each row of X, or for those of the indices `order`."""
    examples, m = _backprop.Examples(X, order=order), len(out)
    work = Workspace(plan, m, theta.dtype)

    def predict_all(first, _):
        while first < m and not crew.team.stopping:
            first = _backprop.predict(
                plan.code, theta, examples, first, m, work.block, work.rows, out, threads.SLICE, crew.team
            )

    with threads.Crew(1, apart=True) if _long(plan, m) else threads.ALONE as crew:
        crew.share(predict_all, [0])


def row_predictor(plan, theta):
    """predict(x, out): the compiled h(x) of one example, None where fastbp.checks has to look at it first."""
    if plan.n_parameters > SMALL:
        return lambda x, out: None
    work = Workspace(plan, 1, theta.dtype)
    return _backprop.Predictor(plan.code, theta, work.block, work.rows, np.ndarray, np.empty).predict


def trace(plan, theta, X):
    """[a(2), ..., a(L)], each (m, s_l), for the rows of X."""
    hidden = len(plan.layer_sizes) - 2
    layers = [np.empty((len(X), s), theta.dtype) for s in plan.layer_sizes[1:]]
    if len(X) == 0:
        return layers
    examples = _backprop.Examples(X)
    work = Workspace(plan, len(X), theta.dtype)
    for first in range(0, len(X), work.rows):
        last = min(first + work.rows, len(X))
        _backprop.predict(
            plan.code, theta, examples, first, last, work.block, work.rows, layers[-1], 1.0, threads.ALONE.team
        )
        for l in range(hidden):
            _backprop.layer(plan.code[3, l + 1], work.block, work.rows, layers[l][first:last])
    return layers


def trace_back(plan, theta, data):
    """[delta(2), ..., delta(L)], each (m, s_l)."""
    layers = [np.empty((data.m, s), theta.dtype) for s in plan.layer_sizes[1:]]
    examples, Delta = data.examples(), np.zeros_like(theta)
    work = Workspace(plan, data.m, theta.dtype)
    for first in range(0, data.m, work.rows):
        last = min(first + work.rows, data.m)
        accumulate_range(plan, theta, examples, first, last, [work], Delta)
        for l, layer in enumerate(layers, 1):
            _backprop.layer(plan.code[5, l], work.block, work.rows, layer[first:last])
    return layers


def cost(plan, theta, data, regularisation, n_threads=None):
    """J"""
    mean = accumulate(plan, theta, data, theta[:0].copy(), False, n_threads) / data.weight
    return mean + regularisation.penalty(plan, theta, data.weight)


def cost_and_gradient(plan, theta, data, regularisation, n_threads=None):
    """J and D = dJ/dtheta, D a fresh array."""
    D = np.zeros_like(theta)
    mean = accumulate(plan, theta, data, D, False, n_threads) / data.weight
    J = mean + regularisation.penalty(plan, theta, data.weight)
    return J, regularisation.regularise(plan, theta, D, data.weight)


class GradientCheck(NamedTuple):
    """What check_gradient returns."""

    relative_difference: float
    analytic: np.ndarray
    numeric: np.ndarray


def check_gradient(
    net, X, Y, *, weight_decay=0.0, lam=None, l1=0.0, sample_weight=None, directions=None, h=1e-5, seed=0
):
    """Hold D against central differences of J: (J(theta + h u) - J(theta - h u)) / 2h.

    Parameters
    ----------
    net : Network
        Left as it is. A float32 network is checked through a float64 copy.
    X, Y, weight_decay, lam, l1, sample_weight
        As for `Network.cost_and_gradient`.
    directions : int, optional
        Compare along this many random directions u of length 1 instead of along every coordinate.
    h : float
        The step; 1e-5 suits float64. Away from the kinks of relu, |Theta_ij| and their like the truncation is O(h^2).
    seed : int
        Of the random directions.

    Returns
    -------
    GradientCheck
        ``(relative_difference, analytic, numeric)``, the difference as |analytic - numeric| / |analytic + numeric|
        (norms), 0 where both are 0; the gradients are (n_parameters,) or (directions,).

    Notes
    -----
    Ng, Machine Learning, lecture 9 (gradient checking). One more evaluation of J costs two forward passes, so all
    coordinates of a large network take long: use `directions`.
    """
    checks.network(net)
    h = checks.number(h, "h", open_low=True)
    rng = checks.generator(seed)
    net64 = net.copy(dtype=np.float64)
    plan, theta = net64.plan, net64.theta
    data = net64.data(X, Y, sample_weight)
    penalties = Regularisation.of(plan, data.weight * data.scale, weight_decay=weight_decay, lam=lam, l1=l1)
    D = cost_and_gradient(plan, theta, data, penalties)[1]
    if directions is None:
        along = _unit_vectors(plan.n_parameters)
        analytic = D
    else:
        along = rng.standard_normal((checks.count(directions, "directions"), plan.n_parameters))
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        analytic = along @ D

    def J(at):
        return cost(plan, at, data, penalties)

    numeric = np.array([(J(theta + h * u) - J(theta - h * u)) / (2 * h) for u in along])
    size = np.linalg.norm(analytic + numeric)
    difference = np.linalg.norm(analytic - numeric)
    return GradientCheck(float(difference / size) if size else float(difference), analytic, numeric)


def _unit_vectors(n):
    u = np.zeros(n)
    for i in range(n):
        u[i] = 1
        yield u
        u[i] = 0
