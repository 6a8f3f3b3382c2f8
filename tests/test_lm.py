"""Levenberg-Marquardt: certified values, published problems, every loss, every stop."""

import time

import numpy as np
import pytest
from helpers import DTYPES, problem
from nist import PROBLEMS
from test_normal import CURVED

import fastbp
from fastbp.engine import blas
from fastbp.second_order import lm
from fastbp.training import lbfgs

STARTS = [(name, start) for name, nist in PROBLEMS.items() for start in nist.starts]


# ---------------------------------------------------------------- certified and published


@pytest.mark.parametrize(("name", "start"), STARTS)
@pytest.mark.parametrize("cholesky", [False, True])
def test_certified_values_of_nist_from_both_starts(name, start, cholesky, monkeypatch):
    if cholesky:
        monkeypatch.setattr(lm, "SMALL", 0)     # Cholesky first, QR for the last digits
    nist = PROBLEMS[name]
    net = nist.network(start)
    result = fastbp.minimize(net, nist.x[:, None], nist.y, method="lm", free=nist.free, maxiter=5000)
    values, rss = nist.digits(result)
    assert values >= 8
    assert rss >= 10
    assert result.success
    np.testing.assert_array_equal(net.theta, result.x)
    np.testing.assert_array_equal(net.theta[~nist.free], nist.network(start).theta[~nist.free])


def sine():
    x = np.linspace(-1, 1, 41)[:, None]
    return x, np.sin(np.pi * x)


def parity():
    X = np.array([[i >> k & 1 for k in range(3)] for i in range(8)]) * 2.0 - 1
    return X, X.prod(axis=1)[:, None]


def smooth():
    """441 points of a smooth function of two variables"""
    axis = np.linspace(-1, 1, 21)
    X = np.array([[u, v] for u in axis for v in axis])
    return X, (np.sin(3 * X[:, 0]) * np.cos(2 * X[:, 1]) + X[:, 0] * X[:, 1] ** 2)[:, None]


@pytest.mark.parametrize(("sizes", "data", "goal"), [((1, 5, 1), sine, 2e-3), ((3, 10, 10, 1), parity, 1e-3)])
@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 30), marks=pytest.mark.slow)])
def test_published_goals_are_met_from_every_seed(sizes, data, goal, seeds):
    X, Y = data()
    for seed in seeds:
        net = fastbp.Network(sizes, activation="tanh", output="identity", seed=seed)
        fastbp.minimize(net, X, Y, method="lm", maxiter=200)
        assert 2 * net.cost(X, Y) / Y.shape[1] < goal, f"seed {seed}"


def rmse(net, X, Y):
    return float(np.sqrt(np.mean((net.predict(X) - Y) ** 2)))


class Clock:
    """Stops a search after this many seconds"""

    def __init__(self, seconds):
        self.end = time.perf_counter() + seconds

    def __call__(self, x):
        if time.perf_counter() > self.end:
            raise StopIteration


@pytest.mark.slow
def test_a_smooth_function_is_fitted_far_better_than_by_lbfgs_in_the_same_time():
    X, Y = smooth()
    found = []
    for seed in range(4):
        start = fastbp.Network([2, 15, 15, 1], activation="tanh", output="identity", seed=seed)
        ours, theirs = start.copy(), start.copy()
        fastbp.minimize(ours, X, Y, method="lm", maxiter=10**6, callback=Clock(5))
        fastbp.minimize(theirs, X, Y, method="L-BFGS-B", maxiter=10**6, callback=Clock(5),
                        options={"ftol": 0, "gtol": 0})
        found.append((rmse(ours, X, Y), rmse(theirs, X, Y)))
    ours, theirs = np.median(found, axis=0)
    assert ours < 5e-5
    assert ours < theirs / 5


