"""Bad calls of the estimators. scikit-learn's messages name some arguments in their own way."""

import numpy as np
from bad_values import count, flag, is_not, name, number, one_of

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor

WORDS = ("inconsistent numbers of samples|inconsistent shapes|should be a 1d array|Complex data|could not convert|"
         "Found array|at least 1 dim|NaN|array-like")
OF_X = rf"\bX\b|{WORDS}|[Rr]eshape your data|Expected 2D array|dtype=|no samples|features?\b|must be|scalar"
OF_Y = rf"\b[yY]\b|{WORDS}|[Uu]nknown label type|[Mm]ultioutput|[Cc]lass|[Mm]ultilabel|target"
OF_W = r"sample_weight|[Ss]ample weights?"


def real(low=0.0, high=np.inf, *but, **how):
    """Like `number`, but scikit-learn takes True for 1"""
    return number(low, high, "true", "numpy true", *but, **how)


whole = count(1, "true")
PARAMETERS = {
    "hidden_layer_sizes": one_of(is_not("generator", "list", "array", "nested", "set", "dict", "bytes", "true",
                                        "numpy true"), lambda rng: 0,
                                 lambda rng: (3, 0), lambda rng: (3, -1), lambda rng: (2.5,), lambda rng: ("a",),
                                 lambda rng: (None,), lambda rng: [[3, 2]], lambda rng: [np.nan]),
    "activation": one_of(name(["relu", "tanh"], "list", "nested"), lambda rng: ["relu"] * 3, lambda rng: ["no"] * 2),
    "solver": one_of(name(["adam", "sgd", "lbfgs"]), lambda rng: fastbp.Adam),
    "alpha": real(0, np.inf), "batch_size": whole, "learning_rate": name(["constant", "adaptive"]),
    "learning_rate_init": real(0, np.inf, open_low=True), "power_t": real(0), "max_iter": whole,
    "shuffle": flag(), "random_state": one_of(
        is_not("none", "true", "numpy true"), lambda rng: -1, lambda rng: 1.5, lambda rng: 2**32, lambda rng: "0",
    ),
    "tol": real(0), "verbose": is_not("true", "numpy true", "negative"), "warm_start": flag(),
    "momentum": real(0, 1, open_high=False), "nesterovs_momentum": flag(), "early_stopping": flag(),
    "validation_fraction": real(0, 1), "beta_1": real(0, 1), "beta_2": real(0, 1),
    "epsilon": real(0, np.inf, open_low=True), "n_iter_no_change": count(1, "infinity", "true"), "max_fun": whole,
    "init": one_of(name(["auto", "normal"]), lambda rng: ([], []), lambda rng: ([np.zeros((9, 9))], [np.zeros(9)])),
    "scoring": one_of(name(["accuracy", "r2"], "none", "function", "class")),
    "callbacks": one_of(is_not("none", "function", "class", "list", "nested")),
    "dropout": one_of(number(0, 1, "list", "array"), lambda rng: [0.1] * 5, lambda rng: [1.0, 1.0]),
    "clip_norm": real(0, np.inf, "none", open_low=True), "n_threads": count(1, "none", "true"),
    "curve_length": count(1, "none", "true"),
}
OTHER_WORDS = {"random_state": "random_state|seed", "hidden_layer_sizes": "hidden_layer_sizes|layer_sizes"}


def data(rng):
    classifier, m, n = bool(rng.integers(2)), int(rng.integers(12, 30)), int(rng.integers(1, 5))
    X = rng.standard_normal((m, n)).astype(rng.choice(["f4", "f8"]))
    y = np.arange(m) % (2 + rng.integers(2)) if classifier else rng.standard_normal(m)
    return classifier, X, y


def fitted(rng, classifier, X, y):
    kind = MLPClassifier if classifier else MLPRegressor
    solver = rng.choice(["adam", "sgd", "lbfgs"])
    return kind(hidden_layer_sizes=(3, 2), solver=str(solver), max_iter=1, random_state=0,
                warm_start=bool(rng.integers(2)))


