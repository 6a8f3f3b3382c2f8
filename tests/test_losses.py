"""Losses of the identity output: their parameters, their kinks, and regressions whose coefficients are published."""

import copy
import pickle

import numpy as np
import pytest
from helpers import DTYPES, problem
from published import HUBER, LEAST_ABSOLUTE, STACKLOSS
from reference import PAIRS
from test_checks import refused

import fastbp

ROBUST = ["absolute_error", "huber", "quantile"]


def constant(h, loss, dtype=np.float64, **parameters):
    """A network with the output h(0) = h"""
    h = np.atleast_1d(np.asarray(h, dtype))
    return fastbp.Network([1, len(h)], output="identity", loss=loss, dtype=dtype,
                          init=[np.column_stack([h, np.zeros_like(h)])], **parameters)


def cost_and_delta(h, y, loss, dtype=np.float64, **parameters):
    net = constant(h, loss, dtype, **parameters)
    X, Y = np.zeros((1, 1), dtype), np.atleast_2d(np.asarray(y, dtype))
    return net.cost(X, Y), net.deltas(X, Y)[0][0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "parameters", "cost", "delta"),
    [  # of e = -3, -0.5, 0, 0.5, 3
        ("absolute_error", {}, [3, 0.5, 0, 0.5, 3], [-1, -1, 0, 1, 1]),
        ("huber", {}, [2.5, 0.125, 0, 0.125, 2.5], [-1, -0.5, 0, 0.5, 1]),
        ("huber", {"huber_delta": 0.25}, [0.71875, 0.09375, 0, 0.09375, 0.71875], [-0.25, -0.25, 0, 0.25, 0.25]),
        ("quantile", {}, [1.5, 0.25, 0, 0.25, 1.5], [-0.5, -0.5, 0, 0.5, 0.5]),
        ("quantile", {"quantile": 0.75}, [2.25, 0.375, 0, 0.125, 0.75], [-0.75, -0.75, 0, 0.25, 0.25]),
    ],
)
def test_cost_and_delta_are_those_of_the_definition_and_delta_is_0_at_the_kink(loss, parameters, cost, delta, dtype):
    e = np.array([-3, -0.5, 0, 0.5, 3])
    J, D = cost_and_delta(1 + e, np.ones(5), loss, dtype, **parameters)
    assert sum(cost) == J
    np.testing.assert_array_equal(D, delta)
    for e_k, cost_k in zip(e, cost, strict=True):
        assert cost_and_delta(e_k, 0.0, loss, dtype, **parameters)[0] == cost_k


