"""Frozen parameters keep their bits with every rule, decay and way to take steps; the others move as if the frozen ones
were constants.
"""

import copy
import pickle

import numpy as np
import pytest
from communicators import Serial
from helpers import DTYPES, distance, problem, tolerance

import fastbp
from fastbp import optimizers, schedules
from fastbp.engine import frozen


class Python(fastbp.Adam):
    """A rule in Python"""

    def update(self, theta, D, state):
        super().update(theta, D, state)


RULES = ["sgd", fastbp.SGD(0.1, momentum=0.9), fastbp.SGD(0.1, momentum=0.9, nesterov=True), "adam",
         fastbp.AdamW(0.01, weight_decay=0.1), "nadam", "rmsprop", optimizers.RMSprop(momentum=0.5), "adagrad",
         optimizers.RPROP(), fastbp.Adam(schedules.Cosine(0.1, 10)), Python(0.01)]
SETTINGS = [{}, {"weight_decay": 0.1, "l1": 0.01}, {"clip_norm": 0.1, "weight_decay": [0.0, 0.1, 0.2]},
            {"dropout": 0.3, "clip_value": 0.01}]
SIZES = (5, 9, 7, 4)


def masks(net):
    """Masks: some parameters of a few layers, all of some layers, one parameter, all but one"""
    rng, n = np.random.default_rng(0), net.n_parameters
    one, but_one = np.zeros(n, bool), np.ones(n, bool)
    one[17], but_one[-1] = True, False
    return {"some": rng.random(n) < 0.5, "one": one, "all but one": but_one, "the last layer": [3],
            "two layers": (1, 3), "the middle": np.array(frozen.mask([2], net.plan))}


def network(dtype=np.float64):
    p = problem(SIZES, "tanh", "softmax", m=600, dtype=dtype)
    net = p.network()
    net.theta[::5] = -0.0       # its sign is a bit that sums lose
    return p, net


def is_kept(net, before, free):
    own = frozen.mask(free, net.plan)
    assert net.theta[~own].tobytes() == before[~own].tobytes(), "a frozen parameter has changed"
    assert (net.theta[own] != before[own]).any(), "nothing has been trained"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_is_not_free_keeps_its_bits_under_momentum_and_decay(rule, settings, dtype):
    for name in masks(network()[1]):
        p, net = network(dtype)
        free, before = masks(net)[name], net.theta.copy()
        trainer = fastbp.Trainer(net, copy.deepcopy(rule), seed=0, free=free, **settings)
        trainer.step(p.X[:9], p.Y[:9])
        trainer.epoch(p.X[:40], p.Y[:40], batch_size=8)
        trainer.epoch(p.X[:6], p.Y[:6], batch_size=1)
        trainer.step(p.X, p.Y)
        trainer.forward(p.X[:8])
        trainer.step(p.X[:9], gradient=trainer.forward(p.X[:9])) if settings.get("dropout") is None else None
        trainer.apply(np.ones(net.n_parameters))
        is_kept(net, before, free)


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "l1": 0.01, "clip_value": 0.02}],
                         ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_is_free_moves_as_it_does_alone(rule, settings):
    """Rules treat each parameter by itself: free ones move as in training whose frozen ones are restored each step"""
    for name in masks(network()[1]):
        p, net = network()
        free, start = masks(net)[name], net.theta.copy()
        own = frozen.mask(free, net.plan)
        trainer = fastbp.Trainer(net, copy.deepcopy(rule), free=free, **settings)
        other = fastbp.Trainer(net.copy(), copy.deepcopy(rule), **settings)
        for first in range(0, 30, 6):
            J = trainer.step(p.X[first : first + 6], p.Y[first : first + 6])
            assert pytest.approx(other.step(p.X[first : first + 6], p.Y[first : first + 6]), 1e-12) == J
            other.net.theta[~own] = start[~own]
            assert distance(net.theta[own], other.net.theta[own]) < tolerance(np.float64, "training")


def test_the_norm_that_is_clipped_is_that_of_the_free_parameters():
    p, net = network()
    for free in masks(net).values():
        for rule in (fastbp.SGD(1.0), Rule()):
            twin = net.copy()
            own = frozen.mask(free, net.plan)
            fastbp.Trainer(twin, rule, clip_norm=1e-3, free=free).step(p.X, p.Y)
            assert np.linalg.norm((twin.theta - net.theta)[own]) == pytest.approx(1e-3, 1e-6)


