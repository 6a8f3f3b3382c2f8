"""The textbook's backpropagation in plain NumPy: the oracle of the tests.

One example is one row of X. With l = 1 .. L and Theta(l) of shape (s_{l+1}, s_l + 1), column 0 the bias:

    z(l+1) = Theta(l) [1, a(l)],  a(l+1) = g(z(l+1))                                  forward
    delta(l) = (Theta(l)' delta(l+1))[without bias] .* g'(z(l))                       backward
    Delta(l) = sum over the examples of delta(l+1) [1, a(l)]'                         accumulate
    D(l) = Delta(l) / m + c Theta(l), the bias column without c Theta                 D
    J = sum of the costs / m + c/2 sum of Theta(l)_ij^2 over j >= 1                   J

Everything runs in the dtype of theta; np.longdouble makes it the reference for float64. Nothing here imports fastbp.
"""

import itertools
from dataclasses import dataclass

import numpy as np

# ---------------------------------------------------------------- activations: g and g', both of z


def sigmoid(z):
    """1 / (1 + e^-z), from e^-|z| so that nothing overflows"""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def sigmoid_prime(z):
    """g (1 - g), and 1 - g(z) = g(-z)"""
    return sigmoid(z) * sigmoid(-z)


def tanh_prime(z):
    """1 - tanh^2 = 4 s(2z) s(-2z), s the sigmoid"""
    return 4 * sigmoid_prime(2 * z)


def softplus(z):
    """log(1 + e^z)"""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def erf(x):
    """2/sqrt(pi) e^-x^2 sum_n 2^n x^(2n+1) / (1 3 5 .. (2n+1)): all terms have the same sign, good in any precision"""
    x = np.clip(x, -7, 7)
    term = total = x
    for n in range(1, 200):
        term = term * (2 * x * x / (2 * n + 1))
        total = total + term
    return 2 / np.sqrt(pi(x.dtype)) * np.exp(-x * x) * total


def pi(dtype):
    return 4 * np.arctan(np.ones((), dtype))


def gelu(z):
    """z Phi(z)"""
    return z * (1 + erf(z / np.sqrt(z.dtype.type(2)))) / 2


def gelu_prime(z):
    """Phi(z) + z phi(z)"""
    phi = np.exp(-z * z / 2) / np.sqrt(2 * pi(z.dtype))
    return (1 + erf(z / np.sqrt(z.dtype.type(2)))) / 2 + z * phi


ACTIVATIONS = {
    "sigmoid": (sigmoid, sigmoid_prime),
    "tanh": (np.tanh, tanh_prime),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "identity": (lambda z: z, np.ones_like),
    "leaky_relu": (lambda z: np.where(z > 0, z, z / 100), lambda z: np.where(z > 0, 1, 1 / z.dtype.type(100))),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda z: np.exp(np.minimum(z, 0))),
    "softplus": (softplus, sigmoid),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) + z * sigmoid_prime(z)),
    "gelu": (gelu, gelu_prime),
}

# ---------------------------------------------------------------- outputs h(z), and g' where they are elementwise


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(z):
    """z_k - M - log(1 + sum over the others of e^(z_j - M)): the largest one never enters log1p"""
    shifted = z - z.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    e[np.arange(len(z)), z.argmax(axis=1)] = 0
    return shifted - np.log1p(e.sum(axis=1, keepdims=True))


OUTPUTS = {
    "sigmoid": (sigmoid, sigmoid_prime),
    "softmax": (softmax, None),
    "identity": (lambda z: z, np.ones_like),
    "tanh": (np.tanh, tanh_prime),
    "exp": (np.exp, np.exp),
}

# ---------------------------------------------------------------- costs of each example, from z(L)


def sigmoid_cross_entropy(z, y):
    """-y log h - (1 - y) log(1 - h), with -log h = softplus(-z)"""
    return (y * softplus(-z) + (1 - y) * softplus(z)).sum(axis=1)


def softmax_cross_entropy(z, y):
    return -(y * log_softmax(z)).sum(axis=1)


def poisson(z, y):
    """y log(y/h) - y + h, with log h = z and 0 log 0 = 0"""
    log_y = np.log(np.where(y > 0, y, 1))
    return (y * (log_y - z) - y + np.exp(z)).sum(axis=1)


def squared_error(output):
    """1/2 |h - y|^2"""
    return lambda z, y: ((OUTPUTS[output][0](z) - y) ** 2).sum(axis=1) / 2


def absolute_error(z, y):
    return np.abs(z - y).sum(axis=1)


def huber(z, y, d):
    """e^2/2 where |e| <= d, d (|e| - d/2) beyond"""
    e = np.abs(z - y)
    return np.where(e <= d, e * e / 2, d * (e - d / 2)).sum(axis=1)


def quantile(z, y, q):
    """the pinball loss: max(q (y - h), (q - 1) (y - h))"""
    return np.maximum(q * (y - z), (q - 1) * (y - z)).sum(axis=1)


