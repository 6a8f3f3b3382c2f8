"""Checkpoints with a right checksum and wrong contents are refused, and nothing has changed; or they act like another
training run. Every value and every array is replaced, one at a time."""

import copy
import functools
import itertools

import numpy as np
import pytest

import fastbp
from fastbp import callbacks
from fastbp.files import container, values

ODD = [None, True, -1, 0, 3, 2**70, 1e308, -0.5, "", "x", [], [1], {}, {"dict": {}}, {"array": "theta"}, {"array": "x"},
       {"float": "nan"}, {"float": 1}, [None, None]]
X = np.random.default_rng(0).standard_normal((40, 4))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def path(quick_folder):
    return quick_folder / "t"


def network(seed=0):
    return fastbp.Network([4, 3, 2], activation="tanh", output="softmax", seed=seed)


def train(path, net, also=(), **settings):
    return fastbp.train(
        net, X, Y, optimizer=fastbp.Adam(0.01), epochs=3, batch_size=16, validation_split=0.2, dropout=0.2, seed=1,
        callbacks=[callbacks.EarlyStopping(patience=5), callbacks.ReduceOnPlateau(patience=5), *also],
        metrics=["accuracy"], checkpoint=path, **settings,
    )


def trained(path):
    """A checkpoint from within the second epoch"""
    batches = []

    class Pause:
        def on_batch_end(self, training):
            batches.append(training.J)
            if len(batches) == 3:
                training.pause("for now")

    train(path, network(), also=[Pause()])
    return lambda net: train(path, net, resume=True)


def stepped(path):
    """The file of a trainer"""
    def trainer(net):
        return fastbp.Trainer(net, fastbp.Adam(0.01), dropout=0.2, seed=1, l1=1e-3)

    first = trainer(network())
    first.epoch(X, Y, batch_size=16)
    first.save(path, {"at": 16, "order": np.arange(3), "more": [1.5, {"x": None}]})

    def go_on(net):
        second = trainer(net)
        notes = second.restore(path)
        assert isinstance(notes, dict)
        assert np.isfinite(net.theta).all()
        second.epoch(X, Y, batch_size=16)       # which may diverge

    return go_on


def distance(z, Y, w, factor):
    """factor |z - Y|, which no value of theta makes overflow"""
    e = z - Y[:, np.newaxis]
    return factor * np.abs(e).sum(axis=1), factor * np.sign(e)


def trained_on_an_own_loss(path):
    """A checkpoint with the added fields of version 2"""
    free = np.arange(23) % 3 > 0

    def own(seed=0):
        return fastbp.Network([4, 3, 2], activation="tanh", loss=functools.partial(distance, factor=0.5), seed=seed)

    def go_on(net, epochs=3, resume=True):
        fastbp.train(net, X, Y, epochs=epochs, batch_size=16, seed=1, free=free, checkpoint=path, resume=resume)

    go_on(own(), 1, False)
    go_on.network = own
    return go_on


def places(value, at=()):
    """The way to each part of a JSON value"""
    yield at
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*at, key))


def replaced(meta, place, value):
    """meta with another value there; LESS: without it"""
    meta = copy.deepcopy(meta)
    part = meta
    for key in place[:-1]:
        part = part[key]
    if value is LESS:
        del part[place[-1]]
    elif value is MORE and isinstance(part, dict):
        part["more"] = 1
    else:
        part[place[-1]] = 1 if value is MORE else value
    return meta


LESS, MORE = object(), object()


def odd_arrays(a):
    yield from (a[:-1] if a.ndim else a.reshape(1), a.reshape(1, *a.shape), a.astype(np.float32), a.astype(bool))
    if a.dtype.kind == "f":
        yield from (np.full_like(a, value) for value in (np.nan, np.inf, -1.0, 1e300))
    else:
        yield np.full_like(a, 255)


def refused(go_on):
    """Was the file refused? If so, the network has not changed. If not, training may diverge, and nothing worse"""
    net = getattr(go_on, "network", network)(seed=3)
    before = net.theta.tobytes()
    try:
        go_on(net)
    except fastbp.DivergenceError:
        return False
    except ValueError:
        assert net.theta.tobytes() == before
        return True
    return False


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [trained, stepped, pytest.param(
    trained_on_an_own_loss, marks=pytest.mark.filterwarnings("ignore:the training has diverged"))])
