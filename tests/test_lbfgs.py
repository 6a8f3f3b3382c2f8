"""L-BFGS in compiled code: its iterates, limits and messages are SciPy's."""

import signal
import threading
import time

import numpy as np
import pytest
from helpers import DTYPES, NAMES, distance, problem
from reference import PAIRS
from scipy.optimize import minimize as scipy_minimize

import fastbp
from fastbp._lbfgs import Search
from fastbp.training import lbfgs


def iterates(net, *arguments, method, **settings):
    """(every x of a search, its result)"""
    seen = []
    result = fastbp.minimize(net, *arguments, method=method, callback=lambda x: seen.append(x.copy()), **settings)
    return seen, result


# ---------------------------------------------------------------- the same as SciPy's


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_ten_iterations_are_scipys(activation, dtype, decay):
    p = problem((3, 6, 4, 2), activation, m=40, dtype=dtype)
    ours, found = iterates(p.network(), p.X, p.Y, method="L-BFGS", weight_decay=decay, maxiter=10)
    theirs, expected = iterates(p.network(), p.X, p.Y, method="L-BFGS-B", weight_decay=decay, maxiter=10)
    assert len(ours) == len(theirs) == 10
    assert max(map(distance, ours, theirs)) < 1e-8
    assert (found.nit, found.nfev, found.status, found.message, found.success) == (
        expected.nit, expected.nfev, expected.status, expected.message, expected.success)
    assert distance(found.jac, expected.jac) < 1e-6
    assert found.fun == pytest.approx(expected.fun, rel=1e-9)
    probe = np.linspace(-1, 1, len(found.x))
    assert distance(found.hess_inv @ probe, expected.hess_inv @ probe) < 1e-5


@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_loss_is_searched_like_scipys(output, loss, weighted):
    p = problem((4, 5, 3), output=output, loss=loss, m=30)
    settings = {"maxiter": 8, "sample_weight": p.weights if weighted else None, "l1": 0.01}
    ours, _ = iterates(p.network(), p.X, p.Y, method="L-BFGS", **settings)
    theirs, _ = iterates(p.network(), p.X, p.Y, method="L-BFGS-B", **settings)
    assert max(map(distance, ours, theirs)) < 1e-8


def valley(x):
    """Rosenbrock's function of many variables, and its gradient"""
    a, b = x[:-1], x[1:]
    g = np.zeros_like(x)
    g[:-1] = -400 * a * (b - a * a) - 2 * (1 - a)
    g[1:] += 200 * (b - a * a)
    return float((100 * (b - a * a) ** 2 + (1 - a) ** 2).sum()), g


def waves(x):
    """A function with many local minima: steps that lower f too little, and slopes of both signs"""
    k = np.arange(1, len(x) + 1)
    return float((np.sin(k * x) + 0.05 * x * x).sum()), k * np.cos(k * x) + 0.1 * x


def kink(x):
    """The slope jumps, so line searches fail"""
    return float(np.abs(x).sum() + 0.1 * (x * x).sum()), np.sign(x) + 0.2 * x


@pytest.mark.parametrize("f", [valley, waves, kink])
@pytest.mark.parametrize("maxls", [20, 3])
def test_foreign_functions_are_searched_like_scipys(f, maxls):
    """All cases of the line search, and searches restarted along -g"""
    for seed in range(20):
        x0 = np.random.default_rng(seed).uniform(-3, 3, 5)
        theirs = []
        expected = scipy_minimize(f, x0, jac=True, method="L-BFGS-B", callback=lambda x, t=theirs: t.append(x.copy()),
                                  options={"maxiter": 15, "maxls": maxls})
        settings = lbfgs.options({"maxls": maxls}, None)
        ours, search = [], lbfgs.LBFGS(x0, f, {**settings, "maxiter": 15})
        found = search.finish(lambda x, t=ours: t.append(x.copy()))
        for one, other in list(zip(ours, theirs, strict=False))[:10]:
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)
        if f is not kink:       # there rounding decides which search fails
            assert (found.nit, found.nfev, found.message) == (expected.nit, expected.nfev, expected.message)


# ---------------------------------------------------------------- the ways to compute J and D


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("free", [None, [2], "mask"])
def test_compiled_values_have_the_bits_of_calls(dtype, free, monkeypatch):
    p = problem((3, 6, 2), m=50, dtype=dtype)
    mask = np.arange(len(p.theta)) % 3 > 0 if free == "mask" else free
    settings = {"method": "L-BFGS", "free": mask, "weight_decay": 0.01, "sample_weight": p.weights, "maxiter": 30}
    one, two = p.network(), p.network()
    compiled = fastbp.minimize(one, p.X, p.Y, **settings)
    monkeypatch.setattr(lbfgs.LBFGS, "compile", lambda self, *arguments: None)
    called = fastbp.minimize(two, p.X, p.Y, **settings)
    assert one.theta.tobytes() == two.theta.tobytes()
    assert compiled.x.tobytes() == called.x.tobytes()
    assert (compiled.nit, compiled.nfev, compiled.fun) == (called.nit, called.nfev, called.fun)
    if free is not None:
        kept = ~(mask if free == "mask" else np.arange(len(p.theta)) >= 24)
        assert (one.theta[kept] == p.theta[kept]).all()
        assert (one.theta[~kept] != p.theta[~kept]).any()


