"""The state that public code reads and sets: `_optimizer` and `_label_binarizer` act like scikit-learn's."""

import copy
import pickle
import re

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn import neural_network  # noqa: E402
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer  # noqa: E402
from sklearn.preprocessing import LabelBinarizer  # noqa: E402
from sklearn_cases import CASES, SETTINGS, X_iris, X_labels, X_reg, both, weights, y_iris, y_labels, y_reg  # noqa: E402

import fastbp  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
READ = ("t", "ms", "vs", "beta_1", "beta_2", "epsilon", "velocities", "momentum", "nesterov", "lr_schedule", "power_t",
        "learning_rate", "learning_rate_init")
FITS = [
    {"solver": "adam"}, {"solver": "adam", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-5}, {"solver": "sgd"},
    {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5}, {"solver": "sgd", "learning_rate": "invscaling"},
    {"solver": "sgd", "learning_rate": "adaptive"}, {"solver": "sgd", "momentum": 0.0},
]


# ---------------------------------------------------------------- 71: _optimizer


def assert_same_optimizer(ours, theirs, dtype):
    for name in READ:
        if name == "velocities" and getattr(ours, "momentum", 1) == 0:
            assert not hasattr(ours, name)
            continue
        if name == "power_t" and not hasattr(theirs, name):
            continue
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if not hasattr(theirs, name):
            continue
        a, b = getattr(ours, name), getattr(theirs, name)
        assert type(a) is type(b), name
        if isinstance(b, list):
            assert [p.shape for p in a] == [p.shape for p in b]
            assert {p.dtype for p in a} == {np.dtype(dtype)}
            for p, q in zip(a, b, strict=True):
                np.testing.assert_allclose(p, q, rtol=1e-3 if dtype == np.float32 else 1e-8, atol=1e-6)
                assert not p.flags.writeable
        elif isinstance(b, str):
            assert a == b
        else:
            assert a == pytest.approx(b, rel=1e-14), name


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("parameters", FITS)
@pytest.mark.parametrize("case", ["three classes", "two classes", "several labels", "three targets"])
def test_fault_71_the_optimizer_shows_its_settings_and_state(case, parameters, dtype):
    ours, theirs, X, y = both(case, **parameters)
    for estimator in (ours, theirs):
        estimator.fit(X.astype(dtype), y)
    assert_same_optimizer(ours._optimizer, theirs._optimizer, dtype)
    for _ in range(2):
        for estimator in (ours, theirs):
            estimator.partial_fit(X.astype(dtype), y)
        assert_same_optimizer(ours._optimizer, theirs._optimizer, dtype)
        assert_same_optimizer(pickle.loads(pickle.dumps(ours))._optimizer, theirs._optimizer, dtype)


@pytest.mark.parametrize("row", [False, True])
@pytest.mark.parametrize("parameters", FITS)
def test_fault_71_a_rate_set_between_steps_counts_as_there(parameters, row):
    ours, theirs, X, y = both("one target", **parameters)
    for i in range(0, 60, 5):
        for estimator in (ours, theirs):
            rows = slice(i, i + 1) if row else slice(i, i + 5)
            estimator.partial_fit(X[rows].copy(), y[rows].copy())
            optimizer = estimator._optimizer
            if i == 15:
                optimizer.learning_rate = 0.25
                assert optimizer.learning_rate == 0.25
            if i == 30:
                optimizer.learning_rate_init = 0.0625
                assert optimizer.learning_rate_init == 0.0625
            if i == 45:
                optimizer.power_t = 0.125
        assert ours._optimizer.learning_rate == pytest.approx(theirs._optimizer.learning_rate, rel=1e-14)
        np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-8, atol=1e-12)
    assert ours._optimizer.learning_rate_init == 0.0625
    again = pickle.loads(pickle.dumps(ours))
    for estimator in (ours, again):
        estimator.partial_fit(X, y)
    assert weights(again).tobytes() == weights(ours).tobytes()
    assert again._optimizer.learning_rate_init == 0.0625


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop", fastbp.optimizers.RMSprop(1e-3)])
def test_fault_71_a_callback_may_set_the_rate(solver):
    """Such a fit equals the same number of calls of partial_fit"""
    def halve(estimator):
        estimator._optimizer.learning_rate_init /= 2
        estimator._optimizer.learning_rate /= 2

    settings = {**SETTINGS, "solver": solver, "shuffle": False, "batch_size": 20}
    fitted = MLPRegressor(**settings, callbacks=halve).fit(X_reg, y_reg)
    parts = (neural_network.MLPRegressor if solver in ("adam", "sgd") else MLPRegressor)(**settings)
    for _ in range(10):
        halve(parts.partial_fit(X_reg, y_reg))
    np.testing.assert_allclose(weights(fitted), weights(parts), rtol=1e-9, atol=1e-12)
    assert fitted._optimizer.rule.learning_rate == 1e-3 / 2**10
    assert fitted._optimizer.learning_rate == pytest.approx(parts._optimizer.learning_rate, rel=1e-14)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["learning_rate", "learning_rate_init"])
