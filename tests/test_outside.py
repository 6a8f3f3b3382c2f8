"""Losses from outside: z(L), D and dJ/dX for the caller's G, against the textbook in long double."""

import re
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from helpers import DTYPES, NAMES, distance, problem, tolerance
from reference import ACTIVATIONS, OUTPUTS, PAIRS, flat, with_bias

import fastbp
from fastbp.engine import outside, sums

SIZES = [(3, 1), (3, 2), (4, 7, 3), (1, 1, 2), (5, 9, 33, 4, 6), (17, 64, 5)]
HEIGHTS = [0, 1, 2, 5, 15, 16, 17, 31, 33, 64, 65, 130]


def jacobian_of_output(model, z, h):
    """dh/dz of each example, (m, K, K)"""
    if model.output == "softmax":   # 1 - h_k is the sum of the others, with all its digits
        others = 1 - np.eye(h.shape[1])
        return np.einsum("mk,kj->mkj", h * (h @ others), np.eye(h.shape[1])) - np.einsum("mk,mj,kj->mkj", h, h, others)
    return np.einsum("mk,kj->mkj", OUTPUTS[model.output][1](z), np.eye(h.shape[1]))


def exact(p, G, wrt="z", factors=None):
    """z(L), D and dJ/dX of the textbook in long double"""
    model, theta, X = p.model, p.theta.astype(np.longdouble), p.X.astype(np.longdouble)
    z, a = model.forward(theta, X, factors)
    if factors is not None:
        a = [a_l * factor for a_l, factor in zip(a, factors, strict=False)]
    delta, Theta, D = G.astype(np.longdouble), model.Theta(theta), []
    if wrt == "h":
        delta = np.einsum("mk,mkj->mj", delta, jacobian_of_output(model, z[-1], a[-1]))
    for l in range(len(Theta) - 1, -1, -1):
        D.insert(0, delta.T @ with_bias(a[l]))
        delta = (delta @ Theta[l])[:, 1:]
        if l:
            delta = delta * ACTIVATIONS[model.hidden[l - 1]][1](z[l - 1])
        if factors is not None:
            delta = delta * factors[l]
    return z[-1], flat(D), delta


def given(p, seed=1):
    """Some G (m, K)"""
    return np.random.default_rng(seed).standard_normal((len(p.X), p.model.sizes[-1])).astype(p.theta.dtype)


def check(p, wrt, limit=3):
    net, G = p.network(), given(p)
    z, D, dX = exact(p, G, wrt)
    found, slopes = net.backward(p.X, G, wrt=wrt, inputs=True)
    bound = limit * tolerance(p.theta.dtype)
    assert distance(net.forward(p.X), z) < bound
    assert distance(found, D) < bound
    assert distance(slopes, dX) < bound
    assert found.dtype == slopes.dtype == net.forward(p.X).dtype == net.dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrt", ["z", "h"])
@pytest.mark.parametrize("pair", PAIRS)
def test_backward_is_the_textbooks_for_every_output(pair, wrt, dtype):
    for sizes in SIZES:
        if pair[0] != "softmax" or sizes[-1] > 1:
            check(problem(sizes, "tanh", *pair, m=9, dtype=dtype), wrt)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_backward_is_the_textbooks_for_every_activation(name, dtype):
    for m in (1, 7, 40):
        check(problem((4, 8, 11, 3), name, "identity", "squared_error", m=m, dtype=dtype), "z")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", HEIGHTS)
def test_backward_is_the_textbooks_for_any_number_of_examples(m, dtype):
    for sizes in SIZES[1:]:
        check(problem(sizes, "sigmoid", "softmax", m=m, dtype=dtype), "h")


