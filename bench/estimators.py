"""`python -m bench.estimators`: fastbp.sklearn against scikit-learn's own classes, fit against fit at equal settings.

Each number of threads has its own process, which knows it before anything is imported. The two take turns, round after
round; the table shows medians of the turns, and scikit-learn's divided by fastbp's. With --cpu-time (one thread) it
counts CPU seconds, for a shared machine. Cases without a figure for scikit-learn concern only fastbp: how searches
scale, and whether threads inside jobs get in each other's way.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np

from .contest import ROOT
from .environment import cores, environment

EPOCHS, LONG, SEARCH_EPOCHS, LONG_SEARCH, CALLS = 10, 100, 30, 300, 300


@dataclass(frozen=True)
class Case:
    """One row of the table: `run(module, n_threads)` prepares and returns the timed function; seconds times `scale`."""

    name: str
    unit: str
    scale: float
    run: object
    threads: tuple = (1, 2)
    alone: bool = False     # only fastbp


def examples(m, columns, classes, dtype):
    """X (m, columns), and labels by the largest of `classes` random directions; for one class, a target instead."""
    rng = np.random.RandomState(0)
    X = rng.randn(m, columns).astype(dtype)
    Z = X @ rng.randn(columns, classes).astype(dtype) / columns**0.5
    return X, Z.argmax(axis=1) if classes > 1 else np.tanh(Z).ravel()


def estimator(module, classes, n_threads, **parameters):
    """The class of this module; fastbp's with its threads."""
    own = {"n_threads": n_threads} if module.__name__.startswith("fastbp") else {}
    cls = module.MLPClassifier if classes > 1 else module.MLPRegressor
    return cls(**{"hidden_layer_sizes": (100,), "random_state": 0, "tol": 0, **own, **parameters})


def fit(columns, classes, dtype, weighted=False, m=20_000, epochs=EPOCHS, **parameters):
    """A whole fit: checks, start, epochs."""
    def prepare(module, n_threads):
        X, y = examples(m, columns, classes, dtype)
        w = np.random.RandomState(1).rand(m) if weighted else None
        model = estimator(module, classes, n_threads, max_iter=epochs, **parameters)
        return lambda: model.fit(X, y, sample_weight=w)

    return prepare


def one_row(method):
    """CALLS calls with one row each."""
    def prepare(module, n_threads):
        X, y = examples(1000, 20, 1, np.float64)
        model = estimator(module, 1, n_threads, max_iter=1).fit(X, y)
        rows = [(X[i : i + 1], y[i : i + 1]) for i in range(CALLS)]
        if method == "predict":
            return lambda: [model.predict(x) for x, _ in rows]
        return lambda: [model.partial_fit(x, t) for x, t in rows]

    return prepare


def search(n_jobs, backend, n_threads, epochs=LONG_SEARCH):
    """GridSearchCV over eight candidates, two folds; n_threads for each fit (only in fastbp)."""
    def prepare(module, _):
        from joblib import parallel_backend
        from sklearn.model_selection import GridSearchCV

        X, y = examples(4000, 64, 10, np.float32)
        model = estimator(module, 10, n_threads, max_iter=epochs, n_iter_no_change=np.inf)
        grid = GridSearchCV(model, {"alpha": np.logspace(-5, 2, 8)}, cv=2, n_jobs=n_jobs, refit=False)

        def run():
            with parallel_backend(backend):
                grid.fit(X, y)

        return run

    return prepare


