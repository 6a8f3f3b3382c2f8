"""Bad input is refused with a message that names the argument, the value and what is accepted; nothing has changed."""

import re

import numpy as np
import pytest
from helpers import problem

import fastbp

M, SIZES = 40, (3, 4, 2)
REFUSED = (ValueError, TypeError)
SGD = fastbp.SGD(0.1)

# Every public way in for X, or for X and Y
FORWARD = {
    "predict": lambda net, X: net.predict(X),
    "activations": lambda net, X: net.activations(X),
}
BOTH = {
    "deltas": lambda net, X, Y: net.deltas(X, Y),
    "accumulate": lambda net, X, Y: net.accumulate(X, Y),
    "accumulate_per_example": lambda net, X, Y: net.accumulate(X, Y, per_example=True),
    "evaluate": lambda net, X, Y: net.evaluate(X, Y),
    "cost": lambda net, X, Y: net.cost(X, Y),
    "cost_and_gradient": lambda net, X, Y: net.cost_and_gradient(X, Y),
    "check_gradient": lambda net, X, Y: fastbp.check_gradient(net, X, Y),
    "minimize": lambda net, X, Y: fastbp.minimize(net, X, Y, maxiter=2),
    "train": lambda net, X, Y: fastbp.train(net, X, Y, optimizer=SGD, epochs=1),
}
ALL = list(FORWARD) + list(BOTH)


def call(function, net, X, Y):
    return FORWARD[function](net, X) if function in FORWARD else BOTH[function](net, X, Y)


def matches(message, *patterns):
    for pattern in patterns:
        assert re.search(pattern, message), f"{pattern!r} is not in {message!r}"


def with_cell(array, index, value):
    array = np.array(array, dtype=float)
    array[index] = value
    return array


def refused(action, *patterns, kinds=REFUSED):
    """The action raises an error whose message matches all the patterns"""
    with pytest.raises(kinds) as caught:
        action()
    matches(str(caught.value), *patterns)


P = problem(SIZES, m=M)
X = np.array(P.X)
BAD_X = {
    "one column too many": (np.zeros((M, 4)), r"\bX\b", r"\b4\b", r"\b3\b"),
    "no column": (np.zeros((M, 0)), r"\bX\b", r"\b0\b", r"\b3\b"),
    "three dimensions": (np.zeros((M, 3, 1)), r"\bX\b", r"3-?D|3 dim|\(40, 3, 1\)|ndim"),
    "a number": (1.0, r"\bX\b"),
    "nothing": (None, r"\bX\b"),
    "strings": (np.full((M, 3), "1"), r"\bX\b", r"(?i)str|<U1"),
    "bytes": (np.full((M, 3), b"1"), r"\bX\b", r"(?i)bytes|\|?S1"),
    "objects": (X.astype(object), r"\bX\b", r"object"),
    "complex": (X.astype(complex), r"\bX\b", r"complex"),
    "dates": (np.zeros((M, 3), "datetime64[s]"), r"\bX\b", r"datetime64|M8"),
    "records": (np.zeros((M, 3), "f8,f8"), r"\bX\b"),
    "ragged": ([[1, 2, 3], [4, 5]], r"\bX\b"),
    "a NaN": (with_cell(X, (17, 2), np.nan), r"X contains NaN", r"X\[17, 2\]"),
    "the last cell NaN": (with_cell(X, (-1, -1), np.nan), r"X contains NaN", r"X\[39, 2\]"),
    "infinity": (with_cell(X, (0, 1), np.inf), r"X contains inf", r"X\[0, 1\]"),
    "minus infinity": (with_cell(X, (38, 0), -np.inf), r"X contains -?inf", r"X\[38, 0\]"),
}


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("bad", BAD_X)
def test_fault_34_bad_x_is_refused(bad, function):
    wrong, *patterns = BAD_X[bad]
    net = P.network()
    refused(lambda: call(function, net, wrong, P.Y), *patterns)
    assert net.theta.tobytes() == P.theta.tobytes()


@pytest.mark.parametrize("function", ["evaluate", "cost", "cost_and_gradient", "check_gradient", "minimize", "train"])
def test_fault_32_no_examples_at_all_are_refused(function):
    refused(lambda: call(function, P.network(), np.empty((0, 3)), np.empty((0, 2))), r"\bX\b", r"\b0\b|empty|no ")


