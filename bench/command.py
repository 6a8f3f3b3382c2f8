"""The command line of `python -m bench`: quick, under three minutes; `--full` is the run whose figures are quoted."""

import argparse
import os
import sys

from . import contest, page, report
from .environment import LIMITS
from .workloads import GROWTH, TABLE, THREADS_CASE


def arguments():
    """Return the settings of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes, a few rounds (the default without --full)")
    size.add_argument("--full", action="store_true", help="full sizes, more rounds, all forms of the peers")
    add("--growth", action="store_true", help="only the growth figure: cost against m, width, depth and threads")
    add("--workloads", nargs="+", metavar="TEXT", help="only the workloads whose name contains one of these")
    add("--peers", nargs="+", metavar="TEXT", help="only the peers whose name contains one of these")
    add("--dtype", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    add("--threads", nargs="+", type=int, default=[1, 2] if (os.cpu_count() or 1) > 1 else [1])
    add("--isa", nargs="+", choices=tuple(LIMITS), default=["native"],
        help="native: the widest vectors of this machine; avx2: every library held to AVX2")  # fmt: skip
    add("--rounds", type=int, help="turns of each peer (quick 3, full 9)")
    add("--budget", type=float, help="seconds of a peer's turns in a workload (quick 0.08; full 1, and three turns)")
    add("--cpu-time", action="store_true", help="one thread: count CPU seconds (for a shared machine)")
    add("--mnist", metavar="PATH", help="mnist.npz (x_train, y_train); synthetic images of the same kind otherwise")
    add("--json", metavar="PATH", help="write everything measured")
    add("--picture", metavar="PATH", help="write a picture (matplotlib)")
    add("--write", action="store_true", help="write the tables into README.md and docs/benchmark.md")
    add("--from", dest="source", nargs="+", metavar="PATH", help="measure nothing: use files that --json has written")
    settings = parser.parse_args()
    settings.rounds = settings.rounds or (9 if settings.full else 3)
    settings.budget = settings.budget or (1.0 if settings.full else 0.08)
    return settings


def chosen(settings):
    """Return the workloads to run."""
    if settings.growth:
        return (THREADS_CASE, *GROWTH)
    if not settings.workloads:
        return TABLE
    found = [w for w in TABLE + GROWTH if any(text.lower() in w.name.lower() for text in settings.workloads)]
    if not found:
        sys.exit("no such workload; there are: " + ", ".join(w.name for w in TABLE))
    return found


def measured(settings):
    """Run with one instruction set after the other; return all results."""
    contests, workloads = [], chosen(settings)
    for isa in settings.isa:
        run = contest.Contest(settings, isa, lambda line: print(line, file=sys.stderr, flush=True))
        try:
            run.run(workloads)
        finally:
            run.close()
        contests.append(run)
        if settings.json:  # keep these results even if the next run fails
            report.write_json(report.summary(contests), settings.json)
    return report.summary(contests)


def main():
    """Run, print the tables, write the files."""
    settings = arguments()
    found = report.read_json(settings.source) if settings.source else measured(settings)
    print(report.text(found))
    if settings.write:
        for path in page.write(found):
            print(f"written: {path}")
    if settings.picture:
        from . import picture

        for path in picture.write(found, settings.picture):
            print(f"picture: {path}")
