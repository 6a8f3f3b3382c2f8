"""Dropout: the bits and the randomness of its masks, its gradient, and every way to train with it."""

import copy
import itertools
import math
import tracemalloc

import numpy as np
import pytest
import reference
from helpers import DTYPES, distance, problem, tolerance
from reference import Textbook, mask_factors
from test_checks import refused

import fastbp
from fastbp.engine import sums as core
from fastbp.engine import threads

RATES = (0.2, 0.5, 0.25)  # of a problem with two hidden layers: inputs, a(2), a(3)
SIZES = (6, 9, 7, 3)


def over(plan, theta, data, Delta):
    return core.accumulate(plan, theta, data.examples(), data.m, Delta)


def sums(p, rates, seed=5, step=3, theta=None, Y=None, w=None):
    """Cost and Delta of one batch with the masks of this step, as each training step computes them"""
    net = p.network()
    plan = net.plan.dropping(rates)
    plan.set_masks(seed, step)
    theta = net.theta if theta is None else theta
    Delta = np.zeros_like(theta)
    cost = over(plan, theta, net.data(p.X, p.Y if Y is None else Y, w), Delta)
    return cost, Delta


def kept(rate, units, m, seed, step, dtype):
    """(m, units): the values of a(2) after dropout in a network in which all of them are 1"""
    net = fastbp.Network([1, units, units], activation="identity", output="identity", loss="squared_error", dtype=dtype,
                         init=[np.tile([1.0, 0.0], (units, 1)), np.hstack([np.zeros((units, 1)), np.eye(units)])])
    plan = net.plan.dropping([0.0, rate])
    plan.set_masks(seed, step)
    factors = []
    for i in range(m):  # delta(3) = h - 0 is what was fed of a(2); alone by its weight, in the bias column of Delta(2)
        w = np.zeros(m)
        w[i] = 1
        Delta = np.zeros_like(net.theta)
        over(plan, net.theta, net.data(np.zeros((m, 1)), np.zeros((m, units)), w), Delta)
        factors.append(plan.views(Delta)[1][:, 0])
    return np.array(factors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "units"), [(1, 1), (3, 5), (17, 4), (70, 9)])
def test_masks_are_the_oracles_to_the_bit(m, units, dtype):
    for rate, seed, step in ((0.5, 1, 0), (0.1, 2**63 - 1, 7), (0.999, 2**40, 2**33)):
        expected = mask_factors((1, units), (0, rate), seed, step, m, dtype)[1]
        np.testing.assert_array_equal(kept(rate, units, m, seed, step, dtype=dtype), expected)


# ---------------------------------------------------------------- cost and gradient under a mask


def masked():
    """(m, activation, rates); of many examples each activation and each rate once, the rest is slow"""
    for m, activation, rates in itertools.product(
        (1, 13, 700), ("relu", "tanh", "gelu", "softplus"),
        (RATES, (0, 0.5, 0), (0, 0, 0.5), (0.5, 0, 0), (0.9, 0.9, 0.9)),
    ):
        slow = m == 700 and rates != RATES and activation != "relu"
        yield pytest.param(m, activation, rates, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "activation", "rates"), list(masked()))
def test_sums_under_a_mask_are_the_textbooks(m, activation, rates, dtype):
    for output, loss, K in (("softmax", "cross_entropy", 3), ("identity", "huber", 12)):
        p = problem((*SIZES[:-1], K), activation, output, loss, m=m, dtype=dtype)
        for w in (None, p.weights):
            factors = mask_factors(p.model.sizes, rates, 5, 3, m, np.longdouble)
            cost, Delta = p.model.accumulate(p.theta.astype(np.longdouble), p.X, p.Y, w, factors)
            ours = sums(p, rates, w=w)
            assert ours[0] == pytest.approx(float(cost), rel=tolerance(dtype))
            assert distance(ours[1], reference.flat(Delta)) < tolerance(dtype)


@pytest.mark.parametrize("form", ["float32 rows", "uint8 rows", "labels", "a weight of 0"])
def test_inputs_may_be_of_any_form(form):
    p = problem(SIZES, "tanh", "softmax", "cross_entropy", m=33)
    p.X = (100 * np.abs(p.X)).astype(np.uint8 if form == "uint8 rows" else np.float32)
    Y, w = p.Y, None
    if form == "labels":
        Y = p.labels
    if form == "a weight of 0":
        w = np.arange(33.0) % 3
    p.X = p.X / np.float32(64) if form != "uint8 rows" else p.X
    factors = mask_factors(SIZES, RATES, 5, 3, 33, np.longdouble)
    cost, Delta = p.model.accumulate(p.theta.astype(np.longdouble), p.X, Y, w, factors)
    ours = sums(p, RATES, Y=Y, w=w)
    assert ours[0] == pytest.approx(float(cost), rel=1e-12)
    assert distance(ours[1], reference.flat(Delta)) < tolerance(float)


