"""Forked children, other start methods, several training runs at once, the caller's floating-point state."""

import ctypes
import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl

import fastbp
from fastbp.engine import blas, threads

SIZES = (60, 80, 10)


def problem(seed=0, m=4000, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, SIZES[0])).astype(dtype), rng.integers(0, SIZES[-1], m)


def trained(seed=0, epochs=2, batch_size=200, **options):
    """The bytes of theta after a short training, large enough for two threads"""
    net = fastbp.Network(SIZES, activation="relu", output="softmax", dtype=np.float32, seed=seed)
    X, labels = problem(seed)
    fastbp.train(net, X, labels, optimizer="adam", epochs=epochs, batch_size=batch_size, seed=seed, **options)
    return net.theta.tobytes()


def run_in_fork(function, seconds=20):
    """The bytes (fewer than a pipe holds) that the function returns in a forked child, which must end in time"""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.write(writer, function())
        finally:
            os._exit(0)
    os.close(writer)
    deadline = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail(f"the forked child was not done in {seconds} s")
        time.sleep(0.01)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fault_1_a_child_forked_after_a_training_trains_to_the_same_bits():
    expected = trained()
    fastbp.Network([3, 2]).cost_and_gradient(np.ones((5, 3)), np.ones((5, 2)))
    assert run_in_fork(trained) == expected


@pytest.mark.parametrize(("files", "chosen"), [
    (["/lib/numpy.libs/libblas.so", "/lib/scipy.libs/libblas.so"], [1]),
    (["/usr/lib/libblas.so", "/opt/libblas.so"], [0, 1]),       # SciPy brings none of its own
])
def test_blas_is_the_one_that_scipy_brings(files, chosen, monkeypatch):
    loaded = [SimpleNamespace(filepath=file) for file in files]
    controller = SimpleNamespace(select=lambda user_api: SimpleNamespace(lib_controllers=loaded))
    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", lambda: controller)
    monkeypatch.setattr(blas, "_found", None)
    assert blas.libraries() == [loaded[i] for i in chosen]


def test_blas_has_its_threads_back_when_the_last_holder_leaves():
    def numbers():
        return {library.get_num_threads() for library in blas.libraries()}

    before = [library.get_num_threads() for library in blas.libraries()]
    try:
        for library in blas.libraries():
            library.set_num_threads(2)
        first, second = blas.single_thread(), blas.single_thread()
        first.__enter__()
        second.__enter__()
        assert numbers() == {1}
        first.__exit__(None, None, None)
        assert numbers() == {1}
        second.__exit__(None, None, None)
        assert numbers() == {2}
    finally:
        for library, n in zip(blas.libraries(), before, strict=True):
            library.set_num_threads(n)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_crew_in_a_forked_child_is_the_child_alone():
    def told():
        result = crew.in_step(lambda budget, team, members, apart: (team is None, members, apart, 7))
        return bytes([*result, crew.n, crew.apart])

    for apart in (False, True):
        with threads.Crew(2, apart) as crew:
            assert list(run_in_fork(told)) == [1, 1, 0, 7, 1, 0]
            assert crew.in_step(lambda budget, team, members, apart: (members, apart)) == (2, apart)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_blas_is_held_to_one_thread_has_as_many_as_before():
    before = [library.get_num_threads() for library in blas.libraries()]

    def told():
        inside = [library.get_num_threads() for library in blas.libraries()]
        with blas.single_thread():
            held = [library.get_num_threads() for library in blas.libraries()]
        return bytes(inside + held + [library.get_num_threads() for library in blas.libraries()])

    try:
        for library in blas.libraries():
            library.set_num_threads(2)
        with blas.single_thread():
            found = run_in_fork(told)
            assert {library.get_num_threads() for library in blas.libraries()} == {1}
    finally:
        for library, n in zip(blas.libraries(), before, strict=True):
            library.set_num_threads(n)
    n = len(before)
    assert list(found) == [2] * n + [1] * n + [2] * n


