"""`python -m bench.callbacks`: the time between two epochs of 10 ms, and what the built-in callbacks add to it.

60-100-10, tanh, softmax, Adam, batch 32, as many random examples as an epoch of 10 ms takes, one thread. Between two
epochs come the copy of theta for a divergence, the check for NaN, the history and the callbacks: the wall time of
`train` minus `history.seconds`. Runs without and with callbacks alternate; the table shows medians over the rounds.
The callbacks watch J, since validation is not their cost.
"""

import logging
import statistics
import sys
import time

import numpy as np

sys.path.pop(0)  # the clone's own fastbp/ may be uncompiled: import the installed one
import fastbp
from fastbp.callbacks import EarlyStopping, Logging, ReduceOnPlateau

EPOCH, EPOCHS, ROUNDS = 0.01, 100, 11


def network():
    """Return the same network each time"""
    return fastbp.Network([60, 100, 10], activation="tanh", output="softmax", dtype=np.float32, seed=0)


def callbacks():
    """Return all callbacks of the library, with settings that never stop training; the logger is off."""
    quiet = logging.getLogger("fastbp.bench")
    quiet.setLevel(logging.WARNING)
    return [EarlyStopping("J", patience=10**6), ReduceOnPlateau("J", patience=10**6), Logging(quiet)]


def measure(X, y, watching):
    """Return the seconds of an epoch, and those between two epochs."""
    net = network()
    started = time.perf_counter()
    history = fastbp.train(net, X, y, epochs=EPOCHS, batch_size=32, shuffle=False, callbacks=watching, seed=0,
                           n_threads=1)  # fmt: skip
    wall = time.perf_counter() - started
    return sum(history.seconds) / EPOCHS, (wall - sum(history.seconds)) / EPOCHS


def main():
    """Find the examples that make 10 ms, train in turn, print the two rows."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((10_000, 60), np.float32), rng.integers(0, 10, 10_000)
    measure(X, y, [])
    m = round(len(X) * EPOCH / measure(X, y, [])[0])
    X, y = rng.standard_normal((m, 60), np.float32), rng.integers(0, 10, m)
    found = {"no callbacks": [], "EarlyStopping, ReduceOnPlateau, Logging (off)": []}
    for _ in range(ROUNDS):
        for name, turns in found.items():
            turns.append(measure(X, y, [] if name == "no callbacks" else callbacks()))
    print(f"{'':<47}{'epoch, ms':>10}{'between, us':>13}{'share, %':>10}   ({m} examples)")
    for name, turns in found.items():
        epoch, between = (statistics.median(column) for column in zip(*turns, strict=True))
        print(f"{name:<47}{1e3 * epoch:>10.2f}{1e6 * between:>13.1f}{100 * between / epoch:>10.3f}")


if __name__ == "__main__":
    main()
