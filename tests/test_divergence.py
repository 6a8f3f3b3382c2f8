"""Training that diverges although all numbers stay finite ends with a warning."""

import communicators
import numpy as np
import pytest

import fastbp


def unscaled(m=200):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, 3)) * 30
    return X, X @ [1, 2, 3.0]


def linear(loss="squared_error", output="identity", **settings):
    return fastbp.Network([3, 1], output=output, loss=loss, seed=0, **settings)


DIVERGED = "training has diverged: J rose from .* learning_rate or inputs scaled"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("source", ["array", "chunks", "split", "weights"])
def test_fault_67_a_divergence_with_finite_numbers_is_said_at_the_end(source, dtype):
    X, y = unscaled()
    given = {"chunks": ([(X, y)],), "array": (X, y)}.get(source, (X, y))
    settings = {"split": {"validation_split": 0.2}, "weights": {"sample_weight": np.arange(200.0)}}.get(source, {})
    net = linear(dtype=dtype)
    with pytest.warns(RuntimeWarning, match=DIVERGED) as caught:
        history = fastbp.train(net, *given, optimizer=fastbp.SGD(0.003), epochs=20, batch_size=200, seed=0, **settings)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert history.J[-1] > 1e3 * history.J[0]


def test_fault_67_a_weight_decay_that_diverges_says_so_too():
    X, y = unscaled()
    net = fastbp.Network([3, 8, 2], activation="tanh", output="softmax", seed=0)
    with pytest.warns(RuntimeWarning, match=DIVERGED):
        fastbp.train(net, X / 30, (y > 0).astype(int), optimizer=fastbp.SGD(0.1, 0.5), epochs=30, batch_size=None,
                     weight_decay=60.0)


def test_fault_67_on_ranks_rank_0_alone_says_it():
    X, y = unscaled()

    def train(comm):
        rows = slice(100 * comm.Get_rank(), 100 * comm.Get_rank() + 100)
        return fastbp.train(linear(), X[rows], y[rows], optimizer=fastbp.SGD(0.003), epochs=20, batch_size=200, seed=0,
                            comm=comm).J

    with pytest.warns(RuntimeWarning, match=DIVERGED) as caught:
        one, other = communicators.all_of(2, train, communicators.Threads)
    assert len(caught) == 1
    assert one == other


def test_fault_67_the_best_weights_restored_are_no_divergence():
    X, y = unscaled()
    stopping = fastbp.callbacks.EarlyStopping("J", patience=50)
    history = fastbp.train(linear(), X, y, optimizer=fastbp.SGD(0.003), epochs=20, batch_size=200, seed=0,
                           callbacks=[stopping])
    assert history.J[-1] > 1e3 * history.J[0]


@pytest.mark.parametrize("optimizer", [fastbp.SGD(1e-5), fastbp.SGD(0.5), fastbp.Adam(0.1), "rmsprop", "rprop"])
@pytest.mark.parametrize("start", ["solution", "zeros", "drawn"])
def test_fault_67_what_trembles_around_a_solution_has_not_diverged(start, optimizer):
    """J rises from 1e-30 by any factor without a warning, which would be an error here"""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    net = linear()
    net.theta = {"solution": [0, 1, 2, 3], "zeros": np.zeros(4), "drawn": net.theta}[start]
    fastbp.train(net, X, X @ [1, 2, 3.0] * (start != "zeros"), optimizer=optimizer, epochs=30, seed=0)


def test_fault_67_a_loss_that_only_falls_is_no_divergence_however_large():
    X, y = unscaled()
    net = linear()
    net.theta = np.full(4, 1e8)
    history = fastbp.train(net, X, y, optimizer=fastbp.SGD(1e-5), epochs=5, seed=0)
    assert history.J[-1] < history.J[0]
    assert history.J[-1] > 1e9
