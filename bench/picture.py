"""The pictures: each peer's time relative to fastbp, and how the cost of fastbp grows. Needs matplotlib."""

import itertools
from pathlib import Path

from .contest import OURS, STEPS
from .report import cell_of
from .workloads import GROWTH, TABLE, THREADS_CASE

ROOFLINE = "roofline"


def of(results, workload, dtype, threads):
    """Return the results of a cell by peer, without those of the steps; `results` are of one instruction set."""
    cell = cell_of(results, workload, dtype, threads, results[0]["isa"])
    return {peer: r for peer, r in cell.items() if peer != STEPS}


def palette(results):
    """Return a colour for every peer, the same in all panels."""
    peers = sorted({r["peer"] for r in results} - {OURS, STEPS})
    return {OURS: "black", ROOFLINE: "red"} | {peer: f"C{i % 10}" for i, peer in enumerate(peers)}


def bars(axes, results, dtype, threads, colours):
    """Draw every peer's time as a multiple of fastbp's (of the fastest peer's, without fastbp)."""
    cells = [(w.name, of(results, w.name, dtype, threads)) for w in TABLE]
    cells = [(name, cell) for name, cell in cells if len(cell) > 1]
    for y, (_, cell) in enumerate(cells):
        unit = cell.get(OURS) or min(cell.values(), key=lambda r: r["seconds"])
        seconds = {peer: r["seconds"] for peer, r in cell.items() if peer != OURS}
        if "roofline_seconds" in unit:
            seconds[ROOFLINE] = unit["roofline_seconds"]
        for peer, value in seconds.items():
            marker = "|" if peer == ROOFLINE else "o"
            axes.plot(value / unit["seconds"], y, marker, color=colours[peer], markersize=9, alpha=0.8)
    for peer, colour in colours.items():
        if peer != OURS:
            axes.plot([], [], "|" if peer == ROOFLINE else "o", color=colour, label=peer)
    axes.axvline(1, color="black", linewidth=1, label=OURS)
    axes.set_xscale("log")
    axes.set_yticks(range(len(cells)), [name for name, _ in cells])
    axes.invert_yaxis()
    axes.set_xlabel("time as a multiple of fastbp's")
    axes.set_title(f"{dtype}, {threads} thread{'s' if threads > 1 else ''}")
    axes.grid(axis="x", alpha=0.3)


def curves(axes, results, group):
    """Draw the cost of an example against m, width or depth, a line per dtype and number of threads."""
    points = [w for w in GROWTH if w.group == group]
    lines = sorted({(r["peer"], r["dtype"], r["threads"]) for r in results if r["workload"] == points[0].name})
    for peer, dtype, threads in lines:
        cells = [(w.x, of(results, w.name, dtype, threads).get(peer)) for w in points]
        cells = [(x, r["value"]) for x, r in cells if r]
        axes.plot(*zip(*cells, strict=True), "o-", label=f"{peer}, {dtype}, {threads}")
    axes.set(xscale="log", yscale="log", xlabel=group, ylabel="µs/example")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small")


def threads_curve(axes, results):
    """Draw the gain of more threads on the full-batch gradient."""
    name = THREADS_CASE.name
    here = [r for r in results if r["workload"] == name and r["peer"] != STEPS]
    axes.set(xlabel="threads", ylabel="gain", title=name)
    axes.grid(alpha=0.3)
    for peer, dtype in sorted({(r["peer"], r["dtype"]) for r in here}):
        line = sorted((r["threads"], r["seconds"]) for r in here if (r["peer"], r["dtype"]) == (peer, dtype))
        if len(line) > 1:
            style = "o-" if peer == OURS else ".:"
            axes.plot([t for t, _ in line], [line[0][1] / s for _, s in line], style, label=f"{peer}, {dtype}")
            axes.legend(fontsize="x-small")


def write(report, path):
    """Write PATH and, if the growth group ran, PATH with `-growth` before its ending; return the names.

    The pictures show the first instruction set.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    isa = report["results"][0]["isa"]
    results, path, written = [r for r in report["results"] if r["isa"] == isa], Path(path), []
    in_table = [r for r in results if r["workload"] in {w.name for w in TABLE}]
    if in_table:
        dtypes, threads = sorted({r["dtype"] for r in in_table}), sorted({r["threads"] for r in in_table})
        figure, grid = plt.subplots(
            len(threads), len(dtypes), figsize=(8 * len(dtypes), 5 * len(threads)), squeeze=False, layout="constrained"
        )
        for axes, (t, dtype) in zip(grid.flat, itertools.product(threads, dtypes), strict=True):
            bars(axes, results, dtype, t, palette(in_table))
        figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
        figure.savefig(path, dpi=110)
        written.append(path)
    if any(r["workload"] == GROWTH[0].name for r in results):
        figure, grid = plt.subplots(2, 2, figsize=(12, 9), layout="constrained")
        for axes, group in zip(grid.flat, ("m", "width", "depth"), strict=False):
            curves(axes, results, group)
        threads_curve(grid.flat[3], results)
        written.append(path.with_stem(path.stem + "-growth"))
        figure.savefig(written[-1], dpi=110)
    return written
