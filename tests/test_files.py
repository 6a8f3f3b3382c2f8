"""Networks in files: save and load, the golden files, other readers and writers; and pickle."""

import copy
import hashlib
import json
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import second_reader
from golden_files import GOLDEN, NETWORKS, VALUES
from helpers import DTYPES, NAMES
from reference import PAIRS
from test_container import same

import fastbp
from fastbp.files import container


def state(net):
    """Everything that makes up a network, bit by bit"""
    init = net.__getstate__()["init"]
    start = init if isinstance(init, str) else (init.dtype, init.tobytes())
    return net.settings(), start, net.theta.dtype, net.theta.tobytes(), type(net)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.fastbp"


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("activation", NAMES)
def test_a_saved_network_comes_back_to_the_bit(activation, output, loss, dtype, path):
    net = fastbp.Network([3, 5, 4, 2], activation=["tanh", activation], output=output, loss=loss, dtype=dtype, seed=1)
    fastbp.save(path, net)
    twin = fastbp.load(path)
    assert state(twin) == state(net)
    X = np.random.default_rng(0).standard_normal((9, 3))
    assert twin.predict(X).tobytes() == net.predict(X).tobytes()
    assert twin.predict(X[0]).tobytes() == net.predict(X[0]).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [{"init": name} for name in ("glorot_uniform", "he_normal", "normal", "uniform", "nguyen_widrow")]
    + [{"init": "normal", "eps": 0.3}, {"init": "uniform", "eps": 0}, {"init": np.linspace(-1, 1, 17)}],
)
def test_how_it_is_initialised_is_kept(options, dtype, path):
    net = fastbp.Network([2, 3, 2], dtype=dtype, seed=2, **options)
    net.theta = np.arange(17)
    fastbp.save(path, net)
    twin = fastbp.load(path)
    assert state(twin) == state(net)
    twin.initialize(seed=5)
    net.initialize(seed=5)
    assert twin.theta.tobytes() == net.theta.tobytes()
    twin.theta = np.arange(17)
    twin.initialize(seed=5)     # start values are not theta itself
    assert twin.theta.tobytes() == net.theta.tobytes()


def test_a_loaded_network_trains_on_to_the_bits_of_the_one_saved(path):
    net = fastbp.Network([4, 9, 3], output="softmax", dtype=np.float32, seed=0)
    fastbp.save(path, net)
    twin = fastbp.load(path)
    X, y = np.random.default_rng(0).standard_normal((40, 4)), np.arange(40) % 3
    for each in (net, twin):
        fastbp.train(each, X, y, epochs=3, seed=0)
    assert twin.theta.tobytes() == net.theta.tobytes()
    assert twin.Theta[0].base is twin.theta or np.shares_memory(twin.Theta[0], twin.theta)


def test_the_same_network_gives_the_same_bytes(path):
    net = fastbp.Network([4, 9, 3], seed=0)
    fastbp.save(path, net)
    first = path.read_bytes()
    fastbp.save(path, fastbp.load(path))
    assert path.read_bytes() == first


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_theta_that_is_not_finite_is_not_saved_over_one_that_is(value, path):
    net = fastbp.Network([2, 3, 1], seed=0)
    fastbp.save(path, net)
    before = path.read_bytes()
    net.theta[7] = value
    with pytest.raises(ValueError, match=r"net\.theta contains .*net\.theta\[7\]"):
        fastbp.save(path, net)
    assert path.read_bytes() == before


@pytest.mark.parametrize("net", [None, "net", np.zeros(3), fastbp.Network, {"theta": np.zeros(3)}])
def test_only_networks_are_saved(net, path):
    with pytest.raises(TypeError, match=r"net must be a fastbp\.Network"):
        fastbp.save(path, net)
    assert not path.exists()


@pytest.mark.parametrize("bad", [3, None, 1.5, ["a"], "a\0b", b"a\0b"])
def test_paths_are_checked(bad):
    net = fastbp.Network([2, 1], seed=0)
    for call in (lambda: fastbp.save(bad, net), lambda: fastbp.load(bad), lambda: container.write(bad, {}, {})):
        with pytest.raises((TypeError, ValueError), match="path must"):
            call()


def test_str_bytes_and_pathlike_name_the_same_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = fastbp.Network([2, 1], seed=0)
    for path in ("a", b"a", Path("a"), tmp_path / "a", "./a", str(tmp_path / "a")):
        fastbp.save(path, net)
        for other in ("a", b"a", Path("a")):
            assert state(fastbp.load(other)) == state(net)
        Path("a").unlink()


# ---------------------------------------------------------------- golden files, and other readers


