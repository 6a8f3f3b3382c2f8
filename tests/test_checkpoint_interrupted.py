"""Exceptions from everywhere in a training that is kept: the file goes on to the same bits."""

import itertools
import os

import pytest
from test_checkpoint_course import BATCH, network, run, same

import fastbp
from fastbp import callbacks
from fastbp.files import container
from fastbp.training import checkpoint, steps


@pytest.fixture
def path(quick_folder):
    return quick_folder / "t"


class Interrupts:
    """KeyboardInterrupt at the n-th call of a function"""

    def __init__(self, monkeypatch, owner, name, at, before=True):
        real, calls = getattr(owner, name), itertools.count(1)

        def call(*args, **kwargs):
            now = next(calls) == at
            if now and before:
                raise KeyboardInterrupt
            result = real(*args, **kwargs)
            if now:
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(owner, name, call)


PLACES = {
    "in the steps": (steps.Steps, "take"), "in the validation": (fastbp.Network, "evaluate_data"),
    "in the order": (checkpoint.values, "of_generator"), "in a copy": (checkpoint.states, "of_steps"),
    "in the write": (container, "write"), "in the digest": (container, "_header"), "in the rename": (os, "replace"),
    "in fsync": (os, "fsync"), "between": (checkpoint.Checkpoint, "after_epoch"),
    "after a piece": (checkpoint.Checkpoint, "after_batches"), "at the end": (checkpoint.Checkpoint, "end"),
}


@pytest.mark.parametrize("every", [(1, "batches"), (2, "epochs"), (0, "seconds")])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_fault_46_ctrl_c_at_any_place_leaves_a_file_that_goes_on_to_the_same_bits(
    path, each_state_is_copied, place, before, every
):
    settings = {"callbacks": [callbacks.EarlyStopping()], "validation_split": 0.25, "dropout": 0.2}
    whole, tried = network(), 0
    expected = run(whole, epochs=3, **settings)
    for at in itertools.count(1):
        path.unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            Interrupts(patch, *PLACES[place], at, before)
            try:
                run(network(), epochs=3, checkpoint=path, checkpoint_every=every, **settings)
            except KeyboardInterrupt:
                tried += 1
            else:
                break
        assert [file.name for file in path.parent.iterdir()] in ([], [path.name])
        net = network(seed=9 if path.exists() else 0)
        same(net, run(net, epochs=3, checkpoint=path, resume=True, **settings), whole, expected)
    assert tried


@pytest.mark.parametrize("place", ["at the end", "in the write", "in the rename", "in a copy"])
def test_ctrl_c_while_the_last_file_is_written_loses_no_training(path, each_state_is_copied, place):
    at = {"at the end": 1, "in a copy": 17}.get(place, 2)   # the first file is that before the first step
    whole, net = network(), network(seed=9)
    expected = run(whole, epochs=3)
    with pytest.MonkeyPatch.context() as patch:
        Interrupts(patch, *PLACES[place], at)
        with pytest.raises(KeyboardInterrupt):
            run(network(), epochs=3, checkpoint=path, checkpoint_every=100)
    assert checkpoint.read(path).key == (3, 0, None)
    same(net, run(net, epochs=3, checkpoint=path, resume=True), whole, expected)


@pytest.mark.parametrize("where", ["metric", "on_epoch_end", "on_batch_end", "schedule"])
def test_ctrl_c_in_a_function_of_the_callers_loses_no_finished_batch(path, each_state_is_copied, where):
    calls, armed = itertools.count(1), []

    def interrupt(*_):
        if next(calls) == 3 and armed:
            raise KeyboardInterrupt

    class Watch:
        pass

    def metric(h, Y):
        interrupt()
        return float(h[0, 0])

    def rate(t):
        interrupt()
        return 0.1 / (1 + t)

    watch = Watch()
    watch.on_epoch_end = interrupt if where == "on_epoch_end" else lambda training: None
    if where == "on_batch_end":
        watch.on_batch_end = interrupt
    settings = {"epochs": 4, "callbacks": [watch], "metrics": [metric] if where == "metric" else [],
                "optimizer": fastbp.Adam(rate) if where == "schedule" else "adam"}
    whole, net = network(), network(seed=9)
    expected = run(whole, **settings)
    calls, armed = itertools.count(1), [True]
    with pytest.raises(KeyboardInterrupt):
        run(network(), checkpoint=path, checkpoint_every=100, **settings)
    kept, armed = checkpoint.read(path), []
    batches = len(kept.history) * 4 + kept.position.examples // BATCH
    assert batches >= {"metric": 12, "on_epoch_end": 12, "on_batch_end": 2, "schedule": 0}[where]
    same(net, run(net, checkpoint=path, resume=True, **settings), whole, expected)


def test_a_stop_in_a_batch_is_none_before_its_epoch_has_ended(path, each_state_is_copied):
    """If it is killed in between, it stops in that batch again"""
    class Stops:
        def on_batch_end(self, training):
            if training.trainer.state["t"] == 6:
                training.stop("enough")

    settings = {"callbacks": [Stops()], "validation_split": 0.25, "checkpoint_every": (1, "batches")}
    whole, net = network(), network(seed=9)
    expected = run(whole, **settings)
    assert (len(expected), expected.stopped) == (2, "enough")
    with pytest.MonkeyPatch.context() as patch:
        Interrupts(patch, fastbp.Network, "evaluate_data", 2)
        with pytest.raises(KeyboardInterrupt):
            run(network(), checkpoint=path, **settings)
    assert checkpoint.read(path).history.stopped is None
    same(net, run(net, checkpoint=path, resume=True, **settings), whole, expected)