class Rule:
    """Plain descent as a user would write it"""

    def init(self, theta):
        return {}

    def update(self, theta, D, state):
        theta -= D


def test_a_rule_in_python_that_fails_leaves_the_frozen_parameters():
    class Broken(Rule):
        def update(self, theta, D, state):
            theta[:] = 7
            raise ZeroDivisionError

    p, net = network()
    before = net.theta.copy()
    with pytest.raises(ZeroDivisionError):
        fastbp.Trainer(net, Broken(), free=[1]).step(p.X, p.Y)
    own = frozen.mask([1], net.plan)
    assert net.theta[~own].tobytes() == before[~own].tobytes()


@pytest.mark.parametrize("rule", ["sgd", fastbp.SGD(0.1, momentum=0.9), "adam", Python()], ids=str)
@pytest.mark.parametrize("batch_size", [1, 16, None])
def test_train_leaves_what_is_not_free(batch_size, rule):
    p, net = network()
    for free in masks(net).values():
        twin = net.copy()
        fastbp.train(twin, p.X[:60], p.Y[:60], optimizer=copy.deepcopy(rule), epochs=2, batch_size=batch_size, seed=0,
                     weight_decay=0.1, free=free, validation_data=(p.X, p.Y),
                     callbacks=[fastbp.callbacks.EarlyStopping(patience=1)])
        is_kept(twin, net.theta, free)


@pytest.mark.parametrize("sync_every", [None, 2])
@pytest.mark.parametrize("rule", ["sgd", "adam", Python()], ids=str)
def test_ranks_leave_what_is_not_free(rule, sync_every):
    p, net = network()
    for free in masks(net).values():
        twin = net.copy()
        fastbp.train(twin, p.X[:60], p.Y[:60], optimizer=copy.deepcopy(rule), epochs=2, batch_size=7, seed=0,
                     weight_decay=0.1, free=free, comm=Serial(), sync_every=sync_every)
        is_kept(twin, net.theta, free)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["L-BFGS-B", "CG", "TNC"])
def test_minimize_searches_the_free_parameters(method, dtype):
    p, net = network(dtype)
    for comm in (None, Serial()):
        for free in masks(net).values():
            twin = net.copy()
            result = fastbp.minimize(twin, p.X, p.Y, method=method, weight_decay=0.01, maxiter=40, free=free, comm=comm)
            is_kept(twin, net.theta, free)
            assert result.x.shape == net.theta.shape
            assert (result.x.astype(dtype) == twin.theta).all()
            assert result.fun < net.cost(p.X, p.Y, weight_decay=0.01)


def test_all_free_is_no_mask():
    p, net = network()
    for free in (None, [1, 2, 3], (3, 2, 1, 1), np.ones(net.n_parameters, bool), np.array([1, 2, 3]).tolist()):
        trainer = fastbp.Trainer(net.copy(), free=free)
        assert trainer.free is None
        trainer.step(p.X, p.Y)
    assert (fastbp.Trainer(net, free=[np.int64(2)]).free == frozen.mask([2], net.plan)).all()


def test_the_mask_is_the_trainers_own():
    p, net = network()
    mask = np.array(frozen.mask([1], net.plan))
    trainer, before = fastbp.Trainer(net, free=mask), net.theta.copy()
    mask[:] = True
    trainer.free[:] = True
    trainer.step(p.X, p.Y)
    is_kept(net, before, [1])


def test_fault_57_True_in_other_bytes_is_free():
    net = fastbp.Network([3, 2])
    mask = np.array([2, 0, 255, 0, 1, 0, 0, 4], np.uint8).view(bool)
    assert frozen.mask(mask, net.plan).tobytes() == bytes([1, 0, 1, 0, 1, 0, 0, 1])


