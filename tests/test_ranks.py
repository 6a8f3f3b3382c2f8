"""Training on several ranks: steps, hooks, checkpoints; ranks are threads with a communicator of four methods."""

import logging

import numpy as np
import pytest
from communicators import Plain, Serial, all_of, digits, network, ranks, same, shards
from helpers import DTYPES, distance, tolerance

import fastbp
from fastbp import callbacks, distributed
from fastbp.distributed.group import Group

OPTIMIZERS = ["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop", fastbp.SGD(0.1, momentum=0.9)]


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, Plain()])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_training_has_the_same_bits_for_1_2_and_4_ranks_of_4_parts(optimizer, dtype):
    X, y = digits(390)

    def on_rank(comm):
        group, net = Group(comm, parts=4), network(comm.Get_rank(), dtype)     # theta becomes rank 0's
        own = distributed.rows(len(X), group)
        history = fastbp.train(net, X[own], y[own], optimizer=optimizer, epochs=3, batch_size=50, dropout=0.1,
                               weight_decay=1e-3, clip_norm=1.0, seed=comm.Get_rank(), comm=group)
        return net.theta, history.J

    results = [result for p in (1, 2, 4) for result in all_of(p, on_rank)]
    assert same(results)
    assert results[0][1][-1] < results[0][1][0]


