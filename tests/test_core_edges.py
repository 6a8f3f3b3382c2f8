"""Rare paths of the compiled core: interrupted work, labels changed by the caller, arrays that it must release."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import DTYPES, problem

import fastbp
from fastbp import _backprop, _calls, _epoch, _kernels
from fastbp.engine import sums

LARGE = (530, 520, 9)       # more weights in a layer than the second-level cache holds: cut into pieces


def core(sizes=(40, 24, 3), m=96, dtype=np.float64, labels=None, **options):
    """A trainer with the arguments of the compiled core: net, trainer, rule, examples, workspace"""
    p = problem(sizes, "tanh", "softmax", "cross_entropy", m=m, dtype=dtype)
    net = p.network()
    trainer = fastbp.Trainer(net, fastbp.SGD(0.1), **options)
    examples = net.data(p.X, p.labels if labels is None else p.Y).examples(None)
    if labels is not None:
        examples = _backprop.Examples(p.X, None, labels)
    return net, trainer, trainer.steps.compiled_rule(1.0), examples, sums.Workspace(net.plan, m, net.dtype)


def steps(net, trainer, rule, examples, work, crew=None, m=96):
    """One step over all examples"""
    nothing = np.empty(0)
    return _epoch.steps(net.plan.code, net.theta, examples, m, m, 0, 1, rule, nothing, trainer.steps.Delta, work.block,
                        work.height, work.costs, np.empty((0, 2)), 0.0, 0.0, 60.0, crew)


@pytest.mark.parametrize(("budget", "done"), [(0.0, 1), (60.0, 12)])
def test_a_call_returns_after_the_step_in_which_its_time_is_up(budget, done):
    net, trainer, rule, examples, work = core()
    found = _epoch.steps(net.plan.code, net.theta, examples, 96, 8, 0, 12, rule, np.empty(0), trainer.steps.Delta,
                         work.block, work.height, work.costs, np.empty((0, 2)), 0.0, 0.0, budget)
    assert found[1:] == (8.0 * done, done, done)
    assert trainer.steps.taken[0] == done


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_large_step_asked_to_stop_is_left_undone(dtype):
    net, trainer, rule, examples, work = core(LARGE, dtype=dtype)
    before, crew = net.theta.copy(), _backprop.Crew()
    crew.want_stop()
    assert steps(net, trainer, rule, examples, work, crew) == (0.0, 0.0, 0, 0)
    assert (net.theta == before).all()
    assert trainer.steps.taken[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_of_several_blocks_asked_to_stop_is_left_after_one_of_them(dtype):
    net, trainer, rule, examples, work = core(m=2000, dtype=dtype)
    assert work.height < 2000 / 2
    before, crew = net.theta.copy(), _backprop.Crew()
    crew.want_stop()
    assert steps(net, trainer, rule, examples, work, crew, m=2000) == (0.0, 0.0, 0, 0)
    assert (net.theta == before).all()
    assert trainer.steps.taken[0] == 0


def test_predictions_asked_to_stop_are_not_said_to_be_done():
    net, _, _, examples, work = core(LARGE)
    out, crew = np.full((96, 9), 7.0), _backprop.Crew()
    crew.want_stop()
    done = _backprop.predict(net.plan.code, net.theta, examples, 0, 96, work.block, work.height, out, 60.0, crew)
    assert done == 0
    assert (out == 7).all()


@pytest.mark.parametrize("meet", [False, True])
def test_a_sum_asked_to_stop_is_not_said_to_be_complete_and_the_next_call_completes_it(meet):
    net, _, _, examples, work = core()
    crew, Delta, nothing = _backprop.Crew(), np.zeros(net.n_parameters), np.empty(0)
    assert crew.reach(1) == 1
    cuts, places, sums_ = np.array([0, 96]), np.array([[-1, 0]]), np.zeros(1)

    def accumulate():
        return _backprop.accumulate(net.plan.code, net.theta, examples, cuts, places, sums_, 96, work.block,
                                    work.height, work.costs, nothing, Delta, nothing, 60.0, crew, 2, meet)

    crew.want_stop()
    assert not accumulate()
    assert (Delta == 0).all()
    assert sums_[0] == 0
    assert accumulate()
    expected = np.zeros_like(Delta)
    assert sums.accumulate_range(net.plan, net.theta, examples, 0, 96, work.height, expected) == sums_[0]
    assert (Delta == expected).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(40, 24, 3), LARGE])
@pytest.mark.parametrize("changed", [-1, "K", 2**40, -(2**62)])
def test_labels_that_their_owner_changed_after_the_check_are_of_no_class(changed, sizes, dtype):
    """An example without an answer: h is compared with 0 in every class"""
    K = sizes[-1]
    labels = np.arange(96) % K
    net, trainer, rule, examples, work = core(sizes, dtype=dtype, labels=labels)
    Y = np.eye(K, dtype=dtype)[labels]
    labels[[0, 41, 95]], Y[[0, 41, 95]] = K if changed == "K" else changed, 0
    steps(net, trainer, rule, examples, work)
    assert np.isfinite(net.theta).all()
    twin, *_ = core(sizes, dtype=dtype)
    data = _backprop.Examples(problem(sizes, "tanh", "softmax", "cross_entropy", m=96, dtype=dtype).X, Y)
    own = fastbp.Trainer(twin, fastbp.SGD(0.1))
    steps(twin, own, own.steps.compiled_rule(1.0), data, sums.Workspace(twin.plan, 96, twin.dtype))
    assert (net.theta == twin.theta).all()


def online(net, trainer, rule, examples, first, last):
    work = sums.Workspace(net.plan, 1, net.dtype)
    work.block[:] = 0
    packed = sums.aligned(_epoch.packed_size(net.plan.code, net.theta), net.dtype)
    nothing = np.empty(0)
    return _epoch.online_steps(net.plan.code, net.theta, examples, first, last, rule, nothing, work.block, work.height,
                               packed, 0.0, 0.0, 60.0, 1000)


@pytest.mark.parametrize("dtype", DTYPES)
def test_single_examples_with_labels_changed_after_the_check_are_of_no_class(dtype):
    labels = np.arange(96) % 3
    net, trainer, rule, examples, _ = core(dtype=dtype, labels=labels)
    Y = np.eye(3, dtype=dtype)[labels]
    labels[::2], labels[1::6], Y[::2], Y[1::6] = 2**40, 3, 0, 0
    assert online(net, trainer, rule, examples, 0, 96)[2] == 96
    assert np.isfinite(net.theta).all()
    twin, own, rule, *_ = core(dtype=dtype)
    X = problem((40, 24, 3), "tanh", "softmax", "cross_entropy", m=96, dtype=dtype).X
    online(twin, own, rule, _backprop.Examples(X, Y), 0, 96)
    assert (net.theta == twin.theta).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_single_examples_that_all_have_weight_zero_teach_nothing(dtype):
    net, trainer, rule, _, _ = core(dtype=dtype)
    p = problem((40, 24, 3), "tanh", "softmax", "cross_entropy", m=96, dtype=dtype)
    examples = _backprop.Examples(p.X, None, p.labels, np.zeros((96, 1), dtype))
    before = net.theta.copy()
    assert online(net, trainer, rule, examples, 0, 96) == (0.0, 0.0, 96)
    assert (net.theta == before).all()
    assert trainer.steps.taken[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_column_of_a_wider_array_is_read_where_it_lies(dtype):
    wide = np.random.default_rng(0).standard_normal((70, 3)).astype(dtype)
    net = fastbp.Network([1, 5, 2], dtype=dtype, seed=0)
    Y = np.tile([0.25, 0.75], (70, 1))
    for column in range(3):
        view, own = wide[:, column : column + 1], wide[:, column].copy().reshape(70, 1)
        assert (net.predict(view) == net.predict(own)).all()
        assert (net.cost_and_gradient(view, Y)[1] == net.cost_and_gradient(own, Y)[1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_is_not_predicted_into_what_is_read_only(dtype):
    net = fastbp.Network([3, 2], dtype=dtype, seed=0)
    out = np.full(2, 7, dtype)
    out.setflags(write=False)
    row = np.ones(3, dtype)
    with pytest.raises(ValueError, match="out"):
        net.predict(row, out=out)
    assert (out == 7).all()
    row.resize(5, refcheck=False)       # no buffer is held


def test_what_is_no_buffer_is_refused_by_name_and_the_other_array_is_handed_back():
    net = fastbp.Network([3, 2], seed=0)
    trainer, X = fastbp.Trainer(net, "adam"), np.ones((4, 3))
    dates = np.array(["2026-11-26"] * 8, "datetime64[D]").reshape(4, 2)
    before = net.theta.copy()
    with pytest.raises(TypeError, match="Y"):
        trainer.step(X, dates)
    with pytest.raises(TypeError, match="X"):
        trainer.step(dates, np.ones((4, 2)))
    with pytest.raises(TypeError, match="X"):
        net.predict(dates[:, 0])
    assert (net.theta == before).all()
    memory = bytearray(4 * 3 * 8)
    held = np.frombuffer(memory).reshape(4, 3)
    with pytest.raises(TypeError, match="Y"):
        trainer.step(held, dates)
    del held
    memory.append(0)        # BufferError while a view is held


def compiled():
    """Every function, class and method of the compiled modules"""
    for module in (_backprop, _calls, _epoch, _kernels):
        for name, found in vars(module).items():
            if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
                continue
            yield pytest.param(found, id=name)
            if inspect.isclass(found):
                yield from (pytest.param(method, id=f"{name}.{each}") for each, method in vars(found).items()
                            if callable(method) and not each.startswith("_"))


@pytest.mark.parametrize("function", list(compiled()))
def test_a_call_whose_arguments_do_not_fit_is_refused(function):
    for arguments, options in ((range(30), {}), ((), {"nonsense": 1}), (range(30), {"nonsense": 1})):
        with pytest.raises(TypeError):
            function(*arguments, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 31, 64, 150])
def test_the_first_value_that_is_not_finite_is_found_wherever_it_lies(n, dtype):
    """A bad value is found in each vector of four and in the tail; all values up to the limit are fine"""
    largest = float(np.finfo(dtype).max)
    for columns in (n, n + 3):      # without and with gaps between the rows
        X = np.full((2, columns), largest, dtype)[:, :n]
        X[1] *= -1
        assert _kernels.first_nonfinite(X, largest) == -1
        assert _kernels.first_nonfinite(X, largest / 2) == 0
        for at in range(2 * n):
            for bad in (np.nan, np.inf, -np.inf):
                Z = np.zeros((2, columns), dtype)[:, :n]
                Z[divmod(at, n)] = bad
                Z[-1, -1] = bad
                assert _kernels.first_nonfinite(Z, largest) == at


NOTHING_BEHIND = """
import ctypes, mmap
import numpy as np
import fastbp
from fastbp.engine import sums

