"""Training: batches, orders, seeds, penalties, weights, validation, history, and the state after a failed call."""

import itertools
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import helpers
import numpy as np
import pytest
import reference
from helpers import CLASSES, DTYPES, NAMES, WIDTHS, distance, problem, tolerance, untouched_global_random_state
from reference import PAIRS

import fastbp


def trained(p, Y=None, **options):
    """theta and the history after two epochs of SGD(0.2), unless the options say otherwise"""
    net = p.network()
    options = {"optimizer": fastbp.SGD(0.2), "epochs": 2, "seed": 0} | options
    history = fastbp.train(net, p.X, p.Y if Y is None else Y, **options)
    return net.theta.copy(), history


def textbook(p, Y=None, epochs=2, alpha=0.2, **options):
    theta, rule = p.theta.astype(np.longdouble), reference.SGD(alpha)
    if options.get("w") is not None:
        options["mean_weight"] = options["w"].mean(dtype=np.longdouble)
    return reference.train(p.model, theta, p.X, p.Y if Y is None else Y, rule, epochs=epochs, **options)


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [None, 1, 2, 7, 10, 30, 31, 1000])
def test_each_batch_divides_by_its_own_size(batch_size, dtype):
    """30 examples: short last batches of 2, whole batches, and sizes beyond m, which are clipped"""
    p = problem((5, 8, 6, 3), m=30, dtype=dtype)
    theta, history = trained(p, batch_size=batch_size, shuffle=False, weight_decay=0.02)
    expected, J = textbook(p, batch_size=batch_size, c=np.longdouble(0.02))
    assert distance(theta, expected) < tolerance(dtype, "training")
    np.testing.assert_allclose(history.J, J, rtol=tolerance(dtype, "training"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_every_output_and_loss_trains_as_the_textbook(output, loss, batch_size, dtype):
    p = problem((6, 5, 3), "relu", output, loss, m=23, dtype=dtype)
    theta, history = trained(p, batch_size=batch_size, shuffle=False, epochs=3, optimizer=fastbp.SGD(0.02))
    expected, J = textbook(p, batch_size=batch_size, epochs=3, alpha=0.02)
    assert distance(theta, expected) < tolerance(dtype, "training")
    np.testing.assert_allclose(history.J, J, rtol=tolerance(dtype, "training"))


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (1, 1, 1), (9, 17, 5), (33, 31, 10), (8, 7, 6, 5, 4)])
def test_every_size_trains_as_the_textbook(sizes, batch_size):
    p = problem(sizes, "silu", m=12)
    theta, _ = trained(p, batch_size=batch_size, shuffle=False)
    assert distance(theta, textbook(p, batch_size=batch_size)[0]) < tolerance(float, "training")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_online_steps_of_every_width_are_the_textbooks(width, dtype):
    """One example per step, where the fused loops run, with and without decay, momentum and weights"""
    name = NAMES[WIDTHS.index(width) % len(NAMES)]
    for sizes in ((width, 2), (width, 3, 2), (3, width, 2), (2, width, width, 3)):
        p = problem(sizes, name, m=6, dtype=dtype)
        for c, mu, w in ((0, 0, None), (0.02, 0, None), (0, 0.9, None), (0.02, 0.5, p.weights)):
            rule, options = reference.SGD(0.1, mu), {"epochs": 2, "batch_size": 1}
            net = p.network()
            history = fastbp.train(
                net, p.X, p.Y, optimizer=fastbp.SGD(0.1, mu), shuffle=False, weight_decay=c, sample_weight=w, **options
            )
            theta, J = reference.train(p.model, p.theta.astype(np.longdouble), p.X, p.Y, rule, c=c, w=w, **options,
                                       mean_weight=None if w is None else w.mean(dtype=np.longdouble))
            assert distance(net.theta, theta) < tolerance(dtype, "training")
            np.testing.assert_allclose(history.J, J, rtol=tolerance(dtype, "training"))


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("output", ["sigmoid", "softmax", "tanh"])
def test_labels_train_as_their_rows(output, batch_size):
    p = problem((6, 5, 3), "tanh", output, "squared_error", m=23)
    theta, _ = trained(p, p.labels, batch_size=batch_size, shuffle=False)
    assert distance(theta, textbook(p, p.labels, batch_size=batch_size)[0]) < tolerance(float, "training")


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_lam_is_divided_by_the_training_rows_whatever_the_batch(batch_size):
    p = problem(m=24)
    by_lam, _ = trained(p, lam=0.6, batch_size=batch_size)
    by_c, _ = trained(p, weight_decay=0.6 / 24, batch_size=batch_size)
    assert distance(by_lam, by_c) < 1e-15


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_sample_weights_enter_each_batch_as_in_the_textbook(batch_size, dtype):
    p = problem(m=24, dtype=dtype)
    theta, history = trained(p, batch_size=batch_size, sample_weight=p.weights, shuffle=False, weight_decay=0.02)
    expected, J = textbook(p, batch_size=batch_size, w=p.weights, c=np.longdouble(0.02))
    assert distance(theta, expected) < tolerance(dtype, "training")
    np.testing.assert_allclose(history.J, J, rtol=tolerance(dtype, "training"))


