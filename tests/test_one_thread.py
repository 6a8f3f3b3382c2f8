"""A network being trained, its trainers and an estimator being fitted refuse a second thread."""

import copy
import os
import sys
import threading

import numpy as np
import pytest
import sklearn.base
from races import in_another_thread

import fastbp
from fastbp import _kernels
from fastbp.engine import checks
from fastbp.sklearn import MLPClassifier, MLPRegressor
from fastbp.sklearn.one_thread import FITTING, alone
from fastbp.tabular import TabularClassifier, TabularPreparation, TabularRegressor

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 6)), RNG.integers(0, 3, 40)


def network(seed=0, **settings):
    return fastbp.Network([6, 5, 3], output="softmax", seed=seed, **settings)


def trained(net):
    fastbp.train(net, X, Y, epochs=1)


CHANGES = {
    "train": trained,
    "state read": lambda net: fastbp.Trainer(net).state,
    "trainer copied": lambda net: copy.deepcopy(fastbp.Trainer(net)),
    "trainer saved": lambda net: fastbp.Trainer(net).save("trainer.fastbp"),
    "settings of a trainer": lambda net: setattr(fastbp.Trainer(net), "weight_decay", 0.1),
    "state of a trainer": lambda net: (trainer := fastbp.Trainer(net), setattr(trainer, "state", trainer.state)),
    "optimizer of a trainer": lambda net: setattr(fastbp.Trainer(net), "optimizer", "sgd"),
    "train_many": lambda net: fastbp.train_many([net], X, Y, epochs=1),
    "minimize": lambda net: fastbp.minimize(net, X, Y, maxiter=1000, weight_decay=0.1),
    "lm": lambda net: fastbp.minimize(net, X, Y, method="lm", maxiter=1000, weight_decay=0.1),
    "step": lambda net: fastbp.Trainer(net).step(X, Y),
    "step of numbers to convert": lambda net: fastbp.Trainer(net).step(X.tolist(), Y),
    "step along a gradient": lambda net: fastbp.Trainer(net).step(X, gradient=net.forward(X)),
    "apply": lambda net: fastbp.Trainer(net).apply(np.zeros(net.n_parameters)),
    "epoch": lambda net: fastbp.Trainer(net).epoch(X, Y),
    "epoch of a rule in Python": lambda net: fastbp.Trainer(net, InPython()).epoch(X, Y),
    "theta": lambda net: setattr(net, "theta", np.zeros(net.n_parameters)),
    "initialize": lambda net: net.initialize(1),
    "state": lambda net: net.__setstate__(net.__getstate__()),
}


class InPython:
    def init(self, theta):
        return {}

    def update(self, theta, D, state):
        theta -= 0.01 * D


