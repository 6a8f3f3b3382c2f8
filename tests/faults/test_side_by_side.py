"""One network predicts in many threads while another is trained; data change while they are used."""

import threading

import numpy as np
import pytest

import fastbp

# ---------------------------------------------------------------- 16: side by side


def test_fault_16_eight_threads_predict_with_one_network_while_another_is_trained():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 60)).astype("f4"), rng.integers(0, 10, 2000)
    net = fastbp.Network([60, 80, 10], output="softmax", dtype="f4", seed=0)
    other, stop, wrong, counts = net.copy(), threading.Event(), [], []
    rows, each = net.predict(X[:200]).tobytes(), [net.predict(x).tobytes() for x in X[:20]]

    def predict():
        count = 0
        while not stop.is_set():
            if net.predict(X[:200]).tobytes() != rows or [net.predict(x).tobytes() for x in X[:20]] != each:
                wrong.append(count)
            count += 1
        counts.append(count)

    crowd = [threading.Thread(target=predict) for _ in range(8)]
    for thread in crowd:
        thread.start()
    fastbp.train(other, X, y, epochs=20, batch_size=100, seed=0)
    stop.set()
    for thread in crowd:
        thread.join()
    alone = net.copy()
    fastbp.train(alone, X, y, epochs=20, batch_size=100, seed=0)
    assert alone.theta.tobytes() == other.theta.tobytes()
    assert wrong == []
    assert min(counts) > 0


def test_fault_16_a_network_predicts_while_it_is_trained():
    """Its predictions are between two of its states, and nothing more is promised; training is not disturbed"""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 60)).astype("f4"), rng.integers(0, 10, 2000)
    net = fastbp.Network([60, 80, 10], output="softmax", dtype="f4", seed=0)
    alone, stop, sums = net.copy(), threading.Event(), []

    def predict():
        while not stop.is_set():
            h = net.predict(X[:200])
            sums.append(np.abs(h.sum(axis=1) - 1).max())
            sums.append(abs(net.predict(X[0]).sum() - 1))

    thread = threading.Thread(target=predict)
    thread.start()
    fastbp.train(net, X, y, epochs=20, batch_size=100, seed=0)
    stop.set()
    thread.join()
    fastbp.train(alone, X, y, epochs=20, batch_size=100, seed=0)
    assert net.theta.tobytes() == alone.theta.tobytes()
    assert max(sums) < 1e-5


# ---------------------------------------------------------------- 33: the data change meanwhile


@pytest.mark.parametrize("form", ["labels", "targets"])
@pytest.mark.parametrize("batch_size", [1, 100, None])
def test_fault_33_data_that_another_thread_changes_meanwhile_crash_nothing(form, batch_size):
    """The results are useless, but are numbers or a refusal: labels far out of range, NaN, infinity are written"""
    rng, ended = np.random.default_rng(0), []
    first, labels = rng.standard_normal((2000, 60)).astype("f4"), rng.integers(0, 10, 2000)
    X, Y = first.copy(), labels.copy() if form == "labels" else np.eye(10, dtype="f4")[labels]
    w = np.ones(2000, "f4")
    go, stop, pen = threading.Event(), threading.Event(), threading.Lock()

    def write():
        while not stop.is_set():
            go.wait()
            with pen:
                for array in (X, Y, w) if go.is_set() else ():
                    cells = rng.integers(0, array.size, 200)
                    wild = [2**62, -(2**62), -1, 10, 3] if array.dtype.kind == "i" else [np.nan, np.inf, -1e38, 0, 1e3]
                    array.flat[cells] = rng.choice(wild, 200)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for seed in range(6):
            net = fastbp.Network([60, 80, 10], output="softmax" if form == "labels" else "sigmoid", dtype="f4", seed=0)
            data = net.data(X, Y, w)
            fastbp.train(net, X, Y, optimizer=fastbp.SGD(1e-3), epochs=1, batch_size=batch_size, sample_weight=w)

            class Begins(fastbp.callbacks.Callback):
                def on_train_begin(self, training):
                    go.set()

            try:
                fastbp.train(net, X, Y, optimizer=fastbp.SGD(1e-6), epochs=30 if batch_size else 100, seed=seed,
                             batch_size=batch_size, sample_weight=w, callbacks=[Begins()])
                ended.append("run")
            except fastbp.DivergenceError:
                ended.append("diverged")
            except ValueError as error:     # labels are checked again before each epoch
                if form != "labels" or "has been changed to" not in str(error):
                    raise
                ended.append("diverged")
            assert np.isfinite(net.theta).all()
            for call in (
                lambda net=net: net.cost_and_gradient(X, Y), lambda net=net: net.evaluate(X, Y),
                lambda net=net, data=data: net.evaluate_data(data),
                lambda net=net: net.accumulate(X[:50], Y[:50], per_example=True), lambda net=net: net.predict(X),
            ):
                try:
                    call()
                except ValueError:
                    ended.append("refused")
            go.clear()
            with pen:
                for array, value in ((X, first), (Y, labels if form == "labels" else np.eye(10)[labels]), (w, 1)):
                    np.copyto(array, value)
    finally:
        stop.set()
        go.set()
        writer.join()
    assert "diverged" in ended
    assert "refused" in ended