def test_many_examples_are_searched_too():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20_000, 20)), rng.standard_normal((20_000, 3))
    one = fastbp.Network([20, 40, 3], loss="squared_error", seed=0)
    two = one.copy()
    found = fastbp.minimize(one, X, Y, method="L-BFGS", maxiter=4)
    expected = fastbp.minimize(two, X, Y, method="L-BFGS-B", maxiter=4)
    assert distance(found.x, expected.x) < 1e-8
    assert one.theta.tobytes() == found.x.tobytes()


def test_a_step_into_what_is_not_finite_is_shortened():
    """SciPy continues with NaN there"""
    p = problem((2, 3), output="exp", loss="poisson", m=20, dtype=np.float32)
    net = p.network()
    net.theta[:] = 0
    X, Y = p.X * 500, p.Y           # the first step makes exp(z) infinite
    costs = [net.cost(X, Y)]

    def report(intermediate_result):
        costs.append(intermediate_result.fun)

    result = fastbp.minimize(net, X, Y, method="L-BFGS", maxiter=50, callback=report)
    assert result.nfev > result.nit + 1
    assert (np.diff(costs) <= 0).all()
    assert costs[-1] < costs[0]
    assert result.fun == pytest.approx(net.cost(X, Y))


def test_a_beginning_that_is_not_finite_is_the_end():
    p = problem((2, 3), output="exp", loss="poisson", m=20, dtype=np.float32)
    net = p.network()
    result = fastbp.minimize(net, p.X * 800, p.Y, method="L-BFGS")
    assert (result.success, result.nit, result.message) == (False, 0, "ABNORMAL: ")
    assert (net.theta == p.theta).all()


def wall(x):
    """A function that falls towards 1 and is not finite from there on"""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(-np.sqrt(1 - x[0]) * 0 - x[0]) if x[0] < 1 else np.nan, np.array([-1.0])


def test_a_wall_is_approached_but_never_reached():
    search = lbfgs.LBFGS(np.zeros(1), wall, {**lbfgs.OPTIONS, "maxiter": 30})
    result = search.finish(None)
    assert np.isfinite(result.fun)
    assert 0.9 < result.x[0] < 1


# ---------------------------------------------------------------- ends


def test_it_ends_as_scipy_does():
    p = problem((3, 5, 2), m=20)
    for settings in ({"maxiter": 3}, {"options": {"maxfun": 5}}, {"tol": 0.05}, {"options": {"gtol": 10.0}},
                     {"options": {"ftol": 1e-3}}, {"options": {"maxcor": 1}, "maxiter": 9},
                     {"options": {"maxiter": 2}, "maxiter": 7}):
        found = fastbp.minimize(p.network(), p.X, p.Y, method="L-BFGS", **settings)
        expected = fastbp.minimize(p.network(), p.X, p.Y, method="L-BFGS-B", **settings)
        assert (found.nit, found.nfev, found.status, found.message) == (
            expected.nit, expected.nfev, expected.status, expected.message), settings


