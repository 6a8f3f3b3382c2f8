"""Other uses of an estimator in public code: it makes arrays read-only, sets and calls private methods."""

import functools
import io
import pickle
import re

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn import neural_network  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn_cases import CASES, SETTINGS, X_iris, X_reg, both, weights, y_iris, y_reg  # noqa: E402

from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SAME = {"rtol": 1e-9, "atol": 1e-12}


def said(call):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    return type(caught.value), str(caught.value)


def lists(X):
    return [[X] + [None] * 3, *([None] * 3 for _ in range(3))]


def targets(estimator, case):
    _, X, y = CASES[case]
    labels = case.endswith(("classes", "labels"))
    return X, estimator._label_binarizer.transform(y) if labels else y.reshape(len(y), -1)


# ---------------------------------------------------------------- 54: arrays that are frozen


@pytest.mark.parametrize("way", ["after fit", "after a prediction", "after a pickle", "arrays of the user's"])
@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("case", ["three classes", "one target"])
def test_fault_54_steps_refuse_a_frozen_array_in_scikit_learns_words(case, layer, name, way):
    for estimator in both(case, solver="sgd")[:2]:
        _, X, y = CASES[case]
        row = X[:1].copy(), y[:1]
        estimator.fit(X, y).partial_fit(*row)
        if way == "after a pickle":
            estimator = pickle.loads(pickle.dumps(estimator))
        if way == "arrays of the user's":
            estimator.coefs_ = [W.copy() for W in estimator.coefs_]
            estimator.intercepts_ = [b.copy() for b in estimator.intercepts_]
        getattr(estimator, name)[layer].setflags(write=False)
        if way == "after a prediction":
            estimator.predict(X)
        before, refused = weights(estimator), r"^output array is read-only"
        for data in (row, (X, y)):
            with pytest.raises(ValueError, match=refused):
                estimator.partial_fit(*data)
        with pytest.raises(ValueError, match=refused):
            estimator.set_params(warm_start=True).fit(X, y)
        if isinstance(estimator, MLPClassifier | MLPRegressor):
            np.testing.assert_array_equal(weights(estimator), before)
            assert estimator.n_iter_ == 1
            assert not getattr(estimator, name)[layer].flags.writeable
            getattr(estimator, name)[layer].setflags(write=True)
            assert not np.array_equal(weights(estimator.partial_fit(X, y)), before)


def test_fault_54_what_makes_new_arrays_leaves_frozen_ones_as_they_are():
    """A fit from the start, L-BFGS and _unpack replace them by new arrays, as in scikit-learn"""
    for estimator in both("one target", solver="lbfgs", warm_start=True, max_iter=3)[:2]:
        n = weights(estimator.fit(X_reg, y_reg)).size
        for call in (lambda e, n: e.fit(X_reg, y_reg), lambda e, n: e._unpack(np.full(n, 0.5)),
                     lambda e, n: e.set_params(warm_start=False, solver="adam").fit(X_reg, y_reg)):
            frozen = estimator.coefs_[0]
            frozen.setflags(write=False)
            before = frozen.copy()
            call(estimator, n)
            np.testing.assert_array_equal(frozen, before)
            assert estimator.coefs_[0].flags.writeable
            assert not np.array_equal(estimator.coefs_[0], before)
        estimator.partial_fit(X_reg, y_reg)


# ---------------------------------------------------------------- 61: reports on a broken stream


class Broken(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error

    flush = write


@pytest.mark.parametrize("error", [BrokenPipeError("gone"), ValueError("I/O operation on closed file"),
                                   UnicodeEncodeError("ascii", "x", 0, 1, "no"), OSError(28, "No space left")])
@pytest.mark.parametrize("parameters", [{"solver": "lbfgs"}, {"solver": "adam"}, {"early_stopping": True},
                                        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e9, "max_iter": 30}])
def test_fault_61_a_verbose_fit_does_not_need_stdout(parameters, error, monkeypatch):
    silent, verbose = (MLPRegressor(**{**SETTINGS, "verbose": v, **parameters}) for v in (False, True))
    silent.fit(X_reg, y_reg)
    monkeypatch.setattr("sys.stdout", Broken(error))
    verbose.fit(X_reg, y_reg)
    monkeypatch.undo()
    np.testing.assert_array_equal(weights(verbose), weights(silent))


def test_fault_61_ctrl_c_while_it_prints_is_no_broken_stream(monkeypatch):
    monkeypatch.setattr("sys.stdout", Broken(KeyboardInterrupt()))
    with pytest.warns(UserWarning, match="interrupted by user"):
        assert MLPRegressor(**SETTINGS, verbose=True).fit(X_reg, y_reg).n_iter_ == 1


