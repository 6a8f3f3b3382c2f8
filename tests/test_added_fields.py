"""The optional fields of version 2 of files, and how to add one."""

import functools
import pickle
import subprocess
import sys
from pathlib import Path

import golden_files
import numpy as np
import pytest
import second_reader
from golden_files import GOLDEN, X, Y, eighths, scaled
from test_values import alike

import fastbp
from fastbp.files import added, container
from fastbp.training import checkpoint

FREE = np.arange(23) % 3 > 0
NET2, TRAINER2, TRAINING2 = (
    GOLDEN / f"{name}.fastbp" for name in ("own_loss2_float64", "free2_float32", "own_loss_free2_float64"))


@pytest.fixture
def path(quick_folder):
    return quick_folder / "t"


def network(loss=scaled, seed=0):
    return fastbp.Network([4, 3, 2], loss=loss, seed=seed)


def fields(path):
    """(kind, version, the fields that were added) of a file"""
    meta = container.read(path)[1]
    return meta["kind"], meta["version"], meta.get("added")


def written(path, field):
    """A file of each kind that has this field"""
    net = network(scaled if field == "own_loss" else "squared_error")
    fastbp.Trainer(net, free=[1] if field == "free" else None).save(path)
    yield path
    fastbp.train(net, X, np.eye(2)[Y], epochs=1, checkpoint=path, resume=False, free=[1] if field == "free" else None)
    yield path
    if field == "own_loss":
        fastbp.save(path, net)
        yield path


def test_a_file_that_needs_no_added_field_is_of_version_1(path):
    net = network("squared_error")
    fastbp.save(path, net)
    assert fields(path) == ("network", 1, None)
    fastbp.Trainer(net).save(path)
    assert fields(path) == ("trainer", 1, None)
    fastbp.Trainer(net, mean_weight=2.0).save(path)
    assert fields(path) == ("trainer", 2, None)
    fastbp.train(net, X, np.eye(2)[Y], epochs=1, checkpoint=path, resume=False)
    assert fields(path) == ("training", 1, None)


@pytest.mark.parametrize("field", added.FIELDS)
def test_each_kind_has_the_fields_that_it_needs(path, field):
    kinds = set()
    for file in written(path, field):
        kind, version, names = fields(file)
        kinds.add(kind)
        assert (version, list(names)) == (2, [field])
    assert kinds == set(added.FIELDS[field].kinds)


def test_two_fields_and_mean_weight_go_together(path):
    fastbp.Trainer(network(), free=FREE, mean_weight=0.5).save(path)
    assert fields(path) == ("trainer", 2, {"own_loss": "golden_files:scaled", "free": {"array": "added.free"}})
    assert container.read(path)[1]["mean_weight"] == 0.5
    twin = fastbp.Trainer(network(seed=1), free=FREE)
    twin.restore(path)
    assert (twin.mean_weight, twin.net.theta.tolist()) == (0.5, network().theta.tolist())


# ---------------------------------------------------------------- the caller's own loss, and its parameters


def test_parameters_of_a_partial_are_kept(path):
    for loss in (functools.partial(scaled, factor=0.25), functools.partial(scaled, factor=np.float64(0.25))):
        net = network(loss)
        assert net.loss_parameters == {"factor": 0.25}
        assert "factor=0.25" in repr(net)
        fastbp.save(path, net)
        alone = fastbp.load(path)
        assert (alone.loss, alone.loss_parameters) == ("golden_files:scaled", {"factor": 0.25})
        for given in (scaled, loss):
            whole = fastbp.load(path, loss=given)
            assert repr(whole) == repr(net)
            assert whole.cost(X, Y) == net.cost(X, Y) == 0.25 * network().cost(X, Y)
            assert whole.evaluate_data(net.data(X, Y)) == net.evaluate(X, Y)
        assert pickle.loads(pickle.dumps(net)).loss_parameters == alone.copy().loss_parameters == {"factor": 0.25}


