"""Checkpoints and trainer files of each version: their contents are read, and training resumes from them."""

import shutil

import golden_files
import numpy as np
import pytest
import second_reader
from golden_files import COUNTED, GOLDEN, NOTES, W, X, Y, eighths
from test_values import alike

import fastbp
from fastbp.training import checkpoint, loop

TRAINING, TRAINER = GOLDEN / "training_float32.fastbp", GOLDEN / "trainer_float64.fastbp"
TRAINING2, TRAINER2 = GOLDEN / "training2_float64.fastbp", GOLDEN / "trainer2_float32.fastbp"     # of version 2


@pytest.fixture
def path(quick_folder):
    return quick_folder / "t"


def test_fault_50_a_golden_checkpoint_is_written_again_byte_for_byte(path):
    _, history = golden_files.train(path, golden_files.Golden())
    assert history.stopped == "for later"
    assert path.read_bytes() == TRAINING.read_bytes()


def test_fault_50_all_fields_of_a_golden_checkpoint_are_read():
    kept = checkpoint.read(TRAINING)
    theta = eighths(23, np.float32)
    assert kept.net.theta.tobytes() == fastbp.load(TRAINING).theta.tobytes() == theta.tobytes()
    assert repr(kept.net) == repr(fastbp.load(TRAINING)) == (
        "Network([4, 3, 2], activation=['tanh'], output='softmax', loss='cross_entropy', dtype=float32)")
    alike(kept.state, {"t": 7, "m": theta, "v": theta**2, "dropout_seed": kept.state["dropout_seed"], "dropout_t": 7})
    assert 0 <= kept.state["dropout_seed"] < 2**63
    alike(kept.settings, {"c": [0.125, 0.0], "l1": 0.0, "batch_lam": 0.0, "clip_value": float("inf"), "clip_norm": 2.0})
    adam = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "epsilon_hat": False}
    assert kept.begun == {"class": "fastbp.optimizers.Adam", "settings": {"learning_rate": 0.125, **adam}}
    assert kept.last == {"class": "fastbp.optimizers.Adam", "settings": {"learning_rate": 0.0625, **adam}}
    alike(kept.history.state(), {
        "J": [0.75, 0.1], "val_J": [0.5, float("inf")], "val_accuracy": [0.25, 0.5], "seconds": [1.5, 0.25],
        "examples": 18, "metrics": {"accuracy": [0.5, 0.75], "mae": [0.5, 0.25], "val_mae": [float("nan"), 0.125]},
        "stopped": None})
    assert kept.position == loop.Position(8, 3.25, 8.0, 0.125)
    stopping, counting = kept.callbacks
    alike(stopping, {"best": 0.5, "best_epoch": 1, "waited": 1, "theta": -theta})
    alike(counting, COUNTED)
    rng = np.random.default_rng(5)
    assert kept.generator == rng.bit_generator.state
    rng.permutation(24), rng.integers(2**63)     # validation_split, the seed of the masks
    assert kept.epoch_generator == rng.bit_generator.state
    assert {name: value for name, value in kept.conditions.items() if name != "optimizer"} == {
        "examples": 18, "labels": True, "weights": False, "validation": 6, "validation_split": 0.25, "batch_size": 8,
        "shuffle": True, "window": 18, "weight_decay": [0.25, 0.0], "l1": 0.0, "clip_value": None, "clip_norm": 2.0,
        "dropout": [0.0, 0.25], "metrics": ["accuracy", "mae", "val_mae"],
        "callbacks": ["fastbp.callbacks.EarlyStopping", "golden_files.Counting"]}


def test_fault_50_a_training_goes_on_from_a_golden_checkpoint_as_by_hand(path):
    shutil.copy(TRAINING, path)
    _, history = golden_files.train(path, lambda training: training.pause("look"), resume=True)
    assert (len(history), history.J[:2], history.stopped) == (3, [0.75, 0.1], "look")
    kept = checkpoint.read(TRAINING)
    order = np.random.default_rng(5).permutation(24)
    rest = np.sort(order[6:])
    rng = kept.rewound()
    rng.permutation(24), rng.integers(2**63)
    trainer = fastbp.Trainer(kept.net, fastbp.Adam(0.0625), weight_decay=[0.125, 0.0], clip_norm=2.0, dropout=0.25)
    trainer.state = kept.state
    J = trainer.epoch(X, Y, batch_size=8, order=rest[rng.permutation(18)][8:])
    assert kept.net.theta.tobytes() == fastbp.load(path).theta.tobytes()
    assert history.J[2] == pytest.approx((3.25 + 10 * J) / 18, rel=1e-12)
    again, history = golden_files.train(path, resume=True)
    assert len(history) == 5
    whole, _ = golden_files.train(shutil.copy(TRAINING, path), resume=True)
    assert again.theta.tobytes() == whole.theta.tobytes()
    assert checkpoint.read(path).callbacks[1]["epochs"] == 5


