"""`train` by a few compiled calls (fastbp/training/quick.py): bits, history, messages and warnings are those of the
stages of `train`, which handle all other cases."""

import warnings

import numpy as np
import pytest
from helpers import DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import schedules
from fastbp.training import quick, start

rng = np.random.default_rng(8)
X, LABELS, W = rng.standard_normal((70, 4)), rng.integers(0, 3, 70), rng.random(70) + 0.1
BITS = (rng.random((70, 3)) < 0.5).astype(float)


class Ways:
    """Counts the runs by the stages; `slow` sends all there."""

    def __init__(self, monkeypatch):
        self._patch, self.stages = monkeypatch, 0
        check = start.Start.check

        def counted(training):
            self.stages += 1
            check(training)

        monkeypatch.setattr(start.Start, "check", counted)

    def slow(self):
        self._patch.setattr(quick, "train", lambda asked: None)


@pytest.fixture
def ways(monkeypatch):
    return Ways(monkeypatch)


def outcome(net, *data, seed=3, **given):
    """Everything that training leaves behind: theta, history or error, warnings, the state of a generator."""
    generator = np.random.default_rng(seed) if given.pop("own_generator", False) else None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            history = fastbp.train(net, *data, seed=generator or seed, **given)
            told = history.state()
        except Exception as error:
            told = type(error).__name__, str(error)
            history = getattr(error, "history", None)
            told += () if history is None else (history.state(),)
    places = [(str(w.message), w.category.__name__, w.filename, w.lineno) for w in seen]
    state = told if isinstance(told, dict) else told[2] if len(told) > 2 else None
    if state is not None:
        assert len(state.pop("seconds")) == len(state["J"])
    # a NaN equals itself as text
    return net.theta.tobytes(), repr(told), places, generator and str(generator.bit_generator.state)


def both(ways, make, *data, **given):
    """(the outcome, was it quick?); the stages have the same outcome."""
    fast = outcome(make(), *data, **given)
    taken, ways.stages = ways.stages, 0
    ways.slow()
    assert outcome(make(), *data, **given) == fast
    return fast, not taken


def maker(output="softmax", dtype=np.float64, sizes=(4, 5, 3), **given):
    return lambda: fastbp.Network(list(sizes), output=output, dtype=dtype, **{"seed": 1, **given})


QUICK = {
    "plain": {}, "sgd": {"optimizer": fastbp.SGD(0.1)}, "momentum": {"optimizer": fastbp.SGD(0.1, 0.5, nesterov=True)},
    "hat": {"optimizer": fastbp.Adam(0.01, epsilon_hat=True)}, "whole": {"optimizer": fastbp.SGD(1)},
    **{name: {"optimizer": name} for name in ("sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop")},
    "schedule": {"optimizer": fastbp.Adam(schedules.Cosine(0.02, steps=30))},
    "long schedule": {"optimizer": fastbp.SGD(schedules.Exponential(0.1, factor=0.99)), "batch_size": 1,
                      "l1": 1e-3, "epochs": 90},
    "order": {"shuffle": False}, "generator": {"own_generator": True}, "entropy of its own": {"seed": 2**200},
    "decay": {"weight_decay": 1e-2}, "by layer": {"weight_decay": [1e-2, 0.1]}, "lam": {"lam": 0.5},
    "clipped": {"clip_norm": 0.1, "l1": 1e-3, "clip_value": 0.05}, "one with moments": {"batch_size": 1},
    "all": {"batch_size": None}, "odd": {"batch_size": 37}, "more than there are": {"batch_size": 10**6},
    "one thread": {"n_threads": 1}, "NumPy's numbers": {"batch_size": np.int32(8), "n_threads": np.int8(2)},
    "lists": {"callbacks": [], "metrics": []}, "no dropout": {"dropout": 0, "input_dropout": 0},
}
STAGES = {
    "function": {"optimizer": fastbp.Adam(lambda t: 0.1 / (1 + t))}, "weights": {"sample_weight": W},
    "mean_weight": {"mean_weight": 3.0}, "dropout": {"dropout": 0.3}, "input dropout": {"input_dropout": 0.1},
    "frozen": {"free": [2]}, "split": {"validation_split": 0.3}, "metrics": {"metrics": ["accuracy"]},
    "validation": {"validation_data": (X[:30], LABELS[:30])}, "factors": {"learning_rate_factors": {"biases": 0.5}},
    "scale": {"input_scale": 6.0}, "window": {"window": 20}, "online": {"optimizer": "sgd", "batch_size": 1},
    "callback": {"callbacks": [lambda training: None]}, "LBFGS": {"optimizer": fastbp.LBFGS(), "batch_size": None},
    "zero by layer": {"dropout": [0.0]}, "a sequence of seeds": {"seed": np.random.SeedSequence(3)},
    "NumPy's flag": {"shuffle": np.True_},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*QUICK, *STAGES])