@pytest.mark.parametrize("name", NETWORKS)
def test_fault_50_golden_networks_load_and_are_written_again_byte_for_byte(name, path):
    golden = GOLDEN / f"{name}.fastbp"
    net = NETWORKS[name]()
    assert state(fastbp.load(golden)) == state(net)
    fastbp.save(path, net)
    assert path.read_bytes() == golden.read_bytes()


def test_fault_50_golden_values_are_read_and_written_again_byte_for_byte(path):
    golden = GOLDEN / "values.fastbp"
    arrays, meta = container.read(golden)
    assert same(arrays, VALUES[0])
    assert same(meta, VALUES[1])
    container.write(path, *VALUES)
    assert path.read_bytes() == golden.read_bytes()


def test_golden_files_are_those_that_were_released():
    """The digests at their ends, so that none is overwritten by accident"""
    released = {
        "all_activations_float64.fastbp": "d9e8bff17d4e0d67",
        "deep_float64.fastbp": "8fabb62f039f585a",
        "free2_float32.fastbp": "ba2d4db5a53d71c8",
        "huber_float32.fastbp": "247b3921ac72fc51",
        "no_hidden_float32.fastbp": "40c5e7488afda8a6",
        "own_loss2_float64.fastbp": "a49f0b68cf636965",
        "own_loss_free2_float64.fastbp": "7df3e0cc6eac3eca",
        "softmax_float32.fastbp": "abbeac121e4ea8ad",
        "trainer2_float32.fastbp": "d32ae07717c4b9a4",
        "trainer_float64.fastbp": "8548aee16986294b",
        "training2_float64.fastbp": "b3c8957452459a8d",
        "training_float32.fastbp": "35616b59f6b28cc5",
        "values.fastbp": "4462256edbf2a506",
        "xnor_float64.fastbp": "1b49f8b885f08c82",
    }
    assert {file.name: file.read_bytes()[-32:].hex()[:16] for file in GOLDEN.glob("*.fastbp")} == released


def by_hand(data):
    """The network's outputs for x = (1, -2, ...) only from the file, by the second reader and sums of Python floats"""
    arrays, meta = second_reader.read(data)
    net, theta, a = meta["network"], iter(arrays["theta"][2]), None
    g = {"sigmoid": lambda z: 1 / (1 + math.exp(-z)), "tanh": math.tanh, "identity": float}
    for s, t, name in zip(
        net["layer_sizes"], net["layer_sizes"][1:], [*net["activation"], net["output"]], strict=False
    ):
        a = [1.0, -2.0, 0.5][:s] if a is None else a
        rows = [[next(theta) for _ in range(s + 1)] for _ in range(t)]
        a = [g[name](row[0] + sum(w * x for w, x in zip(row[1:], a, strict=True))) for row in rows]
    return a


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_second_reader_computes_the_same_from_the_specification_alone(dtype, path):
    net = fastbp.Network([3, 4, 2, 2], activation=["tanh", "sigmoid"], output="identity", loss="squared_error",
                         dtype=dtype, seed=3)
    fastbp.save(path, net)
    assert by_hand(path.read_bytes()) == pytest.approx(net.predict([1.0, -2.0, 0.5]), rel=1e-5)


def test_a_second_reader_finds_the_same_in_golden_files():
    for name, make in NETWORKS.items():
        arrays, meta = second_reader.read((GOLDEN / f"{name}.fastbp").read_bytes())
        net = make()
        assert meta == {"kind": "network", "version": 1, "network": net.settings()}
        assert np.array(arrays["theta"][2], net.dtype).tobytes() == net.theta.tobytes()
    arrays, meta = second_reader.read((GOLDEN / "values.fastbp").read_bytes())
    assert same(meta, VALUES[1])
    assert arrays.keys() == VALUES[0].keys()
    for name, (code, shape, items) in arrays.items():
        expected = VALUES[0][name]
        assert (container.DTYPES[code], tuple(shape)) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(np.array(items, expected.dtype).reshape(shape), expected)


def test_safetensors_reads_our_files():
    safetensors = pytest.importorskip("safetensors")
    numpy = pytest.importorskip("safetensors.numpy")
    for file in GOLDEN.glob("*.fastbp"):
        arrays, meta = container.read(file)
        theirs = numpy.load_file(file)
        assert theirs.pop("sha256").tobytes() == file.read_bytes()[-32:]
        assert same(theirs, arrays)
        with safetensors.safe_open(file, "np") as opened:
            texts = opened.metadata()
        assert texts.pop("fastbp_format") == "1"
        assert same({name: json.loads(text) for name, text in texts.items()}, meta)
        with pytest.raises(safetensors.SafetensorError):    # why the checksum is an array
            numpy.load(file.read_bytes() + b"\0")


