"""A training as arrays and JSON, and back: what checkpoints and trainers' files hold. Nothing read is executed."""

import contextlib
import math
from collections.abc import Mapping
from inspect import signature

import numpy as np

from . import checks, container, files, optimizers
from .container import NAME, FormatError

GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")  # of numpy.random
POSITIONS = {"MT19937": ("state", "pos", 624), "Philox": (None, "buffer_pos", 4)}  # numpy reads from there unchecked


def encode(value, name, arrays):
    """value as JSON that `decode` turns back; copies of its arrays go into `arrays`, named after `name`.

    None, numbers, strings, ndarrays, and lists, tuples (which come back as lists) and dicts of these with strings as
    keys; an array stands there as {"array": its name}, a dict as {"dict": ...}, what JSON cannot say as {"float": ...}.
    """
    if isinstance(value, np.ndarray):
        key = name if NAME.fullmatch(name) and name not in arrays else f"array.{len(arrays)}"
        arrays[key] = np.array(value, subok=False)
        return {"array": key}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, dict):
        return {"dict": {_key(key, name): encode(item, f"{name}.{key}", arrays) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [encode(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}; what can be kept are None, numbers, strings, arrays, and "
                    "lists and dicts of these")


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
        if kind == "array" and isinstance(content, str) and content in arrays:
            return arrays.pop(content)
        if kind == "float" and content in ("nan", "inf", "-inf"):
            return float(content)
        if kind == "dict" and isinstance(content, dict):
            return {key: decode(item, arrays) for key, item in content.items()}
    raise FormatError(f"{value!r:.200} stands for no value, or for an array that is not there or stands there twice")


def fields(value, names, where):
    """value, a dict of exactly these fields."""
    if not isinstance(value, dict) or value.keys() != set(names):
        found = ", ".join(sorted(value)) if isinstance(value, dict) else repr(value)
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
    if kind not in GENERATORS:
        raise FormatError(f"generator is {kind!r:.60}; accepted are {', '.join(GENERATORS)}")
    bits = getattr(np.random, kind)(0)
    try:
        if kind in POSITIONS:
            part, name, limit = POSITIONS[kind]
            if not 0 <= (state[part] if part else state)[name] <= limit:
                raise ValueError(f"{name} is beyond {limit}")
        bits.state = state
        whole = _same(bits.state, state)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
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
    if now not in (then, last["settings"]):
        for name in sorted(now.keys() | then.keys()):
            same(f"the optimizer's {name}", now.get(name), then.get(name))


def numbers_of(optimizer, last):
    """{name: number} of the settings that were numbers and still are, checked where the rule is one of fastbp's."""
    own = getattr(optimizer, "__dict__", {})
    numbers = {name: value for name, value in last["settings"].items()
               if type(value) in (int, float) and type(own.get(name)) in (int, float)}
    if type(optimizer) in optimizers.NAMED.values():
        accepted = signature(type(optimizer)).parameters
        try:
            type(optimizer)(**{name: value for name, value in {**own, **numbers}.items() if name in accepted})
        except (ValueError, TypeError) as error:
            raise FormatError(f"optimizer: {error}") from None
    return numbers


def checked_optimizer(kept, where):
    """Class and settings as a file has them."""
    fields(kept, {"class", "settings"}, where)
    if not isinstance(kept["class"], str) or not isinstance(kept["settings"], dict):
        raise FormatError(f"{where}: class must be a name and settings a dict")
    return kept


# ---------------------------------------------------------------- trainers


def of_trainer(trainer):
    """(arrays, fields) of network, optimizer and the optimizer's state; a theta that is not finite is a ValueError."""
    arrays, network = files.pack(trainer.net)
    arrays = {name: a.copy() for name, a in arrays.items()}
    return arrays, {
        "network": network, "optimizer": of_optimizer(trainer.optimizer),
        "state": encode(trainer.state, "state", arrays),
    }


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
