"""A CPython 3.13 for musl libc, in which `tools/wheels.py musl --musl FOLDER` runs the wheel: no package index has one.

musl-gcc (`apt-get install musl-tools`) builds it from Debian's sources of python3.13, zlib and libffi, once, in about
5 minutes; everything stays in FOLDER. It has no OpenSSL, so the other Python fetches the files for pip.
"""

import subprocess
import sys
from pathlib import Path

from free_threaded import fetch, run

CC = """#!/bin/sh
# musl-gcc gives the name of glibc
[ "$1" = --print-multiarch ] && echo x86_64-linux-musl || exec musl-gcc "$@"
"""
PLATFORM = "musllinux_1_2_x86_64"
RUN = ("numpy", "scipy", "threadpoolctl")
BUILD = ("numpy", "scipy", "cython>=3.1", "setuptools>=77", "wheel")
TEST = ("pytest", "hypothesis", "mpmath")


def build(folder: Path) -> Path:
    """The interpreter, built if necessary."""
    python, libraries, compiler = folder / "python" / "bin" / "python3.13", folder / "libraries", folder / "cc"
    if python.exists():
        return python
    folder.mkdir(parents=True, exist_ok=True)
    compiler.write_text(CC)
    compiler.chmod(0o755)
    position = {"CC": str(compiler), "CFLAGS": "-O2 -fPIC"}
    zlib, libffi = (fetch(folder / "sources", name, name, "bookworm") for name in ("zlib", "libffi"))
    source = fetch(folder)
    run("./configure", "--static", f"--prefix={libraries}", cwd=zlib, log=folder / "zlib.log", **position)
    run("make", "-j2", "install", cwd=zlib, log=folder / "zlib.log")
    run("./configure", "-q", "--disable-shared", "--disable-docs", "--disable-multi-os-directory",
        "--disable-exec-static-tramp", f"--prefix={libraries}", cwd=libffi, log=folder / "libffi.log", **position)
    run("make", "-j2", "install", cwd=libffi, log=folder / "libffi.log")
    run("./configure", "-q", f"--prefix={folder / 'python'}", "--with-ensurepip=install", "--disable-test-modules",
        "--without-static-libpython", f"CC={compiler}", "CFLAGS=-O2", f"CPPFLAGS=-I{libraries / 'include'}",
        f"LDFLAGS=-L{libraries / 'lib'}", "PKG_CONFIG=false", cwd=source, log=folder / "configure.log")
    run("make", "-j2", cwd=source, log=folder / "make.log")
    run("make", "altinstall", "COMPILEALL_OPTS=-x /", cwd=source, log=folder / "install.log")    # compiles no .pyc
    return python


def install(folder: Path, *names: str) -> list[str]:
    """Arguments with which that interpreter installs these packages: the Python that runs this fetches them first."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "--python-version", "3.13",
                    "--platform", PLATFORM, "-d", folder / "packages", *names], check=True)
    return ["-m", "pip", "install", "-q", "--no-index", "--find-links", str(folder / "packages"), *names]
