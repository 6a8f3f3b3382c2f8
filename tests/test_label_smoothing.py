"""Label smoothing: J and D in training are those of smoothed targets; evaluations use the targets themselves."""

import copy
import pickle

import numpy as np
import pytest
from communicators import all_of
from helpers import DTYPES, distance, problem, tolerance
from reference import Textbook

import fastbp

PAIRS = [("softmax", 4), ("softmax", 2), ("sigmoid", 1), ("sigmoid", 3)]


def smoothed(Y, output, a):
    return (1 - a) * Y + a / (Y.shape[1] if output == "softmax" else 2)


def setting(output, K, dtype=np.float64, a=0.1, m=30):
    """A problem, its network with smoothing, its labels, and the labels as targets"""
    p = problem((5, 9, K), "tanh", output, m=m, dtype=dtype)
    net = fastbp.Network(p.model.sizes, activation="tanh", output=output, dtype=dtype, init=p.theta, label_smoothing=a)
    labels = p.labels % 2 if K == 1 else p.labels
    dense = p.model.targets(labels, dtype)
    return p, net, labels, dense


def exact(p, Y, a, w=None, c=0.0):
    output = p.model.output
    Y = smoothed(p.model.targets(Y, np.longdouble), output, np.longdouble(a))
    return p.model.cost_and_gradient(p.theta.astype(np.longdouble), p.X, Y, np.longdouble(c), w)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("a", [0.1, 0.9, 1e-300])
@pytest.mark.parametrize(("output", "K"), PAIRS)
def test_J_and_D_are_those_of_smoothed_targets(output, K, a, dtype):
    p, net, labels, dense = setting(output, K, dtype, a)
    for Y in (labels, dense, p.Y):
        for w in (None, p.weights):
            J, D = exact(p, Y, a, w, 0.1)
            ours = net.cost_and_gradient(p.X, Y, sample_weight=w, weight_decay=0.1)
            assert distance(ours[0], J) < tolerance(dtype)
            assert distance(ours[1], D) < tolerance(dtype)
            assert net.cost(p.X, Y, sample_weight=w, weight_decay=0.1) == pytest.approx(ours[0], rel=1e-14)
    assert distance(net.gradients(p.X, labels).mean(axis=0), exact(p, labels, a)[1]) < tolerance(dtype)
    assert fastbp.check_gradient(net, p.X, labels).relative_difference < 1e-9


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [30, 20_000])
@pytest.mark.parametrize(("output", "K"), PAIRS)
def test_evaluations_are_those_of_the_targets_themselves(output, K, m, dtype):
    p, net, labels, dense = setting(output, K, dtype, m=m)
    plain = p.network()
    for Y in (labels, dense, p.Y)[: 3 if m == 30 else 1]:
        for w in (None, p.weights):
            ours, theirs = (each.evaluate(p.X, Y, sample_weight=w) for each in (net, plain))
            assert ours == theirs
            assert net.evaluate_data(net.data(p.X, Y, w)) == theirs
    assert net.cost(p.X, labels) != plain.cost(p.X, labels)     # after evaluate, too
    with pytest.raises(ValueError, match="loss_parameters"):
        net.evaluate_data(plain.data(p.X, labels))
    assert (net.predict(p.X) == plain.predict(p.X)).all()


@pytest.mark.parametrize(("output", "K"), PAIRS)
def test_a_cost_far_out_is_that_of_long_double(output, K):
    z = np.array([[-80.0, 300.0, 5.0, 0.0][:K]])
    net = fastbp.Network([1, K], output=output, label_smoothing=0.2, init=[np.column_stack([z[0], 0 * z[0]])])
    Y = np.eye(1, K)
    model = Textbook((1, K), "tanh", output, "cross_entropy")
    J, D = model.cost_and_gradient(net.theta.astype(np.longdouble), np.zeros((1, 1)), smoothed(Y, output, 0.2), 0, None)
    ours = net.cost_and_gradient(np.zeros((1, 1)), Y)
    assert distance(ours[0], J) < 1e-14
    assert distance(ours[1], D) < 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [lambda: fastbp.SGD(0.1), lambda: fastbp.AdamW(0.01)])
@pytest.mark.parametrize(("output", "K"), PAIRS)
def test_every_way_of_steps_has_it(output, K, optimizer, dtype):
    """Labels with smoothing equal smoothed targets without, in batches of one, by sweeps, and of many blocks"""
    p, net, labels, dense = setting(output, K, dtype, m=2_100)
    Y = smoothed(dense.astype(float), output, 0.1).astype(dtype)
    for size, m in ((1, 60), (7, 60), (60, 60), (2_048, 2_100)):
        one, two = fastbp.Trainer(net.copy(), optimizer()), fastbp.Trainer(p.network(), optimizer())
        J = [(one.epoch(p.X[:m], labels[:m], batch_size=size), two.epoch(p.X[:m], Y[:m], batch_size=size))
             for _ in range(2)]
        np.testing.assert_allclose(*np.transpose(J), rtol=tolerance(dtype, "training"))
        assert distance(one.net.theta, two.net.theta) < tolerance(dtype, "training")
    assert one.step(p.X[:1], labels[:1]) == pytest.approx(two.step(p.X[:1], Y[:1]), rel=tolerance(dtype, "training"))


