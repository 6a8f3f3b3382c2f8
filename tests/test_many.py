"""`train_many` gives the same bits as `train` for each network, with any networks, settings and number of threads."""

import copy

import numpy as np
import own_losses
import pytest
import test_own_compiled

import fastbp
from fastbp import schedules
from fastbp.callbacks import EarlyStopping, ReduceOnPlateau

library = test_own_compiled.library     # a fixture
M = 300
rng = np.random.default_rng(17)
X = rng.standard_normal((M, 6))
LABELS = rng.integers(0, 4, M)
TARGETS = np.eye(4)[LABELS]
W = rng.random(M) + 0.1
OWN = ("rows", "validation_rows", "sample_weight")


def unequal(n, seed=0):
    """n networks of 1 to 3 hidden layers of 4 to 64 units, with settings of each: lists of n values."""
    draw = np.random.default_rng(seed)
    activations = ["sigmoid", "tanh", "relu", "gelu", "softplus"]
    outputs = [("softmax", "cross_entropy"), ("sigmoid", "cross_entropy"), ("sigmoid", "squared_error"),
               ("tanh", "squared_error")]
    nets = []
    for i in range(n):
        hidden = draw.integers(4, 65, draw.integers(1, 4)).tolist()
        output, loss = outputs[draw.integers(len(outputs))]
        nets.append(fastbp.Network(
            [6, *hidden, 4], activation=activations[draw.integers(len(activations))], output=output, loss=loss,
            dtype=[np.float32, np.float64][draw.integers(2)], seed=i))
    settings = {
        "optimizer": [[fastbp.SGD(0.05, momentum=0.9), fastbp.Adam(10 ** draw.uniform(-4, -2)), fastbp.RMSprop(1e-3)]
                      [draw.integers(3)] for _ in nets],
        "epochs": draw.integers(1, 4, n).tolist(),
        "batch_size": [[1, 16, 32, 37, 300, None][draw.integers(6)] for _ in nets],
        "seed": draw.integers(0, 2**31, n).tolist(),
        "rows": [None if draw.random() < 0.3 else draw.integers(0, M, draw.integers(20, M)) for _ in nets],
        "weight_decay": [[0.0, 1e-3][draw.integers(2)] for _ in nets],
    }
    return nets, settings


def lone(net, X, Y, **settings):
    """`train` on the rows of one network"""
    settings["optimizer"] = copy.deepcopy(settings.get("optimizer", "adam"))
    rows, held = settings.pop("rows", None), settings.pop("validation_rows", None)
    if held is not None:
        settings["validation_data"] = X[held], Y[held]
    if rows is not None:
        if settings.get("sample_weight") is not None:
            settings["sample_weight"] = settings["sample_weight"][rows]
        X, Y = X[rows], Y[rows]
    return fastbp.train(net, X, Y, **settings)


def same(history, other):
    own, others = history.state(), other.state()
    assert own.pop("seconds")
    assert others.pop("seconds")
    return own == others


def compare(nets, X, Y, n_threads, lists, **settings):
    """Compare train_many with one `train` after the other; lists: settings of each network."""
    alone = [net.copy() for net in nets]
    one_by_one = [lone(net, X, Y, **settings, **{name: values[i] for name, values in lists.items()})
                  for i, net in enumerate(alone)]
    together = fastbp.train_many(nets, X, Y, n_threads=n_threads, **settings, **lists)
    for i, (net, other) in enumerate(zip(nets, alone, strict=True)):
        assert net.theta.tobytes() == other.theta.tobytes(), f"network {i}, {net!r}"
        assert same(together[i], one_by_one[i]), f"network {i}, {net!r}"
    return together


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_a_hundred_unequal_networks_have_the_bits_of_lone_trainings(n_threads):
    nets, lists = unequal(100)
    compare(nets, X, LABELS if n_threads == 2 else TARGETS, n_threads, lists)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_a_thousand_unequal_networks_have_the_bits_of_lone_trainings(n_threads):
    nets, lists = unequal(1000, seed=n_threads)
    compare(nets, X, LABELS, n_threads, lists)


def small(n, dtype=np.float64, **settings):
    return [fastbp.Network([6, 5 + i, 4], output="softmax", activation="tanh", dtype=dtype, seed=i, **settings)
            for i in range(n)]


