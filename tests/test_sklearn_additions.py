"""The additions of the estimators to scikit-learn's: each is tested by its effect."""

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris, make_classification, make_regression  # noqa: E402
from sklearn.metrics import log_loss, recall_score  # noqa: E402

import fastbp  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_iris = (X_iris - X_iris.mean(axis=0)) / X_iris.std(axis=0)
X_reg, y_reg = make_regression(200, 6, noise=5, random_state=0)
y_reg = y_reg / y_reg.std()
X_rare, y_rare = make_classification(400, 8, weights=[0.93], flip_y=0.05, random_state=0)


def weights(estimator):
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])


# class_weight


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_class_weight_is_sample_weight(solver):
    """They are equal if a step sees all examples; for smaller batches see test_mean_weight_sklearn.py"""
    by_class = MLPClassifier(
        9, solver=solver, class_weight={0: 1, 1: 5.0}, max_iter=10, random_state=0, batch_size=len(X_rare)
    )
    by_sample = clone(by_class).set_params(class_weight=None)
    w = np.random.RandomState(0).rand(len(X_rare))
    by_class.fit(X_rare, y_rare, sample_weight=w)
    by_sample.fit(X_rare, y_rare, sample_weight=w * np.where(y_rare == 1, 5.0, 1.0))
    np.testing.assert_array_equal(weights(by_class), weights(by_sample))


def test_balanced_finds_the_rare_class():
    plain, balanced = (
        MLPClassifier(9, solver="lbfgs", alpha=30.0, class_weight=c, random_state=0).fit(X_rare, y_rare)
        for c in (None, "balanced")
    )
    assert recall_score(y_rare, balanced.predict(X_rare)) > recall_score(y_rare, plain.predict(X_rare)) + 0.1


def test_class_weight_in_partial_fit():
    named = MLPClassifier(9, class_weight={0: 1, 1: 5.0}, random_state=0)
    weighted = clone(named).set_params(class_weight=None)
    for i in range(0, 40, 4):
        part = slice(i, i + 4)
        named.partial_fit(X_rare[part], y_rare[part], classes=[0, 1])
        w = np.where(y_rare[part] == 1, 5.0, 1.0)
        weighted.partial_fit(X_rare[part], y_rare[part], sample_weight=w, classes=[0, 1])
    for i in range(5):
        named.partial_fit(X_rare[i : i + 1], y_rare[i : i + 1])
        weighted.partial_fit(X_rare[i : i + 1], y_rare[i : i + 1], sample_weight=[1.0, 5.0][y_rare[i]] * np.ones(1))
    np.testing.assert_array_equal(weights(named), weights(weighted))
    with pytest.raises(ValueError, match="class_weight='balanced' needs all of y"):
        MLPClassifier(class_weight="balanced").partial_fit(X_rare, y_rare, classes=[0, 1])


# activations, solvers, init


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "softplus", "silu", "gelu", ["tanh", "gelu"]])
def test_every_activation_is_the_one_of_the_network(cls, activation):
    estimator = cls(hidden_layer_sizes=(7, 5), activation=activation, max_iter=3, random_state=0).fit(X_iris, y_iris)
    output = ("softmax", "cross_entropy") if cls is MLPClassifier else ("identity", "squared_error")
    net = fastbp.Network(
        [4, 7, 5, 3 if cls is MLPClassifier else 1], activation=activation, output=output[0], loss=output[1],
        init=[np.vstack([b, W]).T for W, b in zip(estimator.coefs_, estimator.intercepts_, strict=True)],
    )
    h = estimator.predict_proba(X_iris) if cls is MLPClassifier else estimator.predict(X_iris)[:, np.newaxis]
    np.testing.assert_allclose(h, net.predict(X_iris), rtol=1e-13)


def test_one_name_a_layer_is_one_name_for_all():
    listed = MLPRegressor(hidden_layer_sizes=(5, 4), activation=["logistic", "logistic"], max_iter=3, random_state=0)
    named = clone(listed).set_params(activation="logistic")
    np.testing.assert_array_equal(weights(listed.fit(X_reg, y_reg)), weights(named.fit(X_reg, y_reg)))
    with pytest.raises(ValueError, match="activation has 2 names; the network has 1 hidden layers"):
        clone(listed).set_params(hidden_layer_sizes=(5,)).fit(X_reg, y_reg)


@pytest.mark.parametrize("name", ["rmsprop", "adagrad", "adamw", "nadam"])
def test_optimizers_by_name_and_as_instances(name):
    by_name = MLPRegressor(solver=name, learning_rate_init=3e-3, max_iter=5, random_state=0).fit(X_reg, y_reg)
    rule = fastbp.optimizers.NAMED[name](learning_rate=3e-3)
    as_instance = MLPRegressor(solver=rule, max_iter=5, random_state=0).fit(X_reg, y_reg)
    np.testing.assert_array_equal(weights(by_name), weights(as_instance))
    assert by_name.loss_curve_[-1] < by_name.loss_curve_[0]
    assert rule == fastbp.optimizers.NAMED[name](learning_rate=3e-3)      # used, not changed
    clone(as_instance)


