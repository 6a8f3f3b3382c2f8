"""Training that is stopped anywhere and resumed ends with the same bits as training that was never stopped."""

import itertools
import shutil

import numpy as np
import pytest

import fastbp
from fastbp import callbacks, schedules
from fastbp.engine import threads
from fastbp.files import container
from fastbp.training import checkpoint

OPTIMIZERS = {
    "sgd": lambda: fastbp.SGD(0.05),
    "momentum": lambda: fastbp.SGD(0.05, 0.9, True),
    "adam": lambda: fastbp.Adam(0.01),
    "adamw": lambda: fastbp.AdamW(0.01),
    "nadam": lambda: fastbp.optimizers.Nadam(0.01),
    "rmsprop": lambda: fastbp.RMSprop(0.01, momentum=0.5),
    "adagrad": lambda: fastbp.optimizers.Adagrad(0.05),
    "rprop": lambda: fastbp.optimizers.RPROP(0.01),
    "scheduled": lambda: fastbp.Adam(schedules.Cosine(0.02, steps=15, warmup=3)),
    "python": lambda: Damped(0.05),
}
M, EPOCHS, BATCH = 50, 5, 15    # four batches per epoch, the last of five examples


@pytest.fixture
def tmp_path(quick_folder):
    return quick_folder


class Damped(fastbp.optimizers.Optimizer):
    """theta := theta - rate mean of the D so far; its state has a number, a list, an array and a dict"""

    def __init__(self, rate):
        self.rate_ = rate

    def init(self, theta):
        return {"t": 0, "sum": np.zeros_like(theta), "seen": [], "more": {"worst": -np.inf, "pair": (1, None)}}

    def update(self, theta, D, state):
        state["t"] += 1
        state["sum"] += D
        state["seen"] = [*state["seen"][-3:], float(D[0])]
        state["more"]["worst"] = max(state["more"]["worst"], float(np.abs(D).max()))
        theta -= self.rate_ / state["t"] * state["sum"] * (1 + 0.01 * sum(state["seen"]))


class Falling(callbacks.Callback):
    """Sets, after each batch, a learning rate that depends on all J so far"""

    def __init__(self):
        self.total = 0.0

    def on_batch_end(self, training):
        self.total += training.J
        training.optimizer.learning_rate = 0.05 / (1 + self.total)

    def state(self):
        return {"total": self.total}

    def load_state(self, state):
        self.total = state["total"]


def examples(dtype=np.float64, weights=False):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((M, 6)).astype(dtype)
    return {"X": X, "Y": (X[:, 0] > 0).astype(int) + (X[:, 1] > 0),
            "sample_weight": rng.random(M) * (rng.random(M) < 0.8) if weights else None}


def network(dtype=np.float64, seed=0):
    return fastbp.Network([6, 5, 3], activation="tanh", output="softmax", dtype=dtype, seed=seed)


def run(net, data=None, epochs=EPOCHS, **settings):
    data = examples(net.dtype) if data is None else data
    made = {name: value() if callable(value) else value for name, value in settings.items()
            if name in ("optimizer", "callbacks")}
    return fastbp.train(net, **data, epochs=epochs, **{"batch_size": BATCH, "seed": 5, **settings, **made})


def same(net, history, other, other_history):
    assert net.theta.tobytes() == other.theta.tobytes()
    mine, its = history.state(), other_history.state()
    for each in (mine, its):
        each.pop("seconds")
    assert mine == its


