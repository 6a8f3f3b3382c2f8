"""In a separate process: makes one allocation after the other of an operation fail, and checks what is left.

    python no_memory.py python|malloc STRIDE [OPERATION ...]

python: allocations of Python's allocators (_testcapi.set_nomemory); malloc: those of the C library (failing_malloc.c,
which must be preloaded). Every STRIDE-th is tried. Prints a line per operation: name, tried, MemoryErrors. Ends with
status 1 at the first fault.
"""

import ctypes
import faulthandler
import gc
import itertools
import os
import pickle
import re
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

import fastbp
from fastbp import optimizers
from fastbp.engine import threads

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((24, 6)), np.arange(24) % 3
Y_SLOPES = RNG.standard_normal((24, 3))
SIZES = (6, 5, 3)
PLACE = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None, prefix="fastbp-")
FOLDER = Path(PLACE.name)


def network(dtype=np.float64):
    return fastbp.Network(SIZES, activation="tanh", output="softmax", dtype=dtype, seed=0)


def everything(net):
    return net.theta.tobytes()


class Operation:
    """prepare() -> subject; run(subject) -> result; check(subject, result, or None after a MemoryError)"""

    repeats = 1     # until everything that is made only once has been made

    def __init__(self, prepare, run, check):
        self.prepare, self.run, self.check = prepare, run, check


def reading(function):
    """A read-only operation: the network does not change, and the result is right or there is none"""
    net = network()
    before, expected = everything(net), pickle.dumps(function(net))

    def check(net, result):
        assert everything(net) == before, "the network has changed"
        assert result is None or pickle.dumps(result) == expected, "the result is wrong"
        assert pickle.dumps(function(net)) == expected, "it is of no more use"

    return Operation(lambda: net, function, check)


def training(run, make=lambda: "adam", again=True, **options):
    """A training operation: parameters and optimizer state are those after a whole number of steps"""
    def prepare():
        return fastbp.Trainer(network(), make(), **options)

    def snapshot(trainer):
        slots = [trainer.state[slot].tobytes() for slot in getattr(trainer.optimizer, "slots", ())]
        return everything(trainer.net), *slots

    states, trainer = [], prepare()
    states.append(snapshot(trainer))
    for last in run.cuts:
        run(trainer, last)
        states.append(snapshot(trainer))

    def check(trainer, result):
        found = snapshot(trainer)
        assert found in states, "no state of a finished step"
        t = trainer.state["t"]
        assert states[t] == found, f"t is {t}, the state is that of {states.index(found)} steps"
        if result is None and t < len(states) - 1:
            run(trainer, run.cuts[t])       # the next step, as if nothing had happened
            assert snapshot(trainer) == states[t + 1], "the next step is another one"

    return Operation(prepare, lambda trainer: run(trainer), check)


class Epoch:
    """An epoch in batches; with `last`, only batch number `last`"""

    def __init__(self, batch_size):
        self.batch_size, self.cuts = batch_size, range(0, len(X), batch_size)

    def __call__(self, trainer, first=None):
        if first is None:
            return trainer.epoch(X, Y, batch_size=self.batch_size)
        piece = slice(first, first + self.batch_size)
        return trainer.epoch(X[piece], Y[piece], batch_size=self.batch_size)


class Step:
    """One step"""

    cuts = (0,)

    def __call__(self, trainer, first=0):
        return trainer.step(X, Y)


class Along:
    """One step along a gradient from outside"""

    cuts = (0,)

    def __call__(self, trainer, first=0):
        trainer.forward(X)
        trainer.step(X, gradient=Y_SLOPES)
        return True


FREE = np.arange(sum(n * (k + 1) for k, n in itertools.pairwise(SIZES))) % 3 > 0


class Crowded(Epoch):
    """The same by two threads"""

    def __call__(self, trainer, first=None):
        crew, threads.crew = threads.crew, lambda *_: threads.Crew(2)
        try:
            return super().__call__(trainer, first)
        finally:
            threads.crew = crew


def whole_training(run):
    """`train` and the like: theta is finite and that of a step, and the network can still be trained"""
    def result_of(net):
        run(net)
        return everything(net)

    seen, net = set(), network()
    seen.add(everything(net))
    expected = result_of(net)

    class Notes(fastbp.callbacks.Callback):
        def on_batch_end(self, training):
            seen.add(everything(training.net))

    run(network(), [Notes()])
    seen.add(expected)

    def check(net, result):
        assert everything(net) in seen, "theta is not that of a step"
        assert result is None or everything(net) == expected, "the result is wrong"
        assert result_of(network()) == expected, "the next training is another one"

    return Operation(network, lambda net: bool(run(net)) or True, check)


def train(net, extra=()):
    return fastbp.train(net, X, Y, optimizer="adam", epochs=2, batch_size=8, seed=0, callbacks=[*extra])


