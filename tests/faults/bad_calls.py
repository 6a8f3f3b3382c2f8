"""Calls of every public entry point with one bad argument: functions, arguments, and objects that must not change.

A maker draws a good call from a generator: (function, good keyword arguments, {name: kind of bad values, see
bad_values.py}, objects to be watched). If messages name an argument differently: {name: (kind, pattern)}.
"""

import re
from functools import cache

import numpy as np
from bad_values import (
    answers,
    array_like,
    count,
    examples,
    flag,
    is_not,
    name,
    number,
    odd,
    one_of,
    parameters,
    room,
    seed,
    weights,
)
from helpers import problem
from reference import ACTIVATIONS, PAIRS

import fastbp
from fastbp import optimizers, schedules

MAKERS = []
SIZES = [(1, 1), (3, 2), (4, 1), (2, 3, 1), (3, 5, 4), (4, 3, 2, 3)]


def maker(function):
    MAKERS.append(function)
    return function


@cache
def problems():
    """Networks of every output and loss, in both dtypes"""
    found = []
    for i, (output, loss) in enumerate(PAIRS):
        for j in range(4):
            sizes = SIZES[(i + j) % len(SIZES)]
            if output == "softmax" and sizes[-1] == 1:
                sizes = (*sizes[:-1], 3)
            dtype = [np.float32, np.float64][j % 2]
            found.append(problem(sizes, list(ACTIVATIONS)[(i + j) % len(ACTIVATIONS)], output, loss, m=3 + i % 5,
                                 dtype=dtype, seed=i))
    return found


class Setting:
    """A new network with examples, answers and weights, and the kinds of bad values for it"""

    def __init__(self, rng):
        self.problem = p = problems()[rng.integers(len(problems()))]
        self.net, self.X, self.w = p.network(), p.X, p.weights
        self.dtype, self.K, self.m = self.net.dtype.type, self.net.layer_sizes[-1], len(p.X)
        labels = self.net.output in ("softmax", "sigmoid", "tanh") and self.K > 1 and rng.integers(2)
        self.Y = p.labels if labels else p.Y
        plan = self.net.plan
        self.x, self.weights = examples(p.X, self.dtype), weights(self.m, self.dtype)
        self.row = examples(p.X, self.dtype, one_row=True)
        self.y, self.theta = answers(self.Y, self.K, plan, self.dtype), parameters(p.theta)
        n = len(self.net.Theta)
        self.c = one_of(number(0, np.inf, "list", "array"), lambda rng: [0.1] * (n + 1), lambda rng: [-1.0] * n,
                        lambda rng: np.full(n, np.nan), lambda rng: [])

    def penalties(self):
        return {"weight_decay": self.c, "lam": number(0, np.inf, "none"), "l1": number()}


@maker
def network(rng):
    kinds = {
        "layer_sizes": one_of(
            is_not("generator", "bytes"), lambda rng: [3], lambda rng: [], lambda rng: [3, 0], lambda rng: [0, 3, 2],
            lambda rng: [3, -int(rng.integers(1, 2**40)), 2], lambda rng: [3, 2.0], lambda rng: [3, 2**31 - 1],
            lambda rng: [2**30, 2**30, 2**30], lambda rng: [3, None], lambda rng: [3, "4", 2], lambda rng: [3, [4], 2],
            lambda rng: np.array([3.0, 2.0]), lambda rng: [10**30, 2], lambda rng: np.array([[3, 2]]),
        ),
        "activation": one_of(name(list(ACTIVATIONS)), lambda rng: ["relu"] * 3, lambda rng: [], lambda rng: [None] * 2,
                             lambda rng: ["relu", "relu?"], lambda rng: [["relu"]] * 2),
        "output": name(["sigmoid", "softmax", "identity", "tanh", "exp"], "none"),
        "loss": name(["cross_entropy", "squared_error", "poisson", "huber"], "none"),
        "huber_delta": number(0, np.inf, "none", open_low=True),
        "quantile": number(0, 1, "none", open_low=True), "label_smoothing": number(0, 1),
        "dtype": one_of(is_not("none", "class", "function"), lambda rng: np.float16, lambda rng: int,
                        lambda rng: complex, lambda rng: "f16", lambda rng: object, lambda rng: np.longdouble),
        "init": one_of(
            name(["glorot_uniform", "he_normal", "normal"], "generator"), lambda rng: np.zeros(5),
            lambda rng: array_like(np.arange(26.0), rng), lambda rng: [np.zeros((4, 4))], lambda rng: [1, 2, "a"],
            lambda rng: [np.zeros((4, 4)), np.full((2, 5), np.nan)], lambda rng: [np.zeros((4, 4)), "a"],
            lambda rng: [np.zeros((4, 4)), np.zeros((2, 5), complex)], lambda rng: [np.zeros((4, 4)), [[1, 2], [3]]],
        ),
        "eps": number(0, np.inf, "none"),
        "seed": seed,
    }
    good = {"layer_sizes": [3, 4, 4, 2], "init": rng.choice(["normal", "uniform"])}
    return fastbp.Network, good, kinds, []


