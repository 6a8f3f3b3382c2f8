"""Things that a user may assign, replace, freeze or resize between two steps take effect, or are refused by name."""

import copy

import numpy as np
import pytest

import fastbp

RNG = np.random.default_rng(0)
X, Y = RNG.random((64, 50)), np.arange(64) % 10


class ScaledAdam(fastbp.Adam):
    """A rule in Python, since it changes things that the compiled rule does not see"""

    def update(self, theta, D, state):
        super().update(theta, 0.5 * D, state)


OPTIMIZERS = {
    "sgd": lambda: fastbp.SGD(0.01), "momentum": lambda: fastbp.SGD(0.01, momentum=0.9), "adam": fastbp.Adam,
    "adamw": fastbp.AdamW, "nadam": fastbp.optimizers.Nadam, "rmsprop": fastbp.RMSprop,
    "adagrad": fastbp.optimizers.Adagrad, "rprop": fastbp.optimizers.RPROP, "python": ScaledAdam,
    "scheduled": lambda: fastbp.SGD(fastbp.schedules.Exponential(0.1, 0.9)),
}


def network(dtype=np.float64):
    return fastbp.Network([50, 40, 10], output="softmax", seed=0, dtype=dtype)


def few_steps(trainer):
    trainer.step(X[:8], Y[:8])
    trainer.epoch(X, Y, batch_size=16)
    trainer.step(X[8:16], Y[8:16])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("after", OPTIMIZERS)
@pytest.mark.parametrize("before", ["sgd", "adam", "nadam", "python"])
def test_fault_53_a_new_optimizer_starts_its_own_state(before, after, dropout):
    trainer = fastbp.Trainer(network(), OPTIMIZERS[before](), dropout=dropout, seed=1)
    few_steps(trainer)
    fresh = fastbp.Trainer(trainer.net.copy(), OPTIMIZERS[after](), dropout=dropout, seed=1)
    trainer.optimizer = OPTIMIZERS[after]()
    assert trainer.state["t"] == 0
    assert type(trainer.optimizer) is type(fresh.optimizer)
    if dropout:
        assert trainer.state["dropout_seed"] != fresh.state["dropout_seed"]     # no mask comes twice
        fresh.state = {**fresh.state, "dropout_seed": trainer.state["dropout_seed"]}
    few_steps(trainer)
    few_steps(fresh)
    assert trainer.net.theta.tobytes() == fresh.net.theta.tobytes()


def test_fault_53_a_name_is_an_optimizer_too_and_what_is_none_is_refused():
    trainer = fastbp.Trainer(network(), "adam")
    trainer.optimizer = "rmsprop"
    assert type(trainer.optimizer) is fastbp.RMSprop
    few_steps(trainer)
    own, state = trainer.optimizer, copy.deepcopy(trainer.state)
    for wrong in ("adamm", fastbp.Adam, 3, None):
        with pytest.raises((TypeError, ValueError), match="optimizer"):
            trainer.optimizer = wrong
    assert trainer.optimizer is own
    assert all(np.array_equal(trainer.state[name], state[name]) for name in state)


def test_fault_53_a_callback_may_replace_the_optimizer():
    def replace(training):
        if training.epoch == 2:
            training.optimizer = fastbp.SGD(0.5, momentum=0.5)

    net, twin = network(), network()
    fastbp.train(net, X, Y, optimizer=fastbp.Adam(0.01), epochs=4, callbacks=[replace], shuffle=False)
    fastbp.train(twin, X, Y, optimizer=fastbp.Adam(0.01), epochs=2, shuffle=False)
    fastbp.train(twin, X, Y, optimizer=fastbp.SGD(0.5, momentum=0.5), epochs=2, shuffle=False)
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("name", ["slots", "settings", "compiled", "update"])
def test_fault_53_an_instance_whose_methods_changed_is_a_rule_in_python(name):
    trainer = fastbp.Trainer(network(), fastbp.Adam(0.01))
    trainer.step(X, Y)
    trainer.optimizer.__dict__[name] = getattr(trainer.optimizer, name)
    trainer.epoch(X, Y)
    assert not trainer.compiled
    assert np.isfinite(trainer.net.theta).all()


def test_fault_53_an_update_of_the_instance_is_the_one_that_is_called():
    trainer, calls = fastbp.Trainer(network(), fastbp.Adam(0.01)), []
    trainer.step(X, Y)
    trainer.optimizer.update = lambda theta, D, state: calls.append(state["t"])
    theta = trainer.net.theta.copy()
    trainer.step(X, Y)
    trainer.epoch(X, Y, batch_size=32)
    assert calls == [1, 1, 1]
    np.testing.assert_array_equal(trainer.net.theta, theta)
    del trainer.optimizer.update
    trainer.epoch(X, Y)
    trainer.optimizer.rate = lambda state: 0.0      # of the rule in Python
    theta = trainer.net.theta.copy()
    trainer.step(X, Y)
    np.testing.assert_array_equal(trainer.net.theta, theta)
    assert len(calls) == 3