libc, kept, page = ctypes.CDLL(None, use_errno=True), [], mmap.PAGESIZE


def guarded(shape, dtype=float):
    'Zeros whose last byte is the last one that may be touched'
    n = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-n // page) * page
    memory = mmap.mmap(-1, pages + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(address + pages), ctypes.c_size_t(page), 0) == 0
    kept.append(memory)
    return np.frombuffer(memory, np.uint8)[pages - n : pages].view(dtype).reshape(shape)


def placed(values):
    array = guarded(values.shape, values.dtype)
    array[...] = values
    return array


sums.aligned = guarded
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for sizes in ([1, 1], [3, 5, 2], [16, 16, 16], [35, 33, 9, 3], [70, 6, 17], [4, 7], [9, 13], [5, 29]):
        for m in (1, 5, 16, 33, 70):
            X, labels = placed(rng.standard_normal((m, sizes[0])).astype(dtype)), placed(rng.integers(0, 2, m))
            Y, w = placed(rng.uniform(0, 1, (m, sizes[-1])).astype(dtype)), placed(np.ones(m, dtype))
            out, order = guarded(Y.shape, dtype), placed(rng.permutation(m))
            net = fastbp.Network(sizes, activation="silu", dtype=dtype, seed=0)
            theta = placed(net.theta)
            predict_row = sums.row_predictor(net.plan, theta)
            assert (predict_row(X[-1], out[-1]) == net.predict(X)[-1]).all()
            given = [(X, Y), (X[:, : sizes[0]], labels % max(sizes[-1], 2)), (X.astype(float), Y.astype("f4"))]
            for A, B in given:
                net.predict(A, out=out), net.predict(A[-1]), net.activations(A), net.deltas(A, B)
                net.cost_and_gradient(A, B, theta=theta, out=guarded(len(theta), dtype), sample_weight=w)
                net.accumulate(A, B, per_example=True)
                for rule in ("sgd", "adam"):
                    trainer = fastbp.Trainer(net, rule, weight_decay=0.1)
                    trainer.step(A, B)
                    for batch_size in (1, 7):
                        trainer.epoch(A, B, batch_size=batch_size, order=order)
                        trainer.epoch(A, B, batch_size=batch_size, sample_weight=w)
            assert np.isfinite(net.theta).all()
        kept.clear()
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the C library for mprotect")
def test_nothing_behind_an_array_is_read_or_written():
    """The page after X, Y, labels, weights, theta, D, predictions and each workspace must not be touched"""
    done = subprocess.run([sys.executable, "-c", NOTHING_BEHIND], cwd=Path(__file__).parents[1], capture_output=True,
                          text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_quick_ways_take_all_that_needs_no_conversion(dtype):
    """None would only send the call the slow way, to the same answer"""
    p = problem(dtype=dtype, m=8)
    net, row = p.network(), p.X[3]
    assert net._predict_row(row, None) is not None
    assert net._predict_row(row, np.empty(3, dtype)) is not None
    wide = np.repeat(p.X, 2, axis=0)
    trainer = fastbp.Trainer(net, "adam")
    trainer.step(p.X, p.Y)
    assert isinstance(trainer.steps._stepper.step(p.X, p.Y), float)
    assert isinstance(trainer.steps._stepper.step(wide[::2], p.Y), float)
    assert isinstance(trainer.steps._stepper.step(p.X, p.labels), float)
    assert isinstance(trainer.steps._stepper.step(p.X, p.labels.astype(np.longlong)), float)
    assert isinstance(trainer.steps._stepper.step(p.X[:1], p.labels[:1]), float)
    one = problem((5, 7, 1), dtype=dtype, m=8)
    trainer = fastbp.Trainer(one.network(), "adam")
    for Y in (one.Y, one.Y[:, 0]):
        trainer.step(one.X, Y)
        assert isinstance(trainer.steps._stepper.step(one.X, Y), float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("at", [0, 1, 40, -1])
def test_the_quick_ways_leave_a_theta_that_is_not_finite_alone(at, dtype):
    p = problem(dtype=dtype, m=8)
    net = p.network()
    trainer = fastbp.Trainer(net, "adam")
    trainer.step(p.X, p.Y)
    net.theta[at] = np.nan
    before = net.theta.tobytes()
    assert trainer.steps._stepper.step(p.X, p.Y) is None
    assert net._predict_row(p.X[0], None) is None
    with pytest.raises(ValueError, match="theta"):
        trainer.step(p.X, p.Y)
    assert net.theta.tobytes() == before


def test_vector_functions_are_asked_for_by_name_with_room_for_the_answer():
    x = np.ones(3)
    with pytest.raises(ValueError, match="name is 'sine'"):
        _kernels.function("sine", x, x.copy())
    with pytest.raises(ValueError, match="got 3 and 4"):
        _kernels.function("exp", x, np.empty(4))
    with pytest.raises(ValueError, match="got 0 and 0"):
        _kernels.function("exp", np.empty(0), np.empty(0))


def test_sets_of_more_scalars_or_slots_than_there_is_room_for_are_refused():
    net, trainer, _, _, _ = core()
    plan, slots = net.plan.code, [np.zeros_like(net.theta) for _ in range(4)]
    settings, penalties = np.array([0.1, 0, 0]), trainer.steps.regularisation.code(1.0)
    for given, scalars in ((slots, np.empty(0)), ([], np.ones(2))):
        with pytest.raises(ValueError, match="room is for"):
            _epoch.Rule(plan, 0, settings, penalties, given, scalars, np.zeros(1, np.int64))


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((3, 4))[:, ::2], np.ones((2, 2), np.int16)])
def test_rows_that_cannot_be_read_where_they_lie_are_refused_by_the_core_too(bad):
    with pytest.raises(ValueError, match="rows must be 2-D"):
        _backprop.Examples(bad)