def test_fault_43_a_forged_checkpoint_is_refused_or_harmless(path, make, stride):
    """Every fourth of the 21 values for a place; the next place gets others"""
    go_on = make(path)
    arrays, meta = container.read(path)
    assert not refused(go_on)
    tried = found = 0
    tries = itertools.product(list(places(meta))[1:], (*ODD, LESS, MORE))
    for place, value in itertools.islice(tries, 0, None, stride):
        forged = replaced(meta, place, value)
        if forged == meta:
            continue
        container.write(path, arrays, forged)
        tried, found = tried + 1, found + refused(go_on)
    for name, a in arrays.items():
        for other in ({}, {"more": a}, *({name: odd} for odd in odd_arrays(a))):
            container.write(path, {**{n: b for n, b in arrays.items() if n != name or "more" in other}, **other}, meta)
            tried, found = tried + 1, found + refused(go_on)
    assert tried > 500 / stride
    assert found > 0.7 * tried      # the rest are other valid values


def float_array(arrays, name, values):
    arrays[name] = np.array(values, float)
    return {"array": name}


TRAININGS = {
    "must hold two states$": lambda arrays, meta: meta["generator"].pop(),
    "two states of one kind": lambda arrays, meta: meta["generator"].__setitem__(
        0, values.encode(np.random.SFC64(0).state, "g", arrays)),
    "other columns": lambda arrays, meta: (arrays.pop("history.val_J"), meta["history"]["dict"].update(val_J=None)),
    "not as many": lambda arrays, meta: meta["callbacks"].pop(),
    "callback 1, ReduceOnPlateau": lambda arrays, meta: meta["callbacks"][1]["dict"].pop("cooling"),
    "conditions must be a dict": lambda arrays, meta: meta.update(conditions=[]),
    "callbacks a list": lambda arrays, meta: meta.update(callbacks={}),
    "conditions, optimizer must have": lambda arrays, meta: meta["conditions"].pop("optimizer"),
    "settings must have the fields": lambda arrays, meta: meta["settings"]["dict"].pop("l1"),
    "settings: .*l1": lambda arrays, meta: meta["settings"]["dict"].update(l1=-1),
    "settings: .*weight_decay": lambda arrays, meta: meta["settings"]["dict"].update(c=[0.0] * 3),
    "settings: .*ambiguous": lambda arrays, meta: meta["settings"]["dict"].update(
        clip_norm=float_array(arrays, "x", [1, 2])),
    "optimizer: .*learning_rate": lambda arrays, meta: meta["optimizer"]["settings"].update(learning_rate=-1.0),
    "these arrays belong to no value: more": lambda arrays, meta: arrays.update(more=np.zeros(1)),
    "state, 'm'": lambda arrays, meta: arrays.update({"state.m": np.zeros(3)}),
    "state, 't'": lambda arrays, meta: meta["state"]["dict"].update(t=-1),
    "network is .*logistic": lambda arrays, meta: meta["network"].update(activation=["logistic"]),
    "position must have": lambda arrays, meta: meta["position"]["dict"].update(more=1),
    "examples must be": lambda arrays, meta: meta["position"]["dict"].update(examples=-1),
    "seconds must be numbers": lambda arrays, meta: meta["position"]["dict"].update(cost=1),
    "metrics must be a dict": lambda arrays, meta: (meta["history"]["dict"].update(metrics=[]), [
        arrays.pop(name) for name in list(arrays) if name.startswith("history.metrics")]),
    "lists of numbers": lambda arrays, meta: arrays.update({"history.J": np.zeros(1, np.float32)}),
    "lists of one length": lambda arrays, meta: arrays.update({"history.J": np.zeros(2)}),
    "stopped a string": lambda arrays, meta: meta["history"]["dict"].update(stopped=1),
}
TRAINERS = {
    "these arrays belong to no value: extra": lambda arrays, meta: arrays.update(extra=np.zeros(1)),
    "notes must be a dict": lambda arrays, meta: (arrays.pop("notes.order"), meta.update(notes=[1])),
    "settings: .*clip_value": lambda arrays, meta: meta["settings"]["dict"].update(clip_value=0),
    "state, 'dropout_t'": lambda arrays, meta: meta["state"]["dict"].update(dropout_t=1.5),
    "state, 'm'": lambda arrays, meta: arrays.update({"state.m": arrays["state.m"].astype(np.float32)}),
    "optimizer: class": lambda arrays, meta: meta["optimizer"].update(settings=[]),
}


@pytest.mark.parametrize(
    ("make", "said"), [*((trained, said) for said in TRAININGS), *((stepped, said) for said in TRAINERS)]
)
def test_fault_43_what_is_wrong_is_said_with_the_path(path, make, said):
    go_on = make(path)
    arrays, meta = container.read(path)
    (TRAININGS if make is trained else TRAINERS)[said](arrays, meta)
    container.write(path, arrays, meta)
    net = network(seed=3)
    before = net.theta.tobytes()
    with pytest.raises(fastbp.FormatError, match=f"(?s)^{path}: .*{said}"):
        go_on(net)
    assert net.theta.tobytes() == before


