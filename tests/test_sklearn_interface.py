"""The interface is scikit-learn's: parameters, defaults, allowed values, attributes, methods."""

import inspect
import signal
import threading
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

import scipy.sparse as sp  # noqa: E402
from sklearn import neural_network  # noqa: E402
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression  # noqa: E402
from sklearn.utils._param_validation import InvalidParameterError  # noqa: E402

import fastbp.sklearn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NAMES = ["MLPClassifier", "MLPRegressor"]
X_iris, y_iris = load_iris(return_X_y=True)
X_reg, y_reg = make_regression(100, 5, random_state=0)
X_labels, y_labels = make_multilabel_classification(120, random_state=0)


def both(name):
    return getattr(fastbp.sklearn, name), getattr(neural_network, name)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_its_own_and_the_others_keyword_only(name):
    own, theirs = (inspect.signature(cls).parameters for cls in both(name))
    for parameter in theirs.values():
        assert (own[parameter.name].kind, own[parameter.name].default) == (parameter.kind, parameter.default)
    positional = [p.name for p in own.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [p.name for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert {p.name for p in own.values()} >= set(both(name)[1]().get_params())


@pytest.mark.parametrize("name", NAMES)
def test_methods_take_its_arguments_in_its_order(name):
    own, theirs = both(name)
    for method in ("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "score"):
        if not hasattr(theirs, method):
            assert not hasattr(own, method)
            continue
        expected = list(inspect.signature(getattr(theirs(), method)).parameters)
        found = inspect.signature(getattr(own(), method)).parameters
        assert list(found)[: len(expected)] == expected
        assert all(p.kind is p.KEYWORD_ONLY for p in list(found.values())[len(expected) :])
    for absent in ("decision_function", "transform"):
        assert not hasattr(own(), absent)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_fitted_has_its_names_and_types(name, solver, early_stopping):
    X, y = (X_iris, y_iris) if name == "MLPClassifier" else (X_reg, y_reg)
    parameters = {"solver": solver, "early_stopping": early_stopping, "max_iter": 3, "random_state": 0}
    own, theirs = (cls(hidden_layer_sizes=(5, 4), **parameters).fit(X, y) for cls in both(name))
    public = {a for a in vars(theirs) if a.endswith("_") and not a.startswith("_")}
    assert public <= set(vars(own))
    for attribute in public:
        ours, other = getattr(own, attribute), getattr(theirs, attribute)
        assert isinstance(ours, (type(other), int, float)), attribute
        if isinstance(other, list) and other and isinstance(other[0], np.ndarray):
            assert [(a.shape, a.dtype) for a in ours] == [(a.shape, a.dtype) for a in other], attribute


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("hidden_layer_sizes", "a"), ("activation", "sin"), ("solver", "newton"), ("alpha", -1), ("batch_size", 0),
     ("batch_size", "all"), ("learning_rate", "cosine"), ("learning_rate_init", 0), ("power_t", -0.1), ("max_iter", 0),
     ("shuffle", "yes"), ("random_state", -1), ("tol", -1), ("verbose", "yes"), ("warm_start", "yes"),
     ("momentum", 1.1), ("nesterovs_momentum", "yes"), ("early_stopping", "yes"), ("validation_fraction", 1.0),
     ("beta_1", 1.0), ("beta_1", -0.1), ("beta_2", -0.1), ("beta_2", 1.0), ("epsilon", 0), ("n_iter_no_change", 0),
     ("n_iter_no_change", 2.5), ("max_fun", 0)],
)
@pytest.mark.parametrize("name", NAMES)
def test_values_that_it_refuses_are_refused(name, parameter, value):
    X, y = (X_iris, y_iris) if name == "MLPClassifier" else (X_reg, y_reg)
    for cls in both(name):
        with pytest.raises(InvalidParameterError, match=f"The '{parameter}' parameter of {name} must be"):
            cls(**{parameter: value}).fit(X, y)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("n_threads", 0), ("n_threads", 1.5), ("curve_length", 0), ("curve_length", 2.5),
     ("class_weight", "even"), ("init", "zeros"), ("scoring", 3),
     ("dropout", -0.1), ("clip_norm", -1.0)],
)
def test_values_of_what_is_added_are_checked_alike(parameter, value):
    with pytest.raises(InvalidParameterError, match=f"The '{parameter}' parameter of MLPClassifier must be"):
        fastbp.sklearn.MLPClassifier(**{parameter: value}).fit(X_iris, y_iris)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array, sp.csc_array])
def test_several_labels_may_be_sparse(kind, early_stopping):
    parameters = {"hidden_layer_sizes": 9, "max_iter": 5, "early_stopping": early_stopping, "random_state": 0}
    dense = fastbp.sklearn.MLPClassifier(**parameters).fit(X_labels, y_labels)
    sparse = fastbp.sklearn.MLPClassifier(**parameters).fit(X_labels, kind(y_labels))
    np.testing.assert_array_equal(sparse.coefs_[0], dense.coefs_[0])
    np.testing.assert_array_equal(sparse.predict(X_labels), dense.predict(X_labels))


def test_class_weights_of_several_labels_are_those_of_scikit_learn():
    from sklearn.utils import compute_sample_weight

    by_label = [{0: 1.0, 1: 2.0 + k} for k in range(y_labels.shape[1])]
    parameters = {"hidden_layer_sizes": 9, "max_iter": 5, "random_state": 0}
    for class_weight in (by_label, "balanced"):
        weighted = fastbp.sklearn.MLPClassifier(class_weight=class_weight, **parameters).fit(X_labels, y_labels)
        by_sample = fastbp.sklearn.MLPClassifier(**parameters).fit(
            X_labels, y_labels, sample_weight=compute_sample_weight(class_weight, y_labels)
        )
        np.testing.assert_array_equal(weighted.coefs_[0], by_sample.coefs_[0])


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system sends no signal to a thread")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_ctrl_c_keeps_the_model(solver, early_stopping):
    X, y = np.random.RandomState(0).randn(4000, 30), np.random.RandomState(1).randn(4000)
    estimator = fastbp.sklearn.MLPRegressor(
        hidden_layer_sizes=(100, 100), solver=solver, early_stopping=early_stopping, max_iter=10**6, max_fun=10**6,
        tol=0, n_iter_no_change=10**6, random_state=0, n_threads=1,
    )
    timer = threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator.fit(X, y)
    timer.join()
    assert np.isfinite(estimator.predict(X)).all()
    assert estimator.loss_ > 0
    if solver != "lbfgs":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.set_params(early_stopping=False).partial_fit(X, y)
