"""Optimizers, their states and settings in files: they come back exactly, and bad ones are refused."""


import numpy as np
import pytest
from test_values import alike

import fastbp
from fastbp import FormatError
from fastbp.files import container
from fastbp.training import states


@pytest.fixture
def tmp_path(quick_folder):
    return quick_folder


class Own(fastbp.optimizers.Optimizer):
    """theta := theta - rate D"""

    def __init__(self, rate=0.1, **others):
        self.rate_ = rate
        self.__dict__ |= others

    def init(self, theta):
        return {"t": 0}

    def update(self, theta, D, state):
        state["t"] += 1
        theta -= self.rate_ * D

X, Y = np.random.default_rng(0).standard_normal((30, 4)), np.arange(30) % 2


def trainer(optimizer, dtype=np.float64):
    return fastbp.Trainer(fastbp.Network([4, 3, 2], output="softmax", dtype=dtype, seed=0), optimizer)


def test_numbers_changed_on_the_way_come_back_as_what_the_new_one_has(tmp_path):
    first, second = (trainer(Own(np.float64(0.1), n=3, on=False, ratio=1, best=float("inf"), last=0.5, mode="a"))
                     for _ in range(2))
    first.optimizer.__dict__ |= {"rate_": 0.05, "n": 4, "on": True, "ratio": 0.5, "best": 1.5, "last": float("nan")}
    first.save(tmp_path / "t")
    second.restore(tmp_path / "t")
    alike(vars(second.optimizer), {"rate_": np.float64(0.05), "n": 4, "on": True, "ratio": 0.5, "best": 1.5,
                                   "last": float("nan"), "mode": "a"})


@pytest.mark.parametrize(("change", "said"), [
    ({"rate_": fastbp.schedules.Constant(0.1)}, "rate_ 'Constant"), ({"rate_": None}, "rate_ None; it is 0.1"),
    ({"mode": "b"}, "mode 'b'; it is 'a'"), ({"more": 1}, "more 1; it is None"), ({"rate_": True}, "rate_ True"),
    ({"seen": [1, 2]}, "seen"),
])
def test_another_setting_than_a_number_is_never_put_back_in_silence(tmp_path, change, said):
    first, second = (trainer(Own(0.1, mode="a", seen=[])) for _ in range(2))
    first.optimizer.__dict__ |= change
    first.save(tmp_path / "t")
    theta = second.net.theta.copy()
    with pytest.raises(ValueError, match=said) as caught:
        second.restore(tmp_path / "t")
    assert not isinstance(caught.value, FormatError)
    assert str(tmp_path / "t") in str(caught.value)
    assert (second.net.theta == theta).all()
    second.optimizer.__dict__ |= change     # with its last setting it resumes
    if "more" not in change:
        second.restore(tmp_path / "t")


@pytest.mark.parametrize("indices", [[0, 1], [10**6] * 5, [-1] * 5])
def test_fault_43_indices_of_biases_are_those_of_the_network(tmp_path, indices):
    trainer(fastbp.AdamW()).save(tmp_path / "t")
    arrays, meta = container.read(tmp_path / "t")
    assert arrays["state.bias"].tolist() == [0, 5, 10, 15, 19]
    container.write(tmp_path / "t", {**arrays, "state.bias": np.array(indices)}, meta)
    with pytest.raises(FormatError, match="bias"):
        trainer(fastbp.AdamW()).restore(tmp_path / "t")


@pytest.mark.parametrize(("change", "said"), [
    ({"layer_sizes": [4, 2, 2]}, "layer_sizes"), ({"activation": "relu"}, "activation"), ({"output": "tanh"}, "output"),
    ({"loss": "squared_error", "huber_delta": None}, "loss"), ({"huber_delta": 2.0}, "loss_parameters"),
    ({"dtype": np.float32}, "dtype"), ({"seed": 1}, None), ({"init": "normal"}, None),
])
def test_a_network_is_the_same_in_all_that_steps_depend_on(change, said):
    settings = {"layer_sizes": [4, 3, 2], "activation": "tanh", "output": "identity", "loss": "huber",
                "huber_delta": 1.5, "seed": 0}
    kept = fastbp.Network(**settings)
    if change.get("output") == "tanh":      # huber goes with identity alone
        kept = fastbp.Network(**{**settings, "loss": "squared_error", "huber_delta": None})
        change = {**change, "loss": "squared_error", "huber_delta": None}
    now = fastbp.Network(**{**settings, **change})
    if said is None:
        states.same_network(now, kept)
        return
    with pytest.raises(ValueError, match=f"the network's {said} "):
        states.same_network(now, kept)


class Twin(Own):
    """Another rule with the same settings and the same state"""


def test_a_trainer_goes_on_with_its_own_class_and_rates_of_dropout_alone(tmp_path):
    def made(rule, *rates):
        net = fastbp.Network([4, 3, 2], seed=0)
        return fastbp.Trainer(net, rule(0.1), dropout=rates[0], input_dropout=rates[1], seed=1)

    made(Own, 0.5, 0.1).save(tmp_path / "t")
    for other, said in ((made(Twin, 0.5, 0.1), "optimizer .*Own'; it is .*Twin' now"),
                        (made(Own, 0.25, 0.1), r"dropout \[0.1, 0.5\]; it is \[0.1, 0.25\] now"),
                        (made(Own, 0.5, 0.2), "dropout")):
        with pytest.raises(ValueError, match=said):
            other.restore(tmp_path / "t")
    made(Own, 0.5, 0.1).restore(tmp_path / "t")


def functions():
    """Two schedules with the same name in different places"""
    return lambda t: 0.1


def falling(t):
    return 0.1 / (1 + t)


class Rate:
    """A schedule without its own repr"""

    def __call__(self, t):
        return 0.1


@pytest.mark.parametrize(("make", "other"), [
    (functions, Rate), (lambda: falling, functions), (Rate, lambda: falling),
])
def test_functions_are_told_apart_by_their_names_not_by_where_they_lie(tmp_path, make, other):
    first, second, third = (trainer(fastbp.SGD(f())) for f in (make, make, other))
    first.step(X, Y)
    first.save(tmp_path / "t")
    second.restore(tmp_path / "t")
    assert second.state["t"] == 1
    with pytest.raises(ValueError, match="learning_rate"):
        third.restore(tmp_path / "t")


class Scaled(Own):
    """A state whose scalars are float32: theta := theta - rate / norm D"""

    def init(self, theta):
        return {"t": 0, "norm": np.float32(1), "order": (1, 2), "turned": np.asfortranarray(np.ones((2, 3)))}

    def update(self, theta, D, state):
        state["t"] += 1
        state["norm"] = np.linalg.norm(D) + state["norm"] / len(state["order"] + (0,))
        state["turned"] *= float(D[0]) + 1
        theta -= self.rate_ / state["norm"] * D + state["turned"].sum(dtype=np.float32) * np.float32(1e-7)


def test_types_of_a_state_in_python_come_back_so_that_rounding_is_the_same(tmp_path):
    first, second = trainer(Scaled(), np.float32), trainer(Scaled(), np.float32)
    for _ in range(3):
        first.step(X, Y)
    first.save(tmp_path / "t")
    second.restore(tmp_path / "t")
    alike(first.state, second.state)
    for _ in range(20):
        assert first.step(X, Y) == second.step(X, Y)
    assert first.net.theta.tobytes() == second.net.theta.tobytes()
