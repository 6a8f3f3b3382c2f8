"""First derivatives of each example: Jacobians, gradients and their norms, views, parts of a network."""

import copy
import pickle

import numpy as np
import pytest
from helpers import DTYPES, NAMES, distance, problem, tolerance
from reference import PAIRS
from test_outside import SIZES, exact, random_problem

import fastbp
from fastbp.engine import each, sums

HEIGHTS = [0, 1, 2, 5, 15, 16, 17, 33, 64, 65, 130]


def rows_of(p, i):
    """The problem with only its example i"""
    one = copy.copy(p)
    one.X, one.Y, one.labels = p.X[i : i + 1], p.Y[i : i + 1], p.labels[i : i + 1]
    return one


def check_jacobians(p, limit=5):
    """Agrees with the textbook in long double, and up to rounding with backward for unit G"""
    net, K, bound = p.network(), p.model.sizes[-1], limit * tolerance(p.theta.dtype)
    by_theta, by_X = net.jacobian(p.X), net.jacobian(p.X, wrt="X")
    assert by_theta.shape == (len(p.X), K, net.n_parameters)
    assert by_X.shape == (len(p.X), K, p.model.sizes[0])
    assert by_theta.dtype == by_X.dtype == net.dtype
    slopes, expected = np.zeros(by_X.shape), np.zeros(by_X.shape, np.longdouble)
    for i in range(len(p.X)):
        for k in range(K):
            G = np.eye(K, dtype=net.dtype)[k : k + 1]
            _, D, expected[i, k] = exact(rows_of(p, i), G, "h")
            assert distance(by_theta[i, k], D) < bound
            D, slopes[i, k] = net.backward(p.X[i : i + 1], G, wrt="h", inputs=True)
            assert distance(by_theta[i, k], D) < bound
    assert distance(by_X, expected) < bound         # over all: one number may be a small difference of large ones
    assert distance(by_X, slopes) < bound


def check_gradients(p, Y=None, limit=5):
    net, Y, bound = p.network(), p.Y if Y is None else Y, limit * tolerance(p.theta.dtype)
    found, norms = net.gradients(p.X, Y), net.gradient_norms(p.X, Y)
    assert found.shape == (len(p.X), net.n_parameters)
    assert norms.shape == (len(p.X),)
    assert found.dtype == norms.dtype == net.dtype
    for i in range(len(p.X)):
        one = rows_of(p, i)
        D = one.exact(Y[i : i + 1])[1]
        assert distance(found[i], D) < bound
        assert abs(norms[i] - np.sqrt(np.sum(D * D))) <= bound * np.sqrt(np.sum(D * D))
    if len(p.X):
        assert distance(found.mean(axis=0), net.cost_and_gradient(p.X, Y)[1]) < 10 * bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_derivatives_of_every_output_and_loss(pair, dtype):
    for sizes in SIZES[:4]:
        if pair[0] != "softmax" or sizes[-1] > 1:
            p = problem(sizes, "tanh", *pair, m=5, dtype=dtype)
            check_jacobians(p)
            check_gradients(p)
            if sizes[-1] > 1 and pair[0] in ("softmax", "sigmoid", "tanh"):
                check_gradients(p, p.labels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_the_derivatives_of_every_activation(name, dtype):
    p = problem((4, 8, 11, 3), name, "identity", "squared_error", m=7, dtype=dtype)
    check_jacobians(p)
    check_gradients(p)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [0, 1, 16, 17, 65])
def test_the_derivatives_of_any_number_of_examples(m, dtype):
    p = problem((5, 9, 33, 4), "sigmoid", "softmax", m=m, dtype=dtype)
    check_jacobians(p)
    if m:
        check_gradients(p)


@pytest.mark.parametrize("seed", range(40))
def test_the_derivatives_of_random_networks(seed):
    p = random_problem(1000 + seed)
    p.X, p.Y, p.labels = p.X[:4], p.Y[:4], p.labels[:4]
    check_jacobians(p)
    check_gradients(p)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 40, 1500])
