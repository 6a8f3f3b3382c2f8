"""NumPy by hand: every buffer allocated once, every step in place; SciPy's expit for small layers, its ger online."""

import numpy as np
import scipy
from scipy.linalg import get_blas_funcs
from scipy.special import expit

from .numpy_network import Network, views
from .optimise import lbfgs

LABELS = ("NumPy",)
BLOCK = 1_000  # rows of a full-batch gradient that stay in the cache


def version(_n_threads):
    """Name the versions."""
    return f"NumPy {np.__version__}, SciPy {scipy.__version__}"


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
    """Training by mini-batches: the gradient of one batch, and the two update rules over the flat vectors."""

    def __init__(self, problem, _label):
        self.problem, self.workload = problem, problem.workload
        self.net = Network(problem, (self.workload.batch_size,))
        self.flat = np.empty_like(self.net.theta)
        self.D = views(self.flat, self.workload.layer_sizes)
        self.m, self.v, self.scratch = (np.zeros_like(self.flat) for _ in range(3))

    def reset(self):
        """Take the start weights and empty the optimizer's memory."""
        self.net.set(self.problem.Theta)
        self.m[:], self.v[:] = 0, 0

    def sgd(self, _t):
        """theta := theta - eta D."""
        self.flat *= self.workload.learning_rate
        self.net.theta -= self.flat

    def adam(self, t, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        """m, v := running means of D, D^2;  theta := theta - eta mhat / (sqrt(vhat) + epsilon)."""
        eta = self.workload.learning_rate / (1 - beta_1**t)
        correction = (1 - beta_2**t) ** 0.5
        D, m, v, s = self.flat, self.m, self.v, self.scratch
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
        self.net.theta -= s

    def run(self):
        """One epoch."""
        b, net, D = self.workload.batch_size, self.net, self.D
        update = getattr(self, self.workload.optimizer)
        for t, i in enumerate(range(0, self.problem.m, b), start=1):
            X, Y = self.problem.X[i : i + b], self.problem.Y[i : i + b]
            net.forward(X)
            net.output_delta(Y)
            net.delta[-1] *= 1 / b
            net.backward(X, D)
            update(t)

    def outcome(self):
        """Return Theta."""
        return self.net.Theta


class Gradient:
    """J and D, in blocks that stay in the cache; D is flat, with views."""

    def __init__(self, problem, _label):
        self.problem, self.workload = problem, problem.workload
        self.calls = problem.examples(problem.X, problem.Y)
        self.m = len(self.calls[0][0])
        self.rows = BLOCK if self.m % BLOCK == 0 else self.m
        self.net = Network(problem, (self.rows,))
        self.flat = np.empty_like(self.net.theta)
        self.D = views(self.flat, self.workload.layer_sizes)
        self.part = [np.empty_like(p) for p in self.net.parameters]
        self.J = 0.0

    def reset(self):
        """Nothing to do: theta does not change."""

    def cost(self, Y):
        """Return the sum of a block's costs, from h(x) and delta(L) = h(x) - y."""
        if self.workload.loss == "squared_error":
            return 0.5 * np.vdot(self.net.delta[-1], self.net.delta[-1])
        if self.workload.output == "softmax":
            return -np.log(np.einsum("ij,ij->i", self.net.a[-1], Y)).sum()
        return -np.log1p(-np.abs(self.net.delta[-1])).sum()

    def evaluate(self, X, Y):
        """J := sum of costs / m + c/2 W.W;  D := Delta / m + c W."""
        net, m, c = self.net, self.m, self.workload.weight_decay
        J = 0.0
        for i in range(0, m, self.rows):
            x, y = X[i : i + self.rows], Y[i : i + self.rows]
            net.forward(x)
            net.output_delta(y)
            J += self.cost(y)
            net.delta[-1] *= 1 / m
            net.backward(x, self.part if i else self.D)
            if i:
                for D, part in zip(self.D, self.part, strict=True):
                    D += part
        J /= m
        if c:
            J += c / 2 * sum(np.vdot(W, W) for W in net.W)
            for D, W, part in zip(self.D, net.W, self.part, strict=False):
                D += np.multiply(W, c, part)
        return J

    def run(self):
        """One evaluation, or one per call."""
        for X, Y in self.calls:
            self.J = self.evaluate(X, Y)

    def outcome(self):
        """Return J and D."""
        L = len(self.net.W)
        return self.J, [np.column_stack([b, W]) for W, b in zip(self.D[:L], self.D[L:], strict=True)]


class Minimize(Gradient):
    """SciPy's L-BFGS-B on J and D by hand."""

    def reset(self):
        """Take the start weights."""
        self.net.set(self.problem.Theta)

    def objective(self, theta):
        """Return J and D at theta, in float64 as SciPy needs them."""
        self.net.theta[:] = theta
        J = self.evaluate(self.problem.X, self.problem.Y)
        return float(J), self.flat.astype(np.float64)

    def run(self):
        """The iterations; no tolerance ends them early."""
        self.net.theta[:] = lbfgs(self.objective, self.net.theta, self.workload.iterations)

    def outcome(self):
        """Return Theta."""
        return self.net.Theta


class Evaluate(Gradient):
    """J and the accuracy of the rows of a call."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.calls = problem.examples(problem.X, problem.Y, problem.labels)

    def run(self):
        """Forward, the costs, the largest output of each row."""
        net = self.net
        for X, Y, labels in self.calls:
            net.forward(X)
            np.subtract(net.a[-1], Y, net.delta[-1])
            self.J = self.cost(Y) / self.m
            self.accuracy = (net.a[-1].argmax(axis=1) == labels).mean()

    def outcome(self):
        """Return both, of the last call."""
        return self.J, self.accuracy


class Predict:
    """One row or a few rows per call, into its own buffers."""

    def __init__(self, problem, _label):
        self.inputs = problem.inputs(problem.X)
        net = Network(problem, self.inputs[0].shape[:-1])
        small = {"sigmoid": expit, "tanh": np.tanh, "identity": None}
        functions = [small[name] for name in problem.workload.functions]
        self.layers = list(zip([W.T for W in net.W], net.b, net.a, functions, strict=True))
        self.h = net.a[-1]

    def reset(self):
        """Nothing to do."""

    def predict(self, x):
        """Return h(x)."""
        for WT, b, a, g in self.layers:
            x.dot(WT, a)
            np.add(a, b, a)
            if g:
                g(a, a)
            x = a
        return x

    def run(self):
        """Predict call by call."""
        for x in self.inputs:
            self.predict(x)

    def outcome(self):
        """Return the last h(x)."""
        return self.h


KINDS = {
    "step": Batches, "gradient": Gradient, "evaluate": Evaluate, "predict": Predict, "minimize": Minimize,
}  # fmt: skip


def prepare(problem, label):
    """Return the prepared workload; a step of a batch is the same as one of an epoch."""
    if problem.workload.kind == "product":
        return None
    return (Online if problem.workload.online else KINDS.get(problem.workload.kind, Batches))(problem, label)
