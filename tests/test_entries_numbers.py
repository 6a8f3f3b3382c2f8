"""Numbers, orders and objects that the compiled core is given: refused where they lead outside."""


import numpy as np
import pytest
from core_parts import NO_RATES, M, Parts, steps

from fastbp import _backprop, _calls, _curvature, _derivatives, _each, _epoch, _lbfgs


@pytest.mark.parametrize("bad", [
    {"m": M + 1}, {"m": -1}, {"m": 2**62}, {"batch": 0}, {"batch": -1}, {"batch": -(2**62)}, {"first": -1},
    {"first": 6}, {"last": 6}, {"last": 2**62}, {"last": -1}, {"B": 0}, {"B": -16}, {"B": 7}, {"B": 2**40},
    {"B": 2**62},
    {"members": 2}, {"members": 0}, {"rule": 3}, {"crew": object()}, {"examples": object()},
])
def test_numbers_that_lead_outside_are_refused(bad):
    parts = Parts(np.float64)
    before = parts.theta.tobytes()
    with pytest.raises((ValueError, TypeError)):
        steps(parts, **bad)
    assert (parts.theta.tobytes(), parts.taken[0]) == (before, 0)


def test_whoever_has_the_capsule_of_another_is_refused():
    """The capsule would outlive its owner"""
    parts = Parts(np.float64)

    class Thief:
        capsule = _backprop.Examples(parts.X, parts.Y).capsule

    with pytest.raises(TypeError, match="examples must be"):
        steps(parts, examples=Thief())
    for cls in (_backprop.Examples, _backprop.Crew, _calls.Evaluator, _curvature.Few, _derivatives.Pass, _epoch.Rule,
                _lbfgs.Search):
        with pytest.raises(TypeError):
            type("Other", (cls,), {})


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (0, M + 1), (5, 4), (2**62, 2**62 + 1), (-(2**62), 0)])
def test_examples_that_are_not_there_are_refused(first, last):
    parts = Parts(np.float64)
    examples, out = _backprop.Examples(parts.X, parts.Y), np.empty((M + 1, 3))
    for call in (
        lambda: examples.weight(first, last),
        lambda: _backprop.predict(parts.plan, parts.theta, examples, first, last, parts.work, parts.B, out, 60.0),
        lambda: _backprop.accumulate(
            parts.plan, parts.theta, examples, np.array([first, last]), np.array([[-1, 0]]), np.zeros(1), M,
            parts.work, parts.B, parts.costs, NO_RATES, parts.Delta, NO_RATES, 60.0),
        lambda: _derivatives.forward(parts.plan, parts.theta, examples, np.array([first, last]), np.array([[-1, 0]]),
                                     parts.work, parts.B, False, out, 60.0),
        lambda: _each.each(parts.plan, parts.theta, examples, np.array([first, last]), np.array([[-1, 0]]),
                           parts.work, parts.work, parts.B, 1, np.empty(M + 1), 60.0),
        lambda: _epoch.online_steps(parts.plan, parts.theta, examples, first, last, Parts(np.float64, "sgd").rule(),
                                    NO_RATES, parts.work, parts.B, parts.packed, 0.0, 0.0, 60.0, 5),
    ):
        with pytest.raises(ValueError, match="examples"):
            call()


def test_examples_of_another_network_or_without_targets_are_refused():
    parts = Parts(np.float64)
    X, Y, labels = parts.X, parts.Y, parts.labels
    for other in ((X[:, :3].copy(), Y), (X, Y[:, :2].copy()), (X,), (X, None, None)):
        with pytest.raises(ValueError, match="examples"):
            steps(parts, examples=_backprop.Examples(*other))
    for other in ((X, Y[:-1]), (X, None, labels[:-1].copy()), (X, Y, None, parts.w[:-1]), (X, Y, None, Y)):
        with pytest.raises(ValueError, match=r"rows|labels|w must"):
            _backprop.Examples(*other)


@pytest.mark.parametrize("bad", [-1, M, 2**62, -(2**62)])
def test_an_order_that_leads_outside_is_refused_and_one_changed_later_is_harmless(bad):
    parts = Parts(np.float64)
    examples = _backprop.Examples(parts.X, None, parts.labels, parts.w, parts.order)
    parts.order[7] = bad
    with pytest.raises(ValueError, match="order"):
        _backprop.Examples(parts.X, parts.Y, None, None, parts.order)
    steps(parts, examples=examples)
    sgd = Parts(np.float64, "sgd")
    _epoch.online_steps(sgd.plan, sgd.theta, examples, 0, M, sgd.rule(), NO_RATES, sgd.work, sgd.B, sgd.packed, 0.0,
                        0.0, 60.0, 5)
    assert np.isfinite(parts.theta).all()
    assert np.isfinite(sgd.theta).all()


@pytest.mark.parametrize("value", [-1, 0, 1, 10**6, 2**31, 2**62, -(2**63)])
@pytest.mark.parametrize("dropout", [(), (0.5, 0.5)])
def test_a_plan_whose_cells_were_changed_is_refused_or_harmless(dropout, value):
    """Most wrong codes are refused; another activation is just another network"""
    refused = 0
    parts = Parts(np.float64)
    code = (parts.net.plan.dropping(dropout) if dropout else parts.net.plan).code
    parts.work = np.zeros(parts.B * (parts.net.plan.units + 9))
    for cell in range(code.size):
        plan = code.copy()
        plan.flat[cell] = value
        try:
            steps(parts, plan)
        except ValueError:
            refused += 1
    assert refused > code.size // 3 or 0 <= value <= 1


@pytest.mark.parametrize("change", [
    lambda c: c.__setitem__((0, 1), 8), lambda c: c.__setitem__((0, 0), 0), lambda c: c.__setitem__((2, 2), 10),
    lambda c: c.__setitem__((3, 0), 0), lambda c: c.__setitem__((1, 1), 9), lambda c: c.__setitem__((1, 2), 5),
    lambda c: c.__setitem__((7, 0), 6), lambda c: c.__setitem__((7, 1), -1), lambda c: c.__setitem__((7, 0), 9),
])
def test_a_plan_of_another_size_or_of_no_such_function_is_refused(change):
    parts = Parts(np.float64)
    change(parts.plan)
    for call in (
        parts.stepper, parts.predictor, parts.evaluator, parts.rule,
        lambda: steps(parts, rule=Parts(np.float64).rule()),
    ):
        with pytest.raises(ValueError, match=r"plan|theta|state"):
            call()