@pytest.mark.parametrize("name", ["rmsprop", "adamw", "nadam"])
def test_their_state_goes_on_after_pickling(name):
    import pickle

    one = MLPRegressor(solver=name, max_iter=5, random_state=0).fit(X_reg, y_reg)
    two = pickle.loads(pickle.dumps(one))
    for estimator in (one, two):
        for at in range(0, 60, 20):
            estimator.partial_fit(X_reg[at : at + 20], y_reg[at : at + 20])
    np.testing.assert_array_equal(weights(one), weights(two))


def test_an_optimizer_in_python_works():
    class SignDescent(fastbp.optimizers.Optimizer):
        def __init__(self, step):
            self.step = step

        def init(self, theta):
            return {"t": 0}

        def update(self, theta, D, state):
            state["t"] += 1
            theta -= self.step * np.sign(D)

    estimator = MLPRegressor(solver=SignDescent(1e-3), max_iter=20, random_state=0).fit(X_reg, y_reg)
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]
    estimator.partial_fit(X_reg[:1], y_reg[:1])


@pytest.mark.parametrize("init", ["glorot_uniform", "he_normal", "normal", "uniform"])
def test_init_by_name(init):
    starts = [
        MLPRegressor(init=init, solver="sgd", learning_rate_init=1e-12, max_iter=1, random_state=seed).fit(X_reg, y_reg)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(weights(starts[0]), weights(starts[1]))
    assert not np.allclose(weights(starts[0]), weights(starts[2]))
    zero_bias = np.abs(starts[0].intercepts_[0]).max() < 1e-8
    assert zero_bias == (init in ("glorot_uniform", "he_normal"))
    spread = {"glorot_uniform": (2 / 106) ** 0.5, "he_normal": (1 / 3) ** 0.5, "normal": 0.01, "uniform": 0.12 / 3**0.5}
    assert starts[0].coefs_[0].std() == pytest.approx(spread[init], rel=0.15)


def test_start_values_of_ones_own():
    rng = np.random.RandomState(0)
    start = [rng.randn(6, 4), rng.randn(4, 1)], [rng.randn(4), rng.randn(1)]
    estimator = MLPRegressor(hidden_layer_sizes=4, init=start, solver="sgd", learning_rate_init=1e-300, max_iter=1)
    estimator.fit(X_reg, y_reg)
    for own, given in zip(estimator.coefs_ + estimator.intercepts_, start[0] + start[1], strict=True):
        np.testing.assert_array_equal(own, given)
    with pytest.raises(ValueError, match=r"init must hold arrays of the shapes \[\(6, 5\), \(5, 1\), \(5,\), \(1,\)\]"):
        clone(estimator).set_params(hidden_layer_sizes=5).fit(X_reg, y_reg)


# validation


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_own_validation_data_give_loss_and_score_after_each_epoch(cls):
    X, y = (X_iris, y_iris) if cls is MLPClassifier else (X_reg, y_reg)
    seen = []
    estimator = cls(hidden_layer_sizes=9, max_iter=4, random_state=0)
    w = np.random.RandomState(0).rand(50)

    def look(e):
        if cls is MLPClassifier:
            loss = log_loss(y[::3], e.predict_proba(X[::3]), sample_weight=w)
        else:
            loss = 0.5 * np.average((y[:50] - e.predict(X[:50])) ** 2, weights=w)
        held = (X[::3], y[::3]) if cls is MLPClassifier else (X[:50], y[:50])
        seen.append((loss, e.score(*held, sample_weight=w)))

    held = (X[::3], y[::3]) if cls is MLPClassifier else (X[:50], y[:50])
    estimator.set_params(callbacks=look)
    estimator.fit(X, y, X_val=held[0], y_val=held[1], sample_weight_val=w)
    np.testing.assert_allclose(np.transpose([estimator.validation_loss_curve_, estimator.validation_scores_]), seen)
    blind = cls(hidden_layer_sizes=9, max_iter=4, random_state=0).fit(X, y)
    np.testing.assert_array_equal(weights(blind), weights(estimator))       # measured, not trained on
    assert blind.validation_scores_ is None is blind.validation_loss_curve_


@pytest.mark.parametrize("scoring", [None, "loss", "neg_mean_absolute_error", "callable"])
def test_early_stopping_keeps_the_weights_of_the_best_score(scoring):
    def largest_error(estimator, X, y):
        return -np.abs(estimator.predict(X) - y).max()

    estimator = MLPRegressor(
        hidden_layer_sizes=50, early_stopping=True, scoring=largest_error if scoring == "callable" else scoring,
        learning_rate_init=0.05, n_iter_no_change=3, random_state=0, max_iter=300,
    )
    estimator.fit(X_reg[:60], y_reg[:60], X_val=X_reg[60:], y_val=y_reg[60:])
    X, y = X_reg[60:], y_reg[60:]
    h = estimator.predict(X)
    expected = {
        None: estimator.score(X, y), "loss": -0.5 * np.mean((h - y) ** 2),
        "neg_mean_absolute_error": -np.mean(np.abs(h - y)), "callable": -np.abs(h - y).max(),
    }[scoring]
    assert estimator.best_validation_score_ == max(estimator.validation_scores_) == pytest.approx(expected)
    assert estimator.n_iter_ < 300
    assert len(estimator.validation_loss_curve_) == len(estimator.validation_scores_) == estimator.n_iter_


def test_validation_data_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match="X_val and y_val go together"):
        MLPRegressor().fit(X_reg, y_reg, X_val=X_reg)
    with pytest.raises(ValueError, match="X has 3 features, but MLPRegressor is expecting 6"):
        MLPRegressor().fit(X_reg, y_reg, X_val=X_reg[:, :3], y_val=y_reg)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        MLPClassifier().fit(X_iris[:100], y_iris[:100], X_val=X_iris, y_val=y_iris)
    with pytest.raises(ValueError, match="X_val and y_val need epochs"):
        MLPRegressor(solver="lbfgs").fit(X_reg, y_reg, X_val=X_reg, y_val=y_reg)


