"""Small training runs of every kind, only by the public interface, and a hash of the results of each."""

import copy
import hashlib
import pickle
import random
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import communicators
import golden_files

import fastbp
from fastbp import SGD, Adam, AdamW, RMSprop, distributed, metrics, optimizers, schedules
from fastbp.callbacks import EarlyStopping, ReduceOnPlateau
from fastbp.sklearn import MLPClassifier, MLPRegressor

M, EPOCHS, BOTH = 61, 4, {"float32": np.float32, "float64": np.float64}
draws = np.random.default_rng(0)
X = draws.standard_normal((M, 6))
W = draws.uniform(0, 2, M) * (draws.uniform(size=M) > 0.1)
LABELS = (X[:, :3] + 0.3 * draws.standard_normal((M, 3))).argmax(axis=1)
TARGETS = {"softmax": LABELS, "sigmoid": (X[:, :3] > 0).astype(float), "tanh": np.sign(X[:, :3]),
           "identity": X[:, :3] + X[:, 3:] ** 2 / 2, "exp": np.floor(np.exp(X[:, :3])).clip(0, 9)}
LOSSES = [("softmax", "cross_entropy", {}), ("sigmoid", "cross_entropy", {}), ("sigmoid", "squared_error", {}),
          ("softmax", "squared_error", {}), ("tanh", "squared_error", {}), ("identity", "squared_error", {}),
          ("exp", "poisson", {}), ("identity", "absolute_error", {}), ("identity", "huber", {"huber_delta": 0.5}),
          ("identity", "quantile", {"quantile": 0.3})]
