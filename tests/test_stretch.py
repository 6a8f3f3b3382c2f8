"""Consecutive epochs in compiled code (`src/_stretch.pyx`) give the bits of the loop in Python, wherever they are cut;
arguments that cannot be taken are refused."""

import threading
import time

import numpy as np
import pytest
from core_parts import BATCH, NO_RATES, M, Parts
from helpers import DTYPES
from test_entries import DAMAGE

import fastbp
from fastbp import _backprop, _stretch, schedules
from fastbp.training import quick, stretch

EPOCHS = 3
rng = np.random.default_rng(5)
X, LABELS, W = rng.standard_normal((130, 4)), rng.integers(0, 3, 130), rng.random(130) + 0.1
ARRAYS = {  # the arrays that run takes: (where they come from, are they written to?, what is fine)
    "plan": ("plan", ""), "theta": ("theta", "read-only"), "rates": ("rates", "empty too long too short other columns"),
    "Delta": ("Delta", "read-only"), "work": ("work", "read-only too long"), "costs": ("costs", "read-only too long"),
    "before": ("before", "read-only"), "divisors": ("divisors", "empty too long None"),
    "order": ("order", "read-only"), "rows": ("rows", "None"),
}
WRITTEN = ("theta", "Delta", "work", "costs", "before", "order")


class Run:
    """A stretch with all arguments of its run."""

    def __init__(self, dtype, epochs=EPOCHS, rule="nadam"):
        self.parts = p = Parts(dtype, rule)
        self.own = _stretch.Stretch(M, BATCH, epochs)
        self.order = np.zeros(M, np.int64)
        self.examples = _backprop.Examples(p.X, p.Y, order=self.order)
        self.arrays = {
            "plan": p.plan, "theta": p.theta, "rates": np.full(5 * epochs, 0.01), "Delta": p.Delta, "work": p.work,
            "costs": p.costs, "before": np.zeros_like(p.theta), "divisors": np.full(5, 8.0), "order": self.order,
            "rows": np.arange(M)[::-1].copy(),
        }
        self.rule, self.bits = p.rule(), np.random.PCG64(1)

    def __call__(self, last=EPOCHS, budget=60.0, first=0, **changed):
        a, p = self.arrays | changed, self.parts
        return self.own.run(
            a["plan"], a["theta"], a.get("examples", self.examples), a.get("rule", self.rule), a["rates"], first,
            a["Delta"], a["work"], a.get("B", p.B), a["costs"], a["before"], a["divisors"], a["order"], a["rows"],
            a.get("bits", self.bits), last, budget)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "damage"), [(name, damage) for name in ARRAYS for damage in DAMAGE])
def test_every_array_is_checked_where_its_pointer_is_taken(name, damage, dtype):
    run = Run(dtype)
    fine = ARRAYS[name][1]
    if damage in fine and not (damage == "read-only" and name in WRITTEN):
        return
    if damage == "read-only" and name not in WRITTEN:
        return
    bad = DAMAGE[damage][0](run.arrays[name])
    before = {key: a.tobytes() for key, a in run.arrays.items()}
    with pytest.raises((ValueError, TypeError)):
        run(**{name: bad})
    assert {key: a.tobytes() for key, a in run.arrays.items()} == before
    assert run.own.epoch == run.parts.taken[0] == 0
    assert run() == EPOCHS


@pytest.mark.parametrize(("changed", "error"), [
    ({"examples": 3}, TypeError), ({"rule": None}, TypeError), ({"bits": 3}, TypeError), ({"last": 4}, ValueError),
    ({"last": -1}, ValueError), ({"B": 3}, ValueError), ({"order": np.zeros(M, np.int64)}, ValueError),
])
def test_other_arguments(changed, error):
    with pytest.raises(error):
        Run(np.float64)(**changed)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, -1), (2**31, 1, 1), (1, 1, 2**60)])
def test_sizes(sizes):
    with pytest.raises((ValueError, MemoryError)):
        _stretch.Stretch(*sizes)


def test_labels_that_were_changed_are_found():
    run = Run(np.float64)
    labels = run.parts.labels.astype(np.int64)
    examples = _backprop.Examples(run.parts.X, None, labels, order=run.order)
    run(last=1, examples=examples)
    labels[4] = 3
    with pytest.raises(ValueError, match=r"Y\[4\] has been changed to 3"):
        run(examples=examples)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cuts_change_no_bit(dtype):
    whole, cut, stopped = Run(dtype), Run(dtype), Run(dtype)
    assert whole() == EPOCHS
    calls = 0
    while cut(budget=0.0) < EPOCHS:
        calls += 1
    assert calls == 5 * EPOCHS - 1      # one step each
    for epoch in range(1, EPOCHS + 1):
        assert stopped(last=epoch) == epoch
        assert stopped.own.J(epoch - 1) == whole.own.J()[epoch - 1 : epoch]
    for other in (cut, stopped):
        assert other.parts.theta.tobytes() == whole.parts.theta.tobytes()
        assert other.own.J() == whole.own.J()
        assert len(other.own.seconds()) == EPOCHS


