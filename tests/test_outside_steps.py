"""Steps of a Trainer along gradients from outside, against steps along D of the same loss, and the forward pass with
the masks of a step.
"""

import copy

import numpy as np
import pytest
from helpers import DTYPES, distance, problem, tolerance
from reference import OUTPUTS, mask_factors
from test_outside import exact, given

import fastbp
from fastbp.engine import outside


def slopes_of(net, z, Y):
    """dJ/dz(L) of the network's loss, not divided by m"""
    h = OUTPUTS[net.output][0](z)
    return h - Y if net.loss in ("cross_entropy", "poisson") or net.output == "identity" else None


RULES = ["sgd", "adam", fastbp.SGD(0.05, momentum=0.9, nesterov=True), fastbp.AdamW(0.01), "nadam", "rmsprop",
         "adagrad", fastbp.Adam(fastbp.schedules.Cosine(0.1, 10))]
SETTINGS = [{}, {"weight_decay": 0.1}, {"weight_decay": [0.1, 0.0], "l1": 0.01}, {"clip_norm": 0.1},
            {"clip_value": 0.01}, {"batch_lam": 0.5}, {"weight_decay": 0.1, "mean_weight": 2.0},
            {"dropout": 0.4, "input_dropout": 0.2, "weight_decay": 0.05}]


class Python(fastbp.Adam):
    """A rule in Python"""

    def update(self, theta, D, state):
        super().update(theta, D, state)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("rule", [*RULES, Python(0.01)], ids=str)
def test_a_step_along_a_gradient_is_the_step_along_D(rule, settings, dtype):
    p = problem((5, 9, 4), "tanh", "softmax", m=600, dtype=dtype)
    weighed = {} if "mean_weight" not in settings else {"sample_weight": np.full(600, 2.0)}
    one, other = (fastbp.Trainer(p.network(), copy.deepcopy(rule), seed=3, **settings) for _ in range(2))
    for first, last in ((0, 7), (7, 8), (8, 72), (72, 600)):
        X, Y = p.X[first:last].copy(), p.Y[first:last]
        one.step(X, Y, **{name: w[first:last] for name, w in weighed.items()})
        z = other.forward(X)
        assert other.step(X, gradient=(slopes_of(other.net, z, Y) / len(X)).astype(dtype)) is None
        assert distance(other.net.theta, one.net.theta) < 10 * tolerance(dtype, "training")
    assert other.state["t"] == one.state["t"] == 4


@pytest.mark.parametrize("m", [1, 5, 64, 600])
def test_forward_of_a_trainer_drops_as_the_step_does(m):
    p = problem((5, 9, 4), "tanh", "identity", "squared_error", m=m)
    trainer = fastbp.Trainer(p.network(), fastbp.SGD(1.0), dropout=0.4, input_dropout=0.3, seed=0)
    rates = trainer.dropout
    for t in range(3):
        G, before = given(p, t), trainer.net.theta.copy()
        factors = mask_factors(p.model.sizes, rates, trainer.state["dropout_seed"], t, m, np.longdouble)
        now = copy.copy(p)
        now.theta = before
        z, D, _ = exact(now, G, factors=factors)
        assert distance(trainer.forward(p.X), z) < tolerance(np.float64)
        trainer.step(p.X, gradient=G)
        assert distance(before - trainer.net.theta, D) < 1e-12 * max(1, np.linalg.norm(before) / np.linalg.norm(D))


@pytest.mark.parametrize("m", [3, 600])
def test_with_dropout_a_gradient_belongs_to_the_last_forward_pass(m):
    p = problem((5, 9, 4), "tanh", "identity", "squared_error", m=m)
    trainer, G = fastbp.Trainer(p.network(), "sgd", dropout=0.4, seed=0), given(p)
    X = np.array(p.X)

    def refused():
        before, state = trainer.net.theta.tobytes(), repr(trainer.state)
        with pytest.raises(ValueError, match=r"dropout.*forward"):
            trainer.step(X, gradient=G)
        assert (trainer.net.theta.tobytes(), repr(trainer.state)) == (before, state)

    refused()
    trainer.forward(X.copy())       # another object
    refused()
    trainer.forward(X)
    trainer.step(X, gradient=G)
    refused()                       # used up
    trainer.forward(X)
    trainer.net.theta[3] += 1e-9
    refused()
    trainer.forward(X)
    trainer.step(X, np.zeros((m, 4)))       # a step in between
    refused()
    trainer.forward(X)
    trainer.apply(np.zeros(trainer.net.n_parameters))
    refused()
    trainer.forward(X)
    trainer.optimizer = "adam"      # other masks
    refused()
    trainer.forward(X)
    trainer.step(X, gradient=G.tolist())


