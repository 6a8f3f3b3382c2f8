"""J and D against the long double textbook, against slopes, and against the promises for the sums."""

import tracemalloc

import numpy as np
import pytest
from helpers import CLASSES, DTYPES, NAMES, WIDTHS, distance, problem, tolerance
from reference import PAIRS, numeric_gradient

import fastbp

C = 0.03  # the weight decay of these tests
EXAMPLES = [1, 2, 3, 7, 8, 9, 31, 64, 65, 257, 1000]


def assert_equals_textbook(p, Y=None, w=None):
    """Every way to compute the sums gives J and D of the long double textbook"""
    net, Y = p.network(), p.Y if Y is None else Y
    tol = tolerance(net.dtype)
    J, D = p.exact(Y, C, w)
    options = {"weight_decay": C, "sample_weight": w}
    ours, gradient = net.cost_and_gradient(p.X, Y, **options)
    assert type(ours) is float
    assert gradient.dtype == net.dtype
    assert gradient.shape == net.theta.shape
    assert gradient.flags.c_contiguous
    assert abs(ours - J) <= tol * abs(J)
    assert distance(gradient, D) < tol
    assert abs(net.cost(p.X, Y, **options) - J) <= tol * abs(J)
    total, Delta = p.model.accumulate(p.theta.astype(np.longdouble), p.X, Y)
    for per_example in (False, True):
        cost, sums = net.accumulate(p.X, Y, per_example=per_example)
        assert abs(cost - total) <= tol * abs(total)
        for ours, exact in zip(sums, Delta, strict=True):
            assert ours.dtype == net.dtype
            assert distance(ours, exact) < tol


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("activation", NAMES)
def test_gradient_is_the_textbooks_for_every_activation_and_loss(activation, output, loss, dtype):
    p = problem((5, 9, 6, 3), activation, output, loss, m=13, dtype=dtype)
    assert_equals_textbook(p)
    assert_equals_textbook(p, w=p.weights)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_gradient_is_the_textbooks_for_every_width(width, dtype):
    i = WIDTHS.index(width)
    output, loss = PAIRS[i % len(PAIRS)]
    assert_equals_textbook(problem((3, width, 2), NAMES[i % len(NAMES)], output, loss, m=5, dtype=dtype))
    assert_equals_textbook(problem((width, 4, width, 3), NAMES[-i % len(NAMES)], output, loss, m=11, dtype=dtype))
    K = max(width, 2)
    assert_equals_textbook(problem((4, 5, K), "tanh", "softmax", "cross_entropy", m=6, dtype=dtype))
    assert_equals_textbook(problem((width, width, width), "sigmoid", m=9, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", EXAMPLES)
def test_gradient_is_the_textbooks_for_every_number_of_examples(m, dtype):
    assert_equals_textbook(problem((7, 12, 4), "relu", "softmax", "cross_entropy", m=m, dtype=dtype))
    assert_equals_textbook(problem((33, 20, 10), "sigmoid", m=m, dtype=dtype))
    assert_equals_textbook(problem((6, 3), output="identity", loss="squared_error", m=m, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("sizes", "activation"),
    [
        ((1, 1), ()),
        ((65, 3), ()),
        ((3, 4, 5, 2), ("relu", "tanh")),
        ((10, 300, 1000), ("tanh",)),
        ((2, 3, 4, 5, 6, 3), ("gelu", "elu", "silu", "sigmoid")),
    ],
)
def test_gradient_is_the_textbooks_for_any_depth_and_mixture(sizes, activation, dtype):
    assert_equals_textbook(problem(sizes, activation, m=10, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.int8, np.uint64])
@pytest.mark.parametrize(("output", "loss"), CLASSES)
def test_labels_give_exactly_what_their_one_hot_rows_give(output, loss, kind, dtype):
    p = problem((4, 6, 5), "tanh", output, loss, m=17, dtype=dtype)
    labels = p.labels.astype(kind)
    assert_equals_textbook(p, labels)
    J, D = p.network().cost_and_gradient(p.X, labels)
    rows = p.network().cost_and_gradient(p.X, p.model.targets(labels, dtype))
    assert pytest.approx(rows[0], rel=tolerance(dtype, "bits")) == J
    assert distance(D, rows[1]) < tolerance(dtype, "bits")


@pytest.mark.parametrize(("output", "loss"), CLASSES)
def test_bool_labels_are_classes_0_and_1(output, loss):
    p = problem((4, 6, 2), "tanh", output, loss, m=17)
    assert_equals_textbook(p, p.labels.astype(bool))


@pytest.mark.parametrize(("output", "loss"), [pair for pair in PAIRS if pair[0] != "softmax"])
def test_one_output_takes_its_targets_as_a_vector(output, loss):
    p = problem((4, 6, 1), "tanh", output, loss, m=17)
    assert_equals_textbook(p, p.Y[:, 0])
    if output == "sigmoid":
        assert_equals_textbook(p, p.labels)
        assert_equals_textbook(p, p.labels.astype(bool))


# ---------------------------------------------------------------- slopes


@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("activation", NAMES)
def test_gradient_is_slope_of_cost(activation, output, loss):
    """Per coordinate, central differences with h = 1e-5"""
    p = problem((3, 4, 3, 2), activation, output, loss, m=6)
    net = p.network()
    numeric = numeric_gradient(lambda t: net.cost(p.X, p.Y, theta=t, weight_decay=C), p.theta, 1e-5)
    assert distance(net.cost_and_gradient(p.X, p.Y, weight_decay=C)[1], numeric) < tolerance(float, "numeric")


@pytest.mark.parametrize("activation", NAMES)
def test_gradient_is_slope_of_cost_along_random_directions(activation):
    p = problem((10, 25, 8), activation, m=5)
    net, h = p.network(), 1e-5
    _, D = net.cost_and_gradient(p.X, p.Y, lam=2)
    for direction in np.random.default_rng(1).standard_normal((3, len(D))):
        direction /= np.linalg.norm(direction)
        up, down = (net.cost(p.X, p.Y, lam=2, theta=p.theta + step * direction) for step in (h, -h))
        assert abs((up - down) / (2 * h) - D @ direction) < tolerance(float, "numeric") * np.linalg.norm(D)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_check_gradient_returns_difference_analytic_and_numeric(output, loss, dtype):
    p = problem((3, 4, 2), "sigmoid", output, loss, dtype=dtype)
    net = p.network()
    difference, analytic, numeric = fastbp.check_gradient(net, p.X, p.Y, weight_decay=C)
    assert difference < tolerance(dtype, "numeric")
    assert distance(analytic, p.exact(c=C)[1]) < tolerance(dtype)
    assert distance(numeric, analytic) < 2 * tolerance(dtype, "numeric")
    assert net.theta.tobytes() == p.theta.tobytes()


# ---------------------------------------------------------------- promises for the sums


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_add_up_over_the_examples(dtype, per_example):
    p = problem((9, 11, 4), "tanh", "softmax", "cross_entropy", m=70, dtype=dtype)
    net = p.network()
    total, Delta = net.accumulate(p.X, p.labels, per_example=per_example)
    parts = [
        net.accumulate(p.X[rows], p.labels[rows], per_example=per_example)
        for rows in (slice(0, 1), slice(1, 8), slice(8, 41), slice(41, 70))
    ]
    assert sum(cost for cost, _ in parts) == pytest.approx(total, rel=tolerance(dtype, "bits"))
    for l, whole in enumerate(Delta):
        assert distance(sum(sums[l] for _, sums in parts), whole) < tolerance(dtype, "bits")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["targets", "labels"])
def test_fault_38_weight_two_is_the_row_twice_and_weight_zero_the_row_absent(form, dtype):
    p = problem((5, 7, 3), m=40, dtype=dtype)
    times = np.random.default_rng(2).integers(0, 3, size=40)
    rows = np.repeat(np.arange(40), times)
    Y = p.Y if form == "targets" else p.labels
    for penalty in ({"lam": 2.0}, {"weight_decay": C}):
        J, D = p.network().cost_and_gradient(p.X, Y, sample_weight=times.astype(dtype), **penalty)
        repeated = p.network().cost_and_gradient(p.X[rows], Y[rows], **penalty)
        assert pytest.approx(repeated[0], rel=tolerance(dtype, "bits")) == J
        assert distance(D, repeated[1]) < tolerance(dtype, "bits")


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "elu", "softplus"])
def test_fault_38_an_example_of_weight_0_is_not_there_however_large(activation):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 3)), rng.random((30, 2))
    net = fastbp.Network([3, 5, 2], activation=activation, dtype=np.float32, seed=0, init="normal", eps=2.0)
    w, wild = np.ones(30), X.astype(np.float32)
    w[[3, 29]], wild[[3, 29]] = 0, 3e38
    J, D = net.cost_and_gradient(wild, Y, sample_weight=w)
    expected = net.cost_and_gradient(X[w > 0], Y[w > 0])
    assert pytest.approx(expected[0], rel=1e-6) == J
    np.testing.assert_allclose(D, expected[1], rtol=1e-4, atol=1e-6)



