"""fastbp: one call of `train`, `cost_and_gradient` or, row by row, `predict`."""

import numpy as np

import fastbp

LABELS = ("fastbp",)
OPTIMIZERS = {"sgd": fastbp.SGD, "adam": fastbp.Adam}


def version(_n_threads):
    """Name the version."""
    return f"fastbp {fastbp.__version__}"


class Model:
    """A network with the start weights, the targets as labels where there are classes."""

    def __init__(self, problem, _label):
        workload = problem.workload
        self.problem = problem
        self.net = fastbp.Network(
            workload.layer_sizes, activation=workload.activation, output=workload.output, loss=workload.loss,
            dtype=problem.dtype, seed=0,
        )  # fmt: skip
        self.Y = problem.Y if workload.output == "identity" else problem.labels
        self.start = np.concatenate([T.ravel() for T in problem.Theta])
        self.reset()

    def reset(self):
        """Take the start weights."""
        self.net.theta = self.start


class Train(Model):
    """One epoch."""

    def run(self):
        """Train in the order given."""
        workload = self.problem.workload
        fastbp.train(
            self.net, self.problem.X, self.Y, optimizer=OPTIMIZERS[workload.optimizer](workload.learning_rate),
            epochs=1, batch_size=workload.batch_size, weight_decay=workload.weight_decay, shuffle=False,
            n_threads=self.problem.n_threads,
        )  # fmt: skip

    def outcome(self):
        """Return Theta."""
        return self.net.Theta


class Gradient(Model):
    """J and D into a given array."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.D = np.empty_like(self.start)

    def run(self):
        """One evaluation."""
        self.J, _ = self.net.cost_and_gradient(
            self.problem.X, self.Y, weight_decay=self.problem.workload.weight_decay, out=self.D,
            n_threads=self.problem.n_threads,
        )  # fmt: skip

    def outcome(self):
        """Return J and D."""
        ends = np.cumsum([T.size for T in self.problem.Theta])[:-1]
        return self.J, np.split(self.D, ends)


class Predict(Model):
    """`predict` row by row into a given array."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.rows = list(problem.X)
        self.h = np.empty(problem.workload.layer_sizes[-1], problem.dtype)

    def run(self):
        """Predict row by row."""
        predict, h = self.net.predict, self.h
        for x in self.rows:
            predict(x, out=h)

    def outcome(self):
        """Return the last h(x)."""
        return self.h


def prepare(problem, label):
    """Return the workload made ready."""
    return {"train": Train, "gradient": Gradient, "predict": Predict}[problem.workload.kind](problem, label)
