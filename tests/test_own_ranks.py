"""The caller's own losses on several ranks: each rank sees z, Y and w of all."""

import numpy as np
import pytest
from communicators import all_of, same
from helpers import DTYPES, distance, tolerance
from own_losses import FOREIGN, OUTPUTS_OF, targets

import fastbp
from fastbp import distributed
from fastbp.distributed.group import Group

SGD = fastbp.SGD(0.1, momentum=0.9)     # Adam would follow the rounding of the bias of z, whose D is 0 in Cox's loss


def examples(name, m=120, dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, 4)).astype(dtype), targets(name, rng, m), rng.uniform(0.5, 2, m).astype(dtype)


def network(name, dtype=np.float64, seed=1):
    return fastbp.Network([4, 6, OUTPUTS_OF[name]], activation="tanh", loss=FOREIGN[name], dtype=dtype, seed=seed)


@pytest.mark.parametrize("lengths", [(40, 40, 40), (120, 0, 0), (0, 1, 119)])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("name", ["cox", "pairwise", "hinge", "gaussian_nll"])
def test_J_and_D_of_all_ranks_are_those_of_one(name, weights, lengths):
    X, Y, w = examples(name)
    cuts = np.cumsum([0, *lengths])

    def on_rank(comm):
        own = slice(*cuts[comm.Get_rank() : comm.Get_rank() + 2])
        net, more = network(name), {"sample_weight": w[own]} if weights else {}
        J, D = net.cost_and_gradient(X[own], Y[own], weight_decay=0.1, comm=comm, **more)
        cost, result = (call(X[own], Y[own], comm=comm, **more) for call in (net.cost, net.evaluate))
        return J, D, cost, result.cost, fastbp.minimize(net, X[own], Y[own], comm=comm, maxiter=5, **more).fun

    results = all_of(3, on_rank)
    assert same(results)
    net, more = network(name), {"sample_weight": w} if weights else {}
    J, D = net.cost_and_gradient(X, Y, weight_decay=0.1, **more)
    assert results[0][0] == pytest.approx(J, rel=1e-13)
    assert results[0][2] == pytest.approx(net.cost(X, Y, **more), rel=1e-13)
    assert distance(results[0][1], D) < tolerance(np.float64)
    assert results[0][3] == pytest.approx(net.evaluate(X, Y, **more).cost)
    assert results[0][4] == pytest.approx(fastbp.minimize(net, X, Y, maxiter=5, **more).fun, rel=1e-6)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cox", "pairwise", "label_smoothing"])
def test_steps_of_all_ranks_are_those_of_one_on_the_same_batches(name, dtype, weights):
    X, Y, w = examples(name, 120, dtype)
    lengths = (50, 10, 60)
    cuts = np.cumsum([0, *lengths])
    net = network(name, dtype)
    alone, J = fastbp.Trainer(net, SGD, weight_decay=0.01, mean_weight=1.3), []
    for k in range(6):
        rows = [i for r in range(3) for i in range(cuts[r], cuts[r + 1])[10 * k : 10 * k + 10]]
        J.append((len(rows) if not weights else w[rows].sum(), alone.step(
            X[rows], Y[rows], w[rows] if weights else np.ones(len(rows), dtype))))

    def on_rank(comm):
        own = slice(*cuts[comm.Get_rank() : comm.Get_rank() + 2])
        net = network(name, dtype)
        trainer = fastbp.Trainer(net, SGD, weight_decay=0.01, mean_weight=1.3, comm=comm)
        return trainer.epoch(X[own], Y[own], batch_size=30, sample_weight=w[own] if weights else None), net.theta

    results = all_of(3, on_rank)
    assert same(results)
    assert distance(results[0][1], net.theta) < 10 * tolerance(dtype, "training")
    assert results[0][0] == pytest.approx(
        sum(m * j for m, j in J) / sum(m for m, _ in J), rel=10 * tolerance(dtype, "training"))