@pytest.mark.parametrize("activation", ["tanh", "silu", "sigmoid"])
def test_gradient_under_a_fixed_mask_is_the_slope_of_the_cost_under_it(activation):
    p, h = problem(SIZES, activation, "softmax", "cross_entropy", m=20), 1e-5
    _, Delta = sums(p, RATES)
    numeric = reference.numeric_gradient(lambda theta: sums(p, RATES, theta=theta)[0], p.theta, h)
    assert distance(Delta, numeric) < tolerance(float, "numeric")
    theta = p.theta.astype(np.longdouble)
    factors = mask_factors(SIZES, RATES, 5, 3, 20, np.longdouble)
    J, D = p.model.cost_and_gradient(theta, p.X, p.Y, np.longdouble(0.1), factors=factors)
    assert p.model.cost(theta, p.X, p.Y, np.longdouble(0.1), factors=factors) == J
    slope = reference.numeric_gradient(
        lambda t: p.model.cost(t, p.X, p.Y, np.longdouble(0.1), factors=factors), theta, np.longdouble(1e-6)
    )
    assert distance(D, slope) < 2e-11


def test_mean_over_the_masks_of_a_linear_network_is_the_network_itself():
    """E mask / (1 - p) = 1: the inverted form needs no correction in predictions"""
    p = problem((4, 6, 2), "identity", "identity", "squared_error", m=1)
    J = [p.model.forward(p.theta, p.X, mask_factors((4, 6), (0.3, 0.4), 0, t, 1, float))[1][-1] for t in range(4000)]
    scatter = np.std(J, axis=0) / math.sqrt(len(J))
    assert (np.abs(np.mean(J, axis=0) - p.model.forward(p.theta, p.X)[1][-1]) < 4 * scatter).all()


# ---------------------------------------------------------------- training


class Plain:
    """theta := theta - 0.05 D, a user's rule without compiled steps or t in its state"""

    def init(self, theta):
        return {}

    def update(self, theta, D, state):
        theta -= 0.05 * D


RULES = {
    "sgd": (lambda: fastbp.SGD(0.05), lambda: reference.SGD(0.05)),
    "adam": (lambda: fastbp.Adam(0.01), lambda: reference.Adam(0.01)),
    "python": (Plain, lambda: reference.SGD(0.05)),
}


