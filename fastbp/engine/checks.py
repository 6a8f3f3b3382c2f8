"""Checks of input: every array and number from a caller passes here once, before anything has changed.

Errors name the argument, what was received and what is accepted. Arrays come back as the compiled core reads them:
float32, float64 or uint8, native byte order, aligned, contiguous within a row. An array of this kind is not copied.
"""

import math
import sys
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import _kernels, words
from .._types import Array, Doubles, Floats, Layout, Number, PerLayer, Rate, Value
from . import explain
from .scalars import MOST as MOST
from .scalars import count as count
from .scalars import dictionary as dictionary
from .scalars import flag as flag
from .scalars import generator as generator
from .scalars import limit as limit
from .scalars import mean_weight as mean_weight
from .scalars import members as members
from .scalars import number as number
from .scalars import value as value

LARGEST = sys.float_info.max
LARGEST_32 = float(np.finfo(np.float32).max)
MOST_STEPS = 2**62 - 1  # taken so far: leaves room for further ones
READ_AS_IS = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.uint8))


def array(value: ArrayLike, name: str, labels: bool = False) -> NDArray[Any]:
    """value as an ndarray of real numbers, of any dtype and layout; labels: it may hold labels."""
    a = dense(value, name, "an array of numbers")
    if a.dtype.kind not in "biuf":
        raise TypeError(explain.no_numbers(value, a, name, labels))
    if a.base is not None:
        _kernels.check_owner(a, name)
    return a


def dense(value: ArrayLike, name: str, what: str) -> NDArray[Any]:
    """value as an ndarray of anything, unless it is masked, sparse or not `what`."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill or drop the masked values first")
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is sparse ({type(value).__name__}); pass {name}.toarray()")
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is not {what}: {error}") from None


def booleans(a: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The array with each True stored as the byte 1: itself, or a copy if it is a view of other bytes."""
    stored = a.view(np.uint8)
    return a if stored.size == 0 or stored.max() <= 1 else stored != 0


