"""Every function and class of the compiled core, with every array damaged in every way: an error names the fault, there
is no crash, and nothing has changed. The same holds for arrays that are kept between two calls.

The checks of the Python layers are left out here.
"""

import inspect

import numpy as np
import pytest
from core_parts import BATCH, M, Parts
from helpers import DTYPES

import fastbp
from fastbp import _backprop, _calls, _curvature, _derivatives, _each, _epoch, _kernels, _lbfgs, _normal
from fastbp.engine import curvature

# The entries: (call, the arrays it takes); call(parts, arrays). Marks: "!" written to, "+" may be longer, "-" may be
# shorter, "?" may be empty. All other arguments are good.
ENTRIES = {
    "_kernels.first_nonfinite": (lambda p, X: _kernels.first_nonfinite(X, np.inf), ""),
    "_kernels.first_outside": (lambda p, labels: _kernels.first_outside(labels, 3), ""),
    "_kernels.units_differ": (lambda p, into, out_of: _kernels.units_differ(into, out_of), ""),
    "_epoch.permutation": (lambda p, order: _epoch.permutation(np.random.PCG64(0), order), ""),
    "_kernels.function": (lambda p, x, out: _kernels.function("exp", x, out), ""),
    "_backprop.panel": (lambda p, theta: _backprop.panel(theta), ""),
    "_backprop.Examples": (
        lambda p, X, Y, labels, w, order: _backprop.Examples(X, Y, labels, w, order), "X Y labels w order?+"),
    "_backprop.predict": (
        lambda p, plan, theta, work, out: _backprop.predict(
            plan, theta, _backprop.Examples(p.X), 0, M, work, p.B, out, 60.0),
        "plan theta work!+ out!+"),
    "_backprop.accumulate": (
        lambda p, plan, theta, cuts, places, sums, work, costs, each, Delta, others: _backprop.accumulate(
            plan, theta, _backprop.Examples(p.X, p.Y), cuts, places, sums, 8, work, p.B, costs, each, Delta, others,
            60.0),
        "plan theta cuts places!- sums! works!+ of_panels!+ each!+? Delta!? others!+"),
    "_backprop.accumulate_per_example": (
        lambda p, plan, theta, work, Delta: _backprop.accumulate_per_example(
            plan, theta, _backprop.Examples(p.X, p.Y), 0, M, work, p.B, Delta, 0.0, 60.0),
        "plan theta work!+ Delta!"),
    "_backprop.layer": (
        lambda p, work, out: _backprop.layer(p.plan[3, 1], work, p.B, out), "cut! block!"),
    "_backprop.Predictor": (
        lambda p, plan, theta: _backprop.Predictor(plan, theta, p.B, np.ndarray, np.empty), "plan theta"),
    "_calls.Evaluator": (
        lambda p, plan: _calls.Evaluator(
            plan, p.theta.dtype, M, 64, 0.0, 1.0, True, True, np.ndarray, np.empty), "plan"),
    "_each.each": (
        lambda p, plan, theta, cuts, places, work, spare, out: _each.each(
            plan, theta, _backprop.Examples(p.X), cuts, places, work, spare, p.B, 2, out, 60.0),
        "plan theta cuts places!- works!+ works!+ jacobian!+"),
    "_curvature.Few": (
        lambda p, plan: _curvature.Few(plan, p.theta.dtype, M, p.B, 0.0, 1.0, True, np.ndarray, np.empty), "plan"),
    "_curvature.finish": (
        lambda p, plan, theta, Delta, c: _curvature.finish(plan, theta, Delta, c, 1.0), "plan theta Delta! decay"),
    "_curvature.keep": (
        lambda p, plan, theta, cuts, places, work: _curvature.keep(
            plan, theta, _backprop.Examples(p.X, p.Y), cuts, places, work, p.B, False, 60.0),
        "plan theta whole places!-+ kept!+"),
    "_curvature.product": (
        lambda p, plan, theta, v, cuts, places, work, spare, Delta, others: _curvature.product(
            plan, theta, v, _backprop.Examples(p.X, p.Y), cuts, places, p.B, work, spare, p.B, False, False, Delta,
            others, 60.0),
        "plan theta theta cuts places!- kepts!+ spares!+ Delta! runless!+"),
    "_lbfgs.Search": (lambda p, x: _lbfgs.Search(x, 3, 0.0, 0.0, 20), "x"),
    "_derivatives.forward": (
        lambda p, plan, theta, cuts, places, work, z: _derivatives.forward(
            plan, theta, _backprop.Examples(p.X), cuts, places, work, p.B, True, z, 60.0),
        "plan theta whole places!-+ work!+ out!+"),
    "_derivatives.backward": (
        lambda p, plan, theta, cuts, places, work, G, Delta, others, dX: _derivatives.backward(
            plan, theta, _backprop.Examples(p.X), cuts, places, p.B, work, p.B, False, G, True, Delta, others, dX,
            60.0),
        "plan theta cuts places!- works!+ out+ Delta!? runless!+ X!?+"),
    "_derivatives.Pass": (
        lambda p, plan: _derivatives.Pass(plan, p.theta.dtype, M, True, np.ndarray, np.empty), "plan"),
    "_normal.add": (
        lambda p, plan, theta, cuts, places, work, spare, free, rows, A, others, sums: _normal.add(
            plan, theta, _backprop.Examples(p.X, p.Y), cuts, places, work, spare, p.B, free, rows, A, others, sums, 2,
            1, 60.0),
        "plan theta64 cuts places!- works64!+ works64!+ free? rows64!+ A64! A64!+ sums64!"),
    "_normal.solve": (
        lambda p, A, diagonal, g, factor, x: _normal.solve(A, diagonal, g, factor, x, p.theta.size),
        "A64 ones64 ones64 A64! ones64!"),
    "_epoch.Rule": (
        lambda p, plan, settings, regularisation, m, v, scalars, taken: _epoch.Rule(
            plan, p.code, settings, regularisation, [m, v], scalars, taken),
        "plan settings regularisation slot! slot! scalars! taken!"),
    "_epoch.packed_size": (lambda p, plan, theta: _epoch.packed_size(plan, theta), "plan theta"),
    "_epoch.steps": (
        lambda p, plan, theta, rates, Delta, work, costs, each, divisors: _epoch.steps(
            plan, theta, _backprop.Examples(p.X, p.Y), M, BATCH, 0, 5, p.rule(), rates, Delta, work, p.B, costs, each,
            0.0, 0.0, 60.0, divisors=divisors),
        "plan theta! rates+? Delta! work!+ costs!+ batches!+? divisors+?"),
    "_epoch.step": (
        lambda p, plan, theta, rates, Delta: _epoch.step(plan, theta, 1.0, p.rule(), rates, Delta),
        "plan theta! rate+? Delta!"),
    "_epoch.online_steps": (
        lambda p, plan, theta, rates, work, packed, divisors: _epoch.online_steps(
            plan, theta, _backprop.Examples(p.X, p.Y), 0, M, p.rule(), rates, work, p.B, packed, 0.0, 0.0, 60.0, 5,
            divisors),
        "plan theta! online_rates+? work!+ packed!+ online_divisors+?"),
    "_epoch.Stepper": (
        lambda p, plan, theta: _epoch.Stepper(
            plan, theta, p.B, p.rule(), 0.0, 1.0, False),
        "plan theta!"),
}
# check_owner and address read no value, few_summed has a test of its own
WITHOUT_ARRAYS = {
    "_backprop.Crew", "_backprop.spaced", "_kernels.check_owner", "_kernels.address", "_kernels.few_summed",
    "_kernels.low_level", "_kernels.Turn",
}


