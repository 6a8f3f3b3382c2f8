"""One process against two under mpiexec, each with one thread and core, in turn; and the Allreduce's part of a step.

    python -m bench.mpi [--rounds 3] [--mnist mnist.npz]

Needs `pip install '.[mpi]'`. The single process runs the ordinary compiled epochs, without a communicator.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIZES = {"full batch": [784, 256, 128, 10], "Adam 784": [784, 100, 10], "Adam 20": [20, 100, 1]}
SHARES = [[20, 20, 1], [64, 30, 10], [784, 30, 10], [784, 100, 10], [784, 256, 128, 10], [784, 1000, 10],
          [1024, 1024, 1024, 10]]
PROCESSES = [1, 2, 4, 8, 16, 64, 256, 1024]
ALPHA, BETA = 20e-6, 25e9 / 8  # latency in seconds, bytes per second, of TCP on a network of 25 Gbit/s
EACH = 100  # examples per rank and step, where the Allreduce's part is measured


class Timed:
    """A communicator that measures the time of its sums, without waiting for the others."""

    def __init__(self, comm):
        self._comm, self.seconds = comm, []

    def __getattr__(self, name):
        return getattr(self._comm, name)

    def Allreduce(self, mine, total):
        self._comm.Barrier()
        began = time.perf_counter()
        self._comm.Allreduce(mine, total)
        self.seconds.append(time.perf_counter() - began)


def data(sizes, m, mnist=None):
    """X (m, s_1) float32 and labels; from MNIST if it fits"""
    if mnist and sizes[0] == 784:
        with np.load(mnist) as arrays:
            images, labels = arrays["x_train"], arrays["y_train"]
        return (images.reshape(len(images), -1)[:m] / 255).astype(np.float32), labels[:m].astype(np.int64)
    rng = np.random.default_rng(0)
    X = rng.random((m, sizes[0]), np.float32) * (rng.random((m, sizes[0]), np.float32) < 0.2)
    y = rng.integers(0, max(2, sizes[-1]), m)
    return X, y if sizes[-1] > 1 else y.astype(np.float32)


def network(sizes):
    import fastbp

    output = {"output": "softmax"} if sizes[-1] > 1 else {}
    return fastbp.Network(sizes, activation="relu", dtype=np.float32, seed=0, **output)


def median(function, seconds=2.0, least=3):
    """Median of the times of repeated calls"""
    function()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
        if len(times) >= 200:
            break
    return statistics.median(times)


def same_number(comm, n):
    return n if comm is None else comm.bcast(n, root=0)


def repeated(comm, function, seconds=2.0):
    """Median time of a call that all ranks make, as often as rank 0 says"""
    if comm is None:
        return median(function, seconds)
    function()
    began = time.perf_counter()
    function()
    n = same_number(comm, max(3, min(200, int(seconds / (time.perf_counter() - began)))))
    times = []
    for _ in range(n):
        comm.Barrier()
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(comm, mnist):
    """{case: seconds} on this rank"""
    import fastbp
    from fastbp import distributed

    group = None if comm is None else distributed.Group(comm)
    found = {}

    def own(m):
        return slice(m) if comm is None else distributed.rows(m, comm)

    sizes = SIZES["full batch"]
    net, (X, y) = network(sizes), data(sizes, 60_000, mnist)
    X, y = X[own(60_000)], y[own(60_000)]
    found["J and D, 784-256-128-10, m = 60,000"] = repeated(
        comm, lambda: net.cost_and_gradient(X, y, n_threads=1, comm=group), 4)
    trainer = fastbp.Trainer(net, "rprop", n_threads=1, comm=group)
    found["full-batch step, 784-256-128-10, m = 60,000"] = repeated(
        comm, lambda: trainer.epoch(X, y, batch_size=None), 4)
    if comm is not None:
        ordered = distributed.Group(comm, parts=comm.Get_size())
        found["J and D, the same in fixed order"] = repeated(
            comm, lambda: net.cost_and_gradient(X, y, n_threads=1, comm=ordered), 4)
    for name in ("Adam 784", "Adam 20"):
        sizes, m = SIZES[name], 20_000
        label = f"Adam, batch 200, {'-'.join(map(str, sizes))}, epoch of 20,000"
        X_, y_ = data(sizes, m, mnist)
        X_, y_ = X_[own(m)], y_[own(m)]
        for k in (None,) if comm is None else (None, 1, 4, 16, 64):
            trainer = fastbp.Trainer(network(sizes), "adam", n_threads=1, comm=group, sync_every=k)
            found[label + (f", sync_every={k}" if k else "")] = repeated(
                comm, lambda trainer=trainer, X=X_, y=y_: trainer.epoch(X, y, batch_size=200), 1)
    if comm is not None:
        found["shares"] = [share(comm, sizes) for sizes in SHARES]
    return found


def share(comm, sizes):
    """(sizes, parameters, seconds of a step, of these in Allreduce, seconds of the same step in a single process)"""
    import fastbp

    X, y = data(sizes, EACH)
    timed = Timed(comm)
    trainer = fastbp.Trainer(network(sizes), "adam", n_threads=1, comm=timed)
    alone = fastbp.Trainer(network(sizes), "adam", n_threads=1)
    timed.seconds.clear()
    step = repeated(comm, lambda: trainer.step(X, y), 1)
    reduce = statistics.median(timed.seconds)
    single = repeated(comm, lambda: alone.step(X, y), 1)
    return sizes, trainer.net.n_parameters, step, reduce, single


def rank(mnist):
    """The work of one process; rank 0 prints its figures"""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[comm.Get_rank() % len(cores)]})
    found = measure(comm if comm.Get_size() > 1 else None, mnist)
    if comm.Get_rank() == 0:
        print(json.dumps(found))


def launched(n, mnist):
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    command = [mpiexec, "-n", str(n), sys.executable, "-m", "mpi4py", __file__, "--rank", *(["--mnist", mnist] if mnist
                                                                                           else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True,
                          env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    return json.loads(done.stdout.splitlines()[-1])


def on_paper(one, parameters, overhead):
    """T(p) / T(1), with T(p) = T(1)/p + overhead + 2 log2(p) alpha + 2 (p-1)/p bytes / beta for a step of p processes,
    where bytes is the size of Delta plus 64 per rank"""
    def seconds(p):
        count = 4 * parameters + 64 * p
        return one / p + (p > 1) * (overhead + 2 * math.log2(p) * ALPHA + 2 * (p - 1) / p * count / BETA)

    return [one / seconds(p) for p in PROCESSES]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mnist", default="", help="train on these images instead of random ones")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    mnist = str(Path(options.mnist).resolve()) if options.mnist else ""
    if options.rank:
        rank(mnist)
        return
    rounds = [(launched(1, mnist), launched(2, mnist)) for _ in range(options.rounds)]
    print(f"{'case, medians of ' + str(options.rounds) + ' rounds':<62} {'1 process':>10} {'2':>10} {'gain':>6}")
    for case in rounds[0][1]:
        if case == "shares":
            continue
        two = statistics.median(both[case] for _, both in rounds)
        alone = case.split(", sync_every")[0].replace("the same in fixed order", "784-256-128-10, m = 60,000")
        one = statistics.median(single[alone] for single, _ in rounds)
        print(f"{case:<62} {1e3 * one:>7.2f} ms {1e3 * two:>7.2f} ms {one / two:>6.2f}")
    print(f"\n{'a step of 2 x ' + str(EACH) + ' examples, Adam':<30} {'parameters':>10} {'step':>9} {'Allreduce':>10} "
          f"{'share':>6} {'alone, ' + str(EACH):>11}")
    overhead = {}
    for i, (sizes, n, *_) in enumerate(rounds[0][1]["shares"]):
        step, reduce, single = (statistics.median(both["shares"][i][k] for _, both in rounds) for k in (2, 3, 4))
        overhead[n] = step - reduce - single
        print(f"{'-'.join(map(str, sizes)):<30} {n:>10,} {1e6 * step:>6.0f} us {1e6 * reduce:>7.0f} us "
              f"{reduce / step:>6.0%} {1e6 * single:>8.0f} us")
    print(f"\n{'on paper, times one process':<46}" + "".join(f"{p:>8,}" for p in PROCESSES))
    full = statistics.median(single["full-batch step, 784-256-128-10, m = 60,000"] for single, _ in rounds)
    adam = statistics.median(single["Adam, batch 200, 784-100-10, epoch of 20,000"] for single, _ in rounds) / 100
    for name, one, n in (("full batch, 784-256-128-10, m = 60,000", full, 235_146),
                         ("full batch of 1,000,000", full * 100 / 6, 235_146),
                         ("batch 200, 784-100-10", adam, 79_510), ("batch 6,400", 32 * adam, 79_510),
                         ("batch 100,000", 500 * adam, 79_510)):
        gains = on_paper(one, n, overhead[n])
        print(f"{name:<46}" + "".join(f"{gain:>8.1f}" for gain in gains))


if __name__ == "__main__":
    main()
