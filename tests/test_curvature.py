"""Products with the Hessian and the Gauss-Newton matrix, against complex steps of the textbook's D in long double."""

import numpy as np
import pytest
from helpers import DTYPES, NAMES, distance, problem, tolerance
from reference import PAIRS
from reference_curvature import gauss_newton_product, hessian_product
from test_label_smoothing import setting as smooth_setting
from test_label_smoothing import smoothed
from test_outside import SIZES, random_problem

import fastbp
from fastbp import _backprop, _curvature
from fastbp.engine import curvature, sums

HEIGHTS = [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130]


def vector(p, seed=1):
    """A direction like theta"""
    return np.random.default_rng(seed).standard_normal(len(p.theta)).astype(p.theta.dtype)


def check(p, V=None, Y=None, w=None, limit=1):
    """Both products, with decay, agree to 1e-12 in float64; the tolerance of float32 is that of D"""
    net, V, Y = p.network(), vector(p) if V is None else V, p.Y if Y is None else Y
    bound = 1e-12 if p.theta.dtype == np.float64 else limit * tolerance(np.float32)
    for name, exact in (("hessian_product", hessian_product), ("gauss_newton_product", gauss_newton_product)):
        found = getattr(net, name)(p.X, Y, V, weight_decay=0.125, sample_weight=w)
        assert found.dtype == net.dtype
        assert distance(found, exact(p.model, p.theta, p.X, Y, V, 0.125, w)) < bound, name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_products_are_exact_for_every_activation_and_pair(pair, name, dtype):
    p = problem((4, 7, 12, 3), name, *pair, m=19, dtype=dtype)
    check(p)
    check(p, w=p.weights)


@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_products_are_exact_for_every_shape_and_number_of_examples(sizes, dtype):
    for m in HEIGHTS:
        if sizes[-1] > 1:
            check(problem(sizes, "tanh", "softmax", "squared_error", m=m, dtype=dtype))
        check(problem(sizes, "gelu", "sigmoid", "squared_error", m=m, dtype=dtype))


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 10))])
def test_products_of_500_random_networks(part):
    """All activations, outputs and losses"""
    for seed in range(50 * part, 50 * part + 50):
        p = random_problem(seed)
        check(p, w=None if seed % 3 else p.weights, limit=3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["sigmoid", "softmax", "tanh"])
def test_labels_are_targets(output, dtype):
    p = problem((5, 9, 4), "silu", output, fastbp.Network([1, 2], output=output).loss, m=40, dtype=dtype)
    check(p, Y=p.labels)
    check(p, Y=p.labels, w=p.weights)


def test_products_of_a_large_network():
    """The layers are computed in parts, and blocks have 512 examples"""
    check(problem((3, 2**17, 3), "tanh", "softmax", m=5, dtype=np.float32), limit=10)
    check(problem((520, 530, 3), "tanh", "identity", "squared_error", m=40))


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_are_those_of_D_without_l1(dtype):
    p = problem((5, 9, 4), "tanh", "softmax", m=12, dtype=dtype)
    net, V = p.network(), vector(p)
    for product in (net.hessian_product, net.gauss_newton_product):
        plain = product(p.X, p.Y, V)
        for settings, c in (({"lam": 3.0}, [0.25, 0.25]), ({"weight_decay": [0.5, 0.0]}, [0.5, 0.0])):
            expected = [H + c_l * P * (np.arange(P.shape[1]) > 0)
                        for H, P, c_l in zip(net.views(plain), net.views(V), c, strict=True)]
            found = product(p.X, p.Y, V, l1=0.3, **settings)
            assert distance(found, np.concatenate([each.ravel() for each in expected])) < tolerance(dtype, "bits")
        w = p.weights * dtype(2.0**80)
        assert distance(product(p.X, p.Y, V, sample_weight=w), product(p.X, p.Y, V, sample_weight=p.weights)) == 0


def test_products_at_another_theta():
    p = problem((5, 9, 4), "tanh", "softmax", m=12)
    net, V, theta = p.network(), vector(p), p.theta + 0.5
    before = net.theta.copy()
    for name in ("hessian_product", "gauss_newton_product"):
        there = p.network()
        there.theta = theta
        assert (getattr(net, name)(p.X, p.Y, V, theta=theta) == getattr(there, name)(p.X, p.Y, V)).all()
        single = getattr(net, name)(p.X, p.Y, V, theta=theta.astype(np.float32))
        assert single.dtype == np.float32
    assert (net.theta == before).all()


