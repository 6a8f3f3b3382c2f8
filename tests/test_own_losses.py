"""The caller's own losses in Python, against the built-in ones and against the textbook in long double."""

import numpy as np
import pytest
from helpers import DTYPES, distance, frozen, problem, tolerance
from own_losses import FOREIGN, OUTPUTS_OF, built_in, targets
from reference import PAIRS, Textbook, with_bias

import fastbp

ULP = {np.dtype(dtype): float(np.finfo(dtype).eps) for dtype in DTYPES}


def with_own(net, **more):
    """The network with its loss as a function"""
    f = built_in(net.output, net.loss, next(iter(net.loss_parameters.values()), None))
    return fastbp.Network(net.layer_sizes, activation=list(net.activation), output=net.output, loss=f,
                          dtype=net.dtype, init=net.theta, **more)


@pytest.mark.parametrize("m", [1, 40, 700])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_built_in_pairs_as_functions_give_J_and_D_within_4_ulp(pair, dtype, weights, m):
    p = problem((5, 7, 3), "tanh", *pair, m=m, dtype=dtype)
    net, w = p.network(), p.weights if weights else None
    own = with_own(net)
    J, D = net.cost_and_gradient(p.X, p.Y, sample_weight=w, weight_decay=0.1)
    own_J, own_D = own.cost_and_gradient(p.X, p.Y, sample_weight=w, weight_decay=0.1)
    assert abs(J - own_J) <= 4 * ULP[p.theta.dtype] * abs(J)
    assert distance(own_D, D) <= 4 * ULP[p.theta.dtype]
    assert own.cost(p.X, p.Y, sample_weight=w, weight_decay=0.1) == own_J
    mine, theirs = own.evaluate(p.X, p.Y, sample_weight=w), net.evaluate(p.X, p.Y, sample_weight=w)
    assert mine.cost == pytest.approx(theirs.cost, rel=4 * ULP[p.theta.dtype])
    assert mine.accuracy == theirs.accuracy
    for mine, theirs in zip(own.deltas(p.X, p.Y), net.deltas(p.X, p.Y), strict=True):
        assert distance(mine, theirs) < 10 * tolerance(dtype, "bits")
    cost, Delta = own.accumulate(p.X, p.Y, sample_weight=w)
    assert cost / (m if w is None else w.sum()) == pytest.approx(own.cost(p.X, p.Y, sample_weight=w))
    assert distance(Delta[0], net.accumulate(p.X, p.Y, sample_weight=w)[1][0]) < 10 * tolerance(dtype, "bits")


def exact(net, f, X, Y, w):
    """J and D in long double"""
    model = Textbook(net.layer_sizes, list(net.activation), "identity", "squared_error", None)
    zs, activations = model.forward(net.theta.astype(np.longdouble), X.astype(np.longdouble))
    costs, delta = f(zs[-1], Y, w)
    M = len(X) if w is None else w.sum(dtype=np.longdouble)
    D, Theta = [], [T.astype(np.longdouble) for T in net.Theta]
    for l in range(len(Theta) - 1, -1, -1):
        D.insert(0, delta.T @ with_bias(activations[l]) / M)
        if l:
            delta = (delta @ Theta[l])[:, 1:] * (1 - activations[l] ** 2)
    return costs.sum() / M, np.concatenate([d.ravel() for d in D])


def foreign(name, dtype, m=60):
    rng = np.random.default_rng(3)
    net = fastbp.Network([4, 6, OUTPUTS_OF[name]], activation="tanh", loss=FOREIGN[name], dtype=dtype, seed=1)
    X = rng.standard_normal((m, 4)).astype(dtype)
    return net, frozen(X), frozen(targets(name, rng, m)), frozen(rng.uniform(0.5, 2, m).astype(dtype))


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_losses_are_those_of_the_textbook(name, dtype, weights):
    net, X, Y, w = foreign(name, dtype)
    w = w if weights else None
    J, D = net.cost_and_gradient(X, Y, sample_weight=w)
    exact_J, exact_D = exact(net, FOREIGN[name], X, Y, w)
    assert pytest.approx(float(exact_J), rel=10 * tolerance(dtype)) == J
    assert distance(D, exact_D) < 10 * tolerance(dtype)
    if dtype == np.float64:
        assert fastbp.check_gradient(net, X, Y, sample_weight=w, weight_decay=0.1).relative_difference < 1e-8
    before = net.cost(X, Y, sample_weight=w)
    fastbp.train(net, X, Y, epochs=30, batch_size=20, sample_weight=w, seed=0)
    assert net.cost(X, Y, sample_weight=w) < before


