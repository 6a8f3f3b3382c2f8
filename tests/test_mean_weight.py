"""mean_weight: weights of examples keep their effect in batches of every size (fault 64), as in the textbook."""

import copy

import numpy as np
import pytest
import reference
import reference_rules
from communicators import Plain, all_of
from helpers import DTYPES, distance, problem, tolerance

import fastbp
from fastbp import distributed, schedules
from fastbp.training import kinds

SIZES = (6, 9, 7, 3)


class InPython(fastbp.optimizers.Optimizer):
    """Plain SGD without a compiled twin"""

    def __init__(self, rate):
        self.learning_rate = rate

    def init(self, theta):
        return {"t": 0}

    def update(self, theta, D, state):
        theta -= self.learning_rate * D


def weighted(dtype, m=40):
    """A problem with weights of very different sizes, some of them 0, including a whole batch of seven"""
    p = problem(SIZES, "tanh", "softmax", "cross_entropy", m=m, dtype=dtype)
    w = np.where(np.arange(m) % 5 == 0, 20.0, 1.0) * p.weights
    w[[1, 11]] = 0
    w[14:21] = 0
    return p, w


# ---------------------------------------------------------------- the steps, compared with the textbook

WAYS = {        # the steps of each kind: (optimizer, the oracle's rule, batch sizes)
    "online": (lambda: fastbp.SGD(0.05), lambda: reference.SGD(0.05), (1,)),
    "online, scheduled": (lambda: fastbp.SGD(schedules.Constant(0.05)), lambda: reference.SGD(0.05), (1,)),
    "compiled": (lambda: fastbp.SGD(0.01, 0.9), lambda: reference.SGD(0.01, 0.9), (1, 7, 32, None)),
    "adam": (lambda: fastbp.Adam(0.01), lambda: reference.Adam(0.01), (1, 7, 32, None)),
    "large": (lambda: fastbp.SGD(0.01, 0.9), lambda: reference.SGD(0.01, 0.9), (1, 7, 32, None)),
    "python": (lambda: InPython(0.05), lambda: reference.SGD(0.05), (1, 7, 32, None)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mean_weight", [1, 2.75, 1e-3])
@pytest.mark.parametrize("way", WAYS)
def test_fault_64_a_batch_divides_by_its_examples_times_mean_weight_in_every_way(way, mean_weight, dtype, monkeypatch):
    optimizer, rule, sizes = WAYS[way]
    if way == "large":
        monkeypatch.setattr(kinds, "LARGE", 0)
    p, w = weighted(dtype)
    w = w * mean_weight
    for batch_size, given in [(size, given) for size in sizes for given in (w, np.full(len(w), mean_weight), None)]:
        factor = 1.0 if given is not None else mean_weight  # without weights each example has 1
        trainer = fastbp.Trainer(p.network(), optimizer(), weight_decay=0.02, mean_weight=mean_weight / factor)
        J = [trainer.epoch(p.X, p.Y, batch_size=batch_size, sample_weight=given) for _ in range(2)]
        theta, expected = reference.train(
            p.model, p.theta.astype(np.longdouble), p.X, p.Y, rule(), epochs=2, batch_size=batch_size,
            c=np.longdouble(0.02), w=given, mean_weight=np.longdouble(mean_weight) / factor)
        assert distance(trainer.net.theta, theta) < tolerance(dtype, "training")
        np.testing.assert_allclose(J, expected, rtol=tolerance(dtype, "training"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("options", [
    {"batch_lam": 0.3}, {"c": (0.1, 0.0, 0.2), "l1": 0.01}, {"clip_value": 0.05}, {"clip_norm": 0.1, "batch_lam": 0.1},
])
def test_fault_64_penalties_keep_the_sum_of_the_weights_and_d_is_clipped_as_ever(options, batch_size, dtype):
    p, w = weighted(dtype)
    given = {("weight_decay" if name == "c" else name): value for name, value in options.items()}
    for optimizer in (fastbp.SGD(0.05), InPython(0.05)):
        trainer = fastbp.Trainer(p.network(), optimizer, mean_weight=3, **given)
        J = trainer.epoch(p.X, p.Y, batch_size=batch_size, sample_weight=w)
        theta, expected = reference_rules.train(
            p.model, p.theta.astype(np.longdouble), p.X, p.Y, reference_rules.SGD(0.05), epochs=1,
            batch_size=batch_size, w=w, mean_weight=3, **options)
        assert distance(trainer.net.theta, theta) < tolerance(dtype, "training")
        assert pytest.approx(expected[0], rel=tolerance(dtype, "training")) == J


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fault_64_with_dropout_too(dtype, batch_size):
    p, w = weighted(dtype)
    rates = (0.1, 0.3, 0.0)
    trainer = fastbp.Trainer(p.network(), fastbp.SGD(0.05), dropout=rates[1:], input_dropout=rates[0], seed=1,
                             mean_weight=2.5)
    J = [trainer.epoch(p.X, p.Y, batch_size=batch_size, sample_weight=w) for _ in range(2)]
    theta, expected = reference.train(
        p.model, p.theta.astype(np.longdouble), p.X, p.Y, reference.SGD(0.05), epochs=2, batch_size=batch_size, w=w,
        mean_weight=2.5, dropout=(rates, trainer.state["dropout_seed"]))
    assert distance(trainer.net.theta, theta) < tolerance(dtype, "training")
    np.testing.assert_allclose(J, expected, rtol=tolerance(dtype, "training"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, 32, None, 100])
@pytest.mark.parametrize("given", [None, 1.0, 0.7])
def test_fault_64_train_takes_the_mean_over_all_training_rows(batch_size, given, dtype):
    p, w = weighted(dtype)
    net = p.network()
    history = fastbp.train(net, p.X, p.Y, optimizer=fastbp.SGD(0.02), epochs=2, batch_size=batch_size, shuffle=False,
                           sample_weight=w, mean_weight=given)
    theta, J = reference.train(
        p.model, p.theta.astype(np.longdouble), p.X, p.Y, reference.SGD(0.02), epochs=2, batch_size=batch_size, w=w,
        mean_weight=w.mean() if given is None else given)
    assert distance(net.theta, theta) < tolerance(dtype, "training")
    np.testing.assert_allclose(history.J, J, rtol=tolerance(dtype, "training"))


def test_fault_64_rows_that_are_held_out_do_not_count():
    p, w = weighted(np.float64)
    seen = []
    fastbp.train(p.network(), p.X, p.Y, epochs=1, sample_weight=w, validation_split=0.5, seed=0, batch_size=5,
                 callbacks=[lambda training: seen.append((training.trainer.mean_weight, training.feed.rows))])
    (mean_weight, rows), = seen
    assert mean_weight == pytest.approx(w[rows].mean(), rel=1e-15)
    assert abs(mean_weight - w.mean()) > 0.01


@pytest.mark.parametrize("exponent", [-1000, -300, 0, 300, 1000])
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_fault_64_weights_of_every_size_train_alike(batch_size, exponent):
    p, w = weighted(np.float64)
    for optimizer in (fastbp.SGD(0.02), fastbp.Adam(0.01), Plain()):
        nets = p.network(), p.network()
        for net, scale in zip(nets, (1.0, 2.0**exponent), strict=True):
            fastbp.train(net, p.X, p.Y, optimizer=optimizer, epochs=2, batch_size=batch_size, seed=1,
                         sample_weight=w * scale)
        assert nets[0].theta.tobytes() == nets[1].theta.tobytes()


# ---------------------------------------------------------------- the effect

X_RARE = np.zeros((2000, 1))
Y_RARE = (np.arange(2000) % 100 == 0).astype(float)     # 1 % positives
W_RARE = np.where(Y_RARE, 99.0, 1.0)
RATES = {1: 2e-4, 32: 0.01, None: 1.0}


@pytest.mark.parametrize("batch_size", RATES)
def test_fault_64_rare_examples_of_large_weight_count_in_every_batch_size(batch_size):
    net = fastbp.Network([1, 1], seed=0)
    net.theta = [-1.0, 0.0]
    epochs = 100 if batch_size is None else 60
    fastbp.train(net, X_RARE, Y_RARE, sample_weight=W_RARE, batch_size=batch_size, epochs=epochs, seed=0,
                 optimizer=fastbp.SGD(RATES[batch_size]))
    assert net.predict(np.zeros(1))[0] == pytest.approx(0.5, abs=0.02)


def test_fault_64_importance_weights_count_in_steps_of_one_example():
    """Oversampled examples get smaller weights: the mean of y under the weights is right"""
    rng, net = np.random.default_rng(0), fastbp.Network([1, 1], output="identity", loss="squared_error", seed=0)
    trainer, seen = fastbp.Trainer(net, fastbp.SGD(0.02), mean_weight=1), []
    for _ in range(20_000):
        y = float(rng.random() < 0.9)   # 1 in nine cases of ten; half of the time is meant
        trainer.step(np.zeros((1, 1)), np.full((1, 1), y), sample_weight=[0.5 / 0.9 if y else 0.5 / 0.1])
        seen.append(net.theta[0])
    assert np.mean(seen[5000:]) == pytest.approx(0.5, abs=0.03)


def test_fault_64_the_weight_of_a_single_example_is_the_length_of_its_step():
    p = problem()
    for w, mean_weight in ((4.0, 1.0), (3.0, 2.0), (0.1, None)):
        nets = p.network(), p.network()
        trainer = fastbp.Trainer(nets[0], fastbp.SGD(0.1), mean_weight=mean_weight)
        J = trainer.step(p.X[:1], p.Y[:1], sample_weight=[w])
        length = 0.1 if mean_weight is None else 0.1 * w / mean_weight
        assert pytest.approx(fastbp.Trainer(nets[1], fastbp.SGD(length)).step(p.X[:1], p.Y[:1]), rel=1e-15) == J
        assert distance(nets[0].theta, nets[1].theta) < 1e-15


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [fastbp.SGD(0.1, 0.5), fastbp.Adam(schedules.Step(0.1, 1))])
@pytest.mark.parametrize("mean_weight", [1, 3, 0.7, 2e30])
def test_fault_64_the_quick_step_is_the_same_to_the_bit(mean_weight, optimizer, dtype):
    p = problem((5, 7, 3), "tanh", "softmax", "squared_error", m=19, dtype=dtype)
    options = {"optimizer": optimizer, "batch_lam": 0.1, "mean_weight": mean_weight}
    quick, slow, ones = (fastbp.Trainer(p.network(), **options) for _ in range(3))
    for m in (1, 8, 19):
        J = quick.steps.quick(p.X[:m], p.Y[:m])
        assert J is not None
        others = [slow.epoch(p.X[:m], p.Y[:m]), ones.step(p.X[:m], p.Y[:m], np.ones(m))]
        assert others == pytest.approx([J, J], rel=1e-14)   # a mean of means rounds in another order
    assert quick.net.theta.tobytes() == slow.net.theta.tobytes() == ones.net.theta.tobytes()


# ---------------------------------------------------------------- equal weights, full batches, chunks: bits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight", [1.0, 3.0, 0.1, 1e-30, 2.0**80])
@pytest.mark.parametrize("batch_size", [1, 7, 32, None, 40])
def test_fault_64_equal_weights_give_the_bits_of_none(batch_size, weight, dtype):
    p = problem(SIZES, "tanh", m=40, dtype=dtype)
    w = np.full(40, weight)
    settings = {"epochs": 2, "seed": 3, "batch_size": batch_size, "weight_decay": 0.01, "dropout": 0.1}
    if batch_size == 1:     # the fused sweeps too
        del settings["dropout"]
    for optimizer in (fastbp.SGD(0.05), fastbp.Adam(0.01), Plain()):
        one, other, of_chunks, chunks = (p.network() for _ in range(4))
        J = fastbp.train(one, p.X, p.Y, optimizer=optimizer, **settings).J
        assert fastbp.train(other, p.X, p.Y, optimizer=optimizer, sample_weight=w, **settings).J == J
        assert one.theta.tobytes() == other.theta.tobytes()
        if batch_size is not None and abs(np.log2(weight)) < 50:    # chunks refuse weights that are extreme
            source = [(p.X[i : i + 9], p.Y[i : i + 9], w[i : i + 9]) for i in range(0, 40, 9)]
            J = fastbp.train(of_chunks, [each[:2] for each in source], optimizer=optimizer, **settings).J
            mean_weight = float(dtype(weight))
            assert fastbp.train(chunks, source, optimizer=optimizer, mean_weight=mean_weight, **settings).J == J
            assert of_chunks.theta.tobytes() == chunks.theta.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, 32, 64])
def test_fault_64_chunks_have_the_bits_of_an_array_of_equal_mean_weight_and_1_unless_given(batch_size, dtype):
    p, w = weighted(dtype, 64)
    chunks = [(p.X[i : i + 9], p.Y[i : i + 9], w[i : i + 9]) for i in range(0, 64, 9)]
    settings = {"epochs": 2, "batch_size": batch_size, "window": 64, "seed": 2, "optimizer": fastbp.SGD(0.02)}
    for given in (None, 1.7):
        one, other = p.network(), p.network()
        mean_weight = 1 if given is None else given
        J = fastbp.train(one, p.X, p.Y, sample_weight=w, mean_weight=mean_weight, **settings).J
        assert fastbp.train(other, chunks, mean_weight=given, **settings).J == J
        assert one.theta.tobytes() == other.theta.tobytes()


@pytest.mark.parametrize("batch_size", [None, 40, 50])
@pytest.mark.parametrize("optimizer", [fastbp.SGD(0.05, 0.5), fastbp.Adam(0.01), Plain()])
def test_fault_64_a_full_batch_keeps_its_bits(optimizer, batch_size):
    p, w = weighted(np.float64)
    net, seen = p.network(), []
    fastbp.train(net, p.X, p.Y, optimizer=optimizer, epochs=3, batch_size=batch_size, shuffle=False, sample_weight=w,
                 callbacks=[lambda training: seen.append(training.trainer.mean_weight)])
    trainer = fastbp.Trainer(p.network(), optimizer)
    for _ in range(3):
        trainer.step(p.X, p.Y, w)
    assert net.theta.tobytes() == trainer.net.theta.tobytes()
    assert seen == [None] * 3


def test_fault_64_cuts_by_callbacks_and_windows_change_no_bit():
    p, w = weighted(np.float64)

    class Watching:
        def on_batch_end(self, training):
            assert np.isfinite(training.J)

    for batch_size in (1, 7):
        nets = [p.network() for _ in range(2)]
        J = [fastbp.train(net, p.X, p.Y, sample_weight=w, epochs=2, seed=0, batch_size=batch_size,
                          optimizer=fastbp.SGD(0.02, 0.1), callbacks=callbacks).J
             for net, callbacks in zip(nets, ([], [Watching()]), strict=True)]
        assert J[0] == pytest.approx(J[1], rel=1e-14)
        assert nets[0].theta.tobytes() == nets[1].theta.tobytes()


# ---------------------------------------------------------------- ranks


def on_ranks(p, w, size, parts=None, rows=None, **settings):
    """(theta, J, mean_weight) of training on this many ranks, each with its rows"""
    def train(comm):
        own, seen = distributed.rows(len(p.X), comm) if rows is None else rows[comm.Get_rank()], []
        net = p.network()
        group = distributed.Group(comm, parts) if parts else comm
        history = fastbp.train(net, p.X[own], p.Y[own], comm=group, sample_weight=None if w is None else w[own],
                               callbacks=[lambda training: seen.append(training.trainer.mean_weight)], **settings)
        return net.theta, history.J, seen[-1]

    results = all_of(size, train)
    assert all(each[0].tobytes() == results[0][0].tobytes() and each[1:] == results[0][1:] for each in results)
    return results[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [(fastbp.SGD(0.05), reference.SGD(0.05)), (InPython(0.05), reference.SGD(0.05)),
                                       (fastbp.Adam(0.01), reference.Adam(0.01))], ids=["sgd", "python", "adam"])
@pytest.mark.parametrize("given", [None, 2.5])
def test_fault_64_ranks_divide_by_the_examples_of_all_and_the_mean_over_all(given, optimizer, dtype):
    p, w = weighted(dtype)
    ours, rule = copy.deepcopy(optimizer)
    theta, J, mean_weight = on_ranks(p, w, 2, optimizer=ours, epochs=2, batch_size=8, shuffle=False, mean_weight=given)
    assert mean_weight == pytest.approx(w.mean() if given is None else given, rel=1e-6)
    order = np.concatenate([np.r_[i : i + 4, 20 + i : 24 + i] for i in range(0, 20, 4)])
    expected, history = reference.train(
        p.model, p.theta.astype(np.longdouble), p.X, p.Y, rule, epochs=2, batch_size=8, w=w, order=order,
        mean_weight=w.mean() if given is None else given)
    assert distance(theta, expected) < tolerance(dtype, "training")
    np.testing.assert_allclose(J, history, rtol=tolerance(dtype, "training"))


def test_fault_64_ranks_without_rows_or_weights_take_part():
    p, w = weighted(np.float64)
    w[:20] = 1

    def train(comm):
        own = [slice(20), slice(20, 40), slice(0)][comm.Get_rank()]
        net = p.network()
        fastbp.train(net, p.X[own], p.Y[own], comm=comm, sample_weight=w[own] if comm.Get_rank() == 1 else None,
                     optimizer=fastbp.SGD(0.05), epochs=1, batch_size=12, shuffle=False)
        return net.theta

    order = np.concatenate([np.r_[i : i + 4, 20 + i : 24 + i] for i in range(0, 20, 4)])
    expected, _ = reference.train(p.model, p.theta.astype(np.longdouble), p.X, p.Y, reference.SGD(0.05), epochs=1,
                                  batch_size=8, w=w, order=order, mean_weight=w.mean())
    assert all(distance(theta, expected) < tolerance(float, "training") for theta in all_of(3, train))


@pytest.mark.parametrize("batch_size", [8, None])
def test_fault_64_as_many_parts_give_the_same_bits_on_1_2_and_4_ranks_and_equal_weights_those_of_none(batch_size):
    p, w = weighted(np.float64)
    settings = {"optimizer": fastbp.SGD(0.05), "epochs": 2, "batch_size": batch_size, "seed": 1}
    ends = []
    for given in (w, np.full(40, 0.1), None):
        one, two, four = (on_ranks(p, given, size, 4, **settings) for size in (1, 2, 4))
        assert one[0].tobytes() == two[0].tobytes() == four[0].tobytes()
        assert one[1:] == two[1:] == four[1:]
        ends.append((one[0].tobytes(), one[1]))
    assert ends[0] != ends[1] == ends[2]
    for name in ("sync_every", "mean_weight"):      # and with steps alone
        more = {**settings, name: 2}
        none, equal = (on_ranks(p, given, 2, **more) for given in (None, np.full(40, 1.0)))
        assert (none[0].tobytes(), none[1]) == (equal[0].tobytes(), equal[1])


@pytest.mark.parametrize("given", [None, 2.5])
def test_fault_64_steps_of_each_ranks_own_too(given):
    p, w = weighted(np.float64)
    w[14:21] = 1
    theta, _, mean_weight = on_ranks(p, w, 2, optimizer=fastbp.SGD(0.05), epochs=1, batch_size=8, shuffle=False,
                                     sync_every=5, mean_weight=given)
    ends = []
    for own in (slice(20), slice(20, 40)):
        trainer = fastbp.Trainer(p.network(), fastbp.SGD(0.05), mean_weight=mean_weight)
        trainer.epoch(p.X[own], p.Y[own], batch_size=4, sample_weight=w[own])
        ends.append(trainer.net.theta)
    assert distance(theta, np.average(ends, axis=0, weights=[w[:20].sum(), w[20:].sum()])) < 1e-14


def test_fault_64_trainers_of_several_ranks_and_ranks_that_disagree():
    p, w = weighted(np.float64)

    def step(comm, mean_weight=2.0):
        own = distributed.rows(40, comm)
        trainer = fastbp.Trainer(p.network(), fastbp.SGD(0.05), comm=comm, mean_weight=mean_weight)
        return trainer.step(p.X[own], p.Y[own], w[own]), trainer.net.theta

    alone = fastbp.Trainer(p.network(), fastbp.SGD(0.05), mean_weight=2.0)
    J = alone.step(p.X, p.Y, w)
    for mine, theta in all_of(2, step):
        assert mine == pytest.approx(J, rel=1e-13)
        assert distance(theta, alone.net.theta) < 1e-14
    with pytest.raises(ValueError, match="mean_weight"):
        all_of(2, lambda comm: step(comm, 1.0 + comm.Get_rank()))
    with pytest.raises(ValueError, match="mean_weight"):
        all_of(2, lambda comm: fastbp.train(p.network(), p.X, p.Y, epochs=1, comm=comm,
                                            mean_weight=1.0 + comm.Get_rank()))
