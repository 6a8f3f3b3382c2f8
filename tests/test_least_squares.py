"""minimize(method="lm") on several ranks, and the arguments it refuses."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from communicators import all_of
from helpers import problem
from test_lm import noisy, sine, start

import fastbp
from fastbp import distributed
from fastbp.distributed.group import Group
from fastbp.engine import memory, normal
from fastbp.second_order import lm

PAGE = Path(__file__).parent.parent / "docs" / "matlab.md"

# ---------------------------------------------------------------- ranks


@pytest.mark.parametrize("cholesky", [False, True])
def test_ranks_find_what_one_machine_finds_with_one_sum_a_step(cholesky, monkeypatch):
    if cholesky:
        monkeypatch.setattr(lm, "SMALL", 0)
    p = problem((2, 5, 2), "tanh", "softmax", "cross_entropy", m=50)
    settings = {"method": "lm", "weight_decay": 0.01, "maxiter": 12}
    alone = p.network()
    expected = fastbp.minimize(alone, p.X, p.labels, validation_data=(p.X[:9], p.labels[:9]), **settings)

    def on_rank(comm):
        net, own, held = p.network(), distributed.rows(50, comm), distributed.rows(9, comm)
        result = fastbp.minimize(net, p.X[own], p.labels[own], comm=comm,
                                 validation_data=(p.X[:9][held], p.labels[:9][held]), **settings)
        return net.theta.copy(), result

    for ranks in (1, 2, 3):
        results = all_of(ranks, on_rank)
        for theta, result in results:
            np.testing.assert_array_equal(theta, results[0][0])
            np.testing.assert_allclose(theta, alone.theta, rtol=1e-7)
            assert result.fun == pytest.approx(expected.fun, rel=1e-10)
            assert result.val_J == pytest.approx(expected.val_J, rel=1e-10)


def test_as_many_parts_give_the_same_bits_on_1_2_and_4_ranks():
    X, Y = noisy()

    def on_rank(comm):
        group, net = Group(comm, parts=4), start()
        own = distributed.rows(len(X), group)
        fastbp.minimize(net, X[own], Y[own], method="lm", comm=group, maxiter=20, bayesian=True)
        return net.theta.tobytes()

    assert len({theta for p in (1, 2, 4) for theta in all_of(p, on_rank)}) == 1


def test_ranks_without_rows_take_part_and_ranks_that_differ_are_told():
    X, Y = noisy()

    def on_rank(comm):
        net, own = start(), slice(0, len(X)) if comm.Get_rank() == 1 else slice(0, 0)
        fastbp.minimize(net, X[own], Y[own], method="lm", comm=comm, maxiter=5)
        return net.theta.copy()

    alone = start()
    fastbp.minimize(alone, X, Y, method="lm", maxiter=5)
    for theta in all_of(3, on_rank):
        np.testing.assert_allclose(theta, alone.theta, rtol=1e-7)

    def differ(comm):
        with pytest.raises(ValueError, match="the ranks differ in max_fail"):
            fastbp.minimize(start(), X, Y, method="lm", comm=comm, max_fail=5 + comm.Get_rank())
        return True

    assert all(all_of(2, differ))


# ---------------------------------------------------------------- the page for MATLAB's users


@pytest.mark.skipif(not PAGE.is_file(), reason="no docs beside the tests")
def test_sessions_of_the_page_for_matlab_answer_as_shown():
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert attempted > 10
    assert failed == 0


@pytest.mark.skipif(not PAGE.is_file(), reason="no docs beside the tests")
@pytest.mark.parametrize("page", sorted(PAGE.parent.glob("*.md")), ids=lambda page: page.name)
def test_fault_79_sessions_of_the_pages_stand_between_fences(page):
    """Outside code Markdown shows >>> as a triple quotation"""
    blocks = page.read_text(encoding="utf-8").split("```")
    assert not [line for text in blocks[::2] for line in text.splitlines() if line.startswith(">>> ")]


def test_a_network_of_matlab_becomes_one_of_fastbp():
    """Weights with mapminmax, imported by the code of the page, against MATLAB's formula"""
    rng = np.random.default_rng(0)
    IW11, b1, LW21, b2 = (rng.standard_normal(shape) for shape in [(4, 3), (4, 1), (2, 4), (2, 1)])
    g, o, G, O = (rng.uniform(0.5, 2, (n, 1)) for n in (3, 3, 2, 2))
    X = rng.standard_normal((5, 3))
    mapped = g * (X.T - o) - 1
    expected = ((LW21 @ np.tanh(IW11 @ mapped + b1) + b2) + 1) / G + O
    net = fastbp.Network([3, 4, 2], activation="tanh", output="identity")
    names = {"net": net, "IW11": IW11, "b1": b1, "LW21": LW21, "b2": b2, "g": g, "o": o, "G": G, "O": O}
    code = [line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("net.Theta")]
    assert len(code) == 6       # the weights, then the mapping folded into them
    exec("\n".join(code), names)
    np.testing.assert_allclose(net.predict(X).T, expected, rtol=1e-12)


