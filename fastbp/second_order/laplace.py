"""Laplace's approximation: error bars of a trained network from its curvature."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._backprop import Examples
from .._types import Arrays, Count, Doubles, Flag, Free, Number, Path, PerLayer, Seed, State
from ..engine import blas, checks, each, frozen, normal
from ..engine.frozen import Mask
from ..engine.normal import NormalEquations
from ..engine.plan import Plan
from ..files import container
from ..files import network as files
from ..network import Network
from . import laplace_file, posterior
from .laplace_file import LOSSES
from .posterior import Curvature

AT_ONCE = 2**22     # numbers of a Jacobian that are computed at a time


class Laplace:
    """The posterior of a trained network: theta ~ Normal(theta of the network, H^-1).

    H = (B'B + m c I_pen) / sigma^2 with the Gauss-Newton curvature B'B of the training examples. For half the squared
    error sigma^2 = rss / (N - gamma), gamma = tr((B'B + m c I_pen)^-1 B'B); for other losses it is 1. Everything is
    float64. It takes n^2 numbers of memory and n^3 operations for n free parameters.

    Parameters
    ----------
    net : Network
        A trained network with loss squared_error, cross_entropy or poisson. It is copied.
    X, Y, sample_weight
        The training examples.
    weight_decay : float, or one per Theta, or None
        The weight decay in training. None: the evidence chooses one number for all layers, at this theta.
    last_layer : bool
        Only Theta(L-1) is uncertain: much cheaper for large networks.
    free : (n_parameters,) bool, or list of int, optional
        The parameters that are uncertain: a mask like theta, or numbers l of Theta(l).
    bias_precision : float, optional
        1 / variance of a normal prior of the biases. None: a flat prior; if the examples do not determine the biases,
        this is a ValueError. After ``minimize(..., bayesian=True)`` pass ``2 * result.alpha``.

    Attributes
    ----------
    net : Network
        The copy, in float64.
    sigma : float
        Standard deviation of the noise; 1 for losses other than squared_error.
    gamma : float
        Number of parameters that the examples determine.
    weight_decay : tuple of float
        c of each Theta.
    log_evidence : float
        Logarithm of the probability of the targets (without label smoothing), for comparing networks.

    See Also
    --------
    minimize : Its argument `bayesian` chooses the weight decay.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> x = np.linspace(-1, 1, 30)[:, np.newaxis]
    >>> y = np.sin(3 * x) + 0.1 * np.random.default_rng(0).standard_normal(x.shape)
    >>> net = fastbp.Network([1, 8, 1], activation="tanh", output="identity", seed=0)
    >>> result = fastbp.minimize(net, x, y, method="lm", bayesian=True, maxiter=500)
    >>> laplace = fastbp.Laplace(net, x, y, weight_decay=result.weight_decay, bias_precision=2 * result.alpha)
    >>> mean, std = laplace.predict([[0.0], [3.0]])
    >>> bool(std[1, 0] > 5 * std[0, 0])     # far from the examples the error bars are large
    True
    """

    def __init__(
        self, net: Network, X: ArrayLike, Y: ArrayLike, *, weight_decay: PerLayer | None,
        sample_weight: ArrayLike | None = None, last_layer: Flag = False, free: Free | None = None,
        bias_precision: Number | None = None,
    ) -> None:
        plan = checks.network(net).plan
        if plan.loss not in LOSSES:
            raise ValueError(f"net has the loss {plan.loss!r}; Laplace takes {', '.join(LOSSES)}")
        own = _mask(plan, last_layer, free)
        c = None if weight_decay is None else checks.coefficients(weight_decay, None, 1, len(plan.shapes))
        if bias_precision is not None:
            bias_precision = checks.number(bias_precision, "bias_precision", open_low=True)
        n = plan.n_parameters if own is None else int(own.sum())
        normal.check_memory(n, 4, "Laplace", "last_layer=True")
        data = net.data(X, Y, sample_weight).plain
        self.net, self._free = net.copy(np.float64), own
        decays, at = np.ones(plan.n_parameters, bool), slice(None) if own is None else own
        for Theta in plan.views(decays):
            Theta[:, 0] = False
        every = np.zeros(plan.n_parameters) if c is None else np.repeat(c, np.diff(plan.offsets))
        decays, every = decays[at], every[at]
        if c is None and not decays.any():
            raise ValueError("weight_decay=None chooses the decay of the weights, but free leaves none")
        m = data.weight * data.scale
        precision = np.where(decays, 0.0, bias_precision or 0.0)
        with blas.single_thread(everywhere=True), np.errstate(all="ignore"):
            seen = self._seen(NormalEquations(data, own), data, m, bias_precision is None)
            self._posterior = posterior.fit(seen, np.where(decays, every * m, 0.0), decays, precision, c is None)
        self.weight_decay = (self._posterior.c,) * len(plan.shapes) if c is None else c
        self._finish()

    def _finish(self) -> None:
        self.sigma, self.gamma = math.sqrt(self._posterior.sigma2), self._posterior.gamma
        self.log_evidence = self._posterior.log_evidence
        plan = self.net.plan
        self._of_z = plan if plan.loss == "squared_error" else Plan(plan.layer_sizes, list(plan.activations),
                                                                     "identity", "squared_error")

    def _seen(self, equations: NormalEquations, data: Any, m: float, flat: bool) -> Curvature:
        theta: Doubles = self.net.theta     # type: ignore[assignment]
        n = equations.n
        half, total = np.zeros(n * n), np.zeros(1 + n)
        equations.add(theta, half, total)
        half = half.reshape(n, n)       # type: ignore[assignment]
        A = (np.triu(half) + np.triu(half, 1).T) * data.scale
        x = theta if self._free is None else theta[self._free]
        return Curvature(A, float(total[0]) * data.scale, x.copy(), m, m * equations.K,
                         self.net.loss == "squared_error", self._shift(n) if flat else None)

    def _shift(self, n: int) -> Doubles | None:
        """The common direction of all output biases of a softmax, if all of them are free"""
        plan = self.net.plan
        biases = np.zeros(plan.n_parameters)
        plan.views(biases)[-1][:, 0] = 1 / math.sqrt(plan.layer_sizes[-1])
        own = biases if self._free is None else biases[self._free]
        all_free = np.count_nonzero(own) == plan.layer_sizes[-1]
        return own if plan.output == "softmax" and all_free else None

    def predict(self, X: ArrayLike, noise: Flag = False, *, n_threads: Count | None = None) -> tuple[Doubles, Doubles]:
        """Mean and standard deviation of the outputs, both (m, K), or (K,) for one example.

        =============== =================================================== ==========================
        loss            mean                                                std
        =============== =================================================== ==========================
        squared_error   h                                                   of h
        poisson         h                                                   of h
        cross_entropy   probabilities, of z / sqrt(1 + pi std^2 / 8)        of z, before the output
        =============== =================================================== ==========================

        For softmax, z stands for z minus its mean over the outputs: a common shift has no effect.

        Parameters
        ----------
        X : (m, s_1), or (s_1,)
        noise : bool
            Add the noise of new targets to the variance: sigma^2, or h for poisson. Not for cross_entropy.
        n_threads : int, optional

        Notes
        -----
        If ``of_y = Standardise(y)`` has scaled the targets, ``of_y.inverse(mean)`` and ``std * of_y.scale`` are in the
        units of y.
        """
        loss, output = self.net.loss, self.net.output
        if checks.flag(noise, "noise") and loss == "cross_entropy":
            raise ValueError("noise=True needs the loss squared_error or poisson; probabilities hold their noise")
        rows, one_row = checks.inputs(X, self.net.layer_sizes[0], np.float64, empty=True)
        z, variance = np.empty((len(rows), self._K)), np.empty((len(rows), self._K))
        with blas.single_thread(everywhere=True), np.errstate(over="ignore", under="ignore"):
            for at, J in self._jacobians(rows, n_threads):
                z[at] = self._values(rows[at])
                variance[at] = np.square(self._posterior.whiten(J)).sum(axis=1).reshape(-1, self._K)
            mean, std = z, np.sqrt(variance)
            if loss == "cross_entropy":
                mean = outputs(output, z / np.sqrt(1 + math.pi / 8 * variance))
            elif loss == "poisson":
                mean = np.exp(z)
                std = np.sqrt(mean**2 * variance + (mean if noise else 0))
            elif noise:
                std = np.sqrt(variance + self.sigma**2)
        return (mean[0], std[0]) if one_row else (mean, std)

    def sample(self, X: ArrayLike, n: Count, seed: Seed = None, *, n_threads: Count | None = None) -> Doubles:
        """n functions drawn from the posterior, linear in theta around the network, at X.

        Returns
        -------
        ndarray (n, m, K), or (n, K) for one example
            Outputs h without noise; for cross_entropy, probabilities.
        """
        rows, one_row = checks.inputs(X, self.net.layer_sizes[0], np.float64, empty=True)
        n, rng = checks.count(n, "n"), checks.generator(seed)
        with blas.single_thread(everywhere=True), np.errstate(over="ignore", under="ignore"):
            steps = self._posterior.draw(rng.standard_normal((len(self._posterior.root), n)))
            drawn = np.empty((n, len(rows), self._K))
            for at, J in self._jacobians(rows, n_threads):
                drawn[:, at] = self._values(rows[at]) + (J @ steps).T.reshape(n, -1, self._K)
            if self.net.loss == "cross_entropy":
                drawn = outputs(self.net.output, drawn)
            elif self.net.loss == "poisson":
                drawn = np.exp(drawn)
        return drawn[:, 0] if one_row else drawn

    @property
    def _K(self) -> int:
        return self.net.layer_sizes[-1]

    def _centred(self, z: Any, axis: int) -> Doubles:
        """z, or for softmax z minus its mean over the outputs"""
        softmax = self.net.output == "softmax" and self.net.loss == "cross_entropy"
        return z - z.mean(axis=axis, keepdims=True) if softmax else z

    def _values(self, rows: NDArray[Any]) -> Any:
        """h of half the squared error, else z"""
        if self.net.loss == "squared_error":
            return self.net.predict(rows)
        return self._centred(self.net.forward(rows), 1)

    def _jacobians(self, rows: NDArray[Any], n_threads: Count | None) -> Any:
        """(slice, dh/dtheta or dz/dtheta of these rows for the free parameters, (rows K, n)), some at a time"""
        P, K = self.net.n_parameters, self._K
        size = max(1, AT_ONCE // (P * K))
        for first in range(0, len(rows), size):
            some = rows[first : first + size]
            J = np.empty((len(some), K, P))
            each.jacobian(self._of_z, self.net.theta, Examples(some), len(some), J, False, n_threads)
            J = J if self._free is None else J[:, :, self._free]
            yield slice(first, first + size), self._centred(J, 1).reshape(len(some) * K, -1)

    def save(self, path: Path) -> None:
        """Write everything that `load` needs into a file, atomically, as `fastbp.save` does. See docs/file_format.md.
        """
        container.write(path, *_pack(self))

    @classmethod
    def load(cls, path: Path) -> "Laplace":
        """The Laplace in a file of `save`; a FormatError if the file is damaged or of another kind."""
        arrays, meta = container.read(path, ("theta",))
        with container.located(path):
            return cls._unpack(arrays, meta)

    @classmethod
    def _unpack(cls, arrays: Arrays, meta: State) -> "Laplace":
        own = cls.__new__(cls)
        own.net, own._free, own._posterior, own.weight_decay = laplace_file.unpack(arrays, meta)
        own._finish()
        return own

    def __repr__(self) -> str:
        return (f"Laplace({self.net.layer_sizes}, {len(self._posterior.root)} free parameters, gamma={self.gamma:.4g}, "
                f"sigma={self.sigma:.4g}, log_evidence={self.log_evidence:.6g})")


def _mask(plan: Plan, last_layer: Any, free: Any) -> Mask | None:
    """The parameters that are uncertain"""
    if not checks.flag(last_layer, "last_layer"):
        return frozen.mask(free, plan)
    if free is not None:
        raise ValueError("last_layer=True and free exclude each other; give one of them")
    return frozen.mask([len(plan.shapes)], plan)


def _is_laplace(value: Any) -> bool:
    return isinstance(value, Laplace)


def _pack(laplace: Laplace) -> tuple[Arrays, State]:
    return laplace_file.pack(laplace.net, laplace._free, laplace._posterior, laplace.weight_decay)


def outputs(output: str, z: Doubles) -> Doubles:
    """Probabilities of z: sigmoid, or softmax over the last axis"""
    if output == "softmax":
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


files.OTHERS[laplace_file.KIND] = (_is_laplace, _pack, Laplace._unpack)
