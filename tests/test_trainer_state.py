"""Trainer between steps: settings and states that change, examples at any address, pickles and copies."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from communicators import Plain, Serial

import fastbp

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((30, 3)), RNG.random((30, 2))


def trainer(optimizer=None, **options):
    return fastbp.Trainer(fastbp.Network([3, 5, 2], seed=0), optimizer or fastbp.Adam(0.01), **options)


@pytest.mark.parametrize("optimizer", [fastbp.SGD, fastbp.Adam])
def test_step_follows_a_changed_learning_rate(optimizer):
    stepped, whole = trainer(optimizer(0.1)), trainer(optimizer(0.1))
    for rate in (0.1, 0.01, 0.3):
        stepped.optimizer.learning_rate = whole.optimizer.learning_rate = rate
        stepped.step(X, Y)
        whole.epoch(X, Y, batch_size=None)
        np.testing.assert_array_equal(stepped.net.theta, whole.net.theta)


def test_step_follows_a_changed_weight_decay_and_refuses_a_bad_one():
    stepped, whole = trainer(), trainer()
    for c in (0.0, 0.5, 0.0):
        stepped.weight_decay = whole.weight_decay = c
        assert stepped.step(X, Y) == pytest.approx(whole.epoch(X, Y, batch_size=None), rel=1e-14)
    with pytest.raises(ValueError, match="weight_decay"):
        stepped.weight_decay = -1


@pytest.mark.parametrize("go_on", [lambda t: t.step(X, Y), lambda t: t.epoch(X, Y, batch_size=7)])
def test_a_momentum_that_the_training_has_no_state_for_is_named(go_on):
    going = trainer(fastbp.SGD(0.1))
    going.step(X, Y)
    before, going.optimizer.momentum = going.net.theta.copy(), 0.9
    with pytest.raises(ValueError, match=r"momentum=0\.9.* needs v in the state"):
        go_on(going)
    np.testing.assert_array_equal(going.net.theta, before)
    going.optimizer.momentum = 0.0
    go_on(going)


def test_a_state_put_back_is_the_state_that_steps_go_on_from():
    first = trainer()
    for _ in range(5):
        first.step(X, Y)
    second = fastbp.Trainer(first.net.copy(), fastbp.Adam(0.01))
    second.step(X, Y)
    second.net.theta = first.net.theta
    second.state = {name: np.copy(value) if name != "t" else value for name, value in first.state.items()}
    for _ in range(3):
        assert second.step(X, Y) == first.step(X, Y)
    np.testing.assert_array_equal(second.net.theta, first.net.theta)


def test_an_update_set_on_the_instance_is_the_one_that_is_called():
    calls, optimizer = [], fastbp.Adam(0.01)
    optimizer.update = lambda theta, D, state: calls.append(len(D))
    net = fastbp.Network([3, 5, 2], seed=0)
    fastbp.train(net, X, Y, optimizer=optimizer, epochs=2, batch_size=10)
    assert calls == [net.n_parameters] * 6


def test_infinite_parameters_are_named_by_every_way_to_predict_and_step():
    net = fastbp.Network([3, 5, 2], seed=0)
    going = fastbp.Trainer(net, fastbp.SGD(0.1))
    going.step(X, Y)
    net.Theta[0][0, 1] = np.inf
    for action in (lambda: net.predict(np.ones(3)), lambda: net.predict(np.ones((1, 3))), lambda: going.step(X, Y),
                   lambda: going.epoch(X, Y)):
        with pytest.raises(ValueError, match="theta"):
            action()


def test_fault_29_labels_and_order_may_lie_at_any_address():
    labels = np.arange(30) % 2
    raw = np.frombuffer(b"x" + labels.astype(np.int64).tobytes(), np.uint8)[1:].view(np.int64)
    order = np.frombuffer(b"x" + np.arange(30)[::-1].astype(np.int64).tobytes(), np.uint8)[1:].view(np.int64)
    assert not raw.flags.aligned
    assert not order.flags.aligned
    moved, straight = trainer(), trainer()
    moved.epoch(X, raw, order=order)
    straight.epoch(X, labels, order=np.arange(30)[::-1])
    np.testing.assert_array_equal(moved.net.theta, straight.net.theta)
    nets = [fastbp.Network([3, 5, 2], output="softmax", seed=0) for _ in range(2)]
    steps = [fastbp.Trainer(net, fastbp.SGD(0.1)).step for net in nets]
    assert steps[0](X, raw) == steps[1](X, labels)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


@pytest.mark.parametrize(("sizes", "m", "batch_size", "cuts"), [
    ((4, 6, 3), 65, 32, (0, 32, 64, 65)),               # the last batch of one row is no online step
    ((20, 10, 3), 9000, 5000, (0, 5000, 9000)),         # the short last batch is summed as the long one is
])
def test_a_short_last_batch_has_the_same_bits_alone(sizes, m, batch_size, cuts):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((m, sizes[0])), rng.integers(0, 3, m)
    whole, sliced = (
        fastbp.Trainer(fastbp.Network(sizes, output="softmax", seed=0), fastbp.SGD(0.1)) for _ in range(2)
    )
    whole.epoch(X, y, batch_size=batch_size)
    for a, b in itertools.pairwise(cuts):
        sliced.epoch(X[a:b], y[a:b], batch_size=batch_size)
    assert (whole.net.theta == sliced.net.theta).all()


def test_one_row_has_the_same_bits_whatever_its_layout():
    x, y = np.random.default_rng(0).standard_normal((1, 5)), np.array([2])
    wide = np.zeros((1, 10))
    wide[:, ::2] = x
    bits = set()
    for X, Y in ((x, y), (wide[:, ::2], y), (x.tolist(), y), (x, y.astype(np.int32)), (x, np.eye(3)[y])):
        trainer = fastbp.Trainer(fastbp.Network([5, 4, 3], output="softmax", seed=0), fastbp.SGD(0.1))
        for _ in range(3):
            trainer.step(X, Y)
        bits.add(trainer.net.theta.tobytes())
    assert len(bits) == 1


# ---------------------------------------------------------------- pickle and copy


RULES = [
    fastbp.SGD(0.1), fastbp.SGD(0.1, momentum=0.9), fastbp.Adam(0.01), fastbp.optimizers.AdamW(0.01),
    fastbp.optimizers.Nadam(0.01), fastbp.optimizers.RMSprop(0.01), fastbp.optimizers.Adagrad(0.1),
    fastbp.optimizers.RPROP(), fastbp.Adam(fastbp.schedules.Cosine(0.1, steps=40)), Plain(),
]


@pytest.mark.parametrize("dropout", [{}, {"dropout": 0.3, "input_dropout": 0.1, "seed": 1}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_pickles_and_copies_go_on_to_the_same_bits_and_share_nothing(rule, dtype, dropout):
    net = fastbp.Network([3, 5, 2], dtype=dtype, seed=0)
    first = fastbp.Trainer(net, rule, weight_decay=[0.1, 0.2], clip_norm=5.0, **dropout)
    first.epoch(X, Y, batch_size=7)
    first.weight_decay, first.l1 = (0.3, 0.1), 0.01
    twins = [pickle.loads(pickle.dumps(first)), copy.copy(first), copy.deepcopy(first)]
    expected = first.epoch(X, Y, batch_size=8), first.step(X, Y), net.theta.tobytes()
    for twin in twins:
        assert twin.net is not net
        assert twin.optimizer is not first.optimizer
        assert (twin.epoch(X, Y, batch_size=8), twin.step(X, Y), twin.net.theta.tobytes()) == expected
        assert (twin.weight_decay, twin.l1, twin.clip_norm, twin.dropout) == ((0.3, 0.1), 0.01, 5.0, first.dropout)
    assert net.theta.tobytes() == expected[2]


NONE = {"c": (0.0, 0.0), "l1": 0.0, "batch_lam": 0.0, "clip_value": np.inf, "clip_norm": np.inf}
MOMENTS = {"t": 0, "m": np.zeros(32), "v": np.zeros(32)}
BAD = [
    ("net", None), ("net", fastbp.Network([3, 4, 2])), ("optimizer", None), ("optimizer", fastbp.SGD),
    ("dropout", None), ("dropout", [0.5]), ("dropout", [0.5, 2.0]), ("dropout", "0"), ("n_threads", 0),
    ("n_threads", 1.5), ("settings", None), ("settings", {}), ("settings", {**NONE, "c": (-1.0, 0.0)}),
    ("settings", {**NONE, "l1": np.nan}), ("settings", {1: 0, "c": 0}), ("state", None), ("state", {}),
    ("state", {1: 0, "t": 0}), ("state", {**MOMENTS, "t": -1}), ("state", {**MOMENTS, "more": 0}),
    ("state", {**MOMENTS, "m": np.zeros(31)}), ("state", {**MOMENTS, "m": np.zeros(32, "f4")}),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_fault_41_a_state_that_makes_no_trainer_is_refused_and_changes_nothing(key, value):
    going = trainer()
    going.step(X, Y)
    before, kept = vars(going).copy(), going.__getstate__()
    theta = going.net.theta.tobytes()
    with pytest.raises((ValueError, TypeError), match=r"net|optimizer|dropout|n_threads|settings|state"):
        going.__setstate__({**kept, key: value})
    assert vars(going) == before
    assert going.net.theta.tobytes() == theta
    for bad in (None, [], {}, {**kept, "more": 1}):
        with pytest.raises((ValueError, TypeError), match="state of a Trainer must"):
            fastbp.Trainer.__new__(fastbp.Trainer).__setstate__(bad)
    twin = fastbp.Trainer.__new__(fastbp.Trainer)
    twin.__setstate__(copy.deepcopy(kept))
    assert twin.step(X, Y) == going.step(X, Y)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda kept: pickle.loads(pickle.dumps(kept))])
def test_network_and_optimizer_beside_their_trainer_are_still_its_own_in_a_pickle_or_copy(twin_of):
    first = trainer()
    twin = twin_of({"net": first.net, "trainer": first, "optimizer": first.optimizer})
    assert twin["net"] is twin["trainer"].net is not first.net
    assert twin["optimizer"] is twin["trainer"].optimizer is not first.optimizer
    before = twin["net"].theta.copy()
    twin["trainer"].step(X, Y)
    assert (twin["net"].theta != before).any()


def test_fault_54_a_state_out_of_a_pickle_is_taken():
    """NumPy leaves large arrays in the bytes of the pickle, which claim to be read-only"""
    nets = [fastbp.Network([3, 400, 2], seed=0) for _ in range(2)]
    first, second = (fastbp.Trainer(net, fastbp.Adam(0.01)) for net in nets)
    for each in (first, second):
        each.epoch(X, Y, batch_size=7)
    second.state = pickle.loads(pickle.dumps(first.state))
    assert second.epoch(X, Y, batch_size=7) == first.epoch(X, Y, batch_size=7)
    assert second.step(X, Y) == first.step(X, Y)


class Counting(Plain):
    """A rule that keeps a count and an array as attributes, which init resets"""

    def init(self, theta):
        self.t, self.v = 0, np.zeros_like(theta)
        return {}

    def update(self, theta, D, state):
        self.t += 1
        self.v += (D - self.v) / self.t
        theta -= self.learning_rate * self.v


def test_what_a_rule_keeps_in_itself_is_in_pickles_and_copies():
    first = trainer(Counting())
    first.epoch(X, Y, batch_size=7)
    twins = [pickle.loads(pickle.dumps(first)), copy.copy(first), copy.deepcopy(first)]
    expected = first.epoch(X, Y, batch_size=7), first.optimizer.t
    assert [(twin.epoch(X, Y, batch_size=7), twin.optimizer.t) for twin in twins] == [expected] * 3


def test_every_state_that_may_be_put_back_can_be_copied_and_kept_in_a_file(tmp_path):
    first = trainer(fastbp.AdamW(0.01))
    first.step(X, Y)
    bias, state = first.state["bias"], {name: value for name, value in first.state.items() if name != "bias"}
    for given in (state, {**state, "bias": bias[::-1]}):
        first.state = given
        np.testing.assert_array_equal(first.state["bias"], bias)
        twin, restored = copy.copy(first), trainer(fastbp.AdamW(0.01))
        first.save(tmp_path / "trainer")
        restored.restore(tmp_path / "trainer")
        assert first.step(X, Y) == twin.step(X, Y) == restored.step(X, Y)
    before = vars(first).copy()
    for unknown in ("more", "dropout_t"):
        with pytest.raises(ValueError, match=f"state has {unknown}; AdamW has only t, m, v, bias here"):
            first.state = {**first.state, unknown: 1}
    assert vars(first) == before


def test_a_trainer_of_several_ranks_is_neither_pickled_nor_copied():
    for make in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="several ranks"):
            make(trainer(comm=Serial()))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_large_arrays_can_be_written_to(protocol):
    """NumPy puts arrays above a thousand bytes on an immutable bytes object, below protocol 5"""
    rng = np.random.default_rng(0)
    X, y = rng.random((20, 50)), rng.integers(0, 10, 20)
    trainer = fastbp.Trainer(fastbp.Network([50, 40, 10], output="softmax", seed=0), "adam")
    trainer.step(X, y)
    twin = pickle.loads(pickle.dumps(trainer, protocol))
    for each in (trainer, twin):
        each.step(X, y)
        each.epoch(X, y, batch_size=5)
    assert twin.net.theta.tobytes() == trainer.net.theta.tobytes()
