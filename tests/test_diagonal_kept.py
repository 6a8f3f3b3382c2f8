"""input_scale: it is kept and resumed, follows changes of theta, and bad values are refused."""

import copy
import pickle

import numpy as np
import pytest
from helpers import distance, problem, tolerance
from test_diagonal import SIZES, trainer
from test_rules import RULES, in_python

import fastbp
from fastbp import callbacks

BOTH = [lambda: fastbp.AdamW(0.01, weight_decay=0.1), lambda: in_python(fastbp.SGD(0.05, momentum=0.9))]


@pytest.mark.parametrize("rule", RULES)
def test_pickles_copies_and_files_resume_with_the_same_bits(rule, tmp_path):
    p = problem(SIZES, m=24)
    for make in (RULES[rule][0], lambda: in_python(RULES[rule][0]())):
        going = trainer(p, rule, make(), c=0.01, dropout=0.1, seed=1)
        going.epoch(p.X, p.Y, batch_size=5)
        going.save(tmp_path / "t")
        restored = trainer(p, rule, make(), dropout=0.1, seed=2)
        restored.step(p.X, p.Y)
        restored.restore(tmp_path / "t")
        twins = [copy.deepcopy(going), restored]
        if going.compiled:      # classes of the other kind are local
            twins.append(pickle.loads(pickle.dumps(going)))
        J = going.epoch(p.X, p.Y, batch_size=5), going.step(p.X[:4], p.Y[:4])
        for twin in twins:
            assert twin.input_scale == 3.0
            assert (twin.epoch(p.X, p.Y, batch_size=5), twin.step(p.X[:4], p.Y[:4])) == J
            assert twin.net.theta.tobytes() == going.net.theta.tobytes()
            assert twin.state["input_scale"].tobytes() == going.state["input_scale"].tobytes()


def test_a_file_is_resumed_with_the_same_input_scale_alone(tmp_path):
    p = problem(SIZES, m=24)
    trainer(p, "adamw").save(tmp_path / "with")
    trainer(p, "adamw", input_scale=None).save(tmp_path / "without")
    for name, given in (("with", None), ("with", 2.0), ("without", 3.0)):
        other = trainer(p, "adamw", input_scale=given)
        with pytest.raises(ValueError, match="made with input_scale"):
            other.restore(tmp_path / name)
    assert fastbp.load(tmp_path / "with").theta.tobytes() == p.theta.tobytes()


@pytest.mark.parametrize("make", BOTH)
def test_a_training_resumes_to_the_bit_with_the_same_input_scale_alone(make, tmp_path):
    p, path = problem(SIZES, m=60, dtype=np.float32), tmp_path / "t"

    def train(net, epochs, checkpoint=None, input_scale=6.0, **options):
        return fastbp.train(net, p.X, p.Y, optimizer=make(), epochs=epochs, batch_size=8, seed=0, dropout=0.1,
                            input_scale=input_scale, checkpoint=checkpoint, **options)

    whole = p.network()
    train(whole, 4)
    train(p.network(), 2, path)
    for other in (None, 5.0):
        with pytest.raises(ValueError, match="input_scale"):
            train(p.network(), 4, path, other, resume=True)
    net = p.network()
    train(net, 4, path, resume=True)
    assert net.theta.tobytes() == whole.theta.tobytes()


@pytest.mark.parametrize("make", BOTH)
def test_the_best_epoch_is_that_of_theta(make):
    p, val = problem(SIZES, m=60), problem(SIZES, m=60, seed=3)
    seen = []
    history = fastbp.train(
        net := p.network(), p.X, p.Y, optimizer=make(), epochs=12, batch_size=8, seed=0, input_scale=6.0,
        validation_data=(val.X, val.Y),
        callbacks=[callbacks.EarlyStopping(patience=20), lambda training: seen.append(training.net.theta.copy())],
    )
    best = int(np.argmin(history.val_J))
    assert (net.theta == seen[best]).all()
    assert net.evaluate(val.X, val.Y).cost == pytest.approx(history.val_J[best])


@pytest.mark.parametrize("make", BOTH)
def test_steps_follow_a_theta_that_others_have_changed(make):
    """W := Theta(1) / s where theta has changed; s and everything else do not change"""
    p = problem(SIZES, m=24)
    for quick in (True, False):
        going = trainer(p, "adamw", make())
        going.epoch(p.X, p.Y, batch_size=4)
        s = going.state["input_scale"].copy()
        going.net.Theta[0][:, 1:4] *= 2
        going.net.Theta[0][3, 0] += 1
        twin = trainer(p, "adamw", make())
        twin.net.theta = going.net.theta
        W = (going.net.Theta[0] / np.r_[1, s]).ravel()
        twin.state = {**copy.deepcopy(going.state), "input_weights": W}
        for each in (going, twin):
            if quick:
                each.step(p.X[:3], p.Y[:3])
            else:
                each.epoch(p.X, p.Y, batch_size=4)
        assert distance(going.net.theta, twin.net.theta) < tolerance(float, "training")
        assert distance(going.state["input_scale"], twin.state["input_scale"]) < tolerance(float, "training")
        assert (going.state["input_scale"] != s).all()


