"""The caller's own loss: a function of z(L), Y and weights, with its derivative.

In Python: f(z (m, K), Y, w (m,) or None) -> (costs (m,), dcost_dz (m, K)), both multiplied by w. It sees a whole batch.
Compiled: double f(int K, const double *z, const double *y, double *delta, void *user) for one example; float z, y and
delta for a float32 network.
"""

import functools
import inspect
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import _kernels
from .._types import Floats
from . import checks

LARGEST = 2.0**53   # a parameter in a file
WHOLE, SOME = 2**14, 2**10   # theta is compared whole up to WHOLE values, else SOME of its values
MOVED = "loss has changed theta of its network, or the optimizer, while it was called"
LAST = "<locals>", "<lambda>"   # in names that cannot be imported
DTYPES: dict[str, np.dtype[np.floating[Any]]] = {"float": np.dtype(np.float32), "double": np.dtype(np.float64)}
COMPILED = "double (int, const {0} *, const {0} *, {0} *, void *)"


class OwnLoss:
    """The caller's own loss.

    Parameters
    ----------
    function : callable, scipy.LowLevelCallable, or None
        None: a file names a loss that cannot be found.
    name : str, optional
        The importable name, module:name; None finds it, if there is one.
    parameters : dict, optional
        Numbers passed to the function of this name; None reads them from a functools.partial.

    Attributes
    ----------
    dtype : dtype or None
        Of a compiled function; None for one in Python.
    address, user : int
        Of a compiled function and of its last argument.
    """

    def __init__(
        self, function: Any, name: str | None = None, parameters: Mapping[str, float] | None = None,
    ) -> None:
        self.function, self.name = function, _importable(function) if name is None else name
        self.parameters = dict(parameters or {}) if name is not None or parameters else _parameters_of(function)
        self.dtype: np.dtype[np.floating[Any]] | None = None
        self.address = self.user = 0
        if _is_low_level(function):
            self.address, signature, self.user = _kernels.low_level(function)
            self.dtype = _dtype_of(signature)

    def __repr__(self) -> str:
        return self.told

    def __eq__(self, other: object) -> bool:
        """Is it the same function?"""
        if not isinstance(other, OwnLoss):
            return NotImplemented
        if self.dtype is None or other.dtype is None:
            if self.name is None:
                return self.function is other.function
            return (self.name, self.parameters) == (other.name, other.parameters)
        return (self.dtype, self.address, self.user) == (other.dtype, other.address, other.user)

    def __hash__(self) -> int:
        return hash((self.name, self.address, self.user))

    def __copy__(self) -> "OwnLoss":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "OwnLoss":
        return self

    def __reduce__(self) -> Any:
        if self.dtype is not None:
            raise TypeError("loss is a LowLevelCallable, an address in this process, which cannot be pickled; save the "
                            "network without it: make one with a built-in loss and the same theta")
        return OwnLoss, (self.function, self.name, self.parameters)

    @property
    def told(self) -> str:
        """A name for messages, and for the settings of a network."""
        return self.name or getattr(self.function, "__qualname__", None) or type(self.function).__name__

    @property
    def kept(self) -> str:
        """The importable name, for files."""
        if self.name is None:
            raise ValueError(
                f"loss is {self.told}, which has no importable name, so that no file can keep it; define it with def "
                "at the top of a module, and give it numbers by functools.partial(f, name=number)"
                if self.dtype is None else
                "loss is a LowLevelCallable, which has no importable name, so that no file can keep it")
        return self.name

    def with_parameters(self, kept: Mapping[str, float]) -> "OwnLoss":
        """The loss with the parameters of a file; a ValueError if they differ."""
        if self.parameters == kept:
            return self
        if self.parameters or self.dtype is not None:
            raise ValueError(f"loss has the parameters {self.parameters!r}; the file has {kept!r}")
        return OwnLoss(functools.partial(self.function, **kept))

    def check_dtype(self, dtype: DTypeLike) -> None:
        """Raise a ValueError if the compiled function is for another dtype."""
        if self.dtype is not None and self.dtype != dtype:
            raise ValueError(f"loss is compiled for {self.dtype.name}, but this is computed in {np.dtype(dtype).name}")

    def __call__(
        self, z: Floats, Y: NDArray[Any], w: Floats | None,
    ) -> tuple[float, Any]:
        """(the sum of the costs, the slopes) of a batch. The function may change z, Y and w. The slopes are as the
        function returned them; `slopes` checks them."""
        costs, slopes = self.costs(z, Y, w)
        return self.total(costs), slopes

    def at(
        self, theta: Floats, z: Floats, Y: NDArray[Any], w: Floats | None,
    ) -> tuple[float, Floats]:
        """(the sum of the costs, the checked slopes) of a batch; a ValueError if the function changes theta."""
        m, K, before = len(z), z.shape[1], seen(theta).copy()
        total, slopes = self(z, Y, w)
        check_unmoved(theta, before)
        return total, self.slopes(slopes, m, K, theta.dtype)

    def costs(self, z: Floats, Y: NDArray[Any], w: Floats | None) -> tuple[NDArray[Any], Any]:
        """(the costs (m,), the slopes) of a batch; their values are not checked."""
        m, function = len(z), self.function
        if function is None:
            raise ValueError(f"loss {self.name} of the file is missing; use fastbp.load(path, loss=f)")
        result = function(z, Y, w)
        if type(result) is not tuple and not isinstance(result, (tuple, list)):
            raise TypeError(f"loss {self.told} must return a pair (costs, dcost_dz); it returned "
                            f"{type(result).__name__}")
        if len(result) != 2:
            raise ValueError(f"loss {self.told} must return a pair (costs, dcost_dz); it returned {len(result)} values")
        costs, slopes = result
        if type(costs) is not np.ndarray or costs.dtype.kind != "f":
            costs = self._array(costs, "costs")
        if costs.shape != (m,):
            raise ValueError(f"loss {self.told}: the costs must have shape ({m},), one for each example; they have "
                             f"{costs.shape}")
        return costs, slopes

    def total(self, costs: NDArray[Any]) -> float:
        """The sum of the costs, which must be finite."""
        total = _kernels.few_summed(costs)
        if total is None:
            if costs.base is not None:
                _kernels.check_owner(costs, f"loss {self.told}: the array of the costs")
            with np.errstate(over="ignore", invalid="ignore"):
                total = float(costs.sum(dtype=np.float64))
        if not math.isfinite(total):
            with np.errstate(over="ignore"):
                double = costs.astype(np.float64)
            self._complain(double[:, np.newaxis], "costs", np.float64)
            raise ValueError(f"loss {self.told}: the sum of the costs overflows")
        return total

    def slopes(self, slopes: Any, m: int, K: int, dtype: DTypeLike) -> Floats:
        """dcost_dz (m, K) as the core reads it."""
        a = self._array(slopes, "slopes")
        if a.shape != (m, K):
            raise ValueError(f"loss {self.told}: the slopes dcost_dz must have shape ({m}, {K}), as z; they have "
                             f"{a.shape}")
        a = checks.readable(a, dtype)
        self._complain(a, "slopes", dtype)
        with np.errstate(under="ignore"):
            return np.require(a, dtype, ["C", "A"])

    def _array(self, value: Any, what: str) -> NDArray[Any]:
        """value as an array of real numbers."""
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"loss {self.told}: the {what} are a masked array; fill the masked values first")
        try:
            a = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"loss {self.told}: the {what} are not an array of numbers: {error}") from None
        if a.dtype.kind not in "biuf":
            raise TypeError(f"loss {self.told}: the {what} must be real numbers; they have dtype {a.dtype}")
        if a.base is not None:
            _kernels.check_owner(a, f"loss {self.told}: the array of the {what}")
        return a

    def _complain(self, a: NDArray[Any], what: str, dtype: DTypeLike) -> None:
        """Raise a ValueError if a value is NaN, infinite or too large."""
        try:
            checks.finite(a, dtype, what)
        except ValueError as error:
            raise ValueError(f"loss {self.told}: {str(error).removeprefix('Input ')}") from None


