"""`train_many` resumed within a network, and on ranks that keep files."""

import hashlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from communicators import Segments, Serial, Threads, all_of, ranks
from test_many import LABELS, W, X, small, unequal

import fastbp
from fastbp.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from fastbp.files import container
from fastbp.many import keeper
from fastbp.many.kept import Kept, of_rank, read
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


@pytest.fixture
def at_once(monkeypatch):
    """States are copied after every piece, and written at the next look"""
    monkeypatch.setattr("fastbp.many.under_way.UnderWay.due", True)
    monkeypatch.setattr("fastbp.many.keeper.Checkpoint.is_long", lambda self, operations: True)


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
        child, end = program("killed.fastbp"), time.monotonic() + 20
        while child.poll() is None and time.monotonic() < end:
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


# ---------------------------------------------------------------- ranks


def stopping(n, at=None):
    """Callbacks of n networks; that of network `at` raises an error"""
    def stops(training):
        raise RuntimeError("no more")

    return [[stops] if i == at else [lambda training: None] for i in range(n)]


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 3), (3, 1), (1, 2), (3, None), (None, 2)])
@pytest.mark.parametrize("kind", [Threads, Segments])
def test_ranks_keep_files_and_any_number_of_them_resumes(tmp_path, before, after, kind):
    """`before` or `after` None: a call without comm"""
    path, call = tmp_path / "many.fastbp", {"epochs": 3, "seed": 5, "validation_rows": np.arange(40)}
    whole = small(9)
    expected = results(whole, fastbp.train_many(whole, X, LABELS, **call))

    def run(size, at, resume):
        def on_rank(comm):
            nets = small(9)
            if comm is not None and comm.Get_rank():
                nets[0].theta[:] *= 0.5
            return nets, fastbp.train_many(nets, X, LABELS, **call, comm=comm, callbacks=stopping(9, at),
                                           checkpoint=path, resume=resume, n_threads=1)

        return [on_rank(None)] if size is None else all_of(size, on_rank, kind)

    with pytest.raises(RuntimeError):
        run(before, 2, None)
    files = [of_rank(str(path), rank) for rank in range(before or 1)]
    assert sorted(map(str, tmp_path.iterdir())) == sorted(files)
    finished = sum(kept(file).finished for file in files)
    assert 0 < finished < 9
    with pytest.raises(ValueError, match=r"holds \d finished networks; resume=True"):
        run(after, None, None)
    for nets, histories in run(after, None, True):
        assert results(nets, histories) == expected
    assert list(tmp_path.iterdir()) == [path], "the file of rank 0 has all"
    assert kept(path).finished == 9
    for nets, histories in run(before, 2, True):       # nothing is left to do: nobody fails
        assert results(nets, histories) == expected
    fresh = run(after, None, False)
    assert results(*fresh[0]) == expected


def test_states_go_from_rank_to_rank(tmp_path, at_once):
    """A network that was under way on one rank resumes on any rank that gets it"""
    path, call = tmp_path / "many.fastbp", {"epochs": 12, "seed": 5}
    whole = small(4)
    expected = results(whole, fastbp.train_many(whole, X, LABELS, **call))

    def at(epoch):
        def stops(training):
            if training.epoch == epoch:
                raise RuntimeError("no more")
        return stops

    def run(size, callback):
        def on_rank(comm):
            nets = small(4)
            return nets, fastbp.train_many(nets, X, LABELS, **call, comm=comm, callbacks=[callback], checkpoint=path,
                                           resume=True, n_threads=1)
        return ranks(size, on_rank)

    for size, epoch in ((2, 4), (3, 6), (1, 8), (2, 10)):
        assert all(isinstance(error, RuntimeError) for error in run(size, at(epoch)))
    epochs = []
    for found in run(3, lambda training: epochs.append(training.epoch)):
        assert results(*found) == expected
    assert len(epochs) < 4 * 12, "all began anew"
    assert min(epochs) == 1     # one had not begun
    assert list(tmp_path.iterdir()) == [path]


def test_kept_errors_begin_anew_on_ranks(tmp_path):
    path, call = tmp_path / "many.fastbp", {"epochs": 3, "seed": 5}
    whole = small(5)
    expected = results(whole, fastbp.train_many(whole, X, LABELS, **call))

    def run(at):
        def on_rank(comm):
            nets = small(5)
            return nets, fastbp.train_many(nets, X, LABELS, **call, comm=comm, callbacks=stopping(5, at),
                                           checkpoint=path, resume=True, n_threads=1, on_error="keep")
        return all_of(2, on_rank)

    for at in range(4):
        for _, histories in run(at):
            assert [history.error is not None for history in histories] == [i == at for i in range(5)]
        assert kept(path).finished == 4
        for nets, histories in run(None):
            assert results(nets, histories) == expected
        path.unlink()


