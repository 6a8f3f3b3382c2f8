"""What a loss of a caller's own may do wrong, and how files and pickles keep it."""

import copy
import pickle

import numpy as np
import pytest
from helpers import DTYPES

import fastbp

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))


def squared(z, Y, w):
    e = z - Y
    return ((e * e).sum(axis=1) / 2, e) if w is None else (w * (e * e).sum(axis=1) / 2, w[:, None] * e)


class Losses:
    @staticmethod
    def inner(z, Y, w):
        return squared(z, Y, w)


def at(a, where, value):
    """a with this value at one place"""
    a = a.copy()
    a[where] = value
    return a


WRONG = {  # what is made of the right (costs, slopes), the type of the error and a part of its message
    "nothing": (lambda c, s: None, TypeError, "must return a pair .costs, dcost_dz.; it returned NoneType"),
    "an array": (lambda c, s: s, TypeError, "it returned ndarray"),
    "three": (lambda c, s: (c, s, s), ValueError, "it returned 3 values"),
    "a sum": (lambda c, s: (c.sum(), s), ValueError, r"the costs must have shape \(\d+,\)"),
    "a column of costs": (lambda c, s: (c[:, None], s), ValueError, r"the costs must have shape \(\d+,\)"),
    "few costs": (lambda c, s: (c[1:], s), ValueError, "the costs must have shape"),
    "a row of slopes": (lambda c, s: (c, s[:, 0]), ValueError, r"the slopes dcost_dz must have shape \(\d+, 2\)"),
    "few slopes": (lambda c, s: (c, s[1:]), ValueError, "the slopes dcost_dz must have shape"),
    "turned slopes": (lambda c, s: (c, s.T), ValueError, "the slopes dcost_dz must have shape"),
    "complex costs": (lambda c, s: (c + 0j, s), TypeError, "the costs must be real numbers; they have dtype complex"),
    "complex slopes": (lambda c, s: (c, s + 0j), TypeError, "the slopes must be real numbers"),
    "words": (lambda c, s: (c, "slopes"), TypeError, "the slopes must be real numbers"),
    "objects": (lambda c, s: (c, s.astype(object)), TypeError, "the slopes must be real numbers"),
    "ragged": (lambda c, s: (c, [[1], [1, 2]]), TypeError, "the slopes are not an array of numbers"),
    "NaN cost": (lambda c, s: (at(c, 0, np.nan), s), ValueError, r"costs contains NaN. First at costs\[0, 0\]"),
    "infinite costs": (lambda c, s: (at(at(c, 0, np.inf), 1, -np.inf), s), ValueError, "costs contains infinity"),
    "NaN slope": (lambda c, s: (c, at(s, (0, 1), np.nan)), ValueError, r"slopes contains NaN. First at slopes\[0, 1\]"),
    "infinite slope": (lambda c, s: (c, at(s, (0, 1), np.inf)), ValueError, "slopes contains infinity"),
    "too large for float64": (lambda c, s: (np.full(len(c), np.longdouble("1e4000")), s), ValueError,
                              "costs contains infinity or a value too large for float64"),
    "too large": (lambda c, s: (np.full(len(c), 1e308), s), ValueError, "the sum of the costs overflows"),
    "its own error": (lambda c, s: 1 // 0, ZeroDivisionError, "division"),
}
CALLS = {
    "cost": lambda net, more: net.cost(X, Y, **more),
    "cost_and_gradient": lambda net, more: net.cost_and_gradient(X, Y, **more),
    "evaluate": lambda net, more: net.evaluate(X, Y, **more),
    "deltas": lambda net, more: net.deltas(X, Y),
    "minimize": lambda net, more: fastbp.minimize(net, X, Y, **more),
    "train": lambda net, more: fastbp.train(net, X, Y, epochs=1, batch_size=16, seed=0, **more),
    "a large batch": lambda net, more: fastbp.train(
        net, np.tile(X, (30, 1)), np.tile(Y, (30, 1)), epochs=1, batch_size=None),
    "a rule in Python": lambda net, more: fastbp.train(net, X, Y, epochs=1, optimizer=Python(), **more),
    "Trainer": lambda net, more: fastbp.Trainer(net).step(X, Y, **more),
    "Trainer.epoch": lambda net, more: fastbp.Trainer(net).epoch(X, Y, **more),
    "check_gradient": lambda net, more: fastbp.check_gradient(net, X, Y, **more),
}


class Python(fastbp.Adam):
    """A rule in Python"""

    def update(self, theta, D, state):
        super().update(theta, D, state)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_is_an_error_that_names_loss_and_leaves_theta(wrong, call):
    change, error, message = WRONG[wrong]

    def mine(z, Y, w):
        return change(*squared(z, Y, w))

    for dtype in DTYPES:
        for more in ({}, {"sample_weight": np.ones(40)}):
            net = fastbp.Network([3, 4, 2], loss=mine, dtype=dtype, seed=0)
            before = net.theta.copy()
            with pytest.raises(error, match=message) as caught:
                CALLS[call](net, more)
            assert error is ZeroDivisionError or "loss " in str(caught.value)
            assert (net.theta == before).all()


def test_slopes_of_one_output_must_be_a_column_too():
    net = fastbp.Network([3, 1], loss=lambda z, Y, w: (z[:, 0], np.ones(len(z))), seed=0)
    with pytest.raises(ValueError, match=r"loss .*lambda.*: the slopes dcost_dz must have shape \(40, 1\), as z"):
        fastbp.Trainer(net).step(X, Y)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", "int64", "uint8", "bool", ">f8"])
def test_any_real_dtype_is_converted(dtype):
    net = fastbp.Network([3, 2], loss=lambda z, Y, w: (np.ones(len(z), dtype), np.ones(z.shape, dtype)), seed=0)
    other = fastbp.Network([3, 2], loss=lambda z, Y, w: ([1.0] * len(z), np.ones(z.shape).tolist()), seed=0)
    for each in (net, other):
        assert fastbp.Trainer(each, "sgd").step(X, Y) == 1
        fastbp.train(each, X, Y, epochs=1, batch_size=16, shuffle=False)
    assert (net.theta == other.theta).all()


@pytest.mark.parametrize("m", [40, 1200])
@pytest.mark.parametrize("what", ["costs", "slopes"])
def test_fault_30_a_masked_answer_is_refused_since_its_mask_would_be_lost(what, m):
    def mine(z, Y, w):
        costs, slopes = squared(z, Y, None)
        return (np.ma.masked_array(costs, costs > 1), slopes) if what == "costs" else (
            costs, np.ma.masked_array(slopes, slopes > 1))

    net, inputs, targets = fastbp.Network([3, 2], loss=mine, seed=0), np.tile(X, (m // 40, 1)), np.tile(Y, (m // 40, 1))
    before = net.theta.copy()
    for call in (lambda: net.cost_and_gradient(inputs, targets), lambda: fastbp.Trainer(net).step(inputs, targets),
                 lambda: fastbp.train(net, inputs, targets, epochs=1)):
        with pytest.raises(TypeError, match=f"^loss .*: the {what} are a masked array; fill the masked values first"):
            call()
    assert (net.theta == before).all()


@pytest.mark.parametrize("m", [40, 1200])
@pytest.mark.parametrize("what", ["costs", "slopes"])
def test_fault_54_an_answer_whose_memory_is_gone_is_not_read(what, m):
    def mine(z, Y, w):
        costs, view = np.zeros(m), z[:, :]
        z.resize((1, 1), refcheck=False)
        return (view[:, 0] if what == "costs" else costs), view

    net, inputs, targets = fastbp.Network([3, 2], loss=mine, seed=0), np.tile(X, (m // 40, 1)), np.tile(Y, (m // 40, 1))
    before = net.theta.copy()
    for call in (lambda: net.cost_and_gradient(inputs, targets), lambda: fastbp.Trainer(net).step(inputs, targets),
                 lambda: fastbp.Trainer(net, Python()).step(inputs, targets, np.ones(m))):
        with pytest.raises(ValueError, match=f"^loss .*: the array of the {what} is a view of .* resized"):
            call()
    assert (net.theta == before).all()


def test_a_function_may_resize_what_it_is_given():
    def mine(z, Y, w):
        answer = squared(z, Y, w)
        for a in (z, Y) if w is None else (z, Y, w):
            a.resize(1, refcheck=False)
        return answer

    inputs, targets, w = np.tile(X, (30, 1)), np.tile(Y, (30, 1)), np.ones(1200)
    nets = [fastbp.Network([3, 4, 2], loss=f, seed=0) for f in (mine, squared)]
    for net in nets:
        fastbp.train(net, inputs, targets, epochs=2, batch_size=None, shuffle=False)
        fastbp.train(net, inputs, targets, epochs=2, batch_size=40, shuffle=False, sample_weight=w)
        fastbp.Trainer(net).step(X, Y)
        net.deltas(X, Y)
    assert (nets[0].theta == nets[1].theta).all()


CHANGES = {     # calls during which theta must stay as it is; layers of the network
    "step": (lambda net: fastbp.Trainer(net).step(X[:1], Y[:1]), [3, 4, 2]),
    "a step of large batches": (lambda net: fastbp.Trainer(net).step(np.tile(X, (30, 1)), np.tile(Y, (30, 1))),
                                [3, 4, 2]),
    "a step of a large network": (lambda net: fastbp.Trainer(net, "sgd").step(X[:2], Y[:2]), [3, 600, 600, 2]),
    "weights": (lambda net: fastbp.Trainer(net).step(X, Y, np.ones(40)), [3, 4, 2]),
    "a rule in Python": (lambda net: fastbp.Trainer(net, Python()).step(X, Y), [3, 4, 2]),
    "train": (lambda net: fastbp.train(net, X, Y, epochs=1, batch_size=16), [3, 4, 2]),
    "cost": (lambda net: net.cost(X, Y), [3, 4, 2]),
    "cost_and_gradient": (lambda net: net.cost_and_gradient(X, Y), [3, 4, 2]),
    "deltas": (lambda net: net.deltas(X, Y), [3, 4, 2]),
    "evaluate": (lambda net: net.evaluate(X, Y), [3, 4, 2]),
}


@pytest.mark.parametrize("how", ["decay", "nan"])
@pytest.mark.parametrize("call", CHANGES)
def test_fault_54_a_function_that_changes_theta_is_named(call, how):
    """Its slopes belong to another theta"""
    def mine(z, Y, w):
        answer = squared(z, Y, w)
        net.theta[:] = net.theta * 0.99 if how == "decay" else np.nan
        return answer

    go, layers = CHANGES[call]
    net = fastbp.Network(layers, loss=mine, seed=0)
    with pytest.raises(ValueError, match="loss has changed theta of its network, or the optimizer, while it was call"):
        go(net)


def test_slopes_too_large_for_float32():
    net = fastbp.Network([3, 2], loss=lambda z, Y, w: (z[:, 0], np.full(z.shape, 1e39)), dtype=np.float32, seed=0)
    for call in (lambda: fastbp.Trainer(net).step(X, Y), lambda: net.cost_and_gradient(X, Y)):
        with pytest.raises(ValueError, match=r"loss .* slopes contains infinity or a value too large for float32"):
            call()


def test_an_exception_inside_leaves_theta_at_the_last_step():
    calls = []

    def mine(z, Y, w):
        calls.append(z)
        if len(calls) == 4:
            raise KeyError("mine")
        return squared(z, Y, w)

    nets = [fastbp.Network([3, 4, 2], loss=f, seed=0) for f in (mine, squared)]
    with pytest.raises(KeyError, match="mine"):
        fastbp.train(nets[0], X, Y, epochs=1, batch_size=10, shuffle=False)
    fastbp.train(nets[1], X[:30], Y[:30], epochs=1, batch_size=10, shuffle=False)
    assert (nets[0].theta == nets[1].theta).all()


def distance(z, Y, w):
    assert np.isfinite(z).all()
    e = z - Y
    return np.abs(e).sum(axis=1), np.sign(e)


@pytest.mark.parametrize("loss", [distance, "absolute_error"])
@pytest.mark.parametrize("m", [40, 4000])
def test_outputs_that_are_no_longer_finite_are_a_divergence_as_with_built_in_losses(loss, m):
    net = fastbp.Network([3, 4, 2], activation="identity", loss=loss, seed=0)
    before = net.theta.copy()
    with pytest.raises(fastbp.DivergenceError):
        fastbp.train(net, np.tile(X, (m // 40, 1)), np.tile(Y, (m // 40, 1)), epochs=2, batch_size=m // 4, l1=1e-3,
                     optimizer=fastbp.SGD(1.7e308), shuffle=False)
    assert (net.theta == before).all()


@pytest.mark.parametrize("loss", [3, None.__class__, int, b"squared_error", [squared], "fastbp:Network", "a:b"])
def test_what_is_no_loss(loss):
    with pytest.raises((TypeError, ValueError), match=r"^loss "):
        fastbp.Network([3, 2], loss=loss)


@pytest.mark.parametrize("bad", [np.zeros((39, 2)), np.float64(3), np.ma.masked_array(Y, Y > 0), [[1], [1, 2]]])
def test_Y_needs_a_row_for_each_example(bad):
    net = fastbp.Network([3, 2], loss=squared, seed=0)
    with pytest.raises((TypeError, ValueError), match=r"^Y "):
        net.cost(X, bad)


def test_parameters_of_built_in_losses_are_refused():
    with pytest.raises(ValueError, match=r"quantile is 0.5, but a loss of your own has no such parameter"):
        fastbp.Network([3, 2], loss=squared, quantile=0.5)


@pytest.mark.parametrize("call", [lambda net: net.gradients(X, Y), lambda net: net.gradient_norms(X, Y),
                                  lambda net: net.accumulate(X, Y, True)])
def test_what_needs_the_cost_of_each_example_refuses_it_by_name(call):
    with pytest.raises(ValueError, match=r"needs the cost of each example; loss is .*squared"):
        call(fastbp.Network([3, 2], loss=squared, seed=0))


# ---------------------------------------------------------------- files, pickles and copies


def test_pickles_and_copies_keep_the_function():
    net = fastbp.Network([3, 4, 2], loss=squared, seed=0)
    for twin in (pickle.loads(pickle.dumps(net)), copy.copy(net), copy.deepcopy(net), net.copy(), net.layers(1, 3)):
        assert twin.loss is squared
        assert twin.cost(X, Y) == net.cost(X, Y)
    assert net.copy(np.float32).loss is squared
    assert net.layers(1, 2).loss == "cross_entropy"
    some = fastbp.Network([3, 4, 2], loss=lambda z, Y, w: squared(z, Y, w), seed=0)
    assert copy.deepcopy(some).loss is some.loss
    trainer = fastbp.Trainer(net)
    trainer.step(X, Y)
    assert pickle.loads(pickle.dumps(trainer)).step(X, Y) == copy.deepcopy(trainer).step(X, Y) == trainer.step(X, Y)
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(some)


def test_files_keep_its_importable_name(tmp_path):
    for f, name in ((squared, "squared"), (Losses.inner, "Losses.inner")):
        net = fastbp.Network([3, 4, 2], output="sigmoid", loss=f, seed=0)
        fastbp.save(tmp_path / "net", net)
        alone, whole = fastbp.load(tmp_path / "net"), fastbp.load(tmp_path / "net", loss=f)
        assert alone.loss == f"{__name__}:{name}"
        assert whole.loss is f
        assert repr(alone) == repr(whole) == repr(net)
        assert (alone.predict(X) == net.predict(X)).all()
        assert whole.cost(X, Y) == net.cost(X, Y)
        for call in (alone.cost, fastbp.Trainer(alone).step):
            with pytest.raises(ValueError, match=r"loss .* of the file is missing; use fastbp.load\(path, loss=f\)"):
                call(X, Y)
        fastbp.save(tmp_path / "again", alone)
        assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes()
        assert pickle.loads(pickle.dumps(alone)).loss == alone.loss


def test_load_refuses_a_loss_that_does_not_fit(tmp_path):
    fastbp.save(tmp_path / "own", fastbp.Network([3, 2], loss=squared, seed=0))
    fastbp.save(tmp_path / "other", fastbp.Network([3, 2], seed=0))
    for name, loss in (("own", "squared_error"), ("own", 3), ("other", squared)):
        with pytest.raises(ValueError, match="loss must be a function, for a file whose network has your own loss"):
            fastbp.load(tmp_path / name, loss=loss)


def test_a_lambda_is_refused_before_anything_is_written(tmp_path):
    def local(z, Y, w):
        return squared(z, Y, w)

    for f in (lambda z, Y, w: squared(z, Y, w), local):
        net = fastbp.Network([3, 2], loss=f, seed=0)
        before = net.theta.copy()
        for call in (lambda net=net: fastbp.save(tmp_path / "net", net),
                     lambda net=net: fastbp.Trainer(net).save(tmp_path / "trainer"),
                     lambda net=net: fastbp.train(net, X, Y, epochs=1, checkpoint=tmp_path / "training")):
            with pytest.raises(ValueError, match=r"loss is .* no importable name, .* define it with def at the top"):
                call()
        assert not list(tmp_path.iterdir())
        assert (net.theta == before).all()


def test_trainings_and_trainers_resume(tmp_path):
    whole, part, resumed = (fastbp.Network([3, 4, 2], loss=squared, seed=0) for _ in range(3))
    settings = {"batch_size": 8, "checkpoint": tmp_path / "training"}
    fastbp.train(whole, X, Y, epochs=6, batch_size=8, seed=1)
    fastbp.train(part, X, Y, epochs=3, seed=1, **settings)
    fastbp.train(resumed, X, Y, epochs=6, seed=1, resume=True, **settings)
    assert (resumed.theta == whole.theta).all()
    with pytest.raises(ValueError, match="the network's loss"):
        fastbp.train(fastbp.Network([3, 4, 2], loss=Losses.inner, seed=0), X, Y, epochs=9, resume=True, **settings)
    trainer, other = fastbp.Trainer(part), fastbp.Trainer(resumed)
    trainer.save(tmp_path / "trainer")
    other.restore(tmp_path / "trainer")
    assert trainer.step(X, Y) == other.step(X, Y)
    assert (part.theta == resumed.theta).all()


def test_data_of_another_loss_is_refused():
    nets = [fastbp.Network([2, 1], loss=loss, output="identity", seed=0) for loss in (squared, squared, Losses.inner)]
    data = nets[0].data(np.eye(2), np.ones((2, 1)))
    assert nets[1].evaluate_data(data).cost == nets[0].evaluate_data(data).cost
    with pytest.raises(ValueError, match=r"data was made by a network with its own loss .*squared; .*inner"):
        nets[2].evaluate_data(data)
    with pytest.raises(ValueError, match="data was made by a network with loss 'own'"):
        fastbp.Network([2, 1], output="identity").evaluate_data(data)