def fits(rng):
    """A call of fit, partial_fit, predict, score or input_gradient on a new or a fitted estimator"""
    classifier, X, y = data(rng)
    estimator, m = fitted(rng, classifier, X, y), len(X)
    known = bool(rng.integers(2))
    if known:
        with np.errstate(all="ignore"):
            estimator.fit(X, y)
    i = rng.integers(m)

    def cell(value):
        bad = X.astype(float)
        bad[rng.integers(m), rng.integers(X.shape[1])] = value
        return bad

    x = one_of(
        lambda rng: X[0], lambda rng: X[:0], lambda rng: X[:, :0], lambda rng: X[None], lambda rng: None,
        lambda rng: cell(np.nan), lambda rng: cell(np.inf), lambda rng: cell(-np.inf), lambda rng: X.astype(complex),
        lambda rng: np.full(X.shape, "text"), lambda rng: np.full(X.shape, None), lambda rng: 1.0, lambda rng: {"a": 1},
    )
    w = one_of(
        lambda rng: np.ones(m + 1), lambda rng: np.ones((m, 2)), lambda rng: np.ones(m - 1), lambda rng: np.zeros(m),
        lambda rng: np.where(np.arange(m) == i, np.nan, 1), lambda rng: np.where(np.arange(m) == i, np.inf, 1),
        lambda rng: np.where(np.arange(m) == i, -1e-9, 1), lambda rng: -np.ones(m), lambda rng: ["a"] * m,
    )
    labels = [lambda rng: np.where(np.arange(m) == i, np.nan, y), lambda rng: y.astype(complex), lambda rng: y[1:],
              lambda rng: None, lambda rng: np.concatenate([y, y[:1]]), lambda rng: np.zeros((m, 2, 2)),
              lambda rng: 1.0, lambda rng: np.zeros(0)]
    if classifier:
        labels += [lambda rng: np.linspace(0, 1, m), lambda rng: [None] * m]
    else:
        labels += [lambda rng: ["a"] * m, lambda rng: np.where(np.arange(m) == i, np.inf, y)]
    kinds = {"X": (x, OF_X), "y": (one_of(*labels), OF_Y), "sample_weight": (w, OF_W)}
    good = {"X": X, "y": y}
    which = rng.integers(4)
    if which == 0:
        return estimator.fit, good, kinds, [estimator]
    if which == 1 and estimator.solver != "lbfgs":
        if classifier and not known:
            good["classes"] = np.unique(y)
            kinds["classes"] = (one_of(lambda rng: [], lambda rng: 3, lambda rng: ["a"]),
                                r"[Cc]lass|\b[yY]\b|array-like|labels|0 sample")
        return estimator.partial_fit, good, kinds, [estimator]
    if not known:
        return estimator.fit, good, kinds, [estimator]
    wide = (one_of(x, lambda rng: np.hstack([X, X])), OF_X)
    if which == 2:
        del good["y"]
        functions = [estimator.predict, estimator.input_gradient] + ([estimator.predict_proba] if classifier else [])
        return functions[rng.integers(len(functions))], good, {"X": wide}, [estimator]
    return estimator.score, good, {"X": wide}, [estimator]


def settings(rng):
    """An impossible parameter of a new or a fitted estimator"""
    classifier, X, y = data(rng)
    estimator = fitted(rng, classifier, X, y)
    if rng.integers(2):
        estimator.fit(X, y)
    kinds = dict(PARAMETERS)
    if classifier:
        kinds["class_weight"] = one_of(name(["balanced"], "none", "dict"), lambda rng: {0: "a"}, lambda rng: {0: None})
    else:
        kinds |= {"loss": name(["squared_error"])}
    kinds = {key: (kind, OTHER_WORDS.get(key, rf"\b{key}\b")) for key, kind in kinds.items()}

    if estimator.solver == "lbfgs":     # which ignores these two
        del kinds["scoring"], kinds["dropout"]
    if estimator.warm_start:
        del kinds["init"]

    def fit(**value):
        before = {key: getattr(estimator, key) for key in (*value, "early_stopping")}
        try:
            estimator.set_params(**{"early_stopping": "scoring" in value, **value})
            estimator.fit(X, y)
        finally:
            estimator.set_params(**before)

    return fit, {}, kinds, [estimator]


MAKERS = [fits, settings]
