"""Data that a network has checked once: later changes in it, and data of another network."""

import numpy as np
import pytest
from helpers import DTYPES

import fastbp
from fastbp import _backprop

RNG = np.random.default_rng(0)
ROWS = [20, 3000]       # few examples in one compiled call, and more


def network(**given):
    return fastbp.Network([4, 5, 3], **{"output": "softmax", "seed": 0, **given})


def examples(m):
    return RNG.random((m, 4)), RNG.integers(0, 3, m)


# ---------------------------------------------------------------- values that change

@pytest.mark.parametrize("label", [3, -1, 2**40, -(2**63)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("m", ROWS)
def test_fault_54_labels_changed_after_they_were_checked_are_refused(m, weights, dtype, label):
    net, (X, y) = network(dtype=dtype), examples(m)
    data = net.data(X, y, RNG.random(m) if weights else None)
    before = net.evaluate_data(data)
    good = y[-1]
    for row in (0, m - 1):
        y[row], kept = label, y[row]
        said = rf"Y\[{row}\] has been changed to {label} since it was checked; labels must be integers 0 to 2$"
        with pytest.raises(ValueError, match=said):
            net.evaluate_data(data)
        y[row] = kept
    assert net.evaluate_data(data) == before
    y[-1] = (good + 1) % 3      # a label like any other
    assert net.evaluate_data(data) == net.evaluate_data(net.data(X, y.copy(), None if data.w is None else data.w[:, 0]))
    assert net.evaluate_data(data).cost != before.cost


@pytest.mark.parametrize("options", [
    {}, {"batch_size": None}, {"batch_size": 1}, {"optimizer": fastbp.SGD(0.1), "batch_size": 1}, {"shuffle": False},
    {"sample_weight": np.ones(600)}, {"dropout": 0.5}, {"optimizer": type("Mine", (fastbp.SGD,), {"update": (
        lambda self, theta, D, state: fastbp.SGD.update(self, theta, D, state))})(0.1)},
])
def test_fault_54_labels_that_a_callback_changes_end_the_training_at_the_last_step_before(options):
    net, (X, y) = network(), examples(600)
    after = []

    def harm(training):
        after.append(training.net.theta.copy())
        if len(after) == 2:
            y[7] = 5

    with pytest.raises(ValueError, match=r"Y\[7\] has been changed to 5"):
        fastbp.train(net, X, y, epochs=4, seed=0, callbacks=[harm], **options)
    assert len(after) == 2
    np.testing.assert_array_equal(net.theta, after[-1])


def test_fault_54_only_labels_in_the_order_of_the_examples_count():
    net, (X, y) = network(), examples(20)
    data, order = net.data(X, y), np.arange(3, 20)
    kept = data.examples(order)
    y[:3] = 9
    data.examples(order)
    with pytest.raises(ValueError, match=r"Y\[2\] has been changed to 9"):
        data.examples(np.array([5, 2]))
    evaluator, given = net._evaluator, (17, 17.0, net.theta, (0.0, 0.0), 0.0, False)
    assert evaluator.of_examples(kept, *given) > 0
    y[11] = 3
    with pytest.raises(ValueError, match=r"Y\[11\] has been changed to 3 .* 0 to 2$"):
        evaluator.of_examples(kept, *given)
    order[8] = 2**40        # an order that has changed too: nothing outside is read
    with pytest.raises(ValueError, match=r"Y\[0\] has been changed to 9"):
        evaluator.of_examples(kept, *given)
    assert _backprop.Examples(X, None, y).weight(0, 20) == 20      # without the number of classes nothing is known


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("m", ROWS)
def test_fault_54_a_cost_that_is_no_number_names_the_value_that_has_changed(m, value):
    for output, loss in [("softmax", "cross_entropy"), ("identity", "squared_error")]:
        net, (X, y) = network(output=output, loss=loss, activation="relu"), examples(m)
        Y = np.eye(3)[y]
        data = net.data(X, Y)
        X[5, 1], kept = value, X[5, 1]
        with pytest.raises(ValueError, match=r"Input X contains .* First at X\[5, 1\]"):
            net.evaluate_data(data)
        X[5, 1], Y[6, 2] = kept, np.nan
        with pytest.raises(ValueError, match=r"Input Y contains NaN. First at Y\[6, 2\]"):
            net.evaluate_data(data)


def test_a_cost_beyond_all_numbers_is_no_error():
    net = network(output="identity", loss="squared_error")
    X, Y = examples(20)[0], np.full((20, 3), 1e200)
    assert net.evaluate_data(net.data(X, Y)) == net.evaluate(X, Y) == (np.inf, None)


# ---------------------------------------------------------------- other networks

OTHERS = {
    "layer_sizes": {"layer_sizes": [4, 9, 3]}, "activations": {"activation": "relu"},
    "output": {"output": "sigmoid"}, "loss": {"loss": "squared_error"},
    "loss_parameters": {"output": "identity", "loss": "huber", "huber_delta": 2.0},
}


@pytest.mark.parametrize("m", ROWS)
@pytest.mark.parametrize("name", OTHERS)
def test_fault_54_data_of_another_network_are_refused_by_what_differs(name, m):
    given = {"layer_sizes": [4, 5, 3], "output": "softmax", **OTHERS[name]}
    other = fastbp.Network(given.pop("layer_sizes"), **given)
    net = network(output="identity", loss="huber") if name == "loss_parameters" else network()
    X, y = examples(m)
    Y = np.eye(3)[y]
    with pytest.raises(ValueError, match=f"data was made by a network with {name} "):
        net.evaluate_data(other.data(X, Y))
    assert net.evaluate_data(net.data(X, Y)) == net.evaluate_data(net.copy().data(X, Y)) == net.evaluate(X, Y)


def test_fault_54_data_of_another_dtype_are_refused():
    """float32 may not hold values that float64 holds"""
    X, y = examples(20)
    X[0, 0] = 1e300
    net, single = network(), network(dtype=np.float32)
    with pytest.raises(ValueError, match="data was made by a network of float64; this one is of float32"):
        single.evaluate_data(net.data(X, y))
    with pytest.raises(ValueError, match="data was made by a network of float32; this one is of float64"):
        net.evaluate_data(single.data(X[1:], y[1:]))


def test_fault_54_data_of_the_state_before_are_refused():
    net, other = network(), network(activation="tanh")
    X, y = examples(20)
    data = net.data(X, y)
    net.__setstate__(other.__getstate__())
    with pytest.raises(ValueError, match="data was made by a network with activations"):
        net.evaluate_data(data)
    assert net.evaluate_data(net.data(X, y)) == other.evaluate(X, y)


@pytest.mark.parametrize("data", [None, (np.ones((2, 4)), np.zeros(2, int)), "data", np.ones((2, 4))])
def test_fault_54_what_is_no_data_is_refused(data):
    with pytest.raises(TypeError, match=r"data must be net\.data\(X, Y\); got"):
        network().evaluate_data(data)


# ---------------------------------------------------------------- the divisor of a batch

def test_a_batch_is_divided_by_its_counts_or_examples_and_by_its_weights_where_nothing_else_is_known():
    net, (X, y) = network(), examples(7)
    order, counts = np.array([6, 0, 2, 2, 5]), np.arange(1.0, 8.0)
    plain, weighted = net.data(X, y), net.data(X, y, np.full(7, 0.5))
    assert plain.divisors(None, 7, 3) is None
    np.testing.assert_array_equal(weighted.divisors(None, 7, 3), [3, 3, 1])
    np.testing.assert_array_equal(weighted.divisors(order, 5, 2), [2, 2, 1])
    for data in (plain, weighted):      # weights that are all 1 in units of their mean are none, but counts stay
        data.counts = counts
        np.testing.assert_array_equal(data.divisors(None, 7, 3), [6, 15, 7])
        np.testing.assert_array_equal(data.divisors(order, 5, 2), [8, 6, 6])
