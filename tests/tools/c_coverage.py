"""Coverage of the compiled core: lines of src/*.pyx and *.pxd, branches of src/kernels/*.h, by gcov.

    python tests/tools/c_coverage.py

A copy of the tree is built with FASTBP_COVERAGE=1 in a temporary folder (--keep FOLDER: in this one; --report: report
earlier runs there), and its tests run for every instruction set of this processor, one after the other. A line is
covered if one copy of it ran: a kernel is compiled twice per instruction set, a fused function twice per module. A
branch is covered if it was taken in one copy; copies have the same name without _f32 and _f64. Exit status 1 if
something is left that EXCLUDED does not name.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import trees
from sanitize import HERE, ISAS, available

TIMELESS = "not ctrl_c_leaves_large and not import_is_quick"    # which take longer without optimisation
# file -> regular expression of the source line -> why the line or its branches cannot be reached
CLOSED = "the sets of names.h are closed: no other code comes here"
SET_UP = "no statement: Cython's set-up of the module counts as this line where a builtin or a constant cannot be made"
EXCLUDED = {
    "src/_backprop.pyx": {r"^\)$|^$": SET_UP},
    "src/_calls.pyx": {r"^$|^@final$": SET_UP},
    "src/_epoch.pyx": {r"^$|^@final$": SET_UP},
    "src/_kernels.pyx": {r"^double (usual|below)$|^cdef rows_t rows$": SET_UP},
    "src/kernels/activations.h": {r"^switch": CLOSED},
    "src/kernels/dispatch.c": {r"__builtin_cpu_supports": "one processor has what it has"},
    "src/kernels/finite.h": {
        r"^for \(j = 0; j < n": "a value of this row is not fine: it never ends by itself, unless the owner changes it",
    },
    "src/kernels/losses.h": {r"^switch|^return 0;$": CLOSED},
    "src/kernels/outputs.h": {r"^switch": CLOSED},
}


def run(tree, isas, tests):
    trees.build(tree, FASTBP_COVERAGE="1")
    for counts in Path(tree).rglob("*.gcda"):
        counts.unlink()
    status = 0
    for isa in isas:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        status |= trees.run(tree, command, {"FASTBP_ISA": isa}).returncode
    # without FASTBP_ISA: the choice of the best
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_package.py", "-k", TIMELESS]
    return status | trees.run(tree, command).returncode


def functions(tree):
    """The report of gcov for each compiled file"""
    for notes in sorted(Path(tree).rglob("*.gcno")):
        command = ["gcov", "--json-format", "--stdout", "--branch-probabilities", notes]
        done = trees.run(tree, command, capture_output=True)
        for text in done.stdout.splitlines():
            yield from json.loads(text)["files"]


def collect(tree):
    """{file: {line: times}}, {(file, line, function, number of branches): [times]}"""
    lines, branches = defaultdict(lambda: defaultdict(int)), {}
    for each in functions(tree):
        name = each["file"] if "/" in each["file"] else f"src/{each['file']}"      # Cython's names are short
        if not name.startswith("src/") or not (Path(tree) / name).exists():
            continue
        for line in each["lines"]:
            lines[name][line["line_number"]] += line["count"]
            counts = [branch["count"] for branch in line["branches"]]
            if counts:
                function = re.sub(r"_f(32|64)$", "", line.get("function_name", ""))
                key = name, line["line_number"], function, len(counts)
                before = branches.get(key, [0] * len(counts))
                branches[key] = [a + b for a, b in zip(before, counts, strict=True)]
    return lines, branches


def report(tree):
    """Print the places that are not covered -> the number of those that are not excluded"""
    lines, branches = collect(tree)
    left = 0
    for name in sorted(lines):
        source = (Path(tree) / name).read_text().splitlines()
        counted = [number for number in lines[name] if number <= len(source)]
        missing = [number for number in sorted(counted) if not lines[name][number]]
        taken = total = 0
        open_branches = []
        if name.startswith("src/kernels/"):
            for (file, number, function, _), counts in sorted(branches.items()):
                if file == name:
                    total, taken = total + len(counts), taken + sum(map(bool, counts))
                    if not all(counts):
                        open_branches.append((number, function, counts))
        print(f"{name}: {len(counted) - len(missing)} of {len(counted)} lines, {taken} of {total} branches")
        for number, said in [(n, "never ran") for n in missing] + [(n, f"{f}: {c}") for n, f, c in open_branches]:
            text = source[number - 1].strip()
            why = next((why for pattern, why in EXCLUDED.get(name, {}).items() if re.search(pattern, text)), None)
            left += why is None
            print(f"    {number}: {text[:90]}  [{said}]" + (f"  excluded: {why}" if why else ""))
    return left


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--isa", nargs="+", default=available(), choices=ISAS)
    parser.add_argument("--keep", metavar="FOLDER")
    parser.add_argument("--report", metavar="FOLDER")
    arguments, given = trees.arguments(parser)
    tests = given or [f"tests/{name}" for name in trees.CORE + trees.TOGETHER + trees.NAMED] + [
        "-k", f"{HERE} and {TIMELESS}"
    ]
    with tempfile.TemporaryDirectory() as temporary:
        tree, status = arguments.report or arguments.keep or temporary, 0
        if not arguments.report:
            status = run(trees.copy(tree), arguments.isa, tests)
        left = report(tree)
    print(f"{left} places are neither covered nor excluded; pytest ended with {status}")
    return 1 if left or status else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
