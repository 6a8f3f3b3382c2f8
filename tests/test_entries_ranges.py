"""The entries of the compiled core that go through ranges of examples: any ranges, any members, any time to stop."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from core_parts import NO_RATES, M, Parts, steps

from fastbp import _backprop, _curvature, _derivatives, _each, _normal
from fastbp.engine import curvature

CALLS = ("_backprop.accumulate", "_curvature.keep", "_curvature.product", "_derivatives.forward",
         "_derivatives.backward", "_each.each", "_normal.add")
FREE = np.empty(0, np.int64)    # all


class Through:
    """Calls of an entry for the examples of a small network, and their results"""

    def __init__(self, name, kept=False):
        self.name, self.kept, self.parts = name, kept, Parts(np.float64)
        self.examples, n = _backprop.Examples(self.parts.X, self.parts.Y), len(self.parts.work)
        self.work, self.spare, self.panels = np.zeros(4 * n), np.zeros(4 * n), np.zeros(4 * len(self.parts.costs))
        self.others = np.zeros(4 * _backprop.spaced(len(self.parts.theta)))
        self.Delta, self.sums = np.zeros_like(self.parts.theta), np.zeros(2)
        units, spare = curvature._units(self.parts.net.plan)
        self.bent, self.R = np.zeros(4 * self.parts.B * units), np.zeros(4 * self.parts.B * spare)
        self.z, self.dX, self.slopes = np.zeros((M + 1, 3)), np.zeros((M + 1, 4)), np.zeros((3 * M + 3, 4))
        P = len(self.parts.theta)
        self.rows, self.matrices = np.zeros(4 * self.parts.B * (P + 1)), np.full(P * P, 1e300)
        self.A, self.normal_sums = np.zeros(P * P), np.zeros(2 * (1 + P))

    def __call__(self, cuts, places, budget=60.0, crew=None, n=1, B=None):
        p, name = self.parts, self.name
        if B is None:       # what is kept begins where blocks do
            B = 16 if name == "_curvature.keep" else p.B
        given, ranges, team = (p.plan, p.theta, self.examples), (np.array(cuts), places), (budget, crew, n)
        if name == "_backprop.accumulate":
            return _backprop.accumulate(*given, *ranges, self.sums, 8, self.work, B, self.panels, NO_RATES, self.Delta,
                                        self.others, *team)
        if name == "_curvature.keep":
            return _curvature.keep(*given, *ranges, self.bent, B, False, *team)
        if name == "_curvature.product":
            return _curvature.product(*given[:2], p.theta, self.examples, *ranges, B, self.bent, self.R, B, self.kept,
                                      False, self.Delta, self.others, *team)
        if name == "_derivatives.forward":
            return _derivatives.forward(*given, *ranges, self.work, B, self.kept, self.z, *team)
        if name == "_derivatives.backward":
            return _derivatives.backward(*given, *ranges, B, self.work, B, self.kept, self.z, False, self.Delta,
                                         self.others, self.dX, *team)
        if name == "_normal.add":
            return _normal.add(*given, *ranges, self.work, self.spare, B, FREE, self.rows, self.A, self.matrices,
                               self.normal_sums, 2, 1, *team)
        return _each.each(*given, *ranges, self.work, self.spare, B, 3, self.slopes, *team)

    def by(self, crew, n):
        """All examples, by n members of a crew"""
        return self(self.parts.cuts, self.parts.places.copy(), 60.0, crew, n)

    def written(self):
        bent = self.bent if self.name == "_curvature.keep" else np.empty(0)
        return [each.tobytes() for each in (self.Delta, self.sums, self.z, self.dX, self.slopes, self.A,
                                            self.normal_sums, bent)]


@pytest.mark.parametrize("n", [0, -1, -(2**31), 3, 2**31 - 1])
def test_no_more_members_work_than_a_crew_has_and_at_least_one(n):
    crew, parts = _backprop.Crew(), Parts(np.float64)
    assert crew.reach(1) == 1

    class Thief:
        capsule = crew.capsule

    for call in (lambda crew, n: steps(parts, crew=crew, members=n), *(Through(name).by for name in CALLS)):
        with pytest.raises(ValueError, match="n is"):
            call(crew, n)
        with pytest.raises(ValueError, match="n is"):
            call(None, n if n < 1 else 2)
        for other in (Thief(), 7, crew.capsule):
            with pytest.raises(TypeError, match="crew must be"):
                call(other, 1)
        call(crew, 2)
    assert steps(parts, crew=crew, members=2)[2:] == (5, 5)


@pytest.mark.parametrize(("name", "value", "says"), [
    ("cuts", [0, 20, 16], "cuts must rise"), ("cuts", [-1, 16, 40], "examples"), ("cuts", [0, 16, M + 1], "examples"),
    ("places", [[2, 7], [-1, 0]], "where there is none"), ("places", [[-2, 0], [-1, 0]], "where there is none"),
    ("places", [[0, 17], [-1, 0]], "where there is none"), ("places", [[1, 15], [-1, 0]], "where there is none"),
    ("places", [[-1, 0], [1, 2**62]], "where there is none"), ("cuts", [0, 16, 16], "cuts must rise"),
])
def test_a_sum_that_is_nowhere_in_its_examples_is_refused(name, value, says):
    for entry in CALLS:
        through = Through(entry)
        before, parts = through.written(), through.parts
        given = {"cuts": parts.cuts, "places": parts.places} | {name: np.array(value)}
        with pytest.raises(ValueError, match=says):
            through(given["cuts"], given["places"])
        assert through.written() == before


@pytest.mark.parametrize("entry", ["_curvature.keep", "_curvature.product", "_derivatives.forward",
                                   "_derivatives.backward"])
def test_workspaces_that_are_kept_begin_where_blocks_do(entry):
    begin = np.array([[-1, 0]] * 2)
    for cuts, places in (
        ([0, 17, M], begin), ([0, 8, M], begin), ([0, 16, M], np.array([[0, 8], [-1, 0]])),
        ([0, 16, M], np.array([[0, 16], [1, 31]])),
    ):
        through = Through(entry, kept=True)
        before = through.written()
        with pytest.raises(ValueError, match="begins none of the blocks of 16"):
            through(cuts, places, B=16)
        assert through.written() == before
    assert through([0, 16, M], np.array([[0, 16], [1, M]]), B=16)
    assert through([8, 24, M], begin, B=16)
    through.work = through.work[: 48 * through.parts.net.plan.units - 1]
    through.bent = through.bent[: 48 * curvature._units(through.parts.net.plan)[0] - 1]
    with pytest.raises(ValueError, match="work must"):
        through([0, 16, M], begin, B=16)


@pytest.mark.parametrize("entry", CALLS)
def test_calls_that_end_early_go_on_to_the_same_bits_whoever_works(entry):
    crew, found = _backprop.Crew(2), []
    for budget, n, seats in (60.0, 1, 1), (60.0, 1, 2), (0.0, 1, 1), (0.0, 1, 2), (0.0, 3, 3), (60.0, 2, 2):
        through = Through(entry)
        through.z[:] = np.random.default_rng(0).normal(size=through.z.shape)
        places, calls = np.array([[-1, 0]] * seats), 1
        while not through([0, 16, M], places, budget, crew, n, B=16):
            calls += 1
        assert calls == 1 if budget else calls > 1
        found.append(through.written())
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("run_of", [0, -16, 7, 15, 17])
def test_a_run_of_a_backward_pass_and_of_products_is_some_blocks(run_of):
    through = Through("_derivatives.backward")
    parts = through.parts
    with pytest.raises(ValueError, match="run_of must be a multiple of 16"):
        _derivatives.backward(parts.plan, parts.theta, through.examples, parts.cuts, parts.places, run_of, through.work,
                              16, False, through.z, False, through.Delta, through.others, through.dX, 60.0)
    with pytest.raises(ValueError, match="run_of must be a multiple of 16"):
        _curvature.product(parts.plan, parts.theta, parts.theta, through.examples, parts.cuts, parts.places, run_of,
                           through.bent, through.R, 16, False, False, through.Delta, through.others, 60.0)


def test_members_that_meet_have_one_seat_and_runs_have_examples():
    parts = Parts(np.float64)

    def accumulate(places, run_of, meet):
        return _backprop.accumulate(
            parts.plan, parts.theta, _backprop.Examples(parts.X, parts.Y), parts.cuts, places, parts.sums,
            run_of, np.zeros(2 * len(parts.work)), parts.B, np.zeros(2 * len(parts.costs)), NO_RATES, parts.Delta,
            np.zeros(300), 60.0, meet=meet)

    with pytest.raises(ValueError, match="one row where members meet"):
        accumulate(parts.places, 8, True)
    with pytest.raises(ValueError, match="run_of must be"):
        accumulate(parts.places, 0, False)
    assert accumulate(np.array([[-1, 0]]), 8, True)


STOPPED = """
import sys, threading
import numpy as np
from core_parts import NO_RATES, M, Parts
from fastbp import _backprop

