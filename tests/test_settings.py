"""Unknown names and settings out of range are refused; messages name the value and what is accepted."""

import numpy as np
import pytest
from helpers import NAMES, problem
from reference import PAIRS
from test_checks import REFUSED, refused

import fastbp
from fastbp.engine import checks
from fastbp.optimizers import RPROP, Adagrad, Nadam

P = problem()


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("activation", NAMES),
        ("output", ["sigmoid", "softmax", "identity", "tanh", "exp"]),
        ("loss", sorted({loss for _, loss in PAIRS})),
        ("init", ["glorot_uniform", "he_normal", "normal", "uniform", "nguyen_widrow"]),
    ],
)
def test_unknown_names_are_refused_and_the_known_ones_listed(name, accepted):
    refused(lambda: fastbp.Network([3, 4, 2], **{name: "reluu"}), name, "reluu", *accepted, kinds=ValueError)
    refused(lambda: fastbp.Network([3, 4, 2], **{name: 3.5}), name)


@pytest.mark.parametrize("activation", [["relu"], ["relu", "tanh", "tanh"], ["relu", "nonsense"], [], None, 1])
def test_activations_that_do_not_fit_the_hidden_layers_are_refused(activation):
    refused(lambda: fastbp.Network([3, 4, 5, 2], activation=activation), "activation")


ALLOWED = {*PAIRS}
FORBIDDEN = [
    (output, loss)
    for output in ("sigmoid", "softmax", "identity", "tanh", "exp")
    for loss in sorted({loss for _, loss in PAIRS})
    if (output, loss) not in ALLOWED
]


@pytest.mark.parametrize(("output", "loss"), FORBIDDEN)
def test_pairs_that_do_not_belong_together_are_refused_and_the_allowed_listed(output, loss):
    names = ("sigmoid", "softmax", "cross_entropy", "exp", "poisson", "squared_error")
    refused(lambda: fastbp.Network([3, 2], output=output, loss=loss), output, loss, *names, kinds=ValueError)


def test_softmax_of_one_output_is_refused():
    refused(lambda: fastbp.Network([3, 1], output="softmax"), "softmax", r"\b1\b|2", kinds=ValueError)


@pytest.mark.parametrize(
    "sizes",
    [[], [3], [3, 0], [0, 2], [3, -1, 2], [3, 2.5], ["a", "b"], "abc", None, 7, [[3, 2]], [3, None], [3, np.nan],
     {1, 2}, {3: "a", 2: "b"}],
)
def test_fault_32_bad_layer_sizes_are_refused(sizes):
    refused(lambda: fastbp.Network(sizes), "layer_sizes")


def test_fault_21_networks_too_large_for_memory_are_refused_not_crashed():
    with pytest.raises((*REFUSED, MemoryError, OverflowError)):
        fastbp.Network([2**40, 2**40], init="normal")


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, int, complex, object, "str", "nonsense"])
def test_other_dtypes_are_refused(dtype):
    refused(lambda: fastbp.Network([3, 2], dtype=dtype), "dtype", "float32", "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("f8"), float, "f4"])
def test_dtype_may_be_spelled_as_numpy_does(dtype):
    net = fastbp.Network([3, 2], dtype=dtype, seed=0)
    assert net.dtype == net.theta.dtype == np.dtype(dtype)


def test_messages_name_what_the_caller_wrote():
    with pytest.raises(ValueError, match="loss is 'logistic'"):
        fastbp.Network([2, 1], loss="logistic")
    with pytest.raises(ValueError, match="init"):
        fastbp.Network([2, 2, 1], init=[[[1, 2], [3]], [[1, 2, 3]]])



@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_bad_seed_is_refused(seed):
    refused(lambda: fastbp.Network([3, 2], seed=seed), "seed")
    refused(lambda: fastbp.Network([3, 2], seed=0).initialize(seed), "seed")
    refused(lambda: fastbp.train(P.network(), P.X, P.Y, optimizer=fastbp.SGD(0.1), epochs=1, seed=seed), "seed")


@pytest.mark.parametrize(
    "init",
    [
        np.zeros(5),
        [np.zeros((4, 4))],
        [np.zeros((4, 4)), np.zeros((2, 4))],
        np.full(26, np.nan),
        [1, 2, "a"],
        np.zeros(26, complex),
    ],
)
def test_bad_start_values_are_refused(init):
    refused(lambda: fastbp.Network([3, 4, 2], init=init), "init|theta|Theta")


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        *[
            (make, "learning_rate", value)
            for make in (fastbp.SGD, fastbp.Adam)
            for value in (0, -0.1, np.nan, np.inf, "a", None, 1j)
        ],
        *[(fastbp.SGD, "momentum", value) for value in (-0.1, 1.5, np.nan, "a", None)],
        *[(fastbp.Adam, name, value) for name in ("beta_1", "beta_2") for value in (-0.1, 1.0, 1.5, np.nan, "a")],
        *[(fastbp.Adam, "epsilon", value) for value in (-1e-8, np.nan, "a")],
        *[
            (make, "learning_rate", value)
            for make in (fastbp.AdamW, fastbp.RMSprop, Nadam, Adagrad, RPROP)
            for value in (0, -0.1, np.nan, "a", None, True, int)
        ],
        (RPROP, "learning_rate", abs),
        *[(fastbp.AdamW, "weight_decay", value) for value in (-0.1, np.nan, "a")],
        *[(fastbp.RMSprop, "decay", value) for value in (-0.1, 1.0, np.nan, "a")],
        *[(fastbp.RMSprop, "momentum", value) for value in (-0.1, 1.5, "a")],
        *[(Nadam, name, value) for name in ("beta_1", "beta_2") for value in (-0.1, 1.0, "a")],
        *[(Nadam, "momentum_decay", value) for value in (-0.1, np.inf, "a")],
        *[(Adagrad, "initial", value) for value in (-0.1, np.nan, "a")],
        *[(make, "epsilon", value) for make in (fastbp.RMSprop, Nadam, Adagrad) for value in (0, -1e-8, "a")],
        *[(RPROP, "eta_minus", value) for value in (0, 1.5, "a")],
        *[(RPROP, "eta_plus", value) for value in (0.5, np.inf, "a")],
        *[(RPROP, name, value) for name in ("least", "most") for value in (0, -1, np.nan, "a")],
        (fastbp.Adam, "epsilon_hat", 1),
    ],
)
def test_bad_settings_of_optimizers_are_refused(make, name, value):
    received = f"{value:g}" if isinstance(value, float) else str(value)
    refused(lambda: make(**{"learning_rate": 0.1, name: value}), name, received)


