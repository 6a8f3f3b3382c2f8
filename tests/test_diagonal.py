"""input_scale: a diagonal layer in front of the first, trained by every rule and every way to take steps."""

import copy

import numpy as np
import pytest
import reference_rules as oracle
from communicators import all_of
from helpers import DTYPES, distance, problem, tolerance
from reference_diagonal import Model
from test_rules import RULES, in_python

import fastbp
from fastbp.engine import threads

SIZES = (6, 19, 9, 4)
OPTIONS = [{}, {"c": (0.3, 0.0, 0.05)}, {"c": 0.02, "l1": 0.01, "clip_value": 0.01},
           {"batch_lam": 0.1, "clip_norm": 0.1}, {"clip_value": 0.05, "clip_norm": 0.05}]


def trainer(p, rule, optimizer=None, c=0.0, input_scale=3.0, **options):
    return fastbp.Trainer(p.network(), optimizer or RULES[rule][0](), weight_decay=c, input_scale=input_scale,
                          **options)


def textbook(p, rule, input_scale=3.0, each=1.0, **settings):
    """theta and s of the oracle, in long double"""
    model = Model(p.model, p.theta.astype(np.longdouble))
    factors = np.concatenate([np.broadcast_to(each, len(p.theta)), np.full(p.model.sizes[0], input_scale)])
    theta = model.train(p.X, p.Y, RULES[rule][1](), factors, **settings)
    return theta, model.phi[model.n :]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_w_and_s_take_the_textbooks_steps(rule, option, batch_size, dtype):
    p = problem(SIZES, "tanh", m=24, dtype=dtype)
    theta, s = textbook(p, rule, epochs=2, batch_size=batch_size, **option)
    for optimizer in (None, in_python(RULES[rule][0]())):
        going = trainer(p, rule, optimizer, **option)
        for _ in range(2):
            going.epoch(p.X, p.Y, batch_size=batch_size)
        assert (going.steps.compiled is None) == (optimizer is not None)
        assert distance(going.net.theta, theta) < 3 * tolerance(dtype, "training")
        assert distance(going.state["input_scale"], s) < 3 * tolerance(dtype, "training")


def test_its_slopes_are_those_of_central_differences():
    p = problem((5, 7, 3), "tanh", m=12)
    model = Model(p.model, p.theta.astype(float))
    rng = np.random.default_rng(0)
    model.phi[model.n :] = rng.uniform(0.5, 2, 5)
    _, D = model.cost_and_gradient(model.phi, p.X, p.Y, c=0.1)
    J = lambda phi: p.network().cost(p.X, p.Y, theta=model.theta(phi), weight_decay=0.1)   # noqa: E731
    h = 1e-5
    numeric = [(J(model.phi + e) - J(model.phi - e)) / (2 * h) for e in h * np.eye(len(model.phi))]
    assert distance(D, numeric) < 1e-9
    going = trainer(p, "sgd", fastbp.SGD(1e-3), c=0.1, input_scale=1.0)
    W = going.net.Theta[0] / np.r_[1, model.phi[model.n :]]
    going.state = {**going.state, "input_weights": W.ravel(), "input_scale": model.phi[model.n :].copy()}
    phi = np.concatenate([W.ravel(), p.theta[W.size :], model.phi[model.n :]])
    _, D = model.cost_and_gradient(phi, p.X, p.Y, c=0.1)
    assert going.step(p.X, p.Y) == pytest.approx(p.network().cost(p.X, p.Y, weight_decay=0.1), rel=1e-14)
    after = np.concatenate([going.state["input_weights"], going.net.theta[W.size :], going.state["input_scale"]])
    assert distance((phi - after) / 1e-3, D) < 1e-10


def test_theta_is_the_product_after_every_step_and_j_is_that_of_theta():
    p = problem(SIZES, m=20, dtype=np.float32)
    going = trainer(p, "adamw", c=0.1)
    assert going.net.theta.tobytes() == p.theta.tobytes(), "s begins at 1"
    for i in range(20):
        before = going.net.copy()
        J = going.step(p.X[i : i + 1], p.Y[i : i + 1])
        assert pytest.approx(before.cost(p.X[i : i + 1], p.Y[i : i + 1], weight_decay=0.1), rel=1e-6) == J
        W = going.state["input_weights"].reshape(19, 7)
        assert (going.net.Theta[0] == W * np.r_[np.float32(1), going.state["input_scale"]]).all()
    assert (going.state["input_scale"] != 1).all()


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_quick_steps_are_those_of_epochs(rule, option):
    p = problem(SIZES, m=30)
    one, two, three = (trainer(p, rule, **option) for _ in range(3))
    for _ in range(4):
        assert one.step(p.X, p.Y) == pytest.approx(two.epoch(p.X, p.Y, batch_size=None), rel=1e-14)
        np.testing.assert_array_equal(one.net.theta, two.net.theta)
        if "batch_lam" not in option:
            three.apply(three.net.cost_and_gradient(p.X, p.Y)[1])
            assert distance(three.net.theta, one.net.theta) < tolerance(float, "training")
    z = one.forward(p.X[:5])
    if "batch_lam" not in option:
        two.apply(two.net.backward(p.X[:5], np.ones_like(z)))
        one.step(p.X[:5], gradient=np.ones_like(z))
        assert distance(one.net.theta, two.net.theta) < tolerance(float, "training")


