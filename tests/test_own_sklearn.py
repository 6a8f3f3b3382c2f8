"""The caller's own losses in the estimators."""

import pickle

import numpy as np
import pytest
from own_losses import built_in, focal, gaussian_nll, label_smoothing, log_cosh
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import cross_val_score

from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = make_regression(n_samples=150, n_features=5, random_state=0)
y = y / 50
X_two, y_two = make_classification(n_samples=150, random_state=0)
X_three, y_three = load_iris(return_X_y=True)


def squared(z, Y, w):
    return built_in("identity", "squared_error")(z, Y, w)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("weights", [False, True])
def test_the_built_in_losses_as_functions_fit_the_same_weights(solver, weights):
    w = np.random.default_rng(0).uniform(0.5, 2, 150) if weights else None
    how = {"hidden_layer_sizes": (6,), "solver": solver, "max_iter": 15, "random_state": 0, "activation": "tanh"}
    cases = [(MLPRegressor, X, y, squared), (MLPClassifier, X_two, y_two, built_in("sigmoid", "cross_entropy")),
             (MLPClassifier, X_three, np.array(["a", "b", "c"])[y_three], softmax_of_labels)]
    for kind, inputs, target, loss in cases:
        theirs, ours = (kind(**how, **more).fit(inputs, target, w) for more in ({}, {"loss": loss}))
        for a, b in zip(theirs.coefs_, ours.coefs_, strict=True):
            assert np.abs(a - b).max() < 1e-8
        assert ours.loss_ == pytest.approx(theirs.loss_)
        assert ours.score(inputs, target) == pytest.approx(theirs.score(inputs, target), rel=1e-12)
        if kind is MLPClassifier:
            assert np.abs(ours.predict_proba(inputs) - theirs.predict_proba(inputs)).max() < 1e-7
        if solver != "lbfgs":
            ours.partial_fit(inputs[:1], target[:1])


def softmax_of_labels(z, Y, w):
    assert Y.dtype == np.int64
    assert Y.ndim == 1
    return built_in("softmax", "cross_entropy")(z, np.eye(3)[Y], w)


def test_foreign_losses_score_and_predict_as_their_output_does():
    reg = MLPRegressor(log_cosh, (20,), random_state=0, max_iter=500, learning_rate_init=0.01).fit(X, y)
    assert reg.score(X, y) == r2_score(y, reg.predict(X)) > 0.9
    two = MLPClassifier((10,), loss=focal, random_state=0, max_iter=500).fit(X_two, y_two)
    three = MLPClassifier((10,), loss=label_smoothing, random_state=0, max_iter=900).fit(X_three, y_three)
    for clf, inputs, target in ((two, X_two, y_two), (three, X_three, y_three)):
        assert clf.score(inputs, target) == accuracy_score(target, clf.predict(inputs)) > 0.9
        assert np.allclose(clf.predict_proba(inputs).sum(axis=1), 1)
        assert np.allclose(np.exp(clf.predict_log_proba(inputs)), clf.predict_proba(inputs))
    assert cross_val_score(clone(three).set_params(max_iter=50), X_three, y_three, cv=3, n_jobs=2).shape == (3,)


@pytest.mark.parametrize(("kind", "inputs", "target", "loss"), [
    (MLPRegressor, X, y, log_cosh), (MLPClassifier, X_two, y_two, focal)])
def test_early_stopping_goes_by_minus_the_loss_unless_scoring_says_otherwise(kind, inputs, target, loss):
    how = {"loss": loss, "hidden_layer_sizes": (6,), "early_stopping": True, "random_state": 0, "max_iter": 30}
    by_loss = kind(**how).fit(inputs, target)
    assert by_loss.validation_scores_ == [-value for value in by_loss.validation_loss_curve_]
    by_score = kind(**how, scoring="r2" if kind is MLPRegressor else "accuracy").fit(inputs, target)
    assert by_score.validation_scores_ != [-value for value in by_score.validation_loss_curve_]


def test_pickles_clones_and_checkpoints(tmp_path):
    reg = MLPRegressor(log_cosh, (6,), random_state=0, max_iter=10)
    whole = clone(reg).fit(X, y)
    twin = pickle.loads(pickle.dumps(whole))
    assert twin.loss is log_cosh
    assert (twin.predict(X) == whole.predict(X)).all()
    clone(reg).set_params(max_iter=4).fit(X, y, checkpoint=tmp_path / "fit")
    resumed = clone(reg).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
    assert (resumed.coefs_[0] == whole.coefs_[0]).all()
    with pytest.raises(ValueError, match="loss"):
        clone(reg).set_params(loss=squared).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
    with pytest.raises(ValueError, match="no importable name"):
        clone(reg).set_params(loss=lambda z, Y, w: log_cosh(z, Y, w)).fit(X, y, checkpoint=tmp_path / "new")


@pytest.mark.parametrize("loss", ["hinge", 3, None, (16,), (), dict])
def test_fault_79_other_losses_are_refused(loss):
    for kind, inputs, target in ((MLPRegressor, X, y), (MLPClassifier, X_two, y_two)):
        with pytest.raises(ValueError, match="The 'loss' parameter"):
            kind(loss=loss).fit(inputs, target)


def test_a_wrong_answer_leaves_the_estimator():
    reg = MLPRegressor(lambda z, Y, w: (z, z), (6,), random_state=0)
    with pytest.raises(ValueError, match="the costs must have shape"):
        reg.fit(X, y)
    with pytest.raises(ValueError, match=r"slopes dcost_dz must have shape \(150, 1\)|index 1 is out of bounds"):
        MLPRegressor(lambda z, Y, w: gaussian_nll(np.hstack([z, z]), Y[:, 0], w), batch_size=150).fit(X, y)