def stop_everywhere(tmp_path, every_file, dtype=np.float64, data=None, units="batches", **settings):
    """Compares training resumed from each batch boundary with training that was never stopped"""
    whole, kept = network(dtype), network(dtype)
    expected = run(whole, data, **settings)
    path = tmp_path / "training.fastbp"
    first = {"checkpoint": path, "checkpoint_every": (1, units), "resume": False}
    same(kept, run(kept, data, **first, **settings), whole, expected)
    written = list(every_file)
    for file in written:
        shutil.copy(file, path)
        resumed = network(dtype, seed=9)
        same(resumed, run(resumed, data, checkpoint=path, resume=True, **{**settings, "seed": None}), whole, expected)
    return written


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fault_49_resumed_at_every_batch_boundary_of_five_epochs_it_ends_with_the_same_bits(
    tmp_path, every_file, optimizer, dtype
):
    settings = {
        "optimizer": OPTIMIZERS[optimizer], "validation_split": 0.2, "weight_decay": 1e-3, "metrics": ["accuracy"],
        "callbacks": lambda: [callbacks.EarlyStopping(patience=2)],
    }
    written = stop_everywhere(tmp_path, every_file, dtype, **settings)
    positions = [(len(kept.history), kept.position.examples) for kept in map(checkpoint.read, written)]
    stopped = positions[-1][0]
    batches = [15, 30, 40]
    assert positions == [(0, 0), *itertools.product(range(stopped), batches), (stopped, 0)]


@pytest.mark.parametrize("settings", [
    {"dropout": 0.3, "input_dropout": 0.1},
    {"shuffle": False, "batch_size": 7},
    {"batch_size": 1, "window": 20, "optimizer": lambda: fastbp.SGD(0.05), "epochs": 2},
    {"batch_size": None, "optimizer": lambda: fastbp.optimizers.RPROP(0.01)},
    {"l1": 1e-4, "clip_norm": 0.1, "weight_decay": [1e-3, 0.0]},
    {"optimizer": lambda: fastbp.SGD(0.1), "callbacks": lambda: [Falling()]},
    {"optimizer": lambda: fastbp.SGD(0.9), "validation_split": 0.2,
     "callbacks": lambda: [callbacks.ReduceOnPlateau(patience=0, cooldown=1)]},
    {"seed": lambda: np.random.Generator(np.random.MT19937(3))},
    {"seed": lambda: np.random.Generator(np.random.Philox(3))},
    {"seed": lambda: np.random.Generator(np.random.SFC64(3))},
], ids=lambda settings: "-".join(settings))
def test_resumed_with_whatever_else_may_be_set_it_ends_with_the_same_bits(tmp_path, every_file, settings):
    if callable(settings.get("seed")):
        settings = {**settings, "seed": settings["seed"]()}
        rng, state = settings["seed"], settings["seed"].bit_generator.state
        whole, kept, resumed = network(), network(), network(seed=9)
        expected = run(whole, **settings)
        rng.bit_generator.state = state
        run(kept, checkpoint=tmp_path / "t", checkpoint_every=(3, "batches"), **settings)
        after = rng.random()
        for file in list(every_file):
            rng.bit_generator.state = state
            same(resumed, run(resumed, checkpoint=file, resume=True, **settings), whole, expected)
            assert rng.random() == after    # the caller's generator has advanced equally far
        return
    stop_everywhere(tmp_path, every_file, **settings)


@pytest.mark.parametrize("shuffle", [False, True])
def test_resumed_with_weights_some_of_them_zero_it_ends_with_the_same_bits(tmp_path, every_file, shuffle):
    data = examples(weights=True)
    data["sample_weight"][15:30] = 0    # a batch without a step, unshuffled
    stop_everywhere(tmp_path, every_file, data=data, shuffle=shuffle)


def test_a_generator_of_another_kind_goes_on_as_the_one_that_was_kept(tmp_path):
    whole, net, path = network(), network(seed=9), tmp_path / "t"
    expected = run(whole, seed=5)
    run(network(), epochs=2, checkpoint=path, seed=5)
    other = np.random.Generator(np.random.Philox(1))
    state = repr(other.bit_generator.state)
    same(net, run(net, checkpoint=path, resume=True, seed=other), whole, expected)
    assert repr(other.bit_generator.state) == state
    longer = network()
    expected = run(longer, epochs=7)
    same(net, run(net, epochs=7, checkpoint=path, resume=True, seed=other), longer, expected)


