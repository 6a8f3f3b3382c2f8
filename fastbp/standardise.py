"""Inputs of mean 0 and standard deviation 1, by the moments of the training rows."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._types import Doubles
from .engine import blas, checks
from .network import Network

LOST = 1e-3  # a larger rounding error, in scales of its column, is a warning
ROWS = 4096  # of a block: a memory map is read block by block in each pass, never copied


class Standardise:
    """x -> (x - mean) / scale, with mean and standard deviation of each column of X.

    A network trained on `transform(X)` needs `transform` of all later inputs. `fold` puts the moments into Theta(1) of
    a copy: it takes raw inputs, and files and pickles keep the moments. `unfold` it before you resume training, since
    steps on raw inputs would go astray.

    Parameters
    ----------
    X : (m, n)
        The training rows.
    sample_weight : (m,), optional
        Weights of the rows in the moments.

    Attributes
    ----------
    mean, scale : ndarray (n,), float64, read-only
        scale^2 = sum w (x - mean)^2 / sum w; 1 for a constant column.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> X, y = np.array([[1900.0, 3], [1950, 3], [2000, 3], [2050, 3]]), np.array([0, 0, 1, 1])
    >>> scaling = fastbp.Standardise(X)
    >>> scaling.mean, scaling.scale.round(2)
    (array([1975.,    3.]), array([55.9,  1. ]))
    >>> net = fastbp.Network([2, 1], seed=0)
    >>> history = fastbp.train(net, scaling.transform(X), y, optimizer=fastbp.Adam(0.1), epochs=50, seed=0)
    >>> ready = scaling.fold(net)
    >>> bool(np.allclose(ready.predict(X), net.predict(scaling.transform(X))))
    True
    """

    def __init__(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        rows = self._rows(X)
        given, _ = checks.weights(sample_weight, len(rows), np.float64)
        w = np.ones(len(rows)) if given is None else given[:, 0]
        # relative to the first row that counts: the mean and the scale 0 of a constant column are exact
        first, total = rows[int(np.flatnonzero(w)[0])].astype(np.float64), w.sum()
        mean = first + self._sum(rows, w, lambda x: x - first) / total
        scale = np.sqrt(self._sum(rows, w, lambda x: (x - mean) ** 2) / total)
        scale[scale == 0] = 1
        self._keep(mean, scale)

    def _keep(self, mean: Doubles, scale: Doubles) -> None:
        self.mean, self.scale = mean, scale
        for a in (mean, scale):
            a.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._keep(state["mean"], state["scale"])

    @staticmethod
    def _rows(X: ArrayLike) -> NDArray[Any]:
        """X checked: (m, n), real and finite"""
        a = checks.array(X, "X")
        if a.ndim != 2 or 0 in a.shape:
            raise ValueError(f"X must have shape (m, n), m and n at least 1; got {a.shape}")
        return checks.inputs(a, a.shape[1], np.float64)[0]

    @staticmethod
    def _sum(X: NDArray[Any], w: NDArray[Any], function: Callable[[Doubles], Doubles]) -> Any:
        """sum_i w_i function(x_i) over the rows, (n,)"""
        blocks = range(0, len(X), ROWS)
        with blas.single_thread(everywhere=True):
            return sum(w[i : i + ROWS] @ function(X[i : i + ROWS].astype(np.float64)) for i in blocks)

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """(x - mean) / scale of each row, or of one row; float32 stays float32, any other dtype becomes float64."""
        return self._apply(X, lambda x: (x - self.mean) / self.scale)

    def inverse(self, X: ArrayLike) -> NDArray[Any]:
        """x scale + mean of each row, or of one row: the inverse of `transform`."""
        return self._apply(X, lambda x: x * self.scale + self.mean)

    def _apply(self, X: ArrayLike, function: Callable[[Doubles], Doubles]) -> NDArray[Any]:
        a = checks.array(X, "X")
        rows, one_row = checks.inputs(a, len(self.mean), np.float64, empty=True)
        out = np.empty(rows.shape, np.float32 if a.dtype == np.float32 else np.float64)
        for i in range(0, len(rows), ROWS):
            out[i : i + ROWS] = function(rows[i : i + ROWS].astype(np.float64))
        return out[0] if one_row else out

    def fold(self, net: Network) -> Network:
        """A copy of the network that takes raw inputs: Theta(1)_ij / scale_j, and in the bias column
        Theta(1)_i0 - sum_j Theta(1)_ij mean_j / scale_j.

        Predictions cost no more than before. A column whose mean is many times its scale loses digits, in float32 from
        some thousands on: this is a warning. Fold a float64 copy then (``net.copy(np.float64)``).
        """
        ratio = np.abs(self.mean) / self.scale
        j, eps = int(ratio.argmax()), float(np.finfo(self._own(net).dtype).eps)
        if ratio[j] * eps > LOST:
            warnings.warn(
                f"column {j} has a mean of {ratio[j]:.2g} times its scale: a folded {net.dtype.name} network knows it "
                f"only to about {ratio[j] * eps:.1g} of the scale; fold net.copy(np.float64)", stacklevel=2,
            )

        def folded(Theta: Doubles) -> None:
            Theta[:, 1:] /= self.scale
            Theta[:, 0] -= Theta[:, 1:] @ self.mean

        return _with_first(net, folded)

    def unfold(self, net: Network) -> Network:
        """A copy of a folded network that takes `transform` of the inputs again, to resume its training."""
        def unfolded(Theta: Doubles) -> None:
            Theta[:, 0] += Theta[:, 1:] @ self.mean
            Theta[:, 1:] *= self.scale

        return _with_first(self._own(net), unfolded)

    def _own(self, net: Network) -> Network:
        """The network, if its inputs are as many as the columns here"""
        if checks.network(net).layer_sizes[0] != len(self.mean):
            raise ValueError(f"net has {net.layer_sizes[0]} inputs; these moments are of {len(self.mean)} columns")
        return net

    def __repr__(self) -> str:
        return f"Standardise({len(self.mean)} columns)"


def _with_first(net: Network, change: Callable[[Doubles], None]) -> Network:
    """A copy of the network with Theta(1) changed, in float64"""
    net = net.copy()
    Theta = net.Theta[0].astype(np.float64)
    with blas.single_thread(everywhere=True):
        change(Theta)
    net.Theta[0][:] = Theta
    return net
