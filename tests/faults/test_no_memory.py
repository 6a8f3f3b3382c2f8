"""Every allocation fails once, with a MemoryError: reading changes nothing, and training ends at a whole step.

no_memory.py has the operations and the checks after each failure; failing_malloc.c makes allocations of the C library
fail. Python's allocations are those of its allocators (pymalloc and raw), which include NumPy's buffers.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from children import PATH

import fastbp
from fastbp.files import container
from fastbp.training.steps import Steps

pytest.importorskip("_testcapi", reason="this Python comes without _testcapi.set_nomemory")
HERE = Path(__file__).parent
CORE = [
    "predict", "predict a row", "accumulate", "cost_and_gradient", "save", "load", "step", "epoch",
    "epoch of single examples", "epoch by two threads", "train",
]
REST = ["activations", "deltas", "evaluate", "check_gradient", "copy", "pickle", "Network", "Standardise",
        "epoch with dropout", "train with all", "train with checkpoints", "restore", "minimize", "forward", "backward",
        "jacobian", "gradients", "gradient_norms", "hessian_product", "curvature", "levenberg-marquardt"]
ESTIMATORS = ["fit", "partial_fit"] if importlib.util.find_spec("sklearn") else []


def trials(kind, stride, operations, timeout=100, **environment):
    """(tried, MemoryErrors) in all"""
    unmeasured = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", HERE / "no_memory.py", kind, str(stride), *operations],
        capture_output=True, text=True, timeout=timeout, check=False,
        env={**unmeasured, "PYTHONPATH": PATH, **environment},
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    print(done.stdout)
    counts = re.findall(r"(\d+) tried, (\d+) MemoryErrors", done.stdout)
    assert len(counts) == len(operations)
    assert all(int(failures) > 0 for _, failures in counts), done.stdout
    return [sum(int(each) for each in column) for column in zip(*counts, strict=True)]


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """The environment of a process whose malloc can be made to fail, also for Python's own objects"""
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


def test_a_checksum_for_which_there_is_no_memory_is_no_damaged_file(tmp_path, monkeypatch):
    """hashlib turns it into a ValueError, the base class of FormatError"""
    path, net = tmp_path / "net", fastbp.Network([3, 2], seed=0)
    fastbp.save(path, net)

    def fails(data=b""):
        raise ValueError("[digital envelope routines] initialization error")

    monkeypatch.setattr(container.hashlib, "sha256", fails)
    for call in (lambda: fastbp.load(path), lambda: fastbp.save(path, net.copy(np.float32))):
        with pytest.raises(MemoryError, match=r"SHA-256: .*initialization error"):
            call()
    monkeypatch.undo()
    assert fastbp.load(path).dtype == np.float64


def test_a_trainer_is_restored_whole_or_not_at_all(tmp_path, monkeypatch):
    X, y = np.ones((4, 3)), np.array([0, 1, 1, 0])

    def trainer(rate, steps):
        made = fastbp.Trainer(fastbp.Network([3, 2], output="softmax", seed=0), fastbp.Adam(rate), weight_decay=rate)
        for _ in range(steps):
            made.step(X, y)
        return made

    trainer(0.1, 3).save(tmp_path / "trainer")
    one, twin = trainer(0.2, 1), trainer(0.2, 1)
    become, calls = Steps._become, []

    def interrupted(self, fit):
        calls.append(1)
        become(self, fit)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Steps, "_become", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.restore(tmp_path / "trainer")
    assert (one.optimizer, one.weight_decay, one.state["t"]) == (twin.optimizer, 0.2, 1)
    for each in (one, twin):
        each.step(X, y)
    assert one.net.theta.tobytes() == twin.net.theta.tobytes()


@pytest.mark.slow
def test_each_allocation_of_pythons_may_fail_once():
    tried, failures = trials("python", 1, CORE + REST + ESTIMATORS, timeout=1500)
    print(f"{tried} allocations of Python's tried, {failures} MemoryErrors, none did damage")


@pytest.mark.slow
def test_each_allocation_of_the_c_library_may_fail_once(preloaded):
    tried, failures = trials("malloc", 1, CORE + REST + ESTIMATORS, timeout=1500, **preloaded)
    print(f"{tried} allocations of the C library tried, {failures} MemoryErrors, none did damage")
