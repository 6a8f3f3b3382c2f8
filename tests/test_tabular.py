"""TabularClassifier and TabularRegressor: any table, any target; the same bits however they fit and predict."""

import contextlib
import pickle
import re
import threading
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")
pd = pytest.importorskip("pandas")

from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.metrics import log_loss  # noqa: E402
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit, cross_validate  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402
from tables import ESTIMATORS, answer, fitted, table, target  # noqa: E402

from fastbp.tabular import TabularClassifier, TabularRegressor  # noqa: E402
from fastbp.tabular import choice as tabular_choice  # noqa: E402
from fastbp.tabular import training as tabular_training  # noqa: E402

EXPECTED = {"check_sample_weight_equivalence_on_dense_data": "folds and batches are drawn at random"}


# ---------------------------------------------------------------- scikit-learn


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_it_passes_the_checks_of_scikit_learn(cls):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(cls(n_estimators=2, n_threads=1), on_fail=None, on_skip=None,
                                expected_failed_checks=EXPECTED)
    assert [c for c in found if c["status"] == "failed"] == []
    assert {c["check_name"] for c in found if c["status"] == "xfail"} <= set(EXPECTED)
    assert len(found) > 50


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_clone_pickle_and_repr(cls):
    estimator, X = fitted(cls), table()[0]
    assert np.array_equal(answer(pickle.loads(pickle.dumps(estimator)), X), answer(estimator, X))
    assert clone(estimator).get_params() == estimator.get_params()
    assert repr(estimator) == f"{cls.__name__}(epochs=20, n_estimators=3, random_state=0)"
    with pytest.raises(NotFittedError):
        clone(estimator).predict(X)
    assert not hasattr(estimator, "partial_fit")


@pytest.mark.parametrize(("name", "value"), [("n_estimators", 0), ("epochs", 0), ("n_threads", 0), ("progress", "yes"),
                                             ("random_state", "a")])
