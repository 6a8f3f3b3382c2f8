"""Memory stays flat over thousands of fits and predictions; reference counting frees unused objects at once."""

import gc
import sys
import weakref

import numpy as np
import pytest
from children import run

import fastbp

CODE = """
import ctypes, gc, sys, time, tracemalloc
import numpy as np, fastbp

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

def used():
    "Bytes in use: as Python and NumPy count them, or (with PYTHONMALLOC=malloc) the C library, for everybody"
    gc.collect()
    if sys.argv[4] == "python":
        return tracemalloc.get_traced_memory()[0]
    mallinfo2 = ctypes.CDLL("libc.so.6").mallinfo2
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return info.uordblks + info.hblkhd

rng = np.random.default_rng(0)
X, y = rng.standard_normal((40, 6)), np.arange(40) % 3
net = fastbp.Network([6, 8, 3], output="softmax", seed=0)
trainer = fastbp.Trainer(net.copy(), "adam")

def predict(i):
    net.predict(X)
    net.predict(X[i % 40])

def step(i):
    trainer.step(X, y)
    trainer.epoch(X, y, batch_size=16)
    net.cost_and_gradient(X, y, weight_decay=0.1)

def fit(i):
    own = fastbp.Network([6, 8, 3], output="softmax", seed=i)
    rule = [fastbp.SGD(0.1), fastbp.Adam(), fastbp.SGD(0.1, momentum=0.5)][i % 3]
    stopping = fastbp.callbacks.EarlyStopping(patience=1)
    fastbp.train(own, X, y, optimizer=rule, epochs=2, batch_size=[1, 8, None][i % 3], seed=i, validation_data=(X, y),
                 callbacks=[stopping], dropout=0.1 * (i % 2))

def fit_estimator(i):
    from fastbp.sklearn import MLPClassifier
    MLPClassifier((4,), max_iter=2, n_iter_no_change=5, random_state=i).fit(X, y)

def fit_with_two_threads(i):
    from fastbp.engine import threads
    crew, threads.crew = threads.crew, lambda *_: threads.Crew(2)
    try:
        fit(i)
    finally:
        threads.crew = crew

def refuse(i):
    for bad in (X[:, 1:], X.astype(complex), np.full((40, 6), np.nan)):
        try:
            trainer.step(bad, y)
        except (ValueError, TypeError):
            pass
    try:
        fastbp.train(net, X, y, epochs=1, callbacks=[lambda training: 1 / 0])
    except ZeroDivisionError:
        pass

def save_and_load(i):
    fastbp.save(sys.argv[3], net)
    fastbp.load(sys.argv[3])

def checkpoint(i):
    "Seven files written, two read"
    for epochs in (1, 2):
        fastbp.train(net.copy(), X, y, epochs=epochs, batch_size=16, dropout=0.1, seed=3, resume=epochs == 2,
                     callbacks=[fastbp.callbacks.EarlyStopping("J")], checkpoint=sys.argv[3],
                     checkpoint_every=(1, "batches"))
    trainer.save(sys.argv[3], {"J": [0.5] * 200, "of": (1, np.float32(2))})
    trainer.restore(sys.argv[3])

what, times = globals()[sys.argv[1]], int(sys.argv[2])
import warnings
warnings.simplefilter("ignore")
if sys.argv[4] == "python":
    tracemalloc.start()
for i in range(int(sys.argv[5])):   # all that is made once, and caches
    what(i)
time.sleep(0.05)
used(), used()
before = used()
for i in range(times):
    what(i)
time.sleep(0.05)        # the members of the last crew end
print(used() - before)
"""

KINDS = {"predict": 100_000, "step": 10_000, "fit": 10_000, "fit_estimator": 10_000, "fit_with_two_threads": 10_000,
         "refuse": 10_000, "save_and_load": 10_000, "checkpoint": 2000}
linux = pytest.mark.skipif(sys.platform != "linux", reason="mallinfo2 of glibc")


