"""The training of one network of an ensemble, and of all of them over the cores.

A network is trained on its rows and measured on held-out rows after each epoch; it ends with the parameters of its best
epoch. `Recipe` has the settings. Steps are compiled epochs without the GIL, so a thread trains a network.
"""

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import sums, threads
from ..engine.data import Data
from ..network import Network
from ..optimizers import AdamW
from ..training.steps import Steps

Matrix = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """The settings of every training; none depends on the data but for their number."""

    hidden: tuple[int, ...] = (128, 128)
    activation: str = "silu"
    dropout: float = 0.1
    batch_size: int = 128
    learning_rate: float = 0.01
    beta_2: float = 0.99
    weight_decay: float = 0.02
    warmup: float = 0.05
    """Part of the steps in which the rate rises."""
    input_scale: float = 6.0
    """Factor of the learning rate of a diagonal layer in front of the first."""
    smoothing: float = 0.1
    """Of the labels in training: 1 - smoothing + smoothing / K for the class, smoothing / K for the others."""

    def epochs(self, m: int) -> int:
        """Epochs for m training rows."""
        return 60 if m <= 10_000 else 30

    def rate(self, steps: int) -> Callable[[int], float]:
        """learning_rate min(1, (t + 1) / (warmup T)) (1 + cos(pi t / T)) / 2,  T = steps."""
        def rate(t: int) -> float:
            rise = min(1.0, (t + 1) / (self.warmup * steps))
            return self.learning_rate * rise * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2

        return rate


def optimizer_of(recipe: Recipe, steps: int) -> AdamW:
    """The optimizer of a training of so many steps."""
    return AdamW(recipe.rate(steps), beta_2=recipe.beta_2, weight_decay=recipe.weight_decay)


@dataclass
class Task:
    """What all networks of an ensemble learn.

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

    def error(self, h: Matrix, rows: Rows) -> float:
        """Error rate, or squared error, of outputs h for these rows."""
        if not self.classifies:
            return self.cost(h, rows)
        return self._mean(h.argmax(axis=1) != self.targets[rows], rows)

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


class Stopped(Exception):
    """The calling thread wants no more epochs."""


def train(job: Job, data: Data, after_epoch: Callable[[], None]) -> Trained:
    """Train a network on its rows of the data; it ends as it was after its best epoch on the held-out rows.

    data holds all rows of the task. Of several epochs with the same error the latest is the best. Without held-out rows
    the last epoch is.
    """
    task, recipe, rng = job.task, job.task.recipe, np.random.default_rng(job.seed)
    net = task.network(int(rng.integers(2**31)))
    steps = -(-len(job.rows) // recipe.batch_size) * job.epochs
    optimizer = optimizer_of(recipe, steps)
    mean_weight = None if task.weights is None else float(task.weights[job.rows].mean())
    taken = Steps(net, optimizer, dropout=recipe.dropout, seed=rng, n_threads=1, mean_weight=mean_weight,
                  input_scale=recipe.input_scale)
    h = np.empty((len(job.held_out), task.n_outputs), np.float32)
    trained, best, least = Trained(net, job.epochs), net.theta.copy(), math.inf
    for epoch in range(1, job.epochs + 1):
        taken.take(data, recipe.batch_size, rng.permutation(job.rows))
        if len(h):
            sums.predict(net.plan, net.theta, data.X, h, job.held_out)
            error = task.error(h, job.held_out)
            if error <= least:
                trained.epoch, least = epoch, error
                np.copyto(best, net.theta)
        after_epoch()
    if len(h):
        net.theta = best
    return trained


def train_all(jobs: Sequence[Job], *, n_threads: int | None, report: Callable[[int], None]) -> list[Trained]:
    """Train these networks, several at a time; how many changes no bit.

    report(1) is called after each epoch of each network, in any thread. An exception here, such as Ctrl-C, ends all.
    """
    checked = {id(job.task): job.task.network(0).data(job.task.X, job.task.targets, job.task.weights) for job in
               {id(job.task): job for job in jobs}.values()}
    stop = threading.Event()

    def after_epoch() -> None:
        if stop.is_set():
            raise Stopped
        report(1)

    def one(job: Job) -> Trained:
        if stop.is_set():
            raise Stopped
        data = checked[id(job.task)]
        own = Data.of(data.plan, data.X, data.dense, data.labels, data.w)   # a thread's own; the arrays are shared
        own.scale = data.scale
        return train(job, own, after_epoch)

    n = min(len(jobs), threads.cores() if n_threads is None else n_threads)
    if n <= 1:
        return [one(job) for job in jobs]
    with ThreadPoolExecutor(n, thread_name_prefix="fastbp.tabular") as pool:
        try:
            running = [pool.submit(one, job) for job in jobs]
            for each in wait(running, return_when=FIRST_EXCEPTION).done:
                each.result()       # raises the exception
            return [each.result() for each in running]
        finally:
            stop.set()
