"""The results: one table per instruction set, number of threads and dtype, and everything as JSON."""

import json
import platform
import statistics
import sys
from datetime import datetime
from pathlib import Path

from .contest import OURS, STEPS
from .workloads import NO_HARM, WORKLOADS


def machine():
    """Return the processor's name, its cores and the system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = f"{lines[0].split(':')[1].strip()}, {len(lines)} cores" if lines else model
    return f"{model}; {platform.system()} {platform.release()}, Python {platform.python_version()}"


def summary(contests):
    """Return all measurements, ready for JSON."""
    return {
        "machine": machine(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": "python -m bench " + " ".join(sys.argv[1:]),
        "versions": {c.isa: c.versions for c in contests},
        "missing": {name: why for c in contests for name, why in c.missing.items()},
        "ceilings": {c.isa: c.ceiling for c in contests if c.ceiling},
        "results": [r for c in contests for r in c.results],
    }


def cell_of(results, workload, dtype, threads, isa="native"):
    """Return the results of one workload, dtype, number of threads and instruction set, by peer."""
    key = (workload, dtype, threads, isa)
    return {r["peer"]: r for r in results if (r["workload"], r["dtype"], r["threads"], r["isa"]) == key}


def fastest_peer(cell):
    """Return the fastest result of a peer that did the same work; None without one."""
    peers = [r for name, r in cell.items() if name not in (OURS, STEPS) and r["agrees"]]
    return min(peers, key=lambda r: r["seconds"], default=None)


def ratio(a, b):
    """Return a's seconds divided by b's; None if one is missing."""
    return a["seconds"] / b["seconds"] if a and b else None


def share(result):
    """Return the roofline's seconds divided by those of a result; None if one is missing."""
    return result["roofline_seconds"] / result["seconds"] if result and "roofline_seconds" in result else None


def shown(result):
    """Return a value with three digits, with a star if the loss differs from the others'."""
    if result is None:
        return ""
    value = result["value"]
    text = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return text if result["agrees"] else text + "*"


def times(value, digits=2):
    """Return a ratio as text."""
    return "" if value is None else f"{value:.{digits}f}"


def percent(value):
    """Return a fraction as a percentage; small ones keep two digits."""
    return "" if value is None else f"{100 * value:.0f} %" if value >= 0.095 else f"{100 * value:.2g} %"


def verdict(value, wanted):
    """Return the target and whether it was reached."""
    if wanted is None:
        return ""
    if value is None:
        return f"{wanted:g}"
    return f"{wanted:g} {'yes' if value >= wanted else 'NO'}"


