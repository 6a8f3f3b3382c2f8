"""The caller's own compiled losses: scipy.LowLevelCallable, called for each example inside the compiled epoch."""

import copy
import ctypes
import pickle
import shutil
import subprocess

import numpy as np
import pytest
from helpers import DTYPES, distance, problem, tolerance
from scipy import LowLevelCallable

import fastbp

SOURCE = """
#include <math.h>
#define SQUARED(name, real)                                                                    \\
    double name(int K, const real *z, const real *y, real *delta, void *user)                  \\
    {                                                                                          \\
        const double by = user ? *(double *)user : 1;                                          \\
        double cost = 0;                                                                       \\
        for (int k = 0; k < K; k++) {                                                          \\
            const real e = z[k] - y[k];                                                        \\
            delta[k] = (real)by * e;                                                           \\
            cost += 0.5 * by * (double)e * (double)e;                                          \\
        }                                                                                      \\
        return cost;                                                                           \\
    }
SQUARED(squared, double)
SQUARED(squared_f, float)
double gaussian(int K, const double *z, const double *y, double *delta, void *user)
{
    const double e = z[0] - y[0], precision = exp(-z[1]);
    (void)K, (void)user;
    if (isnan(y[0]))    /* a missing target */
        return delta[0] = delta[1] = 0;
    delta[0] = e * precision;
    delta[1] = (1 - e * e * precision) / 2;
    return (z[1] + e * e * precision) / 2;
}
"""
TYPES = {np.float32: ctypes.c_float, np.float64: ctypes.c_double}