def test_the_outcome_is_that_of_the_stages(name, dtype, ways):
    given = {"epochs": 4, "batch_size": 20} | (QUICK | STAGES)[name]
    fast, was_quick = both(ways, maker(dtype=dtype), X, LABELS, **given)
    assert was_quick == (name in QUICK)
    assert "Error" not in fast[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "Y"), [
    ("softmax", np.eye(3)[LABELS]), ("sigmoid", BITS), ("sigmoid", BITS.astype(bool)), ("tanh", LABELS),
    ("identity", X[:, :3]), ("identity", LABELS[:, np.newaxis] * np.ones(3, np.uint8)), ("exp", np.abs(X[:, :3])),
    ("exp", np.uint8(200) * np.ones((70, 3), np.uint8)),
])
def test_every_kind_of_targets(output, Y, dtype):
    for x in (X, X.astype(np.float32), X.round().astype(int), np.asfortranarray(X)):
        with pytest.MonkeyPatch.context() as patch:
            assert both(Ways(patch), maker(output, dtype), x, Y, epochs=2)[1]


@pytest.mark.parametrize("x", [X.tolist(), X[0], X[:1]], ids=["lists", "one row", "a row"])
def test_other_rows(x, ways):
    Y = LABELS[:1] if len(x) < 70 else LABELS
    fast, was_quick = both(ways, maker(), x, Y, epochs=2)
    assert "Error" not in fast[1]
    assert was_quick == (type(x) is np.ndarray and x.ndim == 2)


def test_one_example_in_a_batch_is_a_batch_of_one(ways):
    """batch_size is clipped to the number of rows: for one row, the sweeps over single examples take the steps."""
    net, other = maker()(), maker()()
    assert not both(ways, maker(), X[:1], LABELS[:1], epochs=3, optimizer="sgd")[1]
    fastbp.train_many([net], X, LABELS, rows=[0], epochs=3, optimizer="sgd", seed=3)
    fastbp.train(other, X[:1], LABELS[:1], epochs=3, optimizer="sgd", seed=3)
    assert net.theta.tobytes() == other.theta.tobytes()


def nan(a):
    a = a.copy()
    a[2, 1] = np.nan
    return a


