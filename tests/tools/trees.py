"""Copies of this tree, each in a folder of its own and built its own way, and commands run in them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# all that call the compiled core directly
CORE = [
    f"test_{name}.py"
    for name in (
        "arrays", "core_edges", "dropout", "extremes", "gradient", "kernels", "large", "losses", "loop", "network",
        "optimizers", "regularisation", "standardise", "trainer", "trainer_state", "training",
    )
]
# the rest of what reaches it: rules, published values, refusals
NAMED = [f"test_{name}.py" for name in ("checks", "package", "published", "rules", "settings")]
# threads, forks, Ctrl-C
TOGETHER = ["test_processes.py"]


def files():
    """What git knows or would take in; everything but builds where there is no git"""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file() and path.suffix != ".so")
    return [str(path) for path in found if path.parts[0] not in (".venv", "build", "dist")]


def copy(folder):
    """This tree, uncommitted changes included, in the folder"""
    for name in files():
        target = Path(folder) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return Path(folder)


def environment(tree):
    """In which the tree's fastbp comes before any other"""
    return os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


def run(tree, command, more=None, **options):
    """The command in the tree, with the tree's fastbp before any other; more: variables of the environment"""
    return subprocess.run(
        [str(each) for each in command], cwd=tree, check=False, text=True, env=environment(tree) | (more or {}),
        **options,
    )


def build(tree, **more):
    """The extensions of the tree, in place; what the compiler printed"""
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = run(tree, command, more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"the build failed:\n{done.stdout[-5000:]}")
    return done.stdout


def runtime(name):
    """The compiler's shared library of this name, such as libasan.so"""
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()
