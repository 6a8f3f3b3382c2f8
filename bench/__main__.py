"""`python -m bench`: the quick run, under three minutes; `--full` is the one whose figures are quoted."""

import argparse
import os
import sys

from . import contest, report
from .workloads import GROWTH, TABLE, THREADS_CASE


def arguments():
    """Return the settings of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--full", action="store_true", help="full sizes, more rounds, all forms of the peers, the growth figure")
    add("--growth", action="store_true", help="only the growth figure: cost against m, width, depth and threads")
    add("--workloads", nargs="+", metavar="TEXT", help="only the workloads whose name contains one of these")
    add("--peers", nargs="+", metavar="TEXT", help="only the peers whose name contains one of these")
    add("--dtype", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    add("--threads", nargs="+", type=int, default=[1, 2] if (os.cpu_count() or 1) > 1 else [1])
    add("--rounds", type=int, help="turns of each peer (quick 5, full 11)")
    add("--budget", type=float, help="seconds after which a peer takes no more turns in a workload (quick 0.2, full 2)")
    add("--cpu-time", action="store_true", help="one thread: count CPU seconds (a machine that others use)")
    add("--mnist", metavar="PATH", help="mnist.npz (x_train, y_train); synthetic images of the same kind otherwise")
    add("--json", metavar="PATH", help="write everything measured")
    add("--picture", metavar="PATH", help="write a picture (matplotlib)")
    settings = parser.parse_args()
    settings.rounds = settings.rounds or (11 if settings.full else 5)
    settings.budget = settings.budget or (2.0 if settings.full else 0.2)
    return settings


def chosen(settings):
    """Return the workloads to run."""
    pool = TABLE + GROWTH if settings.full else TABLE
    if settings.growth:
        pool = (THREADS_CASE, *GROWTH)
    if not settings.workloads:
        return pool
    found = [w for w in TABLE + GROWTH if any(text.lower() in w.name.lower() for text in settings.workloads)]
    if not found:
        sys.exit("no such workload; there are: " + ", ".join(w.name for w in TABLE))
    return found


def main():
    """Run, print the tables, write the files."""
    settings = arguments()
    run = contest.Contest(settings, lambda line: print(line, file=sys.stderr, flush=True))
    try:
        run.run(chosen(settings))
    finally:
        run.close()
    found = report.summary(run)
    print(report.text(found))
    if settings.json:
        report.write_json(found, settings.json)
    if settings.picture:
        from . import picture

        for path in picture.write(found, settings.picture):
            print(f"picture: {path}")


if __name__ == "__main__":
    main()
