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
    rate,
    room,
    seed,
    weights,
)
from communicators import Serial
from helpers import problem
from reference import ACTIVATIONS, PAIRS

import fastbp
from fastbp import callbacks, metrics, optimizers, schedules

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


@maker
def train(rng):
    s = Setting(rng)
    hidden = len(s.net.layer_sizes) - 2
    good = {"net": s.net, "X": s.X, "Y": s.Y, "epochs": 1, "batch_size": [1, 2, None][rng.integers(3)],
            "optimizer": RULES[rng.integers(len(RULES))](), "seed": 0}
    held = {"validation_data": one_of(
        is_not("none", "generator", "texts", "array", "list"), lambda rng: (s.X,), lambda rng: (s.X, s.Y, s.w, 1),
        lambda rng: (s.x(rng), s.Y), lambda rng: (s.X, not_none(s.y, rng)), lambda rng: (s.X, s.Y, s.weights(rng)),
        lambda rng: {"X": s.X, "Y": s.Y}, lambda rng: np.array(s.X),
    )}
    # messages say "sample_weight" whichever data the weights belong to
    held["validation_data"] = (held["validation_data"], r"validation_data|sample_weight")
    kinds = {
        "net": is_not(), "X": s.x, "Y": (s.y, r"\bY\b"), "sample_weight": s.weights, "optimizer": optimizer_kind(),
        "epochs": count(1), "batch_size": count(1, "none"), "clip_value": number(0, np.inf, "none", open_low=True),
        "clip_norm": number(0, np.inf, "none", open_low=True), "dropout": dropout_kind(hidden),
        "input_dropout": number(0, 1), "shuffle": flag(), "window": count(1, "none"), **held,
        "validation_split": one_of(number(0, 1), lambda rng: 1e-12, lambda rng: 1 - 1e-12),
        "metrics": one_of(is_not(), lambda rng: ["mse", "mse"], lambda rng: [odd(rng, "function", "class")],
                          lambda rng: "accuracy", lambda rng: ["Accuracy"], lambda rng: ["J"]),
        "callbacks": one_of(is_not(), lambda rng: [odd(rng, "function")], lambda rng: callbacks.Logging(),
                            lambda rng: [callbacks.EarlyStopping]),
        "seed": seed, "progress": flag(), "n_threads": count(1, "none"), **s.penalties(), "resume": flag(),
        "free": free_kind(s.net), "learning_rate_factors": factors_kind(s.net),
        "input_scale": number(0, np.inf, "none", open_low=True),
        "checkpoint": (paths("none"), "path|checkpoint"), "checkpoint_every": one_of(
            is_not("float"), lambda rng: 0, lambda rng: -1, lambda rng: (0, "batches"), lambda rng: (1, "hours"),
            lambda rng: (1.5, "epochs"), lambda rng: (1,), lambda rng: (np.nan, "seconds"), lambda rng: ("1", "epochs"),
        ),
    }
    return fastbp.train, good, kinds, [s.net]


@maker
def train_on_chunks(rng):
    """The first chunk is bad, so nothing has changed yet"""
    s = Setting(rng)
    good = {"net": s.net, "X": [(s.X, s.Y)], "epochs": 1, "batch_size": 2, "seed": 0}
    kinds = {
        "X": (one_of(
            lambda rng: [(s.x(rng), s.Y)], lambda rng: [(s.X, not_none(s.y, rng))], lambda rng: [],
            lambda rng: [(s.X, s.Y, s.weights(rng))], lambda rng: lambda: iter([(s.X,)]),
            lambda rng: iter([(s.X, s.Y)]),
            lambda rng: [(s.X, s.Y, s.w, s.w)], lambda rng: s.X, lambda rng: [odd(rng, "list", "nested")],
        ), r"\bX\b|chunk 0|sample_weight"),
        "batch_size": count(1), "sample_weight": lambda rng: s.w, "lam": number(1, 0, "none"),
        "validation_split": number(0, 1, "none"),
    }
    return fastbp.train, good, kinds, [s.net]


