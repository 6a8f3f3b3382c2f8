"""coefs_ and intercepts_ that users hold and replace: lists, arrays set in callbacks, copies; the result of a fit."""

import copy

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn_cases import CASES, SETTINGS, X_reg, both, weights, y_reg  # noqa: E402

from fastbp.sklearn import MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ---------------------------------------------------------------- 68: lists and arrays that others hold


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("case", CASES)
def test_fault_68_a_list_of_weights_that_somebody_holds_stays_that_of_the_estimator(case, solver):
    """`coefs = mlp.coefs_; coefs[0] = ...; mlp.predict(X); coefs[1] = ...`"""
    *estimators, X, y = both(case, solver=solver)
    results = []
    for estimator in estimators:
        coefs, intercepts = estimator.fit(X, y).coefs_, estimator.intercepts_
        found = []
        for held in (coefs, intercepts):
            for layer in range(3):
                held[layer] = held[layer] * 0.5
                found.append(estimator.predict(X[:20]))
        if solver != "lbfgs":
            estimator.partial_fit(X, y)
        coefs[2] = coefs[2] * 0.5
        found.append(estimator.predict(X[:20]))
        assert estimator.coefs_ is coefs
        assert estimator.intercepts_ is intercepts
        results.append(found)
    np.testing.assert_allclose(*results, rtol=1e-6, atol=1e-9)


def test_fault_68_a_new_fit_and_a_shallow_copy_have_lists_of_their_own():
    estimator = MLPRegressor(**SETTINGS).fit(X_reg, y_reg)
    held, kept = estimator.coefs_, [W.copy() for W in estimator.coefs_]
    other = copy.copy(estimator)
    other.partial_fit(X_reg, y_reg)
    assert other.coefs_ is not held
    assert estimator.coefs_ is held
    estimator.fit(X_reg, -y_reg)
    assert estimator.coefs_ is not held
    for W, before in zip(held, kept, strict=True):
        np.testing.assert_array_equal(W, before)


def test_fault_68_weights_of_another_estimator_are_copied():
    first, second = (MLPRegressor(**{**SETTINGS, "random_state": seed}).fit(X_reg, y_reg) for seed in (0, 1))
    second.coefs_, second.intercepts_ = first.coefs_, first.intercepts_
    np.testing.assert_array_equal(second.predict(X_reg), first.predict(X_reg))
    kept = weights(first).copy()
    second.partial_fit(X_reg, y_reg)
    np.testing.assert_array_equal(weights(first), kept)
    assert not np.array_equal(weights(second), kept)


def test_fault_68_a_refused_fit_leaves_frozen_arrays_and_their_list():
    estimator = MLPRegressor(**SETTINGS, solver="lbfgs", warm_start=True).fit(X_reg, y_reg)
    held, W = estimator.coefs_, estimator.coefs_[0]
    W.setflags(write=False)
    with pytest.raises(ValueError, match="alpha"):
        estimator.set_params(alpha=1e300).fit(X_reg, y_reg, np.full(len(y_reg), 1e-100))
    assert estimator.coefs_ is held
    assert estimator.coefs_[0] is W
    assert not W.flags.writeable


def halved(e):
    e.coefs_[0] = e.coefs_[0] * 0.5
    e.intercepts_[-1] = e.intercepts_[-1] + 0.25


def halved_in_place(e):
    e.coefs_[0] *= 0.5
    e.intercepts_[-1] += 0.25


def halved_in_new_lists(e):
    e.coefs_ = (e.coefs_[0] * 0.5, *e.coefs_[1:])
    e.intercepts_ = [*e.intercepts_[:-1], e.intercepts_[-1] + 0.25]


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "sgd"}])
@pytest.mark.parametrize("callback", [halved, halved_in_new_lists])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fault_68_arrays_that_a_callback_assigns_are_trained_on(callback, parameters, dtype):
    X = X_reg.astype(dtype)
    assigned, written = (
        MLPRegressor(**SETTINGS, **parameters, callbacks=each).fit(X, y_reg) for each in (callback, halved_in_place)
    )
    np.testing.assert_array_equal(weights(assigned), weights(written))
    assert assigned.loss_curve_ == written.loss_curve_
    for each in (assigned, written):
        each.set_params(early_stopping=False).partial_fit(X, y_reg).partial_fit(X, y_reg)
    np.testing.assert_array_equal(weights(assigned), weights(written))


