"""Whole estimators in files: parameters, fitted values and networks. Reading executes nothing of the file.

An estimator that files can hold has `_kept()`, which returns its fitted values and its networks, and `_take(kept,
networks)`, which checks all of these and then takes them over. `files.container` writes the bytes.
"""

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import optimizers, schedules
from .._types import Arrays, State
from ..base import Settings
from ..network import Network
from . import network as files
from . import strict_json
from .strict_json import FormatError
from .values import decode, encode, fields, nothing_left, of_kind

KIND = "estimator"
MODULES = {
    "MLPClassifier": "fastbp.sklearn", "MLPRegressor": "fastbp.sklearn",
    "TabularClassifier": "fastbp.tabular", "TabularPreparation": "fastbp.tabular", "TabularRegressor": "fastbp.tabular",
}
TEXT = "described"      # the array that holds the JSON of all values: the header has a maximal size
OBJECTS: dict[str, Callable[..., Any]] = {
    f"{cls.__module__}.{cls.__qualname__}": cls for cls in (
        *optimizers.NAMED.values(), schedules.Constant, schedules.Step, schedules.Exponential,
        schedules.InverseScaling, schedules.Cosine, schedules.OneCycle,
    )
}


def is_estimator(model: object) -> bool:
    """Can a file of fastbp hold this object?"""
    cls = type(model)
    return cls.__name__ in MODULES and cls.__module__.startswith(f"{MODULES[cls.__name__]}.")


def pack(estimator: Any) -> tuple[Arrays, State]:
    """(arrays, fields) of a fitted estimator for a file; an error names what a file cannot hold."""
    kept, networks = estimator._kept()
    arrays: Arrays = {}
    parameters = {name: _parameter(value, name, arrays) for name, value in estimator.get_params(deep=False).items()}
    described = {"parameters": parameters, "kept": encode(kept, "kept", arrays)}
    strict_json.check(described, "the estimator")
    settings = []
    for k, net in enumerate(networks):
        own, each = files.pack(net)
        arrays |= {f"network.{k}.{name}": a for name, a in own.items()}
        settings.append(each)
    text = np.frombuffer(strict_json.text(described).encode(), np.uint8)
    return {TEXT: text, **arrays}, {"kind": KIND, "version": 1, "class": type(estimator).__name__, "networks": settings}


def unpack(arrays: Arrays, meta: State) -> Any:
    """The estimator of these arrays and fields; a FormatError if they do not fit."""
    of_kind(meta, KIND)
    fields(meta, {"kind", "version", "class", "networks"}, "the file of an estimator")
    name, settings = meta["class"], meta["networks"]
    if not isinstance(name, str) or name not in MODULES:
        raise FormatError(f"class is {name!r:.60}; accepted are {', '.join(MODULES)}")
    if not isinstance(settings, list):
        raise FormatError("networks must be a list")
    cls = getattr(import_module(MODULES[name]), name)
    networks = [files.unpack(_of_network(arrays, k), each) for k, each in enumerate(settings)]
    described = fields(_described(arrays), {"parameters", "kept"}, TEXT)
    parameters = fields(described["parameters"], cls().get_params(), "parameters")
    estimator = cls(**{name: _read_parameter(value, arrays) for name, value in parameters.items()})
    kept = decode(described["kept"], arrays)
    nothing_left(arrays)
    try:
        estimator._validate_params()
        estimator._take(kept, networks)
    except FormatError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise FormatError(f"{name}: {error!s:.500}") from None
    return estimator


def _of_network(arrays: Arrays, k: int) -> Arrays:
    """The arrays of network k, removed from `arrays`."""
    first = f"network.{k}."
    return {name: arrays.pop(first + name) for name in ("theta", "init") if first + name in arrays}


def _described(arrays: Arrays) -> Any:
    text = arrays.pop(TEXT, None)
    if text is None or text.dtype != np.uint8 or text.ndim != 1:
        raise FormatError(f"there must be an array {TEXT}, U8 of one dimension")
    try:
        words = text.tobytes().decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{TEXT}, byte {error.start}: not UTF-8") from None
    return strict_json.parse(words, TEXT)


# ---------------------------------------------------------------- parameters


def _parameter(value: Any, name: str, arrays: Arrays) -> Any:
    """A parameter as JSON. Optimizers and schedules of fastbp become class and settings; dicts become pairs."""
    cls = type(value)
    word = f"{cls.__module__}.{cls.__qualname__}"
    if isinstance(value, Settings) and OBJECTS.get(word) is cls:
        settings = {key: _parameter(item, f"{name}.{key}", arrays) for key, item in vars(value).items()
                    if key in signature(OBJECTS[word]).parameters}
        return {"object": [word, settings]}
    if cls is dict:
        return {"pairs": [[_parameter(part, name, arrays) for part in pair] for pair in value.items()]}
    try:
        return encode(value, name, arrays)
    except TypeError:
        raise TypeError(f"a file cannot hold the parameter {name}={value!r:.100}; set another one by "
                        f"set_params({name}=...) before saving") from None


