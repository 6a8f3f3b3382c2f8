"""Calls on a few examples: the prepared way (src/_calls.pyx) and the way through the layers give the same bits. The
latter names arguments that the former cannot take.
"""

import itertools

import numpy as np
import pytest
from helpers import DTYPES

import fastbp
from fastbp import _kernels
from fastbp.engine import objective, sums

ROWS = [1, 2, 17, 64, 65, 600, 1500]       # one block of 64, a higher one, several
KINDS = {       # of X
    "float64": lambda X: X, "float32": lambda X: X.astype(np.float32), "float16": lambda X: X.astype(np.float16),
    "uint8": lambda X: np.abs(9 * X).astype(np.uint8), "int8": lambda X: (9 * X).astype(np.int8),
    "int64": lambda X: (9 * X).astype(np.int64), "uint32": lambda X: np.abs(9 * X).astype(np.uint32),
    "bool": lambda X: X > 0, "columns": np.asfortranarray, "backwards": lambda X: X[::-1],
    "gaps": lambda X: np.repeat(X, 2, axis=0)[::2], "part": lambda X: np.hstack([X, X])[:, : X.shape[1]],
}
PENALTIES = [{}, {"weight_decay": 0.01}, {"lam": 0.3}, {"l1": 0.02}, {"weight_decay": 2, "l1": np.float64(0.1)},
             {"weight_decay": [0.1, 0.0], "l1": 0.5}, {"weight_decay": (0.0, 0.3)}]
X, Y = np.ones((6, 4)), np.arange(6) % 3


class Absent:
    """An evaluator that takes nothing"""

    def __getattr__(self, name):
        return lambda *_: None


