"""Helpers of several test files: the tolerances, random problems, and the lists to run over."""

import itertools
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from reference import ACTIVATIONS, PAIRS, PARAMETERS, Textbook

DTYPES = [np.float32, np.float64]
NAMES = list(ACTIVATIONS)
WIDTHS = [*range(1, 18), 31, 33, 64, 65, 100]
KINKED = {"relu", "leaky_relu", "elu"}
PARAMETER = {"huber": 0.7, "quantile": 0.8}  # of these losses in the tests: not the default, not exact in binary
# the |h - y| at which delta, or its derivative, jumps
KINKS = {"absolute_error": 0.0, "quantile": 0.0, "huber": PARAMETER["huber"]}
CLASSES = [pair for pair in PAIRS if pair[0] in ("sigmoid", "softmax", "tanh")]  # integer labels are allowed

# The one table of tolerances. oracle: normwise, against long double; bits: the same sum in another order;
# numeric: central differences (a float32 network through its float64 copy); training: some epochs of the same steps.
TOLERANCE = {
    np.dtype(np.float32): {"oracle": 3e-6, "bits": 2e-6, "numeric": 1e-9, "training": 2e-5},
    np.dtype(np.float64): {"oracle": 1e-13, "bits": 1e-14, "numeric": 1e-9, "training": 1e-12},
}


def tolerance(dtype, kind="oracle"):
    return TOLERANCE[np.dtype(dtype)][kind]


def distance(actual, expected):
    """|actual - expected| / |expected|, norms over all entries, in long double"""
    actual, expected = (np.asarray(each, dtype=np.longdouble) for each in (actual, expected))
    assert actual.shape == expected.shape, f"{actual.shape} is not {expected.shape}"
    assert np.isfinite(actual).all(), "not finite"
    norm = np.sqrt((expected**2).sum())
    return float(np.sqrt(((actual - expected) ** 2).sum()) / (norm or 1))


def ctrl_c():
    """Send SIGINT to this process, from any thread; on Windows os.kill would end it"""
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def untouched_global_random_state():
    """Old programs share np.random, so its state must not change"""
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    yield
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


def frozen(array):
    array.setflags(write=False)
    return array


def random_targets(rng, model, m):
    """(m, K) targets that the output can reach"""
    K = model.sizes[-1]
    if model.output == "softmax":
        return rng.multinomial(64, np.ones(K) / K, size=m) / 64  # rows that sum to 1 exactly, in float32 too
    if model.output == "exp":
        return 0.375 * rng.poisson(2, size=(m, K))  # 0, fractions and more
    if model.output == "tanh":
        return rng.uniform(-1, 1, size=(m, K))
    if model.output == "sigmoid":
        return rng.uniform(0, 1, size=(m, K))
    return rng.standard_normal((m, K))


@dataclass
class Problem:
    """A textbook network with parameters, m examples and their targets; all arrays are read-only."""

    model: Textbook
    theta: np.ndarray
    X: np.ndarray
    Y: np.ndarray
    labels: np.ndarray  # another set of answers, as classes 0 .. K-1
    weights: np.ndarray

    def network(self):
        """The same network in fastbp"""
        import fastbp

        model = self.model
        return fastbp.Network(
            model.sizes,
            activation=model.activation,
            output=model.output,
            loss=model.loss,
            dtype=self.theta.dtype,
            init=self.theta,
            **({PARAMETERS[model.loss]: model.parameter} if model.loss in PARAMETERS else {}),
        )

    def exact(self, Y=None, c=0.0, w=None, theta=None):
        """J and D of the textbook in long double"""
        theta = self.theta if theta is None else theta
        c = np.longdouble(c)
        return self.model.cost_and_gradient(theta.astype(np.longdouble), self.X, self.Y if Y is None else Y, c, w)

    def copies(self):
        """The bytes of X, Y and theta, to check afterwards that nothing was written into them"""
        return [each.tobytes() for each in (self.X, self.Y, self.labels, self.weights, self.theta)]


def problem(
    sizes=(5, 7, 3), activation="tanh", output="sigmoid", loss="cross_entropy", *, m=9, dtype=np.float64, seed=0
):
    """Parameters ~ N(0, 1/fan_in), inputs ~ N(0, 1), no hidden z and no h - y within 1e-3 of a kink"""
    rng = np.random.default_rng([seed, m, *sizes])
    model = Textbook(tuple(sizes), activation, output, loss, PARAMETER.get(loss))
    fan_in = np.concatenate([np.full(t * (s + 1), s) for s, t in itertools.pairwise(sizes)])
    theta = (rng.standard_normal(len(fan_in)) / np.sqrt(fan_in)).astype(dtype)
    X = rng.standard_normal((m, sizes[0])).astype(dtype)
    while KINKED & set(model.hidden):
        z = np.hstack(model.forward(theta.astype(float), X)[0][:-1])
        near = (np.abs(z) < 1e-3).any(axis=1)
        if not near.any():
            break
        X[near] = rng.standard_normal((near.sum(), sizes[0]))
    Y = random_targets(rng, model, m).astype(dtype)
    if loss in KINKS:
        h = model.forward(theta.astype(float), X)[1][-1]
        Y[np.abs(np.abs(h - Y) - KINKS[loss]) < 1e-3] += 0.01
    labels = rng.integers(0, max(sizes[-1], 2), size=m)
    weights = rng.uniform(0.5, 2, size=m).astype(dtype)
    return Problem(model, *(frozen(each) for each in (theta, X, Y, labels, weights)))