# ---------------------------------------------------------------- properties


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_both_matrices_are_symmetric_to_4_eps(pair, dtype):
    """u'Hv = v'Hu, relative to the sum of the sizes of the terms"""
    for name in NAMES:
        p = problem((6, 9, 8, 3), name, *pair, m=50, dtype=dtype)
        net, u, v = p.network(), vector(p, 2), vector(p, 3)
        for product in (net.hessian_product, net.gauss_newton_product):
            Hu, Hv = (product(p.X, p.Y, each, lam=0.5).astype(np.longdouble) for each in (u, v))
            scale = np.linalg.norm(u) * np.linalg.norm(Hv.astype(float)) + np.linalg.norm(v) * np.linalg.norm(
                Hu.astype(float))
            assert abs(u @ Hv - v @ Hu) <= 4 * np.finfo(dtype).eps * scale


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_the_gauss_newton_matrix_is_positive_semidefinite_for_every_pair(pair):
    for name in ("tanh", "softplus", "relu"):
        p = problem((3, 5, 3), name, *pair, m=11)
        net = p.network()
        net.theta *= 4      # far from the answers: H is indefinite
        G = np.array([net.gauss_newton_product(p.X, p.Y, e) for e in np.eye(net.n_parameters)])
        values = np.linalg.eigvalsh((G + G.T) / 2)
        assert values[0] >= -1e-14 * max(values[-1], 1)
        if pair[1] in ("absolute_error", "quantile"):
            assert not G.any()


def test_without_a_hidden_layer_both_are_the_same_but_for_squares_of_bent_outputs():
    for pair in PAIRS:
        p = problem((4, 3), "tanh", *pair, m=30)
        net, V = p.network(), vector(p)
        same = distance(net.gauss_newton_product(p.X, p.Y, V), net.hessian_product(p.X, p.Y, V)) < 1e-14
        assert same == (pair[1] != "squared_error" or pair[0] == "identity")


def bent(name, z, dtype):
    """g''(z) of the compiled core: the second derivative for the bias of one unit, with an error e of 2^40"""
    net = fastbp.Network([1, 1, 1], activation=name, output="identity", init=[[[z, 0.0]], [[0.0, 1.0]]], dtype=dtype)
    y = net.predict(np.zeros((1, 1))) - dtype(2.0**40)
    return float(net.hessian_product(np.zeros((1, 1)), y, np.array([1.0, 0, 0, 0]))[0]) / 2.0**40


@pytest.mark.parametrize("dtype", DTYPES)
def test_second_derivatives_keep_their_digits_where_units_saturate(dtype):
    mpmath = pytest.importorskip("mpmath")
    mp = mpmath.mp.clone()
    mp.dps = 60

    def s(z):
        return 1 / (1 + mp.exp(-z))

    def d(z):
        return s(z) * s(-z)

    exact = {       # g'', and the sum of the sizes of its terms
        "sigmoid": (lambda z: d(z) * (s(-z) - s(z)), d),
        "tanh": (lambda z: -2 * mp.tanh(z) * mp.sech(z) ** 2, lambda z: 2 * abs(mp.tanh(z)) * mp.sech(z) ** 2),
        "elu": (lambda z: mp.exp(z) if z <= 0 else mp.mpf(0), lambda z: mp.exp(z)),
        "softplus": (d, d), "silu": (lambda z: d(z) * (2 + z * (s(-z) - s(z))), lambda z: d(z) * (2 + abs(z))),
        "gelu": (lambda z: mp.npdf(z) * (2 - z**2), lambda z: mp.npdf(z) * (2 + z**2)),
        **dict.fromkeys(("relu", "leaky_relu", "identity"), (lambda z: mp.mpf(0), lambda z: mp.mpf(0))),
    }
    assert set(exact) == set(NAMES)
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    for name, (second, size) in exact.items():
        for z in (0, 1e-30, 1e-3, 0.7, 1.4142, 2.4, 7.0, 12.5):
            for at in (dtype(z), dtype(-z)):
                wanted, found = second(mp.mpf(float(at))), bent(name, at, dtype)
                slope = 4.0 / 2.0**40       # of the term g'^2 beside e g''
                assert abs(found - wanted) <= 24 * eps * size(mp.mpf(float(at))) + slope + tiny, (name, at)


