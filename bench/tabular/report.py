"""The results as lines, as a table and as a picture."""

import math
from collections import defaultdict

OURS = "fastbp"


def line(result):
    """Return a result as a line."""
    head = f"{result['set']:9s} {result['peer']:11s} seed {result['seed']}"
    if "failed" in result:
        return f"{head}  {result['failed']}"
    loss = "" if result["log_loss"] is None else f"  log loss {result['log_loss']:.4f}"
    return f"{head}  error {result['error']:.4f}{loss}  {result['seconds']:.1f} s"


def by_cell(results):
    """Return {(set, seed): {peer: result}} of the successful results."""
    cells = defaultdict(dict)
    for result in results:
        if "failed" not in result:
            cells[result["set"], result["seed"]][result["peer"]] = result
    return cells


def geometric(ratios):
    """Return the geometric mean; nan for no values."""
    ratios = list(ratios)
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def ratios(results, peer, what):
    """Return fastbp's value over the peer's for each set: the geometric mean over the seeds that both have."""
    found = defaultdict(list)
    for (name, _), cell in by_cell(results).items():
        if OURS in cell and peer in cell and cell[peer].get(what) and cell[OURS].get(what):
            found[name].append(cell[OURS][what] / cell[peer][what])
    return {name: geometric(values) for name, values in found.items()}


def means(results, name, peer, what):
    """Return the mean of a peer on a set over the seeds; None without results."""
    values = [r[what] for r in results if "failed" not in r and (r["set"], r["peer"]) == (name, peer)]
    return sum(values) / len(values) if values and values[0] is not None else None


def in_order(results, what):
    """Return the sets or the peers in the order in which they came, fastbp first."""
    found = list(dict.fromkeys(r[what] for r in results))
    return sorted(found, key=lambda each: each != OURS)


def text(results):
    """Return the tables: geometric means against each peer, the error on each set, fastbp's own estimates."""
    peers, sets = in_order(results, "peer"), in_order(results, "set")
    lines = ["| fastbp over | sets | error | log loss | CPU | better on | worst set |", "|---|---|---|---|---|---|---|"]
    for peer in peers:
        error = ratios(results, peer, "error")
        if peer == OURS or not error:
            continue
        worst = max(error, key=error.get)
        lines.append(
            f"| {peer} | {len(error)} | x{geometric(error.values()):.3f} | "
            f"x{geometric(ratios(results, peer, 'log_loss').values()):.3f} | "
            f"x{geometric(ratios(results, peer, 'seconds').values()):.3f} | "
            f"{sum(r < 1 for r in error.values())} | {worst} x{error[worst]:.2f} |"
        )
    lines += ["", f"| error / CPU s | {' | '.join(peers)} |", "|---|" + "---|" * len(peers)]
    for name in sets:
        cells = []
        for peer in peers:
            error, seconds = (means(results, name, peer, what) for what in ("error", "seconds"))
            cells.append("-" if error is None else f"{error:.4f} / {seconds:.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines + told(results) + failures(results))


def told(results):
    """Return fastbp's own estimates of its accuracy and coverage, against the test rows."""
    ours = [r for r in results if r["peer"] == OURS and "score" in r]
    if not ours:
        return []
    ratio = geometric(r["validation_score"] / r["score"] for r in ours if min(r["validation_score"], r["score"]) > 0)
    lines = ["", f"validation_score_ over the test score: x{ratio:.3f}"]
    covered = [r["covered"] for r in ours if "covered" in r]
    if covered:
        lines.append(f"90 % intervals cover {100 * sum(covered) / len(covered):.1f} % of the test rows")
    return lines


def failures(results):
    """Return a line for each peer or set that could not be measured, with the reason."""
    reasons = {(r["set"], r["peer"], r["failed"]) for r in results if "failed" in r}
    return [""] * bool(reasons) + [f"not measured: {name}, {peer}: {why}" for name, peer, why in sorted(reasons)]


def picture(results, path):
    """Draw each peer's error as a multiple of fastbp's, one row per set; the last row holds the geometric means."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    peers = [peer for peer in in_order(results, "peer") if peer != OURS]
    sets = in_order(results, "set")
    figure = Figure(figsize=(8, 0.5 * len(sets) + 2), layout="constrained")
    axes = figure.add_subplot()
    for i, peer in enumerate(peers):
        found = ratios(results, peer, "error")
        points = [(1 / found[name], sets.index(name)) for name in found]
        if points:
            points.append((1 / geometric(found.values()), len(sets)))
            axes.plot(*zip(*points, strict=True), "o", color=f"C{i}", label=peer, alpha=0.8)
    axes.axvline(1, color="black", linewidth=1, label=OURS)
    axes.axhline(len(sets) - 0.5, color="gray", linewidth=0.5)
    axes.set_yticks(range(len(sets) + 1), [*sets, "geometric mean"])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("error as a multiple of fastbp's, each at its defaults")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