@pytest.mark.parametrize("name", CHANGES)
def test_fault_190_a_network_that_is_trained_is_refused_to_another_thread(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net, found = network(), []

    def meanwhile(training):
        if not found:
            before = net.theta.copy()
            found.append(in_another_thread(lambda: CHANGES[name](net)))
            assert np.array_equal(net.theta, before)

    callback = type("Meanwhile", (), {"on_epoch_end": lambda self, training: meanwhile(training)})()
    twin = network()
    fastbp.train(net, X, Y, epochs=2, seed=0, callbacks=[callback])
    fastbp.train(twin, X, Y, epochs=2, seed=0)
    assert isinstance(found[0], RuntimeError), found
    assert "one thread at a time" in str(found[0])
    assert net.theta.tobytes() == twin.theta.tobytes()
    CHANGES[name](net)      # afterwards no thread holds it
    assert not isinstance(in_another_thread(lambda: CHANGES[name](net)), Exception)


def test_fault_190_a_trainer_is_not_restored_while_another_thread_trains_its_network(tmp_path):
    net, found = network(), []
    trainer = fastbp.Trainer(net)
    trainer.save(tmp_path / "trainer.fastbp")

    def meanwhile(training):
        found.append(in_another_thread(lambda: trainer.restore(tmp_path / "trainer.fastbp")))

    fastbp.train(net, X, Y, epochs=1,
                 callbacks=[type("Meanwhile", (), {"on_epoch_end": lambda self, training: meanwhile(training)})()])
    assert "one thread at a time" in str(found[0])
    trainer.restore(tmp_path / "trainer.fastbp")


def test_fault_190_minimize_starts_from_the_theta_that_another_search_has_left():
    """Earlier, it read theta before it reserved the network, so the second of two searches undid the first"""
    net, twin, waits = network(), network(), threading.Event()
    read = checks.own_parameters

    def slow(*arguments):
        waits.set()
        threading.Event().wait(0.2)
        return read(*arguments)

    def search(net):
        fastbp.minimize(net, X, Y, maxiter=1000, weight_decay=0.1, method="L-BFGS", options={"maxiter": 2})

    refused = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "own_parameters", slow)
        other = threading.Thread(target=lambda: search(net))
        other.start()
        waits.wait()
        try:
            search(net)
        except RuntimeError as error:
            refused.append(error)
        other.join()
    assert "one thread at a time" in str(refused[0])
    search(twin)
    assert net.theta.tobytes() == twin.theta.tobytes()


CLASSES = [0, 1, 2]
FITS = {
    "MLPClassifier.fit": (MLPClassifier(5, max_iter=3), lambda own: own.fit(X, Y)),
    "MLPClassifier.partial_fit": (MLPClassifier(5), lambda own: own.partial_fit(X, Y, classes=CLASSES)),
    "MLPClassifier.partial_fit of a row": (
        MLPClassifier(5), lambda own: own.partial_fit(X[:1], Y[:1], classes=CLASSES)),
    "MLPRegressor.fit": (MLPRegressor(hidden_layer_sizes=5, max_iter=3), lambda own: own.fit(X, Y)),
    "MLPRegressor.fit by lbfgs": (MLPRegressor(hidden_layer_sizes=5, solver="lbfgs"), lambda own: own.fit(X, Y)),
    "MLPRegressor.partial_fit": (MLPRegressor(hidden_layer_sizes=5), lambda own: own.partial_fit(X, Y)),
    "TabularClassifier.fit": (TabularClassifier(2, epochs=2), lambda own: own.fit(X, Y)),
    "TabularRegressor.fit": (TabularRegressor(2, epochs=2), lambda own: own.fit(X, Y)),
    "TabularPreparation.fit": (TabularPreparation(), lambda own: own.fit(X)),
    "TabularPreparation.fit_transform": (TabularPreparation(), lambda own: own.fit_transform(X)),
}


@alone
def while_fitted(estimator, work):
    """Call work() while this thread fits the estimator"""
    work()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FITS)
def test_fault_190_an_estimator_that_is_fitted_is_refused_to_another_thread(name):
    """Earlier, two fits at once silently mixed their curves, classes and weights"""
    estimator, fit = FITS[name]
    own = sklearn.base.clone(estimator)

    def meanwhile():
        before = dict(vars(own))
        refused = in_another_thread(lambda: fit(own))
        assert isinstance(refused, RuntimeError), refused
        assert "one thread at a time" in str(refused)
        assert vars(own) == before
        fit(own)        # this thread may
        assert isinstance(in_another_thread(lambda: fit(own)), RuntimeError)

    while_fitted(own, meanwhile)
    assert not isinstance(in_another_thread(lambda: fit(own)), Exception)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fault_190_a_fit_that_fails_lets_other_threads_fit():
    own = MLPClassifier(5, max_iter=3)
    with pytest.raises(ValueError, match="inconsistent"):
        own.fit(X, Y[:3])
    assert not isinstance(in_another_thread(lambda: own.fit(X, Y)), Exception)
    assert not FITTING


