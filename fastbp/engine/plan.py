"""The layout of a network: the places of its layers in theta, and its description for the compiled core."""

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from .. import _kernels, words
from .._types import Number, Scalar
from . import checks, own, threads
from .own import OwnLoss

LOSS_OF = {"sigmoid": "cross_entropy", "softmax": "cross_entropy", "exp": "poisson"}  # any other: squared_error
OUTPUT_OF = {"cross_entropy": "sigmoid", "poisson": "exp"}  # any other: identity
BLAS_LIMIT = 2**31 - 2  # units of the largest layer: BLAS counts in 32 bits
SMALLEST = float(np.finfo(np.float32).tiny)  # parameter of a loss: it must not vanish in float32
SMOOTHING = "label_smoothing"
CACHED = 2**18  # weights of a layer that the second-level cache holds; src/_backprop.pxd has the same number
WORKSPACE = 512 * 1024  # bytes of a, z, delta of one block: they stay in the second-level cache


def _named(name: str, value: Any, accepted: Collection[str]) -> str:
    """A name from a closed set; other libraries' spellings are accepted."""
    if not isinstance(value, str):
        or_function = ", or a function f(z, Y, w)" if name == "loss" else ""
        raise TypeError(f"{name} must be a string, one of {', '.join(accepted)}{or_function}; got {value!r}")
    known = words.resolve(value, accepted, words.LOSSES if name == "loss" else words.FUNCTIONS)
    if known is None:
        raise ValueError(f"{name} is {value!r}; accepted are {', '.join(accepted)}")
    return known


def pair(output: str | None, loss: Any) -> tuple[str, Any]:
    """(output, loss) of a network. If one is None, the other decides; if both are, they are sigmoid and cross_entropy.
    """
    if own.of(loss) is not None:
        return "identity" if output is None else output, loss
    if loss is None:
        if output is None:
            return "sigmoid", "cross_entropy"
        return output, LOSS_OF.get(_named("output", output, _kernels.outputs), "squared_error")
    if output is None:
        known = _named("loss", loss, _kernels.losses)
        output = "softmax" if words.one_class(loss) else OUTPUT_OF.get(known, "identity")
    return output, loss