def train_with_all(net, extra=()):
    stopping = fastbp.callbacks.EarlyStopping(patience=5, restore_best=False)
    return fastbp.train(net, X, Y, optimizer=fastbp.SGD(0.1, momentum=0.5), epochs=2, batch_size=8, seed=0, dropout=0.2,
                        validation_data=(X, Y), metrics=["accuracy", "mse"], callbacks=[stopping, *extra], window=16)


def saving():
    path = FOLDER / "net"
    old, new = network(), network()
    new.theta[:] = 1
    fastbp.save(str(path), old)
    before = path.read_bytes()
    fastbp.save(str(path), new)
    after = path.read_bytes()

    def prepare():
        path.write_bytes(before)
        return new

    def check(net, result):
        assert path.read_bytes() in ((before, after) if result is None else (after,)), "no whole version"
        assert os.listdir(FOLDER) == ["net"], os.listdir(FOLDER)
        assert (net.theta == 1).all()

    return Operation(prepare, lambda net: fastbp.save(str(path), net) or True, check)


def loading():
    path = FOLDER / "net"
    fastbp.save(str(path), network())
    before = path.read_bytes()

    def check(_, result):
        assert path.read_bytes() == before
        assert everything(fastbp.load(path) if result is None else result) == everything(network())

    return Operation(lambda: None, lambda _: fastbp.load(str(path)), check)


def train_with_checkpoints():
    path = str(FOLDER / "checkpoint")

    def run(net, resume=False):
        return fastbp.train(net, X, Y, optimizer="adam", epochs=2, batch_size=8, seed=0, checkpoint=path,
                            checkpoint_every=(2, "batches"), resume=resume)

    def prepare():
        Path(path).unlink(missing_ok=True)
        return network()

    done = prepare()
    run(done)

    def check(net, result):
        if result is None:      # the file is complete, or there is none
            net = network()
            run(net, resume=True)
        assert everything(net) == everything(done), "it does not go on to the same bits"
        Path(path).unlink(missing_ok=True)
        assert os.listdir(FOLDER) == [], os.listdir(FOLDER)

    return Operation(prepare, run, check)


def restoring():
    path = str(FOLDER / "trainer")

    def trainer(steps):
        one = fastbp.Trainer(network(), fastbp.Adam(1e-3 * (1 + steps)))
        for _ in range(steps):
            one.step(X, Y)
        return one

    def snapshot(one):
        return everything(one.net), one.state["t"], one.state["m"].tobytes(), one.optimizer.learning_rate

    trainer(3).save(path)
    before, after = snapshot(trainer(1)), snapshot(trainer(3))

    def check(one, result):
        assert snapshot(one) in ((before, after) if result is None else (after,)), "half restored"
        one.restore(path)
        assert snapshot(one) == after

    return Operation(lambda: trainer(1), lambda one: one.restore(path) or True, check)


def minimising():
    start, best = everything(network()), network()
    fastbp.minimize(best, X, Y, maxiter=3)

    def check(net, result):
        assert everything(net) == (start if result is None else everything(best)), "neither the start nor the end"

    return Operation(network, lambda net: fastbp.minimize(net, X, Y, maxiter=3), check)


def second_order(**settings):
    """The start, or the end, or an accepted step between"""
    def run(net):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fastbp.minimize(net, X, Y, method="lm", maxiter=3, **settings)

    start, best = everything(network()), network()
    run(best)

    def check(net, result):
        assert everything(net) == (start if result is None else everything(best)), "neither the start nor the end"

    return Operation(network, run, check)


def fitting(how):
    from fastbp.sklearn import MLPClassifier

    def make():
        return MLPClassifier((5,), random_state=0, max_iter=2, batch_size=8, n_iter_no_change=5)

    def weights(estimator):
        return b"".join(a.tobytes() for a in [*estimator.coefs_, *estimator.intercepts_])

    def run(estimator):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if how == "fit":
                return estimator.fit(X, Y)
            return estimator.partial_fit(X[:1], Y[:1])

    def prepare():
        estimator = make()
        if how == "partial_fit":
            estimator.partial_fit(X, Y, classes=[0, 1, 2])
        return estimator

    done = prepare()
    start = weights(done) if how == "partial_fit" else None
    run(done)
    expected = weights(done)

    def check(estimator, result):
        if result is not None:
            assert weights(estimator) == expected, "the weights are wrong"
        elif how == "partial_fit":
            assert weights(estimator) in (start, expected), "the weights are of no step"
        elif hasattr(estimator, "coefs_"):
            assert np.isfinite(estimator.predict_proba(X)).all()
        assert weights(run(prepare())) == expected, "the next fit is another one"

    return Operation(prepare, run, check)