def test_callbacks_are_called_as_scipy_calls_them():
    p, seen = problem(m=20), []

    def halt(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 3:
            raise StopIteration

    net = p.network()
    result = fastbp.minimize(net, p.X, p.Y, method="L-BFGS", callback=halt)
    assert (result.nit, len(seen), result.success, result.message) == (3, 3, False, lbfgs.HALTED)
    assert seen[-1].x.tobytes() == net.theta.tobytes()
    assert seen[-1].fun == result.fun

    def fail(x):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        fastbp.minimize(p.network(), p.X, p.Y, method="L-BFGS", callback=fail)


def test_ctrl_c_leaves_the_last_iteration():
    """Compiled code looks for it every 20 ms"""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((1000, 20)), rng.standard_normal((1000, 2))
    net = fastbp.Network([20, 60, 2], loss="squared_error", seed=0)
    before = net.cost(X, Y)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    start = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            fastbp.minimize(net, X, Y, method="L-BFGS", maxiter=10**7, options={"ftol": 0.0, "gtol": 0.0,
                                                                               "maxfun": 10**8})
    finally:
        timer.join()
    assert time.perf_counter() - start < 5
    assert net.cost(X, Y) < before


@pytest.mark.parametrize(("settings", "error", "said"), [
    ({"options": {"maxcorr": 5}}, ValueError, "options of method L-BFGS are maxiter, maxcor"),
    ({"options": {"maxcor": 0}}, ValueError, r"options\['maxcor'\]"),
    ({"options": {"maxls": 2.5}}, (ValueError, TypeError), r"options\['maxls'\]"),
    ({"options": {"ftol": -1.0}}, ValueError, r"options\['ftol'\]"),
    ({"options": {"gtol": np.nan}}, ValueError, r"options\['gtol'\]"),
    ({"options": {"maxiter": "3"}}, (ValueError, TypeError), r"options\['maxiter'\]"),
])
def test_bad_options_are_named(settings, error, said):
    p = problem()
    net = p.network()
    with pytest.raises(error, match=said):
        fastbp.minimize(net, p.X, p.Y, method="L-BFGS", **settings)
    assert (net.theta == p.theta).all()


# ---------------------------------------------------------------- the compiled class


def test_values_are_told_in_turn():
    search = Search(np.ones(2), 3, 0.0, 0.0, 20)
    with pytest.raises(RuntimeError, match="no network is attached"):
        search.run(1.0, 5, 5)
    assert search.tell(1.0, np.array([1.0, 0.5])) == 0
    f = 1.0
    while (status := search.tell(f := f / 2, np.array([0.1, 0.05]))) == 0:
        pass
    assert status == 1
    with pytest.raises(RuntimeError, match="no value is wanted"):
        search.tell(f, np.array([0.1, 0.05]))
    assert search.go_on() == 0
    with pytest.raises(ValueError, match="what must be"):
        search.read("z", np.empty(2))


def test_a_network_that_is_attached_must_fit():
    p = problem((3, 4, 2), m=9)
    net = p.network()
    data = net.data(p.X, p.Y)
    theta, plan = np.array(net.theta), net.plan

    def attach(*, n=None, places=None, height=64, c=(0.0, 0.0), most=np.inf, examples=None):
        search = Search(np.zeros(n or len(theta)), 3, 0.0, 0.0, 20)
        search.attach(plan.code, theta, places, examples or data.examples(), height, 9.0, c, 0.0, most)
        return search.run(1.0, 1, 9)

    assert attach() == 1
    wide = problem((4, 4, 2), m=9)
    for bad in ({"n": 3}, {"n": 2, "places": np.array([0, len(theta)])}, {"height": 3}, {"c": (0.0,)},
                {"c": [0.0, 0.0]}, {"examples": wide.network().data(wide.X, wide.Y).examples()}, {"examples": 3}):
        with pytest.raises((ValueError, TypeError)):
            attach(**bad)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 31, 511, 512, 513, 700])
def test_vectors_of_every_length_go_the_way_of_scipy_and_come_back_whole(n):
    """Short vectors are summed by a loop over groups of 8, long ones by BLAS"""
    rng = np.random.default_rng(n)
    scale, goal = rng.uniform(0.5, 20, n), rng.standard_normal(n)

    def value(x):
        e = x - goal
        return float(0.5 * scale @ e**2 + 0.1 * np.cos(e).sum()), scale * e - 0.1 * np.sin(e)

    settings = lbfgs.options({"maxiter": 8, "ftol": 0, "gtol": 0}, None)
    search = lbfgs.LBFGS(np.zeros(n), value, settings)
    result = search.finish(None)
    expected = scipy_minimize(value, np.zeros(n), jac=True, method="L-BFGS-B",
                              options={"maxiter": 8, "ftol": 0, "gtol": 0})
    np.testing.assert_allclose(result.x, expected.x, rtol=1e-8, atol=1e-10)
    S, Y, rho = search.read("S"), search.read("Y"), np.empty(search.search.pairs)
    search.search.read("rho", rho)
    np.testing.assert_allclose(rho, 1 / np.einsum("pn,pn->p", S, Y), rtol=1e-6)
    twin = Search(result.x, 10, 0.0, 0.0, 20)
    twin.load(S.ravel(), Y.ravel(), rho, search.search.gamma, 8)
    for name, rows in (("S", S), ("Y", Y)):
        again = np.empty(rows.size)
        twin.read(name, again)
        np.testing.assert_array_equal(again, rows.ravel())


def test_fault_191_a_search_whose_time_is_up_between_two_iterations_goes_on(monkeypatch):
    """At that moment the pair of the iteration is kept, and the next iteration has not begun"""
    p = problem((3, 6, 4, 2), m=40)
    net, twin, advance = p.network(), p.network(), lbfgs.LBFGS.advance

    def stops_there(self, iterations):
        status = advance(self, self.search.iterations + 1)
        return self.search.settle() if status == lbfgs.STEPPED and self.search.iterations < self.maxiter else status

    expected = fastbp.minimize(twin, p.X, p.Y, method="L-BFGS", maxiter=20)
    monkeypatch.setattr(lbfgs.LBFGS, "advance", stops_there)
    found = fastbp.minimize(net, p.X, p.Y, method="L-BFGS", maxiter=20)
    assert (found.nit, found.nfev, found.message) == (expected.nit, expected.nfev, expected.message)
    assert net.theta.tobytes() == twin.theta.tobytes()