def of(loss: Any) -> OwnLoss | None:
    """The own loss for an argument; None for the name of a built-in one."""
    if isinstance(loss, OwnLoss):
        return loss
    if isinstance(loss, type) or not (callable(loss) or _is_low_level(loss)):
        return None
    if not _is_low_level(loss):
        _refuse_ctypes(loss)
        _refuse_signature(loss)
    return OwnLoss(loss)


def _refuse_ctypes(loss: Any) -> None:
    """A TypeError for a compiled function without its wrapper, since it would be called as a Python function."""
    from _ctypes import CFuncPtr

    for given, name in ((loss, "f"), (getattr(loss, "ctypes", None), "f.ctypes")):
        if isinstance(given, CFuncPtr):
            raise TypeError(f"loss is a compiled function; wrap it: loss=scipy.LowLevelCallable({name}), once its "
                            "restype and argtypes are set")


def _refuse_signature(loss: Any) -> None:
    """A TypeError for a function that cannot be called as f(z, Y, w), such as a loss of another library."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):     # such as a compiled function
        return
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise TypeError("loss must be a function f(z, Y, w) that returns costs (m,) and their derivatives with respect "
                        f"to z (m, K); {name}{signature} cannot be called so: {error}") from None


def seen(theta: Floats) -> NDArray[np.unsignedinteger[Any]]:
    """A view of the bits of theta that are compared to detect a change: all of a small theta, some of a large one."""
    return theta[:: 1 if len(theta) <= WHOLE else len(theta) // SOME].view(f"u{theta.itemsize}")


def check_unmoved(theta: Floats, before: NDArray[np.unsignedinteger[Any]]) -> None:
    """Raise a ValueError if theta differs from what was seen before; it may even have been resized."""
    if not np.array_equal(seen(theta), before):
        raise ValueError(MOVED)


def is_name(name: Any) -> bool:
    """Is this the importable name of an own loss?"""
    return isinstance(name, str) and ":" in name


def targets(Y: ArrayLike, m: int, name: str) -> NDArray[Any]:
    """Y for a loss in Python: any array with a row for each example."""
    a = checks.dense(Y, name, "an array")
    if a.base is not None:
        _kernels.check_owner(a, name)
    if a.ndim == 0 or a.shape[0] != m:
        raise ValueError(f"{name} has shape {a.shape}, but X has {m} rows")
    return a


def compiled_targets(Y: ArrayLike, m: int, dtype: DTypeLike, name: str) -> Floats:
    """Y (m, any) in the network's dtype, for a compiled loss; NaN is allowed."""
    a = checks.array(Y, name)
    if a.ndim not in (1, 2) or a.shape[0] != m:
        raise ValueError(f"{name} has shape {a.shape}; loss takes {m} rows of targets, one for each row of X")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.require(a.reshape(m, -1) if m else a.reshape(0, a.shape[1] if a.ndim == 2 else 1), dtype, ["C", "A"])


