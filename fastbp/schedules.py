"""Learning rates as functions of the step: ``fastbp.Adam(schedules.Cosine(1e-3, steps=10_000))``.

A schedule is called with t, the number of steps taken so far (0 before the first), and returns the rate of the next
step. An optimizer takes any function of this kind. A step is a batch: an epoch has ceil(m / batch_size) of them.
`callbacks.ReduceOnPlateau` follows a monitored value instead of t.
"""

import math

from ._types import Count, Flag, Number
from .base import Settings
from .engine import checks
from .keywords import explained

__all__ = ["Constant", "Cosine", "Exponential", "InverseScaling", "OneCycle", "Schedule", "Step"]


class Schedule(Settings):
    """Base of the schedules.

    See Also
    --------
    Cosine, callbacks.ReduceOnPlateau

    Examples
    --------
    Your own schedule:

    >>> import fastbp
    >>> class Halving(fastbp.schedules.Schedule):
    ...     def __init__(self, learning_rate):
    ...         self.learning_rate = learning_rate
    ...     def __call__(self, t):
    ...         return self.learning_rate / 2**t
    >>> fastbp.Adam(Halving(0.1))
    Adam(learning_rate=Halving(learning_rate=0.1), beta_1=0.9, beta_2=0.999, epsilon=1e-08, epsilon_hat=False)
    """

    def __call__(self, t: int) -> float:
        """The learning rate of the step after t steps."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(t)")


class Constant(Schedule):
    """A constant learning rate: rate(t) = learning_rate.

    Parameters
    ----------
    learning_rate : float

    See Also
    --------
    Step, Cosine

    Examples
    --------
    >>> from fastbp import schedules
    >>> rate = schedules.Constant(0.1)
    >>> [round(rate(t), 6) for t in (0, 100)]
    [0.1, 0.1]
    """

    @explained
    def __init__(self, learning_rate: Number) -> None:
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)

    def __call__(self, t: int) -> float:
        return self.learning_rate


class Step(Schedule):
    """Multiply the learning rate by `factor` every so many steps.

    rate(t) = learning_rate factor^floor(t / every). This is torch's StepLR, counted in steps.

    Parameters
    ----------
    learning_rate : float
    every : int
        Number of steps between two reductions.
    factor : float
        In (0, 1].

    See Also
    --------
    Exponential

    Examples
    --------
    >>> from fastbp import schedules
    >>> rate = schedules.Step(0.1, every=100, factor=0.5)
    >>> [round(rate(t), 6) for t in (0, 99, 100, 200)]
    [0.1, 0.1, 0.05, 0.025]
    """

    @explained
    def __init__(self, learning_rate: Number, every: Count, factor: Number = 0.1) -> None:
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.every = checks.count(every, "every")
        self.factor = checks.number(factor, "factor", high=1, open_low=True, open_high=False)

    def __call__(self, t: int) -> float:
        return self.learning_rate * self.factor ** (int(t) // self.every)


class Exponential(Schedule):
    """Multiply the learning rate by `factor` in each step.

    rate(t) = learning_rate factor^t. This is torch's ExponentialLR.

    Parameters
    ----------
    learning_rate : float
    factor : float
        In (0, 1]; 0.5 ** (1 / n) halves the rate every n steps.

    See Also
    --------
    Step

    Examples
    --------
    >>> from fastbp import schedules
    >>> rate = schedules.Exponential(0.1, factor=0.5)
    >>> [round(rate(t), 6) for t in (0, 1, 2)]
    [0.1, 0.05, 0.025]
    """

    @explained
    def __init__(self, learning_rate: Number, factor: Number) -> None:
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.factor = checks.number(factor, "factor", high=1, open_low=True, open_high=False)

    def __call__(self, t: int) -> float:
        return self.learning_rate * self.factor ** int(t)


class InverseScaling(Schedule):
    """Divide the learning rate by a power of the number of steps.

    rate(t) = learning_rate / (t + 1)^power. Robbins & Monro, A stochastic approximation method, 1951 (power 1).
    scikit-learn's learning_rate="invscaling" is the same function of the examples seen so far, not of the steps.

    Parameters
    ----------
    learning_rate : float
    power : float
        0.5, like scikit-learn's power_t; the theorem needs a power in (0.5, 1].

    See Also
    --------
    Exponential

    Examples
    --------
    >>> from fastbp import schedules
    >>> rate = schedules.InverseScaling(0.1)
    >>> [round(rate(t), 6) for t in (0, 3, 99)]
    [0.1, 0.05, 0.01]
    """

    @explained
    def __init__(self, learning_rate: Number, power: Number = 0.5) -> None:
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.power = checks.number(power, "power")

    def __call__(self, t: int) -> float:
        try:
            return self.learning_rate / (int(t) + 1) ** self.power
        except OverflowError:
            return 0.0


class Cosine(Schedule):
    """Lower the learning rate along a cosine, with warm-up and restarts if wanted.

    rate(t) = least + (learning_rate - least) (1 + cos(pi t' / T)) / 2, with t' the steps since the warm-up or restart.
    Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, equation 5; torch's
    CosineAnnealingLR, and CosineAnnealingWarmRestarts with restarts. The warm-up is linear, learning_rate (t + 1) /
    warmup (Goyal et al., Accurate, large minibatch SGD, 2017, section 2.2).

    Parameters
    ----------
    learning_rate : float
        The highest rate.
    steps : int
        T of the first cycle, without the warm-up.
    least : float
        The rate after T steps, and later if there are no restarts.
    warmup : int
        Steps of the warm-up.
    restarts : bool
        Restart at learning_rate after T steps.
    growth : int
        Each T is `growth` times the previous one.

    See Also
    --------
    OneCycle

    Examples
    --------
    >>> from fastbp import schedules
    >>> rate = schedules.Cosine(0.1, steps=100, warmup=10)
    >>> [round(rate(t), 6) for t in (0, 9, 60, 110)]
    [0.01, 0.1, 0.05, 0.0]
    """

    @explained
    def __init__(
        self, learning_rate: Number, steps: Count, least: Number = 0.0, warmup: Count = 0, restarts: Flag = False,
        growth: Count = 1,
    ) -> None:
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.steps = checks.count(steps, "steps")
        self.least = checks.number(least, "least", high=self.learning_rate, open_high=False)
        self.warmup = checks.count(warmup, "warmup", low=0)
        self.restarts = checks.flag(restarts, "restarts")
        self.growth = checks.count(growth, "growth")

    def __call__(self, t: int) -> float:
        t = int(t)
        if t < self.warmup:
            rate = self.learning_rate * (t + 1) / self.warmup
            return rate if rate < math.inf else self.learning_rate * ((t + 1) / self.warmup)
        t, T = t - self.warmup, self.steps
        if not self.restarts:
            t = min(t, T)
        elif self.growth == 1:
            t %= T
        while self.restarts and t >= T:
            t, T = t - T, T * self.growth
        return between(self.learning_rate, self.least, t / T)


class OneCycle(Schedule):
    """Raise the learning rate once along a cosine, then lower it.

    The rate rises from learning_rate / start_divisor to learning_rate in a fraction `rise` of the steps. Then it falls
    to learning_rate / start_divisor / end_divisor.
    Smith & Topin, Super-convergence, 2018; in the form of torch's OneCycleLR, with constant momentum.

    Parameters
    ----------
    learning_rate : float
        The highest rate.
    steps : int
        Steps of the cycle; later steps keep the last rate.
    rise : float
        In (0, 1).
    start_divisor, end_divisor : float
        At least 1.

    See Also
    --------
    Cosine

    Examples
    --------
    >>> from fastbp import schedules
    >>> rate = schedules.OneCycle(0.1, steps=100)
    >>> [round(rate(t), 6) for t in (0, 29, 99)]
    [0.004, 0.1, 0.0]
    """

    @explained
    def __init__(
        self, learning_rate: Number, steps: Count, rise: Number = 0.3, start_divisor: Number = 25.0,
        end_divisor: Number = 10000.0,
    ) -> None:
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.steps = checks.count(steps, "steps", low=2)
        self.rise = checks.number(rise, "rise", high=1, open_low=True)
        self.start_divisor = checks.number(start_divisor, "start_divisor", low=1)
        self.end_divisor = checks.number(end_divisor, "end_divisor", low=1)

    def __call__(self, t: int) -> float:
        top, last = self.rise * self.steps - 1, self.steps - 1
        start = self.learning_rate / self.start_divisor
        if t <= top:
            return between(start, self.learning_rate, t / top if top else 1.0)
        top = max(top, 0.0)
        fraction = (min(int(t), last) - top) / (last - top) if last > top else 1.0
        return between(self.learning_rate, start / self.end_divisor, min(1.0, fraction))


def between(start: float, end: float, fraction: float) -> float:
    """From start (fraction 0) to end (fraction 1) along half a cosine."""
    rest = (start - end) * (1 + math.cos(math.pi * fraction)) / 2
    if math.isinf(rest):    # twice the largest rates is too large
        rest = (start - end) * ((1 + math.cos(math.pi * fraction)) / 2)
    return end + rest
