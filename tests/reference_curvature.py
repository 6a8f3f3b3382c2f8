"""The oracle of curvature products: D of the textbook at theta + i h p, in complex long double.

D is analytic in theta away from kinks, so that Im D / h is H p without a difference: its error is h^2. The functions
here are those of reference.py, written for complex numbers; they contain neither g'' nor second derivatives of costs.
Gauss-Newton products come from the Jacobian of z(L), also by complex steps, and from an independent H+. Nothing here
imports fastbp.
"""

import numpy as np
from reference import flat, pi, with_bias

STEP = np.longdouble(1e-40)


def sigmoid(z):
    """1 / (1 + e^-z), from e^-|z|; the real part decides the branch"""
    positive = z.real >= 0
    e = np.exp(np.where(positive, -z, z))
    return np.where(positive, 1, e) / (1 + e)


def erf(x):
    """The series of reference.erf"""
    term = total = x
    for n in range(1, 250):
        term = term * (2 * x * x / (2 * n + 1))
        total = total + term
    return 2 / np.sqrt(pi(x.real.dtype)) * np.exp(-x * x) * total


def normal(z):
    """Phi(z)"""
    return (1 + erf(z / np.sqrt(z.real.dtype.type(2)))) / 2


def softplus(z):
    """The imaginary parts are so small that log(1 + e^z) has the imaginary part z.imag s(z)"""
    return np.maximum(z.real, 0) + np.log1p(np.exp(-np.abs(z.real))) + 1j * z.imag * sigmoid(z.real)


def tanh_prime(z):
    return 4 * sigmoid(2 * z) * sigmoid(-2 * z)


def tanh(z):
    return 2 * sigmoid(2 * z) - 1


def elu(z):
    """For z with a tiny imaginary part"""
    left = np.minimum(z.real, 0)
    return np.where(z.real > 0, z, np.expm1(left) + 1j * z.imag * np.exp(left))


ACTIVATIONS = {     # g and g', both of z
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * sigmoid(-z)),
    "tanh": (tanh, tanh_prime),
    "relu": (lambda z: np.where(z.real > 0, z, 0), lambda z: (z.real > 0) + 0 * z),
    "identity": (lambda z: z, lambda z: 1 + 0 * z),
    "leaky_relu": (lambda z: np.where(z.real > 0, z, z / 100),
                   lambda z: np.where(z.real > 0, 1, 1 / z.real.dtype.type(100)) + 0 * z),
    "elu": (elu, lambda z: np.where(z.real > 0, 1, np.exp(np.where(z.real > 0, 0, z)))),
    "softplus": (softplus, sigmoid),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) + z * sigmoid(z) * sigmoid(-z)),
    "gelu": (lambda z: z * normal(z), lambda z: normal(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * pi(z.real.dtype))),
}


def softmax(z):
    e = np.exp(z - z.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


OUTPUTS = {
    "sigmoid": ACTIVATIONS["sigmoid"], "tanh": ACTIVATIONS["tanh"], "identity": ACTIVATIONS["identity"],
    "softmax": (softmax, None), "exp": (np.exp, np.exp),
}


def output_delta(model, z, y):
    """dcost/dz(L)"""
    h = OUTPUTS[model.output][0](z)
    e, parameter = h - y, model.parameter and z.real.dtype.type(model.parameter)
    if model.loss == "absolute_error":
        return np.sign(e.real) + 0 * e
    if model.loss == "quantile":
        return np.where(e.real > 0, 1 - parameter, -parameter) + 0 * e
    if model.loss == "huber":
        return np.where(np.abs(e.real) <= parameter, e, parameter * np.sign(e.real))
    if model.loss in ("cross_entropy", "poisson"):
        return e
    if model.output == "softmax":
        return h * (e - (e * h).sum(axis=1, keepdims=True))
    return e * OUTPUTS[model.output][1](z)


def forward(model, theta, X):
    """[z(2), ..., z(L)] and [a(1), ..., a(L-1)]"""
    z, a = [], [X.astype(theta.dtype)]
    for l, T in enumerate(model.Theta(theta)):
        z.append(with_bias(a[-1]) @ T.T)
        if l < len(model.hidden):
            a.append(ACTIVATIONS[model.hidden[l]][0](z[-1]))
    return z, a


def backward(model, theta, z, a, delta):
    """[Delta(1), ..., Delta(L-1)] flat, for delta(L)"""
    Theta, Delta = model.Theta(theta), []
    for l in range(len(Theta) - 1, -1, -1):
        Delta.insert(0, delta.T @ with_bias(a[l]))
        if l:
            delta = (delta @ Theta[l])[:, 1:] * ACTIVATIONS[model.hidden[l - 1]][1](z[l - 1])
    return flat(Delta)


def decayed(model, p, c):
    """c p without the bias columns"""
    parts = [c * P for P in model.Theta(p.copy())]
    for P in parts:
        P[:, 0] = 0
    return flat(parts)


def stepped(theta, p):
    return theta.astype(np.clongdouble) + 1j * STEP * p.astype(np.longdouble)


def hessian_product(model, theta, X, Y, p, c=0, w=None):
    """H p in long double"""
    w = np.ones(len(X), np.longdouble) if w is None else np.asarray(w).astype(np.longdouble)
    at = stepped(theta, p)
    z, a = forward(model, at, X)
    delta = output_delta(model, z[-1], model.targets(Y, np.longdouble)) * w[:, None]
    return (backward(model, at, z, a, delta) / w.sum()).imag / STEP + decayed(model, p.astype(np.longdouble), c)


def curvature_plus(model, z, y):
    """H+ of each example, (m, K, K)"""
    h = OUTPUTS[model.output][0](z)
    eye = np.eye(z.shape[1])
    if model.output == "softmax":
        J = np.einsum("mk,kj->mkj", h, eye) - np.einsum("mk,mj->mkj", h, h)
        return J if model.loss == "cross_entropy" else np.einsum("mik,mkj->mij", J, J)
    diagonal = {
        "cross_entropy": lambda: h * sigmoid(-z), "poisson": lambda: h,
        "squared_error": lambda: OUTPUTS[model.output][1](z + 0j).real ** 2,
        "huber": lambda: np.abs(h - y) <= model.parameter,
    }.get(model.loss, lambda: 0 * h)()
    return np.einsum("mk,kj->mkj", diagonal, eye)


def gauss_newton_product(model, theta, X, Y, p, c=0, w=None):
    """G p in long double"""
    w = np.ones(len(X), np.longdouble) if w is None else np.asarray(w).astype(np.longdouble)
    z = forward(model, stepped(theta, p), X)[0][-1]
    real = theta.astype(np.longdouble)
    H = curvature_plus(model, z.real, model.targets(Y, np.longdouble))
    delta = np.einsum("mij,mj->mi", H, z.imag / STEP) * w[:, None]
    z, a = forward(model, real + 0j, X)
    Delta = backward(model, real + 0j, z, a, delta).real
    return Delta / w.sum() + decayed(model, p.astype(np.longdouble), c)