SETTINGS = [
    {}, {"batch_size": 1, "optimizer": fastbp.SGD(0.01)}, {"batch_size": 600, "epochs": 10}, {"batch_size": None},
    {"weight_decay": 0.01, "l1": 0.001, "clip_norm": 0.5}, {"dropout": 0.3, "input_dropout": 0.2},
    {"validation_split": 0.3}, {"optimizer": "sgd", "shuffle": False}, {"window": 100}, {"free": [2]},
    {"optimizer": fastbp.Adam(fastbp.schedules.Cosine(0.1, 100))}, {"dropout": 0.3, "batch_size": 600},
]


class Python(fastbp.Adam):
    """A rule in Python"""

    def update(self, theta, D, state):
        super().update(theta, D, state)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [*SETTINGS, {"optimizer": Python(0.01)}], ids=str)
def test_training_is_that_of_the_built_in_loss(settings, dtype, weights):
    p = problem((5, 7, 3), "tanh", "softmax", m=700, dtype=dtype)
    net = p.network()
    own = with_own(net)
    if weights:
        settings = {**settings, "sample_weight": p.weights}
    both = [fastbp.train(each, p.X, p.Y, seed=5, **{"epochs": 3, "batch_size": 32, **settings}) for each in (net, own)]
    for name in both[0].columns:
        if name != "seconds":
            rel = 1e-9 if net.dtype == float else 1e-4
            assert both[0].columns[name] == pytest.approx(both[1].columns[name], rel=rel)
    assert distance(own.theta, net.theta) < 50 * tolerance(dtype, "training")


def test_the_function_sees_each_batch_as_it_was_passed():
    seen = []

    def f(z, Y, w):
        seen.append((z.shape, Y.copy(), None if w is None else w.copy()))
        return w * z[:, 0] ** 2, 2 * w[:, None] * z

    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((70, 3)), rng.integers(1, 5, 70) / 4
    Y = np.array([(float(i), i % 2 == 0) for i in range(70)], dtype=[("time", float), ("event", bool)])
    net = fastbp.Network([3, 4, 1], loss=f, seed=0)
    fastbp.train(net, X, Y, sample_weight=w, epochs=2, batch_size=32, seed=0, validation_data=(X[:9], Y[:9], w[:9]))
    assert [shape for shape, _, _ in seen] == [(32, 1), (32, 1), (6, 1), (9, 1)] * 2
    for first in (0, 4):
        rows = np.concatenate([batch["time"] for _, batch, _ in seen[first : first + 3]]).astype(int)
        assert sorted(rows) == list(range(70))
        assert Y.dtype == seen[0][1].dtype
        assert (np.concatenate([given for _, _, given in seen[first : first + 3]]) == w[rows]).all()


def test_weights_reach_the_function_in_the_units_of_the_caller():
    """The loss gets the caller's weights, although a batch divides by mean_weight and extreme weights are scaled"""
    for unit in (1.0, 2.0**200):
        seen = []

        def f(z, Y, w, seen=seen):
            seen.append(w)
            return w * z[:, 0] ** 2, 2 * w[:, None] * z

        net = fastbp.Network([1, 1], loss=f, seed=0)
        X, w = np.linspace(-1, 1, 20)[:, None], np.arange(1.0, 21) * unit
        net.cost_and_gradient(X, X, sample_weight=w)
        fastbp.train(net, X, X, sample_weight=w, epochs=1, batch_size=20, shuffle=False)
        fastbp.train(net, X, X, sample_weight=w, epochs=1, batch_size=30, shuffle=False, mean_weight=3 * unit)
        assert all((each == w).all() for each in seen)
    assert fastbp.Trainer(net, mean_weight=2.0).step(X, X, np.ones(20)) > 0


def squared(z, Y, w):
    e = z - Y.reshape(z.shape)
    return ((e * e).sum(axis=1) / 2, e) if w is None else (w * (e * e).sum(axis=1) / 2, w[:, None] * e)