def markdown(rows):
    """Return a Markdown table, padded so that it is readable as text. The first row is its head."""
    widths = [max(len(line[i]) for line in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |" for line in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def row(results, name, dtype, threads, isa, columns, single):
    """Return the cells of one line of a table."""
    workload = WORKLOADS[name]
    cell = cell_of(results, name, dtype, threads, isa)
    ours, best = cell.get(OURS), fastest_peer(cell)
    ahead = ratio(best, ours)
    unit = next(iter(cell.values()))["unit"]
    line = [name, unit, *(shown(cell.get(peer)) for peer in columns), best["peer"] if best else "", times(ahead)]
    line.append(percent(share(ours)))
    if threads == single:
        return [*line, verdict(ahead, workload.reach.get(dtype))]
    gain = ratio(cell_of(results, name, dtype, single, isa).get(OURS), ours)
    return [*line, times(gain), verdict(gain, workload.two_threads or NO_HARM if threads == 2 else NO_HARM)]


def table(results, dtype, threads, isa, single):
    """Return the Markdown table of one dtype, number of threads and instruction set."""
    here = [r for r in results if (r["dtype"], r["threads"], r["isa"]) == (dtype, threads, isa)]
    names = [name for name in WORKLOADS if any(r["workload"] == name for r in here)]
    peers = {r["peer"] for r in here}
    columns = [peer for peer in (OURS, *sorted(peers - {OURS, STEPS})) if peer in peers]
    head = ["workload", "unit", *columns, "fastest peer", "fastbp ahead", "of its roofline"]
    head += ["reach"] if threads == single else ["gain on 1 thread", "wanted"]
    return markdown([head, *(row(results, name, dtype, threads, isa, columns, single) for name in names)])


def beside_steps(results):
    """Return the table of the time that `train` adds to its steps; "" without such a run."""
    rows = []
    for r in results:
        if r["peer"] == STEPS:
            ours = cell_of(results, r["workload"], r["dtype"], r["threads"], r["isa"]).get(OURS)
            if ours:
                added = ours["value"] - r["value"]
                values = [shown(ours), shown(r), f"{added:.0f}", percent(added / ours["value"])]
                rows.append([r["workload"], r["isa"], str(r["threads"]), r["dtype"], r["unit"], *values])
    head = ["workload", "vectors", "threads", "dtype", "unit", "fastbp", "its steps", "added", "share"]
    return markdown([head, *rows]) if rows else ""


def compile_times(results):
    """Return the peers with a long preparation, as one line."""
    longest = {}
    for r in results:
        longest.setdefault(r["peer"], []).append(r["prepare_seconds"] + max(0, r["first_seconds"] - r["seconds"]))
    slow = {peer: seconds for peer, seconds in longest.items() if max(seconds) > 0.2}
    return "; ".join(f"{peer} {sum(s) / len(s):.1f} s (at most {max(s):.1f})" for peer, s in slow.items())


def waiting(results):
    """Return the fraction of time that single-threaded runs waited for their core; 0 on a quiet machine."""
    shares = [r["wall_seconds"] / r["cpu_seconds"] - 1 for r in results if r["threads"] == 1 and r["cpu_seconds"]]
    return statistics.median(shares) if shares else 0.0


def ceiling_line(isa, ceiling):
    """Return the ceiling of one core of the machine as a line."""
    peaks = ", ".join(f"{dtype} {flops / 1e9:.0f}" for dtype, flops in ceiling["flops"].items())
    levels = ", ".join(f"{level} {rate['update'] / 1e9:.0f}" for level, rate in ceiling["bandwidths"].items())
    return f"Ceiling of one core, {isa}: multiply-adds, GFLOP/s: {peaks}; read and written in place, GB/s: {levels}"


def text(report):
    """Return the whole report as Markdown."""
    parts = [f"{report['machine']}; {report['date']}", f"`{report['command']}`"]
    for isa, versions in report["versions"].items():
        parts.append(f"Versions, {isa}: " + "; ".join(versions.values()))
    if report["missing"]:
        parts.append("Skipped: " + "; ".join(f"{name} ({why})" for name, why in report["missing"].items()))
    parts += [ceiling_line(isa, ceiling) for isa, ceiling in report["ceilings"].items()]
    results = report["results"]
    settings = sorted({(r["isa"] != "native", r["isa"], r["threads"], r["dtype"]) for r in results})
    single = min((threads for _, _, threads, _ in settings), default=1)
    for _, isa, threads, dtype in settings:
        parts.append(f"## {isa}, {threads} thread{'s' if threads > 1 else ''}, {dtype}\n")
        parts.append(table(results, dtype, threads, isa, single))
    if beside_steps(results):
        parts += ["## train beside its steps\n", beside_steps(results)]
    parts.append("\nA star: the loss after the run differs from the others' (not counted as the fastest peer).")
    if waiting(results) > 0.03:
        wait = percent(waiting(results))
        parts.append(f"The machine was busy: a median wait of {wait} on one thread (--cpu-time leaves it out).")
    slow = compile_times(results)
    if slow:
        parts.append(f"Getting ready (compiling, warming up), apart from the times above, per workload: {slow}.")
    return "\n".join(parts)


def write_json(report, path):
    """Write everything, the single turns too."""
    Path(path).write_text(json.dumps(report, indent=1))


def _place(r):
    """Return the cell of a result."""
    return tuple(r[key] for key in ("workload", "isa", "dtype", "peer", "threads"))


def read_json(paths):
    """Return the contents of files by write_json. Several files are read as one run (one of AVX-512, one of AVX2); if
    two of them have the same cell, the later one counts."""
    first, *others = (json.loads(Path(path).read_text()) for path in paths)
    for other in others:
        again = {_place(r) for r in other["results"]}
        first["results"] = [r for r in first["results"] if _place(r) not in again] + other["results"]
        first["command"] += "; " + other["command"]
        for key in ("versions", "ceilings", "missing"):
            first[key] |= other[key]
    return first
