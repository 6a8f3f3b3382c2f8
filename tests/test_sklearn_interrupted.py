"""Fits that are interrupted or have not converged: what is kept, and what is said."""

import warnings

import numpy as np
import pytest
from test_sklearn_estimators import X_iris, X_reg, weights, y_iris, y_reg

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn.exceptions import ConvergenceWarning  # noqa: E402

from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_fault_9_interrupted_the_model_is_kept(solver):
    def interrupt(estimator):
        if estimator.n_iter_ == 3:
            raise KeyboardInterrupt

    estimator = MLPRegressor(hidden_layer_sizes=9, solver=solver, callbacks=interrupt, random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator.fit(X_reg, y_reg)
    assert estimator.n_iter_ == 3
    same = MLPRegressor(hidden_layer_sizes=9, solver=solver, max_iter=3, random_state=0).fit(X_reg, y_reg)
    np.testing.assert_array_equal(weights(estimator), weights(same))


def test_fault_9_lbfgs_interrupted_keeps_the_best_so_far():
    def interrupt(estimator):
        if estimator.n_iter_ == 4:
            raise KeyboardInterrupt

    estimator = MLPRegressor(hidden_layer_sizes=9, solver="lbfgs", callbacks=interrupt, random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator.fit(X_reg, y_reg)
    first = MLPRegressor(hidden_layer_sizes=9, solver="lbfgs", max_iter=1, random_state=0).fit(X_reg, y_reg)
    assert estimator.loss_ < first.loss_


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_filters_by_the_module_scikit_learn_go_on_to_work(solver):
    """Calls as in scikit-learn's gallery and in users' scripts"""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
        MLPRegressor(hidden_layer_sizes=9, solver=solver, max_iter=2, random_state=0).fit(X_reg, y_reg)
        MLPClassifier(9, activation="identity", solver="sgd", learning_rate_init=1e200, early_stopping=True,
                      random_state=0).fit(X_iris, y_iris)


def test_lbfgs_that_has_not_converged_says_what_scikit_learn_says():
    from sklearn import neural_network

    words = []
    for cls in (MLPRegressor, neural_network.MLPRegressor):
        with pytest.warns(ConvergenceWarning) as caught:
            cls(hidden_layer_sizes=9, solver="lbfgs", max_iter=2, random_state=0).fit(X_reg, y_reg)
        words.append(str(caught[0].message))
    assert words[0] == words[1]


def test_counts_below_zero_are_refused():
    with pytest.raises(ValueError, match=r"loss='poisson' needs y >= 0; y\[3\] is -0.5"):
        MLPRegressor("poisson", max_iter=2).fit(X_reg, np.where(np.arange(len(X_reg)) == 3, -0.5, 1.0))


# dtypes, threads, sparse
