"""`train_many`: bad input, networks that fail, Ctrl-C, progress, and the table."""

import threading
import time
import warnings

import numpy as np
import pytest
from helpers import ctrl_c
from test_many import LABELS, W, X, small

import fastbp
from fastbp.many.workers import Workers


def before(nets):
    return [net.theta.copy() for net in nets]


BAD = {
    "epochs": [0, 1.5, "two", None], "batch_size": [0, "all"], "weight_decay": [-1.0, (1.0, 2.0, 3.0), "much"],
    "lam": [-1.0], "l1": [-0.1], "clip_value": [0.0], "clip_norm": [-1], "dropout": [1.0, (0.1, 0.2)],
    "input_dropout": [1.0], "shuffle": [1, None], "seed": [-1, "one", 1.5], "optimizer": ["nosuch", fastbp.Adam, 3],
    "rows": [np.array([300]), np.array([-1]), np.array([0.5]), np.array([], int), np.zeros(7, bool), "all"],
    "validation_rows": [np.array([[1]]), np.array([300])], "sample_weight": [-W, W[:5], np.zeros(300)],
    "mean_weight": [0.0], "free": [(5,), np.zeros(59, bool)], "metrics": [("nosuch",)], "callbacks": [(3,)],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_names_argument_and_network_and_changes_nothing(name):
    for value in BAD[name]:
        nets = small(3)
        theta = before(nets)
        base = {"epochs": 2, "seed": 0}
        good = {"callbacks": (), "metrics": ()}.get(name, base.get(name, {"optimizer": "sgd"}.get(name)))
        if name in ("shuffle", "batch_size"):
            good = {"shuffle": True, "batch_size": 10}[name]
        if name in ("weight_decay", "l1", "dropout", "input_dropout"):
            good = 0.0
        base.pop(name, None)
        with pytest.raises((ValueError, TypeError), match=rf"^network 1, Network\(\[6, 6, 4\].*{name[:5]}"):
            fastbp.train_many(nets, X, LABELS, **base, **{name: [good, value, good]})
        assert all((net.theta == old).all() for net, old in zip(nets, theta, strict=True))


@pytest.mark.parametrize(("change", "match"), [
    ({"nets": "networks"}, "nets must be a list"), ({"nets": [3]}, r"nets\[0\] must be a fastbp.Network; got 3"),
    ({"epochs": [1, 2]}, "epochs is a list of 2: a list has one value for each of the 3 networks"),
    ({"rows": [np.arange(3)] * 2}, "rows is a list of 2"), ({"callbacks": [[], []]}, "callbacks is a list of 2"),
    ({"n_threads": 0}, "n_threads must be"), ({"progress": 1}, "progress must be"), ({"resume": True}, "resume=True"),
    ({"on_error": "ignore"}, "on_error must be"), ({"X": X[0]}, "X must be 2-D"), ({"X": X[:9]}, "X has 9 rows"),
    ({"X": np.full_like(X, np.nan)}, "X contains NaN"), ({"Y": LABELS + 9}, "labels must be"),
    ({"checkpoint_every": (3, "hours")}, "checkpoint_every must be a number of networks"),
    ({"seed": np.random.default_rng(0)}, "seed is one numpy Generator for networks 0 and 1"),
])
def test_arguments_of_the_whole_call(change, match):
    nets = small(3)
    theta = before(nets)
    given = {"nets": nets, "X": X, "Y": LABELS, "epochs": 1, "seed": 0} | change
    with pytest.raises((ValueError, TypeError), match=match):
        fastbp.train_many(given.pop("nets"), given.pop("X"), given.pop("Y"), **given)
    assert all((net.theta == old).all() for net, old in zip(nets, theta, strict=True))


def test_the_same_network_twice():
    net, = small(1)
    with pytest.raises(ValueError, match=r"nets\[1\] is nets\[0\]"):
        fastbp.train_many([net, net], X, LABELS, epochs=1)


def test_unknown_keywords_are_explained():
    with pytest.raises(TypeError, match=r"train_many\(\) has no argument 'validation_data': use validation_rows"):
        fastbp.train_many(small(1), X, LABELS, epochs=1, validation_data=(X, LABELS))
    with pytest.raises(TypeError, match=r"train_many\(\) has no argument 'lr': use optimizer"):
        fastbp.train_many(small(1), X, LABELS, epochs=1, lr=1)


def failing(i):
    """Callbacks of four networks; that of network i raises an error after its second epoch."""
    def fails(training):
        if training.epoch == 2:
            raise RuntimeError("no more")

    return [[fails] if k == i else [] for k in range(4)]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_exception_names_the_network(n_threads):
    with pytest.raises(RuntimeError, match=r"^network 2, Network\(\[6, 7, 4\].*: no more$"):
        fastbp.train_many(small(4), X, LABELS, epochs=4, seed=0, callbacks=failing(2), n_threads=n_threads)
    rates = [fastbp.SGD(0.1), fastbp.SGD(1e200), fastbp.SGD(0.1)]
    for n in (None, (0.5,)):    # by compiled epochs, and by the stages of train
        with pytest.raises(fastbp.DivergenceError, match=r"^network 1, .*training diverged in epoch 1") as caught:
            fastbp.train_many(small(3), X, LABELS, epochs=4, seed=0, optimizer=rates, n_threads=n_threads,
                              weight_decay=1.0, dropout=n or 0.0)
        assert caught.value.history.J == []


@pytest.mark.parametrize("n_threads", [1, 2])
def test_kept_errors_let_the_others_finish(n_threads):
    nets, alone = small(4), small(4)
    histories = fastbp.train_many(nets, X, LABELS, epochs=4, seed=0, callbacks=failing(2), n_threads=n_threads,
                                  on_error="keep")
    assert [len(history) for history in histories] == [4, 4, 0, 4]
    assert [type(history.error) for history in histories] == [type(None)] * 2 + [RuntimeError, type(None)]
    assert str(histories[2].error).startswith("network 2, ")
    assert repr(histories[2]) == "History(0 epochs, failed: RuntimeError)"
    for net in alone:
        fastbp.train(net, X, LABELS, epochs=2 if net is alone[2] else 4, seed=0)
    assert all((a.theta == b.theta).all() for a, b in zip(nets, alone, strict=True))
    diverged = fastbp.train_many(small(2), X, LABELS, epochs=3, seed=0, on_error="keep", weight_decay=1.0,
                                 optimizer=[fastbp.SGD(0.1), fastbp.SGD(1e200)], n_threads=n_threads)
    assert len(diverged[0]) == 3
    assert isinstance(diverged[1].error, fastbp.DivergenceError)
    assert diverged[1].state()["J"] == []


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.1}, {"batch_size": None}, {"optimizer": "own"}],
                         ids=["quick", "dropout", "large", "python"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_arrives_soon_and_leaves_finished_steps(settings, n_threads):
    many = np.tile(X, (20, 1)), np.tile(LABELS, 20)
    nets = [fastbp.Network([6, 60, 60, 4], output="softmax", seed=i) for i in range(4)]
    theta = before(nets)
    if "optimizer" in settings:
        class Own(fastbp.SGD):
            def update(self, theta, D, state):
                super().update(theta, D, state)

        settings = {"optimizer": Own(0.01)}
    sent = []

    def send():
        while all((net.theta == old).all() for net, old in zip(nets, theta, strict=True)):      # none has begun
            time.sleep(0.001)
        time.sleep(0.1)
        sent.append(time.monotonic())
        ctrl_c()

    striker = threading.Thread(target=send)
    striker.start()
    with pytest.raises(KeyboardInterrupt):
        fastbp.train_many(nets, *many, epochs=100_000, seed=0, n_threads=n_threads, **settings)
    took = time.monotonic() - sent[0]
    striker.join()
    assert took < 5         # 100 ms on a quiet machine: see below
    moved = [(net.theta != old).any() for net, old in zip(nets, theta, strict=True)]
    assert sum(moved) in range(1, n_threads + 1)
    assert all(np.isfinite(net.theta).all() for net in nets)
    left = [net.theta.copy() for net in nets]
    time.sleep(0.1)
    assert all((net.theta == old).all() for net, old in zip(nets, left, strict=True)), "somebody still trains"


def test_an_interrupted_network_is_as_a_finished_step_left_it():
    """An error in another network stops it; its theta is that of separate training with as many steps."""
    def late(training):
        if training.epoch == 3:
            raise RuntimeError("no more")

    nets = small(2)
    with pytest.raises(RuntimeError):
        fastbp.train_many(nets, X, LABELS, epochs=[5_000_000, 5], seed=0, batch_size=100, n_threads=2,
                          callbacks=[[], [late]])
    alone = small(1)[0]
    reached = alone.theta.tobytes() == nets[0].theta.tobytes()
    trainer, order = fastbp.Trainer(alone, "adam"), np.random.default_rng(0)
    ours = nets[0].theta.tobytes()
    end = time.monotonic() + 30
    while not reached and time.monotonic() < end:
        rows = order.permutation(300)
        for first in (0, 100, 200):
            trainer.step(X[rows[first : first + 100]], LABELS[rows[first : first + 100]])
            reached = reached or alone.theta.tobytes() == ours
    assert reached


def test_a_system_without_threads(monkeypatch):
    def none(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("fastbp.many.workers.start_new_thread", none)
    nets, alone = small(3), small(3)
    fastbp.train_many(nets, X, LABELS, epochs=2, seed=0, n_threads=3)
    for net in alone:
        fastbp.train(net, X, LABELS, epochs=2, seed=0)
    assert all((a.theta == b.theta).all() for a, b in zip(nets, alone, strict=True))


def test_an_error_outside_of_any_training_ends_the_call():
    def breaks(job):
        raise MemoryError("no room")

    class Job:
        operations = 1.0

        def train(self, room, look):
            pass

    for n in (1, 2):
        with pytest.raises(MemoryError):
            Workers([Job() for _ in range(4)], n, True, breaks, print, lambda: None).run()


def test_progress_counts_networks(capsys, monkeypatch):
    monkeypatch.setattr("fastbp.many.progress.EVERY", 0.0)
    fastbp.train_many(small(5), X, LABELS, epochs=2, seed=0, progress=True, n_threads=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "5 of 5 networks"
    assert all(" of 5 networks" in line for line in lines)


def test_table():
    pandas = pytest.importorskip("pandas")
    nets = [*small(2), fastbp.Network([6, 4], output="softmax", dtype=np.float32, seed=0)]
    histories = fastbp.train_many(nets, X, LABELS, epochs=2, seed=0, validation_rows=np.arange(30), on_error="keep",
                                  optimizer=[fastbp.SGD(0.1), fastbp.SGD(1e200), "adam"], weight_decay=1.0)
    frame = fastbp.many.table(nets, histories)
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 3
    assert list(frame["layer_sizes"]) == [(6, 5, 4), (6, 6, 4), (6, 4)]
    assert list(frame["epochs"]) == [2, 0, 2]
    assert frame["val_accuracy"][0] == histories[0].val_accuracy[-1]
    assert frame["error"][1].startswith("DivergenceError: network 1")
    assert frame["error"].isna().tolist() == [True, False, True]
    with pytest.raises(ValueError, match="same length"):
        fastbp.many.table(nets, histories[:2])


def test_no_warning_of_threads():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastbp.train_many(small(3), X, LABELS, epochs=1, seed=0, n_threads=2)


@pytest.mark.parametrize("kinds", [(np.random.Generator, np.random.Generator), (np.random.RandomState,) * 2,
                                   (lambda bits: bits, np.random.Generator),
                                   (np.random.RandomState, np.random.Generator)],
                         ids=["generators", "states", "bits and generator", "state and generator"])
def test_fault_171_generators_that_share_their_bits_are_one(kinds):
    bits = np.random.MT19937(0)
    with pytest.raises(ValueError, match="seed is one numpy Generator for networks 0 and 1"):
        fastbp.train_many(small(2), X, LABELS, epochs=1, seed=[kind(bits) for kind in kinds])
    fastbp.train_many(small(2), X, LABELS, epochs=1, seed=[kind(np.random.MT19937(i)) for i, kind in enumerate(kinds)])


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.1}, {"batch_size": None}, {"metrics": ("accuracy",)}],
                         ids=["quick", "dropout", "large", "metrics"])
def test_ctrl_c_arrives_within_100_ms(settings):
    """Of the processor's time of each of the two threads, at least half of the times"""
    many, took = (np.tile(X, (20, 1)), np.tile(LABELS, 20)), []
    for pause in np.linspace(0.05, 0.12, 9):
        nets = [fastbp.Network([6, 60, 60, 4], output="softmax", seed=i) for i in range(4)]
        theta, sent = before(nets), []

        def send(nets=nets, theta=theta, sent=sent, pause=pause):
            while all((net.theta == old).all() for net, old in zip(nets, theta, strict=True)):      # none has begun
                time.sleep(0.001)
            time.sleep(pause)
            sent.append(time.process_time())
            ctrl_c()

        timer = threading.Thread(target=send)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            fastbp.train_many(nets, *many, epochs=100_000, seed=0, n_threads=2, **settings)
        took.append((time.process_time() - sent[0]) / 2)
        timer.join()
    assert sorted(took)[len(took) // 3] < 0.1, took
