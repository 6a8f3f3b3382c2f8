"""Faults on one rank of several: all ranks learn of them, no rank waits forever, and nothing is left half done."""

import threading

import numpy as np
import pytest
import scipy.optimize
from communicators import Plain, Serial, Threads, all_of, digits, network, ranks, same, told

import fastbp
from fastbp import distributed
from fastbp.distributed.group import Group


@pytest.mark.parametrize("call", ["cost_and_gradient", "cost", "evaluate", "minimize", "train", "step", "epoch"])
def test_bad_input_on_one_rank_is_raised_on_all_before_anything_has_changed(call):
    X, y = digits(90)
    bad = X.copy()
    bad[50, 3] = np.nan     # the second rank's row 20

    def on_rank(comm):
        net, own = network(), distributed.rows(90, comm)
        before = net.theta.copy()
        try:
            if call == "train":
                fastbp.train(net, bad[own], y[own], epochs=2, batch_size=30, comm=comm)
            elif call == "minimize":
                fastbp.minimize(net, bad[own], y[own], comm=comm)
            elif call in ("step", "epoch"):
                getattr(fastbp.Trainer(net, comm=comm), call)(bad[own], y[own])
            else:
                getattr(net, call)(bad[own], y[own], comm=comm)
        finally:
            assert (net.theta == before).all()

    told(ranks(3, on_rank), ValueError, "Input X contains NaN. First at X[20, 3].")


@pytest.mark.parametrize("where", ["chunk", "on_train_begin", "on_batch_end", "on_epoch_end", "on_train_end", "metric",
                                   "optimizer", "schedule", "progress"])
def test_fault_52_an_exception_inside_a_training_on_one_rank_is_raised_on_all(where, monkeypatch):
    X, y = digits(90)

    class Failing(Plain):
        def update(self, theta, D, state):
            super().update(theta, D, state)
            if state["t"] == 4 and threading.current_thread().failing:
                raise OSError("the disk is full")

    def fail(*_):
        if threading.current_thread().failing:
            raise OSError("the disk is full")
        return 0.5

    def on_rank(comm):
        threading.current_thread().failing = comm.Get_rank() == 1
        own, settings = distributed.rows(90, comm), {"epochs": 2, "batch_size": 30, "comm": comm}
        if where == "chunk":
            def chunks():
                yield X[own][:20], y[own][:20]
                fail()
                yield X[own][20:], y[own][20:]
            return fastbp.train(network(), chunks, **settings)
        if where == "metric":
            settings["metrics"] = [fail]
        elif where == "optimizer":
            settings["optimizer"] = Failing()
        elif where == "schedule":
            settings["optimizer"] = fastbp.SGD(lambda t: fail() if t == 4 else 0.1)
        elif where == "progress":
            settings["metrics"] = [lambda h, Y: fail()]
        else:
            class Callback:
                pass

            setattr(Callback, where, fail)
            settings["callbacks"] = [Callback()]
        return fastbp.train(network(), X[own], y[own], **settings)

    told(ranks(3, on_rank), OSError, "the disk is full")


@pytest.mark.parametrize("rule", ["Python", "compiled"])
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3, 6])
def test_fault_52_an_update_that_fails_on_one_rank_is_raised_on_all_after_whichever_step(rule, watched, step):
    X, y = digits(90)       # 3 steps per epoch

    class Failing(Plain):
        def update(self, theta, D, state):
            super().update(theta, D, state)
            fail(state["t"])

    class Looks:
        def on_batch_end(self, training):
            pass

    def fail(t):
        if t == step and threading.current_thread().failing:
            raise OSError("the disk is full")

    def on_rank(comm):
        threading.current_thread().failing = comm.Get_rank() == 1
        own = distributed.rows(90, comm)
        optimizer = Failing() if rule == "Python" else fastbp.SGD(lambda t: fail(t + 1) or 0.1)
        fastbp.train(network(), X[own], y[own], optimizer=optimizer, epochs=2, batch_size=30, comm=comm,
                     callbacks=[Looks()] if watched else [])

    told(ranks(3, on_rank), OSError, "the disk is full")


def test_fault_52_a_trainers_step_that_fails_on_one_rank_is_raised_on_all():
    X, y = digits(90)

    class Failing(Plain):
        def update(self, theta, D, state):
            if threading.current_thread().failing:
                raise OSError("the disk is full")

    def on_rank(comm):
        threading.current_thread().failing = comm.Get_rank() == 1
        own = distributed.rows(90, comm)
        fastbp.Trainer(network(), Failing(), comm=comm).step(X[own], y[own])

    told(ranks(3, on_rank), OSError, "the disk is full")


