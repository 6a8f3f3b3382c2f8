"""A finder of races: threads call every reading function on shared objects, and compare every bit.

    python races.py SECONDS [SEED]      # prints the number of rounds; exit status 1 if a result was wrong

A round makes a network with examples twice. The results of one of them in a single thread are expected from the other,
which four threads call, each in its own order. So objects that are made at first use are made by several threads at
once. Other networks are trained meanwhile. In other rounds the threads share objects that are for one thread at a time.
"""

import copy
import pickle
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

import fastbp
from fastbp.engine import objective, regularisation

THREADS = 4
REFUSED = "one thread at a time"


def bits(value):
    """All bits of a result of any kind"""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (list, tuple)):
        return tuple(map(bits, value))
    return repr(value)


class World:
    """A network, examples, and all functions that read them, drawn by a seed."""

    def __init__(self, seed, folder):
        draw = random.Random(seed)
        self.draw, self.seed, self.folder = draw, seed, folder
        rng = np.random.default_rng(seed)
        output, loss = draw.choice([("softmax", None), ("sigmoid", None), ("identity", None), ("exp", None)])
        s1, K, hidden = draw.randint(1, 30), draw.randint(2, 6), draw.choice([[], [9], [20, 7], [300]])
        self.dtype = draw.choice(["f4", "f8"])
        smoothing = {"label_smoothing": 0.1} if output in ("softmax", "sigmoid") and draw.random() < 0.5 else {}
        self.net = fastbp.Network([s1, *hidden, K], activation=draw.choice(["tanh", "relu", "gelu"]), output=output,
                                  loss=loss, dtype=self.dtype, seed=seed, **smoothing)
        m = draw.choice([1, 20, 200, 200, 2000])
        whole = rng.integers(-3, 4, (m, s1))
        self.X = draw.choice([whole, whole.astype("f4"), whole.astype("f8"), whole.astype(self.dtype)[::-1]])
        self.Y = rng.integers(0, K, m) if output == "softmax" else rng.integers(0, 2, (m, K)).astype(
            draw.choice(["i8", self.dtype, "u1"]))
        self.w = rng.uniform(0.5, 2, m)
        self.p = rng.standard_normal(self.net.n_parameters).astype(self.dtype)
        self.G = rng.standard_normal((m, K)).astype(self.dtype)
        self.data = self.net.data(self.X, self.Y)
        self.weighed = self.net.data(self.X, self.Y, self.w)
        self.operator = fastbp.curvature.hessian(self.net, self.X, self.Y, weight_decay=0.1)
        self.ensemble = fastbp.Ensemble([self.net, self.net.copy()])
        self.scale = fastbp.Standardise(self.X)
        self.none = regularisation.none(self.net.plan)

    def reads(self):
        """{name: a function without arguments}"""
        net, X, Y, w, p, data = self.net, self.X, self.Y, self.w, self.p, self.data
        x, few = np.ascontiguousarray(X[0], self.dtype), X[:7]
        row, n_threads = X[0].tolist(), self.draw.choice([None, 1, 2])
        found = {
            "predict a row": lambda: net.predict(x),
            "predict into out": lambda: net.predict(x, out=np.empty(net.layer_sizes[-1], self.dtype)),
            "predict a list": lambda: net.predict(row),
            "predict a few": lambda: net.predict(few),
            "predict": lambda: net.predict(X),
            "activations": lambda: net.activations(X),
            "deltas": lambda: net.deltas(few, Y[:7]),
            "all deltas": lambda: net.deltas(X, Y),
            "forward": lambda: net.forward(X),
            "forward a row": lambda: net.forward(x),
            "backward": lambda: net.backward(X, self.G, inputs=True),
            "backward after forward": lambda: (net.forward(few), net.backward(few, self.G[:7])),
            "cost": lambda: net.cost(X, Y, lam=0.3),
            "cost of a few": lambda: net.cost(few, Y[:7]),
            "cost and gradient": lambda: net.cost_and_gradient(X, Y, weight_decay=0.1, n_threads=n_threads),
            "cost and gradient of a few": lambda: net.cost_and_gradient(few, Y[:7], lam=0.2, l1=1e-3),
            "weighed": lambda: net.cost_and_gradient(X, Y, sample_weight=w),
            "elsewhere": lambda: net.cost_and_gradient(few, Y[:7], theta=p),
            "evaluate": lambda: net.evaluate(X, Y),
            "evaluate a few": lambda: net.evaluate(few, Y[:7]),
            "evaluate data": lambda: net.evaluate_data(data),
            "evaluate weighed data": lambda: net.evaluate_data(self.weighed),
            "data in units": lambda: [self.weighed.in_units_of(unit, net.dtype).w for unit in (0.5, 2.0)],
            "cost of data": lambda: objective.cost(net.theta, data, self.none, n_threads),
            "accumulate": lambda: net.accumulate(X, Y),
            "jacobian": lambda: net.jacobian(few),
            "gradients": lambda: net.gradients(few, Y[:7]),
            "norms": lambda: net.gradient_norms(X, Y),
            "norms of a few": lambda: net.gradient_norms(few, Y[:7]),
            "Hessian": lambda: net.hessian_product(X, Y, p),
            "Hessian of a few": lambda: net.hessian_product(few, Y[:7], p, weight_decay=0.1),
            "Gauss-Newton": lambda: net.gauss_newton_product(few, Y[:7], p),
            "operator": lambda: self.operator @ p,
            "ensemble": lambda: self.ensemble.predict(X),
            "scaled": lambda: self.scale.transform(X),
            "copies": lambda: (net.copy().theta, copy.deepcopy(net).theta, pickle.loads(pickle.dumps(net)).theta),
            "shown": lambda: (repr(net), net.summary(), net._repr_html_(), repr(data)),
            "saved": self.saved,
            "check": lambda: fastbp.check_gradient(net, few, Y[:7], directions=2, seed=0),
            "trained": self.trained, "stepped": self.stepped, "minimised": self.minimised,
        }
        return found

    def saved(self):
        """The same file by several threads, then read"""
        path = self.folder / f"{self.seed}.fastbp"
        fastbp.save(path, self.net)
        return fastbp.load(path).theta

    def trained(self):
        """A separate network on the shared examples"""
        net = self.net.copy()
        history = fastbp.train(net, self.X, self.Y, optimizer="adam", epochs=2, batch_size=16, seed=1,
                               sample_weight=self.w)
        return net.theta, history.J

    def stepped(self):
        net = self.net.copy()
        trainer = fastbp.Trainer(net, fastbp.SGD(1e-5))
        J = [trainer.step(self.X[:7], self.Y[:7]), trainer.epoch(self.X, self.Y)]
        trainer.forward(self.X[:7])
        trainer.step(self.X[:7], gradient=self.G[:7])
        return net.theta, J

    def minimised(self):
        net = self.net.copy()
        fastbp.minimize(net, self.X[:20], self.Y[:20], method="L-BFGS", maxiter=500, weight_decay=0.1)
        return net.theta


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


