"""`train_many` resumed within a network, and on ranks that keep files."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from test_many import LABELS, W, X, small

import fastbp
from fastbp.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from fastbp.files import container
from fastbp.many import keeper
from fastbp.many.kept import Kept, read
from fastbp.many.under_way import from_arrays, to_arrays

BIG = {     # settings: a stretch of compiled code, and the ways with Python between the epochs
    "compiled": {}, "validation": {"validation_rows": np.arange(40)}, "in order": {"shuffle": False},
    "dropout": {"dropout": 0.2, "input_dropout": 0.1}, "weights": {"sample_weight": W},
    "callbacks": {"callbacks": [EarlyStopping(patience=200, monitor="J"), ReduceOnPlateau(patience=2, monitor="J")]},
    "metrics": {"metrics": ("accuracy",)}, "rows": {"rows": np.r_[np.arange(50), np.arange(50), 299]},
    "schedule": {"optimizer": fastbp.Adam(fastbp.schedules.Exponential(0.01, factor=0.999))},
    "large": {"batch_size": None}, "online": {"batch_size": 1, "optimizer": fastbp.SGD(0.01)},
    "free": {"free": (2,)}, "diagonal": {"input_scale": 3.0}, "sgd": {"optimizer": fastbp.SGD(0.01, momentum=0.9)},
    "lbfgs": {"optimizer": fastbp.LBFGS(), "batch_size": None, "epochs": 40},
}


def kept(path):
    return Kept(*read(path))


def results(nets, histories):
    """All bits, without seconds"""
    told = [history.state() for history in histories]
    for each in told:
        each.pop("seconds")
    return [net.theta.tobytes() for net in nets], told


class Killed(BaseException):
    """Acts like a kill: nothing more is written"""


@pytest.mark.parametrize("name", BIG)
@pytest.mark.parametrize("n", [3])
def test_a_network_under_way_resumes_with_the_same_bits(tmp_path, at_once, monkeypatch, name, n):
    """Killed after the n-th state, again and again, always during the training of a network"""
    path, settings = tmp_path / "many.fastbp", {"epochs": 12, "seed": 3, "batch_size": 32, **BIG[name]}
    whole = small(2)
    expected = results(whole, fastbp.train_many(whole, X, LABELS, **settings))
    keep, end = fastbp.many.job.Job.keep, keeper.Checkpoint.end
    left, begun = [0], []

    def kept_and_killed(job, state):
        keep(job, state)
        left[0] -= 1
        if left[0] == 0:
            begun.append((-job.i, len(job.training.history), job.training.position.examples))
            raise Killed

    def killed_at_once(self):
        if left[0] > 0:     # by then the last state has been written
            end(self)
        elif self._has_moved():
            self.write()

    monkeypatch.setattr("fastbp.many.job.Job.keep", kept_and_killed)
    monkeypatch.setattr(keeper.Checkpoint, "end", killed_at_once)
    for i in range(60):
        left[0] = n if i < 40 else 10**9
        nets = small(2)
        try:
            histories = fastbp.train_many(nets, X, LABELS, **settings, checkpoint=path, resume=True, n_threads=1)
            break
        except Killed:
            assert kept(path).under_way
    assert results(nets, histories) == expected
    assert len(begun) > 1
    assert begun == sorted(begun), "a network has gone back"
    assert kept(path).finished == 2
    assert not kept(path).under_way


def test_states_are_left_where_an_exception_comes(tmp_path, at_once):
    """Ctrl-C and errors keep the last state of all networks under way; resumed in new networks they end the same"""
    path = tmp_path / "many.fastbp"

    def settings(stop):
        def stops(training):
            if stop and training.epoch == 9:
                raise KeyboardInterrupt
        return {"epochs": 15, "seed": 3, "callbacks": [stops]}

    whole = small(2)
    expected = results(whole, fastbp.train_many(whole, X, LABELS, **settings(False)))
    with pytest.raises(KeyboardInterrupt):
        fastbp.train_many(small(2), X, LABELS, **settings(True), checkpoint=path, n_threads=1)
    found = kept(path)
    assert (found.finished, list(found.under_way)) == (0, [1])      # the larger one comes first
    assert len(found.under_way[1][0].history) == 8
    with pytest.raises(ValueError, match="holds 0 finished networks and some under way; resume=True resumes"):
        fastbp.train_many(small(2), X, LABELS, **settings(False), checkpoint=path)
    seen = []
    again = {**settings(False), "callbacks": [lambda training: seen.append(training.epoch)]}
    nets = small(2)
    assert results(nets, fastbp.train_many(nets, X, LABELS, **again, checkpoint=path, resume=True,
                                           n_threads=1)) == expected
    assert seen[:7] == list(range(9, 16))


def test_short_trainings_have_no_state_and_long_ones_do(tmp_path, monkeypatch):
    run = type("Run", (), {"settings": []})()
    assert not keeper.keeper(run, None, (60, "seconds"), None).is_long(1e30)
    own = keeper.keeper(run, tmp_path / "a", (60, "seconds"), None)
    assert (own.is_long(1e9), own.is_long(1e12)) == (False, True)
    own = keeper.keeper(run, tmp_path / "a", 5, None)
    assert (own.is_long(1e9), own.is_long(1e12), own.seconds) == (False, True, 60.0)


PROGRAM = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from test_many import LABELS, X
import fastbp
nets = [fastbp.Network([6, 40, 40, 4], output="softmax", seed=i) for i in range(3)]
histories = fastbp.train_many(nets, X, LABELS, epochs=[1500, 1400, 30], seed=1, checkpoint={path!r}, n_threads=2,
                              checkpoint_every=(0.02, "seconds"), resume=True)
print(hashlib.sha256(b"".join(net.theta.tobytes() for net in nets)).hexdigest(), [sum(h.J) for h in histories])
"""


