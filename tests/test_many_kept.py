"""`train_many` with a checkpoint: killed, interrupted and resumed, with foreign files, and on ranks."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from communicators import Segments, Threads, all_of, ranks
from test_many import LABELS, X, same, small, unequal

import fastbp
from fastbp import FormatError
from fastbp.distributed.group import RankError
from fastbp.files import container
from fastbp.many.kept import ARRAYS, Kept, read
from fastbp.many.ranks import shared_out


def kept(path):
    return Kept(*read(path))


CALL = {"epochs": 3, "seed": 5, "validation_rows": np.arange(40), "metrics": ("accuracy",)}


def stop_at(i, n, error=KeyboardInterrupt):
    """Callbacks of n networks; that of network i raises the error after its first epoch."""
    def stops(training):
        raise error

    return [[stops] if k == i else [lambda training: None] for k in range(n)]


def quiet(n):
    return [[lambda training: None] for _ in range(n)]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "new networks"])
def test_interrupted_and_resumed(tmp_path, n_threads, fresh):
    path = tmp_path / "many.fastbp"
    nets, whole = small(6), small(6)
    uninterrupted = fastbp.train_many(whole, X, LABELS, **CALL)
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        fastbp.train_many(nets, X, LABELS, **CALL, checkpoint=path, n_threads=n_threads,
                          callbacks=stop_at(2, 6, KeyboardInterrupt if n_threads == 1 else RuntimeError))
    assert 1 <= kept(path).finished < 6
    nets = small(6) if fresh else nets
    histories = fastbp.train_many(nets, X, LABELS, **CALL, checkpoint=path, resume=True, callbacks=quiet(6))
    assert all((a.theta == b.theta).all() for a, b in zip(nets, whole, strict=True))
    assert all(same(a, b) for a, b in zip(histories, uninterrupted, strict=True))
    assert kept(path).finished == 6
    again = fastbp.train_many(small(6), X, LABELS, **CALL, checkpoint=path, resume=True, callbacks=quiet(6))
    assert [a.state() for a in again] == [b.state() for b in histories]     # with the seconds of then


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from test_many import LABELS, X, unequal
import fastbp
nets, lists = unequal(60, seed=2)
lists["epochs"] = [20 * n for n in lists["epochs"]]
histories = fastbp.train_many(nets, X, LABELS, **lists, checkpoint={path!r}, checkpoint_every=3, resume=True,
                              n_threads=2)
print(__import__("hashlib").sha256(b"".join(net.theta.tobytes() for net in nets)).hexdigest(),
      [history.J for history in histories])
"""


def test_killed_again_and_again(tmp_path):
    def program(name):
        text = PROGRAM.format(tests=os.path.dirname(__file__), path=str(tmp_path / name))
        return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)

    whole = program("whole.fastbp").communicate()[0]
    killed = 0
    for _ in range(20):
        child = program("killed.fastbp")
        path = tmp_path / "killed.fastbp"
        begun = kept(path).finished if path.exists() else 0
        while child.poll() is None:
            if path.exists() and kept(path).finished >= begun + 20:
                child.kill()
                killed += 1
                break
            time.sleep(0.001)
        out = child.communicate()[0]
        if child.returncode == 0:
            break
    assert killed
    assert out == whole


def test_fresh_seeds_and_start_values_are_those_of_the_file(tmp_path):
    path = tmp_path / "many.fastbp"
    nets = small(3)
    with pytest.raises(RuntimeError):
        fastbp.train_many(nets, X, LABELS, epochs=3, checkpoint=path, n_threads=1,
                          callbacks=stop_at(2, 3, RuntimeError("no more")))
    there = path.read_bytes()
    results = []
    for other in (small(3), [net.copy() for net in nets]):
        path.write_bytes(there)
        fastbp.train_many(other, X, LABELS, epochs=3, checkpoint=path, resume=True, callbacks=quiet(3))
        results.append([net.theta.tobytes() for net in other])
    assert results[0] == results[1]


