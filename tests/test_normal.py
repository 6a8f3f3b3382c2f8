"""Normal equations: B'B = J_z' H+ J_z, its gradient and its rows, against Jacobians of each example."""

import copy

import numpy as np
import pytest
from helpers import distance, problem, tolerance
from reference import PAIRS

import fastbp
from fastbp.engine import memory, normal
from fastbp.engine.normal import NormalEquations

CURVED = [pair for pair in PAIRS if pair[1] not in normal.FLAT]


def curvature(net, X, Y):
    """H+ of each example, (m, K, K), by the formulas of docs/math.md"""
    h = net.predict(X)
    if net.loss == "cross_entropy" and net.output == "softmax":
        return h[:, :, None] * np.eye(h.shape[1]) - h[:, :, None] * h[:, None]
    if net.loss == "cross_entropy":
        return (h * (1 - h))[:, :, None] * np.eye(h.shape[1])
    if net.loss == "poisson":
        return h[:, :, None] * np.eye(h.shape[1])
    if net.loss == "huber":
        return (np.abs(h - Y) <= net.loss_parameters["huber_delta"])[:, :, None] * np.eye(h.shape[1])
    slope = np.stack([of_output(net).jacobian(net.forward(x), wrt="X") for x in X])
    return np.einsum("eki,ekj->eij", slope, slope)


def of_output(net):
    """h as a function of z alone"""
    K = net.layer_sizes[-1]
    return fastbp.Network([K, K], output=net.output, loss="squared_error", init=[np.eye(K, K + 1, 1)])


def reference(net, X, Y, w, free):
    """(B'B, g) of the free parameters"""
    of_z = fastbp.Network(net.layer_sizes, activation=list(net.activation), output="identity", init=net.theta.copy())
    J = of_z.jacobian(X)
    A = np.einsum("e,eki,ekl,elj->ij", w, J, curvature(net, X, Y), J, optimize=True)
    D = net.cost_and_gradient(X, Y, sample_weight=w)[1] * w.sum()
    return (A, D) if free is None else (A[np.ix_(free, free)], D[free])


@pytest.mark.parametrize(("output", "loss"), CURVED)
@pytest.mark.parametrize("some", [False, True])
def test_the_sums_are_those_of_jacobians(output, loss, some):
    p = problem((3, 5, 4, 3), ["gelu", "tanh"], output, loss, m=150)
    net, w = p.network(), p.weights.copy()
    w[[3, 140]] = 0
    free = np.arange(net.n_parameters) % 3 > 0 if some else None
    equations = NormalEquations(net.data(p.X, p.Y, w), free)
    n = equations.n
    A, total = np.zeros(n * n), np.zeros(1 + n)
    equations.add(net.theta, A, total)
    A = A.reshape(n, n)
    expected, D = reference(net, p.X, p.Y, w, free)
    assert distance(np.triu(A), np.triu(expected)) < tolerance(np.float64)
    assert distance(total[1:], D) < tolerance(np.float64)
    assert total[0] == pytest.approx(net.cost(p.X, p.Y, sample_weight=w) * w.sum(), rel=1e-13)
    assert equations.costs(net.theta) == total[0]
    told, R = equations.triangle(net.theta)
    assert distance(R[:, :-1].T @ R[:, :-1], expected) < tolerance(np.float64)
    np.testing.assert_allclose(told, total, rtol=1e-13, atol=1e-13)
    if loss == "squared_error":
        assert distance(R[:, :-1].T @ R[:, -1], D) < 10 * tolerance(np.float64)
    else:
        assert not R[:, -1].any()


def test_labels_are_targets_too():
    p = problem((3, 4, 3), "tanh", "softmax", "cross_entropy", m=40)
    net, hot = p.network(), np.eye(3)[p.labels]
    sums = []
    for Y in (p.labels, hot):
        equations = NormalEquations(net.data(p.X, Y))
        A, total = np.zeros(equations.n**2), np.zeros(1 + equations.n)
        equations.add(net.theta, A, total)
        sums.append((A, total))
    np.testing.assert_array_equal(sums[0][0], sums[1][0])
    np.testing.assert_array_equal(sums[0][1], sums[1][1])


def test_threads_change_no_bit_and_the_sum_of_ranges_is_right():
    rng = np.random.default_rng(0)
    net = fastbp.Network([3, 30, 2], activation="tanh", output="identity", seed=0)
    X, Y = rng.standard_normal((9000, 3)), rng.standard_normal((9000, 2))
    found = []
    for n_threads in (1, 2, 3):
        equations = NormalEquations(net.data(X, Y), None, n_threads)
        assert len(equations._cuts) == 8
        for _ in range(2):      # the buffers are used again
            A, total = np.zeros(equations.n**2), np.zeros(1 + equations.n)
            equations.add(net.theta, A, total)
            found.append((A, total))
    for A, total in found[1:]:
        np.testing.assert_array_equal(A, found[0][0])
        np.testing.assert_array_equal(total, found[0][1])
    J = net.jacobian(X).reshape(-1, net.n_parameters)
    assert distance(np.triu(found[0][0].reshape(equations.n, -1)), np.triu(J.T @ J)) < tolerance(np.float64)


@pytest.mark.parametrize("loss", normal.FLAT)
def test_losses_without_curvature_are_refused_by_name(loss):
    with pytest.raises(ValueError, match=f"loss '{loss}' has no curvature"):
        NormalEquations(problem((3, 2), output="identity", loss=loss).network().data(np.ones((2, 3)), np.ones((2, 2))))


def test_a_loss_of_ones_own_is_refused_too():
    plan = copy.copy(problem().network().plan)
    plan.loss = "own"
    with pytest.raises(ValueError, match="loss is one of your own, whose curvature nobody knows"):
        normal.form(plan)


def test_the_memory_of_the_machine_is_that_of_its_group(monkeypatch, tmp_path):
    there = memory.machine()
    assert there > 2**20
    (tmp_path / "memory.max").write_text("12345\n")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert memory.machine() == 12345
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.machine() >= there