def come_to(path):
    """Epochs in the file, of finished networks and of those under way"""
    found = kept(path)
    return sum(found.arrays["epochs"].tolist()) + sum(len(own.history) for own, _ in found.under_way.values())


def test_killed_within_a_network_again_and_again(tmp_path):
    def program(name):
        text = PROGRAM.format(tests=os.path.dirname(__file__), path=str(tmp_path / name))
        return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)

    whole = program("whole.fastbp").communicate()[0]
    path, killed, epochs = tmp_path / "killed.fastbp", 0, [0]
    for _ in range(9):
        child = program("killed.fastbp")
        while child.poll() is None:
            if path.exists() and come_to(path) >= epochs[-1] + 900:
                child.kill()
                killed += 1
                break
            time.sleep(0.001)
        out = child.communicate()[0]
        epochs.append(come_to(path))
        if child.returncode == 0:
            break
    assert killed > 1
    assert epochs == sorted(epochs)
    assert epochs[-1] == 2930
    assert out == whole


def test_a_state_of_another_training_is_refused(tmp_path, at_once, monkeypatch):
    path = tmp_path / "many.fastbp"

    def stops(training):
        if training.epoch == 3:
            raise RuntimeError("no more")

    call = {"epochs": 5, "seed": 0, "n_threads": 1}
    with pytest.raises(RuntimeError):
        fastbp.train_many(small(2), X, LABELS, **call, checkpoint=path, callbacks=[stops])
    arrays, meta = container.read(path)
    states = from_arrays({name: a for name, a in arrays.items() if name.startswith("under_way")}, 2)
    (i, (own, told)), = states.items()
    plain = {name: a for name, a in arrays.items() if not name.startswith("under_way")}

    def forged():
        yield {i: (own, told | {"conditions": told["conditions"] | {"batch_size": 7}})}
        yield {1 - i: (own, told)}
        yield {i: ({name: a for name, a in own.items() if name != "theta"}, told)}
        yield {i: (own | {"more": np.zeros(3)}, told)}
        yield {i: (own, {name: value for name, value in told.items() if name != "position"})}
        yield {i: (own, told | {"kind": "trainer"})}
        yield {i: (own, told | {"optimizer": told["optimizer"] | {"class": "fastbp.optimizers.SGD"}})}

    texts = [b"no JSON", b"\xff", b"3", b"[3]", b"[[9,{},[]]]", b"[[0,{},[3]]]", b'[[0,{},["a","a"]]]',
             b'[[0,{},["a"]]]', b"[]"]
    files = [plain | to_arrays(each) for each in forged()]
    files += [arrays | {"under_way": np.frombuffer(text, np.uint8)} for text in texts]
    files += [arrays | {"under_way": np.zeros((2, 2), np.uint8)}, arrays | {"under_way.9.9": np.zeros(2)}]
    nets = small(2)
    theta = [net.theta.copy() for net in nets]
    for k, each in enumerate(files):
        container.write(path, each, meta)
        with pytest.raises(ValueError):     # FormatError, or of another training
            fastbp.train_many(nets, X, LABELS, **call, checkpoint=path, resume=True, callbacks=[print])
        assert all((net.theta == old).all() for net, old in zip(nets, theta, strict=True)), k


def test_a_callback_with_a_state_must_be_able_to_resume_from_it(tmp_path):
    class Half(Callback):
        def state(self):
            return {"n": 1}

    with pytest.raises(TypeError, match=r"^network 0, .*Half has state\(\), which checkpoints keep"):
        fastbp.train_many(small(2), X, LABELS, epochs=1, callbacks=[Half()], checkpoint=tmp_path / "many.fastbp")
    assert not (tmp_path / "many.fastbp").exists()