@pytest.mark.parametrize("function", [name for name in ALL if name != "check_gradient"])  # that computes in float64
def test_fault_34_values_that_leave_float32_are_refused(function):
    p = problem(SIZES, m=M, dtype=np.float32)
    refused(lambda: call(function, p.network(), with_cell(p.X, (17, 2), 1e300), p.Y), r"\bX\b", r"X\[17, 2\]")


@pytest.mark.parametrize("row", [np.zeros(2), np.zeros(4), np.zeros(0), [1, np.nan, 0], [np.inf, 0, 0]])
def test_bad_single_row_is_refused(row):
    refused(lambda: P.network().predict(row), r"\bX\b")


Y, LABELS = np.array(P.Y), np.array(P.labels)
BAD_Y = {
    "one row less": (Y[1:], r"\bY\b", "39", "40"),
    "one label less": (LABELS[1:], r"\bY\b", "39", "40"),
    "one row more": (np.vstack([Y, Y[:1]]), r"\bY\b", "41", "40"),
    "one column more": (np.zeros((M, 3)), r"\bY\b", r"\b3\b", r"\b2\b"),
    "labels as a column": (LABELS[:, None], r"\bY\b", r"\b1\b", r"\b2\b"),
    "three dimensions": (np.zeros((M, 2, 1)), r"\bY\b"),
    "a number": (1, r"\bY\b"),
    "nothing": (None, r"\bY\b"),
    "strings": (np.full(M, "a"), r"\bY\b", r"(?i)str|<U1"),
    "objects": (LABELS.astype(object), r"\bY\b", "object"),
    "complex": (Y.astype(complex), r"\bY\b", "complex"),
    "float labels": (LABELS.astype(float), r"\bY\b", r"float", r"integer|int"),
    "label K": (np.where(np.arange(M) == 23, 2, LABELS), r"\bY\b", r"Y\[23\]", r"\b2\b", r"0\b.*\b1\b"),
    "label -1": (np.where(np.arange(M) == 39, -1, LABELS), r"\bY\b", r"Y\[39\]", r"-1\b"),
    "a huge label": (np.where(np.arange(M) == 5, 2**62, LABELS), r"\bY\b", r"Y\[5\]", str(2**62)),
    "2^32": (np.where(np.arange(M) == 5, 2**32, LABELS), r"\bY\b", r"Y\[5\]", str(2**32)),
    "uint64 2^63": (np.where(np.arange(M) == 5, 2**63, LABELS.astype(np.uint64)), r"\bY\b", r"Y\[5\]", str(2**63)),
    "a NaN": (with_cell(Y, (17, 1), np.nan), r"Y contains NaN", r"Y\[17, 1\]"),
    "infinity": (with_cell(Y, (39, 0), np.inf), r"Y contains inf", r"Y\[39, 0\]"),
    "above 1": (with_cell(Y, (17, 1), 1.25), r"\bY\b", r"Y\[17, 1\]", r"1\.25", "sigmoid"),
    "below 0": (with_cell(Y, (0, 0), -0.25), r"\bY\b", r"Y\[0, 0\]", r"-0\.25"),
}


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("bad", BAD_Y)
def test_fault_35_bad_y_is_refused(bad, function):
    wrong, *patterns = BAD_Y[bad]
    net = P.network()
    refused(lambda: call(function, net, P.X, wrong), *patterns)
    assert net.theta.tobytes() == P.theta.tobytes()


@pytest.mark.parametrize("bad", BAD_Y)
def test_bad_y_is_refused_in_validation_data(bad):
    net = P.network()
    refused(
        lambda: fastbp.train(net, P.X, P.Y, optimizer=SGD, epochs=1, validation_data=(P.X, BAD_Y[bad][0])),
        "validation_data|Y",
    )
    assert net.theta.tobytes() == P.theta.tobytes()


