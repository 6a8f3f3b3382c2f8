"""PyTorch with the step written out and compiled."""

import itertools

import torch

from .torch_modules import Modules, joined

FUNCTIONS = {"sigmoid": torch.sigmoid, "relu": torch.relu, "tanh": torch.tanh, "identity": lambda z: z,
             "softmax": lambda z: z.softmax(-1)}  # fmt: skip
# g'(z) from the output value a = g(z)
DERIVATIVES = {"sigmoid": lambda a: a * (1 - a), "relu": lambda a: a > 0, "tanh": lambda a: 1 - a * a}


class CompiledTrain(Modules):
    """The whole step written out and given to torch.compile; Adam's fused kernel after it."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.W, self.b = ([p.detach() for p in parameters] for parameters in (self.W, self.b))
        self.adam = self.p.workload.optimizer == "adam"
        self.step = torch.compile(self.gradient if self.adam else self.descent)
        b = self.p.workload.batch_size
        self.step(self.W, self.b, self.p.X[:b], self.p.Y[:b])

    def gradient(self, W, b, X, Y):
        """Return D, matrices and biases."""
        workload, L = self.p.workload, len(W)
        a = [X]
        for l in range(L):
            g = FUNCTIONS[workload.functions[l]]
            a.append(g(torch.addmm(b[l], a[-1], W[l].t())))
        delta = (a[-1] - Y) / len(X)
        if workload.loss == "squared_error" and workload.output in DERIVATIVES:
            delta = delta * DERIVATIVES[workload.output](a[-1])
        DW, Db = [None] * L, [None] * L
        for l in range(L - 1, -1, -1):
            DW[l], Db[l] = delta.t() @ a[l] + workload.weight_decay * W[l], delta.sum(0)
            if l:
                delta = (delta @ W[l]) * DERIVATIVES[workload.activation](a[l])
        return DW, Db

    def descent(self, W, b, X, Y):
        """theta := theta - eta D."""
        DW, Db = self.gradient(W, b, X, Y)
        for parameter, D in zip([*W, *b], [*DW, *Db], strict=True):
            parameter.sub_(D, alpha=self.p.workload.learning_rate)

    def reset(self):
        """Take the start weights and a new optimizer."""
        self.p.set(self.W, self.b)
        self.optimizer = torch.optim.Adam([*self.W, *self.b], lr=self.p.workload.learning_rate, fused=True)

    def run(self):
        """One epoch."""
        b = self.p.workload.batch_size
        with torch.no_grad():
            for X, Y in zip(self.p.X.split(b), self.p.Y.split(b), strict=True):
                D = self.step(self.W, self.b, X, Y)
                if self.adam:
                    for parameter, d in zip([*self.W, *self.b], itertools.chain(*D), strict=True):
                        parameter.grad = d
                    self.optimizer.step()

    def outcome(self):
        """Return Theta."""
        return joined(self.W, self.b)


class CompiledGradient(CompiledTrain):
    """J and D of a few rows, written out and given to torch.compile."""

    def __init__(self, problem, label):
        Modules.__init__(self, problem, label)
        self.W, self.b = ([p.detach() for p in parameters] for parameters in (self.W, self.b))
        self.calls = problem.examples(self.p.X, self.p.Y, self.targets)
        self.step = torch.compile(self.cost_and_gradient)
        self.run()

    def cost_and_gradient(self, W, b, X, Y, targets):
        """Return both; J from z(L)."""
        a = X
        for l in range(len(W) - 1):
            a = FUNCTIONS[self.p.workload.activation](torch.addmm(b[l], a, W[l].t()))
        return self.loss(torch.addmm(b[-1], a, W[-1].t()), targets), self.gradient(W, b, X, Y)

    def reset(self):
        """Nothing to do: theta does not change."""

    def run(self):
        """Call by call."""
        with torch.no_grad():
            for X, Y, targets in self.calls:
                J, self.D = self.step(self.W, self.b, X, Y, targets)
                self.J = J.item()

    def outcome(self):
        """Return J and D."""
        return self.J, joined(*self.D)
