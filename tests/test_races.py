"""Several threads, with or without the GIL: shared objects are read correctly; others refuse a second thread."""

import os
import sys
import threading

import numpy as np
import pytest
import races

import fastbp
from fastbp import _kernels
from fastbp.engine import blas, threads
from fastbp.engine.data import Data

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 6)), RNG.integers(0, 3, 40)
SECONDS = float(os.environ.get("FASTBP_RACES", 600))    # of the long form


def network(seed=0, **settings):
    return fastbp.Network([6, 5, 3], output="softmax", seed=seed, **settings)


@pytest.fixture
def _often():
    """Threads switch as often as possible, if there is a GIL"""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_another_thread(work):
    """The result of the call, or the error that it raises"""
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


# ---------------------------------------------------------------- what is shared reads right


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("_often")
def test_fault_190_threads_that_share_networks_read_every_bit_right():
    wrong, rounds, _ = races.find(5, seed=100)
    assert wrong == []
    assert rounds > 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("_often")
def test_fault_190_the_finder_of_races_finds_nothing_for_ten_minutes():
    """FASTBP_RACES is the number of seconds"""
    assert races.find(SECONDS)[0] == []


@pytest.mark.usefixtures("_often")
def test_fault_190_evaluating_in_one_thread_leaves_the_cost_of_smoothed_labels_in_another():
    """A conversion of many values lets other threads run in the middle of a call"""
    net, ints = network(label_smoothing=0.3), RNG.integers(-2, 3, (90, 6))
    labels = RNG.integers(0, 3, 90)
    expected, right = net.cost(ints, labels), net.evaluate(ints, labels)
    wrong = []

    def go(call, result):
        for _ in range(600):
            if call(ints, labels) != result:
                wrong.append(call)

    assert races.together([lambda: go(net.evaluate, right), lambda: go(net.cost, expected)] * 2) == []
    assert wrong == []
    assert net.cost(ints, labels) == expected


@pytest.mark.usefixtures("_often")
def test_fault_190_a_forward_pass_of_another_thread_is_not_the_one_that_is_gone_back_through():
    net, ints = network(), RNG.integers(-2, 3, (90, 6))
    slopes = RNG.integers(-2, 3, (90, 3))
    expected, wrong = net.backward(ints, slopes).tobytes(), []

    def go():
        for _ in range(400):
            net.forward(ints[:60])
            if net.backward(ints, slopes).tobytes() != expected:
                wrong.append(1)

    assert races.together([go] * 3) == []
    assert wrong == []


def test_fault_190_data_in_other_units_are_those_that_the_caller_asked_for(monkeypatch):
    """Another thread asks for other units in the middle of the call"""
    data, of = network().data(X, Y, RNG.uniform(1, 2, 40)), Data.of
    asked = []

    def meanwhile(*arguments):
        if not asked:
            asked.append(True)
            assert data.in_units_of(4.0, "f8").scale == 4
        return of(*arguments)

    monkeypatch.setattr(Data, "of", meanwhile)
    assert data.in_units_of(2.0, "f8").scale == 2
    assert data.in_units_of(4.0, "f8").scale == 4


def test_fault_190_each_library_of_blas_is_found_once(monkeypatch):
    """Two lists would count the holders of one library twice, and leave it at one thread"""
    scan = blas._scan
    monkeypatch.setattr(blas, "_found", None)
    monkeypatch.setattr(blas, "_loaded", None)
    found, scans = [], []

    def slow():
        scans.append(1)
        threading.Event().wait(0.05)
        return scan()

    monkeypatch.setattr(blas, "_scan", slow)
    assert races.together([lambda: found.append(blas.all_libraries())] * 4) == []
    assert len(scans) == 2
    assert all(each is found[0] for each in found)


def test_fault_190_every_thread_can_hold_blas_to_one_thread():
    """Since threadpoolctl 3.7 the first thread that sets the number controls it, and calls of others do nothing"""
    def counts():
        with blas.single_thread(everywhere=True):
            return [library.get_num_threads() for library in blas.all_libraries()]

    before = [library.get_num_threads() for library in blas.all_libraries()]
    try:
        for library in blas.all_libraries():
            blas._set(library, 2)
        assert set(counts()) == set(in_another_thread(counts)) == {1}
        assert {library.get_num_threads() for library in blas.all_libraries()} == {2}
    finally:
        for library, n in zip(blas.all_libraries(), before, strict=True):
            blas._set(library, n)


def test_fault_190_there_is_one_pool_of_threads(monkeypatch):
    monkeypatch.setattr(threads, "_pool", None)
    make, found = threads.Pool, []

    def slow():
        threading.Event().wait(0.05)
        return make()

    monkeypatch.setattr(threads, "Pool", slow)
    assert races.together([lambda: found.append(threads.Kept().pool)] * 4) == []
    assert len(set(map(id, found))) == 1


