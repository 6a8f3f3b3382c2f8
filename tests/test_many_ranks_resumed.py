"""Checkpoints of many networks on ranks: a file for each, and any number of ranks resumes from all."""

import hashlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from communicators import Segments, Serial, Threads, all_of, ranks
from test_many import LABELS, X, small, unequal
from test_many_resumed import kept, results

import fastbp
from fastbp.many.kept import of_rank, read


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
        begun = finished()
        while child.poll() is None:
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
