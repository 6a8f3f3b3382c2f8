"""The published values of the textbook, and scikit-learn's own cost and gradient."""

import numpy as np
import pytest
from helpers import NAMES, distance, problem
from published import CHECK_NN, SIGMOID_PRIME, TINY
from reference import Textbook, column_major, flat

import fastbp


def network(case):
    return fastbp.Network(case.sizes, activation="sigmoid", output="sigmoid", loss="cross_entropy", init=case.Theta)


def answers(case, form):
    return case.labels if form == "labels" else np.eye(case.sizes[-1])[case.labels]


@pytest.mark.parametrize("form", ["labels", "one_hot"])
@pytest.mark.parametrize("case", [TINY, CHECK_NN], ids=["tiny", "checkNNGradients"])
def test_costs_are_the_published_ones(case, form):
    net = network(case)
    for lam, J, tolerance in case.costs:
        Y = answers(case, form)
        assert net.cost(case.X, Y, lam=lam) == pytest.approx(J, abs=tolerance)
        assert net.cost_and_gradient(case.X, Y, lam=lam)[0] == pytest.approx(J, abs=tolerance)
        assert net.cost(case.X, Y, weight_decay=lam / len(case.X)) == pytest.approx(J, abs=tolerance)


@pytest.mark.parametrize("form", ["labels", "one_hot"])
def test_gradient_is_the_published_one(form):
    net = network(TINY)
    _, D = net.cost_and_gradient(TINY.X, answers(TINY, form))
    unrolled = column_major(Textbook(TINY.sizes).Theta(D))
    np.testing.assert_allclose(unrolled, TINY.gradient, rtol=0, atol=5e-7)


@pytest.mark.parametrize("per_example", [False, True])
def test_sums_of_accumulate_are_the_published_ones(per_example):
    total, Delta = network(TINY).accumulate(TINY.X, TINY.labels, per_example=per_example)
    assert total / 3 == pytest.approx(7.406969856065753, abs=2e-15)
    np.testing.assert_allclose(column_major(Delta) / 3, TINY.gradient, rtol=0, atol=5e-7)


@pytest.mark.parametrize("lam", [0, 3])
def test_check_nn_gradients_passes(lam):
    difference, *_ = fastbp.check_gradient(network(CHECK_NN), CHECK_NN.X, CHECK_NN.labels, lam=lam)
    assert difference < 1e-9


def test_sigmoid_derivative_is_the_published_one():
    """delta(2) of a hidden sigmoid unit with delta(3) = 1 is g'(z): x = z through the weight 1, h = z, y = z - 1"""
    z, expected = SIGMOID_PRIME
    net = fastbp.Network([1, 1, 1], activation="sigmoid", output="identity", loss="squared_error", init=[0, 1, 0, 1])
    hidden, output = net.deltas(z[:, None], net.predict(z[:, None]) - 1)
    np.testing.assert_allclose(output, np.ones((5, 1)), rtol=1e-15)
    np.testing.assert_allclose(hidden[:, 0], expected, rtol=0, atol=5e-7)


def test_softmax_cost_of_a_certain_answer_is_the_published_one():
    net = fastbp.Network([1, 2], output="softmax", loss="cross_entropy", init=[40, 0, 0, 0])
    X = np.zeros((1, 1))
    assert net.cost(X, np.array([0])) == pytest.approx(4.248354255291589e-18, rel=1e-14, abs=0)
    assert net.cost(X, [[1.0, 0.0]]) == pytest.approx(4.248354255291589e-18, rel=1e-14, abs=0)


def scikit_learn(p, lam, w):
    """J and D of scikit-learn's MLP with the same parameters; D in our order"""
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    model = p.model
    kind = neural_network.MLPClassifier if model.loss == "cross_entropy" else neural_network.MLPRegressor
    activation = {"sigmoid": "logistic"}.get(model.activation, model.activation)
    mlp = kind(activation=activation, alpha=lam)
    mlp.loss = {"cross_entropy": "log_loss"}.get(model.loss, model.loss)
    mlp.out_activation_ = {"sigmoid": "logistic"}.get(model.output, model.output)
    mlp.n_layers_ = L = len(model.sizes)
    mlp.coefs_ = [T[:, 1:].T for T in model.Theta(p.theta)]
    mlp.intercepts_ = [T[:, 0] for T in model.Theta(p.theta)]
    J, coefs, intercepts = mlp._backprop(p.X, p.Y, w, [p.X, *[None] * (L - 1)], *([None] * (L - 1) for _ in range(3)))
    return J, flat([np.column_stack([b, W.T]) for b, W in zip(intercepts, coefs, strict=False)])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("K", "output", "loss"),
    [
        (4, "sigmoid", "cross_entropy"),
        (4, "softmax", "cross_entropy"),
        (1, "sigmoid", "cross_entropy"),
        (1, "identity", "squared_error"),
        (3, "exp", "poisson"),
    ],
)
@pytest.mark.parametrize("activation", [name for name in NAMES if name in ("sigmoid", "tanh", "relu", "identity")])
def test_cost_and_gradient_are_scikit_learns(activation, K, output, loss, weighted):
    p = problem((6, 8, 5, K), activation, output, loss, m=20)
    w = p.weights if weighted else None
    J, D = scikit_learn(p, 0.7, w)
    ours = p.network().cost_and_gradient(p.X, p.Y, lam=0.7, sample_weight=w)
    assert abs(ours[0] - J) <= 1e-13 * abs(J)
    assert distance(ours[1], D) < 1e-13
    assert distance(p.model.cost_and_gradient(p.theta, p.X, p.Y, 0.7 / (w.sum() if weighted else 20), w)[1], D) < 1e-13