@pytest.mark.parametrize("rule", ["momentum", "adamw", "nadam"])
def test_large_batches_take_the_same_steps(rule):
    p = problem((4, 3, 3, 2), m=4_100)
    going = trainer(p, rule)
    going.epoch(p.X, p.Y, batch_size=4_096)
    assert distance(going.net.theta, textbook(p, rule, epochs=1, batch_size=4_096)[0]) < tolerance(float, "training")


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("rule", ["momentum", "adamw", "rprop"])
def test_any_number_of_members_gives_the_same_bits(rule, option):
    p, bits = problem((20, 70, 33, 10), m=600, dtype=np.float32), set()
    for n in (1, 2, 3):
        going = trainer(p, rule, **option)
        with threads.Crew(n, apart=True) as going.steps.crew:
            J = [going.steps.mean(going.net.data(p.X, p.Y), 200) for _ in range(3)]
        kept = [np.asarray(value).tobytes() for value in going.state.values()]
        bits.add((going.net.theta.tobytes(), *J, *kept))
    assert len(bits) == 1


@pytest.mark.parametrize("optimizer", [fastbp.AdamW(0.01), in_python(fastbp.AdamW(0.01))], ids=str)
@pytest.mark.parametrize("sync_every", [None, 3])
def test_ranks_train_it_together(optimizer, sync_every):
    p = problem((20, 70, 33, 10), m=600)

    def rank(comm):
        own = trainer(p, "adamw", copy.deepcopy(optimizer), comm=comm, sync_every=sync_every)
        first = comm.Get_rank() * 300
        for _ in range(2):
            own.epoch(p.X[first : first + 300], p.Y[first : first + 300], batch_size=60)
        W, s = own.state["input_weights"].reshape(70, 21), own.state["input_scale"]
        assert (own.net.Theta[0] == W * np.r_[1, s]).all()
        return own.net.theta.copy(), s.copy()

    (one, s), (two, t) = all_of(2, rank)
    assert one.tobytes() == two.tobytes()
    assert s.tobytes() == t.tobytes()
    order = np.concatenate([np.r_[i : i + 30, 300 + i : 330 + i] for i in range(0, 300, 30)])
    alone = trainer(p, "adamw", copy.deepcopy(optimizer))
    for _ in range(2):
        alone.epoch(p.X, p.Y, batch_size=60, order=order)
    assert distance(one, alone.net.theta) < (1e-10 if sync_every is None else 0.2)


def test_ranks_must_agree_on_it():
    p = problem(SIZES)

    def rank(comm):
        with pytest.raises(ValueError, match="input_scale"):
            trainer(p, "adamw", input_scale=1.0 + comm.Get_rank(), comm=comm)

    all_of(2, rank)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_frozen_parameters_keep_their_bits_and_the_rest_moves_as_it_should(rule, option):
    p = problem(SIZES, m=24)
    free = np.random.default_rng(1).random(len(p.theta)) < 0.6
    model = Model(p.model, p.theta.astype(np.longdouble), free)
    factors = np.concatenate([np.ones(len(p.theta)), np.full(6, 3.0)])
    expected = model.train(p.X, p.Y, RULES[rule][1](), factors, epochs=1, batch_size=4, **option)
    for optimizer in (None, in_python(RULES[rule][0]())):
        going = trainer(p, rule, optimizer, free=free, **option)
        for i in range(0, 24, 4):
            going.step(p.X[i : i + 4], p.Y[i : i + 4])
        assert going.net.theta[~free].tobytes() == p.theta[~free].tobytes()
        assert (going.net.theta[free] != p.theta[free]).any()
        assert distance(going.net.theta, expected) < tolerance(float, "training")


def test_factors_and_weights_of_examples_go_with_it():
    p = problem(SIZES, m=24)
    each = np.concatenate([np.tile([2.0, *[0.5] * 6], 19), np.ones(20 * 9), np.tile([0.25, *[3.0] * 9], 4)])
    theta, _ = textbook(p, "adamw", each=each, epochs=2, batch_size=5, w=p.weights, c=0.01)
    going = trainer(p, "adamw", c=0.01, learning_rate_factors=[(0.5, 2), 1, (3, 0.25)])
    for _ in range(2):
        going.epoch(p.X, p.Y, batch_size=5, sample_weight=p.weights)
    assert distance(going.net.theta, theta) < tolerance(float, "training")


def test_dropout_draws_the_masks_that_it_draws_without():
    p, costs = problem(SIZES, m=24), set()
    for input_scale in (None, 2.0):
        going = trainer(p, "sgd", input_scale=input_scale, dropout=0.3, input_dropout=0.2, seed=3)
        costs.add(going.step(p.X, p.Y))
    assert len(costs) == 1


def test_a_schedule_sets_the_rate_of_s_too():
    p = problem(SIZES, m=24)
    rates = lambda t: 0.1 / (1 + t)     # noqa: E731
    model = Model(p.model, p.theta.astype(np.longdouble))
    factors = np.concatenate([np.ones(len(p.theta)), np.full(6, 3.0)])
    expected = model.train(p.X, p.Y, oracle.SGD(rates), factors, epochs=2, batch_size=5)
    going = trainer(p, "sgd", fastbp.SGD(rates))
    for i in (*range(0, 24, 5),) * 2:
        going.step(p.X[i : i + 5], p.Y[i : i + 5])
    assert distance(going.net.theta, expected) < tolerance(float, "training")
