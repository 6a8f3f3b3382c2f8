"""The network: its parameters and their views, its forward and backward quantities, its start values."""

import copy
import itertools
import pickle
import re

import numpy as np
import pytest
from helpers import CLASSES, DTYPES, NAMES, distance, problem, tolerance
from reference import ACTIVATIONS, PAIRS, flat

import fastbp

SIZES = [(3, 2), (1, 1, 1), (4, 5, 3), (2, 7, 1, 6), (10, 9, 8, 7, 6)]

# ---------------------------------------------------------------- theta and Theta


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_theta_is_the_rows_of_the_matrices_one_after_the_other(sizes, dtype):
    net = fastbp.Network(sizes, dtype=dtype, seed=0)
    assert tuple(net.layer_sizes) == sizes
    assert net.dtype == dtype
    assert isinstance(net.Theta, tuple)
    assert [T.shape for T in net.Theta] == [(t, s + 1) for s, t in itertools.pairwise(sizes)]
    np.testing.assert_array_equal(net.theta, flat(net.Theta))
    assert net.theta.ndim == 1
    assert net.theta.flags.c_contiguous
    assert net.theta.dtype == dtype
    assert net.n_parameters == net.theta.size == sum(T.size for T in net.Theta)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices_are_views_that_write_through(dtype):
    net = fastbp.Network([2, 3, 1], dtype=dtype, seed=0)
    A = np.arange(9.0).reshape(3, 3)
    net.Theta[0][:] = A
    np.testing.assert_array_equal(net.theta[:9], A.ravel())
    net.theta[9:] = [7, 8, 9, 10]
    np.testing.assert_array_equal(net.Theta[1], [[7, 8, 9, 10]])
    p = problem((2, 3, 1), "sigmoid", dtype=dtype)
    assert distance(net.predict(p.X), p.model.forward(net.theta, p.X)[1][-1]) < tolerance(dtype)
    with pytest.raises(TypeError):
        net.Theta[0] = A


def test_assigning_theta_copies_the_values_in():
    net = fastbp.Network([2, 3, 1], seed=0)
    views, own = net.Theta, net.theta
    values = np.arange(13.0)
    net.theta = values
    values[:] = -1
    np.testing.assert_array_equal(net.theta, np.arange(13.0))
    np.testing.assert_array_equal(views[1], [[9, 10, 11, 12]])  # the views of before still show the parameters
    assert np.shares_memory(net.theta, own)
    assert not np.shares_memory(net.theta, values)
    net.theta = range(13)
    np.testing.assert_array_equal(net.theta, np.arange(13.0))
    net.theta = net.theta[::-1]  # a view of itself
    np.testing.assert_array_equal(net.theta, np.arange(13.0)[::-1])


def test_fault_31_assigning_views_of_the_network_to_itself_is_right():
    net = fastbp.Network([2, 2], seed=0)
    before = net.theta.copy()
    net.theta = net.theta
    np.testing.assert_array_equal(net.theta, before)


def test_theta_lies_in_memory_that_nobody_can_move_wherever_the_network_comes_from(tmp_path):
    net = fastbp.Network([40, 30, 2], seed=0)
    fastbp.save(tmp_path / "net", net)
    given = np.linspace(-1, 1, net.n_parameters)
    for each in (net, net.copy(), net.copy(dtype=np.float32), copy.deepcopy(net), pickle.loads(pickle.dumps(net)),
                 fastbp.load(tmp_path / "net"), fastbp.Network([40, 30, 2], init=given)):
        with pytest.raises(ValueError, match="cannot resize this array"):
            each.theta.resize(2 * net.n_parameters, refcheck=False)
        assert np.shares_memory(each.theta, each.Theta[0])


@pytest.mark.parametrize("name", ["Theta", "layer_sizes", "n_parameters", "dtype"])
def test_what_is_fixed_cannot_be_assigned(name):
    net = fastbp.Network([2, 3, 1], seed=0)
    with pytest.raises((AttributeError, TypeError)):
        setattr(net, name, getattr(net, name))


