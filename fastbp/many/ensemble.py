"""Several networks as one: the mean and spread of their predictions."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from .._types import Arrays, Floats, Path, State
from ..engine import checks, sums
from ..files import container, values
from ..files import network as files
from ..files.container import FormatError
from ..network import Network

KIND = "ensemble"
ARRAYS = ("theta32", "theta64", "init32", "init64", "kind")
BLOCK = 2**19   # bytes of X that all networks read before the next block


class Prediction(NamedTuple):
    """The result of `Ensemble.predict`: mean and standard deviation over the networks, each (m, K), or (K,).

    Attributes
    ----------
    mean, spread : ndarray (m, K), or (K,) for one example

    See Also
    --------
    Ensemble.predict

    Examples
    --------
    >>> import fastbp
    >>> nets = [fastbp.Network([2, 1], seed=seed) for seed in range(3)]
    >>> fastbp.Ensemble(nets).predict([0.0, 0.0])
    Prediction(mean=array([0.5]), spread=array([0.]))
    """

    mean: Floats
    spread: Floats


class Ensemble:
    """Networks with the same inputs and outputs, whose predictions are averaged.

    Parameters
    ----------
    nets : list of Network
        At least one. They may differ in everything but the sizes of the first and last layers. They are not copied.

    See Also
    --------
    train_many

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> nets = [fastbp.Network([2, 8, 1], output="identity", seed=seed) for seed in range(20)]
    >>> ensemble = fastbp.Ensemble(nets)
    >>> mean, spread = ensemble.predict(np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 0.5]]))
    >>> mean.shape, spread.shape
    ((3, 1), (3, 1))
    >>> ensemble.save("twenty.fastbp")
    >>> fastbp.Ensemble.load("twenty.fastbp")
    Ensemble(20 networks, 2 inputs, 1 output)
    """

    def __init__(self, nets: Sequence[Network]) -> None:
        if not isinstance(nets, (list, tuple)) or not nets:
            raise TypeError(f"nets must be a list of at least one fastbp.Network; got {nets!r:.200}")
        for i, net in enumerate(nets):
            if not isinstance(net, Network):
                raise TypeError(f"nets[{i}] must be a fastbp.Network; got {net!r:.200}")
            if (net.layer_sizes[0], net.layer_sizes[-1]) != (nets[0].layer_sizes[0], nets[0].layer_sizes[-1]):
                raise ValueError(f"nets[{i}] has {net.layer_sizes[0]} inputs and {net.layer_sizes[-1]} outputs; "
                                 f"nets[0] has {nets[0].layer_sizes[0]} and {nets[0].layer_sizes[-1]}")
        self.nets = list(nets)

    def __repr__(self) -> str:
        n, k, K = len(self.nets), self.nets[0].layer_sizes[0], self.nets[0].layer_sizes[-1]
        return (f"Ensemble({n} network{'s' * (n > 1)}, {k} input{'s' * (k > 1)}, {K} output{'s' * (K > 1)})")

    def __len__(self) -> int:
        return len(self.nets)

    def predict(self, X: ArrayLike) -> Prediction:
        """Mean and standard deviation of h(x) over the networks; X is read once, block by block.

        Parameters
        ----------
        X : (m, s_1), or (s_1,) for one example

        Returns
        -------
        Prediction
            ``mean, spread = ensemble.predict(X)``; both in the widest dtype of the networks, summed in float64. The
            spread divides by the number of networks, as numpy.std does.
        """
        nets, K = self.nets, self.nets[0].layer_sizes[-1]
        dtype: np.dtype[Any] = np.result_type(*(net.dtype for net in nets))
        narrow = np.dtype(np.float32) if any(net.dtype == np.float32 for net in nets) else dtype
        rows, one = checks.inputs(X, nets[0].layer_sizes[0], dtype, empty=True)
        checks.finite(rows, narrow, "X", one)
        for i, net in enumerate(nets):
            try:
                checks.own_parameters(net.theta, net.plan, net.dtype)
            except ValueError as error:
                raise ValueError(f"nets[{i}]: {error}") from None
        mean, spread = np.empty((len(rows), K), dtype), np.empty((len(rows), K), dtype)
        size = max(64, BLOCK // max(1, rows.strides[0]))
        for first in range(0, len(rows), size):
            last = min(first + size, len(rows))
            self._block(rows[first:last], mean[first:last], spread[first:last])
        return Prediction(mean[0], spread[0]) if one else Prediction(mean, spread)

    def _block(self, X: Any, mean: Floats, spread: Floats) -> None:
        """Mean and spread of a block of rows (Welford 1962)."""
        of_all, squares = np.zeros(mean.shape), np.zeros(mean.shape)
        h = {dtype: np.empty(mean.shape, dtype) for dtype in {net.dtype for net in self.nets}}
        for n, net in enumerate(self.nets, 1):
            sums.predict(net.plan, net.theta, X, h[net.dtype])
            off = h[net.dtype] - of_all
            of_all += off / n
            squares += off * (h[net.dtype] - of_all)
        mean[:] = of_all
        spread[:] = np.sqrt(squares / len(self.nets))

    # ------------------------------------------------------------ files

    def save(self, path: Path) -> None:
        """Write all networks into one file that replaces `path` atomically, as `fastbp.save` does with one."""
        container.write(path, *self._pack())

    def _pack(self) -> tuple[Arrays, State]:
        """The arrays and the fields of a file."""
        parts: dict[str, list[Any]] = {
            name: [np.empty(0, np.float32 if name.endswith("32") else np.float64)] for name in ARRAYS[:4]}
        kinds: list[dict[str, Any]] = []
        which = []
        for i, net in enumerate(self.nets):
            if net.plan.own is not None:
                raise ValueError(f"nets[{i}] has your own loss {net.plan.own}, which this file cannot keep; save the "
                                 "network by itself with fastbp.save")
            arrays, settings = files.pack(net)
            for name, a in arrays.items():
                parts[f"{name}{8 * a.itemsize}"].append(a)
            if settings not in kinds:
                kinds.append(settings)
            which.append(kinds.index(settings))
        whole = {name: np.concatenate(own) for name, own in parts.items()}
        return {**whole, "kind": np.array(which, np.int64)}, {"kind": KIND, "version": 1, "networks": kinds}

    @classmethod
    def load(cls, path: Path) -> Self:
        """The ensemble in a file of `save`; a FormatError, which is a ValueError, if the file is damaged."""
        arrays, meta = container.read(path)
        with container.located(path):
            return cls._unpack(arrays, meta)

    @classmethod
    def _unpack(cls, arrays: Arrays, meta: State) -> Self:
        values.of_kind(meta, KIND)
        values.fields(meta, ("kind", "version", "networks"), "the file")
        values.fields(arrays, ARRAYS, "the arrays")
        try:
            return cls(_unpacked(arrays, meta["networks"]))
        except (TypeError, ValueError) as error:
            raise error if isinstance(error, FormatError) else FormatError(str(error)) from None


def _unpacked(arrays: Arrays, kinds: Any) -> list[Network]:
    """The networks of a file."""
    which = arrays["kind"]
    if which.dtype != np.int64 or which.ndim != 1 or not isinstance(kinds, list) or (
        which.size and not 0 <= which.min() <= which.max() < len(kinds)
    ):
        raise FormatError("array 'kind' must be the numbers of the networks' settings")
    at, nets = dict.fromkeys(ARRAYS[:4], 0), []
    for i in which.tolist():
        n, bits = _size(kinds[i])
        own = {}
        for name in ("theta", "init") if kinds[i].get("init") is None else ("theta",):
            whole, first = arrays[f"{name}{bits}"], at[f"{name}{bits}"]
            if whole.ndim != 1 or first + n > len(whole):
                raise FormatError(f"array '{name}{bits}' is too short for the networks")
            own[name] = whole[first : first + n].copy()
            at[f"{name}{bits}"] += n
        nets.append(files.unpack(own, kinds[i]))
    if any(at[name] != len(arrays[name]) for name in at):
        raise FormatError("the arrays are longer than the networks")
    return nets


def _size(settings: Any) -> tuple[int, int]:
    """(number of parameters, bits of each) of a network with these settings from a file."""
    sizes = settings.get("layer_sizes") if isinstance(settings, dict) else None
    if not isinstance(sizes, list) or len(sizes) < 2 or not all(type(s) is int and s > 0 for s in sizes):
        raise FormatError("networks: layer_sizes must be a list of whole numbers")
    if settings.get("dtype") not in ("float32", "float64"):
        raise FormatError(f"networks: dtype is {settings.get('dtype')!r:.60}; accepted are 'float32' and 'float64'")
    n = sum(s * (k + 1) for k, s in pairwise(sizes))
    return n, int(settings["dtype"][5:])


def _is_ensemble(value: Any) -> bool:
    return isinstance(value, Ensemble)


files.OTHERS[KIND] = (_is_ensemble, Ensemble._pack, Ensemble._unpack)
