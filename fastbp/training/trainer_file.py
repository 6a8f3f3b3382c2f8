"""What the next step of a trainer goes on from, in a file and in a pickle."""

from dataclasses import asdict
from typing import Any

from .._types import Path
from ..engine import checks
from ..files import container, values
from ..files import network as files
from ..files.container import FormatError
from . import states
from .states import Fit

STATE = {"net", "optimizer", "dropout", "n_threads", "settings", "state"}  # what a pickle keeps


def save(path: Path, trainer: Any, notes: dict[str, Any] | None) -> None:
    notes = checks.dictionary({} if notes is None else notes, "notes")
    arrays, fields = states.of_trainer(trainer)
    container.write(path, arrays, {
        **files.kind("trainer"), **fields, "dropout": list(trainer.dropout),
        "notes": values.encode(notes, "notes", arrays),
    })


def read(path: Path, trainer: Any) -> Fit:
    """What `trainer` goes on from, with the notes; or a ValueError that says why it cannot go on from this file."""
    arrays, meta = container.read(path)
    with container.located(path):
        net = files.of_kind(arrays, meta, "trainer")
        last = states.checked_optimizer(meta["optimizer"], "optimizer")
        state, settings, notes = (values.decode(meta[name], arrays) for name in ("state", "settings", "notes"))
        values.nothing_left(arrays)
        if not isinstance(notes, dict):
            raise FormatError(f"notes must be a dict; it is {notes!r:.60}")
    with states.of_another(path, "trainer"):
        states.same_network(trainer.net, net)
        states.same_class(trainer.optimizer, last)
        states.same("dropout", list(trainer.dropout), meta["dropout"])
    return states.fit(trainer, path, "trainer", net, last, state, settings)._replace(notes=notes)


def state(trainer: Any) -> dict[str, Any]:
    """What pickle and copy keep."""
    if trainer.group.together:
        raise TypeError("a Trainer of several ranks cannot be pickled or copied, its communicator belongs to this "
                        "process; save and restore keep what it goes on from")
    return {"net": trainer.net, "optimizer": trainer.optimizer, "dropout": list(trainer.dropout),
            "n_threads": trainer.n_threads, "settings": asdict(trainer.regularisation), "state": trainer.state}


def own(kept: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(arguments of a Trainer, settings, state) of what pickle and copy keep; a ValueError or TypeError where it is no
    such dict."""
    checks.members(kept, STATE, "the state of a Trainer")
    if not isinstance(kept["dropout"], (list, tuple)):
        raise TypeError(f"dropout must be a list of rates; got {kept['dropout']!r:.200}")
    arguments = {"net": checks.network(kept["net"]), "optimizer": kept["optimizer"], "n_threads": kept["n_threads"]}
    if kept["dropout"]:
        arguments["input_dropout"], *arguments["dropout"] = kept["dropout"]
    return arguments, kept["settings"], kept["state"]
