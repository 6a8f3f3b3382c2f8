"""The extensions of fastbp; everything else about the package stands in pyproject.toml.

FASTBP_DEBUG=1         bounds checks, assertions, no optimisation, annotated HTML beside build/cython/*.c
FASTBP_SANITIZE=LIST   -fsanitize=LIST for every extension, e.g. address,undefined
FASTBP_COVERAGE=1      counts of gcov, lines of the .pyx as lines of their own (tests/tools/c_coverage.py)
"""

import os
from pathlib import Path

import scipy.linalg
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTBP_DEBUG", "") not in ("", "0")
SANITIZE = os.environ.get("FASTBP_SANITIZE", "")
COVERAGE = os.environ.get("FASTBP_COVERAGE", "") not in ("", "0")
BUILD = Path("build") / "cython"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": False,
    "embedsignature": True,
}
# -ffp-contract=off: FMA stands where it is written, so that tails and bodies give the same bits.
# These come behind Python's own flags, which hold -fwrapv and -DNDEBUG.
COMPILE = ["-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi"] + (
    ["-O0", "-g", "-UNDEBUG", "-fno-wrapv"] if DEBUG or SANITIZE or COVERAGE else ["-O3", "-g0"]
)
LINK = []
if SANITIZE:
    COMPILE += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-O1"]
    LINK += [f"-fsanitize={SANITIZE}"]

if COVERAGE:    # every function stays one of its own
    COMPILE += ["--coverage", "-fprofile-update=atomic", "-Dalways_inline=unused"]
    LINK += ["--coverage"]

KERNELS = ["baseline", "avx2", "avx512", "dispatch"]


def blas_integer():
    """Write build/cython/_blas_int.pxd: the integer type of this SciPy's BLAS (its own name from 1.18 on)."""
    declarations = (Path(scipy.linalg.__file__).parent / "cython_blas.pxd").read_text()
    named = "blas_int" in declarations
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "_blas_int.pxd").write_text(
        "from scipy.linalg.cython_blas cimport blas_int\n" if named else "ctypedef int blas_int\n"
    )


def extension(name, *c_files):
    headers = [str(path) for path in sorted(Path("src/kernels").glob("*.h"))]
    return Extension(
        f"fastbp.{name}",
        [f"src/{name}.pyx", *c_files],
        include_dirs=["src/kernels"],
        depends=headers + [str(path) for path in sorted(Path("src").glob("*.pxd"))],
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
    )


blas_integer()
setup(
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        [
            extension("_kernels", *(f"src/kernels/{name}.c" for name in KERNELS)),
            extension("_backprop"),
            extension("_epoch"),
            extension("_calls"),
            extension("_derivatives"),
            extension("_each"),
        ],
        include_path=["src", str(BUILD)],
        build_dir=str(BUILD),
        compiler_directives=DIRECTIVES,
        annotate=DEBUG,
        emit_linenums=COVERAGE,
    )
)
