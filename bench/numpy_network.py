"""A network in NumPy by hand: every buffer allocated once, every step in place."""

import itertools

import numpy as np
from scipy.special import expit


def sigmoid(z):
    """z := 1 / (1 + e^-z); expit is one call, but the four vector loops are faster above a few hundred values."""
    if z.size < 300:
        expit(z, z)
    else:
        np.negative(z, z)
        np.exp(z, z)
        np.add(z, 1, z)
        np.reciprocal(z, z)


def relu(z):
    """z := max(z, 0)."""
    np.maximum(z, 0, out=z)


def softmax(z):
    """z := e^z / sum e^z, row by row."""
    z -= z.max(axis=-1, keepdims=True)
    np.exp(z, z)
    z /= z.sum(axis=-1, keepdims=True)


def tanh(z):
    """z := tanh z."""
    np.tanh(z, z)


def identity(z):
    """z := z."""


FUNCTIONS = {"sigmoid": sigmoid, "relu": relu, "tanh": tanh, "softmax": softmax, "identity": identity}


def times_derivative(name, delta, a, scratch):
    """delta := delta .* g'(z), from the output value a = g(z)."""
    if name == "sigmoid":
        np.subtract(1, a, scratch)
        scratch *= a
        delta *= scratch
    elif name == "tanh":
        np.multiply(a, a, scratch)
        np.subtract(1, scratch, scratch)
        delta *= scratch
    elif name == "relu":
        np.greater(a, 0, scratch)
        delta *= scratch


def views(flat, sizes):
    """Return the matrices and then the biases inside a flat vector."""
    shapes = [(n, k) for k, n in itertools.pairwise(sizes)] + [(n,) for n in sizes[1:]]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True)]


class Network:
    """Weights, biases and the buffers of one pass over a batch of the given shape (() for one example)."""

    def __init__(self, problem, rows=()):
        workload, sizes = problem.workload, problem.workload.layer_sizes
        self.workload, L = workload, len(sizes) - 1
        self.theta = np.empty(workload.n_parameters, problem.dtype)
        self.parameters = views(self.theta, sizes)
        self.W, self.b = self.parameters[:L], self.parameters[L:]
        self.a, self.delta, self.scratch = ([np.empty((*rows, n), problem.dtype) for n in sizes[1:]] for _ in range(3))
        self.g = [FUNCTIONS[name] for name in workload.functions]
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
        """delta(L) := a(L) - y, times g'(z(L)) if the loss needs it."""
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