def test_fault_50_a_golden_trainer_is_written_again_byte_for_byte(path):
    golden_files.stepped().save(path, NOTES)
    assert path.read_bytes() == TRAINER.read_bytes()


def test_fault_50_a_trainer_goes_on_from_a_golden_file():
    trainer, expected = golden_files.trainer(), golden_files.stepped()
    alike(trainer.restore(TRAINER), NOTES)
    alike(trainer.state, expected.state)
    assert trainer.regularisation == expected.regularisation
    assert (trainer.weight_decay, trainer.l1, trainer.batch_lam) == (0.25, 0.03125, 0.5)
    assert (trainer.clip_value, trainer.clip_norm, trainer.dropout) == (0.75, None, (0.0, 0.5))
    assert vars(trainer.optimizer) == {"learning_rate": 0.125, "best": 0.1, "name": "golden"}
    assert fastbp.load(TRAINER).theta.tobytes() == trainer.net.theta.tobytes() == eighths(23, np.float64).tobytes()
    for _ in range(3):
        assert trainer.step(X, Y) == expected.step(X, Y)
    assert trainer.net.theta.tobytes() == expected.net.theta.tobytes()


# ---------------------------------------------------------------- version 2


def test_fault_50_golden_files_of_version_2_are_written_again_byte_for_byte(path):
    _, history = golden_files.train2(path, golden_files.Golden2())
    assert history.stopped == "for later"
    assert path.read_bytes() == TRAINING2.read_bytes()
    golden_files.stepped2().save(path, NOTES)
    assert path.read_bytes() == TRAINER2.read_bytes()


def test_fault_50_all_fields_of_a_golden_checkpoint_of_version_2_are_read():
    kept = checkpoint.read(TRAINING2)
    theta = eighths(23, np.float64)
    assert kept.net.theta.tobytes() == fastbp.load(TRAINING2).theta.tobytes() == theta.tobytes()
    assert kept.mean_weight == kept.conditions["mean_weight"] == W.sum() / 24
    assert kept.conditions["weights"] is True
    alike(kept.state, {"t": 5, "v": -theta / 4})
    assert kept.position == loop.Position(16, 5.5, 14.25, 0.0625)
    rule = {"learning_rate": 0.125, "nesterov": False}
    assert kept.begun == {"class": "fastbp.optimizers.SGD", "settings": {**rule, "momentum": 0.5}}
    assert kept.last == {"class": "fastbp.optimizers.SGD", "settings": {**rule, "momentum": 0.75}}


def test_fault_50_a_training_goes_on_from_a_golden_checkpoint_of_version_2_as_by_hand(path):
    shutil.copy(TRAINING2, path)
    _, history = golden_files.train2(path, lambda training: training.pause("look"), resume=True)
    assert (len(history), history.J[0], history.stopped) == (2, 0.625, "look")
    kept = checkpoint.read(TRAINING2)
    trainer = fastbp.Trainer(kept.net, fastbp.SGD(0.125, momentum=0.75), l1=0.0625, mean_weight=kept.mean_weight)
    trainer.state = kept.state
    rest = kept.rewound().permutation(24)[16:]
    J = trainer.epoch(X, Y, batch_size=8, order=rest, sample_weight=W)
    assert kept.net.theta.tobytes() == fastbp.load(path).theta.tobytes()
    weight = W[rest].sum() / kept.mean_weight
    assert history.J[1] == pytest.approx((5.5 + weight * J) / (14.25 + weight), rel=1e-12)
    again, _ = golden_files.train2(path, resume=True)
    whole, history = golden_files.train2(shutil.copy(TRAINING2, path), resume=True)
    assert len(history) == 4
    assert again.theta.tobytes() == whole.theta.tobytes()
    assert checkpoint.read(path).mean_weight == W.sum() / 24