def test_resumed_in_chunks_it_ends_with_the_same_bits(tmp_path, every_file):
    data = examples()
    chunks = [(data["X"][i : i + 20], data["Y"][i : i + 20]) for i in range(0, M, 20)]
    stop_everywhere(tmp_path, every_file, data={"X": chunks}, batch_size=5, window=15)


def test_resumed_with_other_numbers_of_threads_it_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "SHARED", 0)
    monkeypatch.setattr(threads, "SHARED_CALL", 0)
    monkeypatch.setattr(threads, "cores", lambda: 4)
    rng = np.random.default_rng(0)
    data = {"X": rng.standard_normal((3000, 6)), "Y": rng.integers(0, 3, 3000)}
    for batch_size in (700, 64):
        whole, path = network(), tmp_path / "t"
        expected = run(whole, data, batch_size=batch_size, n_threads=1)
        for before, after in ((1, 2), (3, 1), (2, 4)):
            run(network(), data, batch_size=batch_size, epochs=2, n_threads=before, checkpoint=path, resume=False)
            resumed = network(seed=9)
            history = run(resumed, data, batch_size=batch_size, n_threads=after, checkpoint=path, resume=True)
            same(resumed, history, whole, expected)


@pytest.mark.parametrize("at", range(1, 12))
def test_a_pause_in_any_batch_writes_what_the_next_training_goes_on_from(tmp_path, at):
    def pausing():
        calls = itertools.count(1)

        class Pause:
            def on_batch_end(self, training):
                if next(calls) == at:
                    training.pause("enough for today")

        return Pause()

    whole, first, second, path = network(), network(), network(), tmp_path / "t"
    expected = run(whole)
    history = run(first, checkpoint=path, checkpoint_every=100, callbacks=[pausing()])
    assert history.stopped == "enough for today"
    assert len(history) == (at - 1) // 4    # an unfinished epoch is not in the history
    assert (fastbp.load(path).theta == first.theta).all()
    same(second, run(second, checkpoint=path, resume=True), whole, expected)


def test_a_stop_in_a_batch_ends_that_epoch_and_the_training_for_good(tmp_path):
    def stopping():
        calls = itertools.count(1)

        class Stop:
            def on_batch_end(self, training):
                if next(calls) == 6:
                    training.stop("enough")

        return Stop()

    whole, net, path = network(), network(), tmp_path / "t"
    expected = run(whole, callbacks=[stopping()])
    same(net, run(net, checkpoint=path, checkpoint_every=(1, "batches"), callbacks=[stopping()]), whole, expected)
    assert (len(expected), expected.stopped) == (2, "enough")
    resumed = network(seed=9)
    same(resumed, run(resumed, checkpoint=path, resume=True), whole, expected)


def test_a_pause_after_an_epoch_is_one_too(tmp_path):
    whole, net, path = network(), network(), tmp_path / "t"
    expected = run(whole)

    def second(training):
        if training.epoch == 2:
            training.pause("later")

    history = run(net, checkpoint=path, callbacks=[second])
    assert (len(history), history.stopped) == (2, "later")
    same(net, run(net, checkpoint=path, resume=True), whole, expected)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
@pytest.mark.parametrize("at", [1, 4, 6, 8])
def test_an_exception_has_the_last_state_written(tmp_path, monkeypatch, error, at):
    monkeypatch.setattr(checkpoint, "LEAST", 0.0)
    monkeypatch.setattr(checkpoint, "TIMES", 0.0)
    calls = itertools.count(1)

    class Raise:
        def on_batch_end(self, training):
            if next(calls) == at:
                raise error("now")

    whole, net, path = network(), network(), tmp_path / "t"
    expected = run(whole)
    with pytest.raises(error, match="now"):
        run(net, checkpoint=path, checkpoint_every=100, callbacks=[Raise()])
    kept = checkpoint.read(path)
    assert len(kept.history) * 4 + kept.position.examples / BATCH == at - 1   # the batch before the one that raised
    same(net, run(net, checkpoint=path, resume=True), whole, expected)


