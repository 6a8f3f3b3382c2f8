"""Typical subclasses: properties, their own pickling, an `_init_coef` that reads the estimator."""

import copy
import io
import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

import joblib  # noqa: E402
from sklearn import neural_network  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn_cases import CASES, SETTINGS, X_iris, X_reg, both, weights, y_iris, y_reg  # noqa: E402

import fastbp.sklearn  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402
from fastbp.sklearn.model import Model  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
MODULES = (fastbp.sklearn, neural_network)


# ---------------------------------------------------------------- 68: parameters are set as attributes


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_fault_68_properties_and_setattr_of_a_subclass_see_every_parameter(name):
    for module in MODULES:
        base = getattr(module, name)

        class Own(base):
            def __init__(self, alpha=0.5, hidden_layer_sizes=(7,)):
                super().__init__(hidden_layer_sizes=hidden_layer_sizes, alpha=alpha, max_iter=3, random_state=0)

            @property
            def alpha(self):
                return self._alpha

            @alpha.setter
            def alpha(self, value):
                self._alpha = value

            def __setattr__(self, attribute, value):
                self.__dict__.setdefault("seen", []).append(attribute)
                super().__setattr__(attribute, value)

        own = Own()
        assert own._alpha == 0.5
        assert "alpha" not in vars(own)
        assert base().get_params().keys() <= set(own.seen)
        assert len(own.seen) == len(set(own.seen))
        assert clone(own.set_params(alpha=2.0))._alpha == 2.0
        plain = base(hidden_layer_sizes=(7,), alpha=2.0, max_iter=3, random_state=0)
        for estimator in (own, plain):
            estimator.fit(*CASES["three classes" if name == "MLPClassifier" else "one target"][1:])
        np.testing.assert_array_equal(weights(own), weights(plain))


def test_fault_68_a_parameter_that_a_subclass_makes_read_only_is_an_attribute_error():
    for module in MODULES:
        own = type("Own", (module.MLPClassifier,), {"tol": property(lambda self: 1e-3)})
        with pytest.raises(AttributeError):
            own()


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_every_parameter_is_the_attribute_of_its_name(cls):
    """Each argument is stored in its own attribute"""
    given = {name: object() for name in cls._get_param_names()}
    assert cls(**given).get_params(deep=False) == given
    assert vars(cls(**given)).items() >= given.items()


# ---------------------------------------------------------------- 68: pickling over __dict__


def over_dict(*names):
    """Typical __getstate__ and __setstate__"""
    methods = {
        "__getstate__": lambda self: self.__dict__.copy(),
        "__setstate__": lambda self, state: self.__dict__.update(state),
    }
    return {name: methods[name] for name in names}


class GetsClassifier(MLPClassifier):
    __getstate__ = over_dict("__getstate__")["__getstate__"]


class SetsClassifier(MLPClassifier):
    __setstate__ = over_dict("__setstate__")["__setstate__"]


class BothClassifier(GetsClassifier, SetsClassifier):
    pass


class Theirs(neural_network.MLPClassifier):
    __getstate__ = over_dict("__getstate__")["__getstate__"]
    __setstate__ = over_dict("__setstate__")["__setstate__"]


