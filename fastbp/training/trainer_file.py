"""The state of a trainer in a file and in a pickle: everything needed to resume."""

from dataclasses import asdict
from typing import Any

from .._types import Path
from ..engine import checks, factors, frozen
from ..files import container, values
from ..files import network as files
from ..files.container import FormatError
from . import states
from .rule import Fit
from .steps import Steps

STATE = {"net", "optimizer", "dropout", "n_threads", "settings", "state", "mean_weight", "free",
         "learning_rate_factors", "input_scale"}  # what a pickle keeps
ARGUMENTS = ("optimizer", "n_threads", "mean_weight", "free", "learning_rate_factors", "input_scale")


def save(path: Path, steps: Steps, notes: dict[str, Any] | None) -> None:
    """Write the state and the notes atomically."""
    notes = checks.dictionary({} if notes is None else notes, "notes")
    with steps.net._turn:       # the arrays are the trainer's own: nobody steps until they are written
        arrays, fields = states.of_steps(steps, **_beside(steps))
        container.write(path, arrays, {
            **states.kind("trainer", steps, arrays), **fields, "dropout": list(steps.dropout),
            "notes": values.encode(notes, "notes", arrays),
        })


def read(path: Path, steps: Steps) -> Fit:
    """The state in a file, with its notes; a ValueError with the reason if these steps cannot resume from it."""
    arrays, meta = container.read(path, ("theta",))
    with container.located(path):
        net = files.of_kind(arrays, meta, "trainer")
        mean_weight = states.checked_mean_weight(meta["mean_weight"])
        last = states.checked_optimizer(meta["optimizer"], "optimizer")
        state, settings, notes = (values.decode(meta[name], arrays) for name in ("state", "settings", "notes"))
        values.nothing_left(arrays)
        if not isinstance(settings, dict):
            raise FormatError(f"settings must be a dict; it is {settings!r:.60}")
        if not isinstance(notes, dict):
            raise FormatError(f"notes must be a dict; it is {notes!r:.60}")
    with states.of_another(path, "trainer"):
        states.same_network(steps.net, net)
        states.same("free", *(frozen.told(free, net.plan) for free in (steps.free, meta["added"]["free"])))
        states.same_class(steps.optimizer, last)
        states.same("dropout", list(steps.dropout), meta["dropout"])
        for name, now in _beside(steps).items():
            states.same(name, now, settings.pop(name, None))
    return states.fit(steps, path, "trainer", net, last, state, settings, mean_weight)._replace(notes=notes)


def _beside(steps: Steps) -> dict[str, Any]:
    """Settings that a trainer's file holds in addition to the penalties, unless they are None."""
    return {"learning_rate_factors": factors.told(steps.factors),
            "input_scale": None if steps.diagonal is None else steps.diagonal.factor}


def state(steps: Steps) -> dict[str, Any]:
    """The dict for pickle and copy."""
    with steps.net._turn:
        return {"net": steps.net, "optimizer": steps.optimizer, "dropout": list(steps.dropout),
                "n_threads": steps.n_threads, "settings": asdict(steps.regularisation), "state": steps.state,
                "mean_weight": steps.mean_weight, "free": steps.free, **_beside(steps)}


def own(kept: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(arguments of a Trainer, settings, state) from the dict of pickle and copy, checked."""
    absent = dict.fromkeys(("mean_weight", "free", "learning_rate_factors", "input_scale"))     # of older pickles
    kept = absent | checks.dictionary(kept, "the state of a Trainer")
    checks.members(kept, STATE, "the state of a Trainer")
    if not isinstance(kept["dropout"], (list, tuple)):
        raise TypeError(f"dropout must be a list of rates; got {kept['dropout']!r:.200}")
    arguments = {"net": checks.network(kept["net"]), **{name: kept[name] for name in ARGUMENTS}}
    if kept["dropout"]:
        arguments["input_dropout"], *arguments["dropout"] = kept["dropout"]
    return arguments, kept["settings"], kept["state"]