def test_the_number_of_threads_and_the_other_examples_change_no_bit(m, dtype, monkeypatch):
    p = problem((6, 20, 4), "gelu", "softmax", m=m, dtype=dtype)
    net = p.network()
    calls = (lambda X, Y, n: net.jacobian(X, n_threads=n), lambda X, Y, n: net.jacobian(X, wrt="X", n_threads=n),
             lambda X, Y, n: net.gradients(X, Y, n_threads=n),
             lambda X, Y, n: net.gradient_norms(X.tolist(), Y, n_threads=n))
    for call in calls:
        whole = call(p.X, p.Y, None)
        half = np.concatenate([call(p.X[i:j], p.Y[i:j], 1) for i, j in ((0, m // 2), (m // 2, m)) if j > i])
        assert half.tobytes() == whole.tobytes()
        with monkeypatch.context() as patch:
            patch.setattr(each.threads, "members", lambda *_: 3)
            assert call(p.X, p.Y, 3).tobytes() == whole.tobytes()


def test_derivatives_of_a_large_network():
    p = problem((30, 9000, 31, 2), "relu", "identity", "squared_error", m=3, dtype=np.float32)
    check_jacobians(p, 20)
    check_gradients(p, limit=20)


def test_norms_of_any_size():
    """Norms whose squares leave the range of float64: saturated units, and huge inputs"""
    net = fastbp.Network([1, 1], init=np.array([0.0, 1.0]))
    X = np.array([[-400.0], [-700.0], [0.0], [3.0], [-1.0]])
    norms, D = net.gradient_norms(X, np.array([0, 0, 0, 1, 0])), net.gradients(X, np.array([0, 0, 0, 1, 0]))
    assert norms[1] > 0
    assert np.allclose(norms, [np.hypot(*row) for row in D], rtol=1e-13, atol=0)
    line = fastbp.Network([1, 1], output="identity", init=np.array([0.0, 1.0]))
    assert line.gradient_norms(np.array([[1e200]]), np.array([0.0]))[0] == pytest.approx(np.inf)
    assert line.gradient_norms(np.array([[1e100]]), np.array([0.0]))[0] == pytest.approx(1e200)
    assert line.gradient_norms(np.array([[2.0]]), np.array([2.0]))[0] == 0


def test_many_norms_of_any_size(monkeypatch):
    """The gradients are computed some at a time"""
    monkeypatch.setattr(each, "SOME", 20)
    net = fastbp.Network([2, 3, 1], activation="tanh", seed=0)
    X = np.random.default_rng(0).standard_normal((50, 2))
    net.theta[-4] = -500.0      # the output is about 1e-217
    norms, D = net.gradient_norms(X, np.zeros(50)), net.gradients(X, np.zeros(50))
    assert ((norms > 0) & (norms < 1e-180)).all()
    scaled = D / np.abs(D).max(axis=1, keepdims=True)
    assert np.allclose(norms, np.abs(D).max(axis=1) * np.linalg.norm(scaled, axis=1), rtol=1e-13, atol=0)
    for dtype in DTYPES:
        exact_fit = fastbp.Network([2, 1], output="identity", init=np.zeros(3), dtype=dtype)
        assert (exact_fit.gradient_norms(X, np.zeros(50)) == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_receives_the_result(dtype):
    p = problem(m=9, dtype=dtype)
    net = p.network()
    for call in (lambda **o: net.jacobian(p.X, **o), lambda **o: net.jacobian(p.X, wrt="X", **o),
                 lambda **o: net.gradients(p.X, p.Y, **o), lambda **o: net.jacobian(p.X[0], **o)):
        result = call()
        out = np.full_like(result, np.nan)
        assert call(out=out) is out
        assert (out == result).all()
        for wrong in (out[..., :-1], out.astype(complex), out.tolist(), np.asfortranarray(np.ones((2, *out.shape))),
                      out[..., ::-1]):
            with pytest.raises((ValueError, TypeError), match=r"\bout\b"):
                call(out=wrong)


def test_out_that_is_read_meanwhile_is_refused():
    net = fastbp.Network([6, 1], output="identity", seed=0)     # 7 parameters
    both = np.zeros(7 * 7)
    X, Y, out = both[:42].reshape(7, 6), both[:7], both.reshape(7, 7)
    for call, name in ((lambda: net.gradients(X, np.zeros(7), out=out), "X"),
                       (lambda: net.gradients(np.ones((7, 6)), Y, out=out), "Y"),
                       (lambda: net.jacobian(np.zeros(6), out=net.theta.reshape(1, 7)), "theta")):
        with pytest.raises(ValueError, match=f"out.*{name}"):
            call()


@pytest.mark.parametrize("bad", [np.zeros((8, 4)), np.full((8, 5), np.nan), None, "X", np.zeros((8, 5), complex)],
                         ids=["columns", "NaN", "None", "text", "complex"])
def test_bad_examples_are_named(bad):
    p = problem((5, 7, 3), m=8)
    net = p.network()
    for call in (lambda: net.jacobian(bad), lambda: net.gradients(bad, p.Y), lambda: net.gradient_norms(bad, p.Y)):
        with pytest.raises((ValueError, TypeError), match=r"\bX\b"):
            call()
    for call in (lambda: net.gradients(p.X, p.Y[1:]), lambda: net.gradient_norms(p.X, None)):
        with pytest.raises((ValueError, TypeError), match=r"\bY\b"):
            call()
    for wrt in ("y", None, 3, np.zeros(2)):
        with pytest.raises((ValueError, TypeError), match="wrt"):
            net.jacobian(p.X, wrt=wrt)
    net.theta[0] = np.inf
    for call in (lambda: net.jacobian(p.X), lambda: net.gradients(p.X, p.Y), lambda: net.gradient_norms(p.X, p.Y)):
        with pytest.raises(ValueError, match="theta"):
            call()


# ---------------------------------------------------------------- views


def test_views_have_the_shapes_of_Theta_and_show_the_array():
    p = problem((5, 7, 3), m=4)
    net = p.network()
    D = net.gradients(p.X, p.Y)
    for own, Delta in zip(net.views(D.sum(axis=0)), net.accumulate(p.X, p.Y)[1], strict=True):
        assert distance(own, Delta) < tolerance(np.float64)
    for a in (D, D[0], net.jacobian(p.X), D[:, ::-1], np.arange(net.n_parameters)):
        shapes = [a.shape[:-1] + T.shape for T in net.Theta]
        assert [view.shape for view in net.views(a)] == shapes
        assert all(np.shares_memory(view, a) for view in net.views(a))
        assert np.concatenate([view.reshape(*a.shape[:-1], -1) for view in net.views(a)], axis=-1).tobytes() == (
            np.ascontiguousarray(a).tobytes())
    for bad in (D[:, 1:], D.T, [1.0] * net.n_parameters, None, np.float64(3)):
        with pytest.raises((ValueError, TypeError), match=r"\bD\b"):
            net.views(bad)


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_are_networks_of_their_own(dtype):
    net = fastbp.Network([6, 5, 3, 4, 2], activation=["relu", "tanh", "sigmoid"], output="softmax", dtype=dtype, seed=0)
    X = np.random.default_rng(0).standard_normal((9, 6)).astype(dtype)
    a = net.activations(X)
    for first in range(1, 5):
        for last in range(first + 1, 6):
            if last == 2:
                with pytest.raises(ValueError, match=r"last=2.*relu"):
                    net.layers(first, last)
                continue
            part = net.layers(first, last)
            assert part.layer_sizes == net.layer_sizes[first - 1 : last]
            assert distance(part.predict(a[first - 1]), a[last - 1]) < tolerance(dtype)
            assert all((own == T).all() for own, T in zip(part.Theta, net.Theta[first - 1 :], strict=False))
            assert not np.shares_memory(part.theta, net.theta)
            assert (part.output, part.loss) == {3: ("tanh", "squared_error"), 4: ("sigmoid", "cross_entropy"),
                                                5: ("softmax", "cross_entropy")}[last]
            assert part.dtype == net.dtype
            part.initialize(0)
            assert pickle.loads(pickle.dumps(part)).layer_sizes == part.layer_sizes
    assert (net.layers(1, 5).predict(X) == net.predict(X)).all()


def test_layers_keep_the_loss_of_the_last_layer_and_start_values():
    start = np.arange(1.0, 24)
    net = fastbp.Network([3, 2, 5], activation="identity", loss="huber", huber_delta=0.3, init=start)
    assert net.layers(2, 3).loss_parameters == {"huber_delta": 0.3}
    assert net.layers(1, 2).loss_parameters == {}
    head = net.layers(2, 3)
    head.theta = np.zeros(15)
    head.initialize()
    assert (head.theta == start[8:]).all()
    fastbp.train(head, np.ones((4, 2)), np.ones((4, 5)), epochs=1)
    assert (net.theta == start).all()


@pytest.mark.parametrize("bad", [(0, 2), (1, 1), (2, 1), (1, 5), (-1, 2), (1.0, 2), (1, None), ("1", 2), (True, 2),
                                 (4, 5), (1, 2**70)])
def test_layers_out_of_range_are_named(bad):
    net = fastbp.Network([3, 2, 5, 4], activation="tanh")
    with pytest.raises((ValueError, TypeError), match=r"first|last"):
        net.layers(*bad)


def test_the_blocks_are_what_memory_is_needed_for(monkeypatch):
    """Only the result grows with m"""
    made = []
    aligned = sums.aligned
    monkeypatch.setattr(sums, "aligned", lambda n, dtype: made.append(n * dtype.itemsize) or aligned(n, dtype))
    sizes = []
    for m in (1000, 4000):
        p = problem((6, 20, 4), "tanh", "softmax", m=m)
        monkeypatch.setattr(each.threads, "_pool", None)    # where workspaces stay for the next call
        p.network().gradient_norms(p.X.tolist(), p.Y)
        sizes.append(sum(made))
        made.clear()
    assert 0 < sizes[0] == sizes[1] < 2**20


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 7, 64, 65, 200, 1300])
def test_prepared_norms_have_the_bits_of_the_others(dtype, m):
    """Lists take the same way as many examples"""
    p = problem((5, 7, 3), m=m, dtype=dtype)
    net = p.network()
    for Y in (p.Y, p.labels % 3 if net.layer_sizes[-1] > 1 else p.Y):
        prepared = net.gradient_norms(p.X, Y)
        assert prepared.dtype == dtype
        assert prepared.tobytes() == net.gradient_norms(p.X.tolist(), Y).tobytes()
        assert prepared.tobytes() == net.gradient_norms(p.X, Y, n_threads=2).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e-18, 1e18, 1e-150, 1e150])
def test_prepared_norms_keep_their_digits_at_every_size(dtype, size):
    p = problem((5, 7, 3), output="identity", loss="squared_error", m=9, dtype=dtype)
    if size not in (1e-18, 1e18) and dtype == np.float32:
        pytest.skip("no number of float32")
    net, Y = p.network(), (p.Y * dtype(size)).astype(dtype)
    net.theta[:] *= dtype(size)
    norms = net.gradient_norms(p.X, Y)
    assert norms.tobytes() == net.gradient_norms(p.X.tolist(), Y).tobytes()
    D = net.gradients(p.X, Y).astype(np.longdouble)
    np.testing.assert_allclose(norms, np.sqrt((D * D).sum(axis=1)), rtol=1e-5 if dtype == np.float32 else 1e-13)


def test_bad_rows_are_named_by_prepared_norms_too():
    p = problem((5, 7, 3), m=9)
    net, X = p.network(), p.X.copy()
    X[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"First at X\[3, 2\]"):
        net.gradient_norms(X, p.Y)
    with pytest.raises(ValueError, match="Y"):
        net.gradient_norms(p.X, p.Y[:-1])
