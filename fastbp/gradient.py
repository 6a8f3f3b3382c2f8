"""The gradient check: D against differences of J."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._types import Count, Doubles, Number, PerLayer, Seed
from .engine import blas, checks, objective
from .engine.regularisation import Regularisation
from .network import Network


class GradientCheck(NamedTuple):
    """The result of `check_gradient`.

    Attributes
    ----------
    relative_difference : float
        Below 1e-8 if D is right; larger near kinks such as that of relu.
    analytic, numeric : ndarray
        The derivatives that were compared.

    See Also
    --------
    check_gradient

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 1], seed=0)
    >>> difference, analytic, numeric = fastbp.check_gradient(net, np.eye(2), np.array([0, 1]))
    >>> analytic.shape, numeric.shape
    ((3,), (3,))
    """

    relative_difference: float
    analytic: Doubles
    numeric: Doubles

    def __repr__(self) -> str:
        n = len(self.analytic)
        return (f"GradientCheck(relative_difference={self.relative_difference:.3g}, analytic and numeric: {n} "
                f"value{'s' * (n != 1)})")


def check_gradient(
    net: Network, X: ArrayLike, Y: ArrayLike, *, weight_decay: PerLayer = 0.0, lam: Number | None = None,
    l1: Number = 0.0, sample_weight: ArrayLike | None = None, directions: Count | None = None, h: Number = 1e-05,
    seed: Seed = 0,
) -> GradientCheck:
    """Compare D with central differences of J: (J(theta + h u) - J(theta - h u)) / 2h.

    Parameters
    ----------
    net : Network
        It stays unchanged. A float32 network is checked through a float64 copy.
    X, Y, weight_decay, lam, l1, sample_weight
        As for `Network.cost_and_gradient`.
    directions : int, optional
        Compare along this many random directions u of length 1 instead of along every coordinate.
    h : float
        The step; 1e-5 suits float64. The error is O(h^2), except near kinks such as those of relu and ``|Theta_ij|``.
    seed : int
        Seed of the random directions.

    Returns
    -------
    GradientCheck
        ``(relative_difference, analytic, numeric)``: the difference is ``|analytic - numeric| / |analytic + numeric|``
        (norms), 0 if both are 0; the gradients are (n_parameters,) or (directions,).

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    Network.cost_and_gradient

    Notes
    -----
    Ng, Machine Learning, lecture 9 (gradient checking). Each coordinate or direction costs two forward passes over all
    examples: use `directions` for large networks.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([3, 5, 2], activation="tanh", output="softmax", seed=0)
    >>> check = fastbp.check_gradient(net, np.eye(3), np.array([0, 1, 1]), weight_decay=0.1)
    >>> bool(check.relative_difference < 1e-8)
    True
    """
    checks.network(net)
    h = checks.number(h, "h", open_low=True)
    rng = checks.generator(seed)
    net64 = net.copy(dtype=np.float64)
    theta, n = np.asarray(net64.theta, np.float64), net64.n_parameters
    data = net64.data(X, Y, sample_weight)
    penalties = Regularisation.of(net64.plan, data.weight * data.scale, weight_decay=weight_decay, lam=lam, l1=l1)
    D: Doubles = objective.cost_and_gradient(theta, data, penalties)[1].astype(np.float64, copy=False)
    U = None if directions is None else rng.standard_normal((checks.count(directions, "directions"), n))
    with blas.single_thread(everywhere=True):
        return _compare(lambda at: objective.cost(at, data, penalties), theta, D, U, h)


def _compare(
    J: Callable[[Doubles], float], theta: Doubles, D: Doubles, U: Doubles | None, h: float,
) -> GradientCheck:
    """Differences of J along the rows of U, scaled to length 1, or along every coordinate, and their values from D."""
    along: Iterable[Doubles]
    if U is None:
        along, analytic = _unit_vectors(len(theta)), D
    else:
        U /= np.linalg.norm(U, axis=1, keepdims=True)
        along, analytic = U, U @ D
    numeric = np.array([(J(theta + h * u) - J(theta - h * u)) / (2 * h) for u in along])
    size = np.linalg.norm(analytic + numeric)
    difference = np.linalg.norm(analytic - numeric)
    return GradientCheck(float(difference / size) if size else float(difference), analytic, numeric)


def _unit_vectors(n: int) -> Iterator[Doubles]:
    u = np.zeros(n)
    for i in range(n):
        u[i] = 1
        yield u
        u[i] = 0
