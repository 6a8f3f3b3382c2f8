"""A trainer's state that its owner replaces or changes in place."""

import numpy as np
import pytest
from test_replaced import OPTIMIZERS, ScaledAdam, X, Y, network

import fastbp


def in_python(optimizer):
    """The optimizer as a rule in Python: a subclass with an `update` of its own"""
    base = type(optimizer)
    optimizer.__class__ = type("Mine", (base,), {
        "update": lambda self, theta, D, state: base.update(self, theta, D, state)})
    return optimizer


GONE = object()
BAD = {"gone": GONE, "None": None, "half": 0.5, "below": -1, "short": np.zeros(2), "list": [0.0], "text": "x",
       "matrix": np.zeros((1, 2)), "other": np.zeros(2450, np.float16), "object": np.array([None])}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("rule", [name for name in OPTIMIZERS if name != "python"])
def test_fault_53_a_state_that_a_rule_in_python_cannot_go_on_from_is_refused_by_entry(rule, bad):
    for name in in_python(OPTIMIZERS[rule]()).init(np.zeros(3)):
        for way in ("step", "epoch", "train"):
            trainer = fastbp.Trainer(network(), in_python(OPTIMIZERS[rule]()))
            trainer.step(X[:8], Y[:8])
            assert not trainer.compiled
            state = {**trainer.state, name: BAD[bad]}
            if bad == "gone":
                del state[name]
            trainer.state = state
            theta = trainer.net.theta.copy()
            with pytest.raises((ValueError, TypeError), match=rf"^state(\['{name}'\] must| has no '{name}')"):
                {"step": lambda t=trainer: t.step(X[:8], Y[:8]), "epoch": lambda t=trainer: t.epoch(X, Y),
                 "train": lambda t=trainer: t.epoch(X.tolist(), Y.tolist(), batch_size=None)}[way]()
            np.testing.assert_array_equal(trainer.net.theta, theta)


@pytest.mark.parametrize("state", [None, 5, [], "x", ()])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_fault_53_a_state_that_is_no_dict_is_refused(state, dropout):
    trainer = fastbp.Trainer(network(), ScaledAdam(), dropout=dropout, seed=0)
    theta = trainer.net.theta.copy()

    def put_and_step():
        trainer.state = state
        trainer.step(X[:8], Y[:8])

    with pytest.raises(TypeError, match=r"^state must be a dict; got"):
        put_and_step()
    np.testing.assert_array_equal(trainer.net.theta, theta)


def test_fault_53_read_only_arrays_and_wrong_biases_of_a_rule_in_python_are_refused():
    trainer = fastbp.Trainer(network(), in_python(fastbp.AdamW()))
    trainer.step(X[:8], Y[:8])
    good, theta = trainer.state, trainer.net.theta.copy()
    still = good["v"].copy()
    still.setflags(write=False)
    n = trainer.net.n_parameters
    for name, value, said in [
        ("v", still, r"state\['v'\] must be writeable"),
        ("bias", np.array([0, n]), rf"state\['bias'\] must be indices of theta, 0 to {n - 1}; it has 0 to {n}"),
        ("bias", np.array([-1, 4]), r"state\['bias'\] must be indices of theta"),
        ("bias", np.zeros(2), r"state\['bias'\] must be the indices"),
        ("t", 2**62, r"state\['t'\] must be less than"),
    ]:
        trainer.state = {**good, name: value}
        with pytest.raises(ValueError, match=said):
            trainer.step(X[:8], Y[:8])
        np.testing.assert_array_equal(trainer.net.theta, theta)
    trainer.state = {**good, "bias": np.empty(0, np.int64)}     # as `init` makes it: all decay
    trainer.step(X[:8], Y[:8])


@pytest.mark.parametrize("t", [2**62, 2**63 - 1, 2**63, np.int64(2**62), np.uint64(2**63), -1, True, 2.0])
def test_fault_60_a_count_of_steps_that_leaves_no_room_for_more_is_refused(t):
    trainer = fastbp.Trainer(network(), "adam")
    for state in (trainer.state, dict(trainer.state)):
        with pytest.raises((ValueError, TypeError), match=r"^state\['t'\] must be (less than 2\^6|a whole number)"):
            trainer.state = {**state, "t": t}
    trainer.state = {**trainer.state, "t": 2**62 - 1}
    assert trainer.state["t"] == 2**62 - 1


def test_fault_53_a_rate_without_a_step_count_is_refused_by_entry():
    class Mine(fastbp.optimizers.Optimizer):
        def __init__(self):
            self.learning_rate = fastbp.schedules.Constant(0.1)

        def update(self, theta, D, state):
            theta -= self.rate(state) * D

    trainer = fastbp.Trainer(network(), Mine())
    trainer.step(X, Y)
    for state, said in [({}, "state has no 't'.* it has no entries"), ({"T": 3}, "it has 'T'"),
                        ({"t": "x"}, r"state\['t'\] must be a whole number")]:
        trainer.state = state
        with pytest.raises((ValueError, TypeError), match=said):
            trainer.step(X, Y)


@pytest.mark.parametrize("made", [{"m": 1}, {"t": 0, "m": 1}, {"t": 0, "m": 1, "x": 1}])
def test_fault_53_a_compiled_rule_whose_init_makes_too_little_is_refused_by_entry(made):
    class Own(fastbp.Adam):
        compiled = "adam"

        def init(self, theta):
            return {name: np.zeros_like(theta) if value else 0 for name, value in made.items()}

    trainer = fastbp.Trainer(network(), Own())
    theta = trainer.net.theta.copy()
    with pytest.raises(ValueError, match=r"v in the state|state lacks .*v"):
        trainer.step(X, Y)
    with pytest.raises(ValueError, match=r"state lacks .*v"):
        trainer.state = {"t": 0, "m": np.zeros_like(theta)}
    np.testing.assert_array_equal(trainer.net.theta, theta)


