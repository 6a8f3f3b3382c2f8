"""Objects that the compiled core keeps between two calls: rules with their arrays, theta, examples. The next call finds
and names any change that the caller has made to them.
"""

import warnings

import numpy as np
import pytest
from core_parts import NO_RATES, Parts, steps
from helpers import DTYPES

import fastbp
from fastbp import _backprop, _epoch, _kernels

# ---------------------------------------------------------------- rules


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(_kernels.rules))
def test_fault_53_a_rule_has_the_settings_and_slots_of_its_name(name, dtype):
    parts = Parts(dtype, name)
    parts.rule()
    for settings in (parts.settings[:-1], np.append(parts.settings, 0.5), parts.settings[:0]):
        with pytest.raises(ValueError, match=f"settings of the rule '{name}'"):
            parts.rule(settings)
    for slots in (parts.slots[:-1] if parts.slots else [parts.theta.copy()], [*parts.slots, parts.theta.copy()]):
        with pytest.raises(ValueError, match=f"the rule '{name}' has"):
            parts.rule(slots=slots)
    if len(parts.scalars):
        with pytest.raises(ValueError, match="scalars"):
            parts.rule(scalars=NO_RATES)


@pytest.mark.parametrize("optimizer", [fastbp.SGD(0.1, momentum=0.9), fastbp.optimizers.RMSprop(momentum=0.9)])
def test_fault_53_momentum_asks_for_one_slot_more(optimizer):
    parts = Parts(np.float64, optimizer.compiled)
    settings = np.array([float(value) for value in optimizer.settings()])
    with pytest.raises(ValueError, match="slots with these settings"):
        parts.rule(settings)
    parts.rule(settings, [*parts.slots, parts.theta.copy()])


@pytest.mark.parametrize("code", [-1, len(_kernels.rules), 2**30])
def test_a_code_of_no_rule_is_refused(code):
    parts = Parts(np.float64)
    with pytest.raises(ValueError, match="rule must be"):
        _epoch.Rule(parts.plan, code, parts.settings, parts.regularisation, parts.slots, parts.scalars, parts.taken)


def test_a_rule_of_another_network_or_dtype_is_refused():
    parts, single = Parts(np.float64), Parts(np.float32)
    with pytest.raises(ValueError, match="dtype"):
        steps(parts, rule=single.rule())
    parts.plan = fastbp.Network([4, 5, 3]).plan.code
    with pytest.raises(ValueError, match="state"):
        parts.rule()
    parts.slots = [np.zeros(4 * 5 + 5 + 3 * 6) for _ in range(2)]
    with pytest.raises(ValueError, match="another network"):
        steps(Parts(np.float64), rule=parts.rule())


# ---------------------------------------------------------------- between two calls


def assign(name):
    def change(a, value):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # deprecated by NumPy
            setattr(a, name, value(a))
    return change


def resize(n):
    return lambda a: a.resize(n(a), refcheck=False)


def there_and_back(a):
    """The old memory is given to another object meanwhile"""
    n = a.size
    a.resize(200_000, refcheck=False)
    a.resize(n, refcheck=False)


BETWEEN = {
    "longer": resize(lambda a: a.size + 100_000), "shorter": resize(lambda a: max(0, a.size - 1)),
    "empty": resize(lambda a: 0), "frozen": lambda a: a.setflags(write=False),
    "shape": lambda a: assign("shape")(a, lambda a: (1, a.size)),
    "dtype": lambda a: assign("dtype")(a, lambda a: {"f": "i4", "d": "i8", "l": "f8", "q": "f8"}[a.dtype.char]),
    "bytes": lambda a: assign("dtype")(a, lambda a: np.uint8),
    "byte order": lambda a: assign("dtype")(a, lambda a: a.dtype.newbyteorder("S")),
    "strides": lambda a: assign("strides")(a, lambda a: (0,)),
}


def held(parts):
    """{what: (array, its name in the message)} of a step"""
    return {"theta": (parts.theta, r"net\.theta"), "m": (parts.slots[0], r"state\['m'\]"),
            "v": (parts.slots[1], r"state\['v'\]"), "scalars": (parts.scalars, r"state\['scalars'\]"),
            "taken": (parts.taken, "taken")}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("damage", BETWEEN)
@pytest.mark.parametrize("what", ["theta", "m", "v", "scalars", "taken"])
def test_fault_54_arrays_changed_between_two_steps_are_refused_by_name(what, damage, dtype):
    if damage == "strides" and what in ("scalars", "taken"):
        pytest.skip("one value has no stride")
    parts = Parts(dtype)
    stepper, rule = parts.stepper(), parts.rule()
    assert stepper.step(parts.X[:8], parts.Y[:8]) > 0
    array, name = held(parts)[what]
    BETWEEN[damage](array)
    others = [each for each, _ in held(parts).values() if each is not array]
    before = [each.tobytes() for each in others]
    with pytest.raises((ValueError, TypeError), match=name):
        stepper.step(parts.X[:8], parts.Y[:8])
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match=name):
            steps(parts, rule=rule)
    with pytest.raises((ValueError, TypeError), match=name):
        _epoch.step(parts.plan, parts.theta, 1.0, rule, NO_RATES, parts.Delta)
    assert [each.tobytes() for each in others] == before


@pytest.mark.parametrize("what", ["theta", "m", "scalars"])
def test_fault_54_memory_that_has_moved_is_refused_although_the_size_is_the_same(what):
    parts = Parts(np.float64)
    stepper = parts.stepper()
    array, name = held(parts)[what]
    at, kept = array.ctypes.data, []
    for _ in range(20):
        there_and_back(array)
        if array.ctypes.data != at:
            break
        kept.append(np.empty_like(array))
    if array.ctypes.data == at:
        pytest.skip("the system has given the same memory again")
    with pytest.raises(ValueError, match=f"{name} has been resized"):
        stepper.step(parts.X[:8], parts.Y[:8])


