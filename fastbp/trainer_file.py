"""The file of a trainer: what its next step goes on from."""

from . import checks, container, files, snapshot
from .container import FormatError


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