@pytest.mark.usefixtures("_often")
def test_fault_190_a_choice_that_several_threads_learn_from_stays_one():
    choice = threads.Choice(2, 0.0)

    def go():
        for _ in range(3000):
            n, _ = choice.next()
            choice.took(n, 1.0, 0.001 if n == 1 else 0.0011)

    assert races.together([go] * 4) == []
    assert {choice.now, choice.other} == {1, 2}


# ---------------------------------------------------------------- one thread at a time


def trained(net):
    fastbp.train(net, X, Y, epochs=1)


CHANGES = {
    "train": trained,
    "train_many": lambda net: fastbp.train_many([net], X, Y, epochs=1),
    "minimize": lambda net: fastbp.minimize(net, X, Y, maxiter=1000, weight_decay=0.1),
    "lm": lambda net: fastbp.minimize(net, X, Y, method="lm", maxiter=1000, weight_decay=0.1),
    "step": lambda net: fastbp.Trainer(net).step(X, Y),
    "step of numbers to convert": lambda net: fastbp.Trainer(net).step(X.tolist(), Y),
    "step along a gradient": lambda net: fastbp.Trainer(net).step(X, gradient=net.forward(X)),
    "apply": lambda net: fastbp.Trainer(net).apply(np.zeros(net.n_parameters)),
    "epoch": lambda net: fastbp.Trainer(net).epoch(X, Y),
    "epoch of a rule in Python": lambda net: fastbp.Trainer(net, InPython()).epoch(X, Y),
    "theta": lambda net: setattr(net, "theta", np.zeros(net.n_parameters)),
    "initialize": lambda net: net.initialize(1),
    "state": lambda net: net.__setstate__(net.__getstate__()),
}


class InPython:
    def init(self, theta):
        return {}

    def update(self, theta, D, state):
        theta -= 0.01 * D


@pytest.mark.parametrize("name", CHANGES)
def test_fault_190_a_network_that_is_trained_is_refused_to_another_thread(name):
    net, found = network(), []

    def meanwhile(training):
        if not found:
            before = net.theta.copy()
            found.append(in_another_thread(lambda: CHANGES[name](net)))
            assert np.array_equal(net.theta, before)

    callback = type("Meanwhile", (), {"on_epoch_end": lambda self, training: meanwhile(training)})()
    twin = network()
    fastbp.train(net, X, Y, epochs=2, seed=0, callbacks=[callback])
    fastbp.train(twin, X, Y, epochs=2, seed=0)
    assert isinstance(found[0], RuntimeError), found
    assert "one thread at a time" in str(found[0])
    assert net.theta.tobytes() == twin.theta.tobytes()
    CHANGES[name](net)      # afterwards no thread has it
    assert not isinstance(in_another_thread(lambda: CHANGES[name](net)), Exception)


def test_fault_190_the_thread_that_trains_may_read_and_change_the_network_and_others_may_read_it():
    net, rows = network(), []

    def meanwhile(training):
        fastbp.Trainer(net).step(X, Y)
        rows.append(in_another_thread(lambda: net.predict(X)))
        net.theta = net.theta

    callback = type("Meanwhile", (), {"on_epoch_end": lambda self, training: meanwhile(training)})()
    fastbp.train(net, X, Y, epochs=2, callbacks=[callback])
    assert rows[-1].tobytes() == net.predict(X).tobytes()


def test_fault_190_an_error_of_a_training_gives_the_network_back():
    net = network()

    def fails(training):
        raise KeyError("here")

    with pytest.raises(KeyError):
        fastbp.train(net, X, Y, epochs=1, callbacks=[type("Fails", (), {"on_epoch_end": lambda self, t: fails(t)})()])
    with pytest.raises(ValueError, match="Y"):
        fastbp.Trainer(net).step(X, Y + 9)
    assert not isinstance(in_another_thread(lambda: trained(net)), Exception)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_fault_190_a_child_forked_while_another_thread_trains_may_train_the_network():
    turn, begun, end = _kernels.Turn(), threading.Event(), threading.Event()

    def hold():
        with turn:
            begun.set()
            end.wait()

    other = threading.Thread(target=hold)
    other.start()
    begun.wait()
    with pytest.raises(RuntimeError, match="one thread at a time"), turn:
        pass
    child = os.fork()
    if child == 0:      # pragma: no cover  (it ends here)
        try:
            with turn, turn:
                refused = in_another_thread(turn.__enter__)
            os._exit(0 if isinstance(refused, RuntimeError) else 1)
        except BaseException:
            os._exit(2)
    end.set()
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with turn:
        pass
