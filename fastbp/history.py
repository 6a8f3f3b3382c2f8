"""What a training leaves behind: one value an epoch."""

from dataclasses import dataclass, field


@dataclass
class History:
    """The course of a training, one entry an epoch.

    Attributes
    ----------
    J : list of float
        Mean of the batches' J, weighted by their examples, penalty included; each at the theta its step began with.
    val_J : list of float or None
        Mean cost of the validation data after the epoch, without penalty; None without validation data.
    val_accuracy : list of float or None
        Share of the validation data in the right class after the epoch; None without, or for regression.
    seconds : list of float
        Time of the epoch, validation not counted.
    examples : int
        Examples in an epoch.
    """

    J: list = field(default_factory=list)
    val_J: list | None = None
    val_accuracy: list | None = None
    seconds: list = field(default_factory=list)
    examples: int = 0

    def __len__(self):
        return len(self.J)

    @property
    def examples_per_second(self):
        """Over all epochs, validation not counted."""
        total = sum(self.seconds)
        return self.examples * len(self.J) / total if total else 0.0

    def __repr__(self):
        if not self.J:
            return "History(0 epochs)"
        parts = [f"{len(self.J)} epochs", f"J {self.J[0]:.4g} -> {self.J[-1]:.4g}"]
        if self.val_J:
            parts.append(f"val_J {self.val_J[-1]:.4g}")
        if self.val_accuracy:
            parts.append(f"val_accuracy {self.val_accuracy[-1]:.4f}")
        return f"History({', '.join(parts)})"
