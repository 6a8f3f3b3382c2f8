"""Attributes that are read from an estimator: out_activation_, private methods, types of losses, log-probabilities."""

import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

import mpmath  # noqa: E402
import scipy.sparse as sp  # noqa: E402
from scipy.special import log_expit  # noqa: E402
from scipy.special import log_softmax as log_softmax_of_scipy  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn_cases import CASES, X_iris, both, weights  # noqa: E402

from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402
from fastbp.sklearn import outputs as functions  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ---------------------------------------------------------------- 71: what public code reads and sets


def twins(case, **parameters):
    """Both fitted, with the same weights to the last bit"""
    ours, theirs, X, y = both(case, **parameters)
    ours.fit(X, y)
    theirs.fit(X, y)
    theirs.coefs_, theirs.intercepts_ = [W.copy() for W in ours.coefs_], [b.copy() for b in ours.intercepts_]
    return ours, theirs, X, y


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, list])
@pytest.mark.parametrize("output", [None, "identity", "logistic", "tanh", "relu", "softmax", "exp"])
@pytest.mark.parametrize("case", CASES)
def test_fault_71_predictions_follow_out_activation(case, output, kind):
    ours, theirs, X, y = twins(case, activation="tanh")
    if output:
        ours.out_activation_ = theirs.out_activation_ = output
    X = kind(X.tolist()) if kind is list else kind(X)
    same = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(ours._forward_pass_fast(X), theirs._forward_pass_fast(X), **same)
    np.testing.assert_array_equal(ours.predict(X) > 0, theirs.predict(X) > 0)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-9)
    if case.endswith("labels") or case.endswith("classes"):
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), **same)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), **same)
    if kind is not list:
        for estimator in (ours, theirs):
            estimator._read = estimator._forward_pass([X] + [None] * 3)[1:]
        for a, expected in zip(ours._read, theirs._read, strict=True):
            np.testing.assert_allclose(a, expected, **same)
        np.testing.assert_allclose(ours._forward_pass_fast(X, check_input=False), ours._read[-1], **same)
        np.testing.assert_array_equal(ours._predict(X, check_input=False), ours.predict(X))


def test_fault_71_a_row_alone_pickles_and_gradients_follow_it_too():
    ours, _, X, _ = twins("three classes", activation="tanh")
    p, before = ours.predict_proba(X), weights(ours)
    ours.out_activation_ = "identity"
    z = ours.predict_proba(X)
    np.testing.assert_allclose(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), p)
    np.testing.assert_array_equal(np.vstack([ours.predict_proba(X[i : i + 1]) for i in range(9)]), z[:9])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ours)).predict_proba(X), z)
    np.testing.assert_array_equal(weights(ours), before)
    for output in functions.FUNCTIONS:
        ours.out_activation_ = output
        G, step = ours.input_gradient(X[:5]), 1e-6
        for j in range(4):
            e = step * (np.arange(4) == j)
            slope = (ours._forward_pass_fast(X[:5] + e) - ours._forward_pass_fast(X[:5] - e)) / (2 * step)
            np.testing.assert_allclose(G[:, :, j], slope, atol=1e-6 * np.abs(G).max())
    ours.out_activation_ = "nonsense"
    with pytest.raises(ValueError, match=r"out_activation_ must be one of identity, logistic.*; got 'nonsense'"):
        ours.predict(X)


