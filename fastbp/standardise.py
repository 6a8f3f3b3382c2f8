"""Inputs with mean 0 and standard deviation 1, scaled by the moments of the training rows."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._types import Doubles
from .engine import blas, checks
from .network import Network

LOST = 1e-3  # a larger rounding error, relative to the column's scale, is a warning
ROWS = 4096  # rows per block: a memory map is read block by block in each pass, never copied


class Standardise:
    """x -> (x - mean) / scale, with mean and standard deviation of each column of X.

    A network trained on `transform(X)` needs `transform` of all later inputs. `fold` returns a copy with the moments in
    Theta(1): it takes raw inputs, and files and pickles keep the moments. With ``targets=`` the copy also returns raw
    targets. `unfold` it before you resume training, since training on raw inputs may diverge.

    Parameters
    ----------
    X : (m, n), or (m,)
        The training rows, or the values of one column, such as the targets y of a regression. For one column,
        `transform` and `inverse` also take values (m,), and return them as (m,).
    sample_weight : (m,), optional
        Weights of the rows in the moments.

    Attributes
    ----------
    mean, scale : ndarray (n,), float64, read-only
        scale^2 = sum w (x - mean)^2 / sum w; 1 for a constant column. Accurate to rounding for numbers of any size.

    See Also
    --------
    Network

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
        # relative to the first row with weight: the mean and the scale 0 of a constant column are exact, and the scale
        # is that of the differences, however far the mean is from 0
        first, total = rows[int((w > 0).argmax())].astype(np.float64), w.sum()
        exponent = np.zeros(len(first), np.int64)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"), blas.single_thread(everywhere=True):
            rest, top = self._first_pass(rows, w, first, exponent)
            extreme = (top > 2.0**400) | ((top < 2.0**-400) & (top > 0))
            if extreme.any():   # in units of 2^exponent, in which squares neither overflow nor vanish
                exponent[extreme] = np.frexp(top[extreme])[1]
                rest, _ = self._first_pass(rows, w, first, exponent)
            first, rest = _in_units(first, exponent), rest / total

            def squares(x: Doubles) -> Doubles:
                return (_in_units(x, exponent) - first - rest) ** 2

            mean = np.ldexp(first + rest, exponent)
            scale = np.ldexp(np.sqrt(sum(v @ squares(x) for x, v in _blocks(rows, w)) / total), exponent)
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
        if a.ndim not in (1, 2) or 0 in a.shape:
            raise ValueError(f"X must have shape (m, n), m and n at least 1, or (m,); got {a.shape}")
        a = a.reshape(len(a), -1)
        return checks.inputs(a, a.shape[1], np.float64)[0]

    @staticmethod
    def _first_pass(
        X: NDArray[Any], w: NDArray[Any], first: Doubles, exponent: NDArray[np.int64],
    ) -> tuple[Doubles, Doubles]:
        """(sum w (x - first), in units of 2^exponent; the largest ``|x|`` of rows that count) of each column."""
        first, total, top = _in_units(first, exponent), np.zeros_like(first), np.zeros_like(first)
        for x, v in _blocks(X, w):
            np.maximum(top, np.abs(x).max(axis=0, initial=0), out=top)
            total += v @ (_in_units(x, exponent) - first)
        return total, top

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """(x - mean) / scale of each row, or of one row; float32 stays float32, any other dtype becomes float64."""
        h = self._half()
        if h is None:
            return self._apply(X, lambda x: (x - self.mean) / self.scale)
        return self._apply(X, lambda x: (x * h - self.mean * h) / (self.scale * h))

    def inverse(self, X: ArrayLike) -> NDArray[Any]:
        """x scale + mean of each row, or of one row: the inverse of `transform`."""
        h = self._half()
        if h is None:
            return self._apply(X, lambda x: x * self.scale + self.mean)
        return self._apply(X, lambda x: (x * (self.scale * h) + self.mean * h) / h)

    def _half(self) -> Doubles | None:
        """2^-10 for the columns whose sums and differences may overflow, else 1; None if there are no such columns."""
        large = np.maximum(np.abs(self.mean), self.scale) > 2.0**1000
        return np.where(large, 2.0**-10, 1.0) if large.any() else None

    def _apply(self, X: ArrayLike, function: Callable[[Doubles], Doubles]) -> NDArray[Any]:
        a = checks.array(X, "X")
        values = a.ndim == 1 and len(self.mean) == 1    # (m,): the values of the only column
        rows, one_row = checks.inputs(a[:, np.newaxis] if values else a, len(self.mean), np.float64, empty=True)
        out = np.empty(rows.shape, np.float32 if a.dtype == np.float32 else np.float64)
        for i in range(0, len(rows), ROWS):
            out[i : i + ROWS] = function(rows[i : i + ROWS].astype(np.float64))
        return out[:, 0] if values else out[0] if one_row else out

    def fold(self, net: Network, targets: "Standardise | None" = None) -> Network:
        """A copy of the network that takes raw inputs: Theta(1)_ij / scale_j, and in the bias column
        Theta(1)_i0 - sum_j Theta(1)_ij mean_j / scale_j.

        targets : the Standardise of the targets that an identity output was trained on. The copy returns raw targets:
        row k of Theta(L-1) is multiplied by their scale_k, and their mean_k is added to the bias. Its cost is that of
        raw targets; huber_delta does not change.

        Predictions take no longer than before. A column whose mean is many times its scale loses digits, in float32
        from some thousand times on: this is a warning. Fold a float64 copy then (``net.copy(np.float64)``).
        """
        of_targets = self._of_targets(net, targets)
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

        net = _with(net, 0, folded)
        return net if of_targets is None else _with(net, -1, of_targets._onto)

    def unfold(self, net: Network, targets: "Standardise | None" = None) -> Network:
        """A copy of a folded network that takes `transform` of the inputs again, to resume training; with ``targets=``
        it also returns `transform` of the targets."""
        def unfolded(Theta: Doubles) -> None:
            Theta[:, 0] += Theta[:, 1:] @ self.mean
            Theta[:, 1:] *= self.scale

        of_targets = self._of_targets(net, targets)
        net = _with(net, 0, unfolded)
        return net if of_targets is None else _with(net, -1, of_targets._off)

    def _onto(self, Theta: Doubles) -> None:
        """z := z scale + mean, for these columns of outputs"""
        Theta *= self.scale[:, np.newaxis]
        Theta[:, 0] += self.mean

    def _off(self, Theta: Doubles) -> None:
        """z := (z - mean) / scale"""
        Theta[:, 0] -= self.mean
        Theta /= self.scale[:, np.newaxis]

    def _of_targets(self, net: Network, targets: Any) -> Any:
        """targets, if they and these moments fit the network"""
        self._own(net)
        if targets is None:
            return None
        if not isinstance(targets, Standardise):
            raise TypeError(f"targets must be a Standardise, fastbp.Standardise(y); got {type(targets).__name__}")
        if net.output != "identity":
            raise ValueError(f"targets goes with the output 'identity'; net has {net.output!r}")
        if net.layer_sizes[-1] != len(targets.mean):
            raise ValueError(f"targets are the moments of {len(targets.mean)} columns; net has {net.layer_sizes[-1]} "
                             "outputs")
        return targets

    def _own(self, net: Network) -> Network:
        """The network, if it has one input for each column"""
        if checks.network(net).layer_sizes[0] != len(self.mean):
            raise ValueError(f"net has {net.layer_sizes[0]} inputs; these moments are of {len(self.mean)} columns")
        return net

    def __repr__(self) -> str:
        return f"Standardise({len(self.mean)} columns)"


