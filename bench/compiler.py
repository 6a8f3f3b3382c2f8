"""C compiled on the fly by the system's compiler, for this machine."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "build" / "bench"
PORTABLE_AVX2 = ("-march=x86-64-v3", "-mtune=native")


def compiler():
    """Return the system's C compiler; ImportError without one."""
    found = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise ImportError("no C compiler (cc, gcc or clang)")
    return found


def version():
    """Return the first line of the compiler's version."""
    return subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def march():
    """Return the flags for this machine's processor, or for AVX2 if the run is held to it."""
    return PORTABLE_AVX2 if os.environ.get("FASTBP_ISA") == "avx2" else ("-march=native",)


def library(source, *flags):
    """Return the shared library of a C text, -O3 for this machine; compiled once for each text and flags.

    It is linked without the flags: -ffast-math would switch off subnormal numbers for the whole process.
    """
    command = [compiler(), "-O3", *march(), *flags, "-fPIC", "-c", "-x", "c", "-"]
    name = hashlib.sha256("\0".join([version(), cpu(), *command, source]).encode()).hexdigest()[:16]
    path = FOLDER / f"{name}.so"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{os.getpid()}")
        part = made.with_suffix(f"{made.suffix}.o")
        for each, given in (([*command, "-o", str(part)], source),
                            ([compiler(), "-shared", str(part), "-lm", "-o", str(made)], None)):
            done = subprocess.run(each, input=given, capture_output=True, text=True)
            if done.returncode:
                raise ImportError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1]}")
        part.unlink()
        made.replace(path)
    return ctypes.CDLL(str(path))


def cpu():
    """Return the properties on which -march=native depends: several machines may share the folder."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