@pytest.mark.parametrize("m", [3, 600])
def test_without_dropout_the_forward_pass_is_run_where_it_is_missing(m):
    p = problem((5, 9, 4), "tanh", "softmax", m=m)
    G, X = given(p), np.array(p.X)
    expected = fastbp.Trainer(p.network(), "sgd")
    expected.forward(X)
    expected.step(X, gradient=G)
    for prepare in (lambda trainer: None, lambda trainer: trainer.forward(X.copy()),
                    lambda trainer: trainer.forward(X[:2])):
        trainer = fastbp.Trainer(p.network(), "sgd")
        prepare(trainer)
        trainer.step(X, gradient=G)
        assert (trainer.net.theta == expected.net.theta).all()
    trainer = fastbp.Trainer(p.network(), "sgd")
    trainer.net.theta[:] = 0
    trainer.forward(X)
    trainer.net.theta[:] = p.theta
    trainer.step(X, gradient=G)
    assert (trainer.net.theta == expected.net.theta).all()


@pytest.mark.parametrize("m", [3, 600])
def test_the_pass_that_is_kept_is_that_of_X_as_it_was(m):
    """Writing into X between forward and step changes nothing"""
    p = problem((5, 9, 4), "tanh", "softmax", m=m)
    G, results = given(p), []
    for change in (False, True):
        X, trainer = np.array(p.X), fastbp.Trainer(p.network(), "sgd")
        trainer.forward(X)
        X[:] = 7 if change else X
        trainer.step(X, gradient=G)
        results.append(trainer.net.theta.tobytes())
    assert results[0] == results[1]


def test_a_batch_whose_pass_would_take_too_much_memory_is_run_twice(monkeypatch):
    p = problem((5, 9, 4), "tanh", "softmax", m=600)
    kept, again = (fastbp.Trainer(p.network(), "sgd", dropout=0.3, seed=0) for _ in range(2))
    for trainer in (kept, again):
        monkeypatch.setattr(outside, "KEPT", 2**26 if trainer is kept else 0)
        z = trainer.forward(p.X)
        trainer.step(p.X, gradient=z / 600)
    assert (kept.net.theta == again.net.theta).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", [*RULES, Python(0.01)], ids=str)
def test_apply_takes_the_step_of_a_gradient(rule, dtype):
    p = problem((5, 9, 4), "tanh", "softmax", m=20, dtype=dtype)
    for settings in ({}, {"weight_decay": 0.1, "l1": 0.01}, {"clip_norm": 0.1, "dropout": 0.5}):
        one, other = (fastbp.Trainer(p.network(), copy.deepcopy(rule), seed=0, **settings) for _ in range(2))
        for t in range(3):
            G = given(p, t)
            D = other.net.backward(p.X, G)
            if settings.get("dropout"):
                factors = mask_factors(p.model.sizes, other.dropout, other.state["dropout_seed"], t, 20, np.longdouble)
                now = copy.copy(p)
                now.theta = other.net.theta.copy()
                D = exact(now, G, factors=factors)[1].astype(dtype)
            one.forward(p.X)
            one.step(p.X, gradient=G)
            other.apply([D, D.tolist()][t % 2])
            assert distance(other.net.theta, one.net.theta) < 10 * tolerance(dtype, "training")


def test_the_examples_of_a_vector_may_be_one_row():
    p = problem((5, 9, 4), "tanh", "softmax", m=1)
    results = []
    for X, G in ((p.X, given(p)), (p.X[0], given(p)[0]), (p.X[0].tolist(), given(p)[0].tolist())):
        trainer = fastbp.Trainer(p.network(), "sgd", dropout=0.3, seed=0)
        assert trainer.forward(X).shape == np.shape(G)
        trainer.step(X, gradient=G)
        results.append(trainer.net.theta.tobytes())
    assert results[0] == results[1] == results[2]


