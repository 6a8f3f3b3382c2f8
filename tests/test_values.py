"""Values and generators in files: each comes back exactly, or is refused by name before it is written."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest

from fastbp import FormatError
from fastbp.files import container, values

Pair = namedtuple("Pair", "x y")


@pytest.fixture
def tmp_path(quick_folder):
    return quick_folder


def there_and_back(tmp_path, value):
    """The value from a file"""
    arrays = {}
    container.write(tmp_path / "v", arrays, {"value": values.encode(value, "value", arrays)})
    arrays, meta = container.read(tmp_path / "v")
    value = values.decode(meta["value"], arrays)
    values.nothing_left(arrays)
    return value


def alike(a, b):
    """Equal in type, bits and layout, to the last item"""
    if isinstance(a, np.ndarray):
        assert type(b) is np.ndarray
        assert (a.dtype, a.shape, a.flags.c_contiguous, a.flags.f_contiguous) == (
            b.dtype, b.shape, b.flags.c_contiguous, b.flags.f_contiguous)
        assert a.tobytes("A") == b.tobytes("A")
        assert b.flags.writeable
        assert b.flags.aligned
    else:
        assert type(a) is type(b) or (type(a), type(b)) == (np.str_, str)
        if isinstance(a, dict):
            assert list(a) == list(b)
            a, b = list(a.values()), list(b.values())
        if isinstance(a, (list, tuple)):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                alike(x, y)
        else:
            assert repr(a) == repr(b) or (a == b and isinstance(a, str))


@pytest.mark.parametrize("value", [
    None, True, 0, -(10**40), 0.1, -0.0, 5e-324, float("nan"), float("inf"), float("-inf"), "", "Θ \0", [], (), {},
    (1, (2.5, None), [3, ("x",)]), {"a": {"b": [{"c": ()}]}}, {"dict": {"array": "theta"}}, [{"float": "nan"}],
    np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(1.5, np.float32),
    np.zeros((0, 3)), np.arange(4, dtype=np.uint32), np.array([True, False]),
    np.float32(0.1), np.float64("nan"), np.int64(-5), np.int32(7), np.uint64(2**64 - 1), np.bool_(True),
    [np.float64(0.5), 0.5, np.float32(0.5), 1, np.int64(1)],
    [0.1 * i for i in range(100)], [float("inf"), float("nan"), -0.0] * 50, list(range(-99, 1)), list(range(99)),
    [*range(99), 0.5], [2**63, *range(120)], [-(2**63), 2**63 - 1, *range(120)], [True] * 120, ["x"] * 120,
    tuple(range(120)), [[0.5] * 150, {"k": [1.5] * 150}], [np.float64(1.5)] * 120,
    [np.float32(0.1)] * 100, [np.bool_(True)] * 100, [np.uint64(2**64 - 1)] * 100,
    [np.float32(1), *[np.float64(1)] * 100],
    [np.int64(2**62), *[1] * 100], [np.str_("x")] * 100,
    {"a.b": np.zeros(1), "a": {"b": np.ones(1)}, "Θ": np.ones(2), "x" * 120: np.ones(3)},
], ids=lambda value: f"{type(value).__name__} {value!r:.25}")
def test_a_value_comes_back_as_it_was(tmp_path, value):
    alike(value, there_and_back(tmp_path, value))


def test_what_is_kept_is_a_copy():
    a, arrays = np.zeros(3), {}
    kept = values.encode({"a": a, "turned": np.asfortranarray(np.zeros((2, 2)))}, "v", arrays)
    a[:] = 7
    assert not values.decode(kept, arrays)["a"].any()


def test_arrays_in_other_layouts_have_their_values_back(tmp_path):
    a = np.arange(24).reshape(4, 6)
    for view in (a[::2, ::3], a[::-1], a[:, 1]):
        np.testing.assert_array_equal(there_and_back(tmp_path, view), view)


def test_a_list_of_a_million_numbers_has_room(tmp_path):
    value = [i / 7 for i in range(10**6)]
    value = {"J": value, "mean": list(np.array(value)), "t": list(range(10**6))}
    assert there_and_back(tmp_path, value) == value


def itself():
    a = []
    a.append(a)
    return a


@pytest.mark.parametrize(("value", "error", "said"), [
    ({1: 2}, TypeError, "v has the key 1"), ({"x": {1, 2}}, TypeError, "v.x is a set"), (b"x", TypeError, "bytes"),
    (1j, TypeError, "complex"), ([print], TypeError, "v.0 is a builtin"), (Pair(1, 2), TypeError, "v is a Pair"),
    (OrderedDict(a=1), TypeError, "OrderedDict"), (np.ma.zeros(3), TypeError, "MaskedArray"),
    (np.zeros(3, np.int8), TypeError, "'v' has dtype int8|'v'. has dtype int8"), (np.float16(1), TypeError, "float16"),
    (np.complex128(1j), TypeError, "complex128"), (np.bytes_(b"x"), TypeError, "bytes_"),
    (itself(), ValueError, "deep"), ("\udcff", ValueError, "Unicode"), (10**700, ValueError, "digits"),
    (["x" * 2**20], ValueError, "largest in meta is 'v'"),
])
def test_what_cannot_be_kept_is_named(tmp_path, value, error, said):
    arrays = {}
    with pytest.raises(error, match=said):
        container.write(tmp_path / "v", arrays, {"v": values.encode(value, "v", arrays)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [
    {}, {"array": "no"}, {"array": 1}, {"array": ["a"]}, {"array": "a", "dict": {}}, {"float": "1.5"}, {"float": []},
    {"tuple": {}}, {"tuple": "x"}, {"dict": []}, {"more": 1}, {"scalar": "a"}, {"list": "b"}, {"list": "c"},
    {"scalars": "b"},
    {"transposed": "a"}, [{"array": "a"}, {"array": "a"}], {"tuple": [{"array": "a"}, {"list": "a"}]},
])
def test_what_stands_for_no_value_is_refused(value):
    arrays = {"a": np.zeros(2), "b": np.zeros((2, 2)), "c": np.zeros(2, bool)}
    with pytest.raises(FormatError, match="stands for no value"):
        values.decode(value, arrays)


# ---------------------------------------------------------------- generators


@pytest.mark.parametrize("kind", values.GENERATORS)
def test_a_generator_comes_back_wherever_it_stands(tmp_path, kind):
    rng = np.random.Generator(getattr(np.random, kind)(3))
    for draw in (lambda: rng.random(3), lambda: rng.integers(9, dtype=np.uint32), lambda: rng.permutation(1000)):
        draw()
        twin = values.to_generator(there_and_back(tmp_path, values.of_generator(rng)))
        assert twin.integers(2**40, size=50).tolist() == np.random.Generator(
            values.to_generator(values.of_generator(rng)).bit_generator).integers(2**40, size=50).tolist()
        assert values._same(values.of_generator(rng), there_and_back(tmp_path, values.of_generator(rng)))


ODD = [None, True, -1, 0, 1, 3, 10**30, 1.5, float("nan"), "", "MT19937", b"", [], [1], {}, {"state": 1}, (1, 2),
       np.zeros(3), np.zeros(0), np.zeros(624, np.uint32), np.array(1), np.uint64(3), np.zeros((2, 2), bool)]


def replaced(state):
    """The state with each part of it replaced"""
    for key, part in state.items():
        for odd in ODD:
            yield {**state, key: odd}
        yield {k: v for k, v in state.items() if k != key}
        if isinstance(part, dict):
            yield from ({**state, key: other} for other in replaced(part))
    yield {**state, "more": 1}


@pytest.mark.parametrize("kind", values.GENERATORS)
def test_fault_43_a_state_that_is_none_of_its_kind_is_refused(kind):
    tried = refused = 0
    for state in replaced(getattr(np.random, kind)(0).state):
        tried += 1
        try:
            rng = values.to_generator(state)
        except FormatError:
            refused += 1
        else:
            rng.integers(2**32, size=2000, dtype=np.uint32)
            rng.permutation(100)
    assert tried > 60
    assert refused > 0.8 * tried


@pytest.mark.parametrize("change", [-1, 1])
def test_states_are_the_same_where_all_their_numbers_are(change):
    state = np.random.Philox(0).state
    other = {**state, "buffer": state["buffer"] + np.array([0, 0, 0, 1], np.uint64)}
    pair = (state, other) if change > 0 else (other, state)
    assert values._same(state, state)
    assert not values._same(*pair)
    assert not values._same({**state, "uinteger": 5}, {**state, "uinteger": 5 + change})


@pytest.mark.parametrize(("kind", "most"), [("MT19937", 624), ("Philox", 4)])
def test_fault_43_a_generator_never_draws_from_behind_its_state(kind, most):
    state = getattr(np.random, kind)(0).state
    part, name = (state["state"], "pos") if kind == "MT19937" else (state, "buffer_pos")
    for good in (0, most):
        part[name] = good
        values.to_generator(state).random(9)
    for bad in (-1, most + 1, most + 100, 2**31 - 1):
        part[name] = bad
        with pytest.raises(FormatError, match=name):
            values.to_generator(state)


@pytest.mark.parametrize("state", [*ODD, {"bit_generator": "Random"}, {"bit_generator": ["PCG64"]}],
                         ids=lambda state: f"{state!r:.30}")
def test_what_is_no_state_at_all_is_refused(state):
    with pytest.raises(FormatError, match="generator"):
        values.to_generator(state)