ACTIVATIONS = ("sigmoid", "tanh", "relu", "identity", "leaky_relu", "elu", "softplus", "silu", "gelu", ["relu", "tanh"])
SCHEDULES = {
    "constant": schedules.Constant(0.02), "step": schedules.Step(0.05, 5, 0.5),
    "exponential": schedules.Exponential(0.05, 0.9), "inverse": schedules.InverseScaling(0.05),
    "cosine": schedules.Cosine(0.05, 9, 1e-3, 3, True, 2), "one_cycle": schedules.OneCycle(0.05, 30),
}
RULES = {       # made for each run: ReduceOnPlateau writes into them
    "sgd": lambda: SGD(0.1), "momentum": lambda: SGD(0.05, 0.9), "nesterov": lambda: SGD(0.05, 0.8, True),
    "adam": lambda: Adam(0.01), "adam-hat": lambda: Adam(0.01, epsilon_hat=True), "adamw": lambda: AdamW(0.01),
    "nadam": lambda: optimizers.Nadam(0.01), "rmsprop": lambda: RMSprop(0.005),
    "rmsprop-momentum": lambda: RMSprop(0.002, momentum=0.8), "adagrad": lambda: optimizers.Adagrad(0.05),
    "rprop": lambda: optimizers.RPROP(0.01), "cosine": lambda: Adam(SCHEDULES["cosine"]),
    "step": lambda: SGD(SCHEDULES["step"], 0.5), "plain": communicators.Plain, "rule": lambda: golden_files.Rule(0.05),
}
SLOTS = [       # one value of each is drawn for a mixed run
    [{}, {"l1": 1e-3}, {"weight_decay": 0.01}, {"weight_decay": [0.1, 0.0, 0.01], "l1": 1e-3}, {"lam": 0.5}],
    [{}, {}, {"clip_value": 0.02}, {"clip_norm": 0.1}, {"clip_value": 0.05, "clip_norm": 0.1}],
    [{}, {}, {"dropout": 0.3}, {"dropout": [0.2, 0.0]}, {"input_dropout": 0.2}, {"dropout": 0.5, "input_dropout": 0.1}],
    [{}, {}, {"shuffle": False}, {"window": 16}], [{"batch_size": n} for n in (1, 5, 7, 32, None)],
    [{}, {"validation_split": 0.25}, {"validation_data": 2}, {"validation_data": 3}],
    [{"calls": each} for each in ("", "stopping", "plateau", "stopping plateau", "counting lasso", "watching")],
    [{"source": each} for each in ("", "", "weights", "layout", "other", "memmap", "chunks", "weighted chunks")],
    [{"loss": each} for each in (LOSSES[0], *LOSSES)], [{"activation": each} for each in ACTIVATIONS],
    [{"rule": name} for name in RULES], [{"dtype": each} for each in BOTH.values()], [{"measured": n} for n in (0, 1)],
]
ESTIMATORS = [
    (f"{kind.__name__}-{name}", kind, settings) for kind in (MLPClassifier, MLPRegressor) for name, settings in {
        "adam": {}, "float32": {"dtype": np.float32}, "weights": {"weights": True, "batch_size": 9},
        "sgd-adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
        "sgd-invscaling": {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 7, "momentum": 0.5},
        "sgd-plain": {"solver": "sgd", "momentum": 0.0, "shuffle": False, "batch_size": 1},
        "lbfgs": {"solver": "lbfgs"}, "lbfgs-float32": {"solver": "lbfgs", "dtype": np.float32, "weights": True},
        "rmsprop": {"solver": "rmsprop"},
        "instance": {"solver": SGD(SCHEDULES["cosine"], 0.5)}, "python": {"solver": communicators.Plain()},
        "stopping": {"early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.3, "max_iter": 20},
        "stopping-loss": {"early_stopping": True, "scoring": "loss", "n_iter_no_change": 1, "weights": True},
        "held": {"way": "held"}, "held-stopping": {"way": "held", "early_stopping": True, "n_iter_no_change": 1},
        "partial": {"way": "partial"}, "partial-sgd": {"way": "partial", "solver": "sgd"}, "warm": {"way": "warm"},
        "warm-lbfgs": {"way": "warm", "solver": "lbfgs"}, "resumed": {"way": "resumed", "batch_size": 8},
        "resumed-stopping": {"way": "resumed", "early_stopping": True}, "dropout": {"dropout": 0.3, "clip_norm": 0.2},
        "resumed-sgd": {"way": "resumed", "solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "dropout": 0.1,
                        "n_iter_no_change": 1},
    }.items()
] + [(f"MLPClassifier-{name}", MLPClassifier, settings) for name, settings in {
    "balanced": {"class_weight": "balanced"}, "class-weight": {"class_weight": {"a": 2.0, "b": 0.5}, "weights": True},
    "binary": {"targets": "binary"}, "several": {"targets": "several", "init": "he_normal"},
    "binary-stopping": {"targets": "binary", "early_stopping": True}, "binary-partial": {"targets": "binary",
                                                                                       "way": "partial"},
}.items()] + [(f"MLPRegressor-{name}", MLPRegressor, settings) for name, settings in {
    "outputs": {"targets": "outputs"}, "poisson": {"targets": "poisson", "loss": "poisson"},
    "huber": {"loss": "huber", "huber_delta": 0.5}, "quantile": {"loss": "quantile", "quantile": 0.8},
    "absolute": {"loss": "absolute_error", "solver": "lbfgs"},
}.items()]
FOLDER = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


class At:
    """Calls act(training) at the n-th batch."""

    def __init__(self, n, act):
        self.n, self.act = n, act

    def on_batch_end(self, training):
        self.n -= 1
        if self.n == 0:
            self.act(training)


class Failure(Exception):
    """An error raised by a callback"""


def largest(h, Y):
    return float(np.abs(h).max())


def lasso(training):
    training.trainer.l1 = 1e-3 * training.epoch


def fail(training):
    raise Failure


def file(name="file"):
    """A path without a file"""
    return Path(tempfile.mkdtemp(dir=FOLDER.name)) / name


def network(dtype=np.float64, loss=LOSSES[0], activation="tanh", sizes=(6, 5, 4, 3)):
    return fastbp.Network(sizes, activation=activation, output=loss[0], loss=loss[1], dtype=dtype, seed=1, **loss[2])


def given(source, output, rows, dtype):
    """X, Y and sample_weight of `train`, in one of several forms"""
    x, y, w = X[rows].astype(dtype), TARGETS[output][rows], W[rows]
    if source == "memmap":
        path = file()
        x.tofile(path)
        x = np.memmap(path, dtype, "r", shape=x.shape)
    if source == "chunks":
        return {"X": [(x[i : i + 13], y[i : i + 13]) for i in range(0, len(x), 13)]}
    if source == "weighted chunks":     # from a function
        return {"X": lambda: ((x[i : i + 9], y[i : i + 9], w[i : i + 9] + 0.1) for i in range(0, len(x), 9))}
    x = np.asfortranarray(x) if source == "layout" else np.float64(x * 8).round() if source == "other" else x
    return {"X": x, "Y": y, **({"sample_weight": w} if source == "weights" else {})}


def train(group=None, more=(), dtype=np.float64, loss=LOSSES[0], activation="tanh", rule="adam", source="", calls="",
          measured=0, validation_data=0, **settings):
    """A training run with its own network; all other arguments are passed to fastbp.train."""
    net, rows = network(dtype, loss, activation), slice(None) if group is None else distributed.rows(M, group)
    if validation_data:
        held = X[::-1][rows] + 0.25, TARGETS[loss[0]][::-1][rows], W[rows] + 1
        settings["validation_data"] = held[:validation_data]
    optimizer, held = RULES[rule](), validation_data or settings.get("validation_split")
    monitor = "val_J" if held else "J"
    made = {"stopping": lambda: EarlyStopping(monitor, 1, 1e-3), "lasso": lambda: lasso,
            "plateau": lambda: ReduceOnPlateau(monitor, 0, 0.5, 0.05), "counting": golden_files.Counting,
            "watching": lambda: At(9, lambda training: training.trainer.state)}
    if callable(optimizer.learning_rate):
        made["plateau"] = made["counting"]
    if measured and (held or "chunks" not in source):
        settings["metrics"] = ["mse", "r2", *["balanced_accuracy"] * (loss[0] in ("softmax", "sigmoid")), largest]
    settings = {"epochs": EPOCHS, "seed": 7, **settings}
    callbacks = [made[name]() for name in calls.split()]
    try:
        history = fastbp.train(net, **given(source, loss[0], rows, dtype), optimizer=optimizer, comm=group,
                               callbacks=[*callbacks, *more], **settings)
    except fastbp.DivergenceError as error:     # in resumed training theta is that of the file
        net, history = None if settings.get("resume") else net, error.history
    return net, history, [each.best for each in callbacks if hasattr(each, "best")]


def interrupted(at, run=train, **settings):
    """A training run where it is paused, and after it is resumed"""
    path, every = file(), {"epoch": 1, "batch": (3, "batches"), "error": (2, "batches")}[at]

    def later(training):
        if at != "epoch" or training.epoch == 2:
            training.pause("later")

    more = {"epoch": [later], "batch": [At(5, later)], "error": [At(6, fail)]}[at]
    try:
        first = run(more=more, checkpoint=path, checkpoint_every=every, **settings)
    except Failure:
        first = None    # the step in the file depends on the clock
    return first, run(checkpoint=path, resume=True, **settings)


def mixed(i, ranks=False):
    """Random settings of a run; ranks: settings for several ranks, also with several parts"""
    draw, drawn = random.Random(i), {}
    for slot in SLOTS:
        drawn |= draw.choice(slot)
    if ranks:
        drawn |= {"batch_size": 8} if drawn["batch_size"] == 1 else {}
        drawn |= {"source": "weights"} if "chunks" in drawn["source"] else {}
    if "chunks" in drawn["source"]:     # need no examples beforehand
        drawn |= {"batch_size": drawn["batch_size"] or 7, "lam": None, "validation_split": 0.0}
    return drawn


def on_ranks(size, parts=None, work=train, kind=communicators.Threads, **settings):
    """The same result on every rank"""
    results = communicators.all_of(
        size, lambda comm: work(distributed.Group(comm, parts), **copy.deepcopy(settings)), kind)
    assert len({digest(each) for each in results}) == 1, "the ranks differ"
    return results[0]


def resumed_on_ranks(size, parts, at, **settings):
    return interrupted(at, lambda **more: on_ranks(size, parts, **more), **settings)


def steps(group=None, dtype=np.float64, rule="adam", keep=None, **settings):
    """A loop of steps and epochs, with the trainer saved in some way in between"""
    rows = slice(None) if group is None else distributed.rows(M, group)
    x, y, w = X[rows].astype(dtype), LABELS[rows], W[rows]

    def trainer():
        return fastbp.Trainer(network(dtype), RULES[rule](), seed=3, comm=group, **settings)

    def loop(of):
        J = [of.step(x[i : i + 5], y[i : i + 5]) for i in range(0, 25, 5)] + [of.step(x, y, w + 0.1)]
        J += [of.epoch(x, y, batch_size=n, order=np.arange(len(x))[::-1]) for n in (4, 32, None)]
        of.l1, of.clip_norm = 1e-3, 0.5
        return [*J, of.epoch(x, y, batch_size=8, sample_weight=w)]

    first, path = trainer(), None
    J, other = loop(first), first
    if keep == "file":
        path, other = file(), trainer()
        first.save(path, {"next": 3, "J": J})
        J = other.restore(path)["J"]
    elif keep:
        other = {"pickle": lambda each: pickle.loads(pickle.dumps(each)), "copy": copy.copy}[keep](first)
    return other.net, J + loop(other), other.state, path and group is None and path.read_bytes()


def minimum(group=None, dtype=np.float64, loss=LOSSES[0], weights=False, **settings):
    net, rows = network(dtype, loss), slice(None) if group is None else distributed.rows(M, group)
    w = W[rows] if weights else None
    found = fastbp.minimize(net, X[rows], TARGETS[loss[0]][rows], sample_weight=w, maxiter=9, comm=group, **settings)
    return net, found.x, float(found.fun), net.evaluate(X[rows], TARGETS[loss[0]][rows], sample_weight=w, comm=group)


def large(n_threads, rule, batch_size, **settings):
    """Training large enough for a crew, with several ranges per batch"""
    x, y = fastbp.datasets.load_digits()
    net = network(sizes=(64, 100, 50, 10))
    history = fastbp.train(net, x / 16, y, optimizer=RULES[rule](), batch_size=batch_size, epochs=10, seed=2,
                           n_threads=n_threads, **settings)
    return net, history, net.cost_and_gradient(x / 16, y, n_threads=n_threads)


def evaluated(dtype, loss, activation):
    """All results of a network without training"""
    net, y = network(dtype, loss, activation), TARGETS[loss[0]]
    h = net.predict(X)
    names = ("mse", "rmse", "mae", "r2", *["accuracy", "balanced_accuracy", "cross_entropy"] * (loss[0] == "softmax"))
    named = {name: getattr(metrics, name)(h, y, W) for name in names}
    path = file()
    fastbp.save(path, net)
    checked = fastbp.check_gradient(net, X[:5], y[:5], lam=0.1, l1=1e-3, directions=3)
    return (h, net.predict(X[0]), net.activations(X), net.deltas(X, y), net.accumulate(X, y, True), named, checked[1:],
            net.cost_and_gradient(X, y, weight_decay=0.1, sample_weight=W), net.evaluate(X, y), path.read_bytes())


def both(**settings):
    return evaluated(**settings), train(**settings)


def fitted(kind, dtype=np.float64, way="fit", weights=False, **settings):
    """An estimator and its results"""
    classes, x = kind is not MLPRegressor, X.astype(dtype)
    y = {"binary": LABELS == 1, "several": TARGETS["sigmoid"].astype(int), "classes": np.array(list("abc"))[LABELS],
         "one": TARGETS["identity"][:, 0], "poisson": TARGETS["exp"][:, 0], "outputs": TARGETS["identity"]}[
             settings.pop("targets", "classes" if classes else "one")]
    more = {"sample_weight": W} if weights else {}
    estimator = (MLPClassifier if classes else MLPRegressor)(
        hidden_layer_sizes=(5, 4), random_state=4, **{"max_iter": 8, "learning_rate_init": 0.02, **settings})
    if way == "partial":
        known = {"classes": np.unique(y)} if classes else {}
        for i in range(3):
            estimator.partial_fit(x[i : i + 20], y[i : i + 20], **known)
        for i in range(9):
            estimator.partial_fit(x[i : i + 1], y[i : i + 1])
    elif way == "resumed":
        path = file()
        estimator.set_params(max_iter=3).fit(x, y, **more, checkpoint=path)
        estimator = type(estimator)(**estimator.get_params()).set_params(max_iter=8)
        estimator.fit(x, y, **more, checkpoint=path, resume=True)
    else:
        more |= {"X_val": x[:20] + 0.1, "y_val": y[:20]} if way == "held" else {}
        estimator.fit(x, y, **more)
        if way == "warm":
            estimator.set_params(warm_start=True).fit(x, y, **more)
    return estimator, estimator.predict(x), estimator.input_gradient(x[:3])


def parts(value):
    """The bytes of a value: an array, network, history, estimator or number, or a list or dict of these"""
    if isinstance(value, fastbp.Network):
        value = repr(value), value.theta
    if isinstance(value, fastbp.History):
        columns = {name: value[name] for name in value.columns if name != "seconds"}
        value = columns, value.examples, value.stopped is not None
    if isinstance(value, (MLPClassifier, MLPRegressor)):
        names = ("coefs_", "intercepts_", "loss_", "loss_curve_", "validation_scores_", "validation_loss_curve_",
                 "best_loss_", "best_validation_score_", "n_iter_", "t_", "out_activation_")
        value = {name: getattr(value, name, None) for name in names}
    if isinstance(value, np.ndarray):
        yield f"{value.dtype.str}{value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, (list, tuple, dict)):
        yield f"{len(value)} of".encode()
        for item in sorted(value.items()) if isinstance(value, dict) else value:
            yield from parts(item)
    elif isinstance(value, bytes):
        yield value
    else:
        assert value is None or isinstance(value, (bool, int, float, str, np.generic)), type(value)
        yield repr(value.item() if isinstance(value, np.generic) else value).encode()


def digest(value):
    return hashlib.sha256(b"\0".join(parts(value))).hexdigest()[:16]
