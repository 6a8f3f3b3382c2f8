"""PyTorch by hand: addmm into fixed buffers, no autograd."""

import itertools

import torch

from .optimise import lbfgs
from .torch_modules import Problem, joined

BLOCK = 500  # rows of a full-batch gradient that stay in the cache


def times_derivative(name, delta, a):
    """delta := delta .* g'(z), from the output value a = g(z): PyTorch's own fused derivatives."""
    if name == "sigmoid":
        torch.ops.aten.sigmoid_backward.grad_input(delta, a, grad_input=delta)
    elif name == "tanh":
        torch.ops.aten.tanh_backward.grad_input(delta, a, grad_input=delta)
    elif name == "relu":
        torch.ops.aten.threshold_backward.grad_input(delta, a, 0, grad_input=delta)


def activate(name, a):
    """a := g(a)."""
    if name == "sigmoid":
        a.sigmoid_()
    elif name == "tanh":
        a.tanh_()
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
        self.layers = list(zip(self.b, self.WT, self.a, self.p.workload.functions, strict=True))
        self.ones = torch.ones(rows, dtype=dtype)
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
        """delta(L) := a(L) - y, times g'(z(L)) if the loss needs it."""
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
        m = problem.workload.rows or problem.m
        self.rows = BLOCK if m % BLOCK == 0 else m
        super().__init__(problem, label, self.rows)
        self.calls = problem.examples(self.p.X, self.p.Y)

    def reset(self):
        """Nothing to do: theta does not change."""

    def cost(self, Y):
        """Return the sum of a block's costs, from h(x) and delta(L) = h(x) - y."""
        if self.p.workload.loss == "squared_error":
            return 0.5 * (self.delta[-1] ** 2).sum()
        if self.p.workload.output == "softmax":
            return -torch.log((self.a[-1] * Y).sum(1)).sum()
        return -torch.log1p(-self.delta[-1].abs()).sum()

    def evaluate(self, X, Y):
        """J := sum of costs / m + c/2 W.W;  D := Delta / m + c W."""
        m, c = len(X), self.p.workload.weight_decay
        J, beta = 0.0, 0
        for x, y in zip(X.split(self.rows), Y.split(self.rows), strict=True) if m > self.rows else ((X, Y),):
            self.forward(x)
            self.output_delta(y)
            J += self.cost(y).item()
            self.delta[-1].div_(m)
            for l in range(len(self.W) - 1, -1, -1):
                if l:
                    self.hidden_delta(l - 1)
                torch.addmm(self.DW[l], self.deltaT[l], self.a[l - 1] if l else x, beta=beta, out=self.DW[l])
                torch.addmv(self.Db[l], self.deltaT[l], self.ones, beta=beta, out=self.Db[l])
            beta = 1
        J /= m
        if c:
            J += c / 2 * sum(torch.sum(w * w).item() for w in self.W)
            for D, w in zip(self.DW, self.W, strict=True):
                D.add_(w, alpha=c)
        return J

    def run(self):
        """One evaluation, or one per call."""
        with torch.no_grad():
            for X, Y in self.calls:
                self.J = self.evaluate(X, Y)

    def outcome(self):
        """Return J and D."""
        return self.J, joined(self.DW, self.Db)


class ByHandMinimize(ByHandGradient):
    """SciPy's L-BFGS-B on J and D by hand."""

    def reset(self):
        """Take the start weights."""
        self.p.set(self.W, self.b)

    def objective(self, theta):
        """Return J and D at theta, in float64 as SciPy needs them."""
        self.flat.copy_(torch.from_numpy(theta))
        return self.evaluate(*self.calls[0]), self.flat_D.double().numpy()

    def run(self):
        """The iterations; no tolerance ends them early."""
        with torch.no_grad():
            found = lbfgs(self.objective, self.flat.numpy(), self.p.workload.iterations)
            self.flat.copy_(torch.from_numpy(found))

    def outcome(self):
        """Return Theta."""
        return joined(self.W, self.b)


class ByHandPredict(ByHand):
    """addmv or addmm and the activation in place, into fixed buffers."""

    def __init__(self, problem, label):
        super().__init__(problem, label, problem.workload.rows or 1)
        self.inputs = problem.inputs(self.p.X)
        if not problem.workload.rows:  # a vector
            self.layers = [(b, W, a[0], g) for (b, _, a, g), W in zip(self.layers, self.W, strict=True)]

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Predict call by call."""
        rows, layers, addmv = self.p.workload.rows, self.layers, torch.addmv
        with torch.inference_mode():
            for x in self.inputs:
                if rows:
                    self.forward(x)
                    continue
                for b, W, a, g in layers:
                    x = addmv(b, W, x, out=a)
                    activate(g, a)

    def outcome(self):
        """Return the last h(x)."""
        return self.a[-1].numpy()