@pytest.mark.parametrize("mu", [0, 0.9])
@pytest.mark.parametrize("c", [0, 0.02])
def test_online_examples_of_weight_zero_are_as_if_absent(c, mu):
    p = problem(m=24)
    w = np.arange(24) % 3 * p.weights  # the first of three is 0
    options = {"optimizer": fastbp.SGD(0.2, mu), "batch_size": 1, "shuffle": False, "weight_decay": c, "mean_weight": 1}
    theta, history = trained(p, sample_weight=w, **options)
    net, live = p.network(), w > 0
    present = fastbp.train(net, p.X[live], p.Y[live], epochs=2, sample_weight=w[live], **options)
    assert distance(theta, net.theta) < tolerance(float, "bits")
    np.testing.assert_allclose(history.J, present.J, rtol=1e-13)


def test_constant_weights_change_nothing():
    p = problem(m=24)
    assert distance(trained(p, sample_weight=np.full(24, 2.0))[0], trained(p)[0]) < 1e-14


@pytest.mark.parametrize(("dtype", "weight"), [(np.float32, 1e-41), (np.float64, 5e-324), (np.float64, 1e300)])
def test_weights_of_any_size_train_as_equal_ones_do(dtype, weight):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 3)), rng.random((30, 2))
    nets = [fastbp.Network([3, 5, 2], dtype=dtype, seed=0) for _ in range(2)]
    for net, weights in zip(nets, (None, np.full(30, weight)), strict=True):
        fastbp.train(net, X, Y, optimizer=fastbp.SGD(0.1), epochs=2, batch_size=7, sample_weight=weights, seed=0)
    np.testing.assert_allclose(nets[1].theta, nets[0].theta, rtol=1e-5 if dtype == np.float32 else 1e-12)



def test_training_in_pieces_is_training_at_once():
    p = problem(m=20)
    net = p.network()
    for _ in range(3):
        fastbp.train(net, p.X, p.Y, optimizer=fastbp.SGD(0.2), epochs=1, batch_size=6, shuffle=False)
    assert distance(net.theta, textbook(p, epochs=3, batch_size=6)[0]) < tolerance(float, "training")


# ---------------------------------------------------------------- order and seed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_same_seed_gives_the_same_bits_and_another_seed_others(batch_size, dtype):
    p = problem((6, 9, 4), m=50, dtype=dtype)

    def bits(seed):
        theta, history = trained(p, seed=seed, batch_size=batch_size)
        return theta.tobytes(), tuple(history.J)

    assert bits(3) == bits(3)
    assert bits(3) != bits(4)
    assert bits(None) != bits(None)


@pytest.mark.parametrize("n_threads", [2, 3, 8, None])
@pytest.mark.parametrize(
    ("sizes", "m", "batch_size"),
    [((20, 30, 10), 200, 1), ((20, 30, 10), 200, 32), ((64, 100, 10), 3000, 500), ((64, 100, 10), 3000, None)],
)
def test_fault_14_number_of_threads_does_not_change_the_bits(sizes, m, batch_size, n_threads):
    p = problem(sizes, m=m, dtype=np.float32)
    one, many = (trained(p, batch_size=batch_size, n_threads=n)[0].tobytes() for n in (1, n_threads))
    assert many == one


def test_shuffling_visits_every_example_once_an_epoch_in_another_order():
    """Online, a single bias with identity: theta := (1 - alpha) theta + alpha y, so theta reveals the order of the y"""
    alpha, Y = 0.3, np.random.default_rng(1).standard_normal((5, 1))
    decay = alpha * (1 - alpha) ** np.arange(4, -1, -1)
    reachable = {order: decay @ Y[list(order), 0] for order in itertools.permutations(range(5))}
    seen = set()
    for seed in range(12):
        net = fastbp.Network([1, 1], output="identity", loss="squared_error", init=[0.0, 0.0])
        fastbp.train(net, np.zeros((5, 1)), Y, optimizer=fastbp.SGD(alpha), epochs=1, batch_size=1, seed=seed)
        orders = [order for order, theta in reachable.items() if abs(theta - net.theta[0]) < 1e-14]
        assert len(orders) == 1, "not one step for each example"
        seen.add(orders[0])
    assert len(seen) > 6


