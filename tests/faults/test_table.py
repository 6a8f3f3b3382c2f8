"""docs/faults.md accounts for every fault: by existing tests with its number in their names, or by a reason."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAULTS = [*range(1, 65), *range(66, 73), *range(75, 82), 170, 171, 190, 191]
ROW = re.compile(r"\| (\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", re.MULTILINE)


def table(text):
    """{number: (what happens here, [test ids])}"""
    rows = ROW.findall(text)
    assert len(rows) == len({number for number, *_ in rows}), "a number stands twice"
    return {int(number): (here, re.findall(r"[\w/]+\.py::test_\w+", tests)) for number, _, here, tests in rows}


TABLE = table((TESTS.parent / "docs" / "faults.md").read_text())


@cache
def functions(file):
    """Names of the tests of a file, as pytest collects them"""
    path = TESTS / file
    tree = ast.parse(path.read_text()) if path.exists() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def wrong(number, rows):
    """The error in the line of a fault, or None"""
    if number not in rows:
        return "there is no line"
    here, tests = rows[number]
    if not tests:
        return None if "cannot apply: " in here else "neither a test nor a reason"
    for test in tests:
        file, name = test.split("::")
        if name not in functions(file):
            return f"{test} is not there"
        if not name.startswith(f"test_fault_{number}_"):
            return f"{test} does not carry the number"
    return None


@pytest.mark.parametrize("number", FAULTS)
def test_every_fault_has_a_test_with_its_number_or_a_reason(number):
    assert wrong(number, TABLE) is None


def test_every_test_of_a_fault_has_a_known_number():
    files = [path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")]
    names = {name for file in files for name in functions(file)}
    numbers = {int(name.split("_")[2]) for name in names if re.match(r"test_fault_\d", name)}
    assert numbers <= set(FAULTS)
    assert len(numbers) >= 51


def test_lines_that_are_wrong_are_found():
    here = "faults/test_table.py::test_lines_that_are_wrong_are_found"
    rows = table("| 3 | a | b | |\n| 4 | a | b | no.py::test_fault_4_x |\n| 5 | a | cannot apply: c | |\n"
                 f"| 6 | a | b | {here} |")
    assert [wrong(number, rows) for number in (2, 3, 4, 5, 6)] == [
        "there is no line", "neither a test nor a reason", "no.py::test_fault_4_x is not there", None,
        f"{here} does not carry the number",
    ]
