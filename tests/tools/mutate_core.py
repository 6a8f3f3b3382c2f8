"""Mutation testing of the compiled core: operators, constants, offs by one and lost statements in src/.

    python tests/tools/mutate_core.py                           # a random sample of 150 mutants
    python tests/tools/mutate_core.py panels.h --sample 0       # all of this file

Each mutant is one change in a copy of the tree, which the tests of its file must notice. Only the parts that it
concerns are built again, with -O1 and for the instruction set --isa (avx2). Prints the survivors and the numbers of
killed and of all mutants; exit status 1 if one survived that EXPLAINED does not name.
"""

import argparse
import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import trees

SOURCES = {     # the file under src/ -> its tests, the likeliest to notice first
    "kernels/activations.h": ["losses", "gradient", "extremes", "kernels", "saturation"],
    "kernels/curvature.h": ["curvature"],
    "kernels/crew.h": ["crew", "crew_kept", "processes", "large"],
    "kernels/dropout.h": ["dropout"],
    "kernels/finite.h": ["core_edges", "checks", "arrays", "network", "trainer"],
    "kernels/losses.h": ["losses", "extremes", "gradient", "training", "rules", "saturation", "own_compiled"],
    "kernels/online.h": ["core_edges", "trainer", "training", "rules", "losses", "extremes", "regularisation"],
    "kernels/sweeps.h": ["core_edges", "trainer", "training", "rules", "losses", "extremes", "regularisation"],
    "kernels/outputs.h": ["outside", "network", "losses", "each"],
    "kernels/column.h": ["gradient", "core_edges", "arrays"],
    "kernels/panels.h": ["gradient", "network", "large", "losses", "trainer", "dropout", "core_edges"],
    "kernels/park.h": ["crew", "crew_kept", "processes"],
    "kernels/rows.h": ["core_edges", "gradient", "arrays", "training", "trainer", "checks"],
    "kernels/lend.h": ["calls", "arrays", "views", "entries_kept", "bool_bytes"],
    "kernels/team.h": ["core_edges", "processes", "large"],
    "kernels/turn.h": ["races", "entries_ranges"],
    "kernels/thread.h": ["crew_kept", "processes"],
    "kernels/windows_only.h": ["crew_kept"],    # compiled by none of them
    "kernels/update.h": ["rules", "optimizers", "regularisation", "gradient", "trainer"],
    "kernels/vector.h": ["kernels", "losses", "gradient", "network", "large", "training"],
    "kernels/vmath.h": ["kernels", "extremes", "losses"],
    "_as_numpy.pxd": ["calls"],
    "_backprop.pxd": [
        "core_edges", "gradient", "network", "dropout", "trainer", "large", "arrays", "training", "processes",
    ],
    "_backprop.pyx": ["core_edges", "network", "gradient", "arrays", "trainer", "large", "processes", "feed",
                      "entries", "entries_kept"],
    "_blas.pxd": ["gradient", "normal", "lm"],
    "_calls.pyx": ["calls", "prepared", "entries", "core_edges"],
    "_checked.pxd": ["entries", "entries_kept", "core_edges", "trainer", "large"],
    "_curvature.pyx": ["curvature", "entries"],
    "_curve.pxd": ["curvature"],
    "_curved.pxd": ["curvature"],
    "_crew.pxd": ["entries", "core_edges", "crew", "crew_kept", "processes", "large"],
    "_derivatives.pyx": ["outside", "outside_steps", "entries"],
    "_diagonal.pxd": ["diagonal", "diagonal_kept"],
    "_each.pyx": ["each", "entries"],
    "_lbfgs.pyx": ["lbfgs", "entries"],
    "_search.pxd": ["lbfgs"],
    "_linesearch.pxd": ["lbfgs"],
    "_epoch.pyx": [
        "core_edges", "trainer", "trainer_state", "rules", "training", "arrays", "optimizers", "large", "processes",
        "feed", "entries", "entries_kept", "permutation",
    ],
    "_few.pxd": ["calls", "core_edges"],
    "_held_out.pxd": ["stretch_best", "stretch"],
    "_kernels.pyx": ["core_edges", "kernels", "package", "checks", "losses", "arrays", "entries", "own_compiled"],
    "_memory.pxd": ["entries_kept", "entries"],
    "_norms.pxd": ["each"],
    "_normal.pyx": ["normal", "lm", "entries", "entries_ranges"],
    "_rows.pxd": ["each", "normal"],
    "_online.pxd": ["core_edges", "trainer"],
    "_outside.pxd": ["outside", "outside_steps", "each", "dropout", "own_losses"],
    "_ranges.pxd": ["core_edges", "entries", "crew", "network", "gradient", "arrays", "trainer", "large", "processes",
                    "outside", "each", "normal", "curvature"],
    "_rule.pxd": ["entries_kept", "core_edges", "rules", "optimizers", "regularisation", "trainer", "processes"],
    "_shuffle.pxd": ["permutation"],
    "_sources.pxd": ["prepared", "entries", "entries_kept", "core_edges", "arrays", "trainer", "large"],
    "_turn.pxd": ["races", "entries_ranges", "stretch"],
    "_steps.pxd": ["core_edges", "trainer", "trainer_state", "rules", "training", "optimizers", "large", "processes"],
    "_stretch.pyx": ["stretch", "many"],
    "_taken.pxd": ["calls", "bool_bytes", "trainer", "entries_kept"],
    "_update.pxd": ["core_edges", "rules", "regularisation", "optimizers", "trainer", "processes", "frozen",
                    "factors", "diagonal"],
}
CPU = 150
# pattern -> replacements
CHANGES = [(re.compile(pattern), new) for pattern, new in (
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "), (r" != ", " == "),
    (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " + "), (r" /+ ", " * "), (r" % ", " * "), (r" \+= ", " -= "),
    (r" -= ", " += "), (r" \*= ", " += "), (r" && ", " || "), (r" \|\| ", " && "), (r" and ", " or "),
    (r" or ", " and "),
    (r"\bnot ", ""), (r"!(?=\w)", ""), (r" & ", " | "), (r" \| ", " & "), (r" >> ", " << "), (r" << ", " >> "),
    (r"\bbreak\b", "continue"), (r"\bcontinue\b", "break"), (r"\bTrue\b", "False"), (r"\bFalse\b", "True"),
    (r"(?<![\w.\"])(\d+)(?![\w.\"])", lambda found: str(int(found[1]) + 1)),
    (r"(-?0x1\.?[0-9a-f]*p[+-]?\d+f?)", r"(\1 * 1.001f)"),
    (r"(?<![\w.])(\d+\.\d+)(?![\w.])", r"(\1 * 1.001)"),
    (r"^( +)(?!return|const|static|cdef|def|for|if|else|case|break|continue|goto|\w+ \*?\w+ = )"
     r"(\S[^{}=]* [-+*|&]?= .*;|FN\(.*;)( *\\)?$", r"\1;\3"),
)]
OF_AVX512 = "lanes that avx512 alone has, whose tests see it (--isa avx512)"
OF_BASELINE = "code of the baseline alone, whose tests see it (--isa baseline)"
# file -> regular expression of the changed line -> why no test can notice
EXPLAINED = {
    "_checked.pxd": {
        r"total >= 16 \* CACHED": "of one size alone, and how many panels at once changes no bit",
        r"float32 and float64": "a word of a message",
        r"total \+= p\.s\[l\] \* p\.s\[l \+ 1\]": "how many panels at once changes no bit",
    },
    "_epoch.pyx": {
        r"\+ VL - 1\) \* VL \* VL": "room that is not used",
    },
    "_sources.pxd": {
        r"float32, float64 and uint8": "a word of a message",
    },
    "_taken.pxd": {
        r"value < 1 << 54": "a larger whole number goes the other way, to the same double",
    },
    "_update.pxd": {
        r"total \+= \(p\.s\[l\] \+ UNITS - 1\) \* UNITS": "room for numbers that stay 0",
    },
    "kernels/activations.h": {
        r"for \(; i \+ VL < n; i \+= VL\)": "the tail does the same with a whole vector",
    },
    "kernels/dropout.h": {
        r"number\[\] = \{0, 1, 2, 3, 4, 5, 6, 7, (?!8, 9, 10, 11, 12, 13, 14, 15)": OF_AVX512,
    },
    "kernels/panels.h": {
        r"(\b(1[6-9]|2[0-4])\b.*){3}\* h": OF_AVX512,
    },
    "kernels/sweeps.h": {
        r"vec sum\[9\];": "room for a sum that is not made",
    },
    "kernels/team.h": {
        r"&team->cut, 2, ": "asked only whether it is 0",
    },
    "kernels/vector.h": {
        r"^    for \(int i = 1; i < VL; i\+\+\)$": OF_BASELINE,
        r"^    return ([ac] . [ab] . [bc]);$": OF_BASELINE,
    },
}


