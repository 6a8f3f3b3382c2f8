"""SGD and Adam against the textbook's loops, and an optimizer written by a user."""

import numpy as np
import pytest
import reference
from helpers import DTYPES, distance, problem, tolerance

import fastbp

RULES = {
    "sgd": ({"learning_rate": 0.3}, lambda: reference.SGD(0.3)),
    "momentum": ({"learning_rate": 0.1, "momentum": 0.9}, lambda: reference.SGD(0.1, 0.9)),
    "nesterov": (
        {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
        lambda: reference.SGD(0.1, 0.8, nesterov=True),
    ),
    "adam": (
        {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-6},
        lambda: reference.Adam(0.01, 0.8, 0.95, 1e-6),
    ),
}


def optimizer(name):
    return (fastbp.Adam if name == "adam" else fastbp.SGD)(**RULES[name][0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [None, 1, 7])
@pytest.mark.parametrize("rule", RULES)
def test_optimizer_takes_the_textbooks_steps(rule, batch_size, dtype):
    p = problem((6, 9, 4), "tanh", "softmax", "cross_entropy", m=30, dtype=dtype)
    net = p.network()
    history = fastbp.train(
        net, p.X, p.Y, optimizer=optimizer(rule), epochs=4, batch_size=batch_size, shuffle=False, weight_decay=0.01
    )
    theta, J = reference.train(
        p.model, p.theta.astype(np.longdouble), p.X, p.Y, RULES[rule][1](), epochs=4, batch_size=batch_size, c=0.01
    )
    assert distance(net.theta, theta) < tolerance(dtype, "training")
    np.testing.assert_allclose(history.J, J, rtol=tolerance(dtype, "training"))


def test_adam_has_the_papers_settings_by_default():
    p = problem(m=20)
    net = p.network()
    fastbp.train(net, p.X, p.Y, optimizer=fastbp.Adam(), epochs=5, batch_size=4, shuffle=False)
    theta, _ = reference.train(
        p.model, p.theta, p.X, p.Y, reference.Adam(1e-3, 0.9, 0.999, 1e-8), epochs=5, batch_size=4
    )
    assert distance(net.theta, theta) < 1e-12


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("rule", RULES)
def test_one_optimizer_serves_many_trainings(rule, batch_size):
    """An optimizer holds settings, no state: a second run is equal to the first"""
    p = problem(m=20)
    shared, results = optimizer(rule), []
    for _ in range(2):
        net = p.network()
        fastbp.train(net, p.X, p.Y, optimizer=shared, epochs=3, batch_size=batch_size, seed=1)
        results.append(net.theta.tobytes())
    fresh = p.network()
    fastbp.train(fresh, p.X, p.Y, optimizer=optimizer(rule), epochs=3, batch_size=batch_size, seed=1)
    assert results == 2 * [fresh.theta.tobytes()]


@pytest.mark.parametrize("rule", RULES)
def test_optimizer_shows_its_settings(rule):
    for name, value in RULES[rule][0].items():
        assert getattr(optimizer(rule), name) == value
        assert f"{name}={value}" in repr(optimizer(rule))


@pytest.mark.parametrize("rule", RULES)
def test_python_form_of_the_rule_is_the_compiled_one(rule):
    """init and update, called by hand, give the same steps as the compiled epoch"""
    p = problem((6, 9, 4), m=21)
    by_hand, compiled, rows = p.network(), p.network(), [slice(0, 8), slice(8, 16), slice(16, 21)]
    step, theta = optimizer(rule), by_hand.theta
    state = step.init(theta)
    for _ in range(3):
        for batch in rows:
            step.update(theta, by_hand.cost_and_gradient(p.X[batch], p.Y[batch])[1], state)
    fastbp.train(compiled, p.X, p.Y, optimizer=optimizer(rule), epochs=3, batch_size=8, shuffle=False)
    assert distance(compiled.theta, by_hand.theta) < 1e-13


# ---------------------------------------------------------------- optimizers written in Python


class Momentum:
    """v := mu v - alpha D;  theta := theta + v, by a user who only knows the interface"""

    def __init__(self):
        self.calls = []

    def init(self, theta):
        return {"v": np.zeros_like(theta)}

    def update(self, theta, D, state):
        self.calls.append((theta, D.shape, D.dtype, D.copy()))
        state["v"] *= 0.9
        state["v"] -= 0.1 * D
        theta += state["v"]
        D[:] = np.nan  # D is the optimizer's to use up


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [None, 1, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_optimizer_of_a_user_trains_as_the_textbook(weighted, batch_size, dtype):
    p, rule = problem((6, 9, 4), m=30, dtype=dtype), Momentum()
    net, w = p.network(), p.weights if weighted else None
    history = fastbp.train(
        net,
        p.X,
        p.Y,
        optimizer=rule,
        epochs=3,
        batch_size=batch_size,
        shuffle=False,
        weight_decay=0.01,
        sample_weight=w,
    )
    start = p.theta.astype(np.longdouble)
    theta, J = reference.train(
        p.model, start, p.X, p.Y, reference.SGD(0.1, 0.9), epochs=3, batch_size=batch_size, c=0.01, w=w,
        mean_weight=None if w is None else w.mean(dtype=np.longdouble),
    )
    assert distance(net.theta, theta) < tolerance(dtype, "training")
    np.testing.assert_allclose(history.J, J, rtol=tolerance(dtype, "training"))
    assert len(rule.calls) == 3 * -(-30 // (batch_size or 30))
    for given, shape, kind, _ in rule.calls:
        assert np.shares_memory(given, net.theta)
        assert shape == given.shape == net.theta.shape
        assert kind == given.dtype == net.dtype
    rows = slice(0, batch_size)
    first = p.exact(c=0.01, w=w) if batch_size is None else p.model.cost_and_gradient(
        start, p.X[rows], p.Y[rows], np.longdouble(0.01), None if w is None else w[rows],
        mean_weight=None if w is None else w.mean(dtype=np.longdouble),
    )  # fmt: skip
    assert distance(rule.calls[0][3], first[1]) < tolerance(dtype)


@pytest.mark.parametrize("rule", [fastbp.SGD, fastbp.Adam])
def test_update_of_a_subclass_is_the_one_that_is_called(rule):
    """An overridden update, usually for clipping: the compiled rule must not run in its place"""
    calls = []

    class Clipped(rule):
        def update(self, theta, D, state):
            calls.append(1)
            np.clip(D, -1e-3, 1e-3, out=D)
            super().update(theta, D, state)

    p = problem()
    net = p.network()
    fastbp.train(net, p.X, p.Y, optimizer=Clipped(0.1), epochs=2, batch_size=3, shuffle=False)
    assert len(calls) == 6


def test_an_error_in_a_users_optimizer_comes_through_after_the_last_finished_step():
    class Failing(fastbp.optimizers.Optimizer):
        def update(self, theta, D, state):
            state["t"] += 1
            if state["t"] == 3:
                raise RuntimeError("mine")
            theta -= 0.2 * D

    p = problem(m=20)
    net = p.network()
    with pytest.raises(RuntimeError, match="mine"):
        fastbp.train(net, p.X, p.Y, optimizer=Failing(), epochs=2, batch_size=5, shuffle=False)
    theta, _ = reference.train(p.model, p.theta, p.X[:10], p.Y[:10], reference.SGD(0.2), epochs=1, batch_size=5)
    assert distance(net.theta, theta) < 1e-13


def test_a_rule_of_ones_own_says_what_it_lacks():
    class Half(fastbp.optimizers.Optimizer):
        learning_rate = 0.5

    with pytest.raises(NotImplementedError, match=r"Half must define update\(theta, D, state\)"):
        Half().update(np.ones(2), np.ones(2), {"t": 0})
    with pytest.raises(NotImplementedError, match="Half names a compiled rule but not its settings"):
        Half().settings()
    assert Half().rate({"t": 3}) == 0.5
    Half.learning_rate = staticmethod(lambda t: 1 / (t + 1))
    assert Half().rate({"t": 3}) == 0.25


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
        fastbp.SGD(0.1, nesterov=True)
