"""The stages of `train`, from its arguments to the loop. Each checks its input before it changes anything."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .. import metrics
from ..engine import checks, explain, objective, regularisation, sums, threads
from ..engine.initialize import warn_if_equal_units
from ..history import History
from ..network import Network
from . import checkpoint, feed, progress
from .arguments import Arguments
from .hooks import Callbacks, Hooks, hidden
from .loop import Training, run
from .measures import Measures
from .trainer import Trainer

GROWN = 1e3     # times the J of the first epoch: training has diverged


class Start:
    """Training in one process, stage by stage.

    Attributes
    ----------
    rng : numpy Generator
        The generator at the start of training: the caller's, or one in the initial state of the kept training run.
    kept : Kept or None
        The training run to be resumed.
    """

    comm: Any = None
    processes = 1
    m: Any                  # examples in an epoch; infinite for chunks
    batch_size: Any

    def __init__(self, asked: Arguments) -> None:
        self.asked = asked

    def run(self) -> History:
        """Run all stages."""
        self.check()
        self.look_for_checkpoint()
        self.gather()
        self.make()
        self.begin()
        self.loop()
        self.look_back()
        return self.training.history

    def check(self) -> None:
        """Check all arguments except the data."""
        self.asked.check()

    def look_for_checkpoint(self) -> None:
        """Read the training run to be resumed, if there is one."""
        asked = self.asked
        self.keeper, self.kept = checkpoint.keeper(asked.checkpoint, asked.checkpoint_every, asked.resume, asked.rng)
        self.rng = asked.rng if self.kept is None else self.kept.rewound()

    def gather(self) -> None:
        """Make the feed and the validation."""
        self.source, self.validation, self.data = self.sources()
        self.m, weight = (np.inf, 1.0) if self.data is None else (self.source.m, self.source.weight)
        asked = self.asked.batch_size
        self.batch_size = self.m if asked is None else min(asked, self.m)
        self.coefficients(weight)
        self.mean_weight = self.choose_mean_weight()
        if self.data is not None and self.mean_weight is not None:
            self.weigh(self.mean_weight)

    def sources(self) -> tuple[Any, Any, Any]:
        """(the feed, the validation, all examples: None for chunks)."""
        return feed.sources(self.asked, self.rng)

    def coefficients(self, weight: float) -> None:
        """c of each Theta; also checks that the metrics suit the examples."""
        asked, functions = self.asked, self.asked.functions
        if functions and self.data is None and self.validation is None:
            raise ValueError("with chunks, metrics are measured only on the validation data; give validation_data")
        metrics.check_classes(functions, self.validation if self.data is None else self.data)
        self.c = checks.coefficients(asked.weight_decay, asked.lam, weight, len(asked.net.plan.shapes))

    def choose_mean_weight(self) -> float | None:
        """The mean_weight of the trainer.

        A kept training run without one continues without one. A batch of all examples divides by its own weights: their
        sum is their mean times their number.
        """
        given, source = self.asked.mean_weight, self.source
        if given is not None or (self.kept is not None and self.kept.mean_weight is None):
            return given
        return None if self.in_one_batch and source.lowest < source.highest else source.mean_weight

    @property
    def in_one_batch(self) -> bool:
        """Is an epoch one step?"""
        return self.batch_size == self.m

    def weigh(self, mean_weight: float) -> None:
        """Divide the weights of the examples by their mean, so that an error comes before anything has changed."""
        self.data.in_units_of(mean_weight, self.asked.net.dtype)

    def make(self) -> None:
        """Make the trainer, the training and its hooks."""
        asked = self.asked
        trainer = Trainer(
            asked.net, asked.optimizer, weight_decay=self.c, dropout=asked.dropout, input_dropout=asked.input_dropout,
            seed=self.rng, n_threads=asked.n_threads, comm=self.comm, sync_every=asked.sync_every,
            mean_weight=self.mean_weight, free=asked.free, learning_rate_factors=asked.learning_rate_factors,
            input_scale=asked.input_scale, **asked.penalties,
        )
        self.training = self.training_of(trainer)
        self.hooks = self.hooks_of(self.show if asked.progress else hidden)
        self.conditions: dict[str, Any] = {}
        if asked.checkpoint is not None or self.kept is not None:
            self.conditions = checkpoint.conditions(self.training, asked, self.batch_size, self.data)
            self.keeper.conditions = self.conditions

    def training_of(self, trainer: Trainer) -> Training:
        asked = self.asked
        measures = Measures(asked.functions, self.source, self.validation)
        return Training(trainer, self.source, self.batch_size, measures, asked.callbacks, asked.rng, asked.epochs)

    def hooks_of(self, show: Any) -> Hooks:
        return Hooks(show, Callbacks(self.asked.callbacks), self.keeper)

    def show(self, training: Training) -> AbstractContextManager[progress.Report]:
        return progress.bar(training.epochs, done=training.epoch)

    def begin(self) -> None:
        """Start the callbacks, then write the first checkpoint or resume."""
        self.admit()
        self.hooks.begin(self.training)

    def admit(self) -> None:
        """Check that the kept training run matches this one; warn if a new one starts from equal units."""
        if self.kept is not None:
            self.kept.check(self.training, self.conditions)
        else:
            warn_if_equal_units(self.asked.net)

    def loop(self) -> None:
        """Run all epochs."""
        training, steps = self.training, self.training.trainer.steps
        operations = sums.operations(self.asked.net.plan, 1) * self.batch_size / self.processes
        batches = self.asked.epochs * self.m / self.batch_size
        crew = threads.crew(steps.plan.kept, steps.n_threads, operations, batches)
        with crew as steps.crew, self.hooks.around(training):
            run(training, self.hooks)
        training.close()
        self.hooks.end(training)

    def look_back(self) -> None:
        """Warn if training has diverged although all numbers are finite."""
        told = divergence(self.asked.net, self.training.history.J, self.examples)
        if told:
            self.warn(told)

    def examples(self) -> Any:
        """All examples; None for chunks."""
        return self.data

    def warn(self, message: str) -> None:
        explain.warn(message, RuntimeWarning)


def divergence(net: Network, J: list[float], examples: Callable[[], Any]) -> str | None:
    """The warning if training has diverged although all numbers are finite, else None.

    It has if J ends far above that of the first epoch, and the mean cost far above that of a network whose parameters
    are all 0 (1 for chunks). examples() returns all examples as Data, or None for chunks; it is called only if needed.
    """
    if len(J) < 2 or not J[-1] > GROWN * J[0]:
        return None
    data, now, idle = examples(), J[-1], 1.0
    if data is not None:
        now, idle = (objective.cost(theta, data, regularisation.none(net.plan))
                     for theta in (net.theta, np.zeros_like(net.theta)))
    return explain.has_diverged(J) if now > GROWN * max(J[0], idle) else None
