"""No BLAS runs its own threads while ours work: they would spin next to ours (part of fault 76)."""

import numpy as np
import pytest

import fastbp
from fastbp.engine import blas, objective

X, Y = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6) % 3


@pytest.fixture
def several_threads():
    """Every BLAS has 2 threads inside the block, and as many as before afterwards"""
    before = [library.get_num_threads() for library in blas.all_libraries()]
    for library in blas.all_libraries():
        library.set_num_threads(2)
    yield
    for library, n in zip(blas.all_libraries(), before, strict=True):
        library.set_num_threads(n)


def numbers():
    return {library.get_num_threads() for library in blas.all_libraries()}


@pytest.mark.parametrize("ends", ["well", "badly"])
@pytest.mark.usefixtures("several_threads")
def test_every_blas_has_one_thread_while_scipy_minimises_and_its_own_afterwards(ends):
    net, seen = fastbp.Network([4, 5, 3], output="softmax", seed=0), []

    def watch(_):
        seen.append(numbers())
        if ends == "badly":
            raise KeyError

    if ends == "badly":
        with pytest.raises(KeyError):
            fastbp.minimize(net, X, Y, maxiter=3, callback=watch)
    else:
        fastbp.minimize(net, X, Y, maxiter=3, callback=watch)
    assert seen
    assert all(each == {1} for each in seen)
    assert numbers() == {2}


@pytest.mark.usefixtures("several_threads")
def test_every_blas_has_one_thread_while_a_gradient_is_checked(monkeypatch):
    net, seen, cost = fastbp.Network([4, 5, 3], output="softmax", seed=0), [], objective.cost
    monkeypatch.setattr(objective, "cost", lambda *a: (seen.append(numbers()), cost(*a))[1])
    assert fastbp.check_gradient(net, X, Y, directions=3).relative_difference < 1e-6
    assert seen
    assert all(each == {1} for each in seen)
    assert numbers() == {2}


@pytest.mark.usefixtures("several_threads")
def test_holders_of_one_blas_and_of_all_may_overlap():
    first, second = blas.single_thread(), blas.single_thread(everywhere=True)
    for each in (first, second):
        each.__enter__()
    assert numbers() == {1}
    first.__exit__(None, None, None)
    assert numbers() == {1}
    second.__exit__(None, None, None)
    assert numbers() == {2}


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("estimator", ["MLPClassifier", "MLPRegressor"])
def test_every_blas_has_one_thread_while_an_estimator_minimises(estimator):
    skl = pytest.importorskip("fastbp.sklearn")
    seen = []

    def watch(_):
        seen.append(numbers())

    getattr(skl, estimator)(
        hidden_layer_sizes=(3,), solver="lbfgs", max_iter=300, callbacks=[watch], tol=0.1,
    ).fit(X, Y)
    assert seen
    assert all(each == {1} for each in seen)
    assert numbers() == {2}


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("call", ["standardise", "r2", "fold"])
def test_every_blas_has_its_threads_back_after_sums(call):
    moments, net = fastbp.Standardise(X), fastbp.Network([4, 5, 3], output="softmax", seed=0)
    {"standardise": lambda: fastbp.Standardise(X), "fold": lambda: moments.fold(net),
     "r2": lambda: fastbp.metrics.r2(X, X + 1)}[call]()
    assert numbers() == {2}


@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
@pytest.mark.usefixtures("several_threads")
def test_every_blas_has_one_thread_while_an_estimator_adds_the_losses_of_its_batches(monkeypatch):
    pytest.importorskip("sklearn")
    from fastbp.sklearn import MLPClassifier, stochastic

    (own,) = (each for each in vars(stochastic).values() if "_shares" in getattr(each, "__dict__", ()))
    seen, shares = [], own._shares
    monkeypatch.setattr(own, "_shares", lambda *a: (seen.append(numbers()), shares(*a))[1])
    MLPClassifier((3,), max_iter=3, batch_size=2, n_iter_no_change=9, tol=0).fit(X, Y, sample_weight=np.arange(1.0, 7))
    assert len(seen) >= 3
    assert all(each == {1} for each in seen)
    assert numbers() == {2}