@pytest.mark.parametrize(
    ("output", "loss", "value"),
    [
        ("sigmoid", "squared_error", -0.01),
        ("sigmoid", "squared_error", 1.01),
        ("tanh", "squared_error", 1.01),
        ("tanh", "squared_error", -1.01),
        ("exp", "poisson", -0.01),
        ("softmax", "squared_error", 1.5),
        ("softmax", "squared_error", -0.5),
        ("softmax", "cross_entropy", -0.5),
    ],
)
@pytest.mark.parametrize("function", BOTH)
def test_targets_the_output_cannot_reach_are_refused(function, output, loss, value):
    p = problem(SIZES, output=output, loss=loss, m=M)
    wrong = with_cell(p.Y, (17, 0), value)
    if output == "softmax":
        wrong[17, 1] = 1 - value  # the row still sums to 1
    refused(lambda: call(function, p.network(), p.X, wrong), r"\bY\b", r"Y\[17\b", output)


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-5), (np.float32, 1e-3), (np.float64, 0.5)])
def test_softmax_rows_that_do_not_sum_to_one_are_refused(function, dtype, error):
    p = problem(SIZES, output="softmax", m=M, dtype=dtype)
    wrong = p.Y.copy()
    wrong[23, wrong[23].argmin()] += error
    refused(lambda: call(function, p.network(), p.X, wrong), r"\bY\b", r"23", r"sum")


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-7), (np.float32, 2e-5)])
def test_softmax_rows_may_miss_one_by_rounding(dtype, error):
    p = problem(SIZES, output="softmax", m=M, dtype=dtype)
    slightly = p.Y.copy()
    slightly[23, slightly[23].argmin()] += error
    assert np.isfinite(p.network().cost(p.X, slightly))


@pytest.mark.parametrize(("output", "loss"), [("identity", "squared_error"), ("exp", "poisson")])
@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(bool), LABELS.astype(float)])
@pytest.mark.parametrize("function", BOTH)
def test_labels_for_outputs_without_classes_are_refused(function, output, loss, labels):
    p = problem(SIZES, output=output, loss=loss, m=M)
    named = [output] if labels.dtype.kind in "ib" else []
    refused(lambda: call(function, p.network(), p.X, labels), r"\bY\b", *named, kinds=ValueError)


# ---------------------------------------------------------------- theta, weights, penalties, out

GRADIENT = {
    "cost": lambda net, **options: net.cost(P.X, P.Y, **options),
    "cost_and_gradient": lambda net, **options: net.cost_and_gradient(P.X, P.Y, **options),
}
SUMS = GRADIENT | {
    "train": lambda net, **options: fastbp.train(net, P.X, P.Y, optimizer=SGD, epochs=1, **options),
}
PENALISED = SUMS | {
    "minimize": lambda net, **options: fastbp.minimize(net, P.X, P.Y, maxiter=2, **options),
    "check_gradient": lambda net, **options: fastbp.check_gradient(net, P.X, P.Y, **options),
}
BAD_THETA = {
    "one less": (np.zeros(25), "25", "26"),
    "a matrix": (np.zeros((2, 13)), r"\(2, 13\)|2-?D|2 dim|flat|1-?D"),
    "a NaN": (with_cell(P.theta, 17, np.nan), "NaN", r"\[17\]"),
    "infinity": (with_cell(P.theta, 25, np.inf), "inf", r"\[25\]"),
    "complex": (P.theta.astype(complex), "complex"),
    "objects": (P.theta.astype(object), "object"),
    "strings": (P.theta.astype(str), "(?i)str|<U"),
    "a number": (1.0,),
}


@pytest.mark.parametrize("bad", BAD_THETA)
@pytest.mark.parametrize("way", ["assignment", *GRADIENT])
def test_bad_theta_is_refused(way, bad):
    net, (wrong, *patterns) = P.network(), BAD_THETA[bad]
    if way == "assignment":
        refused(lambda: setattr(net, "theta", wrong), "theta", *patterns)
    else:
        refused(lambda: GRADIENT[way](net, theta=wrong), "theta", *patterns)
    assert net.theta.tobytes() == P.theta.tobytes()


@pytest.mark.parametrize("function", [*FORWARD, *BOTH])
def test_fault_20_parameters_made_nan_by_their_owner_are_named(function):
    net = P.network()
    net.theta[17] = np.nan
    refused(lambda: call(function, net, P.X, P.Y), "theta", "NaN", kinds=ValueError)


