"""Schedules: by hand, against torch.optim.lr_scheduler, in training, and refused if bad."""

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
        # rise by quarters, top at the end of the warm-up, an eighth of the half circle a step, least forever after
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
    """A schedule equals constant rates set step by step"""
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


# ---------------------------------------------------------------- extremes

RATES = [5e-324, 1e-300, 0.1, 1e300, 1.7976931348623157e308]
COUNTS = [1, 2, 10, 2**31, 2**53 + 2, 2**54, 2**63 - 1]
FACTORS = [5e-324, 1e-300, 0.5, 1 - 2**-53, 1.0]
STEPS = sorted({0, 1, 9, 10, 11, 999, 2**31, 2**53, 2**62, 2**63 - 2, 2**63 - 1, *(n - 1 for n in COUNTS)})


def extremes(name, rate):
    if name == "constant":
        yield schedules.Constant(rate)
    if name == "exponential":
        yield from (schedules.Exponential(rate, factor) for factor in FACTORS)
    if name == "step":
        yield from (schedules.Step(rate, n, factor) for n in COUNTS for factor in FACTORS)
    if name == "inverse":
        yield from (schedules.InverseScaling(rate, power) for power in (0, 5e-324, 0.5, 16, 2000, 1e308))
    if name == "cosine":
        yield from (schedules.Cosine(rate, n, least, warmup, restarts, growth) for n in COUNTS
                    for least in (0, rate / 3, rate) for warmup in (0, 10, 2**63 - 1)
                    for restarts, growth in ((False, 1), (True, 1), (True, 2), (True, 2**63 - 1)))
    if name == "cycle":
        yield from (schedules.OneCycle(rate, n, rise, start, end) for n in COUNTS[1:]
                    for rise in (5e-324, 0.3, 1 - 2**-53) for start, end in ((1, 1), (25, 1e4), (1.7e308, 1.7e308)))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", ["constant", "step", "exponential", "inverse", "cosine", "cycle"])
def test_fault_60_every_rate_is_finite_and_at_least_0(name, rate):
    for schedule in extremes(name, rate):
        for t in STEPS:
            value = schedule(t)
            assert type(value) is float
            assert 0 <= value <= rate, (schedule, t)
            assert schedule(np.int64(t)) == value


def test_fault_60_a_power_that_overflows_is_a_rate_of_0():
    assert schedules.InverseScaling(0.1, 2000)(0) == 0.1
    assert schedules.InverseScaling(0.1, 2000)(1) == 0.0
    assert schedules.Cosine(1.5e308, 10)(0) == 1.5e308


def test_fault_60_invscaling_of_an_estimator_goes_on_with_the_smallest_rate():
    from fastbp.sklearn import MLPRegressor

    p = problem((3, 2), m=20)
    e = MLPRegressor(solver="sgd", learning_rate="invscaling", power_t=2000.0, hidden_layer_sizes=(3,), random_state=0)
    e.partial_fit(p.X, p.Y).partial_fit(p.X, p.Y)
    assert 0 < e._optimizer.learning_rate < 1e-300
    assert np.isfinite(e.coefs_[0]).all()


@pytest.mark.parametrize("t", [2**62, 2**63 - 1, 2**63])
@pytest.mark.parametrize("rule", ["sgd", "adam", "nadam"])
def test_fault_60_a_step_count_without_room_for_more_is_refused(rule, t):
    p = problem((3, 4, 2), m=20)
    net = p.network()
    trainer = fastbp.Trainer(net, rule, dropout=0.5, seed=0)
    before = dict(trainer.state)
    for name in ("t", "dropout_t"):
        refused(lambda name=name: setattr(trainer, "state", {**before, name: t}), name, r"less than 2\^6")
    assert trainer.state["t"] == before["t"]
    trainer.state = {**before, "t": 2**62 - 1}
    trainer.step(p.X, p.Y)
    assert trainer.state["t"] == 2**62
    assert np.isfinite(net.theta).all()


def test_fault_60_files_and_pickles_that_claim_such_a_count_are_refused(tmp_path):
    from fastbp.files import container

    p = problem((3, 4, 2), m=20)
    trainer = fastbp.Trainer(p.network(), "adam")
    trainer.save(tmp_path / "t")
    arrays, meta = container.read(tmp_path / "t")
    meta["state"]["dict"]["t"] = 2**63 - 1
    container.write(tmp_path / "t", arrays, meta)
    refused(lambda: trainer.restore(tmp_path / "t"), "state, 't'")
    kept = trainer.__getstate__()
    kept["state"] = {**kept["state"], "t": 2**62}
    refused(lambda: fastbp.Trainer.__new__(fastbp.Trainer).__setstate__(kept), "'t'")


@pytest.mark.parametrize("name", ["t_", "n_iter_", "_no_improvement_count"])
def test_fault_60_a_fit_that_claims_such_a_count_is_refused(tmp_path, name):
    from fastbp.files import container
    from fastbp.sklearn import MLPRegressor

    p = problem((3, 2), m=20)
    e = MLPRegressor(hidden_layer_sizes=(3,), random_state=0, max_iter=1, tol=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        e.fit(p.X, p.Y, checkpoint=tmp_path / "t")
    arrays, meta = container.read(tmp_path / "t")
    meta["notes"]["dict"]["numbers"]["dict"][name] = 2**62
    container.write(tmp_path / "t", arrays, meta)
    refused(lambda: e.fit(p.X, p.Y, checkpoint=tmp_path / "t", resume=True), "counts")
