"""Measures after each epoch: cost and accuracy on the validation data, and the metrics."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import sums
from ..engine.data import Data
from ..history import History
from ..network import Network

Functions = dict[str, Callable[..., float]]
Answers = tuple[NDArray[Any], NDArray[Any] | None]


class Measures:
    """Fills the columns of the history after each epoch.

    Parameters
    ----------
    functions : dict
        The metrics by name, functions of (h, Y, sample_weight).
    feed : Arrays or Stream
        The training examples; chunks have no metrics.
    validation : Data, optional
    """

    def __init__(self, functions: Functions, feed: Any, validation: Any) -> None:
        self.functions, self.feed, self.validation = functions, feed, validation

    @property
    def any(self) -> bool:
        """Is anything measured?"""
        return self.validation is not None or bool(self.functions)

    def begin(self, history: History) -> None:
        """Create the empty columns."""
        validation = self.validation
        if validation is not None:
            history.val_J = []
            history.val_accuracy = [] if validation.classes else None
        for name in self.functions:
            if self.feed.m:
                history.metrics[name] = []
            if validation is not None and (name != "accuracy" or history.val_accuracy is None):
                history.metrics[f"val_{name}"] = []

    def take(self, net: Network, history: History) -> None:
        """Append a value to each column."""
        if self.validation is not None:
            result = net.evaluate_data(self.validation)
            history.val_J.append(result.cost)
            if result.accuracy is not None:
                history.val_accuracy.append(result.accuracy)
            self._apply(net, self.validation, history, "val_")
        if self.functions and self.feed.m:
            self._apply(net, self.feed, history, "")

    def _apply(self, net: Network, source: Any, history: History, prefix: str) -> None:
        """Append the metrics over a source of examples."""
        wanted = {name: f for name, f in self.functions.items() if prefix + name in history.metrics}
        if wanted:
            for name, value in self.values(wanted, self.outputs(net, source), self.answers(source)).items():
                history.metrics[prefix + name].append(value)

    def values(self, functions: Functions, h: NDArray[Any], answers: Answers) -> dict[str, float]:
        """The value of each metric."""
        return {name: function(h, *answers) for name, function in functions.items()}

    def outputs(self, net: Network, source: Any) -> NDArray[Any]:
        """h (m, K) of the examples."""
        return outputs(net, *self._examples(source))

    def answers(self, source: Any) -> Answers:
        """(labels or targets, weights) of the examples."""
        data, rows = self._examples(source)
        return of_rows(data.Y, rows), None if data.w is None else of_rows(data.w[:, 0], rows)

    def _examples(self, source: Any) -> tuple[Data, NDArray[np.int64] | None]:
        """(data, rows) of a source; rows None: all."""
        return (source, None) if source is self.validation else (source.data, source.rows)


def outputs(net: Network, data: Data, rows: NDArray[np.int64] | None) -> NDArray[Any]:
    """h (m, K) of these rows of the data; None: of all."""
    h = np.empty((data.m if rows is None else len(rows), net.layer_sizes[-1]), net.dtype)
    sums.predict(net.plan, net.theta, data.X, h, rows)
    return h


def of_rows(a: NDArray[Any], rows: NDArray[np.int64] | None) -> NDArray[Any]:
    """These rows of a; None: all, not copied."""
    return a if rows is None else a[rows]