BAD = {
    "epochs": {"epochs": 0}, "text": {"epochs": "3"}, "too many epochs": {"epochs": 2**62}, "batch": {"batch_size": 0},
    "flag": {"shuffle": 1}, "optimizer": {"optimizer": "adan"}, "no optimizer": {"optimizer": 3},
    "decay": {"weight_decay": -1.0}, "two decays": {"weight_decay": 0.1, "lam": 0.1}, "layers": {"weight_decay": [1.0]},
    "decay of text": {"weight_decay": "a"}, "l1": {"l1": np.nan}, "norm": {"clip_norm": 0}, "value": {"clip_value": -1},
    "seed": {"seed": -1}, "seed of text": {"seed": "a"}, "threads": {"n_threads": 0}, "thread": {"n_threads": 1.5},
    "progress": {"progress": 1}, "every": {"checkpoint_every": 0}, "every what": {"checkpoint_every": True},
    "sync": {"sync_every": 3}, "resume": {"resume": True}, "split": {"validation_split": 2},
    "dropout": {"dropout": 1.0}, "callback": {"callbacks": 3}, "metrics": {"metrics": "nothing"},
    "mean_weight": {"mean_weight": -1}, "first of two": {"epochs": 0, "batch_size": 0},
    "order of two": {"weight_decay": -1, "n_threads": 0},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_by_the_stages(name, ways):
    net = maker()()
    theta, given = net.theta.tobytes(), {"epochs": 2, "own_generator": name == "norm"} | BAD[name]
    fast, was_quick = both(ways, maker(), X, LABELS, **given)
    assert "Error" in fast[1]
    assert was_quick == (name == "too many epochs")     # there is no memory for their J
    assert fast[0] == theta


@pytest.mark.parametrize("data", [
    (X[:, :3], LABELS), (X[:0], LABELS[:0]), (X, LABELS[:9]), (X, LABELS + 1), (X, LABELS - 1), (X, LABELS * 1.0),
    (nan(X), LABELS), (X, 2 * BITS), (X, nan(BITS)), (X.astype(str), LABELS), (X, LABELS.astype(str)),
    (X[np.newaxis], LABELS), (X, None), (np.ma.masked_array(X), LABELS), (X * 1j, LABELS),
])
def test_examples_that_are_wrong_are_told_by_the_stages(data, ways):
    fast, was_quick = both(ways, maker(), *data, epochs=2)
    assert "Error" in fast[1]
    assert not was_quick


@pytest.mark.parametrize("how", ["frozen", "nan"])
def test_networks_that_cannot_be_trained_are_told_by_the_stages(how, ways):
    def make():
        net = maker()()
        if how == "frozen":
            net.theta.setflags(write=False)
        else:
            net.theta[3] = np.nan
        return net

    fast, was_quick = both(ways, make, X, LABELS, epochs=2)
    assert "theta" in fast[1]
    assert not was_quick


@pytest.mark.parametrize("changed", [{"learning_rate": True}, {"learning_rate": -1.0}, {"momentum": 2.0},
                                     {"learning_rate": "a"}, {"nesterov": 3}])
def test_settings_changed_behind_the_optimizers_back_are_looked_at(changed, ways):
    """Bad values are refused even if an equal number has been accepted before."""
    fastbp.train(maker()(), X, LABELS, epochs=1, optimizer=fastbp.SGD(1.0))
    rule = fastbp.SGD(1.0)
    vars(rule).update(changed)
    ways.stages = 0
    fast, was_quick = both(ways, maker(), X, LABELS, epochs=2, optimizer=rule)
    assert "Error" in fast[1]
    assert not was_quick


def test_an_optimizer_may_change_between_two_calls(ways):
    rule = fastbp.SGD(0.1, momentum=0.5)
    nets = [maker()() for _ in range(2)]
    for net in nets:
        rule.momentum, rule.learning_rate = 0.5, 0.1
        fastbp.train(net, X, LABELS, epochs=2, seed=0, optimizer=rule)
        rule.momentum = 0.0
        fastbp.train(net, X, LABELS, epochs=2, seed=0, optimizer=rule)
        rule.momentum, rule.learning_rate = 0.5, 0.2
        fastbp.train(net, X, LABELS, epochs=2, seed=0, optimizer=rule)
        ways.slow()
    assert ways.stages == 3
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()


def test_few_settings_are_kept():
    net = maker()()
    for i in range(2 * quick.KEPT):
        fastbp.train(net, X, LABELS, epochs=1, optimizer=fastbp.SGD(0.01 + 1e-4 * i), weight_decay=1e-3 * i)
    assert len(quick._twins) <= quick.KEPT
    assert len(quick._codes) <= quick.KEPT


def test_rules_of_ones_own_take_the_stages():
    class Own(fastbp.Adam):
        """Its state may be anything."""

    class Flat(fastbp.SGD):
        def settings(self):
            return 0.5, 0.0, 0.0

    stretched = fastbp.SGD(0.1)
    stretched.update = lambda theta, D, state: None
    for rule in (Own(), Flat(), stretched):
        with pytest.MonkeyPatch.context() as patch:
            assert not both(Ways(patch), maker(), X, LABELS, epochs=2, optimizer=rule)[1]


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_divergence_is_that_of_the_stages(shuffle, ways):
    fast, was_quick = both(ways, maker("identity", np.float32), 1e3 * X, X[:, :3], epochs=9, shuffle=shuffle,
                           optimizer=fastbp.SGD(10.0), batch_size=16, own_generator=True)
    assert was_quick
    assert "DivergenceError" in fast[1]


def test_a_finite_divergence_warns_at_the_callers_line(ways):
    fast, was_quick = both(ways, maker("identity", sizes=(4, 3)), X, X[:, :3], epochs=30, batch_size=None,
                           optimizer=fastbp.SGD(3.0))
    assert was_quick
    assert [(place[1], place[2]) for place in fast[2]] == [("RuntimeWarning", __file__)]


def test_equal_units_warn_at_the_callers_line(ways):
    def make():
        net = maker()()
        net.theta = np.zeros(net.n_parameters)
        return net

    fast, was_quick = both(ways, make, X, LABELS, epochs=2)
    assert was_quick
    assert [(place[1], place[2]) for place in fast[2]] == [("UserWarning", __file__)]


def test_large_steps_take_the_stages():
    large = np.zeros((600, 300)), np.zeros((600, 3))
    with pytest.MonkeyPatch.context() as patch:
        assert not both(Ways(patch), maker("sigmoid", sizes=(300, 9, 3)), *large, epochs=1, batch_size=600)[1]
    many = np.zeros((2**16 + 1, 1), np.uint8)
    make = maker("sigmoid", sizes=(1, 1))
    with pytest.MonkeyPatch.context() as patch:
        assert not both(Ways(patch), make, many, many, epochs=1, batch_size=512)[1]
    with pytest.MonkeyPatch.context() as patch:
        assert both(Ways(patch), make, many, many, epochs=1, batch_size=512, shuffle=False)[1]


def test_a_loss_in_python_takes_the_stages(ways):
    def loss(z, Y, w):
        return float(((z - Y) ** 2).sum()), 2 * (z - Y)

    assert not both(ways, lambda: fastbp.Network([4, 5, 3], loss=loss, output="identity", seed=1), X, X[:, :3],
                    epochs=2)[1]


numbers = st.sampled_from([0, 0.0, 0.01, 1, -1, np.nan, np.inf, None, "a", True, np.float32(0.1), [0.1, 0.2]])


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries({"epochs": st.sampled_from([1, 2, 3, 0, None, np.int64(2)])}, optional={
        "batch_size": st.sampled_from([None, 1, 7, 64, 70, 200, 0, 2.5]), "weight_decay": numbers, "lam": numbers,
        "l1": numbers, "clip_value": numbers, "clip_norm": numbers, "dropout": st.sampled_from([0, 0.0, 0.5, [0.1], 2]),
        "input_dropout": st.sampled_from([0, 0.2]), "shuffle": st.sampled_from([True, False, 0]),
        "seed": st.sampled_from([0, 7, -1, 2**70, np.int64(3), "a"]), "own_generator": st.booleans(),
        "n_threads": st.sampled_from([None, 1, 2, 0]), "optimizer": st.sampled_from([
            "sgd", "Adam", "rprop", "none", fastbp.SGD(0.1), fastbp.Adam(schedules.Step(0.1, every=3, factor=0.5)),
            fastbp.optimizers.Nadam(), "adagrad", 3]),
        "validation_split": st.sampled_from([0, 0.0, 0.2]), "mean_weight": st.sampled_from([None, 2.0]),
        "metrics": st.sampled_from([(), [], ["accuracy"]]), "window": st.sampled_from([None, 16]),
    }),
    st.sampled_from(DTYPES),
)
def test_whatever_is_given(given, dtype):
    if given.get("own_generator") and not isinstance(given.get("seed", 0), int):
        del given["own_generator"]
    if given.get("own_generator") and given.get("seed", 0) < 0:
        del given["own_generator"]
    with pytest.MonkeyPatch.context() as patch:
        both(Ways(patch), maker(dtype=dtype), X, LABELS, **given)