EPOCH, CALL, SECONDS = ("ms/epoch", 1e3 / EPOCHS), ("µs/call", 1e6 / CALLS), ("s", 1.0)
CASES = [
    Case(f"fit {layers}, batch {batch}, {np.dtype(dtype).name}", *EPOCH,
         fit(columns, classes, dtype, batch_size=batch))
    for layers, columns, classes in (("20-100-1", 20, 1), ("64-100-10", 64, 10))
    for batch in (200, 32)
    for dtype in (np.float32, np.float64)
] + [
    Case("fit 64-100-10, weights, batch 200, float32", *EPOCH, fit(64, 10, np.float32, weighted=True, batch_size=200)),
    Case(f"fit 64-100-10, batch 200, float32, {LONG} epochs", "ms/epoch", 1e3 / LONG,
         fit(64, 10, np.float32, batch_size=200, epochs=LONG)),
    Case("lbfgs 400-25-10, m = 5,000, 50 iterations", *SECONDS,
         fit(400, 10, np.float64, m=5000, epochs=50, solver="lbfgs", hidden_layer_sizes=(25,))),
    Case("lbfgs 400-25-1, m = 5,000, 50 iterations", *SECONDS,
         fit(400, 2, np.float64, m=5000, epochs=50, solver="lbfgs", hidden_layer_sizes=(25,))),
    Case("fit of 200 rows, one epoch", "ms", 1e3, fit(20, 1, np.float64, m=200, epochs=1)),
    Case("partial_fit, one row, 20-100-1", *CALL, one_row("partial_fit")),
    Case("predict, one row, 20-100-1", *CALL, one_row("predict")),
    Case("GridSearchCV, 2 jobs, loky, 30 epochs", *SECONDS, search(2, "loky", None, SEARCH_EPOCHS), (2,)),
] + [
    Case(f"GridSearchCV, {jobs}, n_threads={n}", *SECONDS, search(int(jobs[0]), backend, n), (2,), alone=True)
    for jobs, backend, n in (
        ("1 job", "threading", 1), ("2 jobs, threading", "threading", 1), ("2 jobs, threading", "threading", None),
        ("2 jobs, threading", "threading", 2), ("2 jobs, loky", "loky", 1), ("2 jobs, loky", "loky", None),
    )
]


def measure(settings, n_threads):
    """Run the cases of this number of threads in this process; one line of JSON per case."""
    import sklearn.neural_network

    import fastbp.sklearn

    warnings.simplefilter("ignore")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores(n_threads))
    clock = time.process_time if settings.cpu_time else time.perf_counter
    for i, case in enumerate(CASES):
        if n_threads not in case.threads or not chosen(case, settings):
            continue
        modules = (fastbp.sklearn,) if case.alone else (fastbp.sklearn, sklearn.neural_network)
        pair = [case.run(module, n_threads) for module in modules]
        turns = [[] for _ in pair]
        for turn in range(settings.rounds + 1):
            for who in range(len(pair))[:: 1 if turn % 2 else -1]:
                begun = clock()
                pair[who]()
                if turn:        # the first warms up
                    turns[who].append(clock() - begun)
        print(json.dumps([i, [case.scale * statistics.median(each) for each in turns]]), flush=True)


def chosen(case, settings):
    """Is this one of the requested cases?"""
    return not settings.cases or any(text.lower() in case.name.lower() for text in settings.cases)


def main():
    """Start a process for each number of threads, and print the table row by row."""
    parser = argparse.ArgumentParser(prog="python -m bench.estimators", description=__doc__)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2] if (os.cpu_count() or 1) > 1 else [1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", metavar="TEXT", help="only those whose name contains one of these")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.here:
        measure(settings, settings.here)
        return
    if settings.cpu_time and settings.threads != [1]:
        parser.error("--cpu-time goes with --threads 1")
    for n in settings.threads:
        print(f"\n| {n} thread{'s' * (n > 1)} | | fastbp | scikit-learn | ahead |\n|---|---|---|---|---|")
        command = [sys.executable, "-m", "bench.estimators", *sys.argv[1:], "--here", str(n)]
        with subprocess.Popen(command, cwd=ROOT, env=environment(n), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                i, (own, *others) = json.loads(line)
                theirs = [f"{other:.3g} | {other / own:.1f}" for other in others] or [" | "]
                print(f"| {CASES[i].name} | {CASES[i].unit} | {own:.3g} | {theirs[0]} |", flush=True)
        if process.returncode:
            sys.exit(process.returncode)


if __name__ == "__main__":
    main()