def random_problem(seed):
    rng = np.random.default_rng(seed)
    sizes = [int(rng.integers(1, 40)) for _ in range(rng.integers(2, 6))]
    pair = PAIRS[rng.integers(len(PAIRS))]
    if pair[0] == "softmax" and sizes[-1] == 1:
        sizes[-1] = 2
    hidden = [NAMES[rng.integers(len(NAMES))] for _ in sizes[2:]]
    return problem(sizes, hidden, *pair, m=int(rng.integers(1, 80)), dtype=DTYPES[seed % 2], seed=seed)


@pytest.mark.parametrize("part", range(10))
def test_backward_of_500_random_networks(part):
    for seed in range(50 * part, 50 * part + 50):
        check(random_problem(seed), "zh"[seed // 2 % 2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("z", [1.0, 10.0, 20.0, 36.0, 80.0, -10.0, -80.0])
@pytest.mark.parametrize("output", ["sigmoid", "tanh", "softmax", "exp"])
def test_slopes_of_h_keep_their_digits_where_units_saturate(output, z, dtype):
    net = fastbp.Network([1, 2], output=output, init=np.array([z, 0, -z, 0]), dtype=dtype)
    Z = np.array([[z, -z]], np.longdouble)
    model = problem((1, 2), "tanh", output, net.loss).model
    for G in ([1.0, 0.0], [0.25, -2.0]):
        expected = np.array(G, np.longdouble) @ jacobian_of_output(model, Z, OUTPUTS[output][0](Z))[0]
        found = net.backward(np.zeros((1, 1)), np.array([G]), wrt="h").reshape(2, 2)[:, 0]
        bound = 30 * np.finfo(dtype).eps * np.abs(expected).max() + np.finfo(dtype).tiny
        assert np.abs(found - expected).max() <= bound


def test_a_slope_of_0_stays_0_where_h_is_infinite():
    net = fastbp.Network([1, 2], output="exp", init=np.array([800.0, 0, 0, 0]))
    assert net.backward(np.zeros((3, 1)), np.tile([0.0, 1.0], (3, 1)), wrt="h").tolist() == [0, 0, 3, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 40, 700, 3000])
def test_the_number_of_threads_and_the_way_of_a_call_change_no_bit(m, dtype, monkeypatch):
    p = problem((6, 20, 4), "gelu", "softmax", m=m, dtype=dtype)
    net, G = p.network(), given(p)
    z, (D, dX) = net.forward(p.X), net.backward(p.X, G, inputs=True)
    monkeypatch.setattr(sums, "FEW", 0)
    monkeypatch.setattr(outside.threads, "members", lambda n_threads, *_: n_threads or 3)
    for X in (p.X, p.X.tolist()):       # lists take the way of many examples
        for n in (1, 2, 3):
            again, slopes = net.backward(X, G, inputs=True, n_threads=n)
            assert net.forward(X, n_threads=n).tobytes() == z.tobytes()
            assert (again.tobytes(), slopes.tobytes()) == (D.tobytes(), dX.tobytes())


def test_backward_of_a_large_network():
    """Blocks have 512 examples, and layers are computed in parts"""
    p = problem((30, 9000, 31, 2), "tanh", "identity", "squared_error", m=9, dtype=np.float32)
    check(p, "z", 10)


def test_one_example_may_be_a_row():
    p = problem((4, 7, 3), m=1)
    net, G = p.network(), given(p)
    D, dX = net.backward(p.X, G, inputs=True)
    for X, g in ((p.X[0], G[0]), (p.X[0].tolist(), G[0].tolist())):
        row, slopes = net.backward(X, g, inputs=True)
        assert (net.forward(X) == net.forward(p.X)[0]).all()
        assert (row == D).all()
        assert (slopes == dX[0]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_takes_what_numpy_can_convert(dtype):
    p = problem((4, 7, 3), m=12, dtype=dtype)
    net, X, G = p.network(), np.round(4 * p.X), np.round(4 * given(p))
    D = net.backward(X, G)
    for other in (X.astype(int), X.tolist(), np.asfortranarray(X), np.repeat(X, 2, 1)[:, ::2], X.astype(np.float16)):
        for slopes in (G.astype(np.int8), G.tolist(), np.asfortranarray(G), G.astype(">f8"), G[::-1][::-1]):
            assert (net.backward(other, slopes) == D).all()


def test_out_receives_D():
    p = problem(m=8)
    net, G = p.network(), given(p)
    D, out = net.backward(p.X, G), np.full(net.n_parameters, np.nan)
    assert net.backward(p.X, G, out=out) is out
    assert (out == D).all()
    out[:] = 0
    assert net.backward(p.X.tolist(), G, out=out, inputs=True)[0] is out
    assert (out == D).all()


BAD = {
    "G of another height": ("G", {"G": np.zeros((7, 3))}), "G of another width": ("G", {"G": np.zeros((8, 2))}),
    "flat G": ("G", {"G": np.zeros(24)}), "G with NaN": (r"G.*NaN.*G\[3, 1\]", {"G": "nan"}),
    "G with infinity": ("G.*infinity", {"G": "inf"}), "complex G": ("G", {"G": np.zeros((8, 3), complex)}),
    "G of words": ("G", {"G": [["a"] * 3] * 8}), "no G": ("G", {"G": None}), "G of objects": (
        "G", {"G": np.full((8, 3), object())}), "masked G": ("G", {"G": np.ma.masked_all((8, 3))}),
    "X of another width": ("X", {"X": np.zeros((8, 4))}), "X with NaN": ("X", {"X": np.full((8, 5), np.nan)}),
    "wrt y": ("wrt", {"wrt": "y"}), "wrt an array": ("wrt", {"wrt": np.zeros(2)}), "wrt None": ("wrt", {"wrt": None}),
    "inputs 2": ("inputs", {"inputs": 2}), "short out": ("out", {"out": np.zeros(3)}), "out of float32": (
        "out", {"out": np.zeros(66, np.float32)}), "out a list": ("out", {"out": [0.0] * 66}), "frozen out": (
        "out", {"out": "frozen"}), "theta as out": ("out", {"out": "theta"}), "a part of theta as out": (
        "out", {"out": "view of theta"}), "no threads": ("n_threads", {"n_threads": 0}),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_of_backward_are_named_and_change_nothing(what):
    p = problem((5, 7, 3), m=8)
    pattern, wrong = BAD[what]
    net, G = p.network(), given(p)
    if wrong.get("G") is not None and isinstance(wrong["G"], str):
        G[3, 1] = float(wrong["G"])
        wrong = {}
    out = wrong.get("out")
    if isinstance(out, str):
        frozen = np.zeros(66)
        frozen.setflags(write=False)
        wrong = {"out": {"frozen": frozen, "theta": net.theta, "view of theta": net.theta[:]}[out]}
    before = (net.theta.tobytes(), p.copies())
    with pytest.raises((ValueError, TypeError), match=pattern):
        net.backward(**{"X": p.X, "G": G, **wrong})
    assert (net.theta.tobytes(), p.copies()) == before


def test_a_theta_that_is_not_finite_is_named():
    p = problem(m=4)
    net = p.network()
    net.Theta[0][0, 0] = np.nan
    for call in (lambda: net.forward(p.X), lambda: net.backward(p.X, given(p))):
        with pytest.raises(ValueError, match=r"net\.theta contains NaN"):
            call()


def test_the_page_on_losses_of_your_own_runs(tmp_path, monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "your_own_loss.md"
    if not page.is_file():
        pytest.skip("the page belongs to the source tree")
    monkeypatch.chdir(tmp_path)     # one program compiles C
    names = {}
    programs = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(programs) >= 4
    for program in programs:
        if ("numba import" in program and find_spec("numba") is None) or ("gcc" in program and not which("gcc")):
            continue
        exec(compile(program, str(page), "exec"), names)
    assert names["codes"].shape == (200, 2)