def test_too_few_rates_end_the_call_between_two_epochs():
    run, whole = Run(np.float64), Run(np.float64)
    rates = np.linspace(0.1, 0.01, 15)
    whole(rates=rates)
    assert run(rates=rates[:9]) == 1
    assert run(rates=rates[:9]) == 1
    assert run(rates=rates[9:], first=9) == 1       # they begin too late
    assert run(rates=rates[3:], first=3) == 3
    assert run.parts.theta.tobytes() == whole.parts.theta.tobytes()


def test_a_divergence_puts_theta_back():
    run = Run(np.float64, rule="sgd")
    run(last=1, rates=NO_RATES)
    theta = run.parts.theta.copy()
    run(rates=np.full(20, np.nan), first=0)
    assert run.own.diverged
    assert run.own.epoch == 1
    assert len(run.own.J()) == 2
    assert len(run.own.seconds()) == 1
    assert (run.parts.theta == theta).all()
    with pytest.raises(ValueError, match="diverged"):
        run()


def test_another_thread_can_stop_it_and_not_run_it():
    run = Run(np.float64, epochs=10**6)
    result = []
    thread = threading.Thread(target=lambda: result.append(run(last=10**6, rates=NO_RATES)))
    thread.start()
    while not run.own.epoch:    # training has not begun yet
        time.sleep(0.001)
    with pytest.raises(ValueError, match="running in another thread"):
        run(last=10**6)
    assert not run.own.stopping
    run.own.want_stop()
    thread.join(10)
    assert 0 < result[0] < 10**6
    assert run.own.stopping


# ---------------------------------------------------------------- train

SETTINGS = {
    "plain": {}, "sgd": {"optimizer": fastbp.SGD(0.1, momentum=0.5)}, "adamw": {"optimizer": "adamw"},
    "nadam": {"optimizer": "nadam"}, "rmsprop": {"optimizer": "rmsprop"}, "adagrad": {"optimizer": "adagrad"},
    "schedule": {"optimizer": fastbp.Adam(schedules.Cosine(0.02, steps=30))},
    "function": {"optimizer": fastbp.Adam(lambda t: 0.1 / (1 + t))}, "order": {"shuffle": False},
    "weights": {"sample_weight": W}, "zeros": {"sample_weight": np.where(W > 0.6, W, 0)},
    "mean_weight": {"mean_weight": 3.0}, "dropout": {"dropout": 0.3, "input_dropout": 0.1},
    "clipped": {"clip_norm": 0.1, "l1": 1e-3, "weight_decay": 1e-2}, "value": {"clip_value": 0.01},
    "frozen": {"free": [2]}, "mixed": {"free": np.arange(43) % 2 == 0}, "split": {"validation_split": 0.3},
    "validation": {"validation_data": (X[:30], LABELS[:30])}, "metrics": {"metrics": ["accuracy", "log_loss"]},
    "factors": {"learning_rate_factors": {"biases": 0.5}}, "scale": {"input_scale": 6.0},
    "window": {"window": 20}, "one": {"batch_size": 1}, "full": {"batch_size": None}, "odd": {"batch_size": 37},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SETTINGS)
def test_train_has_the_bits_of_its_loop(name, dtype, monkeypatch):
    """A callback that does nothing leaves compiled code after each epoch. (test_quick.py has the quick way.)"""
    monkeypatch.setattr(quick, "train", lambda asked: None)
    settings = {"epochs": 7, "batch_size": 20, "seed": 3} | SETTINGS[name]
    stretches = []
    of_one = stretch.Stretch.__init__

    def counted(*arguments):
        stretches.append(arguments)
        of_one(*arguments)

    monkeypatch.setattr(stretch.Stretch, "__init__", counted)
    nets = [fastbp.Network([4, 5, 3], output="softmax", dtype=dtype, seed=1) for _ in range(2)]
    histories = [fastbp.train(net, X, LABELS, **settings, callbacks=callbacks)
                 for net, callbacks in zip(nets, ([], [lambda training: None]), strict=True)]
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()
    first, second = (history.state() for history in histories)
    assert len(first.pop("seconds")) == len(second.pop("seconds")) == 7
    assert first == second
    assert len(stretches) == (name not in ("window", "scale"))


