"""The examples of many networks: checked and converted once for each dtype, and read in place by all of them."""

from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._types import Rows
from ..engine import checks
from ..engine.data import Data
from ..network import Network

KEPT = 8    # validation sets that are kept for the next network


class Shared:
    """X and Y of all networks.

    Parameters
    ----------
    X : (m, any)
    Y : (m, K), (m,) targets or (m,) labels
    """

    def __init__(self, X: ArrayLike, Y: ArrayLike) -> None:
        self._X, self._Y = checks.array(X, "X"), checks.array(Y, "Y", labels=True)
        if self._X.ndim != 2:
            raise ValueError(f"X must be 2-D, with one example per row; got shape {self._X.shape}")
        self.m = len(self._X)
        self._inputs: dict[Any, NDArray[Any]] = {}
        self._whole: dict[Any, Data] = {}
        self._held: OrderedDict[Any, tuple[Any, Data]] = OrderedDict()
        self._lock = Lock()

    @property
    def form(self) -> tuple[Any, ...]:
        """Shapes and dtypes, which identify the examples."""
        return self._X.shape, self._X.dtype.str, self._Y.shape, self._Y.dtype.str

    def whole(self, net: Network) -> Data:
        """All examples without weights, checked for a network like this one; `plan` may be that of another network."""
        plan = net.plan
        key = net.dtype, plan.layer_sizes[0], plan.layer_sizes[-1], plan.output, plan.loss, plan.own
        data = self._whole.get(key)
        if data is None:
            X = self._inputs.get(key[:2])
            if X is None:
                X = self._inputs[key[:2]] = checks.inputs(self._X, plan.layer_sizes[0], net.dtype)[0]
            data = self._whole[key] = Data(plan, net.dtype, X, self._Y)
        return data

    def data(self, net: Network, rows: Rows | None, sample_weight: Any) -> Data:
        """The examples `rows` (None: all) for a network. The weights are its own; the arrays are shared by all."""
        whole = self.whole(net)
        data = Data.of(net.plan, whole.X, whole.dense, whole.labels, None)
        if sample_weight is None:
            data.classes = whole.classes    # computed once
        else:
            self._weigh(data, net, rows, checks.array(sample_weight, "sample_weight"))
        return data

    def _weigh(self, data: Data, net: Network, rows: Rows | None, given: NDArray[Any]) -> None:
        """Give the data the weights of these rows, as they would be for X[rows] alone."""
        if given.shape != (self.m,):
            raise ValueError(f"sample_weight must have shape ({self.m},), one for each row of X; got {given.shape}")
        taken = given if rows is None else given[rows]
        w, data.scale = checks.weights(taken, len(taken), net.dtype)
        assert w is not None
        if rows is None:
            data.w = w
        else:
            data.w = np.full((self.m, 1), w[0])     # equal weights stay equal
            data.w[rows] = w
        data.weight = float(w.sum(dtype=np.float64))

    def part(self, net: Network, rows: Rows | None, sample_weight: Any = None) -> Data:
        """The examples X[rows], Y[rows] alone, a copy."""
        whole = self.whole(net)
        if rows is None and sample_weight is None:
            return Data.of(net.plan, whole.X, whole.dense, whole.labels, None)
        at: Any = slice(None) if rows is None else rows
        w = None if sample_weight is None else np.asarray(sample_weight)[at]
        Y = whole.Y[at]
        return Data(net.plan, net.dtype, whole.X[at], Y, w)

    def validation(self, net: Network, rows: Rows) -> Data:
        """X[rows], Y[rows] to validate with; the last few are kept, since many networks share a fold."""
        whole = self.whole(net)
        key = id(rows), id(whole)
        with self._lock:
            kept = self._held.get(key)
            if kept is None:
                kept = rows, self.part(net, rows)
                self._held[key] = kept
                if len(self._held) > KEPT:
                    self._held.popitem(last=False)
            else:
                self._held.move_to_end(key)
        data = Data.of(net.plan, kept[1].X, kept[1].dense, kept[1].labels, None)
        data.classes = kept[1].classes      # computed once
        return data


def checked_rows(value: Any, m: int, name: str) -> Rows | None:
    """Indices of examples, int64; None for None. A boolean mask of all examples stands for the indices at which it is
    True."""
    if value is None:
        return None
    a = checks.array(value, name)
    if a.dtype == bool:
        if a.shape != (m,):
            raise ValueError(f"{name} is a mask of shape {a.shape}; X has {m} rows")
        a = np.flatnonzero(checks.booleans(a))
    if a.ndim != 1 or a.dtype.kind not in "iu" or not a.size:
        raise ValueError(f"{name} must be the indices of examples, 1-D and at least one; got shape {a.shape}, dtype "
                         f"{a.dtype}")
    if a.min() < 0 or a.max() >= m:
        i = int(np.flatnonzero((a < 0) | (a >= m))[0])
        raise ValueError(f"{name}[{i}] is {a[i]}; X has {m} rows")
    return np.ascontiguousarray(a, np.int64)