def readable(a: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """The 2-D array as the compiled core reads it; converted to dtype only if the core cannot read it in place."""
    if a.dtype == bool:
        a = booleans(a).view(np.uint8)
    if a.dtype in READ_AS_IS and a.flags.aligned and (a.shape[1] <= 1 or a.strides[1] == a.itemsize):
        return a
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return np.array(a, dtype=dtype, order="C", copy=True, subok=False)


def finite(a: NDArray[Any], dtype: DTypeLike, name: str, one_row: bool = False) -> None:
    """Refuse NaN, infinity and values too large for dtype; the error names the first one."""
    if a.dtype.kind != "f":
        return
    flat = _kernels.first_nonfinite(a, LARGEST_32 if dtype == np.float32 else LARGEST)
    if flat >= 0:
        i, j = divmod(flat, a.shape[1])
        what = "NaN" if math.isnan(a[i, j]) else f"infinity or a value too large for {np.dtype(dtype).name}"
        cell = f"{name}[{j}]" if one_row else f"{name}[{i}, {j}]"
        raise ValueError(f"Input {name} contains {what}. First at {cell}.")


def inputs(
    X: ArrayLike, columns: int, dtype: DTypeLike, name: str = "X", empty: bool = False,
) -> tuple[NDArray[Any], bool]:
    """Examples, one per row: (m, columns), or (columns,) for one; at least one row unless `empty`.

    Returns the readable 2-D array and whether it was 1-D.
    """
    a = array(X, name)
    if a.ndim not in (1, 2):
        raise ValueError(f"{name} must be 2-D, (m, {columns}), or one row of {columns}; got shape {a.shape}")
    one_row = a.ndim == 1
    rows = a[np.newaxis] if one_row else a
    if rows.shape[1] != columns:
        hint = f". For {len(a)} examples pass {name}[:, np.newaxis]" if one_row and columns == 1 else ""
        raise ValueError(f"{name} has {rows.shape[1]} columns, but the network has {columns} "
                         f"input{'s' * (columns > 1)}; shape {a.shape}{hint}")
    if rows.shape[0] == 0 and not empty:
        raise ValueError(f"{name} has 0 rows; at least one example is needed")
    rows = readable(rows, dtype)
    finite(rows, dtype, name, one_row)
    return rows, one_row


def targets(
    Y: ArrayLike, m: int, plan: Layout, dtype: DTypeLike, name: str = "Y",
) -> tuple[NDArray[Any], None] | tuple[None, NDArray[np.int64]]:
    """Targets (m, K), or (m,) for K = 1, or labels (m,): returns (dense (m, K) or None, labels (m,) int64 or None)."""
    a = array(Y, name, labels=True)
    K = plan.layer_sizes[-1]
    if a.ndim == 0 or a.shape[0] != m:
        raise ValueError(f"{name} has shape {a.shape}, but X has {m} rows")
    if a.ndim == 1 and K > 1:
        return None, _labels(a, K, plan, name)
    if a.shape not in ((m, K), (m,)):
        labels = " or integer labels (m,)" if K > 1 else " or (m,)"
        raise ValueError(f"{name} must have shape ({m}, {K}){labels}; got {a.shape}")
    vector = a.ndim == 1
    a = readable(a.reshape(m, K) if vector else a, dtype)
    finite(a, dtype, name)
    if m == 0:
        return a, None
    if plan.highest < 255 or (a.dtype.kind == "f" and plan.lowest > -math.inf):
        low, high = a.min(), a.max()
        if low < plan.lowest or high > plan.highest:
            i, j = np.argwhere((a < plan.lowest) | (a > plan.highest))[0]
            cell = f"{name}[{i}]" if vector else f"{name}[{i}, {j}]"
            raise ValueError(
                f"{cell} is {a[i, j]}, which the output {plan.output!r} cannot reach: "
                f"{name} must lie in [{plan.lowest:g}, {plan.highest:g}]; {explain.out_of_reach(a, plan)}"
            )
    if (plan.output, plan.loss) == ("softmax", "cross_entropy"):
        off = np.abs(a.sum(axis=1, dtype=np.float64) - 1)
        i = int(off.argmax())
        if off[i] > (1e-4 if dtype == np.float32 else 1e-6):
            raise ValueError(
                f"{name}[{i}] sums to {a[i].sum(dtype=np.float64):.9g}; with softmax and cross_entropy each row of "
                f"{name} must sum to 1"
            )
    return a, None


def answers(Y: ArrayLike, m: int, K: int, name: str = "Y") -> NDArray[Any]:
    """Answers to outputs h (m, K): int64 labels 0 .. K-1 (m,), else numbers (m, K), or (m,) for K = 1."""
    a = array(Y, name, labels=True)
    if a.shape not in ((m, K), (m,)):
        raise ValueError(f"{name} must have shape ({m}, {K}) or ({m},), since h has shape ({m}, {K}); got {a.shape}")
    if a.ndim == 1 and K > 1:
        _in_classes(a, K, name)
        return a.astype(np.int64)
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        i = np.argwhere(~np.isfinite(a))[0]
        raise ValueError(f"Input {name} contains NaN or infinity. First at {name}[{', '.join(map(str, i))}].")
    return a


def slopes(G: ArrayLike, shape: tuple[int, ...], dtype: DTypeLike, name: str = "G") -> Floats:
    """dJ/dz(L) or dJ/dh, finite, in the shape of z(L): (m, K), or (K,) for one example. Returns (m, K), contiguous."""
    a = array(G, name)
    if a.shape != shape:
        raise ValueError(f"{name} must have the shape of the outputs, {shape}; got {a.shape}")
    rows = readable(a[np.newaxis] if a.ndim == 1 else a, dtype)
    finite(rows, dtype, name, a.ndim == 1)
    with np.errstate(under="ignore"):
        return np.require(rows, dtype, ["C", "A"])


def _labels(a: NDArray[Any], K: int, plan: Layout, name: str) -> NDArray[np.int64]:
    if plan.output not in ("softmax", "sigmoid", "tanh"):
        raise ValueError(f"{name} has shape {a.shape}; the output {plan.output!r} takes targets (m, {K}), not labels")
    if a.dtype == np.int64 and a.flags.c_contiguous and a.flags.aligned and _kernels.first_outside(a, K) < 0:
        return a
    _in_classes(a, K, name)
    return np.require(a, dtype=np.int64, requirements=["C", "A"])


def _in_classes(a: NDArray[Any], K: int, name: str) -> None:
    if a.dtype.kind == "f" and a.size:
        raise ValueError(
            f"{name} has shape {a.shape} and dtype {a.dtype}; labels must be integers 0 to {K - 1}, "
            f"targets must have shape (m, {K})"
        )
    if a.size and (a.min() < 0 or a.max() >= K):
        i = int(np.flatnonzero((a < 0) | (a >= K))[0])
        raise ValueError(f"{name}[{i}] is {a[i]}; labels must be integers 0 to {K - 1}")


def weights(
    sample_weight: ArrayLike | None, m: int, dtype: DTypeLike, name: str = "sample_weight", empty: bool = False,
) -> tuple[Floats | None, float]:
    """Weights of the examples (m,), finite, none negative, not all zero unless `empty`.

    Returns the readable (m, 1) array, or None, and the power of two by which it must be multiplied. Extreme weights are
    scaled to about 1: everything except the plain sums depends only on their ratios.
    """
    if sample_weight is None:
        return None, 1.0
    a = array(sample_weight, name)
    if a.shape != (m,):
        raise ValueError(f"{name} must have shape ({m},), one for each row of X; got {a.shape}")
    if a.size and a.min() < 0:
        i = int(np.flatnonzero(a < 0)[0])
        raise ValueError(f"{name}[{i}] is {a[i]}; weights must not be negative")
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        w = np.array(a, dtype=dtype, order="C").reshape(m, 1)
        finite(w.reshape(1, m), dtype, name, one_row=True)
        total = w.sum(dtype=np.float64)
        if empty and total == 0:
            return w, 1.0
        if not 0 < total < math.inf:
            raise ValueError(f"{name} must have a positive, finite sum in {np.dtype(dtype).name}; it is {total:g}")
        return scaled(w)


def scaled(w: Floats) -> tuple[Floats, float]:
    """(w with its largest in [1, 2), the power of two it was divided by); (w, 1) if it is not extreme."""
    exponent = math.frexp(float(w.max()))[1] - 1    # 2^exponent is a float; 2^(exponent + 1) may overflow
    if -60 <= exponent < 59:
        return w, 1.0
    with np.errstate(under="ignore"):
        return np.ldexp(w, -exponent), math.ldexp(1.0, exponent)


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """numpy.float32 or numpy.float64, in native byte order."""
    known = words.resolve(dtype, ("float32", "float64"), words.DTYPES) if isinstance(dtype, str) else None
    try:
        given: np.dtype[Any] = np.dtype(dtype if known is None else known)
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"dtype must be numpy.float32 or numpy.float64; got {dtype!r}") from None
    if given not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64; got {given.name}")
    return given.newbyteorder("=")