def test_other_parameters_are_another_loss(path):
    fastbp.save(path, network(functools.partial(scaled, factor=0.25)))
    with pytest.raises(ValueError, match=r"loss has the parameters {'factor': 0.5}; the file has {'factor': 0.25}"):
        fastbp.load(path, loss=functools.partial(scaled, factor=0.5))
    settings = {"epochs": 2, "checkpoint": path}
    fastbp.train(network(functools.partial(scaled, factor=0.25)), X, Y, resume=False, **settings)
    with pytest.raises(ValueError, match="the network's loss_parameters"):
        fastbp.train(network(functools.partial(scaled, factor=0.5)), X, Y, resume=True, **settings)
    with pytest.raises(ValueError, match=r"by a network with loss_parameters {'factor': 0.5}; this one has {}"):
        network().evaluate_data(network(functools.partial(scaled, factor=0.5)).data(X, Y))
    with pytest.raises(ValueError, match=r"quantile is 0.5, but a loss of your own has no such parameter"):
        fastbp.Network([4, 2], loss=functools.partial(scaled, factor=0.25), quantile=0.5)


@pytest.mark.parametrize("loss", [
    lambda z, Y, w: scaled(z, Y, w), functools.partial(scaled, factor=np.ones(2)),
    functools.partial(scaled, factor="2"), functools.partial(scaled, factor=float("nan")),
    functools.partial(scaled, factor=2**60), functools.partial(lambda z, Y, w, factor: scaled(z, Y, w), factor=2.0),
])
def test_what_has_no_importable_name_is_refused_with_what_to_do(path, loss):
    with pytest.raises(ValueError, match=r"loss is .* no importable name, .* def at the top of a module, and give"):
        fastbp.save(path, network(loss))
    assert network(loss).loss_parameters == {}
    assert not path.exists()


# ---------------------------------------------------------------- free


@pytest.mark.parametrize("free", [FREE, [2]])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_trainer_with_free_parameters_is_saved_and_restored(path, free, optimizer):
    first = fastbp.Trainer(network(), optimizer, free=free, weight_decay=0.5)
    first.step(X, Y)
    first.save(path, {"at": 1})
    second = fastbp.Trainer(network(seed=1), optimizer, free=first.free, weight_decay=0.5)
    assert second.restore(path) == {"at": 1}
    for _ in range(3):
        assert second.step(X, Y) == first.step(X, Y)
    assert second.net.theta.tobytes() == first.net.theta.tobytes()
    assert fastbp.load(path).loss == "golden_files:scaled"


def test_other_free_parameters_are_another_trainer(path):
    fastbp.Trainer(network(), free=[2]).save(path)
    for free in (None, [1], FREE):
        trainer = fastbp.Trainer(network(seed=1), free=free)
        before = trainer.net.theta.tobytes()
        with pytest.raises(ValueError, match=r"is of another trainer: it was made with free \[2\]; it is .* now"):
            trainer.restore(path)
        assert trainer.net.theta.tobytes() == before
    fastbp.Trainer(network()).save(path)
    with pytest.raises(ValueError, match=r"it was made with free None; it is \[2\] now"):
        fastbp.Trainer(network(), free=[2]).restore(path)


def test_a_checkpoint_whose_conditions_have_another_mask_is_refused(path):
    fastbp.train(network(), X, Y, epochs=1, free=FREE, checkpoint=path)
    assert (checkpoint.read(path).free == FREE).all()
    arrays, meta = container.read(path)
    container.write(path, {**arrays, "added.free": ~FREE}, meta)
    with pytest.raises(fastbp.FormatError, match="free must be that of the conditions"):
        fastbp.train(network(), X, Y, epochs=2, free=FREE, checkpoint=path, resume=True)


# ---------------------------------------------------------------- files that break the rules


WRONG = {
    "own_loss": [None, "", "scaled", 3, ["golden_files:scaled"], {"dict": {}}, {"array": "theta"}],
    "free": [None, True, [1], "1", {"array": "theta"}, {"array": "more"}, {"list": "added.free"}],
}


@pytest.mark.parametrize("field", added.FIELDS)
def test_fault_44_each_wrong_value_of_an_added_field_is_refused(path, field):
    for file in written(path, field):
        arrays, meta = container.read(file)
        for value in WRONG[field]:
            container.write(file, arrays, {**meta, "added": {field: value}})
            with pytest.raises(fastbp.FormatError, match=f"{field}|stands for no value"):
                fastbp.load(file)


@pytest.mark.parametrize("wrong", [FREE[:-1], FREE[:, np.newaxis], FREE.astype(np.uint8), FREE | True, FREE & False])
def test_fault_44_a_mask_that_does_not_fit_is_refused(path, wrong):
    fastbp.Trainer(network(), free=FREE).save(path)
    arrays, meta = container.read(path)
    container.write(path, {**arrays, "added.free": wrong}, meta)
    for call in (lambda: fastbp.load(path), lambda: fastbp.Trainer(network(), free=FREE).restore(path)):
        with pytest.raises(fastbp.FormatError, match="free must be an array of true and false like theta"):
            call()


