"""fastbp: `train`, `Trainer.step`, `cost_and_gradient`, `evaluate`, `predict` and `minimize`.

"fastbp steps" is the yardstick for `train`: the same steps in calls of `Trainer.epoch`, with the trainer made before.
"""

import numpy as np
import scipy.optimize  # noqa: F401  otherwise the first call of `minimize` loads it, which takes seconds

import fastbp

LABELS = ("fastbp", "fastbp steps")
OPTIMIZERS = {"sgd": fastbp.SGD, "adam": fastbp.Adam}


def version(_n_threads):
    """Name the version and the instruction set."""
    return f"fastbp {fastbp.__version__} ({fastbp._kernels.isa})"


class Model:
    """A network with the start weights, and the targets as labels if there are classes."""

    def __init__(self, problem):
        workload = problem.workload
        self.problem, self.workload = problem, workload
        self.net = fastbp.Network(
            workload.layer_sizes, activation=workload.activation, output=workload.output, loss=workload.loss,
            dtype=problem.dtype, seed=0,
        )  # fmt: skip
        self.Y = problem.Y if workload.output == "identity" else problem.labels
        self.calls = problem.examples(problem.X, self.Y)
        self.start = np.concatenate([T.ravel() for T in problem.Theta])
        self.reset()

    def reset(self):
        """Take the start weights."""
        self.net.theta = self.start

    def optimizer(self):
        """Return the rule."""
        return OPTIMIZERS[self.workload.optimizer](self.workload.learning_rate)

    def outcome(self):
        """Return Theta."""
        return self.net.Theta


class Train(Model):
    """One call of `train`; several epochs are shuffled."""

    def run(self):
        """Train in the order given, or in a new one each epoch."""
        workload = self.workload
        fastbp.train(
            self.net, self.problem.X, self.Y, optimizer=self.optimizer(), epochs=workload.epochs,
            batch_size=workload.batch_size, weight_decay=workload.weight_decay, shuffle=workload.epochs > 1, seed=0,
            n_threads=self.problem.n_threads,
        )  # fmt: skip


class Steps(Model):
    """The same steps, one call per epoch, by a trainer made before."""

    def reset(self):
        """Take the start weights and a new trainer; draw the orders."""
        super().reset()
        workload = self.workload
        self.trainer = fastbp.Trainer(
            self.net, self.optimizer(), weight_decay=workload.weight_decay, n_threads=self.problem.n_threads
        )
        rng, several = np.random.default_rng(0), workload.epochs > 1
        self.orders = [rng.permutation(self.problem.m) if several else None for _ in range(workload.epochs)]

    def run(self):
        """Epoch after epoch."""
        for order in self.orders:
            self.trainer.epoch(self.problem.X, self.Y, batch_size=self.workload.batch_size, order=order)


class Step(Model):
    """`Trainer.step`, which returns J too."""

    def reset(self):
        """Take the start weights and a new trainer."""
        super().reset()
        self.trainer = fastbp.Trainer(self.net, self.optimizer(), n_threads=self.problem.n_threads)

    def run(self):
        """Step by step."""
        step = self.trainer.step
        for X, Y in self.calls:
            step(X, Y)


class Gradient(Model):
    """J and D into a given array."""

    def __init__(self, problem):
        super().__init__(problem)
        self.D = np.empty_like(self.start)

    def run(self):
        """One evaluation, or one per call."""
        function, c, n = self.net.cost_and_gradient, self.workload.weight_decay, self.problem.n_threads
        for X, Y in self.calls:
            self.J, _ = function(X, Y, weight_decay=c, out=self.D, n_threads=n)

    def outcome(self):
        """Return J and D."""
        ends = np.cumsum([T.size for T in self.problem.Theta])[:-1]
        return self.J, np.split(self.D, ends)


class Product(Model):
    """H p into a given array."""

    def __init__(self, problem):
        super().__init__(problem)
        self.Hp, self.p = np.empty_like(self.net.theta), np.concatenate([V.ravel() for V in problem.direction])

    def run(self):
        """One product."""
        self.net.hessian_product(
            self.problem.X, self.Y, self.p, weight_decay=self.workload.weight_decay, out=self.Hp,
            n_threads=self.problem.n_threads,
        )  # fmt: skip

    def outcome(self):
        """Return H p."""
        return self.net.views(self.Hp)


class Evaluate(Model):
    """`evaluate` call by call."""

    def run(self):
        """J and the accuracy of each call's rows."""
        evaluate = self.net.evaluate
        for X, Y in self.calls:
            self.found = evaluate(X, Y)

    def outcome(self):
        """Return both, of the last call."""
        return self.found.cost, self.found.accuracy


class Predict(Model):
    """`predict`: a vector into a given array, a matrix into a new one; each is the faster way."""

    def __init__(self, problem):
        super().__init__(problem)
        self.inputs = problem.inputs(problem.X)
        self.h = np.empty(self.workload.layer_sizes[-1], problem.dtype)

    def run(self):
        """Predict call by call."""
        predict, h = self.net.predict, self.h
        if self.workload.rows:
            for x in self.inputs:
                self.h = predict(x)
        else:
            for x in self.inputs:
                predict(x, out=h)

    def outcome(self):
        """Return the last h(x)."""
        return self.h


class Minimize(Model):
    """One call of `minimize`."""

    def run(self):
        """The iterations; no tolerance ends them early."""
        fastbp.minimize(
            self.net, self.problem.X, self.Y, method="L-BFGS-B", weight_decay=self.workload.weight_decay,
            maxiter=self.workload.iterations, tol=0, n_threads=self.problem.n_threads,
        )  # fmt: skip


KINDS = {
    "train": Train, "step": Step, "gradient": Gradient, "product": Product, "evaluate": Evaluate, "predict": Predict,
    "minimize": Minimize,
}  # fmt: skip


def prepare(problem, label):
    """Return the prepared workload, or only its steps if they are requested."""
    if label == "fastbp steps":
        return Steps(problem) if problem.workload.beside_steps else None
    return KINDS[problem.workload.kind](problem)
