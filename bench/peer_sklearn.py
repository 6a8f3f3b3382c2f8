"""scikit-learn's MLPs: `partial_fit` is one epoch; J and D are the function its L-BFGS calls."""

import itertools
import warnings

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

LABELS = ("scikit-learn",)
ACTIVATIONS = {"sigmoid": "logistic", "relu": "relu", "tanh": "tanh"}


def version(_n_threads):
    """Name the version."""
    return f"scikit-learn {sklearn.__version__}"


class Estimator:
    """An estimator with the start weights; its outputs and losses follow from the kind of target."""

    def __init__(self, problem, _label):
        workload = problem.workload
        self.problem = problem
        cls = MLPRegressor if workload.output == "identity" else MLPClassifier
        rows = workload.batch_size if workload.kind in ("train", "step") else workload.rows or problem.m
        self.targets = {
            "softmax": lambda: problem.labels, "sigmoid": lambda: problem.Y.astype(int), "identity": problem.Y.ravel,
        }[workload.output]()  # fmt: skip
        self.model = cls(
            hidden_layer_sizes=workload.layer_sizes[1:-1], activation=ACTIVATIONS[workload.activation],
            solver=workload.optimizer, alpha=workload.weight_decay * rows, batch_size=rows,
            learning_rate_init=workload.learning_rate or 1e-3, momentum=0.0, nesterovs_momentum=False, shuffle=False,
            random_state=0,
        )  # fmt: skip
        warnings.simplefilter("ignore")
        few = slice(0, min(problem.m, 200))
        classes = {} if cls is MLPRegressor else {"classes": np.arange(workload.layer_sizes[-1])}
        self.model.set_params(batch_size=200).partial_fit(problem.X[few], self.targets[few], **classes)
        self.model.set_params(batch_size=rows)
        self.reset()

    def reset(self):
        """Take the start weights, with an optimizer that remembers nothing."""
        for W, b, T in zip(self.model.coefs_, self.model.intercepts_, self.problem.Theta, strict=True):
            W[:], b[:] = T[:, 1:].T, T[:, 0]
        self.model.__dict__.pop("_optimizer", None)

    def Theta(self, coefs, intercepts):
        """Return weights in the textbook's shape."""
        return [np.column_stack([b, W.T]) for W, b in zip(coefs, intercepts, strict=True)]


class Train(Estimator):
    """One epoch."""

    def run(self):
        """Fit in the order given."""
        self.model.partial_fit(self.problem.X, self.targets)

    def outcome(self):
        """Return Theta."""
        return self.Theta(self.model.coefs_, self.model.intercepts_)


class Step(Estimator):
    """`partial_fit` of one batch per call."""

    def run(self):
        """Step by step."""
        for X, Y in self.problem.examples(self.problem.X, self.targets):
            self.model.partial_fit(X, Y)

    def outcome(self):
        """Return Theta."""
        return self.Theta(self.model.coefs_, self.model.intercepts_)


class Minimize(Estimator):
    """`fit` with its L-BFGS, from the start weights."""

    def run(self):
        """The iterations; no tolerance ends them early."""
        self.model.set_params(solver="lbfgs", warm_start=True, max_iter=self.problem.workload.iterations, tol=0)
        self.model.fit(self.problem.X, self.targets)

    def outcome(self):
        """Return Theta."""
        return self.Theta(self.model.coefs_, self.model.intercepts_)


class Gradient(Estimator):
    """J and D as `_fit_lbfgs` sees them."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        sizes = problem.workload.layer_sizes
        pairs = list(itertools.pairwise(sizes))
        self.calls = problem.examples(problem.X, problem.Y)
        self.layers = [None] * len(pairs)
        self.deltas = [None] * len(pairs)
        self.coef_grads = [np.empty((k, n), problem.dtype) for k, n in pairs]
        self.intercept_grads = [np.empty(n, problem.dtype) for _, n in pairs]

    def run(self):
        """Forward and backward, over all examples or a few per call."""
        for X, Y in self.calls:
            buffers = [X, *self.layers], self.deltas, self.coef_grads, self.intercept_grads
            self.J = self.model._backprop(X, Y, None, *buffers)[0]

    def outcome(self):
        """Return J and D."""
        return self.J, self.Theta(self.coef_grads, self.intercept_grads)


class Predict(Estimator):
    """`predict_proba`, or `predict` of a regression, call by call."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.inputs = [np.atleast_2d(x) for x in problem.inputs(problem.X)]
        self.method = getattr(self.model, "predict_proba", self.model.predict)

    def run(self):
        """Predict call by call."""
        for x in self.inputs:
            self.h = self.method(x)

    def outcome(self):
        """Return the last h(x)."""
        return self.h


KINDS = {"train": Train, "step": Step, "gradient": Gradient, "predict": Predict, "minimize": Minimize}


def prepare(problem, label):
    """Return the prepared workload; None for an evaluation, and for half squared error of sigmoids."""
    workload = problem.workload
    if workload.loss == "squared_error" and workload.output == "sigmoid" and workload.kind == "train":
        return None
    form = KINDS.get(workload.kind)
    return form and form(problem, label)