@maker
def predict(rng):
    s = Setting(rng)
    if rng.integers(2):
        good, kinds = {"X": s.X[0]}, {"X": s.row, "out": room((s.K,), s.dtype)}
    else:
        good, kinds = {"X": s.X}, {"X": s.x, "out": room((s.m, s.K), s.dtype)}
    return s.net.predict, good, kinds, [s.net]


@maker
def activations(rng):
    s = Setting(rng)
    return s.net.activations, {"X": s.X}, {"X": s.x}, [s.net]


@maker
def deltas(rng):
    s = Setting(rng)
    return s.net.deltas, {"X": s.X, "Y": s.Y}, {"X": s.x, "Y": s.y}, [s.net]


@maker
def accumulate(rng):
    s = Setting(rng)
    good = {"X": s.X, "Y": s.Y, "per_example": bool(rng.integers(2))}
    return s.net.accumulate, good, {"X": s.x, "Y": s.y, "per_example": flag(), "sample_weight": s.weights}, [s.net]


@maker
def cost_and_gradient(rng):
    s = Setting(rng)
    kinds = {"X": s.x, "Y": s.y, "theta": lambda rng: not_none(s.theta, rng), "sample_weight": s.weights,
             "n_threads": count(1, "none"), "out": room(s.net.theta.shape, s.dtype), **s.penalties()}
    good = {"X": s.X, "Y": s.Y}
    if rng.integers(2):
        del kinds["out"]
        return s.net.cost, good, kinds, [s.net]
    return s.net.cost_and_gradient, good, kinds, [s.net]


@maker
def curvature(rng):
    s = Setting(rng)
    kinds = {"X": s.x, "Y": s.y, "theta": lambda rng: not_none(s.theta, rng), "sample_weight": s.weights,
             "n_threads": count(1, "none"), **s.penalties()}
    good = {"X": s.X, "Y": s.Y}
    if rng.integers(2):
        operator = (fastbp.curvature.hessian, fastbp.curvature.gauss_newton)[rng.integers(2)]
        return operator, {**good, "net": s.net}, {**kinds, "net": is_not()}, [s.net]
    kinds |= {"p": lambda rng: not_none(s.theta, rng), "out": room(s.net.theta.shape, s.dtype)}
    product = (s.net.hessian_product, s.net.gauss_newton_product)[rng.integers(2)]
    return product, {**good, "p": s.problem.theta}, kinds, [s.net]


def slopes(m, K, dtype):
    """No G (m, K)"""
    good = np.random.default_rng(0).standard_normal((m, K)).astype(dtype)
    return one_of(lambda rng: array_like(good, rng, largest=dtype), lambda rng: good[1:], lambda rng: good[:, :-1],
                  lambda rng: good[:, :, None], lambda rng: good.ravel(), lambda rng: None, lambda rng: 1.0)


def free_kind(net):
    n, L = net.n_parameters, len(net.layer_sizes)
    return one_of(
        is_not("none", "array"), lambda rng: np.ones(n + 1, bool), lambda rng: np.zeros(n, bool), lambda rng: [0],
        lambda rng: [L], lambda rng: [1, -1], lambda rng: [1.0], lambda rng: [True], lambda rng: np.ones(n),
        lambda rng: np.ones((n, 1), bool), lambda rng: np.ones(n, int), lambda rng: (2**70,),
    )


def factors_kind(net):
    n = len(net.layer_sizes) - 1
    return one_of(
        is_not("none", "dict", "array", "list", "nested"), lambda rng: [1] * (n + 1), lambda rng: {"weight": 1},
        lambda rng: {"biases": odd(rng, "float", "fraction")}, lambda rng: [-1] * n, lambda rng: [(1, 2, 3)] * n,
        lambda rng: [None] * n, lambda rng: np.full(n, np.nan), lambda rng: {"weights": np.inf},
    )


