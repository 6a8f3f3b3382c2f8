"""Weights of extreme size, and weights of 0 for some examples, give the right value or are refused by name."""

import itertools

import communicators
import numpy as np
import pytest
from helpers import DTYPES, distance, frozen
from test_checks import refused

import fastbp

RNG = np.random.default_rng(3)
X, Y = frozen(RNG.random((12, 3))), frozen(RNG.random((12, 2)))
LABELS = RNG.integers(0, 2, 12)
RATIOS = np.array([1, 2, 0, 1, 3, 0.5, 16, 2, 0, 1, 3, 0.5])   # 2^1019 times 16 is 2^1023, and the sum is finite
EXTREMES = {        # factors; the weights keep their ratios exactly
    np.float64: [2.0**1019, 2.0**1015, 2.0**-1073, 2.0**-1022, 2.0**-500],
    np.float32: [2.0**123, 2.0**120, 2.0**-148, 2.0**-126, 2.0**-90],
}
CASES = [(dtype, factor) for dtype in DTYPES for factor in EXTREMES[dtype]]


def network(dtype=np.float64):
    return fastbp.Network([3, 4, 2], activation="tanh", dtype=dtype, seed=0)


def trained(w, dtype, **settings):
    net = network(dtype)
    J = fastbp.train(net, X, Y, epochs=3, sample_weight=w, seed=0, **{"batch_size": 5, **settings}).J
    return [*J, *net.theta]


def stepped(w, dtype, **settings):
    net = network(dtype)
    trainer = fastbp.Trainer(net, fastbp.SGD(0.1, 0.5), **settings)
    J = trainer.step(X, Y, w), trainer.epoch(X, Y, batch_size=5, sample_weight=w)
    return [*J, *net.theta]


def minimised(w, dtype, **settings):
    net = network(dtype)
    return [fastbp.minimize(net, X, Y, sample_weight=w, maxiter=3, **settings).fun, *net.theta]


def gradient(w, dtype, **settings):
    J, D = network(dtype).cost_and_gradient(X, Y, sample_weight=w, **settings)
    return [J, *D]


MEANS = {
    "gradient": gradient, "trained": trained, "stepped": stepped, "minimised": minimised,
    "cost": lambda w, dtype: network(dtype).cost(X, Y, sample_weight=w),
    "evaluated": lambda w, dtype: network(dtype).evaluate(X, LABELS, sample_weight=w),
    "checked": lambda w, dtype: fastbp.check_gradient(network(dtype), X, Y, sample_weight=w).analytic,
    "one at a time": lambda w, dtype: trained(w, dtype, batch_size=1, optimizer="sgd"),
    "rule in Python": lambda w, dtype: trained(w, dtype, optimizer=communicators.Plain()),
    "held out": lambda w, dtype: trained(w, dtype, validation_split=0.3, metrics=["mse", "r2"]),
    "metric": lambda w, dtype: [f(X[:, :2], Y, w) for f in (fastbp.metrics.r2, fastbp.metrics.mse)],
    "standardised": lambda w, dtype: fastbp.Standardise(X, w).scale,
}


