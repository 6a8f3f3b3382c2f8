"""The training of one network of an ensemble, and of all of them over the cores.

A network is trained on its rows and measured on held-out rows after each epoch; it ends with the parameters of its best
epoch. `Recipe` has the settings. All epochs and measures are compiled code without the GIL, in threads like those of
`train_many`.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import sums, threads
from ..engine.data import Data
from ..many.workers import Workers
from ..network import Network
from ..optimizers import AdamW
from ..training.quick import Look
from ..training.steps import Steps
from ..training.stretch import Room, Stretch
from . import frames

DIVERGED = "training diverged: the parameters are not finite"
Matrix = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """The training settings; they depend on the data only through the number of rows."""

    hidden: tuple[int, ...] = (128, 128)
    activation: str = "silu"
    dropout: float = 0.1
    batch_size: int = 128
    learning_rate: float = 0.01
    beta_2: float = 0.99
    weight_decay: float = 0.02
    warmup: float = 0.05
    """Fraction of the steps in which the rate rises."""
    input_scale: float = 6.0
    """Factor of the learning rate of a diagonal layer in front of the first."""
    smoothing: float = 0.1
    """Label smoothing in training: 1 - smoothing + smoothing / K for the class, smoothing / K for the others."""

    def epochs(self, m: int) -> int:
        """Epochs for m training rows: 60 up to 5000 rows, then as many steps as for 5000 rows, but at least 30."""
        return max(30, min(60, round(60 * 5000 / m)))

    def rate(self, steps: int) -> Callable[[int], float]:
        """learning_rate min(1, (t + 1) / (warmup T)) (1 + cos(pi t / T)) / 2,  T = steps."""
        def rate(t: int) -> float:
            rise = min(1.0, (t + 1) / (self.warmup * steps))
            return self.learning_rate * rise * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2

        return rate


def optimizer_of(recipe: Recipe, steps: int) -> AdamW:
    """The optimizer for this many steps."""
    return AdamW(recipe.rate(steps), beta_2=recipe.beta_2, weight_decay=recipe.weight_decay)


@dataclass
class Task:
    """The examples that all networks of an ensemble learn from.

    Parameters
    ----------
    X : (m, d) float32
    targets : (m,) int64 labels 0 .. K-1, or (m, K) float32 standardised numbers
    n_outputs : int
        K.
    weights : (m,) float64, or None
        All above 0.
    recipe : Recipe
    """

    X: Matrix
    targets: NDArray[Any]
    n_outputs: int
    weights: NDArray[np.float64] | None
    recipe: Recipe

    def with_inputs(self, X: Matrix) -> "Task":
        """The same task with other inputs."""
        return replace(self, X=X)

    @property
    def classifies(self) -> bool:
        return self.targets.ndim == 1

    def network(self, seed: int) -> Network:
        """A network at its start."""
        return Network([self.X.shape[1], *self.recipe.hidden, self.n_outputs], activation=self.recipe.activation,
                       output="softmax" if self.classifies else "identity", dtype=np.float32, init="he_normal",
                       label_smoothing=self.recipe.smoothing if self.classifies else 0, seed=seed)

    def outputs(self, of: Callable[[Matrix], Matrix], rows: Rows) -> Matrix:
        """of(X) (len(rows), K) for these rows, without a copy of all their inputs."""
        h = [of(self.X[rows[block]]) for block in frames.blocks(len(rows))]
        return np.concatenate(h) if h else np.empty((0, self.n_outputs), np.float32)

    def cost(self, h: Matrix, rows: Rows) -> float:
        """Squared error of outputs h for these rows: of the probabilities (Brier's score), or of the numbers."""
        if not self.classifies:
            return self._mean(np.square(h - self.targets[rows], dtype=np.float64).sum(axis=1), rows)
        own = h[np.arange(len(rows)), self.targets[rows]].astype(np.float64)
        return self._mean(np.square(h, dtype=np.float64).sum(axis=1) - 2 * own + 1, rows)

    def _mean(self, values: NDArray[Any], rows: Rows) -> float:
        return float(np.average(values, weights=None if self.weights is None else self.weights[rows]))


@dataclass
class Job:
    """A network to be trained: its task, rows and held-out rows, seed and number of epochs."""

    task: Task
    rows: Rows
    held_out: Rows
    seed: np.random.SeedSequence
    epochs: int


@dataclass
class Trained:
    """A network after its training, and the number (from 1) of the epoch whose parameters it has."""

    net: Network
    epoch: int


class Training:
    """The training of one network, a job for `Workers` of fastbp.many: all epochs in compiled code.

    The network is trained on its rows of the data, and measured on the held-out rows after each epoch. It ends with the
    parameters of its best epoch: the one with the lowest error rate or squared error; the latest of several. Without
    held-out rows it is the last epoch.

    Attributes
    ----------
    trained : Trained
        After `train`.
    error : Exception, or None
        Why it failed.
    operations : float
        The approximate number of floating-point operations.
    """

    trained: Trained
    turn = nullcontext()    # no other thread has the network

    def __init__(self, job: Job, data: Data, report: Callable[[int], None]) -> None:
        self.job, self._report = job, report
        self._data = Data.of(data.plan, data.X, data.dense, data.labels, data.w)    # its own; the arrays are shared
        self._data.scale, self._data.classes = data.scale, data.classes
        self.error: Exception | None = None
        self.operations = job.epochs * sums.operations(data.plan, len(job.rows))

    def train(self, room: Room, look: Look) -> None:
        """Train the network in this room; look(stretch) is called now and then, and may raise an exception."""
        job, task, recipe = self.job, self.job.task, self.job.task.recipe
        rng = np.random.default_rng(job.seed)
        net = task.network(int(rng.integers(2**31)))
        optimizer = optimizer_of(recipe, -(-len(job.rows) // recipe.batch_size) * job.epochs)
        mean_weight = None if task.weights is None else float(task.weights[job.rows].mean())
        steps = Steps(net, optimizer, dropout=recipe.dropout, seed=rng, n_threads=1, mean_weight=mean_weight,
                      input_scale=recipe.input_scale)
        stretch = Stretch(steps, self._data, recipe.batch_size, job.epochs, job.rows, rng, room)
        stretch.foresee()
        best = stretch.keep_best(self._data, job.held_out, room) if len(job.held_out) else None
        done, reported = False, 0
        while not done:
            look(stretch.own)
            done = stretch.advance(job.epochs)
            self._report(stretch.own.epoch - reported)
            reported = stretch.own.epoch
        if stretch.diverged:
            raise ValueError(DIVERGED)
        if best is not None and stretch.own.best_epoch:
            net.theta = best
        self.trained = Trained(net, stretch.own.best_epoch or job.epochs)


def train_all(jobs: Sequence[Job], *, n_threads: int | None, report: Callable[[int], None]) -> list[Trained]:
    """Train these networks, several at a time; their number changes no bit.

    report(n) is called after each n epochs of a network, in any thread. An exception here, such as Ctrl-C, ends all.
    """
    tasks = {id(job.task): job.task for job in jobs}
    data = {key: task.network(0).data(task.X, task.targets, task.weights) for key, task in tasks.items()}
    trainings = [Training(job, data[id(job.task)], report) for job in jobs]
    n = threads.cores() if n_threads is None else n_threads
    Workers(trainings, n, False, _nothing, _nothing, lambda: None).run()
    for each in trainings:
        if each.error is not None:
            raise each.error
    return [each.trained for each in trainings]


def _nothing(training: Training) -> None:
    """Do nothing before and after training."""
