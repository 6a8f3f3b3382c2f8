"""A training as arrays and JSON, and back: what checkpoints and trainers' files hold. Nothing read is executed."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from inspect import signature
from typing import NamedTuple

import numpy as np

from . import checks, container, files, optimizers
from .container import NAME, FormatError
from .regularisation import Regularisation
from .strict_json import MAX_DEPTH

GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")  # of numpy.random
POSITIONS = {"MT19937": ("state", "pos", 624), "Philox": (None, "buffer_pos", 4)}  # numpy reads from there unchecked
FLAG = (bool, np.bool_)
LONG = 100  # items of a list of numbers from which it is kept as an array: a header has an end


def encode(value, name, arrays, depth=0):
    """value as JSON that `decode` turns back exactly; copies of its arrays go into `arrays`, named after `name`.

    None, numbers, strings, arrays, NumPy's scalars, and lists, tuples and dicts of these with strings as keys: each
    comes back as the type it was, since steps in Python may depend on it. How it stands there: docs/file_format.md.
    """
    kind = type(value)
    if kind in (np.ndarray, np.memmap):
        turned = value.flags.f_contiguous and not value.flags.c_contiguous  # sums and products follow the layout
        return {"transposed": _put(value.T, name, arrays)} if turned else {"array": _put(value, name, arrays)}
    if isinstance(value, np.generic) and not isinstance(value, (str, bytes)):
        return {"scalar": _put(value, name, arrays)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if kind not in (list, tuple, dict):
        raise TypeError(f"{name} is a {kind.__name__}; what can be kept are None, numbers, strings, arrays, and lists, "
                        "tuples and dicts of these")
    if depth == MAX_DEPTH:
        raise ValueError(f"{name} lies more than {MAX_DEPTH} lists and dicts deep")
    if kind is dict:
        return {"dict": {_key(key, name): encode(item, f"{name}.{key}", arrays, depth + 1)
                         for key, item in value.items()}}
    if kind is list and len(value) >= LONG and (form := _of_one_kind(value)):
        return {form: _put(np.array(value), name, arrays)}
    items = [encode(item, f"{name}.{i}", arrays, depth + 1) for i, item in enumerate(value)]
    return items if kind is list else {"tuple": items}


def _put(array, name, arrays):
    """The name in `arrays` of a copy"""
    key = name if NAME.fullmatch(name) and name not in arrays else f"array.{len(arrays)}"
    arrays[key] = np.array(array, order="C")
    return key


def _of_one_kind(values):
    """How an array holds all of a list as they are, None where it cannot"""
    kind, *others = set(map(type, values))
    if others:
        return None
    if issubclass(kind, np.generic):
        return "scalars" if np.dtype(kind).kind in "biuf" else None
    return "list" if kind is float or (kind is int and -2**63 <= min(values) <= max(values) < 2**63) else None


def _key(key, name):
    if not isinstance(key, str):
        raise TypeError(f"{name} has the key {key!r}; accepted are strings")
    return key


def decode(value, arrays):
    """The value again; its arrays are taken out of `arrays`."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (kind, content), = value.items()
        if kind in FROM_ARRAY and isinstance(content, str) and content in arrays:
            fits, form = FROM_ARRAY[kind]
            if fits(arrays[content]):
                return form(arrays.pop(content))
        if kind == "float" and content in ("nan", "inf", "-inf"):
            return float(content)
        if kind == "tuple" and isinstance(content, list):
            return tuple(decode(item, arrays) for item in content)
        if kind == "dict" and isinstance(content, dict):
            return {key: decode(item, arrays) for key, item in content.items()}
    raise FormatError(f"{value!r:.200} stands for no value, or for an array that is not there, is not of that kind, or "
                      "stands there twice")


FROM_ARRAY = {
    "array": (lambda a: True, lambda a: a),
    "transposed": (lambda a: a.ndim > 1, lambda a: a.T),
    "scalar": (lambda a: a.ndim == 0, lambda a: a[()]),
    "scalars": (lambda a: a.ndim == 1, list),
    "list": (lambda a: a.ndim == 1 and a.dtype in (np.float64, np.int64), lambda a: a.tolist()),
}