@pytest.mark.parametrize(("dtype", "factor"), CASES)
@pytest.mark.parametrize("name", MEANS)
def test_fault_55_what_depends_on_ratios_alone_is_right_for_weights_of_any_size(name, dtype, factor):
    w = (RATIOS * factor).astype(dtype)
    assert distance(MEANS[name](w, dtype), MEANS[name](RATIOS, dtype)) < (1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize(("dtype", "factor"), CASES)
def test_fault_55_sums_are_right_or_refused_where_they_overflow(dtype, factor):
    w = (RATIOS * factor).astype(dtype)
    cost, Delta = network(dtype).accumulate(X, Y, sample_weight=RATIOS)
    if not np.isfinite(float(cost) * factor):
        refused(lambda: network(dtype).accumulate(X, Y, sample_weight=w), "sample_weight", "overflow")
        return
    scaled_cost, scaled = network(dtype).accumulate(X, Y, sample_weight=w)
    tiny = float(np.finfo(dtype).smallest_subnormal)
    assert scaled_cost == pytest.approx(cost * factor, rel=1e-6, abs=tiny)
    np.testing.assert_allclose(scaled[0], Delta[0] * dtype(factor), rtol=1e-5, atol=tiny)


def test_fault_55_sums_beyond_the_largest_number_are_refused():
    w = np.full(12, 1.4e307)
    refused(lambda: network().accumulate(3 * X, np.ones_like(Y), sample_weight=w), "sample_weight", kinds=ValueError)
    refused(lambda: network().cost(X, Y, sample_weight=np.full(12, 1e308)), "sample_weight", kinds=ValueError)


@pytest.mark.parametrize("name", ["gradient", "trained", "minimised"])
@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e-100])
def test_fault_55_a_lambda_over_such_weights_is_refused_by_name(weight, name):
    refused(lambda: MEANS[name](np.full(12, weight), np.float64, lam=1.0), "lam", "sample_weight", kinds=ValueError)
    refused(lambda: stepped(np.full(12, weight), np.float64, batch_lam=1.0), "batch_lam", "sample_weight",
            kinds=ValueError)


def test_fault_55_a_batch_of_tiny_weights_among_ordinary_ones_is_refused_before_the_first_step():
    net, w = network(), np.where(np.arange(12) < 8, 1.0, 1e-310)
    trainer, theta = fastbp.Trainer(net, "sgd", batch_lam=1.0), net.theta.copy()
    refused(lambda: trainer.epoch(X, Y, batch_size=4, sample_weight=w), "batch_lam", "sample_weight", kinds=ValueError)
    assert (net.theta == theta).all()
    assert np.isfinite(trainer.epoch(X, Y, batch_size=6, sample_weight=w))


def test_fault_55_ranks_refuse_it_too():
    def step(comm):
        rows = slice(6 * comm.Get_rank(), 6 * comm.Get_rank() + 6)
        w = np.array([1.0, 1.0, *[1e-100] * 4])
        trainer = fastbp.Trainer(network(), "sgd", batch_lam=1.0, comm=comm)
        with pytest.raises(ValueError, match="sample_weight in a batch"):
            trainer.epoch(X[rows], Y[rows], batch_size=4, sample_weight=w)
        return True

    assert communicators.all_of(2, step, communicators.Threads) == [True, True]


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("factor", [2.0**1019, 2.0**-1073])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.filterwarnings("ignore::UserWarning")      # too few iterations
def test_fault_55_estimators_are_right_too(solver, factor, early_stopping):
    from fastbp.sklearn import MLPRegressor

    def fitted(w, **settings):
        return MLPRegressor(hidden_layer_sizes=(3,), solver=solver, random_state=0, max_iter=5, tol=0,
                            early_stopping=early_stopping, **settings).fit(X, Y, sample_weight=w)

    ours, expected = fitted(RATIOS * factor, alpha=0), fitted(RATIOS, alpha=0)
    assert distance(ours.coefs_[0], expected.coefs_[0]) < 1e-12
    assert ours.loss_ == pytest.approx(expected.loss_, rel=1e-12)
    if early_stopping and solver != "lbfgs":
        assert ours.validation_scores_ == pytest.approx(expected.validation_scores_, rel=1e-12)
    if factor < 1:
        refused(lambda: fitted(RATIOS * factor, alpha=1e-4), "alpha", "sample_weight", kinds=ValueError)


# ---------------------------------------------------------------- weights of 0


@pytest.mark.parametrize("lam", [None, 1.0])
@pytest.mark.parametrize(("w", "left"), [([0, 0, 1, 1, 0, 1.0], "train on"), (np.eye(6)[2], "train on"),
                                         ([1, 1, 0, 0, 1, 0.0], "validate with")])
