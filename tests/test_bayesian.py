"""Bayesian regularisation: BayesianRidge's numbers, noisy sines, the fields of the result."""

import math

import numpy as np
import pytest

import fastbp
from fastbp.second_order import bayesian, lm


def linear(m=60, n=7, noise=0.3):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, n))
    return X, X @ rng.standard_normal(n) + noise * rng.standard_normal(m)


def without_bias(n=7):
    """A linear network whose bias stays 0, and the mask that keeps it so"""
    net = fastbp.Network([n, 1], output="identity", seed=0)
    return net, np.arange(n + 1) > 0


def ridge(X, y):
    linear_model = pytest.importorskip("sklearn.linear_model")
    settings = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0, "tol": 1e-15, "max_iter": 10_000}
    return linear_model.BayesianRidge(fit_intercept=False, compute_score=True, **settings).fit(X, y)


@pytest.mark.parametrize("cholesky", [False, True])
@pytest.mark.parametrize(("m", "n"), [(60, 7), (40, 20)])
def test_a_linear_network_has_the_numbers_of_bayesian_ridge(m, n, cholesky, monkeypatch):
    if cholesky:
        monkeypatch.setattr(lm, "SMALL", 0)
    X, y = linear(m, n)
    net, free = without_bias(n)
    result = fastbp.minimize(net, X, y, method="lm", bayesian=True, free=free, tol=1e-13, maxiter=5000)
    expected = ridge(X, y)
    assert 2 * result.beta == pytest.approx(expected.alpha_, rel=1e-9)      # crossed
    assert 2 * result.alpha == pytest.approx(expected.lambda_, rel=1e-9)
    np.testing.assert_allclose(net.theta[1:], expected.coef_, rtol=1e-9, atol=1e-9 * np.abs(expected.coef_).max())
    assert result.log_evidence == pytest.approx(expected.scores_[-1], rel=1e-9)
    assert result.weight_decay == pytest.approx(expected.lambda_ / (expected.alpha_ * m), rel=1e-9)
    assert result.message == "alpha and beta have converged"


@pytest.mark.parametrize("cholesky", [False, True])
def test_data_without_noise_ask_for_no_decay(cholesky, monkeypatch):
    if cholesky:
        monkeypatch.setattr(lm, "SMALL", 0)
    for m, n in [(30, 5), (10, 14)]:
        X, y = linear(m, n, noise=0.0)
        net, free = without_bias(n)
        result = fastbp.minimize(net, X, y, method="lm", bayesian=True, free=free, maxiter=500)
        assert result.success
        assert result.weight_decay < 1e-10
        np.testing.assert_allclose(net.predict(X)[:, 0], y, rtol=1e-6, atol=1e-6)


def test_the_numbers_of_the_result_fit_together():
    X, y = linear()
    net = fastbp.Network([7, 4, 1], activation="tanh", output="identity", seed=0)
    result = fastbp.minimize(net, X, y, method="lm", bayesian=True, maxiter=2000)
    E_D, E_W = float(np.sum((net.predict(X)[:, 0] - y) ** 2)), float(net.theta @ net.theta)
    assert result.success
    assert result.alpha == pytest.approx(result.gamma / (2 * E_W), rel=1e-9)
    assert result.beta == pytest.approx((60 - result.gamma) / (2 * E_D), rel=1e-9)
    assert result.weight_decay == pytest.approx(result.alpha / (result.beta * 60), rel=1e-5)
    J = (E_D / 2 + 60 * result.weight_decay / 2 * E_W) / 60     # the biases decay too
    assert result.fun == pytest.approx(J, rel=1e-9)
    assert 0 < result.gamma < net.n_parameters
    assert abs(math.sqrt(0.5 / result.beta) - 0.3) < 0.1