def _is_low_level(function: Any) -> bool:
    return type(function).__name__ == "LowLevelCallable" and isinstance(function, tuple)


def _dtype_of(signature: str) -> np.dtype[np.floating[Any]]:
    """The dtype of a signature; `const` is ignored, since ctypes has none."""
    plain = signature.replace("const", "").replace(" ", "")
    for name, dtype in DTYPES.items():
        if plain == COMPILED.format(name).replace("const", "").replace(" ", ""):
            return dtype
    raise ValueError(f"loss has the signature {signature!r}; accepted are {COMPILED.format('double')!r} and "
                     f"{COMPILED.format('float')!r}")


def _parameters_of(function: Any) -> dict[str, float]:
    """The numbers that a functools.partial gives an importable function; {} for any other function."""
    given = function.keywords if isinstance(function, functools.partial) and _importable(function) else {}
    return {name: number.item() if isinstance(number, np.generic) else number for name, number in given.items()}


def _is_parameter(value: Any) -> bool:
    """Is it a number that a file can store exactly?"""
    plain = value.item() if isinstance(value, (np.integer, np.floating)) else value
    return type(plain) in (int, float) and math.isfinite(plain) and abs(plain) <= LARGEST


def _importable(function: Any) -> str | None:
    """module:name of the function, or of the function in a functools.partial with numbers by name; None if it cannot
    be imported."""
    if isinstance(function, functools.partial):
        plain = not function.args and all(map(_is_parameter, function.keywords.values()))
        return _importable(function.func) if plain else None
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or any(part in name for part in LAST):
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is function else None
