"""Factors of the learning rate for groups of parameters: every rule, every way to take steps, files and ranks."""

import copy
import pickle

import numpy as np
import pytest
import reference_rules as oracle
from communicators import all_of
from helpers import DTYPES, distance, problem, tolerance
from test_rules import RULES, in_python

import fastbp
from fastbp.engine import factors, threads

SIZES = (6, 19, 9, 4)
FACTORS = {
    "one dict": {"weights": 0.5, "biases": 3.0},
    "weights alone": {"weights": 1.25},
    "by Theta": [2.0, 1.0, 0.25],
    "pairs": [(0.5, 1.0), (1.0, 0.0), {"biases": 4.0}],
}
OPTIONS = [{}, {"c": (0.3, 0.0, 0.05)}, {"c": 0.02, "l1": 0.01, "clip_value": 0.05, "clip_norm": 0.2}]


def each_of(name):
    """The factors by hand, one for each parameter of SIZES"""
    pairs = {"one dict": [(0.5, 3)] * 3, "weights alone": [(1.25, 1)] * 3, "by Theta": [(2, 2), (1, 1), (0.25, 0.25)],
             "pairs": [(0.5, 1), (1, 0), (1, 4)]}[name]
    layers = zip(SIZES, SIZES[1:], pairs, strict=False)
    return np.concatenate([np.tile([b, *[w] * k], n) for k, n, (w, b) in layers])


class Scaled:
    """A rule of the oracle whose step is multiplied by the factors"""

    def __init__(self, rule, factors):
        self.rule, self.factors = rule, factors

    def step(self, theta, D, weights):
        return theta + self.factors * (self.rule.step(theta, D, weights) - theta)


