"""Update rules: how theta moves along D.

An optimizer holds settings, never state: `init(theta)` returns the state of one training as a dict, and
`update(theta, D, state)` changes theta and the state in place. Anything with these two methods may be passed as
`optimizer=`; it is called once a batch. The rules here also have a fused twin in compiled code (`compiled`), which
runs whole epochs and is tested against the Python below.
"""

import numpy as np

from . import checks


class Optimizer:
    """Base of the update rules.

    To write one, define `init` and `update` (a subclass, or any object that has both):

    >>> import numpy as np, fastbp
    >>> class SignDescent(fastbp.optimizers.Optimizer):
    ...     '''theta := theta - step sign(D)'''
    ...     def __init__(self, step):
    ...         self.step = step
    ...     def init(self, theta):
    ...         return {"t": 0}
    ...     def update(self, theta, D, state):
    ...         state["t"] += 1
    ...         theta -= self.step * np.sign(D)
    >>> net = fastbp.Network([2, 1], seed=0)
    >>> X, Y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1])
    >>> history = fastbp.train(net, X, Y, optimizer=SignDescent(0.01), epochs=100)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled = None  # name of the rule in src/_epoch.pyx
    slots = ()  # names of the state's arrays, in the order of the compiled rule

    def init(self, theta):
        """The state of one training: a dict of the step count t and arrays like theta."""
        return {"t": 0, **{slot: np.zeros_like(theta) for slot in self.slots}}

    def update(self, theta, D, state):
        """Change theta (n_parameters,) and the state in place, given D (n_parameters,)."""
        raise NotImplementedError(f"{type(self).__name__} must define update(theta, D, state)")

    def settings(self):
        """The numbers of the compiled rule, in its order."""
        raise NotImplementedError(f"{type(self).__name__} names a compiled rule but not its settings")

    def __repr__(self):
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None


class SGD(Optimizer):
    """v := mu v - learning_rate D;  theta := theta + v;  with nesterov theta := theta + mu v - learning_rate D.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        mu, in [0, 1].
    nesterov : bool
        Look ahead along v (Nesterov 1983, in the form of Sutskever et al. 2013 that torch.optim.SGD has too).
    """

    compiled = "sgd"

    def __init__(self, learning_rate=0.1, momentum=0.0, nesterov=False):
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.momentum = checks.number(momentum, "momentum", high=1, open_high=False)
        self.nesterov = checks.flag(nesterov, "nesterov")
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0; got momentum 0")

    @property
    def slots(self):
        return ("v",) if self.momentum else ()

    def update(self, theta, D, state):
        state["t"] += 1
        if not self.momentum:
            theta -= self.learning_rate * D
            return
        v = state["v"]
        v *= self.momentum
        v -= self.learning_rate * D
        theta += self.momentum * v - self.learning_rate * D if self.nesterov else v

    def settings(self):
        return self.learning_rate, self.momentum, float(self.nesterov)


class Adam(Optimizer):
    """m := beta_1 m + (1 - beta_1) D;  v := beta_2 v + (1 - beta_2) D^2;
    theta := theta - learning_rate mhat / (sqrt(vhat) + epsilon),
    mhat = m / (1 - beta_1^t),  vhat = v / (1 - beta_2^t).

    Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.

    Parameters
    ----------
    learning_rate : float
    beta_1, beta_2 : float
        Decay of the two moments, in [0, 1).
    epsilon : float
        Beside the corrected root, as in the paper and torch.
    """

    compiled = "adam"
    slots = ("m", "v")

    def __init__(self, learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.beta_1 = checks.number(beta_1, "beta_1", high=1)
        self.beta_2 = checks.number(beta_2, "beta_2", high=1)
        self.epsilon = checks.number(epsilon, "epsilon", open_low=True)

    def update(self, theta, D, state):
        state["t"] += 1
        t, m, v = state["t"], state["m"], state["v"]
        m *= self.beta_1
        m += (1 - self.beta_1) * D
        v *= self.beta_2
        v += (1 - self.beta_2) * D * D
        mhat = m / (1 - self.beta_1**t)
        vhat = v / (1 - self.beta_2**t)
        theta -= self.learning_rate * mhat / (np.sqrt(vhat) + self.epsilon)

    def settings(self):
        return self.learning_rate, self.beta_1, self.beta_2, self.epsilon


def compiled_rule(optimizer):
    """The name of the optimizer's compiled twin; None where a subclass or the instance has changed what it knows of."""
    known = {"compiled", "slots", "init", "update", "settings"}
    if known & getattr(optimizer, "__dict__", {}).keys():
        return None
    for cls in type(optimizer).__mro__:
        if known & vars(cls).keys():
            return vars(cls).get("compiled")
    return None


NAMED = {"sgd": SGD, "adam": Adam}


def resolve(optimizer, dtype):
    """An optimizer from an instance or a name (with the defaults), fit for parameters of this dtype."""
    if isinstance(optimizer, str):
        if optimizer not in NAMED:
            raise ValueError(f"optimizer is {optimizer!r}; accepted are {', '.join(NAMED)}, or an instance")
        return NAMED[optimizer]()
    if isinstance(optimizer, type) or not (
        callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))
    ):
        raise TypeError(
            "optimizer must be an instance with init(theta) and update(theta, D, state), such as fastbp.SGD(0.1), "
            f"or one of {', '.join(NAMED)}; got {optimizer!r}"
        )
    if isinstance(optimizer, Adam) and np.dtype(dtype).type(optimizer.epsilon) == 0:
        name = np.dtype(dtype).name
        raise ValueError(f"epsilon {optimizer.epsilon:g} is 0 in {name}: a parameter at rest would be divided by 0")
    return optimizer