def test_fault_71_a_rate_of_0_stops_as_there_and_others_are_refused_by_name(name, solver):
    ours, theirs, X, y = both("one target", solver=solver, momentum=0.0)
    for estimator in (ours, theirs):
        estimator.partial_fit(X, y)
        setattr(estimator._optimizer, name, 0.0)
        estimator.partial_fit(X, y)
    np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-8, atol=1e-12)
    before = weights(ours)
    for value, error in ((-1e-3, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("1e-3", TypeError),
                         (None, TypeError), (True, TypeError)):
        with pytest.raises(error, match=f"^{name} must be"):
            setattr(ours._optimizer, name, value)
    np.testing.assert_array_equal(weights(ours), before)


def test_fault_71_what_cannot_be_set_is_an_error_and_copies_cannot_be_written_into():
    adam, sgd = (MLPRegressor(**SETTINGS, solver=solver).fit(X_reg, y_reg)._optimizer for solver in ("adam", "sgd"))
    for optimizer in (adam, sgd):
        for name in READ[:10]:
            with pytest.raises(AttributeError):
                setattr(optimizer, name, getattr(optimizer, name, 0))
    with pytest.raises(ValueError, match="read-only"):
        adam.ms[0][0, 0] = 1
    with pytest.raises(AttributeError, match="the optimizer of solver='sgd' has no ms"):
        sgd.ms  # noqa: B018
    with pytest.raises(AttributeError, match="the optimizer of solver='adam' has no velocities"):
        adam.velocities  # noqa: B018

    class Own:
        def init(self, theta):
            return [0]

        def update(self, theta, D, state):
            state[0] += 1

    own = MLPRegressor(**SETTINGS, solver=Own()).fit(X_reg, y_reg)._optimizer
    assert own.learning_rate is None
    with pytest.raises(AttributeError, match="has no learning_rate"):
        own.learning_rate = 1e-3
    assert not any(hasattr(own, name) for name in READ[:10])


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("foreign", [
    lambda e: AdamOptimizer(e.coefs_ + e.intercepts_), lambda e: SGDOptimizer(e.coefs_ + e.intercepts_),
    lambda e: fastbp.Adam(1e-3), lambda e: None, lambda e: "adam",
])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_fault_71_a_foreign_optimizer_is_refused_by_name(solver, foreign, rows):
    ours = MLPRegressor(**SETTINGS, solver=solver).fit(X_reg, y_reg)
    kept, ours._optimizer = ours._optimizer, foreign(ours)
    before, arrays = weights(ours), dict(vars(ours))
    words = f"_optimizer must be the object that a fit with solver='{solver}' made; got .*as solver="
    with pytest.raises(TypeError, match=words):
        ours.partial_fit(X_reg[:rows].copy(), y_reg[:rows].copy())
    assert vars(ours) == arrays
    np.testing.assert_array_equal(weights(ours), before)
    ours._optimizer = kept
    ours.partial_fit(X_reg, y_reg)
    ours._optimizer = foreign(ours)
    ours.fit(X_reg, y_reg)      # begins with its own
    assert ours._optimizer.solver == solver


def test_another_estimators_optimizer_and_none_at_all_are_as_there():
    found = []
    for estimator in both("one target")[:2]:
        other = copy.deepcopy(estimator).fit(X_reg, -y_reg)
        estimator.fit(X_reg, y_reg)
        estimator._optimizer = other._optimizer
        estimator.partial_fit(X_reg, y_reg)
        del estimator._optimizer
        found.append(weights(estimator.partial_fit(X_reg, y_reg)))
    np.testing.assert_allclose(*found, rtol=1e-7, atol=1e-10)


# ---------------------------------------------------------------- 71: _label_binarizer


NAMES = {"three classes": ["zoo", "ant", "bee"], "two classes": ["no", "yes"], "several labels": ["a", "b", "c"]}


@pytest.mark.parametrize("began", ["fit", "partial_fit"])
@pytest.mark.parametrize("change", ["binarizer", "classes_", "both", "another", "list", "no classes_", "pickled"])
@pytest.mark.parametrize("case", ["three classes", "two classes"])
def test_fault_71_predictions_name_the_classes_of_the_binarizer(case, change, began):
    ours, theirs, X, y = both(case)
    for estimator in (ours, theirs):
        estimator.fit(X, y) if began == "fit" else estimator.partial_fit(X, y, classes=np.unique(y))
        new = np.array(NAMES[case])
        if change in ("binarizer", "both", "pickled"):
            estimator._label_binarizer.classes_ = new
        if change in ("classes_", "both"):
            estimator.classes_ = new.copy()
        if change == "another":
            estimator._label_binarizer = LabelBinarizer().fit(sorted(NAMES[case]))
        if change == "list":
            estimator._label_binarizer.classes_ = NAMES[case]
        if change == "no classes_":
            del estimator.classes_
    if change == "pickled":
        ours, theirs = (pickle.loads(pickle.dumps(estimator)) for estimator in (ours, theirs))
    for rows in (slice(None), slice(7, 8)):
        np.testing.assert_array_equal(ours.predict(X[rows]), theirs.predict(X[rows]))
        assert ours.predict(X[rows]).dtype.kind == theirs.predict(X[rows]).dtype.kind
        for name in ("predict_proba", "predict_log_proba"):
            np.testing.assert_allclose(getattr(ours, name)(X[rows]), getattr(theirs, name)(X[rows]), rtol=1e-7)
    if change == "classes_":
        assert ours.score(X, y) == theirs.score(X, y) > 0.2


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("case", ["three classes", "two classes"])
def test_fault_71_new_names_of_all_classes_are_trained_on_in_any_order(case, rows):
    ours, theirs, X, y = both(case)
    y_new = np.array(NAMES[case])[y]
    for estimator in (ours, theirs):
        estimator.fit(X, y)
        estimator._label_binarizer.classes_ = np.array(NAMES[case])
        estimator.classes_ = np.array(NAMES[case])
        for i in range(3):
            some = slice(45 + i, 45 + i + rows)
            estimator.partial_fit(X[some].copy(), y_new[some].copy())
    np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y_new) == theirs.score(X, y_new) > 0.2


