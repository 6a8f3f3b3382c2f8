"""Signals during work: Python handlers run, nothing is lost, no bit changes."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from children import run

import fastbp

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((3000, 200)).astype("f4"), RNG.integers(0, 10, 3000)


def trained(batch_size, epochs, **options):
    net = fastbp.Network([200, 100, 10], activation="relu", output="softmax", dtype="f4", seed=0)
    history = fastbp.train(net, X, Y, optimizer="adam", epochs=epochs, batch_size=batch_size, seed=0, **options)
    return net.theta.tobytes(), history.J


@pytest.mark.parametrize(("batch_size", "epochs"), [(1, 2), (200, 12), (None, 12)])
def test_fault_10_a_thousand_signals_a_second_change_no_bit_of_a_training(batch_size, epochs):
    """SIGALRM from a timer, SIGUSR1 and SIGUSR2 from another thread, each with a Python handler"""
    expected, ticks, done = trained(batch_size, epochs), [], threading.Event()
    kinds = (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)
    old = [signal.signal(kind, lambda number, _: ticks.append(number)) for kind in kinds]
    main = threading.get_ident()

    def send():
        while not done.is_set():
            for kind in kinds[1:]:
                signal.pthread_kill(main, kind)
            time.sleep(1e-3)

    sender = threading.Thread(target=send)
    sender.start()
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    found = []
    try:
        for _ in range(100):
            found.append(trained(batch_size, epochs, n_threads=2))
            if set(ticks) == set(kinds):    # on a busy machine the other thread may be late
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        done.set()
        sender.join()
        for kind, handler in zip(kinds, old, strict=True):
            signal.signal(kind, handler)
    assert all(each == expected for each in found)
    assert set(ticks) == set(kinds)


def test_fault_10_a_handler_of_sigterm_that_ends_the_program_leaves_a_finished_step():
    code = """
import os, signal, sys, threading, time
import numpy as np, fastbp

rng = np.random.default_rng(0)
X, y = rng.standard_normal((4096, 200)).astype("f4"), rng.integers(0, 10, 4096)

def trainer():
    return fastbp.Trainer(fastbp.Network([200, 64, 10], output="softmax", dtype="f4", seed=0), "adam")

def end(*_):
    sys.exit(3)

signal.signal(signal.SIGTERM, end)
one = trainer()
start = one.net.theta.copy()

def strike():
    while (one.net.theta == start).all():       # training has not begun yet
        time.sleep(1e-3)
    time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=strike).start()
try:
    while True:
        one.epoch(X, y, batch_size=512)
except SystemExit as stop:
    assert stop.code == 3
two, t = trainer(), one.state["t"]
for _ in range(t // 8):
    two.epoch(X, y, batch_size=512)
if t % 8:
    two.epoch(X[: t % 8 * 512], y[: t % 8 * 512], batch_size=512)
print((one.net.theta == two.net.theta).all(), t > 0)
"""
    assert run(code) == "True True"


def test_fault_10_a_child_that_is_stopped_and_continued_computes_the_same_bits():
    """SIGSTOP, SIGCONT: system calls and sleeps are cut short"""
    code = """
import hashlib, sys
import numpy as np, fastbp
rng = np.random.default_rng(0)
X, y = rng.standard_normal((3000, 200)).astype("f4"), rng.integers(0, 10, 3000)
net = fastbp.Network([200, 100, 10], activation="relu", output="softmax", dtype="f4", seed=0)
print("begin", flush=True)
fastbp.train(net, X, y, optimizer="adam", epochs=12, batch_size=200, seed=0, n_threads=2)
print(hashlib.sha256(net.theta.tobytes()).hexdigest())
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "begin\n"
        for _ in range(10):
            for kind in (signal.SIGSTOP, signal.SIGCONT):
                os.kill(child.pid, kind)
                time.sleep(0.002)
        digest = child.communicate(timeout=60)[0].strip()
    finally:
        child.kill()
    assert digest == hashlib.sha256(trained(200, 12)[0]).hexdigest()
