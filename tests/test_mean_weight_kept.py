"""mean_weight: bad values are refused, and copies, files and checkpoints keep it (fault 64)."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from communicators import Plain, all_of
from helpers import problem
from test_checkpoint import M, examples, network, run, same, stop_everywhere
from test_mean_weight import weighted

import fastbp
from fastbp import distributed
from fastbp.files import container
from fastbp.training import checkpoint, start

# ---------------------------------------------------------------- refused values


@pytest.mark.parametrize("bad", [0, -1.0, np.inf, np.nan, "1", True, [1.0], 10**400])
def test_fault_64_what_is_no_mean_weight_is_named(bad):
    p = problem()
    net = p.network()
    for call in (lambda: fastbp.Trainer(net, mean_weight=bad),
                 lambda: fastbp.train(net, p.X, p.Y, epochs=1, mean_weight=bad)):
        with pytest.raises((ValueError, TypeError), match="mean_weight"):
            call()
    assert net.theta.tobytes() == p.theta.tobytes()


def test_fault_64_weights_that_leave_the_dtype_are_refused():
    p = problem(m=9, dtype=np.float32)
    for mean_weight, w in ((1e-60, np.ones(9)), (1e60, p.weights), (1e-45, None)):
        net = p.network()
        with pytest.raises(ValueError, match="mean_weight"):
            fastbp.Trainer(net, mean_weight=mean_weight).step(p.X, p.Y, w)
        with pytest.raises(ValueError, match="mean_weight"):
            fastbp.train(net, p.X, p.Y, sample_weight=w, mean_weight=mean_weight, epochs=1, batch_size=3)
        assert net.theta.tobytes() == p.theta.tobytes()


# ---------------------------------------------------------------- copies, files, checkpoints


def version(path):
    meta = container.read(path)[1]
    return meta["version"], meta.get("mean_weight", "absent")


def test_fault_64_copies_pickles_and_files_hold_it(tmp_path):
    p, w = problem(m=40), weighted(np.float64)[1]
    for mean_weight, expected in ((None, (1, "absent")), (2.5, (2, 2.5))):
        trainer = fastbp.Trainer(p.network(), "adam", mean_weight=mean_weight)
        trainer.epoch(p.X, p.Y, batch_size=7, sample_weight=w)
        trainer.save(tmp_path / "t")
        assert version(tmp_path / "t") == expected
        assert fastbp.load(tmp_path / "t").theta.tobytes() == trainer.net.theta.tobytes()
        restored = fastbp.Trainer(p.network(), "adam", mean_weight=7)
        restored.restore(tmp_path / "t")
        others = [restored, copy.copy(trainer), pickle.loads(pickle.dumps(trainer))]
        assert [each.mean_weight for each in others] == [mean_weight] * 3
        J = trainer.epoch(p.X, p.Y, batch_size=7, sample_weight=w), trainer.step(p.X, p.Y)
        for each in others:
            assert (each.epoch(p.X, p.Y, batch_size=7, sample_weight=w), each.step(p.X, p.Y)) == J
            assert each.net.theta.tobytes() == trainer.net.theta.tobytes()


def test_fault_64_a_pickle_that_has_none_is_of_the_old_rule():
    trainer = fastbp.Trainer(problem().network(), "adam", mean_weight=2)
    state = trainer.__getstate__()
    del state["mean_weight"]
    older = fastbp.Trainer.__new__(fastbp.Trainer)
    older.__setstate__(state)
    assert older.mean_weight is None


def test_fault_64_a_file_with_anything_but_a_number_above_0_is_refused(tmp_path):
    p, path = problem(), tmp_path / "t"
    trainer = fastbp.Trainer(p.network(), "adam", mean_weight=2)
    trainer.save(path)
    arrays, meta = container.read(path)
    before = trainer.net.theta.tobytes()
    for change in ({"mean_weight": 0.0}, {"mean_weight": -1.0}, {"mean_weight": 1}, {"mean_weight": True},
                   {"mean_weight": "2"}, {"mean_weight": [2.0]}, {"version": 1}, {"version": 3}):
        container.write(path, arrays, {**meta, **change})
        with pytest.raises(fastbp.FormatError, match=r"mean_weight|version is 3; this version of fastbp reads 1 and 2"):
            trainer.restore(path)
    del meta["mean_weight"]
    container.write(path, arrays, meta)
    with pytest.raises(fastbp.FormatError, match=r"the fields must be .*mean_weight"):
        fastbp.load(path)
    assert (trainer.net.theta.tobytes(), trainer.mean_weight) == (before, 2)


@pytest.mark.parametrize("settings", [
    {}, {"mean_weight": 0.7}, {"batch_size": 1, "optimizer": lambda: fastbp.SGD(0.05), "epochs": 2},
    {"optimizer": Plain, "validation_split": 0.2}, {"dropout": 0.2, "batch_size": 7},
], ids=lambda settings: "-".join(settings))
def test_fault_64_resumed_at_every_batch_boundary_it_ends_with_the_same_bits(tmp_path, every_file, settings):
    written = stop_everywhere(tmp_path, every_file, data=examples(weights=True), **settings)
    assert {version(file)[0] for file in written} == {2}
    for file in written:
        kept = checkpoint.read(file)
        assert kept.mean_weight == kept.conditions["mean_weight"] > 0


def test_fault_64_chunks_and_equal_weights_resumed_at_every_batch_boundary(tmp_path, every_file):
    data = examples(weights=True)
    columns = data["X"], data["Y"], data["sample_weight"]
    chunks = [tuple(a[i : i + 20] for a in columns) for i in range(0, M, 20)]
    stop_everywhere(tmp_path, every_file, data={"X": chunks}, batch_size=5, window=15)
    every_file.clear()
    stop_everywhere(tmp_path, every_file, data={**data, "sample_weight": np.full(M, 0.1)}, batch_size=None)


def test_fault_64_without_weights_and_in_a_full_batch_files_are_of_version_1(tmp_path):
    path = tmp_path / "t"
    for data, settings in ((examples(), {}), (examples(weights=True), {"batch_size": None})):
        run(network(), data, checkpoint=path, resume=False, **settings)
        assert version(path) == (1, "absent")
    run(network(), examples(), checkpoint=path, resume=False, mean_weight=1)
    assert version(path) == (2, 1.0)


@pytest.mark.parametrize("form", ["arrays", "chunks", "ranks"])
def test_fault_64_a_checkpoint_of_version_1_goes_on_by_the_old_rule(tmp_path, monkeypatch, form):
    """A file of an older fastbp, in which each batch divides by its own weights"""
    data, path = examples(weights=True), tmp_path / "t"
    if form == "chunks":
        columns = data["X"], data["Y"], data["sample_weight"]
        data = {"X": [tuple(a[i : i + 20] for a in columns) for i in range(0, M, 20)]}

    def trained(net, **settings):
        if form != "ranks":
            return run(net, data, **settings)
        return all_of(2, lambda comm: run(net if comm.Get_rank() == 0 else network(), {
            name: a[distributed.rows(M, comm)] for name, a in data.items()}, comm=comm, **settings))[0]

    by_the_new, whole, first = network(), network(), network()
    trained(by_the_new)
    with monkeypatch.context() as patch:
        patch.setattr(start.Start, "choose_mean_weight", lambda self: None)
        expected = trained(whole)
        trained(first, epochs=2, checkpoint=path)
    assert version(path) == (1, "absent")
    assert by_the_new.theta.tobytes() != whole.theta.tobytes()
    resumed = network(seed=9)
    same(resumed, trained(resumed, checkpoint=path, resume=True), whole, expected)
    assert version(path) == (1, "absent")
    with pytest.raises(ValueError, match=r"of another training.*mean_weight None; it is 1\.5 now"):
        trained(network(), checkpoint=path, resume=True, mean_weight=1.5)


def test_fault_64_a_checkpoint_of_another_mean_weight_is_refused(tmp_path):
    data, path = examples(weights=True), tmp_path / "t"
    run(network(), data, checkpoint=path, epochs=2)
    content = path.read_bytes()
    more = {**data, "sample_weight": data["sample_weight"] * 2}
    for changed, settings in ((data, {"mean_weight": 1}), (more, {})):
        with pytest.raises(ValueError, match=r"of another training.*mean_weight"):
            run(network(), changed, checkpoint=path, resume=True, **settings)
    arrays, meta = container.read(path)
    container.write(path, arrays, {**meta, "mean_weight": 9.0})
    with pytest.raises(fastbp.FormatError, match="mean_weight must be that of the conditions"):
        run(network(), data, checkpoint=path, resume=True)
    container.write(path, arrays, meta)
    assert path.read_bytes() == content


PROGRAM = """
import os, signal, sys
import numpy as np, fastbp
path, at = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(1)
X = rng.standard_normal((200, 5))
Y, w = (X[:, 0] > 1).astype(float), np.where(X[:, 0] > 1, 9.0, 0.5)

class Killed:
    def on_batch_end(self, training):
        global at
        at -= 1
        if at == 0:
            os.kill(os.getpid(), signal.SIGKILL)

net = fastbp.Network([5, 4, 1], seed=0)
history = fastbp.train(net, X, Y, sample_weight=w, epochs=4, batch_size=16, seed=3, checkpoint=path,
                       checkpoint_every=(1, "batches"), resume=True, callbacks=[Killed()])
print(net.theta.tobytes().hex(), history.J)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_fault_64_killed_and_resumed_it_ends_with_the_same_bits(tmp_path):
    def go(path, at):
        return subprocess.run([sys.executable, "-c", PROGRAM, str(path), str(at)], capture_output=True, text=True,
                              timeout=120, check=False)

    expected = go(tmp_path / "whole", 0).stdout
    for at in (20, 7, 3):
        assert go(tmp_path / "t", at).returncode == -9
    assert version(tmp_path / "t")[0] == 2
    assert go(tmp_path / "t", 0).stdout == expected != ""