EACH = {    # a setting: two values that it may have, one for each of two networks
    "optimizer": [fastbp.Adam(0.01), fastbp.AdamW(0.003)], "epochs": [1, 3], "batch_size": [7, None],
    "weight_decay": [(0.1, 0.0), 0.01], "lam": [0.5, None], "l1": [0.0, 1e-3], "clip_value": [None, 0.01],
    "clip_norm": [0.1, None], "dropout": [(0.5,), 0.1], "input_dropout": [0.2, 0.0], "shuffle": [True, False],
    "sample_weight": [W, None], "metrics": [["accuracy"], []], "mean_weight": [None, 2.0], "free": [(2,), None],
    "learning_rate_factors": [{"weights": 0.5}, None], "input_scale": [6.0, None],
    "seed": [3, 4], "rows": [np.arange(100), np.arange(50, 300)], "validation_rows": [np.arange(100, 130), None],
    "callbacks": [[EarlyStopping(patience=1, monitor="J")], [ReduceOnPlateau(patience=1, monitor="J")]],
}


@pytest.mark.parametrize("name", EACH)
def test_each_setting_is_one_value_or_a_list(name):
    base = {"epochs": 2, "seed": 1}
    base.pop(name, None)
    compare(small(2), X, LABELS, 2, {name: EACH[name]}, **base)
    one = EACH[name][0]
    shared = one if name != "seed" else 5
    compare(small(2), X, LABELS, 2, {}, **base, **{name: shared})


def test_rows_and_weights_together():
    nets, lists = unequal(30, seed=3)
    heavy = [W, None, np.ones(M), W * 1e30] * 8
    lists["sample_weight"] = heavy[:30]
    compare(nets, X, LABELS, 2, lists)