def network(net: Value) -> Value:
    """A fastbp.Network."""
    if not (hasattr(net, "plan") and isinstance(getattr(net, "theta", None), np.ndarray)):
        raise TypeError(f"net must be a fastbp.Network; got {net!r}")
    return net


def parameters(theta: ArrayLike, plan: Layout, dtype: DTypeLike, name: str = "theta") -> Floats:
    """Flat parameters (n_parameters,), finite, in dtype, contiguous; copied only if necessary."""
    a = array(theta, name)
    if a.shape != (plan.n_parameters,):
        raise ValueError(f"{name} must have shape ({plan.n_parameters},); got {a.shape}")
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        a = np.require(a, dtype=dtype, requirements=["C", "A"])
    finite(a[np.newaxis], dtype, name, one_row=True)
    return a


def own_parameters(theta: Any, plan: Layout, dtype: DTypeLike) -> Floats:
    """A network's own parameters, finite. The caller may have changed their dtype, shape or values."""
    if theta.dtype != dtype or theta.shape != (plan.n_parameters,):
        raise ValueError(f"net.theta must keep its shape ({plan.n_parameters},) and dtype {np.dtype(dtype).name}; "
                         f"it has shape {theta.shape} and dtype {theta.dtype} now")
    finite(theta[np.newaxis], dtype, "net.theta", one_row=True)
    return theta


def output_array(out: Array, shape: tuple[int, ...], dtype: DTypeLike, name: str = "out") -> Array:
    """The caller's array for results."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be an ndarray; got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"{name} must have shape {shape} and dtype {np.dtype(dtype).name}; "
                         f"got shape {out.shape} and dtype {out.dtype}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError(f"{name} must be C-contiguous, aligned and writeable")
    if out.base is not None:
        _kernels.check_owner(out, name, True)
    return out


def coefficients(weight_decay: PerLayer, lam: Number | None, m: float, n: int) -> tuple[float, ...]:
    """c of docs/math.md for each of n Theta: one number, or n of them, or c = lam / m with the course's lambda."""
    if isinstance(weight_decay, (list, tuple)) or (isinstance(weight_decay, np.ndarray) and weight_decay.ndim):
        if len(weight_decay) != n:
            raise ValueError(
                f"weight_decay must be a number, or one for each Theta, {n} of them; got {len(weight_decay)}"
            )
        c = tuple(number(value, f"weight_decay[{l}]") for l, value in enumerate(weight_decay))
    else:
        c = (number(weight_decay, "weight_decay"),) * n
    if lam is None:
        return c
    if any(c):
        raise ValueError(f"weight_decay ({weight_decay}) and lam ({lam}) set the same coefficient; give one of them")
    same = number(lam, "lam") / m
    if same > LARGEST_32 and m < 1:
        raise ValueError(f"lam / m is too large: lam is {lam:g}, and m, the sum of sample_weight, is {m:g}")
    return (same,) * n


