"""fastbp.curvature, the methods of minimize that use curvature products, and products over several ranks."""

import numpy as np
import pytest
from communicators import RankError, Threads, all_of, ranks
from helpers import DTYPES, distance, problem, tolerance
from scipy.optimize import OptimizeResult
from scipy.optimize import minimize as scipy_minimize
from scipy.sparse.linalg import LinearOperator, cg, eigsh

import fastbp
from fastbp import distributed
from fastbp.engine import curvature
from fastbp.training import curved

NEWTON = ["Newton-CG", "trust-ncg", "trust-krylov"]
KINDS = ["hessian", "gauss_newton"]


def digits():
    X, y = fastbp.datasets.load_digits()
    return X / 16, y


# ---------------------------------------------------------------- operators


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_is_symmetric_of_thetas_dtype_and_has_the_products_bits(kind, dtype):
    p = problem((4, 6, 3), "tanh", "softmax", m=30, dtype=dtype)
    net, rng = p.network(), np.random.default_rng(0)
    A = getattr(fastbp.curvature, kind)(net, p.X, p.Y, lam=0.3, l1=0.1, sample_weight=p.weights)
    n = net.n_parameters
    assert isinstance(A, LinearOperator)
    assert (A.shape, A.dtype) == ((n, n), dtype)
    V = rng.standard_normal((n, 3)).astype(dtype)
    columns = [getattr(net, f"{kind}_product")(p.X, p.Y, v, lam=0.3, sample_weight=p.weights) for v in V.T]
    assert (np.transpose(columns) == A @ V).all()
    assert (A.matvec(V[:, :1])[:, 0] == columns[0]).all()
    assert (A.T @ V[:, 1] == columns[1]).all()
    assert (A.rmatvec(V[:, 2]) == columns[2]).all()
    assert ((2 * A) @ V[:, 0] == 2 * columns[0]).all()
    whole = A @ np.eye(n, dtype=dtype)
    assert distance(whole, whole.T) < 10 * np.finfo(dtype).eps