def test_fault_190_ctrl_c_at_any_moment_lets_other_threads_fit():
    """Python looks for it where a function begins, and behind one in C: at each of these, one after the other"""
    own, at = MLPRegressor(hidden_layer_sizes=2).partial_fit(X[:1], X[:1, 0]), 0

    def interrupt(frame, event, _):
        nonlocal left
        left -= event in ("call", "c_return")
        if left < 0:
            sys.setprofile(None)
            raise KeyboardInterrupt

    done = False
    while not done:
        left, at = at, at + 1
        before = sys.getprofile()
        sys.setprofile(interrupt)
        try:
            own.partial_fit(X[:1], X[:1, 0])
            done = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(before)
        assert not FITTING
    assert at > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fault_190_a_child_forked_while_another_thread_fits_may_fit():
    own, begun, end = MLPClassifier(5), threading.Event(), threading.Event()

    def hold():
        begun.set()
        end.wait()

    other = threading.Thread(target=lambda: while_fitted(own, hold))
    other.start()
    begun.wait()
    child = os.fork()
    if child == 0:      # pragma: no cover  (it ends here)
        try:
            while_fitted(own, lambda: os._exit(0))
        except BaseException:
            os._exit(2)
    end.set()
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_fault_190_the_thread_that_trains_may_read_and_change_the_network_and_others_may_read_it():
    net, rows = network(), []

    def meanwhile(training):
        fastbp.Trainer(net).step(X, Y)
        rows.append(in_another_thread(lambda: net.predict(X)))
        net.theta = net.theta

    callback = type("Meanwhile", (), {"on_epoch_end": lambda self, training: meanwhile(training)})()
    fastbp.train(net, X, Y, epochs=2, callbacks=[callback])
    assert rows[-1].tobytes() == net.predict(X).tobytes()


def test_fault_190_a_network_predicts_while_another_thread_assigns_its_theta():
    """A prediction during the assignment may mix both thetas; afterwards every bit is right"""
    net, stop, rows = fastbp.Network([6, 300, 3], output="softmax", seed=0), threading.Event(), []
    thetas = [net.theta.copy(), -net.theta]

    def predict():
        while not stop.is_set():
            rows.append(np.abs(net.predict(X).sum(axis=1) - 1).max())
            rows.append(abs(net.predict(X[0]).sum() - 1))

    reader = threading.Thread(target=predict)
    reader.start()
    try:
        for i in range(400):
            net.theta = thetas[i % 2]
    finally:
        stop.set()
        reader.join()
    assert max(rows) < 1e-12
    twin = net.copy()
    twin.theta = thetas[1]
    assert net.predict(X).tobytes() == twin.predict(X).tobytes()


def test_fault_190_an_error_of_a_training_gives_the_network_back():
    net = network()

    def fails(training):
        raise KeyError("here")

    with pytest.raises(KeyError):
        fastbp.train(net, X, Y, epochs=1, callbacks=[type("Fails", (), {"on_epoch_end": lambda self, t: fails(t)})()])
    with pytest.raises(ValueError, match="Y"):
        fastbp.Trainer(net).step(X, Y + 9)
    assert not isinstance(in_another_thread(lambda: trained(net)), Exception)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_fault_190_a_child_forked_while_another_thread_trains_may_train_the_network():
    turn, begun, end = _kernels.Turn(), threading.Event(), threading.Event()

    def hold():
        with turn:
            begun.set()
            end.wait()

    other = threading.Thread(target=hold)
    other.start()
    begun.wait()
    with pytest.raises(RuntimeError, match="one thread at a time"), turn:
        pass
    child = os.fork()
    if child == 0:      # pragma: no cover  (it ends here)
        try:
            with turn, turn:
                refused = in_another_thread(turn.__enter__)
            os._exit(0 if isinstance(refused, RuntimeError) else 1)
        except BaseException:
            os._exit(2)
    end.set()
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with turn:
        pass
