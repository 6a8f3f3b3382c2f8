"""Whole estimators in files, and estimators made from networks: the same predictions, the same bits, no pickle."""

import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")
pd = pytest.importorskip("pandas")

from sklearn.datasets import load_iris, make_multilabel_classification, make_regression  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from test_tabular import ESTIMATORS, answer, fitted, table  # noqa: E402

import fastbp  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402
from fastbp.tabular import TabularClassifier, TabularPreparation, TabularRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def again(estimator, path):
    """The estimator after `save` and `load`; saved again it has the same bytes"""
    fastbp.save(path, estimator)
    loaded = fastbp.load(path)
    assert type(loaded) is type(estimator)
    before = path.read_bytes()
    fastbp.save(path, loaded)
    assert path.read_bytes() == before
    return loaded


def mlps():
    settings = {"max_iter": 5, "random_state": 0}
    X_r, y_r = make_regression(60, 3, random_state=0)
    X_2, y_2 = make_regression(60, 3, n_targets=2, random_state=0)
    X_l, y_l = make_multilabel_classification(60, random_state=0)
    frame = pd.DataFrame(X, columns=list("abcd"))
    yield "names", MLPClassifier((5, 4), **settings).fit(frame, NAMES[y]), frame
    yield "codes", MLPClassifier((5,), activation="tanh", early_stopping=True, **settings).fit(X, y), X
    yield "two", MLPClassifier((), **settings).fit(X[:100], y[:100] > 0), X
    yield "one", MLPClassifier(3, **settings).fit(X, np.full(150, "only")), X
    yield "labels", MLPClassifier([4, 3], activation=["silu", "tanh"], **settings).fit(X_l, y_l), X_l
    yield "float32", MLPClassifier(**settings).fit(X.astype(np.float32), y), X.astype(np.float32)
    yield "lbfgs", MLPRegressor(solver="lbfgs", **settings).fit(X_r, y_r), X_r
    yield "several", MLPRegressor(solver="sgd", learning_rate="adaptive", **settings).fit(X_2, y_2 / 100), X_2
    yield "huber", MLPRegressor("huber", 4, huber_delta=2.0, dropout=[0.1], **settings).fit(X_r, y_r), X_r
    yield "poisson", MLPRegressor("poisson", 4, **settings).fit(X_r, np.abs(y_r)), X_r
    own = fastbp.AdamW(fastbp.schedules.Cosine(1e-2, 100), weight_decay=0.1)
    yield "optimizer", MLPClassifier(4, solver=own, class_weight={0: 1.0, 1: 2.0, 2: 1}, **settings).fit(X, y), X


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    CASES = list(mlps())


@pytest.mark.parametrize(("name", "estimator", "rows"), CASES, ids=[case[0] for case in CASES])
def test_a_multilayer_perceptron_comes_back_as_it_was(name, estimator, rows, tmp_path):
    loaded = again(estimator, tmp_path / "a")
    assert np.array_equal(loaded.predict(rows), estimator.predict(rows))
    assert loaded.predict(rows).dtype == estimator.predict(rows).dtype
    if isinstance(estimator, MLPClassifier):
        assert np.array_equal(loaded.predict_proba(rows), estimator.predict_proba(rows))
        assert loaded.classes_.tolist() == estimator.classes_.tolist()
    public = {a for a in vars(estimator) if a.endswith("_") and not a.startswith("_")}
    assert {a for a in vars(loaded) if a.endswith("_") and not a.startswith("_")} == public
    for a in public - {"coefs_", "intercepts_"}:
        assert np.array_equal(np.asarray(getattr(loaded, a)), np.asarray(getattr(estimator, a))), a
    for a, b in zip(loaded.coefs_ + loaded.intercepts_, estimator.coefs_ + estimator.intercepts_, strict=True):
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype
    assert repr(loaded) == repr(estimator)


def test_a_loaded_multilayer_perceptron_can_be_trained_on(tmp_path):
    estimator = MLPClassifier(5, max_iter=20, random_state=0).fit(X, y)
    loaded = again(estimator, tmp_path / "a")
    before = loaded.loss_
    for _ in range(30):
        loaded.partial_fit(X, y)
    assert loaded.loss_ < before
    assert loaded.t_ == 50 * 150
    loaded.set_params(warm_start=True).fit(X, y)
    assert again(loaded, tmp_path / "b").score(X, y) == loaded.score(X, y)