def test_a_smooth_function_is_fitted_to_four_digits_in_two_hundred_steps():
    X, Y = smooth()
    net = fastbp.Network([2, 15, 15, 1], activation="tanh", output="identity", init="nguyen_widrow", seed=0)
    result = fastbp.minimize(net, X, Y, method="lm", maxiter=200)
    assert rmse(net, X, Y) < 5e-5
    assert result.nit == 200
    assert not result.success
    assert result.message == "maxiter was reached"


# ---------------------------------------------------------------- every loss, weights, penalties, free


@pytest.mark.parametrize(("output", "loss"), CURVED)
@pytest.mark.parametrize("cholesky", [False, True])
def test_it_reaches_the_minimum_of_every_loss_with_curvature(output, loss, cholesky, monkeypatch):
    """Without a hidden layer, convex losses have one minimum"""
    if cholesky:
        monkeypatch.setattr(lm, "SMALL", 0)
    p = problem((3, 3), (), output, loss, m=40)
    net, twin = p.network(), p.network()
    settings = {"sample_weight": p.weights, "weight_decay": 0.1}
    result = fastbp.minimize(net, p.X, p.Y, method="lm", **settings)
    J, D = net.cost_and_gradient(p.X, p.Y, **settings)
    assert np.abs(D).max() < 1e-12
    np.testing.assert_allclose(result.jac, D, atol=1e-13)
    assert result.fun == pytest.approx(J, rel=1e-13)
    assert result.success
    fastbp.minimize(twin, p.X, p.Y, method="BFGS", tol=1e-9, **settings)
    assert twin.cost(p.X, p.Y, **settings) >= J - 1e-9


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [{"weight_decay": [0.1, 0.02]}, {"lam": 0.7}])
def test_penalties_weights_and_frozen_parameters_are_those_of_the_gradient(dtype, decay):
    p = problem((2, 4, 2), "tanh", "identity", "squared_error", m=30, dtype=dtype)
    net, free = p.network(), np.arange(22) % 5 > 0
    result = fastbp.minimize(net, p.X, p.Y, method="lm", sample_weight=p.weights, free=free, maxiter=300, **decay)
    J, D = net.cost_and_gradient(p.X, p.Y, theta=result.x, sample_weight=p.weights, **decay)
    assert np.abs(D[free]).max() < 1e-6     # the weights are the network's: float32 has rounded them
    assert result.fun == pytest.approx(J, rel=1e-6)
    assert (net.theta[~free] == p.theta[~free]).all()
    np.testing.assert_array_equal(net.theta, result.x.astype(dtype))
    assert result.fun < p.network().cost(p.X, p.Y, sample_weight=p.weights, **decay)
    assert result.jac.shape == (free.sum(),)


def test_weights_of_any_size_give_the_same_theta():
    p = problem((2, 3, 1), "tanh", "identity", "squared_error", m=30)
    found = []
    for scale in (1, 2.0**70, 2.0**-80):
        net = p.network()
        fastbp.minimize(net, p.X, p.Y, method="lm", sample_weight=p.weights * scale, weight_decay=0.01, maxiter=50)
        found.append(net.theta.copy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-12)


def test_zero_examples_of_a_dead_unit_leave_its_parameters_alone():
    X, Y = sine()
    net = fastbp.Network([1, 4, 1], activation="relu", output="identity", seed=0)
    net.Theta[0][0] = -50, 0        # never active
    fastbp.minimize(net, X, Y, method="lm", maxiter=30)
    np.testing.assert_array_equal(net.Theta[0][0], [-50, 0])
    assert net.cost(X, Y) < 0.05


def test_threads_change_no_bit():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((5000, 3)), rng.standard_normal((5000, 2))
    found = []
    for n_threads in (1, 2):
        net = fastbp.Network([3, 20, 2], activation="tanh", output="identity", seed=0)
        fastbp.minimize(net, X, Y, method="lm", maxiter=4, n_threads=n_threads)
        found.append(net.theta)
    np.testing.assert_array_equal(*found)


# ---------------------------------------------------------------- what ends it


def noisy():
    X, Y = sine()
    return X, Y + 0.1 * np.random.default_rng(0).standard_normal(Y.shape)


