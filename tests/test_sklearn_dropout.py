"""Dropout and clipping of the estimators."""

import pickle
import warnings

import numpy as np
import pytest
from test_sklearn_engine import X_iris, X_reg, weights, y_iris, y_reg

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402

import fastbp  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_dropout_is_that_of_the_trainer(cls):
    e = cls(hidden_layer_sizes=(9, 7), dropout=(0.2, 0.5), batch_size=150, max_iter=1, shuffle=False, alpha=0.0,
            random_state=0).fit(X_iris, y_iris)
    start = cls(hidden_layer_sizes=(9, 7), random_state=0, solver="sgd", learning_rate_init=1e-300, max_iter=1)
    start.fit(X_iris, y_iris)
    net = start._model_of_weights().net.copy()
    trainer = fastbp.Trainer(net, fastbp.Adam(1e-3, epsilon_hat=True), dropout=(0.2, 0.5), seed=e._optimizer.seed)
    J = trainer.epoch(X_iris, y_iris, batch_size=None)
    np.testing.assert_array_equal(net.theta, e._fastbp_model.net.theta)
    assert e.loss_ == J
    plain = clone(e).set_params(dropout=0.0).fit(X_iris, y_iris)
    assert e.loss_ != plain.loss_


def test_dropout_drops_nothing_in_predictions_and_is_repeatable():
    one, two = (MLPClassifier((30,), dropout=0.5, max_iter=60, learning_rate_init=0.01, random_state=s)
                .fit(X_iris, y_iris) for s in (0, 0))
    np.testing.assert_array_equal(weights(one), weights(two))
    np.testing.assert_array_equal(one.predict_proba(X_iris), one.predict_proba(X_iris))
    assert one.score(X_iris, y_iris) > 0.93


def test_masks_go_on_after_pickling():
    one = MLPRegressor(hidden_layer_sizes=(9,), dropout=0.3, random_state=0, max_iter=3).fit(X_reg, y_reg)
    two = pickle.loads(pickle.dumps(one))
    for e in (one, two):
        for at in range(0, 100, 20):
            e.partial_fit(X_reg[at : at + 20], y_reg[at : at + 20])
        for i in range(5):
            e.partial_fit(X_reg[i : i + 1], y_reg[i : i + 1])
    np.testing.assert_array_equal(weights(one), weights(two))


# clipping


@pytest.mark.parametrize("rows", [1, 20])
def test_clipping_bounds_the_step(rows):
    e = MLPRegressor(solver="sgd", momentum=0.0, learning_rate_init=0.1, clip_norm=1e-3, random_state=0)
    e.partial_fit(X_reg[:20], y_reg[:20])
    for at in range(0, 100, rows):
        before = weights(e)
        e.partial_fit(X_reg[at : at + rows], y_reg[at : at + rows])
        assert np.linalg.norm(weights(e) - before) <= 1e-4 * (1 + 1e-9)
    e.set_params(clip_norm=None)
    before = weights(e)
    e.partial_fit(X_reg[:rows], y_reg[:rows])
    assert np.linalg.norm(weights(e) - before) > 1e-3


def test_clipping_saves_a_training_that_would_diverge():
    parameters = {"solver": "sgd", "learning_rate_init": 0.1, "max_iter": 20, "random_state": 0}
    with pytest.raises(ValueError, match="diverged"):
        MLPRegressor(**parameters).fit(X_reg, 1e6 * y_reg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert np.isfinite(MLPRegressor(**parameters, clip_norm=1.0).fit(X_reg, 1e6 * y_reg).loss_)