def code(source, name):
    """The lines without comments, docstrings and preprocessor directives other than #define"""
    blank = lambda found: re.sub(r"[^\n]", " ", found[0])  # noqa: E731
    if name.endswith(".h"):
        source = re.sub(r"/\*.*?\*/", blank, source, flags=re.S)
        return [re.sub(r"^ *#(?! *define).*|^ *#define \w+(\([^)]*\))?", blank, line) for line in source.splitlines()]
    source = re.sub(r'""".*?"""', blank, source, flags=re.S)
    lines = [re.sub(r"#.*", blank, line) for line in source.splitlines()]
    return [" " * len(line) if re.match(r"(from|import|cimport|    \w+, )", line) else line for line in lines]


def mutants(name):
    """[(line from 0, first, last column, replacement)]"""
    found = []
    for number, line in enumerate(code((trees.ROOT / "src" / name).read_text(), name)):
        for pattern, new in CHANGES:
            found += [(number, *each.span(), each.expand(new) if isinstance(new, str) else new(each))
                      for each in pattern.finditer(line)]
    return found


def passes(build, name):
    """Do the tests of this file pass, in at most CPU seconds? A mutant may never end."""
    tests = [f"tests/test_{each}.py" for each in SOURCES[name]]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        return trees.run(
            build.tree, command, {"FASTBP_ISA": build.isa}, timeout=600,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,    # a remaining child would hold a pipe open
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU)),
        ).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="names of files under src/, else all of them")
    parser.add_argument("--sample", type=int, default=150, help="mutants; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--isa", default="avx2")
    arguments = parser.parse_args()
    names = [name for name in SOURCES if not arguments.files or Path(name).name in arguments.files]
    drawn = [(name, *mutant) for name in names for mutant in mutants(name)]
    killed = born = left = 0
    sample = min(arguments.sample or len(drawn), len(drawn))
    sound = set()
    with tempfile.TemporaryDirectory() as folder:
        build = trees.Build(folder, arguments.isa, ["-O1"])
        for name, number, first, last, new in sorted(random.Random(arguments.seed).sample(drawn, sample)):
            if name not in sound:
                if not (build.again(f"src/{name}") and passes(build, name)):
                    raise RuntimeError(f"the tests of {name} fail without a mutant, or take more than {CPU} s")
                sound.add(name)
            path = build.tree / "src" / name
            source = path.read_text()
            lines = source.splitlines(keepends=True)
            before = lines[number]
            lines[number] = before[:first] + new + before[last:]
            path.write_text("".join(lines))
            compiles = build.again(f"src/{name}")
            survives = compiles and passes(build, name)
            path.write_text(source)
            born += compiles
            killed += compiles and not survives
            print(f"{killed} of {born} killed", file=sys.stderr, flush=True)
            if survives:
                patterns = EXPLAINED.get(name, {})
                why = next((patterns[each] for each in patterns if re.search(each, lines[number])), None)
                left += why is None
                print(f"    src/{name}:{number + 1}{f'  explained: {why}' if why else ''}",
                      f"        -{before.rstrip()}", f"        +{lines[number].rstrip()}", sep="\n", flush=True)
    print(f"{killed} of {born} killed, {sample - born} did not compile, of {len(drawn)} places; "
          f"{left} survivors without an explanation")
    return 1 if left else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
