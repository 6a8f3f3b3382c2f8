"""Crews live on between calls: their owner, their cost in between, and their end."""

import contextlib
import copy
import gc
import os
import pickle
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import _backprop
from fastbp.engine import quota, threads

sys.path.insert(0, str(Path(__file__).parent / "faults"))

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((4000, 60)).astype("f4"), RNG.integers(0, 10, 4000)

START = """
import os, resource, sys, threading, time
import numpy as np, fastbp
from fastbp.engine import threads

rng = np.random.default_rng(0)
X, y = rng.standard_normal((4000, 60)).astype("f4"), rng.integers(0, 10, 4000)
threads.cores = lambda: 2       # on one processor too
net = fastbp.Network([60, 80, 10], output="softmax", dtype="f4", seed=0)
def D(n_threads=2):
    return net.cost_and_gradient(X, y, n_threads=n_threads)[1].tobytes()
"""


@pytest.fixture(autouse=True)
def _four_processors(monkeypatch):
    """Two processors even on fewer, and a separate pool"""
    with threads.Crew(2):       # the thread sanitizer starts its own thread with the first
        pass
    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.setattr(threads, "_pool", None)


def network(seed=0):
    return fastbp.Network([60, 80, 10], output="softmax", dtype=np.float32, seed=seed)


def D(net, n_threads=2):
    return net.cost_and_gradient(X, Y, n_threads=n_threads)[1].tobytes()


def tasks():
    """The threads of this process"""
    return set(os.listdir("/proc/self/task"))


def hands():
    """The hands that no call is using"""
    pool = threads._pool and threads._pool()
    return pool._free if pool else []


# ---------------------------------------------------------------- the same threads for every call


@linux
def test_the_threads_of_a_call_serve_the_next_one():
    before, net = tasks(), network()
    first = D(net)
    new = tasks() - before
    assert len(new) == 1
    for _ in range(20):
        assert D(net) == first
        assert tasks() - before == new
    (each,) = hands()
    assert sum(each.threads.jobs) > 1
    trainer = fastbp.Trainer(net, "adam", n_threads=2)
    trainer.epoch(X, Y, batch_size=500)
    other = network(1)
    D(other)
    assert tasks() - before == new      # of other networks too


@linux
def test_n_threads_may_change_between_calls_and_changes_no_bit():
    before, net = tasks(), network()
    expected = D(net, 1)
    for n, most in ((2, 1), (1, 1), (4, 3), (3, 3), (None, 3), (1, 3), (2, 3)):
        assert D(net, n) == expected
        assert len(tasks() - before) == most
    assert len(hands()) == 1


@linux
def test_threads_go_with_the_last_network_trainer_or_data_that_has_used_them():
    before = tasks()

    def made():
        net = network()
        trainer = fastbp.Trainer(network(1), "adam", n_threads=2)
        trainer.epoch(X, Y, batch_size=500)
        data = network(2).data(X, Y)
        data.accumulate(network(2).theta, np.zeros(net.n_parameters, "f4"), 2)
        D(net)
        return [net, trainer, data]

    users = made()
    gc.collect()
    while users:
        assert len(tasks() - before) == 1
        users.pop()
    assert tasks() == before
    assert threads._pool() is None
    D(network())
    assert tasks() == before


@linux
def test_a_crew_without_a_pool_ends_with_its_block():
    before = tasks()
    with threads.Crew(3) as crew:
        assert len(tasks() - before) == 2
        assert crew.n == 3
    assert tasks() == before
    assert crew.who[1:] == (1, False)


def test_copies_and_pickles_of_what_keeps_threads_begin_with_none():
    net = network()
    D(net)
    plan = pickle.loads(pickle.dumps(net.plan))
    assert plan.kept._pool is None
    assert copy.deepcopy(net.plan).kept._pool is None
    assert D(pickle.loads(pickle.dumps(net))) == D(net)


def test_arrays_are_kept_with_the_threads_up_to_a_size(monkeypatch):
    made = []
    each, dtype = threads.Hands(), np.dtype("f4")

    def make(n, dtype):
        made.append(n)
        return np.empty(n, dtype)

    for n in (5, 5, 7, 7, 5):
        assert len(each.room("a", n, dtype, make)) == n
    assert made == [5, 7, 5]
    assert each.room("a", 5, np.dtype("f8"), make).dtype == "f8"
    assert each.room("a", 5, dtype, make) is not each.room("b", 5, dtype, make)
    monkeypatch.setattr(threads, "KEPT", 16)
    assert each.room("a", 5, dtype, make) is not each.room("c", 5, dtype, make)
    made.clear()
    each.room("d", 5, dtype, make), each.room("d", 5, dtype, make)
    assert made == [5, 5]