def low_level(function, dtype, user=None):
    """A ctypes function as a loss"""
    real = ctypes.POINTER(TYPES[dtype])
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_int, real, real, real, ctypes.c_void_p]
    return LowLevelCallable(function) if user is None else LowLevelCallable(function, user)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The functions of SOURCE"""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler")
    at = tmp_path_factory.mktemp("own")
    (at / "own.c").write_text(SOURCE)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", at / "own.so", at / "own.c", "-lm"], check=True)
    return ctypes.CDLL(str(at / "own.so"))


def squared(library, dtype, user=None):
    return low_level(library.squared_f if dtype == np.float32 else library.squared, dtype, user)


def both(library, dtype, m, sizes=(5, 7, 3)):
    """The problem, its network with the built-in loss, and with the compiled one"""
    p = problem(sizes, "tanh", "identity", "squared_error", m=m, dtype=dtype)
    net = p.network()
    return p, net, fastbp.Network(sizes, activation="tanh", loss=squared(library, dtype), dtype=dtype, init=net.theta)


@pytest.mark.parametrize("m", [1, 40, 700])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_J_D_and_the_derivatives_of_examples(library, dtype, weights, m):
    p, net, own = both(library, dtype, m)
    w = p.weights if weights else None
    (J, D), (own_J, own_D) = (n.cost_and_gradient(p.X, p.Y, sample_weight=w, weight_decay=0.1) for n in (net, own))
    assert own_J == pytest.approx(J, rel=4 * float(np.finfo(dtype).eps))
    assert distance(own_D, D) <= 4 * np.finfo(dtype).eps
    for call in (lambda n: n.gradients(p.X, p.Y), lambda n: n.gradient_norms(p.X, p.Y), lambda n: n.deltas(p.X, p.Y)[0],
                 lambda n: n.accumulate(p.X, p.Y, True)[1][0], lambda n: n.accumulate(p.X, p.Y)[1][1]):
        assert distance(call(own), call(net)) < 10 * tolerance(dtype, "bits")
    assert own.evaluate(p.X, p.Y) == (pytest.approx(net.evaluate(p.X, p.Y).cost), None)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [
    {}, {"batch_size": 1, "optimizer": fastbp.SGD(0.01)}, {"batch_size": 1}, {"batch_size": 600}, {"batch_size": None},
    {"dropout": 0.3}, {"validation_split": 0.3, "n_threads": 2}, {"weight_decay": 0.1, "clip_norm": 0.1},
], ids=str)
def test_training_is_that_of_the_built_in_loss(library, settings, dtype, weights):
    p, *nets = both(library, dtype, 700)
    if weights:
        settings = {**settings, "sample_weight": np.where(np.arange(700) % 5 == 0, 0, p.weights)}
    histories = [fastbp.train(net, p.X, p.Y, **{"epochs": 3, "seed": 0, "batch_size": 32, **settings}) for net in nets]
    assert pytest.approx(histories[1].J, rel=10 * tolerance(dtype, "training")) == histories[0].J
    assert distance(nets[1].theta, nets[0].theta) < 10 * tolerance(dtype, "training")
    trainers = [fastbp.Trainer(net) for net in nets]
    J = [trainer.step(p.X[:20], p.Y[:20]) for trainer in trainers]
    assert J[0] == pytest.approx(J[1], rel=10 * tolerance(dtype, "training"))


def test_targets_have_any_columns_and_labels_become_numbers(library):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((80, 3)), rng.standard_normal((80, 2))
    Y[::9] = np.nan
    net = fastbp.Network([3, 5, 2], loss=low_level(library.gaussian, np.float64), seed=0)
    there = ~np.isnan(Y[:, 0])
    for answers in (Y, Y[:, :1], Y[:, 0], np.asfortranarray(Y)):
        J, D = net.cost_and_gradient(X, answers)
        some_J, some_D = net.cost_and_gradient(X[there], answers[there])
        assert pytest.approx(some_J * there.sum()) == J * 80
        assert distance(D * 80, some_D * there.sum()) < 1e-13
    assert fastbp.check_gradient(net, X, Y).relative_difference < 1e-9
    whole = net.cost(X, np.arange(80))
    assert whole == net.cost(X, np.arange(80.0)[:, None]) == net.cost(X, np.arange(80, dtype=np.float32))
    fastbp.train(net, X, Y, epochs=3, batch_size=1, optimizer="sgd")
    fastbp.train(net, lambda: ((X[i : i + 30], Y[i : i + 30]) for i in (0, 30, 60)), epochs=2, batch_size=8)
    assert np.isfinite(net.theta).all()


def test_user_data_and_a_function_in_Python(library):
    p, net, _ = both(library, np.float64, 40)
    by = ctypes.c_double(3.0)
    three = fastbp.Network(p.model.sizes, activation="tanh", init=net.theta,
                           loss=squared(library, np.float64, ctypes.cast(ctypes.pointer(by), ctypes.c_void_p)))
    assert three.cost(p.X, p.Y) == pytest.approx(3 * net.cost(p.X, p.Y))
    real = ctypes.POINTER(ctypes.c_double)

    @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, real, real, real, ctypes.c_void_p)
    def slow(K, z, y, delta, user):
        for k in range(K):
            delta[k] = z[k] - y[k]
        return sum((z[k] - y[k]) ** 2 for k in range(K)) / 2

    own = fastbp.Network(p.model.sizes, activation="tanh", init=net.theta, loss=LowLevelCallable(slow))
    fastbp.train(own, p.X, p.Y, epochs=2, seed=0, n_threads=2)
    fastbp.train(net, p.X, p.Y, epochs=2, seed=0)
    assert distance(own.theta, net.theta) < 1e-13


@pytest.mark.parametrize("dtype", DTYPES)
def test_numba(dtype):
    numba = pytest.importorskip("numba")
    real = numba.float32 if dtype == np.float32 else numba.float64
    pointer = numba.types.CPointer(real)

    @numba.cfunc(numba.float64(numba.intc, pointer, pointer, pointer, numba.types.voidptr))
    def log_cosh(K, z, y, delta, user):
        cost = 0.0
        for k in range(K):
            e = z[k] - y[k]
            delta[k] = np.tanh(e)
            cost += abs(e) + np.log1p(np.exp(-2 * abs(e))) - np.log(2.0)
        return cost

    from own_losses import log_cosh as in_numpy

    p = problem((5, 7, 3), "tanh", "identity", "squared_error", m=700, dtype=dtype)
    nets = [fastbp.Network((5, 7, 3), activation="tanh", loss=loss, dtype=dtype, init=p.theta)
            for loss in (LowLevelCallable(log_cosh.ctypes), in_numpy)]
    (J, D), (other_J, other_D) = (net.cost_and_gradient(p.X, p.Y) for net in nets)
    assert pytest.approx(other_J, rel=tolerance(dtype)) == J
    assert distance(D, other_D) < tolerance(dtype)
    for net in nets:
        fastbp.train(net, p.X, p.Y, epochs=2, seed=0, optimizer="sgd")
    assert distance(nets[0].theta, nets[1].theta) < 10 * tolerance(dtype, "training")


def test_what_is_refused(library, tmp_path):
    X, Y = np.zeros((4, 3)), np.zeros((4, 2))
    function = library.squared
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    other = LowLevelCallable(function)
    with pytest.raises(ValueError, match=r"loss has the signature 'double .double.'; accepted are 'double .int, const"):
        fastbp.Network([3, 2], loss=other)
    net = fastbp.Network([3, 2], loss=squared(library, np.float32), dtype=np.float32)
    for call in (lambda: fastbp.check_gradient(net, X, Y), lambda: net.cost(X, Y, theta=np.zeros(8)),
                 lambda: fastbp.Network([3, 2], loss=squared(library, np.float32)).cost(X, Y)):
        with pytest.raises(ValueError, match="loss is compiled for float32, but this is computed in float64"):
            call()
    with pytest.raises(ValueError, match=r"Y has shape \(4, 1, 1\); loss takes 4 rows of targets"):
        net.cost(X, Y[:, :1, None])
    with pytest.raises(ValueError, match="loss is a LowLevelCallable, which has no importable name"):
        fastbp.save(tmp_path / "net", net)
    with pytest.raises(TypeError, match="loss is a LowLevelCallable, an address in this process"):
        pickle.dumps(net)
    for twin in (net.copy(), copy.deepcopy(net)):
        assert twin.cost(X, Y) == net.cost(X, Y)


def test_what_is_not_finite_is_a_divergence(library):
    net = fastbp.Network([3, 2], loss=squared(library, np.float64), seed=0)
    before = net.theta.copy()
    with pytest.raises(fastbp.DivergenceError):
        fastbp.train(net, np.ones((40, 3)), np.full((40, 2), np.nan), epochs=1)
    assert (net.theta == before).all()


def test_compiled_code_refuses_an_own_loss_that_it_cannot_call(library):
    """Wrong losses are refused: one in Python, of the other dtype, with targets of another dtype, with labels"""
    from fastbp import _backprop
    from fastbp.engine import sums

    X, Y = np.zeros((8, 3)), np.zeros((8, 2))
    in_python = fastbp.Network([3, 2], loss=lambda z, Y, w: (z[:, 0], z))
    compiled = fastbp.Network([3, 2], loss=squared(library, np.float64))
    single = fastbp.Network([3, 2], loss=squared(library, np.float32), dtype=np.float32)
    labels = np.zeros(8, np.int64)
    for net, theta, targets, given in (
        (in_python, in_python.theta, Y, None), (compiled, compiled.theta, Y.astype(np.float32), None),
        (compiled, compiled.theta, None, labels), (compiled, compiled.theta, None, None),
        (compiled, single.theta, Y.astype(np.float32), None), (single, compiled.theta, Y, None),
    ):
        examples = _backprop.Examples(X, targets, given)
        with pytest.raises(ValueError, match="an own loss is called in compiled code only if it is compiled for"):
            sums.accumulate(net.plan, theta, examples, 8, np.zeros_like(theta))
    code = compiled.plan.code.copy()
    code[7, 0] += 2
    with pytest.raises(ValueError, match="plan is the code of no network"):
        _backprop.predict(code, compiled.theta, _backprop.Examples(X), 0, 8, np.empty(0), 8, Y, 1.0)
