"""NumPy by hand: every buffer allocated once, every step in place; SciPy's expit for small layers, its ger online."""

import itertools

import numpy as np
import scipy
from scipy.linalg import get_blas_funcs
from scipy.special import expit

LABELS = ("NumPy",)
BLOCK = 1_000  # rows of a full-batch gradient that stay in the cache


def version(_n_threads):
    """Name the versions."""
    return f"NumPy {np.__version__}, SciPy {scipy.__version__}"


def sigmoid(z):
    """z := 1 / (1 + e^-z); expit is one call, the four vector loops win from a few hundred values on."""
    if z.size < 300:
        expit(z, z)
    else:
        np.negative(z, z)
        np.exp(z, z)
        np.add(z, 1, z)
        np.reciprocal(z, z)


def relu(z):
    """z := max(z, 0)."""
    np.maximum(z, 0, z)


def softmax(z):
    """z := e^z / sum e^z, row by row."""
    z -= z.max(axis=-1, keepdims=True)
    np.exp(z, z)
    z /= z.sum(axis=-1, keepdims=True)


def identity(z):
    """z := z."""


FUNCTIONS = {"sigmoid": sigmoid, "relu": relu, "softmax": softmax, "identity": identity}


def times_derivative(name, delta, a, scratch):
    """delta := delta .* g'(z), from the output value a = g(z)."""
    if name == "sigmoid":
        np.subtract(1, a, scratch)
        scratch *= a
        delta *= scratch
    elif name == "relu":
        np.greater(a, 0, scratch)
        delta *= scratch


class Network:
    """Weights, biases and the buffers of one pass over a batch of the given shape (() for one example)."""

    def __init__(self, problem, rows=()):
        workload, sizes = problem.workload, problem.workload.layer_sizes
        self.workload = workload
        self.W = [np.empty((n, k), problem.dtype) for k, n in itertools.pairwise(sizes)]
        self.b = [np.empty(n, problem.dtype) for n in sizes[1:]]
        self.parameters = [*self.W, *self.b]
        self.a, self.delta, self.scratch = ([np.empty((*rows, n), problem.dtype) for n in sizes[1:]] for _ in range(3))
        names = [workload.activation] * (len(sizes) - 2) + [workload.output]
        self.g = [FUNCTIONS[name] for name in names]
        self.set(problem.Theta)

    def set(self, Theta):
        """Copy the start weights in."""
        for W, b, T in zip(self.W, self.b, Theta, strict=True):
            W[:], b[:] = T[:, 1:], T[:, 0]

    @property
    def Theta(self):
        """The weights, bias in column 0."""
        return [np.column_stack([b, W]) for W, b in zip(self.W, self.b, strict=True)]

    def output_delta(self, y):
        """delta(L) := a(L) - y, times g'(z(L)) where the loss asks for it."""
        np.subtract(self.a[-1], y, self.delta[-1])
        if self.workload.loss == "squared_error":
            times_derivative(self.workload.output, self.delta[-1], self.a[-1], self.scratch[-1])

    def hidden_delta(self, l):
        """delta(l) := delta(l+1) W .* g'(z(l))."""
        np.dot(self.delta[l + 1], self.W[l + 1], self.delta[l])
        times_derivative(self.workload.activation, self.delta[l], self.a[l], self.scratch[l])

    def forward(self, X):
        """a(l+1) := g(a(l) W' + b)."""
        for W, b, a, g in zip(self.W, self.b, self.a, self.g, strict=True):
            np.dot(X, W.T, a)
            a += b
            g(a)
            X = a

    def backward(self, X, D):
        """D := delta(l+1)' a(l), matrices first, then the biases' sums."""
        L = len(self.W)
        for l in range(L - 1, -1, -1):
            np.dot(self.delta[l].T, self.a[l - 1] if l else X, D[l])
            np.sum(self.delta[l], axis=0, out=D[L + l])
            if l:
                self.hidden_delta(l - 1)


class Online:
    """An epoch example by example; the update is BLAS' ger, in place."""

    def __init__(self, problem, _label):
        self.problem, self.net = problem, Network(problem)
        self.ger = get_blas_funcs("ger", dtype=problem.dtype)

    def reset(self):
        """Take the start weights."""
        self.net.set(self.problem.Theta)

    def run(self):
        """theta := theta - eta [delta a', delta], example by example."""
        net, ger, eta = self.net, self.ger, -self.problem.workload.learning_rate
        W, b, a, g, delta = net.W, net.b, net.a, net.g, net.delta
        WT = [w.T for w in W]
        layers = list(zip(W, b, a, g, strict=True))
        L = len(W)
        for x, y in zip(self.problem.X, self.problem.Y, strict=True):
            v = x
            for w, bias, z, activate in layers:
                w.dot(v, z)
                z += bias
                activate(z)
                v = z
            net.output_delta(y)
            for l in range(L - 1, -1, -1):
                d, v = delta[l], a[l - 1] if l else x
                if l:
                    net.hidden_delta(l - 1)
                ger(eta, v, d, 1, 1, WT[l], 0, 0, 1)
                d *= eta
                b[l] += d

    def outcome(self):
        """Return Theta."""
        return self.net.Theta


