"""The oracle itself: against mpmath, against numeric gradients in long double, and against the published values."""

import mpmath
import numpy as np
import pytest
from helpers import NAMES, distance, problem
from published import CHECK_NN, SIGMOID_PRIME, TINY
from reference import (
    ACTIVATIONS,
    OUTPUTS,
    PAIRS,
    SGD,
    Adam,
    Textbook,
    column_major,
    erf,
    flat,
    log_softmax,
    numeric_gradient,
    sigmoid_prime,
    train,
)

MPMATH = {
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "tanh": mpmath.tanh,
    "relu": lambda z: max(z, mpmath.mpf(0)),
    "identity": lambda z: z,
    "leaky_relu": lambda z: z if z > 0 else z / 100,
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
}
POINTS = [-9.5, -3.25, -1.0, -0.125, 0.25, 1.5, 4.0, 11.0]


@pytest.mark.parametrize("name", NAMES)
def test_activations_and_derivatives_equal_mpmath(name):
    g, g_prime = ACTIVATIONS[name]
    z = np.array(POINTS, np.longdouble)
    with mpmath.workdps(40):
        value = [np.longdouble(mpmath.nstr(MPMATH[name](mpmath.mpf(x)), 30)) for x in POINTS]
        slope = [np.longdouble(mpmath.nstr(mpmath.diff(MPMATH[name], mpmath.mpf(x)), 30)) for x in POINTS]
    np.testing.assert_allclose(g(z), value, rtol=0, atol=2e-17)
    np.testing.assert_allclose(g_prime(z), slope, rtol=0, atol=2e-17)


def test_erf_is_good_to_the_last_digits_of_long_double():
    x = np.array([-8, -2.5, -1e-9, 0, 0.5, 3, 6.5], np.longdouble)
    with mpmath.workdps(40):
        expected = [np.longdouble(mpmath.nstr(mpmath.erf(float(v)), 30)) for v in x]
    np.testing.assert_allclose(erf(x), expected, rtol=1e-18, atol=1e-26)


def test_derivative_of_relu_at_zero_is_zero():
    assert ACTIVATIONS["relu"][1](np.zeros(1)) == 0


def test_sigmoid_derivative_has_the_published_values():
    z, expected = SIGMOID_PRIME
    np.testing.assert_allclose(sigmoid_prime(z), expected, rtol=0, atol=5e-7)


def test_softmax_cost_of_a_certain_answer_is_not_rounded_to_zero():
    assert log_softmax(np.array([[40.0, 0.0]]))[0, 0] == pytest.approx(-4.248354255291589e-18, rel=1e-15, abs=0)
    np.testing.assert_array_equal(log_softmax(np.array([[1e300, -1e300]])), [[0, -2e300]])


@pytest.mark.parametrize("case", [TINY, CHECK_NN], ids=["tiny", "checkNNGradients"])
def test_oracle_has_the_published_costs(case):
    model = Textbook(case.sizes)
    for lam, J, tolerance in case.costs:
        assert float(model.cost(flat(case.Theta), case.X, case.labels, c=lam / len(case.X))) == pytest.approx(
            J, abs=tolerance
        )


def test_oracle_has_the_published_gradient():
    _, D = Textbook(TINY.sizes).cost_and_gradient(flat(TINY.Theta), TINY.X, TINY.labels)
    np.testing.assert_allclose(column_major(Textbook(TINY.sizes).Theta(D)), TINY.gradient, rtol=0, atol=5e-7)


@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("activation", NAMES)
def test_oracle_gradient_is_slope_of_its_cost(activation, output, loss):
    """In long double, central differences with step 1e-6 are accurate to about 1e-12"""
    p = problem((3, 4, 3, 2), activation, output, loss, m=4)
    theta, c, w = p.theta.astype(np.longdouble), np.longdouble(0.1), p.weights
    Y = p.model.targets(p.Y, np.longdouble)
    numeric = numeric_gradient(lambda t: p.model.cost(t, p.X, Y, c, w), theta, np.longdouble(1e-6))
    assert distance(p.model.cost_and_gradient(theta, p.X, Y, c, w)[1], numeric) < 2e-11


@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_oracle_sums_what_single_examples_give(output, loss):
    p = problem((3, 5, 2), "sigmoid", output, loss, m=6)
    total, Delta = p.model.accumulate(p.theta, p.X, p.Y, p.weights)
    singles = [p.model.accumulate(p.theta, p.X[i : i + 1], p.Y[i : i + 1]) for i in range(6)]
    assert sum(w * cost for w, (cost, _) in zip(p.weights, singles, strict=False)) == pytest.approx(total, rel=1e-14)
    for l in range(2):
        assert distance(sum(w * D[l] for w, (_, D) in zip(p.weights, singles, strict=False)), Delta[l]) < 1e-14


@pytest.mark.parametrize("output", OUTPUTS)
def test_labels_are_the_low_and_high_value_of_the_output(output):
    low = -1 if output == "tanh" else 0
    expected = [[1, low, low], [low, low, 1]]
    np.testing.assert_array_equal(Textbook((4, 3), output=output).targets([0, 2], float), expected)
    np.testing.assert_array_equal(Textbook((4, 1), output=output).targets([1, 0], float), [[1], [0]])


def test_optimizers_take_the_steps_of_their_formulas():
    theta, D = np.array([1.0, -2.0]), np.array([0.5, -4.0])
    sgd = SGD(0.1, 0.5)
    np.testing.assert_allclose(sgd.step(theta, D), theta - 0.1 * D)
    np.testing.assert_allclose(sgd.step(theta, D), theta - 0.15 * D)
    nesterov = SGD(0.1, 0.5, nesterov=True)
    np.testing.assert_allclose(nesterov.step(theta, D), theta - 0.15 * D)
    adam = Adam(0.1, epsilon=0)
    for _ in range(3):  # a constant gradient: every step is alpha long
        np.testing.assert_allclose(adam.step(theta, D), theta - 0.1 * np.sign(D), rtol=1e-12)


def test_training_loop_is_gradient_descent():
    p = problem()
    J, D = p.model.cost_and_gradient(p.theta, p.X, p.Y, c=0.1)
    theta, history = train(p.model, p.theta, p.X, p.Y, SGD(0.3), epochs=1, c=0.1)
    np.testing.assert_allclose(theta, p.theta - 0.3 * D, rtol=1e-15)
    assert history == [pytest.approx(J)]