@maker
def outside(rng):
    s = Setting(rng)
    if rng.integers(2):
        return s.net.forward, {"X": s.X}, {"X": s.x, "n_threads": count(1, "none")}, [s.net]
    kinds = {"X": s.x, "G": slopes(s.m, s.K, s.dtype), "wrt": one_of(is_not("text"), lambda rng: "H"),
             "inputs": flag(), "out": room(s.net.theta.shape, s.dtype), "n_threads": count(1, "none")}
    return s.net.backward, {"X": s.X, "G": np.ones((s.m, s.K))}, kinds, [s.net]


@maker
def of_each(rng):
    s = Setting(rng)
    which = rng.integers(5)
    threads = count(1, "none")
    if which == 0:
        kinds = {"X": s.x, "wrt": one_of(is_not("text"), lambda rng: "h"), "n_threads": threads,
                 "out": room((s.m, s.K, s.net.n_parameters), s.dtype)}
        return s.net.jacobian, {"X": s.X}, kinds, [s.net]
    if which == 1:
        kinds = {"X": s.x, "Y": s.y, "out": room((s.m, s.net.n_parameters), s.dtype), "n_threads": threads}
        return s.net.gradients, {"X": s.X, "Y": s.Y}, kinds, [s.net]
    if which == 2:
        return s.net.gradient_norms, {"X": s.X, "Y": s.Y}, {"X": s.x, "Y": s.y, "n_threads": threads}, [s.net]
    if which == 3:
        kinds = {"D": one_of(is_not("array"), lambda rng: s.problem.theta[:-1], lambda rng: s.problem.theta[:, None])}
        return s.net.views, {"D": s.problem.theta}, kinds, [s.net]
    L = len(s.net.layer_sizes)
    number_of = one_of(count(1), lambda rng: L + 1, lambda rng: 2**70)
    return s.net.layers, {"first": 1, "last": L}, {"first": number_of, "last": (number_of, "last|first")}, [s.net]


def not_none(kind, rng):
    while (value := kind(rng)) is None:
        pass
    return value


@maker
def evaluate(rng):
    s = Setting(rng)
    return s.net.evaluate, {"X": s.X, "Y": s.Y}, {"X": s.x, "Y": s.y, "sample_weight": s.weights}, [s.net]


@maker
def data(rng):
    s = Setting(rng)
    return s.net.data, {"X": s.X, "Y": s.Y}, {"X": s.x, "Y": s.y, "sample_weight": s.weights}, [s.net]


@maker
def of_networks(rng):
    s = Setting(rng)
    which = rng.integers(4)
    if which == 0:
        return s.net.initialize, {}, {"seed": seed}, [s.net]
    if which == 1:
        return s.net.copy, {}, {"dtype": one_of(is_not("none", "class", "function"), lambda rng: int)}, [s.net]
    if which == 2:
        return lambda theta: setattr(s.net, "theta", theta), {"theta": s.problem.theta}, {"theta": s.theta}, [s.net]
    kinds = {"net": is_not(), "X": examples(s.X, np.float64), "Y": answers(s.Y, s.K, s.net.plan, np.float64),
             "sample_weight": weights(s.m, np.float64), "directions": count(1, "none"), "seed": seed,
             "h": number(0, np.inf, open_low=True), **s.penalties()}
    return fastbp.check_gradient, {"net": s.net, "X": s.X, "Y": s.Y, "directions": 1}, kinds, [s.net]


@maker
def minimize(rng):
    s = Setting(rng)
    kinds = {
        "net": is_not(), "X": s.x, "Y": s.y, "sample_weight": s.weights, "method": one_of(
            is_not(), lambda rng: "trust-exact", lambda rng: "Nelder-Mead", lambda rng: ["CG"]),
        "maxiter": count(1), "tol": number(0, np.inf, "none"), "n_threads": count(1, "none"),
        "callback": is_not("none", "function", "class"), "options": is_not("none", "dict"), **s.penalties(),
        "free": free_kind(s.net), "curvature": one_of(is_not("none"), lambda rng: "hessian"),   # not of L-BFGS-B
    }
    return fastbp.minimize, {"net": s.net, "X": s.X, "Y": s.Y, "maxiter": 1}, kinds, [s.net]


CURVED = ("squared_error", "cross_entropy", "poisson")