@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_bad_parameter_is_named(cls, name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {cls.__name__}"):
        cls(**{name: value}).fit([[1], [2]], [0, 1])


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_weights_and_groups_are_routed(cls):
    X, z = table(60)
    y, groups = target(cls, z), np.arange(60) // 3
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = cls(2, epochs=3, random_state=0).set_fit_request(sample_weight=True, groups=True)
        estimator.set_score_request(sample_weight=False)
        found = cross_validate(estimator, X, y, cv=GroupKFold(2), return_estimator=True,
                               params={"sample_weight": np.ones(60), "groups": groups})
    assert np.isfinite(found["test_score"]).all()
    alone = cls(2, epochs=3, random_state=0)
    rows = next(iter(GroupKFold(2).split(X, y, groups)))[0]
    alone.fit(X.iloc[rows], y[rows], sample_weight=np.ones(len(rows)), groups=groups[rows])
    assert np.array_equal(answer(alone, X), answer(found["estimator"][0], X))


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_row_has_the_same_bits_in_whatever_batch(cls):
    estimator, X = fitted(cls), table()[0]
    whole = answer(estimator, X)
    for rows in ([5], [3, 299], range(0, 300, 7), range(299, -1, -1), range(17)):
        assert np.array_equal(answer(estimator, X.iloc[list(rows)]), whole[list(rows)])


@pytest.mark.parametrize("n_classes", [3, 9, 40])
def test_a_row_of_many_classes_has_the_same_bits_in_whatever_batch(n_classes):
    X = np.random.default_rng(0).normal(size=(400, 3))
    clf = TabularClassifier(2, epochs=2, random_state=0).fit(X, np.arange(400) % n_classes)
    whole = clf.predict_proba(X)
    assert np.allclose(whole.sum(axis=1), 1)
    for rows in ([0], [1, 2, 3], list(range(50, 90))):
        assert np.array_equal(clf.predict_proba(X[rows]), whole[rows])


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_any_number_of_threads_gives_the_same_bits(cls, monkeypatch):
    monkeypatch.setattr(tabular_training.threads, "cores", lambda: 3)
    X, z = table(150)
    models = [cls(5, epochs=4, random_state=0, n_threads=n).fit(X, target(cls, z)) for n in (1, 2, 4, None)]
    for other in models[1:]:
        assert np.array_equal(answer(models[0], X), answer(other, X))
        assert models[0].best_epochs_ == other.best_epochs_


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_same_seed_gives_the_same_bits_and_another_one_others(cls):
    X, z = table(100)
    y = target(cls, z)
    seeds = [3, 3, np.random.RandomState(3), None, None]
    found = [answer(cls(2, epochs=2, random_state=seed).fit(X, y), X) for seed in seeds]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert not np.array_equal(found[3], found[4])


def test_columns_in_another_order_and_as_polars_give_the_same_bits():
    clf, X = fitted(TabularClassifier), table()[0]
    assert np.array_equal(clf.predict_proba(X[X.columns[::-1]]), clf.predict_proba(X))
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({name: X[name].dt.date.tolist() if name == "day" else X[name].tolist() for name in X})
    assert np.array_equal(clf.predict_proba(frame.with_columns(pl.col("u").fill_nan(None))), clf.predict_proba(X))
    same = clone(clf).fit(frame, pl.Series(target(TabularClassifier, table()[1])))
    assert np.array_equal(same.predict_proba(X), clf.predict_proba(X))


# ---------------------------------------------------------------- learning


def test_it_learns_what_the_table_says():
    X, z = table(1500, seed=1)
    new, z_new = table(1500, seed=2)
    clf = TabularClassifier(4, random_state=0).fit(X, target(TabularClassifier, z))
    reg = TabularRegressor(4, random_state=0).fit(X, z)
    y_new = target(TabularClassifier, z_new)
    assert clf.score(new, y_new) > 0.9
    assert reg.score(new, z_new) > 0.9
    assert abs(clf.validation_score_ - clf.score(new, y_new)) < 0.05
    assert abs(reg.validation_score_ - reg.score(new, z_new)) < 0.05
    covered = (reg.predict_interval(new)[:, 0] <= z_new) & (z_new <= reg.predict_interval(new)[:, 1])
    assert 0.85 < covered.mean() < 0.96


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    p = 1 / (1 + np.exp(-3 * X[:, 0]))
    y = rng.random(3000) < p
    clf = TabularClassifier(4, random_state=0).fit(X[:2000], y[:2000])
    assert clf.classes_.tolist() == [False, True]
    assert log_loss(y[2000:], clf.predict_proba(X[2000:])) < log_loss(y[2000:], p[2000:]) + 0.03
    assert np.array_equal(clf.predict(X), clf.classes_[clf.predict_proba(X).argmax(axis=1)])


def test_the_networks_have_the_settings_of_the_page(monkeypatch):
    made = []
    steps = tabular_training.Steps
    monkeypatch.setattr(tabular_training, "Steps", lambda *a, **k: made.append(steps(*a, **k)) or made[-1])
    X, z = table(300)
    clf = TabularClassifier(2, random_state=0, epochs=4).fit(X, target(TabularClassifier, z))
    assert {net.layer_sizes[1:] for net in clf.networks_} == {(128, 128, 2)}
    assert {(*net.activation, net.output) for net in clf.networks_} == {("silu", "silu", "softmax")}
    assert {net.loss_parameters["label_smoothing"] for net in clf.networks_} == {0.1}
    assert {each.dropout for each in made} == {(0, 0.1, 0.1)}
    assert {each.diagonal.factor for each in made} == {6.0}
    rate = made[0].optimizer.learning_rate
    assert (made[0].optimizer.beta_2, made[0].optimizer.weight_decay) == (0.99, 0.02)
    T = 4 * 2       # 150 rows are two batches
    assert [rate(t) for t in range(T)] == pytest.approx(
        [0.01 * min(1, (t + 1) / (0.05 * T)) * (1 + np.cos(np.pi * t / T)) / 2 for t in range(T)])


def test_bins_stay_only_where_held_out_rows_say_so():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    steps = TabularRegressor(2, random_state=0).fit(X, np.floor(2 * X[:, 0]) % 2)
    assert steps.preparation_.is_bin_.any()
    plane = TabularRegressor(2, random_state=0).fit(X, X @ [1, 2, 3, 4])
    assert not plane.preparation_.is_bin_.any()
    assert plane.networks_[0].layer_sizes[0] == 4


def test_class_weights_move_the_predictions():
    X, z = table(400)
    y = np.where(z > 3.5, 1, 0)         # rare
    plain = TabularClassifier(2, epochs=20, random_state=0).fit(X, y)
    heavy = TabularClassifier(2, epochs=20, random_state=0, class_weight={0: 1, 1: 30}).fit(X, y)
    assert heavy.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()
    balanced = TabularClassifier(2, epochs=3, random_state=0, class_weight="balanced").fit(X, y)
    n = np.bincount(y)
    same = TabularClassifier(2, epochs=3, random_state=0).fit(X, y, sample_weight=(len(y) / (2 * n))[y])
    assert np.array_equal(balanced.predict_proba(X), same.predict_proba(X))
    with pytest.raises(ValueError, match=re.escape("class_weight={5: 1}")):
        TabularClassifier(class_weight={5: 1}).fit(X, y)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_row_of_weight_0_counts_as_absent(cls):
    X, z = table(90)
    y, w = target(cls, z), np.ones(90)
    X.loc[:9, "x"], w[:10] = 1e9, 0
    cv = [(np.arange(0, 60), np.arange(60, 90)), (np.arange(30, 90), np.arange(0, 30))]
    with_them = cls(2, epochs=3, random_state=0).fit(X, y, w, cv=cv)
    cv = [(np.arange(0, 50), np.arange(50, 80)), (np.arange(20, 80), np.arange(0, 20))]
    without = cls(2, epochs=3, random_state=0).fit(X[10:], y[10:], w[10:], cv=cv)
    assert np.array_equal(answer(with_them, X), answer(without, X))


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize(("w", "message"), [
    (np.zeros(30), "Sample weights must contain at least one non-zero"), (-np.ones(30), "Negative values"),
    (np.ones(29), "sample_weight.shape"), (np.full(30, np.nan), "NaN"),
])
def test_bad_weights_are_refused(cls, w, message):
    X, z = table(30)
    with pytest.raises(ValueError, match=message):
        cls().fit(X, target(cls, z), w)


# ---------------------------------------------------------------- folds


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_cv_sets_the_folds(cls):
    X, z = table(60)
    y = target(cls, z)
    model = cls(8, epochs=2, random_state=0).fit(X, y, cv=TimeSeriesSplit(3))
    assert len(model.networks_) == 6        # three splits, twice
    held = model.validation_probabilities_ if cls is TabularClassifier else model.validation_predictions_
    assert np.isnan(held[:15]).all()        # never held out
    assert np.isfinite(held[15:]).all()
    assert np.isfinite(model.validation_score_)
    assert len(cls(8, epochs=2).fit(X, y, cv=5).networks_) == 5
    assert len(cls(2, epochs=2).fit(X, y, cv=KFold(3)).networks_) == 3
    with pytest.raises(ValueError, match="cv: rows must be indices of the 60 rows"):
        cls().fit(X, y, cv=[([100], [1])])


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_groups_are_held_out_together(cls):
    """A column names the group, and the target depends only on it, so it is unknown for a held-out group"""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    effect = rng.normal(size=60)[groups]
    X, y = pd.DataFrame({"g": [f"g{g}" for g in groups]}), target(cls, 1 + effect)
    apart = cls(4, random_state=0).fit(X, y, groups=groups)
    mixed = cls(4, random_state=0).fit(X, y)
    assert mixed.validation_score_ > 0.9
    assert apart.validation_score_ < 0.7
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cls().fit(X, y, groups=groups[1:])


# ---------------------------------------------------------------- during a fit


def test_progress_counts_all_epochs_and_a_broken_stream_ends_only_the_reports(capsys, monkeypatch):
    X, z = table(50)
    TabularRegressor(2, epochs=5, random_state=0, progress=True).fit(X, z)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "20 of 20 epochs"       # both networks with bins and without
    monkeypatch.setattr("sys.stderr", None)
    TabularRegressor(2, epochs=5, random_state=0, progress=True).fit(X, z)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_exception_on_the_way_ends_all_networks(n_threads, monkeypatch):
    X, z = table(100)
    calls, error = [], KeyboardInterrupt()

    @contextlib.contextmanager
    def bar(shown, epochs):
        def report(n):
            calls.append(threading.get_ident())
            if len(calls) == 3:
                raise error

        yield report

    monkeypatch.setattr(tabular_choice.progress, "bar", bar)
    monkeypatch.setattr(tabular_training.threads, "cores", lambda: 2)
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        TabularRegressor(8, epochs=1000, random_state=0, n_threads=n_threads).fit(X, z)
    assert len(calls) < 100
    assert threading.active_count() <= threads


def test_a_training_that_diverges_is_told(monkeypatch):
    X, z = table(50)
    monkeypatch.setattr(tabular_training.Recipe, "rate", lambda self, steps: lambda t: 1e38)
    with pytest.raises(ValueError, match="training diverged"), np.errstate(all="ignore"):
        TabularRegressor(1, epochs=3, random_state=0).fit(X, z, cv=[(np.arange(50), [])])
