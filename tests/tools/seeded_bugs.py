"""Do the sanitizers find real bugs? Each bug below is planted by itself in a copy of the tree, built, and run.

    python tests/tools/seeded_bugs.py                     # all of them
    python tests/tools/seeded_bugs.py thread              # those for one tool: address, undefined, thread, memcheck
    python tests/tools/seeded_bugs.py --only "barrier"

The tests named with a bug must make the tool report it, in the words named with it; the tree without a bug must pass
them without a report. Exit status 1 if a bug is missed.
"""

import argparse
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import memcheck
import sanitize
import trees

PANELS = ["tests/test_gradient.py", "tests/test_losses.py", "-x"]
MEMBERS = ["tests/test_processes.py", "-k", "fault_14"]
TWO_CUT = """
import signal
import numpy as np, fastbp
import fastbp.engine.threads

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
rng = np.random.default_rng(0)
X, labels = rng.standard_normal((600, 1100)).astype("f4"), rng.integers(0, 10, 600)
net = fastbp.Network([1100, 1000, 700, 10], activation="relu", output="softmax", dtype="f4", seed=0)
trainer = fastbp.Trainer(net, fastbp.SGD(1e-9))
with fastbp.engine.threads.Crew(2, apart=True) as trainer.steps.crew:
    for k in range(20):     # two members leave their work undone
        signal.setitimer(signal.ITIMER_REAL, 0.05 + 0.05 * k)
        try:
            while True:
                trainer.steps.mean(net.data(X, labels), 300)
        except KeyboardInterrupt:
            pass
"""


@dataclass
class Bug:
    name: str
    tool: str           # address, undefined, thread or memcheck
    file: str
    old: str
    new: str
    report: str         # a regular expression that the report matches
    tests: list | str   # arguments of pytest, or a program


def of(tool, *bugs):
    return [Bug(name, tool, file, old, new, report, tests) for name, file, old, new, report, tests in bugs]


