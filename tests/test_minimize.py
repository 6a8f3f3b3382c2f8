"""SciPy's optimizers on the full batch."""

import numpy as np
import pytest
from helpers import DTYPES, problem
from scipy.optimize import minimize as scipy_minimize

import fastbp

METHODS = ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP", "trust-constr"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_minimize_reaches_a_stationary_point(method, dtype):
    """Softmax regression with decay is convex: all methods must find the same J"""
    p = problem((3, 3), output="softmax", loss="cross_entropy", m=30, dtype=dtype)
    net = p.network()
    result = fastbp.minimize(net, p.X, p.labels, method=method, weight_decay=0.1, maxiter=300)
    J, D = net.cost_and_gradient(p.X, p.labels, weight_decay=0.1)
    best = scipy_minimize(lambda t: p.model.cost_and_gradient(t, p.X, p.labels, 0.1), p.theta.astype(float), jac=True)
    assert result.fun == pytest.approx(J, rel=10 * float(np.finfo(dtype).eps))
    assert pytest.approx(best.fun, rel=1e-5) == J
    np.testing.assert_allclose(net.theta, result.x, rtol=np.finfo(dtype).eps)
    assert np.linalg.norm(D) < 2e-3
    assert net.theta.dtype == dtype


@pytest.mark.parametrize("method", METHODS)
def test_minimize_trains_a_hidden_layer_to_scipys_result(method):
    """It finds the same minimum as scipy.optimize.minimize on the textbook's J and D"""
    p = problem((2, 4, 1), "tanh", m=12)
    net = p.network()
    result = fastbp.minimize(net, p.X, p.Y, method=method, lam=0.5, maxiter=8)
    expected = scipy_minimize(
        lambda t: p.model.cost_and_gradient(t, p.X, p.Y, 0.5 / 12),
        p.theta,
        jac=True,
        method=method,
        options={"maxfun" if method == "TNC" else "maxiter": 8},
    )
    assert result.fun < p.network().cost(p.X, p.Y, lam=0.5)
    assert result.nit <= 8
    if method != "TNC":  # its maxiter is counted in evaluations by some versions of SciPy
        assert result.fun == pytest.approx(expected.fun, rel=1e-6)


@pytest.mark.parametrize(("settings", "error", "said"), [
    ({"method": "dogleg"}, ValueError, "method is 'dogleg'; accepted are"), ({"method": 3}, ValueError, "method"),
    ({"n_threads": 0}, ValueError, "n_threads"), ({"tol": -1.0}, ValueError, "tol"),
    ({"callback": 3}, TypeError, "callback must be callable"), ({"options": []}, TypeError, "options must be a dict"),
    ({"maxiter": 0}, ValueError, "maxiter"), ({"weight_decay": -1.0}, ValueError, "weight_decay"),
])
def test_bad_settings_are_named_and_nothing_has_changed(settings, error, said):
    p = problem()
    net = p.network()
    with pytest.raises(error, match=said):
        fastbp.minimize(net, p.X, p.Y, **settings)
    assert (net.theta == p.theta).all()


@pytest.mark.filterwarnings("error:minimize ended at its limit")
@pytest.mark.parametrize("method", ["L-BFGS", "L-BFGS-B", "lm"])
def test_a_warning_that_is_an_error_comes_after_theta(method):
    p = problem((2, 4, 1), "tanh", m=12)
    net = p.network()
    with pytest.raises(RuntimeWarning, match="ended at its limit"):
        fastbp.minimize(net, p.X, p.Y, method=method, maxiter=2)
    assert net.cost(p.X, p.Y) < p.network().cost(p.X, p.Y)


def test_what_a_callback_raises_arrives():
    p = problem()

    def fail(theta):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        fastbp.minimize(p.network(), p.X, p.Y, callback=fail, n_threads=1, tol=1e-9)


def test_minimize_calls_back_with_the_parameters():
    p = problem()
    seen = []
    fastbp.minimize(
        p.network(), p.X, p.Y, weight_decay=0.03, maxiter=5, callback=lambda *args, **kwargs: seen.append(args)
    )
    assert 1 <= len(seen) <= 5
    assert all(np.shape(x) == p.theta.shape and np.isfinite(x).all() for x, *_ in seen)