def _read_parameter(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, dict) and value.keys() == {"pairs"} and isinstance(value["pairs"], list):
        pairs = value["pairs"]
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise FormatError("parameters: pairs must be lists of two")
        found = [[_read_parameter(part, arrays) for part in pair] for pair in pairs]
        try:
            return dict(found)
        except TypeError as error:
            raise FormatError(f"parameters: {error!s:.200}") from None
    if isinstance(value, dict) and value.keys() == {"object"}:
        return _object(value["object"], arrays)
    return decode(value, arrays)


def _object(value: Any, arrays: Arrays) -> Any:
    """An optimizer or a schedule, made by its constructor."""
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in OBJECTS
            and isinstance(value[1], dict)):
        raise FormatError(f"parameters: object {value!r:.100} is none of {', '.join(OBJECTS)}")
    try:
        return OBJECTS[value[0]](**{name: _read_parameter(item, arrays) for name, item in value[1].items()})
    except FormatError:
        raise
    except (ValueError, TypeError) as error:
        raise FormatError(f"parameters: {error!s:.200}") from None


# ---------------------------------------------------------------- checks of kept values


def of_type(kept: dict[str, Any], name: str, *types: type) -> Any:
    """The value of this name; a FormatError unless it is of exactly one of these types."""
    if type(kept[name]) not in types:
        raise FormatError(f"{name} is {kept[name]!r:.60}; accepted is {' or '.join(each.__name__ for each in types)}")
    return kept[name]


def number(kept: dict[str, Any], name: str, low: float = -np.inf, high: float = np.inf) -> float:
    """A float in [low, high]."""
    value: float = of_type(kept, name, float)
    if not low <= value <= high:
        raise FormatError(f"{name} is {value!r}; accepted are numbers from {low:g} to {high:g}")
    return value


def whole(kept: dict[str, Any], name: str, low: int = 0) -> int:
    """An int, at least `low`."""
    value: int = of_type(kept, name, int)
    if value < low:
        raise FormatError(f"{name} is {value!r:.60}; accepted are whole numbers from {low} on")
    return value


def doubles(kept: dict[str, Any], name: str, shape: tuple[int | None, ...], finite: bool = True) -> NDArray[Any]:
    """A float64 array of this shape; None stands for any length."""
    a = kept[name]
    if not (isinstance(a, np.ndarray) and a.dtype == np.float64 and a.ndim == len(shape)
            and all(n is None or n == own for n, own in zip(shape, a.shape, strict=True))):
        raise FormatError(f"{name} must be a float64 array of shape {shape}; it is {a!r:.100}")
    if finite and not np.isfinite(a).all():
        raise FormatError(f"{name} must hold finite numbers")
    return a


def words(kept: dict[str, Any], name: str) -> list[str]:
    """A list of strings."""
    value: list[str] = of_type(kept, name, list)
    if not all(type(each) is str for each in value):
        raise FormatError(f"{name} must be a list of strings")
    return value


def of_labels(labels: NDArray[Any]) -> dict[str, Any]:
    """A vector of labels as values."""
    if labels.dtype.kind not in "biufUO" or (labels.dtype.kind == "O" and not all(type(a) is str for a in labels)):
        raise TypeError(f"a file cannot hold labels of dtype {labels.dtype}, such as {labels[:1]!r:.60}; accepted are "
                        "numbers, booleans and strings")
    if labels.dtype.kind in "UO":
        return {"dtype": "object" if labels.dtype.kind == "O" else "str", "labels": labels.tolist()}
    return {"dtype": labels.dtype.name, "labels": labels.tolist()}


def to_labels(kept: Any, where: str) -> NDArray[Any]:
    """The labels: at least one, sorted, without repetition."""
    fields(kept, {"dtype", "labels"}, where)
    name, given = kept["dtype"], kept["labels"]
    if not isinstance(given, list) or not given:
        raise FormatError(f"{where}: labels must be a list, not empty")
    wanted = {"object": str, "str": str, "bool": bool}
    dtypes = {**{f"{u}int{b}": int for u in ("", "u") for b in (8, 16, 32, 64)}, "float32": float, "float64": float}
    if not isinstance(name, str) or name not in {**wanted, **dtypes}:
        raise FormatError(f"{where}: dtype is {name!r:.60}")
    if not all(type(label) is {**wanted, **dtypes}[name] for label in given):
        raise FormatError(f"{where}: the labels are not all {name}")
    try:
        labels = np.array(given, name)
    except OverflowError as error:
        raise FormatError(f"{where}: {error}") from None
    if labels.tolist() != given or not (labels[:-1] < labels[1:]).all():
        raise FormatError(f"{where}: the labels must be sorted, each once")
    return labels


def put_names(estimator: Any, names: list[str] | None, n: int) -> None:
    """Set n_features_in_, and feature_names_in_ if there are names."""
    if names is not None and (len(names) != n or len(set(names)) != n):
        raise FormatError(f"{n} columns must have {n} different names")
    estimator.n_features_in_ = n
    if names is not None:
        estimator.feature_names_in_ = np.array(names, dtype=object)


def names_of(estimator: Any) -> list[str] | None:
    """feature_names_in_ as a list."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def dtype_of(networks: list[Network]) -> Any:
    """The common dtype of the networks."""
    found = {net.dtype for net in networks}
    if len(found) > 1:
        raise FormatError("the networks have different dtypes")
    return found.pop() if found else None


files.OTHERS[KIND] = (is_estimator, pack, unpack)