@pytest.mark.parametrize("weighted", [False, True])
def test_lam_is_weight_decay_times_m(weighted):
    p = problem(m=20)
    w = p.weights if weighted else None
    lam = C * (p.weights.sum() if weighted else 20)
    J, D = p.network().cost_and_gradient(p.X, p.Y, lam=lam, sample_weight=w)
    exact = p.exact(c=C, w=w)
    assert pytest.approx(float(exact[0]), rel=1e-13) == J
    assert distance(D, exact[1]) < 1e-13
    assert p.network().cost(p.X, p.Y, lam=lam, sample_weight=w) == pytest.approx(J, rel=1e-15)


@pytest.mark.parametrize(
    ("dtype", "weight"), [(d, w) for d in DTYPES for w in (1e-30, 1e30)] + [(float, 1e-300), (float, 1e200)]
)
def test_equal_weights_of_any_size_change_nothing(dtype, weight):
    p = problem(m=40, dtype=dtype)
    J, D = p.network().cost_and_gradient(p.X, p.Y, sample_weight=np.full(40, weight))
    exact = p.exact()
    assert pytest.approx(float(exact[0]), rel=tolerance(dtype)) == J
    assert distance(D, exact[1]) < tolerance(dtype)


def test_gradient_is_a_fresh_array_each_time():
    p = problem()
    net = p.network()
    _, first = net.cost_and_gradient(p.X, p.Y)
    kept = first.copy()
    _, second = net.cost_and_gradient(p.X, p.Y, weight_decay=1.0)
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, net.theta)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fault_19_out_receives_the_gradient_whatever_was_in_it(dtype):
    p = problem(dtype=dtype)
    net = p.network()
    J, D = net.cost_and_gradient(p.X, p.Y, weight_decay=C)
    out = np.full_like(net.theta, np.nan)
    same, returned = net.cost_and_gradient(p.X, p.Y, weight_decay=C, out=out)
    assert returned is out
    assert same == J
    np.testing.assert_array_equal(out, D)