def test_fault_50_a_trainer_goes_on_from_a_golden_file_of_version_2():
    trainer, expected = golden_files.trainer2(), golden_files.stepped2()
    alike(trainer.restore(TRAINER2), NOTES)
    alike(trainer.state, expected.state)
    assert (trainer.mean_weight, trainer.weight_decay, trainer.clip_norm) == (2.5, (0.5, 0.0), 4.0)
    assert trainer.optimizer == fastbp.optimizers.Nadam(0.125)
    assert fastbp.load(TRAINER2).loss_parameters == {"huber_delta": 0.5}
    for w in (None, W, W[::-1]):
        assert trainer.step(X, Y, w) == expected.step(X, Y, w)
    assert trainer.net.theta.tobytes() == expected.net.theta.tobytes()


def test_a_second_reader_finds_the_same_in_golden_files_of_version_2():
    arrays, meta = second_reader.read(TRAINING2.read_bytes())
    assert (meta["kind"], meta["version"], meta["mean_weight"]) == ("training", 2, W.sum() / 24)
    assert arrays["theta"] == ("F64", [23], eighths(23, np.float64).tolist())
    arrays, meta = second_reader.read(TRAINER2.read_bytes())
    assert (meta["kind"], meta["version"], meta["mean_weight"]) == ("trainer", 2, 2.5)
    assert value_of(meta["state"], arrays)["scalars"] == ("F64", [1], [0.375])


# ---------------------------------------------------------------- read by others, or refused


def value_of(kept, arrays):
    """A value decoded only by the specification, arrays as (dtype, shape, items)"""
    if isinstance(kept, list):
        return [value_of(item, arrays) for item in kept]
    if not isinstance(kept, dict):
        return kept
    (kind, content), = kept.items()
    return {
        "array": lambda: arrays.pop(content), "transposed": lambda: ("T", arrays.pop(content)),
        "scalar": lambda: arrays.pop(content)[2][0], "list": lambda: arrays.pop(content)[2],
        "scalars": lambda: arrays.pop(content)[2],
        "tuple": lambda: tuple(value_of(content, arrays)), "float": lambda: float(content),
        "dict": lambda: {name: value_of(item, arrays) for name, item in content.items()},
    }[kind]()


def test_a_second_reader_finds_the_same_in_golden_trainings():
    arrays, meta = second_reader.read(TRAINING.read_bytes())
    assert (meta["kind"], meta["version"]) == ("training", 1)
    assert arrays.pop("theta") == ("F32", [23], eighths(23, np.float32).tolist())
    values = {name: value_of(meta[name], arrays) for name in (
        "state", "settings", "history", "callbacks", "generator", "position")}
    assert not arrays
    assert values["position"] == {"examples": 8, "cost": 3.25, "weight": 8.0, "seconds": 0.125}
    assert values["state"]["m"] == ("F32", [23], eighths(23, np.float32).tolist())
    counted = values["callbacks"][1]
    turned = ("T", ("I32", [2, 3], [1, 3, 5, 2, 4, 6]))
    expected = {**COUNTED, "scalar": 0.375, "turned": turned, "empty": ("F64", [0, 2], []),
                "flag": ("BOOL", [], [True]), "scalars": [i / 8 for i in range(100)]}
    assert repr(counted) == repr(expected)
    arrays, meta = second_reader.read(TRAINER.read_bytes())
    assert (meta["kind"], meta["version"], meta["dropout"]) == ("trainer", 1, [0.0, 0.5])
    notes = value_of(meta["notes"], arrays)
    assert repr(notes) == repr({**NOTES, "order": ("I64", [3], [2, 0, 1])})


@pytest.mark.parametrize("golden", [TRAINING, TRAINER, GOLDEN / "softmax_float32.fastbp"], ids=lambda file: file.stem)
@pytest.mark.parametrize(("change", "said"), [
    ({"version": 3}, "version is 3; this version of fastbp reads 1"),
    ({"version": 2}, r"the fields must be (added, kind, network, version|.*mean_weight.*) \(version is 2\)"),
    ({"version": True}, "version is True"),
    ({"version": None}, "version is None"), ({"kind": "model"}, "kind is 'model'"), ({"kind": None}, "kind is None"),
    ({"more": 1}, "the fields must be .*; they are .*more"),
])
def test_fault_50_a_newer_file_is_refused_in_so_many_words(path, golden, change, said):
    arrays, meta = fastbp.files.container.read(golden)
    fastbp.files.container.write(path, arrays, {**meta, **change})
    with pytest.raises(fastbp.FormatError, match=said):
        fastbp.load(path)
    if golden == TRAINING:
        with pytest.raises(fastbp.FormatError, match=said):
            golden_files.train(path, resume=True)
    if golden == TRAINER:
        with pytest.raises(fastbp.FormatError, match=said):
            golden_files.trainer().restore(path)