def other_sizes(e):
    e.coefs_, e.intercepts_ = [np.zeros((4, 9)), np.zeros((9, 1))], [np.zeros(9), np.zeros(1)]


def one_other_size(e):
    e.coefs_[0] = np.zeros((4, 9))


def is_complex(e):
    e.coefs_[0] = e.coefs_[0] * 1j


def frozen(e):
    e.coefs_[0].setflags(write=False)


def frozen_copy(e):
    W = e.coefs_[0].copy()
    W.setflags(write=False)
    e.coefs_[0] = W


@pytest.mark.parametrize(("callback", "error", "words"), [
    (other_sizes, ValueError, r"\(4, 9, 1\).*\(4, 7, 5, 1\)"), (one_other_size, ValueError, r"coefs_\[0\]"),
    (is_complex, TypeError, r"coefs_\[0\].*complex128"), (frozen, ValueError, "read-only"),
    (frozen_copy, ValueError, "read-only"),
])
def test_fault_68_arrays_that_a_callback_cannot_assign_are_refused_by_name(callback, error, words):
    with pytest.raises(error, match=words):
        MLPRegressor(**SETTINGS, callbacks=callback).fit(X_reg, y_reg)


@pytest.mark.parametrize("callback", [frozen, frozen_copy])
def test_fault_68_an_array_may_be_frozen_after_the_last_epoch(callback):
    end = [lambda e: callback(e) if e.n_iter_ == SETTINGS["max_iter"] else None]
    estimator, plain = (MLPRegressor(**SETTINGS, callbacks=each).fit(X_reg, y_reg) for each in (end, None))
    assert not estimator.coefs_[0].flags.writeable
    np.testing.assert_array_equal(weights(estimator), weights(plain))


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_fault_68_complex_and_text_weights_are_refused_by_name(name):
    estimator = MLPRegressor(**SETTINGS).fit(X_reg, y_reg)
    arrays = getattr(estimator, name)
    for wrong in (arrays[1].astype(complex), arrays[1].astype(str)):
        arrays[1] = wrong
        with pytest.raises(TypeError, match=rf"{name}\[1\] must hold real numbers"):
            estimator.predict(X_reg)


# ---------------------------------------------------------------- 70, 72: related cases


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_fault_70_parameters_of_every_float_type_are_taken_without_a_warning(dtype):
    names = {"alpha": 0.5, "learning_rate_init": 0.25, "power_t": 0.5, "tol": 0.25, "epsilon": 0.125}
    typed, plain = (
        MLPRegressor(**SETTINGS, **{name: make(value) for name, value in names.items()}).fit(X_reg, y_reg)
        for make in (dtype, float)
    )
    np.testing.assert_array_equal(weights(typed), weights(plain))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_fault_70_whole_numbers_of_every_type_count_without_overflow(dtype):
    names = {"max_iter": 10, "batch_size": 50, "n_iter_no_change": 5, "curve_length": 3, "max_fun": 100}
    for solver in ("adam", "lbfgs"):
        typed, plain = (
            MLPRegressor(hidden_layer_sizes=[one(7), one(5)], random_state=0, solver=solver,
                         **{name: one(value) for name, value in names.items()}).fit(X_reg, y_reg)
            for one in (dtype, int)
        )
        np.testing.assert_array_equal(weights(typed), weights(plain))
        assert getattr(typed, "loss_curve_", None) == getattr(plain, "loss_curve_", None)


@pytest.mark.parametrize("way", ["warm start", "partial_fit"])
@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "sgd"}])
def test_fault_72_steps_continue_from_a_fit_with_lbfgs(parameters, way):
    """scikit-learn: AttributeError, there is no loss_curve_"""
    estimator = MLPRegressor(**SETTINGS, solver="lbfgs").fit(X_reg, y_reg)
    loss = estimator.loss_
    parameters = {"solver": "adam", "learning_rate_init": 1e-5, **parameters}
    estimator.set_params(**parameters, warm_start=True)
    if way == "warm start":
        estimator.fit(X_reg, y_reg)
        assert len(estimator.loss_curve_) == estimator.n_iter_
    elif estimator.early_stopping:
        with pytest.raises(ValueError, match="early_stopping"):
            estimator.partial_fit(X_reg, y_reg)
        return
    else:
        estimator.partial_fit(X_reg, y_reg)
        assert len(estimator.loss_curve_) == 1
    assert estimator.loss_ == pytest.approx(loss, rel=0.2)