@maker
def trainer(rng):
    s = Setting(rng)
    kinds = {
        "net": is_not(), "optimizer": optimizer_kind(), "weight_decay": s.c, "l1": number(), "batch_lam": number(),
        "clip_value": number(0, np.inf, "none", open_low=True), "clip_norm": number(0, np.inf, "none", open_low=True),
        "dropout": dropout_kind(len(s.net.layer_sizes) - 2), "input_dropout": number(0, 1), "seed": seed,
        "n_threads": count(1, "none"), "free": free_kind(s.net),
        "learning_rate_factors": factors_kind(s.net),
        "input_scale": number(0, np.inf, "none", open_low=True),
    }
    return fastbp.Trainer, {"net": s.net, "optimizer": RULES[rng.integers(len(RULES))]()}, kinds, [s.net]


@maker
def trainer_steps(rng):
    s = Setting(rng)
    trainer = fastbp.Trainer(s.net, RULES[rng.integers(len(RULES))]())
    if rng.integers(2):
        trainer.step(s.X, s.Y)
    watched = [s.net, trainer]
    which = rng.integers(5)
    if which == 0:
        return trainer.forward, {"X": s.X}, {"X": s.x}, watched
    if which == 1:
        gradient = np.ones((s.m, s.K), s.dtype)
        kinds = {"X": s.x, "gradient": lambda rng: not_none(slopes(s.m, s.K, s.dtype), rng)}
        return trainer.step, {"X": s.X, "gradient": gradient}, kinds, watched
    if which == 2:
        return trainer.apply, {"D": s.problem.theta}, {"D": parameters(s.problem.theta, none=False)}, watched
    if which == 3:
        return trainer.step, {"X": s.X, "Y": s.Y}, {"X": s.x, "Y": s.y, "sample_weight": s.weights}, watched
    order = one_of(
        is_not("none", "array", "list", "texts", "objects", "record"), lambda rng: [], lambda rng: [s.m],
        lambda rng: np.array([0, -1]), lambda rng: [0.0, 1.0], lambda rng: [[0, 1]], lambda rng: [2**62], lambda rng: 0,
        lambda rng: np.array([0, 2**63], np.uint64), lambda rng: rng.standard_normal(4), lambda rng: ["a", "b"],
        lambda rng: np.array([None, 1]), lambda rng: [True, False],
    )
    kinds = {"X": s.x, "Y": s.y, "sample_weight": s.weights, "batch_size": count(1, "none"), "order": order}
    return trainer.epoch, {"X": s.X, "Y": s.Y, "batch_size": 2}, kinds, watched


@maker
def trainer_attributes(rng):
    s = Setting(rng)
    trainer = fastbp.Trainer(s.net, "adam")
    trainer.step(s.X, s.Y)
    kinds = {
        "weight_decay": s.c, "l1": number(), "batch_lam": number(),
        "clip_value": number(0, np.inf, "none", open_low=True), "clip_norm": number(0, np.inf, "none", open_low=True),
        "state": one_of(
            is_not(), lambda rng: {}, lambda rng: {**trainer.state, "t": -1}, lambda rng: {**trainer.state, "t": 1.5},
            lambda rng: {**trainer.state, "m": np.zeros(s.net.n_parameters + 1, s.dtype)},
            lambda rng: {**trainer.state, "v": None}, lambda rng: {**trainer.state, "v": list(trainer.state["v"])},
            lambda rng: {**trainer.state, "t": 2**70 + int(rng.integers(9))},
            lambda rng: {"t": 1, "m": trainer.state["m"]},
        ),
    }

    def assign(**value):
        setattr(trainer, *next(iter(value.items())))

    return assign, {}, kinds, [s.net, trainer]