def test_fault_53_a_subclass_with_other_slots_is_refused_by_the_core():
    class Odd(fastbp.Adam):
        compiled = "adam"
        slots = ("m",)

        def settings(self):
            return (self.learning_rate,)

    trainer = fastbp.Trainer(network(), Odd())
    before = trainer.net.theta.copy()
    for call in (lambda: trainer.step(X, Y), lambda: trainer.epoch(X, Y)):
        with pytest.raises(ValueError, match=r"settings|slots"):
            call()
    assert trainer.net.theta.tobytes() == before.tobytes()


def freeze(net):
    net.theta.setflags(write=False)


def reshape(net):
    net.theta.shape = (1, -1)


def resize(net):
    net.theta.resize(3, refcheck=False)


def restore(net):
    net.__setstate__(network().__getstate__())


def as_other_dtype(net):
    net.theta.dtype = np.int64


@pytest.mark.parametrize("call", [
    lambda trainer: trainer.step(X[:8], Y[:8]), lambda trainer: trainer.epoch(X, Y, batch_size=16),
    lambda trainer: trainer.epoch(X, Y, batch_size=1), lambda trainer: trainer.epoch(X, Y, batch_size=None)])
@pytest.mark.parametrize("rule", ["sgd", "adam", "python"])
@pytest.mark.parametrize("harm", [freeze, reshape, resize, restore, as_other_dtype])
def test_fault_54_theta_that_its_owner_has_changed_is_refused_by_name(harm, rule, call):
    trainer = fastbp.Trainer(network(), OPTIMIZERS[rule]())
    few_steps(trainer)
    before = bytes(trainer.steps.theta.data)
    try:
        harm(trainer.net)
    except ValueError:      # NumPy itself refuses: nothing has happened
        assert harm is resize
        return
    with pytest.raises(ValueError, match="net"):
        call(trainer)
    assert bytes(trainer.steps.theta.data) == before


@pytest.mark.parametrize("harm", [
    lambda state: state.update(m=np.zeros(1)), lambda state: state.update(m=state["m"].astype(np.float32)),
    lambda state: state.update(m=np.frombuffer(bytes(state["m"].nbytes), state["m"].dtype)),
    lambda state: state["m"].resize(3, refcheck=False), lambda state: state["v"].setflags(write=False),
    lambda state: state.pop("m"), lambda state: state.update(m=None), lambda state: state.update(m=state["m"][::-1])])
@pytest.mark.parametrize("quick", [True, False])
def test_fault_54_arrays_of_the_state_are_checked_where_they_are_written(harm, quick):
    trainer = fastbp.Trainer(network(), fastbp.Adam(0.01))
    if quick:
        trainer.step(X[:8], Y[:8])
    harm(trainer.state)
    before = trainer.net.theta.copy()
    for call in (lambda: trainer.epoch(X, Y), lambda: trainer.epoch(X, Y, batch_size=None)):
        with pytest.raises((ValueError, TypeError, KeyError), match=r"state|'m'"):
            call()
    assert trainer.net.theta.tobytes() == before.tobytes()


def test_fault_54_a_frozen_network_can_still_be_asked():
    net, twin = network(), network()
    net.theta.setflags(write=False)
    assert net.predict(X).tobytes() == twin.predict(X).tobytes()
    assert net.predict(X[0]).tobytes() == twin.predict(X[0]).tobytes()
    assert net.cost(X, Y) == twin.cost(X, Y)
    with pytest.raises(ValueError, match=r"net\.theta"):
        fastbp.train(net, X, Y, epochs=1)
    with pytest.raises(ValueError, match=r"theta"):
        net.theta = twin.theta


@pytest.mark.parametrize(("change", "kept"), [
    (lambda t: None, True),
    (lambda t: setattr(t, "weight_decay", 0.1), False),
    (lambda t: setattr(t.optimizer, "learning_rate", 0.5), False),
    (lambda t: setattr(t, "state", {name: np.copy(a) if isinstance(a, np.ndarray) else a
                                    for name, a in t.state.items()}), False),
    (lambda t: t.state.__setitem__("m", t.state["m"].copy()), False),
    (lambda t: t.state["m"].resize(t.state["m"].size + 10**6, refcheck=False), None),
    (lambda t: t.state["m"].setflags(write=False), None),
    (lambda t: setattr(t, "optimizer", fastbp.SGD(0.1)), False),
])
def test_the_compiled_rule_is_kept_from_epoch_to_epoch_while_nothing_has_changed(change, kept):
    """kept None: it is refused, with the message of a new rule"""
    trainer = fastbp.Trainer(fastbp.Network([50, 8, 10], output="softmax", seed=0), fastbp.Adam(0.01))
    trainer.epoch(X, Y)
    before = trainer.steps.compiled_rule(1.0)
    change(trainer)
    if kept is None:
        with pytest.raises(ValueError, match=r"state\['m'\] (must have|is read-only)"):
            trainer.epoch(X, Y)
        return
    trainer.epoch(X, Y)
    assert (trainer.steps.compiled_rule(1.0) is before) == kept
    assert (trainer.steps.compiled_rule(2.0) is before) is False
