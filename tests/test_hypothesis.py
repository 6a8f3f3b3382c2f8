"""Any shape and any values: hypothesis searches for a network on which fastbp and the textbook differ."""

import numpy as np
import pytest
import reference
from helpers import DTYPES, NAMES, distance, problem, tolerance
from reference import PAIRS, Textbook

import fastbp

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

SMOOTH = [name for name in NAMES if name not in ("relu", "leaky_relu", "elu")]


@st.composite
def problems(draw):
    """Networks of up to four layers and up to 40 examples, every name"""
    sizes = draw(st.lists(st.integers(1, 20), min_size=2, max_size=5))
    output, loss = draw(st.sampled_from(PAIRS))
    if output == "softmax":
        sizes[-1] = max(sizes[-1], 2)
    activation = draw(st.lists(st.sampled_from(NAMES), min_size=len(sizes) - 2, max_size=len(sizes) - 2))
    m, dtype, seed = draw(st.integers(1, 40)), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 999))
    return problem(sizes, tuple(activation), output, loss, m=m, dtype=dtype, seed=seed)


@given(p=problems(), c=st.floats(0, 2), weighted=st.booleans())
def test_cost_and_gradient_of_any_network_are_the_textbooks(p, c, weighted):
    w = p.weights if weighted else None
    J, D = p.network().cost_and_gradient(p.X, p.Y, weight_decay=c, sample_weight=w)
    exact = p.exact(c=c, w=w)
    assert pytest.approx(float(exact[0]), rel=tolerance(p.theta.dtype), abs=tolerance(p.theta.dtype)) == J
    assert np.abs(D - exact[1]).max() < tolerance(p.theta.dtype) * (1 + np.abs(exact[1]).max())  # a - y may cancel


@given(p=problems(), batch_size=st.one_of(st.none(), st.integers(1, 50)))
def test_training_of_any_network_is_the_textbooks(p, batch_size):
    net = p.network()
    fastbp.train(net, p.X, p.Y, optimizer=fastbp.SGD(0.05, 0.5), epochs=2, batch_size=batch_size, shuffle=False)
    theta, _ = reference.train(
        p.model, p.theta.astype(np.longdouble), p.X, p.Y, reference.SGD(0.05, 0.5), epochs=2, batch_size=batch_size
    )
    assert distance(net.theta, theta) < tolerance(p.theta.dtype, "training")


@given(p=problems(), parts=st.integers(1, 5))
def test_rows_of_any_network_do_not_depend_on_their_company(p, parts):
    net = p.network()
    h = net.predict(p.X)
    for rows in np.array_split(np.arange(len(p.X)), parts):
        if len(rows):
            assert distance(net.predict(p.X[rows]), h[rows]) < tolerance(p.theta.dtype, "bits")
    one = p.model.forward(p.theta.astype(np.longdouble), p.X)[1][-1]
    assert distance(h, one) < tolerance(p.theta.dtype)


@given(
    X=hnp.arrays(float, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(-3, 3)),
    theta=hnp.arrays(float, 26, elements=st.floats(-2, 2)),
    name=st.sampled_from(SMOOTH),
    output=st.sampled_from(["sigmoid", "softmax", "tanh", "identity"]),
    data=st.data(),
)
@pytest.mark.filterwarnings("ignore:.*equal.*:UserWarning")
def test_any_values_give_the_textbooks_cost_and_gradient(X, theta, name, output, data):
    labels = data.draw(hnp.arrays(np.int64, len(X), elements=st.integers(0, 1)))
    loss = "cross_entropy" if output in ("sigmoid", "softmax") else "squared_error"
    model = Textbook((3, 4, 2), name, output, loss)
    Y = labels if output != "identity" else np.eye(2)[labels]
    net = fastbp.Network(model.sizes, activation=name, output=output, loss=loss, seed=0)
    net.theta = theta
    J, D = net.cost_and_gradient(X, Y)
    exact = model.cost_and_gradient(theta.astype(np.longdouble), X, Y)
    assert pytest.approx(float(exact[0]), rel=1e-13, abs=1e-13) == J
    assert np.abs(D - exact[1]).max() < 1e-13 * (1 + np.abs(exact[1]).max())


@given(
    X=hnp.arrays(float, (4, 3), elements=st.floats(-1e30, 1e30)),
    theta=hnp.arrays(float, 26, elements=st.floats(-1e3, 1e3)),
    output=st.sampled_from(["sigmoid", "softmax"]),
    name=st.sampled_from(["sigmoid", "tanh", "relu", "silu", "gelu", "softplus", "elu"]),
)
def test_huge_values_give_a_finite_cost_that_is_not_negative(X, theta, output, name):
    net = fastbp.Network((3, 4, 2), activation=name, output=output, seed=0)
    net.theta = theta
    J, D = net.cost_and_gradient(X, np.array([0, 1, 1, 0]))
    assert 0 <= J < np.inf
    assert np.isfinite(D).all()
