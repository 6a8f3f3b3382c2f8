"""The tests of the compiled core under a sanitizer.

    python tests/tools/sanitize.py address,undefined
    python tests/tools/sanitize.py thread --isa avx2 -- tests/test_processes.py -k fault_14

For each sanitizer a copy of the tree is built with FASTBP_SANITIZE in a temporary folder (--keep FOLDER: below this
one, and used again), and its tests run for every instruction set of this processor. Two sanitizers are two runs: with
libasan loaded, GCC's libubsan ignores log_path, and pytest captures its output. Exit status 1 if a test fails or a
sanitizer reports anything, even in a child process: reports go to files, so no test can hide them.

Python, NumPy and SciPy are not instrumented. The thread sanitizer sees locks of pthreads and semaphores, the only kinds
in CPython 3.11; OpenBLAS, whose threads meet by other means, is held to one thread. Nothing is suppressed.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import trees
from trees import CORE, TOGETHER

# for other runs: instruction sets have separate runs here, and the sanitizers' memory would be counted too
HERE = "not every_instruction_set and not memory_map_is_read_where_it_lies"
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
ISAS = ("avx512", "avx2", "baseline")


def environment(sanitizer, logs, first_only=False):
    """Reports in files logs/report.*; an address error ends the process, others only with first_only"""
    to = f"log_path={logs}/report"
    if sanitizer == "thread":
        return {
            "LD_PRELOAD": trees.runtime("libtsan.so"), "OPENBLAS_NUM_THREADS": "1",
            # CPython takes its locks in any order, under the GIL
            "TSAN_OPTIONS": f"{to}:exitcode=0:die_after_fork=0:history_size=5:detect_deadlocks=0"
                            f":halt_on_error={first_only:d}",
        }
    if sanitizer == "undefined":
        return {
            "LD_PRELOAD": trees.runtime("libubsan.so"),
            "UBSAN_OPTIONS": f"{to}:print_stacktrace=1:halt_on_error={first_only:d}",
        }
    return {
        # leaks: at exit CPython leaves objects from its start
        "ASAN_OPTIONS": f"{to}:detect_leaks=0:detect_stack_use_after_return=1",
        "LD_PRELOAD": trees.runtime("libasan.so"), "PYTHONMALLOC": "malloc",
    }


def reports(logs):
    """The reports of the sanitizers"""
    return "\n".join(path.read_text(errors="replace") for path in sorted(Path(logs).glob("report*")))


def summaries(text):
    """The summary line of each report"""
    return re.findall(r"^(?:SUMMARY: .*|\S+: runtime error: .*)$", text, re.M)


def built(folder, sanitizer):
    """A copy of the tree in the folder, with earlier build results"""
    tree = trees.copy(Path(folder) / sanitizer)
    trees.build(tree, FASTBP_SANITIZE=sanitizer)
    return tree


def run(tree, sanitizer, isa, command, first_only=False, **options):
    """A command of Python in the tree, ["-m", "pytest", ...] -> its exit status and the reports"""
    with tempfile.TemporaryDirectory() as logs:
        variables = environment(sanitizer, logs, first_only) | {"FASTBP_ISA": isa}
        done = trees.run(tree, [sys.executable, *command], variables, **options)
        return done.returncode, reports(logs)


def available():
    from fastbp import _kernels

    return [isa for isa in ISAS if isa in _kernels.available]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sanitizers", help="address, undefined, thread, or several with commas between")
    parser.add_argument("--isa", nargs="+", default=available(), choices=ISAS)
    parser.add_argument("--keep", metavar="FOLDER")
    arguments, given = trees.arguments(parser)
    tests = given or [f"tests/{name}" for name in CORE + TOGETHER] + ["-k", HERE]
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        for sanitizer in arguments.sanitizers.split(","):
            tree = built(arguments.keep or temporary, sanitizer)
            for isa in arguments.isa:
                status, text = run(tree, sanitizer, isa, [*PYTEST, *tests])
                found = summaries(text)
                print(text, *[f"{sanitizer}, {isa}: pytest ended with {status}, {len(found)} reports", *found],
                      sep="\n", flush=True)
                bad += status != 0 or bool(text.strip())
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
