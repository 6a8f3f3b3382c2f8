"""The record of a training run, one value per epoch."""

from dataclasses import asdict, dataclass, field
from typing import Any

from . import html


@dataclass
class History:
    """Lists with one entry per epoch; ``history["val_J"]`` is the list of that name.

    Attributes
    ----------
    J : list of float
        Mean of the batches' J, weighted by their examples, with penalty; each at the theta before its step.
    val_J : list of float or None
        Mean cost of the validation data after the epoch, without penalty; None without validation data.
    val_accuracy : list of float or None
        Fraction of the validation data in the right class after the epoch; None without such data, or for regression.
    metrics : dict of str to list of float
        Metrics after the epoch: those of the training data by name, those of the validation data with the prefix val_.
    seconds : list of float
        Time of the epoch without validation.
    examples : int
        Examples in an epoch.
    stopped : str or None
        The reason why a callback ended training; None after all epochs.

    See Also
    --------
    train : Returns a history.
    plot.learning_curve : Plots it.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 4, 1], seed=0)
    >>> history = fastbp.train(net, np.eye(2), np.array([0, 1]), epochs=3, seed=0)
    >>> len(history), list(history.columns)
    (3, ['J', 'seconds'])
    >>> history["J"] == history.J
    True
    """

    J: list[float] = field(default_factory=list)
    val_J: list[float] | Any = None
    val_accuracy: list[float] | Any = None
    seconds: list[float] = field(default_factory=list)
    examples: int = 0
    metrics: dict[str, list[float]] = field(default_factory=dict)
    stopped: str | None = None

    def __len__(self) -> int:
        return len(self.J)

    @property
    def error(self) -> Exception | None:
        """The exception that ended the training of this network in ``train_many(on_error="keep")``; else None."""
        return self.__dict__.get("_error")

    @error.setter
    def error(self, value: Exception | None) -> None:
        self.__dict__["_error"] = value

    @property
    def columns(self) -> dict[str, list[float]]:
        """All lists by name."""
        named = {"J": self.J, "val_J": self.val_J, "val_accuracy": self.val_accuracy, **self.metrics,
                 "seconds": self.seconds}
        return {name: values for name, values in named.items() if values is not None}

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.columns:
            raise KeyError(f"{name!r} was not measured; there are {', '.join(self.columns)}")
        return self.columns[name]

    @property
    def examples_per_second(self) -> float:
        """Over all epochs, without validation."""
        total = sum(self.seconds)
        return self.examples * len(self.J) / total if total else 0.0

    @property
    def last_rate(self) -> float:
        """Examples per second in the last epoch."""
        return self.examples / self.seconds[-1] if self.seconds[-1] else 0.0

    def latest(self) -> list[str]:
        """The values of the last epoch as text, such as "J 0.12345"."""
        parts = [f"J {self.J[-1]:.5f}"]
        if self.val_J:
            parts.append(f"val_J {self.val_J[-1]:.5f}")
        if self.val_accuracy:
            parts.append(f"val_accuracy {100 * self.val_accuracy[-1]:.2f} %")
        return parts + [f"{name} {values[-1]:.5g}" for name, values in self.metrics.items() if values]

    def line(self) -> str:
        """The values and the rate of the last epoch in one line."""
        return ", ".join([*self.latest(), f"{self.last_rate:,.0f} examples/s"])

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for each epoch (from 1) and a column for each list. Needs pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_frame needs pandas (pip install pandas); history.columns is a plain dict") from error
        return pandas.DataFrame(self.columns, index=pandas.RangeIndex(1, len(self) + 1, name="epoch"))

    def plot(self, ax: Any = None, log: bool = False) -> Any:
        """`fastbp.plot.learning_curve` of this history. Needs matplotlib."""
        from .plot import learning_curve

        return learning_curve(self, ax, log)

    def state(self) -> dict[str, Any]:
        """A dict of copies that JSON can hold; ``History(**state)`` restores the history."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """The epochs as a table in a notebook."""
        return html.history(self)

    def __repr__(self) -> str:
        failed = [] if self.error is None else [f"failed: {type(self.error).__name__}"]
        if not self.J:
            return f"History({', '.join(['0 epochs', *failed])})"
        parts = [f"{len(self.J)} epochs", f"J {self.J[0]:.4g} -> {self.J[-1]:.4g}"]
        if self.val_J:
            parts.append(f"val_J {self.val_J[-1]:.4g}")
        if self.val_accuracy:
            parts.append(f"val_accuracy {self.val_accuracy[-1]:.4f}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.metrics.items() if values]
        if self.stopped:
            parts.append(f"stopped: {self.stopped}")
        parts += failed
        return f"History({', '.join(parts)})"
