"""Products of the Hessian of J, or of the Gauss-Newton matrix, with a vector: Pearlmutter's R-operator.

    R a(1) = 0;   R z(l+1) = V(l) [1, a(l)] + Theta(l) [0, R a(l)];   R a(l) = g'(z(l)) .* R z(l)
    R delta(L) = H_L R z(L);   u = (Theta' delta(l+1))[without bias]
    R delta(l) = (Theta' R delta(l+1) + V' delta(l+1))[without bias] .* g' + u .* g'' .* R z(l)
    H p = (1/M) sum w (R delta(l+1) [1, a]' + delta(l+1) [0, R a(l)]') + c p[j >= 1]
    G p = (1/M) backward(w H+ R z(L)) + c p[j >= 1]

V is p in the shapes of Theta, M the sum of the weights w. H_L is the second derivative of a cost with respect to z(L),
H+ the same without terms that can be negative. What depends on theta alone can be kept from product to product.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import _curvature, _kernels
from .._backprop import Examples
from .._types import Count, Floats, Products, Sum
from . import sums, threads
from .plan import Plan
from .regularisation import Regularisation

KEPT = 2**28    # most bytes of the workspaces that are kept between two products


def _units(plan: Plan) -> tuple[int, int]:
    """Values per example in a workspace and in a spare one; src/_curved.pxd has their layout."""
    hidden = sum(plan.layer_sizes[1:-1])
    return plan.units + 2 * hidden + 2 * plan.layer_sizes[-1], plan.units + hidden


def _height(plan: Plan, m: int, dtype: np.dtype[Any]) -> int:
    """Examples of a block, if there are m or more in all."""
    return plan.block(m, dtype.itemsize, sums.panel(dtype), sum(_units(plan)))


def check_loss(plan: Plan) -> None:
    """Raise a ValueError if the loss is the caller's own."""
    if plan.own is not None:
        raise ValueError(f"loss is {plan.own}, whose second derivatives are unknown; curvature products need one of "
                         f"{', '.join(_kernels.losses)}")


def few(plan: Plan, dtype: DTypeLike) -> _curvature.Few:
    """Products over a few examples in compiled code, with the same bits as those below. They return None if `checks`
    must look at the arguments first, or if the examples exceed a single range."""
    dtype = np.dtype(dtype)
    full = _height(plan, sums.MANY, dtype)
    most = min(int(sums.FEW / 2 / sums.operations(plan, 1)), (2 * sums.BLOCKS - 1) * full)
    return _curvature.Few(
        plan.code, dtype, most if sums.are_few(plan, 1) else 0, full, plan.lowest, plan.highest,
        (plan.output, plan.loss) == ("softmax", "cross_entropy"), np.ndarray, np.empty,
    )


class BlockProducts:
    """The sum over m examples of w H p, or of w G p, at one theta, block by block.

    Parameters
    ----------
    plan : Plan
    theta : (n_parameters,)
        It must not change.
    make : callable
        Returns the examples; labels are checked again.
    m : int
    gauss_newton : bool
    keep : bool
        Keep what depends on theta alone, unless that takes more than KEPT bytes.
    """

    def __init__(
        self, plan: Plan, theta: Floats, make: Callable[[], Examples], m: int, gauss_newton: bool,
        n_threads: Count | None = None, keep: bool = False,
    ) -> None:
        self._plan, self._theta, self._make, self._m, self._plus = plan, theta, make, m, gauss_newton
        check_loss(plan)
        units, spare = _units(plan)
        self._height = _height(plan, max(m, 1), theta.dtype)
        self._cuts = sums.ranges(plan, 0, m, self._height)
        self._operations = 2 * sums.operations(plan, m)
        self._n = threads.members(n_threads, self._operations, threads.SHARED_SUM)
        self._sizes = self._height * units, self._height * spare
        self._examples: Examples | None = None
        size = -(-m // self._height) * self._sizes[0]
        if keep and m and size * theta.itemsize <= KEPT:
            self._keep(size)

    def _keep(self, size: int) -> None:
        """Keep what depends on theta alone."""
        plan, examples = self._plan, self._make()
        work, none = sums.aligned(size, self._theta.dtype), np.empty(0, self._theta.dtype)

        def go(places: sums.Places, _: Floats, team: sums.Team, n: int, apart: bool) -> bool:
            return _curvature.keep(plan.code, self._theta, examples, self._cuts, places, work, self._height, self._plus,
                                   threads.SLICE, team, n, apart)

        with self._crew() as crew:
            n = min(crew.n, len(self._cuts) - 1)
            sums.in_ranges(self._cuts, self._height, none, crew, n, n, go)
        self._work, self._examples = work, examples

    def add(self, p: Floats, Delta: Floats) -> None:
        """Delta += the sum over the examples; p (n_parameters,) in the dtype of theta."""
        plan, dtype, kept = self._plan, self._theta.dtype, self._examples is not None
        examples = self._make() if self._examples is None else self._examples
        run = sums.RUN * self._height
        with self._crew() as crew:
            n = min(crew.n, len(self._cuts) - 1)
            work = self._work if kept else crew.room("work", n * self._sizes[0], dtype, sums.aligned)
            spare = crew.room("spare", n * self._sizes[1], dtype, sums.aligned)

            def go(places: sums.Places, others: Floats, team: sums.Team, n: int, apart: bool) -> bool:
                return _curvature.product(
                    plan.code, self._theta, p, examples, self._cuts, places, run, work, spare, self._height, kept,
                    self._plus, Delta, others, threads.SLICE, team, n, apart,
                )

            sums.in_ranges(self._cuts, run, Delta, crew, n, n, go)

    def _crew(self) -> threads.Crew:
        return threads.Crew(self._n, self._plan.large and self._operations >= threads.LONG, kept=self._plan.kept)


def product(products: Products, p: Floats, data: Sum, regularisation: Regularisation) -> Floats:
    """H p or G p of J, a fresh array: (1/M) sum w H p + c p[j >= 1]. l1 has no curvature."""
    Delta = np.zeros_like(p)
    products.add(p, Delta)
    _curvature.finish(data.plan.code, p, Delta, np.array(regularisation.c), data.weight)
    return Delta