def test_biases_that_do_not_decay_count_as_determined():
    X, y = linear()
    net = fastbp.Network([7, 1], output="identity", seed=0)     # without a hidden layer decay_bias is False
    result = fastbp.minimize(net, X, y + 5, method="lm", bayesian=True, tol=1e-12)
    E_W = float(net.Theta[0][:, 1:].ravel() @ net.Theta[0][:, 1:].ravel())
    E_D = float(np.sum((net.predict(X)[:, 0] - y - 5) ** 2))
    assert result.alpha == pytest.approx((result.gamma - 1) / (2 * E_W), rel=1e-9)
    assert result.beta == pytest.approx((60 - result.gamma) / (2 * E_D), rel=1e-9)
    decayed = fastbp.minimize(net.copy(), X, y + 5, method="lm", bayesian=True, decay_bias=True)
    assert decayed.alpha < result.alpha     # the bias of 5 is large


def test_weights_count_as_examples():
    X, y = linear(30)
    twice, weighed = (fastbp.Network([7, 3, 1], activation="tanh", output="identity", seed=0) for _ in range(2))
    first = fastbp.minimize(twice, np.vstack([X, X]), np.append(y, y), method="lm", bayesian=True, maxiter=500)
    for scale in (1.0, 2.0**70):
        net = weighed.copy()
        second = fastbp.minimize(net, X, y, method="lm", bayesian=True, sample_weight=np.full(30, 2.0), maxiter=500)
        assert second.alpha == pytest.approx(first.alpha, rel=1e-4)
        assert second.log_evidence == pytest.approx(first.log_evidence, rel=1e-4)
        heavy = fastbp.minimize(weighed.copy(), X, y, method="lm", bayesian=True, sample_weight=np.full(30, scale),
                                maxiter=300)
        assert np.isfinite(heavy.log_evidence)


@pytest.mark.parametrize("cholesky", [False, True])
def test_a_singular_curvature_is_named(cholesky, monkeypatch):
    if cholesky:
        monkeypatch.setattr(lm, "SMALL", 0)
    X, y = linear()
    net = fastbp.Network([7, 2], output="softmax", loss="squared_error", seed=0)
    with pytest.raises(ValueError, match="bayesian: the curvature is singular"):
        fastbp.minimize(net, X, np.stack([y > 0, y <= 0], 1), method="lm", bayesian=True)


def test_limits_and_callbacks_are_those_of_lm():
    X, y = linear()
    net, free = without_bias()
    seen = []
    result = fastbp.minimize(net, X, y, method="lm", bayesian=True, free=free, maxiter=2, callback=seen.append)
    assert (result.nit, len(seen), result.status) == (2, 2, 1)
    assert result.weight_decay == bayesian.FIRST_DECAY


def sines(seed):
    """41 points of a sine with noise"""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, 41)[:, None]
    return x, np.sin(2 * np.pi * x[:, 0]) + 0.3 * rng.standard_normal(41), rng


def off(net):
    """Distance from the sine without noise"""
    x = np.linspace(-1, 1, 401)[:, None]
    return float(np.sqrt(np.mean((net.predict(x)[:, 0] - np.sin(2 * np.pi * x[:, 0])) ** 2)))


def stopped_early(x, y, rng, seed):
    """The iterate of L-BFGS that is best on 8 held-out points"""
    net = fastbp.Network([1, 20, 1], activation="tanh", output="identity", seed=seed)
    held = np.isin(np.arange(41), rng.permutation(41)[:8])
    best = [np.inf, net.theta.copy()]

    def look(theta):
        cost = net.cost(x[held], y[held], theta=theta)
        if cost < best[0]:
            best[:] = cost, theta.copy()

    fastbp.minimize(net, x[~held], y[~held], maxiter=1000, callback=look)
    net.theta = best[1]
    return off(net)


@pytest.mark.parametrize(("n", "least"), [(12, 8), pytest.param(100, 80, marks=pytest.mark.slow)])
def test_noisy_sines_are_fitted_better_than_by_early_stopping(n, least):
    better, gammas, sigmas = 0, [], []
    for seed in range(n):
        x, y, rng = sines(seed)
        net = fastbp.Network([1, 20, 1], activation="tanh", output="identity", seed=seed)
        result = fastbp.minimize(net, x, y, method="lm", bayesian=True, maxiter=2000)
        better += off(net) < stopped_early(x, y, rng, seed)
        gammas.append(result.gamma)
        sigmas.append(math.sqrt(0.5 / result.beta))
    assert better >= least
    assert 7 < np.median(gammas) < 11
    assert 0.25 < np.median(sigmas) < 0.32
