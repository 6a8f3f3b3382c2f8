"""The run: one worker process per peer and number of threads, every peer in turn, round after round."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import problem, reference

ROOT = Path(__file__).parent.parent
MODULES = ("floor", *sorted(path.stem for path in Path(__file__).parent.glob("peer_*.py")))
OURS = "fastbp"
REST = 0.02  # s: after a turn on several threads their pools still spin; nobody else is timed meanwhile


def environment(n_threads):
    """Return the settings that hold every library to n_threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if n_threads == 1 else ""
    return os.environ | dict.fromkeys(names, str(n_threads)) | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def cores(n_threads):
    """Return the last n_threads cores this process may use: those of a worker."""
    return sorted(os.sched_getaffinity(0))[-n_threads:] if hasattr(os, "sched_getaffinity") else []


class Worker:
    """A worker process, and the pipe to it."""

    def __init__(self, module, n_threads):
        self.module, self.n_threads = module, n_threads
        command = [sys.executable, "-m", "bench.worker", module, n_threads, *cores(n_threads)]
        self.process = subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, env=environment(n_threads), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def send(self, do, **arguments):
        """Send a request; that the worker has died is found out by receive."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()

    def receive(self):
        """Wait for the answer: a dict with one of "ok", "missing", "error"."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the worker ended ({self.process.wait()})"}

    def ask(self, do, **arguments):
        """Send and wait."""
        self.send(do, **arguments)
        return self.receive()

    def close(self):
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


class Contestant:
    """One form of one peer on one problem, with what was measured."""

    def __init__(self, worker, label, prepare_seconds):
        self.worker, self.label, self.prepare_seconds = worker, label, prepare_seconds
        self.turns, self.first_seconds, self.figures, self.same_loss, self.error = [], None, None, True, None

    def first(self, budget):
        """Warm up, and take the figures all must agree on; a run that fills the budget alone is the only turn."""
        reply = self.worker.ask("first", label=self.label)
        self.error = reply.get("error")
        if not self.error:
            run, self.figures, self.same_loss = (reply["ok"][key] for key in ("seconds", "figures", "same_loss"))
            self.first_seconds = run[0]
            if run[0] > budget:
                self.turns.append(run)

    def turn(self):
        """Be timed once."""
        reply = self.worker.ask("turn", label=self.label)
        self.error = reply.get("error")
        if not self.error:
            self.turns.append(reply["ok"])
        if self.worker.n_threads > 1:
            time.sleep(REST)

    def agrees(self, yardstick, dtype):
        """Return whether it did the same work as the yardstick's figures (the floor has none)."""
        return not self.figures or (self.same_loss and reference.agree(self.figures, yardstick, dtype))

    def done(self, budget):
        """Return whether it has had its time (one turn at least)."""
        wall = [turn[0] for turn in self.turns]
        return bool(self.error) or (bool(wall) and sum(wall) + wall[-1] > budget)


class Contest:
    """All workers, and the loop over workloads, dtypes and rounds."""

    def __init__(self, settings, say):
        self.settings, self.say = settings, say
        self.versions, self.missing, self.results, self.ceilings = {}, {}, [], []
        self.workers = self._start()

    def _start(self):
        started = [Worker(module, n) for n in self.settings.threads for module in MODULES]
        for worker in started:
            worker.send("hello")
        present = []
        for worker in started:
            reply = worker.receive()
            if "ok" not in reply:
                self.missing[worker.module] = reply.get("missing") or reply["error"].strip().splitlines()[-1]
                worker.close()
                continue
            worker.labels = [label for label in reply["ok"]["labels"] if self._wanted(label, reply["ok"]["full_only"])]
            if not worker.labels:
                worker.close()
                continue
            self.versions[worker.module] = reply["ok"]["version"]
            present.append(worker)
        return present

    def _wanted(self, label, full_only):
        peers = self.settings.peers
        if peers:
            return any(name.lower() in label.lower() for name in peers)
        return self.settings.full or label not in full_only

    def _labels(self, worker, workload):
        """Return the forms that run: more threads change a step of one example for fastbp at most, growth is ours."""
        alone = workload.group != "table" or (worker.n_threads > 1 and (workload.online or workload.kind == "predict"))
        if alone and not (workload.group != "table" and self.settings.peers):
            return [label for label in worker.labels if label == OURS]
        return worker.labels

    def _prepare(self, path, workload):
        """Return the contestants of one cell; in the quick run the workers prepare side by side."""
        asked = [(worker, labels) for worker in self.workers if (labels := self._labels(worker, workload))]
        request = {"path": path, "name": workload.name}
        if not self.settings.full:
            for worker, labels in asked:
                worker.send("prepare", labels=labels, **request)
        contestants = []
        for worker, labels in asked:
            reply = worker.receive() if not self.settings.full else worker.ask("prepare", labels=labels, **request)
            if "error" in reply:
                self.say(f"{worker.module} on {workload.name}: {reply['error']}")
            for label, seconds in reply.get("ok", {}).items():
                contestants.append(Contestant(worker, label, seconds))
        return contestants

    def cell(self, workload, dtype, path):
        """Run one workload in one dtype: warm-up, then the rounds."""
        problem.write(path, workload, dtype, self.settings.full, self.settings.mnist)
        contestants = self._prepare(path, workload)
        for contestant in contestants:
            contestant.first(self.settings.budget)
        for r in range(self.settings.rounds):
            start = r % max(1, len(contestants))
            for contestant in contestants[start:] + contestants[:start]:
                if not contestant.done(self.settings.budget):
                    contestant.turn()
        for worker in self.workers:
            worker.ask("drop")
        return contestants

    def record(self, workload, dtype, contestants):
        """Keep the medians of a cell, and who disagrees about the loss."""
        running = [c for c in contestants if c.turns]
        figures = {c.label: c.figures for c in running if c.figures}
        yardstick = figures.get("NumPy") or next(iter(figures.values()), None)
        m = workload.size(self.settings.full)
        for c in contestants:
            if c.error:
                self.say(f"{c.label} on {workload.name}: {c.error}")
        for c in running:
            wall, cpu = (statistics.median(clock) for clock in zip(*c.turns, strict=True))
            seconds = cpu if self.settings.cpu_time and c.worker.n_threads == 1 else wall
            self.results.append(
                {
                    "workload": workload.name, "dtype": dtype, "peer": c.label, "threads": c.worker.n_threads, "m": m,
                    "seconds": seconds, "value": workload.unit.value(seconds, m), "unit": workload.unit.name,
                    "wall_seconds": wall, "cpu_seconds": cpu,
                    "turns": c.turns, "prepare_seconds": c.prepare_seconds, "first_seconds": c.first_seconds,
                    "figures": c.figures, "agrees": c.agrees(yardstick, dtype),
                }
            )  # fmt: skip

    def measure_ceilings(self):
        """Ask the floor's workers what the machine can do."""
        for worker in self.workers:
            for dtype in self.settings.dtype if worker.module == "floor" else ():
                reply = worker.ask("ceilings", dtype=dtype)
                if "ok" in reply:
                    self.ceilings.append({"dtype": dtype, "threads": worker.n_threads, **reply["ok"]})

    def run(self, workloads):
        """Run every workload in every dtype."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "problem.npz")
            self.measure_ceilings()
            for workload in workloads:
                for dtype in self.settings.dtype:
                    start = time.perf_counter()
                    self.record(workload, dtype, self.cell(workload, dtype, path))
                    self.say(f"{workload.name}, {dtype}: {time.perf_counter() - start:.1f} s")

    def close(self):
        """End the workers."""
        for worker in self.workers:
            worker.close()