def test_files_of_different_calls_are_refused(tmp_path):
    path = tmp_path / "many.fastbp"
    call = {"epochs": 3, "seed": 5, "checkpoint": path, "n_threads": 1}

    def on_rank(nets, **more):
        return lambda comm: fastbp.train_many([net.copy() for net in nets], X, LABELS, **call, comm=comm, **more)

    other = [net.copy() for net in small(4)]
    other[0].theta[:] *= 0.5
    ranks(2, on_rank(other, callbacks=stopping(4, 1)))
    foreign = (tmp_path / "many.fastbp.rank1").read_bytes()
    ranks(2, on_rank(small(4), callbacks=stopping(4, 1), resume=False))
    (tmp_path / "many.fastbp.rank1").write_bytes(foreign)
    for result in ranks(2, on_rank(small(4), callbacks=stopping(4), resume=True)):
        assert isinstance(result, ValueError)
        assert "are of different calls of train_many; resume=False" in str(result)
    all_of(2, on_rank(small(4), callbacks=stopping(4), resume=False))
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "many.fastbp.rank1").write_text("no file of ours")
    for resume, match in ((True, "rank1"), (None, "holds no call of train_many")):
        told = ranks(2, on_rank(small(4), callbacks=stopping(4), resume=resume))
        assert any(match in str(result) for result in told), told


def test_ranks_must_agree_on_the_checkpoint(tmp_path):
    def on_rank(comm):
        path = tmp_path / "many.fastbp" if comm.Get_rank() else None
        return fastbp.train_many(small(2), X, LABELS, epochs=1, seed=0, comm=comm, checkpoint=path)

    for error in ranks(2, on_rank):
        assert "the ranks differ in checkpoint" in str(error)
    with pytest.raises(ValueError, match="seed of network 0 must be a whole number"):
        fastbp.train_many(small(1), X, LABELS, epochs=1, comm=Serial(), seed=np.random.default_rng(0),
                          checkpoint=tmp_path / "many.fastbp")


@pytest.mark.parametrize("name", ["many.fastbp", b"many.fastbp"])
def test_relative_names_and_bytes(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "many.fastbp.rank01").write_text("somebody else's")
    (tmp_path / "many.fastbp.rank").write_text("somebody else's")

    def on_rank(comm, at=None):
        return fastbp.train_many(small(3), X, LABELS, epochs=1, seed=0, comm=comm, checkpoint=name, n_threads=1,
                                 callbacks=stopping(3, at), resume=True)

    ranks(2, lambda comm: on_rank(comm, 1))
    assert (tmp_path / "many.fastbp.rank1").exists()
    all_of(2, on_rank)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["many.fastbp", "many.fastbp.rank", "many.fastbp.rank01"]


def test_fresh_seeds_on_ranks_are_those_of_the_files(tmp_path):
    path, found = tmp_path / "many.fastbp", []
    for at in (2, None):
        def on_rank(comm, at=at):
            nets = small(4)
            fastbp.train_many(nets, X, LABELS, epochs=2, comm=comm, checkpoint=path, n_threads=1,
                              callbacks=stopping(4, at), resume=True)
            return [net.theta.tobytes() for net in nets]

        found.append(ranks(2, on_rank))
        seeds = kept(path).arrays["seeds"].tolist()
    first, second = found[1]
    assert first == second
    alone = small(4)
    fastbp.train_many(alone, X, LABELS, epochs=2, seed=seeds)
    assert [net.theta.tobytes() for net in alone] == first


def test_many_networks_on_ranks_killed_again_and_again(tmp_path):
    """Different networks; all ranks are threads of a process that is killed"""
    text = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from communicators import all_of
from test_many import LABELS, X, unequal
import fastbp
def on_rank(comm):
    nets, lists = unequal(40, seed=2)
    lists["epochs"] = [20 * n for n in lists["epochs"]]
    fastbp.train_many(nets, X, LABELS, **lists, checkpoint={path!r}, checkpoint_every=3, resume=True, n_threads=1,
                      comm=comm)
    return hashlib.sha256(b"".join(net.theta.tobytes() for net in nets)).hexdigest()
print(*all_of(2, on_rank))
"""
    nets, lists = unequal(40, seed=2)
    lists["epochs"] = [20 * n for n in lists["epochs"]]
    fastbp.train_many(nets, X, LABELS, **lists)
    whole = hashlib.sha256(b"".join(net.theta.tobytes() for net in nets)).hexdigest()
    path, killed = tmp_path / "killed.fastbp", 0
    files = [of_rank(str(path), rank) for rank in range(2)]

    def finished():
        return sum(kept(file).finished for file in files if os.path.exists(file) and read(file) is not None)

    for _ in range(20):
        child = subprocess.Popen([sys.executable, "-c", text.format(tests=os.path.dirname(__file__), path=str(path))],
                                 stdout=subprocess.PIPE, text=True)
        begun, end = finished(), time.monotonic() + 20
        while child.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
            if not killed and finished() >= begun + 12:
                child.kill()
                killed += 1
                break
        out = child.communicate()[0]
        if child.returncode == 0:
            break
    assert killed
    assert out.split() == [whole] * 2


def test_progress_of_a_rank_counts_its_share(capsys, monkeypatch):
    monkeypatch.setattr("fastbp.many.progress.EVERY", 0.0)
    all_of(2, lambda comm: fastbp.train_many(small(6), X, LABELS, epochs=2, seed=0, progress=True, comm=comm))
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "3 of 3 networks"