@pytest.mark.parametrize(("change", "said"), [
    ({"added": {"own_loss": "a:b", "label_smoothing": 0.1}}, "label_smoothing, which this version of fastbp does not"),
    ({"added": {"own_loss": "a:b", "free": True}}, "free, which this version .* does not know; .* of the kind network"),
    ({"added": {}}, "added must hold fields by name"), ({"added": None}, "added must hold fields"),
    ({"added": []}, "added must hold fields by name"),
    ({"version": 1}, "the fields must be .*; they are added"),
    ({"added": ...}, "the fields must be added, .*version is 2"),
    ({"mean_weight": 2.0}, "the fields must be "),
    ({"network": {"loss": "squared_error"}}, "network, loss must be 'own' with own_loss"),
    ({"network": {"loss": "golden_files:scaled"}}, "network, loss must be 'own' with own_loss"),
    ({"network": {"loss_parameters": {"factor": "x"}}}, "loss_parameters must be numbers by name"),
    ({"network": {"loss_parameters": {"factor": True}}}, "loss_parameters must be numbers by name"),
    ({"network": {"loss_parameters": {"factor": 2**60}}}, "loss_parameters must be numbers by name"),
    ({"network": {"loss_parameters": [1]}}, "loss_parameters must be numbers by name"),
])
def test_fault_44_what_departs_from_the_fields_of_version_2_is_refused(path, change, said):
    fastbp.save(path, network())
    arrays, meta = container.read(path)
    changed = {**meta, **change, "network": {**meta["network"], **change.get("network", {})}}
    container.write(path, arrays, {name: value for name, value in changed.items() if value is not ...})
    with pytest.raises(fastbp.FormatError, match=said):
        fastbp.load(path)


def test_fault_44_the_loss_own_without_a_name_is_refused(path):
    fastbp.save(path, network("squared_error"))
    arrays, meta = container.read(path)
    container.write(path, arrays, {**meta, "network": {**meta["network"], "loss": "own"}})
    with pytest.raises(fastbp.FormatError, match="there is no own_loss"):
        fastbp.load(path)


# ---------------------------------------------------------------- adding a field


def test_a_line_in_FIELDS_and_a_writer_add_a_field(path, monkeypatch):
    """Two future fields: a number of the network, and an array of the steps"""
    def smoothing(value, network, theta):
        if type(value) is not float or not 0 < value < 1:
            raise fastbp.FormatError("label_smoothing must be a number between 0 and 1")

    net = network()
    monkeypatch.setitem(added.FIELDS, "label_smoothing", added.Field(added.ALL, smoothing))
    monkeypatch.setitem(added.FIELDS, "factors", added.Field(added.STEPS, lambda value, network, theta: None))
    mine = {"own_loss": "golden_files:scaled", "label_smoothing": 0.1}
    monkeypatch.setattr(added, "of_network", lambda net: mine)
    fastbp.save(path, net)
    assert fields(path) == ("network", 2, mine)
    arrays, meta = container.read(path)
    assert added.decode(meta, arrays) == mine
    arrays, meta = {"theta": net.theta}, {"kind": "trainer", "network": {"loss": "squared_error"}}
    meta["added"] = added.encode({"factors": np.ones(2), "free": None}, arrays)
    alike(added.decode(meta, arrays), {"own_loss": None, "free": None, "label_smoothing": None, "factors": np.ones(2)})
    container.write(path, {"theta": net.theta}, {**container.read(path)[1], "added": {**mine, "label_smoothing": 2.0}})
    with pytest.raises(fastbp.FormatError, match="label_smoothing must be a number between 0 and 1"):
        fastbp.load(path)
    fastbp.save(path, net)
    monkeypatch.undo()
    with pytest.raises(fastbp.FormatError, match="added has the fields label_smoothing, which this version"):
        fastbp.load(path)


# ---------------------------------------------------------------- golden files


