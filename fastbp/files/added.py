"""The optional fields of version 2 of fastbp's kinds of files, by name.

A file holds those that it needs under the key `added`; one that needs none is written as version 1. A reader refuses
unknown names. A new field takes a line in FIELDS here, its writer (`of_network`, or the argument `added` of
`files.network.kind`), its reader, a row in docs/file_format.md, and a case in tests/test_added_fields.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._types import Arrays, State
from ..engine import own
from ..network import Network
from . import values
from .strict_json import FormatError

ALL = ("network", "trainer", "training")
STEPS = ("trainer", "training")


class Field(NamedTuple):
    """A field: the kinds of files that may have it, and the check of a value that was read.

    check(value, network, theta) may raise a FormatError; network holds the settings in the file, theta is its array.
    """

    kinds: tuple[str, ...]
    check: Callable[[Any, State, Any], None]


def _own_loss(value: Any, network: State, theta: Any) -> None:
    if not own.is_name(value):
        raise FormatError(f"own_loss must be the importable name of a function, module:name; it is {value!r:.60}")
    if network.get("loss") != "own":
        raise FormatError(f"network, loss must be 'own' with own_loss; it is {network.get('loss')!r:.60}")
    parameters = network.get("loss_parameters")
    if not isinstance(parameters, dict) or not all(
        type(x) in (int, float) and math.isfinite(x) and abs(x) <= own.LARGEST for x in parameters.values()
    ):
        raise FormatError(f"network, loss_parameters must be numbers by name; they are {parameters!r:.60}")


def _free(value: Any, network: State, theta: Any) -> None:
    if not (isinstance(value, np.ndarray) and value.dtype == bool and value.shape == np.shape(theta)
            and value.any() and not value.all()):
        raise FormatError("free must be an array of true and false like theta, with both among them")


FIELDS: dict[str, Field] = {
    "own_loss": Field(ALL, _own_loss),
    "free": Field(STEPS, _free),
}


def of_network(net: Network) -> dict[str, Any]:
    """The fields that the network needs in each kind of file; None for fields that it does not need."""
    return {"own_loss": None if net.plan.own is None else net.plan.own.kept}


def encode(fields: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """The fields that are not None, as JSON; their arrays go into `arrays`."""
    return {name: values.encode(value, f"added.{name}", arrays) for name, value in fields.items() if value is not None}


def decode(meta: State, arrays: Arrays) -> dict[str, Any]:
    """All fields of the kind, None where the file has none; their arrays are removed from `arrays`."""
    known = {name: field for name, field in FIELDS.items() if meta["kind"] in field.kinds}
    given = meta.get("added", {})
    if "added" in meta and not (isinstance(given, dict) and given):
        raise FormatError(f"added must hold fields by name; it is {given!r:.60}")
    if unknown := sorted(given.keys() - known.keys()):
        raise FormatError(f"added has the fields {', '.join(unknown):.200}, which this version of fastbp does not "
                          f"know; it knows {', '.join(known)} of the kind {meta['kind']}")
    network = meta["network"] if isinstance(meta["network"], dict) else {}
    theta, read = arrays.get("theta"), dict.fromkeys(known)
    for name, kept in given.items():
        read[name] = values.decode(kept, arrays)
        known[name].check(read[name], network, theta)
    if network.get("loss") == "own" and not read["own_loss"]:
        raise FormatError("network, loss is 'own', but there is no own_loss")
    return read
