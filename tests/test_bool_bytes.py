"""Bool arrays that are views of other bytes: every True is read as 1."""

import numpy as np
import pytest

import fastbp
from fastbp import metrics
from fastbp.engine import checks

CLEAN = np.random.default_rng(0).random((40, 3)) < 0.5
BYTES = np.where(CLEAN, np.random.default_rng(1).integers(2, 256, (40, 3)), 0).astype(np.uint8)
DIRTY = BYTES.view(bool)
REAL = np.random.default_rng(2).random((40, 3))
LAYOUTS = {
    "rows": lambda a: a, "every second row": lambda a: np.repeat(a, 2, axis=0)[::2], "by columns": np.asfortranarray,
    "within wider rows": lambda a: np.hstack([a, a])[:, :3], "backwards": lambda a: a[::-1],
}


def both(make):
    """The result for the dirty bytes, and for clean ones"""
    assert (DIRTY == CLEAN).all()
    return make(DIRTY), make(CLEAN)


def network(outputs=3, **settings):
    return fastbp.Network([3, 4, outputs], seed=0, **settings)


def trained(X, Y, **settings):
    net = network(Y.shape[1] if Y.ndim > 1 else 2 if settings.pop("labels", False) else 1)
    history = fastbp.train(net, X, Y, epochs=2, seed=0, **settings)
    return [*history.J, *net.theta]


WAYS = {
    "X": lambda a: network().predict(a).ravel(),
    "one row": lambda a: [*network().predict(a[3]), *network().predict(a[7])],
    "activations": lambda a: network().activations(a)[0].ravel(),
    "X and Y of train": lambda a: trained(a, a),
    "one output": lambda a: trained(a, a[:, 0]),
    "labels": lambda a: trained(REAL, a[:, 0], labels=True),
    "labels in strides": lambda a: network(2).cost(REAL, a[:, 1]),
    "weights": lambda a: trained(REAL, REAL, sample_weight=a[:, 0]),
    "validation_data": lambda a: trained(REAL, REAL, validation_data=(a, a)),
    "a metric in training": lambda a: trained(a, a, metrics=["cross_entropy", "mse"]),
    "chunks": lambda a: [
        *fastbp.train(network(), [(a[:20], a[:20]), (a[20:], a[20:])], epochs=1, seed=0).J],
    "step": lambda a: [fastbp.Trainer(network(), "sgd").step(a, a)],
    "epoch": lambda a: [fastbp.Trainer(network(), "sgd").epoch(a, a, batch_size=7)],
    "gradient": lambda a: network().cost_and_gradient(a, a)[1],
    "standardise": lambda a: fastbp.Standardise(a).transform(a).ravel(),
    "metrics": lambda a: [f(REAL, a) for f in (metrics.mse, metrics.r2, metrics.cross_entropy, metrics.accuracy)],
    "labels of metrics": lambda a: [metrics.mse(REAL[:, :2], a[:, 0]), metrics.balanced_accuracy(REAL[:, :2], a[:, 0])],
    "h of metrics": lambda a: [metrics.mse(a, REAL), metrics.accuracy(a, CLEAN)],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", WAYS)
def test_fault_57_true_is_1_whatever_its_byte(way, layout):
    dirty, clean = both(lambda a: np.asarray(WAYS[way](LAYOUTS[layout](a))))
    np.testing.assert_array_equal(dirty, clean)


@pytest.mark.filterwarnings("ignore::UserWarning")      # few iterations
@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_fault_57_estimators_read_it_so_too(way):
    from fastbp.sklearn import MLPClassifier, MLPRegressor

    def fitted(a):
        given = {"classes": [False, True]} if way == "partial_fit" else {}
        first = MLPClassifier(hidden_layer_sizes=(3,), max_iter=3, random_state=0)
        getattr(first, way)(a, a[:, 0], **given)
        second = MLPRegressor(hidden_layer_sizes=(3,), max_iter=3, random_state=0)
        getattr(second, way)(a, REAL[:, 0])
        assert first.classes_.tolist() == [False, True]
        return np.concatenate([first.predict_proba(a).ravel(), first.predict_proba(a[:1]).ravel(), second.predict(a)])

    np.testing.assert_array_equal(*both(fitted))


@pytest.mark.parametrize("byte", [2, 128, 255])
@pytest.mark.parametrize("m", [1, 2])
def test_fault_57_a_single_byte_that_is_not_1_is_found(m, byte):
    for at in range(3 * m):
        stored = np.ones(3 * m, np.uint8)
        stored[at] = byte
        dirty, clean = stored.reshape(m, 3).view(bool), np.ones((m, 3))
        for call in (lambda net, a: net.cost(a, a), lambda net, a: net.predict(a), lambda net, a: net.predict(a[0]),
                     lambda net, a: fastbp.Trainer(net, "sgd").step(a, a), lambda net, a: net.cost(np.ones((m, 3)), a)):
            np.testing.assert_array_equal(call(network(), dirty), call(network(), clean))


def test_fault_57_what_is_clean_is_not_copied_and_the_input_stays_as_it_was():
    assert checks.booleans(CLEAN) is CLEAN
    assert np.shares_memory(checks.readable(CLEAN, np.float64), CLEAN)
    before = BYTES.copy()
    network().cost(DIRTY, DIRTY)
    assert (before == BYTES).all()
    assert checks.booleans(DIRTY[:0]).shape == (0, 3)