class Plan:
    """Layer sizes and functions of a network, checked, with their places in theta and in a workspace.

    Attributes
    ----------
    layer_sizes : tuple of int
        Units s_l of each layer, input and output included, bias not counted.
    activations : tuple of str
        One for each hidden layer.
    output, loss : str
        loss is "own" for a loss of the caller's own.
    own : OwnLoss, or None
    loss_parameters : dict
        Name and value of the loss's own parameter; empty if it has none, or no label smoothing.
    shapes : list of (rows, columns)
        Of Theta(1) .. Theta(L-1): (s_{l+1}, s_l + 1).
    offsets : list of int
        Where each begins in theta; the last entry is the number of parameters.
    dropout : tuple of float
        Rates of a(1) .. a(L-1) in the plan of training with dropout (`dropping`), else empty.
    code : ndarray of int64, (8, L + 1), with dropout (10, L + 1)
        The same for the compiled core; src/_backprop.pxd describes its rows.
    units : int
        Values that one example needs in the workspace.
    kept : Kept
        The threads of this network's calls.
    """

    def __init__(
        self, layer_sizes: Iterable[SupportsIndex], activation: str | list[str] | tuple[str, ...], output: str,
        loss: Any, **parameters: Number | None,
    ) -> None:
        self.layer_sizes = _sizes(layer_sizes)
        hidden = len(self.layer_sizes) - 2
        names = [activation] * hidden if isinstance(activation, str) else activation
        if isinstance(activation, str):
            _named("activation", activation, _kernels.activations)  # checked even if no layer uses it
        elif not isinstance(activation, (list, tuple)):
            raise TypeError(f"activation must be a name or a list of names, one per hidden layer; got {activation!r}")
        if len(names) != hidden:
            raise ValueError(f"activation has {len(names)} names; the network has {hidden} hidden layers")
        self.activations = tuple(_named("activation", name, _kernels.activations) for name in names)
        self.output = _named("output", output, _kernels.outputs)
        self.own: OwnLoss | None = own.of(loss)
        self.loss = "own" if self.own else _named("loss", loss, _kernels.losses)
        if self.own is None and (self.output, self.loss) not in _kernels.pairs:
            accepted = ", ".join(f"{output} + {loss}" for output, loss in _kernels.pairs)
            raise ValueError(f"output {self.output!r} and loss {self.loss!r} do not go together; accepted: {accepted}")
        self.loss_parameters = _parameters(self.loss, parameters) if self.own is None else _of_own(self.own, parameters)
        if self.output == "softmax" and self.layer_sizes[-1] < 2:
            raise ValueError("output 'softmax' needs at least 2 units; layer_sizes ends with 1")

        self.shapes = [(n, k + 1) for k, n in pairwise(self.layer_sizes)]
        self.offsets = [0]
        for rows, columns in self.shapes:
            self.offsets.append(self.offsets[-1] + rows * columns)
        self.lowest, self.highest = _kernels.outputs[self.output][1:]
        self.kept = threads.Kept()
        self._encode(())

    def dropping(self, rates: Sequence[float]) -> Self:
        """The same network for training with dropout: rates of a(1) .. a(L-1), each in [0, 1)."""
        plan = copy.copy(self)
        plan._encode(rates)
        return plan

    @property
    def plain(self) -> Self:
        """The same network without label smoothing, as evaluations see it."""
        if SMOOTHING not in self.loss_parameters:
            return self
        plan = copy.copy(self)
        plan.loss_parameters = {}
        plan._encode(self.dropout)
        return plan

    def set_masks(self, seed: int, step: int, first: int = 0) -> None:
        """Choose the masks of this step (from 0), whose batch begins at example `first`; 0 <= seed < 2^63."""
        self.code[2:5, -1] = seed, step, first

    def check_same(self, other: "Plan") -> None:
        """Raise a ValueError that names the difference if they describe different networks; dropout is ignored."""
        for name in ("layer_sizes", "activations", "output", "loss", "loss_parameters"):
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                raise ValueError(f"data was made by a network with {name} {others!r}; this one has {mine!r}")
        if self.own != other.own:
            raise ValueError(f"data was made by a network with its own loss {other.own!r}; this one has "
                             f"another, {self.own!r}")

    @property
    def large(self) -> bool:
        """Does a layer have more weights than the second-level cache holds, or all layers together 16 times as many?"""
        sizes = [rows * (columns - 1) for rows, columns in self.shapes]
        return max(sizes) > CACHED or sum(sizes) > 16 * CACHED

    @property
    def n_parameters(self) -> int:
        return self.offsets[-1]

    def _encode(self, dropout: Sequence[float]) -> None:
        L = len(self.layer_sizes)
        self.dropout = tuple(dropout)
        self.code = code = np.zeros((10 if dropout else 8, L + 1), dtype=np.int64)
        code[0, :L] = self.layer_sizes
        code[0, L] = -1 if self.output == "tanh" else 0
        code[1, L] = np.float64(next(iter(self.loss_parameters.values()), 0)).view(np.int64)
        at = 0

        def take(units: int) -> int:
            nonlocal at
            at += units
            return at - units

        for l, s in enumerate(self.layer_sizes):
            code[3, l] = take(s + 1) + 1  # the spare unit before a holds the 1 of [1, a]
            code[6, l] = take(s)
            if l == 0:
                continue
            code[2, l] = self.offsets[l - 1]
            if l < L - 1:
                code[1, l], code[4, l] = _kernels.activations[self.activations[l - 1]], code[3, l]
            else:
                code[1, l], code[4, l] = _kernels.outputs[self.output][0], take(s)
            code[5, l] = take(s)
        if dropout:
            code[8, : L - 1] = np.array(dropout, np.float64).view(np.int64)
            code[9] = code[3]
            for l, rate in enumerate(dropout[1:], 1):
                if rate:
                    code[9, l] = take(self.layer_sizes[l])
        code[7, :3] = self._loss_code(), take(self.layer_sizes[-1]), take(1)
        self.units = at

    def _loss_code(self) -> int:
        """The number of the loss for the compiled core; the caller's own losses come after the built-in ones."""
        if self.own is None:
            code: int = _kernels.losses[self.loss][0]
            return code
        self.code[5:7, -1] = self.own.address, self.own.user
        kinds = [dtype.name for dtype in own.DTYPES.values()]
        return len(_kernels.losses) + (len(kinds) if self.own.dtype is None else kinds.index(self.own.dtype.name))

    def block(self, m: int, itemsize: int, panel: int, units: int | None = None) -> int:
        """Examples of a block, a multiple of a panel: as many as the workspace holds in cache, between 64 and 512; 512
        for a `large` network, whose Delta is not in cache either. units: values per example, by default `self.units`.
        """
        units = self.units if units is None else units
        fits = max(512 if self.large else 64, min(512, WORKSPACE // (units * itemsize) // 64 * 64))
        return min(fits, -(-m // panel) * panel)

    def views(self, theta: NDArray[Scalar]) -> tuple[NDArray[Scalar], ...]:
        """Theta(1) .. Theta(L-1) as views of the flat theta."""
        return tuple(
            theta[begin:end].reshape(shape)
            for (begin, end), shape in zip(pairwise(self.offsets), self.shapes, strict=True)
        )


def _of_own(loss: OwnLoss, given: Mapping[str, Number | None]) -> dict[str, float]:
    """The parameters of the caller's own loss; any that are given must be equal to them."""
    if any(value is not None for value in given.values()) and given != loss.parameters:
        _parameters("own", {name: value for name, value in given.items() if value != loss.parameters.get(name)})
    return dict(loss.parameters)


def _parameters(loss: str, given: Mapping[str, Number | None]) -> dict[str, float]:
    """The parameter of the loss by name, {} if it has none; None means the usual value."""
    _, name, usual, below = _kernels.losses.get(loss, (0, None, 0, 0))
    for other, value in given.items():
        if value is not None and other != name:
            which = "a loss of your own" if loss == "own" else f"the loss {loss!r}"
            raise ValueError(f"{other} is {value!r}, but {which} has no such parameter")
    if name is None:
        return {}
    value = given.get(name)
    if name == SMOOTHING:
        smoothing = 0.0 if value is None else checks.number(value, name, high=below)
        return {name: smoothing} if smoothing else {}
    return {name: usual if value is None else checks.number(value, name, low=SMALLEST, high=below)}


def _sizes(layer_sizes: Iterable[SupportsIndex]) -> tuple[int, ...]:
    if isinstance(layer_sizes, (set, frozenset, dict)):
        raise TypeError(f"layer_sizes must be a list of whole numbers, in order; got {layer_sizes!r}")
    try:
        sizes = [size.__index__() for size in layer_sizes]
    except (TypeError, AttributeError):
        raise TypeError(f"layer_sizes must be a list of whole numbers; got {layer_sizes!r}") from None
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes needs at least an input and an output layer; got {sizes}")
    for l, size in enumerate(sizes):
        if not 1 <= size <= BLAS_LIMIT:
            raise ValueError(f"layer_sizes[{l}] is {size}; accepted are 1 to {BLAS_LIMIT}")
    if sum(n * (k + 1) for k, n in pairwise(sizes)) > 2**60:
        raise ValueError(f"layer_sizes {sizes} make more parameters than memory can hold")
    return tuple(sizes)
