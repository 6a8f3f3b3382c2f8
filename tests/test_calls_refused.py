"""What prepared calls on a few examples refuse is named as by the way through the layers."""

import warnings

import numpy as np
import pytest
from core_parts import M, Parts
from helpers import DTYPES
from test_calls import Absent, X, Y, both, calls, raw

import fastbp
from fastbp import _backprop
from fastbp.engine import sums


def bad(a, at, value):
    a = a.astype(float) if a.dtype.kind != "f" and isinstance(value, float) else a.copy()
    a[at] = value
    return a


BAD = {
    "NaN": (bad(X, (2, 1), np.nan), Y), "infinity": (bad(X, (5, 3), np.inf), Y), "label": (X, bad(Y, 3, 3)),
    "negative": (X, bad(Y, 0, -1)), "floats": (X, Y.astype(float)), "rows": (X, Y[:5]), "columns": (X[:, :3], Y),
    "no rows": (X[:0], Y[:0]), "complex": (X.astype(complex), Y), "objects": (X.astype(object), Y), "text": ("abc", Y),
    "three": (X[None], Y), "sums": (X, np.full((6, 3), 0.5)), "below": (X, bad(np.eye(3)[Y], (0, 0), -0.5)),
    "NaN target": (X, bad(np.eye(3)[Y], (4, 1), np.nan)), "width": (X, np.eye(2)[Y % 2]), "none": (X, None),
    "masked": (np.ma.masked_array(X), Y), "huge": (bad(X, (0, 0), 1e300), Y),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_taken_is_named_as_by_the_other_way(kind, dtype):
    net = fastbp.Network([4, 5, 3], output="softmax", dtype=dtype, seed=0)
    given, labels = BAD[kind]
    if kind == "huge" and dtype == np.float64:
        given = bad(X, (0, 0), np.inf)
    of_X = "predict", "predict into out", "activations"
    for name, call in calls(net, given, labels, {}).items():
        if name in of_X and given is X:
            continue
        if kind == "no rows" and name in of_X:
            assert both(net, call)[0] == both(net, call)[1]
            continue
        if kind == "masked" and name in (*of_X, "deltas", "evaluate"):
            continue
        errors = []
        for evaluator in (net._evaluator, Absent()):
            net._evaluator = evaluator
            with pytest.raises((ValueError, TypeError)) as error:
                call()
            errors.append((error.type, str(error.value)))
            net._evaluator = sums.evaluator(net.plan, net.dtype)
        assert errors[0] == errors[1]


@pytest.mark.parametrize("options", [
    {"weight_decay": -1}, {"weight_decay": np.nan}, {"weight_decay": np.inf}, {"weight_decay": True}, {"l1": -0.1},
    {"weight_decay": 10**400}, {"weight_decay": "a"}, {"weight_decay": [0.1]}, {"weight_decay": [0.1, -1]}, {"lam": -1},
    {"lam": 1, "weight_decay": 1}, {"lam": 1, "weight_decay": [1, 1]}, {"l1": None}, {"n_threads": 0},
    {"n_threads": True}, {"n_threads": 1.5}, {"out": np.empty(3)}, {"out": np.empty(43, np.float32)}, {"out": [1.0]},
    {"theta": np.ones(3)}, {"theta": np.full(43, np.nan)}, {"theta": "x"}, {"out": np.zeros((43, 2))[:, 0]},
])
def test_settings_that_cannot_be_taken_are_named_and_nothing_is_written(options):
    net = fastbp.Network([4, 5, 3], output="softmax", seed=0)
    assert net.n_parameters == 43
    given = {"theta": net.theta} | options
    before = np.array(options.get("out", 0.0), copy=True)
    assert raw(net, X, Y, **given) is None
    with pytest.raises((ValueError, TypeError), match=next(iter(options)).replace("weight_decay", "weight_decay|lam")):
        net.cost_and_gradient(X, Y, **options)
    assert np.array_equal(before, options.get("out", 0.0))


def test_frozen_arrays_are_read_and_not_written_to():
    net = fastbp.Network([4, 5, 3], output="softmax", seed=0)
    frozen = [X.copy(), Y.copy(), net.theta.copy(), np.zeros(43)]
    for each in frozen:
        each.setflags(write=False)
    assert raw(net, *frozen[:2], theta=frozen[2]) is not None
    with pytest.raises(ValueError, match="out must be"):
        net.cost_and_gradient(*frozen[:2], theta=frozen[2], out=frozen[3])
    assert (frozen[3] == 0).all()


def test_out_may_lie_in_theta_in_x_or_be_theta():
    for where in ("theta", "X"):
        found = []
        for prepared in (True, False):
            net = fastbp.Network([4, 5, 3], output="softmax", seed=0)
            given = np.ones(44).reshape(11, 4)
            if not prepared:
                net._evaluator = Absent()
            out = net.theta if where == "theta" else given.ravel()[:43]
            J, D = net.cost_and_gradient(given, np.arange(11) % 3, out=out)
            assert D is out
            found.append((J, D.tolist()))
        assert found[0] == found[1]


# ---------------------------------------------------------------- between calls


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_theta_that_is_not_finite_is_named(dtype):
    net = fastbp.Network([4, 5, 3], output="softmax", dtype=dtype, seed=0)
    net.predict(X)
    net.Theta[0][2, 1] = np.nan
    for call in calls(net, X, Y, {}).values():
        with pytest.raises(ValueError, match=r"net\.theta contains NaN"):
            call()


@pytest.mark.parametrize("damage", ["resize", "shape", "dtype", "bytes", "strides"])
def test_fault_54_a_theta_changed_between_two_calls_is_not_taken(damage):
    parts = Parts(np.float64)
    evaluator = parts.evaluator()
    arguments = (0.0, None, 0.0, None, None)
    assert evaluator.cost_and_gradient(parts.X, parts.Y, parts.theta, *arguments) is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # deprecated by NumPy
        if damage == "resize":
            parts.theta.resize(5, refcheck=False)
        elif damage == "shape":
            parts.theta.shape = (1, parts.theta.size)
        elif damage == "strides":
            parts.theta.strides = (0,)
        else:
            parts.theta.dtype = {"dtype": np.int64, "bytes": np.uint8}[damage]
    for call in (
        lambda: evaluator.cost_and_gradient(parts.X, parts.Y, parts.theta, *arguments),
        lambda: evaluator.cost(parts.X, parts.Y, parts.theta, *arguments[:3], None),
        lambda: evaluator.evaluate(parts.X, parts.Y, parts.theta), lambda: evaluator.predict(parts.X, parts.theta),
        lambda: evaluator.activations(parts.X, parts.theta), lambda: evaluator.deltas(parts.X, parts.Y, parts.theta),
    ):
        assert call() is None


@pytest.mark.parametrize("what", ["X", "Y", "labels", "theta", "out"])
def test_fault_54_views_of_what_was_resized_are_not_taken(what):
    parts = Parts(np.float64)
    evaluator, given = parts.evaluator(), {name: getattr(parts, name) for name in ("X", "Y", "labels", "theta")}
    owner = given[what] if what != "out" else np.zeros_like(parts.theta)
    given[what] = owner[:]
    owner.resize(1, refcheck=False)
    targets = given["labels"] if what == "labels" else given["Y"]
    assert evaluator.cost_and_gradient(
        given["X"], targets, given["theta"], 0.0, None, 0.0, given.get("out"), None) is None


def test_a_network_of_another_state_has_an_evaluator_of_its_own():
    net, other = (fastbp.Network([4, s, 3], output="softmax", seed=s) for s in (5, 2))
    before = net.cost(X, Y)
    net.__setstate__(other.__getstate__())
    assert net.cost(X, Y) == other.cost(X, Y) != before
    single = net.copy(np.float32)
    assert single.cost_and_gradient(X, Y)[1].dtype == np.float32
    found, expected = both(single, lambda: single.predict(X))
    assert found == expected


def test_what_it_is_given_must_fit():
    parts = Parts(np.float64)
    evaluator, examples = parts.evaluator(), _backprop.Examples(parts.X, parts.Y)
    good = (examples, M, float(M), parts.theta, (0.0, 0.0), 0.0, True)
    assert evaluator.of_examples(*good)[0] > 0
    for at, value in ((0, object()), (4, (0.0,)), (4, [0.0, 0.0])):
        with pytest.raises(TypeError, match="examples must be"):
            evaluator.of_examples(*good[:at], value, *good[at + 1 :])
    for at, value in ((1, 0), (1, -1), (1, 2**62), (3, parts.theta[:-1]), (3, None)):
        assert evaluator.of_examples(*good[:at], value, *good[at + 1 :]) is None
    with pytest.raises(ValueError, match="columns"):
        evaluator.of_examples(_backprop.Examples(parts.X[:, :3].copy(), parts.Y), *good[1:])
    with pytest.raises(ValueError, match="examples"):
        evaluator.of_examples(_backprop.Examples(parts.X[:3], parts.Y[:3]), *good[1:])
    parts.X.resize(1, refcheck=False)
    with pytest.raises(ValueError, match="changed"):
        evaluator.of_examples(*good)
