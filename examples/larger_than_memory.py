"""Data larger than memory: a memory map shuffled within windows, and the same examples as a stream of chunks."""

import tempfile
from pathlib import Path

import numpy as np

import fastbp

m, inputs, window = 60_000, 50, 4096
rng = np.random.default_rng(0)
direction = rng.standard_normal(inputs) / inputs**0.5


def write(path):
    """A .npy written piece by piece, as for a file that does not fit into memory"""
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(m, inputs))
    y = np.empty(m, np.int64)
    for first in range(0, m, 10_000):
        rows = slice(first, first + 10_000)
        X[rows] = rng.standard_normal((10_000, inputs))
        y[rows] = np.abs(X[rows] @ direction) > 0.67
    X.flush()
    return y


def anonymous():
    """Memory of this process that no file backs, in MB (Linux only)"""
    status = Path("/proc/self/status")
    return int(status.read_text().split("RssAnon:")[1].split()[0]) / 1024 if status.exists() else float("nan")


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "X.npy"
    y = write(path)
    X = np.load(path, mmap_mode="r")
    options = {"optimizer": fastbp.Adam(3e-3), "epochs": 4, "batch_size": 64, "window": window, "seed": 0}

    before = anonymous()
    mapped = fastbp.Network([inputs, 64, 1], activation="relu", dtype=np.float32, seed=0)
    print(fastbp.train(mapped, X, y, **options))
    print(f"file {X.nbytes / 2**20:.0f} MB, anonymous memory {anonymous() - before:+.1f} MB")

    def chunks():
        """Anything that yields (X, y) will do: a database, a CSV, a generator"""
        for first in range(0, m, 2500):
            yield X[first : first + 2500], y[first : first + 2500]

    streamed = fastbp.Network([inputs, 64, 1], activation="relu", dtype=np.float32, seed=0)
    fastbp.train(streamed, chunks, **options)
    print(f"the same bits from the stream: {mapped.theta.tobytes() == streamed.theta.tobytes()}")
