"""The state of a training as arrays and JSON, and back, for checkpoints and files of trainers."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import rules
from .._types import Path, Rule
from ..engine import checks
from ..engine.regularisation import Regularisation
from ..files import container
from ..files import network as files
from ..files.container import FormatError
from ..files.values import encode, fields
from ..network import Network
from . import full_batch
from .rule import Fit
from .steps import Steps

FLAG = (bool, np.bool_)


def of_optimizer(optimizer: Rule) -> dict[str, Any]:
    """Class and settings of an optimizer as JSON: numbers by value, schedules and other objects by their repr."""
    cls = type(optimizer)
    settings = {name: _setting(value) for name, value in getattr(optimizer, "__dict__", {}).items()}
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "settings": settings}


def _setting(value: Any) -> Any:
    """A setting of an optimizer as JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = repr(value)
    if " at 0x" in text:    # a function, or an object without a repr of its own
        kind = value if hasattr(value, "__qualname__") else type(value)
        text = f"{kind.__module__}.{kind.__qualname__}"
    return text[:1000]


def same(name: str, now: Any, then: Any) -> None:
    """Raise a ValueError with both values unless they are equal."""
    if now != then:
        raise ValueError(f"it was made with {name} {then!r:.200}; it is {now!r:.200} now")


@contextlib.contextmanager
def of_another(path: Path, what: str) -> Iterator[None]:
    """Name the file in a ValueError raised within."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{container.shown(path)} is of another {what}: {error}") from None


def same_class(optimizer: Rule, kept: dict[str, Any]) -> None:
    """The optimizer has the class that was kept."""
    same("optimizer", of_optimizer(optimizer)["class"], kept["class"])


def same_optimizer(optimizer: Rule, begun: dict[str, Any], last: dict[str, Any]) -> None:
    """The optimizer has the settings that the kept training began with, or its last ones."""
    if of_optimizer(optimizer)["class"] == last["class"] != begun["class"]:     # a callback has replaced it
        begun = last
    same_class(optimizer, begun)
    same_class(optimizer, last)
    now, then = of_optimizer(optimizer)["settings"], begun["settings"]
    if now != last["settings"]:
        for name in sorted(now.keys() | then.keys()):
            same(f"the optimizer's {name}", now.get(name), then.get(name))


def numbers_of(optimizer: Rule, last: dict[str, Any]) -> dict[str, Any]:
    """{name: number} of the settings to restore; a ValueError if any other setting is not the last one kept."""
    own, now, then = getattr(optimizer, "__dict__", {}), of_optimizer(optimizer)["settings"], last["settings"]
    numbers = {}
    for name in sorted(now.keys() | then.keys()):
        there, value = own.get(name), _number(then.get(name))
        if _is_number(there) and value is not None and isinstance(there, FLAG) == isinstance(value, FLAG):
            numbers[name] = type(there)(value) if isinstance(there, np.floating) else value
        elif now.get(name) != then.get(name):
            raise ValueError(f"it had come to the optimizer's {name} {then.get(name)!r:.200}; it is "
                             f"{now.get(name)!r:.200} now, and only numbers are restored")
    return numbers


def _is_number(value: Any) -> bool:
    """Is this a number of Python or NumPy, flags included?"""
    return isinstance(value, (int, float, np.number, np.bool_))


def _number(setting: Any) -> Any:
    """The number of which `_setting` made this; None if it was no number."""
    return setting if _is_number(setting) else float(setting) if setting in ("inf", "-inf", "nan") else None


def accepted(optimizer: Rule, numbers: dict[str, Any]) -> None:
    """Raise a FormatError if a rule of fastbp does not accept these settings."""
    try:
        rules.check(optimizer, numbers)
    except (ValueError, TypeError) as error:
        raise FormatError(f"optimizer: {error}") from None


def checked_optimizer(kept: Any, where: str) -> dict[str, Any]:
    """Class and settings of an optimizer from a file."""
    fields(kept, {"class", "settings"}, where)
    if not isinstance(kept["class"], str) or not isinstance(kept["settings"], dict):
        raise FormatError(f"{where}: class must be a name and settings a dict")
    return kept


def checked_mean_weight(kept: Any) -> float | None:
    """mean_weight of a file."""
    if kept is not None and not (type(kept) is float and 0 < kept < math.inf):
        raise FormatError(f"mean_weight must be a number above 0 or null; it is {kept!r:.60}")
    return kept


# ---------------------------------------------------------------- trainers


def of_steps(steps: Steps, **added: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """(arrays, fields) of network, optimizer, state and settings; a ValueError if theta is not finite.

    added : settings beside the penalties, left out where they are None.
    """
    arrays, network = files.pack(steps.net)
    arrays = {name: a.copy() for name, a in arrays.items()}
    given = {name: value for name, value in added.items() if value is not None}
    settings = {**asdict(steps.regularisation), **given}
    return arrays, {
        "network": network, "optimizer": of_optimizer(steps.optimizer),
        "state": encode(steps.state, "state", arrays),
        "settings": encode({**settings, "c": list(settings["c"])}, "settings", arrays),
    }


def kind(name: str, steps: Steps, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Kind, version and the fields that depend on it, of a file of these steps; `arrays` receives theirs."""
    return files.kind(name, steps.net, arrays, {"free": steps.free}, mean_weight=steps.mean_weight)


def fit(
    steps: Steps, path: Path, what: str, net: Network, last: dict[str, Any], state: Any, settings: Any,
    mean_weight: float | None,
) -> Fit:
    """The kept state as a `Fit`; a ValueError (of another `what`) or FormatError if `steps` cannot resume from it."""
    with of_another(path, what):
        numbers = numbers_of(steps.optimizer, last)
    with container.located(path):
        accepted(steps.optimizer, numbers)
        return Fit(net.theta, state_for(steps, state), regularisation_for(steps, settings), numbers, mean_weight)


def regularisation_for(steps: Steps, settings: Any) -> Regularisation:
    """The trainer's penalties and clipping with these settings, or a FormatError."""
    fields(settings, vars(steps.regularisation), "settings")
    try:
        finite = {name: None if value == np.inf else value for name, value in settings.items()}
        return steps.regularisation.with_(**finite)
    except (ValueError, TypeError) as error:
        raise FormatError(f"settings: {error!s:.200}") from None


def state_for(steps: Steps, state: Any) -> Any:
    """The state, if these steps can resume from it; else a FormatError."""
    if steps.compiled:
        own = steps.state
        fields(state, own, "state")
        for name, value in own.items():
            kept = state[name]
            if isinstance(value, np.ndarray):
                fits = isinstance(kept, np.ndarray) and (kept.shape, kept.dtype) == (value.shape, value.dtype)
                if name == "bias":
                    fits = fits and np.array_equal(kept, value)
            else:
                fits = type(kept) is int and 0 <= kept <= (checks.MOST if name == "dropout_seed" else checks.MOST_STEPS)
            if not fits:
                raise FormatError(f"state, {name!r}: it does not fit the optimizer and network")
    else:
        try:
            full_batch.check_state(steps, state)
            if steps.dropout:
                checks.masks(state)
            if steps.diagonal is not None:
                steps.diagonal.check(state, steps.theta)
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(f"state: {error}") from None
    return state


def same_network(own: Network, kept: Network) -> None:
    """Both have the same layers, functions and dtype."""
    for name in ("layer_sizes", "activation", "output", "loss", "loss_parameters", "dtype"):
        same(f"the network's {name}", *(net.settings()[name] for net in (own, kept)))