def test_copy_is_equal_and_independent():
    p = problem((3, 4, 2), "relu", "softmax", "cross_entropy", dtype=np.float32)
    net = p.network()
    twin = net.copy()
    assert type(twin) is type(net)
    assert twin.dtype == net.dtype
    assert tuple(twin.layer_sizes) == tuple(net.layer_sizes)
    assert twin.predict(p.X).tobytes() == net.predict(p.X).tobytes()
    assert twin.cost(p.X, p.Y) == net.cost(p.X, p.Y)
    twin.theta[:] = 0
    assert net.theta.tobytes() == p.theta.tobytes()


def test_repr_and_summary_tell_the_network():
    net = fastbp.Network([784, 30, 10], activation="relu", output="softmax", dtype=np.float32, seed=0)
    for part in ("784", "30", "10", "relu", "softmax", "cross_entropy", "float32"):
        assert part in repr(net)
    text = net.summary()
    for part in ("784", "30", "10", "relu", "softmax"):
        assert part in text
    assert re.sub(r"[,_ \u202f]", "", text).find("23860") >= 0  # n_parameters, however it groups its digits


# ---------------------------------------------------------------- forward and backward


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("activation", NAMES)
def test_every_activation_and_delta_is_the_textbooks(activation, output, loss, dtype):
    p = problem((4, 6, 5, 3), activation, output, loss, m=11, dtype=dtype)
    net, exact = p.network(), p.theta.astype(np.longdouble)
    a = p.model.forward(exact, p.X)[1]
    assert distance(net.predict(p.X), a[-1]) < tolerance(dtype)
    for l, (ours, expected) in enumerate(zip(net.activations(p.X), a, strict=True)):
        assert ours.dtype == dtype
        assert distance(ours, expected) < tolerance(dtype), f"a({l + 1})"
    for l, (ours, expected) in enumerate(zip(net.deltas(p.X, p.Y), p.model.deltas(exact, p.X, p.Y), strict=True)):
        assert ours.dtype == dtype
        assert distance(ours, expected) < tolerance(dtype), f"delta({l + 2})"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 7, 8, 9, 31, 65, 300, 511, 1000, 2500])
def test_every_row_of_many_is_the_textbooks(m, dtype):
    p = problem((9, 17, 12, 5), "tanh", "softmax", "cross_entropy", m=m, dtype=dtype)
    net = p.network()
    a = p.model.forward(p.theta.astype(float), p.X)[1]
    error = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(net.predict(p.X), a[-1], rtol=0, atol=error)
    for ours, expected in zip(net.activations(p.X), a, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=error)
    for ours, expected in zip(
        net.deltas(p.X, p.labels), p.model.deltas(p.theta.astype(float), p.X, p.labels), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=error)


