"""A diagonal layer in front of the first, line by line in NumPy: the oracle of test_diagonal.py.

Theta(1) = [b, W diag(s)]. Parameters that are not free keep their start values. The trained parameters are
phi = [theta with W in place of Theta(1), s]. Nothing here imports fastbp.
"""

import numpy as np
import reference_rules as oracle


class Model:
    """The textbook's network as a function of phi"""

    def __init__(self, model, theta, free=None):
        self.start, self.free = theta, np.ones(len(theta), bool) if free is None else free
        self.model, self.inputs = model, model.sizes[0]
        self.shape, self.n = (model.sizes[1], model.sizes[0] + 1), len(theta)
        self.phi = np.concatenate([theta, np.ones(self.inputs, theta.dtype)])
        self.weights = np.concatenate([oracle.weights_of(model), np.zeros(self.inputs)])    # s does not decay

    def theta(self, phi):
        """theta of phi"""
        theta, s = phi[: self.n].copy(), phi[self.n :]
        Theta = theta[: self.shape[0] * self.shape[1]].reshape(self.shape)
        Theta[:, 1:] *= s
        return np.where(self.free, theta, self.start)

    def cost_and_gradient(self, phi, X, Y, w=None, *, clip_value=None, clip_norm=None, **penalties):
        """J at theta and dJ/dphi, clipped"""
        J, D = oracle.cost_and_gradient(self.model, self.theta(phi), X, Y, w, **penalties)
        D = D * self.free
        size, s = self.shape[0] * self.shape[1], phi[self.n :]
        D_1, W = D[:size].reshape(self.shape)[:, 1:], phi[:size].reshape(self.shape)[:, 1:]
        slopes = np.concatenate([D, (D_1 * W).sum(axis=0)])
        slopes[:size].reshape(self.shape)[:, 1:] = D_1 * s
        if clip_value is not None:
            slopes = np.clip(slopes, -clip_value, clip_value)
        if clip_norm is not None:
            slopes = slopes * min(1, clip_norm / np.sqrt((slopes**2).sum()))
        return J, slopes

    def train(self, X, Y, rule, factors, *, epochs, batch_size=None, w=None, **penalties):
        """theta after epochs over the unshuffled examples; phi moves by `factors` times the step of the rule"""
        for _ in range(epochs):
            for first in range(0, len(X), batch_size or len(X)):
                rows = slice(first, first + (batch_size or len(X)))
                of_rows = None if w is None else w[rows]
                _, D = self.cost_and_gradient(self.phi, X[rows], Y[rows], of_rows, **penalties)
                self.phi = self.phi + factors * (rule.step(self.phi, D, self.weights) - self.phi)
        return self.theta(self.phi)