ADDRESS = of(
    "address",
    ("a tail reads one value beyond its end", "src/kernels/vector.h",
     "        if (i < n)\n            v[i] = q[i];", "        if (i <= n)\n            v[i] = q[i];",
     r"heap-buffer-overflow .*\n.*\n.*vload_part", PANELS),
    ("Delta's tail is a column too wide", "src/kernels/panels.h",
     "rows, &deltas, A + c, lda, D + 1 + c, k + 1, D, 0, k - c);",
     "rows, &deltas, A + c, lda, D + 1 + c, k + 1, D, 0, k - c + 1);",
     r"heap-buffer-overflow .*\n.*\n.*(vload_part|vstore_part)", PANELS),
    ("weights are padded beyond the end of the workspace", "src/kernels/rows.h",
     "for (ptrdiff_t i = m; i < padded; i++)", "for (ptrdiff_t i = m; i <= padded; i++)",
     r"heap-buffer-overflow .*\nWRITE.*\n.*load_weights", PANELS),
    ("a row is read for one example too many", "src/kernels/rows.h",
     "    for (ptrdiff_t i = 0; i < m; i++, dst += n) {", "    for (ptrdiff_t i = 0; i <= m; i++, dst += n) {",
     r"(heap|stack)-buffer-overflow (.*\n){1,4}.*load_rows", PANELS),
    ("labels are not compared with the number of classes", "src/kernels/rows.h",
     "if ((uint64_t)label < (uint64_t)K)", "if (label <= ((ptrdiff_t)1 << 40))",
     r"SEGV|heap-buffer-overflow|heap-buffer-underflow", ["tests/test_core_edges.py", "-k", "labels"]),
    ("the rows of X are given back before they are read", "src/_backprop.pyx",
     "        own.m = m = own.data.X.n\n",
     "        PyBuffer_Release(&own.views[0])\n        own.m = m = own.data.X.n\n        own.open[0] = False\n",
     r"heap-use-after-free", memcheck.SHORT),
)
UNDEFINED = of(
    "undefined",
    ("biases fill one place too many on the stack", "src/kernels/panels.h",
     "for (ptrdiff_t i = 0; i < VL && g * VL + i < left; i++)",
     "for (ptrdiff_t i = 0; i <= VL && g * VL + i < left; i++)",
     r"index \d+ out of bounds for type", ["tests/test_network.py", "tests/test_large.py", "-x"]),
    ("draws of dropout are signed", "src/kernels/dropout.h",
     "uint64_t x = key + (word + 1) * 0x9e3779b97f4a7c15u;",
     "int64_t k = key, w = word, y = k + (w + 1) * (int64_t)0x9e3779b97f4a7c15u; uint64_t x = y;",
     r"dropout.h:\d+:\d+: runtime error: signed integer overflow", ["tests/test_dropout.py", "-k", "textbook"]),
    ("vectors are loaded as if they were aligned", "src/kernels/vector.h",
     "{ return *(const FN(vec_any) *) p; }", "{ return *(const vec *) p; }",
     r"runtime error: load of misaligned address", PANELS),
    ("a mask is shifted by more than it is wide", "src/kernels/dropout.h",
     "return x ^ x >> 31;", "return x ^ x >> (33 + (word & 1) * 31);",
     r"runtime error: shift exponent 64 is too large", ["tests/test_dropout.py", "-k", "textbook"]),
)
THREAD = of(
    "thread",
    ("the barrier between the panels and Delta is gone", "src/_backprop.pxd",
     "        at = end_chunk\n    team_meet(team)\n", "        at = end_chunk\n",
     r"data race", MEMBERS),
    ("the barrier lets go without a release", "src/kernels/team.h",
     "atomic_store_explicit(&team->meetings, meeting + 1, memory_order_release)",
     "atomic_store_explicit(&team->meetings, meeting + 1, memory_order_relaxed)",
     r"data race", MEMBERS),
    ("who arrives at the barrier releases nothing", "src/kernels/team.h",
     "atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel)",
     "atomic_fetch_add_explicit(&team->arrived, 1, memory_order_relaxed)",
     r"data race", MEMBERS),
    ("who waits at the barrier acquires nothing", "src/kernels/team.h",
     "atomic_load_explicit(&team->meetings, memory_order_acquire)",
     "atomic_load_explicit(&team->meetings, memory_order_relaxed)",
     r"data race", MEMBERS),
    ("the sign to stop is a plain number", "src/kernels/team.h",
     "if (atomic_load_explicit(&team->wanted, memory_order_relaxed))\n",
     "if (*(volatile int *)(void *)&team->wanted)\n",
     r"data race", ["tests/test_large.py", "-k", "ctrl_c"]),
    ("the mark of work undone is a plain number", "src/kernels/team.h",
     "atomic_store_explicit(&team->cut, 1, memory_order_relaxed)", "*(volatile int *)(void *)&team->cut = 1",
     r"data race", TWO_CUT),
    ("shares of the rows overlap", "src/_backprop.pxd",
     "j = team_portion(<const team_t *>team, n, UNITS, member + 1)",
     "j = min(n, team_portion(<const team_t *>team, n, UNITS, member + 1) + 1)",
     r"data race", MEMBERS),
    ("every member counts the step", "src/_steps.pxd",
     "        if e.member == 0:\n            finish_step(rule, &step)\n            all.stop",
     "        finish_step(rule, &step)\n        if e.member == 0:\n            all.stop",
     r"data race", MEMBERS),
    ("theta moves before all have read it", "src/_steps.pxd",
     "        team_meet(all)\n        penalty = penalty_of(rule)", "        penalty = penalty_of(rule)",
     r"data race", MEMBERS),
    ("members of a sum share their workspace", "src/_ranges.pxd",
     "<floating *>core.work + seat * core.B * core.p.units", "<floating *>core.work",
     r"data race", MEMBERS),
    ("the bell of a member rings without a release", "src/kernels/crew.h",
     "atomic_exchange(&crew->workers[i]->bell, CREW_RUNG)",
     "atomic_exchange_explicit(&crew->workers[i]->bell, CREW_RUNG, memory_order_relaxed)",
     r"data race", MEMBERS),
    ("a member that has done its job releases nothing", "src/kernels/crew.h",
     "atomic_fetch_sub(&crew->left, 1) == 1", "atomic_fetch_sub_explicit(&crew->left, 1, memory_order_relaxed) == 1",
     r"data race", MEMBERS),
    ("the caller does not wait for the members of a sum", "src/kernels/crew.h",
     "while ((left = atomic_load(&crew->left)) != 0) {", "while ((left = atomic_load(&crew->left)) < 0) {",
     r"data race", MEMBERS),
)
MEMCHECK = of(
    "memcheck",
    ("weights behind the last example stay unset", "src/kernels/rows.h",
     "for (ptrdiff_t i = m; i < padded; i++)\n        w[i] = 0;", ";",
     r"Conditional jump or move depends on uninitialised", []),
    ("a tail reads one value beyond its end", "src/kernels/vector.h",
     "return (vec) MM(maskload)(p, (__m256i) FN(vfirst)(n));",
     "return (vec) MM(maskload)(p, (__m256i) FN(vfirst)(n + 1));",
     r"Invalid read", []),
    ("weights are padded beyond the end of the workspace", "src/kernels/rows.h",
     "for (ptrdiff_t i = m; i < padded; i++)", "for (ptrdiff_t i = m; i <= padded; i++)",
     r"Invalid write", []),
    ("the rows of X are given back before they are read", "src/_backprop.pyx",
     "        own.m = m = own.data.X.n\n",
     "        PyBuffer_Release(&own.views[0])\n        own.m = m = own.data.X.n\n        own.open[0] = False\n",
     r"Invalid read.*(\n.*)*free'd", []),
)
BUGS = ADDRESS + UNDEFINED + THREAD + MEMCHECK
ISA = "avx2"