def test_epochs_are_shuffled_differently():
    p = problem(m=30)
    one, _ = trained(p, epochs=1, batch_size=1, seed=5)
    net = p.network()
    net.theta = one
    fastbp.train(
        net, p.X, p.Y, optimizer=fastbp.SGD(0.2), epochs=1, batch_size=1, seed=5
    )  # the first epoch's order again
    assert (trained(p, epochs=2, batch_size=1, seed=5)[0] != net.theta).any()


def test_training_does_not_touch_numpys_global_random_state():
    with untouched_global_random_state():
        trained(problem(), seed=None)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(("output", "loss"), CLASSES)
def test_shuffled_labels_stay_with_their_inputs(output, loss, batch_size):
    """The same seed gives the same order: labels train like one-hot rows, from inputs of either dtype"""
    p = problem((4, 6, 3), "tanh", output, loss, m=24)
    X = p.X.astype(np.float32)
    runs = []
    for inputs in (X, X.astype(float)):
        for Y in (p.labels, p.model.targets(p.labels, float)):
            net = p.network()
            fastbp.train(net, inputs, Y, optimizer=fastbp.SGD(0.2), epochs=3, batch_size=batch_size, seed=7)
            runs.append(net.theta)
    assert all(distance(theta, runs[0]) < tolerance(float, "bits") for theta in runs)


# ---------------------------------------------------------------- long calls, several at once


@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_long_epochs_are_cut_into_calls_without_a_trace(batch_size):
    """Compiled code returns every 20 ms; these epochs take longer"""
    p = problem((20, 50, 5), m=30_000 if batch_size != 1 else 4_000)
    net = p.network()
    fastbp.train(net, p.X, p.Y, optimizer=fastbp.SGD(0.1), epochs=1, batch_size=batch_size, shuffle=False)
    theta, _ = reference.train(p.model, p.theta, p.X, p.Y, reference.SGD(0.1), epochs=1, batch_size=batch_size)
    assert distance(net.theta, theta) < tolerance(float, "training")


@pytest.mark.parametrize("call", ["train", "cost_and_gradient"])
def test_fault_9_ctrl_c_stops_a_long_call_at_once(call):
    """Within 20 ms by design, but the machine may be busy; the parameters are those of the last finished step"""
    assert any(seconds_after_ctrl_c(call) < 0.5 for _ in range(4))


def seconds_after_ctrl_c(call):
    net = fastbp.Network([20, 2000, 1], seed=0)
    X, Y = np.broadcast_to(np.ones(20), (200_000, 20)), np.broadcast_to(0.5, (200_000, 1))
    before, struck = net.theta.copy(), []
    calls = {
        "train": lambda: fastbp.train(net, X, Y, optimizer=fastbp.SGD(1e-3), epochs=1, batch_size=1, shuffle=False),
        "cost_and_gradient": lambda: net.cost_and_gradient(X, Y),
    }

    def strike():
        for _ in range(1000):       # a busy machine may not have begun to train
            if call != "train" or (net.theta != before).any():
                break
            time.sleep(0.01)
        struck.append(time.monotonic())
        helpers.ctrl_c()

    before_handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores SIGINT
    try:
        threading.Timer(0.3, strike).start()
        with pytest.raises(KeyboardInterrupt):
            calls[call]()
    finally:
        signal.signal(signal.SIGINT, before_handler)
    took = time.monotonic() - struck[0]
    assert np.isfinite(net.theta).all()
    assert (net.theta != before).any() == (call == "train")
    return took


def test_fault_16_trainings_at_the_same_time_give_the_bits_of_each_alone_and_blas_its_threads_back():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = [(library["filepath"], library["num_threads"]) for library in threadpoolctl.threadpool_info()]
    problems = [problem((20, 30, 10), m=500, seed=seed) for seed in range(4)]
    alone = [trained(p, epochs=5)[0].tobytes() for p in problems]
    with ThreadPoolExecutor(4) as pool:
        together = [theta.tobytes() for theta, _ in pool.map(lambda p: trained(p, epochs=5), problems)]
    assert together == alone
    assert [(library["filepath"], library["num_threads"]) for library in threadpoolctl.threadpool_info()] == before