def test_kinks_have_the_second_derivatives_that_are_documented():
    straight = [bent(name, 0.0, np.float64) for name in ("relu", "leaky_relu", "identity")]
    assert straight == [0, 2.0**-40 / 10**4, 2.0**-40]      # g'^2 beside e g''
    assert bent("elu", 0.0, np.float64) == pytest.approx(1, rel=1e-11)
    assert abs(bent("elu", 1e-300, np.float64)) < 1e-11
    net = fastbp.Network([1, 1], output="identity", loss="huber", huber_delta=0.5, init=np.zeros(2))
    for y, curved in ((0.5, 1), (-0.5, 1), (np.nextafter(0.5, 1), 0), (0.0, 1)):
        for product in (net.hessian_product, net.gauss_newton_product):
            assert product(np.zeros((1, 1)), np.array([y]), np.array([1.0, 0])).tolist() == [curved, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_curvature_of_softmax_keeps_its_digits_where_it_is_sure(dtype):
    """h_1 = 1 - 2e^-z: each column of H is one of small numbers"""
    z = 12.0
    p = problem((1, 3), "tanh", "softmax", m=1, dtype=dtype)
    for loss in ("cross_entropy", "squared_error"):
        net = fastbp.Network([1, 3], output="softmax", loss=loss, init=np.array([z, 0, 0, 0, 0, 0]), dtype=dtype)
        model = problem((1, 3), "tanh", "softmax", loss, m=1, dtype=dtype).model
        X, Y = np.zeros((1, 1)), np.array([[1.0, 0, 0]])
        for e in np.eye(6, dtype=dtype)[::2]:
            for name, exact in (("hessian_product", hessian_product), ("gauss_newton_product", gauss_newton_product)):
                wanted = exact(model, net.theta, X, Y, e)
                found = getattr(net, name)(X, Y, e)
                assert distance(found, wanted) < 60 * np.finfo(dtype).eps, (loss, name)
    assert p.model.sizes == (1, 3)


# ---------------------------------------------------------------- ways of a call


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 40, 700, 6000])
def test_the_number_of_threads_and_what_is_kept_change_no_bit(m, dtype, monkeypatch):
    p = problem((6, 20, 9, 4), "gelu", "softmax", m=m, dtype=dtype)
    net, V = p.network(), vector(p)
    for name, operator in (("hessian_product", fastbp.curvature.hessian),
                           ("gauss_newton_product", fastbp.curvature.gauss_newton)):
        product = getattr(net, name)
        whole = product(p.X, p.Y, V)
        assert (operator(net, p.X, p.Y) @ V).tobytes() == whole.tobytes()
        with monkeypatch.context() as patch:
            patch.setattr(curvature.threads, "members", lambda n_threads, *_: n_threads or 3)
            patch.setattr(sums, "FEW", 0)       # block by block, by a crew
            product = getattr(p.network(), name)
            for n in (1, 2, 3):
                assert product(p.X, p.Y, V, n_threads=n).tobytes() == whole.tobytes()
                assert (operator(net, p.X, p.Y, n_threads=n) @ V).tobytes() == whole.tobytes()
            patch.setattr(curvature, "KEPT", 0)
            assert (operator(net, p.X, p.Y) @ V).tobytes() == whole.tobytes()


def all_products(net, p, V):
    """The bytes of both products and both operators"""
    results = [product(p.X, p.Y, V, sample_weight=p.weights)
               for product in (net.hessian_product, net.gauss_newton_product)]
    results += [operator(net, p.X, p.Y, sample_weight=p.weights) @ V
                for operator in (fastbp.curvature.hessian, fastbp.curvature.gauss_newton)]
    return [result.tobytes() for result in results]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_poisoned_workspace_changes_no_bit(dtype, monkeypatch):
    """No memory is read before it has been written"""
    aligned = sums.aligned

    def poisoned(n, dtype):
        room = aligned(n, dtype)
        room[:] = np.nan
        return room

    for pair in PAIRS:
        for m in (5, 21, 90):
            p = problem((4, 11, 7, 3), "silu", *pair, m=m, dtype=dtype)
            net, V = p.network(), vector(p)
            clean = all_products(net, p, V)
            with monkeypatch.context() as patch:
                patch.setattr(sums, "aligned", poisoned)
                patch.setattr(curvature.threads, "_pool", None)     # where workspaces stay for the next call
                assert all_products(net, p, V) == clean


