"""Checkpoints that are not overwritten by forgetting, or not resumed from: of another training, of something else."""

import numpy as np
import pytest
from test_checkpoint import EPOCHS, Damped, M, examples, network, run

import fastbp
from fastbp import callbacks, schedules
from fastbp.training import checkpoint


@pytest.fixture
def tmp_path(quick_folder):
    return quick_folder


class AtBatch:
    """Calls a function after batch n"""

    def __init__(self, n, function):
        self.n, self.function = n, function

    def on_batch_end(self, training):
        self.n -= 1
        if not self.n:
            self.function(training)


def test_fault_77_a_training_is_not_overwritten_by_forgetting(tmp_path):
    first, second, path = network(), network(), tmp_path / "t"
    run(first, checkpoint=path)
    before, start = path.read_bytes(), second.theta.copy()
    with pytest.raises(ValueError, match=f"holds a training of {EPOCHS} finished epochs; resume=True resumes it"):
        run(second, checkpoint=path)
    assert path.read_bytes() == before
    assert (second.theta == start).all()


def test_fault_77_half_an_epoch_is_not_overwritten_either(tmp_path):
    path = tmp_path / "t"
    run(network(), checkpoint=path, callbacks=[AtBatch(2, lambda training: training.pause("later"))])
    with pytest.raises(ValueError, match="holds a training of 0 finished epochs"):
        run(network(), checkpoint=path)
    assert len(run(network(), checkpoint=path, resume=True)) == EPOCHS


def test_fault_77_a_file_without_a_step_is_begun_again(tmp_path, monkeypatch):
    """The file of training that was killed before its first step"""
    path, net, twin = tmp_path / "t", network(), network()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "rescue", lambda *_: None)
        patch.setattr(checkpoint.Checkpoint, "before_epoch", lambda self, training: setattr(
            self, "_epoch_generator", 1 / (not hasattr(self, "_epoch_generator"))))
        with pytest.raises(ZeroDivisionError):
            run(network(), checkpoint=path)
    assert checkpoint.read(path).key[:2] == (0, 0)
    run(net, checkpoint=path)
    run(twin)
    assert (net.theta == twin.theta).all()


@pytest.mark.parametrize("content", [b"", b"my thesis", None])
def test_fault_77_a_file_that_is_no_training_is_not_overwritten(content, tmp_path):
    path = tmp_path / "t"
    path.write_bytes(content) if content is not None else fastbp.save(path, network())
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"holds no training.*resume=False overwrites it"):
        run(network(), checkpoint=path)
    assert path.read_bytes() == before
    run(network(), checkpoint=path, resume=False)
    assert len(checkpoint.read(path).history) == EPOCHS


def test_with_resume_false_a_training_begins_afresh(tmp_path):
    first, second, path = network(), network(), tmp_path / "t"
    run(first, checkpoint=path)
    history = run(second, checkpoint=path, resume=False)
    assert len(history) == EPOCHS
    assert (first.theta == second.theta).all()