@pytest.mark.parametrize("sync_every", [None, 2])
def test_trainings_with_validation_dropout_and_several_parts(sync_every):
    X, Y, w = examples("pairwise")

    def on_rank(comm, parts=None):
        group, net = Group(comm, parts=parts), network("pairwise", seed=comm.Get_rank())
        own = distributed.rows(len(X), group)
        history = fastbp.train(net, X[own], Y[own], epochs=3, batch_size=24, dropout=0.2, sample_weight=w[own], seed=0,
                               validation_split=0.25, sync_every=sync_every, comm=group)
        return net.theta, history.J, history.val_J

    results = all_of(2, on_rank)
    assert same(results)
    assert results[0][2][-1] < results[0][2][0]
    if sync_every is None:
        assert same([result for p in (1, 2, 4) for result in all_of(p, lambda comm: on_rank(comm, 4))])


def test_labels_stay_labels_and_the_accuracy_is_that_of_all():
    X, Y, _ = examples("label_smoothing")

    def loss(z, Y, w):
        assert Y.dtype == np.int64
        return FOREIGN["label_smoothing"](z, Y, w)

    net = fastbp.Network([4, 3], output="softmax", loss=loss, seed=0)
    results = all_of(2, lambda comm: net.copy().evaluate(X[comm.Get_rank() :: 2], Y[comm.Get_rank() :: 2], comm=comm))
    assert same(results)
    assert results[0].accuracy == pytest.approx(net.evaluate(X, Y).accuracy)


def test_errors_reach_all_ranks():
    X, Y, _ = examples("pairwise")

    def wrong(z, Y, w):
        return z, z

    def on_one(comm):
        def f(z, Y, w):
            if comm.Get_rank() == 1:
                raise KeyError("mine")
            return FOREIGN["pairwise"](z, Y, w)

        return f

    def words(comm):
        return np.array(["a"] * len(X)) if comm.Get_rank() else Y

    for loss, targets_of, error, message in (
        (lambda comm: wrong, lambda comm: Y, ValueError, "the costs must have shape"),
        (on_one, lambda comm: Y, (KeyError, distributed.RankError), "mine"),
        (lambda comm: FOREIGN["pairwise"], words, (TypeError, distributed.RankError), "Y must hold numbers"),
        (lambda comm: FOREIGN["pairwise"], lambda comm: Y[:, None] if comm.Get_rank() else Y,
         ValueError, "Y must have the same columns on every rank"),
    ):
        def on_rank(comm, loss=loss, targets_of=targets_of, error=error, message=message):
            net = fastbp.Network([4, 6, 1], loss=loss(comm), seed=0)
            before = net.theta.copy()
            for call in (lambda: net.cost(X, targets_of(comm), comm=comm),
                         lambda: fastbp.train(net, X, targets_of(comm), epochs=1, comm=comm)):
                with pytest.raises(error, match=message):
                    call()
            return bool((net.theta == before).all())

        assert all_of(2, on_rank) == [True, True]


def test_fault_54_a_function_that_changes_theta_is_named_on_every_rank():
    X, Y, _ = examples("pairwise")

    def on_rank(comm):
        def mine(z, Y, w):
            net.theta[0] += 1
            return FOREIGN["pairwise"](z, Y, w)

        net = fastbp.Network([4, 6, 1], loss=mine, seed=0)
        for call in (lambda: net.cost_and_gradient(X, Y, comm=comm), lambda: fastbp.Trainer(net, comm=comm).step(X, Y)):
            with pytest.raises(ValueError, match="loss has changed theta of its network"):
                call()
        return True

    assert all_of(2, on_rank) == [True, True]


def test_outputs_that_are_no_longer_finite_are_a_divergence_on_every_rank():
    X, Y, _ = examples("hinge")

    def mine(z, Y, w):
        assert np.isfinite(z).all()
        return np.abs(z).sum(axis=1), np.sign(z)

    def on_rank(comm):
        net = fastbp.Network([4, 3, 1], activation="identity", loss=mine, seed=0)
        before = net.theta.copy()
        with pytest.raises(fastbp.DivergenceError):
            fastbp.train(net, X, Y, epochs=2, batch_size=60, optimizer=fastbp.SGD(1.7e308), comm=comm)
        return bool((net.theta == before).all())

    assert all_of(2, on_rank) == [True, True]