def plant(bug, tree):
    """Write the bug into the tree -> a function that removes it"""
    path = Path(tree) / bug.file
    before = path.read_text()
    if before.count(bug.old) != 1:
        raise ValueError(f"{bug.name}: {bug.file} holds its place {before.count(bug.old)} times, not once")
    path.write_text(before.replace(bug.old, bug.new))
    return lambda: path.write_text(before)


def run(bug, tree):
    """The reports of the tool for the present tree"""
    if bug.tool == "memcheck":
        return memcheck.run(tree, ISA)
    command = ["-c", bug.tests] if isinstance(bug.tests, str) else [*sanitize.PYTEST, *bug.tests]
    return sanitize.run(tree, bug.tool, ISA, command, first_only=True, capture_output=True)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tool", nargs="*", default=["address", "undefined", "thread", "memcheck"])
    parser.add_argument("--only", default="", metavar="TEXT", help="bugs whose name holds the text")
    arguments = parser.parse_args()
    missed = tried = 0
    for tool in arguments.tool:
        bugs = [bug for bug in BUGS if bug.tool == tool and arguments.only in bug.name]
        with tempfile.TemporaryDirectory() as folder:
            how = {"FASTBP_DEBUG": "1"} if tool == "memcheck" else {"FASTBP_SANITIZE": tool}
            build = trees.Build(folder, ISA, **how)
            tree = build.tree
            clean = {}      # results by tests, without a bug
            for bug in bugs:
                if str(bug.tests) not in clean:
                    clean[str(bug.tests)] = run(bug, tree)
            for bug in bugs:
                mend = plant(bug, tree)
                if not build.again(bug.file):
                    raise RuntimeError(f"{bug.name}: it does not compile")
                text = run(bug, tree)
                mend()
                quiet = not clean[str(bug.tests)].strip()
                found = bool(re.search(bug.report, text))
                missed += not (found and quiet)
                tried += 1
                said = "found" if found else "MISSED" if not text.strip() else "MISSED, but reported"
                said += "" if quiet else ", and the tree without it is not clean"
                first = next(iter(sanitize.summaries(text)), text.strip()[:300])
                print(f"{tool}: {bug.name}: {said}\n    {first}", flush=True)
    print(f"{missed} of {tried} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