@pytest.mark.parametrize(("output", "loss"), CLASSES)
def test_deltas_of_labels_are_those_of_their_rows(output, loss):
    p = problem((4, 6, 3), "tanh", output, loss)
    for ours, expected in zip(p.network().deltas(p.X, p.labels), p.model.deltas(p.theta, p.X, p.labels), strict=True):
        assert distance(ours, expected) < tolerance(float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activations_keep_their_relative_accuracy_at_every_size(name, dtype):
    """One hidden unit with z = x: a(2) = g(x), delta(2) = g'(x); a(2) compared cell by cell"""
    g, g_prime = ACTIVATIONS[name]
    net = fastbp.Network(
        [1, 1, 1], activation=name, output="identity", loss="squared_error", dtype=dtype, init=[0, 1, 0, 1]
    )
    sizes = 2.0 ** np.arange(-30, 4)
    x = np.concatenate([-sizes, [0.0] if name not in ("leaky_relu",) else [], sizes]).astype(dtype)
    exact = x.astype(np.longdouble)
    ulp = {np.float32: 1.2e-7, np.float64: 2.3e-16}[dtype]
    near = 40 * ulp
    if name == "gelu":  # 1 + erf cancels in the oracle, and z Phi(z) is ill-conditioned in z by z^2
        x, exact = x[x > -3], exact[x > -3]
    X = x[:, None]
    np.testing.assert_allclose(net.activations(X)[1][:, 0], g(exact).astype(float), rtol=near, atol=0)
    h = net.predict(X)
    hidden, output = net.deltas(X, h - 1)
    np.testing.assert_allclose(hidden[:, 0] / output[:, 0], g_prime(exact).astype(float), rtol=0, atol=near)


def test_derivative_of_relu_at_zero_is_zero():
    net = fastbp.Network([1, 1, 1], activation="relu", output="identity", loss="squared_error", init=[0, 1, 0, 1])
    hidden, output = net.deltas([[0.0]], [[1.0]])
    assert hidden == 0
    assert output == -1


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_row_may_be_a_vector(dtype):
    p = problem((5, 7, 3), dtype=dtype)
    net = p.network()
    row = net.predict(p.X[0])
    assert row.shape == (3,)
    assert row.dtype == dtype
    assert distance(row, net.predict(p.X)[0]) < tolerance(dtype, "bits")
    assert net.predict(p.X[:1]).shape == (1, 3)
    assert fastbp.Network([1, 2], seed=0).predict([0.5]).shape == (2,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("sizes", [(7, 5, 3), (20, 33, 10), (1, 1, 2), (64, 100, 17), (9, 4)])
def test_fault_15_a_row_gives_the_same_bits_alone_and_in_any_company(sizes, output, loss, dtype):
    p = problem(sizes, "gelu", output, loss, m=70, dtype=dtype)
    net = p.network()
    h = net.predict(p.X)
    for i in range(0, 70, 3):
        assert net.predict(p.X[i]).tobytes() == h[i].tobytes()
        assert net.predict(p.X[i : i + 5]).tobytes() == h[i : i + 5].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_predict_writes_into_out(dtype):
    p = problem(dtype=dtype)
    net = p.network()
    for X in (p.X, p.X[0]):
        h = net.predict(X)
        out = np.full_like(h, np.nan)
        assert net.predict(X, out=out) is out
        np.testing.assert_array_equal(out, h)


def test_fault_31_predict_into_its_own_input_is_right():
    p = problem((4, 6, 4))
    net, h = p.network(), p.network().predict(p.X)
    X = p.X.copy()
    np.testing.assert_array_equal(net.predict(X, out=X), h)


@pytest.mark.parametrize("shift", [-1, 1])
def test_fault_31_predict_into_memory_that_overlaps_its_input_is_right(shift):
    """Over many blocks, row i of the result is written where row i + 1 or i - 1 of the input was"""
    p = problem((4, 6, 4), m=2000)
    buffer = np.zeros((2002, 4))
    X, out = buffer[1:-1], buffer[1 + shift : 2001 + shift]
    X[:] = p.X
    expected = p.network().predict(p.X)
    np.testing.assert_array_equal(p.network().predict(X, out=out), expected)


def test_no_examples_have_no_activations():
    assert [a.shape for a in fastbp.Network([3, 5, 2]).activations(np.zeros((0, 3)))] == [(0, 3), (0, 5), (0, 2)]



def test_fault_32_predict_of_no_rows_is_empty():
    net = fastbp.Network([4, 6, 3], dtype=np.float32, seed=0)
    h = net.predict(np.empty((0, 4)))
    assert h.shape == (0, 3)
    assert h.dtype == np.float32


@pytest.mark.parametrize("m", [1, 7, 8, 9, 65, 300])
def test_results_are_fresh_arrays(m):
    p = problem(m=m)
    net = p.network()
    first = net.predict(p.X)
    kept = first.copy()
    net.predict(-p.X)
    np.testing.assert_array_equal(first, kept)
    for a in net.activations(p.X):
        a[:] = 0  # the first of them must not be the caller's X
    assert p.X.any()


# ---------------------------------------------------------------- evaluate


def cost_and_accuracy(result):
    return (result["cost"], result["accuracy"]) if isinstance(result, dict) else tuple(result)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), CLASSES)