def test_validation_data_that_are_refused_leave_the_model_alone():
    estimator = MLPClassifier(9, max_iter=2, random_state=0).fit(X_iris, y_iris)
    before, curve = weights(estimator), list(estimator.loss_curve_)
    for X, y, scoring, words in [
        (X_iris[:, :3], y_iris, None, "X has 3 features"), (X_iris, y_iris + 7, None, "`y` has classes not in"),
        (X_iris, y_iris, "no such", "not a valid scoring value"),
    ]:
        with pytest.raises(ValueError, match=words):
            estimator.set_params(scoring=scoring).fit(X_iris, y_iris, X_val=X, y_val=y)
        np.testing.assert_array_equal(weights(estimator), before)
        assert estimator.loss_curve_ == curve


def test_a_score_that_is_no_number_ends_no_training_that_does_not_stop_by_it():
    """X_val is only measured: if h overflows, its score is NaN, and nothing else happens"""
    estimator = MLPRegressor(hidden_layer_sizes=9, activation="identity", max_iter=4, random_state=0)
    with np.errstate(all="ignore"):
        estimator.fit(X_reg, y_reg, X_val=np.full_like(X_reg, 1.7e308), y_val=y_reg)
    assert estimator.n_iter_ == len(estimator.validation_scores_) == 4
    assert np.isnan(estimator.validation_scores_).all()
    blind = MLPRegressor(hidden_layer_sizes=9, activation="identity", max_iter=4, random_state=0).fit(X_reg, y_reg)
    np.testing.assert_array_equal(weights(estimator), weights(blind))


# callbacks


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_callbacks_see_every_epoch_and_may_stop(solver):
    seen = []

    def stop(estimator):
        seen.append((estimator.n_iter_, estimator.loss_, estimator.predict(X_reg[:1])[0]))
        return estimator.n_iter_ == 4

    estimator = MLPRegressor(hidden_layer_sizes=9, solver=solver, callbacks=[stop], random_state=0).fit(X_reg, y_reg)
    assert [n for n, _, _ in seen] == [1, 2, 3, 4]
    assert estimator.n_iter_ == 4
    assert len({h for _, _, h in seen}) == 4
    assert seen[-1][2] == estimator.predict(X_reg[:1])[0]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_its_own_callbacks_work(solver):
    pytest.importorskip("sklearn.callback")
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="r2")
    estimator = MLPRegressor(hidden_layer_sizes=9, solver=solver, max_iter=5, random_state=0).set_callbacks(monitor)
    estimator.fit(X_reg, y_reg)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 5
    assert rows[-1]["r2"] == pytest.approx(estimator.score(X_reg, y_reg))
    assert len({row["r2"] for row in rows}) == 5


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_its_progress_bar_works(solver, capsys):
    pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    MLPRegressor(hidden_layer_sizes=9, solver=solver, max_iter=5, random_state=0).set_callbacks(ProgressBar()).fit(
        X_reg, y_reg
    )
    assert "100%" in capsys.readouterr().out


