"""A Laplace in a file: its network, the posterior's factor, and its numbers."""

import math
from typing import Any

import numpy as np

from .._types import Arrays, State
from ..engine.frozen import Mask
from ..files import network as files
from ..files.strict_json import FormatError
from ..files.values import of_kind
from ..network import Network
from .posterior import Posterior

KIND = "laplace"
FIELDS = {"kind", "version", "network", "weight_decay", "posterior"}
LOSSES = ("squared_error", "cross_entropy", "poisson")
NUMBERS = ("sigma2", "gamma", "log_evidence", "c")     # of a Posterior; c may be None


def pack(net: Network, free: Mask | None, posterior: Posterior, weight_decay: tuple[Any, ...]) -> tuple[Arrays, State]:
    """(arrays, meta) of a file."""
    arrays, settings = files.pack(net)
    mask = np.ones(net.n_parameters, bool) if free is None else free
    upper = posterior.U[np.triu_indices(len(posterior.root))]
    return {**arrays, "free": mask, "factor": upper, "root": posterior.root}, {
        "kind": KIND, "version": 1, "network": settings, "weight_decay": list(weight_decay),
        "posterior": {name: getattr(posterior, name) for name in NUMBERS},
    }


def unpack(arrays: Arrays, meta: State) -> tuple[Network, Mask | None, Posterior, tuple[Any, ...]]:
    """(net, free, posterior, weight_decay); a FormatError if the file does not hold these."""
    of_kind(meta, KIND)
    if meta.keys() != FIELDS:
        raise FormatError(f"the fields must be {', '.join(sorted(FIELDS))}; they are {', '.join(sorted(meta)):.200}")
    net = files.unpack({name: arrays.pop(name) for name in ("theta", "init") if name in arrays}, meta["network"])
    if arrays.keys() != {"free", "factor", "root"}:
        raise FormatError(f"the arrays besides the network must be factor, free, root; they are "
                          f"{', '.join(sorted(arrays)):.200}")
    free, factor, root = arrays["free"], arrays["factor"], arrays["root"]
    if net.dtype != np.float64:
        raise FormatError(f"network, dtype is {net.dtype.name}; of a Laplace it is float64")
    if net.loss not in LOSSES:
        raise FormatError(f"network, loss is {net.loss!r:.60}; of a Laplace it is one of {', '.join(LOSSES)}")
    _check("free", free, np.bool_, (net.n_parameters,))
    n = int(free.sum())
    _check("root", root, np.float64, (n,))
    _check("factor", factor, np.float64, (n * (n + 1) // 2,))
    U = np.zeros((n, n))
    U[np.triu_indices(n)] = factor
    if not n or not (root > 0).all() or not (np.diagonal(U) > 0).all():
        raise FormatError("root and the diagonal of factor must be positive, and some parameter free")
    return net, None if free.all() else free, _posterior(U, root, meta["posterior"]), _decay(net, meta)


def _check(name: str, a: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    if a.dtype != dtype or a.shape != shape:
        raise FormatError(f"array {name!r} must be {np.dtype(dtype).name} of shape {shape}; it is {a.dtype.name} of "
                          f"shape {a.shape}")
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        raise FormatError(f"array {name!r} holds a value that is not finite")


def _posterior(U: Any, root: Any, numbers: Any) -> Posterior:
    if not isinstance(numbers, dict) or numbers.keys() != set(NUMBERS):
        raise FormatError(f"posterior must have the fields {', '.join(NUMBERS)}; it is {numbers!r:.200}")
    for name, value in numbers.items():
        if value is None and name == "c":
            continue
        low = -math.inf if name in ("log_evidence", "gamma") else 0.0
        if type(value) is not float or not low <= value < math.inf or (name == "sigma2" and not value):
            raise FormatError(f"posterior, {name} is {value!r:.60}; it must be a finite number, sigma2 above 0")
    return Posterior(U, root, **numbers)


def _decay(net: Network, meta: Any) -> tuple[float, ...]:
    c = meta["weight_decay"]
    if not isinstance(c, list) or len(c) != len(net.Theta) or not all(
        type(value) is float and 0 <= value < math.inf for value in c
    ):
        raise FormatError(f"weight_decay must be {len(net.Theta)} numbers of at least 0; it is {c!r:.200}")
    return tuple(c)