def test_failed_networks_are_tried_again(tmp_path):
    path = tmp_path / "many.fastbp"
    nets, whole = small(3), small(3)
    first = fastbp.train_many(nets, X, LABELS, **CALL, checkpoint=path, on_error="keep",
                              callbacks=stop_at(1, 3, RuntimeError("no more")))
    assert first[1].error is not None
    assert kept(path).finished == 2
    second = fastbp.train_many(small(3), X, LABELS, **CALL, checkpoint=path, resume=True, callbacks=quiet(3))
    third = fastbp.train_many(whole, X, LABELS, **CALL)
    assert all(same(a, b) for a, b in zip(second, third, strict=True))


def test_a_file_with_finished_networks_is_not_lost(tmp_path):
    path = tmp_path / "many.fastbp"
    fastbp.train_many(small(2), X, LABELS, epochs=1, seed=0, checkpoint=path)
    with pytest.raises(ValueError, match="holds 2 finished networks; resume=True resumes it"):
        fastbp.train_many(small(2), X, LABELS, epochs=1, seed=0, checkpoint=path)
    fastbp.train_many(small(2), X, LABELS, epochs=2, seed=0, checkpoint=path, resume=False)
    fastbp.save(path, small(1)[0])
    for resume, match in ((None, "holds no call of train_many"), (True, "kind is 'network'")):
        with pytest.raises(ValueError, match=match):
            fastbp.train_many(small(2), X, LABELS, epochs=1, seed=0, checkpoint=path, resume=resume)
    fastbp.train_many(small(2), X, LABELS, epochs=2, seed=0, checkpoint=path, resume=False)
    with pytest.raises(FormatError, match="kind is 'trainings'"):
        fastbp.load(path)


@pytest.mark.parametrize("change", [
    {"epochs": 4}, {"seed": 6}, {"optimizer": "sgd"}, {"batch_size": 7}, {"rows": np.arange(100)}, {"metrics": ("r2",)},
    {"weight_decay": (0.0, 1.0)}, {"optimizer": fastbp.Adam(0.01)}, {"validation_rows": np.arange(41)},
], ids=str)
def test_another_call_is_refused(tmp_path, change):
    path = tmp_path / "many.fastbp"
    fastbp.train_many(small(2), X, LABELS, **CALL, checkpoint=path)
    nets = small(2)
    theta = [net.theta.copy() for net in nets]
    with pytest.raises(ValueError, match=r"is of another call of train_many: network 0, .* is not the one it was made"):
        fastbp.train_many(nets, X, LABELS, **{**CALL, **change}, checkpoint=path, resume=True)
    assert all((net.theta == old).all() for net, old in zip(nets, theta, strict=True))


def test_other_networks_are_refused(tmp_path):
    path = tmp_path / "many.fastbp"
    fastbp.train_many(small(2), X, LABELS, **CALL, checkpoint=path)
    for nets, match in ((small(3), "the number of networks 2"), (small(2)[::-1], "network 0"),
                        (small(2, np.float32), "network 0")):
        with pytest.raises(ValueError, match=match):
            fastbp.train_many(nets, X, LABELS, **CALL, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="seed of network 0 must be a whole number"):
        fastbp.train_many(small(1), X, LABELS, epochs=1, seed=np.random.default_rng(0), checkpoint=path, resume=True)


def forgeries(arrays, meta):
    """Undamaged files that are not checkpoints of train_many."""
    yield arrays, meta | {"kind": "training"}
    yield arrays, meta | {"version": 2}
    yield arrays, meta | {"more": 1}
    yield arrays, meta | {"metrics": "accuracy"}
    yield arrays, meta | {"stopped": [[9, "why"]]}
    yield arrays, meta | {"stopped": [["0", "why"]]}
    yield arrays, meta | {"call": 3}
    for name in ARRAYS:
        yield {key: a for key, a in arrays.items() if key != name}, meta
        yield arrays | {name: arrays[name][np.newaxis]}, meta
        yield arrays | {name: arrays[name].astype("u1" if arrays[name].dtype != np.uint8 else "f8")}, meta
        if len(arrays[name]):
            yield arrays | {name: arrays[name][:-1]}, meta
    yield arrays | {"epochs": arrays["epochs"] + 1}, meta
    yield arrays | {"epochs": -arrays["epochs"]}, meta
    yield arrays | {"epochs": arrays["epochs"] + 2**62}, meta
    yield arrays | {"examples": -arrays["examples"]}, meta
    yield arrays | {"columns": ~arrays["columns"]}, meta
    yield arrays | {"theta64": arrays["theta64"] * np.nan}, meta


