"""The contents of the files in tests/golden: written by the first code of their version, never written again."""

import functools
from pathlib import Path

import numpy as np

import fastbp

GOLDEN = Path(__file__).parent / "golden"


def exact(n, dtype=np.float64):
    """n values that are the same on every machine: distinct eighths around 0, then extremes of the dtype"""
    values = ((np.arange(n) * 5) % n - n // 2).astype(dtype) / dtype(8)
    values[-4:] = [-0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max, -np.finfo(dtype).tiny]
    return values


def with_theta(*args, **options):
    net = fastbp.Network(*args, seed=0, **options)
    net.theta = exact(net.n_parameters, net.dtype.type)
    return net


def started():
    net = fastbp.Network([2, 2, 1], init=[[[-30, 20, 20], [10, -20, -20]], [[-10, 20, 20]]])
    net.theta = exact(net.n_parameters)
    return net


NETWORKS = {
    "xnor_float64": started,
    "softmax_float32": lambda: with_theta([4, 8, 3], activation="tanh", output="softmax", dtype=np.float32),
    "deep_float64": lambda: with_theta(
        [3, 4, 5, 6, 2], activation=["relu", "gelu", "softplus"], output="identity", loss="squared_error",
        init="normal", eps=0.05,
    ),
    "no_hidden_float32": lambda: with_theta(
        [3, 2], output="exp", loss="poisson", dtype=np.float32, init="uniform"
    ),
    "huber_float32": lambda: with_theta(
        [2, 3, 1], activation="softplus", output="identity", loss="huber", huber_delta=1.35, dtype=np.float32
    ),
    "all_activations_float64": lambda: with_theta(
        [1] * 11, output="tanh", loss="squared_error", init="he_normal",
        activation=["sigmoid", "tanh", "relu", "identity", "leaky_relu", "elu", "softplus", "silu", "gelu"],
    ),
}

VALUES = (
    {
        "a.bool": np.array([[True, False, True]]),
        "b-uint8": np.arange(256, dtype=np.uint8),
        "c": np.array([-(2**31), -1, 0, 2**31 - 1], np.int32),
        "d": np.array([0, 2**32 - 1], np.uint32),
        "e": np.array([[-(2**63)], [2**63 - 1]], np.int64),
        "f": np.array(2**64 - 1, np.uint64),
        "g": np.array([0x7FC00001, 0xFF800000, 0x80000000], np.uint32).view(np.float32),
        "h": np.array([0x7FF8000000000123, 0xFFF0000000000000, 1], np.uint64).view(np.float64),
        "_empty": np.empty((3, 0, 2**40), np.float64),
        "none": np.empty(0, bool),
    },
    {
        "generator": {"bit_generator": "PCG64", "state": {"state": 2**127 + 45, "inc": -(2**127) + 1}, "has_uint32": 0},
        "huge": -(10**599),
        "history": [0.1, 1e-300, -0.0, 5e-324, 1.7976931348623157e308, 1, None, True, False],
        "text": "Θ, \U0001f9e0, \"quoted\", back\\slash, \u0000 and \n",
        "nested": [[[[{"": [{}]}]]]],
    },
)


# ---------------------------------------------------------------- trainings and trainers

X = np.arange(96).reshape(24, 4) % 7 / 4 - 0.75
Y = np.arange(24) % 2


def eighths(n, dtype):
    """The same without the extremes, so that steps are possible"""
    return exact(n + 4, dtype)[:n]


class Counting(fastbp.callbacks.Callback):
    """A callback with one value of each kind; resumed training adds to it"""

    def on_train_begin(self, training):
        self.values = {"epochs": 0}

    def on_epoch_end(self, training):
        self.values["epochs"] += 1

    def state(self):
        return self.values

    def load_state(self, state):
        self.values = state


COUNTED = {
    "epochs": 2, "none": None, "true": True, "text": "Θ \"", "huge": -(10**40), "tenth": 0.1, "nan": float("nan"),
    "least": -float("inf"), "tuple": (1, (2.5, [])), "dict": {"of": {"dict": {}}}, "list": [1, 2.5, "x"],
    "long": [i / 8 for i in range(150)], "whole": list(range(-60, 60)), "scalar": np.float32(0.375),
    "turned": np.array([[1, 2], [3, 4], [5, 6]], np.int32, order="F"), "empty": np.empty((0, 2)),
    "flag": np.array(True), "scalars": [np.float32(i / 8) for i in range(100)],
}


class Golden:
    """Sets a training state that is the same on every machine, after two epochs and a batch of eight, and pauses"""

    def on_train_begin(self, training):
        trainer, history = training.trainer, training.history
        n = training.net.n_parameters
        training.net.theta = eighths(n, np.float32)
        trainer.state = {**trainer.state, "t": 7, "m": eighths(n, np.float32), "v": eighths(n, np.float32)**2,
                         "dropout_t": 7}
        trainer.weight_decay, training.optimizer.learning_rate = [0.125, 0.0], 0.0625
        history.J, history.seconds, history.examples = [0.75, 0.1], [1.5, 0.25], 18
        history.val_J, history.val_accuracy = [0.5, float("inf")], [0.25, 0.5]
        history.metrics = {"accuracy": [0.5, 0.75], "mae": [0.5, 0.25], "val_mae": [float("nan"), 0.125]}
        training.position = fastbp.training.loop.Position(8, 3.25, 8.0, 0.125)
        stopping, counting, _ = training.callbacks
        stopping.best, stopping.best_epoch, stopping.waited = 0.5, 1, 1
        stopping.theta[:] = -eighths(n, np.float32)
        counting.values = COUNTED
        training.pause("for later")


def train(path, *callbacks, **settings):
    """The training whose checkpoint is training_float32.fastbp"""
    net = fastbp.Network([4, 3, 2], activation="tanh", output="softmax", dtype=np.float32, seed=0)
    history = fastbp.train(
        net, X, Y, optimizer=fastbp.Adam(0.125), epochs=5, batch_size=8, weight_decay=[0.25, 0.0], clip_norm=2.0,
        dropout=0.25, validation_split=0.25, metrics=["accuracy", "mae"], seed=5, checkpoint=path,
        callbacks=[fastbp.callbacks.EarlyStopping(patience=9), Counting(), *callbacks], **settings,
    )
    return net, history


# ---------------------------------------------------------------- version 2: mean_weight

W = np.arange(24) % 5 / 4       # zeros among them; their mean over all rows is a quotient of exact sums


class Golden2:
    """Advance training with weights by one epoch and two batches, to a state that is the same on every machine"""

    def on_train_begin(self, training):
        trainer, history = training.trainer, training.history
        n = training.net.n_parameters
        training.net.theta = eighths(n, np.float64)
        trainer.state = {"t": 5, "v": -eighths(n, np.float64) / 4}
        training.optimizer.momentum = 0.75
        history.J, history.seconds, history.examples = [0.625], [0.5], 24
        training.position = fastbp.training.loop.Position(16, 5.5, 14.25, 0.0625)
        training.pause("for later")


def train2(path, *callbacks, **settings):
    """The training with weights whose checkpoint is training2_float64.fastbp"""
    net = fastbp.Network([4, 3, 2], activation="relu", output="sigmoid", loss="squared_error", seed=0)
    history = fastbp.train(
        net, X, Y, optimizer=fastbp.SGD(0.125, momentum=0.5), epochs=4, batch_size=8, sample_weight=W, l1=0.0625,
        seed=7, checkpoint=path, callbacks=[*callbacks], **settings,
    )
    return net, history


def trainer2(rate=0.25, mean_weight=1.0):
    net = fastbp.Network([4, 3, 1], output="identity", loss="huber", huber_delta=0.5, dtype=np.float32, seed=0)
    return fastbp.Trainer(net, fastbp.optimizers.Nadam(rate), mean_weight=mean_weight)


def stepped2():
    """The trainer whose file is trainer2_float32.fastbp, in a state that is the same on every machine"""
    made = trainer2(0.125, 2.5)
    n = made.net.n_parameters
    made.net.theta = eighths(n, np.float32)
    made.state = {"t": 4, "m": -eighths(n, np.float32), "v": eighths(n, np.float32)**2, "scalars": np.array([0.375])}
    made.weight_decay, made.clip_norm = [0.5, 0.0], 4.0
    return made


# ---------------------------------------------------------------- version 2: added fields

FREE = np.arange(23) % 3 > 0


def scaled(z, Y, w, factor=1):
    """factor times the squared error of columns that hold Y, which may be labels"""
    e = z - np.reshape(Y, (len(z), -1))
    costs, slopes = factor * (e * e).sum(axis=1) / 2, factor * e
    return (costs, slopes) if w is None else (w * costs, w[:, np.newaxis] * slopes)


def own_network():
    """The network that is own_loss2_float64.fastbp"""
    return with_theta([3, 4, 2], output="tanh", loss=functools.partial(scaled, factor=0.25))


def trainer_free():
    net = fastbp.Network([4, 3, 2], output="identity", dtype=np.float32, seed=0)
    return fastbp.Trainer(net, fastbp.Adam(0.125), free=FREE)


def stepped_free():
    """The trainer whose file is free2_float32.fastbp, in a state that is the same on every machine"""
    made = trainer_free()
    n = made.net.n_parameters
    made.net.theta = eighths(n, np.float32)
    made.state = {"t": 3, "m": -eighths(n, np.float32), "v": eighths(n, np.float32)**2}
    return made


class GoldenOwn:
    """Advance training by one epoch and a batch, to a state that is the same on every machine"""

    def on_train_begin(self, training):
        trainer, history = training.trainer, training.history
        n = training.net.n_parameters
        training.net.theta = eighths(n, np.float64)
        trainer.state = {"t": 4, "v": -eighths(n, np.float64) / 4}
        history.J, history.seconds, history.examples = [0.625], [0.5], 24
        training.position = fastbp.training.loop.Position(8, 5.5, 8.0, 0.0625)
        training.pause("for later")


def train_own(path, *callbacks, **settings):
    """The training with its own loss whose checkpoint is own_loss_free2_float64.fastbp"""
    net = fastbp.Network([4, 3, 2], activation="tanh", loss=functools.partial(scaled, factor=2), seed=0)
    history = fastbp.train(
        net, X, Y, optimizer=fastbp.SGD(0.125, momentum=0.5), epochs=3, batch_size=8, seed=7, free=FREE,
        checkpoint=path, callbacks=[*callbacks], **settings,
    )
    return net, history


class Rule(fastbp.optimizers.Optimizer):
    """theta := theta - learning_rate D, remembering the sum of all D"""

    def __init__(self, learning_rate):
        self.learning_rate, self.best, self.name = learning_rate, float("inf"), "golden"

    def init(self, theta):
        turned = np.ones((2, 3), order="F")
        return {"t": 0, "sum": np.zeros_like(theta), "last": (None, np.float64(0)), "turned": turned}

    def update(self, theta, D, state):
        state["t"] += 1
        state["sum"] += D
        state["last"] = (state["t"], D[0])
        theta -= self.learning_rate * D


NOTES = {
    "next": 16, "order": np.array([2, 0, 1]), "J": [0.5] * 120, "best": (0.25, "epoch 1"), "of": {"x": [None, -0.0]},
}


def trainer(rate=0.5):
    return fastbp.Trainer(
        fastbp.Network([4, 3, 2], output="softmax", seed=0), Rule(rate), weight_decay=0.25, dropout=0.5, seed=3
    )


def stepped():
    """The trainer whose file is trainer_float64.fastbp, in a state that is the same on every machine"""
    made = trainer()
    n = made.net.n_parameters
    made.net.theta = eighths(n, np.float64)
    made.state = {"t": 3, "sum": eighths(n, np.float64) / 4, "last": (3, np.float64(-0.125)),
                  "turned": np.arange(6.0).reshape(3, 2).T, "dropout_seed": 2**62 + 1, "dropout_t": 3}
    made.l1, made.batch_lam, made.clip_value = 0.03125, 0.5, 0.75
    made.optimizer.learning_rate, made.optimizer.best = 0.125, 0.1
    return made