def test_what_safetensors_writes_with_our_checksum_is_read(path):
    numpy = pytest.importorskip("safetensors.numpy")
    net = fastbp.Network([4, 8, 3], seed=0)
    metadata = {"fastbp_format": "1", "kind": '"network"', "version": "1", "network": json.dumps(net.settings())}
    data = numpy.save({"theta": net.theta, "sha256": np.zeros(32, np.uint8)}, metadata)
    path.write_bytes(data[:-32] + hashlib.sha256(data[:-32]).digest())
    assert state(fastbp.load(path)) == state(net)


# ---------------------------------------------------------------- pickle and copy


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_pickle_and_copy_keep_all_of_it_and_share_nothing(make, dtype):
    net = make()
    if not (dtype == np.float32 and net.dtype == np.float64):     # the largest float64 are none of float32
        net = net.copy(dtype)
    twins = [pickle.loads(pickle.dumps(net, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for twin in (*twins, copy.copy(net), copy.deepcopy(net), net.copy()):
        assert state(twin) == state(net)
        assert not np.shares_memory(twin.theta, net.theta)
        twin.theta[:] = 0.5
        twin.initialize(seed=1)
    assert state(net) == state(make().copy(net.dtype))


def test_a_subclass_stays_one():
    class Mine(fastbp.Network):
        pass

    net = Mine([2, 1], seed=0)
    assert type(net.copy()) is type(copy.deepcopy(net)) is Mine


BAD_STATES = [
    ("layer_sizes", [2, 3, 2]), ("layer_sizes", [2]), ("layer_sizes", [2, 0, 1]), ("layer_sizes", [2.0, 3, 1]),
    ("layer_sizes", None), ("layer_sizes", "231"), ("layer_sizes", [2, 2**31, 1]), ("layer_sizes", [2**20] * 9),
    ("activation", []), ("activation", ["tanh"] * 2), ("activation", ["nothing"]), ("activation", 3),
    ("activation", [None]), ("activation", [["tanh"]]), ("output", "softmax"), ("output", None), ("output", []),
    ("loss", "poisson"), ("loss", 7), ("dtype", "int64"), ("dtype", "nothing"), ("dtype", "i4,("), ("dtype", 3),
    ("dtype", "f2"), ("init", None), ("init", "nothing"), ("init", np.zeros(3)), ("init", np.zeros((13, 1))),
    ("init", np.full(13, np.nan)), ("init", np.array(["a"] * 13)), ("init", {}), ("eps", 0.5), ("eps", "x"),
    ("theta", None), ("theta", np.zeros(12)), ("theta", np.zeros(14)), ("theta", np.zeros((13, 1))),
    ("theta", np.full(13, np.nan)), ("theta", np.full(13, np.inf)), ("theta", np.array(["a"] * 13)),
    ("theta", np.zeros(13, complex)), ("theta", np.array([None] * 13)), ("theta", [[0] * 13]), ("theta", "x"),
    ("theta", np.ma.zeros(13)), ("theta", np.lib.stride_tricks.as_strided(np.zeros(1), (2**40,), (0,))),
]


@pytest.mark.parametrize(("key", "value"), BAD_STATES)
def test_fault_41_a_state_that_makes_no_network_is_refused_and_changes_nothing(key, value):
    net = fastbp.Network([2, 3, 1], seed=0)
    bad = {**net.__getstate__(), key: value}
    before, views = state(net), net.Theta
    with pytest.raises((ValueError, TypeError)) as refused:
        net.__setstate__(bad)
    assert re.search(r"layer_sizes|activation|output|loss|dtype|init|eps|theta", str(refused.value))
    assert state(net) == before
    assert net.Theta is views
    with pytest.raises((ValueError, TypeError)):
        fastbp.Network.__new__(fastbp.Network).__setstate__(bad)


@pytest.mark.parametrize("bad", [None, [], (1, 2), "state", {}, {"theta": np.zeros(13)}, {"_theta": np.zeros(13)}])
def test_fault_41_a_state_of_other_keys_is_refused(bad):
    net = fastbp.Network([2, 3, 1], seed=0)
    with pytest.raises((ValueError, TypeError), match="state of a Network"):
        net.__setstate__(bad)
    if isinstance(bad, dict):
        with pytest.raises(ValueError, match="state of a Network"):
            net.__setstate__({**net.__getstate__(), "more": 1})


def test_fault_41_a_crafted_pickle_cannot_set_attributes():
    """BUILD would combine a `_theta` of one element with a plan of 784-30-10; instead the state is checked"""
    class Crafted:
        def __reduce__(self):
            return fastbp.Network.__new__, (fastbp.Network,), {"_theta": np.zeros(1), "_plan": None}

    with pytest.raises(ValueError, match="state of a Network"):
        pickle.loads(pickle.dumps(Crafted()))
