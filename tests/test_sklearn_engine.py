"""Losses and solvers of the engine in the estimators, held against scikit-learn where it has the same."""

import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris, make_regression  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning  # noqa: E402
from sklearn.linear_model import HuberRegressor, QuantileRegressor  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

import fastbp  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor, inputs, lbfgs, stochastic  # noqa: E402

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


def test_a_column_of_targets_is_taken_as_a_vector_with_a_warning():
    expected = regressor("squared_error", max_iter=2).fit(X_reg, y_reg)
    e = regressor("squared_error", max_iter=2)
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        e.fit(X_reg, y_reg[:, np.newaxis])
    assert (weights(e) == weights(expected)).all()
    assert e.predict(X_reg).shape == y_reg.shape
    c = MLPClassifier(5, random_state=0, max_iter=2)
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        c.fit(X_iris, y_iris[:, np.newaxis])
    assert (weights(c) == weights(MLPClassifier(5, random_state=0, max_iter=2).fit(X_iris, y_iris))).all()


def test_lbfgs_that_converges_says_nothing_and_one_that_does_not_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPRegressor("squared_error", (), solver="lbfgs", random_state=0, max_iter=500).fit(X_reg, y_reg)
    with pytest.warns(ConvergenceWarning, match=r"after 2 iteration\(s\) \(status=1\)"):
        MLPRegressor("squared_error", (9,), solver="lbfgs", random_state=0, max_iter=2).fit(X_reg, y_reg)


def test_early_stopping_counts_epochs_without_progress_and_keeps_the_best_weights():
    scores, seen = iter([0.1, 0.2, 0.3, 0.3, 0.2, 0.3, 0.9]), []
    e = MLPClassifier(5, random_state=0, early_stopping=True, n_iter_no_change=2, tol=0.01, max_iter=20,
                      scoring=lambda *_: next(scores), callbacks=lambda e: seen.append(weights(e)))
    e.fit(X_iris, y_iris)
    assert e.n_iter_ == 6       # the third in a row that is no better
    assert e.validation_scores_ == [0.1, 0.2, 0.3, 0.3, 0.2, 0.3]
    assert e.best_validation_score_ == 0.3
    assert (weights(e) == seen[2]).all()


def test_a_score_that_is_the_loss_is_that_of_its_epoch():
    e = MLPClassifier(5, random_state=0, early_stopping=True, max_iter=4, scoring="loss").fit(X_iris, y_iris)
    assert e.validation_scores_ == [-loss for loss in e.validation_loss_curve_]
    assert len(set(e.validation_scores_)) == 4


@pytest.mark.parametrize("y", [y_iris[:100], np.array(["a", "b"])[y_iris[:100]], y_iris[50:] - 1], ids=str)
def test_two_classes_are_held_out_in_their_shares(y):
    X, held = X_iris[:100], []
    e = MLPClassifier(3, random_state=0, early_stopping=True, max_iter=1, validation_fraction=0.1,
                      scoring=lambda e, X, y: held.append(y) or 0.0)
    rare = np.r_[0:50, 50:70]
    e.fit(X[rare], y[rare])
    _, expected = train_test_split(y[rare], random_state=np.random.RandomState(0), test_size=0.1, stratify=y[rare])
    assert sorted(np.unique(held[0], return_counts=True)[1]) == sorted(np.unique(expected, return_counts=True)[1])


def test_in_a_warm_start_the_classes_stay_the_same_and_held_out_ones_may_be_fewer():
    e = MLPClassifier(5, random_state=0, max_iter=2, warm_start=True).fit(X_iris, y_iris)
    with pytest.raises(ValueError, match="same classes as in the previous call to fit"):
        e.fit(X_iris[:100], y_iris[:100])
    e.fit(X_iris, y_iris, X_val=X_iris[:50], y_val=y_iris[:50])
    with pytest.raises(ValueError, match="classes not in"):
        e.fit(X_iris, y_iris, X_val=X_iris[:50], y_val=y_iris[:50] + 7)


class Counting(fastbp.optimizers.Optimizer):
    """theta := theta - 0.1 D; its state is a list"""

    def init(self, theta):
        return [0]

    def update(self, theta, D, state):
        state[0] += 1
        theta -= 0.1 * D