def bits(value):
    if isinstance(value, (tuple, list)):
        return [bits(each) for each in value]
    return (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else (type(value), repr(value))


def both(net, call):
    """call(), the prepared way and the other, as bits"""
    evaluator = net._evaluator
    found = bits(call())
    net._evaluator = Absent()
    try:
        return found, bits(call())
    finally:
        net._evaluator = evaluator


def targets(rng, net, m, kind):
    """Y of a kind, or None if the network has no targets of this kind"""
    K, low, high = net.layer_sizes[-1], max(net.plan.lowest, -1), net.plan.highest
    if kind in ("int64", "int32", "uint8", "bool"):     # labels, or for K = 1 no and yes
        if high != 1:
            return None
        return rng.integers(0, max(K, 2), m).astype(kind) if kind != "bool" or K <= 2 else None
    if net.output == "softmax":
        Y = rng.dirichlet(np.ones(K), m) if kind == "dense" else np.eye(K)[rng.integers(0, K, m)]
    elif np.isfinite(high):
        Y = rng.uniform(low, high, (m, K)) if kind == "dense" else np.where(rng.random((m, K)) < 0.5, low, high)
    else:
        Y = np.abs(rng.normal(size=(m, K)))
    return {"dense": Y, "classes": Y, "float32": Y.astype(np.float32), "whole": np.round(Y).astype(np.int16)}[kind]


def problem(output, loss, dtype, sizes, seed):
    rng = np.random.default_rng(seed)
    activation = [str(each) for each in rng.choice(list(_kernels.activations), len(sizes) - 2)]
    net = fastbp.Network(sizes, activation=activation, output=output, loss=loss, dtype=dtype, seed=seed)
    net.theta[:] += 0.3 * rng.normal(size=net.n_parameters).astype(dtype)
    return net, rng


def calls(net, X, Y, penalties, theta=None):
    """{name: call} of all prepared calls"""
    return {
        "cost_and_gradient": lambda: net.cost_and_gradient(X, Y, theta=theta, **penalties),
        "out": lambda: net.cost_and_gradient(X, Y, theta=theta, out=np.empty_like(net.theta), n_threads=2, **penalties),
        "cost": lambda: net.cost(X, Y, theta=theta, **penalties),
        "evaluate": lambda: net.evaluate(X, Y), "predict": lambda: net.predict(X),
        "predict into out": lambda: net.predict(X, out=np.empty((len(X), net.layer_sizes[-1]), net.dtype)),
        "activations": lambda: net.activations(X), "deltas": lambda: net.deltas(X, Y),
    }


def raw(net, X, Y, **options):
    """The result of the evaluator itself; None if it does not take the arguments"""
    given = {"theta": net.theta, "weight_decay": 0.0, "lam": None, "l1": 0.0, "out": None, "n_threads": None} | options
    return net._evaluator.cost_and_gradient(X, Y, *given.values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", ROWS)
@pytest.mark.parametrize("pair", list(_kernels.pairs), ids="-".join)
def test_fault_75_the_prepared_calls_give_the_bits_of_the_others(pair, m, dtype):
    output, loss = pair
    kinds = itertools.cycle(KINDS.values())
    for seed, kind in enumerate(("dense", "classes", "float32", "whole", "int64", "int32", "uint8", "bool")):
        sizes = [5, 1 + 3 * seed, 2 if kind == "bool" or output == "softmax" else 1 + seed % 3]
        net, rng = problem(output, loss, dtype, sizes, seed)
        X, Y = next(kinds)(2 * rng.normal(size=(m, 5))), targets(rng, net, m, kind)
        if Y is None or (kind == "whole" and output == "softmax"):
            continue
        Y = Y[:, 0] if Y.ndim == 2 and Y.shape[1] == 1 and seed % 2 else Y
        theta = None if seed % 2 else net.theta * dtype(1.1)
        penalties = PENALTIES[(seed + m) % len(PENALTIES)]
        for name, call in calls(net, X, Y, penalties, theta).items():
            found, expected = both(net, call)
            assert found == expected, (name, kind, X.dtype, penalties)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", ["int64", "int32", "uint8", "int8", "uint64", "bool"])
def test_fault_75_no_dtype_and_no_kind_of_label_falls_off_the_fast_way(labels, kind, dtype):
    """The same for a single row"""
    rng = np.random.default_rng(0)
    for K in (1, 2):
        net = fastbp.Network([4, 8, K], dtype=dtype, seed=0)
        for m in (1, 8, 64):
            X, y = KINDS[kind](rng.normal(size=(m, 4))), rng.integers(0, 2, m).astype(labels)
            assert raw(net, X, y) is not None
            assert net._evaluator.cost(X, y, net.theta, 0.0, None, 0.0, None) is not None
            assert net._evaluator.evaluate(X, y, net.theta) is not None
            assert net._evaluator.predict(X, net.theta) is not None
            assert net._evaluator.predict(X[0], net.theta).shape == (K,)
            assert net._evaluator.activations(X, net.theta) is not None
            assert net._evaluator.deltas(X, y, net.theta) is not None
            trainer = fastbp.Trainer(net.copy(), "sgd")
            assert trainer.steps.quick(X, y) is not None


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_go_into_every_out_that_may_be_written_to(dtype):
    """out may overlap X; the prepared call takes no other array, and none that overlaps theta"""
    net = fastbp.Network([3, 5, 3], dtype=dtype, seed=0)
    X = np.random.default_rng(0).normal(size=(70, 3)).astype(dtype)
    expected, one = net.predict(X), net.predict(X[:1])
    for shift in (0, 1, 2):     # rows
        whole = np.concatenate([X, X[:2]])
        out = whole[shift : shift + 70]
        assert net._evaluator.predict(whole[:70], net.theta, out) is out
        assert out.tobytes() == expected.tobytes()
    row = X[:1].copy()
    assert net.predict(row[0], out=row[0]).tobytes() == one.tobytes() == row.tobytes()

    frozen = np.empty_like(expected)
    frozen.flags.writeable = False
    others = {
        "frozen": frozen, "dtype": np.empty((70, 3), np.float64 if dtype == np.float32 else np.float32),
        "Fortran": np.empty((70, 3), dtype, "F"), "gaps": np.empty((70, 6), dtype)[:, ::2],
        "shape": np.empty((3, 70), dtype),
        "rows": np.empty((69, 3), dtype), "vector": np.empty(210, dtype), "list": expected.tolist(),
        "subclass": expected.copy().view(np.recarray), "view of frozen": frozen[:],
    }
    for name, out in others.items():
        assert net._evaluator.predict(X, net.theta, out) is None, name
    big = fastbp.Network([3, 70, 3], dtype=dtype, seed=0)
    theta = big.theta.copy()
    for out in (big.theta[:210], big.theta[-210:], big.theta[100:310]):
        with pytest.raises(ValueError, match=r"out must not be a part of net\.theta"):
            big.predict(X, out=out.reshape(70, 3))
    assert big.theta.tobytes() == theta.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_fault_75_steps_on_every_dtype_have_the_bits_of_the_others(kind, dtype):
    rng = np.random.default_rng(1)
    for output, K, label in itertools.product(("softmax", "sigmoid"), (1, 3), ("int64", "uint8", "bool", "rows")):
        if (output == "softmax" and K == 1) or (label == "bool" and K > 1):
            continue
        X, y = KINDS[kind](rng.normal(size=(16, 4))), rng.integers(0, max(K, 2), 16)
        Y = (y[:, None] == np.arange(K)).astype(dtype) if label == "rows" else y.astype(label)
        found = []
        for quick in (True, False):
            trainer = fastbp.Trainer(fastbp.Network([4, 8, K], output=output, dtype=dtype, seed=0), "adam")
            step = trainer.steps.quick if quick else lambda X, Y, t=trainer: t.epoch(X, Y, batch_size=None)
            found.append([[step(X, Y) for _ in range(3)], trainer.net.theta.tolist()])
        assert found[0] == found[1], (output, K, label)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 127, 128, 129, 1000, 8192, 8193, 20_000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_are_summed_as_numpy_sums_them(n, dtype):
    net = fastbp.Network([n, 1], dtype=dtype, init="normal", eps=1.0, seed=0)
    X, y = np.zeros((1, n)), np.zeros(1)
    for penalties in ({"weight_decay": 0.3}, {"l1": 0.3}):
        found, expected = both(net, lambda penalties=penalties: net.cost_and_gradient(X, y, **penalties))
        assert found == expected
    taken = raw(net, X, y, l1=0.3) is not None
    assert taken == (n <= 8192 or dtype == np.float64)      # NumPy sums converted values in several parts


# ---------------------------------------------------------------- data checked before


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2, 0, 3, 0.5, 1])])
@pytest.mark.parametrize("dtype", DTYPES)
def test_data_checked_before_give_the_same_bits(weights, dtype, monkeypatch):
    net = fastbp.Network([4, 5, 3], output="softmax", dtype=dtype, seed=0)
    found = []
    for prepared in (True, False):
        if not prepared:
            monkeypatch.setattr(sums, "are_few", lambda plan, m: False)
        data = net.data(X, Y, weights)
        penalties = fastbp.engine.regularisation.Regularisation.of(net.plan, data.weight, lam=0.1, l1=0.2)
        assert (data.few(net.theta, penalties.c, penalties.l1, True) is not None) == prepared
        found.append(bits([objective.cost(net.theta, data, penalties),
                           objective.cost_and_gradient(net.theta, data, penalties, 2), net.evaluate_data(data)]))
    assert found[0] == found[1]


