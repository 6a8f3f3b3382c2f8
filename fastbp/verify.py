"""The self-test: is the arithmetic right on this machine, with this BLAS? It compares products with plain sums."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _kernels
from ._types import Doubles
from .engine import blas
from .network import Network
from .optimizers import SGD
from .training.trainer import Trainer

TAIL = 67  # lengths 1 .. TAIL cover every remainder modulo the sizes of vectors and tiles
LARGE = (700, 500, 3)  # a layer larger than the second-level cache takes another path
TOLERANCE = 1000  # in eps: plain and compiled sums differ by about ten, a missing term by thousands


def selftest() -> dict[str, str | float]:
    """Compare results of this machine with plain sums in double precision; it takes a second or less.

    The networks are float32 and float64, with 1 to 67 inputs, hidden units and examples; one is large. The results are
    predictions of many rows and of one, sums over the examples by blocks and one by one (gemv and ger of BLAS), and an
    epoch of single steps. Every BLAS has shipped wrong kernels for a new processor, and a virtual machine may claim
    instructions it lacks.

    Returns
    -------
    dict
        The instruction set, the BLAS, and for each dtype the largest difference, in units of its eps.

    Raises
    ------
    ArithmeticError
        The results differ; the message names the operation, the difference and the network.

    See Also
    --------
    show_config

    Examples
    --------
    >>> import fastbp
    >>> report = fastbp.selftest()
    >>> report["float64"] < 1000
    True
    """
    found: dict[str, str | float] = {
        "instruction set": _kernels.isa,
        "blas": ", ".join(f"{each.internal_api} {each.version}" for each in blas.libraries()),
    }
    for dtype in (np.float32, np.float64):
        eps, worst = float(np.finfo(dtype).eps), 0.0
        sizes = [((i, TAIL + 1 - i, 1 + i % 7), 1 + i * 29 % TAIL) for i in range(1, TAIL + 1)]
        for layers, m in [*sizes, (LARGE, TAIL)]:
            for what, got, expected in _results(layers, m, dtype):
                difference = float(np.abs(got - expected).max() / np.abs(expected).max()) / eps
                if not difference < TOLERANCE:      # NaN too
                    raise ArithmeticError(
                        f"fastbp computes wrong results here: {what} of {m} examples in a network {list(layers)} of "
                        f"{np.dtype(dtype).name} is {difference:g} eps from plain sums ({found}); please report it"
                    )
                worst = max(worst, difference)
        found[np.dtype(dtype).name] = worst
    return found


def _results(layers: Sequence[int], m: int, dtype: DTypeLike) -> Iterator[tuple[str, NDArray[Any], Doubles]]:
    """(operation, result here, result of plain sums) for a network without activations: products only."""
    rng = np.random.default_rng([m, *layers])
    net = Network(layers, activation="identity", output="identity", loss="squared_error", dtype=dtype, init="normal",
                  eps=0.5, seed=rng)
    X, Y = (rng.standard_normal((m, s)).astype(dtype) for s in (layers[0], layers[-1]))
    Theta = [each.astype(np.float64) for each in net.Theta]
    A = _forward(Theta, X)
    Delta = _backward(Theta, A, A[-1] - Y)
    yield "predict", net.predict(X), A[-1]
    yield "predict into an array", net.predict(X, out=np.empty_like(A[-1], net.dtype)), A[-1]
    yield "predict of lists", net.predict(X.tolist()), A[-1]        # not the prepared call
    yield "predict of one", net.predict(X[0]), A[-1][0]
    for way, name in ((False, "accumulate"), (True, "accumulate one by one")):
        for got, expected in zip(net.accumulate(X, Y, per_example=way)[1], Delta, strict=True):
            yield name, got, expected
    rate = 1e-3 / sum(layers)
    for i in range(min(m, 5)):
        A = _forward(Theta, X[i : i + 1])
        for T, D in zip(Theta, _backward(Theta, A, A[-1] - Y[i]), strict=True):
            T -= rate * D
    Trainer(net, SGD(rate)).epoch(X[:5], Y[:5], batch_size=1)
    for got, expected in zip(net.Theta, Theta, strict=True):
        yield "an epoch of single steps", got, expected


def _product(A: Doubles, B: Doubles) -> Doubles:
    """A B' by NumPy's pairwise sums of elementwise products, without BLAS"""
    return np.stack([np.sum(a * B, axis=1) for a in A])


def _with_bias(A: Doubles) -> Doubles:
    return np.hstack([np.ones((len(A), 1)), A])


def _forward(Theta: list[Doubles], X: NDArray[Any]) -> list[Doubles]:
    A = [X.astype(np.float64)]
    for T in Theta:
        A.append(_product(_with_bias(A[-1]), T))
    return A


def _backward(Theta: list[Doubles], A: list[Doubles], delta: Doubles) -> list[Doubles]:
    """Delta(l) = delta(l+1)' [1, A(l)];  delta(l) = delta(l+1) Theta(l) without the bias"""
    Delta: list[Doubles] = []
    for T, a in zip(Theta[::-1], A[-2::-1], strict=True):
        Delta.insert(0, _product(delta.T, _with_bias(a).T))
        delta = _product(delta, T[:, 1:].T)
    return Delta
