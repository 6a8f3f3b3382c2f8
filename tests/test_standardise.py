"""Standardise: scikit-learn's moments, constant columns, folding into a network, memory."""

import copy
import math
import pickle
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from helpers import DTYPES, distance, frozen, problem, tolerance
from test_checks import refused

import fastbp
from fastbp import Standardise


def rows(m=9000, dtype=np.float64):
    """More than two blocks; columns of very different sizes, one constant at a number that sums inexactly"""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, 5)) * [1, 1e-6, 1e6, 1, 3] + [0, 1, -1e7, 0, 40]
    X[:, 3] = 0.1
    return frozen(X.astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_moments_and_rows_are_scikit_learns(weighted, dtype):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    X, w = rows(dtype=dtype), None
    if weighted:
        w = np.random.default_rng(1).uniform(0, 2, len(X)) * (np.arange(len(X)) % 7 > 0)
    scaling = Standardise(X, w)
    published = preprocessing.StandardScaler().fit(X.astype(np.float64), sample_weight=w)
    np.testing.assert_allclose(scaling.mean, published.mean_, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scaling.scale, published.scale_, rtol=1e-9)
    transformed = scaling.transform(X)
    assert transformed.dtype == dtype
    np.testing.assert_allclose(transformed, published.transform(X.astype(float)), rtol=1e-5,
                               atol=1e-5 if dtype == np.float32 else 1e-8)  # 1e-15 of the mean 1 beside scale 1e-6
    np.testing.assert_array_equal(scaling.transform(X[3]), transformed[3])
    np.testing.assert_allclose(scaling.inverse(transformed), X, rtol=1e-5 if dtype == np.float32 else 1e-9, atol=1e-6)


def test_a_constant_column_becomes_zero_and_others_have_moments_zero_and_one():
    X = rows()
    Z = Standardise(X).transform(X)
    assert not Z[:, 3].any()
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.delete(Z, 3, axis=1).std(axis=0), 1, rtol=1e-9)


def test_rows_of_weight_zero_do_not_count():
    X = rows().copy()
    w = (np.arange(len(X)) > 0).astype(float)
    expected = Standardise(X[1:])
    X[0] = 1e30
    scaling = Standardise(X, w)
    np.testing.assert_allclose(scaling.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, expected.scale, rtol=1e-12)


