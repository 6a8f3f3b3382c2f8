"""A training killed at any moment, by any signal, and started again as often as it takes ends with the same bits."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastbp
from fastbp import checkpoint

PROGRAM = """
import signal, sys, time
import numpy as np, fastbp
from fastbp.callbacks import EarlyStopping

signal.signal(signal.SIGINT, signal.default_int_handler)    # a shell may have it ignored
path, every, unit, n_threads, epochs = sys.argv[1], *sys.argv[2:4], *map(int, sys.argv[4:6])
rng = np.random.default_rng(1)
X = rng.standard_normal((600, 20)).astype(np.float32)
Y = (X[:, :3] @ rng.standard_normal((3, 4))).argmax(axis=1)
net = fastbp.Network([20, 16, 4], activation="relu", output="softmax", dtype=np.float32, seed=0)
print("begin", flush=True)
history = fastbp.train(
    net, X, Y, epochs=epochs, batch_size=16, validation_split=0.2, seed=3, dropout=0.1, n_threads=n_threads,
    optimizer=fastbp.Adam(fastbp.schedules.Cosine(0.01, steps=epochs * 30)),
    callbacks=[EarlyStopping(patience=epochs), lambda training: time.sleep(0.003)],
    checkpoint=path, checkpoint_every=(float(every) if unit == "seconds" else int(every), unit), resume=True)
print(net.theta.tobytes().hex(), history.J, history.val_J, flush=True)
"""
EPOCHS = 120


@pytest.fixture
def tmp_path(quick_folder):
    return quick_folder


def start(path, every=(1, "batches"), n_threads=1, epochs=EPOCHS):
    command = [sys.executable, "-c", PROGRAM, str(path), *map(str, every), str(n_threads), str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(path, **settings):
    process = start(path, **settings)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def kill_until_done(path, dice, expected, *, kills, signals, every, longest):
    """Start it, kill it after some moments, and again; what has been killed `kills` times may end. Counts the kills."""
    killed, seen = 0, (0, 0)
    while killed < kills:
        process = start(path, every, n_threads=dice.choice([1, 2]))
        assert process.stdout.readline() == "begin\n", process.communicate()
        time.sleep(dice.random() * longest)
        process.send_signal(dice.choice(signals))
        _, errors = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        killed += 1
        kept = checkpoint.read(path)
        if kept is not None:    # it was killed before the first was written
            assert kept.key[:2] >= seen, errors     # nothing that was finished is lost
            seen = kept.key[:2]
    assert finish(path) == expected
    return killed


@pytest.mark.parametrize("every", [(1, "batches"), (1, "epochs"), (0.005, "seconds")])
def test_fault_49_a_training_killed_again_and_again_ends_with_the_bits_of_one_that_was_not(tmp_path, every):
    expected = finish(tmp_path / "whole", every=(1000, "epochs"))
    dice = random.Random(str(every))
    signals = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
    assert kill_until_done(tmp_path / "t", dice, expected, kills=4, signals=signals, every=every, longest=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("every", [(1, "batches"), (1, "epochs"), (0.005, "seconds")])
def test_fault_49_two_hundred_kills(tmp_path, every):
    expected = finish(tmp_path / "whole", every=(1000, "epochs"))
    dice, killed = random.Random(7), 0
    while killed < 200:
        path = tmp_path / f"{killed}"
        killed += kill_until_done(path, dice, expected, kills=30, signals=[signal.SIGKILL], every=every, longest=0.3)


def test_fault_46_ctrl_c_loses_no_more_than_moments(tmp_path):
    """The last checkpoint asked for is thousands of epochs away"""
    process = start(tmp_path / "t", every=(10**6, "epochs"), epochs=10**6)
    assert process.stdout.readline() == "begin\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    kept = checkpoint.read(tmp_path / "t")
    assert len(kept.history) > 50


def test_fault_48_a_reader_beside_the_training_always_sees_a_whole_network(tmp_path):
    process = start(tmp_path / "t", every=(1, "batches"), epochs=30)
    seen = set()
    while process.poll() is None:
        if (tmp_path / "t").exists():
            seen.add(fastbp.load(tmp_path / "t").theta.tobytes())
    assert process.wait() == 0
    process.communicate()
    assert len(seen) > 3
    assert all(np.isfinite(np.frombuffer(theta, np.float32)).all() for theta in seen)
