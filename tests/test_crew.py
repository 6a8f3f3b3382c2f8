"""One thread or a crew takes the steps: the faster is found, and the search for it costs almost nothing."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import _backprop
from fastbp.engine import sums, threads


def simulated(steps, seconds_of, call=1e9, alone=threads.ALONE_FIRST):
    """Seconds of these steps, cut as the choice decides; seconds_of(n, time) is the time of one step, and an epoch has
    `call` of them."""
    choice, now, left = threads.Choice(2, alone), 0.0, steps
    while left:
        n, budget = choice.next()
        a_step = seconds_of(n, now)
        done = int(max(1, min(left, call, budget // a_step)))
        choice.took(n, done, done * a_step)
        now, left = now + done * a_step, left - done
    return now


@pytest.mark.parametrize("call", [1, 100, 1e9])
@pytest.mark.parametrize("slower", [1.0, 1.5, 3.0, 100.0])
@pytest.mark.parametrize("a_step", [2e-5, 1e-3])
@pytest.mark.parametrize("seconds", [0.005, 0.02, 0.1, 1, 20])
def test_a_slower_crew_costs_at_most_a_twentieth(seconds, a_step, slower, call):
    steps = max(1, round(seconds / a_step))
    took = simulated(steps, lambda n, _: a_step if n == 1 else slower * a_step, call)
    two_steps = 2 * slower * a_step     # a trial takes two at least
    assert took <= 1.07 * steps * a_step + two_steps


@pytest.mark.parametrize("seconds", [0.005, 0.02, 0.1, 1, 20])
def test_a_faster_crew_is_found_at_once(seconds):
    a_step = 2e-5
    took = simulated(round(seconds / a_step), lambda n, _: a_step / (1.6 if n == 2 else 1))
    assert took <= 1.05 * (threads.ALONE_FIRST + 0.001 + seconds / 1.6)


def test_the_other_one_is_taken_when_it_has_become_the_faster():
    """Another job takes the second core during the second half"""
    took = simulated(500_000, lambda n, time: 2e-5 / 1.6 if n == 2 and time < 3 else 2e-5 * (n == 1 or 5))
    best = 3 + (500_000 - 3 / (2e-5 / 1.6)) * 2e-5
    assert took <= 1.07 * best


def test_members_join_later_and_change_no_bit(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 20)), rng.integers(0, 10, 2000)

    def trained(alone):
        net = fastbp.Network([20, 30, 10], output="softmax", loss="cross_entropy", seed=0)
        trainer = fastbp.Trainer(net, "adam")
        with threads.Crew(2, choice=threads.Choice(2, alone)) as trainer.steps.crew:
            for _ in range(30):
                trainer.steps.mean(net.data(X, y), 200)
            return net.theta.tobytes(), sum(trainer.steps.crew.who[0].jobs)

    theta, jobs = trained(60.0)
    assert jobs == 0
    later, jobs = trained(0.001)
    assert later == theta
    assert jobs > 0
    assert trained(0.0)[0] == theta


def test_the_choice_is_told_the_steps_that_were_done(monkeypatch):
    told = []
    monkeypatch.setattr(threads.Choice, "took", lambda self, n, steps, seconds: told.append((n, steps)))
    crew = threads.Crew(2, choice=threads.Choice(2, 60.0))
    assert crew.in_step(lambda budget, team, members, apart: (0.5, 9, 4)) == (0.5, 9, 4)
    assert told == [(1, 4)]


# ---------------------------------------------------------------- how the work is divided


@pytest.mark.parametrize("m", [700, 2100])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_members_share_ranges_or_blocks_and_change_no_bit(m, dtype, monkeypatch):
    """One range or several, and runs within a range"""
    net = fastbp.Network([60, 80, 10], output="softmax", dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((m, 60)).astype("f4"), rng.integers(0, 10, m)
    data, height = net.data(X, Y), 64
    meets, real = set(), _backprop.accumulate
    monkeypatch.setattr(_backprop, "accumulate", lambda *a: (meets.add(a[-2]), real(*a))[1])
    for run_of, ranges, budget in ((sums.RUN, 8, 10.0), (2, 8, 0.0), (2, 1, 0.0), (3, 1, 10.0)):
        bits = set()
        monkeypatch.setattr(sums, "RUN", run_of)
        monkeypatch.setattr(sums, "RANGES", ranges)
        monkeypatch.setattr(threads, "SLICE", budget)
        monkeypatch.setattr(threads, "SHARED_SUM", 0)
        for n, apart in ((1, False), (2, False), (3, True), (5, False)):
            D, each = np.zeros(net.n_parameters, dtype), np.zeros(-(-m // _backprop.panel(net.theta)))
            with threads.Crew(n, apart) as crew:
                J = sums.accumulate_range(net.plan, net.theta, data.examples(), 0, m, height, D, crew, each)
                alone = sums.accumulate_range(net.plan, net.theta, data.examples(), 0, m, height, D[:0].copy(), crew)
            assert alone == J
            bits.add((J, D.tobytes(), each.tobytes()))
        assert len(bits) == 1
        exact = net.accumulate(X, Y, per_example=True)
        np.testing.assert_allclose(J, exact[0], rtol=1e-5 if dtype == "f4" else 1e-12)
        np.testing.assert_allclose(net.plan.views(D)[0], exact[1][0], rtol=1e-3 if dtype == "f4" else 1e-9, atol=1e-3)
    assert meets == {False, True}


# ---------------------------------------------------------------- in C alone


@pytest.mark.parametrize("flags", [[], ["-DFASTBP_NO_FUTEX"]])
def test_every_member_does_every_job_once_by_the_futex_and_without(flags, tmp_path):
    compiler = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
    if compiler is None:
        pytest.skip("there is no C compiler")
    root, program = Path(__file__).parent, tmp_path / "jobs"
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run(
        [compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O1", *flags, f"-I{root.parent / 'src' / 'kernels'}",
         str(root / "crew_jobs.c"), "-o", str(program), "-lpthread", "-lm"], check=True, env=environment)
    done = subprocess.run([program], capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("0 wrong")
