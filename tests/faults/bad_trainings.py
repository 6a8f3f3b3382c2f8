"""Calls with one bad argument, as in bad_calls.py: `train`, and a trainer's steps and attributes."""

import numpy as np
from bad_calls import RULES, Setting, dropout_kind, factors_kind, free_kind, not_none, optimizer_kind, paths, slopes
from bad_values import (
    count,
    flag,
    is_not,
    number,
    odd,
    one_of,
    parameters,
    seed,
)

import fastbp
from fastbp import callbacks


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


MAKERS = [train, train_on_chunks, trainer, trainer_steps, trainer_attributes]