def test_forged_files_are_refused(tmp_path):
    path = tmp_path / "many.fastbp"
    nets = small(2)
    fastbp.train_many(nets, X, LABELS, **CALL, checkpoint=path)
    arrays, meta = container.read(path)
    whole = path.read_bytes()
    theta = [net.theta.copy() for net in nets]
    for i, forged in enumerate(forgeries(arrays, meta)):
        container.write(path, *forged)
        with pytest.raises(ValueError):     # FormatError, or of another call
            pytest.fail(f"forgery {i}: {fastbp.train_many(nets, X, LABELS, **CALL, checkpoint=path, resume=True)}")
        assert all((net.theta == old).all() for net, old in zip(nets, theta, strict=True))
    for at in range(0, len(whole), 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(FormatError):
            kept(path)


# ---------------------------------------------------------------- ranks


@pytest.mark.parametrize(("size", "kind"), [(1, Threads), (2, Threads), (3, Segments)])
def test_ranks_share_the_networks_and_all_get_all_results(size, kind):
    nets, lists = unequal(20, seed=4)
    alone = [net.copy() for net in nets]
    histories = fastbp.train_many(alone, X, LABELS, **lists)

    def on_rank(comm):
        own = [net.copy() for net in nets]
        if comm.Get_rank():     # start values are those of rank 0
            for net in own:
                net.theta[:] = 0.5
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = fastbp.train_many(own, X, LABELS, comm=comm, n_threads=1, **lists)
        return own, found

    for own, found in all_of(size, on_rank, kind):
        assert all((a.theta == b.theta).all() for a, b in zip(own, alone, strict=True))
        assert all(same(a, b) for a, b in zip(found, histories, strict=True))


def test_ranks_draw_one_fresh_seed_and_know_of_errors():
    def on_rank(comm):
        nets = small(5)
        fastbp.train_many(nets, X, LABELS, comm=comm, epochs=1)
        return [net.theta.tobytes() for net in nets]

    first, second = all_of(2, on_rank)
    assert first == second

    def fails(comm):
        return fastbp.train_many(small(5), X, LABELS, comm=comm, epochs=3, seed=0, weight_decay=1.0,
                                 optimizer=[fastbp.SGD(0.1)] * 4 + [fastbp.SGD(1e200)])

    assert sorted(type(error).__name__ for error in ranks(2, fails)) == ["DivergenceError", "RankError"]
    all_kept = all_of(2, lambda comm: fastbp.train_many(
        small(5), X, LABELS, comm=comm, epochs=3, seed=0, weight_decay=1.0, on_error="keep",
        optimizer=[fastbp.SGD(0.1)] * 4 + [fastbp.SGD(1e200)]))
    for histories in all_kept:
        assert isinstance(histories[4].error, fastbp.DivergenceError)
        assert len(histories[0]) == 3


def test_ranks_that_differ():
    def on_rank(comm):
        return fastbp.train_many(small(2 + comm.Get_rank()), X, LABELS, comm=comm, epochs=1, seed=0)

    for error in ranks(2, on_rank):
        assert isinstance(error, (ValueError, RankError)), error


def test_shares_are_about_equal():
    assert shared_out([5.0, 1.0, 1.0, 3.0], 2) == [[0], [3, 1, 2]]
    assert sorted(i for share in shared_out([1.0] * 7, 3) for i in share) == list(range(7))
