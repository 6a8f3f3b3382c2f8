"""A table with every kind of column, and estimators fitted to it."""

import functools

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")
pd = pytest.importorskip("pandas")

from fastbp.tabular import TabularClassifier, TabularRegressor  # noqa: E402

ESTIMATORS = [TabularClassifier, TabularRegressor]


def table(m=300, seed=0):
    """A table with every kind of column, and a number that depends on them"""
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({
        "x": rng.normal(size=m), "u": rng.random(m), "town": rng.choice(["a", "b", "c"], m),
        "flag": rng.random(m) < 0.5, "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, m), "D"),
    })
    z = 2 * df["x"] + 3 * (df["town"] == "a") - df["flag"] + np.sin(6 * df["u"]) + 0.1 * rng.normal(size=m)
    df.loc[::7, "u"] = np.nan
    return df, z.to_numpy()


def target(cls, z):
    return z if cls is TabularRegressor else np.where(z > 1, "high", "low")


@functools.cache
def fitted(cls, **settings):
    X, z = table()
    settings = {"n_estimators": 3, "epochs": 20, "random_state": 0, **settings}
    return cls(**settings).fit(X, target(cls, z))


def answer(estimator, X):
    return estimator.predict_proba(X) if isinstance(estimator, TabularClassifier) else estimator.predict(X)
