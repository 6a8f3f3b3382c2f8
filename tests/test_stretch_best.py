"""Compiled epochs keep theta of the best epoch on held-out rows, the same as a loop in Python."""

import numpy as np
import pytest

import fastbp
from fastbp.training.steps import Steps
from fastbp.training.stretch import Room, Stretch

M, EPOCHS = 60, 12
ROWS, HELD = np.arange(40), np.arange(40, 60)


def problem(kind, weighted):
    """(a network, its data, targets, weights)"""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(M, 4)).astype(np.float32)
    labels = ((X[:, 0] > 0) + (X[:, 1] + 0.5 * rng.normal(size=M) > 0)).astype(np.int64)
    output, Y = {"classes": ("softmax", labels), "numbers": ("identity", (X[:, :3] ** 2).astype(np.float32))}[kind]
    smoothing = {"label_smoothing": 0.1} if kind == "classes" else {}
    net = fastbp.Network([4, 16, 3], output=output, dtype=np.float32, seed=1, **smoothing)
    w = rng.random(M) + 0.1 if weighted else None
    return net, net.data(X, Y, w), Y, w


def stretch(net, data, held=HELD):
    steps = Steps(net, fastbp.optimizers.AdamW(lambda t: 0.03), dropout=0.1, seed=5, input_scale=6.0,
                  mean_weight=None if data.w is None else 0.5)
    room = Room()
    own = Stretch(steps, data, 8, EPOCHS, ROWS, np.random.default_rng(2), room)
    own.foresee()
    return own, own.keep_best(data, held, room)


def error(net, data, Y, w):
    """Error rate, or squared error, of the held-out rows"""
    h = net.predict(data.X[HELD]).astype(np.float64)
    each = h.argmax(axis=1) != Y[HELD] if Y.ndim == 1 else ((h - Y[HELD]) ** 2).sum(axis=1)
    return np.average(each, weights=None if w is None else w[HELD])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_theta_of_the_best_epoch_is_that_of_a_loop_in_python(kind, weighted):
    net, data, Y, w = problem(kind, weighted)
    own, best = stretch(net, data)
    assert own.advance(EPOCHS, budget=100)
    same, data, Y, w = problem(kind, weighted)
    slow, _ = stretch(same, data)
    found, least = None, np.inf
    for epoch in range(1, EPOCHS + 1):
        assert slow.advance(epoch, budget=100)
        now = error(same, data, Y, w)
        if now <= least + 1e-12:        # the later of two equal ones
            found, least, at = same.theta.copy(), now, epoch
    assert np.array_equal(net.theta, same.theta)
    assert own.own.best_epoch == slow.own.best_epoch == at
    assert np.array_equal(best, found)
    if kind == "classes":
        assert np.isnan(own.own.held_J()).all()
        assert own.own.held_accuracy()[at - 1] == pytest.approx(1 - least)


def test_not_a_number_is_never_the_best():
    net, data, _, _ = problem("numbers", False)
    data.X[HELD[0]] = np.nan
    own, best = stretch(net, data)
    best[:] = 7
    assert own.advance(EPOCHS, budget=100)
    assert own.own.best_epoch == 0
    assert (best == 7).all()


def test_nothing_is_kept_of_what_is_not_watched_or_has_no_classes():
    net, data, _, _ = problem("numbers", False)
    own, best = stretch(net, data)
    with pytest.raises(ValueError, match="has no answers"):
        own.own.keep(best, True)
    assert own.advance(1)
    with pytest.raises(ValueError, match="1 epochs are done"):
        own.own.keep(best, False)
    other, _ = stretch(net, data)
    for bad in (best[1:], best.astype(np.float64)):
        other.own.keep(bad, False)
        with pytest.raises((ValueError, TypeError), match="best"):
            other.advance(1)
