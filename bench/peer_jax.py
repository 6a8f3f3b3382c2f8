"""JAX: the whole epoch inside one jitted `lax.scan`, compiled before the clock starts.

There are two layouts, since neither is always faster: "JAX" multiplies W (s_{l+1}, s_l) by the example, "JAX x.W" is
the usual x @ W with W (s_l, s_{l+1}).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

from .optimise import lbfgs

LABELS = ("JAX", "JAX x.W")
FULL_ONLY = ("JAX x.W",)  # compiling takes too long for the quick run
ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "tanh": jnp.tanh, "identity": lambda z: z}
UNROLL_ONLINE = 4  # examples per turn of the scan: 7 to 30 % faster than 1


def version(_n_threads):
    """Name the version."""
    return f"jax {jax.__version__}"


class Model:
    """Weights in one of the two layouts, the loss as a function of them."""

    def __init__(self, problem, label):
        jax.config.update("jax_enable_x64", problem.dtype == np.float64)
        self.problem, self.workload, self.transposed = problem, problem.workload, label.endswith("x.W")
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
        """Run one epoch, and wait for it."""
        self.state = jax.block_until_ready(self.compiled(self.state, self.X, self.Y))

    def outcome(self):
        """Return Theta."""
        return self.Theta(self.state[0])


class Step(Train):
    """One jitted step per call, with donated buffers. Only the last is waited for, so calls overlap with the work."""

    def __init__(self, problem, label):
        Model.__init__(self, problem, label)
        self.calls = [(jnp.asarray(X), jnp.asarray(Y)) for X, Y in problem.examples(problem.X, problem.Y)]
        self.reset()
        self.compiled = jax.jit(self.step, donate_argnums=0).lower(self.state, *self.calls[0]).compile()

    def step(self, state, X, Y):
        """Return the state after one batch."""
        return getattr(self, self.workload.optimizer)(state, jax.grad(self.loss)(state[0], X, Y))

    def run(self):
        """Step by step."""
        state, compiled = self.state, self.compiled
        for X, Y in self.calls:
            state = compiled(state, X, Y)
        self.state = jax.block_until_ready(state)


class Gradient(Model):
    """J and D in one jitted call, of all examples or of a few."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.calls = [(jnp.asarray(X), jnp.asarray(Y)) for X, Y in problem.examples(problem.X, problem.Y)]
        self.compiled = jax.jit(jax.value_and_grad(self.loss)).lower(self.start, *self.calls[0]).compile()

    def reset(self):
        """Nothing to do: theta does not change."""

    def run(self):
        """Call by call, waiting for each."""
        compiled, start = self.compiled, self.start
        for X, Y in self.calls:
            self.J, self.D = jax.block_until_ready(compiled(start, X, Y))

    def outcome(self):
        """Return J and D."""
        return float(self.J), self.Theta(self.D)


class Product(Model):
    """H p in one jitted call: jvp of grad."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.data = jnp.asarray(problem.X), jnp.asarray(problem.Y)
        self.p = [(jnp.asarray(self._turn(V[:, 1:])), jnp.asarray(V[:, 0])) for V in problem.direction]
        self.compiled = jax.jit(self.product).lower(self.start, self.p, *self.data).compile()

    def product(self, parameters, p, X, Y):
        """Return the derivative of D along p."""
        return jax.jvp(lambda at: jax.grad(self.loss)(at, X, Y), (parameters,), (p,))[1]

    def reset(self):
        """Nothing to do: theta does not change."""

    def run(self):
        """Compute one product, and wait for it."""
        self.Hp = jax.block_until_ready(self.compiled(self.start, self.p, *self.data))

    def outcome(self):
        """Return H p."""
        return self.Theta(self.Hp)


class Evaluate(Model):
    """J and the accuracy in one jitted call, which is waited for."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.calls = [(jnp.asarray(X), jnp.asarray(Y)) for X, Y in problem.examples(problem.X, problem.Y)]
        self.compiled = jax.jit(self.evaluate).lower(self.start, *self.calls[0]).compile()

    def evaluate(self, parameters, X, Y):
        """Return both; the largest logit is the largest output."""
        right = self.logits(parameters, X).argmax(1) == Y.argmax(1)
        return self.loss(parameters, X, Y), right.mean()

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Call by call."""
        compiled, start = self.compiled, self.start
        for X, Y in self.calls:
            self.found = jax.block_until_ready(compiled(start, X, Y))

    def outcome(self):
        """Return both, of the last call."""
        return self.found


class Predict(Model):
    """The jitted prediction call by call; it takes a NumPy array, and the result is waited for."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        parameters, output = self.start, ACTIVATIONS[problem.workload.output]
        self.predict = jax.jit(lambda x: output(self.logits(parameters, x)))
        self.inputs = problem.inputs(problem.X)
        self.predict(self.inputs[0]).block_until_ready()

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Predict call by call."""
        for x in self.inputs:
            self.h = self.predict(x).block_until_ready()

    def outcome(self):
        """Return the last h(x)."""
        return np.asarray(self.h)


class Minimize(Model):
    """SciPy's L-BFGS-B on a jitted J and D of the flat theta."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        X, Y = jnp.asarray(problem.X), jnp.asarray(problem.Y)
        flat, self.unravel = ravel_pytree(self.start)
        function = jax.jit(jax.value_and_grad(lambda theta, X, Y: self.loss(self.unravel(theta), X, Y)))
        self.compiled = function.lower(flat, X, Y).compile()
        self.flat, self.data = np.asarray(flat), (X, Y)

    def objective(self, theta):
        """Return J and D at theta, in float64 as SciPy needs them."""
        J, D = self.compiled(jnp.asarray(theta.astype(self.flat.dtype)), *self.data)
        return float(J), np.asarray(D, np.float64)

    def reset(self):
        """Nothing to do: every run starts from the same vector."""

    def run(self):
        """The iterations; no tolerance ends them early."""
        self.found = lbfgs(self.objective, self.flat, self.workload.iterations)

    def outcome(self):
        """Return Theta."""
        return self.Theta(self.unravel(jnp.asarray(self.found.astype(self.flat.dtype))))


KINDS = {
    "train": Train, "step": Step, "gradient": Gradient, "product": Product, "evaluate": Evaluate, "predict": Predict,
    "minimize": Minimize,
}  # fmt: skip


def prepare(problem, label):
    """Return the prepared workload."""
    return KINDS[problem.workload.kind](problem, label)