# ---------------------------------------------------------------- one call at a time


def test_fault_7_two_trainings_at_once_in_two_threads_have_threads_of_their_own():
    def trained(seed, into):
        net = network(seed)
        fastbp.train(net, X, Y, optimizer="adam", epochs=3, batch_size=500, seed=seed, n_threads=2)
        into[seed] = net.theta.tobytes(), D(net)

    expected, found = {}, {}
    for seed in range(3):
        trained(seed, expected)
    for _ in range(3):
        crowd = [threading.Thread(target=trained, args=(seed, found)) for seed in range(3)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(60)
            assert not thread.is_alive()
        assert found == expected


def test_no_two_calls_have_the_same_threads():
    kept = threads.Kept()
    with threads.Crew(2, kept=kept) as one, threads.Crew(2, kept=kept) as two:
        assert one.who[0] is not two.who[0]
    assert len({id(each) for each in hands()}) == 2
    with threads.Crew(2, kept=kept) as one:
        taken = one.who[0]
    one.__exit__()
    assert [each.threads for each in hands()].count(taken) == 1
    assert one.who == (one._hands.threads, 1, False)


def test_no_more_than_a_few_crews_are_kept():
    kept = threads.Kept()
    with contextlib.ExitStack() as stack:
        for _ in range(2 * threads.CREWS):
            stack.enter_context(threads.Crew(2, kept=kept))
    assert len(hands()) == threads.CREWS


def test_a_network_is_summed_in_many_threads_at_once():
    net = network()
    expected, wrong = D(net, 1), []

    def work():
        wrong.extend(D(net) != expected for _ in range(20))

    crowd = [threading.Thread(target=work) for _ in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(60)
    assert wrong == [False] * 80


# ---------------------------------------------------------------- between calls


def test_an_idle_crew_costs_nothing_after_some_milliseconds():
    """In one of five tries at least: on a busy machine the members may go to sleep late"""
    net = network()

    def spent():
        D(net, 4)
        time.sleep(0.02)
        before = time.process_time()    # of all threads
        time.sleep(0.1)
        return time.process_time() - before

    assert any(spent() < 0.003 for _ in range(5))


@linux
def test_signals_go_to_the_threads_of_python_alone():
    before, net = tasks(), network()
    D(net)
    (own,) = tasks() - before
    while not sum(hands()[0].threads.jobs):     # a thread begins with all signals blocked
        D(net)
    status = Path(f"/proc/self/task/{own}/status").read_text()
    blocked = int(status.split("SigBlk:")[1].split()[0], 16)
    for signal in (1, 2, 14, 15):           # SIGHUP, SIGINT, SIGALRM, SIGTERM
        assert blocked >> signal - 1 & 1
    for signal in (7, 8, 11):               # SIGBUS, SIGFPE, SIGSEGV: of the thread itself
        assert not blocked >> signal - 1 & 1


def test_fault_4_the_quota_is_read_again_after_a_second(monkeypatch):
    now, limit = [100.0], [4.0]
    monkeypatch.setattr(quota, "_known", (-np.inf, np.inf))
    monkeypatch.setattr(quota, "smallest", lambda: limit[0])
    monkeypatch.setattr(quota.time, "monotonic", lambda: now[0])
    assert quota.processors() == 4
    limit[0], now[0] = 1.5, 100.9
    assert quota.processors() == 4
    now[0] = 101.0
    assert quota.processors() == 1.5


def test_fault_4_a_quota_that_changes_changes_the_members_and_no_bit(monkeypatch):
    net, seen = network(), []
    real = _backprop.accumulate
    monkeypatch.setattr(_backprop, "accumulate", lambda *a: (seen.append(a[-3]), real(*a))[1])
    monkeypatch.setattr(threads, "cores", lambda: int(min(16, quota.processors())))
    bits = set()
    for limit in (4.0, 1.0, 2.0):
        monkeypatch.setattr(quota, "processors", lambda limit=limit: limit)
        bits.add(D(net, None))
    assert len(bits) == 1
    assert sorted(set(seen)) == [1, 2, 4]


@linux
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor")
def test_threads_that_may_not_run_where_the_caller_may_are_replaced():
    before, net = tasks(), network()
    expected, allowed = D(net), os.sched_getaffinity(0)
    first = tasks() - before
    try:
        os.sched_setaffinity(0, {max(allowed)})
        assert D(net) == expected
        (own,) = tasks() - before
        assert {own} != first
        assert os.sched_getaffinity(int(own)) == {max(allowed)}
    finally:
        os.sched_setaffinity(0, allowed)
    assert D(net) == expected
    (own,) = tasks() - before
    assert os.sched_getaffinity(int(own)) == allowed
