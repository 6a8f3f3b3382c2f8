"""docs/guarantees.md: each promise names existing tests."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROMISES = [
    line for line in (HERE.parent / "docs" / "guarantees.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]


def missing(text):
    """The tests named in a text that do not exist"""
    named = re.findall(r"([\w/]+\.py)::(test_\w+)", text)
    return [f"{file}::{name}" for file, name in named
            if not (HERE / file).exists() or not re.search(rf"^def {name}\(", (HERE / file).read_text(), re.MULTILINE)]


@pytest.mark.parametrize("line", PROMISES, ids=lambda line: re.sub(r"\W+", "-", line[2:60]))
def test_a_promise_is_kept_by_tests_that_are_there(line):
    assert "::" in line
    assert not missing(line)


def test_a_test_that_is_not_there_would_be_missed():
    assert len(PROMISES) > 20
    assert missing("test_guarantees.py::test_no_such, no_such.py::test_x") == [
        "test_guarantees.py::test_no_such", "no_such.py::test_x"]
