"""Metrics by name: they agree with scikit-learn, use weights, and are refused where they make no sense."""

import numpy as np
import pytest
from helpers import problem
from test_checks import refused

import fastbp
from fastbp import metrics

rng = np.random.default_rng(0)
m = 60
W = rng.uniform(0.1, 2, m)
P = rng.dirichlet(np.ones(3), m)
LABELS = rng.integers(0, 3, m)
YES = rng.integers(0, 2, m)
MANY = rng.integers(0, 2, (m, 3)).astype(float)
FEW = MANY * [1, 1, 0]      # rows that sum to 0, 1 and 2
WHOLE = rng.integers(0, 2, (m, 3)).astype(np.uint8)
REAL, TRUE = rng.standard_normal((m, 2)), rng.standard_normal((m, 2))

CASES = [
    ("accuracy", P, LABELS, lambda s, w: s.accuracy_score(LABELS, P.argmax(axis=1), sample_weight=w)),
    ("accuracy", P, np.eye(3)[LABELS], lambda s, w: s.accuracy_score(LABELS, P.argmax(axis=1), sample_weight=w)),
    ("accuracy", P[:, :1], YES, lambda s, w: s.accuracy_score(YES, P[:, 0] >= 0.5, sample_weight=w)),
    ("accuracy", 2 * P[:, :1] - 1, 2 * YES - 1, lambda s, w: s.accuracy_score(YES, P[:, 0] >= 0.5, sample_weight=w)),
    ("accuracy", P, MANY, lambda s, w: s.accuracy_score(MANY, P >= 0.5, sample_weight=w)),
    ("balanced_accuracy", P, LABELS,
     lambda s, w: s.balanced_accuracy_score(LABELS, P.argmax(axis=1), sample_weight=w)),
    ("balanced_accuracy", P, np.eye(3)[LABELS],
     lambda s, w: s.balanced_accuracy_score(LABELS, P.argmax(axis=1), sample_weight=w)),
    ("balanced_accuracy", P[:, :1], YES, lambda s, w: s.balanced_accuracy_score(YES, P[:, 0] >= 0.5, sample_weight=w)),
    ("mse", REAL, TRUE, lambda s, w: s.mean_squared_error(TRUE, REAL, sample_weight=w)),
    ("mse", P, LABELS, lambda s, w: s.mean_squared_error(np.eye(3)[LABELS], P, sample_weight=w)),
    ("mae", WHOLE, LABELS, lambda s, w: s.mean_absolute_error(np.eye(3)[LABELS], WHOLE.astype(float), sample_weight=w)),
    ("rmse", REAL[:, :1], TRUE[:, 0],
     lambda s, w: s.mean_squared_error(TRUE[:, 0], REAL[:, 0], sample_weight=w) ** 0.5),
    ("mae", REAL, TRUE, lambda s, w: s.mean_absolute_error(TRUE, REAL, sample_weight=w)),
    ("r2", REAL, TRUE, lambda s, w: s.r2_score(TRUE, REAL, sample_weight=w)),
    ("r2", REAL[:, :1], np.ones(m), lambda s, w: s.r2_score(np.ones(m), REAL[:, 0], sample_weight=w)),
    ("log_loss", P, LABELS, lambda s, w: s.log_loss(LABELS, P, sample_weight=w)),
    ("log_loss", P, np.eye(3)[LABELS], lambda s, w: s.log_loss(LABELS, P, sample_weight=w)),
    ("cross_entropy", P, FEW,
     lambda s, w: np.average(-(FEW * np.log(P) + (1 - FEW) * np.log(1 - P)).sum(axis=1), weights=w)),
    ("cross_entropy", P[:, :1], YES, lambda s, w: s.log_loss(YES, P[:, 0], sample_weight=w)),
]  # fmt: skip


@pytest.mark.parametrize("weights", [None, W, np.where(np.arange(m) % 4, W, 0)], ids=["equal", "weights", "zeros"])
@pytest.mark.parametrize("case", range(len(CASES)), ids=[case[0] for case in CASES])
def test_metrics_are_scikit_learns(case, weights):
    scores = pytest.importorskip("sklearn.metrics")
    name, h, Y, expected = CASES[case]
    assert metrics.NAMED[name](h, Y, weights) == pytest.approx(expected(scores, weights), rel=1e-12)


def test_certain_and_wrong_probabilities_have_a_finite_cross_entropy():
    h = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert metrics.cross_entropy(h, np.array([1, 0])) == pytest.approx(-np.log(np.finfo(float).eps))
    assert metrics.cross_entropy(h, np.array([0, 1])) < 1e-15


def test_the_validations_cross_entropy_is_its_cost():
    p = problem((4, 6, 3), "tanh", "softmax", m=40)
    history = fastbp.train(p.network(), p.X, p.labels, epochs=2, validation_split=0.25, metrics=["log_loss"], seed=0)
    assert history["val_log_loss"] == pytest.approx(history.val_J, rel=1e-13)


def half(h, Y):
    """The caller's own metric"""
    return np.abs(h[:, 0]).mean() / 2


