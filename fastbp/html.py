"""Networks and histories as tables for notebooks. They set no colour, so they suit dark and light pages."""

from collections.abc import Iterable, Sequence
from typing import Any

from ._types import Course

MOST = 12  # epochs shown in full; if there are more, the first and the last HALF
HALF = 5
RIGHT = ' style="text-align: right"'


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a caption; all text is escaped."""
    from html import escape  # imported here, since it would slow down every import of fastbp

    def row(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}{RIGHT}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return (f'<table><caption style="text-align: left">{escape(caption)}</caption>'
            f"<thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>")


def network(net: Any) -> str:
    """The layers of a network: units, function, shape of Theta, parameters."""
    functions = ["input", *net.activation, net.output]
    shapes = [None, *net.plan.shapes]
    rows = [
        (l, units, function, f"{shape[0]} × {shape[1]}" if shape else "", f"{shape[0] * shape[1]:,}" if shape else "")
        for l, (units, function, shape) in enumerate(zip(net.layer_sizes, functions, shapes, strict=True), 1)
    ]
    parameters = "".join(f" ({name} {value:g})" for name, value in net.loss_parameters.items())
    caption = f"Network: {net.settings()['loss']}{parameters}, {net.n_parameters:,} parameters, {net.dtype.name}"
    return table(caption, ("layer", "units", "function", "Theta", "parameters"), rows)


def history(course: Course) -> str:
    """The lists of a history, one row per epoch; if there are many epochs, the first and the last."""
    n, columns = len(course), course.columns
    shown: list[int | None] = list(range(n)) if n <= MOST else [*range(HALF), None, *range(n - HALF, n)]
    rows = [
        ["…"] * (1 + len(columns)) if i is None else [i + 1, *(_value(values, i) for values in columns.values())]
        for i in shown
    ]
    stopped = getattr(course, "stopped", None)
    caption = f"History: {n} epochs" + (f", stopped: {stopped}" if stopped else "")
    return table(caption, ("epoch", *columns), rows)


def _value(values: Sequence[Any], i: int) -> str:
    """The value of an epoch; empty if the list is shorter."""
    return f"{values[i]:.5g}" if i < len(values) else ""