def test_examples_of_weight_0_count_as_absent_however_large_they_are():
    p = problem((4, 6, 3), "relu", "exp", "poisson", m=20)
    net, V, X, w = p.network(), vector(p), p.X.copy(), p.weights.copy()
    X[3::4], w[3::4] = 1e300, 0
    for product in (net.hessian_product, net.gauss_newton_product):
        rest = w > 0
        found = product(X, p.Y, V, sample_weight=w)
        assert distance(found, product(X[rest], p.Y[rest], V, sample_weight=w[rest])) < 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_numpy_can_convert_is_taken_and_out_receives_the_product(dtype):
    p = problem((5, 9, 4), "tanh", "softmax", m=12, dtype=dtype)
    net, V = p.network(), np.round(4 * vector(p))
    before = p.copies()
    for product in (net.hessian_product, net.gauss_newton_product):
        result = product(p.X, p.Y, V)
        for other in (V.tolist(), V.astype(np.int8), np.repeat(V, 2)[::2], V.astype(">f4"), V.astype(np.float64)):
            assert (product(np.asfortranarray(p.X), p.Y.tolist(), other) == result).all()
        out = np.full_like(result, np.nan)
        assert product(p.X, p.Y, V, out=out) is out
        assert (out == result).all()
        out = V.copy()
        assert (product(p.X, p.Y, out, out=out) == result).all()
    assert p.copies() == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_few_examples_of_any_dtype_and_layout_have_the_bits_of_weights_of_1(dtype):
    """By one call of compiled code, and block by block"""
    p = problem((5, 9, 4), "tanh", "softmax", m=40, dtype=dtype)
    net, V, X, labels = p.network(), vector(p), np.round(4 * np.abs(p.X)), p.labels
    for product in (net.hessian_product, net.gauss_newton_product):
        for other in (X, X.astype(np.uint8), X > 2, X.astype(">f8"), np.asfortranarray(X), np.repeat(X, 2, 0)[::2],
                      X[:, ::-1], X.astype(np.float16), X.astype(np.float32), X.astype(np.float64), X.tolist()):
            for Y in (labels, labels.astype(np.int8), labels.tolist(), p.Y, p.Y[::-1], np.asfortranarray(p.Y)):
                found = product(other, Y, V, lam=0.5)
                assert found.tobytes() == product(other, Y, V, lam=0.5, sample_weight=np.ones(40)).tobytes()


