"""Penalties and clipping: D is the derivative of J, D is clipped as requested, and bad settings are named."""

import numpy as np
import pytest
import reference_rules as oracle
from helpers import DTYPES, distance, problem, tolerance
from test_checks import PENALISED, refused
from test_checks import P as CHECKED

import fastbp

PENALTIES = {
    "l1": {"l1": 0.02},
    "c per Theta": {"weight_decay": (0.3, 0.0)},
    "both": {"weight_decay": [0.0, 0.2], "l1": 0.05},
    "an array": {"weight_decay": np.array([0.1, 0.2])},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("weighted", [False, True])
def test_cost_and_gradient_carry_the_same_penalties(penalty, weighted, dtype):
    p, options = problem(dtype=dtype), PENALTIES[penalty]
    w = p.weights if weighted else None
    J, D = p.network().cost_and_gradient(p.X, p.Y, sample_weight=w, **options)
    terms = {"c": options.get("weight_decay", 0.0), "l1": options.get("l1", 0.0)}
    exact = oracle.cost_and_gradient(p.model, p.theta.astype(np.longdouble), p.X, p.Y, w, **terms)
    assert pytest.approx(float(exact[0]), rel=tolerance(dtype)) == J
    assert distance(D, exact[1]) < tolerance(dtype)
    assert p.network().cost(p.X, p.Y, sample_weight=w, **options) == pytest.approx(J, rel=tolerance(dtype, "bits"))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient_is_slope_of_cost_with_every_penalty(penalty):
    """Away from the kink of |Theta_ij| at 0"""
    p = problem()
    assert np.abs(p.theta).min() > 5e-5  # 1e-5 is the step of the differences
    checked = fastbp.check_gradient(p.network(), p.X, p.Y, **PENALTIES[penalty])
    assert checked.relative_difference < tolerance(float, "numeric")
    plain = fastbp.check_gradient(p.network(), p.X, p.Y)
    assert distance(checked.analytic, plain.analytic) > 1e-3


def test_l1_leaves_zeros_and_biases_alone():
    p = problem()
    net = p.network()
    for Theta in net.Theta:
        Theta[:, 1] = 0
    J, D = net.cost_and_gradient(p.X, p.Y)
    with_l1 = net.cost_and_gradient(p.X, p.Y, l1=0.5)
    for Theta, change in zip(net.Theta, net.plan.views(with_l1[1] - D), strict=True):
        np.testing.assert_array_equal(change[:, :2], 0)
        np.testing.assert_allclose(change[:, 2:], 0.5 * np.sign(Theta[:, 2:]), rtol=1e-12)
    assert with_l1[0] - J == pytest.approx(0.5 * sum(np.abs(Theta[:, 1:]).sum() for Theta in net.Theta))


@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_minimize_takes_every_penalty(l1):
    p = problem((4, 3), output="identity", loss="squared_error", m=50)
    net = p.network()
    result = fastbp.minimize(net, p.X, p.Y, weight_decay=[0.05], l1=l1, maxiter=500)
    assert result.fun == pytest.approx(net.cost(p.X, p.Y, weight_decay=0.05, l1=l1))
    assert result.fun < 0.9 * p.network().cost(p.X, p.Y, weight_decay=0.05, l1=l1)
    if l1:
        free = p.network()
        fastbp.minimize(free, p.X, p.Y, weight_decay=[0.05])
        assert np.abs(net.Theta[0][:, 1:]).sum() < 0.9 * np.abs(free.Theta[0][:, 1:]).sum()


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_train_takes_every_penalty_and_clipping(batch_size):
    p, net = problem(m=24), problem(m=24).network()
    options = {"l1": 0.01, "clip_value": 0.1, "clip_norm": 0.3}
    history = fastbp.train(
        net, p.X, p.Y, optimizer=fastbp.SGD(0.2), epochs=3, batch_size=batch_size, shuffle=False,
        weight_decay=(0.1, 0.2), **options,
    )  # fmt: skip
    theta, J = oracle.train(
        p.model, p.theta.astype(np.longdouble), p.X, p.Y, oracle.SGD(0.2), epochs=3, batch_size=batch_size,
        c=(0.1, 0.2), **options,
    )  # fmt: skip
    assert distance(net.theta, theta) < tolerance(float, "training")
    np.testing.assert_allclose(history.J, J, rtol=1e-12)


class Seeing:
    """An optimizer that only looks"""

    def init(self, theta):
        return {}

    def update(self, theta, D, state):
        self.D = D.copy()


def seen(p, **options):
    rule = Seeing()
    fastbp.Trainer(p.network(), rule, **options).step(p.X, p.Y)
    return rule.D


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping_cuts_what_is_too_large_and_nothing_else(dtype):
    p = problem(dtype=dtype)
    plain = seen(p)
    middle, norm = float(np.median(np.abs(plain))), float(np.linalg.norm(plain))
    cut = seen(p, clip_value=middle)
    np.testing.assert_array_equal(cut, np.clip(plain, -middle, middle))
    assert (cut != plain).any()
    shorter = seen(p, clip_norm=norm / 3)
    assert np.linalg.norm(shorter) == pytest.approx(norm / 3, rel=1e-6)
    assert distance(3 * shorter, plain) < tolerance(dtype)
    np.testing.assert_array_equal(seen(p, clip_norm=2 * norm, clip_value=1e3), plain)


def test_one_step_of_plain_descent_shows_the_clipped_d():
    """Compiled: theta - alpha D"""
    p = problem()
    for options in ({"clip_value": 0.01}, {"clip_norm": 0.05}, {"clip_value": 0.01, "clip_norm": 0.05, "l1": 0.1}):
        going = fastbp.Trainer(p.network(), fastbp.SGD(1.0), **options)
        going.step(p.X, p.Y)
        assert distance(p.theta - going.net.theta, seen(p, **options)) < 1e-13


def test_settings_may_change_between_steps_and_bad_ones_are_refused():
    p = problem(m=20)
    stepped, whole = (fastbp.Trainer(p.network(), fastbp.SGD(0.1)) for _ in range(2))
    for name, value in (
        ("weight_decay", (0.1, 0.2)), ("l1", 0.1), ("batch_lam", 2.0), ("clip_value", 0.05), ("clip_norm", 0.1),
        ("clip_value", None), ("clip_norm", None), ("weight_decay", 0.0), ("l1", 0.0), ("batch_lam", 0.0),
    ):  # fmt: skip
        for each in (stepped, whole):
            setattr(each, name, value)
        assert getattr(stepped, name) == value
        assert stepped.step(p.X, p.Y) == pytest.approx(whole.epoch(p.X, p.Y, batch_size=None), rel=1e-14)
        np.testing.assert_array_equal(stepped.net.theta, whole.net.theta)
    for name in ("weight_decay", "l1", "batch_lam", "clip_value", "clip_norm"):
        before = getattr(stepped, name)
        refused(lambda name=name: setattr(stepped, name, -1), name, "-1")
        assert getattr(stepped, name) == before


@pytest.mark.parametrize("scale", [1.0, 2.0**200])
def test_batch_lam_is_divided_by_the_batchs_own_weight(scale):
    """lam / m_b as in scikit-learn, for weights of any size"""
    p = problem(m=20)
    by_batch = fastbp.Trainer(p.network(), fastbp.SGD(0.1), batch_lam=0.5 * scale)
    by_c = fastbp.Trainer(p.network(), fastbp.SGD(0.1))
    for rows in (slice(0, 8), slice(8, 20)):
        by_c.weight_decay = 0.5 / p.weights[rows].sum()
        J = by_c.step(p.X[rows], p.Y[rows], p.weights[rows])
        assert by_batch.step(p.X[rows], p.Y[rows], scale * p.weights[rows]) == pytest.approx(J, rel=1e-13)
    assert distance(by_batch.net.theta, by_c.net.theta) < 1e-13


# ---------------------------------------------------------------- bad settings


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "a", None, [0.1], 1j])
@pytest.mark.parametrize("function", PENALISED)
def test_bad_l1_is_refused(function, value):
    net = CHECKED.network()
    refused(lambda: PENALISED[function](net, l1=value), "l1")
    assert net.theta.tobytes() == CHECKED.theta.tobytes()


@pytest.mark.parametrize(
    ("value", "pattern"),
    [([0.1], "2"), ((0.1, 0.2, 0.3), "3"), ([], "0"), ([0.1, -1], r"weight_decay\[1\]"), ([np.nan, 0], r"\[0\]"),
     (["a", 0.1], r"\[0\]"), (np.ones((2, 2)), r"\[0\]")],
)  # fmt: skip
@pytest.mark.parametrize("function", PENALISED)
def test_bad_weight_decay_per_theta_is_refused(function, value, pattern):
    net = CHECKED.network()
    refused(lambda: PENALISED[function](net, weight_decay=value), "weight_decay", pattern)
    assert net.theta.tobytes() == CHECKED.theta.tobytes()


@pytest.mark.parametrize("value", [0, -0.1, np.nan, np.inf, "a", True, [0.1]])
@pytest.mark.parametrize("name", ["clip_value", "clip_norm"])
def test_bad_clipping_is_refused(name, value):
    net = CHECKED.network()
    refused(lambda: fastbp.train(net, CHECKED.X, CHECKED.Y, epochs=1, **{name: value}), name)
    refused(lambda: fastbp.Trainer(net, **{name: value}), name)
    assert net.theta.tobytes() == CHECKED.theta.tobytes()
