"""Laplace: BayesianRidge's standard deviations, definitions by hand, flat priors, files."""

import copy
import pickle

import numpy as np
import pytest
from helpers import DTYPES, distance
from test_bayesian import linear, ridge, without_bias

import fastbp
from fastbp import FormatError, Laplace
from fastbp.engine import memory, normal
from fastbp.files import container
from fastbp.second_order import laplace as module


def trained(output="identity", loss=None, K=1, dtype=np.float64, hidden=(4,), decay=0.01, m=40):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((m, 2))
    net = fastbp.Network([2, *hidden, K], activation="tanh", output=output, loss=loss, dtype=dtype, seed=0)
    z = np.stack([X[:, 0] - X[:, 1], X[:, 1], 0.5 - X[:, 0]], axis=1)[:, :K]
    z = z + 0.4 * rng.standard_normal(z.shape)
    if net.loss == "cross_entropy":
        Y = z.argmax(axis=1) if K > 1 else (z > 0).astype(float)
    else:
        Y = np.abs(z) if output == "exp" else np.clip(z, 0, 1) if output == "sigmoid" else z
    if output == "softmax" and net.loss == "squared_error":
        Y = np.eye(K)[z.argmax(axis=1)]
    fastbp.minimize(net, X, Y, method="lm", weight_decay=decay, maxiter=100)
    return net, X, Y


# ---------------------------------------------------------------- against others, and by hand