N = fastbp.Network(SIZES).n_parameters
BAD = {
    "a short mask": np.ones(N - 1, bool), "a long mask": np.ones(N + 1, bool), "a matrix": np.ones((N, 1), bool),
    "numbers": np.ones(N), "whole numbers": np.ones(N, int), "nothing free": np.zeros(N, bool), "no layers": [],
    "layer 0": [0], "layer L": [1, 4], "layer -1": [-1], "half a layer": [1.0], "bools": [True, False, True],
    "a word": "all", "words": ["first"], "a number": 1, "nested": [[1]], "a set": {1}, "a dict": {1: True},
    "masked": np.ma.array(np.ones(N, bool), mask=True),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_mask_is_named_and_changes_nothing(what):
    p, net = network()
    before = net.theta.tobytes()
    for call in (lambda: fastbp.Trainer(net, free=BAD[what]), lambda: fastbp.minimize(net, p.X, p.Y, free=BAD[what]),
                 lambda: fastbp.train(net, p.X, p.Y, epochs=1, free=BAD[what])):
        with pytest.raises((ValueError, TypeError), match=r"\bfree\b"):
            call()
    assert net.theta.tobytes() == before


@pytest.mark.parametrize(("bad", "got"), [
    ("all", "'all'"), (1, "1"), ({1}, "{1}"), (np.ones(N), "an array of dtype float"), (["first"], "'first' in a list"),
    (range(1, 2), "an array of dtype int"),
])
def test_whatever_is_no_mask_is_told_what_is_accepted(bad, got):
    with pytest.raises(TypeError, match=f"^free must be a boolean array like theta, or a list of layer .*; got {got}"):
        fastbp.Trainer(network()[1], free=bad)


@pytest.mark.parametrize("bad", [b"1", b"1" * 200, bytearray(29), "1" * 29, np.ones(29, bool)])
def test_the_core_takes_a_byte_for_each_parameter_alone(bad):
    from core_parts import Parts

    from fastbp import _epoch

    parts = Parts(np.float64)
    with pytest.raises(ValueError, match="free"):
        _epoch.Rule(parts.plan, parts.code, parts.settings, parts.regularisation, parts.slots, parts.scalars,
                    parts.taken, bad)


# ---------------------------------------------------------------- files and pickles


@pytest.mark.parametrize("name", ["some", "the last layer"])
def test_pickles_and_copies_keep_what_is_free(name):
    p, net = network()
    free = masks(net)[name]
    trainer = fastbp.Trainer(net, fastbp.SGD(0.1, momentum=0.9), weight_decay=0.1, free=free)
    trainer.step(p.X, p.Y)
    for twin in (pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer), copy.copy(trainer)):
        before = twin.net.theta.copy()
        assert (twin.free == trainer.free).all()
        twin.step(p.X, p.Y)
        is_kept(twin.net, before, free)
    old = trainer.__getstate__()
    del old["free"]     # of a pickle from before
    assert pickle.loads(pickle.dumps(fastbp.Trainer(p.network()))).free is None
    twin = fastbp.Trainer.__new__(fastbp.Trainer)
    twin.__setstate__(old)
    assert twin.free is None


def test_a_file_of_a_trainer_never_loses_what_is_free_without_a_word(tmp_path):
    _p, net = network()
    path = tmp_path / "trainer.fastbp"
    fastbp.Trainer(net, free=[1]).save(path)
    with pytest.raises(ValueError, match="free"):
        fastbp.Trainer(net.copy()).restore(path)
    fastbp.Trainer(net).save(path)
    frozen_one = fastbp.Trainer(net.copy(), free=[1])
    with pytest.raises(ValueError, match="free"):
        frozen_one.restore(path)
    assert (frozen_one.net.theta == net.theta).all()


@pytest.mark.parametrize("name", ["some", "the last layer"])
def test_a_training_resumes_with_what_was_free(name, tmp_path):
    p, net = network()
    free, path = masks(net)[name], tmp_path / "training.fastbp"

    def train(net, epochs, path=None, resume=None, free=free):
        fastbp.train(net, p.X[:60], p.Y[:60], epochs=epochs, batch_size=8, seed=0, weight_decay=0.1, free=free,
                     checkpoint=path, resume=resume)

    whole, cut = net.copy(), net.copy()
    train(whole, 3)
    train(cut, 1, path)
    again = net.copy()
    train(again, 3, path, True)
    assert again.theta.tobytes() == whole.theta.tobytes()
    for other in (None, [2], np.arange(net.n_parameters) % 2 == 0):
        with pytest.raises(ValueError, match="free"):
            train(net.copy(), 4, path, True, free=other)
    train(net.copy(), 1, path, False, free=None)
    with pytest.raises(ValueError, match="free"):
        train(net.copy(), 2, path, True)