def good(parts, name):
    """A good array of this name"""
    dtype = parts.theta.dtype
    return {
        "kept": lambda: np.zeros(parts.B * curvature._units(parts.net.plan)[0], dtype), "decay": lambda: np.zeros(2),
        "kepts": lambda: np.zeros(2 * parts.B * curvature._units(parts.net.plan)[0], dtype),
        "spares": lambda: np.zeros(2 * parts.B * curvature._units(parts.net.plan)[1], dtype),
        "out": lambda: np.zeros((M, 3), dtype), "block": lambda: np.zeros((parts.B, 9), dtype),
        "cut": lambda: parts.work[: parts.B * (parts.plan[3, 1] + 9)], "batches": lambda: np.zeros((5, 2)),
        "each": lambda: np.zeros(-(-M // _backprop.panel(parts.theta))), "rates": lambda: np.full(5, 0.1),
        "divisors": lambda: np.full(5, 8.0), "online_divisors": lambda: np.full(M, 1.0),
        "online_rates": lambda: np.full(M, 0.1), "rate": lambda: np.full(1, 0.1),
        "theta64": lambda: parts.theta.astype(np.float64), "works64": lambda: np.zeros(2 * len(parts.work)),
        "rows64": lambda: np.zeros(2 * parts.B * (1 + len(parts.theta))),
        "A64": lambda: np.eye(parts.theta.size).ravel(),
        "sums64": lambda: np.zeros(2 + 2 * parts.theta.size), "ones64": lambda: np.ones(parts.theta.size),
        "free": lambda: np.arange(parts.theta.size),
        "x": lambda: np.zeros(5),
        "slot": lambda: np.zeros_like(parts.theta), "jacobian": lambda: np.zeros((3 * M, parts.theta.size), dtype),
        "whole": lambda: np.array([0, M]), "runless": lambda: np.zeros(_backprop.spaced(len(parts.theta)), dtype),
        "works": lambda: np.zeros(2 * len(parts.work), dtype),
        "of_panels": lambda: np.zeros(2 * len(parts.costs)),
        "others": lambda: np.zeros(3 * _backprop.spaced(len(parts.theta)), dtype),
    }.get(name, lambda: getattr(parts, name))()


def unaligned(a):
    raw = np.frombuffer(bytearray(b"x" + a.tobytes()), np.uint8)[1:]
    return raw.view(a.dtype).reshape(a.shape)


def read_only(a):
    a = a.copy()
    a.setflags(write=False)
    return a


def other_dtype(a):
    return a.astype({"float64": "f4", "float32": "f8", "int64": "i4"}[a.dtype.name])


DAMAGE = {      # name: (function that damages, the mark of arguments that it does not damage)
    "too short": (lambda a: a[:-1].copy(), "-"),
    "too long": (lambda a: np.concatenate([a, a[:1]]), "+"),
    "empty": (lambda a: a[:0].copy(), "?"),
    "other dtype": (other_dtype, ""),
    "other byte order": (lambda a: a.astype(a.dtype.newbyteorder("S")), ""),
    "complex": (lambda a: a.astype(complex), ""),
    "half": (lambda a: a.astype(np.float16), ""),
    "object": (lambda a: a.astype(object), ""),
    "gaps": (lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.shape[-1] > 1 else np.repeat(a, 2, axis=0)[::2], ""),
    "backwards": (lambda a: a[..., ::-1] if a.shape[-1] > 1 else np.repeat(a, 3)[::-2].reshape(a.shape), ""),
    "broadcast": (lambda a: np.broadcast_to(a.flat[0], a.shape), ""),
    "a dimension more": (lambda a: a[np.newaxis], ""),
    "a dimension less": (lambda a: a.ravel() if a.ndim > 1 else a.reshape(-1)[0], ""),
    "other columns": (lambda a: a[..., :-1].copy() if a.ndim > 1 else a[:-1].copy(), ""),
    "unaligned": (unaligned, ""),
    "read-only": (read_only, ""),
    "None": (lambda a: None, ""),
    "a list": (lambda a: a.tolist(), ""),
    "bytes": (lambda a: a.tobytes(), ""),
}
# Fine here although they are damage elsewhere: rows may be apart, an order may have any length, one value has no gaps.
SHORTER, GAPS = {"too short", "other columns"}, {"gaps", "backwards"}
FINE = {
    ("_backprop.Examples", "X"): {*SHORTER, "too long", "other dtype"},     # too few for Y, but that is Y's fault
    ("_backprop.Examples", "Y"): {"other dtype", "other columns", "None"},
    ("_backprop.Examples", "w"): {"other dtype", "None", "gaps", "backwards", "broadcast"},
    ("_backprop.Examples", "labels"): {"None"},
    ("_backprop.Examples", "order"): {"None", *SHORTER},
    ("_backprop.layer", "cut"): {"too long", "read-only"}, ("_backprop.layer", "block"): {*SHORTER, "empty"},
    ("_calls.Evaluator", "plan"): {"other columns"},    # a smaller network, whose theta is not here
    ("_derivatives.Pass", "plan"): {"other columns"}, ("_curvature.Few", "plan"): {"other columns"},
    ("_lbfgs.Search", "x"): {*SHORTER, "too long"}, ("_curvature.product", "cuts"): SHORTER,
    ("_derivatives.backward", "cuts"): SHORTER, ("_each.each", "cuts"): SHORTER,    # fewer ranges
    ("_backprop.Predictor", "theta"): {"other dtype"}, ("_epoch.packed_size", "theta"): {"other dtype"},
    ("_epoch.steps", "divisors"): {"None"}, ("_epoch.online_steps", "online_divisors"): {"None"},
    ("_epoch.step", "rate"): {*SHORTER, *GAPS, "broadcast"},
    ("_epoch.Rule", "taken"): GAPS, ("_epoch.Rule", "scalars"): GAPS,
}


def cases():
    for entry, (_, names) in ENTRIES.items():
        for i, name in enumerate(names.split()):
            bare = name.rstrip("!+?-")
            for damage, (_, but) in DAMAGE.items():
                if damage not in FINE.get((entry, bare), ()) and not (but and but in name) and (
                    damage != "read-only" or "!" in name
                ):
                    yield entry, i, bare, damage


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("entry", "i", "name", "damage"), list(cases()))
def test_fault_54_every_array_of_every_entry_is_checked_where_its_pointer_is_taken(entry, i, name, damage, dtype):
    parts = Parts(dtype, "sgd" if entry == "_epoch.online_steps" else "nadam")
    call, names = ENTRIES[entry]
    arrays = [good(parts, each.rstrip("!+?-")) for each in names.split()]
    before = [each.tobytes() for each in arrays]
    bad = DAMAGE[damage][0](arrays[i])
    with pytest.raises((ValueError, TypeError)):
        call(parts, *arrays[:i], bad, *arrays[i + 1 :])
    assert [each.tobytes() for each in arrays] == before
    assert parts.taken[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("entry", [entry for entry, (_, names) in ENTRIES.items() if names])
def test_good_arrays_are_taken(entry, dtype):
    """Undamaged arguments work, so the test above damages good ones"""
    parts = Parts(dtype, "sgd" if entry == "_epoch.online_steps" else "nadam")
    call, names = ENTRIES[entry]
    call(parts, *(good(parts, each.rstrip("!+?-")) for each in names.split()))


def test_every_entry_is_in_the_list():
    found = set()
    for module in (_kernels, _backprop, _calls, _curvature, _derivatives, _each, _epoch, _lbfgs, _normal):
        for name, value in vars(module).items():
            ours = inspect.isclass(value) and value.__module__ == module.__name__
            if not name.startswith("_") and (ours or "cython_function" in type(value).__name__):
                found.add(f"{module.__name__.split('.')[1]}.{name}")
    assert found == set(ENTRIES) | WITHOUT_ARRAYS


@pytest.mark.parametrize("bad", [
    np.ones((4, 6))[:, ::2], np.ones((4, 6))[:, ::-1], np.broadcast_to(1.0, (4, 6)), unaligned(np.ones((4, 6))),
    None, np.ones(3), np.ones((2, 2), int),
])
def test_the_search_for_what_is_not_finite_reads_whole_rows_alone(bad):
    with pytest.raises((ValueError, TypeError)):
        _kernels.first_nonfinite(bad, np.inf)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_costs_are_summed_as_they_lie_or_not_at_all(damage, dtype):
    costs = np.random.default_rng(0).standard_normal(100).astype(dtype)
    assert _kernels.few_summed(costs) == pytest.approx(costs.sum(dtype=np.float64), rel=1e-12)
    bad = DAMAGE[damage][0](costs)
    try:
        total = _kernels.few_summed(bad)
    except TypeError:
        assert not isinstance(bad, np.ndarray | bytes)
    else:
        assert total is None or total == pytest.approx(bad.sum(dtype=np.float64), rel=1e-12)
    assert _kernels.few_summed(np.ones(1025)) is None


def test_fault_54_costs_that_are_no_longer_there_are_not_summed():
    costs = np.ones(100)
    view = costs[50:]
    costs.resize(60, refcheck=False)
    assert _kernels.few_summed(view) is None


@pytest.mark.parametrize("code", [6, 7, 8])
def test_a_plan_names_an_own_loss_only_with_its_address(code):
    net = fastbp.Network([2, 2, 3], loss=lambda z, Y, w: (z[:, 0], z), seed=0)
    plan = net.plan.code.copy()
    plan[7, 0], plan[5, -1] = code, 0 if code < 8 else 1
    with pytest.raises(ValueError, match="plan is the code of no network"):
        _backprop.Predictor(plan, net.theta, 64, np.ndarray, np.empty)


def test_fault_54_views_of_what_is_no_longer_there_are_not_searched():
    X = np.ones(100)
    view = X[np.newaxis, 50:]
    X.resize(60, refcheck=False)
    with pytest.raises(ValueError, match="resized"):
        _kernels.first_nonfinite(view, np.inf)


def test_fault_54_nor_are_views_of_such_labels_and_such_weights():
    labels, Theta = np.zeros(100, np.int64), np.ones(100)
    views = labels[50:], Theta[50:].reshape(5, 10)
    for each in labels, Theta:
        each.resize(60, refcheck=False)
    for call in (lambda: _kernels.first_outside(views[0], 1), lambda: _kernels.units_differ(views[1], np.ones((2, 6))),
                 lambda: _kernels.units_differ(np.ones((9, 5)), views[1])):
        with pytest.raises(ValueError, match="resized"):
            call()


def test_labels_and_equal_units_are_found():
    rng = np.random.default_rng(0)
    for m in 0, 1, 7, 1000:
        labels = rng.integers(0, 4, m)
        assert _kernels.first_outside(labels, 4) == -1
        for bad in -1, 4, 2**62, -(2**63):
            for i in {0, m // 2, m - 1} if m else ():
                wrong = labels.copy()
                wrong[i] = bad
                assert _kernels.first_outside(wrong, 4) == i
    for dtype in DTYPES:
        into, out_of = rng.normal(size=(128, 6)).astype(dtype), rng.normal(size=(3, 129)).astype(dtype)
        assert _kernels.units_differ(into, out_of)
        assert not _kernels.units_differ(into, out_of[:, :-1])      # of another layer
        assert not _kernels.units_differ(np.vstack([into, into[:1]]), np.hstack([out_of, out_of[:, 1:2]]))     # 129
        into[127], out_of[:, 128] = into[0], out_of[:, 1]
        assert not _kernels.units_differ(into, out_of)
    for bad in None, np.ones(3), np.ones((2, 2), int):
        with pytest.raises((ValueError, TypeError)):
            _kernels.units_differ(bad, np.ones((2, 3)))
        with pytest.raises((ValueError, TypeError)):
            _kernels.first_outside(np.ones(3) if bad is None else bad, 3)


@pytest.mark.parametrize("arguments", [
    (None, np.ones(2), np.ones(2)), (3, np.ones(2), np.ones(2)), ("exp", None, np.ones(2)), ("exp", np.ones(2), None),
    ("exp", np.ones(4)[::2], np.ones(2)), ("exp", np.ones(2), read_only(np.ones(2))), ("exp", np.ones(2), np.ones(3)),
])
def test_vector_functions_take_whole_arrays_alone(arguments):
    with pytest.raises((ValueError, TypeError)):
        _kernels.function(*arguments)