# ---------------------------------------------------------------- 63: scores that are not numbers


@pytest.mark.parametrize("value", ["a", "0.5", None, 1j, np.arange(2.0), [0.5], np.array(["x"]), (1.0,)])
def test_fault_63_a_scoring_that_returns_no_number_is_named(value):
    def mine(estimator, X, y):
        return value

    with pytest.raises(TypeError, match=f"scoring must return a number; scoring='mine' returned .*"
                                        f"{type(value).__name__}$"):
        MLPClassifier(**SETTINGS, early_stopping=True, scoring=mine).fit(X_iris, y_iris)


@pytest.mark.parametrize("value", [True, 1, np.float32(0.5), np.array(0.5), np.array([0.5]), np.int64(3)])
def test_fault_63_every_kind_of_number_is_a_score(value):
    ours = MLPClassifier(**SETTINGS, early_stopping=True, scoring=lambda estimator, X, y: value).fit(X_iris, y_iris)
    assert set(ours.validation_scores_) == {float(np.ravel(value)[0])}
    assert type(ours.validation_scores_[0]) is float


# ---------------------------------------------------------------- 68: overridden in any way


def plain(method):
    @functools.wraps(method)
    def wrapper(*args):
        return method(*args)

    return wrapper


@pytest.mark.parametrize("way", ["subclass", "patch", "instance"])
def test_fault_68_a_wrapped_init_coef_is_an_override_too(way, monkeypatch):
    method = plain(MLPRegressor._init_coef)
    assert method.__module__ == MLPRegressor._init_coef.__module__
    own = type("Own", (MLPRegressor,), {"_init_coef": method}) if way == "subclass" else MLPRegressor
    if way == "patch":
        monkeypatch.setattr(MLPRegressor, "_init_coef", method)
    estimator = own(**SETTINGS, init="he_normal")
    if way == "instance":
        estimator._init_coef = functools.partial(method, estimator)
    with pytest.raises(ValueError, match=r"init='he_normal' and the _init_coef of .* both set the start weights"):
        estimator.fit(X_reg, y_reg)
    drawn = weights(estimator.set_params(init="auto").fit(X_reg, y_reg))
    monkeypatch.undo()
    np.testing.assert_array_equal(drawn, weights(MLPRegressor(**SETTINGS).fit(X_reg, y_reg)))


def test_fault_68_the_init_coef_of_another_estimator_is_an_override_and_ones_own_is_none():
    estimator, other = MLPRegressor(**SETTINGS, init="he_normal"), MLPRegressor(**SETTINGS)
    estimator._init_coef = estimator._init_coef
    estimator.fit(X_reg, y_reg)
    estimator._init_coef = other._init_coef
    with pytest.raises(ValueError, match="both set the start weights"):
        estimator.fit(X_reg, y_reg)


@pytest.mark.parametrize("way", ["instance", "patch", "class"])
@pytest.mark.parametrize("name", ["_forward_pass_fast", "_predict"])
@pytest.mark.parametrize("case", CASES)
def test_fault_68_predictions_follow_what_is_put_in_their_place_after_fit(case, name, way, monkeypatch):
    found = []
    for estimator in both(case, activation="tanh")[:2]:
        _, X, y = CASES[case]
        estimator.fit(X, y)
        original = getattr(type(estimator), name)

        def turned(self, X, check_input=True, original=original):
            return original(self, X[::-1], check_input)

        if way == "instance":
            setattr(estimator, name, functools.partial(turned, estimator))
        elif way == "patch":
            monkeypatch.setattr(type(estimator), name, turned)
        else:
            estimator.__class__ = type("Own", (type(estimator),), {name: turned})
        answers = [estimator.predict(X), estimator.predict(X[:1]), estimator.score(X, y)]
        if hasattr(estimator, "predict_proba"):
            answers += [estimator.predict_proba(X), estimator.predict_log_proba(X)]
        found.append(answers)
        if isinstance(estimator, MLPClassifier | MLPRegressor):     # never in silence
            with pytest.raises(TypeError, match=f"overrides {name}, a private method"):
                estimator.partial_fit(X, y)
        monkeypatch.undo()
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, **SAME)


def test_fault_68_probabilities_put_in_their_place_keep_their_values():
    """The same where 1 - p would lose its digits, and in one dimension"""
    found = []
    for estimator in both("two classes")[:2]:
        estimator.fit(*CASES["two classes"][1:])
        for p in (np.full((3, 1), 1 - 1e-9), np.array([0.2, 0.7, 1.0])):
            estimator._forward_pass_fast = lambda X, check_input=True, p=p: p
            with np.errstate(divide="ignore"):
                found.append([estimator.predict(X_iris[:3]), estimator.predict_proba(X_iris[:3]),
                              estimator.predict_log_proba(X_iris[:3])])
    for ours, theirs in zip(found[:2], found[2:], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["_backprop", "_fit_stochastic", "_update_no_improvement_count"])
