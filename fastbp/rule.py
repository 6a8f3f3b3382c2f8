"""The base of the update rules, and what a training asks of one."""

import numpy as np

from . import checks
from .settings import Settings


class Optimizer(Settings):
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

    compiled = None  # name of the rule in src/kernels/names.h
    slots = ()  # names of the state's arrays, in the order of the compiled rule

    def init(self, theta):
        """The state of one training: a dict of the step count t and arrays like theta.

        What else a rule keeps from step to step is a float64 array `scalars`. Where the state has an entry `bias`, the
        trainer puts the indices of the biases in theta there.
        """
        return {"t": 0, **{slot: np.zeros_like(theta) for slot in self.slots}}

    def update(self, theta, D, state):
        """Change theta (n_parameters,) and the state in place, given D (n_parameters,)."""
        raise NotImplementedError(f"{type(self).__name__} must define update(theta, D, state)")

    def rate(self, state):
        """The learning rate of the next step."""
        if callable(self.learning_rate):
            return float(checks.rates(self.learning_rate, state["t"], 1)[0])
        return self.learning_rate

    def settings(self):
        """The numbers of the compiled rule in its order, the learning rate first (or the function that gives it)."""
        raise NotImplementedError(f"{type(self).__name__} names a compiled rule but not its settings")


def compiled_rule(optimizer):
    """The name of the optimizer's compiled twin; None where a subclass or the instance has changed what it knows of."""
    known = {"compiled", "slots", "init", "rate", "update", "settings"}
    if known & getattr(optimizer, "__dict__", {}).keys():
        return None
    for cls in type(optimizer).__mro__:
        if known & vars(cls).keys():
            return vars(cls).get("compiled")
    return None


def start(optimizer, theta, plan):
    """The state of a training of a network with this plan, the indices of its biases where the rule asks for them."""
    state = optimizer.init(theta)
    if isinstance(state, dict) and "bias" in state:
        layers = zip(plan.offsets, plan.shapes, strict=False)
        state["bias"] = np.concatenate([begin + columns * np.arange(rows) for begin, (rows, columns) in layers])
    return state


def check_state(optimizer, state, theta, others=()):
    """The state of a compiled rule, as `init` makes it, with such other entries: it is written to where it lies."""
    if not isinstance(state, dict):
        raise TypeError(f"state must be a dict as optimizer.init(theta) makes it; got {type(state).__name__}")
    expected = optimizer.init(theta[:1])
    if missing := [name for name in expected if name not in state and name != "bias"]:
        raise ValueError(f"state lacks {', '.join(missing)}; {type(optimizer).__name__} has {', '.join(expected)}")
    if unknown := [name for name in state if name not in expected and name not in others]:
        raise ValueError(f"state has {', '.join(map(str, unknown))}; {type(optimizer).__name__} has only "
                         f"{', '.join([*expected, *others])} here")
    checks.count(state["t"], "state['t']", low=0)
    for slot in optimizer.slots:
        checks.output_array(state[slot], theta.shape, theta.dtype, f"state[{slot!r}]")
    if "scalars" in expected:
        checks.output_array(state["scalars"], expected["scalars"].shape, np.dtype(np.float64), "state['scalars']")
    return state
