"""Cython compiles src/*.pyx without performance hints, and without Python in the loops that run without the GIL.
Constants that src/ repeats agree with fastbp/."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastbp.engine import plan
from fastbp.engine.plan import Plan

SOURCE = Path(__file__).parents[1] / "src"
RELEASE = ["boundscheck=False", "wraparound=False", "initializedcheck=False", "nonecheck=False", "cdivision=True"]
LINE = re.compile(r'<pre class="cython line score-(\d+)"[^>]*>\+?<span class="">0*(\d+)</span>')

CALLER = """

cdef void caller(few_t *few, const double *theta, const examples_t *data, double *D) noexcept:
    objective(few, theta, data, 1, 1, 0, D, D)
    outputs(few, theta, data, 1, D)
"""     # Cython leaves out unused functions


def nogil_lines(source):
    """Line numbers inside `with nogil:` blocks and inside functions that are declared nogil"""
    lines, found, depth, header = source.splitlines(), set(), None, ""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        indent = len(line) - len(line.lstrip())
        if depth is not None and indent <= depth and not text.startswith(")"):
            depth = None
        if depth is not None:
            found.add(number)
        header = f"{header} {text}" if header else text if text.startswith(("cdef ", "def ")) else ""
        if header and header.endswith(":"):
            if header.endswith("nogil:") and depth is None:
                depth = indent
            header = ""
        if text == "with nogil:":
            depth = indent
    return found


def constant(file, name):
    """The number of an enum of src/"""
    found, = re.findall(rf"^    {name} = ([\d <]+)", (SOURCE / file).read_text(), re.M)
    return eval(found)


def test_the_largest_layer_is_the_same_in_the_core_as_in_the_plan():
    assert constant("_checked.pxd", "LARGEST_LAYER") == plan.BLAS_LIMIT


def test_a_large_network_is_the_same_in_the_core_as_in_the_plan():
    """Layers of exactly CACHED weights and of one more, and networks with 16 CACHED weights in all layers together"""
    source = (SOURCE / "_checked.pxd").read_text()
    assert constant("_backprop.pxd", "CACHED") == plan.CACHED == 2**18
    core, = re.findall(r"if p\.s\[l\] \* p\.s\[l - 1\] > CACHED or total > (\d+) \* CACHED:", source)
    assert core == "16"
    for sizes, large in (([512, 512], False), ([2**18 + 1, 1], True), ([512] * 17, False), ([512] * 17 + [1], True)):
        assert Plan(sizes, "relu", "identity", "squared_error").large is large


@pytest.mark.parametrize("path", [*sorted(SOURCE.glob("*.pyx")), SOURCE / "_few.pxd"], ids=lambda path: path.name)
def test_loops_without_the_gil_hold_no_python(path, tmp_path):
    """_few.pxd has the loops of _calls.pyx. Cython annotates no .pxd, so a copy of it is compiled as a module"""
    pytest.importorskip("Cython", reason="Cython is needed to look at what it generates; it comes with the extra dev")
    (tmp_path / "_blas_int.pxd").write_text("ctypedef int blas_int\n")
    if path.suffix == ".pxd":
        copy = tmp_path / f"{path.stem}_alone.pyx"
        copy.write_text(path.read_text() + CALLER)
        path = copy
    command = [sys.executable, "-m", "cython", "-3", "--annotate", "-I", SOURCE, "-I", tmp_path, "-o",
               tmp_path / "module.c", *(argument for directive in RELEASE for argument in ("-X", directive)),
               "--module-name", f"fastbp.{path.stem}", path]
    run = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "performance hint" not in run.stderr.lower(), run.stderr
    scores = {int(number): int(score) for score, number in LINE.findall((tmp_path / "module.html").read_text())}
    inside = nogil_lines(path.read_text())
    assert len(scores) > 20
    assert {number: scores[number] for number in inside if scores.get(number)} == {}
    if path.stem not in ("_kernels", "_calls", "_curvature"):   # these have no such loops, they only call them
        assert len(inside) > 8


def test_the_check_sees_python_in_a_loop():
    source = "def f(x):\n    with nogil:\n        a = 1\n        b = 2\n    return x\n\n"
    source += "cdef int g(\n    int x\n) noexcept nogil:\n    return x\n"
    assert nogil_lines(source) == {3, 4, 10}
