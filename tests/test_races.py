"""Several threads, with or without the GIL: shared objects are read correctly."""

import importlib
import inspect
import os
import sys
import threading

import numpy as np
import pytest
import races

import fastbp
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_often")
def test_fault_190_threads_that_share_networks_read_every_bit_right():
    wrong, rounds, _ = races.find(5, seed=100)
    assert wrong == []
    assert rounds > 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_often")
def test_fault_190_the_finder_of_races_finds_nothing_for_ten_minutes():
    """FASTBP_RACES is the number of seconds"""
    assert races.find(SECONDS)[0] == []


# public, but called by no round: the first prints, and matplotlib is for one thread
NO_READS = {"show_config", "History.plot"}


def public():
    """{name: function} of everything public: functions, and the methods and properties of classes"""
    modules = ["curvature", "sklearn", "tabular", "many", "container", "metrics", "datasets"]
    names = {name: getattr(fastbp, name) for name in fastbp.__all__}
    for module in modules:
        own = importlib.import_module(f"fastbp.{module}")
        names |= {f"{module}.{name}": getattr(own, name) for name in getattr(own, "__all__", ())}
    found = {name: value for name, value in names.items() if inspect.isfunction(value)}
    for name, cls in names.items():
        if inspect.isclass(cls) and not issubclass(cls, (BaseException, tuple, fastbp.optimizers.Optimizer)):
            for base in cls.__mro__:
                if base.__module__.startswith("fastbp"):
                    found |= {f"{name}.{each}": value for each, value in vars(base).items()
                              if not each.startswith("_") and f"{name}.{each}" not in found}
    return {name: inspect.unwrap(value.fget if isinstance(value, property) else getattr(value, "__func__", value))
            for name, value in found.items()}


@pytest.mark.filterwarnings("ignore")
def test_fault_190_the_finder_of_races_calls_all_that_is_public_and_reads(tmp_path):
    called = set()

    def see(frame, event, _):
        if event == "call":
            called.add(frame.f_code)

    sys.setprofile(see)
    try:
        for seed in range(4):
            for make in (races.World, races.Estimators):
                for call in make(seed, tmp_path).reads().values():
                    call()
    finally:
        sys.setprofile(None)
    assert {name for name, function in public().items()
            if hasattr(function, "__code__") and function.__code__ not in called} == NO_READS


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
        assert set(counts()) == set(races.in_another_thread(counts)) == {1}
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
