"""PyTorch in three forms: modules with an optimizer, addmm by hand into fixed buffers, and a compiled step."""

import itertools

import torch
from torch import nn

LABELS = ("torch", "torch addmm", "torch compile")
FULL_ONLY = ("torch compile",)  # compiling takes too long for the quick run
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}
BLOCK = 500  # rows of a full-batch gradient that stay in the cache


def version(n_threads):
    """Name the version, and hold the library to its threads."""
    torch.set_num_threads(n_threads)
    return f"torch {torch.__version__}"


class Problem:
    """The problem as tensors; labels where softmax takes them."""

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
            layers.append(nn.Sigmoid())
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

    def reset(self):
        """Forget the gradients."""
        self.net.zero_grad()

    def run(self):
        """Forward and backward over all examples."""
        J = self.loss(self.net(self.p.X), self.targets)
        c = self.p.workload.weight_decay
        if c:
            J = J + c / 2 * sum((w * w).sum() for w in self.W)
        J.backward()
        self.J = J.item()

    def outcome(self):
        """Return J and D."""
        return self.J, joined([w.grad for w in self.W], [b.grad for b in self.b])


class ModulesPredict(Modules):
    """The modules row by row, in inference mode."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        self.rows = list(self.p.X)

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Predict row by row."""
        net = self.net
        with torch.inference_mode():
            for x in self.rows:
                self.h = net(x)

    def outcome(self):
        """Return the last h(x)."""
        return self.h.numpy()


def times_derivative(name, delta, a):
    """delta := delta .* g'(z), from the output value a = g(z): PyTorch's own fused derivatives."""
    if name == "sigmoid":
        torch.ops.aten.sigmoid_backward.grad_input(delta, a, grad_input=delta)
    elif name == "relu":
        torch.ops.aten.threshold_backward.grad_input(delta, a, 0, grad_input=delta)


def activate(name, a):
    """a := g(a)."""
    if name == "sigmoid":
        a.sigmoid_()
    elif name == "relu":
        a.relu_()
    elif name == "softmax":
        torch.softmax(a, -1, out=a)


class ByHand:
    """addmm into fixed buffers, no autograd; parameters are views of one flat tensor."""

    def __init__(self, problem, _label, rows):
        self.p = Problem(problem)
        sizes, dtype = self.p.workload.layer_sizes, self.p.X.dtype
        self.flat, self.flat_D = (torch.zeros(self.p.workload.n_parameters, dtype=dtype) for _ in range(2))
        self.W, self.b = self.views(self.flat)
        self.DW, self.Db = self.views(self.flat_D)
        self.WT = [w.t() for w in self.W]
        self.a, self.delta = ([torch.empty(rows, n, dtype=dtype) for n in sizes[1:]] for _ in range(2))
        self.deltaT = [d.t() for d in self.delta]
        self.g = [self.p.workload.activation] * (len(sizes) - 2) + [self.p.workload.output]
        self.layers = list(zip(self.b, self.WT, self.a, self.g, strict=True))
        self.p.set(self.W, self.b)

    def views(self, flat):
        """Return the matrices and the biases inside a flat tensor."""
        sizes, W, b, at = self.p.workload.layer_sizes, [], [], 0
        for k, n in itertools.pairwise(sizes):
            W.append(flat[at : at + n * k].view(n, k))
            b.append(flat[at + n * k : at + n * (k + 1)])
            at += n * (k + 1)
        return W, b

    def forward(self, X):
        """a(l+1) := g(b + a(l) W')."""
        for b, WT, a, g in self.layers:
            torch.addmm(b, X, WT, out=a)
            activate(g, a)
            X = a

    def output_delta(self, Y):
        """delta(L) := a(L) - y, times g'(z(L)) where the loss asks for it."""
        torch.sub(self.a[-1], Y, out=self.delta[-1])
        if self.p.workload.loss == "squared_error":
            times_derivative(self.p.workload.output, self.delta[-1], self.a[-1])

    def hidden_delta(self, l):
        """delta(l) := delta(l+1) W .* g'(z(l))."""
        torch.mm(self.delta[l + 1], self.W[l + 1], out=self.delta[l])
        times_derivative(self.p.workload.activation, self.delta[l], self.a[l])


