"""Update rules against those of others: by hand, scikit-learn, torch; optimizers with two methods alone."""

import numpy as np
import pytest
from helpers import distance, problem

import fastbp
from fastbp import optimizers


def test_adamw_by_hand_decays_what_is_no_bias():
    theta, D = np.array([1.0, 2.0, -3.0]), np.zeros(3)
    rule = fastbp.AdamW(0.1, weight_decay=0.5)
    state = rule.init(theta)
    rule.update(theta, D, state)
    np.testing.assert_allclose(theta, [0.95, 1.9, -2.85], rtol=1e-15)
    state["bias"] = np.array([0])
    rule.update(theta, D, state)
    np.testing.assert_allclose(theta, [0.95, 1.805, -2.7075], rtol=1e-15)


def test_adam_with_epsilon_hat_is_scikit_learns():
    optimizer = pytest.importorskip("sklearn.neural_network._stochastic_optimizers").AdamOptimizer
    rng, ours, theirs = np.random.default_rng(0), np.ones(20), [np.ones(20)]
    rule, other = fastbp.Adam(0.01, epsilon=1e-4, epsilon_hat=True), optimizer(theirs, 0.01, epsilon=1e-4)
    state = rule.init(ours)
    for _ in range(100):
        D = 1e-3 * rng.standard_normal(20)
        other.update_params(theirs, [D])
        rule.update(ours, D, state)
    assert distance(ours, theirs[0]) < 1e-14
    assert distance(ours, np.ones(20)) > 0.01


def _torch_rules(torch):
    """One group for weights, one for biases: torch decays everything in a group"""
    o = torch.optim

    def groups(parameters, decay):
        biases, weights = parameters[1::2], parameters[::2]
        return [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]

    return {
        "sgd": (fastbp.SGD(0.05), lambda q: o.SGD(q, 0.05)),
        "momentum": (fastbp.SGD(0.05, 0.9), lambda q: o.SGD(q, 0.05, 0.9)),
        "nesterov": (fastbp.SGD(0.05, 0.9, True), lambda q: o.SGD(q, 0.05, 0.9, nesterov=True)),
        "adam": (fastbp.Adam(0.01), lambda q: o.Adam(q, 0.01)),
        "adamw": (fastbp.AdamW(0.01, weight_decay=0.1), lambda q: o.AdamW(groups(q, 0.1), 0.01)),
        # at 0.01 its path here is chaotic: rounding grows to 1e-8 within the hundred steps, in torch as in long double
        "nadam": (optimizers.Nadam(), lambda q: o.NAdam(q)),
        "rmsprop": (fastbp.RMSprop(0.01), lambda q: o.RMSprop(q, 0.01, 0.9)),
        "rmsprop, momentum": (fastbp.RMSprop(1e-3, momentum=0.9), lambda q: o.RMSprop(q, 1e-3, 0.9, momentum=0.9)),
        "adagrad": (optimizers.Adagrad(0.05, 0.1), lambda q: o.Adagrad(q, 0.05, initial_accumulator_value=0.1)),
        "rprop": (optimizers.RPROP(), lambda q: o.Rprop(q)),
    }


def _with_torch(torch, rule, clip):
    """theta after a hundred steps of a network with one hidden layer, ours and torch's"""
    p = problem((6, 9, 4), "tanh", "identity", "squared_error", m=30)
    ours, make = _torch_rules(torch)[rule]
    net, layers = p.network(), []
    for Theta in net.Theta:
        linear = torch.nn.Linear(Theta.shape[1] - 1, len(Theta))
        linear.weight.data, linear.bias.data = torch.tensor(Theta[:, 1:].copy()), torch.tensor(Theta[:, 0].copy())
        layers.append(linear)
    parameters = [each for layer in layers for each in (layer.weight, layer.bias)]
    theirs, X, Y = make(parameters), torch.tensor(p.X.copy()), torch.tensor(p.Y.copy())
    going = fastbp.Trainer(net, ours, **clip)
    for _ in range(100):
        going.step(p.X, p.Y)
        theirs.zero_grad()
        (0.5 * ((layers[1](torch.tanh(layers[0](X))) - Y) ** 2).sum() / 30).backward()
        if "clip_value" in clip:
            torch.nn.utils.clip_grad_value_(parameters, clip["clip_value"])
        if "clip_norm" in clip:  # without torch's 1e-6 beside the norm
            norm = torch.sqrt(sum((each.grad**2).sum() for each in parameters))
            for each in parameters:
                each.grad *= min(1.0, clip["clip_norm"] / float(norm))
        theirs.step()
    flat = [torch.cat([layer.bias[:, None], layer.weight], 1).detach().numpy().ravel() for layer in layers]
    return net.theta, np.concatenate(flat)


@pytest.mark.parametrize("clip", [{}, {"clip_value": 0.05}, {"clip_norm": 0.2}], ids=["", "clip_value", "clip_norm"])
@pytest.mark.parametrize(
    "rule",
    ["sgd", "momentum", "nesterov", "adam", "adamw", "nadam", "rmsprop", "rmsprop, momentum", "adagrad", "rprop"],
)
def test_a_hundred_steps_are_torchs(rule, clip):
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # else NAdam keeps its product of mu in float32
    try:
        ours, theirs = _with_torch(torch, rule, clip)
    finally:
        torch.set_default_dtype(before)
    assert distance(ours, theirs) < 1e-12


class Duck:
    """theta := theta - 0.1 D, with only the two methods that an optimizer must have"""

    def init(self, theta):
        return {}

    def update(self, theta, D, state):
        theta -= 0.1 * D


def test_an_optimizer_needs_two_methods_alone_and_takes_no_rates():
    p = problem((3, 2), m=6)
    trainer, twin = fastbp.Trainer(p.network(), Duck()), fastbp.Trainer(p.network(), fastbp.SGD(0.1))
    assert not trainer.compiled
    for each in (trainer, twin):
        each.epoch(p.X, p.Y, batch_size=4)
    np.testing.assert_allclose(trainer.net.theta, twin.net.theta, rtol=1e-12)
    with pytest.raises(ValueError, match="rates need an optimizer with a compiled rule"):
        trainer.steps.take(trainer.net.data(p.X, p.Y), 4, rates=[0.1, 0.2])
    for rates in ([0.1], [0.1, -0.1], [0.1, np.nan]):
        with pytest.raises(ValueError, match="rates must be 2 finite numbers"):
            twin.steps.take(twin.net.data(p.X, p.Y), 4, rates=rates)


class Proxy:
    """An optimizer behind another object"""

    def __init__(self, rule):
        self.rule = rule

    def __getattr__(self, name):
        return getattr(vars(self)["rule"], name)


def test_an_optimizer_behind_another_object_is_a_rule_in_python():
    p = problem((3, 2), m=6)
    trainer, twin = fastbp.Trainer(p.network(), Proxy(fastbp.SGD(0.1))), fastbp.Trainer(p.network(), fastbp.SGD(0.1))
    assert (trainer.compiled, twin.compiled) == (False, True)
    for each in (trainer, twin):
        each.epoch(p.X, p.Y, batch_size=4)
    np.testing.assert_allclose(trainer.net.theta, twin.net.theta, rtol=1e-12)


def test_an_order_must_hold_an_example():
    p = problem((3, 2), m=6)
    with pytest.raises(ValueError, match="order is empty"):
        fastbp.Trainer(p.network(), "sgd").epoch(p.X, p.Y, order=np.zeros(0, int))
