"""The extensions of fastbp; everything else about the package stands in pyproject.toml.

FASTBP_DEBUG=1         bounds checks, assertions, no optimisation, annotated HTML beside build/cython/*.c
FASTBP_SANITIZE=LIST   -fsanitize=LIST for every extension, e.g. address,undefined
FASTBP_COVERAGE=1      counts of gcov, lines of the .pyx as lines of their own (tests/tools/c_coverage.py)
"""

import os
import re
import sys
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import Cython
import numpy
import scipy.linalg
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

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
    "freethreading_compatible": True,
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

if sys.platform == "win32":     # GCC or clang of mingw-w64; the kernels are written in their vectors
    # the stack of Windows is aligned to 16 bytes; GCC moves 32 and 64 as if it were aligned to these
    COMPILE += ["-DMS_WIN64", "-D_WIN32_WINNT=0x0602", "-Wa,-muse-unaligned-vector-move"]
    LINK += ["-lsynchronization", "-static"]

if COVERAGE:    # every function stays one of its own
    COMPILE += ["--coverage", "-fprofile-update=atomic", "-Dalways_inline=unused"]
    LINK += ["--coverage"]

KERNELS = ["baseline", "avx2", "avx512", "dispatch"]


def blas_integer():
    """Write build/cython/_blas_int.pxd: the integer type of this SciPy's BLAS, which has a name from 1.18 on, and the
    settings of the build. Return whether the file has changed: then everything is built again."""
    declarations = (Path(scipy.linalg.__file__).parent / "cython_blas.pxd").read_text()
    named = "blas_int" in declarations
    text = "from scipy.linalg.cython_blas cimport blas_int\n" if named else "ctypedef int blas_int\n"
    text += f"# Cython {Cython.__version__}, {' '.join([*COMPILE, *LINK])}, {DIRECTIVES}\n"
    path = BUILD / "_blas_int.pxd"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text() == text:      # untouched: it keeps its date
        return False
    path.write_text(text)
    return True


class BuildFilesTogether(build_ext):
    """Compile the C files of an extension in parallel, as `parallel` does with extensions. An editable build reuses its
    object files."""

    def run(self):
        if self.editable_mode:      # its own folder is deleted after the build
            self.build_lib = str(Path("build") / f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}")
        super().run()

    def build_extensions(self):
        alone = self.compiler.compile

        def together(sources, *arguments, **settings):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                built = pool.map(lambda source: alone([source], *arguments, **settings), sources)
                return [path for paths in built for path in paths]

        self.compiler.compile = together
        super().build_extensions()


def readme():
    """README.md for an index, which has none of our files: links go to Source of [project.urls], if that is there."""
    text = Path("README.md").read_text(encoding="utf-8")
    source = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {}).get("Source")
    return re.sub(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s]+)\)",
                  lambda link: f"{link[1]}[{link[2]}]({source}/blob/main/{link[3]})" if source else link[2], text)


def extension(name, *c_files):
    headers = [str(path) for path in sorted(Path("src/kernels").glob("*.h"))]
    return Extension(
        f"fastbp.{name}",
        [f"src/{name}.pyx", *c_files],
        include_dirs=["src/kernels", numpy.get_include()],
        depends=headers + [str(path) for path in sorted(Path("src").glob("*.pxd"))],
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
    )


setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    cmdclass={"build_ext": BuildFilesTogether},
    options={"build_ext": {"parallel": os.cpu_count(), **({"compiler": "mingw32"} if sys.platform == "win32" else {})}},
    ext_modules=cythonize(
        [
            extension("_kernels", *(f"src/kernels/{name}.c" for name in KERNELS)),
            extension("_backprop"),
            extension("_epoch"),
            extension("_stretch"),
            extension("_calls"),
            extension("_derivatives"),
            extension("_each"),
            extension("_curvature"),
            extension("_normal"),
            extension("_lbfgs"),
        ],
        include_path=["src", str(BUILD)],
        build_dir=str(BUILD),
        compiler_directives=DIRECTIVES,
        annotate=DEBUG,
        force=blas_integer(),
        emit_linenums=COVERAGE,
        nthreads=os.cpu_count() if sys.platform == "linux" else 0,      # elsewhere each process would run this file
    )
)
