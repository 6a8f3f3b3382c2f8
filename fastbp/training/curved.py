"""Curvature products for the methods of SciPy that use them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .._types import Doubles, Products, Sum
from ..engine import curvature
from ..engine.frozen import Mask
from ..engine.plan import Plan
from ..engine.regularisation import Regularisation

METHODS = ("Newton-CG", "trust-ncg", "trust-krylov")    # of scipy.optimize.minimize, with hessp
CURVATURES = ("hessian", "gauss_newton")


def check(kind: Any, method: str, plan: Plan) -> str | None:
    """The curvature for this method; None if it uses none."""
    if kind is not None and (not isinstance(kind, str) or kind not in CURVATURES):
        raise ValueError(f"curvature is {kind!r:.100}; accepted are {', '.join(CURVATURES)}")
    if method in METHODS:
        curvature.check_loss(plan)
        return "hessian" if kind is None else kind
    if kind is not None:
        raise ValueError(f"curvature is {kind!r}, but the method {method!r} takes none; {', '.join(METHODS)} do")
    return None


def quiet(kind: str | None) -> AbstractContextManager[Any]:
    """Silence NumPy's warnings for methods with curvature: SciPy's trust-krylov computes with uninitialised memory."""
    return nullcontext() if kind is None else np.errstate(all="ignore")


class Curvature:
    """hessp(x, p) of SciPy: the product at x, for the free parameters. The forward pass of the last x is kept.

    whole: makes theta from x
    """

    def __init__(
        self, kind: str, data: Sum, regularisation: Regularisation, n_threads: Any,
        whole: Callable[[Doubles], Doubles], free: Mask | None, dtype: np.dtype[Any],
    ) -> None:
        self._kind, self._data, self._regularisation, self._n_threads = kind, data, regularisation, n_threads
        self._whole, self._free, self._dtype = whole, free, dtype
        self._x: Doubles | None = None
        self._products: Products | None = None

    def __call__(self, x: Doubles, p: Doubles) -> Doubles:
        if self._products is None or not np.array_equal(x, self._x):    # type: ignore[arg-type]
            self._products = None       # free its memory first
            theta = np.array(self._whole(x), self._dtype)
            self._products = self._data.products(theta, self._kind == "gauss_newton", self._n_threads, True)
            self._x = x.copy()
        V = p
        if self._free is not None:
            V = np.zeros(len(self._free))
            V[self._free] = p
        product = curvature.product(self._products, V.astype(self._dtype), self._data, self._regularisation)
        return (product if self._free is None else product[self._free]).astype(np.float64, copy=False)