def _in_units(x: Doubles, exponent: NDArray[np.int64]) -> Doubles:
    """x / 2^exponent"""
    return np.ldexp(x, -exponent) if exponent.any() else x


def _blocks(X: NDArray[Any], w: NDArray[Any]) -> Iterator[tuple[Doubles, NDArray[Any]]]:
    """(rows, weights), ROWS at a time, in float64, without the rows of weight 0."""
    for i in range(0, len(X), ROWS):
        x, v = X[i : i + ROWS].astype(np.float64), w[i : i + ROWS]
        counts = v > 0
        yield (x, v) if counts.all() else (x[counts], v[counts])


def _with(net: Network, at: int, change: Callable[[Doubles], None]) -> Network:
    """A copy of the network with net.Theta[at], the first or the last, changed, in float64"""
    net = net.copy()
    Theta = net.Theta[at].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"), blas.single_thread(everywhere=True):
        change(Theta)
        net.Theta[at][:] = Theta
    if not np.isfinite(net.Theta[at]).all():
        i, j = map(int, np.argwhere(~np.isfinite(net.Theta[at]))[0])
        cell = f"Theta(1)[:, {j}]" if at == 0 else f"Theta({len(net.Theta)})[{i}]"
        raise ValueError(f"net cannot hold {cell} of the result in {net.dtype.name}: it is infinite or NaN")
    return net