def trained(p, rule, batch_size, rates=RATES, seed=9, w=None, epochs=3, **options):
    """theta and J of a Trainer's epochs, and those of the textbook with masks of the same seed"""
    net = p.network()
    trainer = fastbp.Trainer(net, RULES[rule][0](), dropout=rates[1:], input_dropout=rates[0], seed=seed, **options)
    J = [trainer.epoch(p.X, p.Y, batch_size=batch_size, sample_weight=w) for _ in range(epochs)]
    return net.theta, J, trainer.state["dropout_seed"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("rule", RULES)
def test_training_with_dropout_is_the_textbooks(rule, batch_size, dtype):
    p = problem(SIZES, "tanh", "softmax", "cross_entropy", m=40, dtype=dtype)
    for w in (None, p.weights):
        theta, J, seed = trained(p, rule, batch_size, w=w, weight_decay=0.01)
        expected, history = reference.train(
            p.model, p.theta.astype(np.longdouble), p.X, p.Y, RULES[rule][1](), epochs=3, batch_size=batch_size,
            c=np.longdouble(0.01), w=w, dropout=(RATES, seed),
        )
        assert distance(theta, expected) < tolerance(dtype, "training")
        np.testing.assert_allclose(J, history, rtol=tolerance(dtype, "training"))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("m", [5000, 9000])
def test_batches_of_many_blocks_are_masked_as_one(rule, m):
    """Sums by ranges (over 4096 examples), and second batches that begin in the middle of a block"""
    p = problem((6, 9, 7, 3), "tanh", m=m)
    theta, J, seed = trained(p, rule, 4990, epochs=2)
    expected, history = reference.train(
        p.model, p.theta, p.X, p.Y, RULES[rule][1](), epochs=2, batch_size=4990, dropout=(RATES, seed)
    )
    assert distance(theta, expected) < tolerance(float, "training")
    np.testing.assert_allclose(J, history, rtol=1e-11)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_steps_one_by_one_are_the_epochs(rule):
    """The quick step (up to 64 examples) and the one that converts first"""
    p = problem(SIZES, "relu", m=90)
    net, quick, slow = p.network(), p.network(), p.network()
    options = {"dropout": 0.4, "input_dropout": 0.1, "seed": 3}
    whole, one, other = (fastbp.Trainer(each, RULES[rule][0](), **options) for each in (net, quick, slow))
    J = whole.epoch(p.X, p.Y, batch_size=30)
    parts = [slice(first, first + 30) for first in (0, 30, 60)]
    assert np.mean([one.step(p.X[rows], p.Y[rows]) for rows in parts]) == pytest.approx(J, rel=1e-14)
    for rows in parts:
        other.step(p.X[rows].tolist(), p.Y[rows])
    assert quick.theta.tobytes() == net.theta.tobytes() == slow.theta.tobytes()


def test_quick_steps_after_a_large_batch_begin_at_their_own_first_example():
    p = problem((6, 9, 7, 3), "tanh", m=9000)
    nets = [p.network() for _ in range(2)]
    for net, X in zip(nets, (p.X[:20], p.X[:20].tolist()), strict=True):
        trainer = fastbp.Trainer(net, fastbp.SGD(0.1), dropout=0.5, seed=0)
        trainer.epoch(p.X, p.Y, batch_size=4500)
        trainer.step(X, p.Y[:20])
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()


@pytest.mark.parametrize(
    ("sizes", "m", "batch_size"),
    [((20, 30, 10), 200, 1), ((20, 30, 10), 200, 32), ((64, 100, 10), 3000, 500), ((64, 100, 10), 9000, None)],
)
def test_number_of_threads_does_not_change_the_bits(sizes, m, batch_size):
    p = problem(sizes, m=m, dtype=np.float32)
    bits = set()
    for n in (1, 2, 3, 8):
        net = p.network()
        trainer, data = fastbp.Trainer(net, "adam", dropout=0.3, input_dropout=0.1, seed=1), net.data(p.X, p.Y)
        with threads.Crew(n, apart=True) as trainer.steps.crew:
            J = [trainer.steps.mean(data, batch_size) for _ in range(3)]
        bits.add((net.theta.tobytes(), *J))
    assert len(bits) == 1


@pytest.mark.parametrize("batch_size", [1, 100, None])
def test_epochs_cut_into_calls_have_the_same_bits(batch_size, monkeypatch):
    p = problem((6, 9, 3), m=2000)

    def theta():
        net = p.network()
        fastbp.train(net, p.X, p.Y, optimizer="adam", epochs=2, batch_size=batch_size, dropout=0.5, seed=0)
        return net.theta.tobytes()

    whole = theta()
    monkeypatch.setattr(threads, "SLICE", 0.0)
    assert theta() == whole


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_size", [1, 8, None])
def test_a_training_goes_on_from_its_state_with_the_same_bits(batch_size, rule):
    p = problem(SIZES, "tanh", m=30)
    whole = fastbp.Trainer(p.network(), RULES[rule][0](), dropout=RATES[1:], seed=2)
    J = [whole.epoch(p.X, p.Y, batch_size=batch_size) for _ in range(4)]
    first = fastbp.Trainer(p.network(), RULES[rule][0](), dropout=RATES[1:], seed=2)
    assert [first.epoch(p.X, p.Y, batch_size=batch_size) for _ in range(2)] == J[:2]
    second = fastbp.Trainer(first.net.copy(), RULES[rule][0](), dropout=RATES[1:], seed=77)
    second.step(p.X, p.Y)
    second.net.theta, second.state = first.net.theta, copy.deepcopy(first.state)
    assert [second.epoch(p.X, p.Y, batch_size=batch_size) for _ in range(2)] == J[2:]
    assert second.net.theta.tobytes() == whole.net.theta.tobytes()
    assert second.state["dropout_t"] == whole.state["dropout_t"] == 4 * math.ceil(30 / (batch_size or 30))


def test_same_seed_gives_the_same_bits_and_another_seed_others():
    p = problem(SIZES, "tanh", m=50)

    def bits(seed, rate=0.5):
        net = p.network()
        history = fastbp.train(net, p.X, p.Y, epochs=2, batch_size=7, shuffle=False, dropout=rate, seed=seed)
        return net.theta.tobytes(), tuple(history.J)

    assert bits(3) == bits(3)
    assert bits(3) != bits(4)
    assert bits(None) != bits(None)
    assert bits(3) != bits(3, 0.4)


@pytest.mark.parametrize("none", [{}, {"dropout": 0}, {"dropout": [0.0, 0.0], "input_dropout": 0.0}])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_rate_of_0_is_training_without_dropout(batch_size, none):
    """The bits are the same, the order of the examples too, and the state has nothing of dropout"""
    p = problem(SIZES, "tanh", m=50)
    nets = [p.network(), p.network()]
    for net, options in zip(nets, ({}, none), strict=True):
        fastbp.train(net, p.X, p.Y, optimizer="sgd", epochs=2, batch_size=batch_size, seed=3, **options)
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()
    trainer = fastbp.Trainer(p.network(), **none)
    assert trainer.dropout == ()
    assert set(trainer.state) == {"t", "m", "v"}


def test_predictions_and_evaluations_drop_nothing():
    p = problem(SIZES, "tanh", m=50)
    net = p.network()
    history = fastbp.train(net, p.X, p.Y, epochs=1, dropout=0.5, seed=0, validation_data=(p.X, p.Y))
    exact = p.model.forward(net.theta, p.X)[1][-1]
    assert distance(net.predict(p.X), exact) < tolerance(float)
    assert distance(net.predict(p.X[0]), exact[0]) < tolerance(float)
    J, D = p.model.cost_and_gradient(net.theta, p.X, p.Y)
    assert history.val_J[0] == pytest.approx(J, rel=1e-12)
    assert distance(net.cost_and_gradient(p.X, p.Y)[1], D) < tolerance(float)


def test_training_without_dropout_needs_no_memory_for_it():
    net = fastbp.Network([20, 1000, 5], seed=0)
    without, with_it = (core.Workspace(plan, 64, net.dtype).block.nbytes
                        for plan in (net.plan, net.plan.dropping([0.0, 0.5])))
    assert with_it - without == 64 * 1000 * 8
    assert core.Workspace(fastbp.Trainer(net).steps.plan, 64, net.dtype).block.nbytes == without
    X, Y = np.ones((3000, 20)), np.ones((3000, 5))
    tracemalloc.start()
    fastbp.train(net, X, Y, epochs=1, dropout=0.5, seed=0)
    assert tracemalloc.get_traced_memory()[1] < 8 * 3000 * 1000  # a mask for all examples would exceed this
    tracemalloc.stop()


def test_dropout_helps_a_network_that_learns_by_heart():
    """40 noisy examples of a plane in 20 dimensions, 200 units: the held-out cost is less with dropout"""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1040, 20))
    y = (X[:, :1] + X[:, 1:2] > 0) != (rng.random((1040, 1)) < 0.1)
    costs = []
    for rate in (0.0, 0.5):
        net = fastbp.Network([20, 200, 1], activation="relu", seed=0)
        fastbp.train(net, X[:40], y[:40], epochs=300, batch_size=10, seed=0, dropout=rate, input_dropout=0.4 * rate)
        costs.append(net.cost(X[40:], y[40:]))
    assert costs[1] < 0.8 * costs[0]


