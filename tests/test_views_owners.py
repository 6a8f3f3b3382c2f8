"""Owners of memory that a view does not show: behind memoryviews and subclasses, replaced, or freed during a call."""

import ctypes
import gc
import mmap

import numpy as np
import pytest

import fastbp
from fastbp import _backprop

M, INPUTS, K = 64, 50, 10
LARGE = 10**6   # values: memory that the system takes back at once


class Own(np.ndarray):
    pass


def network():
    return fastbp.Network([INPUTS, 40, K], output="softmax", seed=0)


def data(m=M):
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, INPUTS)), rng.integers(K, size=m)


def by_subclass(raw):
    owner = Own(raw.shape)
    owner[:] = raw
    return owner.view(np.ndarray)[:], lambda: owner.resize(1, refcheck=False)


def by_memoryview(raw):
    owner = raw.copy()
    return np.frombuffer(memoryview(owner))[:], lambda: owner.resize(1, refcheck=False)


def by_memoryview_of_a_view(raw):
    owner = np.concatenate([raw, np.zeros(LARGE)])
    return np.asarray(memoryview(owner[: len(raw)])), lambda: owner.resize(1, refcheck=False)


def by_ctypes(raw):
    owner = (ctypes.c_double * len(raw))(*raw)
    ctypes.resize(owner, LARGE * 16)
    view, begin = np.frombuffer(owner, count=len(raw)), ctypes.addressof(owner)

    def lose():
        size = LARGE * 80
        while ctypes.addressof(owner) == begin:     # the system may find room behind it
            ctypes.resize(owner, size)
            size *= 2

    return view, lose


def by_released_memoryview(raw):
    view = np.frombuffer(bytearray(raw.tobytes()))
    return view, view.base.release


def by_closed_map(raw):
    owner = mmap.mmap(-1, raw.nbytes)
    view = np.ndarray(raw.shape, buffer=owner)
    view[:] = raw
    return view, owner.close


OWNERS = [by_subclass, by_memoryview, by_memoryview_of_a_view, by_ctypes, by_released_memoryview, by_closed_map]


def lost(owner, raw):
    """A view with the values of raw (any,), whose memory has been freed."""
    view, lose = owner(raw.ravel().astype(np.float64))
    view = view.reshape(raw.shape)
    lose()
    return view


@pytest.mark.parametrize("owner", OWNERS)
def test_fault_54_memory_is_followed_to_whoever_owns_it(owner):
    net, (X, y) = network(), data()
    theta, Y = net.theta.copy(), np.eye(K)[y]
    trainer = fastbp.Trainer(net)
    for name, call in [
        ("X", lambda: net.predict(lost(owner, X))), ("X", lambda: net.predict(lost(owner, X[0]))),
        ("X", lambda: net.cost(lost(owner, X), y)), ("X", lambda: net.cost(lost(owner, X), y, sample_weight=y + 1)),
        ("X", lambda: net.activations(lost(owner, X))), ("X", lambda: net.evaluate(lost(owner, X), y)),
        ("X", lambda: trainer.step(lost(owner, X), y)), ("X", lambda: trainer.epoch(lost(owner, X), y)),
        ("X", lambda: fastbp.train(net, lost(owner, X), y, epochs=1)),
        ("Y", lambda: net.cost(X, lost(owner, Y))), ("Y", lambda: net.deltas(X, lost(owner, Y))),
        ("Y", lambda: trainer.step(X, lost(owner, Y))),
        ("sample_weight", lambda: net.cost(X, y, sample_weight=lost(owner, y + 1.0))),
        ("theta", lambda: net.cost(X, y, theta=lost(owner, theta))),
        ("out", lambda: net.predict(X, out=lost(owner, Y))),
        ("out", lambda: net.predict(X[0], out=lost(owner, Y[0]))),
        ("out", lambda: net.cost_and_gradient(X, y, out=lost(owner, theta))),
    ]:
        with pytest.raises(ValueError, match=f"^{name} (is a view of an array that has been resized|must be C-cont)"):
            call()
        assert np.array_equal(net.theta, theta)