def test_an_s_of_0_begins_again_where_theta_has_been_changed():
    p = problem(SIZES, m=24)
    going = trainer(p, "sgd", fastbp.SGD(1e-9))
    s = np.ones(6)
    s[2] = 0
    going.state = {**going.state, "input_scale": s}
    going.step(p.X, p.Y)        # theta is not the product: column 3 is not 0
    assert (going.state["input_scale"] > 0.9).all()
    assert distance(going.net.theta, p.theta) < 1e-6


def test_a_new_optimizer_takes_w_and_s_over():
    p = problem(SIZES, m=24)
    going = trainer(p, "adamw")
    going.epoch(p.X, p.Y, batch_size=4)
    s, theta = going.state["input_scale"].copy(), going.net.theta.copy()
    going.optimizer = fastbp.SGD(0.01, momentum=0.5)
    assert (going.state["input_scale"] == s).all()
    assert going.state["v"].shape == (len(theta) + 6,)
    going.epoch(p.X, p.Y, batch_size=4)
    assert (going.state["input_scale"] != s).all()


def test_arrays_of_the_state_are_checked_as_all_others_are():
    p = problem(SIZES, m=24)
    going = trainer(p, "adamw")
    going.step(p.X, p.Y)
    state, theta = going.state, going.net.theta.copy()
    bad = {
        "input_weights": [state["input_weights"][:-1].copy(), state["input_weights"].astype(np.float32), None, [1.0]],
        "input_scale": [np.ones(7), np.ones((6, 1)), np.ones(6, int), 1.0, going.net.theta[:6]],
        "m": [np.zeros_like(going.net.theta)],
    }
    for name, values in bad.items():
        for value in values:
            with pytest.raises((ValueError, TypeError), match=name):
                going.state = {**state, name: value}
    for name in bad:
        with pytest.raises(ValueError, match=name):
            going.state = {key: value for key, value in state.items() if key != name}
    state = going.state
    held = state["input_scale"]
    state["input_scale"] = np.ones(3)
    for call in (lambda: going.step(p.X[:1], p.Y[:1]), lambda: going.epoch(p.X, p.Y)):
        with pytest.raises(ValueError, match="input_scale"):
            call()
    state["input_scale"] = held
    held.setflags(write=False)
    for call in (lambda: going.step(p.X[:1], p.Y[:1]), lambda: going.epoch(p.X, p.Y)):
        with pytest.raises(ValueError, match="input_scale"):
            call()
    held.setflags(write=True)
    assert (going.net.theta == theta).all()
    state["input_scale"] = np.full(6, 2.0)      # another array counts in the next step
    going.net.Theta[0][:, 1:] = state["input_weights"].reshape(19, 7)[:, 1:] * 2
    going.step(p.X[:1], p.Y[:1])
    assert (np.abs(going.state["input_scale"] - 2) < 0.1).all()


def test_a_damaged_file_is_refused(tmp_path):
    p = problem(SIZES, m=24)
    for make in BOTH:
        going = trainer(p, "adamw", make())
        for value in (np.ones(5), np.ones(6, np.float32), 3, None):
            twin = copy.deepcopy(going)
            twin.steps.kept["input_scale"] = value
            twin.save(tmp_path / "t")
            with pytest.raises(fastbp.FormatError, match="input_scale"):
                going.restore(tmp_path / "t")


BAD = {"0": 0, "negative": -1.0, "infinite": np.inf, "nan": np.nan, "text": "6", "a flag": True, "a list": [6.0],
       "a dict": {}}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_input_scale_is_refused_by_name_before_anything_has_changed(what):
    p = problem(SIZES)
    net = p.network()
    for call in (lambda: fastbp.Trainer(net, input_scale=BAD[what]),
                 lambda: fastbp.train(net, p.X, p.Y, epochs=1, input_scale=BAD[what])):
        with pytest.raises((ValueError, TypeError), match=r"\binput_scale\b"):
            call()
    assert net.theta.tobytes() == p.theta.tobytes()


def test_what_it_cannot_train_is_refused():
    class List:
        def init(self, theta):
            return []

        def update(self, theta, D, state):
            theta -= D

    class Named(fastbp.SGD):
        def init(self, theta):
            return {"t": 0, "input_scale": 1}

        def update(self, theta, D, state):
            theta -= D

    p = problem(SIZES)
    for options in ({"free": [2]}, {"optimizer": List()}, {"optimizer": Named()}):
        with pytest.raises((ValueError, TypeError), match="input_scale"):
            fastbp.Trainer(p.network(), **{"input_scale": 1.0, **options})
        with pytest.raises((ValueError, TypeError), match="input_scale"):
            fastbp.train(p.network(), p.X, p.Y, epochs=1, **{"input_scale": 1.0, **options})


def test_a_training_that_diverges_and_goes_on_starts_from_a_finite_layer():
    p = problem((5, 7, 3), "relu", "identity", "squared_error", m=40)
    going = trainer(p, "sgd", optimizer := fastbp.SGD(0.01))
    theta = going.net.theta.copy()
    optimizer.learning_rate = 1e300
    with np.errstate(all="ignore"):
        going.epoch(p.X, p.Y, batch_size=4)
    assert not np.isfinite(going.net.theta).all()
    optimizer.learning_rate = 0.01
    going.net.theta = theta
    J = [going.epoch(p.X, p.Y, batch_size=4) for _ in range(3)]
    assert J[2] < J[1] < J[0]
    assert np.isfinite(going.state["input_scale"]).all()