@maker
def rules(rng):
    makers = {
        fastbp.SGD: {"learning_rate": rate(), "momentum": number(0, 1, open_high=False), "nesterov": flag()},
        fastbp.Adam: {"learning_rate": rate(), "beta_1": number(0, 1), "beta_2": number(0, 1), "epsilon_hat": flag(),
                      "epsilon": number(0, np.inf, open_low=True)},
        fastbp.AdamW: {"learning_rate": rate(), "beta_1": number(0, 1), "beta_2": number(0, 1),
                       "epsilon": number(0, np.inf, open_low=True), "weight_decay": number()},
        fastbp.LBFGS: {"memory": count(), "gtol": number(0), "ftol": number(0), "maxls": count()},
        fastbp.RMSprop: {"learning_rate": rate(), "decay": number(0, 1), "momentum": number(0, 1, open_high=False),
                         "epsilon": number(0, np.inf, open_low=True)},
        optimizers.Nadam: {"learning_rate": rate(), "beta_1": number(0, 1), "beta_2": number(0, 1),
                           "epsilon": number(0, np.inf, open_low=True), "momentum_decay": number()},
        optimizers.Adagrad: {"learning_rate": rate(), "initial": number(), "epsilon": number(0, np.inf, open_low=True)},
        optimizers.RPROP: {"learning_rate": number(0, np.inf, open_low=True), "most": number(1e-6),
                           "eta_minus": number(0, 1, open_low=True, open_high=False), "eta_plus": number(1),
                           "least": number(0, np.inf, open_low=True)},
    }
    rule = list(makers)[rng.integers(len(makers))]
    return rule, {"momentum": 0.5} if rule is fastbp.SGD else {}, makers[rule], []


@maker
def bad_rates(rng):
    """A function of the step that does not return a rate, which is found before the first step"""
    s = Setting(rng)
    wrong = number(0, np.inf)
    rule = [fastbp.SGD, fastbp.Adam, fastbp.AdamW, fastbp.RMSprop, optimizers.Nadam][rng.integers(5)]

    def steps(learning_rate):
        optimizer = rule(lambda t: learning_rate)
        if rng.integers(2):
            fastbp.train(s.net, s.X, s.Y, optimizer=optimizer, epochs=1, batch_size=2)
        else:
            fastbp.Trainer(s.net, optimizer).step(s.X, s.Y)

    return steps, {"learning_rate": 0.1}, {"learning_rate": wrong}, [s.net]


@maker
def of_schedules(rng):
    top = number(0, np.inf, open_low=True)
    makers = {
        schedules.Constant: ({}, {}),
        schedules.Step: ({"every": 5}, {"every": count(), "factor": number(0, 1, open_low=True, open_high=False)}),
        schedules.Exponential: ({"factor": 0.9}, {"factor": number(0, 1, open_low=True, open_high=False)}),
        schedules.InverseScaling: ({}, {"power": number()}),
        schedules.Cosine: ({"steps": 5}, {"steps": count(), "least": number(0, 0.1, open_high=False),
                                          "warmup": count(0), "restarts": flag(), "growth": count()}),
        schedules.OneCycle: ({"steps": 5}, {"steps": count(2), "rise": number(0, 1, open_low=True),
                                            "start_divisor": number(1), "end_divisor": number(1)}),
    }
    schedule = list(makers)[rng.integers(len(makers))]
    good, kinds = makers[schedule]
    return schedule, {"learning_rate": 0.1, **good}, {"learning_rate": top, **kinds}, []


@maker
def of_callbacks(rng):
    watch = {"monitor": is_not("text", "function", "class"), "patience": count(0), "min_delta": number(),
             "mode": name(["min", "max"], "none")}
    makers = {
        callbacks.EarlyStopping: {**watch, "restore_best": flag()},
        callbacks.ReduceOnPlateau: {**watch, "factor": number(0, 1, open_low=True), "least": number(),
                                    "cooldown": count(0)},
        callbacks.Logging: {"every": count(), "logger": is_not("text"), "level": is_not("negative", "text")},
    }
    callback = list(makers)[rng.integers(len(makers))]
    return callback, {}, makers[callback], []


