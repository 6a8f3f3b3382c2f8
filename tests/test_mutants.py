"""The mutation testing of the Python layer looks at every module, and its explanations are of lines that are there."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tests" / "tools" / "mutate_python.py"


@pytest.fixture
def mutate_python(monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    specification = importlib.util.spec_from_file_location("mutate_python", TOOL)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.modules.pop("trees", None)


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
    monkeypatch.setitem(mutate_python.EXPLAINED, "checks", {r"a < b => a <= b": "they are never equal"})
    assert mutate_python.explanation("checks", ["-    if a < b:", "+    if a <= b:"]) == "they are never equal"
    for module, lines in [("checks", ["-    if a < b:", "+    if a > b:"]), ("checks", ["-    a + b", "+    a <= b"]),
                          ("data", ["-    if a < b:", "+    if a <= b:"])]:
        assert mutate_python.explanation(module, lines) is None


def test_a_change_is_the_lines_that_differ(mutate_python):
    assert mutate_python.change("a\nb\nc\n", "a\nB\nc\n") == ["-b", "+B"]
