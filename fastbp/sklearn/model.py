"""The network of an estimator, its parameters as coefs_ and intercepts_, and their start values."""

from functools import cached_property
from itertools import pairwise
from operator import is_
from typing import Any

import numpy as np

from .. import _kernels, words
from ..engine import own, sums
from ..engine.plan import Plan
from ..network import Network
from .outputs import FUNCTIONS, named

LARGEST = {np.dtype(dtype): float(np.finfo(dtype).max) for dtype in (np.float32, np.float64)}


class Model:
    """A network and its weights under scikit-learn's names.

    coefs[l] (k, n) and intercepts[l] (n,) are views of Theta(l) (n, k + 1): a value written into one is in the other.

    Parameters
    ----------
    layer_sizes : list of int
    functions : (activation, output, loss, settings)
        activation is one name or a tuple of names, settings a dict of further arguments of Network. If output and loss
        do not go together (a user has set out_activation_), the model predicts but cannot be trained.
    dtype : numpy.float32 or numpy.float64
    """

    def __init__(self, layer_sizes, functions, dtype):
        self.functions = functions
        activation, output, loss, settings = functions
        self._apply = None      # h of z, if the network's own output is z
        if not _go_together(words.FUNCTIONS.get(output, output), loss) or (
            output == "softmax" and layer_sizes[-1] < 2
        ):
            self._apply = FUNCTIONS[named(output)]
            output, loss, settings = "identity", "squared_error", {}
        self.net = Network(
            layer_sizes, activation=activation, output=output, loss=loss, dtype=dtype, init="uniform", seed=0,
            **settings,
        )
        self.coefs = [Theta[:, 1:].T for Theta in self.net.Theta]
        self.intercepts = [Theta[:, 0] for Theta in self.net.Theta]
        self._arrays = self.coefs + self.intercepts
        self.lists: tuple[Any, Any] = (None, None)     # coefs_ and intercepts_ of the estimator that holds these arrays
        self._largest = LARGEST[self.net.dtype]
        self._row = self.net.theta[np.newaxis]
        self._predict_row = sums.row_predictor(self.net.plan, self.net.theta)
        if self._apply:
            self._predict_row = lambda x, out: None

    def __reduce__(self):
        """Pickles and copies are independent models with a copy of the weights."""
        return Model.of, (self.coefs, self.intercepts, self.functions)

    @classmethod
    def of(cls, coefs, intercepts, functions):
        """A new model with a copy of these weights. Read-only arrays are read-only in the copy, too."""
        frozen = [_is_frozen(a) for a in [*coefs, *intercepts]]
        coefs, intercepts = [np.asarray(W) for W in coefs], [np.asarray(b) for b in intercepts]
        layer_sizes = [coefs[0].shape[0]] if coefs and coefs[0].ndim == 2 else []
        if not layer_sizes or len(coefs) != len(intercepts):
            raise ValueError("coefs_ and intercepts_ must hold one array (k, n) and one (n,) for each layer")
        for i, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
            if W.ndim != 2 or W.shape[0] != layer_sizes[-1] or b.shape != W.shape[1:]:
                raise ValueError(f"coefs_[{i}] has shape {W.shape} and intercepts_[{i}] {b.shape}; "
                                 f"needed are ({layer_sizes[-1]}, n) and (n,)")
            for name, a in (("coefs_", W), ("intercepts_", b)):
                if a.dtype.kind not in "fiubO":
                    raise TypeError(f"{name}[{i}] must hold real numbers; its dtype is {a.dtype}")
            layer_sizes.append(W.shape[1])
        single = all(a.dtype == np.float32 for a in coefs + intercepts)
        model = cls(layer_sizes, functions, np.float32 if single else np.float64)
        for view, W, still in zip(model.coefs + model.intercepts, coefs + intercepts, frozen, strict=True):
            view[...] = W
            view.flags.writeable = not still
        return model

    def is_of(self, coefs, intercepts, functions):
        """Do these lists hold the model's own views, and are these its functions?"""
        return (
            len(coefs) == len(intercepts) == len(self.coefs) and all(map(is_, coefs, self.coefs))
            and all(map(is_, intercepts, self.intercepts)) and functions == self.functions
        )

    def take(self, coefs, intercepts):
        """Set the weights to those of these arrays, of the same shapes; read-only arrays become read-only here, too."""
        other = Model.of(coefs, intercepts, self.functions)
        if other.net.layer_sizes != self.net.layer_sizes:
            raise ValueError(f"coefs_ and intercepts_ have layers of {other.net.layer_sizes} units, but this training "
                             f"continues with {self.net.layer_sizes}")
        for view, a in zip(self._arrays, other._arrays, strict=True):
            view.flags.writeable = True
            view[...] = a
            view.flags.writeable = a.flags.writeable

    def is_writable(self):
        """Is every array writable? `setflags(write=False)` makes one read-only."""
        return not [a for a in self._arrays if not a.flags.writeable]

    def thawed(self):
        """A copy whose arrays are all writable."""
        model = Model.of(self.coefs, self.intercepts, self.functions)
        for a in model.coefs + model.intercepts:
            a.flags.writeable = True
        return model

    def is_finite(self):
        """Is every parameter a finite number?"""
        return _kernels.first_nonfinite(self._row, self._largest) < 0

    def can_read(self, X):
        """Is X (m, s_1) a finite array that needs no conversion?"""
        return (
            type(X) is np.ndarray and X.dtype == self.net.dtype and X.ndim == 2 and len(X) > 0
            and X.shape[1] == self.net.layer_sizes[0] and (flags := X.flags).c_contiguous and flags.aligned
            and _kernels.first_nonfinite(X, self._largest) < 0
        )

    def quick_outputs(self, X):
        """h (m, K) of a finite array (m, s_1) that needs no conversion; None for anything else."""
        if type(X) is not np.ndarray or X.ndim != 2:
            return None
        if len(X) == 1:
            h = self._predict_row(X[0], None)
            return None if h is None else h.reshape(1, -1)
        return self.outputs(X) if self.can_read(X) else None

    def quick_logits(self, X):
        """z(L) (m, K) of the arrays that `quick_outputs` takes; None for anything else."""
        return self.logits(X) if self.can_read(X) else None

    def outputs(self, X):
        """h (m, K) of rows that need no conversion."""
        h = self._predicted(X, self.net.plan)
        return self._apply(h) if self._apply else h

    def logits(self, X):
        """z(L) (m, K) of rows that need no conversion."""
        return self._predicted(X, self._linear)

    def trace(self, X):
        """[a(2), ..., a(L-1), z(L)] of rows that need no conversion."""
        return sums.trace(self._linear, self.net.theta, X)

    def _predicted(self, X, plan):
        h = np.empty((len(X), plan.layer_sizes[-1]), self.net.dtype)
        sums.predict(plan, self.net.theta, X, h)
        return h

    @cached_property
    def _linear(self):
        """The same plan with identity outputs."""
        plan = self.net.plan
        return Plan(plan.layer_sizes, plan.activations, "identity", "squared_error")