def shared_reads(seed, folder, until, repeats=6):
    """(faults, the number of calls) of a round in which threads read"""
    alone, shared = World(seed, folder), World(seed, folder)
    expected, dear = {}, ("trained", "stepped", "minimised", "saved", "check")
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
                if name in dear and turn != member % repeats:
                    continue
                if name in expected and bits(call()) != expected[name]:
                    wrong.append(f"seed {seed}: {name}")
                done[member] += 1

    raised = together([lambda member=member: work(member) for member in range(THREADS)])
    return wrong + [f"seed {seed}: {error!r}" for error in raised], sum(done.values())


def shared_changes(seed, folder, repeats=30):
    """(faults, the number of calls) of a round in which threads train one network; calls are refused or take turns"""
    world, twin = World(seed, folder), World(seed, folder)
    kind = seed % 3
    X, Y = world.X[:50], world.Y[:50]
    trainers = [fastbp.Trainer(each.net, "adam", n_threads=1 + seed % 2) for each in (world, twin)]

    def change(each, trainer):
        if kind == 0:
            trainer.step(X, Y)
        elif kind == 1:
            trainer.epoch(X, Y, batch_size=8)
        else:
            fastbp.train(each.net, X, Y, optimizer=fastbp.SGD(1e-5), epochs=1, batch_size=8,
                         shuffle=False)

    counts = Counter()
    lock = threading.Lock()

    def work():
        for _ in range(repeats):
            try:
                change(world, trainers[0])
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
        change(twin, trainers[1])
    wrong = [f"seed {seed}: {error!r}" for error in raised]
    if world.net.theta.tobytes() != twin.net.theta.tobytes():
        wrong.append(f"seed {seed}: {counts} of kind {kind} are no sequence")
    return wrong, sum(counts.values())


def find(seconds, seed=0):
    """(faults, rounds, calls) of about this many seconds"""
    until, wrong, rounds, calls = time.monotonic() + seconds, [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until or rounds < 2:
            each = seed + rounds
            found, done = (
                shared_changes(each, Path(folder)) if rounds % 4 == 1 else shared_reads(each, Path(folder), until)
            )
            wrong, rounds, calls = wrong + found, rounds + 1, calls + done
    return wrong, rounds, calls


if __name__ == "__main__":
    wrong, rounds, calls = find(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"{'with' if gil else 'without'} the GIL: {calls} calls in {rounds} rounds, {len(wrong)} wrong")
    print("\n".join(f"{n} x {each}" for each, n in Counter(wrong).most_common(40)))
    sys.exit(bool(wrong))
