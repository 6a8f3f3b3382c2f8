"""Callbacks: the protocol, early stopping, plateaus, logging, and their cost."""

import copy
import json
import logging
import time

import numpy as np
import pytest
from helpers import DTYPES, problem
from test_checks import refused

import fastbp
from fastbp.callbacks import Callback, EarlyStopping, Logging, ReduceOnPlateau


class Recorder:
    """Every call with the values it saw"""

    def __init__(self):
        self.seen = []

    def on_train_begin(self, training):
        self.seen.append(("begin", training.epoch, training.net.theta.copy()))

    def on_batch_end(self, training):
        self.seen.append(("batch", training.epoch, training.J))

    def on_epoch_end(self, training):
        self.seen.append(("epoch", training.epoch, training.J))

    def on_train_end(self, training):
        self.seen.append(("end", training.epoch, training.net.theta.copy()))


def train(p, net=None, **options):
    net = p.network() if net is None else net
    options = {"optimizer": fastbp.SGD(0.2), "epochs": 4, "seed": 0, "batch_size": 8} | options
    return net, fastbp.train(net, p.X, p.Y, **options)


def test_each_moment_is_told_in_order():
    p, recorder = problem(m=20), Recorder()
    net, history = train(p, callbacks=[recorder], epochs=2)
    assert [kind for kind, *_ in recorder.seen] == ["begin", *["batch"] * 3, "epoch", *["batch"] * 3, "epoch", "end"]
    assert [epoch for kind, epoch, _ in recorder.seen if kind == "epoch"] == [1, 2]
    assert [J for kind, _, J in recorder.seen if kind == "epoch"] == history.J
    batches = [J for kind, _, J in recorder.seen if kind == "batch"]
    assert np.dot(batches[:3], [8, 8, 4]) / 20 == pytest.approx(history.J[0], rel=1e-14)
    np.testing.assert_array_equal(recorder.seen[0][2], p.theta)
    np.testing.assert_array_equal(recorder.seen[-1][2], net.theta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimizer", [fastbp.SGD(0.1), fastbp.Adam(fastbp.schedules.Exponential(0.1, 0.9))])
@pytest.mark.parametrize("batch_size", [1, 7, 600, None])
def test_a_call_a_batch_gives_the_same_bits(batch_size, optimizer, weighted, dtype):
    p = problem((5, 9, 3), "relu", m=1207, dtype=dtype)
    w = np.where(np.arange(p.X.shape[0]) % 5, p.weights, 0) if weighted else None
    options = {"batch_size": batch_size, "optimizer": optimizer, "epochs": 2, "sample_weight": w, "weight_decay": 0.01}
    plain, history = train(p, **options)
    cut, other = train(p, callbacks=[Recorder()], **options)
    assert plain.theta.tobytes() == cut.theta.tobytes()
    assert history.J == other.J


@pytest.mark.parametrize("rows", [8 * 512, 8 * 512 + 1])
def test_a_short_last_batch_is_cut_as_in_the_whole_epoch(rows):
    """Batches of more than eight blocks are summed range by range, and so is the shorter last batch"""
    p = problem((5, 9, 3), m=2 * (8 * 512 + 1) + 8 * 512)
    plain, history = train(p, batch_size=8 * 512 + 1, epochs=1)
    cut, other = train(p, batch_size=8 * 512 + 1, epochs=1, callbacks=[Recorder()])
    assert plain.theta.tobytes() == cut.theta.tobytes()
    assert history.J == other.J


@pytest.mark.parametrize(("method", "epochs", "batches"), [("on_epoch_end", 2, 6), ("on_batch_end", 2, 4)])
def test_a_callback_stops_the_training_where_it_says_so(method, epochs, batches):
    class Stop:
        calls = 0

    def stop(self, training):
        self.calls += 1
        if self.calls == (2 if method == "on_epoch_end" else 4):
            training.stop("enough")

    setattr(Stop, method, stop)
    p, recorder = problem(m=20), Recorder()
    _, history = train(p, callbacks=[Stop(), recorder], epochs=9)
    assert history.stopped == "enough"
    assert len(history) == epochs
    assert sum(kind == "batch" for kind, *_ in recorder.seen) == batches
    assert recorder.seen[-1][0] == "end"


@pytest.mark.parametrize(("method", "batches"), [("on_epoch_end", 6), ("on_batch_end", 5)])
def test_what_a_callback_raises_leaves_theta_at_the_last_finished_step(method, batches):
    p, recorder = problem(m=20), Recorder()

    class Fails(Callback):
        seen = 0

    def fail(self, training):
        self.seen += 1
        if self.seen == (2 if method == "on_epoch_end" else 5):
            raise RuntimeError("as planned")

    setattr(Fails, method, fail)
    net = p.network()
    with pytest.raises(RuntimeError, match="as planned"):
        train(p, net, callbacks=[recorder, Fails()], shuffle=False)
    other = p.network()
    trainer = fastbp.Trainer(other, fastbp.SGD(0.2))
    for i in range(batches):
        at = 8 * (i % 3)
        trainer.epoch(p.X[at : at + 8], p.Y[at : at + 8], batch_size=8)
    assert net.theta.tobytes() == other.theta.tobytes()
    assert recorder.seen[-1][0] != "end"


# ---------------------------------------------------------------- early stopping


def curve(values):
    """A monitor that follows these values"""
    return lambda training: values[training.epoch - 1]


@pytest.mark.parametrize(
    ("values", "options", "stops", "best"),
    [
        ([5, 4, 3, 3, 3, 3, 3], {"patience": 2}, 6, 3),
        ([5, 4, 4.5, 3, 3.5, 3.6, 3.7], {"patience": 1}, 6, 4),
        ([5, 4.9, 4.8, 4.7, 4.6], {"patience": 1, "min_delta": 0.5}, 3, 1),
        ([5, 4.9, 4.8, 4.7, 4.4, 4.3, 4.2], {"patience": 3, "min_delta": 0.5}, None, 5),
        ([1, 2, 3, 2, 2], {"patience": 1, "mode": "max"}, 5, 3),
        ([5, 4, 3, 2, 1], {"patience": 0}, None, 5),
    ],
)
def test_training_stops_when_patience_is_exceeded_and_restores_the_best(values, options, stops, best):
    p, thetas = problem(m=20), []
    stopping = EarlyStopping(curve(values), **options)
    net, history = train(p, epochs=len(values), callbacks=[stopping, lambda t: thetas.append(t.net.theta.copy())])
    assert len(history) == (stops or len(values))
    assert (history.stopped is not None) == (stops is not None)
    assert (stopping.best_epoch, stopping.best) == (best, values[best - 1])
    assert net.theta.tobytes() == thetas[best - 1].tobytes()
    net, _ = train(p, epochs=len(values), callbacks=[EarlyStopping(curve(values), restore_best=False, **options)])
    assert net.theta.tobytes() == thetas[(stops or len(values)) - 1].tobytes()


@pytest.mark.parametrize(("monitor", "sign"), [("val_J", 1), ("val_accuracy", -1), ("J", 1), ("val_r2", -1)])
def test_monitors_know_what_is_better(monitor, sign):
    p = problem((4, 6, 3), "tanh", "softmax", m=40)
    stopping, net = EarlyStopping(monitor, patience=50), p.network()
    history = fastbp.train(net, p.X, p.labels, epochs=12, validation_split=0.3, seed=0, callbacks=[stopping],
                           metrics=["r2"], optimizer=fastbp.Adam(0.05))  # fmt: skip
    assert stopping.best_epoch == 1 + np.argmin(sign * np.array(history[monitor]))
    assert history[monitor][stopping.best_epoch - 1] == stopping.best


def test_a_callback_used_twice_begins_anew():
    p, stopping = problem(m=20), EarlyStopping(curve([3, 2, 1, 1, 1, 1, 1, 1]), patience=1)
    first, second = (train(p, epochs=8, callbacks=[stopping]) for _ in range(2))
    assert len(first[1]) == len(second[1]) == 5
    assert first[0].theta.tobytes() == second[0].theta.tobytes()


@pytest.mark.parametrize("make", [lambda m: EarlyStopping(m, patience=2), lambda m: ReduceOnPlateau(m, patience=1)])
def test_a_callback_goes_on_from_its_state(make):
    """Four epochs, then the rest in a new run with the kept state, are equal to a single run"""
    values = [5, 4, 3, 3.5, 3.4, 3.3, 2.9, 2.8]
    p, whole, kept = problem(m=20), make(curve(values)), {}

    class Keep(Callback):
        def on_epoch_end(self, training):
            if training.epoch == 4:
                kept.update(copy.deepcopy(before.state()))

    before = make(curve(values))
    train(p, epochs=8, callbacks=[whole])
    train(p, epochs=4, callbacks=[before, Keep()])
    json.dumps({name: value for name, value in kept.items() if not isinstance(value, np.ndarray)})
    after = make(lambda training: values[training.epoch + 3])

    class Resume(Callback):
        def on_train_begin(self, training):
            after.load_state(kept)

    _, history = train(p, epochs=4, callbacks=[after, Resume()])
    assert after.best == whole.best
    assert after.waited == whole.waited
    assert len(history) == (2 if isinstance(whole, EarlyStopping) else 4)


# ---------------------------------------------------------------- plateaus, logging


VALUES = [5, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2.5, 2.4, 2.3, 2.3, 2.3]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("patience", "cooldown", "min_delta"), [(0, 0, 0), (2, 0, 0), (2, 2, 0.2), (1, 5, 0)])
def test_rates_fall_as_torchs(patience, cooldown, min_delta):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.3, patience=patience, threshold=min_delta, threshold_mode="abs", cooldown=cooldown,
        min_lr=0.001, eps=0,
    )  # fmt: skip
    expected = []
    for value in VALUES:
        scheduler.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    falls = ReduceOnPlateau(curve(VALUES), patience, 0.3, min_delta, cooldown=cooldown, least=0.001)
    rates = []
    train(problem(m=20), epochs=len(VALUES), optimizer=fastbp.SGD(0.4),
          callbacks=[falls, lambda training: rates.append(training.optimizer.learning_rate)])  # fmt: skip
    assert rates == pytest.approx(expected, rel=1e-12)


