"""Several processes or machines: the ranks of a communicator, and how their sums are added (docs/distributed.md)."""

from .group import Group, RankError, rows

__all__ = ["Group", "RankError", "rows"]
