"""An evaluation of J: its theta, examples and penalties, checked, and its result."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._types import Comm, Count, Floats
from .distributed.group import Group, as_group, guard
from .distributed.shard import Shard
from .engine import checks, curvature, objective, regularisation
from .engine.data import Data
from .engine.regularisation import Regularisation


class Evaluation(NamedTuple):
    """The result of `Network.evaluate`; accuracy is None for regression.

    Attributes
    ----------
    cost : float
        The mean cost of the examples, without penalty.
    accuracy : float or None
        The fraction of the examples in the right class.

    See Also
    --------
    Network.evaluate

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 1], init=np.zeros(3))
    >>> net.evaluate(np.eye(2), np.array([0, 1]))
    Evaluation(cost=0.6931471805599453, accuracy=0.5)
    """

    cost: float
    accuracy: float | Any


def evaluation(
    net: Any, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None, group: Group | None, *,
    theta: ArrayLike | None = None, out: Any = None, call: str = "Network", **penalties: Any,
) -> tuple[Floats, Data | Shard, Regularisation]:
    """(theta, data, penalties). For a group, data is a Shard, and all ranks must have the same settings.

    theta: None takes that of the network. out: an array for D, or None. call: the name of the function for all ranks.
    penalties: weight_decay, lam, l1.
    """
    def place() -> Floats:
        return _place(net, theta)

    def examples(at: Floats) -> Data:
        data = Data(net.plan, at.dtype, X, Y, sample_weight, shard=group is not None)
        if out is not None:
            checks.output_array(out, at.shape, at.dtype)
        Regularisation.of(net.plan, 1.0, **penalties)
        return data

    data: Data | Shard
    if group is None:
        at = place()
        data = examples(at)
    else:
        at = group.section(place)
        settings = {**net.settings(), **penalties, "init": None, "dtype": at.dtype.name}
        data = Shard(group, lambda: examples(at), call, settings)
    return at, data, Regularisation.of(net.plan, data.weight * data.scale, **penalties)


def curvature_product(
    net: Any, X: ArrayLike, Y: ArrayLike, p: ArrayLike, gauss_newton: bool, *, sample_weight: ArrayLike | None,
    out: Floats | None, n_threads: Count | None, comm: Comm | Group | None, **given: Any,
) -> Floats:
    """H p, or G p, in out if given; given: theta, weight_decay, lam, l1."""
    group = as_group(comm)
    with guard(group):
        name = "gauss_newton_product" if gauss_newton else "hessian_product"
        theta, data, penalties = evaluation(net, X, Y, sample_weight, group, out=out, call=name, **given)

        def vector() -> Floats:
            if n_threads is not None:
                checks.count(n_threads, "n_threads")
            return checks.parameters(p, net.plan, theta.dtype, "p")

        V = vector() if group is None else group.section(vector)
        result = curvature.product(data.products(theta, gauss_newton, n_threads), V, data, penalties)
    return product_into(out, result, theta)


def product_into(out: Floats | None, result: Floats, theta: Any) -> Floats:
    """out := the result, if out is given; a ValueError if out cannot take it."""
    if out is None:
        return result
    checks.output_array(out, result.shape, result.dtype)
    if np.may_share_memory(out, theta):
        raise ValueError("out must not be a part of theta")
    out[:] = result
    return out


def cost_of(net: Any, data: Data | Shard) -> float:
    """The mean cost of the examples in data, without label smoothing.

    This network, or an equal one, must have checked them.
    """
    if not isinstance(data, (Data, Shard)):
        raise TypeError(f"data must be net.data(X, Y); got {type(data).__name__}")
    net.plan.check_same(data.plan)
    if isinstance(data, Data) and data.dtype is not None and data.dtype != net.dtype:
        raise ValueError(f"data was made by a network of {data.dtype}; this one is of {net.dtype}")
    cost = objective.cost(net.theta, data.plain, regularisation.none(net.plan))
    if not math.isfinite(cost) and isinstance(data, Data):
        checks.finite(data.X, net.dtype, "X")       # X or Y may have been changed since they were checked
        if data.dense is not None and data.plan.own is None:
            checks.finite(data.dense, net.dtype, "Y")
    return cost


def _place(net: Any, theta: ArrayLike | None) -> Floats:
    """theta if given, else that of the network; the caller may have written anything through the views."""
    if theta is None:
        return checks.own_parameters(net.theta, net.plan, net.dtype)
    given = checks.array(theta, "theta").dtype.newbyteorder("=")
    return checks.parameters(theta, net.plan, given if given in (np.float32, np.float64) else np.float64)