def start(seed=0):
    return fastbp.Network([1, 5, 1], activation="tanh", output="identity", seed=seed)


def test_fault_76_a_limit_that_ends_it_is_a_warning():
    X, Y = noisy()
    for method in ("lm", "L-BFGS", "L-BFGS-B", "CG", "BFGS", "TNC", "SLSQP", "trust-constr"):
        net = start()
        with pytest.warns(RuntimeWarning, match="minimize ended at its limit: .*; maxiter is 3"):
            result = fastbp.minimize(net, X, Y, method=method, maxiter=3)
        np.testing.assert_array_equal(net.theta, result.x)
    for method in ("L-BFGS", "L-BFGS-B"):
        with pytest.warns(RuntimeWarning, match="limit: .*; maxiter is 2"):
            fastbp.minimize(start(), X, Y, method=method, options={"maxiter": 2})
        with pytest.warns(RuntimeWarning, match="minimize ended at its limit: STOP: TOTAL NO. OF F,G EVALUATIONS"):
            fastbp.minimize(start(), X, Y, method=method, options={"maxfun": 4})


def test_fault_76_lbfgs_has_no_limit_but_maxiter(monkeypatch):
    import scipy.optimize

    seen, real = {}, scipy.optimize.minimize

    def minimize(*args, options, **kwargs):
        seen.update(options)
        return real(*args, options=options, **kwargs)

    monkeypatch.setattr(scipy.optimize, "minimize", minimize)
    fastbp.minimize(start(), *noisy(), maxiter=20_000, tol=0.1)
    assert seen["maxiter"] == 20_000
    assert seen["maxfun"] > 10**9
    fastbp.minimize(start(), *noisy(), maxiter=5, options={"maxfun": 7})
    assert seen["maxfun"] == 7
    monkeypatch.setitem(lbfgs.OPTIONS, "maxfun", 3)
    assert fastbp.minimize(start(), *noisy(), method="L-BFGS", maxiter=9).nit == 9


@pytest.mark.parametrize("method", ["lm", "L-BFGS", "L-BFGS-B"])
def test_fault_76_every_blas_has_one_thread_while_it_works(method):
    counts = []
    before = [library.get_num_threads() for library in blas.all_libraries()]

    def look(x):
        counts.extend(library.get_num_threads() for library in blas.all_libraries())

    fastbp.minimize(start(), *noisy(), method=method, maxiter=2, callback=look)
    assert set(counts) == {1}
    assert [library.get_num_threads() for library in blas.all_libraries()] == before


def test_tol_ends_it_where_the_gradient_is_that_small():
    X, Y = noisy()
    rough, exact = start(), start()
    result = fastbp.minimize(rough, X, Y, method="lm", tol=1e-3)
    assert result.message == "max|D| is at most tol"
    assert np.abs(rough.cost_and_gradient(X, Y)[1]).max() <= 1e-3
    assert result.nit < fastbp.minimize(exact, X, Y, method="lm", weight_decay=1e-6, maxiter=2000).nit


def test_callbacks_see_each_step_and_stop_it():
    X, Y = noisy()
    seen = []
    result = fastbp.minimize(start(), X, Y, method="lm", maxiter=4, callback=seen.append)
    assert len(seen) == result.nit == 4
    np.testing.assert_array_equal(seen[-1], result.x)

    def stop(intermediate_result):
        seen.append(intermediate_result)
        return intermediate_result.nit == 2

    result = fastbp.minimize(start(), X, Y, method="lm", callback=stop)
    assert (result.nit, result.message) == (2, "the callback stopped it")
    assert seen[-1].fun == result.fun

    def end(x):
        raise StopIteration

    assert fastbp.minimize(start(), X, Y, method="lm", callback=end).nit == 1
    assert fastbp.minimize(start(), X, Y, method="lm", callback=min, maxiter=2).nit <= 2   # no signature is known