@pytest.mark.parametrize("n", [64, 96])
def test_masks_and_lists_of_rows(n):
    mask = np.zeros(M, bool)
    mask[:n] = True
    first, second = small(3), small(3)
    fastbp.train_many(first, X, LABELS, rows=mask, epochs=2, seed=0)
    fastbp.train_many(second, X, LABELS, rows=list(range(n)), epochs=2, seed=0)
    assert all((a.theta == b.theta).all() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", [schedules.Cosine, schedules.Exponential], ids=lambda kind: kind.__name__)
def test_schedules_of_fastbp_and_own_functions(kind):
    schedule = kind(0.02, steps=100) if kind is schedules.Cosine else kind(0.02, factor=0.99)
    asked = []

    def own(t):
        asked.append(t)
        return 0.01 / (1 + t)

    compare(small(3), X, LABELS, 2, {"optimizer": [fastbp.Adam(schedule), fastbp.SGD(schedule), fastbp.SGD(0.1)]},
            epochs=12, batch_size=7, seed=0)
    compare(small(2), X, LABELS, 2, {}, optimizer=fastbp.SGD(own), epochs=2, batch_size=50, seed=0)
    assert sorted(asked[-12:]) == sorted([*range(12)]) or len(asked) == 48


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("convert", [lambda a: a.astype(np.int16), lambda a: a.astype(np.float32),
                                     lambda a: np.asfortranarray(a), lambda a: a.tolist()],
                         ids=["int16", "float32", "fortran", "list"])
def test_examples_of_any_kind(dtype, convert):
    given = convert(np.round(X * 10))
    alone, nets = small(3, dtype), small(3, dtype)
    for net in alone:
        fastbp.train(net, given, LABELS, epochs=2, seed=0)
    fastbp.train_many(nets, given, LABELS, epochs=2, seed=0)
    assert all((a.theta == b.theta).all() for a, b in zip(nets, alone, strict=True))


def test_regression_and_other_outputs_share_the_examples():
    losses = [("identity", "squared_error"), ("identity", "huber"), ("identity", "absolute_error"), ("exp", "poisson")]
    nets = [fastbp.Network([6, 9, 1], output=output, loss=loss, seed=i) for i, (output, loss) in enumerate(losses)]
    compare(nets, X, np.abs(X[:, 0]) + 0.5, 2, {}, epochs=3, seed=2, metrics=("r2",), validation_rows=np.arange(40))


def test_rules_in_python_train_too():
    class Sign(fastbp.optimizers.Optimizer):
        def __init__(self, step):
            self.step = step

        def init(self, theta):
            return {"t": 0}

        def update(self, theta, D, state):
            state["t"] += 1
            theta -= self.step * np.sign(D)

    compare(small(3), X, LABELS, 2, {"optimizer": [Sign(0.01), Sign(0.002), "sgd"]}, epochs=2, seed=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_of_ones_own(library, dtype):
    """Own losses in Python and compiled, with and without weights."""
    losses = [own_losses.log_cosh, test_own_compiled.squared(library, dtype), own_losses.asymmetric]
    nets = [fastbp.Network([6, 5, 4], output="identity", loss=loss, dtype=dtype, seed=0) for loss in losses]
    compare(nets, X, TARGETS, 2, {"sample_weight": [None, None, W], "rows": [None, np.arange(77), np.arange(30, 99)]},
            epochs=3, seed=1, validation_rows=np.arange(20))


def test_generators_of_the_caller_go_on_as_in_lone_trainings():
    seeds, others = ([np.random.default_rng(i) for i in range(3)] for _ in range(2))
    nets, alone = small(3), small(3)
    fastbp.train_many(nets, X, LABELS, epochs=2, seed=seeds)
    for net, seed in zip(alone, others, strict=True):
        fastbp.train(net, X, LABELS, epochs=2, seed=seed)
    assert all((a.theta == b.theta).all() for a, b in zip(nets, alone, strict=True))
    assert [a.random() for a in seeds] == [b.random() for b in others]


def test_fresh_seeds_differ():
    nets = [fastbp.Network([6, 5, 4], seed=0) for _ in range(3)]
    fastbp.train_many(nets, X, TARGETS, epochs=1, batch_size=10)
    assert len({net.theta.tobytes() for net in nets}) == 3


def test_no_networks():
    assert fastbp.train_many([], X, LABELS, epochs=1) == []


@pytest.mark.parametrize("settings", [{}, {"validation_rows": np.arange(9)}, {"rows": np.arange(200)}])
def test_warnings_of_a_training_name_the_network(settings):
    nets = [fastbp.Network([6, 1], output="identity", seed=i) for i in range(2)]
    with pytest.warns(RuntimeWarning, match=r"network 1, Network\(\[6, 1\].*the training has diverged") as caught:
        fastbp.train_many(nets, 30 * X, X[:, 0], epochs=20, seed=0, batch_size=300,
                          optimizer=[fastbp.SGD(1e-5), fastbp.SGD(0.003)], n_threads=2, **settings)
    assert [each.filename for each in caught] == [__file__]


def test_equal_units_are_said_before_anything_is_trained():
    with pytest.raises(UserWarning, match="start equal"):
        fastbp.train_many([fastbp.Network([6, 5, 4], init=np.ones(59))], X, TARGETS, epochs=1)


def test_callbacks_that_serve_all():
    """Each network has its own EarlyStopping; a function is called for all."""
    heard = []
    nets = small(4)
    stopping = EarlyStopping(patience=1, monitor="J", min_delta=0.05)
    compare(nets, X, LABELS, 2, {}, epochs=20, seed=0, callbacks=[stopping])
    fastbp.train_many(small(4), X, LABELS, epochs=3, seed=0, callbacks=[lambda training: heard.append(training.net)])
    assert len(heard) == 12


def test_a_callback_changes_the_rate_of_its_own_network_alone():
    optimizer = fastbp.Adam(0.01)
    compare(small(3), X, LABELS, 2, {"optimizer": [fastbp.Adam(0.01) for _ in range(3)]}, epochs=8, seed=0,
            callbacks=[ReduceOnPlateau(patience=1, monitor="J", min_delta=0.5)])
    fastbp.train_many(small(3), X, LABELS, epochs=8, seed=0, optimizer=optimizer,
                      callbacks=[ReduceOnPlateau(patience=1, monitor="J", min_delta=0.5)])
    assert optimizer.learning_rate == 0.01


@pytest.mark.parametrize("settings", [{}, {"sample_weight": W}, {"mean_weight": 2.0}],
                         ids=["plain", "weights", "mean weight"])
def test_fault_170_lbfgs_follows_the_loss_of_its_own_network_over_its_own_rows(settings):
    """Networks of equal size with different functions; rows in any order, some of them twice"""
    nets = [fastbp.Network([6, 5, 4], activation=name, output="softmax", seed=0) for name in ("tanh", "relu", "gelu")]
    nets.append(fastbp.Network([6, 7, 4], output="softmax", seed=0))
    draw = np.random.default_rng(0)
    for rows in ([None] * 4, [draw.permutation(M)[:200], draw.integers(0, M, 250), None, np.arange(100)]):
        compare([net.copy() for net in nets], X, LABELS, 2, {"rows": rows}, optimizer=fastbp.LBFGS(), batch_size=None,
                epochs=8, seed=0, validation_rows=np.arange(30), metrics=("accuracy",), **settings)