@pytest.mark.parametrize("dtype", DTYPES)
def test_huber_lies_between_the_squared_and_the_absolute_error(dtype):
    p = problem((4, 6, 3), output="identity", loss="huber", m=30, dtype=dtype)

    def evaluated(loss, **parameters):
        net = fastbp.Network((4, 6, 3), activation="tanh", output="identity", loss=loss, dtype=dtype, init=p.theta,
                             **parameters)
        return net.cost_and_gradient(p.X, p.Y)

    for wide, squared in zip(evaluated("huber", huber_delta=1e300), evaluated("squared_error"), strict=True):
        np.testing.assert_allclose(wide, squared, rtol=1e-6 if dtype == np.float32 else 1e-13)
    narrow, absolute = evaluated("huber", huber_delta=1e-6), evaluated("absolute_error")
    assert narrow[0] / 1e-6 == pytest.approx(absolute[0], rel=1e-5)
    np.testing.assert_allclose(narrow[1] / dtype(1e-6), absolute[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ROBUST)
@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_outputs_give_a_finite_cost_and_a_bounded_delta(dtype, loss):
    size = float(np.finfo(dtype).max) / 4
    J, delta = cost_and_delta([size, -size], [0.0, 0.0], loss, dtype)
    assert size / 2 < J < np.inf
    assert np.abs(delta).max() <= 1
    assert delta[0] == -delta[1] > 0


@pytest.mark.parametrize("loss", ROBUST)
def test_diverging_training_says_so(loss):
    net = fastbp.Network([1, 1, 1], activation="identity", output="identity", loss=loss, init=[1.0, 1.0, 1.0, 1.0])
    with pytest.raises(fastbp.DivergenceError):
        fastbp.train(net, [[1e200], [-1e150]], [0.0, 0.0], optimizer=fastbp.SGD(1e200), epochs=9, batch_size=1)
    assert np.isfinite(net.theta).all()


# ---------------------------------------------------------------- names and parameters


def test_usual_parameters_are_1_and_one_half():
    assert fastbp.Network([2, 1], output="identity", loss="huber").loss_parameters == {"huber_delta": 1.0}
    assert fastbp.Network([2, 1], output="identity", loss="quantile").loss_parameters == {"quantile": 0.5}
    assert fastbp.Network([2, 1], output="identity", loss="absolute_error").loss_parameters == {}


@pytest.mark.parametrize(
    ("alias", "name"), [("mae", "absolute_error"), ("mse", "squared_error"), ("pinball", "quantile")]
)
def test_other_spellings_are_the_same_loss(alias, name):
    assert fastbp.Network([2, 1], output="linear", loss=alias).loss == name


@pytest.mark.parametrize(("output", "loss"), [pair for pair in PAIRS if pair[1] != "huber"])
def test_a_parameter_of_another_loss_is_refused(output, loss):
    refused(lambda: fastbp.Network([2, 2], output=output, loss=loss, huber_delta=1.0), "huber_delta", loss,
            kinds=ValueError)


@pytest.mark.parametrize(
    ("loss", "name", "value"),
    [
        *[("huber", "huber_delta", value) for value in (0, -1.0, np.nan, np.inf, 1e-50, "a", True, [1.0])],
        *[("quantile", "quantile", value) for value in (0, 1, 1.5, -0.1, np.nan, 1e-50, "a", False, 1j)],
    ],
)
def test_bad_parameters_are_refused(loss, name, value):
    received = f"{value:g}" if isinstance(value, float) else str(value).strip("()[]")
    refused(lambda: fastbp.Network([2, 1], output="identity", loss=loss, **{name: value}), name, received)


@pytest.mark.parametrize("twin", [lambda net: net.copy(), copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_keep_the_parameter(twin):
    p = problem(output="identity", loss="quantile")
    net = twin(p.network())
    assert net.loss_parameters == {"quantile": 0.8}
    assert net.cost(p.X, p.Y) == p.network().cost(p.X, p.Y)


def test_repr_and_summary_show_the_parameter():
    net = fastbp.Network([2, 1], output="identity", loss="huber", huber_delta=1.35)
    assert "loss='huber', huber_delta=1.35" in repr(net)
    assert "huber_delta 1.35" in net.summary()


# ---------------------------------------------------------------- minima


@pytest.mark.parametrize("q", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("batch_size", [1, 20, None])
def test_constant_that_minimises_the_quantile_loss_is_the_quantile(batch_size, q):
    y = np.random.default_rng(0).exponential(size=(1000, 1))
    net = constant(0.0, "quantile", quantile=q)
    for rate in (0.1, 0.01, 0.001):
        fastbp.train(net, np.zeros((1000, 1)), y, optimizer=fastbp.SGD(rate if batch_size else 20 * rate),
                     epochs=30 if batch_size else 400, batch_size=batch_size, seed=0)
    assert abs((y < net.theta[0]).mean() - q) < 0.01


def standardised():
    X, y = STACKLOSS[:, 1:], STACKLOSS[:, 0]
    mean, scale = X.mean(axis=0), X.std(axis=0)
    return (X - mean) / scale, y, mean, scale


def test_huber_regression_of_the_stack_loss_data_has_the_published_coefficients():
    X, y, mean, scale = standardised()
    net = fastbp.Network([3, 1], output="identity", loss="huber", huber_delta=HUBER.delta, init=[y.mean(), 0, 0, 0])
    fastbp.minimize(net, X, y, maxiter=2000, tol=1e-15)
    slopes = net.theta[1:] / scale
    np.testing.assert_allclose([net.theta[0] - slopes @ mean, *slopes], HUBER.coefficients, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("loss", "factor"), [("absolute_error", 1), ("quantile", 2)])
def test_least_absolute_errors_of_the_stack_loss_data_are_the_published_ones(loss, factor):
    """No parameters near the published ones are better, and D is a subgradient at the kinks of the minimum"""
    X, y, mean, scale = standardised()
    intercept, *slopes = LEAST_ABSOLUTE.coefficients
    slopes = np.array(slopes)
    theta = np.array([intercept + slopes @ mean, *(slopes * scale)])
    net = fastbp.Network([3, 1], output="identity", loss=loss, init=theta)
    least = factor * 21 * net.cost(X, y)
    assert least == pytest.approx(LEAST_ABSOLUTE.sum, abs=2e-3)
    for step in np.random.default_rng(0).standard_normal((200, 4)):
        assert factor * 21 * net.cost(X, y, theta=theta + 0.1 * step) > least


def test_scikit_learns_huber_regressor_stands_where_d_is_0():
    """With its scale sigma, epsilon sigma is our delta"""
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y, *_ = standardised()
    theirs = linear_model.HuberRegressor(epsilon=1.35, alpha=0, tol=1e-9, max_iter=10_000).fit(X, y)
    net = fastbp.Network([3, 1], output="identity", loss="huber", huber_delta=1.35 * theirs.scale_,
                         init=[theirs.intercept_, *theirs.coef_])
    assert np.abs(net.cost_and_gradient(X, y)[1]).max() < 1e-5


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_scikit_learns_quantile_regressor_stands_where_the_cost_is_least(q):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y, *_ = standardised()
    theirs = linear_model.QuantileRegressor(quantile=q, alpha=0, solver="highs").fit(X, y)
    theta = np.array([theirs.intercept_, *theirs.coef_])
    net = fastbp.Network([3, 1], output="identity", loss="quantile", quantile=q, init=theta)
    least = net.cost(X, y)
    for step in np.random.default_rng(0).standard_normal((200, 4)):
        assert net.cost(X, y, theta=theta + 0.1 * step) > least


def test_poisson_cost_is_scikit_learns_half_deviance_and_its_constant():
    """scikit-learn's loss module leaves out y log y - y, its MLPRegressor does not"""
    loss = pytest.importorskip("sklearn._loss.loss")
    p = problem((4, 5, 1), output="exp", loss="poisson", m=30)
    net = p.network()
    y, z = p.Y[:, 0], np.log(net.predict(p.X)[:, 0])
    theirs = loss.HalfPoissonLoss()
    terms = theirs.loss(y_true=y.copy(), raw_prediction=z) + theirs.constant_to_optimal_zero(y_true=y.copy())
    assert net.cost(p.X, p.Y) == pytest.approx(terms.mean(), rel=1e-13)
    np.testing.assert_allclose(net.deltas(p.X, p.Y)[-1][:, 0], theirs.gradient(y_true=y.copy(), raw_prediction=z),
                               rtol=0, atol=1e-13)