# ---------------------------------------------------------------- numbers of the caller's own class


class Half(float):
    """A number that `float` converts to 0.5, whatever it holds"""

    def __float__(self):
        return 0.5


@pytest.mark.parametrize("given", [Half(0.1), Half("nan"), Half(-1), type("Same", (float,), {})(0.5), np.float64(0.5)])
@pytest.mark.parametrize("name", ["weight_decay", "lam", "l1"])
def test_fault_75_a_float_of_ones_own_class_is_the_number_that_float_makes_of_it(name, given):
    net = fastbp.Network([4, 5, 3], output="softmax", seed=0)
    for value, plain in [(given, 0.5), *([([given, 0.25], [0.5, 0.25])] if name == "weight_decay" else [])]:
        for call in (net.cost, net.cost_and_gradient):
            found, expected = both(net, lambda value=value, call=call: call(X, Y, **{name: value}))
            assert found == expected == bits(call(X, Y, **{name: plain}))
    assert (raw(net, X, Y, **{name: given}) is not None) == (type(given) is np.float64)     # no Python in between


@pytest.mark.parametrize("bad", ["nan", "inf", "-1"])
def test_fault_75_what_float_makes_of_a_rate_is_what_is_checked(bad):
    class Rate(float):
        def __float__(self):
            return float(bad)

    net = fastbp.Network([4, 5, 3], output="softmax", seed=0)
    theta = net.theta.copy()
    for step in (lambda t: t.step(X, Y), lambda t: t.epoch(X, Y)):
        with pytest.raises(ValueError, match=r"learning_rate\(0\) must be finite and at least 0; it is"):
            step(fastbp.Trainer(net, fastbp.SGD(lambda _: Rate(0.1))))
    np.testing.assert_array_equal(net.theta, theta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i4", "u2", "i8"])
def test_fault_75_numbers_in_the_other_byte_order_do_not_fall_off_the_fast_way(kind, order, dtype):
    rng = np.random.default_rng(2)
    net = fastbp.Network([4, 8, 3], output="softmax", dtype=dtype, seed=0)
    values, labels = np.abs(9 * rng.normal(size=(6, 4))), rng.integers(0, 3, 6)
    given = values.astype(f"{order}{kind}")
    for X in (given, given[:1], np.asfortranarray(given), given[:, ::-1]):
        for y in (labels.astype(f"{order}i4"), labels.astype(f"{order}u8"), np.eye(3)[labels].astype(f"{order}f4")):
            Y = y[: len(X)]
            assert raw(net, X, Y) is not None
            assert net._evaluator.predict(X, net.theta) is not None
            for call in calls(net, X, Y, {}).values():
                found, expected = both(net, call)
                assert found == expected
    quick, twin = (fastbp.Trainer(net.copy(), "adam") for _ in range(2))
    assert quick.steps.quick(given, labels.astype(f"{order}i8")) == twin.epoch(values.astype(kind), labels)
    assert quick.net.theta.tobytes() == twin.net.theta.tobytes()


@pytest.mark.parametrize("code", [">f8", "<f8", ">f4"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_what_is_not_finite_is_named_in_every_byte_order(value, code):
    if code == ">f4" and value == 1e39:
        return
    net = fastbp.Network([4, 5, 3], output="softmax", dtype=np.float32, seed=0)
    given = X.astype(code)
    given[2, 1] = value
    for call in (lambda: net.predict(given), lambda: net.cost(given, Y), lambda: fastbp.Trainer(net).step(given, Y)):
        with pytest.raises(ValueError, match=r"First at X\[2, 1\]"):
            call()


def test_the_prepared_calls_take_as_many_examples_as_one_range_has_and_no_more():
    net = fastbp.Network([4, 8, 3], output="softmax", seed=0)
    most = min(int(sums.FEW / sums.operations(net.plan, 1)), 7 * sums.height(net.plan, sums.MANY, net.dtype))
    X, y = np.ones((most + 1, 4)), np.zeros(most + 1, int)
    for m in (most, most + 1):
        assert (raw(net, X[:m], y[:m]) is not None) == (m == most)
        assert (net._evaluator.predict(X[:m], net.theta) is not None) == (m == most)
