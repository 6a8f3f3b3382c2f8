"""Update rules, penalties and clipping line by line in plain NumPy, in the dtype of theta: the oracle of test_rules.py.

A rule holds the state of one training run. step(theta, D) returns the next theta; weights is 0 for biases, 1 elsewhere.
Nothing here imports fastbp.
"""

import itertools

import numpy as np


class Rule:
    def __init__(self, alpha, **settings):
        self.alpha, self.t = alpha, 0
        vars(self).update(settings)

    def step(self, theta, D, weights=1):
        alpha = self.alpha(self.t) if callable(self.alpha) else self.alpha
        self.t += 1
        return self.move(theta, D, alpha, weights)

    def kept(self, name, theta, value=0):
        """The array kept under this name; initially the value everywhere"""
        return vars(self).setdefault(name, np.full_like(theta, value))


class SGD(Rule):
    def move(self, theta, D, alpha, _):
        mu = getattr(self, "mu", 0)
        self.v = mu * self.kept("v", theta) - alpha * D
        return theta + (mu * self.v - alpha * D if getattr(self, "nesterov", False) else self.v)


class Adam(Rule):
    def move(self, theta, D, alpha, weights):
        b1, b2, t = theta.dtype.type(self.b1), theta.dtype.type(self.b2), self.t
        self.m = b1 * self.kept("m", theta) + (1 - b1) * D
        self.v = b2 * self.kept("v", theta) + (1 - b2) * D**2
        if getattr(self, "hat", False):  # scikit-learn's lines
            alpha = alpha * np.sqrt(1 - b2**t) / (1 - b1**t)
            return theta - alpha * self.m / (np.sqrt(self.v) + self.epsilon)
        decayed = theta - alpha * getattr(self, "decay", 0) * weights * theta
        return decayed - alpha * (self.m / (1 - b1**t)) / (np.sqrt(self.v / (1 - b2**t)) + self.epsilon)


class Nadam(Rule):
    def mu(self, t):
        return self.b1 * (1 - 0.5 * 0.96 ** (t * self.psi))

    def move(self, theta, D, alpha, _):
        t = self.t
        product = np.prod([self.mu(k) for k in range(1, t + 1)])  # from t alone, with nothing kept
        self.m = self.b1 * self.kept("m", theta) + (1 - self.b1) * D
        self.v = self.b2 * self.kept("v", theta) + (1 - self.b2) * D**2
        mhat = self.mu(t + 1) * self.m / (1 - product * self.mu(t + 1)) + (1 - self.mu(t)) * D / (1 - product)
        return theta - alpha * mhat / (np.sqrt(self.v / (1 - self.b2**t)) + self.epsilon)


class RMSprop(Rule):
    def move(self, theta, D, alpha, _):
        self.v = self.rho * self.kept("v", theta) + (1 - self.rho) * D**2
        self.b = getattr(self, "mu", 0) * self.kept("b", theta) + D / (np.sqrt(self.v) + self.epsilon)
        return theta - alpha * self.b


class Adagrad(Rule):
    def move(self, theta, D, alpha, _):
        self.v = self.kept("v", theta, self.initial) + D**2
        return theta - alpha * D / (np.sqrt(self.v) + self.epsilon)


class RPROP(Rule):
    """iRprop- as printed by Igel and Huesken, one parameter after the other"""

    def move(self, theta, D, alpha, _):
        theta, D, last, size = theta.copy(), D.copy(), self.kept("last", theta), self.kept("size", theta, alpha)
        for i in range(len(theta)):
            if last[i] * D[i] > 0:
                size[i] = min(size[i] * self.plus, self.most)
            elif last[i] * D[i] < 0:
                size[i] = max(size[i] * self.minus, self.least)
                D[i] = 0
            theta[i] -= np.sign(D[i]) * size[i]
            last[i] = D[i]
        return theta


def weights_of(model):
    """1 for the weights in a flat theta, 0 for the biases"""
    parts = []
    for s, following in itertools.pairwise(model.sizes):
        part = np.ones((following, s + 1))
        part[:, 0] = 0
        parts.append(part.ravel())
    return np.concatenate(parts)


def cost_and_gradient(
    model, theta, X, Y, w=None, *, c=0.0, l1=0.0, batch_lam=0.0, clip_value=None, clip_norm=None, mean_weight=None,
):
    """J and D with every penalty, D clipped; c is one number or one per Theta; m of batch_lam / m is the sum of w"""
    J, D = model.cost_and_gradient(theta, X, Y, 0, w, mean_weight=mean_weight)
    m = len(X) if w is None else np.sum(np.asarray(w).astype(theta.dtype))
    off = weights_of(model)
    c = np.broadcast_to(c, len(model.sizes) - 1) + batch_lam / m
    layers = zip(itertools.pairwise(model.sizes), c, strict=True)
    each = np.concatenate([np.full(n * (k + 1), c_l) for (k, n), c_l in layers])
    J = J + (each * off * theta**2).sum() / 2 + l1 * (off * np.abs(theta)).sum()
    D = D + each * off * theta + l1 * off * np.sign(theta)
    if clip_value is not None:
        D = np.minimum(np.maximum(D, -clip_value), clip_value)
    if clip_norm is not None:
        D = D * min(1, clip_norm / np.sqrt((D**2).sum()))
    return J, D


def train(model, theta, X, Y, rule, *, epochs, batch_size=None, w=None, **penalties):
    """theta after epochs over the unshuffled examples, and the mean of the batches' J for each epoch"""
    history, off = [], weights_of(model)
    for _ in range(epochs):
        total = n = 0
        for first in range(0, len(X), batch_size or len(X)):
            rows = slice(first, first + (batch_size or len(X)))
            if w is not None and not w[rows].any():     # no step
                continue
            J, D = cost_and_gradient(model, theta, X[rows], Y[rows], None if w is None else w[rows], **penalties)
            theta = rule.step(theta, D, off)
            size = len(X[rows]) if w is None else w[rows].sum()
            total, n = total + size * J, n + size
        history.append(float(total / n))
    return theta, history
