"""The run: one worker process per peer and number of threads, every peer in turn, round after round."""

import contextlib
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from . import interpreters, problem, reference, roofline
from .environment import cores, environment
from .workloads import WORKLOADS

ROOT = Path(__file__).parent.parent
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("peer_*.py"))
OURS, STEPS = "fastbp", "fastbp steps"
LONGEST_WARM_UP = {False: 1.0, True: 5.0}  # s, by --full; a shorter first run counts as warming up
LEAST_TURNS = {False: 1, True: 3}  # regardless of the budget
REST = 0.02  # s: after a turn on several threads their pools still spin; no other peer is timed meanwhile


class Worker:
    """A worker process, and the pipe to it."""

    def __init__(self, module, n_threads, isa, python):
        self.module, self.n_threads = module, n_threads
        self.command = [str(part) for part in (python, "-m", "bench.worker", module, n_threads, *cores(n_threads))]
        self.surroundings = environment(n_threads, isa, interpreters.NOT_UNDERSTOOD.get(module, ()))
        self.start()

    def start(self):
        """Start the process; again after it has died."""
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, env=self.surroundings, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def revive(self):
        """Start it again if it has died."""
        if self.process.poll() is not None:
            self.start()
            self.ask("hello")

    def send(self, do, **arguments):
        """Send a request; `receive` detects that the worker has died."""
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
        self.only = False  # is the first run the only turn?

    def first(self, longest):
        """Warm up, and keep the figures on which all must agree. A run too long for a warm-up is the only turn."""
        reply = self.worker.ask("first", label=self.label)
        self.error = reply.get("error")
        if not self.error:
            run, self.figures, self.same_loss = (reply["ok"][key] for key in ("seconds", "figures", "same_loss"))
            self.first_seconds, self.only = run[0], run[0] > longest
            if self.only:
                self.turns.append(run)

    def turn(self):
        """Time one turn."""
        reply = self.worker.ask("turn", label=self.label)
        self.error = reply.get("error")
        if not self.error:
            self.turns.append(reply["ok"])
        if self.worker.n_threads > 1:
            time.sleep(REST)

    def agrees(self, yardstick, dtype):
        """Return whether its figures agree with the yardstick's: whether it did the same work."""
        return not self.figures or (self.same_loss and reference.agree(self.figures, yardstick, dtype))

    def done(self, budget, least):
        """Return whether it has used its budget and had its least number of turns."""
        wall = [turn[0] for turn in self.turns]
        return bool(self.error) or self.only or (len(wall) >= least and sum(wall) + wall[-1] > budget)


