"""The targets of tools/wheels.py for other machines."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import musl_python
from steps import HERE, INSTALLED, Outcome, Steps, glibc_flags

KERNELS = [str(HERE / "src" / "kernels" / f"{name}.c") for name in ("baseline", "avx2", "avx512", "dispatch")]
FLAGS = ["-std=gnu11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi", f"-I{HERE / 'src' / 'kernels'}"]
BITS, JOBS = (str(HERE / "tests" / name) for name in ("kernel_bits.c", "crew_jobs.c"))
ZIG = [sys.executable, "-m", "ziglang", "cc"]
WINE = ("/usr/lib/wine/wine64", "/usr/bin/wine64", "/usr/bin/wine")

# Debian 12's packages of arm64's Python 3.11 and its libraries
DEBS = [
    "libc6", "libc-bin", "libgcc-s1", "libstdc++6", "zlib1g", "libssl3", "libffi8", "libbz2-1.0", "liblzma5",
    "libsqlite3-0", "libexpat1", "libuuid1", "libcrypt1", "libreadline8", "libtinfo6", "libncursesw6", "libdb5.3",
    "libnsl2", "libtirpc3", "libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal", "python3.11",
    "libpython3.11-dev",
]
CORE = [f"test_{name}.py" for name in (
    "instruction_sets", "kernels", "files", "published", "golden_trainings", "network", "gradient", "trainer",
)]


def arm64(steps: Steps) -> list[Outcome]:
    """manylinux_2_17 aarch64 for Python 3.11, by Debian's cross compiler, tested with arm64's Python under qemu."""
    steps.need("aarch64-linux-gnu-gcc", "qemu-aarch64-static", "auditwheel", "patchelf", "apt-get", "dpkg-deb")
    if sys.version_info[:2] != (3, 11):
        raise SystemExit("arm64: start it with Python 3.11, the one of Debian 12's arm64")
    _arm64_system(steps)
    raw, compiler = steps.built or steps.fresh("raw"), "aarch64-linux-gnu-gcc"
    if not steps.built:
        _build_arm64(steps, raw, compiler)
    wheel = steps.repaired(next(raw.glob("*_aarch64.whl")), "manylinux_2_17_aarch64")
    outcomes = [_same_bits(steps, wheel.name, [compiler, "-static"], ["qemu-aarch64-static"])]
    site = steps.fresh("site-packages")
    packages = steps.root / "packages"
    for each in [*packages.glob("*.whl"), wheel]:
        steps.run(sys.executable, "-m", "zipfile", "-e", each, site)
    own = steps.fresh("bin") / "python"     # it also starts child processes
    system = steps.root / "system"
    own.write_text(f'#!/bin/sh\nexec qemu-aarch64-static -L "{system}" "{system}/usr/bin/python3.11" "$@"\n')
    own.chmod(0o755)
    of_arm64 = {"PYTHONHOME": f"{system}/usr", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(site)}
    said = steps.run(own, INSTALLED, **of_arm64)
    outcomes.append(Outcome(wheel.name, "run", f"selftest under qemu: {said.strip()}"))
    if steps.core:
        program = f"import sys; sys.executable = {str(own)!r}; import pytest; sys.exit(pytest.main())"
        outcomes.append(_core(steps, wheel, [own, "-c", program], **of_arm64))
    return outcomes


def _build_arm64(steps: Steps, raw: Path, compiler: str) -> None:
    """A wheel in `raw`, made by the cross compiler."""
    include = steps.root / "system" / "usr" / "include"
    host = steps.fresh("host")
    steps.run(sys.executable, "-m", "venv", host)
    steps.run(host / "bin" / "pip", "install", "-q", "setuptools>=77", "cython>=3.1", "numpy>=2.0", "scipy>=1.11",
              "wheel")
    steps.run(
        host / "bin" / "python", "setup.py", "-q", "bdist_wheel", "-d", raw, cwd=steps.tree(), CC=compiler,
        LDSHARED=f"{compiler} -shared", _PYTHON_HOST_PLATFORM="linux-aarch64",
        SETUPTOOLS_EXT_SUFFIX=".cpython-311-aarch64-linux-gnu.so",
        CFLAGS=f"-I{include}/python3.11 -idirafter {include} {glibc_flags('aarch64')}",
    )


def _core(steps: Steps, wheel: Path, pytest: list[object], **variables: str) -> Outcome:
    """Run the core of the tests with the installed wheel."""
    begun, busy = steps.now(), steps.busy()
    said = steps.run(*pytest, "-q", "-p", "no:cacheprovider", *CORE, cwd=steps.tree() / "tests", accept=(0, 1),
                     **variables)
    print(said[-4000:], file=sys.stderr)
    passed = said.strip().splitlines()[-1]
    state = "run" if re.search(r"\d+ passed", passed) and not re.search("failed|error", passed) else "FAILED"
    return Outcome(wheel.name, state, f"core of the tests: {passed}; {steps.took(begun, busy)}")


def _arm64_system(steps: Steps) -> None:
    """arm64's Python and its packages, once."""
    system, packages, debs = (steps.root / name for name in ("system", "packages", "debs"))
    if (system / "usr" / "bin" / "python3.11").exists() and packages.is_dir():
        return
    for place in (system, debs, steps.root / "lists" / "partial", steps.root / "archives" / "partial"):
        place.mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "-q", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64",
           "-o", f"Dir::State::Lists={steps.root / 'lists'}", "-o", f"Dir::Cache::Archives={steps.root / 'archives'}",
           "-o", "Dir::State::status=/dev/null"]
    steps.run(*apt, "update")
    steps.run(*apt, "download", *DEBS, cwd=debs)
    for each in debs.glob("*.deb"):
        steps.run("dpkg-deb", "-x", each, system)
    steps.run(
        sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "--python-version", "3.11",
        "--platform", "manylinux_2_28_aarch64", "--platform", "manylinux_2_27_aarch64",
        "--platform", "manylinux2014_aarch64", "-d", packages,
        "numpy", "scipy", "threadpoolctl", "pytest", "hypothesis",
    )