@pytest.mark.parametrize("owner", OWNERS)
def test_fault_54_views_of_memory_that_is_there_give_the_bits_of_copies(owner):
    net, (X, y) = network(), data()
    view, lose = owner(X.ravel())
    view = view.reshape(X.shape)
    np.testing.assert_array_equal(net.predict(view), net.predict(X))
    kept = net.data(view, y)
    assert net.evaluate_data(kept) == net.evaluate(X, y)
    fastbp.Trainer(net).epoch(view, y)
    lose()
    with pytest.raises(ValueError, match=r"^X (of the examples changed|is a view of an array that has been resized)"):
        net.evaluate_data(kept)


def another_owner(raw, shape):
    """A view of raw, of more than 1000 bytes, whose owner is freed when it becomes a view of raw itself."""
    view = np.frombuffer(raw).reshape(shape)
    at = view.ctypes.data

    def exchange():
        view.__setstate__((1, view.shape, view.dtype, False, raw))
        assert view.ctypes.data == at

    return view, exchange


def test_fault_54_an_array_that_gets_another_owner_is_refused():
    net, (X, y) = network(), data()
    view, exchange = another_owner(X.tobytes(), X.shape)
    kept = net.data(view, y)
    assert net.evaluate_data(kept) == net.evaluate(X, y)
    exchange()
    with pytest.raises(ValueError, match=r"^X of the examples changed shape, dtype or place"):
        net.evaluate_data(kept)
    frozen, exchange = another_owner(net.theta.tobytes(), net.theta.shape)
    predictor = _backprop.Predictor(net.plan.code, frozen, 32, np.ndarray, np.empty)
    np.testing.assert_array_equal(predictor.predict(X[0], None), net.predict(X[0]))
    exchange()
    with pytest.raises(ValueError, match=r"^net\.theta has been resized"):
        predictor.predict(X[0], None)


def test_fault_54_memory_of_theta_that_is_given_back_is_not_used():
    net, (X, y) = network(), data()
    trainer = fastbp.Trainer(net)
    trainer.step(X, y)
    kept = memoryview(net.theta.base)       # else NumPy itself would read what is gone
    net.theta.base.release()
    with pytest.raises(ValueError, match=r"^net\.theta has been resized"):
        trainer.step(X, y)
    assert kept.nbytes


def collected(call, act, threshold):
    """The result of call(), or its ValueError; act() runs at the first garbage collection inside the call."""
    waiting = [act]

    def callback(phase, info):
        if waiting:
            waiting.pop()()

    gc.collect()
    gc.disable()
    before = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(threshold)
    gc.enable()
    try:
        return call()
    except ValueError as error:
        return error
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(callback)


@pytest.mark.parametrize("name", ["predict", "activations", "deltas", "cost", "gradient", "evaluate", "step"])
@pytest.mark.parametrize("labels", [np.int64, np.int32])
@pytest.mark.parametrize("threshold", range(1, 9))
def test_fault_54_examples_that_are_resized_within_a_call_are_refused_or_were_read_before(name, labels, threshold):
    net, (X, y) = network(), data()
    y = y.astype(labels)
    trainer, twin = fastbp.Trainer(net, "adam"), fastbp.Trainer(net.copy(), "adam")
    for each in (trainer, twin):
        each.step(X, y)
    calls = {
        "predict": lambda X: net.predict(X), "activations": lambda X: net.activations(X),
        "deltas": lambda X: net.deltas(X, y), "cost": lambda X: net.cost(X, y),
        "gradient": lambda X: net.cost_and_gradient(X, y)[1], "evaluate": lambda X: net.evaluate(X, y).cost,
        "step": lambda X: trainer.step(X, y),
    }
    right = twin.step(X, y) if name == "step" else calls[name](X)
    owner = np.zeros((LARGE // INPUTS, INPUTS))
    owner[:M] = X
    view = owner[:M]
    found = collected(lambda: calls[name](view), lambda: owner.resize(1, refcheck=False), threshold)
    if isinstance(found, ValueError):
        assert str(found).startswith("X is a view of an array that has been resized")
        return
    for a, b in zip(found, right, strict=True) if isinstance(right, list) else [(found, right)]:
        np.testing.assert_array_equal(a, b)