def _go_together(output, loss):
    """Can a network have this output and loss? The caller's own loss goes with any output."""
    if own.of(loss) is not None:
        return output in _kernels.outputs
    return (output, words.LOSSES.get(loss, loss)) in _kernels.pairs


def _is_frozen(a):
    """Has a user made this array read-only? Read-only memory maps, as joblib makes them, do not count."""
    return isinstance(a, np.ndarray) and not a.flags.writeable and not isinstance(a, np.memmap)


def functions_of(activation):
    """The name of g, or a tuple of the names by layer; both can be compared."""
    return activation if isinstance(activation, str) else tuple(activation)


def draw(model, init, random_state):
    """Set theta to start values: drawn by a named scheme of fastbp.Network, or a pair (coefs, intercepts)."""
    if isinstance(init, str):
        net = model.net
        twin = Network(net.layer_sizes, activation=list(net.activation), output=net.output, loss=net.loss,
                       dtype=net.dtype, init=init, seed=random_state.randint(2**31 - 1), **model.functions[3])
        net.theta[:] = twin.theta
    else:
        given = _pair(init, model)
        for view, a in zip(model.coefs + model.intercepts, given, strict=True):
            view[...] = a


def _pair(init, model):
    try:
        coefs, intercepts = init
        given = [np.asarray(a, model.net.dtype) for a in [*coefs, *intercepts]]
    except (TypeError, ValueError):
        raise ValueError(f"init must be a name or a pair (coefs, intercepts) of lists; got {init!r}") from None
    shapes = [view.shape for view in model.coefs + model.intercepts]
    if [a.shape for a in given] != shapes:
        raise ValueError(f"init must hold arrays of the shapes {shapes}; got {[a.shape for a in given]}")
    if not all(np.isfinite(a).all() for a in given):
        raise ValueError("init must hold finite numbers; it contains NaN or infinity")
    return given


def packed_spans(model):
    """The places of the arrays in scikit-learn's packed vector: (start, end, shape) of coefs, (start, end) of
    intercepts."""
    ends = np.cumsum([0, *(a.size for a in model.coefs + model.intercepts)]).tolist()
    spans, L = list(pairwise(ends)), len(model.coefs)
    return [(*span, W.shape) for span, W in zip(spans[:L], model.coefs, strict=True)], spans[L:]


def packed_places(model):
    """Indices into theta of scikit-learn's packed vector: all coefs row by row, then all intercepts.

    packed = theta[places];  theta[places] = packed
    """
    net = model.net
    index = net.plan.views(np.arange(net.n_parameters))
    return np.concatenate([T[:, 1:].T.ravel() for T in index] + [T[:, 0] for T in index])
