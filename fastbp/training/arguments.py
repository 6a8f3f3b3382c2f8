"""The arguments of `train` as one object, which the stages of training read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from .. import callbacks, metrics
from .._types import Count, Every, Examples, Flag, Number, Path, PerLayer, Rule, RuleName, Seed
from ..engine import checks, factors, frozen
from ..engine.data import Data
from ..network import Network


@dataclass
class Arguments:
    """The arguments of `train`, described there; call `check` first."""

    net: Network
    X: Any
    Y: ArrayLike | None
    optimizer: Rule | RuleName
    epochs: Any
    batch_size: Any
    weight_decay: PerLayer
    lam: Number | None
    penalties: dict[str, Any]
    """l1, clip_value, clip_norm"""
    dropout: PerLayer
    input_dropout: Number
    sample_weight: ArrayLike | None
    shuffle: Any
    window: Any
    validation_data: Examples | None
    validation_split: Any
    metrics: Sequence[str | Callable[..., Any]]
    callbacks: Any
    seed: Seed
    progress: Flag
    n_threads: Count | None
    checkpoint: Path | None
    checkpoint_every: Every
    resume: Flag | None
    sync_every: Any
    mean_weight: Any
    free: Any
    learning_rate_factors: Any
    input_scale: Any

    def data(self, shard: bool) -> Data:
        """X, Y and sample_weight, checked; shard: they are one rank's rows, possibly none."""
        Y: Any = self.Y
        return Data(self.net.plan, self.net.dtype, self.X, Y, self.sample_weight, shard=shard)

    def check(self) -> None:
        """Check each argument by itself. Numbers become Python's, metrics a dict of functions, the seed a generator."""
        def count(name: str) -> int | None:
            value = getattr(self, name)
            return None if value is None else checks.count(value, name)

        checks.network(self.net)
        self.epochs = checks.count(self.epochs, "epochs")
        self.batch_size, self.window = count("batch_size"), count("window")
        self.shuffle, self.progress = checks.flag(self.shuffle, "shuffle"), checks.flag(self.progress, "progress")
        self.validation_split = checks.number(self.validation_split, "validation_split", high=1)
        self.free = frozen.mask(self.free, self.net.plan)
        self.learning_rate_factors = factors.of(self.learning_rate_factors, self.net.plan)
        if self.input_scale is not None:
            self.input_scale = checks.number(self.input_scale, "input_scale", open_low=True)
        self.mean_weight = checks.mean_weight(self.mean_weight)
        self.functions: dict[str, Callable[..., float]] = metrics.resolve(self.metrics)
        self.callbacks = callbacks.check(self.callbacks)
        self.rng = checks.generator(self.seed)