def test_examples_of_weight_0_and_batches_without_weight():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((64, 3)), rng.standard_normal(64)
    w = np.repeat([0.0, 1.0], 32)
    one = fastbp.Network([3, 1], loss=squared, seed=0)
    other = fastbp.Network([3, 1], output="identity", seed=0)
    for net in (one, other):
        fastbp.train(net, X, Y, sample_weight=w, batch_size=16, epochs=2, shuffle=False)
    assert distance(one.theta, other.theta) < 1e-13


def test_chunks_and_callbacks():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((300, 3)), rng.standard_normal(300)
    nets = [fastbp.Network([3, 5, 1], output="identity", seed=0),
            fastbp.Network([3, 5, 1], loss=squared, seed=0)]
    histories = [
        fastbp.train(net, lambda: ((X[i : i + 70], Y[i : i + 70]) for i in range(0, 300, 70)), epochs=40, seed=0,
                     validation_data=(X[:50], Y[:50] + 1), callbacks=[fastbp.callbacks.EarlyStopping(patience=3)])
        for net in nets
    ]
    assert len(histories[0]) == len(histories[1]) < 40
    assert distance(nets[1].theta, nets[0].theta) < 1e-11


def test_minimize_and_Trainer():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((300, 3)), rng.standard_normal((300, 1))
    nets = [fastbp.Network([3, 5, 1], output="identity", seed=0),
            fastbp.Network([3, 5, 1], loss=squared, seed=0)]
    J = [fastbp.minimize(net, X, Y, maxiter=10).fun for net in nets]
    assert J[0] == pytest.approx(J[1])
    trainers = [fastbp.Trainer(net, fastbp.SGD(0.1), weight_decay=0.1) for net in nets]
    nets[1].theta = nets[0].theta
    for rows, more in ((slice(0, 1), {}), (slice(0, 64), {}), (slice(0, 300), {}),
                       (slice(9, 30), {"sample_weight": np.arange(21.0)})):
        first, second = (trainer.step(X[rows], Y[rows], **more) for trainer in trainers)
        assert first == pytest.approx(second, rel=1e-12)
    J = [trainer.epoch(X, Y, batch_size=50, order=np.arange(300)[::-1]) for trainer in trainers]
    assert J[0] == pytest.approx(J[1], rel=1e-12)
    assert distance(nets[1].theta, nets[0].theta) < 1e-12
    z = trainers[1].forward(X)
    trainers[1].step(X, gradient=z / 300)


def test_any_output_and_the_accuracy_that_it_has():
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((90, 3)), rng.integers(0, 3, 90)
    right = np.eye(3)[labels]
    for output in ("softmax", "sigmoid", "tanh", "identity", "exp"):
        net = fastbp.Network([3, 5, 3], output=output, loss=lambda z, Y, w: (z.sum(axis=1) * 0, z * 0), seed=0)
        accuracy = float((net.predict(X).argmax(axis=1) == labels).mean()) if output in (
            "softmax", "sigmoid", "tanh") else None
        assert net.evaluate(X, labels) == (0.0, accuracy)
        assert net.evaluate(X, right if output != "tanh" else 2 * right - 1).accuracy == accuracy
        assert net.evaluate(X, np.full((90, 2), np.nan)).accuracy is None
        assert net.output == output
        assert callable(net.loss)
    assert fastbp.Network([3, 1], loss=squared).output == "identity"


def test_changes_that_the_function_makes_to_its_arguments_are_harmless():
    def greedy(z, Y, w):
        z -= Y
        costs = z[:, 0] ** 2 / 2
        Y[:] = 7
        if w is not None:
            costs, z = costs * w, z * w[:, None]
            w[:] = 9
        return costs, z

    rng = np.random.default_rng(0)
    X, Y, w = rng.standard_normal((64, 3)), rng.standard_normal((64, 1)), rng.uniform(1, 2, 64)
    copies = X.copy(), Y.copy(), w.copy()
    nets = [fastbp.Network([3, 5, 1], loss=f, seed=0) for f in (squared, greedy)]
    for net in nets:
        for more in ({}, {"sample_weight": w}):
            fastbp.train(net, X, Y, epochs=2, batch_size=16, shuffle=False, **more)
            fastbp.train(net, X, Y, epochs=2, batch_size=None, seed=0, **more)
            net.cost_and_gradient(X, Y, **more)
            fastbp.Trainer(net, "sgd").step(X, Y, **more)
    assert all((a == b).all() for a, b in zip(copies, (X, Y, w), strict=True))
    assert (nets[0].theta == nets[1].theta).all()