def test_parameters_of_the_other_byte_order_keep_their_precision():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 3)), rng.random((30, 2))
    net = fastbp.Network([3, 2], seed=0)
    D = net.cost_and_gradient(X, Y, theta=net.theta.astype(np.dtype(np.float32).newbyteorder()))[1]
    assert D.dtype == np.float32



@pytest.mark.parametrize("given", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_given_theta_is_used_in_its_own_dtype_and_the_networks_is_left_alone(dtype, given):
    p = problem(dtype=dtype)
    net, theta = p.network(), np.random.default_rng(3).standard_normal(len(p.theta)).astype(given)
    J, D = net.cost_and_gradient(p.X, p.Y, theta=theta, weight_decay=C)
    exact = p.exact(c=C, theta=theta)
    assert D.dtype == given
    assert distance(D, exact[1]) < tolerance(given)
    assert pytest.approx(float(exact[0]), rel=tolerance(given)) == J
    assert net.cost(p.X, p.Y, theta=theta, weight_decay=C) == pytest.approx(J, rel=tolerance(given, "bits"))
    assert net.theta.tobytes() == p.theta.tobytes()


def test_nothing_of_the_callers_is_changed():
    p = problem()
    net, before = p.network(), p.copies()
    net.cost_and_gradient(p.X, p.Y, theta=p.theta, sample_weight=p.weights)
    net.cost(p.X, p.labels)
    net.accumulate(p.X, p.labels, per_example=True)
    fastbp.check_gradient(net, p.X, p.Y)
    assert p.copies() == before
    assert net.theta.tobytes() == p.theta.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_fault_25_means_over_a_million_equal_examples_are_those_of_one(dtype):
    """Costs are summed in double, and Delta block by block"""
    p = problem((3, 4, 2), m=1, dtype=dtype)
    net = p.network()
    X, Y = (np.broadcast_to(each, (1_000_000, each.shape[1])) for each in (p.X, p.Y))
    J, D = net.cost_and_gradient(p.X, p.Y)
    means = net.cost_and_gradient(X, Y)
    assert means[0] == pytest.approx(J, rel=1e-12)
    assert distance(means[1], D) < {np.float32: 1e-4, np.float64: 1e-12}[dtype]


def test_fault_25_float32_sums_over_thousands_of_blocks_keep_their_digits():
    """Blocks are added in runs, then the sums of the runs; one by one they would lose a digit (8.6e-6 here)"""
    x, m = np.random.default_rng(0).standard_normal((1, 784)).astype(np.float32), 600_000
    net = fastbp.Network([784, 4, 3], output="softmax", dtype=np.float32, seed=0)
    J, D = net.copy(dtype=np.float64).cost_and_gradient(x.astype(np.float64), [1])
    means = net.cost_and_gradient(np.broadcast_to(x, (m, 784)), np.broadcast_to(np.array([1]), (m,)))
    assert means[0] == pytest.approx(J, rel=1e-6)
    assert distance(means[1], D) < 2e-6


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_of_a_full_batch_gradient_does_not_grow_with_the_examples(dtype, kind):
    """X is read in place, and converted block by block"""
    net = fastbp.Network([20, 30, 10], output="softmax", dtype=dtype, seed=0)
    X, labels = np.ones((200_000, 20), kind), np.zeros(200_000, np.int64)
    net.cost_and_gradient(X[:10], labels[:10])
    tracemalloc.start()
    net.cost_and_gradient(X, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 4


def test_labels_are_never_written_out_as_one_hot_rows():
    net = fastbp.Network([2, 1000], output="softmax", seed=0)
    X, labels = np.ones((8000, 2)), np.arange(8000) % 1000
    net.cost_and_gradient(X[:10], labels[:10])
    tracemalloc.start()
    net.cost_and_gradient(X, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8000 * 1000  # of 8 bytes each; each thread has a block of 5,000 numbers per example


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_input_has_the_textbooks_gradient_with_the_same_bits_in_every_layout(dtype):
    for m in (1, 2, 7, 8, 9, 16, 17, 33, 94, 1000):
        for n in (1, 8, 11, 30):
            p = problem((1, n, 2), "tanh", "identity", "squared_error", m=m, dtype=dtype)
            assert_equals_textbook(p)
            net, wide = p.network(), np.full((m, 3), 7, dtype)
            wide[:, 1:2] = p.X
            D = net.cost_and_gradient(p.X, p.Y)[1]
            for X in (wide[:, 1:2], p.X[::-1].copy()[::-1], p.X.astype(np.float64)):
                np.testing.assert_array_equal(net.cost_and_gradient(X, p.Y)[1], D)
