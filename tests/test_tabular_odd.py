"""TabularClassifier and TabularRegressor: odd tables, labels and targets of every kind."""

import datetime

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")
pd = pytest.importorskip("pandas")

from tables import ESTIMATORS, answer, fitted, table, target  # noqa: E402

from fastbp.tabular import TabularClassifier, TabularRegressor  # noqa: E402

# ---------------------------------------------------------------- odd tables and targets


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("m", [1, 2, 3, 20])
def test_tiny_tables(cls, m):
    X, z = table(m)
    y = target(cls, z)
    model = cls(random_state=0, epochs=3).fit(X, y)
    assert np.isfinite(answer(model, X)).all()
    assert model.predict(X).shape == (m,)
    if m == 1:
        assert model.predict(X)[0] == y[0]


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("n_estimators", [1, 2, 8, 17])
def test_any_number_of_networks(cls, n_estimators):
    X, z = table(40)
    model = cls(n_estimators, epochs=1, random_state=0).fit(X, target(cls, z))
    assert len(model.networks_) == len(model.best_epochs_) == n_estimators
    assert np.isfinite(model.validation_score_)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_table_that_tells_nothing(cls):
    X, y = pd.DataFrame({"a": [1] * 12, "b": ["x"] * 12}), target(cls, np.arange(12.0) % 4)
    model = cls(2, epochs=3, random_state=0).fit(X, y)
    assert len(np.unique(answer(model, X), axis=0)) == 1


def test_a_single_class():
    X, _ = table(20)
    clf = TabularClassifier(random_state=0).fit(X, ["only"] * 20)
    assert clf.predict(X).tolist() == ["only"] * 20
    assert (clf.predict_proba(X) == 1).all()
    assert clf.networks_ == []
    with pytest.raises(ValueError, match="yet now missing:\n- x"):
        clf.predict(X.drop(columns="x"))


@pytest.mark.parametrize("labels", [
    np.array([3, 7], object), np.array([False, True], object), np.array([0.0, 2.0], object), ["no", "yes"], [3, 7],
    [False, True], [-1.0, 1.0], [10**12, 10**12 + 1], np.array(["a", "b"], object),
])
def test_every_kind_of_label_comes_back(labels):
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.asarray(labels)[(X[:, 0] > 0).astype(int)]
    for given in (y, y.tolist(), pd.Series(y), pd.Series(y).astype("category")):
        clf = TabularClassifier(2, random_state=0).fit(X, given)
        assert clf.classes_.tolist() == sorted(np.asarray(labels).tolist())
        assert np.mean(clf.predict(X) == y) > 0.8


@pytest.mark.parametrize(("y", "error", "message"), [
    ([1.5, 2.5, 3.5], ValueError, "Unknown label type"), ([1, 2, np.nan], ValueError, "Input y contains NaN"),
    (["a", None, "b"], ValueError, "Input y contains NaN"), (["a", 1, "b"], TypeError, "labels that can be sorted"),
    (None, ValueError, "requires y to be passed"),
    ([2**70, 1, 1], TypeError, f"y holds {2**70} .int.; accepted are labels that are all strings"),
    ([datetime.date(2024, 1, day) for day in (1, 2, 1)], TypeError, "date.; accepted are labels"),
])
def test_bad_labels_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        TabularClassifier().fit([[1], [2], [3]], np.array(y, object) if y and "a" in y else y)


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1.0, 1e12, 1e100])
def test_targets_of_any_size(scale):
    X, z = table(200)
    model = TabularRegressor(2, random_state=0, epochs=30).fit(X, scale * (z + 5))
    plain = TabularRegressor(2, random_state=0, epochs=30).fit(X, z + 5)
    assert np.allclose(model.predict(X) / scale, plain.predict(X), rtol=1e-3)
    assert model.validation_score_ == pytest.approx(plain.validation_score_, abs=1e-3)
    ends = model.predict_interval(X)
    assert (ends[:, 0] < ends[:, 1]).all()
    with pytest.raises(ValueError, match=r"y has numbers up to 1e\+200; accepted are up to 1e\+150"):
        TabularRegressor().fit([[1], [2]], [1e200, 0])


def test_predictions_stay_in_the_range_of_the_targets():
    X, z = table(200)
    model = fitted(TabularRegressor)
    wild = X.assign(x=1e6 * X["x"])
    assert model.predict(wild).min() >= z.min() - 10
    assert model.predict(wild).max() <= table()[1].max()
    constant = TabularRegressor(2, epochs=2).fit(X, np.full(200, 7.25))
    assert (constant.predict(X) == 7.25).all()


def test_several_targets():
    X, z = table(300)
    Y = np.stack([z, 1e6 * X["x"]], axis=1)
    model = TabularRegressor(2, random_state=0).fit(X, Y)
    assert model.predict(X).shape == (300, 2)
    assert model.score(X, Y) > 0.9
    assert model.predict_interval(X).shape == (300, 2, 2)
    assert model.validation_predictions_.shape == (300, 2)


@pytest.mark.parametrize("bad", [0.0, 1.0, -1, 2, np.nan, "a"])
def test_a_bad_coverage_is_refused(bad):
    with pytest.raises((ValueError, TypeError), match="coverage"):
        fitted(TabularRegressor).predict_interval(table()[0], bad)


def test_intervals_grow_with_their_coverage_and_are_infinite_beyond_what_the_rows_tell():
    model, X = fitted(TabularRegressor), table()[0]
    narrow, wide = model.predict_interval(X, 0.5), model.predict_interval(X, 0.95)
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert (wide[:, 1] > narrow[:, 1]).all()
    assert np.isinf(model.predict_interval(X, 0.9999)).all()


@pytest.mark.parametrize(("y", "error", "message"), [
    (["a", "b", "c"], ValueError, "y must hold numbers; could not convert string to float: .*'a'.*TabularClassifier"),
    (pd.to_datetime(["2020-01-01", None, "2021-01-01"]), TypeError, "y holds dates"),
    (pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01", "2021-02-01"], utc=True)), TypeError, "y holds dates"),
    (pd.to_timedelta([1, 2, 3], "D"), TypeError, "y holds dates or durations"),
    (np.array(["2020-01-01"] * 3, "M8[D]").astype(object), TypeError, "y holds dates"),
    ([1.0, np.nan, 2.0], ValueError, "Input y contains NaN"), ([1.0, np.inf, 2.0], ValueError, "Input y contains inf"),
])
def test_targets_that_are_no_numbers_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        TabularRegressor().fit([[1], [2], [3]], y)


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize(("groups", "error", "message"), [
    (["a", None, "b"], ValueError, r"groups\[1\] is missing"),
    ([1.0, 1.0, np.nan], ValueError, r"groups\[2\] is missing"),
    (["a", 1, "b"], TypeError, "groups must be all numbers or all strings"),
    (np.ones((3, 2)), ValueError, r"groups must be 1-D, .*\(3, 2\)"),
])
def test_bad_groups_are_refused(cls, groups, error, message):
    with pytest.raises(error, match=message):
        cls().fit([[1], [2], [3]], [0, 1, 0], groups=np.array(groups, object) if type(groups) is list else groups)