def test_an_operator_stays_where_it_was_made():
    p = problem((4, 6, 3), "tanh", "softmax", m=30)
    net = p.network()
    V, operators = np.ones(net.n_parameters), []
    for limit in (curvature.KEPT, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(curvature, "KEPT", limit)
            operators.append(fastbp.curvature.hessian(net, p.X, p.Y))
    before = operators[0] @ V
    net.theta *= 2
    for A in operators:
        assert (before == A @ V).all()
        assert not A.theta.flags.writeable
        with pytest.raises(ValueError, match="p contains NaN"):
            A @ np.where(np.arange(len(V)) == 3, np.nan, 1.0)
    there = fastbp.curvature.hessian(net, p.X, p.Y, theta=p.theta)
    assert (there @ V == before).all()


def test_solvers_of_scipy_take_them():
    p = problem((4, 6, 3), "tanh", "softmax", m=200)
    net = p.network()
    G = fastbp.curvature.gauss_newton(net, p.X, p.Y, weight_decay=0.1)
    D = net.cost_and_gradient(p.X, p.Y, weight_decay=0.1)[1]
    dense = G @ np.eye(len(D))
    step, failed = cg(G + LinearOperator(G.shape, lambda v: 0.1 * v, dtype=G.dtype), D, rtol=1e-12)
    assert failed == 0
    assert distance(step, np.linalg.solve(dense + 0.1 * np.eye(len(D)), D)) < 1e-9
    largest = eigsh(G, 1, return_eigenvectors=False, v0=D)[0]
    assert largest == pytest.approx(np.linalg.eigvalsh(dense)[-1], rel=1e-10)


def test_more_than_may_be_kept_is_computed_again(monkeypatch):
    p = problem((4, 6, 3), "tanh", "softmax", m=300)
    net = p.network()
    calls = []
    keep = curvature._curvature.keep
    monkeypatch.setattr(curvature._curvature, "keep", lambda *a: calls.append(1) or keep(*a))
    kept = fastbp.curvature.hessian(net, p.X, p.Y)
    assert calls
    calls.clear()
    monkeypatch.setattr(curvature, "KEPT", 10_000)
    again = fastbp.curvature.hessian(net, p.X, p.Y)
    V = np.ones(net.n_parameters)
    assert (again @ V == kept @ V).all()
    assert not calls


@pytest.mark.parametrize(("wrong", "said"), [
    ({"net": 3}, "net must be a fastbp.Network"), ({"X": np.zeros((30, 3))}, "X has 3 columns"), ({"Y": None}, "Y"),
    ({"theta": np.zeros(3)}, "theta"), ({"n_threads": 0}, "n_threads"), ({"comm": 3}, "comm"),
    ({"weight_decay": -1.0}, "weight_decay"), ({"sample_weight": np.zeros(30)}, "sample_weight"), ({"lam": -1}, "lam"),
])
@pytest.mark.parametrize("kind", KINDS)
def test_bad_arguments_of_an_operator_are_named(kind, wrong, said):
    p = problem((4, 6, 3), "tanh", "softmax", m=30)
    with pytest.raises((ValueError, TypeError), match=said):
        getattr(fastbp.curvature, kind)(**{"net": p.network(), "X": p.X, "Y": p.Y, **wrong})


# ---------------------------------------------------------------- minimize


# the largest |D_ij| that the digits must reach at lambda 1, 64-8-10
@pytest.mark.parametrize(("method", "kind", "most"), [
    ("trust-ncg", None, 1e-9), ("trust-krylov", "hessian", 5e-8), ("Newton-CG", "hessian", 3e-7),
    pytest.param("trust-ncg", "gauss_newton", 1e-3, marks=pytest.mark.slow),
    pytest.param("Newton-CG", "gauss_newton", 1e-5, marks=pytest.mark.slow),
])
def test_the_digits_are_stationary(method, kind, most):
    X, y = digits()
    net = fastbp.Network([64, 8, 10], seed=0)
    result = fastbp.minimize(net, X, y, lam=1, method=method, curvature=kind, maxiter=1000, tol=1e-8)
    assert np.abs(net.cost_and_gradient(X, y, lam=1)[1]).max() < most
    assert result.nhev > result.nit or method == "trust-krylov"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", NEWTON)
@pytest.mark.parametrize("dtype", DTYPES)
def test_newtons_methods_reach_a_stationary_point(method, kind, dtype):
    """Softmax regression with decay is convex"""
    p = problem((3, 3), output="softmax", loss="cross_entropy", m=30, dtype=dtype)
    net = p.network()
    result = fastbp.minimize(net, p.X, p.labels, method=method, weight_decay=0.1, maxiter=100, curvature=kind)
    best = scipy_minimize(lambda t: p.model.cost_and_gradient(t, p.X, p.labels, 0.1), p.theta.astype(float), jac=True)
    assert result.fun == pytest.approx(best.fun, rel=1e-5)
    assert net.theta.dtype == dtype
    np.testing.assert_allclose(net.theta, result.x, rtol=np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", NEWTON)
def test_iterates_are_those_of_scipy_with_the_dense_matrix(method, kind):
    p = problem((2, 4, 1), "tanh", m=12)
    net = p.network()
    result = fastbp.minimize(net, p.X, p.Y, method=method, lam=0.5, maxiter=6, curvature=kind)
    matrix, eye = getattr(p.network(), f"{kind}_product"), np.eye(len(p.theta))
    expected = scipy_minimize(
        lambda t: p.network().cost_and_gradient(p.X, p.Y, theta=t, lam=0.5), p.theta, jac=True, method=method,
        hess=lambda t: np.array([matrix(p.X, p.Y, e, theta=t, lam=0.5) for e in eye]), options={"maxiter": 6},
    )
    assert result.fun < p.network().cost(p.X, p.Y, lam=0.5)
    np.testing.assert_allclose(result.x, expected.x, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", NEWTON)
def test_only_free_parameters_move(method, kind):
    p = problem((3, 5, 2), "tanh", "softmax", m=40)
    net, free = p.network(), np.random.default_rng(0).random(len(p.theta)) < 0.5
    result = fastbp.minimize(net, p.X, p.labels, method=method, curvature=kind, lam=0.3, free=free, maxiter=50)
    assert (net.theta[~free] == p.theta[~free]).all()
    D = net.cost_and_gradient(p.X, p.labels, lam=0.3)[1]
    assert np.abs(D[free]).max() < 1e-3
    assert result.x.shape == p.theta.shape


@pytest.mark.parametrize(("settings", "said"), [
    ({"method": "trust-ncg", "curvature": "fisher"}, "curvature is 'fisher'; accepted are hessian, gauss_newton"),
    ({"method": "trust-ncg", "curvature": np.zeros(2)}, "curvature"), ({"curvature": 3}, "curvature"),
    ({"method": "L-BFGS-B", "curvature": "hessian"}, "method 'L-BFGS-B' takes none; Newton-CG, trust-ncg"),
    ({"method": "trust-exact"}, "method is 'trust-exact'; accepted are .*trust-krylov"),
])
def test_bad_curvatures_are_named_and_nothing_has_changed(settings, said):
    p = problem()
    net = p.network()
    with pytest.raises(ValueError, match=said):
        fastbp.minimize(net, p.X, p.Y, **settings)
    assert (net.theta == p.theta).all()


def squared(z, Y, w):
    """The squared error as the caller's own loss"""
    return ((z - Y) ** 2).sum(axis=1) / 2, z - Y


def test_a_loss_of_the_callers_own_is_refused_by_name_and_nothing_has_changed():
    """Second derivatives of an own loss are unknown"""
    p = problem((4, 6, 3), "tanh", "identity", "squared_error", m=8)
    net, V = fastbp.Network(p.model.sizes, activation="tanh", loss=squared, init=p.theta), direction(p)
    out, w = np.full_like(V, 7), np.ones(8)
    for call in (
        lambda: net.hessian_product(p.X, p.Y, V, out=out), lambda: net.gauss_newton_product(p.X, p.Y, V, out=out),
        lambda: net.hessian_product(p.X, p.Y, V, sample_weight=w), lambda: fastbp.curvature.hessian(net, p.X, p.Y),
        lambda: fastbp.curvature.gauss_newton(net, p.X, p.Y),
        *(lambda method=method: fastbp.minimize(net, p.X, p.Y, method=method)
          for method in ("Newton-CG", "trust-ncg", "trust-krylov")),
    ):
        with pytest.raises(ValueError, match=r"loss is .*squared.*second derivatives are unknown.*cross_entropy"):
            call()
    assert (out == 7).all()
    assert (net.theta == p.theta).all()


def test_the_forward_pass_is_kept_by_the_value_of_theta(monkeypatch):
    """SciPy copies theta between two products"""
    p = problem((3, 5, 2), "tanh", "softmax", m=40)
    net, made = p.network(), []
    data = net.data(p.X, p.Y)
    products = data.products
    data.products = lambda *a: made.append(1) or products(*a)
    penalties = curvature.Regularisation.of(net.plan, 40.0, lam=1.0)
    hessp = curved.Curvature("hessian", data, penalties, None, lambda x: x, None, net.dtype)
    V, x = np.ones(len(p.theta)), p.theta.copy()
    first = hessp(x, V)
    assert (hessp(x.copy(), V) == first).all()
    assert len(made) == 1
    x += 1
    assert (hessp(x, V) != first).any()
    assert (hessp(x, V) == net.hessian_product(p.X, p.Y, V, theta=x, lam=1)).all()
    assert len(made) == 2
    assert (hessp(p.theta, V) == first).all()


def test_a_theta_that_is_not_finite_has_an_infinite_J(monkeypatch):
    """trust-krylov may propose NaN"""
    p, seen = problem((3, 5, 2), "tanh", "softmax", m=40), []

    def search(function, start, **how):
        for bad in (np.nan, np.inf):
            seen.append(function(np.where(np.arange(len(start)) == 3, bad, start)))
        return OptimizeResult(x=start)

    monkeypatch.setattr("scipy.optimize.minimize", search)
    fastbp.minimize(p.network(), p.X, p.Y, method="trust-krylov")
    assert [(J, D.tolist()) for J, D in seen] == [(np.inf, [0.0] * len(p.theta))] * 2


@pytest.mark.parametrize("method", NEWTON)
def test_ranks_search_together(method):
    p = problem((3, 5, 2), "tanh", "softmax", m=41)
    alone = fastbp.minimize(p.network(), p.X, p.labels, method=method, lam=0.3, maxiter=20)

    def on_rank(comm):
        group = distributed.Group(comm, parts=2)
        own = distributed.rows(41, group)
        result = fastbp.minimize(p.network(), p.X[own], p.labels[own], method=method, lam=0.3, maxiter=20, comm=group)
        return result.x

    results = [x for size in (1, 2) for x in all_of(size, on_rank)]
    assert len({x.tobytes() for x in results}) == 1
    assert distance(results[0], alone.x) < 1e-5


# ---------------------------------------------------------------- products over ranks


def direction(p):
    return np.random.default_rng(1).standard_normal(len(p.theta)).astype(p.theta.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["hessian_product", "gauss_newton_product"])
def test_products_over_ranks_are_those_of_all_rows(name, dtype):
    p = problem((5, 9, 4), "tanh", "softmax", m=61, dtype=dtype)
    net, V = p.network(), direction(p)
    for w in (None, p.weights):
        alone = getattr(net, name)(p.X, p.labels, V, lam=0.7, sample_weight=w)

        def on_rank(comm, w=w):
            group = distributed.Group(comm, parts=4)
            own = distributed.rows(61, group)
            w_own = None if w is None else w[own]
            operator = getattr(fastbp.curvature, name.removesuffix("_product"))
            return (getattr(net, name)(p.X[own], p.labels[own], V, lam=0.7, sample_weight=w_own, comm=group),
                    operator(net, p.X[own], p.labels[own], lam=0.7, sample_weight=w_own, comm=group) @ V)

        results = [each for size in (1, 2, 4) for result in all_of(size, on_rank, Threads) for each in result]
        assert len({result.tobytes() for result in results}) == 1
        assert distance(results[0], alone) < tolerance(dtype, "bits")


def test_ranks_that_disagree_are_told():
    p = problem((5, 9, 4), "tanh", "softmax", m=20)
    net, V = p.network(), direction(p)

    def other_p(comm):
        return net.hessian_product(p.X, p.Y, V + comm.Get_rank(), comm=comm)

    def other_product(comm):
        return (net.hessian_product if comm.Get_rank() else net.gauss_newton_product)(p.X, p.Y, V, comm=comm)

    def bad_p(comm):
        return net.hessian_product(p.X, p.Y, V[comm.Get_rank():], comm=comm)

    for call, said in ((other_p, "p of rank 1"), (other_product, "same function"), (bad_p, "p must have shape")):
        for error in ranks(2, call):
            assert isinstance(error, (ValueError, RankError))
            assert said in str(error)
