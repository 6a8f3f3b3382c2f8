"""Input data: scikit-learn's checks, whose errors also name the bad cell; sparse rows, a few batches at a time."""

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..engine import blas
from ..engine.checks import booleans, readable, scaled
from ..engine.data import Data
from ..network import Network
from .outputs import slope

DENSE = 2**27  # bytes of a sparse X that are dense at a time


def checked(estimator, X, y="no_validation", **how):
    """sklearn's validate_data; its error for NaN or infinity also names the first such cell."""
    X, y = (booleans(a) if isinstance(a, np.ndarray) and a.dtype == bool else a for a in (X, y))
    try:
        return validate_data(estimator, X, y, accept_sparse=["csr", "csc"], **how)
    except ValueError as error:
        words = str(error)
        for name, array in (("X", X), ("y", y)):
            if words.startswith(f"Input {name} contains ") and (cell := first_bad_cell(array, name)):
                first, *rest = words.split("\n")
                raise ValueError("\n".join([f"{first} First at {cell}.", *rest])) from None
        raise


def weights(sample_weight, X):
    """sklearn's check of the weights of the rows of X, or None; its errors always name sample_weight."""
    try:
        return None if sample_weight is None else _check_sample_weight(sample_weight, X)
    except (ValueError, TypeError) as error:
        if "weight" in str(error):
            raise
        raise type(error)(f"sample_weight: {error}") from None


def first_bad_cell(array, name):
    """The first cell that is NaN or infinite, as X[i, j] or y[i]; None if none is found."""
    try:
        if sp.issparse(array):
            array = array.tocoo()
            bad = np.flatnonzero(~np.isfinite(array.data))
            at = (array.row[bad[0]], array.col[bad[0]])
        else:
            array = np.asarray(array, np.float64)
            at = np.argwhere(~np.isfinite(array))[0]
    except (TypeError, ValueError, IndexError):
        return None
    return f"{name}[{', '.join(str(int(i)) for i in at)}]"


class TrainingSet:
    """The examples of a fit as engine data: all at once, or a few batches at a time if X is sparse and large.

    The engine's products are dense, so sparse rows are made dense. A few batches at a time bound the memory. They are
    whole batches, so no bit of an epoch changes.

    Parameters
    ----------
    plan : Plan;  dtype : of the network
    X : (m, s_1), dense or sparse
    target : labels (m,) or targets (m, K)
    w : (m,) or None
    counts : (m,) or None
        As for `Data`.

    Attributes
    ----------
    w : (m,) or None
        The weights in units of `scale`.
    weight : float
        m of the formulas: the number of examples, or the sum of their weights, in units of scale.
    scale : float
        A power of two; 1 unless the weights are extreme.
    """

    def __init__(self, plan, dtype, X, target, w=None, counts=None):
        self.plan, self.dtype, self.target, self.counts = plan, dtype, target, counts
        self.m = X.shape[0]
        self.w: np.ndarray | None = None
        self.scale, self.weight = 1.0, float(self.m)
        if w is not None:
            self.w, self.scale = scaled(w)
            self.weight = float(self.w.sum(dtype=np.float64))
        if self.weight == 0:
            raise ValueError("sample_weight must have a positive sum; it is 0")
        self._rows = max(1, DENSE // (X.shape[1] * np.dtype(dtype).itemsize))
        if sp.issparse(X):
            X = X.tocsr()
            if self.m <= self._rows:
                X = X.toarray()
        self.X = X
        self.data = None if sp.issparse(X) else self._data(X, slice(None))

    def _data(self, X, rows):
        """Data of some examples, dense; its scale includes that of all weights."""
        w, counts = (None if a is None else a[rows] for a in (self.w, self.counts))
        data = Data(self.plan, self.dtype, X, self.target[rows], w)
        data.scale *= self.scale
        data.counts = None if counts is None else np.asarray(counts, np.float64)
        return data

    def parts(self, batch_size, order=None):
        """Yield (data, order within it): whole batches, in the given order of the examples."""
        if self.data is not None:
            yield self.data, order
            return
        order = np.arange(self.m) if order is None else order
        step = max(1, self._rows // batch_size) * batch_size
        for at in range(0, len(order), step):
            taken = order[at : at + step]
            if self.w is None or self.w[taken].any():
                yield self._data(self.X[taken].toarray(), taken), None


def dense(X, dtype):
    """Checked rows as one dense array of this dtype."""
    return readable(X.toarray() if sp.issparse(X) else X, dtype)


def outputs(model, X, of="outputs"):
    """h (m, K) of checked examples, dense or sparse; of="logits": z(L)."""
    dtype, rows_of = model.net.dtype, getattr(model, of)
    if not sp.issparse(X):
        return rows_of(readable(X, dtype))
    X, rows = X.tocsr(), max(1, DENSE // (X.shape[1] * dtype.itemsize))
    return np.concatenate([
        rows_of(readable(X[at : at + rows].toarray(), dtype)) for at in range(0, X.shape[0], rows)
    ])


def gradients(model, X):
    """dh_k/dx_j (m, K, s_1) of checked examples.

    The deltas of a twin with identity output and absolute error give dz(L)/dx: delta(L) = sign(h - y) is the k-th unit
    vector if y_k is below h_k and the others equal h. dh/dz of the output takes z, since 1 - h loses its digits near
    h = 1.
    """
    net = model.net
    K, dtype = net.layer_sizes[-1], net.dtype
    X = dense(X, dtype)
    twin = Network(net.layer_sizes, activation=list(net.activation), output="identity", loss="absolute_error",
                   dtype=dtype, init="uniform", seed=0)
    twin.theta[:] = net.theta
    z, h = twin.predict(X), model.outputs(X)
    below = z - (1 + np.abs(z) / 2)
    dz = np.empty((len(X), K, net.layer_sizes[0]), dtype)
    for k, unit in enumerate(np.eye(K, dtype=dtype)):
        delta = twin.deltas(X, np.where(unit, below, z))[0]
        with blas.single_thread(everywhere=True):
            dz[:, k] = delta @ net.Theta[0][:, 1:]
    return slope(model.functions[1], z, h, dz)