def test_fault_50_golden_files_with_added_fields_are_written_again_byte_for_byte(path):
    fastbp.save(path, golden_files.own_network())
    assert path.read_bytes() == NET2.read_bytes()
    golden_files.stepped_free().save(path)
    assert path.read_bytes() == TRAINER2.read_bytes()
    golden_files.train_own(path, golden_files.GoldenOwn(), resume=False)
    assert path.read_bytes() == TRAINING2.read_bytes()


def test_fault_50_all_added_fields_of_the_golden_files_are_read():
    assert fields(NET2) == ("network", 2, {"own_loss": "golden_files:scaled"})
    assert fields(TRAINER2) == ("trainer", 2, {"free": {"array": "added.free"}})
    assert fields(TRAINING2) == (
        "training", 2, {"own_loss": "golden_files:scaled", "free": {"array": "added.free"}})
    net = fastbp.load(NET2, loss=scaled)
    assert net.loss_parameters == {"factor": 0.25}
    assert net.theta.tobytes() == golden_files.own_network().theta.tobytes()
    kept = checkpoint.read(TRAINING2)
    assert (kept.free == golden_files.FREE).all()
    assert (kept.net.loss, kept.net.loss_parameters) == ("golden_files:scaled", {"factor": 2})
    trainer = golden_files.trainer_free()
    trainer.restore(TRAINER2)
    assert trainer.net.theta.tobytes() == eighths(23, np.float32).tobytes()
    assert trainer.state["t"] == 3


def test_fault_50_a_training_goes_on_from_a_golden_checkpoint_with_added_fields(path):
    path.write_bytes(TRAINING2.read_bytes())
    net, history = golden_files.train_own(path, resume=True)
    assert (len(history), history.J[0]) == (3, 0.625)
    assert (net.theta[~golden_files.FREE] == eighths(23, np.float64)[~golden_files.FREE]).all()
    assert (net.theta[golden_files.FREE] != eighths(23, np.float64)[golden_files.FREE]).any()


def test_a_second_reader_finds_the_added_fields():
    for file, array in ((NET2, False), (TRAINER2, True), (TRAINING2, True)):
        arrays, meta = second_reader.read(file.read_bytes())
        assert meta["version"] == 2
        assert ("free" in meta["added"]) == ("added.free" in arrays) == array
        if array:
            assert arrays["added.free"] == ("BOOL", [23], golden_files.FREE.tolist())


# ---------------------------------------------------------------- killed and resumed


PROGRAM = """
import functools, os, signal, sys
import numpy as np, fastbp
from golden_files import scaled
path, at, field = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(1)
X = rng.standard_normal((200, 5))
Y = X[:, :1] ** 2

class Killed:
    def on_batch_end(self, training):
        global at
        at -= 1
        if at == 0:
            os.kill(os.getpid(), signal.SIGKILL)

settings = {"own_loss": {"loss": functools.partial(scaled, factor=0.5)},
            "label_smoothing": {"output": "sigmoid", "label_smoothing": 0.1}}.get(field, {"output": "identity"})
Y = (Y > 1) * 1.0 if field == "label_smoothing" else Y
net = fastbp.Network([5, 4, 1], activation="tanh", seed=0, **settings)
more = {"free": {"free": np.arange(net.n_parameters) % 3 > 0}, "factors": {"learning_rate_factors": [0.5, 2.0]},
        "input_scale": {"input_scale": 0.1},
        "lbfgs": {"optimizer": fastbp.LBFGS(), "batch_size": None, "epochs": 52}}.get(field, {})
history = fastbp.train(net, X, Y, seed=3, checkpoint=path, checkpoint_every=(1, "batches"), weight_decay=0.01,
                       resume=True, callbacks=[Killed()], **{"epochs": 4, "batch_size": 16, **more})
print(net.theta.tobytes().hex(), history.J)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("field", [*added.FIELDS, "factors", "input_scale", "label_smoothing", "lbfgs"])
def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path, field):
    """Each added field, and the settings that files keep without one"""
    def go(path, at):
        command = [sys.executable, "-c", PROGRAM, str(path), str(at), field]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                              cwd=Path(__file__).parent)        # the folder of the loss

    expected = go(tmp_path / "whole", 0).stdout
    for at in (20, 7, 3):
        assert go(tmp_path / "t", at).returncode == -9
    kind, version, names = fields(tmp_path / "t")
    assert kind == "training"
    if field in added.FIELDS:
        assert (version, list(names)) == (2, [field])
    assert go(tmp_path / "t", 0).stdout == expected != ""
