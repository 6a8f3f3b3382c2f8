"""Early stopping of the estimators: losses that R^2 does not measure, scores that are no numbers."""

import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402

from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (1500, 2))
y = X[:, 0] + RNG.standard_normal(1500) * (1 + X[:, 1] / 2)
X_iris, y_iris = load_iris(return_X_y=True)
SHORT = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 12, "early_stopping": True}


def weights(estimator):
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])


# ---------------------------------------------------------------- 62: losses that are not R^2's


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("q", [0.05, 0.5, 0.95])
def test_fault_62_a_quantile_stopped_early_covers_its_share(q, weighted):
    estimator = MLPRegressor("quantile", (20,), quantile=q, early_stopping=True, learning_rate_init=0.005, max_iter=400,
                             random_state=0, n_iter_no_change=20)
    w = np.ones(1500) if weighted else None
    assert np.mean(y < estimator.fit(X, y, sample_weight=w).predict(X)) == pytest.approx(q, abs=0.02)


@pytest.mark.parametrize("loss", ["quantile", "absolute_error", "huber", "squared_error", "poisson"])
def test_fault_62_without_scoring_the_losses_that_are_added_are_the_score(loss):
    target = np.exp(y / 4) if loss == "poisson" else y
    none = MLPRegressor(loss, **SHORT).fit(X, target)
    by_loss, by_r2 = (clone(none).set_params(scoring=scoring).fit(X, target) for scoring in ("loss", "r2"))
    same = by_r2 if loss in ("squared_error", "poisson") else by_loss
    assert none.validation_scores_ == pytest.approx(same.validation_scores_)
    np.testing.assert_array_equal(weights(none), weights(same))
    if same is by_loss:
        assert none.validation_scores_ == [-value for value in none.validation_loss_curve_]
        assert none.best_validation_score_ == max(none.validation_scores_)
    looked_at = clone(none).set_params(early_stopping=False).fit(X, target, X_val=X[:50], y_val=target[:50])
    assert (looked_at.validation_scores_ == [-value for value in looked_at.validation_loss_curve_]) == (same is by_loss)
    assert none.score(X, target) == pytest.approx(by_loss.score(X, target), abs=1)      # R^2, as ever


def test_fault_62_outliers_do_not_stop_an_absolute_error():
    """a few targets of 1e3 among those held out: their squares would decide"""
    far = y.copy()
    far[::97] += 1e3
    estimator = MLPRegressor("absolute_error", (20,), early_stopping=True, learning_rate_init=0.01, max_iter=200,
                             random_state=0).fit(X, far)
    assert np.median(np.abs(estimator.predict(X) - far)) < 0.8


# ---------------------------------------------------------------- 63: scores that are no numbers


def constant(value):
    def odd_score(estimator, X, y):
        return value

    return odd_score


def same_without_stopping(estimator, *data, **more):
    """The weights of as many epochs that nothing is compared in"""
    return clone(estimator).set_params(early_stopping=False, scoring=None).fit(*data, **more)


