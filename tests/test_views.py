"""Views of arrays that have been resized or made read-only: refused by name, wherever an array comes in."""

import numpy as np
import pytest

import fastbp

M, INPUTS, K = 600, 4, 3


def lost(shape, dtype=np.float64, columns=slice(None)):
    """A view whose owner has released its memory"""
    owner = np.zeros((*shape[:-1], 2 * shape[-1]) if columns != slice(None) else shape, dtype)
    view = owner[..., columns] if columns != slice(None) else owner[:]
    owner.resize(0, refcheck=False)
    assert view.shape == shape
    return view


def network():
    return fastbp.Network([INPUTS, 5, K], output="softmax", seed=0)


def data(m=M):
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, INPUTS)), rng.integers(K, size=m)


CALLS = {
    "X": [
        lambda net, v, X, y: net.predict(v((len(X), INPUTS))),
        lambda net, v, X, y: net.cost(v((len(X), INPUTS)), y),
        lambda net, v, X, y: net.activations(v((len(X), INPUTS))),
        lambda net, v, X, y: fastbp.Trainer(net).step(v((len(X), INPUTS)), y),
        lambda net, v, X, y: fastbp.train(net, v((len(X), INPUTS)), y, epochs=1),
    ],
    "Y": [
        lambda net, v, X, y: net.cost(X, v((len(X), K))),
        lambda net, v, X, y: net.deltas(X, v((len(X), K))),
        lambda net, v, X, y: fastbp.Trainer(net).step(X, v((len(X), K))),
    ],
}


@pytest.mark.parametrize("m", [1, 2, M])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.uint8, bool, np.float16])
@pytest.mark.parametrize("columns", [slice(None), slice(None, None, 2)], ids=["whole", "gaps"])
@pytest.mark.parametrize(("name", "which"), [(name, i) for name, calls in CALLS.items() for i in range(len(calls))])
def test_fault_54_examples_in_memory_that_is_gone_are_refused(name, which, columns, dtype, m):
    X, y = data(m)
    net = network()
    theta = net.theta.copy()
    with pytest.raises(ValueError, match=f"^{name} is a view of an array that has been resized"):
        CALLS[name][which](net, lambda shape: lost(shape, dtype, columns), X, y)
    np.testing.assert_array_equal(net.theta, theta)


@pytest.mark.parametrize("m", [2, M])
def test_fault_54_weights_labels_order_and_theta_in_memory_that_is_gone_are_refused(m):
    net, (X, y) = network(), data(m)
    for name, call in {
        "sample_weight": lambda: net.cost(X, y, sample_weight=lost((m,))),
        "Y": lambda: net.cost(X, lost((m,), np.int64)),
        "order": lambda: fastbp.Trainer(net).epoch(X, y, order=lost((m,), np.int64)),
        "theta": lambda: net.cost(X, y, theta=lost((net.n_parameters,))),
        "init": lambda: fastbp.Network([INPUTS, 5, K], output="softmax", init=lost((net.n_parameters,))),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} is a view of an array that has been resized"):
            call()


@pytest.mark.parametrize("m", [1, M])
def test_fault_54_results_are_not_written_to_memory_that_is_gone(m):
    net, (X, y) = network(), data(m)
    for call in [
        lambda: net.predict(X, out=lost((m, K))),
        lambda: net.predict(X[0], out=lost((K,))),
        lambda: net.predict(lost((INPUTS,))),
        lambda: net.cost_and_gradient(X, y, out=lost((net.n_parameters,))),
    ]:
        with pytest.raises(ValueError, match=r"^(out|X) is a view of an array that has been resized"):
            call()


def test_fault_54_results_are_not_written_to_a_frozen_array_through_a_view():
    net, (X, y) = network(), data()
    for shape, call in [
        ((M, K), lambda out: net.predict(X, out=out)),
        ((K,), lambda out: net.predict(X[0], out=out)),
        ((net.n_parameters,), lambda out: net.cost_and_gradient(X, y, out=out)),
    ]:
        owner = np.zeros(shape)
        view = owner[:]
        owner.setflags(write=False)
        with pytest.raises(ValueError, match=r"^out is read-only: the array that it is a view of"):
            call(view)
        assert not owner.any()


def test_fault_54_a_view_of_a_view_of_a_subclass_is_followed_to_the_owner():
    class Own(np.ndarray):
        pass

    owner = np.zeros((M, INPUTS))
    view = owner.view(Own)[:]
    owner.resize(0, refcheck=False)
    with pytest.raises(ValueError, match=r"^X is a view of an array that has been resized"):
        network().predict(view)


SETTINGS = [
    ("adam", "learning_rate", None), ("adam", "learning_rate", np.nan), ("adam", "learning_rate", -1.0),
    ("adam", "learning_rate", "a"), ("adam", "learning_rate", [0.1]), ("adam", "beta_1", None), ("adam", "beta_1", -1),
    ("adam", "beta_2", 1e300), ("adam", "epsilon", np.nan), ("adam", "epsilon_hat", "no"), ("sgd", "momentum", None),
    ("sgd", "nesterov", 2.5), ("rmsprop", "decay", -1.0), ("adagrad", "learning_rate", np.inf),
]


@pytest.mark.parametrize(("rule", "name", "value"), SETTINGS)
@pytest.mark.parametrize("way", ["step", "lists", "epoch"])
def test_fault_53_a_setting_changed_between_steps_is_checked_like_an_argument(rule, name, value, way):
    net, (X, y) = network(), data(40)
    trainer = fastbp.Trainer(net, rule)
    step = {"step": lambda: trainer.step(X, y), "lists": lambda: trainer.step(X.tolist(), y.tolist()),
            "epoch": lambda: trainer.epoch(X, y, batch_size=8)}[way]
    step()
    theta, before = net.theta.copy(), getattr(trainer.optimizer, name)
    setattr(trainer.optimizer, name, value)
    with pytest.raises((ValueError, TypeError), match=f"^{name} must be"):
        step()
    np.testing.assert_array_equal(net.theta, theta)
    setattr(trainer.optimizer, name, before)
    step()
    assert np.isfinite(net.theta).all()
    assert (net.theta != theta).any()


@pytest.mark.parametrize(("dtype", "mean"), [(np.float32, 1e38), (np.float32, 9e37), (np.float64, 1e308)])
def test_fault_64_a_mean_weight_that_makes_weights_vanish_is_refused(dtype, mean):
    net, (X, y) = network().copy(dtype), data(40)
    theta = net.theta.copy()
    for call in [
        lambda: fastbp.train(net, X, y, epochs=1, mean_weight=mean),
        lambda: fastbp.Trainer(net, mean_weight=mean).step(X.astype(dtype), y),
        lambda: fastbp.Trainer(net, mean_weight=mean).step(X.tolist(), y.tolist()),
    ]:
        with pytest.raises(ValueError, match=r"^mean_weight is .* leaves the range of"):
            call()
    np.testing.assert_array_equal(net.theta, theta)
