"""Update rules: they move theta against the gradient D.

An optimizer holds settings, never state: `init(theta)` returns the state of one training as a dict, and
`update(theta, D, state)` changes theta and the state in place. Any object with these two methods may be passed as
`optimizer=`; it is called once a batch. The rules here also have a fused twin in compiled code (`compiled`), which
runs whole epochs and is tested against the Python below.

`learning_rate` is a number, or a function of the steps taken so far: t = 0 before the first step.
"""

from collections.abc import Mapping
from functools import cache
from inspect import signature
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import words
from ._types import Flag, Floats, Number, Rate, Rule, RuleName, State
from .base import Optimizer, entry, slots_of
from .engine import checks
from .keywords import explained
from .lbfgs import LBFGS


class SGD(Optimizer):
    """v := mu v - learning_rate D;  theta := theta + v;  with nesterov theta := theta + mu v - learning_rate D.

    Parameters
    ----------
    learning_rate : float, or a function of the step
    momentum : float
        mu, in [0, 1].
    nesterov : bool
        Look ahead along v (Nesterov 1983, in the form of Sutskever et al. 2013 and torch.optim.SGD).
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
    """m := beta_1 m + (1 - beta_1) D;  v := beta_2 v + (1 - beta_2) D^2;
    theta := theta - learning_rate mhat / (sqrt(vhat) + epsilon),
    mhat = m / (1 - beta_1^t),  vhat = v / (1 - beta_2^t).

    Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.

    Parameters
    ----------
    learning_rate : float, or a function of the step
    beta_1, beta_2 : float
        Decay of the two moments, in [0, 1).
    epsilon : float
        Added to the corrected root, as in the paper's algorithm 1 and torch.
    epsilon_hat : bool
        Add epsilon to the root of v itself: the paper's epsilon hat (end of section 2), as in scikit-learn and Keras:
        theta := theta - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).
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
    """theta := theta - learning_rate weight_decay theta, then the step of Adam.

    Loshchilov & Hutter, Decoupled weight decay regularization, ICLR 2019, in the form of torch.optim.AdamW. The biases
    do not decay (torch decays them too, unless they are in a group of their own).

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon
        As for `Adam`.
    weight_decay : float
        Unlike the `weight_decay` of `train`, it is no part of J and D.

    Notes
    -----
    If you call `update` yourself, put the indices of the biases in theta into ``state["bias"]``: these do not decay.
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
        bias = _bias_of(state, theta)
        biases = theta[bias]
        theta *= 1 - self.rate(state) * self.weight_decay
        theta[bias] = biases
        super().update(theta, D, state)

    def settings(self) -> tuple[Any, ...]:
        return *super().settings(), self.weight_decay


class Nadam(Optimizer):
    """m, v, vhat as in Adam;  mu_t = beta_1 (1 - 0.96^(t momentum_decay) / 2),  M_t = mu_1 mu_2 .. mu_t;
    theta := theta - learning_rate ((1 - mu_t) / (1 - M_t) D + mu_{t+1} / (1 - M_{t+1}) m) / (sqrt(vhat) + epsilon).

    Dozat, Incorporating Nesterov momentum into Adam, 2016, in the form of torch.optim.NAdam.

    Parameters
    ----------
    learning_rate : float, or a function of the step
    beta_1, beta_2 : float
        Decay of the two moments, in [0, 1).
    epsilon : float
    momentum_decay : float
        How fast mu grows from beta_1 / 2 to beta_1.
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
    """v := decay v + (1 - decay) D^2;  b := mu b + D / (sqrt(v) + epsilon);  theta := theta - learning_rate b.

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
    """v := v + D^2;  theta := theta - learning_rate D / (sqrt(v) + epsilon).

    Duchi, Hazan & Singer, Adaptive subgradient methods, JMLR 2011, in the form of torch.optim.Adagrad.

    Parameters
    ----------
    learning_rate : float, or a function of the step
    initial : float
        v before the first step.
    epsilon : float
        Added to the root.
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