def musl(steps: Steps) -> list[Outcome]:
    """musllinux_1_2 x86-64 by zig. With --musl a Python for musl builds it, imports it and runs the selftest."""
    steps.need("ziglang", "auditwheel", "patchelf", *(["musl-gcc"] if steps.musl else []))
    raw, target = steps.fresh("raw"), "x86_64-linux-musl"
    compiler = " ".join([*ZIG, "-target", target])
    by_zig = {"CC": compiler, "LDSHARED": f"{compiler} -shared"}
    wheel_of = ["-m", "pip", "wheel", "-q", "--no-deps", "-w", raw]
    if steps.musl:
        own = _musl_python(steps, *musl_python.BUILD)
        steps.run(own, *wheel_of, "--no-build-isolation", steps.tree(), **by_zig)
    else:
        steps.run(sys.executable, *wheel_of, steps.tree(), **by_zig,
                  SETUPTOOLS_EXT_SUFFIX=f".cpython-3{sys.version_info[1]}-{target}.so")
    wheel, opened = next(raw.glob("*.whl")), steps.fresh("opened")
    steps.run(sys.executable, "-m", "wheel", "unpack", "-d", opened, wheel)
    for library in opened.rglob("*.so"):    # zig gives musl's libc a name that no system has
        steps.run("patchelf", "--replace-needed", "libc.so", "libc.musl-x86_64.so.1", library)
    wheel.unlink()
    steps.run(sys.executable, "-m", "wheel", "pack", "-d", raw, next(opened.iterdir()))
    wheel = steps.repaired(next(raw.glob("*.whl")), musl_python.PLATFORM)
    built = Outcome(wheel.name, "only built", "a Python of musl imports it: --musl")
    return [*(_in_musl(steps, wheel) if steps.musl else [built]),
            _same_bits(steps, "its kernels", [*ZIG, "-target", target, "-static"], []),
            _jobs(steps, "its crews", [*ZIG, "-target", target, "-static"], [])]


def _musl_python(steps: Steps, *packages: str) -> Path:
    """The Python of a fresh environment for musl, with these packages."""
    assert steps.musl
    python, place = musl_python.build(steps.musl), steps.fresh("venv")
    steps.run(python, "-m", "venv", place)
    steps.run(place / "bin" / "python", *musl_python.install(steps.musl, *packages))
    return place / "bin" / "python"