parts, crew, over = Parts(np.float64), _backprop.Crew(3), threading.Event()
examples, m = _backprop.Examples(np.tile(parts.X, (4, 1)), np.tile(parts.Y, (4, 1))), 4 * M
sys.setswitchinterval(1e-5)     # seconds

def stop():
    while not over.is_set():
        crew.want_stop()

threading.Thread(target=stop, daemon=True).start()
ended = {True: 0, False: 0}
while ended[False] < 100 or sum(ended.values()) < 1000:
    places, sums, Delta = np.array([[-1, 0]]), np.zeros(1), np.zeros_like(parts.theta)
    apart = sum(ended.values()) % 2 == 1
    ended[_backprop.accumulate(
        parts.plan, parts.theta, examples, np.array([0, m]), places, sums, m, parts.work, parts.B, parts.costs,
        NO_RATES, Delta, NO_RATES, 60.0, crew, 2, True, apart)] += 1
over.set()
print("never waited for ever")
"""


def test_members_that_meet_agree_whether_to_stop_whenever_that_is_asked_for():
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=100, check=False,
                          cwd=Path(__file__).parent)
    assert done.stdout == "never waited for ever\n", done.stderr


def test_fault_7_threads_that_are_at_work_are_refused_to_another_call():
    """A crew in two calls, as of one trainer in two threads, is an error, so no member waits forever or works twice"""
    parts, crew, refused, right = Parts(np.float64), _backprop.Crew(1), [], []
    examples = _backprop.Examples(np.tile(parts.X, (500, 1)), np.tile(parts.Y, (500, 1)))
    m = 500 * M

    def total(meet):
        work, costs = np.empty(2 * len(parts.work)), np.empty(2 * len(parts.costs))
        cuts, places, sums = np.array([0, m // 2, m]), np.array([[-1, 0]] * (1 if meet else 2)), np.zeros(2)
        Delta, others = np.zeros_like(parts.theta), np.zeros(3 * _backprop.spaced(len(parts.theta)))
        try:
            while not _backprop.accumulate(parts.plan, parts.theta, examples, cuts, places, sums, m, work, parts.B,
                                           costs, NO_RATES, Delta, others, 60.0, crew, 2, meet):
                pass
        except RuntimeError as error:
            refused.append(str(error))
        else:
            right.append((sums.tobytes(), Delta.tobytes()))

    def both(begun):
        while len(refused) < 5 and time.monotonic() < begun + 60:
            total(False)
            total(True)

    crowd = [threading.Thread(target=both, args=(time.monotonic(),)) for _ in range(2)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(100)
    assert len(refused) >= 5
    assert "at work in another call" in refused[0]
    assert len(set(right)) == 1