@pytest.mark.parametrize(("change", "said"), [
    ({"net": lambda: fastbp.Network([6, 4, 3], activation="tanh", output="softmax")}, "layer_sizes"),
    ({"net": lambda: fastbp.Network([6, 5, 3], activation="relu", output="softmax")}, "activation"),
    ({"net": lambda: network(np.float32)}, "dtype"),
    ({"optimizer": lambda: fastbp.SGD(0.01)}, "optimizer"),
    ({"optimizer": lambda: fastbp.Adam(0.02)}, "learning_rate 0.01; it is 0.02"),
    ({"optimizer": lambda: fastbp.Adam(schedules.Constant(0.01))}, "learning_rate"),
    ({"m": 49}, "examples 50; it is 49"),
    ({"batch_size": 16}, "batch_size 15; it is 16"),
    ({"weight_decay": 0.1}, "weight_decay"),
    ({"l1": 0.1}, "l1"),
    ({"clip_norm": 0.1}, "clip_norm"),
    ({"dropout": 0.1}, "dropout"),
    ({"shuffle": False}, "shuffle"),
    ({"window": 30}, "window"),
    ({"validation_split": 0.2}, "examples 50; it is 40"),
    ({"metrics": ["accuracy"]}, "metrics"),
    ({"callbacks": lambda: [callbacks.EarlyStopping("J")]}, "callbacks"),
    ({"weights": True}, "weights"),
    ({"epochs": 1}, "epoch 2; epochs is 1"),
])
def test_a_checkpoint_of_another_training_is_refused_before_anything_has_changed(tmp_path, change, said):
    path = tmp_path / "t"
    run(network(), epochs=2, optimizer=fastbp.Adam(0.01), checkpoint=path)
    before = path.read_bytes()
    net = change.pop("net", network)()
    data = examples(net.dtype, change.pop("weights", False))
    m = change.pop("m", M)
    data = {name: value if value is None else value[:m] for name, value in data.items()}
    theta = net.theta.copy()
    with pytest.raises(ValueError, match=said) as caught:
        run(net, data, checkpoint=path, resume=True, **{"optimizer": lambda: fastbp.Adam(0.01), **change})
    assert str(path) in str(caught.value)
    assert (net.theta == theta).all()
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_refused(tmp_path):
    net, path = network(), tmp_path / "t"
    fastbp.save(path, net)
    with pytest.raises(fastbp.FormatError, match="kind is 'network'"):
        run(net, checkpoint=path, resume=True)
    path.write_bytes(b"no such thing")
    with pytest.raises(fastbp.FormatError):
        run(net, checkpoint=path, resume=True)


@pytest.mark.parametrize(("settings", "error", "said"), [
    ({"resume": True}, ValueError, "resume"),
    ({"resume": 1, "checkpoint": "t"}, TypeError, "resume"),
    ({"checkpoint": 7}, TypeError, "path"),
    ({"checkpoint": "t", "checkpoint_every": 0}, ValueError, "checkpoint_every"),
    ({"checkpoint": "t", "checkpoint_every": (1, "hours")}, ValueError, "checkpoint_every"),
    ({"checkpoint": "t", "checkpoint_every": "often"}, TypeError, "checkpoint_every"),
    ({"checkpoint": "t", "checkpoint_every": (-1, "seconds")}, ValueError, "checkpoint_every"),
    ({"checkpoint": "t", "checkpoint_every": (1.5, "batches")}, TypeError, "checkpoint_every"),
    ({"checkpoint": "no/such/folder/t"}, OSError, "no/such"),
])
def test_bad_settings_are_named_before_anything_has_changed(tmp_path, monkeypatch, settings, error, said):
    monkeypatch.chdir(tmp_path)
    net = network()
    theta = net.theta.copy()
    with pytest.raises(error, match=said):
        run(net, **settings)
    assert (net.theta == theta).all()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_kept_is_named_before_the_first_step(tmp_path):
    class Odd(callbacks.Callback):
        def state(self):
            return {"set": {1, 2}}

        def load_state(self, state):
            pass

    class Forgetful(callbacks.Callback):
        def state(self):
            return {}

    class OddRule(Damped):
        def init(self, theta):
            return {**super().init(theta), "f": print}

    class OddGenerator(np.random.PCG64):
        pass

    for settings, said in (({"callbacks": [Odd()]}, "callback.0.set is a set"),
                           ({"callbacks": [Forgetful()]}, "Forgetful has state.* must also have load_state"),
                           ({"optimizer": OddRule(0.1)}, "state.f"),
                           ({"seed": np.random.Generator(OddGenerator(1))}, "OddGenerator")):
        net = network()
        theta = net.theta.copy()
        with pytest.raises((TypeError, ValueError), match=said):
            run(net, checkpoint=tmp_path / "t", **settings)
        assert (net.theta == theta).all()
        run(net, **{name: value for name, value in settings.items() if name != "optimizer"})    # allowed without a file
