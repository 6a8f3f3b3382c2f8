"""Who works in step, one or a crew: the faster is found, and looking for it costs next to nothing."""

import numpy as np
import pytest

import fastbp
from fastbp.engine import threads


def simulated(steps, seconds_of, call=1e9, alone=threads.ALONE_FIRST):
    """Seconds that so many steps take, cut as the choice wants it; seconds_of(n, time) of one step, `call` of them an
    epoch."""
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
    """another job takes the second core for the second half"""
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
