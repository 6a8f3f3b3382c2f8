"""The batches of one step on all ranks, for a loss in Python, which sees all of them on every rank."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..._types import Floats
from ...distributed.group import Group
from ...distributed.own import Share, Together
from ..own import is_finite
from ..steps import Steps
from .batches import Batch


class OwnBatches:
    """The batches that all parts bring to a step. All ranks construct it together.

    make() returns those of this rank's parts, None for a part that has none left; it runs in a section.
    """

    def __init__(self, group: Group, steps: Steps, make: Callable[[], Sequence[Batch | None]]) -> None:
        self.batches: Sequence[Batch | None] = ()

        def shares() -> tuple[Any, list[Share | None]]:
            self.batches = make()
            return steps.plan, [None if batch is None else Share(batch.data, batch.order, batch.first, batch.last)
                                for batch in self.batches]

        def ready(i: int, share: Share) -> None:
            steps.set_masks(share.first, group.part_number(i))

        self._together = Together(group, steps.theta, shares, ready, steps.n_threads)

    def __getitem__(self, i: int) -> Batch | None:
        return self.batches[i]

    def bring(self, i: int, Delta: Floats) -> float:
        """Delta += the sum over the batch of part i; returns the sum of its costs."""
        batch = self.batches[i]
        assert batch is not None
        if not self._together.weight:
            return 0.0
        if not is_finite(self._together.z):     # theta has diverged; the end of the epoch detects it
            return math.nan
        cost = self._together.bring(i, Delta)
        if batch.data.scale != 1:   # weights count in units of it
            Delta /= Delta.dtype.type(batch.data.scale)
        return cost / batch.data.scale
