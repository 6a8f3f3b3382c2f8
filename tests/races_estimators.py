"""Calls that read fitted estimators, tables and error bars, for the finder of races (races.py)."""

import copy
import pickle
import random
from functools import cache

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.inspection import permutation_importance

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor
from fastbp.tabular import TabularClassifier, TabularPreparation, TabularRegressor

M = 60
KINDS = ["classes", "yes and no", "labels", "numbers", "two numbers"]


def table(seed=0, m=M):
    """A DataFrame with numbers, missing values, words and dates"""
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal(m)
    numbers[::9] = np.nan
    return pd.DataFrame({
        "number": numbers, "whole": rng.integers(0, 9, m), "word": rng.choice(["a", "b", "c"], m),
        "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 999, m), unit="D"),
    })


@cache
def examples(kind):
    """X (M, 5) and y"""
    rng = np.random.default_rng(KINDS.index(kind))
    X = rng.standard_normal((M, 5))
    return X, {
        "classes": np.array(["a", "b", "c"])[rng.integers(0, 3, M)], "yes and no": rng.integers(0, 2, M),
        "labels": rng.integers(0, 2, (M, 3)), "numbers": X @ np.arange(5.0), "two numbers": X[:, :2] + X[:, 2:4],
    }[kind]


@cache
def fitted(name):
    """The pickle of a fitted estimator; it does not contain what the estimator makes at first use"""
    X, y = examples(name) if name in KINDS else (None, None)
    T = table()
    words, numbers = np.array(["no", "yes"])[np.arange(M) % 2], np.arange(M) % 7 - 0.5
    if name == "TabularClassifier":
        own = TabularClassifier(2, epochs=3, random_state=0, n_threads=1).fit(T, words)
    elif name == "TabularRegressor":
        own = TabularRegressor(2, epochs=3, random_state=0, n_threads=1).fit(T, numbers)
    elif name == "TabularPreparation":
        own = TabularPreparation().fit(T)
    else:
        cls = MLPRegressor if "number" in name else MLPClassifier
        own = cls(hidden_layer_sizes=(9, 4), max_iter=4, n_iter_no_change=9, random_state=0, tol=0).fit(X, y)
    return pickle.dumps(own)


