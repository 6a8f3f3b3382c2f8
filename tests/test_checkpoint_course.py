"""Callbacks, signals and disk errors in training with a checkpoint: no state is lost, and resuming changes nothing."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

import fastbp
from fastbp import callbacks, schedules
from fastbp.files import container
from fastbp.training import checkpoint

M, BATCH = 48, 12
RNG = np.random.default_rng(3)
X = RNG.standard_normal((M, 5))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def path(quick_folder):
    return quick_folder / "t"


def network(seed=0, dtype=np.float64):
    return fastbp.Network([5, 4, 2], activation="tanh", output="softmax", dtype=dtype, seed=seed)


def run(net, epochs=5, **settings):
    return fastbp.train(net, X, Y, epochs=epochs, **{"batch_size": BATCH, "seed": 5, "optimizer": fastbp.SGD(0.1, 0.9),
                                                      **settings})


def same(net, history, other, other_history):
    assert net.theta.tobytes() == other.theta.tobytes()
    mine, its = history.state(), other_history.state()
    for each in (mine, its):
        each.pop("seconds")
    assert mine == its


def stopped_at(epoch):
    """A callback that pauses training after this epoch"""
    def pause(training):
        if training.epoch == epoch:
            training.pause("for now")

    return pause


# ---------------------------------------------------------------- changes by callbacks


def at_epoch(n, change):
    def callback(training):
        if training.epoch == n:
            change(training)

    return callback


@pytest.mark.parametrize("setting", [
    {"weight_decay": 0.1}, {"weight_decay": [0.1, 0.0]}, {"l1": 0.01}, {"clip_value": 0.001}, {"clip_norm": 0.01},
    {"batch_lam": 0.5},
])
def test_penalties_and_clipping_that_a_callback_changed_stay_changed(path, setting):
    def change(training):
        for name, value in setting.items():
            setattr(training.trainer, name, value)

    whole, net = network(), network()
    expected = run(whole, callbacks=[at_epoch(2, change)])
    run(net, callbacks=[at_epoch(2, change), stopped_at(3)], checkpoint=path)
    resumed = network(seed=9)
    same(resumed, run(resumed, checkpoint=path, resume=True), whole, expected)


class Begins:
    """Sets the learning rate at the start"""

    def on_train_begin(self, training):
        training.optimizer.learning_rate = 0.02


def test_a_learning_rate_set_in_on_train_begin_is_no_other_optimizer(path):
    whole, resumed = network(), network(seed=9)
    expected = run(whole, callbacks=[Begins()])
    run(network(), epochs=2, callbacks=[Begins()], checkpoint=path)
    same(resumed, run(resumed, callbacks=[Begins()], checkpoint=path, resume=True), whole, expected)


def test_a_schedule_that_a_callback_put_there_has_to_be_there_again(path):
    def change(training):
        training.optimizer.learning_rate = schedules.Exponential(0.1, 0.9)

    whole, resumed = network(), network(seed=9)
    expected = run(whole, callbacks=[at_epoch(2, change)])
    run(network(), callbacks=[at_epoch(2, change), stopped_at(3)], checkpoint=path)
    theta = resumed.theta.copy()
    with pytest.raises(ValueError, match=r"had reached the optimizer's learning_rate 'Exponential.* it is 0.1 now"):
        run(resumed, callbacks=[at_epoch(2, change)], checkpoint=path, resume=True)
    assert (resumed.theta == theta).all()
    optimizer = fastbp.SGD(schedules.Exponential(0.1, 0.9), 0.9)
    same(resumed, run(resumed, optimizer=optimizer, callbacks=[at_epoch(2, change)], checkpoint=path, resume=True),
         whole, expected)


def test_callbacks_find_their_own_states_in_their_order(path):
    class Counting(callbacks.Callback):
        def __init__(self, step):
            self.step = step

        def on_train_begin(self, training):
            self.n = 0

        def on_epoch_end(self, training):
            self.n += self.step

        def state(self):
            return {"n": self.n, "seen": [self.n / 7] * 200}

        def load_state(self, state):
            assert state["seen"] == [state["n"] / 7] * 200
            self.n = state["n"]

    first, second, third = Counting(1), Counting(10), Counting(100)
    run(network(), epochs=3, callbacks=[first, lambda training: None, second, callbacks.Logging(), third],
        checkpoint=path)
    first, second, third = Counting(1), Counting(10), Counting(100)
    run(network(), epochs=5, callbacks=[first, lambda training: None, second, callbacks.Logging(), third],
        checkpoint=path, resume=True)
    assert (first.n, second.n, third.n) == (5, 50, 500)


@pytest.mark.parametrize("at", range(1, 9))
def test_a_cooldown_goes_on_where_it_was(path, at):
    def falling(optimizer):
        return {"optimizer": optimizer, "callbacks": [
            callbacks.ReduceOnPlateau(lambda training: 1.0, patience=0, cooldown=2, factor=0.5), stopped_at(at)]}

    rates = []
    whole = fastbp.SGD(0.125)
    run(network(), epochs=9, optimizer=whole, callbacks=[
        callbacks.ReduceOnPlateau(lambda training: 1.0, patience=0, cooldown=2, factor=0.5),
        lambda training: rates.append(whole.learning_rate)])
    assert rates == [0.125, *[0.0625] * 3, *[0.03125] * 3, *[0.015625] * 2]
    run(network(), epochs=9, **falling(fastbp.SGD(0.125)), checkpoint=path)
    resumed = fastbp.SGD(0.125)
    run(network(), epochs=9, **falling(resumed), checkpoint=path, resume=True)
    assert resumed.learning_rate == 0.015625


def test_a_state_that_a_callback_refuses_is_named_with_it_and_theta_stays(path):
    class Refusing(callbacks.Callback):
        def state(self):
            return {"n": 1}

        def load_state(self, state):
            raise KeyError("m")

    run(network(), epochs=2, callbacks=[callbacks.EarlyStopping("J"), Refusing()], checkpoint=path)
    net = network(seed=9)
    theta = net.theta.copy()
    with pytest.raises(fastbp.FormatError, match=r"callback 1, Refusing: KeyError\('m'\)"):
        run(net, callbacks=[callbacks.EarlyStopping("J"), Refusing()], checkpoint=path, resume=True)
    assert (net.theta == theta).all()


# ---------------------------------------------------------------- stop, pause, divergence


class AtBatch:
    """Does something after a batch, but nothing in resumed training"""

    def __init__(self, at, *actions):
        self.calls, self.actions, self.at = itertools.count(1), actions, at

    def on_batch_end(self, training):
        if next(self.calls) == self.at:
            for action in self.actions:
                action(training)


def stop(training):
    training.stop("stopped")


def pause(training):
    training.pause("paused")


@pytest.mark.parametrize("actions", [(stop, pause), (pause, stop)])
@pytest.mark.parametrize("at", [2, 4, 6])
def test_what_is_stopped_and_paused_in_one_batch_is_stopped(path, actions, at):
    whole, net, again = network(), network(), network(seed=9)
    expected = run(whole, callbacks=[AtBatch(at, stop)])
    assert (len(expected), expected.stopped) == (-(-at // 4), "stopped")
    same(net, run(net, callbacks=[AtBatch(at, *actions)], checkpoint=path), whole, expected)
    same(again, run(again, checkpoint=path, resume=True), whole, expected)


@pytest.mark.parametrize("actions", [(stop, pause), (pause, stop)])
def test_what_is_stopped_and_paused_after_one_epoch_is_stopped(path, actions):
    whole, net, again = network(), network(), network(seed=9)
    expected = run(whole, callbacks=[at_epoch(2, stop)])
    same(net, run(net, callbacks=[at_epoch(2, each) for each in actions], checkpoint=path), whole, expected)
    same(again, run(again, checkpoint=path, resume=True), whole, expected)


@pytest.mark.parametrize("kept", [True, False])
def test_a_pause_in_a_batch_that_diverges_is_a_divergence(path, kept):
    def explode(training):
        training.net.theta[0] = np.inf

    net = network()
    theta = net.theta.copy()
    with pytest.raises(fastbp.DivergenceError, match="epoch 1"):
        run(net, callbacks=[AtBatch(2, explode, pause)], checkpoint=path if kept else None)
    assert (net.theta == theta).all()
    if kept:
        assert np.isfinite(checkpoint.read(path).net.theta).all()


def test_a_stop_in_on_train_begin_holds_for_a_training_that_goes_on(path):
    class Never:
        def on_train_begin(self, training):
            training.stop("no time")

    run(network(), epochs=2, checkpoint=path)
    net = network(seed=9)
    history = run(net, callbacks=[Never()], checkpoint=path, resume=True)
    assert (len(history), history.stopped) == (2, "no time")
    assert checkpoint.read(path).history.stopped == "no time"
    assert (net.theta == fastbp.load(path).theta).all()


def test_a_reason_that_is_no_unicode_ends_no_training_in_an_error(path):
    history = run(network(), callbacks=[at_epoch(2, lambda training: training.stop("found \udcff.flag"))],
                  checkpoint=path)
    assert history.stopped == "found \\udcff.flag"
    assert checkpoint.read(path).history.stopped == history.stopped


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_best_theta_of_a_forged_file_is_finite_or_refused(path, bad):
    run(network(), epochs=2, callbacks=[callbacks.EarlyStopping("J")], checkpoint=path)
    arrays, meta = container.read(path)
    arrays["callback.0.theta"][3] = bad
    container.write(path, arrays, meta)
    net = network(seed=9)
    with pytest.raises(fastbp.FormatError, match="callback 0, EarlyStopping"):
        run(net, callbacks=[callbacks.EarlyStopping("J")], checkpoint=path, resume=True)


def test_what_is_in_the_file_already_is_not_written_again(path, monkeypatch):
    monkeypatch.setattr(checkpoint, "LEAST", 1000.0)
    written, write = [], container.write
    monkeypatch.setattr(container, "write", lambda *args: (written.append(args), write(*args)))

    def fail(training):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run(network(), callbacks=[at_epoch(3, fail)], checkpoint=path)
    assert len(written) == 3    # the first, two epochs
    run(network(), epochs=4, checkpoint=path, resume=True)
    assert len(written) == 5    # two epochs
    run(network(), epochs=4, checkpoint=path, resume=True)
    assert len(written) == 5


def test_batches_are_counted_on_from_epoch_to_epoch(path, monkeypatch):
    written, write = [], container.write

    def note(path, arrays, meta):
        write(path, arrays, meta)
        kept = checkpoint.read(path)
        written.append(len(kept.history) * 4 + kept.position.examples // BATCH)

    monkeypatch.setattr(container, "write", note)
    run(network(), checkpoint=path, checkpoint_every=(3, "batches"))
    assert written == [0, 3, 6, 9, 12, 15, 18, 20]


class Clock:
    """A clock that advances when it is read, and when states are copied"""

    def __init__(self, monkeypatch, look, copy):
        self.now, self.copies, take = 1e6, 0, checkpoint.states.of_steps

        def monotonic():
            self.now += look
            return self.now

        def slowly(trainer):
            self.now, self.copies = self.now + copy, self.copies + 1
            return take(trainer)

        monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=monotonic))
        monkeypatch.setattr(checkpoint.states, "of_steps", slowly)


def test_copies_take_a_fiftieth_of_the_time_however_long_one_takes(path, monkeypatch):
    for copy in (0.001, 0.1, 2.0):
        with monkeypatch.context() as patch:
            clock = Clock(patch, 0.0001, copy)
            run(network(), epochs=2000, checkpoint=path, checkpoint_every=10**6, resume=False)
            assert clock.copies * copy <= (clock.now - 1e6) / 50 + 3 * copy
            assert clock.copies > 3 or copy > 0.001


def test_seconds_are_counted_from_where_it_goes_on(path, monkeypatch):
    run(network(), epochs=2, checkpoint=path)
    written, write = [], container.write
    monkeypatch.setattr(container, "write", lambda *args: (written.append(args), write(*args)))
    Clock(monkeypatch, 0.01, 0.0)
    run(network(), epochs=6, checkpoint=path, checkpoint_every=(1000, "seconds"), resume=True)
    assert len(written) == 1


def test_a_training_goes_on_as_often_as_it_takes(path):
    settings = {"validation_split": 0.25, "dropout": 0.3, "seed": 8}
    whole, net = network(), network()
    expected = run(whole, **settings)
    for at in (1, 3, 4, 1, 6):
        history = run(net, checkpoint=path, resume=True, callbacks=[AtBatch(at, pause)], **settings)
        assert history.stopped == "paused"
        settings["seed"] = None     # that of the file
    same(net, run(net, checkpoint=path, resume=True, **settings), whole, expected)


def test_seconds_of_an_epoch_are_those_of_all_its_parts(path):
    run(network(), epochs=2, callbacks=[AtBatch(6, pause)], checkpoint=path)
    arrays, meta = container.read(path)
    meta["position"]["dict"]["seconds"] = 1000.0
    container.write(path, arrays, meta)
    history = run(network(), epochs=3, checkpoint=path, resume=True)
    assert [seconds > 1000 for seconds in history.seconds] == [False, True, False]


def test_a_divergence_writes_nothing(path, each_state_is_copied):
    def explode(training):
        training.optimizer.learning_rate = 1e300

    with pytest.raises(fastbp.DivergenceError):
        run(network(dtype=np.float32), callbacks=[at_epoch(2, explode)], checkpoint=path, checkpoint_every=100)
    assert checkpoint.read(path).key == (0, 0, None)


def test_the_epoch_that_was_begun_counts(path):
    run(network(), callbacks=[AtBatch(10, pause)], checkpoint=path)
    assert checkpoint.read(path).key[:2] == (2, 24)
    with pytest.raises(ValueError, match="has reached epoch 3; epochs is 2"):
        run(network(), epochs=2, checkpoint=path, resume=True)
    assert len(run(network(), epochs=3, checkpoint=path, resume=True)) == 3


@pytest.mark.parametrize("second", [OSError(28, "No space left"), MemoryError("none left"), TypeError("odd")])
def test_whatever_keeps_the_last_state_from_being_written_the_first_exception_is_seen(
    path, each_state_is_copied, monkeypatch, second
):
    def fail(training):
        def broken(*_):
            raise second

        monkeypatch.setattr(container, "write", broken)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run(network(), callbacks=[at_epoch(2, fail)], checkpoint=path, checkpoint_every=100)
    assert str(second) in caught.value.__notes__[0]
    monkeypatch.undo()
    assert len(checkpoint.read(path).history) == 0      # the first one


def test_a_disk_that_is_full_for_a_moment_costs_the_training_and_no_state(path, each_state_is_copied, monkeypatch):
    write, calls = container.write, itertools.count(1)

    def full(*args):
        if next(calls) == 4:
            raise OSError(28, "No space left on device")
        write(*args)

    monkeypatch.setattr(container, "write", full)
    whole, net = network(), network()
    expected = run(whole)
    with pytest.raises(OSError, match="No space left"):
        run(net, checkpoint=path)
    same(net, run(net, checkpoint=path, resume=True), whole, expected)