def fields(value, names, where):
    """value, a dict of exactly these fields."""
    if not isinstance(value, dict) or value.keys() != set(names):
        found = ", ".join(sorted(map(str, value))) if isinstance(value, dict) else repr(value)
        raise FormatError(f"{where} must have the fields {', '.join(sorted(names))}; it has {found:.200}")
    return value


def nothing_left(arrays):
    """Each array of a file is a part of something"""
    if arrays:
        raise FormatError(f"nothing is known of the arrays {', '.join(sorted(arrays)):.200}")


# ---------------------------------------------------------------- generators


def of_generator(rng):
    """The state of numpy's Generator."""
    kind = type(rng.bit_generator).__name__
    if kind not in GENERATORS:
        raise ValueError(f"seed is a Generator on {kind}; those that can be kept are on {', '.join(GENERATORS)}")
    return rng.bit_generator.state


def to_generator(state):
    """A Generator in this state."""
    kind = state.get("bit_generator") if isinstance(state, dict) else None
    if not isinstance(kind, str) or kind not in GENERATORS:
        raise FormatError(f"generator is {kind!r:.60}; accepted are {', '.join(GENERATORS)}")
    bits = getattr(np.random, kind)(0)
    try:
        if kind in POSITIONS:
            part, name, limit = POSITIONS[kind]
            if not 0 <= (state[part] if part else state)[name] <= limit:
                raise ValueError(f"{name} is beyond {limit}")
        bits.state = state
        whole = _same(bits.state, state)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"generator, {kind}: {error!r:.200}") from None
    if not whole:
        raise FormatError(f"generator: this is no state of {kind}")
    return np.random.Generator(bits)


def _same(a, b):
    """Equal, arrays of a too, whose twins in b may be lists."""
    if isinstance(a, Mapping):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    return np.shape(a) == np.shape(b) and bool(np.all(a == np.asarray(b)) if np.shape(a) else a == b)


# ---------------------------------------------------------------- optimizers


def of_optimizer(optimizer):
    """Class and settings of an optimizer, as JSON: numbers as they are, schedules and the like by their repr."""
    cls = type(optimizer)
    settings = {name: _setting(value) for name, value in getattr(optimizer, "__dict__", {}).items()}
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "settings": settings}


def _setting(value):
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = repr(value)
    if " at 0x" in text:    # a function, or an object without a repr of its own
        kind = value if hasattr(value, "__qualname__") else type(value)
        text = f"{kind.__module__}.{kind.__qualname__}"
    return text[:1000]


def same(name, now, then):
    """A ValueError that says what was and what is, unless they are equal."""
    if now != then:
        raise ValueError(f"it was made with {name} {then!r:.200}; it is {now!r:.200} now")


@contextlib.contextmanager
def of_another(path, what):
    """A difference found within names the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{container.shown(path)} is of another {what}: {error}") from None


def same_class(optimizer, kept):
    same("optimizer", of_optimizer(optimizer)["class"], kept["class"])


def same_optimizer(optimizer, begun, last):
    """The optimizer has the settings that the kept training began with, or those it had come to."""
    same_class(optimizer, begun)
    now, then = of_optimizer(optimizer)["settings"], begun["settings"]
    if now != last["settings"]:
        for name in sorted(now.keys() | then.keys()):
            same(f"the optimizer's {name}", now.get(name), then.get(name))


def numbers_of(optimizer, last):
    """{name: number} of the settings to be put back; a ValueError where another setting is not as it was at last."""
    own, now, then = getattr(optimizer, "__dict__", {}), of_optimizer(optimizer)["settings"], last["settings"]
    numbers = {}
    for name in sorted(now.keys() | then.keys()):
        there, value = own.get(name), _number(then.get(name))
        if _is_number(there) and value is not None and isinstance(there, FLAG) == isinstance(value, FLAG):
            numbers[name] = type(there)(value) if isinstance(there, np.floating) else value
        elif now.get(name) != then.get(name):
            raise ValueError(f"it had come to the optimizer's {name} {then.get(name)!r:.200}; it is "
                             f"{now.get(name)!r:.200} now, and only numbers are put back")
    return numbers


def _is_number(value):
    return isinstance(value, (int, float, np.number, np.bool_))


def _number(setting):
    """What `_setting` has made of a number, None where it was none"""
    return setting if _is_number(setting) else float(setting) if setting in ("inf", "-inf", "nan") else None


def accepted(optimizer, numbers):
    """A FormatError unless the rule, where it is one of fastbp's, can have these settings."""
    if type(optimizer) in optimizers.NAMED.values():
        names = signature(type(optimizer)).parameters
        try:
            type(optimizer)(**{name: value for name, value in {**vars(optimizer), **numbers}.items() if name in names})
        except (ValueError, TypeError) as error:
            raise FormatError(f"optimizer: {error}") from None


