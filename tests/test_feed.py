"""The examples of an epoch: held-out data, windows, chunks, memory maps."""

import itertools
import tracemalloc

import numpy as np
import pytest

import fastbp
from fastbp.engine.data import Data
from fastbp.training import feed as feeds


def digits(m=300):
    X, y = fastbp.datasets.load_digits()
    return X[:m] / 16, y[:m]


def network(seed=0, dtype=np.float64):
    return fastbp.Network([64, 12, 10], activation="tanh", output="softmax", dtype=dtype, seed=seed)


def noisy(m=60):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((m, 6))
    return X, (X[:, 0] + rng.standard_normal(m) > 0).astype(float)


def test_validation_split_keeps_these_examples_from_training():
    X, y = digits(100)
    w = np.linspace(0.5, 1.5, 100)
    net, twin = network(), network()
    history = fastbp.train(net, X, y, epochs=2, seed=7, validation_split=0.2, sample_weight=w, shuffle=False)
    order = np.random.default_rng(7).permutation(100)
    held, rest = np.sort(order[:20]), np.sort(order[20:])
    expected = fastbp.train(twin, X[rest], y[rest], epochs=2, shuffle=False, sample_weight=w[rest],
                            validation_data=(X[held], y[held], w[held]))
    assert (net.theta == twin.theta).all()
    assert history.val_J == expected.val_J
    assert history.examples == 80


@pytest.mark.parametrize("sizes", [[64, 64, 64, 8], [200], [1, 50, 49, 100], [37] * 5 + [15]])
@pytest.mark.parametrize("form", ["list", "function"])
def test_chunks_of_any_size_give_the_bits_of_the_array(sizes, form):
    X, y = digits(200)
    cuts = np.cumsum([0, *sizes])
    assert cuts[-1] == 200
    buffer = np.empty_like(X)

    def chunks():   # each overwrites the one before, as file readers do
        for a, b in itertools.pairwise(cuts):
            buffer[: b - a] = X[a:b]
            yield buffer[: b - a], y[a:b]

    for shuffle in (False, True):
        one, other = network(), network()
        source = chunks if form == "function" else [(X[a:b], y[a:b]) for a, b in itertools.pairwise(cuts)]
        history = fastbp.train(one, source, epochs=2, batch_size=10, shuffle=shuffle, window=40, seed=2)
        expected = fastbp.train(other, X, y, epochs=2, batch_size=10, shuffle=shuffle, window=40, seed=2)
        assert (one.theta == other.theta).all()
        assert history.J == expected.J
        assert history.examples == 200


def test_chunks_of_several_dtypes_lose_nothing():
    """A window of pixels is uint8, then float32, then float64"""
    X, y = digits(90)
    X = np.round(X * 16)
    X[60:] += 1e-9
    chunks = [(X[:30].astype(np.uint8), y[:30]), (X[30:60].astype(np.float32), y[30:60]), (X[60:], y[60:])]
    one, other = network(), network()
    fastbp.train(one, chunks, epochs=1, window=90, batch_size=9, seed=2)
    fastbp.train(other, X, y, epochs=1, window=90, batch_size=9, seed=2)
    assert (one.theta == other.theta).all()


def test_a_memory_map_is_read_where_it_lies(tmp_path):
    """Anonymous memory does not grow with the file"""
    def anonymous():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=np.float32, shape=(400_000, 64))
    y = np.lib.format.open_memmap(tmp_path / "y.npy", mode="w+", dtype=np.int64, shape=(400_000,))
    X[::1000], y[::7] = 1, 3
    X, y = (np.load(tmp_path / name, mmap_mode="r") for name in ("X.npy", "y.npy"))
    net = network(dtype=np.float32)
    before = anonymous()
    fastbp.train(net, X, y, epochs=1, batch_size=200, window=20_000, seed=0)
    assert anonymous() - before < 30    # MB, of 98: the order of the examples takes 3
    in_memory = network(dtype=np.float32)
    fastbp.train(in_memory, np.array(X), np.array(y), epochs=1, batch_size=200, window=20_000, seed=0)
    assert (net.theta == in_memory.theta).all()