class Plain(fastbp.optimizers.Optimizer):
    """theta := theta - 0.1 D"""

    def init(self, theta):
        return {"t": 0}

    def update(self, theta, D, state):
        theta -= 0.1 * D


def test_fault_43_dropout_beside_a_rule_in_python_has_its_state_checked(path):
    first, second = (fastbp.Trainer(network(), Plain(), dropout=0.5, seed=seed) for seed in (1, 2))
    first.epoch(X, Y)
    first.save(path)
    second.restore(path)
    assert second.state == first.state
    arrays, meta = container.read(path)
    for name, value in (("dropout_t", None), ("dropout_t", -1), ("dropout_seed", 1.5)):
        forged = copy.deepcopy(meta)
        forged["state"]["dict"] |= {name: value}
        container.write(path, arrays, forged)
        with pytest.raises(fastbp.FormatError, match=name):
            second.restore(path)
    assert second.state == first.state


@pytest.mark.parametrize("name", ["conditions", "optimizer", "state", "settings", "history", "generator", "position"])
def test_a_number_of_the_wrong_kind_is_named_with_its_place(path, name):
    go_on = trained(path)
    arrays, meta = container.read(path)
    container.write(path, arrays, {**meta, name: None})
    with pytest.raises(fastbp.FormatError, match=f"(?s){path}: .*") as caught:
        go_on(network())
    assert name in str(caught.value) or "must have the fields" in str(caught.value)


def state_of(kind, **changed):
    """The state of a generator with parts changed"""
    state = getattr(np.random, kind)(1).state
    for name, value in changed.items():
        (state["state"] if name == "pos" else state)[name] = value
    return state


@pytest.mark.parametrize(("states", "said"), [
    ([state_of("PCG64"), state_of("Philox")], "two states of one kind"),
    ([state_of("PCG64")] * 3, "two states"),
    ([state_of("MT19937", pos=625)] * 2, "pos is beyond 624"),
    ([state_of("MT19937", pos=-1)] * 2, "pos is beyond 624"),
    ([state_of("Philox", buffer_pos=5)] * 2, "buffer_pos is beyond 4"),
])
def test_generators_that_would_read_beyond_their_state_are_refused(path, states, said):
    go_on = trained(path)
    arrays, meta = container.read(path)
    container.write(path, arrays, {**meta, "generator": values.encode(states, "generator", arrays)})
    with pytest.raises(fastbp.FormatError, match=said):
        go_on(network())


@pytest.mark.parametrize(("kind", "end"), [
    ("MT19937", {"pos": 624}), ("MT19937", {"pos": 0}), ("Philox", {"buffer_pos": 4}),
])
def test_generators_at_the_ends_of_their_state_are_read(kind, end):
    kept = state_of(kind, **end)
    again = values.to_generator(kept)
    twin = np.random.Generator(getattr(np.random, kind)(0))
    twin.bit_generator.state = kept
    assert (again.integers(0, 2**60, 700) == twin.integers(0, 2**60, 700)).all()


def test_a_history_with_other_columns_is_refused(path):
    go_on = trained(path)
    arrays, meta = container.read(path)
    history = values.decode(meta["history"], arrays)
    history["val_accuracy"] = None
    meta["history"] = values.encode(history, "history", arrays)
    container.write(path, arrays, meta)
    with pytest.raises(fastbp.FormatError, match="other columns"):
        go_on(network())


@pytest.mark.parametrize("name", ["history.J", "history.seconds", "history.val_J", "history.metrics.accuracy"])
@pytest.mark.parametrize("odd", [np.float64(0.5), np.zeros((1, 1)), np.zeros(1, np.float32), np.zeros(1, np.int64)])
def test_a_column_of_a_history_is_a_vector_of_float64(path, name, odd):
    go_on = trained(path)
    arrays, meta = container.read(path)
    assert name in arrays
    container.write(path, {**arrays, name: np.asarray(odd)}, meta)
    with pytest.raises(fastbp.FormatError, match="history must hold lists of numbers"):
        go_on(network())


def test_numbers_of_numpy_are_kept_as_numbers(path):
    first = fastbp.Trainer(network(), fastbp.Adam(0.01))
    first.optimizer.learning_rate = np.float64(0.25)
    first.save(path, {"best": np.float32(0.5), "at": np.int64(7), "is": np.bool_(True), "worst": np.float64("-inf")})
    second = fastbp.Trainer(network(), fastbp.Adam(0.01))
    assert second.restore(path) == {"best": 0.5, "at": 7, "is": True, "worst": -np.inf}
    assert second.optimizer.learning_rate == 0.25