COSTS = {
    ("sigmoid", "cross_entropy"): sigmoid_cross_entropy,
    ("softmax", "cross_entropy"): softmax_cross_entropy,
    ("exp", "poisson"): poisson,
    ("sigmoid", "squared_error"): squared_error("sigmoid"),
    ("softmax", "squared_error"): squared_error("softmax"),
    ("identity", "squared_error"): squared_error("identity"),
    ("tanh", "squared_error"): squared_error("tanh"),
    ("identity", "absolute_error"): absolute_error,
    ("identity", "huber"): huber,
    ("identity", "quantile"): quantile,
}
PARAMETERS = {"huber": "huber_delta", "quantile": "quantile"}  # losses that have one
PAIRS = list(COSTS)  # every allowed (output, loss)


def output_delta(z, a, y, output, loss, parameter=None):
    """delta(L) = dcost/dz(L); 0 at the kink of the last three, where e = 0"""
    e = a - y
    if loss == "absolute_error":
        return np.sign(e)
    if loss == "huber":
        return np.clip(e, -parameter, parameter)
    if loss == "quantile":
        return np.where(e > 0, 1 - parameter, np.where(e < 0, -parameter, 0 * e))
    if loss in ("cross_entropy", "poisson"):
        return e
    if output == "softmax":
        return a * (e - (e * a).sum(axis=1, keepdims=True))
    return e * OUTPUTS[output][1](z)


# ---------------------------------------------------------------- dropout: src/kernels/dropout.h, draw by draw