class ByHandTrain(ByHand):
    """One epoch: SGD inside the GEMM (addmm_ with beta = 1 - eta c), Adam fused over the flat parameters."""

    def __init__(self, problem, label):
        super().__init__(problem, label, problem.workload.batch_size)
        self.update = self.sgd if problem.workload.optimizer == "sgd" else self.adam

    def reset(self):
        """Take the start weights and a new optimizer."""
        self.p.set(self.W, self.b)
        self.flat.grad = None
        self.optimizer = torch.optim.Adam([self.flat], lr=self.p.workload.learning_rate, fused=True)
        self.flat.grad = self.flat_D

    def sgd(self, X):
        """theta := theta - eta delta' [a, 1] / m, from the last layer to the first."""
        workload = self.p.workload
        step, keep = -workload.learning_rate / len(X), 1 - workload.learning_rate * workload.weight_decay
        for l in range(len(self.W) - 1, -1, -1):
            if l:
                self.hidden_delta(l - 1)
            self.W[l].addmm_(self.deltaT[l], self.a[l - 1] if l else X, beta=keep, alpha=step)
            if len(X) == 1:
                self.b[l].add_(self.delta[l][0], alpha=step)
            else:
                self.b[l].add_(self.delta[l].sum(0), alpha=step)

    def adam(self, X):
        """D := delta' [a, 1] / m, then the fused kernel."""
        self.delta[-1].div_(len(X))
        for l in range(len(self.W) - 1, -1, -1):
            if l:
                self.hidden_delta(l - 1)
            torch.mm(self.deltaT[l], self.a[l - 1] if l else X, out=self.DW[l])
            torch.sum(self.delta[l], 0, out=self.Db[l])
        self.optimizer.step()

    def run(self):
        """One epoch."""
        b = self.p.workload.batch_size
        with torch.no_grad():
            for X, Y in zip(self.p.X.split(b), self.p.Y.split(b), strict=True):
                self.forward(X)
                self.output_delta(Y)
                self.update(X)

    def outcome(self):
        """Return Theta."""
        return joined(self.W, self.b)


class ByHandGradient(ByHand):
    """J and D in blocks that stay in the cache."""

    def __init__(self, problem, label):
        self.rows = BLOCK if problem.m % BLOCK == 0 else problem.m
        super().__init__(problem, label, self.rows)

    def reset(self):
        """Nothing to do: theta does not change."""

    def cost(self, Y):
        """Return the sum of a block's costs, from h(x) and delta(L) = h(x) - y."""
        if self.p.workload.output == "softmax":
            return -torch.log((self.a[-1] * Y).sum(1)).sum()
        return -torch.log1p(-self.delta[-1].abs()).sum()

    def run(self):
        """J := sum of costs / m + c/2 W.W;  D := Delta / m + c W."""
        m, c = self.p.m, self.p.workload.weight_decay
        J = 0.0
        with torch.no_grad():
            self.flat_D.zero_()
            for X, Y in zip(self.p.X.split(self.rows), self.p.Y.split(self.rows), strict=True):
                self.forward(X)
                self.output_delta(Y)
                J += self.cost(Y).item()
                for l in range(len(self.W) - 1, -1, -1):
                    if l:
                        self.hidden_delta(l - 1)
                    self.DW[l].addmm_(self.deltaT[l], self.a[l - 1] if l else X)
                    self.Db[l].add_(self.delta[l].sum(0))
            self.flat_D.div_(m)
            self.J = J / m
            if c:
                self.J += c / 2 * sum(torch.sum(w * w).item() for w in self.W)
                for D, w in zip(self.DW, self.W, strict=True):
                    D.add_(w, alpha=c)

    def outcome(self):
        """Return J and D."""
        return self.J, joined(self.DW, self.Db)


class ByHandPredict(ByHand):
    """addmv and sigmoid_ into fixed buffers."""

    def __init__(self, problem, label):
        super().__init__(problem, label, 1)
        self.rows = list(self.p.X)

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Predict row by row."""
        layers = [(b, W, a[0]) for b, W, a in zip(self.b, self.W, self.a, strict=True)]
        addmv = torch.addmv
        with torch.inference_mode():
            for x in self.rows:
                for b, W, a in layers:
                    x = addmv(b, W, x, out=a).sigmoid_()

    def outcome(self):
        """Return the last h(x)."""
        return self.a[-1].numpy()


FUNCTIONS = {"sigmoid": torch.sigmoid, "relu": torch.relu, "identity": lambda z: z, "softmax": lambda z: z.softmax(-1)}
DERIVATIVES = {"sigmoid": lambda a: a * (1 - a), "relu": lambda a: a > 0}  # from the output value


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
            g = FUNCTIONS[workload.activation if l < L - 1 else workload.output]
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


FORMS = {
    "torch": {"train": ModulesTrain, "gradient": ModulesGradient, "predict": ModulesPredict},
    "torch addmm": {"train": ByHandTrain, "gradient": ByHandGradient, "predict": ByHandPredict},
    "torch compile": {"train": CompiledTrain},
}


def prepare(problem, label):
    """Return the workload made ready; compiling is for training only."""
    form = FORMS[label].get(problem.workload.kind)
    return form and form(problem, label)