def _in_musl(steps: Steps, wheel: Path) -> list[Outcome]:
    """Run the wheel in a Python for musl: the selftest and, with --core, the core of the tests."""
    own = _musl_python(steps, *musl_python.RUN, *(musl_python.TEST if steps.core else ()))
    steps.run(own, "-m", "pip", "install", "-q", "--no-index", wheel)
    said = steps.run(own, INSTALLED, PATH=str(own.parent)).strip().replace("\n", "; ")
    outcomes = [Outcome(wheel.name, "run", f"selftest by musl {said}")]
    if steps.core:
        outcomes.append(_core(steps, wheel, [own, "-m", "pytest"]))
    return outcomes


def windows(steps: Steps) -> list[Outcome]:
    """Kernels and crews of x86-64 by mingw-w64 and zig, run under wine."""
    steps.need("x86_64-w64-mingw32-gcc", "ziglang", "cc")
    wine = next((name for name in WINE if Path(name).exists()), None)
    outcomes = []
    for name, compiler, libraries in (
        ("mingw-w64", ["x86_64-w64-mingw32-gcc", "-Wa,-muse-unaligned-vector-move", "-D_WIN32_WINNT=0x0602"],
         ["-lsynchronization"]),
        ("zig", [*ZIG, "-target", "x86_64-windows-gnu"], ["-lapi-ms-win-core-synch-l1-2-0"]),
    ):
        runner = None if wine is None else [wine]
        outcomes += [_same_bits(steps, f"Windows kernels, {name}", compiler, runner, libraries),
                     _jobs(steps, f"Windows crews, {name}", compiler, runner, libraries)]
    return outcomes


def macos(steps: Steps) -> list[Outcome]:
    """Kernels and crews of arm64 and x86-64, linked by zig. Nothing runs them here."""
    steps.need("ziglang")
    outcomes = []
    for target in ("aarch64-macos", "x86_64-macos"):
        compiler = [*ZIG, "-target", target]
        outcomes += [_same_bits(steps, f"{target} kernels", compiler, None),
                     _jobs(steps, f"{target} crews", compiler, None)]
    return outcomes


def _same_bits(
    steps: Steps, what: str, compiler: list[str], runner: list[str] | None, libraries: Sequence[str] = (),
) -> Outcome:
    """Do the kernels have the same bits as those of this machine? NEON has the bits of avx512."""
    place = steps.fresh("bits")
    steps.run(*compiler, *FLAGS, BITS, *KERNELS, "-o", place / "bits.exe", *_last(compiler, libraries))
    if runner is None:
        return Outcome(what, "only built", "nothing runs it here")
    if not (compiled := steps.work / "own").exists():
        steps.run("cc", *FLAGS, BITS, *KERNELS, "-o", compiled, "-lm")
    own = dict(line.split() for line in steps.run(compiled).splitlines())
    found = dict(line.split() for line in steps.run(*runner, place / "bits.exe", **_quiet(steps)).splitlines())
    if "aarch64" in compiler[0]:
        own, found = {"NEON": own.get("avx512", "")}, {"NEON": found["baseline"]}
    for name in found.keys() & own.keys():
        if found[name] != own[name] and own[name]:
            raise SystemExit(f"{what}: {name} has the bits {found[name]}, this machine {own[name]}")
    return Outcome(what, "run", f"same bits: {', '.join(found)}")


def _jobs(
    steps: Steps, what: str, compiler: list[str], runner: list[str] | None, libraries: Sequence[str] = (),
) -> Outcome:
    """The threads of crews, by tests/crew_jobs.c."""
    place = steps.fresh("jobs")
    steps.run(*compiler, *FLAGS, "-D_GNU_SOURCE", JOBS, "-o", place / "jobs.exe", *_last(compiler, libraries))
    if runner is None:
        return Outcome(what, "only built", "nothing runs it here")
    return Outcome(what, "run", steps.run(*runner, place / "jobs.exe", **_quiet(steps)).strip())


def _last(compiler: list[str], libraries: Sequence[str]) -> list[str]:
    return [*libraries] if libraries or "macos" in compiler[-1] else ["-lm", "-lpthread"]


def _quiet(steps: Steps) -> dict[str, str]:
    return {"WINEPREFIX": os.environ.get("WINEPREFIX", str(steps.work / "wine")), "WINEDEBUG": "-all"}
