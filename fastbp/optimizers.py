"""Update rules: they move theta against the gradient D.

An optimizer holds settings, never state: `init(theta)` returns the state of one training run as a dict, and
`update(theta, D, state)` changes theta and the state in place. Any object with these two methods may be passed as
`optimizer=`; it is called once per batch. The rules here also have a fused twin in compiled code (`compiled`), which
runs whole epochs and is tested against the Python below.

`learning_rate` is a number, or a function of the steps taken so far: t = 0 before the first step.
"""

from typing import Any

import numpy as np

from ._types import Flag, Floats, Number, Rate, State
from .base import Optimizer, bias_of, entry, slots_of
from .engine import checks
from .keywords import explained
from .lbfgs import LBFGS
from .rprop import RPROP

__all__ = ["LBFGS", "RPROP", "SGD", "Adagrad", "Adam", "AdamW", "Nadam", "Optimizer", "RMSprop"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum or in Nesterov's form.

    Each step computes::

        v := mu v - learning_rate D
        theta := theta + v                              nesterov: theta + mu v - learning_rate D

    Parameters
    ----------
    learning_rate : float, or a function of the step
    momentum : float
        mu, in [0, 1].
    nesterov : bool
        Look ahead along v (Nesterov 1983, in the form of Sutskever et al. 2013 and torch.optim.SGD).

    See Also
    --------
    schedules.Cosine : A learning rate that falls.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.SGD(0.1, momentum=0.9), epochs=5, seed=0)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled = "sgd"

    @explained
    def __init__(self, learning_rate: Rate = 0.1, momentum: Number = 0.0, nesterov: Flag = False) -> None:
        self.learning_rate = checks.rate(learning_rate)
        self.momentum = checks.number(momentum, "momentum", high=1, open_high=False)
        self.nesterov = checks.flag(nesterov, "nesterov")
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0; got momentum 0")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("v",) if self.momentum else ()

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        slots = slots_of(state, theta, *(("v",) if self.momentum else ()))
        rate = self.rate(state)
        state["t"] += 1
        if not self.momentum:
            theta -= rate * D
            return
        v, = slots
        v *= self.momentum
        v -= rate * D
        theta += self.momentum * v - rate * D if self.nesterov else v

    def settings(self) -> tuple[Any, ...]:
        return self.learning_rate, self.momentum, float(self.nesterov)


