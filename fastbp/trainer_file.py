"""What the next step of a trainer goes on from, in a file and in a pickle."""

from dataclasses import asdict

from . import checks, container, files, snapshot
from .container import FormatError

STATE = {"net", "optimizer", "dropout", "n_threads", "settings", "state"}  # what a pickle keeps


def save(path, trainer, notes):
    notes = checks.dictionary({} if notes is None else notes, "notes")
    arrays, fields = snapshot.of_trainer(trainer)
    container.write(path, arrays, {
        **files.kind("trainer"), **fields, "dropout": list(trainer.dropout),
        "notes": snapshot.encode(notes, "notes", arrays),
    })


def read(path, trainer):
    """What `trainer` goes on from, with the notes; or a ValueError that says why it cannot go on from this file."""
    arrays, meta = container.read(path)
    with container.located(path):
        net = files.of_kind(arrays, meta, "trainer")
        last = snapshot.checked_optimizer(meta["optimizer"], "optimizer")
        state, settings, notes = (snapshot.decode(meta[name], arrays) for name in ("state", "settings", "notes"))
        snapshot.nothing_left(arrays)
        if not isinstance(notes, dict):
            raise FormatError(f"notes must be a dict; it is {notes!r:.60}")
    with snapshot.of_another(path, "trainer"):
        snapshot.same_network(trainer.net, net)
        snapshot.same_class(trainer.optimizer, last)
        snapshot.same("dropout", list(trainer.dropout), meta["dropout"])
    return snapshot.fit(trainer, path, "trainer", net, last, state, settings)._replace(notes=notes)


def state(trainer):
    """What pickle and copy keep."""
    if trainer.group.together:
        raise TypeError("a Trainer of several ranks cannot be pickled or copied, its communicator belongs to this "
                        "process; save and restore keep what it goes on from")
    return {"net": trainer.net, "optimizer": trainer.optimizer, "dropout": list(trainer.dropout),
            "n_threads": trainer.n_threads, "settings": asdict(trainer.regularisation), "state": trainer.state}


def own(kept):
    """(arguments of a Trainer, settings, state) of what pickle and copy keep; a ValueError or TypeError where it is no
    such dict."""
    checks.members(kept, STATE, "the state of a Trainer")
    if not isinstance(kept["dropout"], (list, tuple)):
        raise TypeError(f"dropout must be a list of rates; got {kept['dropout']!r:.200}")
    arguments = {"net": checks.network(kept["net"]), "optimizer": kept["optimizer"], "n_threads": kept["n_threads"]}
    if kept["dropout"]:
        arguments["input_dropout"], *arguments["dropout"] = kept["dropout"]
    return arguments, kept["settings"], kept["state"]