@pytest.mark.parametrize("bayesian", [False, True])
def test_ctrl_c_leaves_the_last_accepted_theta(bayesian):
    X, Y = noisy()
    net, seen = start(), []

    def interrupt(x):
        seen.append(x)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastbp.minimize(net, X, Y, method="lm", callback=interrupt, bayesian=bayesian)
    np.testing.assert_array_equal(net.theta, seen[-1])
    with pytest.raises(ZeroDivisionError):
        fastbp.minimize(start(), X, Y, method="lm", callback=lambda x: 1 / 0)


def test_ctrl_c_within_a_sum_leaves_the_last_accepted_theta(monkeypatch):
    X, Y = noisy()
    net, seen, real = start(), [], lm.Search._form

    def form(self, x):
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(x)
        real(self, x)

    monkeypatch.setattr(lm.Search, "_form", form)
    with pytest.raises(KeyboardInterrupt):
        fastbp.minimize(net, X, Y, method="lm")
    assert np.isfinite(net.theta).all()
    assert net.cost(X, Y) < start().cost(X, Y)


def test_validation_data_ends_it_and_the_best_theta_stays():
    rng = np.random.default_rng(1)
    X, held = rng.uniform(-1, 1, (15, 1)), rng.uniform(-1, 1, (40, 1))

    def target(x):
        return np.sin(4 * x) + 0.3 * rng.standard_normal(x.shape)

    Y, held_Y = target(X), target(held)
    net = fastbp.Network([1, 15, 1], activation="tanh", output="identity", seed=0)
    seen = []
    result = fastbp.minimize(net, X, Y, method="lm", validation_data=(held, held_Y), max_fail=4, callback=seen.append)
    assert result.message == "the cost on validation_data has not improved 4 times in a row"
    costs = [net.cost(held, held_Y, theta=x) for x in seen]
    assert net.cost(held, held_Y) == min(costs) == result.val_J
    assert result.fun == pytest.approx(net.cost(X, Y), rel=1e-13)
    assert len(costs) == costs.index(min(costs)) + 5
    weighed = fastbp.minimize(net, X, Y, method="lm", validation_data=(held, held_Y, np.ones(40)), maxiter=1)
    assert weighed.val_J <= result.val_J


def test_a_perfect_fit_ends_it():
    X = np.linspace(-1, 1, 9)[:, None]
    net = fastbp.Network([1, 1], output="identity", seed=0)
    result = fastbp.minimize(net, X, 3 * X - 1, method="lm")
    np.testing.assert_allclose(net.theta, [-1, 3], rtol=1e-14)
    assert result.success
    again = fastbp.minimize(net, X, net.predict(X), method="lm")
    assert again.fun == 0
    assert again.nit <= 1


@pytest.mark.parametrize("cholesky", [False, True])
def test_a_curvature_beyond_all_bounds_ends_where_it_began(cholesky, monkeypatch):
    if cholesky:
        monkeypatch.setattr(lm, "SMALL", 0)
    X, Y = np.array([[1e308], [1e308], [-1e308]]), np.array([1.0, 2, 3])
    net = fastbp.Network([1, 1], output="identity", init=[[[0.5, 0.0]]])
    result = fastbp.minimize(net, X, Y, method="lm")
    np.testing.assert_array_equal(net.theta, [0.5, 0])
    assert result.nit == 0
    with pytest.raises(ValueError, match="bayesian: the curvature is singular"):
        fastbp.minimize(net, X, Y, method="lm", bayesian=True)
    np.testing.assert_array_equal(net.theta, [0.5, 0])


def test_numbers_beyond_all_bounds_end_in_a_finite_theta():
    X, Y = sine()
    for weight_decay in (0.0, 1e300):
        net = start()
        net.theta[:] *= 1e3
        fastbp.minimize(net, X, 1e150 * Y, method="lm", weight_decay=weight_decay, maxiter=20)
        assert np.isfinite(net.theta).all()
    net = start()
    result = fastbp.minimize(net, X, 1e200 * Y, method="lm")    # J is infinite
    assert not result.success
    np.testing.assert_array_equal(net.theta, start().theta)