@pytest.mark.parametrize("rows", [1, 40])
def test_fault_71_labels_that_the_binarizer_lacks_are_refused(rows):
    """scikit-learn trains on a row of zeros there"""
    ours = MLPClassifier(**SETTINGS).fit(X_iris, y_iris)
    ours._label_binarizer.classes_ = np.array([10, 11, 12])
    before = weights(ours)
    words = "which is in `self.classes_` but not in `_label_binarizer.classes_`: [10 11 12]. Set both"
    with pytest.raises(ValueError, match=re.escape(words)):
        ours.partial_fit(X_iris[:rows].copy(), y_iris[:rows].copy())
    for y in (np.array([10] * rows), np.array([9] * rows)):
        with pytest.raises(ValueError, match=re.escape("`y` has classes not in `self.classes_`. `self.classes_`")):
            ours.partial_fit(X_iris[:rows].copy(), y)
    np.testing.assert_array_equal(weights(ours), before)


def test_fault_71_one_class_and_several_labels_follow_the_binarizer():
    one = MLPClassifier(5, max_iter=2).fit(X_iris, np.full(150, 3))
    one._label_binarizer.classes_ = np.array(["only"])
    assert set(one.predict(X_iris)) == {"only"}
    assert one.predict_proba(X_iris).shape == one.predict_log_proba(X_iris).shape == (150, 1)
    one._label_binarizer.classes_ = np.array(["a", "b"])
    assert one.predict_proba(X_iris).shape == one.predict_log_proba(X_iris).shape == (150, 2)
    ours, theirs, X, y = both("several labels")
    for estimator in (ours, theirs):
        estimator.fit(X, y)._label_binarizer.classes_ = np.array(list("abcde"))
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    ours, theirs, X, y = both("two classes")
    for estimator in (ours, theirs):
        estimator.fit(X, y)
        del estimator._label_binarizer
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7)


# ---------------------------------------------------------------- 35: labels


@pytest.mark.parametrize("pair", [(0, 5), (-1, 1), (0, 1), (False, True)])
def test_fault_35_several_labels_of_any_two_numbers_are_trained_as_there(pair):
    Y = np.array(pair)[y_labels]
    ours, theirs, _, _ = both("several labels")
    for estimator in (ours, theirs):
        estimator.fit(X_labels, Y).partial_fit(X_labels, Y)
    np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(ours.predict(X_labels), theirs.predict(X_labels))
    assert isinstance(neural_network.MLPClassifier(), type(theirs))
    assert CASES["several labels"][2] is y_labels