def test_an_assigned_output_is_kept(tmp_path):
    estimator = MLPClassifier(5, max_iter=5, random_state=0).fit(X, y)
    estimator.out_activation_ = "identity"      # the logits
    assert np.array_equal(again(estimator, tmp_path / "a").predict_proba(X), estimator.predict_proba(X))
    with pytest.raises(AttributeError, match="set out_activation_='softmax'"):
        _ = estimator.network_


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_table_estimator_comes_back_as_it_was(cls, tmp_path):
    estimator, frame = fitted(cls), table()[0]
    loaded = again(estimator, tmp_path / "a")
    assert np.array_equal(answer(loaded, frame), answer(estimator, frame))
    assert np.array_equal(answer(loaded, frame[frame.columns[::-1]]), answer(estimator, frame))
    for name in ("validation_score_", "best_epochs_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(estimator, name)
    assert loaded.preparation_.summary() == estimator.preparation_.summary()
    assert loaded.get_params() == estimator.get_params()
    if cls is TabularRegressor:
        assert np.array_equal(loaded.predict_interval(frame), estimator.predict_interval(frame))
        assert np.array_equal(loaded.validation_predictions_, estimator.validation_predictions_)
    else:
        assert np.array_equal(loaded.validation_probabilities_, estimator.validation_probabilities_)


def test_odd_table_estimators_come_back(tmp_path):
    frame, z = table(60)
    single = TabularClassifier(2).fit(frame, [True] * 60)
    assert again(single, tmp_path / "a").predict(frame).tolist() == [True] * 60
    flat = TabularClassifier(2, epochs=1, class_weight={"a": 2, "b": 1.5}).fit([[1], [1]], ["a", "b"])
    assert np.array_equal(again(flat, tmp_path / "a").predict_proba([[5]]), flat.predict_proba([[5]]))
    several = TabularRegressor(2, epochs=1).fit(frame, np.stack([z, -z], 1))
    assert np.array_equal(again(several, tmp_path / "a").predict_interval(frame), several.predict_interval(frame))
    split = TabularRegressor(epochs=1).fit(frame, z, cv=sklearn.model_selection.TimeSeriesSplit(2))
    assert np.isnan(again(split, tmp_path / "a").validation_predictions_[:5]).all()


def test_a_preparation_comes_back_as_it_was(tmp_path):
    frame = table()[0].assign(constant=1, kind=pd.Categorical([1.5, 2, 3] * 100), many=[f"w{i}" for i in range(300)])
    preparation = TabularPreparation(n_bins=4, max_levels=20).fit(frame)
    loaded = again(preparation, tmp_path / "a")
    assert np.array_equal(loaded.transform(frame), preparation.transform(frame))
    assert loaded.summary() == preparation.summary()
    assert again(TabularPreparation().fit([[1, "a"], [2, "b"]]), tmp_path / "b").transform([[1, "b"]]).tolist() == (
        TabularPreparation().fit([[1, "a"], [2, "b"]]).transform([[1, "b"]]).tolist())


def test_ten_thousand_columns_fit_into_a_file(tmp_path):
    wide = np.random.default_rng(0).normal(size=(4, 10_000))
    preparation = TabularPreparation().fit(wide)
    assert np.array_equal(again(preparation, tmp_path / "a").transform(wide), preparation.transform(wide))


@pytest.mark.parametrize(("estimator", "message"), [
    (MLPClassifier(4, max_iter=1, random_state=np.random.RandomState(0)), "parameter random_state=RandomState"),
    (MLPClassifier(4, max_iter=1, callbacks=[print]), "parameter callbacks="),
    (MLPClassifier(4, max_iter=1, scoring=lambda *a: 0.0, early_stopping=True), "parameter scoring="),
], ids=["generator", "callbacks", "scoring"])
def test_what_a_file_cannot_hold_is_named_and_nothing_is_written(estimator, message, tmp_path):
    estimator.fit(X, y)
    with pytest.raises(TypeError, match=f"a file cannot hold the {message}.*set_params"):
        fastbp.save(tmp_path / "a", estimator)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, TabularPreparation])
def test_an_estimator_that_is_not_fitted_is_refused(cls, tmp_path):
    with pytest.raises(NotFittedError):
        fastbp.save(tmp_path / "a", cls())
    assert list(tmp_path.iterdir()) == []


def test_a_loss_is_for_networks_alone(tmp_path):
    fastbp.save(tmp_path / "a", TabularPreparation().fit([[1], [2]]))
    with pytest.raises(ValueError, match="loss is for files of networks; this one holds an estimator"):
        fastbp.load(tmp_path / "a", loss=lambda z, Y, w: None)


