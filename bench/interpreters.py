"""The Python for each peer: this one, or its own environment below build/bench, made when it is first needed."""

import shutil
import subprocess
import sys
from pathlib import Path

from .compiler import FOLDER

# A second release of a library: its module, its environment, and what pip installs.
OLD_JAX = "peer_jax_0_4"
ENVIRONMENTS = {OLD_JAX: ("jax-0.4.31", ("jax==0.4.31", "jaxlib==0.4.31"))}
NOT_UNDERSTOOD = {OLD_JAX: ("XLA_FLAGS",)}  # cannot be held to AVX2, and fails at the flag
SLOWEST_PIP = 600  # s


def python(module, say=print):
    """Return the interpreter of a peer's module; ImportError if its environment cannot be made."""
    if module not in ENVIRONMENTS:
        return sys.executable
    name, packages = ENVIRONMENTS[module]
    folder = FOLDER / name
    if not (folder / "complete").exists():
        say(f"making the environment of {' '.join(packages)} in {folder} (once)")
        make(folder, packages)
    return str(folder / "bin" / "python")


def make(folder, packages):
    """Make a virtual environment with these packages; remove it if that fails."""
    try:
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages])
    except (OSError, subprocess.SubprocessError, ImportError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ImportError(f"no environment with {' '.join(packages)}: {error}") from None
    Path(folder, "complete").touch()


def run(command):
    """Run a command; ImportError with its last line if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SLOWEST_PIP)
    if done.returncode:
        raise ImportError((done.stderr or done.stdout).strip().splitlines()[-1])