MANY = np.tile(X, (40, 1))
HELD = {    # (the output, its targets, more rows than one range of examples has?)
    "labels": ("softmax", LABELS, False), "one hot": ("softmax", np.eye(3)[LABELS], False),
    "soft": ("softmax", rng.dirichlet(np.ones(3), 130), False), "signs": ("tanh", 2 * np.eye(3)[LABELS] - 1, False),
    "binary": ("sigmoid", (rng.random((130, 3)) < 0.5).astype(float), False), "sigmoid": ("sigmoid", LABELS, False),
    "bits": ("sigmoid", (rng.random((130, 3)) < 0.5), False), "values": ("identity", X[:, :3], False),
    "ranges": ("softmax", LABELS, True), "one column": ("sigmoid", (X[:, 0] > 0).astype(np.uint8), False),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HELD)
def test_what_is_held_out_is_evaluated_as_by_the_network(name, dtype):
    output, Y, several = HELD[name]
    K = 1 if name == "one column" else 3
    held = (MANY, np.concatenate([Y] * 40)) if several else (X, Y)
    nets = [fastbp.Network([4, 5, K], output=output, dtype=dtype, seed=1) for _ in range(2)]
    histories = [fastbp.train(net, X, Y, epochs=5, seed=0, validation_data=held, callbacks=callbacks)
                 for net, callbacks in zip(nets, ([], [lambda training: None]), strict=True)]
    first, second = (history.state() for history in histories)
    assert len(first.pop("seconds")) == len(second.pop("seconds"))
    assert first == second
    assert nets[0].evaluate(*held) == (first["val_J"][-1], first["val_accuracy"] and first["val_accuracy"][-1])
    assert (first["val_accuracy"] is None) == (name == "values")


def test_an_evaluation_knows_no_label_smoothing():
    nets = [fastbp.Network([4, 5, 3], output="softmax", label_smoothing=0.1, seed=1) for _ in range(3)]
    first, second = (fastbp.train(net, X, LABELS, epochs=3, seed=0, validation_data=(X, LABELS), callbacks=callbacks)
                     for net, callbacks in zip(nets[:2], ([], [lambda training: None]), strict=True))
    third, = fastbp.train_many(nets[2:], X, LABELS, epochs=3, seed=0, validation_rows=np.arange(130))
    assert first.val_J == second.val_J == third.val_J
    assert first.val_J[-1] == nets[0].evaluate(X, LABELS).cost
    assert first.J == second.J == third.J


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("i", "damage"), [(i, damage) for i in range(5) for damage in DAMAGE])
def test_every_array_of_what_is_watched_is_checked(i, damage, binary, dtype):
    run, p = Run(dtype), Parts(dtype)
    good = [p.plan, p.work.copy(), p.costs.copy(), np.zeros(3 * M, dtype),
            np.zeros(3 * M, np.int64) if binary else p.labels.astype(np.int64)]
    bad = list(good)
    bad[i] = DAMAGE[damage][0](good[i])
    fine = (damage == "too long" and 0 < i < 4) or (damage == "read-only" and i in (0, 4)) or (
        damage == "None" and i == 4)
    examples = _backprop.Examples(p.X, p.Y)

    def watch(plan, work, costs, h, answers):
        run.own.watch(plan, examples, M, work, p.B, costs, h, answers, binary, 0.5)

    watch(*bad)
    if fine:
        assert run() == EPOCHS
        return
    with pytest.raises((ValueError, TypeError)):
        run()
    assert run.own.epoch == run.parts.taken[0] == 0
    watch(*good)
    assert run() == EPOCHS
    assert len(run.own.held_J()) == len(run.own.held_accuracy(0)) == EPOCHS


def test_other_arguments_of_what_is_watched():
    run, p = Run(np.float64), Parts(np.float64)
    other, drops = fastbp.Network([4, 3], seed=0).plan.code, p.net.plan.dropping((0.0, 0.5)).code
    for change, error in (({"examples": 3}, TypeError), ({"m": 0}, ValueError), ({"m": M + 1}, ValueError),
                          ({"B": 3}, ValueError), ({"plan": other}, ValueError), ({"plan": drops}, ValueError)):
        given = {"plan": p.plan, "examples": _backprop.Examples(p.X, p.Y), "m": M, "B": p.B} | change

        def watched(given=given):
            run.own.watch(given["plan"], given["examples"], given["m"], p.work, given["B"], p.costs,
                          np.zeros(4 * M), np.zeros(M + 1, np.int64)[: given["m"]], False, 0.5)
            run()

        with pytest.raises(error):
            watched()


def test_progress_and_ctrl_c_between_epochs(capsys):
    net = fastbp.Network([4, 5, 3], output="softmax", seed=1)
    fastbp.train(net, X, LABELS, epochs=3, progress=True)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [f"epoch {i}/3" for i in (1, 2, 3)]