def test_estimators_of_others_are_refused(tmp_path):
    class MLPClassifier(fastbp.sklearn.MLPClassifier):
        pass

    for other in (MLPClassifier(), sklearn.linear_model.LogisticRegression(), None):
        with pytest.raises(TypeError, match=r"net must be a fastbp.Network"):
            fastbp.save(tmp_path / "a", other)


# ---------------------------------------------------------------- networks


def test_network_is_a_copy_with_the_same_outputs():
    for name, estimator, rows in CASES:
        net, h_of = estimator.network_, rows
        rows = np.asarray(rows)
        net_dtype = {np.dtype(np.float32): np.float32}.get(rows.dtype, np.float64)
        assert net.dtype == net_dtype, name
        h = net.predict(rows)
        if isinstance(estimator, MLPRegressor):
            assert np.array_equal(h if h.shape[1] > 1 else h[:, 0], estimator.predict(h_of))
        elif h.shape[1] > 1:
            assert np.array_equal(h, estimator.predict_proba(h_of))
        net.theta[:] = 0
        assert any(W.any() for W in estimator.coefs_)
    with pytest.raises(AttributeError, match="not fitted yet"):
        _ = MLPClassifier().network_


def test_an_estimator_around_a_network_predicts_and_trains():
    net = fastbp.Network([4, 6, 5, 3], activation=["tanh", "silu"], output="softmax", seed=0)
    fastbp.train(net, X, y, epochs=30, seed=0)
    clf = MLPClassifier.from_network(net, NAMES)
    assert np.array_equal(clf.predict_proba(X), net.predict(X))
    assert np.array_equal(clf.predict(X), NAMES[net.predict(X).argmax(axis=1)])
    assert clf.hidden_layer_sizes == (6, 5)
    before = clf.score(X, NAMES[y])
    for _ in range(50):
        clf.partial_fit(X, NAMES[y])
    assert clf.score(X, NAMES[y]) >= before
    assert not np.array_equal(clf.network_.theta, net.theta)


@pytest.mark.parametrize(("sizes", "output", "classes"), [
    ([4, 5, 1], "sigmoid", ["no", "yes"]), ([4, 2], "softmax", [3, 7]), ([4, 5, 3], "sigmoid", [0, 1, 2]),
    ([4, 5, 1], "sigmoid", [False, True]),
])
def test_every_kind_of_classes_goes_around_a_network(sizes, output, classes, tmp_path):
    net = fastbp.Network(sizes, output=output, seed=0)
    clf = again(MLPClassifier.from_network(net, classes), tmp_path / "a")
    h = net.predict(X)
    assert np.array_equal(clf.predict_proba(X)[:, -1], h[:, -1])
    expected = (h > 0.5).astype(int) if len(classes) == 3 else np.asarray(classes)[
        h.argmax(axis=1) if output == "softmax" else (h[:, 0] > 0.5).astype(int)]
    assert np.array_equal(clf.predict(X), expected)


@pytest.mark.parametrize(("settings", "name"), [
    ({}, "squared_error"), ({"loss": "huber", "huber_delta": 3.0}, "huber"), ({"loss": "poisson"}, "poisson"),
    ({"loss": "quantile", "quantile": 0.2}, "quantile"),
])
def test_a_regressor_around_a_network(settings, name):
    output = {} if "loss" in settings else {"output": "identity"}
    net = fastbp.Network([4, 5, 2], activation="relu", seed=0, **output, **settings)
    reg = MLPRegressor.from_network(net)
    assert reg.loss == name
    assert np.array_equal(reg.predict(X), net.predict(X))
    assert reg.network_.loss_parameters == net.loss_parameters


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: MLPClassifier.from_network("net", [0, 1]), TypeError, "net must be a fastbp.Network"),
    (lambda: MLPClassifier.from_network(fastbp.Network([2, 3], output="softmax"), [0, 1]), ValueError,
     "classes must be 3 different labels"),
    (lambda: MLPClassifier.from_network(fastbp.Network([2, 3], output="softmax"), [0, 1, 1]), ValueError,
     "classes must be 3 different labels"),
    (lambda: MLPClassifier.from_network(fastbp.Network([2, 1], output="identity"), [0, 1]), ValueError,
     "net must have the loss cross_entropy; it has squared_error"),
    (lambda: MLPRegressor.from_network(fastbp.Network([2, 1])), ValueError, "net must have identity outputs"),
    (lambda: MLPRegressor.from_network(None), TypeError, "net must be a fastbp.Network"),
])
def test_a_network_that_does_not_suit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