class Adam(Optimizer):
    """Adam: steps of about the learning rate for every parameter, whatever the size of its gradient.

    Each step computes::

        m := beta_1 m + (1 - beta_1) D,     mhat = m / (1 - beta_1^t)
        v := beta_2 v + (1 - beta_2) D^2,   vhat = v / (1 - beta_2^t)
        theta := theta - learning_rate mhat / (sqrt(vhat) + epsilon)

    Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.

    Parameters
    ----------
    learning_rate : float, or a function of the step
    beta_1, beta_2 : float
        Decay of the two moments, in [0, 1).
    epsilon : float
        Added to the root of vhat, as in the paper's algorithm 1 and torch.
    epsilon_hat : bool
        Add epsilon to the root of v itself: the paper's epsilon hat (end of section 2), as in scikit-learn and Keras:
        theta := theta - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).

    See Also
    --------
    AdamW, optimizers.Nadam

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.Adam(1e-3), epochs=5, seed=0)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled = "adam"
    slots: tuple[str, ...] = ("m", "v")

    @explained
    def __init__(
        self, learning_rate: Rate = 0.001, beta_1: Number = 0.9, beta_2: Number = 0.999, epsilon: Number = 1e-08,
        epsilon_hat: Flag = False,
    ) -> None:
        self.learning_rate = checks.rate(learning_rate)
        self.beta_1 = checks.number(beta_1, "beta_1", high=1)
        self.beta_2 = checks.number(beta_2, "beta_2", high=1)
        self.epsilon = checks.number(epsilon, "epsilon", open_low=True)
        self.epsilon_hat = checks.flag(epsilon_hat, "epsilon_hat")

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        m, v = slots_of(state, theta, "m", "v")
        rate = self.rate(state)
        state["t"] += 1
        t = state["t"]
        m *= self.beta_1
        m += (1 - self.beta_1) * D
        v *= self.beta_2
        v += (1 - self.beta_2) * D * D
        mhat = m / (1 - self.beta_1**t)
        vhat = v / (1 - self.beta_2**t)
        epsilon = self.epsilon / (1 - self.beta_2**t) ** 0.5 if self.epsilon_hat else self.epsilon
        theta -= rate * mhat / (np.sqrt(vhat) + epsilon)

    def settings(self) -> tuple[Any, ...]:
        return self.learning_rate, self.beta_1, self.beta_2, self.epsilon, self.epsilon_hat


class AdamW(Adam):
    """Adam with a weight decay of its own, which is not part of J and D.

    Each step computes theta := theta - learning_rate weight_decay theta, and then takes the step of Adam.
    Loshchilov & Hutter, Decoupled weight decay regularization, ICLR 2019, in the form of torch.optim.AdamW. The biases
    do not decay (torch decays them too, unless they are in a group of their own).

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon
        As for `Adam`.
    weight_decay : float
        Unlike the `weight_decay` of `train`, it is not part of J and D.

    See Also
    --------
    Adam

    Notes
    -----
    If you call `update` yourself, put the indices of the biases in theta into ``state["bias"]``: these do not decay.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.AdamW(1e-3, weight_decay=0.02), epochs=5, seed=0)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled = "adamw"

    @explained
    def __init__(
        self, learning_rate: Rate = 0.001, beta_1: Number = 0.9, beta_2: Number = 0.999, epsilon: Number = 1e-08,
        weight_decay: Number = 0.01,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.weight_decay = checks.number(weight_decay, "weight_decay")

    def init(self, theta: Floats) -> State:
        return {**super().init(theta), "bias": np.empty(0, np.int64)}

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        slots_of(state, theta, "m", "v")
        bias = bias_of(state, theta)
        biases = theta[bias]
        theta *= 1 - self.rate(state) * self.weight_decay
        theta[bias] = biases
        super().update(theta, D, state)

    def settings(self) -> tuple[Any, ...]:
        return *super().settings(), self.weight_decay


class Nadam(Optimizer):
    """Adam with Nesterov's momentum.

    Each step computes, with m, v and vhat as in Adam::

        mu_t = beta_1 (1 - 0.96^(t momentum_decay) / 2),   M_t = mu_1 mu_2 .. mu_t
        theta := theta - learning_rate ((1 - mu_t) / (1 - M_t) D + mu_{t+1} / (1 - M_{t+1}) m) / (sqrt(vhat) + epsilon)

    Dozat, Incorporating Nesterov momentum into Adam, 2016, in the form of torch.optim.NAdam.

    Parameters
    ----------
    learning_rate : float, or a function of the step
    beta_1, beta_2 : float
        Decay of the two moments, in [0, 1).
    epsilon : float
    momentum_decay : float
        The speed at which mu grows from beta_1 / 2 to beta_1.

    See Also
    --------
    Adam

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.optimizers.Nadam(1e-3), epochs=5, seed=0)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled = "nadam"
    slots: tuple[str, ...] = ("m", "v")

    @explained
    def __init__(
        self, learning_rate: Rate = 0.002, beta_1: Number = 0.9, beta_2: Number = 0.999, epsilon: Number = 1e-08,
        momentum_decay: Number = 0.004,
    ) -> None:
        self.learning_rate = checks.rate(learning_rate)
        self.beta_1 = checks.number(beta_1, "beta_1", high=1)
        self.beta_2 = checks.number(beta_2, "beta_2", high=1)
        self.epsilon = checks.number(epsilon, "epsilon", open_low=True)
        self.momentum_decay = checks.number(momentum_decay, "momentum_decay")

    def init(self, theta: Floats) -> State:
        return {**super().init(theta), "scalars": np.ones(1)}  # M_t

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        (m, v), M = slots_of(state, theta, "m", "v"), entry(state, "scalars", (1,), np.float64)
        rate = self.rate(state)
        state["t"] += 1
        t = state["t"]
        mu, following = (self.beta_1 * (1 - 0.5 * 0.96 ** (k * self.momentum_decay)) for k in (t, t + 1))
        M[0] *= mu
        m *= self.beta_1
        m += (1 - self.beta_1) * D
        v *= self.beta_2
        v += (1 - self.beta_2) * D * D
        vhat = v / (1 - self.beta_2**t)
        of_D, of_m = float((1 - mu) / (1 - M[0])), float(following / (1 - M[0] * following))
        theta -= rate * (of_D * D + of_m * m) / (np.sqrt(vhat) + self.epsilon)

    def settings(self) -> tuple[Any, ...]:
        return self.learning_rate, self.beta_1, self.beta_2, self.epsilon, self.momentum_decay


class RMSprop(Optimizer):
    """RMSprop: the gradient divided by its running root mean square.

    Each step computes::

        v := decay v + (1 - decay) D^2
        b := mu b + D / (sqrt(v) + epsilon)
        theta := theta - learning_rate b

    Tieleman & Hinton, Neural networks for machine learning, 2012, lecture 6.5, in the form of torch.optim.RMSprop.

    Parameters
    ----------
    learning_rate : float, or a function of the step
    decay : float
        Decay of the mean of D^2, in [0, 1); torch's alpha.
    epsilon : float
        Added to the root.
    momentum : float
        mu, in [0, 1].

    See Also
    --------
    Adam

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.RMSprop(1e-3, momentum=0.5), epochs=5, seed=0)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled = "rmsprop"

    @explained
    def __init__(
        self, learning_rate: Rate = 0.001, decay: Number = 0.9, epsilon: Number = 1e-08, momentum: Number = 0.0,
    ) -> None:
        self.learning_rate = checks.rate(learning_rate)
        self.decay = checks.number(decay, "decay", high=1)
        self.epsilon = checks.number(epsilon, "epsilon", open_low=True)
        self.momentum = checks.number(momentum, "momentum", high=1, open_high=False)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("v", "b") if self.momentum else ("v",)

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        v, *b = slots_of(state, theta, "v", *(("b",) if self.momentum else ()))
        rate = self.rate(state)
        state["t"] += 1
        v *= self.decay
        v += (1 - self.decay) * D * D
        if not self.momentum:
            theta -= rate * D / (np.sqrt(v) + self.epsilon)
            return
        b[0] *= self.momentum
        b[0] += D / (np.sqrt(v) + self.epsilon)
        theta -= rate * b[0]

    def settings(self) -> tuple[Any, ...]:
        return self.learning_rate, self.decay, self.epsilon, self.momentum