class Batches:
    """Training by mini-batches: the gradient of one batch, and the two update rules."""

    def __init__(self, problem, rows):
        self.problem, self.workload = problem, problem.workload
        self.net = Network(problem, (rows,))
        self.D = [np.empty_like(p) for p in self.net.parameters]
        self.m, self.v, self.scratch = ([np.zeros_like(p) for p in self.net.parameters] for _ in range(3))

    def reset(self):
        """Take the start weights and empty the optimizer's memory."""
        self.net.set(self.problem.Theta)
        for array in (*self.m, *self.v):
            array[:] = 0

    def sgd(self, _t):
        """theta := theta - eta D."""
        for theta, D in zip(self.net.parameters, self.D, strict=True):
            D *= self.workload.learning_rate
            theta -= D

    def adam(self, t, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        """m, v := running means of D, D^2;  theta := theta - eta mhat / (sqrt(vhat) + epsilon)."""
        eta = self.workload.learning_rate / (1 - beta_1**t)
        correction = (1 - beta_2**t) ** 0.5
        for theta, D, m, v, s in zip(self.net.parameters, self.D, self.m, self.v, self.scratch, strict=True):
            m *= beta_1
            np.multiply(D, 1 - beta_1, s)
            m += s
            v *= beta_2
            D *= D
            D *= 1 - beta_2
            v += D
            np.sqrt(v, s)
            s /= correction
            s += epsilon
            np.divide(m, s, s)
            s *= eta
            theta -= s

    def run(self):
        """One epoch."""
        b, net = self.workload.batch_size, self.net
        update = getattr(self, self.workload.optimizer)
        for t, i in enumerate(range(0, self.problem.m, b), start=1):
            X, Y = self.problem.X[i : i + b], self.problem.Y[i : i + b]
            net.forward(X)
            net.output_delta(Y)
            net.delta[-1] /= b
            net.backward(X, self.D)
            update(t)

    def outcome(self):
        """Return Theta."""
        return self.net.Theta


class Gradient:
    """J and D over all examples, in blocks that stay in the cache."""

    def __init__(self, problem, _label):
        self.problem = problem
        self.rows = BLOCK if problem.m % BLOCK == 0 else problem.m
        self.net = Network(problem, (self.rows,))
        self.D, self.part = ([np.empty_like(p) for p in self.net.parameters] for _ in range(2))
        self.J = 0.0

    def reset(self):
        """Nothing to do: theta does not change."""

    def cost(self, Y):
        """Return the sum of a block's costs, from h(x) and delta(L) = h(x) - y."""
        if self.problem.workload.output == "softmax":
            return -np.sum(np.log(np.einsum("ij,ij->i", self.net.a[-1], Y)))
        return -np.sum(np.log1p(-np.abs(self.net.delta[-1])))

    def run(self):
        """J := sum of costs / m + c/2 W.W;  D := Delta / m + c W."""
        net, m, c = self.net, self.problem.m, self.problem.workload.weight_decay
        for D in self.D:
            D[:] = 0
        J = 0.0
        for i in range(0, m, self.rows):
            X, Y = self.problem.X[i : i + self.rows], self.problem.Y[i : i + self.rows]
            net.forward(X)
            net.output_delta(Y)
            J += self.cost(Y)
            net.backward(X, self.part)
            for D, part in zip(self.D, self.part, strict=True):
                D += part
        for D in self.D:
            D /= m
        self.J = J / m
        if c:
            self.J += c / 2 * sum(np.vdot(W, W) for W in net.W)
            for D, W, part in zip(self.D, net.W, self.part, strict=False):
                D += np.multiply(W, c, part)

    def outcome(self):
        """Return J and D."""
        L = len(self.net.W)
        return self.J, [np.column_stack([b, W]) for W, b in zip(self.D[:L], self.D[L:], strict=True)]


class Predict:
    """One row a call, into buffers of its own."""

    def __init__(self, problem, _label):
        self.rows = list(problem.X)
        net = Network(problem)
        self.layers = list(zip(net.W, net.b, net.a, strict=True))
        self.h = net.a[-1]

    def reset(self):
        """Nothing to do."""

    def predict(self, x):
        """Return h(x): sigmoids all the way."""
        for W, b, a in self.layers:
            W.dot(x, a)
            np.add(a, b, a)
            expit(a, a)
            x = a
        return x

    def run(self):
        """Predict row by row."""
        for x in self.rows:
            self.predict(x)

    def outcome(self):
        """Return the last h(x)."""
        return self.h


def prepare(problem, label):
    """Return the workload made ready."""
    if problem.workload.kind == "train":
        return Online(problem, label) if problem.workload.online else Batches(problem, problem.workload.batch_size)
    return {"gradient": Gradient, "predict": Predict}[problem.workload.kind](problem, label)