BAD_STEPS = {
    "gradient of another height": ("gradient", {"gradient": np.zeros((7, 3))}),
    "gradient with NaN": ("gradient.*NaN", {"gradient": np.full((8, 3), np.nan)}),
    "gradient of words": ("gradient", {"gradient": [["a"] * 3] * 8}),
    "complex gradient": ("gradient", {"gradient": np.zeros((8, 3), complex)}),
    "gradient and Y": ("gradient", {"gradient": np.zeros((8, 3)), "Y": np.zeros((8, 3))}),
    "gradient and weights": ("gradient", {"gradient": np.zeros((8, 3)), "sample_weight": np.ones(8)}),
    "neither": ("Y", {}), "X of another width": ("X", {"X": np.zeros((8, 4)), "gradient": np.zeros((8, 3))}),
    "no rows": ("X", {"X": np.zeros((0, 5)), "gradient": np.zeros((0, 3))}),
    "gradient that overflows": ("gradient", {"X": np.full((8, 5), 1e300), "gradient": np.full((8, 3), 1e300)}),
}


@pytest.mark.parametrize("rule", ["adam", Python()], ids=str)
@pytest.mark.parametrize("what", BAD_STEPS)
def test_bad_gradients_are_named_and_change_nothing(what, rule):
    p = problem((5, 7, 3), "identity", "identity", "squared_error", m=8)
    trainer = fastbp.Trainer(p.network(), rule)
    trainer.step(p.X, p.Y)
    trainer.forward(p.X)
    before = trainer.net.theta.tobytes(), repr(trainer.state)
    pattern, wrong = BAD_STEPS[what]
    with pytest.raises((ValueError, TypeError), match=pattern):
        trainer.step(**{"X": p.X, **wrong})
    assert (trainer.net.theta.tobytes(), repr(trainer.state)) == before
    trainer.forward(p.X)
    trainer.step(p.X, gradient=given(p))


@pytest.mark.parametrize("rule", ["adam", Python()], ids=str)
@pytest.mark.parametrize("D", [np.zeros(65), np.full(66, np.nan), None, "D", np.zeros((66, 1)), np.zeros(66, complex)],
                         ids=str)
def test_a_bad_D_is_named_and_changes_nothing(D, rule):
    p = problem((5, 7, 3), m=8)
    trainer = fastbp.Trainer(p.network(), rule)
    before = trainer.net.theta.tobytes(), repr(trainer.state)
    with pytest.raises((ValueError, TypeError), match=r"\bD\b"):
        trainer.apply(D)
    assert (trainer.net.theta.tobytes(), repr(trainer.state)) == before


def test_apply_does_not_know_m_and_several_ranks_have_no_steps_along_gradients():
    from communicators import Serial

    p = problem(m=8)
    trainer = fastbp.Trainer(p.network(), batch_lam=0.1)
    with pytest.raises(ValueError, match="batch_lam"):
        trainer.apply(np.zeros(trainer.net.n_parameters))
    ranks = fastbp.Trainer(p.network(), comm=Serial())
    for call in (lambda: ranks.forward(p.X), lambda: ranks.step(p.X, gradient=given(p)), lambda: ranks.apply(p.theta)):
        with pytest.raises(ValueError, match="comm"):
            call()


@pytest.mark.parametrize("rule", ["adam", Python()], ids=str)
def test_a_network_or_theta_that_changed_is_named(rule):
    p = problem((5, 7, 3), m=8)
    trainer = fastbp.Trainer(p.network(), rule)
    trainer.step(p.X, gradient=given(p))
    trainer.net.theta[0] = np.nan
    for call in (lambda: trainer.forward(p.X), lambda: trainer.step(p.X, gradient=given(p)),
                 lambda: trainer.apply(p.theta)):
        with pytest.raises(ValueError, match=r"theta contains NaN"):
            call()
    trainer.net.__setstate__(p.network().__getstate__())
    for call in (lambda: trainer.forward(p.X), lambda: trainer.step(p.X, gradient=given(p)),
                 lambda: trainer.apply(p.theta)):
        with pytest.raises(ValueError, match="another state"):
            call()


def test_copies_and_settings_that_change_between_steps():
    p = problem((5, 7, 3), "tanh", "softmax", m=8)
    trainer = fastbp.Trainer(p.network(), fastbp.SGD(0.1), dropout=0.3, seed=0)
    trainer.forward(p.X)
    twin = copy.deepcopy(trainer)
    for each in (trainer, twin):
        each.forward(p.X)
        each.step(p.X, gradient=given(p))
        each.weight_decay, each.optimizer.learning_rate = 0.1, 0.05
        each.forward(p.X)
        each.step(p.X, gradient=given(p))
    assert (trainer.net.theta == twin.net.theta).all()
