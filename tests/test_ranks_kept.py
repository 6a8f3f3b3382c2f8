"""Trainings on several ranks that are kept in a file, and resumed."""


import pytest
from communicators import all_of, digits, network, ranks, same, told

import fastbp
from fastbp import callbacks, distributed
from fastbp.distributed.group import Group


def trained(comm, path, *, parts=None, pause=None, **settings):
    """The file of 4 epochs of training, paused after `pause` batches"""
    X, y = digits(240)
    group = Group(comm, parts=parts)
    own, net = distributed.rows(240, group), network(comm.Get_rank())

    class Pause:
        count = 0

        def on_batch_end(self, training):
            self.count += 1
            if self.count == pause:
                training.pause("for now")

    stopping = callbacks.EarlyStopping("val_J", patience=50)
    history = fastbp.train(
        net, X[own], y[own], epochs=4, batch_size=32, seed=3, comm=group, checkpoint=path, validation_split=0.2,
        callbacks=[stopping, *([Pause()] if pause and comm.Get_rank() == 0 else [])], dropout=0.2, **settings)
    return net.theta, history.J, history.val_J, [stopping.best, stopping.waited]


@pytest.mark.parametrize("settings", [{"parts": 4}, {"sync_every": 2}, {"optimizer": "nadam"}])
@pytest.mark.parametrize("pause", [1, 2, 5, 6, 7, 13, 23])
def test_a_training_resumed_on_all_ranks_has_the_bits_of_one_that_was_never_stopped(tmp_path, pause, settings):
    expected = all_of(2, lambda comm: trained(comm, tmp_path / "whole", **settings))
    all_of(2, lambda comm: trained(comm, tmp_path / "kept", pause=pause, **settings))
    results = all_of(2, lambda comm: trained(comm, tmp_path / "kept", resume=True, **settings))
    assert same([*expected, *results])


def test_a_training_of_4_parts_may_be_resumed_on_another_number_of_ranks(tmp_path):
    expected = all_of(1, lambda comm: trained(comm, tmp_path / "whole", parts=4))
    all_of(4, lambda comm: trained(comm, tmp_path / "kept", parts=4, pause=9))
    results = all_of(2, lambda comm: trained(comm, tmp_path / "kept", parts=4, resume=True))
    assert same([*expected, *results])


def test_a_training_is_not_resumed_with_other_parts(tmp_path):
    all_of(2, lambda comm: trained(comm, tmp_path / "kept", pause=3))
    for parts in (4, None):
        for error in ranks(4, lambda comm, parts=parts: trained(comm, tmp_path / "kept", resume=True, parts=parts)):
            assert isinstance(error, ValueError)
            assert "it was made with" in str(error)


def test_a_checkpoint_that_cannot_be_written_is_an_error_on_all_ranks(tmp_path):
    told(ranks(2, lambda comm: trained(comm, tmp_path / "no" / "folder")), FileNotFoundError, "No such file", failed=0)


def test_the_checkpoint_may_be_given_to_rank_0_alone(tmp_path):
    expected = all_of(2, lambda comm: trained(comm, tmp_path / "whole"))
    all_of(2, lambda comm: trained(comm, tmp_path / "kept", pause=5))
    results = all_of(2, lambda comm: trained(
        comm, None if comm.Get_rank() else tmp_path / "kept", resume=not comm.Get_rank()))
    assert same([*expected, *results])


def test_fault_77_all_ranks_refuse_to_overwrite_a_training(tmp_path):
    all_of(2, lambda comm: trained(comm, tmp_path / "kept", pause=5))
    before = (tmp_path / "kept").read_bytes()
    results = ranks(2, lambda comm: trained(comm, tmp_path / "kept", resume=None))
    told(results, ValueError, "resume=True resumes it", failed=0)
    assert (tmp_path / "kept").read_bytes() == before


def test_a_trainers_file_is_written_and_read_by_rank_0(tmp_path):
    X, y = digits(100)

    def on_rank(comm):
        own, name = distributed.rows(100, comm), tmp_path / f"rank {comm.Get_rank()}"
        trainer = fastbp.Trainer(network(), "adam", comm=comm)
        trainer.epoch(X[own], y[own], batch_size=20)
        trainer.save(name, notes={"rank": comm.Get_rank()})
        twin = fastbp.Trainer(network(), "adam", comm=comm)
        notes = twin.restore(name)
        assert trainer.epoch(X[own], y[own], batch_size=20) == twin.epoch(X[own], y[own], batch_size=20)
        return notes["rank"], twin.net.theta.tobytes()

    results = all_of(2, on_rank)
    assert results[0] == results[1]
    assert [path.name for path in tmp_path.iterdir()] == ["rank 0"]