def test_a_linear_network_has_the_standard_deviations_of_bayesian_ridge():
    X, y = linear()
    net, free = without_bias()
    expected = ridge(X, y)
    net.theta[1:] = expected.coef_
    new = np.random.default_rng(1).standard_normal((500, 7)) * 3
    mean, std = expected.predict(new, return_std=True)
    for weight_decay in (expected.lambda_ / (expected.alpha_ * len(X)), None):
        found = Laplace(net, X, y, weight_decay=weight_decay, free=free)
        told = found.predict(new, noise=True)
        np.testing.assert_allclose(told[0][:, 0], mean, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(told[1][:, 0], std, rtol=1e-10)
        assert found.log_evidence == pytest.approx(expected.scores_[-1], rel=1e-10)
        assert found.weight_decay[0] == pytest.approx(expected.lambda_ / (expected.alpha_ * len(X)), rel=1e-9)
        without = found.predict(new)[1][:, 0]
        np.testing.assert_allclose(without**2 + found.sigma**2, std**2, rtol=1e-10)


@pytest.mark.parametrize("bias_precision", [None, 2.0])
@pytest.mark.parametrize("weights", [False, True])
def test_the_definitions_by_hand(bias_precision, weights):
    net, X, Y = trained(K=2, hidden=(2,))
    w = np.random.default_rng(0).uniform(0.5, 2, len(X)) if weights else np.ones(len(X))
    c = 0.01
    found = Laplace(net, X, Y, weight_decay=c, sample_weight=w if weights else None, bias_precision=bias_precision)
    J, m, N, P = net.jacobian(X), w.sum(), w.sum() * 2, net.n_parameters
    A = np.einsum("e,eki,ekj->ij", w, J, J)
    pen = np.ones(P)
    for Theta in net.views(pen):
        Theta[:, 0] = 0
    rss, s2 = np.sum(w[:, None] * (net.predict(X) - Y) ** 2), 0.1
    for _ in range(200):
        prior = m * c * pen + s2 * (bias_precision or 0) * (1 - pen)
        inverse = np.linalg.inv(A + np.diag(prior))
        gamma = np.trace(inverse @ A)
        s2 = rss / (N - gamma)
    assert found.gamma == pytest.approx(gamma, rel=1e-9)
    assert found.sigma == pytest.approx(np.sqrt(s2), rel=1e-9)
    new = np.random.default_rng(2).standard_normal((9, 2))
    Jn = net.jacobian(new)
    np.testing.assert_allclose(found.predict(new)[1] ** 2, s2 * np.einsum("eki,ij,ekj->ek", Jn, inverse, Jn), rtol=1e-8)
    H, on = (A + np.diag(prior)) / s2, prior > 0
    lam = prior[on] / s2
    log_evidence = (-rss / (2 * s2) - lam @ net.theta[on] ** 2 / 2 - N / 2 * np.log(2 * np.pi * s2)
                    + np.log(lam).sum() / 2 - np.linalg.slogdet(H)[1] / 2 + (P - on.sum()) / 2 * np.log(2 * np.pi))
    assert found.log_evidence == pytest.approx(log_evidence, rel=1e-9)


@pytest.mark.parametrize(("output", "loss", "K"), [
    ("sigmoid", "cross_entropy", 1), ("sigmoid", "squared_error", 2), ("softmax", "cross_entropy", 3),
    ("softmax", "squared_error", 3), ("exp", "poisson", 1), ("identity", "squared_error", 3),
])
def test_every_loss_has_a_posterior_and_samples_spread_as_it_says(output, loss, K):
    net, X, Y = trained(output, loss, K)
    found = Laplace(net, X, Y, weight_decay=0.01, bias_precision=0.1)    # with decay some units come out equal
    mean, std = found.predict(X)
    assert mean.shape == std.shape == (len(X), K)
    assert (std > 0).all()
    assert np.isfinite(found.log_evidence)
    assert 0 < found.gamma < net.n_parameters
    one = found.predict(X[3])
    np.testing.assert_allclose(one, [mean[3], std[3]], rtol=1e-12)
    drawn = found.sample(X[:6], 4000, seed=0)
    assert drawn.shape == (4000, 6, K)
    np.testing.assert_array_equal(drawn, found.sample(X[:6], 4000, seed=0))
    np.testing.assert_allclose(found.sample(X[2], 5, seed=1), found.sample(X[2:3], 5, seed=1)[:, 0], rtol=1e-12)
    if loss == "squared_error":
        np.testing.assert_allclose(mean, net.predict(X), rtol=1e-12)
        np.testing.assert_allclose(drawn.std(axis=0), std[:6], rtol=0.06)
    elif loss == "poisson":
        np.testing.assert_allclose(mean, net.predict(X), rtol=1e-12)
        np.testing.assert_allclose(np.log(drawn).std(axis=0) * mean[:6], std[:6], rtol=0.06)
        np.testing.assert_allclose(found.predict(X, noise=True)[1] ** 2, std**2 + mean, rtol=1e-12)
    else:
        z = np.log(drawn) if K > 1 else np.log(drawn / (1 - drawn))
        z = z - z.mean(axis=2, keepdims=True) if K > 1 else z
        np.testing.assert_allclose(z.std(axis=0), std[:6], rtol=0.06)
        h = net.predict(X)
        assert (np.abs(mean - 1 / max(K, 2)).max(axis=1) <= np.abs(h - 1 / max(K, 2)).max(axis=1) + 1e-12).all()
        if K > 1:
            np.testing.assert_allclose(mean.sum(axis=1), 1, rtol=1e-12)


def test_probabilities_are_corrected_as_by_mackay():
    net, X, Y = trained("sigmoid", "cross_entropy")
    mean, std = Laplace(net, X, Y, weight_decay=0.01, bias_precision=0.1).predict(X)
    z = net.forward(X) / np.sqrt(1 + np.pi * std**2 / 8)
    np.testing.assert_allclose(mean, 1 / (1 + np.exp(-z)), rtol=1e-12)


def test_the_shift_of_a_softmax_is_projected_out():
    """A prior of the output biases that is almost flat gives the same std of z minus its mean"""
    net, X, Y = trained("softmax", "cross_entropy", 3, hidden=(2,))
    flat = Laplace(net, X, Y, weight_decay=0.01)
    nearly = Laplace(net, X, Y, weight_decay=0.01, bias_precision=1e-7)
    np.testing.assert_allclose(nearly.predict(X)[1], flat.predict(X)[1], rtol=1e-4)
    assert nearly.gamma == pytest.approx(flat.gamma, rel=1e-4)
    free = np.ones(net.n_parameters, bool)
    net.views(free)[-1][0, 0] = False       # one output bias is fixed: the same class of functions, no shift
    fixed = Laplace(net, X, Y, weight_decay=0.01, free=free)
    np.testing.assert_allclose(fixed.predict(X)[1], flat.predict(X)[1], rtol=1e-6)


@pytest.mark.parametrize("at_once", [1, 100, 2**22])
def test_rows_are_taken_some_at_a_time(at_once, monkeypatch):
    net, X, Y = trained(K=2)
    whole = Laplace(net, X, Y, weight_decay=0.01)
    expected, drawn = whole.predict(X), whole.sample(X, 3, seed=0)
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    np.testing.assert_allclose(whole.predict(X), expected, rtol=1e-12)
    np.testing.assert_allclose(whole.sample(X, 3, seed=0), drawn, rtol=1e-12)
    assert whole.predict(X[:0])[1].shape == (0, 2)


def test_the_last_layer_alone_is_a_mask():
    net, X, Y = trained(K=2)
    last, mask = Laplace(net, X, Y, weight_decay=0.01, last_layer=True), Laplace(net, X, Y, weight_decay=0.01, free=[2])
    assert last.log_evidence == mask.log_evidence
    np.testing.assert_array_equal(last.predict(X), mask.predict(X))
    assert (last.predict(X)[1] < Laplace(net, X, Y, weight_decay=0.01).predict(X)[1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_that_of_the_float64_copy(dtype):
    net, X, Y = trained(dtype=dtype)
    found = Laplace(net, X, Y, weight_decay=0.01)
    assert found.net.dtype == np.float64
    net.theta[:] = 0    # a copy is kept
    assert found.net.theta.any()
    assert distance(found.predict(X)[0], found.net.predict(X)) == 0
    assert f"{net.n_parameters} free parameters" in repr(found)


def test_evidence_chooses_a_decay_that_no_other_beats():
    for output, loss, K in [("identity", "squared_error", 1), ("sigmoid", "cross_entropy", 1)]:
        net, X, Y = trained(output, loss, K, hidden=())
        chosen = Laplace(net, X, Y, weight_decay=None)
        c = chosen.weight_decay[0]
        for factor in (0.5, 0.9, 1.1, 2):
            assert Laplace(net, X, Y, weight_decay=c * factor).log_evidence <= chosen.log_evidence + 1e-3


# ---------------------------------------------------------------- what it refuses


def test_priors_that_leave_the_posterior_improper_are_refused():
    net, X, Y = trained()
    net.Theta[0][1], net.Theta[1][0, 2] = net.Theta[0][0], net.Theta[1][0, 1]   # two units that are equal
    with pytest.raises(ValueError, match=r"the posterior is improper; .* Give bias_precision="):
        Laplace(net, X, Y, weight_decay=0.01)
    assert np.isfinite(Laplace(net, X, Y, weight_decay=0.01, bias_precision=1.0).predict(X)[1]).all()
    with pytest.raises(ValueError, match="the posterior is improper"):
        Laplace(net, X[:3], Y[:3], weight_decay=0.0)
    with pytest.raises(ValueError, match="nothing is left to tell the noise"):
        Laplace(net, X[:3], Y[:3] + 1, weight_decay=1e-12, bias_precision=1e-12)


def test_a_perfect_fit_has_no_noise_to_tell():
    net, X, _ = trained()
    with pytest.raises(ValueError, match="net fits Y exactly"):
        Laplace(net, X, net.predict(X), weight_decay=0.01)
    one = fastbp.Network([2, 1], output="identity", init=[[[0, 1e200, 1]]])
    with pytest.raises(ValueError, match=r"overflow|improper"):
        Laplace(one, X * 1e160, np.zeros(len(X)), weight_decay=0.01)


@pytest.mark.parametrize(("settings", "error", "said"), [
    ({"weight_decay": -1}, ValueError, "weight_decay"), ({"weight_decay": [0.1]}, ValueError, "one for each Theta, 2"),
    ({"last_layer": 1}, TypeError, "last_layer"), ({"bias_precision": 0}, ValueError, "bias_precision"),
    ({"last_layer": True, "free": [1]}, ValueError, "last_layer=True and free exclude each other"),
    ({"free": [3]}, ValueError, "free has 3"), ({"sample_weight": [1.0]}, ValueError, "sample_weight"),
    ({"X": [[1.0, np.nan]]}, ValueError, "X contains NaN"), ({"Y": "a"}, TypeError, "Y must hold real numbers"),
])
def test_bad_arguments_are_named(settings, error, said):
    net, X, Y = trained()
    with pytest.raises(error, match=said):
        Laplace(net, **{"X": X, "Y": Y, "weight_decay": 0.1} | settings)


def test_what_it_has_no_likelihood_for_is_named():
    X, y = np.ones((3, 2)), [1.0, 2, 3]
    for loss in ("huber", "absolute_error", "quantile"):
        with pytest.raises(ValueError, match=f"net has the loss '{loss}'; Laplace takes squared_error"):
            Laplace(fastbp.Network([2, 1], loss=loss), X, y, weight_decay=0.1)
    with pytest.raises(TypeError, match=r"net must be a fastbp\.Network"):
        Laplace("net", X, y, weight_decay=0.1)
    net, X, Y = trained()
    biases = np.zeros(net.n_parameters, bool)
    net.views(biases)[1][:, 0] = True
    with pytest.raises(ValueError, match="but free leaves none"):
        Laplace(net, X, Y, weight_decay=None, free=biases)


def test_questions_that_it_cannot_answer_are_named():
    net, X, Y = trained("sigmoid", "cross_entropy")
    found = Laplace(net, X, Y, weight_decay=0.1, bias_precision=1)
    for call, error, said in [
        (lambda: found.predict(X, noise=True), ValueError, "noise=True needs the loss"),
        (lambda: found.predict(X, noise=1), TypeError, "noise must be True or False"),
        (lambda: found.predict(X[:, :1]), ValueError, "X has 1 columns"),
        (lambda: found.sample(X, 0), ValueError, "n must"),
        (lambda: found.sample(X, 1, seed="a"), TypeError, "seed"),
    ]:
        with pytest.raises(error, match=said):
            call()


def test_more_memory_than_the_machine_has_is_refused(monkeypatch):
    net, X, Y = trained()
    monkeypatch.setattr(memory, "machine", lambda: 1000.0)
    monkeypatch.setattr(normal, "CHECKED", 1)
    with pytest.raises(ValueError, match=r"Laplace holds 4 matrices .* for 17 free parameters; .* or take last_layer"):
        Laplace(net, X, Y, weight_decay=0.1)


# ---------------------------------------------------------------- files


@pytest.fixture
def written(tmp_path):
    net, X, Y = trained("softmax", "cross_entropy", 3, hidden=(2,))
    found, path = Laplace(net, X, Y, weight_decay=[0.1, 0.02]), tmp_path / "laplace.fastbp"
    found.save(path)
    return found, path, X


def test_files_pickles_and_copies_answer_with_the_same_bits(written):
    found, path, X = written
    for twin in (Laplace.load(path), pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        np.testing.assert_array_equal(twin.predict(X), found.predict(X))
        np.testing.assert_array_equal(twin.sample(X, 2, seed=3), found.sample(X, 2, seed=3))
        assert (twin.log_evidence, twin.gamma, twin.sigma) == (found.log_evidence, found.gamma, found.sigma)
        assert twin.weight_decay == found.weight_decay == (0.1, 0.02)
        assert repr(twin) == repr(found)
    before = path.read_bytes()
    fastbp.save(path, fastbp.load(path))
    assert path.read_bytes() == before
    np.testing.assert_array_equal(fastbp.load(path).sample(X, 2, seed=3), found.sample(X, 2, seed=3))
    with pytest.raises(ValueError, match="loss is for files of networks; this one holds a laplace"):
        fastbp.load(path, loss=lambda z, Y, w: (0.0, z))
    net, X, Y = trained()
    last = Laplace(net, X, Y, weight_decay=None, last_layer=True)
    last.save(path)
    np.testing.assert_array_equal(Laplace.load(path).predict(X), last.predict(X))


def test_a_file_with_any_changed_bit_or_cut_anywhere_is_refused(written):
    _, path, _ = written
    whole = path.read_bytes()
    for i in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :])
        with pytest.raises(FormatError):
            Laplace.load(path)
        path.write_bytes(whole[:i])
        with pytest.raises(FormatError):
            Laplace.load(path)


def forged(path, change):
    """The file with other arrays and values, under a right checksum"""
    arrays, meta = container.read(path)
    change(arrays, meta)
    container.write(path, arrays, meta)


def _set(where, name, value):
    return lambda arrays, meta: (arrays if where == "array" else meta).__setitem__(name, value)


FORGERIES = {
    "an array is missing": (lambda arrays, meta: arrays.pop("root"), "the arrays besides the network must be"),
    "an array is too many": (_set("array", "more", np.zeros(1)), "the arrays besides the network must be"),
    "free is too short": (_set("array", "free", np.ones(3, bool)), "array 'free' must be bool"),
    "free is no mask": (_set("array", "free", np.ones(15)), "array 'free' must be bool"),
    "nothing is free": (lambda arrays, meta: arrays.update(
        free=np.zeros(15, bool), root=np.zeros(0), factor=np.zeros(0)), "some parameter free"),
    "root does not fit": (_set("array", "root", np.ones(3)), "array 'root' must be float64 of shape"),
    "root is negative": (_set("array", "root", -np.ones(15)), "must be positive"),
    "root is NaN": (_set("array", "root", np.full(15, np.nan)), "not finite"),
    "factor does not fit": (_set("array", "factor", np.ones(3)), "array 'factor' must be"),
    "factor is singular": (_set("array", "factor", np.zeros(120)), "must be positive"),
    "posterior is no dict": (_set("meta", "posterior", 3), "posterior must have the fields"),
    "posterior lacks one": (_set("meta", "posterior", {"gamma": 1.0}), "posterior must have the fields"),
    "sigma2 is 0": (lambda arrays, meta: meta["posterior"].update(sigma2=0.0), "posterior, sigma2 is 0.0"),
    "gamma is text": (lambda arrays, meta: meta["posterior"].update(gamma="a"), "posterior, gamma is 'a'"),
    "weight_decay is short": (_set("meta", "weight_decay", [0.1]), "weight_decay must be 2 numbers"),
    "weight_decay is negative": (_set("meta", "weight_decay", [0.1, -0.1]), "weight_decay must be 2 numbers"),
    "it is a network": (_set("meta", "kind", "network"), "kind is 'network'; accepted are 'laplace'"),
    "its loss has no posterior": (lambda arrays, meta: meta["network"].update(
        output="identity", loss="absolute_error"), "loss is 'absolute_error'; of a Laplace it is one of"),
    "it is newer": (_set("meta", "version", 2), "version is 2"),
    "a field is too many": (_set("meta", "more", 1), "the fields must be"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_forged_files_are_refused_by_what_is_wrong(what, written):
    _, path, _ = written
    change, said = FORGERIES[what]
    forged(path, change)
    with pytest.raises(FormatError, match=said):
        Laplace.load(path)


def test_a_float32_network_is_none_of_a_laplace(written, tmp_path):
    _, path, _ = written

    def narrow(arrays, meta):
        arrays["theta"] = arrays["theta"].astype(np.float32)
        meta["network"]["dtype"] = "float32"

    forged(path, narrow)
    with pytest.raises(FormatError, match="dtype is float32; of a Laplace it is float64"):
        Laplace.load(path)
