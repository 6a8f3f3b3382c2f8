"""A Laplace in a file: its network, the posterior's factor, and the numbers beside."""

import math
from typing import Any

import numpy as np

from .._types import Path
from ..engine.frozen import Mask
from ..files import container
from ..files import network as files
from ..files.container import FormatError
from ..network import Network
from .posterior import Posterior

KIND = "laplace"
NUMBERS = ("sigma2", "gamma", "log_evidence", "c")     # of a Posterior; c may be None


def save(path: Path, net: Network, free: Mask | None, posterior: Posterior, weight_decay: tuple[Any, ...]) -> None:
    """Write them atomically."""
    arrays, settings = files.pack(net)
    mask = np.ones(net.n_parameters, bool) if free is None else free
    upper = posterior.U[np.triu_indices(len(posterior.root))]
    container.write(path, {**arrays, "free": mask, "factor": upper, "root": posterior.root}, {
        **files.kind(KIND), "network": settings, "weight_decay": list(weight_decay),
        "posterior": {name: getattr(posterior, name) for name in NUMBERS},
    })


def load(path: Path) -> tuple[Network, Mask | None, Posterior, tuple[Any, ...]]:
    """(net, free, posterior, weight_decay); a FormatError if the file holds no such thing."""
    arrays, meta = container.read(path, ("theta",))
    with container.located(path):
        net = files.of_kind(arrays, meta, KIND)
        if arrays.keys() != {"free", "factor", "root"}:
            raise FormatError(f"the arrays beside the network must be factor, free, root; they are "
                              f"{', '.join(sorted(arrays)):.200}")
        free, factor, root = arrays["free"], arrays["factor"], arrays["root"]
        if net.dtype != np.float64:
            raise FormatError(f"network, dtype is {net.dtype.name}; of a Laplace it is float64")
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