class RPROP(Optimizer):
    """step := eta_plus step where D and the last D have the same sign, eta_minus step and D := 0 where they have
    opposite signs, within [least, most];  theta := theta - sign(D) step.

    Igel & Huesken, Empirical evaluation of the improved Rprop learning algorithms, 2003: iRprop-, as torch.optim.Rprop.
    Use it with batch_size=None: the signs of D change by chance from batch to batch.

    Parameters
    ----------
    learning_rate : float
        The first step of every parameter.
    eta_minus, eta_plus : float
        In (0, 1], and at least 1.
    least, most : float
        Bounds of the steps.
    """

    compiled = "rprop"
    slots: tuple[str, ...] = ("last", "step")

    @explained
    def __init__(
        self, learning_rate: Number = 0.01, eta_minus: Number = 0.5, eta_plus: Number = 1.2, least: Number = 1e-06,
        most: Number = 50.0,
    ) -> None:
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.eta_minus = checks.number(eta_minus, "eta_minus", high=1, open_low=True, open_high=False)
        self.eta_plus = checks.number(eta_plus, "eta_plus", low=1)
        self.least = checks.number(least, "least", open_low=True)
        self.most = checks.number(most, "most", low=self.least)

    def init(self, theta: Floats) -> State:
        with np.errstate(over="ignore"):    # infinite if theta's dtype cannot hold the number
            return {**super().init(theta), "step": np.full_like(theta, self.learning_rate)}

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        last, step = slots_of(state, theta, "last", "step")
        state["t"] += 1
        turn = np.sign(D) * np.sign(last)
        step[turn > 0] *= self.eta_plus
        step[turn < 0] *= self.eta_minus
        np.clip(step, self.least, self.most, out=step)
        last[:] = np.where(turn < 0, 0, D)
        theta -= np.sign(last) * step

    def settings(self) -> tuple[Any, ...]:
        return self.learning_rate, self.eta_minus, self.eta_plus, self.least, self.most


def _bias_of(state: State, theta: Floats) -> NDArray[np.int64]:
    """The indices of the biases that the state names."""
    bias = state.get("bias")
    if not isinstance(bias, np.ndarray) or bias.ndim != 1 or bias.dtype.kind not in "iu":
        raise ValueError(f"state['bias'] must be the indices of the biases in theta, a 1-D array of integers; got "
                         f"{bias!r:.100}")
    if bias.size and not 0 <= bias.min() <= bias.max() < theta.size:
        raise ValueError(f"state['bias'] must be indices of theta, 0 to {theta.size - 1}; it has {bias.min()} to "
                         f"{bias.max()}")
    return bias


NAMED: dict[str, type[Any]] = {rule.compiled: rule for rule in (SGD, Adam, AdamW, Nadam, RMSprop, Adagrad, RPROP)}


def check(optimizer: Rule, changes: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Raise the constructor's error if a rule of fastbp, with these changes, has a setting that is not accepted."""
    if type(optimizer) in (LBFGS, *NAMED.values()):
        settings = {**vars(optimizer), **changes}
        type(optimizer)(**{name: settings[name] for name in _names(type(optimizer)) if name in settings})


@cache
def _names(rule: type[Any]) -> tuple[str, ...]:
    """The arguments of the constructor."""
    return tuple(signature(rule).parameters)


def resolve(optimizer: Rule | RuleName, dtype: DTypeLike) -> Rule:
    """An optimizer for parameters of this dtype, from an instance or from a name (with the defaults)."""
    if isinstance(optimizer, str):
        known = words.resolve(optimizer, NAMED)
        if known is None:
            elsewhere = ("; fastbp.LBFGS() and fastbp.minimize search with all examples"
                         if "bfgs" in words.key(optimizer) else "")
            raise ValueError(f"optimizer is {optimizer!r}; accepted are {', '.join(NAMED)}, or an instance{elsewhere}")
        return NAMED[known]()
    if isinstance(optimizer, type) or not (
        callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))
    ):
        raise TypeError(
            "optimizer must be an instance with init(theta) and update(theta, D, state), such as fastbp.SGD(0.1), "
            f"or one of {', '.join(NAMED)}; got {optimizer!r}"
        )
    least = float(np.finfo(dtype).smallest_subnormal)
    if isinstance(optimizer, tuple(NAMED.values())) and (epsilon := getattr(optimizer, "epsilon", 1)) <= least / 2:
        name = np.dtype(dtype).name
        raise ValueError(f"epsilon {epsilon:g} is 0 in {name}: a parameter whose D is 0 would become NaN")
    return optimizer
