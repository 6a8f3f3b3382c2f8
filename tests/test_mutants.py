"""The tools that test the tests match the sources: every module and file has its tests, and each seeded bug,
explanation and exception refers to existing code."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "tests" / "tools"


@pytest.fixture
def tool(monkeypatch):
    """Imports a tool by its name"""
    monkeypatch.syspath_prepend(TOOLS)
    yield importlib.import_module
    for path in TOOLS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def mutate_python(tool):
    return tool("mutate_python")


# ---------------------------------------------------------------- mutants of the Python layer


def test_every_module_of_the_package_is_mutated(mutate_python):
    package = ROOT / "fastbp"
    modules = {path.relative_to(package).with_suffix("").as_posix() for path in package.rglob("*.py")}
    assert len(modules) > 50
    assert modules == mutate_python.MODULES.keys()


def test_each_has_tests_that_are_there(mutate_python):
    for names in mutate_python.MODULES.values():
        assert names
        assert all((ROOT / "tests" / name).is_file() for name in names), names


def test_what_is_explained_is_a_line_of_that_module(mutate_python):
    for module, reasons in mutate_python.EXPLAINED.items():
        source = (ROOT / "fastbp" / f"{module}.py").read_text()
        for pattern, why in reasons.items():
            assert re.search(pattern.partition(" => ")[0], source, re.M), (module, pattern)
            assert why


def test_a_survivor_is_explained_by_its_line_and_by_what_became_of_it(mutate_python, monkeypatch):
    monkeypatch.setitem(mutate_python.EXPLAINED, "engine/checks", {r"a < b => a <= b": "they are never equal"})
    assert mutate_python.explanation("engine/checks", ["-    if a < b:", "+    if a <= b:"]) == "they are never equal"
    for module, lines in [("engine/checks", ["-    if a < b:", "+    if a > b:"]),
                          ("engine/checks", ["-    a + b", "+    a <= b"]),
                          ("engine/data", ["-    if a < b:", "+    if a <= b:"])]:
        assert mutate_python.explanation(module, lines) is None


def test_a_change_is_the_lines_that_differ(mutate_python):
    assert mutate_python.change("a\nb\nc\n", "a\nB\nc\n") == ["-b", "+B"]


# ---------------------------------------------------------------- mutants of the compiled core


def test_every_file_of_the_core_that_computes_is_mutated(tool):
    files = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.*")}
    lists = {f"kernels/{name}" for name in ("body.h", "isa.h", "kernels.h", "lists.h", "names.h", "system.h")}
    once = {f"kernels/{name}.c" for name in ("avx2", "avx512", "baseline", "dispatch")}     # they include the rest
    assert tool("mutate_core").SOURCES.keys() == files - lists - once - {"_kernels.pxd"}    # declarations


def test_each_file_of_the_core_has_tests_that_are_there(tool):
    for names in tool("mutate_core").SOURCES.values():
        assert names
        assert all((ROOT / "tests" / f"test_{name}.py").is_file() for name in names), names


def test_what_is_explained_of_the_core_is_one_of_its_mutants(tool):
    mutate_core = tool("mutate_core")
    for name, reasons in mutate_core.EXPLAINED.items():
        lines = (ROOT / "src" / name).read_text().splitlines()
        mutated = [lines[n][:first] + new + lines[n][last:] for n, first, last, new in mutate_core.mutants(name)]
        for pattern in reasons:
            assert any(re.search(pattern, line) for line in mutated), (name, pattern)


# ---------------------------------------------------------------- sanitizers, coverage


def test_every_seeded_bug_can_be_planted_in_its_file_and_taken_out_again(tool, tmp_path):
    seeded_bugs = tool("seeded_bugs")
    assert len(seeded_bugs.BUGS) > 20
    for bug in seeded_bugs.BUGS:
        path, source = tmp_path / bug.file, (ROOT / bug.file).read_text()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        mend = seeded_bugs.plant(bug, tmp_path)
        assert path.read_text() != source
        mend()
        assert path.read_text() == source


def test_the_tests_of_a_seeded_bug_are_there(tool):
    for bug in tool("seeded_bugs").BUGS:
        if isinstance(bug.tests, str):
            compile(bug.tests, bug.name, "exec")
            continue
        files = [ROOT / name for name in bug.tests if name.endswith(".py")]
        named = bug.tests[bug.tests.index("-k") + 1] if "-k" in bug.tests else "test_"
        assert all(re.search(rf"^def test_\w*{named}|^def {named}", path.read_text(), re.M) for path in files), bug.name


def test_the_program_of_memcheck_runs_without_valgrind(tool):
    command = [sys.executable, "-c", tool("memcheck").SHORT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.endswith("done\n"), done.stderr


def test_tests_of_the_core_are_there_and_exceptions_of_its_coverage_are_lines(tool):
    trees = tool("trees")
    assert all((ROOT / "tests" / name).is_file() for name in trees.CORE + trees.NAMED + trees.TOGETHER)
    for name, reasons in tool("c_coverage").EXCLUDED.items():
        lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
        for pattern in reasons:
            assert any(re.search(pattern, line) for line in lines), (name, pattern)
