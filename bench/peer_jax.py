"""JAX: the whole epoch inside one jitted `lax.scan`, compiled ahead of the clock.

Two layouts, since neither always wins: "JAX" multiplies W (s_{l+1}, s_l) by the example, "JAX x.W" is the usual
x @ W with W (s_l, s_{l+1}).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LABELS = ("JAX", "JAX x.W")
FULL_ONLY = ("JAX x.W",)  # compiling takes too long for the quick run
ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "identity": lambda z: z}
UNROLL_ONLINE = 4  # examples per turn of the scan: 7 to 30 % faster than 1


def version(_n_threads):
    """Name the version."""
    return f"jax {jax.__version__}"


class Model:
    """Weights in one of the two layouts, the loss as a function of them."""

    def __init__(self, problem, label):
        jax.config.update("jax_enable_x64", problem.dtype == np.float64)
        self.problem, self.workload, self.transposed = problem, problem.workload, label == "JAX x.W"
        self.start = [(jnp.asarray(self._turn(T[:, 1:])), jnp.asarray(T[:, 0])) for T in problem.Theta]

    def _turn(self, W):
        return np.ascontiguousarray(W.T) if self.transposed else np.ascontiguousarray(W)

    def logits(self, parameters, x):
        """Return z(L) of one example or of a batch."""
        g = ACTIVATIONS[self.workload.activation]
        for W, b in parameters:
            if self.transposed:
                z = x @ W + b
            else:
                z = (W @ x if x.ndim == 1 else x @ W.T) + b
            x = g(z)
        return z

    def loss(self, parameters, x, y):
        """Return the mean cost."""
        z = self.logits(parameters, x)
        if self.workload.loss == "squared_error":
            cost = 0.5 * (ACTIVATIONS[self.workload.output](z) - y) ** 2
        elif self.workload.output == "softmax":
            cost = -y * jax.nn.log_softmax(z)
        else:
            cost = jax.nn.softplus(z) - y * z
        J = jnp.sum(cost) / (1 if x.ndim == 1 else x.shape[0])
        c = self.workload.weight_decay
        return J + c / 2 * sum(jnp.sum(W * W) for W, _ in parameters) if c else J

    def Theta(self, parameters):
        """Return weights in the textbook's shape."""
        return [np.column_stack([b, np.asarray(W).T if self.transposed else W]) for W, b in parameters]


class Train(Model):
    """One epoch."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        b = self.workload.batch_size
        shape = () if b == 1 else (b,)
        n = problem.m // b
        self.X = jnp.asarray(problem.X.reshape(n, *shape, -1))
        self.Y = jnp.asarray(problem.Y.reshape(n, *shape, -1))
        self.reset()
        epoch = jax.jit(self.epoch, donate_argnums=0)
        self.compiled = epoch.lower(self.state, self.X, self.Y).compile()

    def reset(self):
        """Take the start weights."""
        parameters = jax.tree.map(jnp.copy, self.start)
        self.state = (parameters,)
        if self.workload.optimizer == "adam":
            zeros = [jax.tree.map(jnp.zeros_like, self.start) for _ in range(2)]
            self.state = (parameters, *zeros, jnp.zeros((), self.problem.dtype))
        jax.block_until_ready(self.state)

    def sgd(self, state, D):
        """theta := theta - eta D."""
        return (jax.tree.map(lambda p, d: p - self.workload.learning_rate * d, state[0], D),)

    def adam(self, state, D, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        """m, v := running means of D, D^2;  theta := theta - eta mhat / (sqrt(vhat) + epsilon)."""
        theta, m, v, t = state
        t = t + 1
        m = jax.tree.map(lambda m, d: beta_1 * m + (1 - beta_1) * d, m, D)
        v = jax.tree.map(lambda v, d: beta_2 * v + (1 - beta_2) * d * d, v, D)
        eta = self.workload.learning_rate / (1 - beta_1**t)
        scale = 1 / jnp.sqrt(1 - beta_2**t)
        theta = jax.tree.map(lambda p, m, v: p - eta * m / (jnp.sqrt(v) * scale + epsilon), theta, m, v)
        return theta, m, v, t

    def epoch(self, state, X, Y):
        """Return the state after the scan over all batches."""
        update = getattr(self, self.workload.optimizer)

        def step(state, batch):
            return update(state, jax.grad(self.loss)(state[0], *batch)), None

        return lax.scan(step, state, (X, Y), unroll=UNROLL_ONLINE if self.workload.online else 1)[0]

    def run(self):
        """One epoch, waited for."""
        self.state = jax.block_until_ready(self.compiled(self.state, self.X, self.Y))

    def outcome(self):
        """Return Theta."""
        return self.Theta(self.state[0])


class Gradient(Model):
    """J and D of all examples in one jitted call."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.X, self.Y = jnp.asarray(problem.X), jnp.asarray(problem.Y)
        self.compiled = jax.jit(jax.value_and_grad(self.loss)).lower(self.start, self.X, self.Y).compile()

    def reset(self):
        """Nothing to do: theta does not change."""

    def run(self):
        """One evaluation, waited for."""
        self.J, self.D = jax.block_until_ready(self.compiled(self.start, self.X, self.Y))

    def outcome(self):
        """Return J and D."""
        return float(self.J), self.Theta(self.D)


class Predict(Model):
    """The jitted prediction row by row; a NumPy row goes in, the result is waited for."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        parameters = self.start
        self.predict = jax.jit(lambda x: jax.nn.sigmoid(self.logits(parameters, x)))
        self.rows = list(problem.X)
        self.predict(self.rows[0]).block_until_ready()

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Predict row by row."""
        for x in self.rows:
            self.h = self.predict(x).block_until_ready()

    def outcome(self):
        """Return the last h(x)."""
        return np.asarray(self.h)


def prepare(problem, label):
    """Return the workload made ready."""
    return {"train": Train, "gradient": Gradient, "predict": Predict}[problem.workload.kind](problem, label)
