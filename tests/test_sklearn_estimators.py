"""The estimators beyond equality with scikit-learn: its errors, rows one at a time, weights as views."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

import joblib  # noqa: E402
import scipy.sparse as sp  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402

from fastbp.sklearn import MLPClassifier, MLPRegressor, inputs  # noqa: E402
from fastbp.sklearn import quick as quick_module  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_iris = (X_iris - X_iris.mean(axis=0)) / X_iris.std(axis=0)
X_reg, y_reg = make_regression(200, 6, noise=5, random_state=0)
X_reg3, y_reg3 = make_regression(200, 6, n_targets=3, noise=5, random_state=0)
X_labels, y_labels = make_multilabel_classification(120, random_state=0)
y_reg, y_reg3 = y_reg / y_reg.std(), y_reg3 / y_reg3.std()

CASES = {
    "three classes": (MLPClassifier, X_iris, y_iris),
    "strings": (MLPClassifier, X_iris, np.array(["setosa", "versicolor", "virginica"])[y_iris]),
    "two classes": (MLPClassifier, X_iris[:100], y_iris[:100]),
    "several labels": (MLPClassifier, X_labels, y_labels),
    "one target": (MLPRegressor, X_reg, y_reg),
    "three targets": (MLPRegressor, X_reg3, y_reg3),
}


def weights(estimator):
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])


def fitted(case, **parameters):
    cls, X, y = CASES[case]
    return cls(**{"hidden_layer_sizes": (9,), "random_state": 0, "max_iter": 5, **parameters}).fit(X, y)


# one row at a time


def test_a_row_whose_labels_are_a_list_or_in_a_batch_of_one_is_learnt_from_too():
    by_array, by_list, by_one = (fitted("three classes", batch_size=size) for size in ("auto", "auto", 1))
    one_by_one = fitted("three classes", batch_size=1)
    for i in range(3):
        by_array.partial_fit(X_iris[i : i + 1], y_iris[i : i + 1])
        by_list.partial_fit(X_iris[i : i + 1], [int(y_iris[i])])
        by_one.partial_fit(X_iris[i : i + 1], y_iris[i : i + 1])
        one_by_one.partial_fit(X_iris[i : i + 1], [int(y_iris[i])])
    assert (weights(by_array) == weights(by_list)).all()
    assert (weights(by_one) == weights(one_by_one)).all()


@pytest.mark.parametrize(("size", "quick"), [("auto", True), (1, True), (2, False), (3, False)])
def test_a_row_goes_the_quick_way_where_it_is_a_batch(size, quick):
    estimator = fitted("three classes", batch_size=size)
    X, y = X_iris[:1].copy(), y_iris[:1].copy()
    if not quick:
        with pytest.warns(UserWarning, match="larger than sample size"):
            estimator.partial_fit(X, y)
        return
    assert quick_module.partial_fit(estimator, X, y) is True
    assert quick_module.partial_fit(estimator, X[0], y) is False
    assert quick_module.partial_fit(estimator, X, [0]) is False


@pytest.mark.parametrize("quick", [True, False])
def test_callbacks_see_rows_one_at_a_time(quick):
    seen = []
    estimator = fitted("three classes").set_params(callbacks=[lambda e: seen.append(e.n_iter_)])
    for i in range(3):
        y = y_iris[i : i + 1]
        estimator.partial_fit(X_iris[i : i + 1], y if quick else y.tolist())
    assert seen == [1, 1, 1]


def test_a_label_beyond_the_last_of_many_classes_is_named():
    X = np.arange(600.0).reshape(300, 2) / 600
    estimator = MLPClassifier(2, max_iter=1, random_state=0).fit(X, np.arange(300))
    with pytest.raises(ValueError, match=r"classes not in `self\.classes_`"):
        estimator.partial_fit(X[:1], np.array([300]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("case", CASES)
def test_a_quick_row_is_a_checked_row(case, solver, dtype, monkeypatch):
    cls, X, y = CASES[case]
    X = X.astype(dtype)
    y = y.astype(dtype) if cls is MLPRegressor else y
    quick, checked = (cls(hidden_layer_sizes=9, solver=solver, random_state=0, max_iter=3).fit(X, y) for _ in range(2))
    taken = []
    real = quick_module.partial_fit
    monkeypatch.setattr(quick_module, "partial_fit", lambda *a: taken.append(real(*a)) or taken[-1])
    for i in range(20):
        quick.partial_fit(X[i : i + 1], y[i : i + 1])
    assert all(taken) or case == "several labels"
    monkeypatch.setattr(quick_module, "partial_fit", lambda *_: False)
    for i in range(20):
        checked.partial_fit(X[i : i + 1], y[i : i + 1])
    np.testing.assert_array_equal(weights(quick), weights(checked))
    assert quick.t_ == checked.t_
    assert quick.n_iter_ == checked.n_iter_ == 1
    np.testing.assert_allclose(quick.loss_curve_, checked.loss_curve_, rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert quick._no_improvement_count == checked._no_improvement_count
    assert quick._optimizer.learning_rate == checked._optimizer.learning_rate


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_quick_row_refuses_what_is_not_finite(bad):
    estimator = fitted("one target")
    before, row = weights(estimator), X_reg[:1].copy()
    row[0, 2] = bad
    for call in (lambda: estimator.partial_fit(row, y_reg[:1]), lambda: estimator.predict(row)):
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity).*First at X\[0, 2\]"):
            call()
    with pytest.raises(ValueError, match=r"Input y contains (NaN|infinity).*First at y\[0\]"):
        estimator.partial_fit(X_reg[:1], np.array([bad]))
    np.testing.assert_array_equal(weights(estimator), before)


@pytest.mark.parametrize(("X", "message"), [
    (X_iris[:1, :3].copy(), "X has 3 features, but MLPClassifier is expecting 4 features as input"),
    (X_iris[0], "Expected 2D array, got 1D array instead"),
    (X_iris[:0], "Found array with 0 sample"),
])
def test_fault_37_rows_of_another_shape_get_its_messages(X, message):
    estimator = fitted("three classes")
    with pytest.raises(ValueError, match=message):
        estimator.predict(X)
    with pytest.raises(ValueError, match=message):
        estimator.partial_fit(X, y_iris[:1])


def test_fault_35_a_class_never_announced_is_named():
    estimator = fitted("three classes")
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`.*'y' has \[7\]"):
        estimator.partial_fit(X_iris[:1], np.array([7]))


@pytest.mark.parametrize("layout", ["fortran", "strided", "float32", "list", "int", "readonly"])
def test_predictions_do_not_depend_on_how_rows_lie(layout):
    estimator = fitted("one target", max_iter=30)
    X = np.round(X_reg * 4) / 4     # exact in float32
    lies = {
        "fortran": np.asfortranarray(X), "strided": np.repeat(X, 2, axis=1)[:, ::2], "float32": X.astype(np.float32),
        "list": X.tolist(), "int": np.round(X).astype(int), "readonly": X.copy(),
    }[layout]
    if layout == "readonly":
        lies.flags.writeable = False
    expected = estimator.predict(np.round(X) if layout == "int" else X)
    np.testing.assert_array_equal(estimator.predict(lies), expected)
    np.testing.assert_array_equal([estimator.predict(lies[i : i + 1])[0] for i in range(5)], expected[:5])


def test_unfitted_says_so():
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X_reg)
    with pytest.raises(AttributeError, match="partial_fit"):
        MLPClassifier(solver="lbfgs").partial_fit(X_iris, y_iris)


# weights as views


def test_values_written_into_coefs_count():
    estimator = fitted("one target")
    before = estimator.predict(X_reg)
    estimator.coefs_[1][:] = 0
    estimator.intercepts_[1][:] = 2.5
    np.testing.assert_array_equal(estimator.predict(X_reg), np.full(len(X_reg), 2.5))
    assert not np.array_equal(before, estimator.predict(X_reg))


@pytest.mark.parametrize("how", ["item", "attribute"])
def test_arrays_put_in_their_place_count(how):
    estimator = fitted("one target")
    W = np.ones_like(estimator.coefs_[1])
    if how == "item":
        estimator.coefs_[1] = W
    else:
        estimator.coefs_ = [estimator.coefs_[0], W]
    hidden = np.maximum(X_reg @ estimator.coefs_[0] + estimator.intercepts_[0], 0)
    expected = hidden @ W[:, 0] + estimator.intercepts_[1]
    np.testing.assert_allclose(estimator.predict(X_reg), expected)
    estimator.partial_fit(X_reg[:50], y_reg[:50])
    assert not np.array_equal(estimator.coefs_[1], W)      # trained from there
    np.testing.assert_array_equal(W, 1)                    # and not in the user's array


def test_a_new_fit_leaves_the_weights_before_it_alone():
    estimator = fitted("one target")
    kept, values = estimator.coefs_[0], estimator.coefs_[0].copy()
    estimator.fit(X_reg, y_reg[::-1])
    np.testing.assert_array_equal(kept, values)


@pytest.mark.parametrize("through", ["pickle", "joblib", "deepcopy", "readonly memmap"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("case", CASES)
def test_partial_fit_goes_on_exactly_after_a_round_trip(case, solver, through, tmp_path):
    _, X, y = CASES[case]
    through_all = fitted(case, solver=solver)
    if through == "pickle":
        loaded = pickle.loads(pickle.dumps(through_all))
    elif through == "joblib":
        joblib.dump(through_all, file := io.BytesIO())
        file.seek(0)
        loaded = joblib.load(file)
    elif through == "deepcopy":
        loaded = copy.deepcopy(through_all)
    else:
        joblib.dump(through_all, tmp_path / "m.joblib")
        loaded = joblib.load(tmp_path / "m.joblib", mmap_mode="r")
    before = weights(through_all)
    np.testing.assert_array_equal(loaded.predict(X), through_all.predict(X))
    for at in range(0, 60, 15):
        loaded.partial_fit(X[at : at + 15], y[at : at + 15])
    np.testing.assert_array_equal(weights(through_all), before)      # nothing is shared
    for at in range(0, 60, 15):
        through_all.partial_fit(X[at : at + 15], y[at : at + 15])
    np.testing.assert_array_equal(weights(loaded), weights(through_all))
    assert loaded.loss_curve_ == through_all.loss_curve_


def test_settings_changed_between_steps_count():
    changed, kept = fitted("one target", solver="sgd"), fitted("one target", solver="sgd")
    changed.set_params(alpha=10.0)
    for estimator in (changed, kept):
        estimator.partial_fit(X_reg[:1], y_reg[:1])
    assert np.abs(changed.coefs_[0] - kept.coefs_[0]).max() > 1e-4


# where it is wrong


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_one_class_gives_one_column(solver):
    estimator = MLPClassifier(5, solver=solver, max_iter=5, random_state=0).fit(X_iris, np.full(len(X_iris), 3))
    assert estimator.predict_proba(X_iris).shape == (len(X_iris), 1) == (len(X_iris), len(estimator.classes_))
    np.testing.assert_array_equal(estimator.predict_proba(X_iris), 1)
    np.testing.assert_array_equal(estimator.predict_log_proba(X_iris), 0)
    np.testing.assert_array_equal(estimator.predict(X_iris), 3)


def test_fault_26_divergence_leaves_the_last_finite_weights():
    estimator = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=10, random_state=0)
    with pytest.raises(ValueError, match=r"Solver produced non-finite parameter weights.*diverged in epoch \d"):
        estimator.fit(1e3 * X_reg, y_reg)
    assert np.isfinite(weights(estimator)).all()
    before = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=1e200, random_state=0)
    before.partial_fit(X_reg[:1], y_reg[:1])
    kept = weights(before)
    with pytest.raises(ValueError, match="non-finite"):
        before.partial_fit(X_reg[:1], y_reg[:1])
    np.testing.assert_array_equal(weights(before), kept)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_fault_26_divergence_with_early_stopping_stops_and_says_when(cls):
    estimator = cls(
        hidden_layer_sizes=9, activation="identity", solver="sgd", learning_rate_init=1e3, early_stopping=True,
        random_state=0, max_iter=500, n_iter_no_change=1000,
    )
    with pytest.warns(ConvergenceWarning, match=r"diverged in epoch \d+"), np.errstate(all="ignore"):
        estimator.fit(1e200 * X_iris, y_iris)
    assert estimator.n_iter_ < 500
    assert type(estimator.validation_scores_[-1]) is float
    assert np.isnan(estimator.validation_scores_[-1])
    assert np.isfinite(weights(estimator)).all()


def test_fault_34_the_first_bad_cell_is_named():
    X = X_iris.copy()
    X[17, 3] = X[20, 0] = np.nan
    with pytest.raises(ValueError, match=r"Input X contains NaN. First at X\[17, 3\].\nMLPClassifier does not accept"):
        MLPClassifier().fit(X, y_iris)
    with pytest.raises(ValueError, match=r"Input X contains NaN. First at X\[17, 3\]"):
        MLPClassifier().fit(sp.csr_array(X), y_iris)
    y = y_reg.copy()
    y[5] = np.inf
    with pytest.raises(ValueError, match=r"Input y contains infinity.* First at y\[5\]"):
        MLPRegressor().fit(X_reg, y)


def test_a_batch_without_weight_takes_no_step():
    w = np.zeros(len(X_reg))
    w[:50] = 1
    estimator = MLPRegressor(batch_size=50, shuffle=False, max_iter=1, solver="sgd", random_state=0)
    alone = clone(estimator).set_params(batch_size=50)
    np.testing.assert_array_equal(
        weights(estimator.fit(X_reg, y_reg, sample_weight=w)),
        weights(alone.fit(X_reg[:50], y_reg[:50], sample_weight=w[:50])),
    )


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("case", ["three classes", "two classes", "one target"])
def test_float32_stays_and_is_close(case, solver):
    cls, X, y = CASES[case]
    double = cls(hidden_layer_sizes=9, solver=solver, max_iter=20, random_state=0).fit(X, y)
    single = cls(hidden_layer_sizes=9, solver=solver, max_iter=20, random_state=0).fit(X.astype(np.float32), y)
    assert {a.dtype for a in single.coefs_ + single.intercepts_} == {np.dtype(np.float32)}
    np.testing.assert_allclose(weights(single), weights(double), atol=1e-3)
    h = single.predict_proba if cls is MLPClassifier else single.predict
    assert h(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("case", ["three classes", "one target"])
def test_fault_38_weights_are_repetitions_in_float32(case, solver):
    cls, X, y = CASES[case]
    X, w = X.astype(np.float32), np.random.RandomState(0).randint(0, 4, len(X))
    repeated = cls(hidden_layer_sizes=9, solver=solver, max_iter=20, batch_size=10**9, random_state=0)
    weighted = clone(repeated)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        repeated.fit(np.repeat(X, w, axis=0), np.repeat(y, w))
        weighted.fit(X, y, sample_weight=w.astype(float))
    np.testing.assert_allclose(weights(weighted), weights(repeated), atol=2e-5)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_never_change_a_bit(n_threads, monkeypatch):
    for name in ("SHARED", "SHARED_CALL", "ALONE_FIRST"):
        monkeypatch.setattr(f"fastbp.engine.threads.{name}", 0)
    one = fitted("three classes", max_iter=10)
    np.testing.assert_array_equal(weights(fitted("three classes", max_iter=10, n_threads=n_threads)), weights(one))


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("case", ["three classes", "several labels", "three targets"])
def test_sparse_rows_a_few_batches_at_a_time_are_dense_rows(case, solver, kind, monkeypatch):
    cls, X, y = CASES[case]
    X = np.where(np.abs(X) < 0.5, 0, X)
    parameters = {"hidden_layer_sizes": 9, "solver": solver, "max_iter": 4, "batch_size": 16, "random_state": 0}
    dense = cls(**parameters).fit(X, y)
    whole = cls(**parameters).fit(kind(X), y)
    np.testing.assert_array_equal(weights(whole), weights(dense))
    monkeypatch.setattr(inputs, "DENSE", 40 * X.shape[1] * 8)     # 40 rows at a time
    parts = cls(**parameters).fit(kind(X), y)
    if solver == "lbfgs":
        np.testing.assert_allclose(weights(parts), weights(dense), atol=1e-9)
    else:
        np.testing.assert_array_equal(weights(parts), weights(dense))
    np.testing.assert_array_equal(parts.predict(kind(X)), parts.predict(X))
    w = np.random.RandomState(0).randint(0, 2, len(X)).astype(float)
    np.testing.assert_allclose(
        weights(cls(**parameters).fit(kind(X), y, sample_weight=w)), weights(cls(**parameters).fit(X, y, w)), atol=1e-9
    )


def test_fastbp_alone_does_not_import_scikit_learn():
    import subprocess
    import sys

    code = "import fastbp, sys; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_scikit_learn_the_message_says_what_to_install():
    import subprocess
    import sys

    code = "import sys; sys.modules['sklearn'] = None; import fastbp.sklearn"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: fastbp.sklearn needs scikit-learn 1.7 or newer: pip install 'fastbp[sklearn]'" in ran.stderr
