"""The estimators train to scikit-learn's weights: the same start, order, steps, losses and stopping."""

import warnings
from itertools import pairwise

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn import neural_network  # noqa: E402
from sklearn.datasets import (  # noqa: E402
    load_digits,
    load_iris,
    make_classification,
    make_multilabel_classification,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.preprocessing import scale  # noqa: E402
from sklearn.utils import shuffle  # noqa: E402

import fastbp.sklearn  # noqa: E402

TOLERANCE = 1e-8
digits, iris = load_digits(n_class=4), load_iris()
X_1, y_1 = make_regression(210, 10, noise=10, random_state=7)
X_3, y_3 = make_regression(210, 10, n_targets=3, noise=10, random_state=7)
counts = np.random.RandomState(0).poisson(np.exp(0.3 * X_1[:, 0])).astype(float)
DATA = {
    "three classes": ("MLPClassifier", scale(iris.data), np.array([3, 5, 9])[iris.target], {}),
    "digits": ("MLPClassifier", digits.data / 16, digits.target, {}),
    "two classes": ("MLPClassifier", *make_classification(303, 20, random_state=0), {}),
    "several labels": ("MLPClassifier", *make_multilabel_classification(210, random_state=0), {}),
    "one target": ("MLPRegressor", X_1, scale(y_1), {}),
    "three targets": ("MLPRegressor", X_3, scale(y_3), {}),
    "counts": ("MLPRegressor", 0.3 * X_1, counts, {"loss": "poisson"}),
}
VARIANTS = {
    "early stopping": {"early_stopping": True},
    "invscaling": {"learning_rate": "invscaling", "batch_size": 32, "power_t": 0.3},
    "adaptive": {"learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 2},
    "unshuffled, short last batch": {"shuffle": False, "batch_size": 60},
    "momentum": {"nesterovs_momentum": False, "momentum": 0.5, "beta_1": 0.8, "epsilon": 1e-3},
    "no momentum": {"momentum": 0.0, "alpha": 0.1},
    "no hidden layer": {"hidden_layer_sizes": ()},
}


def both(data, weights=None, **parameters):
    name, X, y, more = DATA[data]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [
            getattr(module, name)(**{"hidden_layer_sizes": (12, 7), "random_state": 3, **more, **parameters}).fit(
                X, y, sample_weight=weights
            )
            for module in (fastbp.sklearn, neural_network)
        ]


def assert_same_training(ours, theirs):
    for own, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert own.shape == other.shape
        assert np.abs(own - other).max() < TOLERANCE
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_", "best_loss_", "best_validation_score_", "loss_curve_", "validation_scores_"):
        if getattr(theirs, name, None) is None:
            assert getattr(ours, name, None) is None, name
        else:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-8, err_msg=name)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_fifty_epochs_end_at_the_same_weights(solver, data, activation):
    assert_same_training(*both(data, solver=solver, activation=activation, max_iter=50, learning_rate_init=0.005))


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("data", DATA)
def test_ten_iterations_of_lbfgs_end_at_the_same_weights(data, activation):
    assert_same_training(*both(data, solver="lbfgs", activation=activation, max_iter=10))


@pytest.mark.parametrize("data", ["three classes", "one target", "counts"])
def test_lbfgs_ends_at_the_same_loss(data):
    ours, theirs = both(data, solver="lbfgs", activation="tanh", max_iter=3000, alpha=10.0, tol=1e-6)
    assert abs(ours.loss_ - theirs.loss_) < 1e-6


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_every_setting_means_the_same(solver, data, variant):
    assert_same_training(*both(data, solver=solver, max_iter=20, **VARIANTS[variant]))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weights_of_examples_mean_the_same(solver, data):
    w = np.random.RandomState(1).randint(1, 5, len(DATA[data][1])) / 2
    assert_same_training(*both(data, w, solver=solver, max_iter=10, batch_size=50))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_fault_36_partial_fit_and_warm_start_go_on_alike(solver, data):
    X, y = DATA[data][1:3]
    ours, theirs = both(data, solver=solver, max_iter=3, warm_start=True)
    for estimator in (ours, theirs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.set_params(max_iter=4).fit(X, y)
        estimator.set_params(warm_start=False)
        for at, end in pairwise(range(0, 180, 30)):
            estimator.partial_fit(X[at:end], y[at:end])
        for i in range(5):
            estimator.partial_fit(X[i : i + 1], y[i : i + 1])
    assert_same_training(ours, theirs)


def test_order_is_that_of_its_shuffle():
    random_state, order = np.random.RandomState(5), np.arange(50)
    places = np.arange(50)
    random_state.shuffle(places)
    np.testing.assert_array_equal(order[places], shuffle(order, random_state=np.random.RandomState(5)))


def test_same_predictions():
    for data in DATA:
        ours, theirs = both(data, max_iter=5)
        X = DATA[data][1]
        np.testing.assert_allclose(ours.predict(X[:20]), theirs.predict(X[:20])) if "class" not in data else (
            np.testing.assert_array_equal(ours.predict(X[:20]), theirs.predict(X[:20]))
        )
        if hasattr(theirs, "predict_proba"):
            np.testing.assert_allclose(ours.predict_proba(X[:20]), theirs.predict_proba(X[:20]))
