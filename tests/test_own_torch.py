"""The caller's own losses against PyTorch's autograd, if it is installed."""

import math

import numpy as np
import pytest
from own_losses import FOREIGN, OUTPUTS_OF, targets

import fastbp

torch = pytest.importorskip("torch")
F = torch.nn.functional


def focal(z, y):
    s = F.logsigmoid((2 * y - 1) * z[:, 0])
    return -((1 - s.exp()) ** 2) * s


def hinge(z, y):
    right = F.one_hot(y, z.shape[1]).bool()
    rival = z.masked_fill(right, -torch.inf).amax(dim=1)
    return F.relu(1 + rival - z[right])


def crps(z, y):
    normal = torch.distributions.Normal(torch.zeros(1, dtype=z.dtype), torch.ones(1, dtype=z.dtype))
    sigma = z[:, 1].exp()
    r = (y - z[:, 0]) / sigma
    return sigma * (r * (2 * normal.cdf(r) - 1) + 2 * normal.log_prob(r).exp() - 1 / math.sqrt(math.pi))


def pairwise(z, y):
    return ((y[:, None] > y[None, :]) * F.softplus(z[None, :, 0] - z[:, None, 0])).sum(dim=1)


def cox(z, y):
    later = y[None, :, 0] >= y[:, None, 0]
    return y[:, 1] * (z[:, 0][None, :].masked_fill(~later, -torch.inf).logsumexp(dim=1) - z[:, 0])


COSTS = {    # of each example
    "log_cosh": lambda z, y: torch.log(torch.cosh(z[:, 0] - y)),
    "asymmetric": lambda z, y: torch.where(z[:, 0] > y, 3, 1) * (z[:, 0] - y) ** 2 / 2,
    "focal": focal,
    "hinge": hinge,
    "tweedie": lambda z, y: 2 * y * torch.exp(-z[:, 0] / 2) + 2 * torch.exp(z[:, 0] / 2),
    "gaussian_nll": lambda z, y: F.gaussian_nll_loss(z[:, 0], y, z[:, 1].exp(), reduction="none"),
    "student_nll": lambda z, y: z[:, 1] + 2.5 * torch.log1p(((y - z[:, 0]) / z[:, 1].exp()) ** 2 / 4),
    "crps": crps,
    "label_smoothing": lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1, reduction="none"),
    "pairwise": pairwise,
    "cox": cox,
    "quantiles": lambda z, y: sum(
        torch.maximum(q * (y - z[:, k]), (q - 1) * (y - z[:, k])) for k, q in enumerate((0.1, 0.5, 0.9))),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_losses_are_those_of_autograd_to_1e_12(name, seed):
    rng = np.random.default_rng(seed)
    net = fastbp.Network([4, 6, OUTPUTS_OF[name]], activation="tanh", loss=FOREIGN[name], seed=seed)
    X, Y = rng.standard_normal((50, 4)), targets(name, rng, 50)
    J, D = net.cost_and_gradient(X, Y)
    Theta = [torch.tensor(T, requires_grad=True) for T in net.Theta]
    a = torch.tanh(F.linear(torch.tensor(X), Theta[0][:, 1:], Theta[0][:, 0]))
    z = F.linear(a, Theta[1][:, 1:], Theta[1][:, 0])
    theirs = COSTS[name](z, torch.tensor(Y)).mean()
    theirs.backward()
    theirs_D = np.concatenate([T.grad.numpy().ravel() for T in Theta])
    assert abs(J - theirs.item()) <= 1e-12 * max(1, abs(J))
    assert np.abs(D - theirs_D).max() <= 1e-12 * max(1, np.abs(theirs_D).max())


def test_a_step_along_a_gradient_under_dropout_is_that_of_autograd():
    """The same with the masks of the step"""
    from reference import mask_factors

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 4)), rng.standard_normal(50)
    net = fastbp.Network([4, 6, 1], activation="tanh", loss=FOREIGN["log_cosh"], seed=0)
    trainer, before = fastbp.Trainer(net, fastbp.SGD(1.0), dropout=0.4, seed=0), net.theta.copy()
    Theta = [torch.tensor(T.copy(), requires_grad=True) for T in net.Theta]
    factors = mask_factors(net.layer_sizes, trainer.dropout, trainer.state["dropout_seed"], 0, 50, float)
    a = torch.tanh(F.linear(torch.tensor(X), Theta[0][:, 1:], Theta[0][:, 0])) * torch.tensor(factors[1])
    theirs = COSTS["log_cosh"](F.linear(a, Theta[1][:, 1:], Theta[1][:, 0]), torch.tensor(y)).mean()
    theirs.backward()
    J = trainer.step(X, y)
    D = np.concatenate([T.grad.numpy().ravel() for T in Theta])
    assert abs(J - theirs.item()) < 1e-12
    assert np.abs(before - net.theta - D).max() < 1e-12
