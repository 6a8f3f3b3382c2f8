"""Labels, shapes, weights and refits that have broken estimators give right results, or scikit-learn's errors."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X, CODES = RNG.standard_normal((60, 4)), np.arange(60) % 3
SOLVERS = ["adam", "sgd", "lbfgs"]


@pytest.fixture(autouse=True)
def _short():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "lbfgs failed")
        yield


def classifier(**options):
    return MLPClassifier(**{"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0, **options})


def weights(estimator):
    return np.concatenate([a.ravel() for a in [*estimator.coefs_, *estimator.intercepts_]])


# ---------------------------------------------------------------- 35: labels


KINDS = {
    "negative": [-7, -1, 3], "huge": [2**62, -(2**62), 5], "uint64": np.array([0, 2**63, 2**64 - 1], np.uint64),
    "strings": ["b", "a", "ä"], "objects": np.array(["b", "a", "c"], object), "floats": [1.0, 3.0, 7.0],
    "int8": np.array([-128, 0, 127], np.int8), "numpy strings": np.array(["long name", "n", ""]),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", KINDS)
def test_fault_35_labels_of_every_kind_are_codes_and_come_back(kind, solver):
    names = np.asarray(KINDS[kind])
    order = np.argsort(names)
    y = names[order][CODES]
    plain, named = classifier(solver=solver).fit(X, CODES), classifier(solver=solver).fit(X, y)
    assert weights(plain).tobytes() == weights(named).tobytes()
    assert (named.predict(X) == names[order][plain.predict(X)]).all()
    assert named.classes_.dtype == y.dtype or y.dtype == object     # these become str, as in scikit-learn


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int32, ">i4", float])
def test_fault_35_two_classes_of_every_kind(kind):
    y = (CODES == 1).astype(kind)
    estimator = classifier().fit(X, y)
    assert weights(estimator).tobytes() == weights(classifier().fit(X, (CODES == 1).astype(int))).tobytes()
    assert estimator.predict(X).dtype == y.dtype


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        ([None, *CODES[1:]], (ValueError, TypeError), "y|label"),
        (["a", 1.5, None] * 20, (ValueError, TypeError), "y|label"),
        ([1.5, 2.5, 3.25] * 20, ValueError, "Unknown label type|continuous"),
        ([np.nan, *CODES[1:]], ValueError, "Input y contains NaN"),
        ([np.inf, *CODES[1:]], ValueError, "Input y contains infinity"),
        (CODES.astype(complex), ValueError, "(?i)complex"),
        (np.array([b"a", b"b", b"c"])[CODES], TypeError, "bytes"),
        ([[0, 1], [2]] * 30, ValueError, "inhomogeneous|sequence|legacy"),
    ],
)
def test_fault_35_labels_that_are_none_are_refused(y, error, words):
    estimator = classifier()
    with pytest.raises(error, match=words):
        estimator.fit(X, y)
    assert not hasattr(estimator, "coefs_")


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_fault_35_a_class_never_announced_is_refused_and_nothing_has_changed(solver):
    estimator = classifier(solver=solver)
    estimator.partial_fit(X, CODES, classes=[0, 1, 2])
    before = weights(estimator)
    for bad in ([3], [-1], [2**62]):
        with pytest.raises(ValueError, match=r"`y` has classes not in `self\.classes_`"):
            estimator.partial_fit(X[:1], bad)
    assert weights(estimator).tobytes() == before.tobytes()


@pytest.mark.parametrize("solver", SOLVERS)
def test_fault_35_one_class_and_a_class_of_weight_0(solver):
    assert (classifier(solver=solver).fit(X, np.full(60, 7)).predict(X) == 7).all()
    w = (CODES != 1).astype(float)
    estimator = classifier(solver=solver, max_iter=30).fit(X, CODES, sample_weight=w)
    assert list(estimator.classes_) == [0, 1, 2]
    assert np.isfinite(estimator.predict_proba(X)).all()


def test_fault_35_ten_thousand_classes():
    y = np.arange(10_000)
    estimator = classifier(hidden_layer_sizes=(2,), max_iter=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")
        estimator.fit(np.linspace(-1, 1, 10_000)[:, None], y)
    assert estimator.predict_proba([[0.5]]).shape == (1, 10_000)
    assert estimator.predict([[0.5]])[0] in y


def test_fault_35_classes_are_not_announced_by_a_call_that_is_refused():
    estimator = classifier()
    with pytest.raises(ValueError, match="classes not in"):
        estimator.partial_fit(X, CODES, classes=[0, 1])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        estimator.partial_fit(X, CODES)
    estimator.partial_fit(X, CODES, classes=[0, 1, 2])
    assert (classifier().partial_fit(X, CODES, classes=[0, 1, 2]).predict(X) == estimator.predict(X)).all()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"hidden_layer_sizes": ("a",)}, r"hidden_layer_sizes must hold whole numbers, got \['a'\]"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
        ({"solver": fastbp.Adam}, "solver must be a name or an instance"),
        ({"alpha": 10**400}, "alpha must be less than"),
        ({"class_weight": {0: None}}, r"class_weight=\{0: None\}: weights must be finite and not negative"),
        ({"class_weight": {0: "a"}}, r"class_weight=\{0: 'a'\}: "),
        ({"init": ([], [])}, "init must hold arrays of the shapes"),
        ({"early_stopping": True, "validation_fraction": 0.01}, "validation|test_size"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_parameters_that_cannot_be_are_named_and_leave_a_fitted_model_as_it_was(known, parameters, words):
    estimator = classifier()
    if known:
        estimator.fit(X, CODES)
    before = dict(vars(estimator.set_params(**parameters)))
    with pytest.raises((ValueError, TypeError), match=words):
        estimator.fit(X[:, :3], CODES % 2)
    assert vars(estimator) == before


# ---------------------------------------------------------------- 36: once more


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_fault_36_partial_fit_of_some_of_the_classes_is_that_of_labels_among_all(solver):
    """scikit-learn #6994: a batch without all classes"""
    one, other = classifier(solver=solver), classifier(solver=solver)
    for first in range(0, 60, 7):
        rows = slice(first, first + 7)
        only = CODES[rows] % 2      # class 2 never comes
        one.partial_fit(X[rows], only, classes=[0, 1, 2])
        other.partial_fit(X[rows], np.array(["a", "b"])[only], classes=["a", "b", "c"])
    assert weights(one).tobytes() == weights(other).tobytes()
    assert one.predict_proba(X).shape == (60, 3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_fault_36_a_refit_forgets_and_a_warm_start_refuses_other_classes(solver):
    fresh = classifier(solver=solver).fit(X, CODES)
    again = classifier(solver=solver).fit(X[:, :2], CODES % 2 + 5).fit(X, CODES)
    assert weights(again).tobytes() == weights(fresh).tobytes()
    warm = classifier(solver=solver, warm_start=True).fit(X, CODES)
    before = weights(warm), warm.classes_.tolist(), warm.n_features_in_
    for bad_X, bad in ((X, CODES + 1), (X, CODES % 2), (X[:, :2], CODES)):
        with pytest.raises(ValueError, match=r"warm_start can only be used|expecting 4 features"):
            warm.fit(bad_X, bad)
        assert weights(warm).tobytes() == before[0].tobytes()
        assert (warm.classes_.tolist(), warm.n_features_in_) == before[1:]


def test_fault_36_epochs_in_pieces_are_one_run():
    """max_iter counts from 0 on a warm start (scikit-learn #16812); partial_fit is an epoch"""
    whole = classifier(max_iter=6, shuffle=False, n_iter_no_change=100).fit(X, CODES)
    pieces = classifier(shuffle=False)
    for _ in range(6):
        pieces.partial_fit(X, CODES, classes=[0, 1, 2])
    assert weights(pieces).tobytes() == weights(whole).tobytes()
    warm = classifier(max_iter=3, warm_start=True, shuffle=False, n_iter_no_change=100)
    assert warm.fit(X, CODES).n_iter_ == warm.fit(X, CODES).n_iter_ == 3


# ---------------------------------------------------------------- 37, 38: shapes and weights


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda e: e.fit(X, CODES[:-1]), "inconsistent numbers of samples"),
        (lambda e: e.fit(X[:, 0], CODES), "Expected 2D array, got 1D array instead"),
        (lambda e: e.fit(X[:, :0], CODES), r"0 feature\(s\)"),
        (lambda e: e.fit(X[:0], CODES[:0]), r"0 sample\(s\)"),
        (lambda e: e.fit(X, CODES, sample_weight=np.ones(59)), "sample_weight"),
        (lambda e: e.fit(X, CODES, sample_weight=np.ones((60, 2))), "[Ss]ample weights must be 1D"),
        (lambda e: e.fit(X, CODES, sample_weight=-np.ones(60)), "sample_weight|[Ww]eights"),
        (lambda e: e.fit(X, CODES, sample_weight=np.zeros(60)), "sample_weight|[Ww]eights"),
        (lambda e: e.fit(X, CODES, sample_weight=["a"] * 60), "sample_weight: could not convert"),
        (lambda e: e.predict(X[:, :3]), "X has 3 features, but MLPClassifier is expecting 4 features as input"),
        (lambda e: e.predict(X[0]), "Expected 2D array, got 1D array instead"),
        (lambda e: e.partial_fit(X[:, :3], CODES), "X has 3 features, but MLPClassifier is expecting 4 features"),
        (lambda e: e.predict(np.where(X[3, 2] == X, np.nan, X)), r"Input X contains NaN.* First at X\[3, 2\]"),
    ],
)
def test_fault_37_shapes_are_refused_in_its_words_and_a_fitted_model_stays(bad, words):
    estimator = classifier().fit(X, CODES)
    before, h = dict(vars(estimator)), estimator.predict_proba(X).tobytes()
    with pytest.raises(ValueError, match=words):
        bad(estimator)
    assert vars(estimator).keys() == before.keys()
    assert estimator.predict_proba(X).tobytes() == h
    assert estimator.classes_ is before["classes_"]


def test_fault_37_a_column_of_targets_is_a_vector_with_a_warning():
    with pytest.warns(Warning, match="column-vector y was passed"):
        one = MLPRegressor(hidden_layer_sizes=(3,), max_iter=3, random_state=0).fit(X, X[:, :1])
    two = MLPRegressor(hidden_layer_sizes=(3,), max_iter=3, random_state=0).fit(X, X[:, 0])
    assert weights(one).tobytes() == weights(two).tobytes()
    assert one.predict(X).shape == (60,)


@pytest.mark.parametrize("solver", SOLVERS)
def test_fault_38_weight_2_is_the_row_twice_and_weight_0_the_row_absent(solver):
    times = np.arange(60) % 3
    options = {"solver": solver, "batch_size": 200, "shuffle": False, "max_iter": 8, "n_iter_no_change": 100}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got `batch_size`")
        weighted = classifier(**options).fit(X, CODES // 2, sample_weight=times)
        repeated = classifier(**options).fit(np.repeat(X, times, axis=0), np.repeat(CODES // 2, times))
    # alpha is divided by the sum of the weights, which is the number of the repeated rows
    np.testing.assert_allclose(weights(weighted), weights(repeated), rtol=1e-9, atol=1e-12)