BAD = {
    "a short p": (r"\bp\b.*shape", {"p": np.zeros(3)}), "a column": (r"\bp\b", {"p": np.zeros((58, 1))}),
    "NaN in p": (r"p contains NaN.*p\[4\]", {"p": "nan"}), "infinity in p": (r"\bp\b.*infinity", {"p": "inf"}),
    "complex p": (r"\bp\b", {"p": np.zeros(58, complex)}), "p of words": (r"\bp\b", {"p": ["a"] * 58}),
    "no p": (r"\bp\b", {"p": None}), "masked p": (r"\bp\b", {"p": np.ma.masked_all(58)}),
    "short X": ("Y has shape", {"X": np.zeros((7, 4))}), "narrow X": ("X has 3 columns", {"X": np.zeros((8, 3))}),
    "NaN in X": ("X contains NaN", {"X": np.full((8, 4), np.nan)}), "Y out of reach": (r"\bY\b", {"Y": np.eye(8)}),
    "weights": ("sample_weight", {"sample_weight": -np.ones(8)}), "decay": ("weight_decay", {"weight_decay": -1}),
    "two decays": ("lam", {"weight_decay": 0.1, "lam": 1}), "l1": ("l1", {"l1": -1}),
    "n_threads": ("n_threads", {"n_threads": 0}), "a comm": ("comm", {"comm": 3}), "theta": (
        "theta", {"theta": np.zeros(3)}), "out of another dtype": ("out", {"out": np.zeros(58, np.float32)}),
    "short out": ("out", {"out": np.zeros(57)}), "a list as out": ("out", {"out": [0.0] * 58}),
    "theta as out": ("out", {"out": "theta"}),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_named_and_nothing_has_changed(what):
    p = problem((4, 6, 4), "tanh", "softmax", m=8)
    pattern, wrong = BAD[what]
    net, V = p.network(), vector(p)
    assert len(V) == 58
    if isinstance(wrong.get("p"), str):
        V[4], wrong = float(wrong["p"]), {}
    if wrong.get("out") is not None and isinstance(wrong["out"], str):
        wrong = {"out": net.theta}
    before = (net.theta.tobytes(), p.copies())
    for product in (net.hessian_product, net.gauss_newton_product):
        with pytest.raises((ValueError, TypeError), match=pattern):
            product(**{"X": p.X, "Y": p.Y, "p": V, **wrong})
    net.theta[0] = np.inf
    with pytest.raises(ValueError, match=r"net\.theta"):
        net.hessian_product(p.X, p.Y, vector(p))
    net.theta = p.theta
    assert (net.theta.tobytes(), p.copies()) == before


def test_a_plan_with_dropout_or_an_own_loss_and_other_examples_are_refused():
    p = problem((4, 6, 4), "tanh", "softmax", m=8)
    net, V, plan = p.network(), vector(p), p.network().plan.dropping([0.1, 0.5])
    own = fastbp.Network(p.model.sizes, activation="tanh", output="softmax", loss=lambda z, Y, w: (z[:, 0], z)).plan
    examples, room, cuts = _backprop.Examples(p.X, p.Y), np.zeros(2**16), np.array([0, 8])

    def keep(plan, examples=examples, cuts=cuts):
        return _curvature.keep(plan.code, net.theta, examples, cuts, np.array([[-1, 0]]), room, 16, False, 1.0)

    def product(plan, examples=examples, cuts=cuts):
        return _curvature.product(plan.code, net.theta, V, examples, cuts, np.array([[-1, 0]]), 16, room, room.copy(),
                                  16, False, False, V.copy(), V.copy(), 1.0)

    for call in (keep, product):
        assert call(net.plan)
        with pytest.raises(ValueError, match="dropout"):
            call(plan)
        with pytest.raises(ValueError, match="own loss"):
            call(own)
        with pytest.raises(TypeError, match="examples must be"):
            call(net.plan, None)
        with pytest.raises(ValueError, match=r"examples 0 \.\. 9 are not among"):
            call(net.plan, cuts=np.array([0, 9]))
    for code, dtype, full, said in (
        (plan.code, net.dtype, 16, "dropout"), (net.plan.code, np.dtype(int), 16, "dtype"),
        (net.plan.code, net.dtype, 3, "full"), (net.plan.code, net.dtype, 2**61, "full"),
        (own.code, net.dtype, 16, "own loss"),
    ):
        with pytest.raises(ValueError, match=said):
            _curvature.Few(code, dtype, 8, full, 0.0, 1.0, True, np.ndarray, np.empty)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [30, 20_000])
@pytest.mark.parametrize(("output", "K"), [("softmax", 4), ("sigmoid", 1), ("sigmoid", 3)])
def test_label_smoothing_counts_as_in_D(output, K, m, dtype):
    """Products are those of smoothed targets, and equal differences of D"""
    p, net, labels, dense = smooth_setting(output, K, dtype, 0.3, m)
    V, plain = vector(p), p.network()
    for name in ("hessian_product", "gauss_newton_product"):
        operator = getattr(fastbp.curvature, name.removesuffix("_product"))
        expected = getattr(plain, name)(p.X, smoothed(dense, output, 0.3), V, lam=0.5)
        for Y in (labels, dense):
            for found in (getattr(net, name)(p.X, Y, V, lam=0.5), operator(net, p.X, Y, lam=0.5) @ V,
                          getattr(net, name)(p.X, Y, V, lam=0.5, sample_weight=np.ones(m))):
                assert distance(found, expected) < tolerance(dtype)
    if dtype == np.float64:
        D = [net.cost_and_gradient(p.X, labels, theta=p.theta + h * V, lam=0.5)[1] for h in (1e-5, -1e-5)]
        H = net.hessian_product(p.X, labels, V, lam=0.5)
        assert distance(H, (D[0] - D[1]) / 2e-5) < 1e-8
        # without smoothing it is another matrix
        assert distance(H, plain.hessian_product(p.X, labels, V, lam=0.5)) > 1e-3