# ---------------------------------------------------------------- the state, changed in place


def take(trainer, quick, n):
    for _ in range(n):
        trainer.step(X[:8], Y[:8]) if quick else trainer.epoch(X[:8], Y[:8], batch_size=None)


@pytest.mark.parametrize("rule", ["momentum", "adam", "nadam", "rmsprop"])
@pytest.mark.parametrize("quick", [True, False])
def test_fault_54_an_array_put_into_the_state_is_the_one_that_steps_go_on_from(quick, rule):
    trainer, twin = (fastbp.Trainer(network(), OPTIMIZERS[rule]()) for _ in range(2))
    take(trainer, quick, 4)
    take(twin, False, 4)
    held = trainer.state        # kept by its owner over several steps
    for factor in (0.5, 0.0):
        held["v"] = factor * held["v"]
        twin.state = {**twin.state, "v": factor * twin.state["v"]}
        take(trainer, quick, 3)
        take(twin, False, 3)
        assert trainer.net.theta.tobytes() == twin.net.theta.tobytes()
        assert trainer.state is held
        assert held["v"].tobytes() == twin.state["v"].tobytes()


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("value", [0, 7, None, "x", np.zeros(2), 2.5])
@pytest.mark.parametrize("name", ["t", "dropout_t", "dropout_seed"])
def test_fault_54_a_count_changed_alone_is_refused_since_it_has_no_effect(name, value, dropout):
    if name != "t" and not dropout:
        return
    trainer = fastbp.Trainer(network(), "adam", dropout=dropout, seed=1)
    take(trainer, True, 4)
    state, theta = trainer.state, trainer.net.theta.copy()
    kept, state[name] = state[name], value
    said = rf"^state\['{name}'\] cannot be changed by itself; assign the whole dict"
    for call in (lambda: take(trainer, True, 1), lambda: take(trainer, False, 1), lambda: trainer.state):
        with pytest.raises(ValueError, match=said):
            call()
    assert "after 4 steps" in repr(trainer)
    np.testing.assert_array_equal(trainer.net.theta, theta)
    state[name] = np.int64(kept)
    take(trainer, True, 2)
    trainer.state = {**trainer.state, name: 1}
    take(trainer, True, 1)
    assert trainer.state[name] == {"t": 2, "dropout_seed": 1, "dropout_t": 7}[name]     # dropout_t follows t


@pytest.mark.parametrize("alias", [
    lambda trainer: {"m": trainer.state["v"]}, lambda trainer: {"m": trainer.net.theta},
    lambda trainer: {"v": trainer.net.theta[:]}, lambda trainer: dict.fromkeys("mv", np.zeros_like(trainer.net.theta)),
])
@pytest.mark.parametrize("python", [True, False])
@pytest.mark.parametrize("assign", [True, False])
def test_fault_54_arrays_of_the_state_that_share_memory_are_refused(assign, python, alias):
    trainer = fastbp.Trainer(network(), in_python(fastbp.Adam()) if python else "adam")
    take(trainer, True, 2)
    theta = trainer.net.theta.copy()

    def put(arrays):
        if assign:
            trainer.state = {**trainer.state, **arrays}
        else:
            trainer.state.update(arrays)
        take(trainer, True, 1)

    with pytest.raises(ValueError, match=r"state\['[mv]'\] must have its own memory; it shares that of"):
        put(alias(trainer))
    np.testing.assert_array_equal(trainer.net.theta, theta)


def test_every_change_of_an_optimizer_counts_in_the_next_quick_step():
    """However it is set: an instance attribute, a property that reads something else, a float of another class"""
    rates = [0.1]

    class Own(fastbp.SGD):
        @property
        def learning_rate(self):
            return rates[0]

        @learning_rate.setter
        def learning_rate(self, value):
            pass

    X, Y = np.random.default_rng(0).standard_normal((8, 3)), np.eye(2)[np.arange(8) % 2]

    def noted(optimizer, value):
        optimizer.note, optimizer.learning_rate = value, 0.3

    for make, changes in (
        (fastbp.SGD, [
            lambda o: setattr(o, "learning_rate", np.float64(0.2)), lambda o: noted(o, np.ones(3)),
            lambda o: noted(o, np.zeros(3)), lambda o: delattr(o, "note"),
            lambda o: setattr(o, "learning_rate", lambda t: 0.5 / (1 + t)), lambda o: setattr(o, "learning_rate", 0.4),
        ]),
        (Own, [lambda o: rates.append(rates.pop() / 2), lambda o: rates.append(rates.pop() / 2)]),
        (fastbp.Adam, [lambda o: setattr(o, "beta_1", 0.5), lambda o: setattr(o, "epsilon_hat", True)]),
    ):
        quick, twin = (fastbp.Trainer(fastbp.Network([3, 4, 2], output="softmax", seed=0), make()) for _ in range(2))
        for change in [lambda o: None, *changes]:
            change(quick.optimizer)
            if quick.optimizer.__class__ is not Own:    # both read the same rates
                change(twin.optimizer)
            for _ in range(2):
                assert quick.steps.quick(X, Y) == twin.epoch(X, Y, batch_size=None)
            assert quick.net.theta.tobytes() == twin.net.theta.tobytes()
