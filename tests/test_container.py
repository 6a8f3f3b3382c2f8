"""The container of files returns arrays and values of every kind, and refuses what it cannot hold."""

import io
import json
import math
import tracemalloc

import numpy as np
import pytest
import second_reader
from golden_files import VALUES

import fastbp
from fastbp.files import container

KINDS = ("?", "u1", "i4", "u4", "i8", "u8", "f4", "f8")


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
    return tmp_path / "a.fastbp"


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