def growth(what, times, folder, counted, warm):
    """Bytes in use after this many calls minus those before, after a warm-up"""
    if what == "fit_estimator":
        pytest.importorskip("sklearn")
    environment = {"PYTHONMALLOC": "malloc"} if counted == "malloc" else {}
    return int(run(CODE, what, times, folder / "net", counted, warm, timeout=1500, **environment))


@linux
@pytest.mark.parametrize("what", [what for what in KINDS if what != "fit_estimator"])
def test_fault_40_memory_stays_flat(what, quick_folder):
    """A leaked array would show; a checkpoint is nine files"""
    times = {"predict": 2000, "fit_with_two_threads": 120, "checkpoint": 40}.get(what, 200)
    assert growth(what, times, quick_folder, "python", times) < max(32 * times, 20_000)


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "counted"),
    [*((what, "malloc") for what in KINDS), *((what, "python") for what in ("predict", "step", "fit"))],
)
def test_fault_40_memory_stays_flat_over_thousands_of_calls(what, counted, quick_folder):
    grown = growth(what, KINDS[what], quick_folder, counted, 4000)
    print(f"{what}: {KINDS[what]} times, {grown} bytes more in use ({counted})")
    assert grown < 65536


def test_fault_40_what_is_no_longer_used_goes_by_its_count(quick_folder):
    """There are no cycles, so nothing waits for the collector"""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6)), np.arange(40) % 3

    def network():
        net = fastbp.Network([6, 8, 3], output="softmax", seed=0)
        net.predict(X[0])
        return net

    def trainer():
        trainer = fastbp.Trainer(network(), "adam")
        trainer.step(X, y)
        trainer.epoch(X, y, batch_size=8)
        return trainer

    def trained():
        net = network()
        net.history = fastbp.train(net, X, y, epochs=2, seed=0, validation_data=(X, y), metrics=["mse"],
                                   callbacks=[fastbp.callbacks.EarlyStopping(), lambda training: None])
        return net

    def minimized():
        net = network()
        fastbp.minimize(net, X, y, maxiter=3)
        return net

    def kept():
        net = network()
        for epochs in (1, 2):
            net.history = fastbp.train(net, X, y, epochs=epochs, seed=0, checkpoint=quick_folder / "t",
                                       checkpoint_every=(1, "batches"), resume=epochs == 2, dropout=0.1,
                                       callbacks=[fastbp.callbacks.EarlyStopping("J")])
        return net

    makers = [network, trainer, trained, kept, minimized, lambda: fastbp.Standardise(X), lambda: network().data(X, y)]
    try:
        from fastbp.sklearn import MLPClassifier
    except ImportError:
        pass
    else:
        makers += [lambda: MLPClassifier((4,), max_iter=200, random_state=0, tol=1.0).fit(X, y),
                   lambda: MLPClassifier((4,), solver="lbfgs", max_iter=200, tol=1.0).fit(X, y)]
    for make in makers:
        make()
        gc.collect()
        gc.disable()
        try:
            thing = make()
            networks = [each for each in (thing, *vars(thing).values()) if isinstance(each, fastbp.Network)]
            ends = [weakref.ref(thing), *(weakref.ref(each) for net in networks for each in (net, net.theta))]
            networks.clear()
            del thing
            assert all(end() is None for end in ends)
        finally:
            gc.enable()


def test_fault_40_a_bad_chunk_or_callback_leaves_no_network_behind():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6)), np.arange(40) % 3
    for options in ({"callbacks": [lambda training: 1 / 0]}, {"optimizer": fastbp.SGD(1e308)}):
        net = fastbp.Network([6, 8, 3], output="softmax", seed=0)
        try:
            fastbp.train(net, X, y, epochs=3, **options)
        except ArithmeticError:
            pass
        else:
            pytest.fail("nothing was raised")
        end = weakref.ref(net.theta)
        del net
        assert end() is None
