"""Inputs of mean 0 and standard deviation 1: the moments of the training rows, kept for all later ones."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .engine import checks
from .network import Network

LOST = 1e-3  # of the scale of a column: what rounding may take before a warning
ROWS = 4096  # looked at together: a memory map is read through once a pass, never copied


class Standardise:
    """x -> (x - mean) / scale, with mean and standard deviation of each column of X.

    A network trained on `transform(X)` wants `transform` of everything it is shown later; `fold` makes one of it that
    takes the inputs as they are and holds the moments in its own Theta(1), so that `predict`, files and pickles have
    them. `unfold` makes it one again that can be trained on: steps on inputs as they are would go astray.

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
        X = self._rows(X, None)
        w, _ = checks.weights(sample_weight, len(X), np.float64)
        w = np.ones(len(X)) if w is None else w[:, 0]
        # from the first row that counts: so a constant column has the mean it is constant at, and scale 0, exactly
        first, total = X[int(np.flatnonzero(w)[0])].astype(np.float64), w.sum()
        mean = first + self._sum(X, w, lambda x: x - first) / total
        scale = np.sqrt(self._sum(X, w, lambda x: (x - mean) ** 2) / total)
        scale[scale == 0] = 1
        self._keep(mean, scale)

    def _keep(self, mean, scale):
        self.mean, self.scale = mean, scale
        for a in (mean, scale):
            a.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._keep(state["mean"], state["scale"])

    @staticmethod
    def _rows(X, n):
        """X checked: (m, n), real and finite"""
        a = checks.array(X, "X")
        if a.ndim != 2 or 0 in a.shape or n not in (None, a.shape[1]):
            raise ValueError(f"X must have shape (m, {'n' if n is None else n}), m and n at least 1; got {a.shape}")
        return checks.inputs(a, a.shape[1], np.float64)[0]

    @staticmethod
    def _sum(X, w, function):
        blocks = range(0, len(X), ROWS)
        return sum(w[i : i + ROWS] @ function(X[i : i + ROWS].astype(np.float64)) for i in blocks)

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """(x - mean) / scale of each row, or of one row; float32 stays float32, all else becomes float64."""
        return self._apply(X, lambda x: (x - self.mean) / self.scale)

    def inverse(self, X: ArrayLike) -> NDArray[Any]:
        """x scale + mean of each row, or of one row: back from `transform`."""
        return self._apply(X, lambda x: x * self.scale + self.mean)

    def _apply(self, X, function):
        a = checks.array(X, "X")
        rows, one_row = checks.inputs(a, len(self.mean), np.float64, empty=True)
        out = np.empty(rows.shape, np.float32 if a.dtype == np.float32 else np.float64)
        for i in range(0, len(rows), ROWS):
            out[i : i + ROWS] = function(rows[i : i + ROWS].astype(np.float64))
        return out[0] if one_row else out

    def fold(self, net: Network) -> Network:
        """A copy of the network that takes inputs as they are: Theta(1)_ij / scale_j, and in the bias column
        Theta(1)_i0 - sum_j Theta(1)_ij mean_j / scale_j.

        Predictions cost what they cost before, one row too. A column whose mean is many times its scale loses digits:
        in float32 from some thousands on, which is a warning; then fold a float64 copy (``net.copy(np.float64)``).
        """
        ratio = np.abs(self.mean) / self.scale
        j, eps = int(ratio.argmax()), float(np.finfo(self._own(net).dtype).eps)
        if ratio[j] * eps > LOST:
            warnings.warn(f"column {j} has a mean of {ratio[j]:.2g} times its scale: a {net.dtype.name} network that "
                          f"takes it as it is knows it to about {ratio[j] * eps:.1g} of the scale only; fold "
                          "net.copy(np.float64)", stacklevel=2)

        def folded(Theta):
            Theta[:, 1:] /= self.scale
            Theta[:, 0] -= Theta[:, 1:] @ self.mean

        return _with_first(net, folded)

    def unfold(self, net: Network) -> Network:
        """A copy of a folded network that takes `transform` of the inputs again, to go on training it."""
        def unfolded(Theta):
            Theta[:, 0] += Theta[:, 1:] @ self.mean
            Theta[:, 1:] *= self.scale

        return _with_first(self._own(net), unfolded)

    def _own(self, net):
        """The network, if it has as many inputs"""
        if checks.network(net).layer_sizes[0] != len(self.mean):
            raise ValueError(f"net has {net.layer_sizes[0]} inputs; these moments are of {len(self.mean)} columns")
        return net

    def __repr__(self):
        return f"Standardise({len(self.mean)} columns)"


def _with_first(net, change):
    """A copy of the network with Theta(1) changed, in float64"""
    net = net.copy()
    Theta = net.Theta[0].astype(np.float64)
    change(Theta)
    net.Theta[0][:] = Theta
    return net
