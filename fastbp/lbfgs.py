"""L-BFGS, the optimizer that needs all examples at once. training/full_batch.py takes its steps."""

from typing import Any

from ._types import Count, Floats, Number, State
from .base import Optimizer
from .engine import checks
from .keywords import explained


class LBFGS(Optimizer):
    """L-BFGS: a full-batch quasi-Newton method with limited memory.

    Each step computes theta := theta - step H D. H comes from the last changes of theta and D. A line search chooses a
    step that lowers J enough.

    It needs all examples in one batch: train(..., batch_size=None), where an epoch is an iteration. `minimize` with
    method="L-BFGS" is the same search in one call. Nocedal & Wright, Numerical Optimization, algorithm 7.5, with the
    line search of Moré & Thuente 1994; its constants are those of SciPy's L-BFGS-B.

    Parameters
    ----------
    memory : int
        Number of pairs that are kept.
    gtol : float
        Training stops when ``max |D|`` is at most this.
    ftol : float
        Training stops when an iteration lowers J by less than ftol max(``|J|``, 1).
    maxls : int
        Most evaluations of J and D per iteration.

    See Also
    --------
    minimize : The same search in one call.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.LBFGS(), epochs=5, batch_size=None, seed=0)
    >>> history.J[-1] < history.J[0]
    True
    """

    @explained
    def __init__(
        self, memory: Count = 10, gtol: Number = 1e-05, ftol: Number = 2.220446049250313e-09, maxls: Count = 20,
    ) -> None:
        self.memory = checks.count(memory, "memory")
        self.gtol = checks.number(gtol, "gtol")
        self.ftol = checks.number(ftol, "ftol")
        self.maxls = checks.count(maxls, "maxls")

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        raise TypeError("LBFGS needs J and D at several theta, not one D; use it in train(..., batch_size=None), or "
                        "minimize(method=\"L-BFGS\")")

    def settings(self) -> tuple[Any, ...]:
        return self.memory, self.gtol, self.ftol, self.maxls