# ---------------------------------------------------------------- bad settings

P = problem(SIZES, m=20)
CALLS = {
    "train": lambda net, **options: fastbp.train(net, P.X, P.Y, epochs=1, **options),
    "Trainer": lambda net, **options: fastbp.Trainer(net, **options),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("dropout", value) for value in (-0.1, 1, 1.5, np.nan, "a", None, True, 1j, [0.1], [0.1] * 3, [0.1, 1.0])],
        *[("dropout", value) for value in ([0.1, "a"], np.zeros((2, 2)), {"a": 1}, np.array([0.5, 1.5]))],
        *[("input_dropout", value) for value in (-0.1, 1, np.nan, "a", None, [0.1])],
        *[("seed", value) for value in (-1, 1.5, "a")],
    ],
)
def test_bad_rates_are_refused(name, value, call):
    net = P.network()
    refused(lambda: CALLS[call](net, **{name: value}), name)
    assert net.theta.tobytes() == P.theta.tobytes()


@pytest.mark.parametrize("call", CALLS)
def test_dropout_without_a_hidden_layer_is_refused_but_not_that_of_the_inputs(call):
    p = problem((6, 3), m=20)
    refused(lambda: CALLS[call](p.network(), dropout=0.5), "dropout", "hidden", "input_dropout", kinds=ValueError)
    CALLS[call](p.network(), input_dropout=0.5)
    CALLS[call](p.network(), dropout=[])


def test_a_state_without_masks_is_refused():
    trainer = fastbp.Trainer(P.network(), dropout=0.5, seed=0)
    good = copy.deepcopy(trainer.state)
    for name, bad in (("dropout_seed", None), ("dropout_t", None), ("dropout_seed", 2**63), ("dropout_t", -1)):
        state = {key: value for key, value in good.items() if key != name or bad is not None}
        if bad is not None:
            state[name] = bad
        refused(lambda state=state: setattr(trainer, "state", state), name)
    assert trainer.state["dropout_seed"] == good["dropout_seed"]


def test_trainer_shows_its_rates():
    assert fastbp.Trainer(P.network(), dropout=[0.1, 0.2], input_dropout=0.05, seed=0).dropout == (0.05, 0.1, 0.2)


def test_oracle_without_factors_is_the_oracle_with_factors_of_1():
    p, ones = problem(SIZES), [np.ones((9, s)) for s in SIZES[:-1]]
    assert isinstance(p.model, Textbook)
    np.testing.assert_array_equal(p.model.cost_and_gradient(p.theta, p.X, p.Y, factors=ones)[1],
                                  p.model.cost_and_gradient(p.theta, p.X, p.Y)[1])
