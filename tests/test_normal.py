"""Normal equations: B'B = J_z' H+ J_z, its gradient and its rows, against Jacobians of each example."""

import signal
import threading
import time

import numpy as np
import pytest
from helpers import distance, problem, tolerance
from reference import PAIRS

import fastbp
from fastbp import _backprop, _normal
from fastbp.engine import memory, normal, quota, sums
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
    found = []
    for Y in (p.labels, hot):
        equations = NormalEquations(net.data(p.X, Y))
        A, total = np.zeros(equations.n**2), np.zeros(1 + equations.n)
        equations.add(net.theta, A, total)
        found.append((A, total))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_threads_change_no_bit_and_the_sum_of_ranges_is_right():
    rng = np.random.default_rng(0)
    net = fastbp.Network([3, 30, 2], activation="tanh", output="identity", seed=0)
    X, Y = rng.standard_normal((9000, 3)), rng.standard_normal((9000, 2))
    found = []
    for n_threads in (1, 2, 3):
        equations = NormalEquations(net.data(X, Y), None, n_threads)
        assert len(equations._cuts) == 9
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


def own(z, Y, w):
    return float(np.sum(z**2)), 2 * z


def test_a_loss_of_ones_own_is_refused_by_name_before_anything_has_changed():
    p = problem((3, 4, 2), output="identity", loss="squared_error", m=20)
    net = fastbp.Network([3, 4, 2], output="identity", loss=own, seed=0)
    before = net.theta.copy()
    with pytest.raises(ValueError, match="loss is your own, and its curvature is unknown"):
        fastbp.minimize(net, p.X, p.Y, method="lm")
    with pytest.raises(ValueError, match="net has the loss 'own'; Laplace takes"):
        fastbp.Laplace(net, p.X, p.Y, weight_decay=1.0)
    np.testing.assert_array_equal(net.theta, before)
    with pytest.raises(ValueError, match="a loss of its owner's"):
        add(net, np.zeros((1, 3)), np.zeros((1, 2)))


def add(net, X, Y, cuts=(0, 1), what=1):
    """_normal.add with good arrays in one seat; returns (A, sums)"""
    n, height = net.n_parameters, sums.height(net.plan, 64, np.float64)
    work, rows = np.zeros(height * net.plan.units), np.zeros(3 * height * (n + 1))
    A, total = np.zeros(n * n), np.zeros((len(cuts) - 1, 1 + n))
    assert _normal.add(net.plan.code, net.theta, _backprop.Examples(X, Y), np.array(cuts), np.array([[-1, 0]]), work,
                       work.copy(), height, np.empty(0, np.int64), rows, A, np.zeros(7 * n * n), total.reshape(-1), 0,
                       what, 60.0)
    return A, total


def test_rows_are_those_of_one_range_and_one_block():
    net = problem((3, 4, 2), output="identity", loss="squared_error").network()
    X, Y = np.ones((5000, 3)), np.ones((5000, 2))
    for cuts in (0, 1, 2), (0, 5000):
        with pytest.raises(ValueError, match="rows are made of one range of at most"):
            add(net, X, Y, cuts, 2)


def test_no_examples_add_nothing():
    net = problem((3, 4, 2), output="identity", loss="squared_error").network()
    for array in add(net, np.ones((1, 3)), np.ones((1, 2)), (0, 0)):
        assert not array.any()


def test_label_smoothing_moves_the_gradient_and_leaves_the_curvature():
    p = problem((3, 4, 3), "tanh", "softmax", "cross_entropy", m=40)
    found = []
    for smoothing in (None, 0.1):
        net = fastbp.Network([3, 4, 3], activation="tanh", output="softmax", init=p.network().theta,
                             **({} if smoothing is None else {"label_smoothing": smoothing}))
        equations = NormalEquations(net.data(p.X, p.labels))
        A, total = np.zeros(equations.n**2), np.zeros(1 + equations.n)
        equations.add(net.theta, A, total)
        J, D = net.cost_and_gradient(p.X, p.labels)
        assert total[0] / 40 == pytest.approx(J, rel=1e-13)
        assert distance(total[1:] / 40, D) < tolerance(np.float64)
        found.append((A, total))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert distance(found[0][1], found[1][1]) > 1e-3


def add_for_ever(equations, *to):
    while True:
        equations.add(*to)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_ends_a_sum_soon_and_the_next_is_right(n_threads):
    rng = np.random.default_rng(0)
    net = fastbp.Network([20, 40, 2], activation="tanh", output="identity", seed=0)
    equations = NormalEquations(net.data(rng.standard_normal((10_000, 20)), np.ones((10_000, 2))), None, n_threads)
    found = []
    for strikes in (False, True, False):
        A, total = np.zeros(equations.n**2), np.zeros(1 + equations.n)
        if not strikes:
            equations.add(net.theta, A, total)
            found.append((A.tobytes(), total.tobytes()))
            continue
        timer, begun = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]), time.perf_counter()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            add_for_ever(equations, net.theta, A, total)
        timer.join()
        assert time.perf_counter() - begun < 5
    assert found[0] == found[1]


def test_the_memory_of_the_machine_is_that_of_its_group(monkeypatch, tmp_path):
    there = memory.machine()
    assert there > 2**20
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/outer/inner\n")
    (tmp_path / "memory.max").write_text("12345\n")
    monkeypatch.setattr(quota, "GROUPS", tmp_path)
    monkeypatch.setattr(quota, "OWN", tmp_path / "own")
    assert memory.machine() == 12345
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.machine() >= there
    for folder, size in ((inner, 3000), (inner.parent, 2000)):      # the smallest of all around counts
        (folder / "memory.max").write_text(f"{size}\n")
        assert memory.machine() == size