class Estimators:
    """Fitted estimators and the calls that read them, drawn with a seed."""

    def __init__(self, seed, folder):
        draw = random.Random(seed)
        self.seed, self.folder = seed, folder
        self.kind = draw.choice(KINDS)
        self.X, self.y = examples(self.kind)
        self.estimator, self.table = pickle.loads(fitted(self.kind)), table()
        self.classifier, self.regressor, self.preparation = (
            pickle.loads(fitted(name)) for name in ("TabularClassifier", "TabularRegressor", "TabularPreparation"))
        output = draw.choice(["identity", "softmax"])
        net = fastbp.Network([5, 4, 2], output=output, seed=seed)
        self.net = fastbp.Network([5, 4, 1], output="sigmoid" if self.kind in KINDS[:3] else "identity", seed=seed)
        self.targets = self.X[:, :2] if output == "identity" else np.arange(M) % 2
        self.laplace = fastbp.Laplace(net, self.X, self.targets, weight_decay=0.1)
        for each, own in {"estimator": self.estimator, "classifier": self.classifier, "regressor": self.regressor,
                          "preparation": self.preparation, "laplace": self.laplace}.items():
            if each != "laplace":
                fastbp.save(self.path(each), own)
        self.laplace.save(self.path("laplace"))

    def path(self, name):
        return self.folder / f"{self.seed}.{name}.fastbp"

    def reads(self):
        """{name: a function without arguments}"""
        return self.of_networks() | self.of_tables() | self.error_bars() | self.dear()

    def of_networks(self):
        own, X, y = self.estimator, self.X, self.y
        found = {
            "estimator: predict": lambda: own.predict(X),
            "estimator: predict a row": lambda: own.predict(X[:1]),
            "estimator: predict a list": lambda: own.predict(X[:3].tolist()),
            "estimator: score": lambda: own.score(X, y),
            "estimator: input gradient": lambda: own.input_gradient(X[:5]),
            "estimator: network": lambda: own.network_.theta,
            "estimator: weights": lambda: (own.coefs_, own.intercepts_, own.loss_curve_),
            "estimator: shown": lambda: (repr(own), sorted(map(repr, own.get_params().items()))),
            "estimator: copies": lambda: [twin.predict(X[:4]) for twin in (
                pickle.loads(pickle.dumps(own)), copy.deepcopy(own))],
            "estimator: around a network": lambda: (
                type(own).from_network(self.net, [0, 1]) if isinstance(own, MLPClassifier)
                else type(own).from_network(self.net)).predict(X),
            "estimator: loaded": lambda: fastbp.load(self.path("estimator")).predict(X),
        }
        if isinstance(own, MLPClassifier):
            found |= {"estimator: probabilities": lambda: own.predict_proba(X),
                      "estimator: logarithms": lambda: own.predict_log_proba(X)}
        return found

    def of_tables(self):
        T, classifier, regressor, preparation = self.table, self.classifier, self.regressor, self.preparation
        words = np.array(["no", "yes"])[np.arange(M) % 2]
        return {
            "table: classes": lambda: classifier.predict(T),
            "table: probabilities": lambda: classifier.predict_proba(T),
            "table: score": lambda: (classifier.score(T, words), regressor.score(T, np.arange(M) % 7)),
            "table: numbers": lambda: regressor.predict(T),
            "table: intervals": lambda: regressor.predict_interval(T, 0.8),
            "table: features": lambda: preparation.transform(T),
            "table: names": lambda: (preparation.get_feature_names_out(), preparation.summary(),
                                     preparation.is_bin_, repr(preparation), repr(classifier), repr(regressor)),
            "table: loaded": lambda: (fastbp.load(self.path("classifier")).predict_proba(T),
                                      fastbp.load(self.path("regressor")).predict(T),
                                      fastbp.load(self.path("preparation")).transform(T)),
        }

    def error_bars(self):
        laplace, X = self.laplace, self.X
        return {
            "error bars": lambda: laplace.predict(X),
            "error bars of a row": lambda: laplace.predict(X[0], n_threads=2),
            "functions": lambda: laplace.sample(X[:9], 3, seed=0),
            "error bars: shown": lambda: (repr(laplace), laplace.sigma, laplace.gamma, laplace.log_evidence),
            "error bars: loaded": lambda: fastbp.Laplace.load(self.path("laplace")).predict(X),
        }

    def dear(self):
        """Calls that take longer: files, fits of separate estimators"""
        machine = {"dear: this machine": lambda: sorted(fastbp.selftest())} if self.seed % 24 == 3 else {}   # a second
        return machine | {
            "dear: estimator saved": self.saved,
            "dear: importance": lambda: permutation_importance(
                self.estimator, self.X, self.y, n_repeats=2, random_state=0)["importances"],
            "dear: fitted": lambda: clone(self.estimator).fit(self.X, self.y).predict(self.X),
            "dear: one epoch more": lambda: copy.deepcopy(self.estimator).partial_fit(self.X, self.y).loss_curve_,
            "dear: table fitted": lambda: clone(self.classifier).fit(
                self.table, np.arange(M) % 3).predict_proba(self.table),
            "dear: numbers of a table fitted": lambda: clone(self.regressor).fit(
                self.table, np.arange(M) % 7).predict(self.table),
            "dear: features fitted": lambda: (clone(self.preparation).fit_transform(self.table),
                                              clone(self.preparation).fit(self.table).transform(self.table)),
            "dear: error bars made": lambda: fastbp.Laplace(
                self.laplace.net, self.X, self.targets, weight_decay=None).predict(self.X),
        }

    def saved(self):
        """Several threads write the same files, then read them"""
        paths = self.path("saved"), self.path("laplace saved")
        fastbp.save(paths[0], self.estimator)
        self.laplace.save(paths[1])
        return fastbp.load(paths[0]).predict(self.X), fastbp.load(paths[1]).predict(self.X)
