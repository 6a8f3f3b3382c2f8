"""Trainer.save and restore: the next steps are the same; a restore is complete or changes nothing."""


import numpy as np
import pytest
from test_checkpoint import OPTIMIZERS, examples, network, run

import fastbp


@pytest.fixture
def tmp_path(quick_folder):
    return quick_folder


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("options", [{}, {"dropout": 0.2, "l1": 1e-4, "weight_decay": [0.1, 0.0], "clip_value": 0.5}])
def test_a_trainer_restored_takes_the_steps_that_the_saved_one_would_have_taken(tmp_path, optimizer, options):
    data, path = examples(), tmp_path / "t"
    X, Y = data["X"], data["Y"]
    first = fastbp.Trainer(network(), OPTIMIZERS[optimizer](), seed=1, **options)
    for i in range(5):
        first.step(X[i * 5 : i * 5 + 5], Y[i * 5 : i * 5 + 5])
    first.epoch(X, Y, batch_size=7)
    first.batch_lam = 0.25
    first.save(path, {"next": 5, "order": np.arange(3), "best": -np.inf, "of": {"x": [1, None, "a"]}})
    second = fastbp.Trainer(network(seed=4), OPTIMIZERS[optimizer](), seed=2, **{**options, "l1": 0.7})
    second.step(X, Y)
    notes = second.restore(path)
    assert (notes["next"], notes["best"], notes["of"]) == (5, -np.inf, {"x": [1, None, "a"]})
    assert notes["order"].tolist() == [0, 1, 2]
    assert (second.batch_lam, second.l1) == (0.25, options.get("l1", 0.0))
    for _ in range(3):
        assert first.step(X[:9], Y[:9]) == second.step(X[:9], Y[:9])
        assert first.epoch(X, Y, batch_size=8) == second.epoch(X, Y, batch_size=8)
    assert (first.net.theta == second.net.theta).all()
    assert (fastbp.load(path).theta != first.net.theta).any()


class Hesitant(fastbp.SGD):
    """Once it is armed, setting its momentum raises an interrupt"""

    armed = False

    def __setattr__(self, name, value):
        if name == "momentum" and Hesitant.armed:
            Hesitant.armed = False
            raise KeyboardInterrupt
        super().__setattr__(name, value)


def test_a_trainer_is_restored_whole_or_not_at_all(tmp_path):
    data = examples()
    kept, other = (fastbp.Trainer(network(seed=i), Hesitant(0.1 * (1 + i), 0.9), l1=0.01 * i) for i in (0, 1))
    for trainer in (kept, other, other):
        trainer.epoch(data["X"], data["Y"], batch_size=10)
    kept.save(tmp_path / "t")

    def all_of(trainer):
        return (trainer.optimizer.learning_rate, trainer.l1, trainer.state["t"], trainer.state["v"].tobytes(),
                trainer.net.theta.tobytes())

    before = all_of(other)
    Hesitant.armed = True
    with pytest.raises(KeyboardInterrupt):
        other.restore(tmp_path / "t")
    assert not Hesitant.armed
    assert all_of(other) == before != all_of(kept)
    other.restore(tmp_path / "t")
    assert all_of(other) == all_of(kept)


def test_a_learning_rate_changed_on_the_way_is_restored(tmp_path):
    data, path = examples(), tmp_path / "t"
    first = fastbp.Trainer(network(), fastbp.SGD(0.1, 0.9))
    first.step(data["X"], data["Y"])
    first.optimizer.learning_rate = 0.025
    first.save(path)
    second = fastbp.Trainer(network(), fastbp.SGD(0.1, 0.9))
    assert second.restore(path) == {}
    assert second.optimizer.learning_rate == 0.025
    assert first.step(data["X"], data["Y"]) == second.step(data["X"], data["Y"])
    assert (first.net.theta == second.net.theta).all()


@pytest.mark.parametrize(("other", "said"), [
    (lambda: fastbp.Trainer(network(np.float32), fastbp.Adam()), "dtype"),
    (lambda: fastbp.Trainer(network(), fastbp.SGD()), "optimizer"),
    (lambda: fastbp.Trainer(network(), fastbp.Adam(), dropout=0.5), "dropout"),
])
def test_a_file_of_another_trainer_is_refused_and_changes_nothing(tmp_path, other, said):
    path, other = tmp_path / "t", other()
    trainer = fastbp.Trainer(network(seed=3), fastbp.Adam())
    trainer.save(path)
    before = other.net.theta.copy()
    with pytest.raises(ValueError, match=said):
        other.restore(path)
    assert (other.net.theta == before).all()
    run(network(), checkpoint=path, resume=False)
    with pytest.raises(fastbp.FormatError, match="kind is 'training'"):
        trainer.restore(path)
    with pytest.raises(TypeError, match="notes must be a dict"):
        trainer.save(path, [1])
