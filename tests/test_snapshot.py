"""Values, generators and optimizers as files keep them: each comes back as it was, or is named before it is kept."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import fastbp
from fastbp import FormatError
from fastbp.files import container, values
from fastbp.training import states

Pair = namedtuple("Pair", "x y")


@pytest.fixture
def tmp_path(quick_folder):
    return quick_folder


def there_and_back(tmp_path, value):
    """The value out of a file"""
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


# ---------------------------------------------------------------- optimizers


class Own(fastbp.optimizers.Optimizer):
    """theta := theta - rate D"""

    def __init__(self, rate=0.1, **others):
        self.rate_ = rate
        self.__dict__ |= others

    def init(self, theta):
        return {"t": 0}

    def update(self, theta, D, state):
        state["t"] += 1
        theta -= self.rate_ * D


X, Y = np.random.default_rng(0).standard_normal((30, 4)), np.arange(30) % 2


def trainer(optimizer, dtype=np.float64):
    return fastbp.Trainer(fastbp.Network([4, 3, 2], output="softmax", dtype=dtype, seed=0), optimizer)


def test_numbers_changed_on_the_way_come_back_as_what_the_new_one_has(tmp_path):
    first, second = (trainer(Own(np.float64(0.1), n=3, on=False, ratio=1, best=float("inf"), last=0.5, mode="a"))
                     for _ in range(2))
    first.optimizer.__dict__ |= {"rate_": 0.05, "n": 4, "on": True, "ratio": 0.5, "best": 1.5, "last": float("nan")}
    first.save(tmp_path / "t")
    second.restore(tmp_path / "t")
    alike(vars(second.optimizer), {"rate_": np.float64(0.05), "n": 4, "on": True, "ratio": 0.5, "best": 1.5,
                                   "last": float("nan"), "mode": "a"})


@pytest.mark.parametrize(("change", "said"), [
    ({"rate_": fastbp.schedules.Constant(0.1)}, "rate_ 'Constant"), ({"rate_": None}, "rate_ None; it is 0.1"),
    ({"mode": "b"}, "mode 'b'; it is 'a'"), ({"more": 1}, "more 1; it is None"), ({"rate_": True}, "rate_ True"),
    ({"seen": [1, 2]}, "seen"),
])
def test_another_setting_than_a_number_is_never_put_back_in_silence(tmp_path, change, said):
    first, second = (trainer(Own(0.1, mode="a", seen=[])) for _ in range(2))
    first.optimizer.__dict__ |= change
    first.save(tmp_path / "t")
    theta = second.net.theta.copy()
    with pytest.raises(ValueError, match=said) as caught:
        second.restore(tmp_path / "t")
    assert not isinstance(caught.value, FormatError)
    assert str(tmp_path / "t") in str(caught.value)
    assert (second.net.theta == theta).all()
    second.optimizer.__dict__ |= change     # with what it had come to it goes on
    if "more" not in change:
        second.restore(tmp_path / "t")


@pytest.mark.parametrize("indices", [[0, 1], [10**6] * 5, [-1] * 5])
def test_fault_43_indices_of_biases_are_those_of_the_network(tmp_path, indices):
    trainer(fastbp.AdamW()).save(tmp_path / "t")
    arrays, meta = container.read(tmp_path / "t")
    assert arrays["state.bias"].tolist() == [0, 5, 10, 15, 19]
    container.write(tmp_path / "t", {**arrays, "state.bias": np.array(indices)}, meta)
    with pytest.raises(FormatError, match="bias"):
        trainer(fastbp.AdamW()).restore(tmp_path / "t")


@pytest.mark.parametrize(("change", "said"), [
    ({"layer_sizes": [4, 2, 2]}, "layer_sizes"), ({"activation": "relu"}, "activation"), ({"output": "tanh"}, "output"),
    ({"loss": "squared_error", "huber_delta": None}, "loss"), ({"huber_delta": 2.0}, "loss_parameters"),
    ({"dtype": np.float32}, "dtype"), ({"seed": 1}, None), ({"init": "normal"}, None),
])
def test_a_network_is_the_same_in_all_that_steps_depend_on(change, said):
    settings = {"layer_sizes": [4, 3, 2], "activation": "tanh", "output": "identity", "loss": "huber",
                "huber_delta": 1.5, "seed": 0}
    kept = fastbp.Network(**settings)
    if change.get("output") == "tanh":      # huber goes with identity alone
        kept = fastbp.Network(**{**settings, "loss": "squared_error", "huber_delta": None})
        change = {**change, "loss": "squared_error", "huber_delta": None}
    now = fastbp.Network(**{**settings, **change})
    if said is None:
        states.same_network(now, kept)
        return
    with pytest.raises(ValueError, match=f"the network's {said} "):
        states.same_network(now, kept)


class Twin(Own):
    """Another rule with the same settings and the same state"""


def test_a_trainer_goes_on_with_its_own_class_and_rates_of_dropout_alone(tmp_path):
    def made(rule, *rates):
        net = fastbp.Network([4, 3, 2], seed=0)
        return fastbp.Trainer(net, rule(0.1), dropout=rates[0], input_dropout=rates[1], seed=1)

    made(Own, 0.5, 0.1).save(tmp_path / "t")
    for other, said in ((made(Twin, 0.5, 0.1), "optimizer .*Own'; it is .*Twin' now"),
                        (made(Own, 0.25, 0.1), r"dropout \[0.1, 0.5\]; it is \[0.1, 0.25\] now"),
                        (made(Own, 0.5, 0.2), "dropout")):
        with pytest.raises(ValueError, match=said):
            other.restore(tmp_path / "t")
    made(Own, 0.5, 0.1).restore(tmp_path / "t")


def functions():
    """Two of one name, at two places"""
    return lambda t: 0.1


def falling(t):
    return 0.1 / (1 + t)


class Rate:
    """Without a repr of its own"""

    def __call__(self, t):
        return 0.1


@pytest.mark.parametrize(("make", "other"), [
    (functions, Rate), (lambda: falling, functions), (Rate, lambda: falling),
])
def test_functions_are_told_apart_by_their_names_not_by_where_they_lie(tmp_path, make, other):
    first, second, third = (trainer(fastbp.SGD(f())) for f in (make, make, other))
    first.step(X, Y)
    first.save(tmp_path / "t")
    second.restore(tmp_path / "t")
    assert second.state["t"] == 1
    with pytest.raises(ValueError, match="learning_rate"):
        third.restore(tmp_path / "t")


class Scaled(Own):
    """A state whose scalars are float32: theta := theta - rate / norm D"""

    def init(self, theta):
        return {"t": 0, "norm": np.float32(1), "order": (1, 2), "turned": np.asfortranarray(np.ones((2, 3)))}

    def update(self, theta, D, state):
        state["t"] += 1
        state["norm"] = np.linalg.norm(D) + state["norm"] / len(state["order"] + (0,))
        state["turned"] *= float(D[0]) + 1
        theta -= self.rate_ / state["norm"] * D + state["turned"].sum(dtype=np.float32) * np.float32(1e-7)


def test_types_of_a_state_in_python_come_back_so_that_rounding_is_the_same(tmp_path):
    first, second = trainer(Scaled(), np.float32), trainer(Scaled(), np.float32)
    for _ in range(3):
        first.step(X, Y)
    first.save(tmp_path / "t")
    second.restore(tmp_path / "t")
    alike(first.state, second.state)
    for _ in range(20):
        assert first.step(X, Y) == second.step(X, Y)
    assert first.net.theta.tobytes() == second.net.theta.tobytes()