def test_metrics_of_the_rows_that_are_trained_on_copy_no_rows():
    X, y = np.random.default_rng(0).standard_normal((20_000, 200)), np.arange(20_000) % 3     # 32 MB
    net = fastbp.Network([200, 2, 3], output="softmax", seed=0)
    tracemalloc.start()
    try:
        history = fastbp.train(net, X, y, epochs=1, validation_split=0.01, metrics=["accuracy"], seed=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    rest = np.sort(np.random.default_rng(0).permutation(20_000)[200:])
    assert history["accuracy"] == [net.evaluate(X[rest], y[rest]).accuracy]
    assert peak < 8e6


@pytest.mark.parametrize("rows", [None, np.arange(0, 200_000, 2)])
@pytest.mark.parametrize("window", [64, 10_000, 70_000, None])
def test_the_order_of_windows_is_drawn_as_they_come(window, rows):
    """For any number of examples, memory holds the order of at most 2^16 of them, or of one window"""
    data = Data(fastbp.Network([1, 1], seed=0).plan, np.float64, np.zeros((200_000, 1)), np.zeros(200_000))
    feed = feeds.Arrays(data, 64, True, window, rows)
    pieces = [order for _, order in feed.pieces(np.random.default_rng(3))]
    m, width = feed.m, feed.window
    assert max(map(len, pieces)) <= max(width, 2**16)
    assert all(len(piece) % width == 0 for piece in pieces[:-1])
    rng = np.random.default_rng(3)
    order = np.concatenate([first + rng.permutation(min(width, m - first)) for first in range(0, m, width)])
    np.testing.assert_array_equal(np.concatenate(pieces), order if rows is None else rows[order])


@pytest.mark.parametrize(("X", "options", "error", "message"), [
    (np.zeros((5, 6)), {}, TypeError, "iterable of chunks"),
    (iter([]), {}, TypeError, "restarts"),
    ([], {}, ValueError, "no chunks"),
    ([3], {}, TypeError, "chunk 0 must be"),
    ([noisy()], {"batch_size": None}, ValueError, "batch_size"),
    ([noisy()], {"lam": 1.0}, ValueError, "lam needs all"),
    ([noisy()], {"validation_split": 0.1}, ValueError, "validation_split needs all"),
    ([(noisy()[0][:, :5], noisy()[1])], {}, ValueError, "X of chunk 0 has 5 columns"),
    ([noisy(), (*noisy(), np.ones(60))], {}, ValueError, "chunk 1 must have"),
    ([(*noisy(), np.zeros(60))], {}, ValueError, "sample_weight of chunk 0"),
    (lambda: None, {}, TypeError, "X must return an iterator of chunks .* None"),
    ([noisy()], {"metrics": ["mae"]}, ValueError, "with chunks, metrics .* validation_data"),
])
def test_bad_chunks_are_named(X, options, error, message):
    with pytest.raises(error, match=message):
        fastbp.train(fastbp.Network([6, 4, 1], seed=1), X, epochs=1, **options)


def test_chunks_are_measured_on_the_validation_data():
    history = fastbp.train(fastbp.Network([6, 4, 1], seed=1), [noisy()], epochs=2, metrics=["mae"],
                           validation_data=noisy(20))
    assert list(history.metrics) == ["val_mae"]


def test_a_window_whose_weights_are_all_zero_teaches_nothing():
    """Two windows, the first with weight 0: the epoch consists of the second, in its order"""
    X, y = noisy()
    w = np.repeat([0.0, 1.0], [30, len(X) - 30])
    chunks, one = [(X, y, w)], fastbp.Network([6, 1], seed=1)
    other = one.copy()
    fastbp.train(one, chunks, epochs=1, window=30, batch_size=10, shuffle=False, optimizer=fastbp.SGD(0.1))
    fastbp.train(other, [(X[30:], y[30:], w[30:])], epochs=1, window=30, batch_size=10, shuffle=False,
                 optimizer=fastbp.SGD(0.1))
    assert (one.theta == other.theta).all()