def test_fault_26_diverging_training_says_so_and_keeps_finite_parameters():
    p = problem((4, 8, 2), "relu", "identity", "squared_error", m=20)
    net = p.network()
    with pytest.raises(ArithmeticError, match="diverged"):
        fastbp.train(net, p.X, p.Y, optimizer=fastbp.SGD(1e5), epochs=50)
    assert np.isfinite(net.theta).all()


# ---------------------------------------------------------------- history


@pytest.mark.parametrize("batch_size", [1, 8, None])
def test_history_holds_validation_cost_without_penalty_and_accuracy(batch_size):
    p = problem((4, 6, 3), "tanh", "softmax", "cross_entropy", m=40)
    q = problem((4, 6, 3), "tanh", "softmax", "cross_entropy", m=25, seed=1)
    _, history = trained(
        p, p.labels, validation_data=(q.X, q.labels), weight_decay=0.5, batch_size=batch_size, epochs=3
    )
    assert len(history.J) == len(history.val_J) == len(history.val_accuracy) == 3
    net = p.network()
    for epoch in range(3):
        net = p.network()
        fastbp.train(
            net,
            p.X,
            p.labels,
            optimizer=fastbp.SGD(0.2),
            epochs=epoch + 1,
            weight_decay=0.5,
            batch_size=batch_size,
            seed=0,
        )
        assert history.val_J[epoch] == pytest.approx(net.cost(q.X, q.labels), rel=1e-12)
        h = net.predict(q.X)
        assert history.val_accuracy[epoch] == pytest.approx((h.argmax(axis=1) == q.labels).mean())
    assert all(type(value) is float for value in [*history.J, *history.val_J, *history.val_accuracy])


@pytest.mark.parametrize(
    ("K", "output", "right"),
    [
        (1, "sigmoid", lambda h, Y: (h > 0.5) == Y),
        (3, "sigmoid", lambda h, Y: (h > 0.5) == Y),
    ],
)
def test_validation_accuracy_of_one_output_and_of_several_labels(K, output, right):
    p = problem((4, 6, K), m=40)
    Y = np.random.default_rng(0).integers(0, 2, size=(40, K)).astype(float)
    theta, history = trained(p, Y, validation_data=(p.X, Y), epochs=1)
    h = p.model.forward(theta, p.X)[1][-1]
    assert history.val_accuracy == [pytest.approx(right(h, Y).all(axis=1).mean())]


def test_regression_has_no_validation_accuracy_and_no_validation_none_at_all():
    p = problem(output="identity", loss="squared_error")
    _, history = trained(p, validation_data=(p.X, p.Y))
    assert len(history.val_J) == 2
    assert history.val_accuracy is None
    _, history = trained(p)
    assert not history.val_J
    assert not history.val_accuracy


def test_validation_does_not_change_the_training():
    p = problem(m=20)
    assert trained(p, validation_data=(p.X[:5], p.Y[:5]))[0].tobytes() == trained(p)[0].tobytes()


# ---------------------------------------------------------------- the caller's objects


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_fault_31_training_changes_nothing_of_the_callers(batch_size):
    p = problem()
    before = p.copies()
    for Y in (p.Y, p.labels):
        trained(p, Y, sample_weight=p.weights, validation_data=(p.X, Y), batch_size=batch_size)
    assert p.copies() == before


def test_a_refused_training_leaves_the_parameters():
    p = problem()
    net = p.network()
    for bad in ({"epochs": -1}, {"batch_size": 0}, {"sample_weight": -p.weights}, {"weight_decay": 0.1, "lam": 1.0}):
        with pytest.raises((ValueError, TypeError)):
            fastbp.train(net, p.X, p.Y, **{"optimizer": fastbp.SGD(0.2), "epochs": 1} | bad)
        assert net.theta.tobytes() == p.theta.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 32])
def test_training_learns(batch_size, dtype):
    """A circle in the plane: a network with a hidden layer classifies nearly all points right"""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 2))
    labels = ((X**2).sum(axis=1) < 0.6).astype(int)
    net = fastbp.Network([2, 16, 1], activation="tanh", dtype=dtype, seed=0)
    history = fastbp.train(net, X, labels, optimizer=fastbp.Adam(0.01), epochs=60, batch_size=batch_size, seed=0)
    assert history.J[-1] < 0.3 * history.J[0]
    assert ((net.predict(X)[:, 0] > 0.5) == labels).mean() > 0.97


@pytest.mark.parametrize("progress", [True, False])
def test_progress_speaks_only_when_asked(progress, capsys):
    trained(problem(), progress=progress)
    captured = capsys.readouterr()
    assert bool(captured.out + captured.err) is progress
