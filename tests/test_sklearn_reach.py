"""The estimators inside scikit-learn's tools: searches, pipelines, calibration, inspection, processes, routing."""

import subprocess
import sys

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

import joblib  # noqa: E402
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.compose import TransformedTargetRegressor  # noqa: E402
from sklearn.datasets import load_iris, make_regression  # noqa: E402
from sklearn.ensemble import AdaBoostClassifier, BaggingRegressor, StackingClassifier, VotingClassifier  # noqa: E402
from sklearn.inspection import DecisionBoundaryDisplay, partial_dependence, permutation_importance  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import (  # noqa: E402
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier  # noqa: E402
from sklearn.multioutput import MultiOutputRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fastbp.sklearn import MLPClassifier, MLPRegressor, stochastic  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_reg, y_reg = make_regression(150, 5, n_informative=2, random_state=0, shuffle=False)
y_reg = y_reg / y_reg.std()
CLASSIFIER = MLPClassifier(8, solver="lbfgs", max_iter=40, alpha=1.0, random_state=0)
REGRESSOR = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", max_iter=60, random_state=0)


def weights(estimator):
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])


def test_it_is_what_it_says():
    assert is_classifier(CLASSIFIER)
    assert is_regressor(REGRESSOR)


def test_pipeline_and_searches():
    pipeline = make_pipeline(StandardScaler(), CLASSIFIER)
    grid = {"mlpclassifier__alpha": [0.1, 1.0], "mlpclassifier__hidden_layer_sizes": [(4,), (8, 4)]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X_iris, y_iris)
    assert search.best_score_ > 0.93
    assert search.best_estimator_[-1].coefs_[0].shape[0] == 4
    sampled = RandomizedSearchCV(pipeline, grid, n_iter=2, cv=3, random_state=0, scoring="neg_log_loss")
    assert sampled.fit(X_iris, y_iris).best_score_ > -0.3


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fault_3_jobs_give_the_bits_of_one(backend):
    search = GridSearchCV(CLASSIFIER, {"alpha": [0.1, 1.0]}, cv=3)
    one = clone(search).fit(X_iris, y_iris)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        two = clone(search).fit(X_iris, y_iris)
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(weights(one.best_estimator_), weights(two.best_estimator_))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fault_4_jobs_do_not_start_threads_beside_each_other(backend):
    assert stochastic.allowed_threads(None) is None
    with joblib.parallel_config(backend=backend, n_jobs=2):
        granted = joblib.Parallel()(joblib.delayed(stochastic.allowed_threads)(n) for n in (None, None, 3))
    assert granted == [max(1, joblib.cpu_count() // 2) if backend == "loky" else 1] * 2 + [3]


def test_fault_16_one_estimator_predicts_in_several_threads():
    estimator = clone(CLASSIFIER).fit(X_iris, y_iris)
    expected = estimator.predict_proba(X_iris)
    found = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(lambda i: (i, estimator.predict_proba(X_iris[i : i + 1])))(i % 150) for i in range(600)
    )
    for i, h in found:
        np.testing.assert_array_equal(h[0], expected[i])


def test_validation_curves_and_predictions():
    assert (cross_val_predict(CLASSIFIER, X_iris, y_iris, cv=3) == y_iris).mean() > 0.93
    proba = cross_val_predict(CLASSIFIER, X_iris, y_iris, cv=3, method="predict_proba")
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert np.mean(cross_validate(REGRESSOR, X_reg, y_reg, cv=3, scoring=["r2"])["test_r2"]) > 0.9
    how = {"cv": 3, "train_sizes": [0.5, 1.0], "shuffle": True, "random_state": 0}
    _, train, test = learning_curve(CLASSIFIER, X_iris, y_iris, **how)
    assert train.shape == test.shape == (2, 3)


@pytest.mark.parametrize("meta", [
    lambda e: CalibratedClassifierCV(e, cv=3), lambda e: VotingClassifier([("a", e), ("b", e)], voting="soft"),
    lambda e: StackingClassifier([("a", e)], LogisticRegression()),
    lambda e: AdaBoostClassifier(
        e.set_params(alpha=1e-3), n_estimators=3     # its weights sum to 1
    ),
    OneVsRestClassifier,
])
def test_meta_estimators_of_classifiers(meta):
    estimator = meta(clone(CLASSIFIER)).fit(X_iris, y_iris)
    assert estimator.score(X_iris, y_iris) > 0.93
    assert estimator.predict_proba(X_iris).shape == (150, 3)


@pytest.mark.parametrize("meta", [
    lambda e: BaggingRegressor(e, n_estimators=3, random_state=0),
    lambda e: TransformedTargetRegressor(e, transformer=StandardScaler()),
])
def test_meta_estimators_of_regressors(meta):
    assert meta(clone(REGRESSOR)).fit(X_reg, y_reg).score(X_reg, y_reg) > 0.9
    two = MultiOutputRegressor(clone(REGRESSOR)).fit(X_reg, np.column_stack([y_reg, -y_reg]))
    assert two.score(X_reg, np.column_stack([y_reg, -y_reg])) > 0.9


def test_inspection():
    estimator = clone(REGRESSOR).fit(X_reg, y_reg)
    importance = permutation_importance(estimator, X_reg, y_reg, random_state=0).importances_mean
    assert importance[:2].min() > 10 * np.abs(importance[2:]).max()
    dependence = partial_dependence(estimator, X_reg, [0], grid_resolution=5)
    assert dependence["average"].shape == (1, 5)
    pytest.importorskip("matplotlib").use("Agg")
    X = X_iris[:, :2]
    DecisionBoundaryDisplay.from_estimator(clone(CLASSIFIER).fit(X, y_iris), X, grid_resolution=9)


def test_cloudpickle_across_processes(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    estimator = MLPClassifier(8, max_iter=5, random_state=0).fit(X_iris, y_iris)
    (tmp_path / "model").write_bytes(cloudpickle.dumps(estimator))
    code = (
        "import pickle, sys; from sklearn.datasets import load_iris; X, y = load_iris(return_X_y=True)\n"
        "e = pickle.load(open(sys.argv[1], 'rb')); e.partial_fit(X, y); print(e.predict_proba(X[:1]).tolist())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    estimator.partial_fit(X_iris, y_iris)
    assert ran.stdout.strip() == str(estimator.predict_proba(X_iris[:1]).tolist())


def test_html_and_text_name_what_was_changed():
    estimator = MLPClassifier(8, alpha=0.5)
    assert repr(estimator) == "MLPClassifier(alpha=0.5, hidden_layer_sizes=8)"
    page = estimator._repr_html_()
    assert "MLPClassifier" in page
    assert "alpha" in page
    assert "MLPRegressor" in make_pipeline(StandardScaler(), REGRESSOR)._repr_html_()


def test_metadata_are_routed():
    w = np.random.RandomState(0).randint(1, 4, len(X_reg)).astype(float)
    estimator = MLPRegressor(hidden_layer_sizes=8, max_iter=5, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = estimator.set_fit_request(sample_weight=True, X_val=True, y_val=True, sample_weight_val=False)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), routed)
        pipeline.fit(X_reg, y_reg, sample_weight=w, X_val=X_reg[:9], y_val=y_reg[:9])
        asked = MLPClassifier().set_partial_fit_request(classes=True, sample_weight=True)
        assert asked.get_metadata_routing().partial_fit.requests == {"classes": True, "sample_weight": True}
    direct = clone(estimator).fit(StandardScaler().fit_transform(X_reg), y_reg, sample_weight=w)
    np.testing.assert_array_equal(weights(pipeline[-1]), weights(direct))
    assert len(pipeline[-1].validation_scores_) == 5


@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_fault_37_frames_keep_their_names(frames):
    library = pytest.importorskip(frames)
    names = [f"x{j}" for j in range(5)]
    X = library.DataFrame({name: X_reg[:, j] for j, name in enumerate(names)})
    if not hasattr(StandardScaler().fit(X), "feature_names_in_"):
        pytest.skip(f"this scikit-learn reads no names of {frames}")
    estimator = clone(REGRESSOR).fit(X, y_reg)
    assert list(estimator.feature_names_in_) == names
    np.testing.assert_array_equal(weights(estimator), weights(clone(REGRESSOR).fit(X_reg, y_reg)))
    np.testing.assert_array_equal(estimator.predict(X)[:3], estimator.predict(X[:3]))
    with pytest.warns(UserWarning, match="X does not have valid feature names, but MLPRegressor was fitted with"):
        estimator.predict(X_reg[:1])
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(X[names[::-1]])
