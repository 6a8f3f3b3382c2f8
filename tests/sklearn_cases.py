"""Small data for both estimators, and fastbp's and scikit-learn's class side by side."""

import numpy as np
from sklearn import neural_network
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression

import fastbp.sklearn

X_iris, y_iris = load_iris(return_X_y=True)
X_iris = (X_iris - X_iris.mean(axis=0)) / X_iris.std(axis=0)
X_reg, y_reg = make_regression(150, 4, noise=5, random_state=0)
y_reg = y_reg / y_reg.std()
X_labels, y_labels = make_multilabel_classification(120, random_state=0)
CASES = {
    "three classes": ("MLPClassifier", X_iris, y_iris),
    "two classes": ("MLPClassifier", X_iris[:100], y_iris[:100]),
    "several labels": ("MLPClassifier", X_labels, y_labels),
    "one target": ("MLPRegressor", X_reg, y_reg),
    "three targets": ("MLPRegressor", X_reg, np.column_stack([y_reg, -y_reg, y_reg**2])),
}
SETTINGS = {"hidden_layer_sizes": (7, 5), "random_state": 0, "max_iter": 10}


def weights(estimator):
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])


def both(case, **parameters):
    """fastbp's and scikit-learn's, unfitted, and the data"""
    name, X, y = CASES[case]
    estimators = [getattr(module, name)(**{**SETTINGS, **parameters}) for module in (fastbp.sklearn, neural_network)]
    return *estimators, X, y