def test_epsilon_that_float32_cannot_hold_is_refused():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 3)), rng.random((30, 2))
    net = fastbp.Network([3, 2], dtype=np.float32, seed=0)
    with pytest.raises(ValueError, match="epsilon"):
        fastbp.train(net, X, Y, optimizer=fastbp.Adam(epsilon=1e-50), epochs=1)



@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_whole_numbers_beyond_float64_are_refused_like_infinity(value):
    refused(lambda: fastbp.SGD(value), "learning_rate", "inf")
    refused(lambda: fastbp.Network([2, 1], init="normal", eps=value), "eps", "inf")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("batch_size", value) for value in (0, -1, 2.5, "a", [1])],
        *[("epochs", value) for value in (-1, 2.5, "a", None)],
        *[("optimizer", value) for value in (None, 3, fastbp.SGD, "nonsense")],
        *[("n_threads", value) for value in (0, -1, 1.5, "a")],
        *[
            ("validation_data", value)
            for value in (P.X, (P.X,), (P.X, P.Y[1:]), (P.X[:, 1:], P.Y), (P.X, P.Y, P.Y, P.Y), 3)
        ],
    ],
)
def test_bad_settings_of_training_are_refused(name, value):
    net = P.network()
    with pytest.raises(REFUSED) as caught:
        fastbp.train(net, P.X, P.Y, **{"optimizer": fastbp.SGD(0.1), "epochs": 1} | {name: value})
    assert name in str(caught.value) or name == "validation_data"
    assert net.theta.tobytes() == P.theta.tobytes()


@pytest.mark.parametrize("method", ["nonsense", "Nelder-Mead", "COBYLA", None, 3])
def test_methods_without_gradients_or_unknown_are_refused_and_the_known_listed(method):
    refused(
        lambda: fastbp.minimize(P.network(), P.X, P.Y, method=method),
        "method",
        "L-BFGS-B",
        "BFGS",
        "CG",
        "TNC",
        "SLSQP",
    )


@pytest.mark.parametrize("maxiter", [0, -1, 1.5, "a"])
def test_bad_maxiter_is_refused(maxiter):
    refused(lambda: fastbp.minimize(P.network(), P.X, P.Y, maxiter=maxiter), "maxiter")


@pytest.mark.parametrize("function", ["train", "minimize", "check_gradient"])
def test_what_is_no_network_is_refused(function):
    options = {"optimizer": fastbp.SGD(0.1), "epochs": 1} if function == "train" else {}
    for net in (None, [3, 2], fastbp.Network):
        refused(lambda net=net: getattr(fastbp, function)(net, P.X, P.Y, **options), "net")


@pytest.mark.parametrize(("bounds", "value", "interval"), [
    ({}, -1, r"\[0, inf\)"), ({"open_low": True}, 0, r"\(0, inf\)"), ({"high": 1}, 1, r"\[0, 1\)"),
    ({"low": -1, "high": 2, "open_high": False}, 3, r"\[-1, 2\]"),
])
def test_an_interval_is_told_as_it_is(bounds, value, interval):
    with pytest.raises(ValueError, match=f"^rate must be in {interval}; got {value}$"):
        checks.number(value, "rate", **bounds)
    assert checks.number(0.5, "rate", **bounds) == 0.5


def test_settings_are_equal_where_class_and_values_are():
    class Other(fastbp.SGD):
        pass

    assert fastbp.SGD(0.1) == fastbp.SGD(0.1)
    for other in (fastbp.SGD(0.2), fastbp.SGD(0.1, momentum=0.9), Other(0.1), fastbp.Adam(0.1), "sgd", None):
        assert fastbp.SGD(0.1) != other
    assert fastbp.schedules.Cosine(0.1, 10) == fastbp.schedules.Cosine(0.1, 10) != fastbp.schedules.Cosine(0.1, 11)
