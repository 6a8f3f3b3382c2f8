"""One peer in its own process: a pipe tells it what to prepare and when to run once; otherwise it is idle.

`python -m bench.worker MODULE N_THREADS CORE...`: requests and answers are lines of JSON. Cores and environment (set by
contest.py) are fixed before the peer's library is imported, so the number of threads is certain.
"""

import gc
import importlib
import json
import os
import statistics
import sys
import time
import traceback

from . import problem, reference

SHORTEST_TURN = 0.01  # s: a shorter run is repeated until the turn has lasted this long, and its median counts


class Worker:
    """Answers the requests of contest.py: every public method is one."""

    def __init__(self, module, n_threads):
        self._peer = importlib.import_module(f"bench.{module}")
        self._n_threads = n_threads
        self._prepared = {}
        self._problem = None

    def hello(self):
        """Return the forms and the version of the peer."""
        return {
            "labels": list(self._peer.LABELS),
            "full_only": list(getattr(self._peer, "FULL_ONLY", ())),
            "version": self._peer.version(self._n_threads),
        }

    def prepare(self, path, name, labels):
        """Read the problem, prepare each form of the peer; return the seconds this took, by label."""
        self._problem = problem.read(path, name, self._n_threads)
        seconds = {}
        for label in labels:
            start = time.perf_counter()
            prepared = self._peer.prepare(self._problem, label)
            if prepared is not None:
                self._prepared[label] = prepared
                seconds[label] = time.perf_counter() - start
        if not self._prepared:
            self.drop()
        return seconds

    def first(self, label):
        """Run once to warm up; return its wall and CPU seconds and the figures on which all must agree."""
        seconds, prepared = self._once(label), self._prepared[label]
        figures = reference.figures(self._problem, prepared.outcome())
        return {"seconds": seconds, "figures": figures, "same_loss": getattr(prepared, "same_loss", True)}

    def turn(self, label):
        """Run from the start weights until the turn has lasted long enough; return the medians: wall, CPU seconds."""
        runs, start = [], time.perf_counter()
        while not runs or time.perf_counter() - start < SHORTEST_TURN:
            runs.append(self._once(label))
        return [statistics.median(seconds) for seconds in zip(*runs, strict=True)]

    def gauge(self, method, **arguments):
        """Measure what the machine can do (ceiling.py only)."""
        return getattr(self._peer, method)(**arguments)

    def drop(self):
        """Forget the problem."""
        self._prepared.clear()
        self._problem = None
        gc.collect()

    def _once(self, label):
        prepared = self._prepared[label]
        prepared.reset()
        gc.disable()
        start, start_cpu = time.perf_counter(), time.process_time()
        prepared.run()
        seconds = time.perf_counter() - start, time.process_time() - start_cpu
        gc.enable()
        return seconds


def answer(request, worker, module, n_threads):
    """Return the answer to one request, made on first use; an exception becomes its text."""
    try:
        worker = worker or Worker(module, n_threads)
        method = getattr(worker, request["do"])
        return worker, {"ok": method(**{key: value for key, value in request.items() if key != "do"})}
    except ImportError as error:
        return worker, {"missing": str(error)}
    except Exception:  # any error of a library is reported, and the others continue
        return worker, {"error": traceback.format_exc(limit=4)}


def main():
    """Answer until the pipe closes."""
    module, n_threads, *cores = sys.argv[1:]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores})
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    sys.path.pop(0)  # the clone's own fastbp/ may be uncompiled: import the installed one
    worker = None
    for line in sys.stdin:
        worker, reply = answer(json.loads(line), worker, module, int(n_threads))
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