# ---------------------------------------------------------------- refused arguments


@pytest.mark.parametrize(("settings", "error", "said"), [
    ({"l1": 0.1}, ValueError, "l1 has kinks"), ({"max_fail": 0}, ValueError, "max_fail"),
    ({"options": {"ftol": 1}}, ValueError, "options of method 'lm' are mu, scaling; got ftol"),
    ({"options": {"mu": 0}}, ValueError, r"options\['mu'\]"), ({"options": {"scaling": 3}}, ValueError, "scaling"),
    ({"bayesian": 1}, TypeError, "bayesian must be True or False"),
    ({"decay_bias": True}, ValueError, "decay_bias goes with bayesian=True"),
    ({"bayesian": True, "decay_bias": False}, ValueError, "decay_bias=False with a hidden layer has an improper"),
    ({"bayesian": True, "decay_bias": 3}, TypeError, "decay_bias"),
    ({"bayesian": True, "weight_decay": 0.1}, ValueError, "weight_decay and lam are chosen by bayesian=True"),
    ({"bayesian": True, "lam": 0.1}, ValueError, "weight_decay and lam are chosen"),
    ({"validation_data": 3}, TypeError, "validation_data must be"), ({"maxiter": 0}, ValueError, "maxiter"),
    ({"validation_data": ([[1.0, 2]], [1.0])}, ValueError, "validation_data X has 2 columns"),
    ({"n_threads": 0}, ValueError, "n_threads"), ({"free": []}, ValueError, "free leaves no parameter"),
])
def test_bad_settings_are_named_and_nothing_has_changed(settings, error, said):
    X, Y = sine()
    net = start()
    with pytest.raises(error, match=said):
        fastbp.minimize(net, X, Y, method="lm", **settings)
    np.testing.assert_array_equal(net.theta, start().theta)


@pytest.mark.parametrize("settings", [
    {"bayesian": True}, {"decay_bias": False}, {"max_fail": 3}, {"validation_data": ([[1.0]], [1.0])},
])
def test_what_belongs_to_lm_alone_is_refused_elsewhere(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} goes with method='lm'; method is 'CG'"):
        fastbp.minimize(start(), *sine(), method="CG", **settings)


def test_losses_that_it_cannot_take_are_named():
    X, Y = sine()
    for loss in ("absolute_error", "quantile"):
        with pytest.raises(ValueError, match=f"loss '{loss}' has no curvature"):
            fastbp.minimize(fastbp.Network([1, 1], loss=loss), X, Y, method="lm")
    with pytest.raises(ValueError, match="bayesian=True needs the loss squared_error; the network has 'huber'"):
        fastbp.minimize(fastbp.Network([1, 1], loss="huber"), X, Y, method="lm", bayesian=True)
    one = fastbp.Network([1, 1], output="identity")
    with pytest.raises(ValueError, match="bayesian=True needs a free parameter that decays"):
        fastbp.minimize(one, X, Y, method="lm", bayesian=True, free=np.array([True, False]))


def test_more_memory_than_the_machine_has_is_refused_before_anything(monkeypatch):
    net = fastbp.Network([5000, 4000, 1], activation="tanh", output="identity", seed=0)
    with pytest.raises(ValueError, match=r"method 'lm' holds 2 matrices of n_parameters\^2 .* this machine has"):
        fastbp.minimize(net, np.ones((2, 5000)), [1.0, 2], method="lm")
    monkeypatch.setattr(memory, "machine", lambda: 1000.0)
    monkeypatch.setattr(normal, "CHECKED", 1)
    with pytest.raises(ValueError, match="for 16 free parameters"):
        fastbp.minimize(start(), *sine(), method="lm")


@pytest.mark.parametrize("name", ["LM", "trainlm", "levenberg-marquardt", "Levenberg_Marquardt"])
def test_it_has_its_other_names_too(name):
    net, twin = start(), start()
    fastbp.minimize(net, *sine(), method=name, maxiter=2)
    fastbp.minimize(twin, *sine(), method="lm", maxiter=2)
    np.testing.assert_array_equal(net.theta, twin.theta)
