"""Trainer: training step by step, and epochs over a given order of the examples."""

import numpy as np
import pytest
import reference
from helpers import CLASSES, DTYPES, distance, problem, tolerance
from reference import PAIRS
from test_arrays import LAYOUTS
from test_checks import BAD_X, BAD_Y, refused

import fastbp

RULES = {
    "sgd": (lambda: fastbp.SGD(0.05), lambda: reference.SGD(0.05)),
    "momentum": (lambda: fastbp.SGD(0.05, 0.9), lambda: reference.SGD(0.05, 0.9)),
    "adam": (lambda: fastbp.Adam(0.01), lambda: reference.Adam(0.01)),
}


@pytest.mark.parametrize("form", ["targets", "labels", "weights"])
@pytest.mark.parametrize("batch_size", [1, 4, None])
@pytest.mark.parametrize("rule", RULES)
def test_epoch_follows_a_given_order_of_the_examples(rule, batch_size, form):
    """The estimators need these examples in this order, with repeats; the optimizer's state continues"""
    p = problem(m=20)
    net, order = p.network(), np.array([3, 3, 19, 0, 7, 1, 1, 12, 5])
    Y, w = p.labels if form == "labels" else p.Y, p.weights if form == "weights" else None
    trainer = fastbp.Trainer(net, RULES[rule][0](), weight_decay=0.01)
    J = [trainer.epoch(p.X, Y, batch_size=batch_size, order=order, sample_weight=w) for _ in range(2)]
    theta, expected = reference.train(
        p.model, p.theta.astype(np.longdouble), p.X, Y, RULES[rule][1](), epochs=2, batch_size=batch_size, c=0.01,
        w=w, order=order,
    )  # fmt: skip
    assert distance(net.theta, theta) < tolerance(float, "training")
    np.testing.assert_allclose(J, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("rule", RULES)
def test_each_step_is_the_textbooks(rule, output, loss, dtype):
    """Steps of one and of several examples, from slices of one array, return J before the step"""
    p = problem((6, 9, 4), "tanh", output, loss, m=40, dtype=dtype)
    net, textbook, theta = p.network(), RULES[rule][1](), p.theta.astype(np.longdouble)
    trainer = fastbp.Trainer(net, RULES[rule][0](), weight_decay=0.02)
    for rows in (slice(0, 1), slice(1, 2), slice(2, 10), slice(10, 11), slice(11, 40)):
        J, D = p.model.cost_and_gradient(theta, p.X[rows], p.Y[rows], np.longdouble(0.02))
        assert trainer.step(p.X[rows], p.Y[rows]) == pytest.approx(float(J), rel=tolerance(dtype, "training"))
        theta = textbook.step(theta, D)
        assert distance(net.theta, theta) < tolerance(dtype, "training")


@pytest.mark.parametrize("sizes", [(4, 64, 2), (30, 300, 3)])     # a block has 512 rows, and 128 or 64
@pytest.mark.parametrize(
    "setting", [{}, {"dropout": 0.3}, {"mean_weight": 2.5}, {"clip_norm": 0.1, "weight_decay": 0.01}]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_on_hundreds_of_rows_are_prepared_and_have_the_bits_of_an_epoch(dtype, setting, sizes):
    p = problem(sizes, "tanh", "softmax", "cross_entropy", m=600, dtype=dtype)
    one, other = p.network(), p.network()
    trainer, whole = (fastbp.Trainer(net, fastbp.Adam(0.01), seed=1, **setting) for net in (one, other))
    quick = []
    for m in (3, 64, 65, 500, 100, 512, 513, 20, 600):
        J = whole.epoch(p.X[:m], p.labels[:m], batch_size=None)
        kept = trainer.steps.prepared().step(p.X[:m], p.labels[:m])
        quick += [m] if kept is not None else []
        assert (trainer.step(p.X[:m], p.labels[:m]) if kept is None else kept) == pytest.approx(J, rel=1e-15)
        np.testing.assert_array_equal(one.theta, other.theta)
    assert quick == ([3, 64, 65, 500, 100, 512, 20] if sizes[1] == 64 else [3, 64, 65, 100, 20])


@pytest.mark.parametrize(("output", "loss"), CLASSES)
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_step_with_labels_is_the_step_with_their_rows(kind, output, loss):
    p = problem((6, 5, 3), "relu", output, loss, m=12)
    by_label, by_row = p.network(), p.network()
    one, other = fastbp.Trainer(by_label, fastbp.SGD(0.1)), fastbp.Trainer(by_row, fastbp.SGD(0.1))
    for rows in (slice(0, 1), slice(1, 12)):
        one.step(p.X[rows], p.labels[rows].astype(kind))
        other.step(p.X[rows], p.model.targets(p.labels[rows], float))
    assert distance(by_label.theta, by_row.theta) < tolerance(float, "bits")


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("which", ["X", "Y", "both"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_step_takes_every_layout_of_either_array(dtype, layout, which, K):
    """The quick way must handle strides like the slow one"""
    p = problem((6, 5, K), m=8, dtype=dtype)

    def stepped(X, Y):
        net = p.network()
        J = fastbp.Trainer(net, fastbp.SGD(0.1)).step(X, Y)
        return J, net.theta.tobytes()

    change = LAYOUTS[layout]
    X = change(p.X) if which != "Y" else p.X
    assert stepped(X, change(p.Y) if which != "X" else p.Y) == stepped(p.X, p.Y)
    if K == 1:
        assert stepped(X, change(p.Y[:, 0]) if which != "X" else p.Y[:, 0]) == stepped(p.X, p.Y)
    else:
        labels = p.labels if which == "X" else change(p.labels)
        assert stepped(X, labels) == stepped(p.X, p.labels)


def test_step_reads_broadcast_targets_and_other_dtypes_right():
    p = problem((6, 5, 3), m=8)
    thetas = []
    for Y in (np.broadcast_to(p.Y[:1], (8, 3)), np.repeat(p.Y[:1], 8, axis=0), np.repeat(p.Y[:1], 8, 0).astype("g")):
        net = p.network()
        fastbp.Trainer(net, fastbp.SGD(0.1)).step(p.X, Y)
        thetas.append(net.theta.tobytes())
    assert thetas == 3 * thetas[:1]


def test_step_with_equal_weights_is_the_step_without():
    p = problem((6, 5, 3), m=8)
    weighted, plain = p.network(), p.network()
    fastbp.Trainer(weighted, fastbp.SGD(0.1)).step(p.X, p.Y, np.full(8, 3.0))
    fastbp.Trainer(plain, fastbp.SGD(0.1)).step(p.X, p.Y)
    assert distance(weighted.theta, plain.theta) < tolerance(float, "bits")


def test_step_follows_parameters_set_in_between():
    p = problem((6, 5, 3), m=8)
    net = p.network()
    trainer = fastbp.Trainer(net, fastbp.SGD(0.1))
    trainer.step(p.X, p.Y)
    net.theta = p.theta
    trainer.step(p.X, p.Y)
    assert distance(net.theta, p.theta - 0.1 * p.exact()[1].astype(float)) < 1e-13


P = problem((3, 4, 2), m=40)


@pytest.mark.parametrize("method", ["step", "epoch"])
@pytest.mark.parametrize(("name", "bad"), [*(("X", bad) for bad in BAD_X), *(("Y", bad) for bad in BAD_Y)])
def test_bad_examples_are_refused_before_the_step(name, bad, method):
    wrong, *patterns = (BAD_X if name == "X" else BAD_Y)[bad]
    net = P.network()
    call = getattr(fastbp.Trainer(net, fastbp.Adam()), method)
    refused(lambda: call(wrong, P.Y) if name == "X" else call(P.X, wrong), *patterns)
    assert net.theta.tobytes() == P.theta.tobytes()


def test_bad_orders_are_refused():
    trainer = fastbp.Trainer(P.network(), fastbp.SGD(0.1))
    for order in ([0, 40], [-1, 3], [0.5, 1.0], [[0, 1]], [], ["a"], 3):
        refused(lambda order=order: trainer.epoch(P.X, P.Y, order=order), "order")


def test_bad_softmax_rows_are_refused_by_the_quick_step_too():
    p = problem((3, 4, 2), output="softmax", m=5)
    net, wrong = p.network(), p.Y.copy()
    wrong[3, 0] += 0.01
    refused(lambda: fastbp.Trainer(net, fastbp.SGD(0.1)).step(p.X, wrong), "Y", "3", "sum")
    assert net.theta.tobytes() == p.theta.tobytes()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [1, 60, 5000])
@pytest.mark.parametrize("rule", [*RULES, "python"])
def test_epoch_tells_cost_and_penalty_of_each_batch(rule, batch_size, weighted):
    """The estimators need the costs before each step for their own mean; they are 0 where weights sum to 0"""

    class Plain(fastbp.SGD):
        def update(self, theta, D, state):
            super().update(theta, D, state)

    m = 12_000 if batch_size == 5000 else 150
    rng = np.random.default_rng(0)
    X, Y, w = rng.normal(size=(m, 4)), rng.normal(size=(m, 2)), rng.integers(1, 4, m) / 2
    w[batch_size : 2 * batch_size] = 0
    w = w if weighted else None
    nets = [fastbp.Network([4, 6, 2], output="identity", loss="squared_error", seed=0) for _ in range(2)]
    make = (lambda: Plain(0.05)) if rule == "python" else RULES[rule][0]
    whole, single = (fastbp.Trainer(net, make(), weight_decay=0.01, batch_lam=2.0) for net in nets)
    order = rng.permutation(m)
    order[batch_size : 2 * batch_size] = np.arange(batch_size, 2 * batch_size)      # a batch without weight
    parts = [order[at : at + batch_size] for at in range(0, m, batch_size)]
    each, expected = np.zeros((len(parts), 2)), np.zeros((len(parts), 2))
    whole.steps.mean(nets[0].data(X, Y, w), batch_size, order, each=each)
    for i, part in enumerate(parts):
        m_b = len(part) if w is None else w[part].sum()
        if m_b == 0:
            continue
        own = None if w is None else w[part]
        J = nets[1].cost(X[part], Y[part], sample_weight=own)
        c = 0.01 + 2.0 / m_b
        expected[i] = J, c / 2 * sum((Theta[:, 1:] ** 2).sum() for Theta in nets[1].Theta)
        single.step(X[part], Y[part], sample_weight=own)
    np.testing.assert_allclose(each, expected, rtol=1e-11)
    assert (expected[:, 0] == 0).sum() == (0 if w is None else sum(w[part].sum() == 0 for part in parts))