@maker
def of_metrics(rng):
    s = Setting(rng)
    h = s.net.predict(s.X)
    function = metrics.NAMED[list(metrics.NAMED)[rng.integers(len(metrics.NAMED))]]
    kinds = {
        "h": one_of(lambda rng: array_like(h, rng, cells=False), lambda rng: h[1:], lambda rng: h[:, :, None],
                    lambda rng: np.hstack([h, h]) if s.Y.ndim > 1 else h[0], lambda rng: h[:, :0]),
        "Y": one_of(lambda rng: array_like(s.Y, rng), lambda rng: s.Y[1:], lambda rng: 1,
                    lambda rng: np.zeros((s.m, s.K + 1)), lambda rng: np.zeros((s.m, s.K, 1)),
                    lambda rng: np.full(s.m, s.K + rng.integers(2**40)) if s.K > 1 else None,
                    lambda rng: np.full(s.m, -1 - rng.integers(2**40)) if s.K > 1 else None,
                    lambda rng: np.zeros(s.m) if s.K > 1 else None),
        "sample_weight": weights(s.m, np.float64),
    }
    return function, {"h": h, "Y": s.Y, "sample_weight": s.w}, kinds, []


def no_column(kind):
    """Values of this kind, except those that are the values (m,) of one column"""
    def draw(rng):
        while True:
            value = kind(rng)
            try:
                a = np.asarray(value)
            except ValueError:
                return value
            if a.ndim != 1 or a.size == 0 or a.dtype.kind not in "biuf" or not np.isfinite(a).all():
                return value
    return draw


@maker
def standardise(rng):
    s = Setting(rng)
    kinds = {"X": examples(s.X, np.float64, one_row=True)}
    if s.X.shape[1] == 1:
        kinds["X"] = no_column(kinds["X"])
    which = rng.integers(3)
    if which == 0:
        wrong = no_column(one_of(lambda rng: array_like(s.X, rng, largest=np.float64), lambda rng: s.X[:, :0],
                                 lambda rng: s.X[:0], lambda rng: s.X[None]))
        return fastbp.Standardise, {"X": s.X}, {"X": wrong, "sample_weight": weights(s.m, np.float64)}, []
    scaling = fastbp.Standardise(s.X)
    if which == 1:
        function = scaling.transform if rng.integers(2) else scaling.inverse
        return function, {"X": s.X}, {"X": kinds["X"]}, [scaling]
    kinds = {"net": is_not(), "targets": one_of(is_not("none"), lambda rng: fastbp.Standardise(np.ones((2, s.K + 1))))}
    return scaling.fold, {"net": s.net}, kinds, [scaling]


@maker
def files(rng):
    s = Setting(rng)
    which = rng.integers(5)
    if which == 4:
        return fastbp.Laplace.load, {"path": "/nonexistent"}, {"path": paths()}, []
    if which == 0:
        return fastbp.load, {"path": "/nonexistent"}, {"path": paths()}, []
    if which == 1:
        return fastbp.save, {"path": "/nonexistent", "net": s.net}, {"path": paths(), "net": is_not()}, [s.net]
    trainer = fastbp.Trainer(s.net, RULES[rng.integers(len(RULES))]())
    if which == 2:
        return trainer.restore, {"path": "/nonexistent"}, {"path": paths()}, [s.net, trainer]
    notes = one_of(is_not("none", "dict"), lambda rng: {"a": object()}, lambda rng: {1: 2}, lambda rng: {"a": {1, 2}})
    return trainer.save, {"path": "/nonexistent"}, {"path": paths(), "notes": notes}, [s.net, trainer]


@maker
def distributed(rng):
    kinds = {"comm": is_not()}
    if rng.integers(2):
        return fastbp.distributed.rows, {"m": 10, "comm": Serial()}, {**kinds, "m": count(0)}, []
    parts = one_of(count(1), lambda rng: int(rng.choice([3, 5, 6, 7, 12, 100])))
    kinds["parts"] = lambda rng: not_none(parts, rng)
    return fastbp.distributed.Group, {"comm": Serial(), "parts": 2}, kinds, []


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
