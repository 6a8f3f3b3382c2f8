"""save and load, the container below them, the golden files, other readers and writers, and pickle."""

import copy
import hashlib
import io
import json
import math
import pickle
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import second_reader
from golden_files import GOLDEN, NETWORKS, VALUES
from helpers import DTYPES, NAMES
from reference import PAIRS

import fastbp
from fastbp.files import container

KINDS = ("?", "u1", "i4", "u4", "i8", "u8", "f4", "f8")


def state(net):
    """All that makes a network, bit by bit"""
    init = net.__getstate__()["init"]
    start = init if isinstance(init, str) else (init.dtype, init.tobytes())
    return net.settings(), start, net.theta.dtype, net.theta.tobytes(), type(net)


def same(ours, given):
    """Equal arrays and values, bit by bit, types included"""
    if isinstance(given, np.ndarray):
        return ours.dtype == given.dtype and ours.shape == given.shape and ours.tobytes() == given.tobytes()
    if isinstance(given, dict):
        return ours.keys() == given.keys() and all(same(ours[key], given[key]) for key in given)
    if isinstance(given, (list, tuple)):
        return isinstance(ours, list) and len(ours) == len(given) and all(map(same, ours, given))
    return type(ours) is type(given) and repr(ours) == repr(given)


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
    [{"init": name} for name in ("glorot_uniform", "he_normal", "normal", "uniform")]
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


# ---------------------------------------------------------------- the container


def test_names_and_values_of_every_kind_come_back(path):
    container.write(path, *VALUES)
    arrays, meta = container.read(path)
    assert same(arrays, VALUES[0])
    assert same(meta, VALUES[1])
    assert all(a.flags.owndata and a.flags.writeable and a.flags.aligned for a in arrays.values())


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_and_byte_orders_come_back_in_our_own(kind, path):
    base = np.random.default_rng(0).integers(0, 2, (6, 4, 5)).astype(kind)
    views = {
        "plain": base, "reversed": base[::-1, :, ::-2], "transposed": base.T, "fortran": np.asfortranarray(base),
        "broadcast": np.broadcast_to(base[0], (3, 4, 5)), "swapped": base.astype(np.dtype(kind).newbyteorder(">")),
        "one": base[0, 0, :1].reshape(()), "none": base[:0], "unaligned": np.frombuffer(
            b"x" + base.tobytes(), np.uint8)[1:].view(kind).reshape(base.shape),
    }
    container.write(path, views, {})
    arrays, _ = container.read(path)
    for name, view in views.items():
        assert arrays[name].dtype == np.dtype(kind)
        np.testing.assert_array_equal(arrays[name], view, strict=False)
        assert arrays[name].shape == view.shape
        assert arrays[name].flags.c_contiguous


def test_arrays_lie_aligned_in_the_file(path):
    arrays = {f"{kind[0]}{kind[1:]}".replace("?", "b"): np.ones(3, kind) for kind in KINDS}
    container.write(path, arrays, {"x": "y"})
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    for name, a in arrays.items():
        assert (8 + n + header[name]["data_offsets"][0]) % a.itemsize == 0