@pytest.mark.parametrize("bad", [[3], 3, ["loss"], (print, None)])
def test_what_is_no_callback_is_refused_before_anything_has_changed(bad):
    estimator = MLPRegressor(hidden_layer_sizes=9, max_iter=2, random_state=0).fit(X_reg, y_reg)
    before = weights(estimator)
    with pytest.raises((TypeError, ValueError), match="callback"):
        estimator.set_params(callbacks=bad).fit(X_reg, y_reg)
    np.testing.assert_array_equal(weights(estimator), before)


def test_a_callback_of_scikit_learn_in_the_parameter_is_told_its_place():
    pytest.importorskip("sklearn.callback")
    from sklearn.callback import ScoringMonitor

    with pytest.raises(TypeError, match=r"callbacks must be .*set_callbacks.*ScoringMonitor"):
        MLPRegressor(callbacks=[ScoringMonitor(scoring="r2")]).fit(X_reg, y_reg)


def test_callbacks_see_steps_of_one_row():
    seen = []
    estimator = MLPRegressor(callbacks=lambda e: seen.append(e.loss_), random_state=0)
    for i in range(4):
        estimator.partial_fit(X_reg[i : i + 1], y_reg[i : i + 1])
    assert seen == estimator.loss_curve_
    assert len(seen) == 4


# gradient of the outputs


@pytest.mark.parametrize("hidden", [(), (7,), (6, 5)])
@pytest.mark.parametrize("case", ["three classes", "two classes", "one target", "counts"])
def test_input_gradient_is_the_slope_of_the_outputs(case, hidden):
    X, y = (X_iris, y_iris) if "class" in case else (X_reg, y_reg)
    if case == "two classes":
        X, y = X[:100], y[:100]
    parameters = {"hidden_layer_sizes": hidden, "activation": "tanh", "max_iter": 5, "random_state": 0}
    if "class" in case:
        estimator = MLPClassifier(**parameters).fit(X, y)
    else:
        estimator = MLPRegressor("poisson" if case == "counts" else "squared_error", **parameters).fit(X, np.abs(y))

    def h(X):
        if "class" not in case:
            return estimator.predict(X)[:, np.newaxis]
        return estimator.predict_proba(X)[:, 1:] if case == "two classes" else estimator.predict_proba(X)

    G = estimator.input_gradient(X[:20])
    assert G.shape == (20, h(X).shape[1], X.shape[1])
    step = 1e-6
    for j in range(X.shape[1]):
        e = step * (np.arange(X.shape[1]) == j)
        np.testing.assert_allclose(G[:, :, j], (h(X[:20] + e) - h(X[:20] - e)) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("size", [1.0, 1e9])
def test_input_gradient_keeps_its_digits_in_float32(size):
    """Gradients are right however large h is"""
    double = MLPRegressor(hidden_layer_sizes=(7,), activation="tanh", max_iter=5, random_state=0).fit(X_reg, y_reg)
    double.coefs_[1][:] *= size
    double.intercepts_[1][:] = size
    single = MLPRegressor(hidden_layer_sizes=(7,), activation="tanh", max_iter=1, random_state=0)
    single.fit(X_reg.astype(np.float32), y_reg)
    for own, W in zip(single.coefs_ + single.intercepts_, double.coefs_ + double.intercepts_, strict=True):
        own[...] = W
    G = double.input_gradient(X_reg)
    np.testing.assert_allclose(single.input_gradient(X_reg.astype(np.float32)), G, atol=1e-5 * np.abs(G).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 3])
def test_fault_58_input_gradient_keeps_its_digits_where_a_class_is_certain(classes, dtype):
    """dh/dx of logits 0, -gap, -2 gap .. that grow by 1, 2, 3 .. for each x"""
    eps = float(np.finfo(dtype).eps)
    X, y = np.arange(2.0 * classes).reshape(-1, 1).astype(dtype), np.arange(2 * classes) % classes
    estimator = MLPClassifier(hidden_layer_sizes=(), max_iter=1, random_state=0).fit(X, y)
    for gap in (1.0, 12.0, 30.0, 60.0):
        slopes, z = 1.0 + np.arange(classes), -gap * np.arange(classes)
        if classes == 2:    # one sigmoid, of the second class
            estimator.coefs_[0][...], estimator.intercepts_[0][...] = 2.0, gap
            exact = 2 * np.exp(-gap) / (1 + np.exp(-gap)) ** 2
        else:
            estimator.coefs_[0][...], estimator.intercepts_[0][...] = slopes, z
            h = np.exp(z) / np.exp(z).sum()
            exact = h * (h * (slopes[:, None] - slopes)).sum(axis=1)
        G = estimator.input_gradient(np.zeros((1, 1), dtype))[0, :, 0]
        np.testing.assert_allclose(G, exact, rtol=30 * eps, atol=1000 * float(np.finfo(dtype).smallest_normal))
