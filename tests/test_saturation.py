"""g' and delta keep their digits for saturated units: against mpmath, z over [-100, 100], on every path."""

import numpy as np
import pytest
from helpers import DTYPES, PARAMETER
from reference import ACTIVATIONS, PAIRS, PARAMETERS

import fastbp

mpmath = pytest.importorskip("mpmath")

BOUND = 6  # eps of the dtype, relative to the sizes of the terms of the exact formula; found: 3.7
FLOOR = 1000  # smallest normal numbers: an error below that does not count, the result may be 0


def points(dtype):
    """z of both signs over [-100, 100], dense near 0"""
    grid = np.concatenate([np.linspace(-100, 100, 801), np.linspace(-2, 2, 81), np.geomspace(1e-6, 1, 13)])
    rest = np.random.default_rng(0).uniform(-100, 100, 200)
    return np.unique(np.concatenate([grid, -grid, rest, rest / 10]).astype(dtype))


def deltas(net, y):
    """delta(2), (s_2,), of the example x = 1, on each path; the columns of Theta(1) are z and 0"""
    X, Y = np.ones((1, 1), net.dtype), np.atleast_2d(np.asarray(y, net.dtype))
    n, learnt = net.layer_sizes[1], net.copy()
    fastbp.Trainer(learnt, fastbp.SGD(1.0)).epoch(X, Y, batch_size=1)
    return {
        "deltas": net.deltas(X, Y)[0][0],
        "gradient": net.cost_and_gradient(X, Y)[1][1 : 2 * n : 2],
        "one by one": net.accumulate(X, Y, per_example=True)[1][0][:, 1],
        "online": -learnt.Theta[0][:, 1],
    }


def with_logits(z, output, loss, **parameters):
    return fastbp.Network([1, len(z)], output=output, loss=loss, dtype=z.dtype,
                          init=[np.column_stack([z, np.zeros_like(z)])], **parameters)


def worst(delta, exact, size):
    """The largest |delta - exact| / size in eps, of those above the floor"""
    info, error = np.finfo(delta.dtype), 0
    for ours, true, scale in zip(delta, exact, size, strict=True):
        missed = abs(mpmath.mpf(float(ours)) - true)
        if missed > FLOOR * mpmath.mpf(float(info.smallest_normal)):
            error = max(error, float(missed / scale / float(info.eps)))
    return error


def exactly(values):
    return [mpmath.mpf(float(value)) for value in values]


def both(value):
    """A value of one term, and its size"""
    return value, abs(value)


def sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def density(z):
    return mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)


