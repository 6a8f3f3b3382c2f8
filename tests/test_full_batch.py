"""fastbp.LBFGS in `train`: an epoch is an iteration of minimize(method="L-BFGS"), and resuming gives the same bits."""

import copy
import pickle

import numpy as np
import pytest
from communicators import ranks
from helpers import DTYPES, problem

import fastbp


def train(net, p, epochs, **settings):
    settings = {"optimizer": fastbp.LBFGS(), "batch_size": None, "epochs": epochs, **settings}
    return fastbp.train(net, p.X, p.Y, **settings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.01, "l1": 1e-3}, {"free": [2]}, {"shuffle": False}])
def test_an_epoch_is_an_iteration_of_minimize(dtype, settings):
    p = problem((3, 6, 2), m=50, dtype=dtype)
    one, two, costs = p.network(), p.network(), []
    history = train(one, p, 25, **settings)
    given = {name: value for name, value in settings.items() if name != "shuffle"}

    def report(intermediate_result):
        costs.append(intermediate_result.fun)

    fastbp.minimize(two, p.X, p.Y, method="L-BFGS", maxiter=25, callback=report, **given)
    assert one.theta.tobytes() == two.theta.tobytes()
    assert history.J[1:] == pytest.approx(costs[:-1], rel=1e-14)      # m J / m
    given.pop("free", None)
    assert history.J[0] == pytest.approx(p.network().cost(p.X, p.Y, **given), rel=1e-14)


def test_many_examples_weights_and_rows_held_out():
    rng = np.random.default_rng(0)
    X, Y, w = rng.standard_normal((3000, 40)), rng.standard_normal((3000, 3)), rng.uniform(0.5, 2, 3000)
    nets = [fastbp.Network([40, 60, 3], loss="squared_error", seed=0) for _ in range(2)]
    history = fastbp.train(nets[0], X, Y, optimizer=fastbp.LBFGS(), batch_size=None, epochs=5, sample_weight=w)
    result = fastbp.minimize(nets[1], X, Y, method="L-BFGS", maxiter=5, sample_weight=w)
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()
    assert nets[0].cost(X, Y, sample_weight=w) == pytest.approx(result.fun)
    assert sorted(history.J, reverse=True) == history.J
    held = fastbp.train(nets[0], X, Y, optimizer=fastbp.LBFGS(), batch_size=None, epochs=5, validation_split=0.3,
                        seed=1)
    assert held.examples == 2100
    assert sorted(held.J, reverse=True) == held.J


