"""What else a `Network` computes: the textbook's quantities by layer, and derivatives of all kinds."""

from itertools import pairwise
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _calls, _curvature, _derivatives
from ._backprop import Examples
from ._kernels import outputs
from ._types import Comm, Count, Flag, Floats, Number, PerLayer, Scalar
from .distributed.group import Group
from .engine import checks, curvature, each, outside, sums
from .engine.data import Data
from .engine.plan import Plan, pair
from .evaluation import curvature_product, product_into


class Derivatives:
    """A part of `Network`."""

    _plan: Plan
    _theta: Floats
    _dtype: np.dtype[np.floating[Any]]
    _evaluator: _calls.Evaluator
    _pass: _derivatives.Pass | None
    _products: _curvature.Few | None

    def activations(self, X: ArrayLike) -> list[Floats]:
        """[a(1), ..., a(L)] of the examples, each (m, s_l), without the bias unit."""
        layers = self._evaluator.activations(X, self._theta)
        if layers is not None:
            return layers
        rows, _ = checks.inputs(X, self._plan.layer_sizes[0], self._dtype, empty=True)
        self._check_theta()
        return [rows.astype(self._dtype), *sums.trace(self._plan, self._theta, rows)]

    def deltas(self, X: ArrayLike, Y: ArrayLike) -> list[Floats]:
        """[delta(2), ..., delta(L)] of the examples, each (m, s_l): dcost/dz(l) of each example."""
        layers = self._evaluator.deltas(X, Y, self._theta)
        if layers is not None:
            return layers
        theta, data = self._check_theta(), Data(self._plan, self._dtype, X, Y)
        return data.deltas(theta)

    def forward(self, X: ArrayLike, *, n_threads: Count | None = None) -> Floats:
        """z(L) of each example: the input of the output function, which returns h.

        Parameters
        ----------
        X : (m, s_1), or (s_1,) for one example
        n_threads : int, optional
            At most this many threads; None chooses automatically. The result is bit-identical for any number.

        Returns
        -------
        ndarray (m, K), or (K,) for one example
        """
        n_threads = None if n_threads is None else checks.count(n_threads, "n_threads")
        z = self._few.forward(X, self._theta)
        if z is not None:
            return z
        rows, one_row = checks.inputs(X, self._plan.layer_sizes[0], self._dtype, empty=True)
        z = outside.forward(self._plan, self._check_theta(), Examples(rows), len(rows), n_threads=n_threads)
        return z[0] if one_row else z

    @overload
    def backward(
        self, X: ArrayLike, G: ArrayLike, *, wrt: str = "z", inputs: Literal[False] = False, out: Floats | None = None,
        n_threads: Count | None = None,
    ) -> Floats: ...

    @overload
    def backward(
        self, X: ArrayLike, G: ArrayLike, *, wrt: str = "z", inputs: Literal[True], out: Floats | None = None,
        n_threads: Count | None = None,
    ) -> tuple[Floats, Floats]: ...

    def backward(
        self, X: ArrayLike, G: ArrayLike, *, wrt: str = "z", inputs: Flag = False, out: Floats | None = None,
        n_threads: Count | None = None,
    ) -> Any:
        """D = dJ/dtheta of any J, from G = dJ/dz(L) or dJ/dh: backpropagation from G.

        D(l) = sum_i delta(l+1) [1, a(l)]' with delta(L) = G. Nothing is divided by m, and no penalty is added.

        Parameters
        ----------
        X : (m, s_1), or (s_1,) for one example
        G : (m, K), or (K,) for one example
            dJ/dz(L), where z(L) is what `forward` returns.
        wrt : "z" or "h"
            "h" says that G is dJ/dh, where h is what `predict` returns.
        inputs : bool
            True returns dJ/dX too.
        out : ndarray (n_parameters,), optional
            Receives D and is returned.
        n_threads : int, optional
            At most this many threads; None chooses automatically. The result is bit-identical for any number.

        Returns
        -------
        ndarray (n_parameters,), or (D, dJ/dX)
            D is flat like theta, see `views`. dJ/dX has the shape of X.

        Examples
        --------
        Half the squared error, given by its derivative:

        >>> import numpy as np, fastbp
        >>> net = fastbp.Network([3, 5, 2], output="identity", seed=0)
        >>> X, Y = np.ones((4, 3)), np.zeros((4, 2))
        >>> D = net.backward(X, (net.forward(X) - Y) / len(X))
        >>> bool(np.allclose(D, net.cost_and_gradient(X, Y)[1]))
        True
        """
        if not isinstance(wrt, str) or wrt not in ("z", "h"):
            raise ValueError(f"wrt is {wrt!r}; accepted are 'z' and 'h'")
        inputs, plan = checks.flag(inputs, "inputs"), self._plan
        n_threads = None if n_threads is None else checks.count(n_threads, "n_threads")
        result = self._few.backward(X, G, self._theta, wrt == "h", inputs, out)
        if result is not None:
            return result
        rows, one_row = checks.inputs(X, plan.layer_sizes[0], self._dtype, empty=True)
        K, theta = plan.layer_sizes[-1], self._check_theta()
        slopes = checks.slopes(G, (K,) if one_row else (len(rows), K), self._dtype)
        if out is not None:
            checks.output_array(out, theta.shape, self._dtype)
            if np.may_share_memory(out, theta):
                raise ValueError("out must not be a part of net.theta")
        D, dX = np.zeros_like(theta), np.empty(rows.shape, self._dtype) if inputs else None
        outside.backward(plan, theta, Examples(rows), len(rows), slopes, of_h=wrt == "h", Delta=D, dX=dX,
                         n_threads=n_threads)
        if out is not None:
            out[:] = D
            D = out
        return D if dX is None else (D, dX[0] if one_row else dX)

    def jacobian(
        self, X: ArrayLike, *, wrt: str = "theta", out: Floats | None = None, n_threads: Count | None = None,
    ) -> Floats:
        """The derivatives of all outputs h of each example.

        Parameters
        ----------
        X : (m, s_1), or (s_1,) for one example
        wrt : "theta" or "X"
        out : ndarray of the result's shape, optional
            Receives the result and is returned; of the network's dtype, C-contiguous.
        n_threads : int, optional
            At most this many threads; None chooses automatically. The result is bit-identical for any number.

        Returns
        -------
        ndarray (m, K, n_parameters), or (m, K, s_1) with wrt="X"
            dh_k/dtheta, flat like theta (see `views`), or dh_k/dX. For one example there is no first axis.

        Notes
        -----
        It works block by block: each thread needs about 1 MB in addition to the result, more for large networks. Pass
        part of the rows at a time if the result itself is too large.
        """
        if not isinstance(wrt, str) or wrt not in ("theta", "X"):
            raise ValueError(f"wrt is {wrt!r}; accepted are 'theta' and 'X'")
        rows, one_row = checks.inputs(X, self._plan.layer_sizes[0], self._dtype, empty=True)
        theta, K = self._check_theta(), self._plan.layer_sizes[-1]
        columns = len(theta) if wrt == "theta" else self._plan.layer_sizes[0]
        out = self._room(out, (K, columns) if one_row else (len(rows), K, columns), {"X": rows})
        each.jacobian(self._plan, theta, Examples(rows), len(rows), out.reshape(len(rows), K, columns), wrt == "X",
                      n_threads)
        return out

    def gradients(
        self, X: ArrayLike, Y: ArrayLike, *, out: Floats | None = None, n_threads: Count | None = None,
    ) -> Floats:
        """dcost_i/dtheta of each example i, without penalty or weights, not divided by m.

        Their mean is D of `cost_and_gradient`. X and Y are as there; out and n_threads as for `jacobian`.

        Returns
        -------
        ndarray (m, n_parameters)
            Each row is flat like theta, see `views`.
        """
        theta, data = self._check_theta(), Data(self._plan, self._dtype, X, Y)
        data.refuse_own("gradients")
        out = self._room(out, (data.m, len(theta)), {"X": data.X, "Y": data.dense})
        each.gradients(self._plan, theta, data.examples(), data.m, out, n_threads)
        return out

    def gradient_norms(self, X: ArrayLike, Y: ArrayLike, *, n_threads: Count | None = None) -> Floats:
        """``|dcost_i/dtheta|`` of each example, (m,), without storing the gradients.

        It is the root of sum_l ``|delta(l+1)|^2 (1 + |a(l)|^2)`` and costs about as much as one gradient over all
        examples. Squares are summed in float64. X and Y are as for `cost_and_gradient`.
        """
        n_threads = None if n_threads is None else checks.count(n_threads, "n_threads")
        result = self._evaluator.gradient_norms(X, Y, self._theta)
        if result is not None:
            return result
        theta, data = self._check_theta(), Data(self._plan, self._dtype, X, Y)
        data.refuse_own("gradient_norms")
        norms = each.norms(self._plan, theta, data, n_threads)
        with np.errstate(over="ignore", under="ignore"):
            return norms.astype(self._dtype)

    def hessian_product(
        self, X: ArrayLike, Y: ArrayLike, p: ArrayLike, *, theta: ArrayLike | None = None,
        weight_decay: PerLayer = 0.0, lam: Number | None = None, l1: Number = 0.0,
        sample_weight: ArrayLike | None = None, out: Floats | None = None, n_threads: Count | None = None,
        comm: Comm | Group | None = None,
    ) -> Floats:
        """H p: the exact product of the Hessian of J with a vector, without forming H.

        It uses Pearlmutter's R-operator and costs as much as about two gradients. For many products at one theta,
        `fastbp.curvature.hessian` is faster.

        Parameters
        ----------
        X, Y, theta, weight_decay, lam, l1, sample_weight, n_threads, comm
            As for `cost_and_gradient`; l1 has no curvature. With comm, p must be the same on all ranks.
        p : (n_parameters,)
            Flat like theta, finite.
        out : ndarray (n_parameters,), optional
            Receives H p and is returned; it may be p.

        Returns
        -------
        ndarray (n_parameters,)
            H p, flat like theta, see `views`.

        Notes
        -----
        Where g'' or the second derivative of a cost jumps or does not exist, docs/math.md defines its value: 0 for
        relu, leaky_relu, absolute_error and quantile. A loss of your own is refused.

        Examples
        --------
        A difference of two gradients gives about the same, with half as many correct digits:

        >>> import numpy as np, fastbp
        >>> net = fastbp.Network([3, 5, 2], activation="tanh", output="softmax", seed=0)
        >>> X, labels = np.eye(3), np.array([0, 1, 1])
        >>> p = np.ones(net.n_parameters)
        >>> D = [net.cost_and_gradient(X, labels, theta=net.theta + h * p)[1] for h in (1e-6, -1e-6)]
        >>> bool(np.allclose(net.hessian_product(X, labels, p), (D[0] - D[1]) / 2e-6, atol=1e-8))
        True
        """
        return self._curvature_product(X, Y, p, False, sample_weight, out, n_threads, comm, theta,
                                       weight_decay=weight_decay, lam=lam, l1=l1)

    def gauss_newton_product(
        self, X: ArrayLike, Y: ArrayLike, p: ArrayLike, *, theta: ArrayLike | None = None,
        weight_decay: PerLayer = 0.0, lam: Number | None = None, l1: Number = 0.0,
        sample_weight: ArrayLike | None = None, out: Floats | None = None, n_threads: Count | None = None,
        comm: Comm | Group | None = None,
    ) -> Floats:
        """G p: the product of the Gauss-Newton matrix with a vector. G is positive semidefinite.

        G = (1/M) sum_i w_i J_i' H+ J_i + c on the weights, where J_i = dz(L)/dtheta of example i. H+ is the positive
        semidefinite part of the Hessian of its cost with respect to z(L) (docs/math.md). Arguments and result as for
        `hessian_product`; `fastbp.curvature.gauss_newton` is faster for many products at one theta.

        Examples
        --------
        Without a hidden layer it is the Hessian of a convex cost:

        >>> import numpy as np, fastbp
        >>> net = fastbp.Network([3, 2], output="softmax", seed=0)
        >>> X, labels, p = np.eye(3), np.array([0, 1, 1]), np.arange(8.0)
        >>> G, H = net.gauss_newton_product(X, labels, p), net.hessian_product(X, labels, p)
        >>> bool(np.allclose(G, H)), bool(p @ G > 0)
        (True, True)
        """
        return self._curvature_product(X, Y, p, True, sample_weight, out, n_threads, comm, theta,
                                       weight_decay=weight_decay, lam=lam, l1=l1)

    def layers(self, first: Count, last: Count) -> Self:
        """A network of the layers `first` to `last`, with its own copy of the parameters: an encoder, a head.

        Its input is a(first), its output a(last). The activation of layer `last` becomes the output, with its default
        loss; layer L keeps the loss of the network.

        Parameters
        ----------
        first, last : int
            Layer numbers from 1 (the inputs) to L: 1 <= first < last <= L.
        """
        plan, (first, last) = self._plan, (checks.count(first, "first"), checks.count(last, "last"))
        L, state = len(plan.layer_sizes), self.__getstate__()
        if not first < last <= L:
            raise ValueError(f"layers from first={first} to last={last}: first must be below last, and last at most "
                             f"L = {L}")
        part = slice(plan.offsets[first - 1], plan.offsets[last - 1])
        if last < L:
            output = plan.activations[last - 2]
            if output not in outputs:
                raise ValueError(f"layer last={last} has the activation {output!r}, which is not an output (these are "
                                 f"{', '.join(outputs)}); net.activations(X)[{last - 1}] are its values")
            state |= {"output": output, "loss": pair(output, None)[1], "loss_parameters": {}}
        init = state["init"]
        twin = type(self).__new__(type(self))
        twin.__setstate__(state | {
            "layer_sizes": plan.layer_sizes[first - 1 : last],
            "activation": list(plan.activations[first - 1 : last - 2]),
            "theta": state["theta"][part], "init": init if isinstance(init, str) else init[part],
        })
        return twin

    def __getstate__(self) -> dict[str, Any]:
        raise NotImplementedError

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def views(self, D: NDArray[Scalar]) -> tuple[NDArray[Scalar], ...]:
        """Views of D, an array flat like theta, in the shapes of Theta: one for each Theta(l).

        D is (n_parameters,), or (..., n_parameters) as `gradients` and `jacobian` return it.
        """
        if not isinstance(D, np.ndarray):
            raise TypeError(f"D must be an ndarray, since views of it are returned; got {type(D).__name__}")
        if D.ndim < 1 or D.shape[-1] != self._plan.n_parameters:
            raise ValueError(f"D must have shape (..., {self._plan.n_parameters}), flat like theta; got {D.shape}")
        bounds = zip(pairwise(self._plan.offsets), self._plan.shapes, strict=True)
        return tuple(D[..., begin:end].reshape(D.shape[:-1] + shape) for (begin, end), shape in bounds)

    def _room(self, out: Floats | None, shape: tuple[int, ...], read: dict[str, Any]) -> Floats:
        """The caller's array for a result that is written while theta and these arrays are read; or a new one."""
        if out is None:
            return np.empty(shape, self._dtype)
        checks.output_array(out, shape, self._dtype)
        for name, other in {"net.theta": self._theta, **read}.items():
            if other is not None and np.may_share_memory(out, other):
                raise ValueError(f"out must not be a part of {name}")
        return out

    @property
    def _few(self) -> _derivatives.Pass:
        """The passes over a few examples, made at first use."""
        if self._pass is None:
            self._pass = outside.few(self._plan, self._dtype)
        return self._pass

    def _curvature_product(
        self, X: ArrayLike, Y: ArrayLike, p: ArrayLike, gauss_newton: bool, sample_weight: ArrayLike | None,
        out: Floats | None, n_threads: Count | None, comm: Comm | Group | None, theta: ArrayLike | None,
        **penalties: Any,
    ) -> Floats:
        """H p, or G p"""
        if comm is None and sample_weight is None and self._plan.own is None:
            if self._products is None:      # made at first use
                self._products = curvature.few(self._plan, self._dtype)
            at = self._theta if theta is None else theta
            result = self._products.product(X, Y, p, at, n_threads=n_threads, plus=gauss_newton, **penalties)
            if result is not None:
                return product_into(out, result, at)
        return curvature_product(self, X, Y, p, gauss_newton, sample_weight=sample_weight, out=out, theta=theta,
                                 n_threads=n_threads, comm=comm, **penalties)

    def _check_theta(self) -> Floats:
        """theta, checked to be finite: the caller may have written anything through the views."""
        return checks.own_parameters(self._theta, self._plan, self._dtype)