DIFFERENT = {
    "layer_sizes": lambda r: {"net": network(sizes=(64, 12 + r, 10))},
    "dtype": lambda r: {"net": network(dtype=[np.float64, np.float32][r])},
    "activation": lambda r: {"net": fastbp.Network([64, 12, 10], activation=["tanh", "relu"][r], output="softmax")},
    "loss": lambda r: {"net": fastbp.Network([64, 12, 10], output="sigmoid",
                                             loss=["cross_entropy", "squared_error"][r])},
    "optimizer": lambda r: {"optimizer": fastbp.Adam(1e-3 * (1 + r))},
    "epochs": lambda r: {"epochs": 2 + r},
    "batch_size": lambda r: {"batch_size": 30 + r},
    "regularisation": lambda r: {"weight_decay": 1e-3 * r},
    "dropout": lambda r: {"dropout": 0.1 * r},
    "metrics": lambda r: {"metrics": ["accuracy", "mse"][:r]},
    "sync_every": lambda r: {"sync_every": 2 + r},
    "shuffle": lambda r: {"shuffle": bool(r)},
    "window": lambda r: {"window": 40 + 40 * r},
    "validation_split": lambda r: {"validation_split": 0.1 + 0.1 * r},
    "lam": lambda r: {"lam": 1.0 + r},
}


@pytest.mark.parametrize("setting", DIFFERENT)
def test_different_settings_on_different_ranks_are_an_error_on_all_that_names_them(setting):
    X, y = digits(90)

    def on_rank(comm):
        own = distributed.rows(90, comm)
        arguments = {"net": network(), "X": X[own], "Y": y[own], "epochs": 2, "batch_size": 30, "comm": comm}
        fastbp.train(**arguments | DIFFERENT[setting](comm.Get_rank()))

    for error in ranks(2, on_rank):
        assert isinstance(error, ValueError), error
        assert f"the ranks differ in {setting}" in str(error)


def test_ranks_that_call_different_functions_are_told_so(capfd):
    X, y = digits(90)

    def on_rank(comm):
        return fastbp.Trainer(network(), comm=comm) if comm.Get_rank() else network().cost_and_gradient(X, y, comm=comm)

    for rank, error in enumerate(ranks(2, on_rank)):
        assert isinstance(error, ValueError), error
        assert str(error) == f"the ranks must call the same function; rank {rank} called {['Network', 'Trainer'][rank]}"
    assert capfd.readouterr().err == ""


def test_a_rank_that_is_somewhere_else_where_it_cannot_see_it_is_aborted(capfd):
    def on_rank(comm):
        group = Group(comm)
        with group.guard():
            if comm.Get_rank():
                group.agree("train", {})
            for _ in range(2):
                group.section(lambda: None)

    waiting, found = ranks(2, on_rank)
    assert isinstance(waiting, threading.BrokenBarrierError)
    assert isinstance(found, ValueError)
    assert str(found) == "the ranks must call the same function; rank 1 called train"
    assert "fastbp: rank 1 of 2 ends all" in capfd.readouterr().err


def test_different_parts_start_values_and_kinds_of_Y_are_errors_on_all():
    X, y = digits(90)
    one_hot = np.eye(10)[y]

    def kinds(comm):
        return network().cost_and_gradient(X, [y, one_hot][comm.Get_rank()], comm=comm)

    for on_rank, text in (
        (lambda comm: Group(comm, parts=2 * (1 + comm.Get_rank())), "parts must be the same on all ranks"),
        (lambda comm: network(comm.Get_rank()).cost_and_gradient(X, y, comm=comm), "theta of rank 1 is not that of"),
        (kinds, "Y must hold labels on every rank, or targets on every rank"),
        (lambda comm: network().cost(X, y, sample_weight=np.full(90, 1e-30**comm.Get_rank()), comm=comm),
         "sample_weight must not be that extreme"),
        (lambda comm: fastbp.Trainer(network(), comm=comm).epoch(X, y, sample_weight=np.full(90, 1e-300)),
         "sample_weight must not be that extreme"),
        (lambda comm: fastbp.Trainer(network(), comm=comm).epoch(X[:0], y[:0]), "X has no rows on any rank"),
        (lambda comm: fastbp.Trainer(network(), comm=comm).epoch(X, y, sample_weight=np.zeros(90)), "weights sum to 0"),
        (lambda comm: fastbp.train(network(), X, y, validation_data=(X, y), validation_split=0.1, epochs=1, comm=comm),
         "validation_data and validation_split exclude each other"),
        (lambda comm: fastbp.train(network(), lambda: [(X, y)], epochs=1, comm=Group(comm, parts=4)),
         "chunks cannot be cut into several parts per rank"),
    ):
        for error in ranks(2, on_rank):
            assert isinstance(error, ValueError), error
            assert text in str(error)


