"""Do the piecewise-linear features help on held-out rows? The first networks are trained with and without them."""

from collections.abc import Sequence

import numpy as np

from . import progress
from .preparation import TabularPreparation
from .training import Job, Rows, Task, Trained, train_all

Split = tuple[Rows, Rows]
FIRST = 2   # networks that are trained with and without


def ensemble(
    task: Task, preparation: TabularPreparation, splits: Sequence[Split], seeds: Sequence[np.random.SeedSequence],
    epochs: Sequence[int], *, n_threads: int | None, shown: bool,
) -> tuple[Task, list[Trained]]:
    """Train all networks, without the piecewise-linear features if these have not helped the first ones.

    In that case the preparation no longer makes them, and the returned task has no such columns.
    """
    bins, n = preparation.is_bin_, len(splits)
    tried = min(FIRST, n)
    chooses = bool(bins.any() and not bins.all()) and all(len(held_out) for _, held_out in splits[:tried])
    with progress.bar(shown, sum(epochs) + sum(epochs[:tried]) * chooses) as report:

        def trained(jobs: Sequence[tuple[Task, int]]) -> list[Trained]:
            asked = [Job(each, *splits[k], seeds[k], epochs[k]) for each, k in jobs]
            return train_all(asked, n_threads=n_threads, report=report)

        if not chooses:
            return task, trained([(task, k) for k in range(n)])
        plain = task.with_inputs(task.X.take(np.flatnonzero(~bins), axis=1))
        first = trained([(each, k) for k in range(tried) for each in (task, plain)])
        found, without = first[0::2], first[1::2]
        if _mean_cost(plain, without, splits) < _mean_cost(task, found, splits):
            preparation.without_bins()
            task, found = plain, without
        return task, found + trained([(task, k) for k in range(tried, n)])


def _mean_cost(task: Task, trained: Sequence[Trained], splits: Sequence[Split]) -> float:
    """The mean cost of these networks on their held-out rows: a Brier score or a squared error."""
    costs = [task.cost(task.outputs(each.net.predict, held_out), held_out)
             for each, (_, held_out) in zip(trained, splits, strict=False)]
    return float(np.mean(costs))
