"""TabularClassifier with several targets: each is learned as if it were the only one."""

import json
import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")
pd = pytest.importorskip("pandas")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import KFold, cross_val_score  # noqa: E402
from sklearn.multioutput import MultiOutputClassifier  # noqa: E402
from tables import table  # noqa: E402

import fastbp  # noqa: E402
from fastbp import container  # noqa: E402
from fastbp.files import estimator as files  # noqa: E402
from fastbp.tabular import TabularClassifier  # noqa: E402

SETTINGS = {"n_estimators": 2, "epochs": 3, "random_state": 0}


def problem(m=60):
    X, z = table(m)
    return X, pd.DataFrame({"high": z > 1, "place": np.where(z > 2, "top", "low"), "third": np.arange(m) % 3})


@pytest.fixture(scope="module")
def fitted():
    X, Y = problem()
    return TabularClassifier(**SETTINGS).fit(X, Y)


def test_each_target_is_learned_as_if_it_were_alone(fitted):
    X, Y = problem()
    for k, name in enumerate(Y):
        alone = TabularClassifier(**SETTINGS).fit(X, Y[name])
        assert np.array_equal(fitted.predict_proba(X)[k], alone.predict_proba(X))
        assert fitted.predict(X)[:, k].tolist() == alone.predict(X).tolist()
        assert fitted.classes_[k].tolist() == alone.classes_.tolist()
        assert fitted.temperature_[k] == alone.temperature_ == fitted.estimators_[k].temperature_
        assert np.array_equal(fitted.validation_probabilities_[k], alone.validation_probabilities_)
        assert fitted.networks_[2 * k].layer_sizes == alone.networks_[0].layer_sizes
        assert fitted.best_epochs_[2 * k : 2 * k + 2] == alone.best_epochs_
    assert fitted.n_outputs_ == len(fitted.estimators_) == 3
    assert fitted.validation_score_ == pytest.approx(np.mean([e.validation_score_ for e in fitted.estimators_]))
    assert fitted.feature_names_in_.tolist() == list(X)
    same = MultiOutputClassifier(TabularClassifier(**SETTINGS)).fit(X, Y[["third"]].assign(again=Y["third"]))
    assert np.array_equal(same.predict_proba(X)[1], fitted.predict_proba(X)[2])


def test_labels_keep_their_kinds_side_by_side(fitted):
    X, Y = problem()
    assert (clone(fitted).fit(X, Y.to_numpy(object)).predict(X) == fitted.predict(X)).all()
    assert {type(label) for label in fitted.predict(X)[:, 1]} == {str}
    assert {type(label) for label in fitted.predict(X)[:, 2]} == {int}
    numbers = Y[["third"]].assign(wide=Y["third"] * 10).to_numpy()
    for given in (numbers, numbers.tolist()):
        assert TabularClassifier(**SETTINGS).fit(X, given).predict(X).dtype.kind == "i"


def test_a_table_of_polars_names_the_targets_too(fitted):
    pl = pytest.importorskip("polars")
    X, Y = problem()
    again = clone(fitted).fit(X, pl.DataFrame({name: Y[name].tolist() for name in Y}))
    assert (again.predict(X) == fitted.predict(X)).all()


def test_the_score_is_the_part_of_the_rows_whose_labels_are_all_right(fitted):
    X, Y = problem()
    right = (fitted.predict(X) == Y.to_numpy(object)).all(axis=1)
    assert fitted.score(X, Y) == right.mean()
    w = np.arange(60.0)
    assert fitted.score(X, Y, w) == pytest.approx((w * right).sum() / w.sum())
    with pytest.raises(ValueError, match=r"y must have the shape \(60, 3\); got \(60,\)"):
        fitted.score(X, Y["high"])
    assert np.isfinite(cross_val_score(clone(fitted), X, Y[["high"]].assign(other=~Y["high"]), cv=2)).all()


def test_an_iterator_of_splits_serves_all_targets():
    X, Y = problem()
    given = TabularClassifier(**SETTINGS).fit(X, Y, cv=KFold(2).split(X))
    same = TabularClassifier(**SETTINGS).fit(X, Y, cv=KFold(2), sample_weight=np.ones(60))
    assert len(given.networks_) == 6
    assert np.array_equal(given.predict_proba(X)[2], same.predict_proba(X)[2])


def test_a_pickle_a_file_and_another_fit(fitted, tmp_path):
    X, Y = problem()
    fastbp.save(tmp_path / "a", fitted)
    for other in (pickle.loads(pickle.dumps(fitted)), fastbp.load(tmp_path / "a")):
        assert all(np.array_equal(p, q) for p, q in zip(other.predict_proba(X), fitted.predict_proba(X), strict=True))
        assert other.best_epochs_ == fitted.best_epochs_
        assert other.validation_score_ == fitted.validation_score_
        assert other.feature_names_in_.tolist() == list(X)
    single = fastbp.load(tmp_path / "a").fit(X, Y["third"])
    assert single.predict_proba(X).shape == (60, 3)
    assert single.n_outputs_ == 1
    assert not hasattr(single, "estimators_")
    assert not hasattr(single.fit(X, Y), "preparation_")


@pytest.mark.parametrize(("y", "error", "message"), [
    ([[1, 0], [0, None], [1, 1]], ValueError, "Input y contains NaN"), (np.ones((3, 2, 2)), ValueError, "dim 3"),
    ([[1.5, 0], [0.5, 0], [1, 1]], ValueError, "Unknown label type"), ([[1, 0], [0, 1]], ValueError, "inconsistent"),
])
def test_bad_targets_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        TabularClassifier().fit([[1], [2], [3]], y)


FORGERIES = {
    "several is 1": lambda kept: kept.update(several=1),
    "at least two": lambda kept: kept.update(several=kept["several"][:1]),
    "several targets must have": lambda kept: kept["several"].pop(),
    "must have the fields several": lambda kept: kept.update(more=1),
    "TabularClassifier": lambda kept: kept["several"].__setitem__(0, {"dict": {"several": []}}),
    "best_epochs": lambda kept: kept["several"][0]["dict"].update(best_epochs=3),
    "list indices|indices must be|not subscriptable": lambda kept: kept["several"].__setitem__(0, []),
    "None|must have the fields|string": lambda kept: kept["several"].__setitem__(1, None),
}


@pytest.mark.parametrize("message", FORGERIES)
def test_fault_43_a_forged_file_of_several_targets_is_refused(message, tmp_path):
    X, Y = problem()
    fastbp.save(tmp_path / "a", TabularClassifier(2, epochs=1).fit(X[["x"]], Y))
    arrays, meta = container.read(tmp_path / "a")
    described = json.loads(arrays[files.TEXT].tobytes())
    FORGERIES[message](described["kept"]["dict"])
    text = json.dumps(described)
    arrays = {name: a for name, a in arrays.items() if name.startswith("network") or f'"{name}"' in text}
    container.write(tmp_path / "a", {**arrays, files.TEXT: np.frombuffer(text.encode(), np.uint8)}, meta)
    with pytest.raises(fastbp.FormatError, match=message):
        fastbp.load(tmp_path / "a")
