"""Bad calls for many networks: `train_many` and `Ensemble`."""

import numpy as np
from bad_calls import RULES, Setting, dropout_kind, free_kind, optimizer_kind, paths
from bad_values import count, flag, is_not, number, one_of, seed

import fastbp

N = 7   # networks: no list among the bad values has this length


def train_many(rng):
    s = Setting(rng)
    nets = [s.net, *(s.net.copy() for _ in range(N - 1))]
    good = {"nets": nets, "X": s.X, "Y": s.Y, "epochs": 1, "batch_size": [1, 2, None][rng.integers(3)],
            "optimizer": RULES[rng.integers(len(RULES))](), "seed": 0, "n_threads": 2}
    rows = one_of(is_not("none", "generator", "list", "nested", "array", "true", "numpy true"), lambda rng: [s.m],
                  lambda rng: np.array([-1]), lambda rng: np.array([0.5]), lambda rng: np.zeros(s.m, bool),
                  lambda rng: np.zeros(s.m + 1, bool), lambda rng: [np.arange(s.m)] * (N - 1), lambda rng: [[0], [s.m]])
    kinds = {
        "nets": one_of(is_not("list", "array"), lambda rng: [*nets, s.net], lambda rng: [s.net.plan],
                       lambda rng: s.net, lambda rng: iter(nets)),
        "X": s.x, "Y": (s.y, r"\bY\b"), "optimizer": optimizer_kind(), "epochs": count(1),
        "batch_size": count(1, "none"), "clip_value": number(0, np.inf, "none", open_low=True), "l1": number(),
        "input_dropout": number(0, 1),
        "clip_norm": number(0, np.inf, "none", open_low=True), "dropout": dropout_kind(len(s.net.layer_sizes) - 2),
        "shuffle": flag(), "seed": seed, "progress": flag(), "n_threads": count(1, "none"), "resume": flag(),
        "lam": number(0, np.inf, "none"), "free": free_kind(s.net), "rows": rows, "validation_rows": rows,
        "on_error": one_of(is_not(), lambda rng: "ignore", lambda rng: "RAISE"),
        "checkpoint": (paths("none"), "path|checkpoint"),
        "checkpoint_every": one_of(is_not("float"), lambda rng: 0, lambda rng: (1, "epochs"), lambda rng: (1,),
                                   lambda rng: (np.nan, "seconds"), lambda rng: (1.5, "networks")),
        "metrics": one_of(is_not(), lambda rng: ["Accuracies"], lambda rng: [["mse"]] * (N - 1)),
        "callbacks": one_of(is_not(), lambda rng: [fastbp.callbacks.EarlyStopping], lambda rng: [[]] * (N - 1)),
    }
    return fastbp.train_many, good, kinds, nets


def ensemble(rng):
    s = Setting(rng)
    other = fastbp.Network([s.net.layer_sizes[0] + 1, s.K], seed=0)
    kinds = {"nets": one_of(is_not("list", "array"), lambda rng: [], lambda rng: [s.net, other], lambda rng: s.net,
                            lambda rng: [s.net.theta])}
    return fastbp.Ensemble, {"nets": [s.net]}, kinds, [s.net]


def predict(rng):
    s = Setting(rng)
    return fastbp.Ensemble([s.net, s.net.copy()]).predict, {"X": s.X}, {"X": s.x}, [s.net]


MAKERS = [train_many, ensemble, predict]