@needs_fork
@pytest.mark.skipif("tsan" in os.environ.get("LD_PRELOAD", ""), reason="it takes the child's threads for the parent's")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fault_2_a_child_forked_in_the_middle_of_a_training_trains_and_predicts():
    expected, stop = trained(), threading.Event()

    def keep_training():
        while not stop.is_set():
            trained(seed=1)

    other = threading.Thread(target=keep_training)
    other.start()
    try:
        time.sleep(0.05)
        assert run_in_fork(trained) == expected
    finally:
        stop.set()
        other.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_fault_3_every_start_method_of_processes_gives_the_same_bits(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(trained).get(60) == trained()


def test_fault_7_two_trainings_side_by_side_never_wait_for_each_other():
    expected = {seed: trained(seed, epochs=8) for seed in range(4)}
    found = {}

    def train(seed):
        found[seed] = trained(seed, epochs=8)

    crowd = [threading.Thread(target=train, args=(seed,)) for seed in expected]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(60)
        assert not thread.is_alive()
    assert found == expected


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("batch_size", [200, None])
def test_fault_14_any_number_of_members_gives_the_same_bits_and_they_all_work(batch_size, apart):
    """Also with more members than cores; in a crew apart, threads do all the work, not the caller"""
    X, labels = problem()
    bits, jobs = set(), {}
    for n in (1, 2, 3, 4, 8):
        net = fastbp.Network(SIZES, activation="relu", output="softmax", dtype=np.float32, seed=0)
        trainer, data = fastbp.Trainer(net, "adam", weight_decay=1e-3), net.data(X, labels)
        with threads.Crew(n, apart) as trainer.steps.crew:
            J = [trainer.steps.mean(data, batch_size) for _ in range(3)]
            jobs[n] = trainer.steps.crew.who[0].jobs
        bits.add((net.theta.tobytes(), *J))
    assert len(bits) == 1
    assert {n: len(each) for n, each in jobs.items()} == {n: n if apart else n - 1 for n in (1, 2, 3, 4, 8)}
    assert all(jobs[2])
    if batch_size:
        assert all(jobs[8])


def test_the_number_of_threads_is_a_maximum_and_small_work_stays_in_the_caller():
    assert threads.members(None, 1e3) == 1
    assert threads.members(1, 1e12) == 1
    assert threads.members(64, 1e12) == threads.cores() == threads.members(None, 1e12)


@pytest.mark.skipif(platform.machine() != "x86_64" or platform.system() != "Linux", reason="fenv of glibc on x86-64")
def test_fault_28_rounding_and_flushing_of_the_caller_change_no_bit_and_come_back():
    libm = ctypes.CDLL("libm.so.6")
    net = fastbp.Network([7, 9, 3], output="softmax", seed=0)
    X, labels = np.random.default_rng(0).standard_normal((50, 7)), np.arange(50) % 3
    trainer, row = fastbp.Trainer(net.copy(), fastbp.SGD(0.1), weight_decay=0.1), X[0].copy()
    expected = (net.accumulate(X, labels)[1][0].tobytes(), net.predict(row).tobytes())
    stepped = fastbp.Trainer(net.copy(), fastbp.SGD(0.1), weight_decay=0.1)
    stepped.step(X, labels)
    downward = 0x400
    assert libm.fesetround(downward) == 0
    try:
        got = (net.accumulate(X, labels)[1][0].tobytes(), net.predict(row).tobytes())
        trainer.step(X, labels)
        assert libm.fegetround() == downward
    finally:
        libm.fesetround(0)
    assert got == expected
    assert trainer.net.theta.tobytes() == stepped.net.theta.tobytes()
    assert np.float64(5e-324) / 1 > 0       # the caller still has its subnormal numbers


INTERRUPTED = """
import random, signal, sys
import numpy as np, fastbp

hit = []

def interrupt(*_):
    hit.append(1)       # Python drops what a handler raises inside a weak reference's callback
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
rng, dice = np.random.default_rng(0), random.Random(0)
X, labels = rng.standard_normal((4096, 200)).astype("f4"), rng.integers(0, 10, 4096)
batch_size, caught = int(sys.argv[1]), 0
while caught < 60:
    net = fastbp.Network([200, 64, 10], output="softmax", dtype="f4", seed=0)
    trainer = fastbp.Trainer(net, fastbp.Adam(1e-3))
    hit.clear()
    try:
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-4, 6e-3))
        while not hit:
            trainer.epoch(X, labels, batch_size=batch_size)
    except KeyboardInterrupt:
        pass
    caught += 1
    twin = fastbp.Trainer(fastbp.Network([200, 64, 10], output="softmax", dtype="f4", seed=0), fastbp.Adam(1e-3))
    t, a_pass = trainer.state["t"], -(-len(X) // batch_size)
    for _ in range(t // a_pass):
        twin.epoch(X, labels, batch_size=batch_size)
    if rest := t % a_pass * batch_size:
        twin.epoch(X[:rest], labels[:rest], batch_size=batch_size)
    assert (twin.net.theta == net.theta).all() and (twin.state["m"] == trainer.state["m"]).all(), t
print("finite and at a step", caught)
"""


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="this system has no interval timer")
@pytest.mark.parametrize("batch_size", [200, 1000])
def test_fault_9_interrupts_at_any_moment_never_hang_and_leave_the_last_finished_step(batch_size):
    """theta, moments and step count have the same bits as after training with exactly this number of steps"""
    command = [sys.executable, "-c", INTERRUPTED, str(batch_size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "finite and at a step 60"


FEW_THREADS = """
import resource
import numpy as np, fastbp
from fastbp.engine import threads
assert resource.getrlimit(resource.RLIMIT_NPROC)     # a limit does not bind root: the memory of a stack does
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
X, y = np.random.default_rng(0).standard_normal((4000, 60)), np.arange(4000) % 10
net = fastbp.Network([60, 80, 10], output="softmax", seed=0)
data, expected = net.data(X, y), net.cost_and_gradient(X, y, n_threads=1)
resource.setrlimit(resource.RLIMIT_AS, (size + (5 << 20), -1))
crews = [threads.Crew(20) for _ in range(4)]
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
granted = [crew.n for crew in crews]
assert 1 <= min(granted) < 20, granted
from fastbp.engine import sums
for crew in (crews[0], crews[-1]):
    D = np.zeros(net.n_parameters)
    height = sums.height(net.plan, 4000, D.dtype)
    sums.accumulate_range(net.plan, net.theta, data.examples(), 0, 4000, height, D, crew)
    assert (D / 4000 == expected[1]).all()
print(len(crews[0].who[0].jobs) == crews[0].n - 1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif("san" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer needs memory of its own")
def test_a_system_without_more_threads_works_with_those_it_grants():
    done = subprocess.run([sys.executable, "-c", FEW_THREADS], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"


BURSTS = """
import os, random, signal, threading, time
import numpy as np, fastbp
from fastbp.engine import threads

rng, dice = np.random.default_rng(0), random.Random(0)
X, labels = rng.standard_normal((3000, 60)).astype("f4"), rng.integers(0, 10, 3000)
main = threading.get_ident()
signal.signal(signal.SIGINT, signal.default_int_handler)     # a shell in the background lets it be ignored
caught, moved, deadline = 0, 0, time.time() + 250

def burst(wait, n):
    time.sleep(wait)
    for _ in range(n):
        try:
            signal.pthread_kill(main, signal.SIGINT)
        except OSError:
            pass
        time.sleep(dice.uniform(0, 2e-4))

while caught <= 50 and time.time() < deadline:
    net = fastbp.Network([60, 40, 10], output="softmax", dtype="f4", seed=0)
    trainer = fastbp.Trainer(net, fastbp.Adam(1e-3), clip_norm=0.1)
    data = net.data(X, labels)
    sender = threading.Thread(target=burst, args=(dice.uniform(1e-3, 8e-3), dice.randint(1, 6)))
    crew = threads.Crew(2)
    trainer.steps.crew = crew
    ended = False
    while not ended:    # signals may go on after the first was answered
        try:
            if sender.ident is None:
                sender.start()
            while sender.is_alive():
                trainer.steps.mean(data, 200)
            ended = True
        except KeyboardInterrupt:
            try:
                theta = net.theta.copy()
                caught += 1
                time.sleep(0.002)
                moved += (theta != net.theta).any()
            except KeyboardInterrupt:
                continue
    while True:
        try:
            crew.__exit__()
            break
        except KeyboardInterrupt:
            continue
print(caught > 50, moved)
"""


@pytest.mark.skipif(not hasattr(__import__("signal"), "pthread_kill"), reason="this system sends no signals to threads")
def test_fault_9_bursts_of_ctrl_c_never_let_a_step_go_on_behind_the_callers_back():
    done = subprocess.run([sys.executable, "-c", BURSTS], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True 0"


FORKS_INSIDE = """
import os, sys
import numpy as np, fastbp

class Forks(fastbp.optimizers.Optimizer):
    def init(self, theta):
        return {"t": 0}
    def update(self, theta, D, state):
        state["t"] += 1
        theta -= 0.1 * D
        if state["t"] == 2:
            self.child = os.fork()

X, y = np.random.default_rng(0).standard_normal((4000, 400)), np.arange(4000) % 10
net, optimizer = fastbp.Network([400, 300, 10], output="softmax", seed=0), Forks()
fastbp.train(net, X, y, optimizer=optimizer, epochs=2, batch_size=2000, seed=0, n_threads=2)
if optimizer.child == 0:
    sys.stdout.write(f"child {net.theta.sum():.17g}\\n")
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(optimizer.child, 0)[1] == 0
print(f"parent {net.theta.sum():.17g}")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_fault_3_a_child_forked_between_two_steps_of_a_training_finishes_it_with_the_same_bits():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS_INSIDE], capture_output=True, text=True,
                          timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    child, parent = (line.split()[1] for line in done.stdout.splitlines())
    assert child == parent
