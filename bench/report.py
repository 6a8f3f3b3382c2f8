"""What came out: one table per number of threads and dtype, and everything as JSON."""

import json
import platform
import statistics
import sys
from datetime import datetime
from pathlib import Path

from .contest import OURS
from .workloads import WORKLOADS

FLOOR = "floor"


def machine():
    """Return the processor's name, its cores and the system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = f"{lines[0].split(':')[1].strip()}, {len(lines)} cores" if lines else model
    return f"{model}; {platform.system()} {platform.release()}, Python {platform.python_version()}"


def summary(contest):
    """Return all that was measured, ready for JSON."""
    return {
        "machine": machine(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": "python -m bench " + " ".join(sys.argv[1:]),
        "versions": contest.versions,
        "missing": contest.missing,
        "ceilings": contest.ceilings,
        "results": contest.results,
    }


def cell_of(results, workload, dtype, threads):
    """Return the results of one workload, dtype and number of threads, by peer."""
    key = (workload, dtype, threads)
    return {r["peer"]: r for r in results if (r["workload"], r["dtype"], r["threads"]) == key}


def fastest_peer(cell):
    """Return the fastest result that is neither ours nor the floor and did the same work; None without one."""
    peers = [r for name, r in cell.items() if name not in (OURS, FLOOR) and r["agrees"]]
    return min(peers, key=lambda r: r["seconds"], default=None)


def ratio(a, b):
    """Return a's seconds per second of b, None where one is missing."""
    return a["seconds"] / b["seconds"] if a and b else None


def shown(result):
    """Return a value with three digits, starred where the loss differs from the others'."""
    if result is None:
        return ""
    value = result["value"]
    text = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return text if result["agrees"] else text + "*"


def times(value, digits=2):
    """Return a ratio as text."""
    return "" if value is None else f"{value:.{digits}f}"


def verdict(value, wanted):
    """Return what was wanted and whether it was reached."""
    if wanted is None:
        return ""
    if value is None:
        return f"{wanted:g}"
    return f"{wanted:g} {'yes' if value >= wanted else 'NO'}"


def row(results, name, dtype, threads, columns, single):
    """Return the cells of one line of a table."""
    workload = WORKLOADS[name]
    cell = cell_of(results, name, dtype, threads)
    ours, floor, best = cell.get(OURS), cell.get(FLOOR), fastest_peer(cell)
    unit = next(iter(cell.values()))["unit"]
    ahead, to_floor = ratio(best, ours), ratio(ours, floor)
    line = [name, unit, *(shown(cell.get(peer)) for peer in columns), best["peer"] if best else "", times(ahead)]
    if threads == single:
        line.append(verdict(ahead, workload.reach.get(dtype)))
    limit = workload.gemm_limit.get(dtype)
    text = times(to_floor)
    if limit and to_floor:
        text += f" (at most {limit:g}: {'yes' if to_floor <= limit else 'NO'})"
    line.append(text)
    if threads != single:
        gain = ratio(cell_of(results, name, dtype, single).get(OURS), ours)
        line += [times(gain), verdict(gain, workload.two_threads if threads == 2 else 0.95)]
    return line


def table(results, dtype, threads, single):
    """Return the Markdown table of one dtype and number of threads, padded to be read as text too."""
    here = [r for r in results if r["dtype"] == dtype and r["threads"] == threads]
    names = [name for name in WORKLOADS if any(r["workload"] == name for r in here)]
    order = [OURS, *sorted({r["peer"] for r in here} - {OURS, FLOOR}), FLOOR]
    columns = [peer for peer in order if any(r["peer"] == peer for r in here)]
    head = ["workload", "unit", *columns, "fastest peer", "fastbp ahead"]
    head += ["reach", "of the floor"] if threads == single else ["of the floor", "gain on 1 thread", "wanted"]
    rows = [head, *(row(results, name, dtype, threads, columns, single) for name in names)]
    widths = [max(len(line[i]) for line in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |" for line in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def compile_times(results):
    """Return the peers that took long to get ready, as one line."""
    longest = {}
    for r in results:
        longest.setdefault(r["peer"], []).append(r["prepare_seconds"] + max(0, r["first_seconds"] - r["seconds"]))
    slow = {peer: seconds for peer, seconds in longest.items() if max(seconds) > 0.2}
    return "; ".join(f"{peer} {sum(s) / len(s):.1f} s (at most {max(s):.1f})" for peer, s in slow.items())


def waiting(results):
    """Return how long the single-threaded runs had to wait for their core, as a share: 0 on a quiet machine."""
    shares = [r["wall_seconds"] / r["cpu_seconds"] - 1 for r in results if r["threads"] == 1 and r["cpu_seconds"]]
    return statistics.median(shares) if shares else 0.0


def text(report):
    """Return the whole report as Markdown."""
    parts = [f"{report['machine']}; {report['date']}", f"`{report['command']}`"]
    parts.append("Versions: " + "; ".join(report["versions"].values()))
    if report["missing"]:
        parts.append("Skipped: " + "; ".join(f"{name} ({why})" for name, why in report["missing"].items()))
    for c in report["ceilings"]:
        parts.append(
            f"Ceiling, {c['dtype']}, {c['threads']} thread(s): GEMM 2048^3 {c['gemm_gflops']:.0f} GFLOP/s; "
            f"bandwidth (one core) {c['bandwidth_gb_s']:.1f} GB/s"
        )
    results = report["results"]
    settings = sorted({(r["threads"], r["dtype"]) for r in results})
    single = settings[0][0] if settings else 1
    for threads, dtype in settings:
        parts.append(f"## {threads} thread{'s' if threads > 1 else ''}, {dtype}\n")
        parts.append(table(results, dtype, threads, single))
    parts.append("\nA star: the loss after the run differs from the others' (not counted as the fastest peer).")
    if waiting(results) > 0.03:
        share = f"{100 * waiting(results):.0f} %"
        parts.append(f"The machine was busy: a median wait of {share} on one thread (--cpu-time leaves it out).")
    slow = compile_times(results)
    if slow:
        parts.append(f"Getting ready (compiling, warming up), apart from the times above, per workload: {slow}.")
    return "\n".join(parts)


def write_json(report, path):
    """Write everything, the single turns too."""
    Path(path).write_text(json.dumps(report, indent=1))