@pytest.mark.parametrize("kind", ["labels", "targets", "weights", "regression"])
def test_history_holds_each_metric_of_training_and_validation(kind):
    p = problem((4, 6, 3), "tanh", *(("identity", "squared_error") if kind == "regression" else ("softmax",)), m=40)
    Y, w = (p.Y, None) if kind == "regression" else (p.labels, None)
    if kind == "targets":
        Y = np.eye(3)[p.labels]
    if kind == "weights":
        w = p.weights
    names = ["mse", "r2", *(["accuracy", "balanced_accuracy"] if kind != "regression" else [])]
    net = p.network()
    history = fastbp.train(
        net, p.X[:30], Y[:30], epochs=3, sample_weight=None if w is None else w[:30], metrics=[*names, half],
        validation_data=(p.X[30:], Y[30:], None if w is None else w[30:]), seed=0,
    )  # fmt: skip
    for rows, prefix in ((slice(0, 30), ""), (slice(30, 40), "val_")):
        h = net.predict(p.X[rows])
        for name in names:
            expected = metrics.NAMED[name](h, Y[rows], None if w is None else w[rows])
            assert history[prefix + name][-1] == pytest.approx(expected, rel=1e-12)
            assert len(history[prefix + name]) == 3
        assert history[f"{prefix}half"][-1] == half(h, Y)
    if kind != "regression":
        assert history["val_accuracy"] is history.val_accuracy


def test_metrics_change_no_bit_of_the_training():
    p = problem(m=20)
    plain, measured = p.network(), p.network()
    fastbp.train(plain, p.X, p.Y, epochs=2, seed=0)
    fastbp.train(measured, p.X, p.Y, epochs=2, seed=0, metrics=["mse", half])
    assert plain.theta.tobytes() == measured.theta.tobytes()


@pytest.mark.parametrize(
    ("bad", "text"),
    [("mse", "metrics"), (["nonsense"], r"metrics\[0\]"), ([3], r"metrics\[0\]"), (["mse", "mse"], r"metrics\[1\]"),
     (["accuracy"], "classes")],
)  # fmt: skip
def test_bad_metrics_are_refused(bad, text):
    p = problem()
    net = p.network()
    refused(lambda: fastbp.train(net, p.X, p.Y, epochs=1, metrics=bad), text)
    assert net.theta.tobytes() == p.theta.tobytes()


# ---------------------------------------------------------------- inputs at the edge


def test_labels_of_true_and_false_are_1_and_0():
    h = [[0.9, 0.1], [0.2, 0.8]]
    assert metrics.mse(h, [False, True]) == pytest.approx(0.025)
    for function in (metrics.mse, metrics.mae, metrics.accuracy, metrics.balanced_accuracy, metrics.cross_entropy):
        assert function(h, [False, True]) == function(h, [0, 1]) == function(h, np.array([0, 1], np.uint8))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint64, np.int8])
@pytest.mark.parametrize("metric", ["mse", "mae", "r2", "cross_entropy", "accuracy", "balanced_accuracy"])
def test_targets_of_0_and_1_may_have_any_dtype(metric, dtype):
    for h, Y in ((P, MANY), (P[:, :1], YES)):
        assert metrics.NAMED[metric](h, Y.astype(dtype)) == metrics.NAMED[metric](h, Y.astype(float))


def test_the_cross_entropy_of_a_training_on_bool_targets_is_its_cost():
    p = problem((4, 6, 1), "tanh", m=40)
    yes = p.Y[:, 0] > 0.5
    history = fastbp.train(p.network(), p.X, yes, epochs=2, validation_split=0.25, metrics=["cross_entropy"], seed=0)
    assert history["val_cross_entropy"] == pytest.approx(history.val_J, rel=1e-13)


@pytest.mark.parametrize("metric", metrics.NAMED)
def test_examples_of_weight_0_do_not_count_whatever_their_outputs(metric):
    h, w = P.copy(), (np.arange(m) % 3 > 0) * W
    expected = metrics.NAMED[metric](h[w > 0], LABELS[w > 0], w[w > 0])
    for value in (np.nan, np.inf):
        h[w == 0] = value
        assert metrics.NAMED[metric](h, LABELS, w) == pytest.approx(expected, rel=1e-14)


def test_fault_63_r2_of_one_example_is_no_number():
    """As in scikit-learn, but examples of weight 0 do not count"""
    assert np.isnan(metrics.r2([[0.5]], [1.0]))
    assert np.isnan(metrics.r2(REAL[:1], TRUE[:1]))
    assert np.isnan(metrics.r2(REAL[:5], TRUE[:5], np.eye(5)[2]))
    assert metrics.r2(REAL[:2], TRUE[:2]) == pytest.approx(metrics.r2(REAL[:3], TRUE[:3], [1, 1, 0]))


def test_metrics_of_outputs_beyond_all_numbers_say_so_without_a_warning():
    assert metrics.r2([[1e300], [0]], [0.0, 1]) == -np.inf
    assert metrics.mse([[1e300], [0]], [0.0, 1]) == np.inf
    assert np.isnan(metrics.mae([[np.nan], [0]], [0.0, 1]))
