"""Losses, dropout and clipping of the engine in the estimators, held against scikit-learn where it has the same."""

import pickle
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris, make_regression  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.linear_model import HuberRegressor, QuantileRegressor  # noqa: E402

import fastbp  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_iris = (X_iris - X_iris.mean(axis=0)) / X_iris.std(axis=0)
X_reg, y_reg = make_regression(300, 4, noise=20, random_state=0)
y_reg = y_reg / y_reg.std()
y_reg[::17] += 8.0
LOSSES = {
    "squared_error": lambda e: e**2 / 2,
    "absolute_error": np.abs,
    "huber": lambda e: np.where(np.abs(e) <= 0.3, e**2 / 2, 0.3 * (np.abs(e) - 0.15)),
    "quantile": lambda e: np.maximum(-0.8 * e, 0.2 * e),
}
PARAMETERS = {"huber": {"huber_delta": 0.3}, "quantile": {"quantile": 0.8}}


def weights(estimator):
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])


def regressor(loss, **parameters):
    return MLPRegressor(loss, (9,), random_state=0, **PARAMETERS.get(loss, {}), **parameters)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_loss_is_the_mean_cost_and_the_penalty(solver, loss, weighted):
    """loss_curve_ is that before each step: with all examples in one batch that of the epoch before"""
    seen = []
    w = np.random.RandomState(0).randint(0, 3, 300) / 2 if weighted else np.ones(300)

    def look(e):
        penalty = e.alpha / 2 / w.sum() * sum((W**2).sum() for W in e.coefs_)
        seen.append(np.average(LOSSES[loss](e.predict(X_reg) - y_reg), weights=w) + penalty)

    e = regressor(loss, solver=solver, alpha=3.0, batch_size=300, max_iter=6, callbacks=look)
    e.fit(X_reg, y_reg, sample_weight=w if weighted else None)
    if solver == "lbfgs":
        assert e.loss_ == pytest.approx(seen[-1], rel=1e-10)
        assert seen[-1] < seen[0]
    else:
        np.testing.assert_allclose(e.loss_curve_[1:], seen[:-1], rtol=1e-10)
        assert e.loss_curve_[-1] < e.loss_curve_[0]


def test_absolute_error_of_several_targets_is_their_sum():
    Y = np.column_stack([y_reg, -y_reg])
    seen = []
    e = regressor("absolute_error", alpha=0.0, batch_size=300, max_iter=3)
    e.set_params(callbacks=lambda e: seen.append(np.abs(e.predict(X_reg) - Y).sum(axis=1).mean())).fit(X_reg, Y)
    np.testing.assert_allclose(e.loss_curve_[1:], seen[:-1], rtol=1e-10)


def test_huber_without_hidden_layer_is_its_huber_regressor():
    # scikit-learn's minimises over the scale too: at its scale the coefficients are ours with delta = epsilon scale
    theirs = HuberRegressor(alpha=0.0, tol=1e-8, max_iter=1000).fit(X_reg, y_reg)
    ours = MLPRegressor("huber", (), solver="lbfgs", alpha=0.0, huber_delta=theirs.epsilon * theirs.scale_, tol=1e-9,
                        random_state=0, max_iter=1000).fit(X_reg, y_reg)
    np.testing.assert_allclose(ours.coefs_[0].ravel(), theirs.coef_, atol=1e-4)
    assert ours.intercepts_[0][0] == pytest.approx(theirs.intercept_, abs=1e-4)


@pytest.mark.parametrize(("loss", "q"), [("quantile", 0.8), ("quantile", 0.2), ("absolute_error", 0.5)])
def test_quantiles_without_hidden_layer_are_those_of_its_quantile_regressor(loss, q):
    theirs = QuantileRegressor(quantile=q, alpha=0.0).fit(X_reg, y_reg)
    ours = MLPRegressor(loss, (), alpha=0.0, quantile=q, learning_rate_init=0.05, max_iter=400, tol=0, random_state=0)
    for rate in (0.05, 0.005, 0.0005):
        ours.set_params(learning_rate_init=rate, warm_start=True).fit(X_reg, y_reg)

    def pinball(h):
        return np.maximum(q * (y_reg - h), (q - 1) * (y_reg - h)).mean()

    assert pinball(ours.predict(X_reg)) == pytest.approx(pinball(theirs.predict(X_reg)), rel=1e-3)
    assert np.mean(y_reg <= ours.predict(X_reg)) == pytest.approx(q, abs=0.03)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"loss": "hinge"}, "'loss' parameter"), ({"loss": "huber", "huber_delta": 0}, "'huber_delta' parameter"),
     ({"loss": "quantile", "quantile": 1.0}, "'quantile' parameter"), ({"dropout": 1.0}, "'dropout' parameter"),
     ({"clip_norm": 0}, "'clip_norm' parameter"), ({"dropout": [0.1, 0.2]}, "dropout has 2 rates"),
     ({"dropout": 0.1, "solver": "lbfgs"}, "solver='lbfgs' has no steps for dropout and clip_norm; got dropout=0.1"),
     ({"clip_norm": 1.0, "solver": "lbfgs"}, "solver='lbfgs' has no steps")],
)
def test_what_cannot_be_is_refused(parameters, words):
    with pytest.raises(ValueError, match=words):
        MLPRegressor(**parameters).fit(X_reg, y_reg)


# dropout


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_dropout_is_that_of_the_trainer(cls):
    e = cls(hidden_layer_sizes=(9, 7), dropout=(0.2, 0.5), batch_size=150, max_iter=1, shuffle=False, alpha=0.0,
            random_state=0).fit(X_iris, y_iris)
    start = cls(hidden_layer_sizes=(9, 7), random_state=0, solver="sgd", learning_rate_init=1e-300, max_iter=1)
    start.fit(X_iris, y_iris)
    net = start._model_of_weights().net.copy()
    trainer = fastbp.Trainer(net, fastbp.Adam(1e-3, epsilon_hat=True), dropout=(0.2, 0.5), seed=e._optimizer.seed)
    J = trainer.epoch(X_iris, y_iris, batch_size=None)
    np.testing.assert_array_equal(net.theta, e._model.net.theta)
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
