"""The file of a trainer: what its next step goes on from."""

from typing import NamedTuple

import numpy as np

from . import checks, container, files, snapshot
from .container import FormatError
from .regularisation import Regularisation

SETTINGS = ("c", "l1", "batch_lam", "clip_value", "clip_norm")


class Kept(NamedTuple):
    """A trainer as a file has it, fit for the one that is to go on."""

    theta: np.ndarray
    state: dict
    regularisation: Regularisation
    numbers: dict
    notes: dict


def save(path, trainer, notes):
    notes = checks.dictionary({} if notes is None else notes, "notes")
    arrays, fields = snapshot.of_trainer(trainer)
    settings = {name: getattr(trainer.regularisation, name) for name in SETTINGS}
    container.write(path, arrays, {
        **files.kind("trainer"), **fields, "dropout": list(trainer.dropout),
        "settings": snapshot.encode(settings, "settings", arrays), "notes": snapshot.encode(notes, "notes", arrays),
    })


def read(path, trainer):
    """The trainer of a file, or a ValueError that says why `trainer` cannot go on from it."""
    arrays, meta = container.read(path)
    with container.located(path):
        net = files.of_kind(arrays, meta, "trainer")
        last = snapshot.checked_optimizer(meta["optimizer"], "optimizer")
        state, settings, notes = (snapshot.decode(meta[name], arrays) for name in ("state", "settings", "notes"))
        snapshot.nothing_left(arrays)
        snapshot.fields(settings, SETTINGS, "settings")
    with snapshot.of_another(path, "trainer"):
        snapshot.same_network(trainer.net, net)
        snapshot.same_class(trainer.optimizer, last)
        snapshot.same("dropout", list(trainer.dropout), meta["dropout"])
    with container.located(path):
        state = snapshot.state_for(trainer, state)
        numbers = snapshot.numbers_of(trainer.optimizer, last)
        finite = {name: None if value == np.inf else value for name, value in settings.items()}
        try:
            regularisation = trainer.regularisation.with_(**finite)
            checks.dictionary(notes, "notes")
        except (ValueError, TypeError) as error:
            raise FormatError(f"settings: {error!s:.200}") from None
    return Kept(net.theta, state, regularisation, numbers, notes)
