"""`Ensemble`: mean and spread of several networks, and its files."""

import numpy as np
import pytest

import fastbp
from fastbp import Ensemble, FormatError
from fastbp.files import container
from fastbp.many.ensemble import ARRAYS

rng = np.random.default_rng(3)
X = rng.standard_normal((1000, 5))


def networks(dtypes=(np.float64,), n=7):
    return [fastbp.Network([5, 3 + i % 3, 2], activation=["tanh", "relu"][i % 2], output="softmax", seed=i,
                           dtype=dtypes[i % len(dtypes)]) for i in range(n)]


@pytest.mark.parametrize("dtypes", [(np.float64,), (np.float32,), (np.float32, np.float64)])
@pytest.mark.parametrize("rows", [1, 63, 1000])
@pytest.mark.parametrize("given", [np.float32, np.float64, np.int16])
def test_mean_and_spread_are_those_of_numpy(dtypes, rows, given, monkeypatch):
    monkeypatch.setattr("fastbp.many.ensemble.BLOCK", 10_000)
    nets, x = networks(dtypes), (10 * X[:rows]).astype(given)
    h = np.array([net.predict(x).astype(np.float64) for net in nets])
    mean, spread = Ensemble(nets).predict(x)
    eps = np.finfo(mean.dtype).eps
    assert mean.dtype == spread.dtype == np.result_type(*dtypes)
    assert np.abs(mean - h.mean(axis=0)).max() <= 2 * eps
    assert np.abs(spread - h.std(axis=0)).max() <= 8 * eps
    one = Ensemble(nets).predict(x[0])
    assert one.mean.shape == (2,)
    assert np.allclose(one.mean, mean[0])
    assert Ensemble(nets).predict(x[:0]).mean.shape == (0, 2)


def test_one_network_has_no_spread():
    net, = networks(n=1)
    mean, spread = Ensemble([net]).predict(X)
    assert (mean == net.predict(X)).all()
    assert not spread.any()
    assert len(Ensemble([net])) == 1
    assert repr(Ensemble([net])) == "Ensemble(1 network, 5 inputs, 2 outputs)"


def test_the_spread_does_not_cancel():
    """A mean of 1e8 with differences of 1, which squares of the outputs would lose."""
    init = [np.array([1e8 + i, 0.0]) for i in (-1.0, 0.0, 1.0)]
    nets = [fastbp.Network([1, 1], output="identity", init=each) for each in init]
    assert Ensemble(nets).predict(np.ones((3, 1))).spread == pytest.approx(np.sqrt(2 / 3))


@pytest.mark.parametrize(("nets", "match"), [
    ([], "at least one"), (3, "at least one"), ([3], r"nets\[0\] must be"),
    ([*networks(n=1), fastbp.Network([5, 3], seed=0)], r"nets\[1\] has 5 inputs and 3 outputs; nets\[0\] has 5 and 2"),
])
def test_bad_networks(nets, match):
    with pytest.raises((TypeError, ValueError), match=match):
        Ensemble(nets)


def test_bad_input():
    ensemble = Ensemble(networks())
    for x in (X[:, :3], np.full((2, 5), np.nan), "x"):
        with pytest.raises((TypeError, ValueError), match="X"):
            ensemble.predict(x)
    with pytest.raises(ValueError, match="too large for float32"):
        Ensemble(networks((np.float32, np.float64))).predict(np.full((2, 5), 1e300))
    ensemble.nets[3].theta[0] = np.inf
    with pytest.raises(ValueError, match=r"nets\[3\]: Input net.theta contains infinity"):
        ensemble.predict(X)


def mixed():
    return [*networks((np.float32, np.float64)), fastbp.Network([5, 2], init=np.arange(12.0) / 10),
            fastbp.Network([5, 4, 2], output="identity", loss="huber", huber_delta=0.3, dtype=np.float32, seed=1)]


def test_a_file_keeps_every_bit(tmp_path):
    path, nets = tmp_path / "all.fastbp", mixed()
    Ensemble(nets).save(path)
    loaded = Ensemble.load(path)
    for own, other in zip(nets, loaded.nets, strict=True):
        assert repr(own) == repr(other)
        assert own.theta.tobytes() == other.theta.tobytes()
        assert own.settings() == other.settings()
    other.initialize()
    nets[-2].initialize()
    loaded.nets[-2].initialize()
    assert (nets[-2].theta == loaded.nets[-2].theta).all()
    for a, b in zip(Ensemble(nets[:-1]).predict(X), Ensemble(loaded.nets[:-1]).predict(X), strict=True):
        assert (a == b).all()
    fastbp.train(loaded.nets[0], X, rng.integers(0, 2, 1000), epochs=1)


def test_losses_of_ones_own_have_no_place_in_the_file(tmp_path):
    net = fastbp.Network([5, 2], loss=lambda z, Y, w: (z[:, 0], np.ones_like(z)), seed=0)
    with pytest.raises(ValueError, match=r"nets\[0\] has a loss of your own"):
        Ensemble([net]).save(tmp_path / "own.fastbp")


def test_thousands_of_networks_fit_into_a_file(tmp_path):
    nets = [fastbp.Network([5, 3, 2], seed=i) for i in range(4000)]
    Ensemble(nets).save(tmp_path / "all.fastbp")
    assert len(Ensemble.load(tmp_path / "all.fastbp")) == 4000


def forgeries(arrays, meta):
    first, *rest = meta["networks"]
    yield arrays, meta | {"kind": "network"}
    yield arrays, meta | {"version": 2}
    yield arrays, meta | {"more": 1}
    yield arrays, meta | {"networks": []}
    yield arrays, meta | {"networks": {}}
    yield arrays, meta | {"networks": [3, *rest]}
    for name, value in (("layer_sizes", [5, 2]), ("layer_sizes", [5, -3, 2]), ("layer_sizes", "5 3 2"),
                        ("layer_sizes", [5, 2**62, 2]), ("dtype", "float16"), ("output", "nosuch"), ("init", None)):
        yield arrays, meta | {"networks": [first | {name: value}, *rest]}
    for name in ARRAYS:
        yield {key: a for key, a in arrays.items() if key != name}, meta
        yield arrays | {name: arrays[name][np.newaxis]}, meta
        yield arrays | {name: arrays[name].astype("u1")}, meta
        yield arrays | {name: arrays[name][:-1]}, meta
        yield arrays | {name: np.append(arrays[name], arrays[name][:1])}, meta
    yield arrays | {"kind": arrays["kind"] - 1}, meta
    yield arrays | {"kind": arrays["kind"][:0]}, meta
    yield arrays | {"theta64": arrays["theta64"] + np.inf}, meta
    yield arrays | {"more": arrays["kind"]}, meta


def test_forged_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "all.fastbp"
    Ensemble([*mixed()[:-2], fastbp.Network([5, 2], init=np.arange(12.0)), fastbp.Network(
        [5, 2], init=np.arange(12.0), dtype=np.float32)]).save(path)
    whole = path.read_bytes()
    for i, forged in enumerate(forgeries(*container.read(path))):
        container.write(path, *forged)
        with pytest.raises(FormatError):
            pytest.fail(f"forgery {i}: {Ensemble.load(path)}")
    for at in range(0, len(whole), 23):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(FormatError):
            Ensemble.load(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(FormatError):
        Ensemble.load(path)
    fastbp.save(path, networks()[0])
    with pytest.raises(FormatError, match="kind is 'network'"):
        Ensemble.load(path)
