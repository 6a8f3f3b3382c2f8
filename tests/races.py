"""A finder of races: threads call every reading function on shared objects, and compare every bit.

    python races.py SECONDS [SEED]      # prints the number of rounds; exit status 1 if a result was wrong

A round makes a network with examples twice, or fitted estimators (races_networks.py, races_estimators.py). The results
of one of them in a single thread are expected from the other. Four threads call it, each in its own order, so objects
that are made at first use are made by several threads at once. Other networks are trained meanwhile. In other rounds
(CHANGES) the threads share objects that are for one thread at a time.
"""

import copy
import random
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from races_estimators import Estimators, examples
from races_networks import World

import fastbp
from fastbp.sklearn import MLPClassifier

THREADS = 4
REFUSED = "one thread at a time"


def bits(value):
    """All bits of a result of any kind"""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, repr(value.tolist())
    if isinstance(value, (list, tuple)):
        return tuple(map(bits, value))
    if isinstance(value, dict):
        return tuple((key, bits(each)) for key, each in value.items())
    return repr(value)


def together(works):
    """Call each function in its own thread, all from the same moment on; returns the errors"""
    barrier, raised = threading.Barrier(len(works)), []

    def run(work):
        barrier.wait()
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def in_another_thread(work):
    """What it returns, or the error that it raises"""
    found = []

    def run():
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    other = threading.Thread(target=run)
    other.start()
    other.join()
    return found[0]


def shared_reads(make, seed, folder, until, repeats=6):
    """(what was wrong, the number of calls) of a round in which threads read"""
    alone, shared = make(seed, folder), make(seed, folder)
    expected = {}
    for name, call in alone.reads().items():
        if time.monotonic() > until:
            break
        expected[name] = bits(call())
    wrong, done = [], Counter()

    def work(member):
        calls, draw = list(shared.reads().items()), random.Random(f"{seed} {member}")
        for turn in range(repeats):
            draw.shuffle(calls)
            for name, call in calls:
                if time.monotonic() > until:
                    return
                if name.startswith("dear") and turn != member % repeats:
                    continue
                try:
                    if name in expected and bits(call()) != expected[name]:
                        wrong.append(f"seed {seed}: {name}")
                except Exception as error:
                    wrong.append(f"seed {seed}: {name}: {error!r}")
                done[member] += 1

    raised = together([lambda member=member: work(member) for member in range(THREADS)])
    return wrong + [f"seed {seed}: {error!r}" for error in raised], sum(done.values())


class Shared:
    """A network, its trainer and an estimator, each for one thread at a time, and the calls that change them."""

    def __init__(self, seed, folder):
        world = World(seed, folder)
        self.path = folder / f"{seed}.shared.fastbp"
        self.net, self.G = world.net, world.G[:50] * np.dtype(world.dtype).type(1e-3)
        self.X, self.Y = world.X[:50], world.Y[:50]
        self.trainer = fastbp.Trainer(self.net, "adam", n_threads=1 + seed % 2)
        self.A, self.b = examples("classes")
        self.warm = MLPClassifier(5, max_iter=1, warm_start=True, random_state=0, n_iter_no_change=99)
        self.online = MLPClassifier(5, random_state=0).partial_fit(self.A, self.b, classes=["a", "b", "c"])

    def state(self):
        """Everything that the changes leave behind"""
        return [self.net.theta, *(vars(own).get(name) for own in (self.warm, self.online)
                                  for name in ("coefs_", "intercepts_", "loss_curve_", "classes_", "t_"))]


def right(copied, net):
    """A ValueError unless all parameters are equal"""
    if copied.theta.tobytes() != net.theta.tobytes():
        raise ValueError("the copy is another network")


# calls that change a `Shared` -> how often a thread makes them
CHANGES = {
    "step": (lambda s: s.trainer.step(s.X, s.Y), 30),
    "step with weights": (lambda s: s.trainer.step(s.X, s.Y, np.full(len(s.X), 0.5)), 20),
    "step along a gradient": (lambda s: s.trainer.step(s.X, gradient=s.G), 30),
    "apply": (lambda s: s.trainer.apply(np.full(s.net.n_parameters, 1e-3)), 30),
    "epoch": (lambda s: s.trainer.epoch(s.X, s.Y, batch_size=8), 30),
    "train": (lambda s: fastbp.train(s.net, s.X, s.Y, optimizer=fastbp.SGD(1e-5), epochs=1, batch_size=8,
                                     shuffle=False), 20),
    "train_many": (lambda s: fastbp.train_many([s.net], s.X, s.Y, optimizer=fastbp.SGD(1e-5), epochs=1, batch_size=8,
                                               shuffle=False), 10),
    "copy": (lambda s: right(copy.deepcopy(s.trainer).net, s.net), 30),
    "save": (lambda s: (s.trainer.save(s.path), right(fastbp.load(s.path), s.net)), 5),
    "minimize": (lambda s: fastbp.minimize(s.net, s.X, s.Y, method="L-BFGS", maxiter=1, weight_decay=0.1), 10),
    "fit": (lambda s: s.warm.fit(s.A, s.b), 4),
    "partial_fit": (lambda s: s.online.partial_fit(s.A, s.b), 10),
    "partial_fit of a row": (lambda s: s.online.partial_fit(s.A[:1], s.b[:1]), 30),
}


def shared_changes(seed, folder, kind):
    """A round in which threads share objects for one thread: each call is refused, or takes its turn in a sequence"""
    own, twin = Shared(seed, folder), Shared(seed, folder)
    change, repeats = CHANGES[kind]
    counts, lock = Counter(), threading.Lock()

    def work():
        for _ in range(repeats):
            try:
                change(own)
            except RuntimeError as error:
                if REFUSED not in str(error):
                    raise
                with lock:
                    counts["refused"] += 1
            else:
                with lock:
                    counts["taken"] += 1

    raised = together([work] * THREADS)
    for _ in range(counts["taken"]):
        change(twin)
    wrong = [f"seed {seed}: {kind}: {error!r}" for error in raised]
    if bits(own.state()) != bits(twin.state()):
        wrong.append(f"seed {seed}: {dict(counts)} of {kind} are no sequence")
    return wrong, sum(counts.values())


def find(seconds, seed=0):
    """(faults, rounds, calls) of about this many seconds"""
    until, wrong, rounds, calls = time.monotonic() + seconds, [], 0, 0
    kinds = list(CHANGES)
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until or rounds < 4:
            each, path = seed + rounds, Path(folder)
            if rounds % 3 == 1:
                found, done = shared_changes(each, path, kinds[rounds // 3 % len(kinds)])
            else:
                make = Estimators if rounds % 6 == 3 else World
                found, done = shared_reads(make, each, path, until)
            wrong, rounds, calls = wrong + found, rounds + 1, calls + done
    return wrong, rounds, calls


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    wrong, rounds, calls = find(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"{'with' if gil else 'without'} the GIL: {calls} calls in {rounds} rounds, {len(wrong)} wrong")
    print("\n".join(f"{n} x {each}" for each, n in Counter(wrong).most_common(40)))
    sys.exit(bool(wrong))
