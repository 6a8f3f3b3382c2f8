"""Who works in step, one or a crew: the faster is found, and looking for it costs next to nothing."""

import os
import threading

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


def test_short_trainings_start_no_thread(monkeypatch):
    monkeypatch.setattr(threads, "start_new_thread", lambda *_: pytest.fail("a thread was started"))
    monkeypatch.setattr(threads, "ALONE_FIRST", 60.0)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4000, 64)), rng.integers(0, 10, 4000)
    net = fastbp.Network([64, 100, 10], output="softmax", loss="cross_entropy", seed=0)
    trainer = fastbp.Trainer(net, "adam", n_threads=2)
    with threads.crew(2, 1e7, 1e6) as trainer.steps.crew:
        assert trainer.steps.crew.n == threads.members(2, 1e7)
        trainer.steps.mean(net.data(X, y), 200)


def test_members_join_later_and_change_no_bit(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 20)), rng.integers(0, 10, 2000)

    def trained(alone):
        net = fastbp.Network([20, 30, 10], output="softmax", loss="cross_entropy", seed=0)
        trainer, members = fastbp.Trainer(net, "adam"), set()
        with threads.Crew(2, alone=alone) as trainer.steps.crew:
            real = trainer.steps.crew._by_all
            monkeypatch.setattr(trainer.steps.crew, "_by_all", lambda part, n: (members.add(n), real(part, n))[1])
            for _ in range(30):
                trainer.steps.mean(net.data(X, y), 200)
        return net.theta.tobytes(), members

    theta, members = trained(60.0)
    assert members == set()
    assert trained(0.001) == (theta, {2}) or threads.cores() == 1
    assert trained(0.0)[0] == theta


def test_where_there_is_one_processor_no_thread_is_moved(monkeypatch):
    monkeypatch.setattr(threads, "_allowed", lambda: {3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: pytest.fail("the thread was moved"), raising=False)
    threads.spread(1)


@pytest.mark.parametrize("n", [1, 2])
def test_a_crew_that_is_told_to_stop_begins_no_other_task(n):
    done = []
    with threads.Crew(n) as crew:
        def work(task, member):
            done.append(task)
            crew.team.want_stop()

        crew.deal(work, range(100))
    assert 1 <= len(done) <= n


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system tells no processors")
def test_members_are_spread_over_the_processors_and_stay_free_to_be_moved():
    allowed, seen = os.sched_getaffinity(0), []

    def moved():
        threads.spread(1)
        seen.append(os.sched_getaffinity(0))

    worker = threading.Thread(target=moved)
    worker.start()
    worker.join()
    assert seen == [allowed] == [os.sched_getaffinity(0)]


def test_the_choice_is_told_the_steps_that_were_done(monkeypatch):
    told = []
    monkeypatch.setattr(threads.Choice, "took", lambda self, n, steps, seconds: told.append((n, steps)))
    crew = threads.Crew(2, alone=60.0)
    assert crew.in_step(lambda budget, team, member: (0.5, 9, 4)) == (0.5, 9, 4)
    assert told == [(1, 4)]