def rate(value: Rate, name: str = "learning_rate") -> float | Callable[[int], Number]:
    """A positive number, or a function of the number of steps taken."""
    if callable(value) and not isinstance(value, type):
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number or a function of the step; got {value!r}")
    return number(value, name, open_low=True)


def rates(function: Callable[[int], Number], first: int, n: int, name: str = "learning_rate") -> Doubles:
    """function(first) .. function(first + n - 1), each a finite number of at least 0, as float64."""
    values: list[Any] = [function(t) for t in range(first, first + n)]
    for t, rate in enumerate(values, first):
        if type(rate) is not float:
            values[t - first] = rate = _float(rate, f"{name}({t})")
        if not 0 <= rate <= LARGEST:
            raise ValueError(f"{name}({t}) must be finite and at least 0; it is {rate!r:.60}")
    return np.array(values, np.float64)


def _float(rate: Any, name: str) -> float:
    """The number as float; infinite if it is too large. It is converted once: a subclass may have its own __float__."""
    if type(rate) is not int and (isinstance(rate, (bool, np.bool_)) or not isinstance(rate, Real)):
        raise TypeError(f"{name} must be a number; it is {rate!r}")
    try:
        return float(rate)
    except OverflowError:
        return math.inf


def given_rates(rates: ArrayLike, n: int, rule: str | None) -> Doubles:
    """Learning rates of n steps, for a compiled rule."""
    if rule is None:
        raise ValueError("rates need an optimizer with a compiled rule")
    a = array(rates, "rates")
    if a.shape != (n,) or not (np.isfinite(a) & (a >= 0)).all():
        raise ValueError(f"rates must be {n} finite numbers of at least 0, one per batch; got {rates!r}")
    return np.require(a, dtype=np.float64, requirements=["C", "A"])


def order_of_examples(order: ArrayLike, m: int, name: str = "order") -> NDArray[np.int64]:
    """Indices of examples, each from 0 to m - 1, as contiguous int64."""
    a = array(order, name)
    if a.dtype.kind not in "iu" or a.ndim != 1:
        raise ValueError(f"{name} must be a 1-D array of integers; got shape {a.shape} and dtype {a.dtype}")
    if a.size == 0:
        raise ValueError(f"{name} is empty")
    a = np.array(a)     # a copy: the caller cannot change it during the training
    if a.min() < 0 or a.max() >= m:
        i = int(np.flatnonzero((a < 0) | (a >= m))[0])
        raise ValueError(f"{name}[{i}] is {a[i]}; the examples are 0 to {m - 1}")
    return a.astype(np.int64, order="C", copy=False)


def dropout_rates(dropout: PerLayer, input_dropout: Number, hidden: int) -> tuple[float, ...]:
    """The rates of a(1) .. a(L-1), each in [0, 1): inputs first, then each hidden layer; () where all are 0."""
    if isinstance(dropout, (list, tuple)) or (isinstance(dropout, np.ndarray) and dropout.ndim == 1):
        if len(dropout) != hidden:
            raise ValueError(f"dropout has {len(dropout)} rates; the network has {hidden} hidden layers")
        rates = [number(rate, f"dropout[{i}]", high=1) for i, rate in enumerate(dropout)]
    else:
        rates = [number(dropout, "dropout", high=1)] * hidden
        if dropout and not hidden:
            raise ValueError(f"dropout is {dropout:g}, but there is no hidden layer; input_dropout drops inputs")
    rates.insert(0, number(input_dropout, "input_dropout", high=1))
    return tuple(rates) if any(rates) else ()


def masks(state: Mapping[str, Any]) -> tuple[int, int]:
    """Seed and step count of the masks, from the state of training with dropout."""
    for name in ("dropout_seed", "dropout_t"):
        if name not in dictionary(state, "state"):
            raise ValueError(f"state has no {name!r}, which training with dropout needs to resume")
    seed = count(state["dropout_seed"], "state['dropout_seed']", low=0)
    return seed, count(state["dropout_t"], "state['dropout_t']", low=0, most=MOST_STEPS)