def test_fault_68_a_method_set_between_two_single_rows_is_refused_too(name):
    row = X_reg[:1].copy(), y_reg[:1].copy()
    estimator = MLPRegressor(**SETTINGS).fit(X_reg, y_reg).partial_fit(*row)
    before = weights(estimator)
    setattr(estimator, name, print)
    with pytest.raises(TypeError, match=f"overrides {name}"):
        estimator.partial_fit(*row)
    np.testing.assert_array_equal(weights(estimator), before)


# ---------------------------------------------------------------- 70: the order of checks


@pytest.mark.parametrize("call", [
    lambda e, X, y: e.partial_fit(X[:, 0], y, classes=range(3)), lambda e, X, y: e.partial_fit(X, y[:-1], None, [0, 1]),
    lambda e, X, y: e.partial_fit(X, y + 5, classes=range(3)), lambda e, X, y: e.partial_fit(X, y, [1], range(3)),
    lambda e, X, y: e.partial_fit(X, y, classes=range(3)), lambda e, X, y: e.partial_fit(X[:1], y[:1], None, range(3)),
    lambda e, X, y: e.fit(X, y).partial_fit(X[:, :2], y), lambda e, X, y: e.fit(X, y).partial_fit(X, y),
    lambda e, X, y: e.fit(X, y).partial_fit(X, y + 1, sample_weight=np.ones(len(y) + 1)),
])
def test_fault_70_early_stopping_is_refused_by_partial_fit_after_its_arguments(call):
    ours, theirs = (said(lambda cls=cls: call(cls(max_iter=2, early_stopping=True), X_iris, y_iris))
                    for cls in (MLPClassifier, neural_network.MLPClassifier))
    assert ours == theirs


@pytest.mark.parametrize("labels", [[b"a", b"b"], np.array([b"a", b"b"], object), [b"a", b"b", b"c"]])
@pytest.mark.parametrize("call", [
    lambda e, y: e.fit(X_iris, y), lambda e, y: e.fit(X_iris, y.tolist()), lambda e, y: e.fit(X_iris[:6], y[:6]),
    lambda e, y: e.partial_fit(X_iris, y, classes=np.unique(y)), lambda e, y: e.fit(X_iris, y_iris).score(X_iris, y),
    lambda e, y: e.fit(X_iris, y_iris).partial_fit(X_iris, y),
    lambda e, y: e.fit(X_iris, y_iris).partial_fit(X_iris[:1], y[:1]),
])
def test_fault_70_labels_that_are_bytes_are_refused_in_the_same_words(call, labels):
    y = np.resize(labels, 150)
    ours, theirs = (said(lambda cls=cls: call(cls(max_iter=2), y))
                    for cls in (MLPClassifier, neural_network.MLPClassifier))
    assert ours == theirs
    assert "bytes" in ours[1]


# ---------------------------------------------------------------- 71: private names