def test_fault_56_a_split_that_leaves_only_weights_of_0_is_refused(w, left, lam):
    net = network()
    before = net.theta.copy()
    found = set()
    for seed in range(40):      # every way to split them
        held = np.random.default_rng(seed).permutation(6)[:3]
        trains, validates = np.delete(w, held).any(), np.take(w, held).any()
        if not (trains and validates):
            found.add(what := "validate with" if trains else "train on")
            refused(lambda seed=seed: fastbp.train(net, X[:6], Y[:6], epochs=1, seed=seed, validation_split=0.5,
                                                   sample_weight=w, lam=lam), "validation_split", "sample_weight", what)
    assert left in found
    assert (net.theta == before).all()


def test_fault_56_a_split_on_ranks_counts_the_weights_of_all():
    def train(comm, w):
        rows = slice(6 * comm.Get_rank(), 6 * comm.Get_rank() + 6)
        return fastbp.train(network(), X[rows], Y[rows], sample_weight=w[rows], epochs=1, seed=0, batch_size=4,
                            validation_split=0.5, comm=comm, lam=1.0).J[0]

    one = np.r_[np.ones(6), np.zeros(6)]    # the second rank has weights of 0 alone
    J = communicators.all_of(2, lambda comm: train(comm, one), communicators.Threads)
    assert J[0] == J[1] > 0
    for i in (0, 7):
        def refuses(comm, i=i):
            with pytest.raises(ValueError, match="validation_split leaves only examples whose sample_weight is 0"):
                train(comm, np.eye(12)[i])
            return True
        assert communicators.all_of(2, refuses, communicators.Threads) == [True, True]


@pytest.mark.parametrize("targets", [Y, LABELS])
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", communicators.Plain()])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_fault_56_chunks_of_weight_0_and_of_no_rows_give_the_bits_of_the_array(batch_size, optimizer, watched, targets):
    class Watches:
        def on_batch_end(self, training):
            pass

    w = np.where((np.arange(12) >= 2) & (np.arange(12) < 9), 0, RATIOS + 1)
    cuts = [0, 0, 2, 4, 9, 9, 12, 12]
    chunks = [(X[i:j], targets[i:j], w[i:j]) for i, j in itertools.pairwise(cuts)]
    settings = {"epochs": 2, "batch_size": batch_size, "optimizer": optimizer, "shuffle": False, "mean_weight": 1.5,
                "callbacks": [Watches()] if watched else []}
    whole, cut = network(), network()
    expected = fastbp.train(whole, X, targets, sample_weight=w, **settings)
    history = fastbp.train(cut, chunks, window=2, **settings)
    assert cut.theta.tobytes() == whole.theta.tobytes()
    assert (history.J, history.examples) == (expected.J, expected.examples)


def test_fault_56_chunks_of_nothing_alone_are_refused():
    net = network()
    for chunks, said in [
        ([(X, Y, np.zeros(12))], "sample_weight of chunk 0"), ([(X[:0], Y[:0]), (X[:0], [])], "X yields no examples"),
    ]:
        refused(lambda chunks=chunks: fastbp.train(net, chunks, epochs=1), said, kinds=ValueError)

    def on_ranks(comm):
        with pytest.raises(ValueError, match="X yields no examples on any rank"):
            fastbp.train(network(), [(X, Y, np.zeros(12))], epochs=1, comm=comm)
        return True

    assert communicators.all_of(2, on_ranks, communicators.Threads) == [True, True]


def test_fault_56_an_order_of_weights_of_0_is_refused():
    trainer = fastbp.Trainer(network(), "sgd")
    refused(lambda: trainer.epoch(X, Y, sample_weight=np.eye(12)[0], order=[3, 4]), "sample_weight", "order",
            kinds=ValueError)


def test_fault_56_chunks_of_weight_0_train_on_ranks_too():
    w = np.r_[np.ones(6), np.zeros(6)]

    def train(comm):
        rows = slice(6 * comm.Get_rank(), 6 * comm.Get_rank() + 6)
        net = network()
        fastbp.train(net, [(X[rows], Y[rows], w[rows]), (X[:0], Y[:0], w[:0])], epochs=2, batch_size=4, shuffle=False,
                     comm=comm)
        return net.theta.copy()

    one, other = communicators.all_of(2, train, communicators.Threads)
    assert (one == other).all()
    assert not (one == network().theta).all()