@pytest.mark.parametrize("schedule", ["constant", "adaptive"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_fault_63_a_score_that_is_no_number_keeps_the_last_weights_and_is_named(value, schedule):
    estimator = MLPRegressor(**SHORT, scoring=constant(value), solver="sgd", learning_rate=schedule, n_iter_no_change=2)
    held = {"X_val": X[:50], "y_val": y[:50]}
    words = "could not compare 12 of 12 epochs: scoring='odd_score' .* was NaN or infinite.*those of the last epoch"
    with pytest.warns(UserWarning, match=words):
        estimator.fit(X, y, **held)
    assert estimator.n_iter_ == len(estimator.validation_scores_) == 12
    assert estimator._optimizer.learning_rate == 0.001      # did not sink
    assert estimator._no_improvement_count == 0
    blind = clone(estimator).set_params(scoring=constant(0.5), n_iter_no_change=100)
    blind.set_params(early_stopping=False).fit(X, y, **held)
    np.testing.assert_array_equal(weights(estimator), weights(blind))
    np.testing.assert_array_equal(np.vstack(estimator._best_coefs[0]), estimator.coefs_[0])


def test_fault_63_the_auc_of_one_class_and_r2_of_one_row():
    classifier = MLPClassifier(**{**SHORT, "scoring": "roc_auc"})
    one_class = X_iris[:100], y_iris[:100]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(*one_class, X_val=X_iris[:9], y_val=y_iris[:9])
    assert [str(w.message) for w in caught if "could not compare 12 of 12 epochs: scoring='roc_auc'" in str(w.message)]
    np.testing.assert_array_equal(weights(classifier), weights(same_without_stopping(classifier, *one_class)))
    regressor = MLPRegressor(**SHORT)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        regressor.fit(X, y, X_val=X[:1], y_val=y[:1])
    assert [w for w in caught if r"12 of 12 epochs: R^2 (scoring=None)" in str(w.message)]
    assert not [w for w in caught if "diverged" in str(w.message)]
    np.testing.assert_array_equal(weights(regressor), weights(same_without_stopping(regressor, X, y)))


@pytest.mark.parametrize(("cls", "parameters", "name"), [
    (MLPClassifier, {}, r"the accuracy \(scoring=None\)"), (MLPRegressor, {}, r"R\^2 \(scoring=None\)"),
    (MLPRegressor, {"loss": "huber"}, "the loss 'huber'"),
    (MLPRegressor, {"scoring": "loss"}, "the loss 'squared_error'"),
])
def test_fault_63_held_out_rows_beyond_all_numbers_are_no_divergence(cls, parameters, name):
    """h of these rows overflows; the training itself is as ever"""
    data = (X_iris, y_iris) if cls is MLPClassifier else (X, y)
    estimator = cls(**SHORT, **parameters, activation="identity")
    with pytest.warns(UserWarning, match=f"could not compare 12 of 12 epochs: {name}"), np.errstate(all="ignore"):
        estimator.fit(*data, X_val=np.full_like(data[0], 1.7e308), y_val=data[1])
    np.testing.assert_array_equal(weights(estimator), weights(same_without_stopping(estimator, *data)))


def test_fault_63_where_some_scores_are_numbers_the_best_of_them_counts():
    values = iter([-np.inf, 0.25, np.nan, 0.75, 0.5, np.inf, *[np.nan] * 100])
    seen = []
    estimator = MLPRegressor(**SHORT, scoring=lambda *_: next(values), callbacks=lambda e: seen.append(weights(e)))
    with pytest.warns(UserWarning, match=r"could not compare 9 of 12 epochs: .*those of the best remaining epoch"):
        estimator.fit(X, y)
    assert estimator.best_validation_score_ == 0.75
    np.testing.assert_array_equal(weights(estimator), seen[3])


def test_fault_63_a_warm_start_keeps_its_own_training():
    """the best score of an earlier fit is not compared with what cannot be"""
    estimator = MLPRegressor(**SHORT, warm_start=True).fit(X, y)
    before = weights(estimator)
    estimator.set_params(scoring=constant(np.nan))
    with pytest.warns(UserWarning, match="12 of 12 epochs"):
        estimator.fit(X, y)
    assert np.abs(weights(estimator) - before).max() > 1e-3


class FirstOnly:
    """A score of the first epoch, NaN of the others"""

    def __init__(self, first):
        self.first = first

    def __repr__(self):
        return f"FirstOnly({self.first})"

    def __call__(self, estimator, X, y):
        return self.first if estimator.n_iter_ == 1 else np.nan


@pytest.mark.parametrize("length", [None, 2])
@pytest.mark.parametrize("first", [np.nan, 0.5])
def test_fault_63_a_resumed_fit_ends_with_the_same_weights(first, length, tmp_path):
    class Killed(Exception):
        pass

    def kill(estimator):
        if estimator.n_iter_ == 5:
            raise Killed

    estimator = MLPRegressor(**SHORT, scoring=FirstOnly(first), curve_length=length)
    kept = "of the last epoch" if np.isnan(first) else "of the best remaining epoch"
    with pytest.warns(UserWarning, match=f"could not compare 1[12] of 12 epochs: .*{kept}"):
        whole = clone(estimator).fit(X, y)
    with pytest.raises(Killed):
        clone(estimator).set_params(callbacks=kill).fit(X, y, checkpoint=tmp_path / "fit")
    for _ in ("killed", "finished"):
        with pytest.warns(UserWarning, match=f"could not compare .*: scoring='?FirstOnly.*{kept}"):
            resumed = clone(estimator).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
        np.testing.assert_array_equal(weights(resumed), weights(whole))


def test_fault_63_what_has_diverged_is_still_called_so():
    estimator = MLPRegressor(**{**SHORT, "max_iter": 300}, activation="identity", solver="sgd", learning_rate_init=1e3)
    with pytest.warns(ConvergenceWarning, match="Training diverged in epoch") as caught, np.errstate(all="ignore"):
        estimator.fit(1e200 * X, y)
    assert not [w for w in caught if "could not compare" in str(w.message)]
    assert np.isfinite(weights(estimator)).all()
