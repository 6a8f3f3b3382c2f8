"""Sequences of legal and illegal assignments between steps: none crashes, none touches another network."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp

RNG = np.random.default_rng(0)
X, Y, W = RNG.random((24, 6)), np.arange(24) % 3, RNG.random(24)
REFUSED = (ValueError, TypeError, AttributeError, KeyError, BufferError, ArithmeticError, IndexError)
OPTIMIZERS = [
    lambda: fastbp.SGD(0.01), lambda: fastbp.SGD(0.01, momentum=0.9), lambda: fastbp.Adam(0.01), fastbp.AdamW,
    fastbp.optimizers.Nadam, lambda: fastbp.RMSprop(momentum=0.5), fastbp.optimizers.Adagrad, fastbp.optimizers.RPROP,
    lambda: "adam", lambda: None, lambda: 3, lambda: fastbp.Adam, lambda: fastbp.SGD(fastbp.schedules.Constant(0.1)),
]
VALUES = [
    None, 0, -1, 0.5, True, "m", np.nan, np.inf, 10**30, (), [0.1, 0.2], {}, np.zeros(1), np.zeros(45),
    np.zeros((9, 5)),
    np.zeros(45, np.float32), np.zeros(45)[::-1], np.frombuffer(bytes(360)), np.zeros(45, np.int64), object(),
]
SETTINGS = ["weight_decay", "l1", "batch_lam", "clip_value", "clip_norm", "state", "optimizer", "n_threads", "dropout",
            "net", "compiled", "regularisation"]


class Play:
    """A trainer and its network, and a second trainer with an equal one"""

    def __init__(self, choose):
        self.choose = choose
        self.net = self.network()
        self.trainer = fastbp.Trainer(self.net, "adam", dropout=choose([0.0, 0.3]), seed=1)
        self.other = self.network()
        self.bystander = fastbp.Trainer(self.other, "adam")
        self.bystander.step(X, Y)
        self.before = self.other.theta.tobytes(), pickle.dumps(self.bystander.state["m"])

    def network(self):
        return fastbp.Network([6, 4, 3], output="softmax", seed=0)

    def step(self):
        self.trainer.step(X[:5], Y[:5])

    def weighted_step(self):
        self.trainer.step(X[:5], Y[:5], W[:5])

    def epoch(self):
        self.trainer.epoch(X, Y, batch_size=self.choose([1, 7, None]))

    def ask(self):
        self.choose([self.net.predict, self.net.activations])(self.choose([X, X[0]]))
        self.net.cost_and_gradient(X, Y)

    def train(self):
        fastbp.train(self.net, X, Y, optimizer=self.trainer.optimizer, epochs=1, batch_size=7)

    def set_optimizer(self):
        self.trainer.optimizer = self.choose(OPTIMIZERS)()

    def set_setting(self):
        setattr(self.trainer, self.choose(SETTINGS), self.choose(VALUES))

    def set_of_optimizer(self):
        optimizer = self.trainer.optimizer
        setattr(optimizer, self.choose([*vars(optimizer), "slots", "settings", "compiled"]), self.choose(VALUES))

    def set_in_state(self):
        state = self.trainer.state
        state[self.choose([*state, "x"])] = self.choose(VALUES)

    def take_from_state(self):
        del self.trainer.state[self.choose(["t", "m", "v", "scalars", "last"])]

    def harm_state(self):
        self.harm(self.trainer.state[self.choose(["m", "v", "b", "step"])])

    def harm_theta(self):
        self.harm(self.choose([self.net.theta, self.net.Theta[0], self.net.theta.base]))

    def harm(self, a):
        self.choose([
            lambda: a.resize(self.choose([0, 3, 10**5]), refcheck=False), lambda: a.setflags(write=False),
            lambda: a.setflags(write=True), lambda: setattr(a, "shape", self.choose([(-1, 1), (5, 9), (45,)])),
            lambda: setattr(a, "dtype", self.choose([np.int64, np.float32, np.float64])),
            lambda: a.fill(self.choose([0, np.nan, 1e300])), lambda: setattr(a, "strides", (0,) * a.ndim),
            lambda: a.__setitem__(slice(None), RNG.random(a.shape)),
        ])()

    def set_theta(self):
        self.net.theta = self.choose([*VALUES, self.network().theta])

    def set_Theta(self):
        self.net.Theta = self.choose(VALUES)

    def restore_network(self):
        state = self.net.__getstate__()
        if self.choose([True, False]):
            state[self.choose(list(state))] = self.choose(VALUES)
        self.net.__setstate__(state)

    def restore_trainer(self):
        state = self.trainer.__getstate__()
        if self.choose([True, False]):
            state[self.choose(list(state))] = self.choose(VALUES)
        self.trainer.__setstate__(state)
        self.net = self.trainer.net

    def renew(self):
        self.trainer = self.choose([
            lambda: copy.copy(self.trainer), lambda: pickle.loads(pickle.dumps(self.trainer)),
            lambda: fastbp.Trainer(self.net, self.choose(OPTIMIZERS)())])()
        self.net = self.trainer.net

    def put_back(self):
        self.trainer.state = self.choose([copy.deepcopy, dict, lambda state: state])(self.trainer.state)

    def run(self, n):
        moves = [getattr(self, name) for name in MOVES]
        for _ in range(n):
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self.choose(moves)()
            except REFUSED:
                pass
        assert (self.other.theta.tobytes(), pickle.dumps(self.bystander.state["m"])) == self.before


MOVES = [
    "step", "step", "weighted_step", "epoch", "epoch", "ask", "train", "set_optimizer", "set_setting",
    "set_of_optimizer", "set_in_state",
    "take_from_state", "harm_state", "harm_theta", "set_theta", "set_Theta", "restore_network",
    "restore_trainer", "renew", "put_back",
]


@given(st.data())
def test_faults_53_54_a_sequence_of_assignments_crashes_nothing(data):
    Play(lambda options: data.draw(st.sampled_from(options))).run(12)


@pytest.mark.parametrize("seed", range(4))
def test_faults_53_54_thousands_of_sequences_crash_nothing(seed):
    several(seed, 250)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_faults_53_54_a_hundred_thousand_sequences_crash_nothing(seed):
    several(seed, 1000)


def several(seed, n):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        Play(lambda options: options[rng.integers(len(options))]).run(12)