@pytest.mark.parametrize("damage", ["longer", "shorter", "empty", "frozen"])
@pytest.mark.parametrize("what", ["theta", "m", "v", "scalars"])
def test_fault_54_views_of_an_array_that_is_resized_or_frozen_are_refused_by_name(what, damage):
    """NumPy does not notify views"""
    parts = Parts(np.float64)
    array, name = held(parts)[what]
    view = array[:]
    if what == "theta":
        parts.theta = view
    elif what == "scalars":
        parts.scalars = view
    else:
        parts.slots = [view if each is array else each for each in parts.slots]
    stepper, predictor, rule = parts.stepper(), parts.predictor(), parts.rule()
    assert stepper.step(parts.X[:8], parts.Y[:8]) > 0
    BETWEEN[damage](array)
    if damage == "longer" and not outside(view, array):
        pytest.skip("the memory grew where it was")
    calls = [lambda: stepper.step(parts.X[:8], parts.Y[:8]), lambda: steps(parts, rule=rule), parts.stepper]
    if what == "theta" and damage != "frozen":
        calls += [lambda: predictor.predict(parts.X[0].copy(), None), parts.predictor]
    for call in calls:
        with pytest.raises(ValueError, match=f"{name} {'is read-only' if damage == 'frozen' else 'has been resized'}"):
            call()


def outside(view, array):
    at, begin = view.ctypes.data, array.ctypes.data
    return not begin <= at <= at + view.nbytes <= begin + array.nbytes


@pytest.mark.parametrize("what", ["X", "Y", "labels", "w", "order"])
def test_fault_54_examples_that_are_views_of_what_is_resized_are_refused(what):
    parts = Parts(np.float64)
    array = getattr(parts, what)
    given = {name: getattr(parts, name) for name in ("X", "Y", "labels", "w", "order")} | {what: array[::-1][::-1]}
    examples = _backprop.Examples(*given.values())
    steps(parts, examples=examples)
    array.resize(1, refcheck=False)
    with pytest.raises(ValueError, match="changed"):
        steps(parts, examples=examples)
    with pytest.raises(ValueError, match=r"X|Y|w|labels|order"):
        _backprop.Examples(*given.values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("damage", BETWEEN)
def test_fault_54_a_theta_changed_between_two_predictions_is_refused_by_name(damage, dtype):
    parts = Parts(dtype)
    predictor, row = parts.predictor(), parts.X[0].copy()
    h = predictor.predict(row, None)
    BETWEEN[damage](parts.theta)
    if damage == "frozen":      # it is only read
        assert (predictor.predict(row, None) == h).all()
        return
    out = np.full(3, 7, dtype)
    for into in (None, out):
        with pytest.raises((ValueError, TypeError), match=r"net\.theta"):
            predictor.predict(row, into)
    assert (out == 7).all()


@pytest.mark.parametrize("damage", [name for name in BETWEEN if name != "frozen"])
@pytest.mark.parametrize("what", ["X", "Y", "labels", "w", "order"])
def test_fault_54_examples_changed_between_two_calls_are_refused(what, damage):
    parts = Parts(np.float64)
    examples = (_backprop.Examples(parts.X, None, parts.labels, parts.w, parts.order) if what == "labels"
                else _backprop.Examples(parts.X, parts.Y, None, parts.w, parts.order))
    steps(parts, examples=examples)
    array = getattr(parts, what)
    if damage == "strides":
        assign("strides")(array, lambda a: (0,) * a.ndim)
    elif damage == "shape":
        assign("shape")(array, lambda a: (a.size,) if a.ndim > 1 else (1, a.size))
    else:
        BETWEEN[damage](array)
    before = parts.theta.tobytes()
    with pytest.raises(ValueError, match="changed"):
        steps(parts, examples=examples)
    with pytest.raises(ValueError, match="changed"):
        examples.weight(0, 2)
    assert parts.theta.tobytes() == before


def test_what_is_copied_may_be_changed_without_a_trace():
    """The plan, settings and penalties are copied"""
    parts, twin = Parts(np.float64), Parts(np.float64)
    stepper, other, predictor = parts.stepper(), twin.stepper(), parts.predictor()
    for array in (parts.plan, parts.settings, parts.regularisation):
        array.view(np.int64)[...] = -1
    parts.settings.resize(100_000, refcheck=False)
    assert 0 < stepper.step(parts.X[:8], parts.Y[:8]) == other.step(twin.X[:8], twin.Y[:8])
    assert (predictor.predict(parts.X[0].copy(), None) == twin.predictor().predict(parts.X[0].copy(), None)).all()


def test_predictions_are_not_written_into_theta():
    parts = Parts(np.float64)
    before = parts.theta.copy()
    assert parts.predictor().predict(parts.X[0].copy(), parts.theta[:3]) is None
    assert (parts.theta == before).all()


def test_steps_are_counted_in_memory_that_nobody_can_move():
    """Such memory is not checked again at each step"""
    parts = Parts(np.float64)
    parts.taken = np.frombuffer(bytearray(8), np.int64)
    stepper = parts.stepper()
    with pytest.raises(ValueError, match="does not own"):
        parts.taken.resize(5, refcheck=False)
    assert stepper.step(parts.X[:8], parts.Y[:8]) > 0
    assert parts.taken[0] == 1
