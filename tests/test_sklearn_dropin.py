"""The drop-in in typical uses: subclasses, isinstance, the order of checks, warm starts."""

import pickle
import re
from functools import singledispatch

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn import neural_network  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn_cases import CASES, SETTINGS, X_iris, X_reg, both, weights, y_iris, y_reg  # noqa: E402

import fastbp.sklearn  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor, overrides  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ---------------------------------------------------------------- 68: subclasses


def narrow(seen):
    def _init_coef(self, fan_in, fan_out, dtype):
        seen.append((fan_in, fan_out, np.dtype(dtype)))
        W, b = self._random_state.normal(0, 0.1, (fan_in, fan_out)), np.full(fan_out, 0.01)
        return W.astype(dtype), b.astype(dtype)

    return _init_coef


def overriding(cls, name, method, way, monkeypatch):
    """A class with a replaced private method, in each way that works with scikit-learn's"""
    if way == "subclass":
        return type("Own", (cls,), {name: method})
    if way == "mixin":
        return type("Own", (type("Mixin", (), {name: method}), cls), {})
    if way == "grandchild":
        return type("Own", (type("Between", (cls,), {name: method}),), {})
    monkeypatch.setattr(cls, name, method, raising=False)
    return cls


@pytest.mark.parametrize("way", ["subclass", "mixin", "grandchild", "patch"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("case", ["three classes", "one target", "several labels"])
def test_fault_68_init_coef_of_a_subclass_draws_the_start(case, solver, way, monkeypatch):
    found = []
    for estimator in both(case)[:2]:
        seen = []
        cls = overriding(type(estimator), "_init_coef", narrow(seen), way, monkeypatch)
        fitted = cls(**SETTINGS, solver=solver).fit(*CASES[case][1:])
        found.append((weights(fitted), seen))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-7, atol=1e-9)
    assert found[0][1] == found[1][1]       # scikit-learn's arguments, in its order
    assert len(found[0][1]) == 3


def test_fault_68_init_coef_of_an_instance_of_float32_and_of_super_counts():
    class Halved(MLPClassifier):
        def _init_coef(self, fan_in, fan_out, dtype):
            assert type(fan_in) is type(fan_out) is int
            W, b = super()._init_coef(fan_in, fan_out, dtype)
            assert W.dtype == b.dtype == dtype
            return W / 2, b / 2

    steps = {"solver": "sgd", "learning_rate_init": 1e-300, "max_iter": 1, "random_state": 0}
    for activation in ("relu", "logistic", ["logistic", "tanh"], ["tanh", "logistic"]):
        for X in (X_iris, X_iris.astype(np.float32)):
            plain = MLPClassifier((7, 5), activation, **steps).fit(X, y_iris)
            halved = Halved((7, 5), activation, **steps).fit(X, y_iris)
            np.testing.assert_array_equal(weights(halved), weights(plain) / 2)
            assert halved.coefs_[0].dtype == X.dtype
            assert not hasattr(halved, "_drawn_layer")
    own = MLPClassifier((7, 5), **steps)
    own._init_coef = lambda fan_in, fan_out, dtype: (np.ones((fan_in, fan_out)), np.zeros(fan_out, int))
    np.testing.assert_array_equal(own.fit(X_iris, y_iris).coefs_[1], 1)
    kept = Halved((7, 5), warm_start=True, **steps).fit(X_iris, y_iris)
    before = weights(kept)
    np.testing.assert_array_equal(weights(kept.fit(X_iris, y_iris)), before)        # drawn once


@pytest.mark.parametrize(
    ("drawn", "error", "words"),
    [
        (lambda W, b: W, TypeError, r"must return a pair \(coef_init, intercept_init\); got ndarray"),
        (lambda W, b: None, TypeError, "must return a pair .* got NoneType"),
        (lambda W, b: (W, b, b), TypeError, "must return a pair .* got tuple"),
        (lambda W, b: (W.T, b), ValueError, r"coef_init must have the shape \(4, 7\); got \(7, 4\)"),
        (lambda W, b: (W, 0.0), ValueError, r"intercept_init must have the shape \(7,\); got \(\)"),
        (lambda W, b: (W * np.nan, b), ValueError, "coef_init must hold finite numbers"),
        (lambda W, b: (W, b + 1e300), ValueError, "intercept_init must hold finite numbers.* in float32"),
        (lambda W, b: (W.astype(complex), b), TypeError, "coef_init must hold real numbers; its dtype is complex"),
        (lambda W, b: (W.astype(object), b), TypeError, "coef_init must hold real numbers; its dtype is object"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_fault_68_what_init_coef_returns_is_checked_before_anything_has_changed(known, drawn, error, words):
    class Own(MLPRegressor):
        def _init_coef(self, fan_in, fan_out, dtype):
            start = np.zeros((fan_in, fan_out)), np.zeros(fan_out)
            return drawn(*start) if self.bad else start

    estimator = Own(**SETTINGS)
    estimator.bad = False
    if known:
        estimator.fit(X_reg, y_reg)
    estimator.bad = True
    before = dict(vars(estimator))
    with pytest.raises(error, match=rf"Own\._init_coef\(4, 7, 'float32'\).*{words}"):
        estimator.fit(X_reg.astype(np.float32), y_reg)
    assert vars(estimator) == before


@pytest.mark.parametrize("way", ["subclass", "mixin", "grandchild", "patch"])
@pytest.mark.parametrize("name", sorted(overrides.THEIRS))
def test_fault_68_what_is_overridden_in_vain_is_refused_by_name(name, way, monkeypatch):
    for case in ("three classes", "one target"):
        ours, _, X, y = both(case)
        ours = overriding(type(ours), name, lambda self, *a, **k: None, way, monkeypatch)(**SETTINGS)
        before = dict(vars(ours))
        instead = re.escape(overrides.INSTEAD[name])
        for call in (ours.fit, ours.partial_fit):
            with pytest.raises(TypeError, match=f"overrides {name}, a private method.* {instead}"):
                call(X, y)
            assert vars(ours) == before
        monkeypatch.undo()


def test_fault_68_a_method_of_an_instance_and_a_private_name_of_ours_are_refused_too(monkeypatch):
    estimator = MLPClassifier(**SETTINGS)
    estimator._update_no_improvement_count = print
    with pytest.raises(TypeError, match=r"overrides _update_no_improvement_count.*scoring="):
        estimator.fit(X_iris, y_iris)
    own = type("Own", (MLPRegressor,), {"_weights": lambda self: 3})
    with pytest.raises(TypeError, match="Own overrides _weights, a private name of fastbp's MLPRegressor"):
        own().fit(X_reg, y_reg)
    monkeypatch.setattr(overrides, "THEIRS", overrides.THEIRS | {"_later"})
    with pytest.raises(TypeError, match=r"overrides _later.*fastbp.Network and fastbp.Trainer"):
        type("Own", (MLPRegressor,), {"_later": print})().fit(X_reg, y_reg)


def test_fault_68_two_ways_to_start_are_refused():
    own = type("Own", (MLPRegressor,), {"_init_coef": narrow([])})
    with pytest.raises(ValueError, match="init='he_normal' and the _init_coef of Own both set the start weights"):
        own(init="he_normal").fit(X_reg, y_reg)


def test_fault_68_what_subclasses_may_do_works():
    """Subclasses may add public methods, parameters, attributes and private names that scikit-learn does not use"""

    class Helpers:
        def _fit_stochastic(self):
            return "behind scikit-learn's class in the order of resolution"

    class Own(MLPClassifier, Helpers):
        _parameter_constraints = {**MLPClassifier._parameter_constraints, "gain": [float]}  # noqa: RUF012

        def __init__(self, hidden_layer_sizes=(7,), gain=1.0, random_state=None):
            super().__init__(hidden_layer_sizes, max_iter=3, random_state=random_state)
            self.gain = gain

        def fit(self, X, y):
            self._model, self._engine = "mine", self._helper()
            return super().fit(self.gain * X, y)

        def _helper(self):
            return "mine too"

        def predict_proba(self, X):
            return np.full((len(X), 3), 1 / 3)

    estimator = clone(Own(gain=2.0, random_state=0)).fit(X_iris, y_iris)
    plain = MLPClassifier((7,), max_iter=3, random_state=0).fit(2 * X_iris, y_iris)
    np.testing.assert_array_equal(weights(estimator), weights(plain))
    np.testing.assert_array_equal(estimator.predict(X_iris), plain.predict(X_iris))
    np.testing.assert_array_equal(estimator.predict_log_proba(X_iris), np.log(estimator.predict_proba(X_iris)))
    assert estimator.__getstate__()["_model"] == "mine"


# ---------------------------------------------------------------- 69: isinstance


def test_fault_69_they_are_scikit_learns_to_isinstance_and_whatever_asks_like_it():
    own = type("Own", (MLPClassifier,), {})
    base = neural_network._multilayer_perceptron.BaseMultilayerPerceptron
    for classifier in (MLPClassifier(), own()):
        assert isinstance(classifier, neural_network.MLPClassifier)
        assert isinstance(classifier, base)
        assert not isinstance(classifier, neural_network.MLPRegressor)
    assert isinstance(MLPRegressor(), neural_network.MLPRegressor)
    assert not isinstance(MLPRegressor(), neural_network.MLPClassifier)
    assert issubclass(own, neural_network.MLPClassifier)
    assert not isinstance(neural_network.MLPClassifier(), MLPClassifier)

    @singledispatch
    def kind(estimator):
        return "unknown"

    kind.register(neural_network.MLPClassifier, lambda estimator: "classifier")
    kind.register(base, lambda estimator: "perceptron")
    assert [kind(own()), kind(MLPRegressor()), kind(3)] == ["classifier", "perceptron", "unknown"]


# ---------------------------------------------------------------- 70: the order of checks


def said(call):
    with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
        call()
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("parameters", [
    {"tol": -1}, {"alpha": -1}, {"hidden_layer_sizes": "a"}, {"solver": "newton"}, {"shuffle": 2}, {"momentum": 2.0},
])
@pytest.mark.parametrize("call", [
    lambda e: e.partial_fit(X_iris, y_iris), lambda e: e.partial_fit(X_iris, y_iris, classes=[0, 1, 2]),
    lambda e: e.partial_fit(X_iris, y_iris, classes=[0, 1]), lambda e: e.partial_fit(X_iris[:1], y_iris[:1]),
    lambda e: e.fit(X_iris[:, 0], y_iris),
])
def test_fault_70_parameters_are_checked_before_the_arguments(call, parameters):
    if "solver" in parameters:
        parameters = {"solver": 3}      # the others' names differ: fastbp has more solvers
    ours, theirs = (
        said(lambda cls=cls: call(cls(**parameters))) for cls in (MLPClassifier, neural_network.MLPClassifier)
    )
    if "solver" not in parameters:
        assert ours == theirs
    name = next(iter(parameters))
    assert ours[0].__name__ in ("InvalidParameterError", "AttributeError")
    assert name in ours[1]


@pytest.mark.parametrize("call", [
    lambda e: e.partial_fit(X_iris, y_iris), lambda e: e.partial_fit(X_iris[:, 0], y_iris),
    lambda e: e.partial_fit(X_iris, y_iris, classes=[0, 1]), lambda e: e.set_params(solver="lbfgs").partial_fit(X_iris),
    lambda e: e.partial_fit(X_iris, y_iris[:-1], classes=[0, 1, 2]),
    lambda e: e.fit(X_iris, y_iris).partial_fit(X_iris, y_iris, classes=[0, 1]),
])
def test_fault_70_what_partial_fit_refuses_it_refuses_in_the_same_words(call):
    assert said(lambda: call(MLPClassifier(max_iter=2))) == said(lambda: call(neural_network.MLPClassifier(max_iter=2)))


def test_fault_70_parameters_of_a_fitted_estimator_are_not_checked_again_by_partial_fit():
    for cls in (MLPClassifier, neural_network.MLPClassifier):
        cls(5, max_iter=2).fit(X_iris, y_iris).set_params(tol=-1).partial_fit(X_iris, y_iris)


def test_fault_70_partial_fit_with_lbfgs_is_there_where_scikit_learn_has_it():
    for name in ("MLPClassifier", "MLPRegressor"):
        ours, theirs = (getattr(module, name)(solver="lbfgs") for module in (fastbp.sklearn, neural_network))
        assert hasattr(ours, "partial_fit") == hasattr(theirs, "partial_fit")
    ours, theirs, X, y = both("one target", solver="lbfgs", max_iter=5, early_stopping=True)
    if not hasattr(theirs, "partial_fit"):
        pytest.skip("this scikit-learn has none")
    for _ in range(2):
        np.testing.assert_allclose(weights(ours.partial_fit(X, y)), weights(theirs.partial_fit(X, y)), rtol=1e-6)
    ours = clone(ours).set_params(solver="adam", early_stopping=False).fit(X, y).set_params(solver="lbfgs")
    moved = weights(ours)
    ours.partial_fit(X[:1].copy(), y[:1].copy())        # L-BFGS, not a step of Adam
    assert abs(ours.predict(X[:1])[0] - y[0]) < 0.05
    assert not np.array_equal(moved, weights(ours))


# ---------------------------------------------------------------- 72: warm starts, curves


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("case", CASES)
def test_fault_72_other_hidden_layers_are_no_warm_start(case, solver):
    ours, _, X, y = both(case, solver=solver, warm_start=True, max_iter=3)
    ours.fit(X, y)
    calls = [ours.fit, *([ours.partial_fit] if hasattr(ours, "partial_fit") else [])]
    for hidden in ((7, 6), (7,), 7, (), [7, 5, 5], np.array([5, 7])):
        before = dict(vars(ours.set_params(hidden_layer_sizes=hidden)))
        for call in calls:
            words = r"but this MLP\w+ continues with weights of hidden layers \(7, 5\). Set hidden_layer_sizes=\(7, 5\)"
            with pytest.raises(ValueError, match=f"hidden_layer_sizes is {re.escape(repr(hidden))}, {words}"):
                call(X, y)
            assert {**vars(ours), "hidden_layer_sizes": 0} == {**before, "hidden_layer_sizes": 0}
    for same in ([7, 5], np.array([7, 5]), (7, 5)):
        ours.set_params(hidden_layer_sizes=same).fit(X, y)
    assert ours.set_params(hidden_layer_sizes=(4,), warm_start=False).fit(X, y).coefs_[0].shape[1] == 4


def test_fault_72_a_single_row_is_no_way_around_it():
    ours = MLPRegressor(**SETTINGS).fit(X_reg, y_reg)
    row = X_reg[:1].copy(), y_reg[:1].copy()
    ours.partial_fit(*row)
    ours.set_params(hidden_layer_sizes=(7, 6))
    with pytest.raises(ValueError, match=r"hidden_layer_sizes is \(7, 6\)"):
        ours.partial_fit(*row)
    ours.set_params(hidden_layer_sizes=(7, 5)).partial_fit(*row)


def test_fault_72_weights_put_in_their_place_may_be_of_another_size():
    """After pruning, as in scikit-learn, the weights decide the layers, until hidden_layer_sizes is changed"""
    ours, theirs, X, y = both("one target", warm_start=True, solver="sgd")
    for estimator in (ours, theirs):
        estimator.fit(X, y)
        estimator.coefs_ = [estimator.coefs_[0][:, :3], estimator.coefs_[1][:3], estimator.coefs_[2]]
        estimator.intercepts_ = [estimator.intercepts_[0][:3], *estimator.intercepts_[1:]]
    ours.fit(X, y)
    assert [W.shape for W in ours.coefs_] == [(4, 3), (3, 5), (5, 1)]
    ours.set_params(hidden_layer_sizes=(3, 5)).fit(X, y)
    with pytest.raises(ValueError, match=r"hidden layers \(3, 5\)"):
        ours.set_params(hidden_layer_sizes=(3, 4)).fit(X, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_fault_72_another_number_of_targets_is_no_warm_start(solver):
    ours, _, X, y = both("one target", solver=solver, warm_start=True)
    ours.fit(X, y)
    before = weights(ours)
    for call in (ours.fit, ours.partial_fit):
        with pytest.raises(ValueError, match=r"y has 2 outputs, but this MLPRegressor continues with weights .* 1"):
            call(X, np.column_stack([y, y]))
    assert ours.n_outputs_ == 1
    np.testing.assert_array_equal(weights(ours), before)


@pytest.mark.parametrize("length", [None, 1, 5, 1000])
def test_fault_72_curves_are_as_long_as_is_asked_for(length):
    kept, bounded = (MLPRegressor(**SETTINGS, curve_length=n) for n in (None, length))
    for i in range(20):
        for estimator in (kept, bounded):      # the quick way from the second on
            estimator.partial_fit(X_reg[i : i + 1].copy(), y_reg[i : i + 1].copy())
    assert len(kept.loss_curve_) == 20
    assert bounded.loss_curve_ == kept.loss_curve_[-(length or 20) :]
    np.testing.assert_array_equal(weights(bounded), weights(kept))
    for estimator in (kept, bounded):
        estimator.set_params(early_stopping=True, max_iter=30, n_iter_no_change=3, learning_rate_init=0.05)
        estimator.fit(X_reg, y_reg)
    assert bounded.n_iter_ == kept.n_iter_
    for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_"):
        assert getattr(bounded, name) == getattr(kept, name)[-(length or 1000) :], name
    np.testing.assert_array_equal(weights(bounded), weights(kept))


def test_fault_72_a_pickle_stops_growing():
    def size(rows):
        estimator = MLPRegressor(**SETTINGS, curve_length=100)
        for i in range(rows):
            estimator.partial_fit(X_reg[i % 99 : i % 99 + 1].copy(), y_reg[:1])
        return len(pickle.dumps(estimator))

    assert abs(size(3000) - size(200)) < 100
    whole = MLPRegressor(**SETTINGS).fit(X_reg, y_reg)
    again = pickle.loads(pickle.dumps(whole))
    assert again.loss_curve_ == whole.loss_curve_
    assert {type(loss) for loss in again.loss_curve_} == {np.float64}
    whole.loss_curve_ = whole.loss_curve_ * 1000
    assert len(pickle.dumps(whole)) < 8 * 10_000 + len(pickle.dumps(again)) + 100
    old = dict(vars(whole))
    del old["curve_length"]     # a pickle of a release without this parameter
    restored = MLPRegressor.__new__(MLPRegressor)
    restored.__setstate__(old)
    assert restored.get_params()["curve_length"] is None
    restored.partial_fit(X_reg, y_reg)
