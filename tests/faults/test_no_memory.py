"""Every allocation fails once: a MemoryError, what only reads leaves everything as it was, what trains is at a step.

The operations, and what is looked at after each failure, stand in no_memory.py; failing_malloc.c lets those of the C
library fail. Python's are those of its allocators (pymalloc and raw), NumPy's buffers among them.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from children import HELPERS

pytest.importorskip("_testcapi", reason="this Python comes without _testcapi.set_nomemory")
HERE = Path(__file__).parent
CORE = [
    "predict", "predict a row", "accumulate", "cost_and_gradient", "save", "load", "step", "epoch",
    "epoch of single examples", "epoch by two threads", "train",
]
REST = ["activations", "deltas", "evaluate", "check_gradient", "copy", "pickle", "Network", "Standardise",
        "epoch with dropout", "train with all", "train with checkpoints", "restore", "minimize"]
ESTIMATORS = ["fit", "partial_fit"] if importlib.util.find_spec("sklearn") else []


def trials(kind, stride, operations, timeout=100, **environment):
    """(tried, MemoryErrors) in all"""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", HERE / "no_memory.py", kind, str(stride), *operations],
        capture_output=True, text=True, timeout=timeout, check=False,
        env={**os.environ, "PYTHONPATH": HELPERS, **environment},
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    print(done.stdout)
    counts = re.findall(r"(\d+) tried, (\d+) MemoryErrors", done.stdout)
    assert len(counts) == len(operations)
    assert all(int(failures) > 0 for _, failures in counts), done.stdout
    return [sum(int(each) for each in column) for column in zip(*counts, strict=True)]


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """The environment of a process whose malloc can be made to fail, Python's own objects included"""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or platform.libc_ver()[0] != "glibc":
        pytest.skip("needs a C compiler and glibc")
    library = tmp_path_factory.mktemp("malloc") / "failing_malloc.so"
    built = subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, HERE / "failing_malloc.c"], check=False)
    if built.returncode:
        pytest.skip("the compiler makes no shared library")
    return {"LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc"}


def test_an_allocation_of_pythons_that_fails_is_a_memory_error_and_no_damage():
    assert trials("python", 5, CORE)[1] > 100


def test_an_allocation_of_the_c_library_that_fails_is_a_memory_error_and_no_damage(preloaded):
    assert trials("malloc", 7, CORE, **preloaded)[1] > 100


@pytest.mark.slow
def test_each_allocation_of_pythons_may_fail_once():
    tried, failures = trials("python", 1, CORE + REST + ESTIMATORS, timeout=1500)
    print(f"{tried} allocations of Python's tried, {failures} MemoryErrors, none did damage")


@pytest.mark.slow
def test_each_allocation_of_the_c_library_may_fail_once(preloaded):
    tried, failures = trials("malloc", 1, CORE + REST + ESTIMATORS, timeout=1500, **preloaded)
    print(f"{tried} allocations of the C library tried, {failures} MemoryErrors, none did damage")
