"""The Hessian and the Gauss-Newton matrix of J as linear operators, for SciPy's solvers.

They are `scipy.sparse.linalg.LinearOperator`: ``cg``, ``eigsh`` and the like take them. The forward pass and delta at
theta are kept, so a product costs as much as 0.8 to 1.2 gradients with one hidden layer, and up to 2 with many.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from ._types import Comm, Count, Number, PerLayer
from .distributed.group import Group, as_group, guard
from .engine import checks, curvature
from .evaluation import evaluation
from .network import Network

__all__ = ["Curvature", "gauss_newton", "hessian"]


class Curvature(LinearOperator):
    """A symmetric matrix (n_parameters, n_parameters), of which only products with vectors are computed. `hessian` and
    `gauss_newton` make it.

    Attributes
    ----------
    shape : (n_parameters, n_parameters)
    dtype : numpy.dtype
        That of theta.
    theta : ndarray (n_parameters,)
        The parameters at which the matrix is taken; a read-only copy.

    See Also
    --------
    hessian, gauss_newton

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 3, 1], seed=0)
    >>> H = fastbp.curvature.hessian(net, np.eye(2), np.array([0, 1]))
    >>> (H @ np.ones(net.n_parameters)).shape
    (13,)
    """

    def __init__(
        self, net: Network, X: ArrayLike, Y: ArrayLike, gauss_newton: bool, sample_weight: ArrayLike | None,
        n_threads: Count | None, comm: Comm | Group | None, **given: Any,
    ) -> None:
        self._group = as_group(comm)
        with guard(self._group):
            theta, self._data, self._penalties = evaluation(
                checks.network(net), X, Y, sample_weight, self._group,
                call="gauss_newton" if gauss_newton else "hessian", **given)
            if n_threads is not None:
                checks.count(n_threads, "n_threads")
            self.theta = theta.copy()
            self.theta.setflags(write=False)
            self._plan = net.plan
            self._products = self._data.products(self.theta, gauss_newton, n_threads, keep=True)
        super().__init__(self.theta.dtype, (len(theta), len(theta)))

    def _matvec(self, p: NDArray[Any]) -> NDArray[Any]:
        with guard(self._group):
            V = checks.parameters(np.reshape(p, -1), self._plan, self.theta.dtype, "p")
            return curvature.product(self._products, V, self._data, self._penalties)

    def _rmatvec(self, p: NDArray[Any]) -> NDArray[Any]:
        return self._matvec(p)


def hessian(
    net: Network, X: ArrayLike, Y: ArrayLike, *, theta: ArrayLike | None = None, weight_decay: PerLayer = 0.0,
    lam: Number | None = None, l1: Number = 0.0, sample_weight: ArrayLike | None = None,
    n_threads: Count | None = None, comm: Comm | Group | None = None,
) -> Curvature:
    """The second derivative of J with respect to theta, as an operator.

    Parameters
    ----------
    net : Network
        The operator keeps a copy of its theta: later changes of the network do not change it.
    X, Y, theta, weight_decay, lam, l1, sample_weight, n_threads, comm
        As for `Network.hessian_product`. X and Y are read in place: do not change them.

    Returns
    -------
    Curvature
        A `scipy.sparse.linalg.LinearOperator`.

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    gauss_newton, fastbp.Network.hessian_product

    Examples
    --------
    The largest eigenvalue:

    >>> import numpy as np, fastbp
    >>> from scipy.sparse.linalg import eigsh
    >>> net = fastbp.Network([3, 2], output="softmax", init=np.zeros(8))
    >>> H = fastbp.curvature.hessian(net, np.eye(3), np.array([0, 1, 1]))
    >>> H.shape, np.round(eigsh(H, 1, return_eigenvectors=False, v0=np.ones(8) + np.arange(8)), 4)
    ((8, 8), array([0.6667]))
    """
    return Curvature(net, X, Y, False, sample_weight, n_threads, comm, theta=theta, weight_decay=weight_decay, lam=lam,
                     l1=l1)


def gauss_newton(
    net: Network, X: ArrayLike, Y: ArrayLike, *, theta: ArrayLike | None = None, weight_decay: PerLayer = 0.0,
    lam: Number | None = None, l1: Number = 0.0, sample_weight: ArrayLike | None = None,
    n_threads: Count | None = None, comm: Comm | Group | None = None,
) -> Curvature:
    """The Gauss-Newton matrix of J, positive semidefinite, as an operator; arguments and result as for `hessian`.

    Parameters
    ----------
    net, X, Y, theta, weight_decay, lam, l1, sample_weight, n_threads, comm
        As for `hessian`.

    Returns
    -------
    Curvature

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    hessian, fastbp.Network.gauss_newton_product

    Examples
    --------
    One Gauss-Newton step solves a linear problem:

    >>> import numpy as np, fastbp
    >>> from scipy.sparse.linalg import cg
    >>> net = fastbp.Network([2, 1], output="identity", init=np.zeros(3))
    >>> X = np.array([[0, 0], [1, 0], [0, 1.0], [1, 1]])
    >>> y = 3 + X @ [1, -2]
    >>> G = fastbp.curvature.gauss_newton(net, X, y)
    >>> (net.theta - cg(G, net.cost_and_gradient(X, y)[1])[0]).round(3)
    array([ 3.,  1., -2.])
    """
    return Curvature(net, X, Y, True, sample_weight, n_threads, comm, theta=theta, weight_decay=weight_decay, lam=lam,
                     l1=l1)