def test_a_state_that_is_no_dict_goes_on_after_weights_were_assigned():
    e = MLPClassifier(5, solver=Counting(), random_state=0, max_iter=2).fit(X_iris, y_iris)
    assert e._optimizer.state == [2]
    e.coefs_ = [W.copy() for W in e.coefs_]
    e.partial_fit(X_iris, y_iris)
    assert e._optimizer.state == [3]


def test_verbose_says_each_iteration_and_score(capsys):
    e = MLPClassifier(5, random_state=0, max_iter=2, early_stopping=True, verbose=True).fit(X_iris, y_iris)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line for i in range(2) for line in (
        f"Iteration {i + 1}, loss = {e.loss_curve_[i]:.8f}", f"Validation score: {e.validation_scores_[i]:f}")]
    MLPClassifier(5, solver="lbfgs", random_state=0, max_iter=2, verbose=True).fit(X_iris, y_iris)
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["Iteration 1", "Iteration 2"]


@pytest.mark.parametrize("when", [1, 3])
def test_ctrl_c_in_lbfgs_keeps_the_best_so_far(when, monkeypatch):
    calls, real = [], lbfgs.Objective.__call__

    def interrupted(self, theta):
        calls.append(theta)
        if len(calls) == when:
            raise KeyboardInterrupt
        return real(self, theta)

    monkeypatch.setattr(lbfgs.Objective, "__call__", interrupted)
    monkeypatch.setattr(lbfgs.lbfgs.LBFGS, "compile", lambda self, *arguments: None)
    e = MLPClassifier(5, solver="lbfgs", random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        e.fit(X_iris, y_iris)
    assert np.isfinite(weights(e)).all()
    assert hasattr(e, "loss_") == (when > 1)


@pytest.mark.parametrize(("change", "error", "said"), [
    ({"hidden_layer_sizes": [2.5]}, TypeError, "hidden_layer_sizes must hold whole numbers"),
    ({"solver": fastbp.Adam}, (TypeError, ValueError), "solver"), ({"alpha": np.inf}, ValueError, "alpha"),
    ({"class_weight": {0: -1.0}}, ValueError, "class_weight"), ({"init": 3.0}, (TypeError, ValueError), "init"),
    ({"class_weight": {0: np.nan}}, ValueError, "class_weight"),
    ({"alpha": 10**400}, ValueError, "alpha must be less than"),
    ({"init": [[], [], []]}, ValueError, "init must be a name or a pair"),
    ({"init": [[np.full((4, 5), np.nan), np.zeros((5, 3))], [np.zeros(5), np.zeros(3)]]}, ValueError, "finite"),
    ({"init": [[np.zeros((4, 5))], [np.zeros(5)]]}, ValueError, "init must hold arrays of the shapes"),
])
def test_what_no_fit_can_begin_with_is_named(change, error, said):
    with pytest.raises(error, match=said):
        MLPClassifier(**{"hidden_layer_sizes": 5, "random_state": 0, **change}).fit(X_iris, y_iris)


def test_labels_that_cannot_be_sorted_and_early_stopping_of_parts_are_named():
    with pytest.raises((TypeError, ValueError), match=r"labels|strings|unknown"):
        MLPClassifier(5).fit(X_iris, np.array([1, "a", None] * 50, dtype=object))
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        MLPClassifier(5, early_stopping=True).partial_fit(X_iris, y_iris, classes=[0, 1, 2])


def test_too_few_examples_to_hold_out_are_named():
    with pytest.raises(ValueError, match="The validation set is too small"):
        MLPRegressor("squared_error", 3, early_stopping=True).fit(X_reg[:8], y_reg[:8])


def test_weights_assigned_that_fit_no_network_are_named():
    e = MLPClassifier(5, random_state=0, max_iter=1).fit(X_iris, y_iris)
    e.coefs_ = [*e.coefs_, np.zeros((3, 3))]
    with pytest.raises(ValueError, match=r"one array \(k, n\) and one \(n,\) for each layer"):
        e.predict(X_iris)
    e.coefs_ = [e.coefs_[0], np.zeros((4, 3))]
    with pytest.raises(ValueError, match=r"coefs_\[1\] has shape \(4, 3\)"):
        e.predict(X_iris)


def test_only_true_from_a_callback_ends_a_fit():
    for answer, epochs in ((True, 1), (1, 3), (None, 3), ("stop", 3)):
        e = MLPClassifier(5, random_state=0, max_iter=3, callbacks=lambda e, answer=answer: answer)
        assert e.fit(X_iris, y_iris).n_iter_ == epochs


@pytest.mark.parametrize("w", [["a"] * 150, [[1.0]] * 150, [1.0] * 149, [{}] * 150])
def test_weights_that_are_none_are_named(w):
    with pytest.raises((ValueError, TypeError), match=r"(?i)sample.weight"):
        MLPClassifier(5).fit(X_iris, y_iris, sample_weight=w)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_sparse_parts_without_weight_are_left_out_and_tiny_weights_are_weights(solver, monkeypatch):
    X = np.where(np.abs(X_iris) < 0.5, 0, X_iris)
    w = np.repeat([1.0, 0.0, 2.0], 50)
    e = MLPClassifier(5, solver=solver, random_state=0, max_iter=3, batch_size=10, shuffle=False, alpha=0)
    dense = weights(clone(e).fit(X, y_iris, sample_weight=w))
    monkeypatch.setattr(inputs, "DENSE", 10 * X.shape[1] * 8)
    for scale in (1.0, 1e-250):
        found = weights(clone(e).fit(sp.csr_array(X), y_iris, sample_weight=w * scale))
        np.testing.assert_allclose(found, dense, rtol=1e-7, atol=1e-9)


def test_without_joblib_nobody_has_granted_threads(monkeypatch):
    monkeypatch.delitem(sys.modules, "joblib.parallel", raising=False)
    assert stochastic.allowed_threads(None) is None
    assert stochastic.allowed_threads(np.int64(3)) == 3


def test_weights_that_a_callback_leaves_infinite_are_an_error():
    e = MLPClassifier(5, random_state=0, max_iter=1, callbacks=lambda e: e.coefs_[0].fill(np.inf))
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        e.fit(X_iris, y_iris)


def test_a_warm_start_from_wider_weights_keeps_the_best_of_these():
    wide = MLPClassifier(7, random_state=1, max_iter=1).fit(X_iris, y_iris)
    e = MLPClassifier(5, random_state=0, max_iter=2, early_stopping=True, warm_start=True).fit(X_iris, y_iris)
    e.coefs_, e.intercepts_ = ([a.copy() for a in each] for each in (wide.coefs_, wide.intercepts_))
    e.set_params(hidden_layer_sizes=7).fit(X_iris, y_iris)
    assert [W.shape for W in e._best_coefs] == [(4, 7), (7, 3)]
    assert (weights(e) == np.concatenate([a.ravel() for a in e._best_coefs + e._best_intercepts])).all()


def test_a_cell_is_named_where_it_can_be_read():
    assert inputs.first_bad_cell(np.array([[1.0, np.inf]]), "X") == "X[0, 1]"
    assert inputs.first_bad_cell(sp.csr_array(np.array([[0.0, 1.0], [np.nan, 0.0]])), "X") == "X[1, 0]"
    for array in (np.array(["a", None], dtype=object), np.zeros((2, 2)), sp.csr_array(np.eye(2))):
        assert inputs.first_bad_cell(array, "X") is None


@pytest.mark.parametrize("rows", [1, 32])
def test_a_sparse_X_is_dense_by_no_more_rows_than_there_is_room_for(rows, monkeypatch):
    seen = []
    X = sp.csr_array(np.where(np.abs(X_iris) < 0.5, 0, X_iris))
    monkeypatch.setattr(inputs, "DENSE", rows * X.shape[1] * 8)
    real = inputs.Data
    monkeypatch.setattr(inputs, "Data", lambda *given: seen.append(len(given[2])) or real(*given))
    MLPClassifier(5, random_state=0, max_iter=1, batch_size=16).fit(X, y_iris)
    assert max(seen) == max(rows, 16)
    assert sum(seen) == 150


def test_learning_rates_follow_their_schedules():
    e = MLPClassifier(5, random_state=0, max_iter=3).fit(X_iris, y_iris)
    t = e._optimizer.state["t"]
    assert t == 3
    assert e._optimizer.learning_rate == pytest.approx(0.001 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t), rel=1e-14)
    e = MLPClassifier(5, solver="sgd", learning_rate="invscaling", learning_rate_init=0.2, power_t=0.25, random_state=0,
                      max_iter=3).fit(X_iris, y_iris)
    assert e.t_ == 450
    assert e._optimizer.learning_rate == pytest.approx(0.2 / 451**0.25, rel=1e-14)