def absorb(key, word):
    """The next of SplitMix64's numbers, `word` + 1 steps after `key`, on arrays of uint64"""
    with np.errstate(over="ignore"):
        x = np.uint64(key) + (np.asarray(word, np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def draws(seed, step, layer, examples, units):
    """(len(examples), units) numbers of 32 bits"""
    key = absorb(absorb(absorb(absorb(0, seed), step), layer), np.arange(units))
    low, high = key.astype(np.uint32), (key >> np.uint64(32)).astype(np.uint32)
    x = np.asarray(examples).astype(np.uint32)[:, None] + low
    x = (x ^ x >> 17) * np.uint32(0xED5AD4BB)
    x = (x ^ x >> 11) * np.uint32(0xAC4C1B51) ^ high
    x = (x ^ x >> 15) * np.uint32(0x31848BAB)
    return x ^ x >> 14


def mask_factors(sizes, rates, seed, step, m, dtype):
    """mask / (1 - p) of a(1) .. a(L-1), each (m, s_l), for the m examples of the batch of this step (from 0)"""
    return [
        (draws(seed, step, l, np.arange(m), s) >= int(p * 2**32)) * np.asarray(1 / (1 - p), dtype)
        for l, (s, p) in enumerate(zip(sizes, rates, strict=False))
    ]


# ---------------------------------------------------------------- the network


def with_bias(a):
    """[1, a]"""
    return np.hstack([np.ones((len(a), 1), a.dtype), a])


def flat(Theta):
    return np.concatenate([T.ravel() for T in Theta])


def column_major(Theta):
    """[Theta1(:); Theta2(:); ...], as the course unrolls"""
    return np.concatenate([T.ravel(order="F") for T in Theta])


@dataclass(frozen=True)
class Textbook:
    sizes: tuple
    activation: object = "sigmoid"  # a name, or one per hidden layer
    output: str = "sigmoid"
    loss: str = "cross_entropy"
    parameter: object = None  # of the loss, where it has one

    def costs(self, z, y):
        """(m,)"""
        given = () if self.parameter is None else (z.dtype.type(self.parameter),)
        return COSTS[self.output, self.loss](z, y, *given)

    @property
    def hidden(self):
        n = len(self.sizes) - 2
        return [self.activation] * n if isinstance(self.activation, str) else list(self.activation)

    def Theta(self, theta):
        """theta cut into matrices (s_{l+1}, s_l + 1)"""
        shapes = [(s_next, s + 1) for s, s_next in zip(self.sizes, self.sizes[1:], strict=False)]
        ends = np.cumsum([rows * columns for rows, columns in shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(theta, ends[:-1]), shapes, strict=False)]

    def targets(self, Y, dtype):
        """Y as a matrix (m, K): labels become low and high values of the output"""
        Y, K = np.asarray(Y), self.sizes[-1]
        if Y.ndim == 2 or K == 1:
            return Y.astype(dtype).reshape(len(Y), K)
        low = -1 if self.output == "tanh" else 0
        return np.where(np.arange(K) == Y[:, None], 1, low).astype(dtype)

    def forward(self, theta, X, factors=None):
        """[z(2), ..., z(L)] and [a(1), ..., a(L)]; factors: those of dropout for a(l) in z(l+1)"""
        z, a = [], [X.astype(theta.dtype)]
        names = [ACTIVATIONS[name][0] for name in self.hidden] + [OUTPUTS[self.output][0]]
        for l, (T, g) in enumerate(zip(self.Theta(theta), names, strict=False)):
            z.append(with_bias(a[-1] if factors is None else a[-1] * factors[l]) @ T.T)
            a.append(g(z[-1]))
        return z, a

    def deltas(self, theta, X, Y, factors=None):
        """[delta(2), ..., delta(L)]"""
        z, a = self.forward(theta, X, factors)
        Theta = self.Theta(theta)
        parameter = None if self.parameter is None else theta.dtype.type(self.parameter)
        delta = [output_delta(z[-1], a[-1], self.targets(Y, theta.dtype), self.output, self.loss, parameter)]
        for l in range(len(Theta) - 1, 0, -1):
            g_prime = ACTIVATIONS[self.hidden[l - 1]][1]
            delta.insert(0, (delta[0] @ Theta[l])[:, 1:] * g_prime(z[l - 1]))
            if factors is not None:
                delta[0] = delta[0] * factors[l]
        return delta

    def accumulate(self, theta, X, Y, w=None, factors=None):
        """sum_i w_i cost(i) and [Delta(1), ..., Delta(L-1)]"""
        w = np.ones(len(X), theta.dtype) if w is None else np.asarray(w).astype(theta.dtype)
        z, a = self.forward(theta, X, factors)
        cost = self.costs(z[-1], self.targets(Y, theta.dtype))
        delta = self.deltas(theta, X, Y, factors)
        if factors is not None:
            a = [a_l * factor for a_l, factor in zip(a, factors, strict=False)]
        return w @ cost, [(w[:, None] * d).T @ with_bias(a_l) for d, a_l in zip(delta, a, strict=False)]

    def cost_and_gradient(self, theta, X, Y, c=0, w=None, factors=None, mean_weight=None):
        """J and D = dJ/dtheta, flat like theta; m is the sum of the weights, but D of a batch of n examples may be
        Delta / (n mean_weight)"""
        m = len(X) if w is None else np.sum(np.asarray(w).astype(theta.dtype))
        total, Delta = self.accumulate(theta, X, Y, w, factors)
        divisor = m if mean_weight is None else len(X) * theta.dtype.type(mean_weight)
        J, D = total / m, [each / divisor for each in Delta]
        for D_l, T in zip(D, self.Theta(theta), strict=False):
            J = J + c * (T[:, 1:] ** 2).sum() / 2
            D_l[:, 1:] += c * T[:, 1:]
        return J, flat(D)

    def cost(self, theta, X, Y, c=0, w=None, factors=None):
        return self.cost_and_gradient(theta, X, Y, c, w, factors)[0]


def numeric_gradient(J, theta, h):
    """(J(theta + h e_i) - J(theta - h e_i)) / 2h for every i"""
    steps = h * np.eye(len(theta), dtype=theta.dtype)
    return np.array([(J(theta + e) - J(theta - e)) / (2 * h) for e in steps])


# ---------------------------------------------------------------- training


class SGD:
    """v := mu v - alpha D;  theta := theta + v;  Nesterov: theta := theta + mu v - alpha D with the new v"""

    def __init__(self, alpha, mu=0.0, nesterov=False):
        self.alpha, self.mu, self.nesterov, self.v = alpha, mu, nesterov, 0

    def step(self, theta, D):
        self.v = self.mu * self.v - self.alpha * D
        return theta + (self.mu * self.v - self.alpha * D if self.nesterov else self.v)


class Adam:
    """m := b1 m + (1 - b1) D;  v := b2 v + (1 - b2) D^2;  theta := theta - alpha mhat / (sqrt(vhat) + epsilon)"""

    def __init__(self, alpha=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.alpha, self.beta_1, self.beta_2, self.epsilon = alpha, beta_1, beta_2, epsilon
        self.m = self.v = self.t = 0

    def step(self, theta, D):
        self.t += 1
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * D
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * D * D
        mhat = self.m / (1 - self.beta_1**self.t)
        vhat = self.v / (1 - self.beta_2**self.t)
        return theta - self.alpha * mhat / (np.sqrt(vhat) + self.epsilon)


def train(model, theta, X, Y, rule, *, epochs, batch_size=None, c=0.0, w=None, order=None, dropout=None,
          mean_weight=None):
    """theta after the epochs, and per epoch the mean of the batches' J, weighted by their examples.

    order: the order of the examples in one epoch, or None for 0 .. m-1. A batch divides by its own size, or by its
    number of examples times mean_weight. If all its weights are 0, there is no step.
    dropout: the rates of a(1) .. a(L-1) and the seed of the masks.
    """
    order = np.arange(len(X)) if order is None else np.asarray(order)
    history, steps, factors = [], itertools.count(), None
    for _ in range(epochs):
        total = n = 0
        for first in range(0, len(order), batch_size or len(order)):
            rows = order[first : first + (batch_size or len(order))]
            if w is not None and not w[rows].any():
                continue
            if dropout is not None:
                factors = mask_factors(model.sizes, *dropout, next(steps), len(rows), theta.dtype)
            J, D = model.cost_and_gradient(
                theta, X[rows], Y[rows], c, None if w is None else w[rows], factors, mean_weight)
            size = len(rows) if w is None else w[rows].sum()
            theta = rule.step(theta, D)
            total, n = total + size * J, n + size
        history.append(float(total / n))
    return theta, history
