"""`python -m bench.memory`: the anonymous memory of training on a file that may be larger than memory.

784-64-10, ReLU, softmax, Adam, batch 64, one epoch over random pixels, shuffled within windows of 20,000 (60 MB). The
file is memory-mapped, read as a stream of chunks, or read into memory, each in its own process, which samples its
RssAnon every 5 ms: memory that no file backs, and that the system cannot drop. Only the third may grow with the file,
and theta must have the same bits in all three.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

COLUMNS, CHUNK, WINDOW = 784, 5_000, 20_000
FORMS = ("mapped", "stream", "in memory")


def anonymous():
    """RssAnon of this process, MB"""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def write(folder, gib):
    """X.npy (m, 784) float32 and y.npy (m,) int64, `gib` GiB in total"""
    m = int(gib * 2**30) // (4 * COLUMNS)
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(folder / "X.npy", mode="w+", dtype=np.float32, shape=(m, COLUMNS))
    for first in range(0, m, CHUNK):
        rng.random(out=X[first : first + CHUNK], dtype=np.float32)
    np.save(folder / "y.npy", rng.integers(0, 10, m))


def chunks(folder):
    """(X, y) of some rows at a time, read from the file in order"""
    y = np.load(folder / "y.npy")
    with open(folder / "X.npy", "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        for first in range(0, len(y), CHUNK):
            rows = y[first : first + CHUNK]
            yield np.fromfile(file, np.float32, len(rows) * COLUMNS).reshape(-1, COLUMNS), rows


def measure(form, folder):
    """Train in this process; returns memory, time and results"""
    import fastbp

    net = fastbp.Network([COLUMNS, 64, 10], activation="relu", output="softmax", dtype=np.float32, seed=0)
    before, samples, done = anonymous(), [], threading.Event()

    def sample():
        while not done.wait(0.005):
            samples.append(anonymous())

    (watch := threading.Thread(target=sample)).start()
    started = time.perf_counter()
    if form == "stream":
        X, y = (lambda: chunks(folder)), None
    else:
        X, y = (np.load(folder / name, mmap_mode="r" if form == "mapped" else None) for name in ("X.npy", "y.npy"))
    history = fastbp.train(net, X, y, epochs=1, batch_size=64, window=WINDOW, seed=0)
    seconds = time.perf_counter() - started
    done.set()
    watch.join()
    return {"before": before, "peak": max(samples), "after": anonymous(), "seconds": seconds, "J": history.J[0],
            "theta": hashlib.sha256(net.theta.tobytes()).hexdigest()[:12]}  # fmt: skip


def main():
    """Write each file, train in the three forms, print the table, delete it; with --form, be one of the processes."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, nargs="+", default=[0.5, 4.0], help="sizes of the file")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="for the file, deleted afterwards")
    parser.add_argument("--form", choices=FORMS, help="train in this process on the file in --folder")
    settings = parser.parse_args()
    if settings.form:
        sys.path.pop(0)  # the clone's own fastbp/ may be uncompiled: import the installed one
        print(json.dumps(measure(settings.form, Path(settings.folder))))
        return
    print("RssAnon, MB   GiB   before     peak    after       s  J         theta")
    for gib in settings.gib:
        with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
            write(Path(folder), gib)
            for form in FORMS:
                command = [sys.executable, "-m", "bench.memory", "--form", form, "--folder", folder]
                done = subprocess.run(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, check=True)
                r = json.loads(done.stdout)
                print(f"{form:<10}{gib:>7.1f}{r['before']:>9.1f}{r['peak']:>9.1f}{r['after']:>9.1f}{r['seconds']:>8.1f}"
                      f"  {r['J']:.6f}  {r['theta']}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
