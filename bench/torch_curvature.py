"""PyTorch's products with the Hessian: torch.func.jvp of torch.func.grad, the loss of `torch_modules`."""

import torch
from torch.func import functional_call, grad, jvp

from .torch_modules import Modules, joined


class ModulesProduct(Modules):
    """H p of all examples in one call."""

    def __init__(self, problem, label):
        super().__init__(problem, label)
        names = [name for name, _ in self.net.named_parameters()]
        self.at = {name: parameter.detach() for name, parameter in self.net.named_parameters()}
        parts = []
        for V in problem.direction:
            parts += [torch.from_numpy(V[:, 1:].copy()), torch.from_numpy(V[:, 0].copy())]
        self.p_parts = dict(zip(names, parts, strict=True))
        self.gradient = grad(self.cost)

    def cost(self, parameters):
        """Return J at these parameters."""
        J = self.loss(functional_call(self.net, parameters, (self.p.X,)), self.targets)
        c = self.p.workload.weight_decay
        return J + c / 2 * sum((w * w).sum() for w in parameters.values() if w.ndim == 2) if c else J

    def reset(self):
        """Nothing to do: theta does not change."""

    def run(self):
        """One product."""
        self.Hp = jvp(self.gradient, (self.at,), (self.p_parts,))[1]

    def outcome(self):
        """Return H p."""
        parts = list(self.Hp.values())
        return joined(parts[::2], parts[1::2])