@pytest.mark.parametrize(
    ("weights", "pattern"),
    [
        (P.weights[1:], "39"),
        (P.weights[:, None], r"\(40, 1\)|1-?D|2-?D|dim"),
        (with_cell(P.weights, 17, np.nan), "NaN"),
        (with_cell(P.weights, 17, np.inf), "inf"),
        (with_cell(P.weights, 17, -1), r"17.*|neg"),
        (np.zeros(M), "(?i)zero|sum|positive"),
        (P.weights.astype(complex), "complex"),
        (P.weights.astype(object), "object"),
        (P.weights.astype(str), "(?i)str|<U"),
    ],
)
@pytest.mark.parametrize("function", SUMS)
def test_fault_37_bad_sample_weight_is_refused(function, weights, pattern):
    net = P.network()
    refused(lambda: SUMS[function](net, sample_weight=weights), "sample_weight", pattern)
    assert net.theta.tobytes() == P.theta.tobytes()


@pytest.mark.parametrize("function", ["cost", "cost_and_gradient"])
@pytest.mark.parametrize(("dtype", "weight"), [(np.float32, 1e-50), (np.float32, 1e200), (np.float64, 1e308)])
def test_weights_that_vanish_or_overflow_in_the_networks_dtype_are_refused(dtype, weight, function):
    """1e-50 is 0 in float32, and 40 times 1e308 is infinite in float64: there is no silent 0 or NaN"""
    p = problem(SIZES, m=M, dtype=dtype)
    refused(
        lambda: GRADIENT[function](p.network(), sample_weight=np.full(M, weight)), "sample_weight", kinds=ValueError
    )


@pytest.mark.parametrize("name", ["weight_decay", "lam"])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "a", [0.1, 0.2, 0.3], 1j])
@pytest.mark.parametrize("function", PENALISED)
def test_bad_penalty_is_refused(function, value, name):
    refused(lambda: PENALISED[function](P.network(), **{name: value}), name)


@pytest.mark.parametrize("function", PENALISED)
def test_weight_decay_and_lam_together_are_refused(function):
    refused(
        lambda: PENALISED[function](P.network(), weight_decay=0.1, lam=1.0),
        "weight_decay",
        "lam",
        kinds=(ValueError, TypeError),
    )


def read_only(array):
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "out",
    [
        np.zeros(25),
        np.zeros((26, 1)),
        np.zeros(26, np.float32),
        np.zeros(52)[::2],
        read_only(np.zeros(26)),
        [0.0] * 26,
        np.zeros(26, ">f8"),
    ],
)
def test_bad_out_is_refused_by_cost_and_gradient(out):
    refused(lambda: P.network().cost_and_gradient(P.X, P.Y, out=out), r"\bout\b")


@pytest.mark.parametrize(
    "out", [np.zeros((M, 3)), np.zeros((M - 1, 2)), np.zeros((M, 2), np.float32), read_only(np.zeros((M, 2))), 1]
)
def test_bad_out_is_refused_by_predict(out):
    refused(lambda: P.network().predict(P.X, out=out), r"\bout\b")


class Sparse:
    def toarray(self):
        return np.eye(2)


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda net: net.predict(Sparse()), TypeError, r"X is sparse \(Sparse\); pass X\.toarray\(\)"),
    (lambda net: fastbp.metrics.mse(np.zeros((2, 2)), np.zeros((3, 2))), ValueError, r"Y must have shape \(2, 2\)"),
    (lambda net: fastbp.metrics.mse(np.zeros((2, 2)), np.array([[0, 1], [0, np.nan]])), ValueError,
     r"First at Y\[1, 1\]"),
    (lambda net: fastbp.metrics.mse(np.zeros(2), np.zeros(2)), ValueError, r"h must have shape \(m, K\)"),
    (lambda net: fastbp.callbacks.Logging(logger=3), TypeError, "logger must be a name or a logging.Logger"),
    (lambda net: fastbp.Network([2, 1], init=[np.zeros((1, 3))], eps=0.1), ValueError, "eps goes with"),
    (lambda net: net.__setstate__(net.__getstate__() | {"loss_parameters": 3}), TypeError, "loss_parameters must be"),
    (lambda net: fastbp.Network([2**31 - 2] * 4), ValueError, "more parameters than memory can hold"),
    (lambda net: fastbp.train(net, [(np.eye(2), [0, 1], np.full(2, 1e-300))], epochs=1), ValueError,
     "sample_weight of chunk 0 must not be that extreme"),
])
def test_what_is_of_no_use_is_named_and_nothing_has_changed(call, error, said):
    net = fastbp.Network([2, 1], seed=0)
    before = net.theta.copy()
    with pytest.raises(error, match=said):
        call(net)
    assert (net.theta == before).all()
