"""What a `Network` computes beside J and D: the textbook's quantities by layer, and derivatives of all kinds."""

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from . import _calls, _derivatives
from ._backprop import Examples
from ._types import Count, Flag, Floats
from .engine import checks, outside, sums
from .engine.data import Data
from .engine.plan import Plan


class Derivatives:
    """A part of `Network`."""

    _plan: Plan
    _theta: Floats
    _dtype: np.dtype[np.floating[Any]]
    _evaluator: _calls.Evaluator
    _pass: _derivatives.Pass | None

    def activations(self, X: ArrayLike) -> list[Floats]:
        """[a(1), ..., a(L)] of the examples, each (m, s_l), without the bias unit."""
        layers = self._evaluator.activations(X, self._theta)
        if layers is not None:
            return layers
        rows, _ = checks.inputs(X, self._plan.layer_sizes[0], self._dtype, empty=True)
        self._check_theta()
        return [rows.astype(self._dtype), *sums.trace(self._plan, self._theta, rows)]

    def deltas(self, X: ArrayLike, Y: ArrayLike) -> list[Floats]:
        """[delta(2), ..., delta(L)] of the examples, each (m, s_l): the derivative of an example's cost by z(l)."""
        layers = self._evaluator.deltas(X, Y, self._theta)
        if layers is not None:
            return layers
        theta, data = self._check_theta(), Data(self._plan, self._dtype, X, Y)
        return sums.trace_back(self._plan, theta, data.examples(), data.m)

    def forward(self, X: ArrayLike, *, n_threads: Count | None = None) -> Floats:
        """z(L) of each example: what the output function makes h of.

        Parameters
        ----------
        X : (m, s_1), or (s_1,) for one example
        n_threads : int, optional
            At most this many threads; None decides by what was measured to help. Never changes a bit.

        Returns
        -------
        ndarray (m, K), or (K,) for one example
        """
        z = self._few.forward(X, self._theta) if n_threads is None else None
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
        """D = dJ/dtheta of any J whose derivative by z(L) or h is given: backpropagation from G.

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
            At most this many threads; None decides by what was measured to help. Never changes a bit.

        Returns
        -------
        ndarray (n_parameters,), or (D, dJ/dX)
            D is flat like theta, see `views`. dJ/dX has the shape of X.

        Examples
        --------
        Half the squared error, as if fastbp did not know it:

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
        if n_threads is None:
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

    @property
    def _few(self) -> _derivatives.Pass:
        """The passes over a few examples, made when they are first asked for."""
        if self._pass is None:
            self._pass = outside.few(self._plan, self._dtype)
        return self._pass

    def _check_theta(self) -> Floats:
        """theta, checked to be finite: its owner may have written anything through the views."""
        return checks.own_parameters(self._theta, self._plan, self._dtype)