def through_joblib(estimator, mmap_mode=None, folder=None):
    if mmap_mode:
        path = folder / type(estimator).__name__
        joblib.dump(estimator, path)
        return joblib.load(path, mmap_mode=mmap_mode)
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    "pickle": lambda e, _: pickle.loads(pickle.dumps(e)), "joblib": lambda e, _: through_joblib(e),
    "mapped": lambda e, folder: through_joblib(e, "c", folder), "deepcopy": lambda e, _: copy.deepcopy(e),
    "old protocol": lambda e, _: pickle.loads(pickle.dumps(e, 2)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("cls", [GetsClassifier, SetsClassifier, BothClassifier])
def test_fault_68_pickles_over_dict_go_on_as_the_whole(cls, solver, way, tmp_path):
    whole, theirs = (each(**SETTINGS, solver=solver).fit(X_iris, y_iris) for each in (cls, Theirs))
    again = WAYS[way](whole, tmp_path)
    assert type(again) is cls
    np.testing.assert_array_equal(again.predict_proba(X_iris), whole.predict_proba(X_iris))
    if solver == "lbfgs":
        return
    assert type(again.loss_curve_) is list
    assert again.loss_curve_ == whole.loss_curve_
    assert {type(loss) for loss in again.loss_curve_} == {np.float64}
    kept, n = weights(whole).copy(), len(whole.loss_curve_)
    for estimator in (again, WAYS[way](theirs, tmp_path)):
        for _ in range(3):
            estimator.partial_fit(X_iris, y_iris)
        assert len(estimator.loss_curve_) == n + 3
    np.testing.assert_allclose(weights(again), weights(estimator), rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(weights(whole), kept)     # the copies share nothing with it
    assert len(whole.loss_curve_) == n


@pytest.mark.parametrize("cls", [GetsClassifier, SetsClassifier, BothClassifier])
def test_fault_68_copies_over_dict_append_to_lists(cls):
    whole = cls(**SETTINGS).fit(X_iris, y_iris)
    again = copy.copy(whole)
    assert isinstance(again.loss_curve_, list)
    again.partial_fit(X_iris, y_iris)
    assert len(again.loss_curve_) == SETTINGS["max_iter"] + 1


@pytest.mark.parametrize("make", [tuple, np.array, list])
def test_fault_68_a_curve_that_is_no_list_becomes_one(make):
    """The state is from a pickle of an older fastbp, which a subclass has read by itself"""
    whole = MLPRegressor(**SETTINGS, early_stopping=True).fit(X_reg, y_reg)
    losses, scores = whole.loss_curve_, whole.validation_scores_
    whole.set_params(warm_start=True, max_iter=2)
    whole.loss_curve_, whole.validation_scores_ = make(losses), make(scores)
    whole.fit(X_reg, y_reg)
    assert type(whole.loss_curve_) is type(whole.validation_scores_) is list
    assert whole.loss_curve_[:-2] == losses[: SETTINGS["max_iter"]]
    assert len(whole.validation_scores_) == SETTINGS["max_iter"] + 2


def test_fault_68_a_plain_pickle_is_as_small_as_before_and_older_ones_load():
    whole = MLPClassifier(**SETTINGS).fit(X_iris, y_iris)
    state = whole.__getstate__()
    assert "_fastbp_model" not in state
    assert state["loss_curve_"] == whole.loss_curve_
    again = MLPClassifier.__new__(MLPClassifier)
    again.__setstate__({**state, "loss_curve_": np.array(whole.loss_curve_)})
    assert type(again.loss_curve_) is list
    assert type(copy.copy(whole).loss_curve_) is list
    over = GetsClassifier(**SETTINGS).fit(X_iris, y_iris)
    over.loss_curve_ = whole.loss_curve_ = []
    assert len(pickle.dumps(over)) < len(pickle.dumps(whole)) + 500     # it has the weights only once


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_fault_68_the_dict_itself_can_be_copied_and_pickled(case, dtype):
    ours, _, X, y = both(case, activation=["tanh", "relu"] if case == "one target" else "tanh")
    if case == "one target":
        ours = MLPRegressor(**{**SETTINGS, "activation": ["tanh", "relu"], "loss": "huber"})
    ours.fit(X.astype(dtype), y)
    for copied in (copy.deepcopy(vars(ours)), pickle.loads(pickle.dumps(vars(ours)))):
        model, own = copied["_fastbp_model"], ours._model_of_weights()
        assert type(model) is Model
        assert model.net.theta.tobytes() == own.net.theta.tobytes()
        assert model.net.theta.dtype == dtype
        assert model.functions == own.functions
        assert not np.shares_memory(model.net.theta, own.net.theta)
        twin = type(ours).__new__(type(ours))
        vars(twin).update(copied)
        np.testing.assert_array_equal(twin.predict(X), ours.predict(X))
        before = weights(ours).copy()
        twin.partial_fit(X, y)
        np.testing.assert_array_equal(weights(ours), before)
        assert not np.array_equal(weights(twin), before)


# ---------------------------------------------------------------- 68: what _init_coef sees


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("case", ["three classes", "two classes", "several labels", "one target"])
def test_fault_68_init_coef_sees_the_layers_drawn_so_far(case, solver):
    found = []
    for estimator in both(case)[:2]:
        seen = []

        def _init_coef(self, fan_in, fan_out, dtype, seen=seen):
            layer = len(self.coefs_)
            seen.append((layer, len(self.intercepts_), self.n_iter_, self.t_, self.n_outputs_, self.n_layers_,
                         self.out_activation_, [W.shape for W in self.coefs_], [b.shape for b in self.intercepts_]))
            W, b = self._random_state.normal(0, 0.1, (fan_in, fan_out)), np.full(fan_out, 0.01)
            if layer:       # depends on the layer below, and writes into it
                W[0] = self.coefs_[-1].sum() / fan_out
                self.coefs_[-1][0] *= 2
                self.intercepts_[layer - 1] += 0.5
            return W.astype(dtype), b.astype(dtype)

        own = type("Own", (type(estimator),), {"_init_coef": _init_coef})(**SETTINGS, solver=solver)
        for _ in range(2):      # the second fit does not see the first one's layers
            own.fit(*CASES[case][1:])
        found.append((weights(own), seen))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6, atol=1e-8)
    assert found[0][1] == found[1][1]
    assert [each[:4] for each in found[0][1]] == [(layer, layer, 0, 0) for layer in range(3)] * 2


def test_fault_68_init_coef_may_replace_earlier_layers():
    def _init_coef(self, fan_in, fan_out, dtype):
        if self.coefs_:
            self.coefs_[-1] = np.full_like(self.coefs_[-1], 0.125)
            self.intercepts_ = [b / 2 for b in self.intercepts_]
        return np.full((fan_in, fan_out), 0.25, dtype), np.full(fan_out, 1.0, dtype)

    steps = {"solver": "sgd", "learning_rate_init": 1e-300, "max_iter": 1}
    found = [weights(type("Own", (module.MLPRegressor,), {"_init_coef": _init_coef})(**{**SETTINGS, **steps}).fit(
        X_reg, y_reg)) for module in MODULES]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("write", "words"), [
    (lambda e: e.coefs_.append(np.zeros((7, 5))), r"coefs_ must have an array for each of the 3 layers.*it has 5"),
    (lambda e: e.intercepts_.__setitem__(0, np.zeros(3)), r"intercepts_\[0\], set in Own._init_coef, .* shape \(7,\)"),
    (lambda e: e.coefs_.__setitem__(0, np.full((4, 7), np.nan)), r"coefs_\[0\], set in .* must hold finite numbers"),
])
def test_fault_68_what_init_coef_leaves_in_other_layers_is_checked(write, words):
    class Own(MLPRegressor):
        def _init_coef(self, fan_in, fan_out, dtype):
            if self.coefs_:
                write(self)
            return np.zeros((fan_in, fan_out)), np.zeros(fan_out)

    own = Own(**SETTINGS)
    before = dict(vars(own))
    with pytest.raises(ValueError, match=words):
        own.fit(X_reg, y_reg)
    assert vars(own) == before
