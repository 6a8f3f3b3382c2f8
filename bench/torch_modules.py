"""PyTorch as its users write it: modules, a loss on the logits, autograd, torch.optim."""

import itertools

import torch
from torch import nn

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}


class Problem:
    """The problem as tensors; labels for softmax."""

    def __init__(self, problem):
        self.workload, self.m = problem.workload, problem.m
        self.X, self.Y = torch.from_numpy(problem.X), torch.from_numpy(problem.Y)
        self.Theta = [torch.from_numpy(T) for T in problem.Theta]
        self.labels = torch.from_numpy(problem.labels)

    def set(self, W, b):
        """Copy the start weights in."""
        with torch.no_grad():
            for w, c, T in zip(W, b, self.Theta, strict=True):
                w.copy_(T[:, 1:])
                c.copy_(T[:, 0])


def joined(W, b):
    """Return Theta, bias in column 0, as NumPy arrays."""
    return [torch.cat([c[:, None], w], 1).detach().numpy().copy() for w, c in zip(W, b, strict=True)]


class Modules:
    """`nn.Sequential`, a loss on the logits, autograd."""

    def __init__(self, problem, _label):
        self.p = Problem(problem)
        workload = self.p.workload
        sizes = workload.layer_sizes
        self.linear = [nn.Linear(k, n, dtype=self.p.X.dtype) for k, n in itertools.pairwise(sizes)]
        layers = [self.linear[0]]
        for linear in self.linear[1:]:
            layers += [ACTIVATIONS[workload.activation](), linear]
        if workload.output == "sigmoid" and (workload.loss == "squared_error" or workload.kind == "predict"):
            layers.append(nn.Sigmoid())  # the other losses take z(L)
        self.net = nn.Sequential(*layers)
        self.W, self.b = [lin.weight for lin in self.linear], [lin.bias for lin in self.linear]
        self.targets = self.p.labels if workload.output == "softmax" else self.p.Y
        self.p.set(self.W, self.b)

    def loss(self, out, y):
        """Return the mean cost of the rows."""
        workload = self.p.workload
        if workload.output == "softmax":
            return nn.functional.cross_entropy(out, y)
        if workload.loss == "squared_error":
            return 0.5 / len(y) * nn.functional.mse_loss(out, y, reduction="sum")
        return nn.functional.binary_cross_entropy_with_logits(out, y, reduction="sum") / len(y)


class ModulesTrain(Modules):
    """One epoch with torch.optim."""

    def reset(self):
        """Take the start weights and a new optimizer."""
        workload = self.p.workload
        self.p.set(self.W, self.b)
        groups = [{"params": self.W, "weight_decay": workload.weight_decay}, {"params": self.b}]
        rule = torch.optim.Adam if workload.optimizer == "adam" else torch.optim.SGD
        self.optimizer = rule(groups, lr=workload.learning_rate, fused=True)

    def run(self):
        """Zero, forward, backward, step."""
        b = self.p.workload.batch_size
        for i in range(0, self.p.m, b):
            self.optimizer.zero_grad()
            self.loss(self.net(self.p.X[i : i + b]), self.targets[i : i + b]).backward()
            self.optimizer.step()

    def outcome(self):
        """Return Theta."""
        return joined(self.W, self.b)


class ModulesGradient(Modules):
    """J and D by autograd."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.calls = problem.examples(self.p.X, self.targets)

    def reset(self):
        """Forget the gradients."""
        self.net.zero_grad()

    def run(self):
        """Forward and backward over the examples of a call."""
        c = self.p.workload.weight_decay
        for X, Y in self.calls:
            self.net.zero_grad()
            J = self.loss(self.net(X), Y)
            if c:
                J = J + c / 2 * sum((w * w).sum() for w in self.W)
            J.backward()
            self.J = J.item()

    def outcome(self):
        """Return J and D."""
        return self.J, joined([w.grad for w in self.W], [b.grad for b in self.b])


class ModulesEvaluate(Modules):
    """J and the accuracy, in inference mode."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.calls = problem.examples(self.p.X, self.targets, self.p.labels)

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Call by call."""
        with torch.inference_mode():
            for X, Y, labels in self.calls:
                out = self.net(X)
                self.found = self.loss(out, Y).item(), (out.argmax(1) == labels).double().mean().item()

    def outcome(self):
        """Return both, of the last call."""
        return self.found


class ModulesPredict(Modules):
    """The modules call by call, in inference mode."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.inputs = problem.inputs(self.p.X)

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Predict call by call."""
        net = self.net
        with torch.inference_mode():
            for x in self.inputs:
                self.h = net(x)

    def outcome(self):
        """Return the last h(x)."""
        return self.h.numpy()