@pytest.mark.parametrize("sizes", [(5, 3), (5, 7, 3)])
def test_a_folded_network_takes_the_inputs_as_they_are(sizes):
    p, X = problem(sizes, "tanh"), rows(50)
    net, scaling = p.network(), Standardise(X)
    ready = scaling.fold(net)
    assert distance(ready.predict(X), net.predict(scaling.transform(X))) < 1e-9
    assert distance(ready.predict(X[4]), net.predict(scaling.transform(X[4]))) < 1e-9
    assert net.theta.tobytes() == p.theta.tobytes()
    for old, new in zip(net.Theta[1:], ready.Theta[1:], strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_folded_network_is_unfolded_to_train_on(dtype):
    p = problem((5, 7, 3), "tanh", m=60, dtype=dtype)
    X = (3 * p.X - 7).astype(dtype)
    net, scaling = p.network(), Standardise(X)
    again = scaling.unfold(scaling.fold(net))
    assert distance(again.theta, net.theta) < 10 * np.finfo(dtype).eps
    for each in (net, again):
        fastbp.train(each, scaling.transform(X), p.Y, epochs=5, seed=0)
    assert distance(again.theta, net.theta) < tolerance(dtype, "training")


def test_files_and_pickles_of_a_folded_network_predict_the_same_bits(tmp_path):
    X = rows(50)
    ready = Standardise(X).fold(problem((5, 7, 3)).network())
    fastbp.save(tmp_path / "net.fastbp", ready)
    for twin in (fastbp.load(tmp_path / "net.fastbp"), pickle.loads(pickle.dumps(ready)), ready.copy()):
        assert twin.predict(X).tobytes() == ready.predict(X).tobytes()


def test_what_a_dtype_cannot_hold_when_folded_is_a_warning_that_names_the_column():
    """z of the folded network differs from that in float64 by about as much as the warning says"""
    net = fastbp.Network([3, 1], output="identity", loss="squared_error", dtype=np.float32, seed=0)
    X = np.random.default_rng(0).standard_normal((200, 3)) * [1, 1e-3, 1] + [5, 300, 1000]
    scaling = Standardise(X)
    with pytest.warns(UserWarning, match="column 1 has a mean of 3.*e.05 times its scale.* 0.04 of the scale"):
        ready = scaling.fold(net)
    exact = net.predict(scaling.transform(X))
    assert 1e-3 < np.abs(ready.predict(X) - exact).max() < 0.1
    assert np.abs(scaling.fold(net.copy(np.float64)).predict(X) - exact).max() < 1e-6  # warnings are errors
    Standardise(X[:, [0, 2, 2]]).fold(net)


def test_copies_keep_the_moments_and_nobody_can_change_them():
    scaling = Standardise(rows(50))
    for twin in (scaling, copy.deepcopy(scaling), pickle.loads(pickle.dumps(scaling))):
        np.testing.assert_array_equal(twin.transform(rows(50)), scaling.transform(rows(50)))
        with pytest.raises(ValueError, match="read-only"):
            twin.mean[0] = 3


def test_bad_rows_are_refused():
    X = rows(20)
    scaling = Standardise(X)
    for action, pattern in [
        (lambda: Standardise(X[0, 0]), "X"),
        (lambda: Standardise(X[0, :0]), "X"),
        (lambda: Standardise(X[:0]), "X"),
        (lambda: Standardise(np.where(X == 0.1, np.nan, X)), r"X\[0, 3\]"),
        (lambda: Standardise(X, np.ones(3)), "sample_weight"),
        (lambda: scaling.transform(X[:, :4]), "4 columns"),
        (lambda: scaling.fold(fastbp.Network([4, 1], seed=0)), "4 inputs"),
        (lambda: scaling.unfold(fastbp.Network([4, 1], seed=0)), "4 inputs"),
    ]:
        refused(action, pattern)


def test_its_repr_says_how_many_columns():
    assert repr(Standardise(rows(100))) == "Standardise(5 columns)"


# ---------------------------------------------------------------- numbers of every size

RNG = np.random.default_rng(7)
Z = RNG.standard_normal(300)
COLUMNS = {
    "1e200": Z * 1e200, "1e-200": Z * 1e-200, "far from 0": 1e16 + 2 * np.arange(50),
    "far and large": 1e200 + Z * 1e188,
    "the largest": np.array([1.7e308, -1.7e308] * 7), "skew": np.array([1.7e308, -1.7e308, -1.7e308]),
    "subnormal": np.array([1, 2, 9, 30, 4]) * 2.0**-1070, "large and small": np.r_[Z[:30] * 1e-200, 1e200],
    "from 0": np.r_[0, 0, Z[:30] * 1e-170], "float32": (Z * 1e30).astype(np.float32), "ordinary": 5 + 3 * Z,
}


def moments(x, w):
    """Mean and scale, exact up to one rounding each"""
    x, w = [Fraction(float(value)) for value in x], [Fraction(float(value)) for value in w]
    mean = sum(a * b for a, b in zip(x, w, strict=True)) / sum(w)
    square = sum(b * (a - mean) ** 2 for a, b in zip(x, w, strict=True)) / sum(w)
    return float(mean), float(Fraction(math.isqrt(int(square * 4**2200)), 2**2200))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
def test_fault_66_moments_are_right_to_rounding_for_numbers_of_every_size(name, weighted):
    x = COLUMNS[name]
    w = np.arange(len(x)) % 5 + 0.5 if weighted else np.ones(len(x))
    mean, scale = moments(x, w)
    both = Standardise(np.column_stack([x.astype(float), np.arange(len(x))]), w)
    tiny = 2.0**-1074
    assert abs(both.mean[0] - mean) <= 4e-16 * np.abs(x.astype(float)).max() + tiny
    assert both.scale[0] == pytest.approx(scale, rel=1e-13, abs=2 * tiny)
    assert both.scale[1] == pytest.approx(moments(np.arange(len(x)), w)[1], rel=1e-14)


@pytest.mark.parametrize("name", sorted(COLUMNS.keys() - {"subnormal", "far from 0", "far and large"}))
def test_fault_66_columns_become_those_of_moments_0_and_1_and_back(name):
    x = COLUMNS[name]
    scaling = Standardise(x[:, None])
    z = scaling.transform(x[:, None])
    assert abs(z.mean()) < 1e-6
    assert z.std() == pytest.approx(1, rel=1e-6)
    rounding = 1e-6 if x.dtype == np.float32 else 1e-15
    np.testing.assert_allclose(scaling.inverse(z)[:, 0], x, rtol=0, atol=4 * rounding * float(np.abs(x).max()))


def test_fault_66_a_constant_column_stays_constant_at_every_size():
    for value in (1.7e308, 5e-324, 1e200, 1e16, 0.1):
        scaling = Standardise(np.full((9, 1), value))
        assert (scaling.mean[0], scaling.scale[0]) == (value, 1)
        assert not scaling.transform(np.full((9, 1), value)).any()


def test_fault_66_rows_of_weight_0_do_not_count_however_large():
    x = np.r_[Z[:20], 1.7e308, -1.7e308]
    scaling, expected = Standardise(x[:, None], np.r_[np.ones(20), 0, 0]), Standardise(Z[:20, None])
    assert scaling.scale == pytest.approx(expected.scale, rel=1e-14)
    assert scaling.mean == pytest.approx(expected.mean, rel=1e-14)


def test_fault_66_targets_of_one_dimension_are_one_column():
    y = 100 + 5 * Z
    scaling, column = Standardise(y), Standardise(y[:, None])
    assert (scaling.mean == column.mean).all()
    assert (scaling.scale == column.scale).all()
    assert scaling.transform(y).shape == y.shape
    np.testing.assert_array_equal(scaling.transform(y), column.transform(y[:, None])[:, 0])
    np.testing.assert_array_equal(column.transform(y), scaling.transform(y))
    np.testing.assert_allclose(scaling.inverse(scaling.transform(y)), y, rtol=1e-14)
    assert scaling.transform(y[:1]).shape == (1,)
    assert scaling.transform(y[:0]).shape == (0,)
    assert scaling.transform(y.tolist()).shape == y.shape
    assert scaling.transform(y.astype(np.float32)).dtype == np.float32
    weighted = Standardise(y, np.arange(300.0))
    assert weighted.mean[0] == pytest.approx(np.average(y, weights=np.arange(300)))
    refused(lambda: Standardise(np.r_[y, np.nan]), "X contains NaN")
    refused(lambda: scaling.transform(np.zeros((3, 2))), "2 columns")


def test_fault_66_a_memory_map_is_read_block_by_block(tmp_path):
    """Columns of 1e200 take three passes, none of which holds more than a few blocks"""
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(200_000, 4))
    x[:] = 1e200 * RNG.standard_normal((1, 4)) * np.linspace(1, 2, 200_000)[:, None]
    tracemalloc.start()
    scaling = Standardise(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 2
    assert scaling.scale == pytest.approx(np.array(x / 1e200).std(axis=0) * 1e200, rel=1e-9)


def test_fault_66_a_network_that_cannot_hold_the_folded_numbers_is_refused():
    net = fastbp.Network([1, 2], dtype=np.float32, seed=0)
    scaling = Standardise(1e-60 * Z[:, None])
    before = net.theta.copy()
    refused(lambda: scaling.fold(net), "net", "float32", kinds=ValueError)
    assert (net.theta == before).all()
    assert np.isfinite(scaling.fold(net.copy(np.float64)).theta).all()


# ---------------------------------------------------------------- targets


def trained_on_scaled(K=1, hidden=(5,), dtype=np.float64):
    """(net, scaling of inputs, scaling of targets, raw X)"""
    rng = np.random.default_rng(5)
    X = rng.uniform(100, 300, (50, 2))
    Y = np.stack([1e4 + 30 * X[:, 0], 1e-3 * X[:, 1] - 5], axis=1)[:, :K]
    Y = Y[:, 0] if K == 1 else Y
    of_X, of_Y = Standardise(X), Standardise(Y)
    net = fastbp.Network([2, *hidden, K], activation="tanh", output="identity", dtype=dtype, seed=0)
    fastbp.minimize(net, of_X.transform(X), of_Y.transform(Y), method="lm", maxiter=20)
    return net, of_X, of_Y, X


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [(), (5,), (5, 3)])
@pytest.mark.parametrize("K", [1, 2])
def test_folded_with_targets_a_network_takes_raw_inputs_and_returns_raw_targets(K, hidden, dtype):
    net, of_X, of_Y, X = trained_on_scaled(K, hidden, dtype)
    ready = of_X.fold(net, targets=of_Y)
    z = net.predict(of_X.transform(X))
    raw = of_Y.inverse(z[:, 0])[:, None] if K == 1 else of_Y.inverse(z)
    assert distance(ready.predict(X), raw) < tolerance(dtype, "training")
    back = of_X.unfold(ready, targets=of_Y)
    eps = 1e-2 if dtype == np.float32 else 1e-9     # the mean of the targets is 200 times their scale
    np.testing.assert_allclose(back.theta, net.theta, rtol=eps, atol=eps)