def test_steps_after_a_fall_take_the_lower_rate():
    p = problem(m=20)
    net, _ = train(p, optimizer=fastbp.SGD(0.4), epochs=3, shuffle=False,
                   callbacks=[ReduceOnPlateau(curve([2, 2, 2]), 0, 0.5)])  # fmt: skip
    other = p.network()
    for rate in (0.4, 0.4, 0.2):
        train(p, other, optimizer=fastbp.SGD(rate), epochs=1, shuffle=False)
    assert net.theta.tobytes() == other.theta.tobytes()


def test_epochs_and_the_stop_are_logged(caplog):
    p = problem(m=20)
    with caplog.at_level(logging.INFO, "fastbp"):
        train(p, epochs=7, callbacks=[Logging(every=3), lambda t: t.epoch == 5 and t.stop("tired")])
    assert [record.name for record in caplog.records] == ["fastbp"] * 2
    assert caplog.messages[0].startswith("epoch 3: J ")
    assert caplog.messages[1] == "stopped after epoch 5: tired"


def test_epoch_callbacks_cost_under_a_hundredth_of_ten_milliseconds():
    """The time of all built-in callbacks together between two epochs, with 10,000 parameters: the best of many"""
    p = problem((60, 120, 10), m=40)
    spent = []

    class First(Callback):
        def on_epoch_end(self, training):
            self.at = time.perf_counter()

    first = First()
    quiet = logging.getLogger("fastbp.quiet")
    quiet.setLevel(logging.WARNING)
    train(p, epochs=200, batch_size=None, optimizer=fastbp.SGD(1e-3), validation_data=(p.X, p.Y), callbacks=[
        first, EarlyStopping(patience=500), ReduceOnPlateau(patience=500), Logging(quiet),
        lambda training: spent.append(time.perf_counter() - first.at),
    ])  # fmt: skip
    assert min(spent) < 1e-4


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (EarlyStopping("J"), "callbacks"),
        ([3], r"callbacks\[0\]"),
        ([lambda t: None, EarlyStopping], r"callbacks\[1\]"),
        ([EarlyStopping("val_J")], "val_J.* J, seconds"),
        ([EarlyStopping("nonsense")], "nonsense"),
    ],
)
def test_bad_callbacks_are_refused_before_anything_has_changed(bad, text):
    p = problem()
    net = p.network()
    refused(lambda: train(p, net, callbacks=bad), text)
    assert net.theta.tobytes() == p.theta.tobytes()


def test_bad_settings_are_refused_by_name():
    for make, name in [
        (lambda: EarlyStopping(patience=-1), "patience"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta"),
        (lambda: EarlyStopping(3), "monitor"),
        (lambda: EarlyStopping(mode="up"), "mode"),
        (lambda: EarlyStopping(restore_best=1), "restore_best"),
        (lambda: ReduceOnPlateau(factor=1), "factor"),
        (lambda: ReduceOnPlateau(cooldown=-1), "cooldown"),
        (lambda: Logging(every=0), "every"),
    ]:
        refused(make, name)
    schedule = fastbp.SGD(fastbp.schedules.Constant(0.1))
    refused(lambda: train(problem(), optimizer=schedule, callbacks=[ReduceOnPlateau("J")]), "learning_rate")


def test_a_callback_without_a_state_keeps_none():
    own = Callback()
    assert own.state() == {}
    assert own.load_state({}) is None