def checked_optimizer(kept, where):
    """Class and settings as a file has them."""
    fields(kept, {"class", "settings"}, where)
    if not isinstance(kept["class"], str) or not isinstance(kept["settings"], dict):
        raise FormatError(f"{where}: class must be a name and settings a dict")
    return kept


# ---------------------------------------------------------------- trainers


class Fit(NamedTuple):
    """What a trainer goes on from, checked against it."""

    theta: np.ndarray
    state: dict
    regularisation: Regularisation
    numbers: dict
    notes: dict | None = None


def of_trainer(trainer):
    """(arrays, fields) of network, optimizer, the optimizer's state and the settings; a theta that is not finite is a
    ValueError."""
    arrays, network = files.pack(trainer.net)
    arrays = {name: a.copy() for name, a in arrays.items()}
    settings = asdict(trainer.regularisation)
    return arrays, {
        "network": network, "optimizer": of_optimizer(trainer.optimizer),
        "state": encode(trainer.state, "state", arrays),
        "settings": encode({**settings, "c": list(settings["c"])}, "settings", arrays),
    }


def fit(trainer, path, what, net, last, state, settings):
    """What was kept as a `Fit`; a ValueError (another `what`) or FormatError where `trainer` cannot go on with it."""
    with of_another(path, what):
        numbers = numbers_of(trainer.optimizer, last)
    with container.located(path):
        accepted(trainer.optimizer, numbers)
        return Fit(net.theta, state_for(trainer, state), regularisation_for(trainer, settings), numbers)


def regularisation_for(trainer, settings):
    """The trainer's penalties and clipping with these settings, or a FormatError."""
    fields(settings, vars(trainer.regularisation), "settings")
    try:
        finite = {name: None if value == np.inf else value for name, value in settings.items()}
        return trainer.regularisation.with_(**finite)
    except (ValueError, TypeError) as error:
        raise FormatError(f"settings: {error!s:.200}") from None


def state_for(trainer, state):
    """A state fit to take the place of the trainer's own, or a FormatError."""
    if trainer.compiled:
        own = trainer.state
        fields(state, own, "state")
        for name, value in own.items():
            kept = state[name]
            if isinstance(value, np.ndarray):
                fits = isinstance(kept, np.ndarray) and (kept.shape, kept.dtype) == (value.shape, value.dtype)
                if name == "bias":
                    fits = fits and np.array_equal(kept, value)
            else:
                fits = type(kept) is int and 0 <= kept < 2**63
            if not fits:
                raise FormatError(f"state, {name!r}: it does not fit the optimizer and network")
    elif trainer.dropout:
        try:
            checks.masks(state)
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(f"state: {error}") from None
    return state


def same_network(own, kept):
    """Both have the same layers, functions and dtype."""
    for name in ("layer_sizes", "activation", "output", "loss", "loss_parameters", "dtype"):
        same(f"the network's {name}", *(_plain(getattr(net, name)) for net in (own, kept)))


def _plain(value):
    return list(value) if isinstance(value, tuple) else value.name if isinstance(value, np.dtype) else value