@pytest.mark.parametrize("order", [np.arange(50) // 2, np.arange(10, 30), np.r_[np.arange(50), 3, 3]])
def test_an_order_may_repeat_and_leave_out_examples(order):
    p = problem((3, 6, 2), m=50)
    trainer, twin = (fastbp.Trainer(p.network(), fastbp.LBFGS()) for _ in range(2))
    rows = np.sort(order)
    for _ in range(4):
        J = trainer.epoch(p.X, p.Y, batch_size=None, order=order)
        assert twin.epoch(p.X[rows], p.Y[rows], batch_size=None) == J
    assert trainer.net.theta.tobytes() == twin.net.theta.tobytes()


@pytest.mark.parametrize(("optimizer", "said"), [
    (fastbp.LBFGS(gtol=0.1), "max |D|"), (fastbp.LBFGS(ftol=1e-2), "J hardly changes"),
])
def test_it_stops_where_it_has_converged(optimizer, said):
    p = problem((3, 4, 2), m=30)
    history = train(p.network(), p, 1000, optimizer=optimizer)
    assert said in history.stopped
    assert len(history) < 1000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", ["state", "copy", "pickle", "file"])
def test_a_trainer_goes_on_with_the_same_bits(dtype, how, tmp_path):
    p = problem((3, 6, 2), m=50, dtype=dtype)
    lone, begun = (fastbp.Trainer(p.network(), fastbp.LBFGS(memory=4)) for _ in range(2))
    J = [lone.epoch(p.X, p.Y, batch_size=None) for _ in range(14)]
    for at in range(14):
        if at in (0, 1, 3, 9):
            if how == "state":
                other = fastbp.Trainer(p.network(), fastbp.LBFGS(memory=4))
                other.net.theta[:], other.state = begun.net.theta, copy.deepcopy(begun.state)
            elif how == "file":
                begun.save(tmp_path / "trainer")
                other = fastbp.Trainer(p.network(), fastbp.LBFGS(memory=4))
                other.restore(tmp_path / "trainer")
            else:
                other = copy.deepcopy(begun) if how == "copy" else pickle.loads(pickle.dumps(begun))
            begun = other
        assert begun.epoch(p.X, p.Y, batch_size=None) == J[at]
    assert begun.net.theta.tobytes() == lone.net.theta.tobytes()
    assert begun.state["t"] == 14
    assert len(begun.state["rho"]) == 4


def test_a_training_resumes_at_every_epoch(tmp_path):
    p = problem((3, 6, 2), m=50)
    lone = p.network()
    history = train(lone, p, 8)
    for stop in range(1, 8):
        net, path = p.network(), tmp_path / f"{stop}.fastbp"

        def pause(training, stop=stop):
            if training.epoch == stop:
                training.pause("enough")

        train(net, p, 8, checkpoint=path, checkpoint_every=1, callbacks=[pause])
        net = p.network()
        again = train(net, p, 8, checkpoint=path, resume=True)
        assert again.J == history.J
        assert net.theta.tobytes() == lone.theta.tobytes()


def test_other_examples_and_a_moved_theta_are_noticed():
    """The search restarts there, with its pairs"""
    p, other = problem((3, 6, 2), m=50), problem((3, 6, 2), m=50, seed=1)
    trainer = fastbp.Trainer(p.network(), fastbp.LBFGS())
    for _ in range(5):
        trainer.epoch(p.X, p.Y, batch_size=None)
    J = trainer.net.cost(other.X, other.Y)
    assert trainer.epoch(other.X, other.Y, batch_size=None) == J
    assert trainer.net.cost(other.X, other.Y) < J
    trainer.net.theta[:] = p.theta
    assert trainer.epoch(p.X, p.Y, batch_size=None) == p.network().cost(p.X, p.Y)


@pytest.mark.parametrize(("settings", "said"), [
    ({"batch_size": 10}, "all examples in one batch"), ({"dropout": 0.1}, "dropout"), ({"clip_norm": 1.0}, "clip_norm"),
    ({"clip_value": 1.0}, "clip_value"), ({"learning_rate_factors": {"bias": 2.0}}, "learning_rate_factors"),
])
def test_what_is_no_part_of_J_is_refused(settings, said):
    p = problem((3, 6, 2), m=50)
    net = p.network()
    if "learning_rate_factors" in settings:
        settings = {"learning_rate_factors": {"weights": 1.0, "biases": 2.0}}
    with pytest.raises(ValueError, match=said):
        train(net, p, 3, **settings)
    assert (net.theta == p.theta).all()


def test_an_update_along_one_D_is_refused():
    p = problem((3, 6, 2), m=50)
    trainer = fastbp.Trainer(p.network(), fastbp.LBFGS())
    with pytest.raises(TypeError, match="LBFGS needs J and D"):
        trainer.apply(np.ones(trainer.net.n_parameters))
    with pytest.raises(TypeError, match="LBFGS needs J and D"):
        trainer.step(p.X, gradient=np.ones((50, 2)))
    assert (trainer.net.theta == p.theta).all()
    assert trainer.state["t"] == 0


def test_ranks_are_refused():
    p = problem((3, 6, 2), m=50)

    def run(comm):
        with pytest.raises(ValueError, match="LBFGS works in one process"):
            train(p.network(), p, 3, comm=comm)
        return True

    assert ranks(2, run) == [True, True]


@pytest.mark.parametrize("change", [
    lambda s: s.pop("x"), lambda s: s.update(rho=-s["rho"]), lambda s: s.update(S=s["S"][:, :-1]),
    lambda s: s.update(gamma=np.array([np.nan])), lambda s: s.update(more=1), lambda s: s.update(t=-1),
    lambda s: s.update(rho=np.ones(11)), lambda s: s.update(Y=s["Y"].astype(np.float32)), lambda s: s.update(x=None),
])
def test_a_state_that_does_not_fit_is_refused(change):
    p = problem((3, 6, 2), m=50)
    trainer = fastbp.Trainer(p.network(), fastbp.LBFGS())
    for _ in range(3):
        trainer.epoch(p.X, p.Y, batch_size=None)
    state, theta = dict(trainer.state), trainer.net.theta.copy()
    change(state)
    with pytest.raises((ValueError, TypeError), match="state"):
        trainer.state = state
    assert (trainer.net.theta == theta).all()
    assert trainer.state["t"] == 3


@pytest.mark.parametrize(("settings", "said"), [
    ({"memory": 0}, "memory"), ({"gtol": -1.0}, "gtol"), ({"ftol": "a"}, "ftol"), ({"maxls": 1.5}, "maxls"),
    ({"lr": 0.1}, "line search"),
])
def test_settings_are_checked(settings, said):
    with pytest.raises((ValueError, TypeError), match=said):
        fastbp.LBFGS(**settings)


def test_an_own_loss_is_followed_too():
    p = problem((3, 6, 2), output="identity", loss="squared_error", m=50)

    def loss(z, Y, w):
        e = z - Y
        return (e * e).sum(axis=1) / 2, e

    net = fastbp.Network([3, 6, 2], output="identity", loss=loss, init=p.theta, activation="tanh")
    twin = p.network()
    history, expected = train(net, p, 10), train(twin, p, 10)
    np.testing.assert_allclose(history.J, expected.J, rtol=1e-9)