PRIME = {  # z -> g'(z), the sum of the sizes of its terms
    "sigmoid": lambda z: both(sigmoid(z) * sigmoid(-z)),
    "tanh": lambda z: both(mpmath.sech(z) ** 2),
    "relu": lambda z: both(mpmath.mpf(z > 0)),
    "identity": lambda z: both(mpmath.mpf(1)),
    "leaky_relu": lambda z: both(mpmath.mpf(1) if z > 0 else mpmath.mpf(1) / 100),
    "elu": lambda z: both(mpmath.mpf(1) if z > 0 else mpmath.exp(z)),
    "softplus": lambda z: both(sigmoid(z)),
    "silu": lambda z: (sigmoid(z) * (1 + z * sigmoid(-z)), sigmoid(z) * (1 + abs(z) * sigmoid(-z))),
    "gelu": lambda z: (mpmath.ncdf(z) + z * density(z), mpmath.ncdf(z) + abs(z) * density(z)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fault_58_the_derivative_keeps_its_digits_however_far_a_unit_saturates(activation, dtype):
    z = points(dtype)
    net = fastbp.Network([1, len(z), 1], activation=activation, output="identity", loss="absolute_error", dtype=dtype,
                         init=[np.column_stack([z, np.zeros_like(z)]), np.array([[0, *np.ones_like(z)]])])
    found = deltas(net, -1e6)     # h > y: delta(3) = 1, and delta(2) = g'(z)
    with mpmath.workdps(120):
        exact, size = zip(*(PRIME[activation](each) for each in exactly(z)), strict=True)
        assert worst(found["deltas"], exact, size) <= BOUND
    for way, delta in found.items():
        np.testing.assert_array_equal(delta, found["deltas"], err_msg=way)


def elementwise(output, z, y):
    """h - y, the sum of the sizes of its terms, and g'(z); the terms are 1 - y and 1 - h where both are near 1"""
    if output == "sigmoid":
        small = sigmoid(-abs(z))
        return sigmoid(z) - y, small + (y if z < 0 else 1 - y), small * (1 - small)
    if output == "tanh":
        along = y if z >= 0 else -y
        near = 2 / (mpmath.exp(2 * abs(z)) + 1) + (1 - along)
        return mpmath.tanh(z) - y, near if along > 0.5 else abs(mpmath.tanh(z)) + abs(y), mpmath.sech(z) ** 2
    if output == "exp":
        return mpmath.exp(z) - y, mpmath.exp(z) + y, None
    return z - y, abs(z - y), mpmath.mpf(1)


def delta_of(output, loss, z, y):
    """delta of one unit, the sum of the sizes of its terms"""
    e, size, slope = elementwise(output, z, y)
    parameter = mpmath.mpf(PARAMETER.get(loss, 0))
    if loss == "squared_error":
        return e * slope, size * slope
    if loss in ("cross_entropy", "poisson"):
        return e, size
    if loss == "huber":
        return both(min(parameter, max(-parameter, e)))
    if loss == "absolute_error":
        return both(mpmath.sign(e))
    return both(1 - parameter if e > 0 else -parameter if e < 0 else mpmath.mpf(0))


TARGETS = {
    "sigmoid": [0, 1, 0.25, 1 - 2**-20, 2**-30],
    "tanh": [-1, 1, 0, 0.75, -1 + 2**-20, 2**-30],
    "identity": [0, 1, -37.5],
    "exp": [0, 1, 3.5, 1e9],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), [pair for pair in PAIRS if pair[0] != "softmax"])
def test_fault_58_delta_of_an_output_keeps_its_digits_however_far_it_saturates(output, loss, dtype):
    z = points(dtype)
    if output == "exp" and dtype == np.float32:     # beyond it h is no float32
        z = z[z < 88]
    parameter = {PARAMETERS[loss]: PARAMETER[loss]} if loss in PARAMETERS else {}
    net = with_logits(z, output, loss, **parameter)
    for y in TARGETS[output]:
        Y = np.full_like(z, y)
        found = deltas(net, Y)
        with mpmath.workdps(120):
            pairs = zip(exactly(z), exactly(Y), strict=True)
            exact, size = zip(*(delta_of(output, loss, *pair) for pair in pairs), strict=True)
            assert worst(found["deltas"], exact, size) <= BOUND, y
        for way, delta in found.items():
            np.testing.assert_array_equal(delta, found["deltas"], err_msg=way)


def softmax_delta(loss, z, y):
    """delta, the sizes of its terms: h_k - y_k is (1 - y_k) - the sum of the others where h_k > 1/2"""
    K = range(len(z))
    powers = [mpmath.exp(each) for each in z]
    h = [each / sum(powers) for each in powers]
    e = [h[k] - y[k] for k in K]
    size = [sum(h[j] for j in K if j != k) + (1 - y[k]) if h[k] > 0.5 else h[k] + y[k] for k in K]
    if loss == "cross_entropy":
        return e, size
    return ([h[k] * sum(h[j] * (e[k] - e[j]) for j in K) for k in K],
            [h[k] * sum(h[j] * (size[k] + size[j]) for j in K if j != k) for k in K])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("K", [2, 3, 10])
def test_fault_58_delta_of_softmax_keeps_its_digits_however_clear_its_choice(K, loss, dtype):
    rng = np.random.default_rng(K)
    soft = np.array([1 - (K - 1) * 2.0**-20] + [2.0**-20] * (K - 1))
    for gap in [*np.linspace(-100, 100, 41), 0.25, 3, 12.5, 17, 33]:
        z = rng.standard_normal(K).astype(dtype)
        z[0] += dtype(gap)
        for y in (*np.eye(K)[:2], soft, np.roll(soft, 1)):
            found = deltas(with_logits(z, "softmax", loss), y)
            with mpmath.workdps(120):
                exact, size = softmax_delta(loss, exactly(z), exactly(y))
                for way, delta in found.items():
                    assert worst(delta, exact, size) <= BOUND, (way, gap, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_fault_58_the_gradient_of_a_saturated_unit_is_within_the_promise(activation, dtype):
    """The reported unit: D of its weights is accurate to 1e-13 (float64), 3e-6 (float32)"""
    for z in (10, 20, 36, -36):
        net = fastbp.Network([1, 1, 1], activation=activation, output="identity", loss="squared_error", dtype=dtype,
                             init=[np.array([[z, 0.0]]), np.array([[0.5, 2.0]])])
        D = net.cost_and_gradient(np.ones((1, 1)), [[0.25]])[1]
        with mpmath.workdps(60):
            a = sigmoid(mpmath.mpf(z)) if activation == "sigmoid" else mpmath.tanh(z)
            exact = (0.25 + 2 * a) * 2 * PRIME[activation](mpmath.mpf(z))[0]
            assert abs(float(D[1]) / exact - 1) <= (1e-13 if dtype == np.float64 else 3e-6)


def poisson(z, y):
    """y log(y / h) - y + h,  h = e^z"""
    return (y * (mpmath.log(y) - z) - y if y else 0) + mpmath.exp(z)


@pytest.mark.parametrize(("dtype", "zs"), [(np.float32, (89, 100, 146, 500, 700)), (np.float64, (89, 500, 700))])
def test_fault_59_a_poisson_cost_is_finite_wherever_double_precision_holds_it(dtype, zs):
    X = np.ones((1, 1), dtype)
    for z in zs:
        for y in (0, 1e-30, 1, 3.5, 1e30):
            net, Y = with_logits(np.array([z], dtype), "exp", "poisson"), np.array([[y]], dtype)
            with mpmath.workdps(60):
                exact = float(poisson(mpmath.mpf(z), mpmath.mpf(float(Y[0, 0]))))
            tolerance = 30 * float(np.finfo(dtype).eps)
            assert net.cost(X, Y) == pytest.approx(exact, rel=tolerance), (z, y)
            assert net.cost_and_gradient(X, Y)[0] == pytest.approx(exact, rel=tolerance), (z, y)
            assert net.cost(np.ones((70, 1), dtype), np.full((70, 1), y, dtype)) == pytest.approx(exact, rel=tolerance)


def test_fault_59_small_rates_of_large_counts_have_their_cost_too():
    """-y t overflows float32 where h does not"""
    for z, y in ((-100, 1e37), (80, 1e38), (-3, 3e38)):
        net, Y = with_logits(np.array([z], np.float32), "exp", "poisson"), np.array([[y]], np.float32)
        exact = float(poisson(mpmath.mpf(z), mpmath.mpf(float(Y[0, 0]))))
        assert net.cost(np.ones((1, 1)), Y) == pytest.approx(exact, rel=3e-6)


def test_fault_59_a_poisson_cost_beyond_double_precision_is_infinite():
    for dtype, z in ((np.float32, 1e30), (np.float32, 710), (np.float64, 710)):
        assert with_logits(np.array([z], dtype), "exp", "poisson").cost(np.ones((1, 1)), [[1.0]]) == np.inf


@pytest.mark.parametrize(("loss", "cost"), [
    ("squared_error", lambda e: e * e / 2), ("absolute_error", lambda e: e), ("quantile", lambda e: 0.5 * e),
    ("huber", lambda e: e - 0.5)])
def test_fault_59_the_cost_of_a_difference_that_float32_cannot_hold_is_finite(loss, cost):
    """h - y for numbers near an end of the range, of opposite signs"""
    size = np.float32(3e38)
    net = with_logits(np.array([size]), "identity", loss)
    J = net.cost(np.ones((1, 1)), np.array([[-size]]))
    assert pytest.approx(cost(2 * float(size)), rel=1e-12) == J