def test_targets_of_one_column_are_values():
    y = np.array([3.0, 5.0, 13.0])
    scaling = Standardise(y)
    assert scaling.transform(y).shape == (3,)
    np.testing.assert_allclose(scaling.inverse(scaling.transform(y)), y, rtol=1e-15)
    net = fastbp.Network([1, 1], output="identity", init=[[[0.5, 2.0]]])
    ready = Standardise(np.array([-1.0, 1.0])).fold(net, targets=scaling)
    np.testing.assert_array_equal(ready.Theta[0], [[0.5 * scaling.scale[0] + 7, 2 * scaling.scale[0]]])


def test_targets_that_do_not_fit_are_named():
    net, of_X, of_Y, X = trained_on_scaled()
    for function in (of_X.fold, of_X.unfold):
        refused(lambda: function(net, targets=X), "targets", "Standardise", "ndarray", kinds=TypeError)  # noqa: B023
        refused(lambda: function(net, targets=of_X), "targets", "2 columns", "1 outputs")  # noqa: B023
    other = fastbp.Network([2, 1], output="sigmoid", seed=0)
    refused(lambda: of_X.fold(other, targets=of_Y), "targets", "identity", "sigmoid")
    huge = Standardise(np.array([0.0, 1e300]))
    small = net.copy(np.float32)
    refused(lambda: of_X.fold(small, targets=huge), r"Theta\(2\)\[0\]", "float32")