def test_a_shard_tells_the_examples_and_the_weight_of_all_ranks():
    from fastbp.distributed.shard import Shard

    X, y = digits(61)
    w, net = 0.5 + np.arange(61) % 3, network()

    def on_rank(comm, kind, weighted):
        own = distributed.rows(61, comm)
        Y = y if kind == "labels" else np.eye(10)[y]
        shard = Shard(Group(comm), lambda: net.data(X[own], Y[own], w[own] if weighted else None), "test", {})
        return shard.m, shard.weight, shard.scale, shard.classes, shard.labels, shard.w

    assert all_of(3, lambda comm: on_rank(comm, "labels", True)) == [(61, w.sum(), 1.0, "labels", True, True)] * 3
    assert all_of(3, lambda comm: on_rank(comm, "one_hot", False)) == [(61, 61.0, 1.0, "one_hot", None, None)] * 3


def test_accuracy_is_counted_alike_on_all_ranks_whatever_the_targets_of_each_are():
    """A target of 0.5 on one rank means that this is not a classification"""
    X, Y = np.ones((4, 2)), np.array([[0.0], [1.0], [0.5], [1.0]])
    net = fastbp.Network([2, 1], seed=0)

    def on_rank(comm):
        own = distributed.rows(4, comm)
        return net.evaluate(X[own], Y[own], comm=comm)

    assert [result.accuracy for result in all_of(2, on_rank)] == [None, None]


@pytest.mark.parametrize("nothing", [np.zeros(0, int), np.zeros((0, 10)), np.zeros((0, 10), np.float32)])
def test_metrics_take_Y_in_any_form_from_a_rank_without_rows(nothing):
    X, y = digits(60)

    def on_rank(comm, Y):
        rows = (X[:0], nothing) if comm.Get_rank() else (X, Y)
        return fastbp.train(network(), *rows, epochs=2, comm=comm, metrics=["accuracy"],
                            validation_data=rows).metrics["accuracy"]

    for Y in (y, np.eye(10)[y]):
        assert same(all_of(2, lambda comm, Y=Y: on_rank(comm, Y)))


def test_an_error_that_the_others_cannot_be_told_of_aborts_them():
    X, y = digits(90)

    aborted = []

    class Broken(Threads):
        def Abort(self, code):
            aborted.append((self.rank, code))
            super().Abort(code)

        def Allreduce(self, mine, total):
            if self.rank == 1 and self.calls > 40:
                raise OSError("the network is down")
            super().Allreduce(mine, total)

    def on_rank(comm):
        own = distributed.rows(90, comm)
        fastbp.train(network(), X[own], y[own], epochs=100, batch_size=30, comm=comm)

    results = ranks(2, on_rank, Broken)
    assert isinstance(results[1], OSError)
    assert isinstance(results[0], threading.BrokenBarrierError)
    assert aborted[0] == (1, 1)


def test_a_rank_whose_memory_ends_within_scipy_ends_all(monkeypatch):
    """The others wait for its part of J and D"""
    X, y = digits(60)
    scipy_minimize = scipy.optimize.minimize

    def minimize(function, start, **how):
        if threading.current_thread().name == "full":
            raise MemoryError
        return scipy_minimize(function, start, **how)

    monkeypatch.setattr(scipy.optimize, "minimize", minimize)

    def on_rank(comm):
        if comm.Get_rank() == 1:
            threading.current_thread().name = "full"
        fastbp.minimize(network(), X[distributed.rows(60, comm)], y[distributed.rows(60, comm)], maxiter=3, comm=comm)

    results = ranks(2, on_rank)
    assert isinstance(results[1], MemoryError)
    assert isinstance(results[0], threading.BrokenBarrierError)


def test_a_communicator_without_ranks_is_refused_by_name():
    """MPI.COMM_NULL, or one that was freed"""
    class Null(Serial):
        def Get_rank(self):
            raise RuntimeError("MPI_ERR_COMM: invalid communicator")

    for call in (lambda: Group(Null()), lambda: distributed.rows(10, Null()),
                 lambda: fastbp.Trainer(network(), comm=Null())):
        with pytest.raises(ValueError, match=r"^comm must be a communicator with ranks, .*Null"):
            call()
