"""Arrays of every kind simply work: they give the bits of plain ones, and nothing is written into them."""

import numpy as np
import pytest
from helpers import DTYPES, problem

import fastbp

SIZES, M = (19, 5, 3), 20
RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, size=(M, 19)).astype(float)  # zeros and ones are exact in every dtype
Y = RNG.integers(0, 2, size=(M, 3)).astype(float)
W = RNG.integers(1, 4, size=M).astype(float)
LABELS = RNG.integers(0, 3, size=M)
THETA = problem(SIZES).theta.astype(np.float16).astype(float)


class Subclass(np.ndarray):
    """An array that must not be treated specially"""


def unaligned(array):
    data = b"?" + array.tobytes()
    return np.frombuffer(data, np.uint8)[1:].view(array.dtype).reshape(array.shape)


def reversed_strides(array):
    return array[(slice(None, None, -1),) * array.ndim].copy()[(slice(None, None, -1),) * array.ndim]


def every_second(array):
    wide = np.ones([2 * n for n in array.shape], array.dtype)
    wide[(slice(None, None, 2),) * array.ndim] = array
    return wide[(slice(None, None, 2),) * array.ndim]


def memory_mapped(array, path):
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


LAYOUTS = {
    "Fortran order": lambda array: np.asfortranarray(array),
    "negative strides": reversed_strides,
    "every second": every_second,
    "unaligned": unaligned,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "read-only": read_only,
    "subclass": lambda array: array.view(Subclass),
    "list": lambda array: array.tolist(),
    "nested tuple": lambda array: tuple(tuple(row) if array.ndim == 2 else row for row in array.tolist()),
}
KINDS = ["f2", "f4", "f8", "g", "?", "i1", "u1", "i4", "i8", "u8", ">i2"]


def results(net, X, Y, w, theta):
    """All results for one set of arrays, as bytes"""
    J, D = net.cost_and_gradient(X, Y, sample_weight=w, weight_decay=0.5)
    total, Delta = net.accumulate(X, Y, per_example=True)
    trained = net.copy()
    history = fastbp.train(trained, X, Y, optimizer=fastbp.SGD(0.5), epochs=1, batch_size=4, sample_weight=w, seed=0)
    minimized = net.copy()
    fastbp.minimize(minimized, X, Y, maxiter=3)
    other = net.copy()
    other.theta = theta
    arrays = [
        net.predict(X),
        *net.activations(X),
        *net.deltas(X, Y),
        *Delta,
        D,
        trained.theta,
        minimized.theta,
        other.theta,
    ]
    return [np.ascontiguousarray(each).tobytes() for each in arrays] + [J, total, net.cost(X, Y), *history.J]


def plain(dtype, Y=Y):
    net = fastbp.Network(SIZES, dtype=dtype, init=THETA)
    return net, results(net, X, Y, W, THETA)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [*LAYOUTS, "memory-mapped"])
def test_fault_30_every_layout_gives_the_bits_of_the_plain_array(layout, dtype, tmp_path):
    for answers in (Y, LABELS):
        net, expected = plain(dtype, answers)
        for kind in DTYPES:
            arrays = [
                X.astype(kind),
                answers.astype(kind) if answers.ndim == 2 else answers,
                W.astype(kind),
                THETA.astype(kind),
            ]
            if layout == "memory-mapped":
                arrays = [memory_mapped(array, tmp_path / f"{i}.npy") for i, array in enumerate(arrays)]
            else:
                arrays = [LAYOUTS[layout](array) for array in arrays]
            before = [np.asarray(each).tobytes() for each in arrays]
            assert results(net, *arrays) == expected
            assert [np.asarray(each).tobytes() for each in arrays] == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_fault_30_every_kind_of_number_gives_the_bits_of_the_plain_array(kind, dtype):
    net, expected = plain(dtype)
    w = W.astype(kind) if kind != "?" else W
    theta = THETA.astype(kind) if kind in ("f2", "f4", "f8", "g") else THETA
    assert results(net, X.astype(kind), Y.astype(kind), w, theta) == expected


@pytest.mark.parametrize("kind", ["i1", "u1", ">i2", "i4", "u4", ">i8", "u8"])
def test_every_kind_of_integer_is_a_label(kind):
    net, expected = plain(np.float64, LABELS)
    assert results(net, X, LABELS.astype(kind), W, THETA) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_fault_30_broadcast_arrays_of_stride_zero_are_read_right(dtype):
    net = fastbp.Network(SIZES, dtype=dtype, init=THETA)
    row, answer, one = X[:1].astype(dtype), Y[:1].astype(dtype), np.ones(1, dtype)
    thin = [np.broadcast_to(each, (M, *each.shape[1:])) for each in (row, answer, one)]
    full = [np.ascontiguousarray(each) for each in thin]
    assert results(net, *thin, THETA) == results(net, *full, THETA)
    label = np.broadcast_to(np.array(2), M)
    assert results(net, thin[0], label, thin[2], THETA) == results(net, full[0], label.copy(), full[2], THETA)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_fault_30_a_single_row_may_have_every_layout(layout, dtype):
    net = fastbp.Network(SIZES, dtype=dtype, init=THETA)
    for kind in DTYPES:
        assert net.predict(LAYOUTS[layout](X[0].astype(kind))).tobytes() == net.predict(X[0]).tobytes()
    for kind in KINDS:
        assert net.predict(X[0].astype(kind)).tobytes() == net.predict(X[0]).tobytes()


def test_fault_31_targets_may_be_the_inputs_themselves():
    """An autoencoder: Y is X, or a view of it"""
    p = problem((6, 3, 6), m=15)
    net, X = p.network(), np.random.default_rng(1).uniform(0, 1, (15, 6))
    for targets in (X, X[:], X.view()):
        assert net.cost(X, targets) == net.cost(X, X.copy())
        assert net.cost_and_gradient(X, targets)[1].tobytes() == net.cost_and_gradient(X, X.copy())[1].tobytes()


def test_fault_31_gradient_may_be_written_over_the_given_theta():
    p = problem()
    _, expected = p.network().cost_and_gradient(p.X, p.Y, weight_decay=0.3)
    theta = p.theta.copy()
    _, D = p.network().cost_and_gradient(p.X, p.Y, weight_decay=0.3, theta=theta, out=theta)
    assert D is theta
    assert D.tobytes() == expected.tobytes()


def test_subnormal_and_huge_inputs_are_numbers_too():
    net = fastbp.Network((2, 3, 1), activation="tanh", seed=0)
    for value in (5e-324, 1e-310, 1e150, 1e307, -1e307):
        J, _D = net.cost_and_gradient(np.full((4, 2), value), np.ones((4, 1)))
        assert np.isfinite(net.predict([value, 0])).all()
        assert np.isfinite(J)
