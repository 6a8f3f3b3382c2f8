"""Calls with one bad argument, as in bad_calls.py: rules, schedules, callbacks, metrics, scaling, files and ranks."""

import numpy as np
from bad_calls import RULES, Setting, not_none, paths
from bad_values import (
    array_like,
    count,
    examples,
    flag,
    is_not,
    name,
    number,
    one_of,
    rate,
    weights,
)
from communicators import Serial

import fastbp
from fastbp import callbacks, metrics, optimizers, schedules


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


def distributed(rng):
    kinds = {"comm": is_not()}
    if rng.integers(2):
        return fastbp.distributed.rows, {"m": 10, "comm": Serial()}, {**kinds, "m": count(0)}, []
    parts = one_of(count(1), lambda rng: int(rng.choice([3, 5, 6, 7, 12, 100])))
    kinds["parts"] = lambda rng: not_none(parts, rng)
    return fastbp.distributed.Group, {"comm": Serial(), "parts": 2}, kinds, []


MAKERS = [rules, bad_rates, of_schedules, of_callbacks, of_metrics, standardise, files, distributed]