@pytest.mark.parametrize("case", CASES)
def test_fault_71_training_waits_until_out_activation_is_its_own_again(case):
    ours, kept, X, y = both(case)
    kept = clone(ours).fit(X, y)
    ours.fit(X, y)
    trained, ours.out_activation_ = ours.out_activation_, "relu"
    ours.predict(X)
    before = weights(ours)
    for call in (ours.partial_fit, clone(ours).set_params(warm_start=True).fit(X, y).partial_fit):
        call.__self__.out_activation_ = "relu"
        with pytest.raises(ValueError, match=f"out_activation_='relu' can be used for predictions only.*{trained!r}"):
            call(X, y)
    np.testing.assert_array_equal(weights(ours), before)
    ours.out_activation_ = trained
    for estimator in (ours, kept):
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(weights(ours), weights(kept))     # moments of the optimizer included
    ours.out_activation_ = "relu"
    assert ours.fit(X, y).out_activation_ == trained
    if case == "one target":
        h = ours.predict(X)
        np.testing.assert_array_equal(ours.set_params(loss="poisson").predict(X), h)    # as it was fitted


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("case", ["three classes", "one target"])
def test_fault_71_losses_are_of_its_type(case, parameters, dtype):
    ours, theirs, X, y = both(case, **parameters)
    for estimator in (ours, theirs):
        estimator.fit(X.astype(dtype), y)
        if estimator.solver != "lbfgs" and not estimator.early_stopping:
            estimator.partial_fit(X[:1].astype(dtype), y[:1])
    for name in ("loss_", "best_loss_", "best_validation_score_"):
        assert type(getattr(ours, name, None)) is type(getattr(theirs, name, None)), name
    for name in ("loss_curve_", "validation_scores_"):
        kinds = [{type(value) for value in getattr(e, name, None) or ()} for e in (ours, theirs)]
        assert kinds[0] == kinds[1], name


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_fault_71_private_methods_give_its_numbers(case, weighted):
    found = []
    for estimator in twins(case, activation="logistic", alpha=0.1)[:2]:
        _, X, y = CASES[case]
        Y = estimator._label_binarizer.transform(y) if case.endswith(("classes", "labels")) else y.reshape(len(y), -1)
        lists = [[X] + [None] * 3, [None] * 3, [None] * 3, [None] * 3]
        w = np.arange(len(X)) % 3.0 if weighted else None
        loss, D_W, D_b = estimator._backprop(X, Y, w, *lists)
        assert D_W is lists[2]
        assert D_b is lists[3]
        packed = np.hstack([a.ravel() for a in estimator.coefs_ + estimator.intercepts_]) / 2
        if isinstance(estimator, MLPClassifier | MLPRegressor):
            estimator._unpack(packed)
            np.testing.assert_array_equal(weights(estimator), packed)
        found.append([np.array(loss), *(a for each in lists for a in each), *estimator._init_coef(3, 2, np.float32)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        assert ours.dtype == theirs.dtype


# ---------------------------------------------------------------- 72: logarithms of probabilities


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("case", ["three classes", "two classes", "several labels"])
def test_fault_72_log_probabilities_are_those_of_the_logits(case, size, dtype):
    ours, _, X, y = both(case, solver="lbfgs", activation="tanh")
    ours.fit(X.astype(dtype), y)
    ours.coefs_[-1][:] *= size
    found = ours.predict_log_proba(X)
    ours.out_activation_ = "identity"
    z = ours._forward_pass_fast(X).astype(np.float64)
    if case == "three classes":
        expected = log_softmax_of_scipy(z, axis=1)
    else:
        expected = np.hstack([log_expit(-z), log_expit(z)]) if case == "two classes" else log_expit(z)
    assert found.dtype == dtype
    assert np.isfinite(found).all()
    # where p rounds to 1 scipy's sum and the logarithm of several labels lose digits, none that p itself has
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=np.finfo(dtype).eps)
    assert (size < 1e4) or found.min() < -745      # the logarithm of 0, otherwise


def test_fault_72_a_probability_that_rounds_keeps_its_logarithm():
    z = np.array([[40.0, 0.0, -1e4], [0.0, 40.0, 1e308]])
    with mpmath.workdps(60):
        expected = [[float(mpmath.mpf(v) - m - mpmath.log(sum(mpmath.exp(mpmath.mpf(u) - m) for u in row)))
                     for v in row] for row in z.tolist() for m in [mpmath.mpf(max(row))]]
        sigmoid = [[float(-mpmath.log1p(mpmath.exp(-mpmath.mpf(v)))) for v in row] for row in z[:1].tolist()]
    np.testing.assert_allclose(functions.log_softmax(z), expected, rtol=1e-15)
    np.testing.assert_allclose(functions.log_sigmoid(z[:1]), sigmoid, rtol=1e-15)
    assert functions.log_softmax(z)[0, 0] == pytest.approx(-4.248354255291589e-18)


def test_fault_72_two_classes_keep_the_digits_of_1_minus_p():
    ours, _, X, y = both("two classes", solver="lbfgs", activation="tanh")
    ours.fit(X, y)
    ours.coefs_[-1][:] *= 10
    p = ours.predict_proba(X)
    assert 0 < p[:, 0].min() < 1e-16
    np.testing.assert_allclose(np.log(p), ours.predict_log_proba(X), rtol=1e-12, atol=1e-16)
    for kind in (list, sp.csr_array):
        np.testing.assert_array_equal(ours.predict_proba(X.tolist() if kind is list else kind(X)), p)
    np.testing.assert_array_equal(np.vstack([ours.predict_proba(X[i : i + 1]) for i in range(len(X))]), p)


def test_fault_72_one_class_and_no_fit():
    one = MLPClassifier(5, max_iter=2).fit(X_iris, np.full(150, 3))
    np.testing.assert_array_equal(one.predict_log_proba(X_iris), np.zeros((150, 1)))
    with pytest.raises(NotFittedError):
        MLPClassifier().predict_log_proba(X_iris)