@pytest.mark.parametrize("case", CASES)
def test_fault_71_there_are_no_gradients_with_another_out_activation(case):
    ours, _, X, y = both(case)
    X, Y = targets(ours.fit(X, y), case)
    trained, packed = ours.out_activation_, np.hstack([a.ravel() for a in ours.coefs_ + ours.intercepts_])
    for output in {"identity", "logistic", "softmax", "exp", "tanh", "relu"} - {trained}:
        ours.out_activation_, filled = output, lists(X)
        words = f"out_activation_={output!r} can be used for predictions only.*{trained!r}"
        with pytest.raises(ValueError, match=words):
            ours._backprop(X, Y, None, *filled)
        for given in ([], filled):
            with pytest.raises(ValueError, match=words):
                ours._loss_grad_lbfgs(packed / 2, X, Y, None, *given)
        assert filled[1:] == [[None] * 3] * 3
        assert filled[0][1:] == [None] * 3
        np.testing.assert_array_equal(weights(ours), packed)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_fault_71_loss_grad_lbfgs_fills_and_sets_what_scikit_learns_does(case, weighted):
    ours, theirs, X, y = both(case, activation="logistic", alpha=0.1, solver="lbfgs")
    X, Y = targets(ours.fit(X, y), case)
    theirs.fit(X, y)
    packed = np.hstack([a.ravel() for a in ours.coefs_ + ours.intercepts_]) / 2
    w, found = np.arange(len(X)) % 3.0 if weighted else None, []
    for estimator in (ours, theirs):
        filled = lists(X)
        loss, D = estimator._loss_grad_lbfgs(packed, X, Y, w, *filled)
        found.append([loss, D, weights(estimator), *(a for each in filled for a in each)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, **SAME)
    assert ours._coef_indptr == theirs._coef_indptr
    assert ours._intercept_indptr == theirs._intercept_indptr


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", ["three classes", "three targets"])
def test_fault_71_the_other_private_methods_give_its_numbers(case, dtype):
    found = []
    for estimator in both(case, activation="tanh", alpha=np.float64(0.1))[:2]:
        _, X, y = CASES[case]
        X = X.astype(dtype)
        estimator.fit(X, y)
        rng = np.random.default_rng(0)
        estimator.coefs_[1][:] = rng.normal(size=(7, 5))
        a, delta = (rng.normal(size=(9, n)).astype(dtype) for n in (7, 5))
        D_W, D_b = [None] * 3, [None] * 3
        estimator._compute_loss_grad(1, 9, [X, a], [None, delta], D_W, D_b)
        found.append([D_W[1], D_b[1]])
        assert D_W[0] is D_b[2] is None
        w = np.arange(150) % 2
        assert estimator._score(X, y) == estimator.score(X, y)
        assert estimator._score(X, y, w) == estimator.score(X, y, sample_weight=w)
        given, h, weight = estimator._score_with_function(X, y, w, lambda y, h, sample_weight: (y, h, sample_weight))
        np.testing.assert_array_equal(h, estimator.predict(X))
        assert given is y
        assert weight is w
        if case == "three targets":
            estimator.coefs_[2][:] = np.inf
            with np.errstate(invalid="ignore"):
                assert np.isnan(estimator._score(X, y))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5 if dtype == np.float32 else 1e-12)
        assert ours.dtype == theirs.dtype == dtype


@pytest.mark.parametrize("n", [0, 1, 80, 82])
def test_fault_71_a_packed_vector_of_another_length_is_refused_before_anything_has_changed(n):
    ours = MLPRegressor(**SETTINGS).fit(X_reg, y_reg)
    before = weights(ours)
    for call in (ours._unpack, lambda packed: ours._loss_grad_lbfgs(packed, X_reg, y_reg[:, None], None)):
        with pytest.raises(ValueError, match=re.escape(f"packed_parameters must have shape (81,); got ({n},)")):
            call(np.zeros(n))
    np.testing.assert_array_equal(weights(ours), before)
    ours._unpack(list(before))
    np.testing.assert_array_equal(weights(ours), before)


def test_fault_71_loss_stands_among_the_attributes_and_is_a_parameter_only_here():
    for cls in (MLPClassifier, neural_network.MLPClassifier):
        estimator = clone(cls(5))
        assert vars(estimator)["loss"] == "log_loss"
        assert estimator.get_params().get("loss") == ("log_loss" if cls is MLPClassifier else None)
        assert pickle.loads(pickle.dumps(estimator)).loss == "log_loss"
    old = MLPClassifier.__new__(MLPClassifier)
    old.__setstate__({name: value for name, value in vars(MLPClassifier(**SETTINGS)).items() if name != "loss"})
    assert old.fit(X_iris, y_iris).loss == "log_loss"


def test_fault_71_spans_of_the_packed_vector_are_those_of_lbfgs_and_pickled():
    ours, theirs, X, y = both("three classes", solver="lbfgs", hidden_layer_sizes=(4,))
    assert not hasattr(ours, "_coef_indptr")
    again = pickle.loads(pickle.dumps(ours.fit(X, y)))
    theirs.fit(X, y)
    for name in ("_coef_indptr", "_intercept_indptr"):
        assert getattr(ours, name) == getattr(again, name) == getattr(theirs, name)
        assert all(type(i) is int for span in getattr(ours, name) for i in span[:2])
    ours._coef_indptr = ours._coef_indptr[:]        # by hand, as public code does before _unpack
    assert not hasattr(clone(ours).set_params(solver="adam").fit(X, y), "_coef_indptr")
    ours.fit(X, y)


def test_fault_71_every_private_method_of_scikit_learns_that_can_be_called_alone_is_there():
    kept = {"_fit_lbfgs", "_fit_stochastic", "_update_no_improvement_count"}       # parts of its training
    for ours, theirs in ((MLPClassifier, neural_network.MLPClassifier), (MLPRegressor, neural_network.MLPRegressor)):
        names = {name for cls in theirs.__mro__[:-1] for name, value in vars(cls).items() if callable(value)
                 and re.fullmatch("_[a-z].*", name) and cls.__module__.startswith("sklearn.neural_network")}
        assert {name for name in names if not hasattr(ours, name)} == kept