@maker
def second_order(rng):
    while (s := Setting(rng)).net.loss not in CURVED:
        pass
    n = len(s.net.Theta)
    own = {
        "max_fail": count(1), "bayesian": flag(), "validation_data": one_of(
            is_not("none", "array"), lambda rng: (s.X,), lambda rng: (s.X, None), lambda rng: (s.X[:, :0], s.Y)),
        "decay_bias": lambda rng: True, "l1": one_of(lambda rng: 0.1, number()), "method": lambda rng: "lmm",
        "options": one_of(is_not("none", "dict"), lambda rng: {"a": 1}, lambda rng: {"mu": 0},
                          lambda rng: {"scaling": 1}),
    }
    good = {"net": s.net, "X": s.X, "Y": s.Y, "maxiter": 1, "method": "lm"}
    if rng.integers(2):
        return fastbp.minimize, good, {**own, "X": s.x, "Y": s.y, "sample_weight": s.weights}, [s.net]
    x = examples(s.X, np.dtype(np.float64))       # Laplace computes in float64
    kinds = {"net": is_not(), "X": x, "Y": s.y, "sample_weight": s.weights, "last_layer": flag(),
             "bias_precision": number(0, np.inf, "none", open_low=True), "free": free_kind(s.net),
             "weight_decay": one_of(number(0, np.inf, "none"), lambda rng: [0.1] * (n + 1), lambda rng: [-1.0] * n)}
    good = {"net": s.net, "X": s.X, "Y": s.Y, "weight_decay": 1.0, "bias_precision": 1.0}
    which = rng.integers(3)
    if which == 0:
        return fastbp.Laplace, good, kinds, [s.net]
    laplace = fastbp.Laplace(**good)
    if which == 1:
        return laplace.predict, {"X": s.X}, {"X": x, "noise": flag(), "n_threads": count(1, "none")}, [laplace]
    return laplace.sample, {"X": s.X, "n": 2}, {"X": x, "n": count(1), "seed": seed, "n_threads": count(1, "none")}, [
        laplace]


def optimizer_kind():
    return one_of(name(list(optimizers.NAMED)), lambda rng: fastbp.Adam, lambda rng: optimizers.NAMED)


def dropout_kind(hidden):
    return one_of(number(0, 1, "list", "array"), lambda rng: [0.1] * (hidden + 1), lambda rng: [1.0] * max(hidden, 1),
                  lambda rng: ["a"] * hidden or ["a"], lambda rng: np.full(max(hidden, 1), -0.5))


RULES = [lambda: "adam", lambda: fastbp.SGD(0.1), lambda: fastbp.SGD(0.1, momentum=0.5), lambda: fastbp.AdamW(),
         lambda: optimizers.RPROP(), lambda: optimizers.Nadam(schedules.Cosine(0.1, 10))]


def paths(*but):
    """A value that names no file"""
    return one_of(is_not("text", "bytes", *but), lambda rng: "a\0b", lambda rng: b"\0", lambda rng: "\ud800",
                  lambda rng: int(rng.integers(3, 100)))


# ---------------------------------------------------------------- objects that must not change


def state_of(value):
    """The contents of an object or argument in a form that can be compared"""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes() if value.dtype != object else repr(value)
    if isinstance(value, fastbp.Network):
        return state_of(value.theta), repr(value.settings())
    if isinstance(value, fastbp.Trainer):
        settings = (value.weight_decay, value.l1, value.batch_lam, value.clip_value, value.clip_norm, value.dropout)
        return state_of(value.state), repr(settings), repr(value.optimizer)
    if isinstance(value, dict):
        return [(key, state_of(each)) for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return [state_of(each) for each in value]
    if isinstance(value, fastbp.Laplace):
        return state_of(value.net), repr(value), state_of(value._posterior.U)
    if isinstance(value, fastbp.Standardise):
        return state_of(vars(value))
    if type(value).__module__.startswith("fastbp.sklearn"):
        return state_of({key: each for key, each in vars(value).items() if key != "_fastbp_model"})
    return repr(value)


def fault(function, arguments, kinds, watched, rng):
    """The fault in the handling of one bad argument of the call; None if it is refused by name"""
    argument = list(kinds)[rng.integers(len(kinds))]
    kind = kinds[argument]
    kind, pattern = kind if isinstance(kind, tuple) else (kind, rf"\b{argument}\b")
    value = kind(rng)
    if value is None and arguments.get(argument) is None and argument != "Y" and "none" not in argument:
        value = kind(rng)
    arguments = {**arguments, argument: value}
    before = state_of(watched), state_of(arguments)
    told = f"{getattr(function, '__qualname__', function)}, {argument}={value!r:.300}: "
    try:
        function(**arguments)
    except (ValueError, TypeError) as error:
        if not re.search(pattern, str(error)):
            return f"{told}not named in {type(error).__name__}: {error!s:.300}"
    except Exception as error:
        return f"{told}{type(error).__name__}: {error!s:.300}"
    else:
        return f"{told}accepted"
    if (state_of(watched), state_of(arguments)) != before:
        return f"{told}refused, but something has changed"
    return None