OPERATIONS = {
    "predict": lambda: reading(lambda net: net.predict(X)),
    "predict a row": lambda: reading(lambda net: net.predict(X[0])),
    "activations": lambda: reading(lambda net: net.activations(X)),
    "deltas": lambda: reading(lambda net: net.deltas(X, Y)),
    "accumulate": lambda: reading(lambda net: net.accumulate(X, Y, per_example=True)),
    "cost_and_gradient": lambda: reading(lambda net: net.cost_and_gradient(X, Y, weight_decay=0.1)),
    "evaluate": lambda: reading(lambda net: net.evaluate(X, Y)),
    "check_gradient": lambda: reading(lambda net: fastbp.check_gradient(net, X, Y, directions=2)),
    "forward": lambda: reading(lambda net: net.forward(X)),
    "backward": lambda: reading(lambda net: net.backward(X, Y_SLOPES, inputs=True)),
    "jacobian": lambda: reading(lambda net: net.jacobian(X)),
    "gradients": lambda: reading(lambda net: net.gradients(X, Y)),
    "gradient_norms": lambda: reading(lambda net: net.gradient_norms(X, Y)),
    "hessian_product": lambda: reading(lambda net: net.hessian_product(X, Y, net.theta)),
    "curvature": lambda: reading(lambda net: fastbp.curvature.gauss_newton(net, X, Y) @ net.theta),
    "layers": lambda: reading(lambda net: everything(net.layers(1, 3))),
    "copy": lambda: reading(lambda net: everything(net.copy(np.float32))),
    "pickle": lambda: reading(lambda net: everything(pickle.loads(pickle.dumps(net)))),
    "Network": lambda: reading(lambda net: everything(network())),
    "Standardise": lambda: reading(lambda net: fastbp.Standardise(X).transform(X)),
    "save": saving,
    "load": loading,
    "step": lambda: training(Step()),
    "step along a gradient": lambda: training(Along()),
    "step along a gradient with dropout": lambda: training(Along(), dropout=0.5, seed=0),
    "step with frozen parameters": lambda: training(Step(), free=FREE),
    "step with factors": lambda: training(Step(), learning_rate_factors={"biases": 2}),
    "step with a diagonal layer": lambda: training(Step(), input_scale=6),
    "epoch with a diagonal layer": lambda: training(Epoch(8), input_scale=6),
    "epoch": lambda: training(Epoch(8)),
    "epoch of single examples": lambda: training(Epoch(1), lambda: fastbp.SGD(0.1)),
    "epoch with dropout": lambda: training(Epoch(8), lambda: optimizers.Nadam(), dropout=0.5, seed=0),
    "epoch by two threads": lambda: training(Crowded(8)),
    "train with checkpoints": train_with_checkpoints,
    "restore": restoring,
    "train": lambda: whole_training(train),
    "train with all": lambda: whole_training(train_with_all),
    "minimize": minimising,
    "levenberg-marquardt": lambda: second_order(weight_decay=0.1),
    "fit": lambda: fitting("fit"),
    "partial_fit": lambda: fitting("partial_fit"),
}


class Python:
    """One allocation of Python's fails"""

    def __init__(self):
        import _testcapi

        self.begin, self.end = (lambda k: _testcapi.set_nomemory(k, k + 1)), _testcapi.remove_mem_hooks

    def count(self, run):
        """Not counted here: it ends when many failures in a row make no difference"""
        return None


class Malloc:
    """One allocation of the C library's fails"""

    def __init__(self):
        library = ctypes.CDLL(None)
        library.faults_from.argtypes, library.faults_end.restype = [ctypes.c_long] * 3, ctypes.c_long
        self.begin, self.end = (lambda k: library.faults_from(k, k + 1, 1)), library.faults_end

    def count(self, run):
        self.begin(2**30)
        run()
        return self.end()


# Other messages of CPython and NumPy for a failed allocation
THEIRS = re.compile("error return without exception set|NULL object passed|can't allocate lock|Can't pickle|"
                    "^(?!.*fastbp).*returned (NULL without setting an exception|a result with an exception set)")
QUIET = 60      # allocations in a row whose failure has no effect: the end has been reached


def attempt(operation, injector, k):
    """Was a MemoryError raised?"""
    it = operation.prepare()
    result, failed = None, False
    run = operation.run
    injector.begin(k)
    try:
        result = run(it)
    except MemoryError:
        failed = True
    except (SystemError, RuntimeError, pickle.PicklingError) as error:
        if not THEIRS.search(str(error)):
            raise
        failed = True
    finally:
        injector.end()
    operation.check(it, result)
    return failed


def trial(operation, injector, stride):
    for _ in range(3):
        attempt(operation, injector, 2**30)
    total, tried, failures, quiet, k = injector.count(lambda: operation.run(operation.prepare())), 0, 0, 0, 1
    while k <= total if total else quiet < QUIET:
        faulthandler.dump_traceback_later(60, exit=True)
        failed = attempt(operation, injector, k)
        tried, failures, quiet = tried + 1, failures + failed, 0 if failed else quiet + 1
        k += stride
    return tried, failures


def main(kind, stride, *names):
    gc.disable()
    injector = {"python": Python, "malloc": Malloc}[kind]()
    for name in names or OPERATIONS:
        for left in FOLDER.iterdir():
            left.unlink()
        tried, failures = trial(OPERATIONS[name](), injector, int(stride))
        print(f"{name}: {tried} tried, {failures} MemoryErrors", flush=True)
        gc.collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