@pytest.mark.parametrize("output", ["identity", "exp"])
def test_targets_of_bytes_are_in_reach_of_an_output_without_a_limit(output):
    net = fastbp.Network([2, 1], output=output, loss="squared_error" if output == "identity" else "poisson", seed=0)
    X, Y = np.random.default_rng(0).standard_normal((4, 2)), np.array([[0], [1], [200], [255]], np.uint8)
    assert net.cost_and_gradient(X, Y)[0] == net.cost_and_gradient(X, Y.astype(float))[0]


def test_a_part_of_theta_is_no_place_for_predictions():
    net = fastbp.Network([2, 2], seed=0)
    before = net.theta.copy()
    with pytest.raises(ValueError, match=r"must not be a part of net\.theta"):
        net.predict(np.ones((3, 2)), out=net.theta[:6].reshape(3, 2))
    assert (net.theta == before).all()


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_sums_by_weights_that_float32_does_not_hold_are_the_textbooks(scale):
    """Inside, weights are in units of their mean; the sums are float64"""
    p = problem(m=9)
    net = p.network()
    cost, Delta = net.accumulate(p.X, p.Y, sample_weight=p.weights * scale)
    expected, other = net.accumulate(p.X, p.Y, sample_weight=p.weights)
    assert cost == pytest.approx(expected * scale, rel=1e-14)
    for a, b in zip(Delta, other, strict=True):
        np.testing.assert_allclose(a, b * scale, rtol=1e-13)