@pytest.mark.parametrize("form", ["labels", "rows"])
def test_evaluate_gives_the_cost_without_penalty_and_the_share_of_right_answers(form, output, loss, dtype):
    p = problem((5, 7, 3), "tanh", output, loss, m=200, dtype=dtype)
    net = p.network()
    rows = p.model.targets(p.labels, dtype)
    cost, accuracy = cost_and_accuracy(net.evaluate(p.X, p.labels if form == "labels" else rows))
    assert cost == pytest.approx(net.cost(p.X, p.labels), rel=tolerance(dtype, "bits"))
    h = p.model.forward(p.theta, p.X)[1][-1]
    assert accuracy == pytest.approx((h.argmax(axis=1) == p.labels).mean(), abs=1e-12)


def test_accuracy_of_one_output_is_at_one_half():
    p = problem((5, 7, 1), m=200)
    h = p.network().predict(p.X)[:, 0]
    for Y in (p.labels, p.labels.astype(bool), p.labels.astype(float), p.labels[:, None].astype(float)):
        assert cost_and_accuracy(p.network().evaluate(p.X, Y))[1] == pytest.approx(((h > 0.5) == p.labels).mean())


def test_accuracy_of_several_labels_needs_all_of_them_right():
    p = problem((5, 7, 3), m=200)
    Y = np.random.default_rng(5).integers(0, 2, size=(200, 3)).astype(float)
    h = p.network().predict(p.X)
    expected = ((h > 0.5) == Y).all(axis=1).mean()
    assert 0 < expected < 1
    assert cost_and_accuracy(p.network().evaluate(p.X, Y))[1] == pytest.approx(expected)


@pytest.mark.parametrize(("output", "loss"), [("identity", "squared_error"), ("exp", "poisson")])
def test_regression_has_no_accuracy(output, loss):
    p = problem(output=output, loss=loss)
    result = p.network().evaluate(p.X, p.Y)
    cost, accuracy = cost_and_accuracy(result)
    assert cost == pytest.approx(float(p.exact()[0]))
    assert accuracy is None


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(("alias", "name"), [("logistic", "sigmoid"), ("linear", "identity"), ("swish", "silu")])
def test_other_spellings_of_activations_are_the_same(alias, name):
    p = problem((4, 5, 3), name)
    net = fastbp.Network((4, 5, 3), activation=alias, init=p.theta)
    assert net.predict(p.X).tobytes() == p.network().predict(p.X).tobytes()


def test_other_spellings_of_outputs_and_losses_are_the_same():
    p = problem()
    net = fastbp.Network(p.model.sizes, activation="tanh", output="logistic", loss="log_loss", init=p.theta)
    assert net.cost(p.X, p.Y) == p.network().cost(p.X, p.Y)
    p = problem(output="identity", loss="squared_error")
    net = fastbp.Network(p.model.sizes, activation="tanh", output="linear", loss="squared_error", init=p.theta)
    assert net.cost(p.X, p.Y) == p.network().cost(p.X, p.Y)


def test_activation_may_differ_from_layer_to_layer():
    p = problem((4, 6, 5, 3), ["relu", "sigmoid"])
    q = problem((4, 6, 5, 3), ["sigmoid", "relu"])
    for each in (p, q):
        a = each.model.forward(each.theta, each.X)[1]
        for ours, expected in zip(each.network().activations(each.X), a, strict=True):
            assert distance(ours, expected) < 1e-13
