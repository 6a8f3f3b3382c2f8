"""Logits of any size: costs come from z(L), are finite and right to the last digits, and delta(L) is exactly a - y."""

import numpy as np
import pytest
from helpers import DTYPES

import fastbp


def with_logits(z, output, loss, dtype):
    """A network with one input and no hidden layer that has these z for x = 0, so the bias column of D is a - y"""
    z = np.asarray(z, dtype)
    Theta = np.column_stack([z, np.zeros_like(z)])
    return fastbp.Network([1, len(z)], output=output, loss=loss, dtype=dtype, init=[Theta])


LOG2 = np.log(2)
EXTREME = [  # output, z / size, a, cost of each label as (multiple of size, rest)
    ("softmax", [1, -1, 0], [1, 0, 0], [(0, 0), (2, 0), (1, 0)]),
    ("softmax", [1, 1, -1], [0.5, 0.5, 0], [(0, LOG2), (0, LOG2), (2, LOG2)]),
    ("sigmoid", [1, -1, 0], [1, 0, 0.5], [(0, LOG2), (2, LOG2), (1, LOG2)]),
]


@pytest.mark.parametrize("form", ["labels", "one_hot"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [50.0, 1e3, 1e4, 3e38, 1e300 / 2, "max"])
@pytest.mark.parametrize(("output", "z", "a", "costs"), EXTREME)
def test_fault_23_cost_is_finite_and_delta_exact_for_extreme_logits(output, z, a, costs, size, dtype, form):
    largest = float(np.finfo(dtype).max)
    size = largest / (2 if dtype == np.float64 else 1) if size == "max" else min(size, largest)
    net = with_logits(size * np.array(z), output, "cross_entropy", dtype)
    for label, (multiple, rest) in enumerate(costs):
        y = np.eye(3)[label]
        J, D = net.cost_and_gradient(np.zeros((1, 1)), np.array([label]) if form == "labels" else y[None])
        assert pytest.approx(multiple * size + rest, rel=1e-6, abs=1e-20) == J
        np.testing.assert_allclose(D.reshape(3, 2)[:, 0], a - y, rtol=0, atol=1e-18)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["sigmoid", "softmax", "tanh"])
def test_squared_error_is_finite_for_extreme_logits(output, dtype):
    z = [float(np.finfo(dtype).max), -1e4, 1e30]
    net = with_logits(z, output, "squared_error", dtype)
    h = {"sigmoid": [1, 0, 1], "softmax": [1, 0, 0], "tanh": [1, -1, 1]}[output]
    np.testing.assert_array_equal(net.predict([0.0]), h)
    J, D = net.cost_and_gradient(np.zeros((1, 1)), np.array([1]))
    y = [-1, 1, -1] if output == "tanh" else [0, 1, 0]
    assert pytest.approx(np.sum(np.subtract(h, y) ** 2) / 2) == J
    np.testing.assert_array_equal(D, np.zeros(6))


@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float32, 1e4), (np.float32, 1e30), (np.float64, 1e4), (np.float64, 1e150)]
)
def test_squared_error_of_large_differences_does_not_overflow(dtype, size):
    """The costs are sums of doubles, even in float32 networks"""
    net = with_logits([size, -size, 0], "identity", "squared_error", dtype)
    J, D = net.cost_and_gradient(np.zeros((1, 1)), [[0, 0, 1.0]])
    assert pytest.approx(float(np.dtype(dtype).type(size)) ** 2, rel=1e-6) == J
    np.testing.assert_allclose(D.reshape(3, 2)[:, 0], [size, -size, -1], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fault_24_small_costs_keep_their_digits(dtype):
    """-log h for logits so large that h rounds to 1"""
    for gap in (20.0, 40.0, 60.0):
        exact = pytest.approx(np.log1p(np.exp(-gap)), rel=4 * float(np.finfo(dtype).eps), abs=0)
        X = np.zeros((1, 1))
        assert with_logits([gap, 0], "softmax", "cross_entropy", dtype).cost(X, [0]) == exact
        assert with_logits([0, gap], "softmax", "cross_entropy", dtype).cost(X, [1]) == exact
        assert with_logits([gap], "sigmoid", "cross_entropy", dtype).cost(X, [1]) == exact
        assert with_logits([-gap], "sigmoid", "cross_entropy", dtype).cost(X, [0]) == exact


@pytest.mark.parametrize("dtype", DTYPES)
def test_poisson_cost_of_no_events_and_tiny_rates_is_finite(dtype):
    J, D = with_logits([-1e4, 0.0, -700.0], "exp", "poisson", dtype).cost_and_gradient(np.zeros((1, 1)), [[0, 0, 2.0]])
    assert pytest.approx(1 + 2 * np.log(2) + 1400 - 2, rel=1e-6) == J
    np.testing.assert_allclose(D, [0, 0, 1, 0, -2, 0], rtol=0, atol=1e-18)