def test_an_adaptive_learning_rate_falls_to_a_fifth_until_it_is_too_small(capsys):
    e = MLPClassifier(5, solver="sgd", learning_rate="adaptive", learning_rate_init=1e-4, tol=10, n_iter_no_change=1,
                      random_state=0, max_iter=50, verbose=True).fit(X_iris, y_iris)
    assert e.n_iter_ == 9       # the first is progress; then every two: 2e-5, 4e-6, 8e-7, the end
    assert e._optimizer.learning_rate == pytest.approx(8e-7, rel=1e-12)
    assert capsys.readouterr().out.rstrip().endswith("Learning rate too small. Stopping.")


def test_weights_of_held_out_examples_alone_teach_nothing():
    """There is no division by their sum of 0"""
    held = []
    e = MLPClassifier(5, random_state=0, early_stopping=True, max_iter=1, alpha=0,
                      scoring=lambda e, X, y, sample_weight=None: held.append(X) or 0.0)
    start = weights(clone(e).fit(X_iris, y_iris, sample_weight=np.ones(150)))
    assert not (weights(e.fit(X_iris, y_iris)) == 0).all()
    w = (X_iris[:, np.newaxis] == held[0]).all(axis=2).any(axis=1).astype(float)
    assert 0 < w.sum() < 30
    seen = []
    e.set_params(callbacks=lambda e: seen.append(weights(e))).fit(X_iris, y_iris, sample_weight=w)
    assert e.loss_ == 0
    assert not (seen[0] == start).all()