def trainer(p, rule, name, optimizer=None, c=0.0, **options):
    given = FACTORS[name] if isinstance(name, str) else name
    return fastbp.Trainer(p.network(), optimizer or RULES[rule][0](), weight_decay=c, learning_rate_factors=given,
                          **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_the_step_of_each_parameter_is_the_textbooks_times_its_factor(rule, option, batch_size, dtype):
    p = problem(SIZES, "tanh", m=24, dtype=dtype)
    for name in FACTORS:
        going, python = trainer(p, rule, name, **option), trainer(p, rule, name, in_python(RULES[rule][0]()), **option)
        textbook = Scaled(RULES[rule][1](), each_of(name))
        J = [going.epoch(p.X, p.Y, batch_size=batch_size) for _ in range(2)]
        theta, expected = oracle.train(p.model, p.theta.astype(np.longdouble), p.X, p.Y, textbook, epochs=2,
                                       batch_size=batch_size, **option)
        assert distance(going.net.theta, theta) < tolerance(dtype, "training"), name
        np.testing.assert_allclose(J, expected, rtol=tolerance(dtype, "training"))
        for _ in range(2):
            python.epoch(p.X, p.Y, batch_size=batch_size)
        assert distance(python.net.theta, theta) < 2 * tolerance(dtype, "training"), name


@pytest.mark.parametrize("rule", RULES)
def test_factors_of_1_give_the_bits_of_none(rule):
    p = problem(SIZES, m=40, dtype=np.float32)
    for optimizer in (RULES[rule][0], lambda: in_python(RULES[rule][0]())):
        bits = set()
        for given in (None, {}, {"weights": 1}, [1, (1, 1.0), {"biases": 1}], np.ones((3, 2))):
            going = trainer(p, rule, given, optimizer(), c=0.01)
            assert going.learning_rate_factors is None
            J = going.step(p.X[:9], p.Y[:9]), going.epoch(p.X, p.Y, batch_size=1), going.epoch(p.X, p.Y, batch_size=8)
            bits.add((J, going.net.theta.tobytes()))
        assert len(bits) == 1


@pytest.mark.parametrize("rule", RULES)
def test_a_parameter_whose_factor_is_1_moves_bit_by_bit_as_without(rule):
    """The second layer's D in the first step does not depend on the first layer's factors"""
    p = problem(SIZES, m=40, dtype=np.float32)
    for optimizer in (RULES[rule][0], lambda: in_python(RULES[rule][0]())):
        with_, without = trainer(p, rule, [0.5, 1, 1], optimizer(), 0.01), trainer(p, rule, None, optimizer(), 0.01)
        assert with_.step(p.X, p.Y) == without.step(p.X, p.Y)
        a, b = with_.net.Theta, without.net.Theta
        assert [(x == y).all() for x, y in zip(a, b, strict=True)] == [False, True, True]
        assert all((with_.state[slot] == without.state[slot]).all() for slot in with_.optimizer.slots)


@pytest.mark.parametrize("rule", RULES)
def test_quick_steps_epochs_large_batches_and_steps_along_D_are_one_rule(rule):
    p = problem((4, 3, 3, 2), "tanh", m=4_100)
    given, few = {"weights": 0.5, "biases": 2.0}, (p.X[:30], p.Y[:30])
    one, two, three = (trainer(p, rule, given, c=0.01) for _ in range(3))
    for _ in range(3):
        assert one.step(*few) == pytest.approx(two.epoch(*few, batch_size=None), rel=1e-14)
        _, D = three.net.cost_and_gradient(*few)
        three.apply(D)
        np.testing.assert_array_equal(one.net.theta, two.net.theta)
        assert distance(three.net.theta, one.net.theta) < tolerance(float, "training")
    by_hand = np.concatenate([np.tile([2, *[0.5] * k], n) for k, n in ((4, 3), (3, 3), (3, 2))])
    textbook = Scaled(RULES[rule][1](), by_hand)
    large = trainer(p, rule, given)
    large.epoch(p.X, p.Y, batch_size=4_096)
    theta, _ = oracle.train(p.model, p.theta.astype(np.longdouble), p.X, p.Y, textbook, epochs=1, batch_size=4_096)
    assert distance(large.net.theta, theta) < tolerance(float, "training")


@pytest.mark.parametrize("rule", ["momentum", "adamw", "nadam"])
def test_any_number_of_members_and_ranks_gives_the_same_training(rule):
    p, bits = problem((20, 70, 33, 10), m=600, dtype=np.float32), set()
    given = [{"weights": 0.5, "biases": 3}, 1, (2, 0.5)]
    for n in (1, 2, 3):
        going = trainer(p, rule, given, clip_norm=0.1)
        with threads.Crew(n, apart=True) as going.steps.crew:
            J = [going.steps.mean(going.net.data(p.X, p.Y), 200) for _ in range(3)]
        bits.add((going.net.theta.tobytes(), *J))
    assert len(bits) == 1

    def rank(comm):
        own = trainer(p, rule, given, comm=comm)
        first = comm.Get_rank() * 300
        own.epoch(p.X[first : first + 300], p.Y[first : first + 300], batch_size=60)
        return own.net.theta.copy()

    order = np.concatenate([np.r_[i : i + 30, 300 + i : 330 + i] for i in range(0, 300, 30)])
    alone = trainer(p, rule, given)
    alone.epoch(p.X, p.Y, batch_size=60, order=order)
    one, two = all_of(2, rank)
    assert one.tobytes() == two.tobytes()
    assert distance(one, alone.net.theta) < tolerance(np.float32, "training")


def test_ranks_must_have_the_same_factors():
    p = problem(SIZES)

    def rank(comm):
        with pytest.raises(ValueError, match="learning_rate_factors"):
            trainer(p, "adamw", [1, 1, 1 + comm.Get_rank()], comm=comm)

    all_of(2, rank)


def test_frozen_parameters_keep_their_bits_and_a_factor_of_0_moves_nothing():
    p = problem(SIZES, m=30)
    for optimizer in (fastbp.AdamW(0.01), in_python(fastbp.AdamW(0.01))):
        going = trainer(p, "adamw", [2, 0.5, 3], copy.deepcopy(optimizer), free=[1, 3])
        still = trainer(p, "adamw", [0, {"biases": 0}, 1], copy.deepcopy(optimizer))
        for each in (going, still):
            each.epoch(p.X, p.Y, batch_size=4)
        start = p.network().Theta
        assert [(a == b).all() for a, b in zip(going.net.Theta, start, strict=True)] == [False, True, False]
        assert (still.net.Theta[0] == start[0]).all()
        assert (still.net.Theta[1][:, 0] == start[1][:, 0]).all()
        assert (still.net.Theta[1][:, 1:] != start[1][:, 1:]).all()


class Own:
    """The caller's own rule, whose state is not a dict"""

    def init(self, theta):
        return [0]

    def update(self, theta, D, state):
        state[0] += 1
        theta -= 0.1 * D


def test_a_rule_of_the_callers_own_is_scaled_too():
    p = problem(SIZES, m=12)
    going = trainer(p, "sgd", "pairs", Own(), c=0.1)
    theta, _ = oracle.train(p.model, p.theta.astype(np.longdouble), p.X, p.Y, Scaled(oracle.SGD(0.1), each_of("pairs")),
                            epochs=3, batch_size=5, c=0.1)
    for _ in range(3):
        going.epoch(p.X, p.Y, batch_size=5)
    assert distance(going.net.theta, theta) < tolerance(float, "training")


def test_dropout_draws_the_masks_that_it_draws_without():
    p, bits = problem(SIZES, m=24), set()
    for given in (None, [1, 1, 0.5]):
        going = trainer(p, "sgd", given, dropout=0.3, seed=3)
        bits.add(going.step(p.X, p.Y))
        bits.add(going.net.Theta[0].tobytes())
    assert len(bits) == 2


@pytest.mark.parametrize("rule", RULES)
def test_pickles_copies_and_files_resume_with_the_same_bits(rule, tmp_path):
    p = problem(SIZES, m=24)
    going = trainer(p, rule, "pairs", c=0.01)
    going.epoch(p.X, p.Y, batch_size=5)
    going.save(tmp_path / "t")
    restored = trainer(p, rule, "pairs")
    restored.restore(tmp_path / "t")
    twins = [pickle.loads(pickle.dumps(going)), copy.deepcopy(going), restored]
    J = going.epoch(p.X, p.Y, batch_size=5)
    for twin in twins:
        assert twin.learning_rate_factors == [[0.5, 1], [1, 0], [1, 4]]
        assert twin.epoch(p.X, p.Y, batch_size=5) == J
        assert twin.net.theta.tobytes() == going.net.theta.tobytes()
    for given in (None, "by Theta"):
        other = trainer(p, rule, given)
        with pytest.raises(ValueError, match="learning_rate_factors"):
            other.restore(tmp_path / "t")
        other.save(tmp_path / "other")
        with pytest.raises(ValueError, match="learning_rate_factors"):
            restored.restore(tmp_path / "other")
        assert other.net.theta.tobytes() == p.theta.tobytes()


def test_a_training_resumes_with_the_same_factors_alone(tmp_path):
    p, path = problem(SIZES, m=60, dtype=np.float32), tmp_path / "t"

    def train(net, epochs, checkpoint=None, given=FACTORS["pairs"], **options):
        return fastbp.train(net, p.X, p.Y, optimizer=fastbp.AdamW(0.01), epochs=epochs, batch_size=8, seed=0,
                            learning_rate_factors=given, checkpoint=checkpoint, **options)

    whole, half = p.network(), p.network()
    train(whole, 4)
    train(half, 2, path)
    for other in (None, [1, 1, 2]):
        with pytest.raises(ValueError, match="learning_rate_factors"):
            train(p.network(), 4, path, other, resume=True)
    net = p.network()
    train(net, 4, path, resume=True)
    assert net.theta.tobytes() == whole.theta.tobytes()


def test_a_rule_that_leaves_compiled_code_goes_on_in_python():
    """The state of a rule does not contain the factors, so its Python form can resume from it"""
    for rule in ("momentum", "nesterov", "rmsprop, momentum", "adamw"):
        p = problem(SIZES, m=24)
        one, two = trainer(p, rule, "pairs"), trainer(p, rule, "pairs")
        for each in (one, two):
            each.epoch(p.X, p.Y, batch_size=5)
        two.optimizer.update = two.optimizer.update     # an attribute of its own: no compiled twin
        for each in (one, two):
            each.epoch(p.X, p.Y, batch_size=5)
        assert two.steps.compiled is None
        assert distance(two.net.theta, one.net.theta) < tolerance(float, "training")


BAD = {
    "a number": 2.0, "text": "weights", "another group": {"weight": 1}, "negative": {"weights": -1},
    "infinite": [1, 1, np.inf], "nan": {"biases": np.nan}, "too few": [1, 2], "too many": [1] * 4,
    "a flag": [True, 1, 1],
    "three": [(1, 2, 3), 1, 1], "none": [None, 1, 1], "a set": {1.0, 2.0}, "deep": np.ones((3, 3)),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_factors_are_refused_by_name_before_anything_has_changed(what):
    p = problem(SIZES)
    net = p.network()
    for call in (lambda: fastbp.Trainer(net, learning_rate_factors=BAD[what]),
                 lambda: fastbp.train(net, p.X, p.Y, epochs=1, learning_rate_factors=BAD[what])):
        with pytest.raises((ValueError, TypeError), match=r"\blearning_rate_factors\b"):
            call()
    assert net.theta.tobytes() == p.theta.tobytes()


def test_each_factor_lies_where_its_parameter_lies():
    plan = problem(SIZES).network().plan
    for name, given in FACTORS.items():
        own = factors.of(given, plan)
        assert (factors.each(own, plan, np.dtype(np.float32)) == each_of(name)).all()


def test_as_torch_with_a_group_for_each():
    torch = pytest.importorskip("torch")
    p = problem((5, 8, 3), "tanh", "softmax", m=40)
    net = p.network()
    layers = [torch.nn.Linear(5, 8).double(), torch.nn.Linear(8, 3).double()]
    for layer, Theta in zip(layers, net.Theta, strict=True):
        layer.weight.data, layer.bias.data = torch.tensor(Theta[:, 1:].copy()), torch.tensor(Theta[:, 0].copy())
    groups = [{"params": [getattr(layer, name)], "lr": 0.01 * f, "weight_decay": decay}
              for layer, pair in zip(layers, ((0.5, 2.0), (3.0, 1.0)), strict=True)
              for name, f, decay in zip(("weight", "bias"), pair, (0.1, 0.0), strict=True)]
    theirs = torch.optim.AdamW(groups)
    model = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1])
    ours = fastbp.Trainer(net, fastbp.AdamW(0.01, weight_decay=0.1), learning_rate_factors=[(0.5, 2), (3, 1)])
    X, Y = torch.tensor(p.X.copy()), torch.tensor(p.Y.copy())
    for _ in range(50):
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(model(X), Y).backward()
        theirs.step()
        ours.step(p.X, p.Y)
    expected = [part.detach().numpy() for layer in layers for part in (layer.bias[:, None], layer.weight)]
    expected = np.concatenate([np.hstack(expected[i : i + 2]).ravel() for i in (0, 2)])
    assert distance(net.theta, expected) < 1e-9
