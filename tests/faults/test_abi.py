"""A built fastbp works with any NumPy. Its compiled modules do not call NumPy's C interface. They read two of its
structures, and only fields that every version has in the same place."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import fastbp

NAMES = (
    "_kernels", "_backprop", "_calls", "_curvature", "_derivatives", "_each", "_epoch", "_lbfgs", "_normal", "_stretch",
)
MODULES = [sys.modules[f"fastbp.{name}"] for name in NAMES]
SOURCES = Path(__file__).parents[2] / "src"
STRUCTURES = {"lend.h": ["numpy/ndarraytypes.h"], "_shuffle.pxd": ["numpy/random/bitgen.h"]}     # the headers they use
WORKS = """
import numpy, scipy, fastbp
print(numpy.__version__, scipy.__version__)
X, y = fastbp.datasets.load_digits()
net = fastbp.Network([64, 20, 10], output="softmax", dtype="f4", seed=0)
history = fastbp.train(net, X / 16, y, epochs=3, seed=0, validation_split=0.1, metrics=["accuracy"], dropout=0.1)
fastbp.minimize(net, X / 16, y, maxiter=5)
fastbp.save("net", net)
assert (fastbp.load("net").theta == net.theta).all()
report = fastbp.selftest()
assert net.evaluate(X / 16, y).accuracy > 0.5
print("works")
"""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_fault_51_no_compiled_module_asks_for_numpys_c_interface(module):
    """The interface has tables and structure sizes that change between versions: "numpy.dtype size changed" """
    binary = Path(module.__file__).read_bytes()
    for name in (b"_ARRAY_API", b"_multiarray_umath", b"numpy.core.multiarray", b"size changed, may indicate"):
        assert name not in binary
    assert b"scipy.linalg.cython_blas" in binary or module.__name__ != "fastbp._backprop"


@pytest.mark.skipif(not SOURCES.is_dir(), reason="the sources are not here")
def test_fault_51_no_source_cimports_numpy():
    files = [*SOURCES.rglob("*.py*"), *SOURCES.rglob("*.h"), *SOURCES.rglob("*.c")]
    assert len(files) > 20
    for file in files:
        text = file.read_text()
        assert not re.search(r"cimport numpy|arrayobject|import_array|PyArray_API", text), file
        assert re.findall(r"numpy/[\w/.]+", text) == STRUCTURES.get(file.name, []), file
    fields = set(re.findall(r"(?:dtype|descr)->(\w+)", (SOURCES / "kernels/lend.h").read_text()))
    assert fields == {"byteorder", "type_num"}      # those after them have moved in NumPy 2


@pytest.mark.slow
@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_fault_51_the_same_build_works_with_the_oldest_and_the_newest_numpy(which, tmp_path):
    """Installs them with pip"""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    wanted = ["numpy==1.25.*", "scipy==1.11.*"] if which == "oldest" else ["numpy", "scipy"]
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    got = subprocess.run([*pip, *wanted, "threadpoolctl"],
                         capture_output=True, text=True, check=False)
    if got.returncode:
        pytest.skip(f"pip cannot install {wanted}: {got.stderr[-300:]}")
    package = Path(fastbp.__file__).parents[1]
    # its metadata is next to the package or in the site-packages of this interpreter
    places = [str(package), *(path for path in sys.path if list(Path(path).glob("fastbp-*.dist-info")))]
    (tmp_path / "path").mkdir()
    for place in places:
        for found in (*Path(place).glob("fastbp"), *Path(place).glob("fastbp*-info")):
            if not (tmp_path / "path" / found.name).exists():
                (tmp_path / "path" / found.name).symlink_to(found)
    done = subprocess.run([python, "-c", WORKS], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(tmp_path / "path")}, timeout=300)
    print(done.stdout)
    assert done.stdout.endswith("works\n"), done.stderr[-3000:]