class Contest:
    """All workers, and the loop over workloads, dtypes and rounds, with one instruction set."""

    def __init__(self, settings, isa, say):
        self.settings, self.isa, self.say = settings, isa, say
        self.versions, self.missing, self.results, self.ceiling = {}, {}, [], None
        self.workers = self._start(MODULES, settings.threads)
        self.gauge = self._start(["ceiling"], [1])  # no peer

    def _start(self, modules, numbers):
        """Return the workers that answer; all are started before any is waited for."""
        started = []
        for module in modules:
            try:
                python = interpreters.python(module, self.say) if self._asked_for(module) else None
            except ImportError as error:
                self.missing[module] = str(error)
                continue
            started += [Worker(module, n, self.isa, python) for n in numbers if python]
        for worker in started:
            worker.send("hello")
        return [worker for worker in started if self._greeted(worker)]

    def _asked_for(self, module):
        """Return whether its environment is needed: only if it is among the requested peers."""
        peers = self.settings.peers
        return not peers or module != interpreters.OLD_JAX or any("jax" in name.lower() for name in peers)

    def _greeted(self, worker):
        """Ask which forms the worker has. False, with a line, if its library is missing or none is requested."""
        reply = worker.receive()
        if "ok" not in reply:
            self.missing[worker.module] = reply.get("missing") or reply["error"].strip().splitlines()[-1]
            worker.close()
            return False
        full_only = reply["ok"]["full_only"]
        worker.labels = [label for label in reply["ok"]["labels"] if self._wanted(label, full_only)]
        if not worker.labels:
            worker.close()
            return False
        self.versions[worker.module] = reply["ok"]["version"]
        return True

    def _wanted(self, label, full_only):
        peers = self.settings.peers
        if peers and label != "ceiling":
            return any(name.lower() in label.lower() if len(name) > 1 else name == label for name in peers)
        return self.settings.full or label not in full_only

    def _labels(self, worker, workload):
        """Return the forms that run; only fastbp if no peer can, or if more threads are not expected to help."""
        growth = workload.group != "table"
        alone = workload.alone or growth or (worker.n_threads > 1 and workload.two_threads is None)
        if alone and not (growth and self.settings.peers):
            return [label for label in worker.labels if label in (OURS, STEPS)]
        return worker.labels

    def _prepare(self, path, workload):
        """Return the contestants of one cell; in the quick run the workers prepare side by side."""
        for worker in self.workers:
            worker.revive()
        asked = [(worker, labels) for worker in self.workers if (labels := self._labels(worker, workload))]
        request = {"path": path, "name": workload.name}
        if not self.settings.full:
            for worker, labels in asked:
                worker.send("prepare", labels=labels, **request)
        contestants = []
        for worker, labels in asked:
            reply = worker.receive() if not self.settings.full else worker.ask("prepare", labels=labels, **request)
            if worker.process.poll() is not None:
                reply = self._prepare_survivors(worker, labels, request)
            if "error" in reply:
                self.say(f"{worker.module} on {workload.name}: {reply['error']}")
            for label, seconds in reply.get("ok", {}).items():
                contestants.append(Contestant(worker, label, seconds))
        return contestants

    def _prepare_survivors(self, worker, labels, request):
        """Prepare the forms one after the other, without those that end the process (torch.compile has crashed)."""
        survivors = []
        for label in labels:
            worker.revive()
            reply = worker.ask("prepare", labels=[label], **request)
            if "ok" in reply:
                survivors.append(label)
            else:
                self.say(f"{label} on {request['name']}: {reply['error']}")
        worker.close()
        worker.revive()
        return worker.ask("prepare", labels=survivors, **request)

    def cell(self, workload, dtype, path):
        """Run one workload in one dtype: warm-up, then the rounds."""
        problem.write(path, workload, dtype, self.settings.full, self.settings.mnist)
        contestants = self._prepare(path, workload)
        for contestant in contestants:
            contestant.first(LONGEST_WARM_UP[self.settings.full])
        self.gauge_peak(dtype)
        for r in range(self.settings.rounds):
            start = r % max(1, len(contestants))
            for contestant in contestants[start:] + contestants[:start]:
                if not contestant.done(self.settings.budget, LEAST_TURNS[self.settings.full]):
                    contestant.turn()
        for worker in self.workers:
            worker.ask("drop")
        return contestants

    def record(self, workload, dtype, contestants):
        """Keep the medians of a cell, and which peers disagree about the loss."""
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
                    "workload": workload.name, "isa": self.isa, "dtype": dtype, "peer": c.label,
                    "threads": c.worker.n_threads, "m": m, "seconds": seconds,
                    "value": workload.unit.value(seconds, workload.count(m)), "unit": workload.unit.name,
                    "wall_seconds": wall, "cpu_seconds": cpu,
                    "turns": c.turns, "prepare_seconds": c.prepare_seconds, "first_seconds": c.first_seconds,
                    "figures": c.figures, "agrees": c.agrees(yardstick, dtype),
                }
            )  # fmt: skip

    def gauge_all(self):
        """Measure the machine's ceiling: peak and bandwidths."""
        for worker in self.gauge:
            reply = worker.ask("gauge", method="measure")
            self.ceiling = reply.get("ok")
            if self.ceiling is None:
                self.missing["ceiling"] = reply.get("missing") or reply["error"].strip().splitlines()[-1]
                self.gauge = []

    def gauge_peak(self, dtype):
        """Measure the peak again, in the middle of a cell; the best of the run counts."""
        for worker in self.gauge:
            peak = worker.ask("gauge", method="flops", dtype=dtype)["ok"]
            self.ceiling["flops"][dtype] = max(self.ceiling["flops"][dtype], peak)

    def add_rooflines(self):
        """Give every result its roofline: no program can take fewer seconds."""
        for r in self.results if self.ceiling else ():
            workload = WORKLOADS[r["workload"]]
            r["roofline_seconds"] = roofline.seconds(workload, r["m"], r["dtype"], r["threads"], self.ceiling)

    def run(self, workloads):
        """Run every workload in every dtype."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "problem.npz")
            self.gauge_all()
            for workload in workloads:
                for dtype in self.settings.dtype:
                    start = time.perf_counter()
                    self.record(workload, dtype, self.cell(workload, dtype, path))
                    self.say(f"{self.isa}, {workload.name}, {dtype}: {time.perf_counter() - start:.1f} s")
        self.add_rooflines()

    def close(self):
        """End the workers."""
        for worker in (*self.workers, *self.gauge):
            worker.close()