@pytest.mark.parametrize(
    ("arrays", "meta", "error", "match"),
    [
        ([], {}, TypeError, "arrays must be a dict"),
        ({}, [], TypeError, "meta must be a dict"),
        ({"a": [1, 2]}, {}, TypeError, r"arrays\['a'\] must be an ndarray"),
        ({"a": np.float64(1)}, {}, TypeError, r"arrays\['a'\] must be an ndarray"),
        ({"a": np.ma.ones(2)}, {}, TypeError, r"arrays\['a'\] must be an ndarray"),
        *(({"a": np.ones(2, kind)}, {}, TypeError, r"arrays\['a'\] has dtype")
          for kind in ("f2", "i2", "c16", "S2", "U2", "O", "M8[s]", "g", [("x", "f4")])),
        *(({name: np.ones(1)}, {}, ValueError, "arrays has the name")
          for name in ("", "1", "a b", "é", "a" * 101, "sha256", "__metadata__", "fastbp_format", "a\n", "a/b")),
        *(({}, {name: 1}, ValueError, "meta has the name")
          for name in ("", "1", "a b", "é", "a" * 101, "sha256", "__metadata__", "fastbp_format", "a\n")),
        ({1: np.ones(1)}, {}, TypeError, "a name in arrays"),
        ({}, {1: 1}, TypeError, "a name in meta"),
        *(({}, {"m": [{"k": value}]}, ValueError, r"meta\['m'\]\[0\]\['k'\]") for value in
          (math.nan, math.inf, -math.inf, 10**600, -(10**600), "\ud800")),
        *(({}, {"m": [value]}, TypeError, r"meta\['m'\]\[0\] is ") for value in
          (np.int64(3), np.bool_(True), b"x", {1}, 1j, np.ones(2), object())),
        ({}, {"m": {1: 2}}, TypeError, r"meta\['m'\] has the key 1"),
        ({}, {"m": {"\udfff": 2}}, ValueError, "a key of meta"),
        ({}, {"m": "x" * 2**20}, ValueError, "accepted are up to 1048576"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(arrays, meta, error, match, tmp_path):
    with pytest.raises(error, match=match):
        container.write(tmp_path / "a", arrays, meta)
    assert list(tmp_path.iterdir()) == []


def test_the_limits_themselves_are_within(path):
    deep = "bottom"
    for _ in range(container.strict_json.MAX_DEPTH):
        deep = [deep]
    arrays = {"a" * 100: np.ones((1,) * 32)}
    meta = {"m" * 100: deep, "n": 10**600 - 1, "o": -(10**600) + 1, "p": np.float64(0.5), "q": "x" * (2**20 - 2000)}
    container.write(path, arrays, meta)
    read = container.read(path)
    assert same(read[0], arrays)
    assert same(read[1], {**meta, "p": 0.5})
    for what in ([deep], {"": deep}):
        with pytest.raises(ValueError, match="more than 16"):
            container.write(path, {}, {"m": what})
    cycle = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="more than 16"):
        container.write(path, {}, {"m": cycle})
    assert same(container.read(path)[0], arrays)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="NumPy 1 itself has no more dimensions")
def test_an_array_that_numpy_1_could_not_hold_is_refused(path):
    with pytest.raises(ValueError, match=r"arrays\['a'\] has 33 dimensions"):
        container.write(path, {"a": np.ones((1,) * 33)}, {})


def test_what_is_hashed_is_what_is_written_though_the_array_changes_meanwhile(path, monkeypatch):
    a, write = np.zeros(3 * container.CHUNK, np.uint8), container.atomic.os.write

    def meddling(*arguments):
        a[:] += 1
        return write(*arguments)

    monkeypatch.setattr(container.atomic.os, "write", meddling)
    container.write(path, {"a": a}, {})
    assert len(set(container.read(path)[0]["a"])) == 3      # the chunks of different moments, the checksum right


@pytest.mark.parametrize("n", [2**21, 2**21 + 5])
def test_reading_takes_no_more_memory_than_the_file_and_a_little(n, path):
    net = fastbp.Network([n // 2 - 1, 2], dtype=np.float64, init=np.zeros(n // 2 * 2))
    net.theta[:] = np.arange(len(net.theta))
    fastbp.save(path, net)
    fastbp.load(path)
    tracemalloc.start()
    try:
        twin = fastbp.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size + 2**20
    assert twin.theta.tobytes() == net.theta.tobytes()


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
    """The digest at their end, so that none is written anew by accident"""
    released = {
        "all_activations_float64.fastbp": "d9e8bff17d4e0d67",
        "deep_float64.fastbp": "8fabb62f039f585a",
        "huber_float32.fastbp": "247b3921ac72fc51",
        "no_hidden_float32.fastbp": "40c5e7488afda8a6",
        "softmax_float32.fastbp": "abbeac121e4ea8ad",
        "trainer_float64.fastbp": "8548aee16986294b",
        "training_float32.fastbp": "35616b59f6b28cc5",
        "values.fastbp": "4462256edbf2a506",
        "xnor_float64.fastbp": "1b49f8b885f08c82",
    }
    assert {file.name: file.read_bytes()[-32:].hex()[:16] for file in GOLDEN.glob("*.fastbp")} == released


def by_hand(data):
    """The network's outputs for x = (1, -2, ...) from the file alone: the second reader and sums of Python floats"""
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


# ---------------------------------------------------------------- any arrays and values


hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
hnp = pytest.importorskip("hypothesis.extra.numpy")
names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.\-]{0,99}\Z").filter(
    lambda name: name not in ("sha256", "__metadata__", "fastbp_format")
)
unicode = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**600) + 1, 10**600 - 1) | unicode
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(unicode, inner, max_size=4), max_leaves=12,
)
anything = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@hypothesis.given(arrays=st.dictionaries(names, anything, max_size=5), meta=st.dictionaries(names, values, max_size=5))
def test_any_arrays_and_values_come_back_and_both_readers_agree(arrays, meta):
    stored = container._storable_arrays(arrays)
    header = container._header(stored, container._storable_meta(meta))
    data = b"".join(container._chunks(header, stored))
    ours = container.parse(io.BytesIO(data), len(data))
    assert same(ours[0], arrays)
    assert same(ours[1], meta)
    theirs = second_reader.read(data)
    assert same(theirs[1], meta)
    assert [(name, list(a.shape), a.size) for name, a in ours[0].items()] == [
        (name, shape, len(items)) for name, (_, shape, items) in theirs[0].items()
    ]


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
    """BUILD would put `_theta` of one element beside a plan of 784-30-10; it goes through the checks instead"""
    class Crafted:
        def __reduce__(self):
            return fastbp.Network.__new__, (fastbp.Network,), {"_theta": np.zeros(1), "_plan": None}

    with pytest.raises(ValueError, match="state of a Network"):
        pickle.loads(pickle.dumps(Crafted()))