class Adagrad(Optimizer):
    """Adagrad: the gradient divided by the root of the sum of its squares so far.

    Each step computes v := v + D^2 and theta := theta - learning_rate D / (sqrt(v) + epsilon).

    Duchi, Hazan & Singer, Adaptive subgradient methods, JMLR 2011, in the form of torch.optim.Adagrad.

    Parameters
    ----------
    learning_rate : float, or a function of the step
    initial : float
        v before the first step.
    epsilon : float
        Added to the root.

    See Also
    --------
    RMSprop

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.optimizers.Adagrad(0.05), epochs=5, seed=0)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled = "adagrad"
    slots: tuple[str, ...] = ("v",)

    @explained
    def __init__(self, learning_rate: Rate = 0.01, initial: Number = 0.0, epsilon: Number = 1e-10) -> None:
        self.learning_rate = checks.rate(learning_rate)
        self.initial = checks.number(initial, "initial")
        self.epsilon = checks.number(epsilon, "epsilon", open_low=True)

    def init(self, theta: Floats) -> State:
        return {**super().init(theta), "v": np.full_like(theta, self.initial)}

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        v, = slots_of(state, theta, "v")
        rate = self.rate(state)
        state["t"] += 1
        v += D * D
        theta -= rate * D / (np.sqrt(v) + self.epsilon)

    def settings(self) -> tuple[Any, ...]:
        return self.learning_rate, self.epsilon


NAMED: dict[str, type[Any]] = {rule.compiled: rule for rule in (SGD, Adam, AdamW, Nadam, RMSprop, Adagrad, RPROP)}