@pytest.mark.parametrize(("parameter", "wrong", "right"), [
    ("alpha", [-1e-9], [0]), ("batch_size", [0], [1]), ("learning_rate_init", [0], [1e-9]), ("power_t", [-0.1], [0]),
    ("max_iter", [0], [1]), ("tol", [-1e-9], [0]), ("momentum", [-0.1, 1.1], [0, 1]),
    ("validation_fraction", [-0.1, 1.0], [0.1, 0.5]), ("beta_1", [-0.5, 1.0], [0, 0.99]),
    ("beta_2", [-0.5, 1.0], [0.5, 0.9999]), ("epsilon", [0], [1e-12]), ("n_iter_no_change", [0], [1, np.inf]),
    ("max_fun", [0], [1]), ("dropout", [-0.1, 1.0], [0, 0.9]), ("clip_norm", [0, -1], [1e-9, None]),
    ("n_threads", [0], [1, None]), ("hidden_layer_sizes", [0, [5, 0]], [1, []]),
])
def test_each_parameter_is_taken_up_to_its_bounds(parameter, wrong, right):
    def fit(value):
        solver = "sgd" if parameter in ("momentum", "power_t") else "adam"
        given = {"max_iter": 1, "random_state": 0, "solver": solver, "hidden_layer_sizes": 3, parameter: value}
        return MLPClassifier(**given).fit(X_iris[:20], y_iris[40:60])

    for value in right:
        assert np.isfinite(weights(fit(value))).all()
    for value in wrong:
        with pytest.raises(ValueError, match=parameter):
            fit(value)


def test_packed_loss_and_gradient_are_each_others_for_several_targets():
    """The loss is also a mean over the targets, the gradient is not"""
    Y = np.column_stack([y_reg, y_reg**2 / 4, -y_reg])
    e = regressor("squared_error", max_iter=1, alpha=0).fit(X_reg, Y)
    packed, step = weights(e), 1e-6 * np.random.RandomState(1).standard_normal(len(weights(e)))
    _, D = e._loss_grad_lbfgs(packed, X_reg, Y, None)
    up, down = (e._loss_grad_lbfgs(packed + sign * step, X_reg, Y, None)[0] for sign in (1, -1))
    assert 3 * (up - down) == pytest.approx(2 * D @ step, rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_loss_is_the_mean_cost_and_the_penalty(solver, loss, weighted):
    """loss_curve_ holds the loss before each step; with all examples in one batch, that after the previous epoch"""
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