@pytest.mark.parametrize("lengths", [(100, 100, 100), (300, 0, 0), (10, 200, 90), (120, 120, 60)])
@pytest.mark.parametrize("batch_size", [3, 30, 31, None])
def test_steps_are_those_of_one_machine_on_the_same_batches(batch_size, lengths):
    X, y = digits(300)
    cuts, p = shards(300, lengths), 3
    twin = network()
    alone = fastbp.Trainer(twin, "adam", weight_decay=1e-3)
    take = [m if batch_size is None else batch_size // p + (r < batch_size % p) for r, m in enumerate(lengths)]
    J, weight = 0.0, 0
    for k in range(max(-(-m // max(size, 1)) for m, size in zip(lengths, take, strict=True))):
        batch = [i for cut, size in zip(cuts, take, strict=True) for i in range(300)[cut][k * size : (k + 1) * size]]
        J, weight = J + len(batch) * alone.step(X[batch], y[batch]), weight + len(batch)

    def on_rank(comm):
        net, own = network(), cuts[comm.Get_rank()]
        trainer = fastbp.Trainer(net, "adam", weight_decay=1e-3, comm=comm)
        return net.theta, trainer.epoch(X[own], y[own], batch_size=batch_size), trainer.state["t"]

    results = all_of(p, on_rank)
    assert same(results)
    assert distance(results[0][0], twin.theta) < tolerance(np.float64, "training")
    assert results[0][1] == pytest.approx(J / weight, rel=1e-12)
    assert results[0][2] == alone.state["t"]


def test_a_step_is_one_allreduce():
    X, y = digits(100)

    def on_rank(comm):
        trainer = fastbp.Trainer(network(), "sgd", comm=comm)
        own, before = distributed.rows(100, comm), comm.calls
        trainer.step(X[own], y[own])
        step, before = comm.calls - before, comm.calls
        trainer.epoch(X[own], y[own], batch_size=10)
        return step, comm.calls - before

    meetings = 2    # of the threads in an Allreduce
    assert all_of(2, on_rank) == [(meetings, 10 * meetings)] * 2


def test_a_serial_communicator_will_do():
    (X, y), net, twin = digits(100), network(), network()
    trainer = fastbp.Trainer(net, "adam", comm=Serial())
    J = [trainer.epoch(X, y, batch_size=20) for _ in range(3)]
    alone = fastbp.Trainer(twin, "adam")
    assert pytest.approx([alone.epoch(X, y, batch_size=20) for _ in range(3)], rel=1e-12) == J
    assert distance(net.theta, twin.theta) < 1e-12


def test_parts_drop_units_apart_from_each_other():
    X = np.ones((40, 3))

    def on_rank(comm):
        net = fastbp.Network([3, 50, 1], output="identity", loss="squared_error", seed=0)
        trainer = fastbp.Trainer(net, "sgd", dropout=0.5, seed=1, comm=comm)
        own = distributed.rows(40, comm)
        return trainer.step(X[own], np.zeros(40)[own])

    def one_half():
        net = fastbp.Network([3, 50, 1], output="identity", loss="squared_error", seed=0)
        return fastbp.Trainer(net, "sgd", dropout=0.5, seed=1).step(X[:20], np.zeros(20))

    first, second = all_of(2, on_rank)
    assert first == second != one_half()    # were both halves dropped alike, it would be the cost of one


def test_settings_may_change_between_steps():
    X, y = digits(100)
    twin = network()
    alone = fastbp.Trainer(twin, fastbp.Adam(1e-2), weight_decay=1e-2)

    def change(trainer, step):
        trainer.step(*step)
        trainer.optimizer.learning_rate = 1e-3
        trainer.step(*step)
        trainer.weight_decay, trainer.clip_norm = 1e-3, 0.1
        trainer.step(*step)
        trainer.state = {name: np.copy(value) if np.ndim(value) else 1 for name, value in trainer.state.items()}
        trainer.step(*step)
        return trainer.net.theta

    def on_rank(comm):
        own = distributed.rows(100, comm)
        return change(fastbp.Trainer(network(), fastbp.Adam(1e-2), weight_decay=1e-2, comm=comm), (X[own], y[own]))

    expected = change(alone, (X, y))
    for theta in all_of(2, on_rank):
        assert distance(theta, expected) < 1e-12


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "nadam", Plain()])
@pytest.mark.parametrize("dtype", DTYPES)
def test_with_sync_every_ranks_go_alone_and_theta_and_moments_are_averaged(optimizer, dtype):
    X, y = digits(240)
    lengths = (90, 150)     # 9 batches of 10 and 15
    net, k = network(dtype=dtype), 4

    def on_rank(comm):
        net, own = network(dtype=dtype), shards(240, lengths)[comm.Get_rank()]
        trainer = fastbp.Trainer(net, optimizer, comm=comm, sync_every=k)
        J = [trainer.epoch(X[own], y[own], batch_size=20) for _ in range(2)]
        return net.theta, sum(J) / 2, trainer.state["t"]

    twins = [fastbp.Trainer(net.copy(), optimizer) for _ in lengths]
    arrays = [[twin.net.theta, *(a for name, a in sorted(twin.state.items()) if np.ndim(a) and name != "scalars")]
              for twin in twins]
    J = weight = 0
    for first in [*range(0, 150, 10 * k)] * 2:
        seen = []
        for twin, cut in zip(twins, shards(240, lengths), strict=True):
            rows = range(240)[cut][first : first + 10 * k]
            seen.append(len(rows))
            if rows:
                J, weight = J + len(rows) * twin.epoch(X[rows], y[rows], batch_size=10), weight + len(rows)
        for both in zip(*arrays, strict=True):
            mean = sum(m * a for m, a in zip(seen, both, strict=True)) / sum(seen)
            for a in both:
                a[:] = mean
        t = max(twin.state["t"] for twin in twins)
        ahead = twins[[twin.state["t"] for twin in twins].index(t)].state.get("scalars")
        for twin in twins:
            twin.state = twin.state | {"t": t} | ({} if ahead is None else {"scalars": ahead.copy()})
    results = all_of(2, on_rank)
    assert same(results)
    assert results[0][2] == 2 * 15
    assert distance(results[0][0], twins[0].net.theta) < tolerance(dtype, "training")
    assert results[0][1] == pytest.approx(J / weight, rel=1e-5)


def test_sync_every_is_for_several_ranks_of_a_part_each():
    with pytest.raises(ValueError, match="sync_every is for several ranks"):
        fastbp.Trainer(network(), sync_every=3)
    with pytest.raises(ValueError, match="sync_every and several parts"):
        fastbp.Trainer(network(), comm=Group(Serial(), parts=2), sync_every=3)


@pytest.mark.parametrize("batch_size", [0, 2, 2.5])
def test_a_batch_has_an_example_of_each_rank_at_least(batch_size):
    X, y = digits(90)

    def on_rank(comm):
        own = distributed.rows(90, comm)
        fastbp.train(network(), X[own], y[own], epochs=1, batch_size=batch_size, comm=comm)

    for error in ranks(3, on_rank):
        assert isinstance(error, (ValueError, TypeError))
        assert "batch_size" in str(error)


@pytest.mark.parametrize("optimizer", ["adam", Plain()])
def test_a_batch_of_which_a_rank_has_only_weights_of_0_is_stepped_along_what_the_others_bring(optimizer):
    X, y = digits(60)
    w = np.where(np.arange(60) < 20, 0.0, 1 + np.arange(60) % 3)       # the first rank's first 20 of 30

    def on_rank(comm):
        own, net = distributed.rows(60, comm), network()
        J = fastbp.Trainer(net, optimizer, comm=comm, weight_decay=1e-3).epoch(
            X[own], y[own], sample_weight=w[own], batch_size=20)
        return J, net.theta

    alone = network()
    order = np.arange(60).reshape(2, 3, 10).transpose(1, 0, 2).ravel()
    J = fastbp.Trainer(alone, optimizer, weight_decay=1e-3).epoch(X, y, sample_weight=w, batch_size=20, order=order)
    for got in all_of(2, on_rank):
        assert got[0] == pytest.approx(J, rel=1e-13)
        assert distance(got[1], alone.theta) < 1e-12


# ---------------------------------------------------------------- trainings


def test_history_is_that_of_all_rows_and_the_same_on_every_rank():
    X, y = digits(400)
    names = ["accuracy", "balanced_accuracy", "cross_entropy", lambda h, Y: float(h[: len(Y) // 2].mean())]

    def on_rank(comm):
        net, own, held = network(), distributed.rows(300, comm), shards(100, (100, 0, 0))[comm.Get_rank()]
        history = fastbp.train(
            net, X[own], y[own], epochs=3, batch_size=30, comm=comm, metrics=names,
            validation_data=(X[300:][held], y[300:][held]))
        return net.theta, *history.columns.values(), history.examples

    results = all_of(3, on_rank)
    assert same(results)
    net = network()
    net.theta = results[0][0]
    h, val_J, val_accuracy = net.predict(X), results[0][2], results[0][3]
    assert (val_J[-1], val_accuracy[-1]) == pytest.approx(net.evaluate(X[300:], y[300:]), rel=1e-13)
    history = fastbp.train(net, X[:300], y[:300], epochs=1, optimizer=fastbp.SGD(1e-300), metrics=names,
                           validation_data=(X[300:], y[300:]))
    got = dict(zip(history.columns, results[0][1:], strict=False))
    for name, values in history.metrics.items():
        assert got[name][-1] == pytest.approx(values[-1], rel=1e-12), name
    assert results[0][-1] == 300
    assert h[:300][: 150].mean() == pytest.approx(got["<lambda>"][-1], rel=1e-12)


def test_validation_split_is_drawn_from_each_part():
    X, y = digits(400)

    def on_rank(comm):
        group, net = Group(comm, parts=4), network()
        own = distributed.rows(400, group)
        history = fastbp.train(net, X[own], y[own], epochs=3, batch_size=40, seed=7, comm=group, validation_split=0.2)
        return net.theta, history.J, history.val_J, history.val_accuracy, history.examples

    results = [result for p in (1, 2, 4) for result in all_of(p, on_rank)]
    assert same(results)
    assert results[0][-1] == 320


@pytest.mark.parametrize("lengths", [(150, 150), (40, 260), (0, 300)])
@pytest.mark.parametrize("sync_every", [None, 3])
def test_chunks_and_memory_maps_give_the_bits_of_arrays(tmp_path, lengths, sync_every):
    X, y = digits(300)
    np.save(tmp_path / "X.npy", X)

    def on_rank(comm, form):
        net, own = network(), shards(300, lengths)[comm.Get_rank()]
        settings = {"epochs": 3, "batch_size": 21, "comm": comm, "seed": 2, "window": 60, "sync_every": sync_every}
        if form == "chunks":
            def chunks():
                for i in range(0, own.stop - own.start, 37):
                    yield X[own][i : i + 37], y[own][i : i + 37]
            history = fastbp.train(net, chunks, **settings)
        else:
            data = np.load(tmp_path / "X.npy", mmap_mode="r") if form == "map" else X
            history = fastbp.train(net, data[own], y[own], **settings)
        return net.theta, history.J, history.examples

    results = [result for form in ("chunks", "map", "arrays") for result in
               all_of(2, lambda comm, form=form: on_rank(comm, form))]
    assert same(results)
    assert results[0][-1] == 300


def test_early_stopping_stops_all_ranks_at_once_and_restores_the_best_theta():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60, 6))
    y = (X[:, 0] + rng.standard_normal(60) > 0).astype(float)

    def on_rank(comm):
        net, own = fastbp.Network([6, 20, 1], activation="tanh", seed=1), distributed.rows(60, comm)
        stopping = callbacks.EarlyStopping(patience=4)
        history = fastbp.train(net, X[own], y[own], epochs=200, batch_size=10, comm=comm, callbacks=[stopping],
                               validation_data=(X[own] * 1.1, 1 - y[own]), seed=0)
        return net.theta, history.val_J, [len(history), stopping.best_epoch], history.seconds

    results = all_of(3, on_rank)
    assert same(results)
    assert results[0][2][0] < 200


@pytest.mark.parametrize("method", ["on_batch_end", "on_epoch_end"])
def test_a_callback_of_one_rank_may_stop_all(method):
    X, y = digits(100)

    class Third:
        count = 0

        def look(self, training):
            self.count += 1
            if self.count == 3:
                training.stop(f"rank {training.rank} has seen enough")

    def on_rank(comm):
        net, own, third = network(), distributed.rows(100, comm), Third()
        setattr(third, method, third.look)
        history = fastbp.train(net, X[own], y[own], epochs=20, batch_size=20, comm=comm, seed=1,
                               callbacks=[third] if comm.Get_rank() == 1 else [])
        return net.theta.tobytes(), len(history), history.stopped

    results = all_of(2, on_rank)
    assert results[0] == results[1]
    assert results[0][1:] == (1 if method == "on_batch_end" else 3, "rank 1 has seen enough")


def test_a_callback_that_changes_theta_on_one_rank_is_found():
    X, y = digits(100)

    def on_rank(comm, last):
        def move(training):
            if training.rank == 1 and training.epoch == (3 if last else 2):
                training.net.theta += 1e-9

        own = distributed.rows(100, comm)
        fastbp.train(network(), X[own], y[own], epochs=3, batch_size=20, comm=comm, callbacks=[move])

    for last in (False, True):
        for error in ranks(2, lambda comm, last=last: on_rank(comm, last)):
            assert isinstance(error, ValueError)
            assert "theta" in str(error)


def test_rank_0_alone_shows_progress_and_logs(capsys, caplog):
    X, y = digits(100)

    def on_rank(comm):
        own = distributed.rows(100, comm)
        fastbp.train(network(), X[own], y[own], epochs=1, batch_size=20, comm=comm, progress=True,
                     callbacks=[callbacks.Logging()])

    with caplog.at_level(logging.INFO, "fastbp"):
        all_of(3, on_rank)
    assert capsys.readouterr().err.count("epoch 1/1") == 1
    assert len(caplog.records) == 1


def test_a_training_that_diverges_diverges_on_all_ranks():
    X, y = digits(100)

    def on_rank(comm):
        net, own = network(), distributed.rows(100, comm)
        before = net.theta.copy()
        with pytest.raises(fastbp.DivergenceError, match="diverged in epoch"):
            fastbp.train(net, X[own] * 1e5, y[own], epochs=3, batch_size=20, comm=comm, weight_decay=10,
                         optimizer=fastbp.SGD(1e300))
        assert (net.theta == before).all()

    with np.errstate(all="ignore"):
        all_of(2, on_rank)


# ---------------------------------------------------------------- full batches by SciPy


@pytest.mark.parametrize("method", ["L-BFGS-B", "CG", "BFGS", "TNC", "SLSQP", "trust-constr"])
def test_scipys_optimizers_go_the_same_way_on_every_rank(method):
    X, y = digits(200)
    X = X[:, 20:44]
    sizes, settings = (24, 3, 10), {"method": method, "maxiter": 8, "lam": 0.5}
    alone = fastbp.minimize(network(sizes=sizes), X, y, **settings)

    def on_rank(comm):
        group, net = Group(comm, parts=4), network(comm.Get_rank(), sizes=sizes)
        own = distributed.rows(200, group)
        result = fastbp.minimize(net, X[own], y[own], comm=group, **settings)
        return net.theta, result.fun, result.nit, result.nfev

    results = [result for p in (1, 2, 4) for result in all_of(p, on_rank)]
    assert same(results)
    assert results[0][1] == pytest.approx(alone.fun, rel=1e-3)


@pytest.mark.parametrize("method", ["L-BFGS-B", "trust-constr"])
def test_a_callback_of_minimize_on_one_rank_stops_all(method):
    X, y = digits(100)

    def on_rank(comm):
        seen = []

        def third(intermediate_result):
            seen.append(intermediate_result.fun)
            if len(seen) == 3:
                raise StopIteration

        own = distributed.rows(100, comm)
        result = fastbp.minimize(network(sizes=(64, 3, 10)), X[own], y[own], method=method, comm=comm,
                                 callback=third if comm.Get_rank() == 1 else None)
        return result.nit, result.x.tobytes(), len(seen)

    first, second = all_of(2, on_rank)
    assert first[:2] == second[:2]
    assert second[2] == 3
