"""The loop around the steps: ways to leave it, and arguments that are refused before it begins."""

import numpy as np
import pytest
from communicators import Serial
from test_feed import digits, network, noisy

import fastbp
from fastbp import callbacks


def test_stopping_inside_an_epoch_leaves_theta_at_that_step():
    X, y = digits(100)

    class Third:
        def on_batch_end(self, training):
            if training.trainer.state["t"] == 3:
                training.stop("enough")

    net, twin = network(), network()
    history = fastbp.train(net, X, y, batch_size=10, epochs=5, shuffle=False, callbacks=[Third()])
    trainer = fastbp.Trainer(twin, "adam")
    trainer.epoch(X[:30], y[:30], batch_size=10)
    assert (net.theta == twin.theta).all()
    assert (history.stopped, len(history)) == ("enough", 1)


def test_fault_12_an_exception_in_a_callback_arrives_and_leaves_theta_at_a_step():
    X, y = noisy()

    class Broken:
        def on_epoch_end(self, training):
            raise ZeroDivisionError("in the callback")

    net = fastbp.Network([6, 4, 1], seed=1)
    with pytest.raises(ZeroDivisionError, match="in the callback"):
        fastbp.train(net, X, y, epochs=3, seed=0, callbacks=[Broken()])
    twin = fastbp.Network([6, 4, 1], seed=1)
    fastbp.train(twin, X, y, epochs=1, seed=0)
    assert (net.theta == twin.theta).all()


BAD = [
    ({"metrics": "mae"}, TypeError, "metrics must be a list"),
    ({"metrics": ["speed"]}, ValueError, "metrics\\[0\\] is 'speed'"),
    ({"metrics": ["mae", "mae"]}, ValueError, "already"),
    ({"callbacks": [3]}, TypeError, "callbacks\\[0\\]"),
    ({"callbacks": [callbacks.EarlyStopping]}, TypeError, "callbacks\\[0\\]"),
    ({"callbacks": callbacks.Logging()}, TypeError, "callbacks must be a list"),
    ({"validation_split": 1.0}, ValueError, "validation_split"),
    ({"validation_data": (*noisy(20), -np.ones(20))}, ValueError, "validation_data sample_weight\\[0\\] is -1"),
    ({"validation_split": 0.001}, ValueError, "nothing to validate"),
    ({"validation_split": 0.2, "validation_data": noisy()}, ValueError, "exclude each other"),
    ({"window": 0}, ValueError, "window"),
    ({"callbacks": [callbacks.ReduceOnPlateau("J")], "optimizer": fastbp.SGD(lambda t: 0.1)}, ValueError,
     "learning_rate"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_bad_settings_are_named_and_nothing_has_changed(options, error, message):
    X, y = noisy()
    net = fastbp.Network([6, 4, 1], seed=1)
    before = net.theta.copy()
    with pytest.raises(error, match=message):
        fastbp.train(net, X, y, epochs=2, **options)
    assert (net.theta == before).all()


@pytest.mark.parametrize(("options", "message"), [
    ({"metrics": [lambda h, Y: h]}, "the metric <lambda> must return a number"),
    ({"callbacks": [callbacks.EarlyStopping(lambda training: None)]}, "<lambda> must return a number; it .* None"),
])
def test_what_returns_no_number_is_named(options, message):
    with pytest.raises(TypeError, match=message):
        fastbp.train(fastbp.Network([6, 4, 1], seed=1), *noisy(), epochs=1, **options)


def test_a_value_to_watch_that_is_not_measured_is_named():
    X, y = noisy()
    with pytest.raises(ValueError, match="val_J"):
        fastbp.train(fastbp.Network([6, 4, 1], seed=1), X, y, epochs=3, callbacks=[callbacks.EarlyStopping()])


# ---------------------------------------------------------------- StopIteration from a caller's function


class Ends:
    """Functions of the caller; one of them raises StopIteration at its third call"""

    def __init__(self, where):
        self.where, self.calls = where, 0

    def at(self, where):
        self.calls += self.where == where
        if self.where == where and self.calls == 3:
            raise StopIteration("by its owner")

    def loss(self, z, Y, w):
        self.at("loss")
        return ((z - Y) ** 2).sum(axis=1), 2 * (z - Y)

    def rate(self, t):
        self.at("schedule")
        return 0.1

    def metric(self, h, Y):
        self.at("metric")
        return 0.5

    def settings(self):
        class Rule(fastbp.optimizers.Optimizer):
            def update(rule, theta, D, state):
                self.at("optimizer")
                theta -= 0.1 * D

        callback = callbacks.Callback()
        callback.on_batch_end = lambda training: self.at("on_batch_end")
        callback.on_epoch_end = lambda training: self.at("on_epoch_end")
        return {"optimizer": Rule() if self.where == "optimizer" else fastbp.SGD(self.rate),
                "metrics": [self.metric], "callbacks": [callback] if self.where.startswith("on_") else []}


def call(way, where):
    rng, ends = np.random.default_rng(0), Ends(where)
    X, Y = rng.standard_normal((60, 3)), rng.standard_normal((60, 2))
    net = fastbp.Network([3, 4, 2], output="identity", loss=ends.loss, seed=0)
    settings = {"epochs": 4, "batch_size": 20, "seed": 0, **ends.settings()}
    if way == "train_many":
        fastbp.train_many([net], X, Y, **settings)
    else:
        fastbp.train(net, X, Y, **settings, progress=way == "progress", comm=Serial() if way == "comm" else None)


@pytest.mark.parametrize("way", ["train", "progress", "comm", "train_many"])
@pytest.mark.parametrize("where", ["loss", "schedule", "optimizer", "metric", "on_batch_end", "on_epoch_end"])
def test_stop_iteration_of_a_callers_function_arrives_as_it_is(where, way):
    with pytest.raises(StopIteration, match="by its owner"):
        call(way, where)
