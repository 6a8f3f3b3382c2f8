"""Schedules: by hand, against torch.optim.lr_scheduler, inside a training, refused where they are bad."""

import copy
import inspect
import math
import pickle

import numpy as np
import pytest
from helpers import distance, problem
from test_checks import refused

import fastbp
from fastbp import schedules

EXAMPLES = {
    "constant": schedules.Constant(0.5),
    "step": schedules.Step(0.5, every=3, factor=0.1),
    "exponential": schedules.Exponential(0.5, 0.9),
    "inverse": schedules.InverseScaling(0.5, power=0.5),
    "cosine": schedules.Cosine(0.5, steps=8, least=0.01, warmup=4),
    "restarts": schedules.Cosine(0.5, steps=3, restarts=True, growth=2),
    "cycle": schedules.OneCycle(0.5, steps=20),
}
C = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", {0: 0.5, 1000: 0.5}),
        ("step", {0: 0.5, 2: 0.5, 3: 0.05, 5: 0.05, 6: 0.005}),
        ("exponential", {0: 0.5, 1: 0.45, 2: 0.405}),
        ("inverse", {0: 0.5, 3: 0.25, 99: 0.05}),
        # rise by quarters, top at the end of the warm-up, an eighth of the half circle a step, least for ever after
        ("cosine", {0: 0.125, 1: 0.25, 3: 0.5, 4: 0.5, 6: 0.01 + 0.49 * (1 + C) / 2, 8: 0.255, 12: 0.01, 99: 0.01}),
        # falls of 3, 6 and 12 steps
        ("restarts", {0: 0.5, 1: 0.375, 2: 0.125, 3: 0.5, 5: 0.375, 6: 0.25, 7: 0.125, 9: 0.5, 15: 0.25, 21: 0.5}),
        ("cycle", {0: 0.02, 5: 0.5, 19: 2e-6, 30: 2e-6}),
    ],
)
def test_rates_are_those_by_hand(name, expected):
    assert {t: EXAMPLES[name](t) for t in expected} == pytest.approx(expected, rel=1e-12)


TORCH = {
    "step": (lambda s, o: s.StepLR(o, 7, 0.3), schedules.Step(0.4, 7, 0.3)),
    "exponential": (lambda s, o: s.ExponentialLR(o, 0.97), schedules.Exponential(0.4, 0.97)),
    "cosine": (lambda s, o: s.CosineAnnealingLR(o, 100, 0.02), schedules.Cosine(0.4, 100, 0.02)),
    "restarts": (
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 9, 2, 0.02),
        schedules.Cosine(0.4, 9, 0.02, restarts=True, growth=2),
    ),
    "equal restarts": (
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 9, 1, 0.02), schedules.Cosine(0.4, 9, 0.02, restarts=True)
    ),
    "warm-up": (
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, 1 / 10, total_iters=9), s.CosineAnnealingLR(o, 90, 0.02)], milestones=[10]
        ),
        schedules.Cosine(0.4, 90, 0.02, warmup=10),
    ),
    "one cycle": (lambda s, o: s.OneCycleLR(o, 0.4, 100), schedules.OneCycle(0.4, 100)),
    "late cycle": (
        lambda s, o: s.OneCycleLR(o, 0.4, 100, pct_start=0.55, div_factor=4, final_div_factor=50),
        schedules.OneCycle(0.4, 100, 0.55, 4, 50),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TORCH)
def test_rates_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    make, ours = TORCH[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    for t in range(100):
        assert ours(t) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15), t
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_step_of_a_training_takes_its_rate(name):
    """Against constant rates set step by step"""
    p, schedule = problem(m=20), EXAMPLES[name]
    net, other = p.network(), p.network()
    fastbp.train(net, p.X, p.Y, optimizer=fastbp.SGD(schedule), epochs=3, batch_size=6, shuffle=False)
    optimizer = fastbp.SGD(1.0)
    trainer = fastbp.Trainer(other, optimizer)
    for t in range(12):
        optimizer.learning_rate = schedule(t)
        rows = slice(6 * (t % 4), 6 * (t % 4) + 6)
        trainer.step(p.X[rows], p.Y[rows])
    assert distance(net.theta, other.theta) < 1e-14


@pytest.mark.parametrize("name", EXAMPLES)
def test_copies_are_equal_and_show_their_settings(name):
    schedule = EXAMPLES[name]
    assert pickle.loads(pickle.dumps(schedule)) == copy.deepcopy(schedule) == schedule
    assert eval(repr(schedule), vars(schedules)) == schedule
    assert schedule != schedules.Constant(0.123)
    assert all(type(schedule(t)) is float and np.isfinite(schedule(t)) for t in (0, 1, 10**6))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: schedules.Constant(0), "learning_rate"),
        (lambda: schedules.Step(0.1, every=0), "every"),
        (lambda: schedules.Step(0.1, every=2.5), "every"),
        (lambda: schedules.Step(0.1, 2, factor=1.5), "factor"),
        (lambda: schedules.Exponential(0.1, 0), "factor"),
        (lambda: schedules.InverseScaling(0.1, -1), "power"),
        (lambda: schedules.Cosine(0.1, 10, least=0.2), "least"),
        (lambda: schedules.Cosine(0.1, 10, warmup=-1), "warmup"),
        (lambda: schedules.Cosine(0.1, 10, restarts=1), "restarts"),
        (lambda: schedules.OneCycle(0.1, 1), "steps"),
        (lambda: schedules.OneCycle("0.1", 10), "learning_rate"),
        (lambda: schedules.OneCycle(0.1, 10, rise=1), "rise"),
        (lambda: schedules.OneCycle(0.1, 10, end_divisor=0.5), "end_divisor"),
    ],
)
def test_bad_settings_are_refused_by_name(make, name):
    refused(make, name)


@pytest.mark.parametrize("make", [
    lambda: schedules.Step(0.1, 2, factor=1), lambda: schedules.Step(0.1, 1), lambda: schedules.Exponential(0.1, 1),
    lambda: schedules.InverseScaling(0.1, 0), lambda: schedules.Cosine(0.1, 10, least=0.1),
    lambda: schedules.Cosine(0.1, 10, least=0), lambda: schedules.Cosine(0.1, 1), lambda: schedules.OneCycle(0.1, 2),
])
def test_the_ends_of_what_is_accepted_are_accepted(make):
    assert 0 < make()(0) <= 0.1


def test_a_schedule_of_ones_own_without_a_rate_says_what_is_missing():
    class Half(schedules.Schedule):
        pass

    with pytest.raises(NotImplementedError, match="Half must define __call__"):
        Half()(0)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("rate", [0, -0.1, np.inf, np.nan, None])
def test_every_schedule_asks_for_a_finite_rate_above_zero(name, rate):
    settings = vars(EXAMPLES[name]) | {"learning_rate": rate}
    accepted = inspect.signature(type(EXAMPLES[name])).parameters
    refused(lambda: type(EXAMPLES[name])(**{key: settings[key] for key in accepted}), "learning_rate")


def test_a_cycle_that_rises_in_its_first_step_begins_at_the_top():
    cycle = schedules.OneCycle(0.5, steps=4, rise=0.25)
    assert cycle(0) == 0.5
    assert cycle(3) == pytest.approx(0.5 / 25 / 1e4)