def test_what_a_failing_disk_says_stands_beside_the_exception_and_hides_it_not(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "LEAST", 0.0)
    monkeypatch.setattr(checkpoint, "TIMES", 0.0)

    def fail(training):
        if training.epoch == 2:
            monkeypatch.setattr(container, "write", broken)
            raise RuntimeError("the first")

    def broken(*_):
        raise OSError(28, "No space left on device")

    with pytest.raises(RuntimeError, match="the first") as caught:
        run(network(), checkpoint=tmp_path / "t", checkpoint_every=3, callbacks=[fail])
    assert "No space left" in caught.value.__notes__[0]


def test_a_diverging_training_leaves_the_last_finite_checkpoint(tmp_path):
    path, net = tmp_path / "t", network(np.float32)
    data = examples(np.float32)

    def explode(training):
        if training.epoch == 2:
            training.optimizer.learning_rate = 1e300

    with pytest.raises(fastbp.DivergenceError):
        run(net, data, optimizer=fastbp.SGD(0.1), checkpoint=path, checkpoint_every=(1, "batches"), callbacks=[explode])
    kept = checkpoint.read(path)
    assert np.isfinite(kept.net.theta).all()
    assert len(kept.history) + (kept.position.examples == M) == 2


def test_early_stopping_counts_on_where_it_was_left_and_a_stopped_training_stays_stopped(tmp_path):
    settings = {"validation_split": 0.3, "optimizer": fastbp.SGD(3.0), "epochs": 60, "checkpoint": tmp_path / "t"}

    def stopping():
        return [callbacks.EarlyStopping(patience=3)]

    whole, net, again = network(), network(), network()
    expected = run(whole, callbacks=stopping(), **settings)
    assert expected.stopped
    assert expected.val_J[-1] > min(expected.val_J)
    run(net, callbacks=stopping(), resume=False, **{**settings, "epochs": len(expected) - 2})
    same(net, run(net, callbacks=stopping(), resume=True, **settings), whole, expected)
    same(again, run(again, callbacks=stopping(), resume=True, **settings), whole, expected)


def test_more_epochs_than_before_go_on_from_the_last(tmp_path):
    whole, net, path = network(), network(), tmp_path / "t"
    expected = run(whole, epochs=7)
    for epochs in (2, 5, 5, 7):
        history = run(net, epochs=epochs, checkpoint=path, resume=True)
        assert len(history) == epochs
    same(net, history, whole, expected)


@pytest.mark.parametrize(("every", "count"), [(1, 6), (2, 4), (100, 2), ((3, "epochs"), 3), ((4, "batches"), 7),
                                              ((7, "batches"), 4), ((1000, "seconds"), 2)])
def test_it_is_written_at_first_as_often_as_asked_and_at_the_end(tmp_path, every_file, every, count):
    run(network(), checkpoint=tmp_path / "t", checkpoint_every=every)
    assert len(every_file) == count
    first, last = checkpoint.read(every_file[0]), checkpoint.read(every_file[-1])
    assert (len(first.history), first.position.examples) == (0, 0)
    assert (len(last.history), last.position.examples) == (EPOCHS, 0)


def test_a_checkpoint_in_between_costs_no_bit_and_holds_the_network(tmp_path, every_file):
    plain, kept = network(), network()
    expected = run(plain)
    same(kept, run(kept, checkpoint=tmp_path / "t", checkpoint_every=(0, "seconds")), plain, expected)
    assert len(every_file) > 5
    loaded = fastbp.load(tmp_path / "t")
    assert (loaded.theta == plain.theta).all()
    assert repr(loaded) == repr(plain)