def test_a_training_measures_val_J_and_metrics_without_it():
    p, net, labels, _ = setting("softmax", 4, m=60)
    twins = net.copy(), net.copy()
    history = fastbp.train(twins[0], p.X, labels, epochs=3, validation_data=(p.X, labels), metrics=["log_loss"],
                           seed=0, batch_size=None)
    plain = fastbp.Network(net.layer_sizes, activation="tanh", output="softmax", init=twins[0].theta)
    cost = plain.evaluate(p.X, labels).cost
    assert history.val_J[-1] == pytest.approx(cost, rel=1e-14)
    assert history.metrics["log_loss"][-1] == pytest.approx(cost, rel=1e-12)
    assert history.J[0] == pytest.approx(float(exact(p, labels, 0.1)[0]), rel=1e-12)
    result = fastbp.minimize(twins[1], p.X, labels, weight_decay=0.01, maxiter=5)
    assert result.fun == pytest.approx(twins[1].cost(p.X, labels, weight_decay=0.01), rel=1e-12)


def test_ranks_have_it():
    p, net, labels, _ = setting("softmax", 4, m=60)
    X, theirs = p.X, net.evaluate(p.X, labels).cost

    def rank(comm):
        rows = slice(comm.Get_rank() * 30, comm.Get_rank() * 30 + 30)
        own = net.copy()
        J, D = own.cost_and_gradient(X[rows], labels[rows], comm=comm)
        return J, D, own.evaluate(X[rows], labels[rows], comm=comm).cost

    for J, D, cost in all_of(2, rank):
        assert pytest.approx(float(exact(p, labels, 0.1)[0]), rel=1e-13) == J
        assert distance(D, exact(p, labels, 0.1)[1]) < 1e-13
        assert cost == pytest.approx(theirs, rel=1e-13)


def test_a_smoothing_of_0_is_none():
    for output in ("softmax", "sigmoid"):
        p = problem((5, 9, 3), output=output)
        none, zero = p.network(), fastbp.Network((5, 9, 3), activation="tanh", output=output, init=p.theta,
                                                 label_smoothing=0)
        assert zero.settings() == none.settings()
        assert zero.loss_parameters == {}
        a, b = (net.cost_and_gradient(p.X, p.Y) for net in (none, zero))
        assert a[0] == b[0]
        assert (a[1] == b[1]).all()
    assert fastbp.Network([2, 1], loss="huber", label_smoothing=0.0).loss_parameters == {"huber_delta": 1.0}


def test_it_is_kept_and_shown(tmp_path):
    net = fastbp.Network([3, 4, 2], output="softmax", label_smoothing=0.25, seed=0)
    fastbp.save(tmp_path / "net", net)
    trainer = fastbp.Trainer(net)
    trainer.save(tmp_path / "t")
    for twin in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net), net.copy(np.float32), net.layers(2, 3),
                 fastbp.load(tmp_path / "net"), fastbp.load(tmp_path / "t")):
        assert twin.loss_parameters == {"label_smoothing": 0.25}
        X = np.ones((1, twin.layer_sizes[0]))
        assert twin.cost(X, [0]) != twin.evaluate(X, [0]).cost
    assert net.layers(1, 2).loss_parameters == {}
    assert "label_smoothing=0.25" in repr(net)
    assert "label_smoothing 0.25" in net.summary()
    other = fastbp.Trainer(fastbp.Network([3, 4, 2], output="softmax"))
    with pytest.raises(ValueError, match="loss_parameters"):
        other.restore(tmp_path / "t")


def test_bad_values_and_other_losses_are_refused_by_name():
    for value in (-0.1, 1, 1.5, np.nan, np.inf, "0.1", None, True, [0.1]):
        with pytest.raises((ValueError, TypeError), match="label_smoothing"):
            fastbp.Network([2, 2], output="softmax", label_smoothing=value)
    for output, loss in (("identity", None), ("softmax", "squared_error"), ("exp", None), ("identity", "huber")):
        with pytest.raises(ValueError, match="label_smoothing"):
            fastbp.Network([2, 2], output=output, loss=loss, label_smoothing=0.1)


def test_data_that_is_evaluated_is_freed_by_its_last_reference():
    import gc
    import weakref

    p, net, labels, _ = setting("softmax", 4)
    gc.disable()
    try:
        for each in (net, p.network()):
            data = each.data(p.X, labels)
            each.evaluate_data(data)
            seen = weakref.ref(data)
            del data
            assert seen() is None
    finally:
        gc.enable()
