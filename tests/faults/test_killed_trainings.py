"""Training that is killed at any moment, by any signal, and restarted as often as necessary ends with the same bits."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from children import run

import fastbp
from fastbp.training import checkpoint

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
# reports each copy of the state: its epochs, and the examples of the next one
TELLING = """
import sys
from fastbp.training.checkpoint import Checkpoint

take = Checkpoint._take

def telling(self, training):
    taken = take(self, training)
    if taken:
        print("copy", *self._copy[2][:2], file=sys.stderr, flush=True)
    return taken

Checkpoint._take = telling
"""
EPOCHS = 120
WINDOWS = sys.platform == "win32"       # there every signal ends a process, and os.kill accepts only SIGTERM
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@pytest.fixture
def tmp_path(quick_folder):
    return quick_folder


def start(path, every=(1, "batches"), n_threads=1, epochs=EPOCHS, before=""):
    command = [sys.executable, "-c", before + PROGRAM, str(path), *map(str, every), str(n_threads), str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(path, **settings):
    process = start(path, **settings)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def kill_until_done(path, dice, expected, *, kills, signals, every, longest):
    """Start training and kill it after a moment, again and again; after `kills` kills it may end. Counts the kills."""
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


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The output of a run that is not killed"""
    return finish(tmp_path_factory.mktemp("whole") / "t", every=(1000, "epochs"))


@pytest.mark.parametrize("every", [(1, "batches"), (1, "epochs"), (0.005, "seconds")])
def test_fault_49_a_training_killed_again_and_again_ends_with_the_bits_of_one_that_was_not(tmp_path, expected, every):
    dice = random.Random(str(every))
    signals = [KILL] if WINDOWS else [KILL, signal.SIGTERM, signal.SIGINT]
    assert kill_until_done(tmp_path / "t", dice, expected, kills=4, signals=signals, every=every, longest=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("every", [(1, "batches"), (1, "epochs"), (0.005, "seconds")])
def test_fault_49_two_hundred_kills(tmp_path, expected, every):
    dice, killed = random.Random(7), 0
    while killed < 200:
        path = tmp_path / f"{killed}"
        killed += kill_until_done(path, dice, expected, kills=30, signals=[KILL], every=every, longest=0.3)


def copies(lines):
    """The copies of the state that these lines report"""
    return [tuple(map(int, line.split()[1:])) for line in lines if re.fullmatch(r"copy \d+ \d+\n?", line)]


@pytest.mark.skipif(WINDOWS, reason="this system sends no Ctrl-C to one process")
def test_fault_46_ctrl_c_loses_no_more_than_moments(tmp_path):
    """The next checkpoint is thousands of epochs away; the last copy in memory is written"""
    process = start(tmp_path / "t", every=(10**6, "epochs"), epochs=10**6, before=TELLING)
    assert process.stdout.readline() == "begin\n"
    told = [(0, 0)]
    while told[-1] <= (50, 0):
        assert process.poll() is None
        told += copies([process.stderr.readline()])
    assert len(set(told)) > 3
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    told += copies(errors.splitlines())
    kept = checkpoint.read(tmp_path / "t")
    assert kept.key[:2] >= told[-1]     # Ctrl-C may come before a copy is told
    assert kept.key[0] == len(kept.history)


def test_fault_48_a_reader_beside_the_training_always_sees_a_whole_network(tmp_path):
    process = start(tmp_path / "t", every=(1, "batches"), epochs=10**6)
    seen = set()
    try:
        while len(seen) < 20:
            assert process.poll() is None
            if (tmp_path / "t").exists():
                seen.add(fastbp.load(tmp_path / "t").theta.tobytes())
    finally:
        process.kill()
        process.communicate()
    assert all(np.isfinite(np.frombuffer(theta, np.float32)).all() for theta in seen)


# training in a forked process, again and again, which reports each finished checkpoint until SIGKILL
FORKING = """
import os, random, signal, sys
import numpy as np, fastbp
from children import Moments
from fastbp.training import checkpoint

path, kills = sys.argv[1], int(sys.argv[2])
folder = os.path.dirname(path)
rng = np.random.default_rng(1)
X = rng.standard_normal((160, 20)).astype(np.float32)
Y = (X[:, :3] @ rng.standard_normal((3, 4))).argmax(axis=1)
write = checkpoint.Checkpoint._write

def train(path, every, tell=None):
    def telling(self, training):
        write(self, training)
        if tell is not None:
            os.write(tell, bytes(self._key[:2]))       # epoch, examples of the next one: each below 256
    checkpoint.Checkpoint._write = telling
    net = fastbp.Network([20, 500, 4], activation="relu", output="softmax", dtype=np.float32, seed=0)
    history = fastbp.train(net, X, Y, epochs=25, batch_size=16, seed=3, dropout=0.1, optimizer="adam",
                           checkpoint=path, checkpoint_every=every, resume=True)
    return net.theta.tobytes(), history.J

def killed(path):
    "Fork a training and kill it: (what it told at last, how it ended)"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            train(path, (1, "batches"), writer)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    told = moments.wait(reader, 2)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        return tuple((told + pipe.read())[-2:]), status

moments = Moments(random.Random(0))
expected = train(path + "whole", (10**6, "epochs"))
count = middle = ended = 0
while count < kills:
    each, seen = f"{path}{ended}", (0, 0)
    while count < kills:
        told, status = killed(each)
        if status == 0:
            break
        assert status == signal.SIGKILL, status
        count += 1
        left = [name for name in os.listdir(folder) if name.startswith(".fastbp-")]
        assert len(left) <= 1
        for name in left:       # it was in the middle of one
            middle += 1
            os.unlink(os.path.join(folder, name))
        if not os.path.exists(each):
            assert not told and seen == (0, 0)
            continue
        kept = checkpoint.read(each).key[:2]
        assert kept >= max(told, seen), "a finished checkpoint is lost"
        seen = kept
    assert train(each, (10**6, "epochs")) == expected, "the bits differ"
    ended += 1
print(count, middle, ended)
"""


def kill_forked(folder, kills):
    """The numbers of kills, of kills in the middle of writing, and of training runs that finished"""
    return tuple(map(int, run(FORKING, folder / "t", kills, timeout=3000).split()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_fault_46_the_newest_finished_checkpoint_loads_after_any_kill_and_goes_on_to_the_same_bits(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)    # with coverage a fork takes most of the time
    killed, middle, ended = kill_forked(tmp_path, 500)
    assert killed == 500
    assert middle > 15
    assert ended > 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_fault_46_the_newest_finished_checkpoint_loads_after_any_of_20000_kills(tmp_path):
    killed, middle, ended = kill_forked(tmp_path, 20_000)
    print(f"{killed} kills, {middle} in the middle of writing, {ended} trainings ended")
    assert killed == 20_000
    assert middle > 600
