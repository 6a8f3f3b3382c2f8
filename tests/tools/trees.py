"""Copies of this tree, each in its own folder and built in its own way, and commands run in them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# all tests that call the compiled core directly
CORE = [
    f"test_{name}.py"
    for name in (
        "arrays", "core_edges", "dropout", "entries", "entries_kept", "extremes", "feed", "gradient", "kernels",
        "large", "losses", "loop", "network", "optimizers", "regularisation", "standardise", "trainer",
        "trainer_state", "training",
    )
]
# other tests that reach it: rules, published values, refusals
NAMED = [f"test_{name}.py" for name in ("checks", "package", "published", "rules", "settings")]
# threads, forks, Ctrl-C
TOGETHER = [f"test_{name}.py" for name in ("processes", "crew", "crew_kept", "entries_ranges")]


def files():
    """The files that git tracks or would add; without git, everything except builds"""
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


def arguments(parser):
    """(the parsed command line, the arguments of pytest after --, which replace the usual tests)"""
    parser.epilog = "Behind -- : arguments of pytest, instead of the tests of the compiled core."
    line = sys.argv[1:]
    at = line.index("--") if "--" in line else len(line)
    return parser.parse_args(line[:at]), line[at + 1 :]


def environment(tree):
    """The environment in which the tree's fastbp comes before any other"""
    return os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


def run(tree, command, more=None, **options):
    """The command in the tree, with the tree's fastbp before any other; more: variables of the environment"""
    return subprocess.run(
        [str(each) for each in command], cwd=tree, check=False, text=True, env=environment(tree) | (more or {}),
        **options,
    )


def build(tree, **more):
    """Build the extensions of the tree in place; returns the compiler's output"""
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = run(tree, command, more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"the build failed:\n{done.stdout[-5000:]}")
    return done.stdout


def runtime(name):
    """The compiler's shared library of this name, such as libasan.so"""
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def cimported(path):
    """The module of a Cython file, and everything that it cimports, recursively"""
    found, todo = set(), [path]
    while todo:
        path = todo.pop()
        found.add(path.stem)
        for each in {path, path.with_suffix(".pxd")}:
            names = re.findall(r"^from (_\w+) cimport", each.read_text(), re.M) if each.exists() else []
            todo += [path.with_name(f"{name}.pxd") for name in names if name not in found]
    return found


class Build:
    """A copy of the tree, built once with `environment`. After a change only the parts that it concerns are built
    again, for one instruction set, with further compiler options."""

    def __init__(self, folder, isa, options=(), **environment):
        self.tree, self.isa, self._options, self._environment = copy(folder), isa, options, environment
        self._stale = set()
        commands = [shlex.split(line) for line in build(self.tree, **environment).splitlines()
                    if line.startswith("gcc ")]
        self._compile = {Path(each[each.index("-c") + 1]).stem: each for each in commands if "-c" in each}
        linked = [each for each in commands if "-shared" in each]
        self._link = {Path(each[each.index("-o") + 1]).name.split(".")[0]: each for each in linked}

    def again(self, name):
        """Rebuild the parts that a change of this file concerns, and those of the change before; returns False if it
        does not compile"""
        concerned = self._concerned(name)
        todo, self._stale = self._stale | concerned, concerned
        cython = [sys.executable, "setup.py", "-q", "--version"]    # which only translates changed files
        if todo - {("_kernels", self.isa)} and self._fails(cython):
            return False
        for module, file in sorted(todo):
            if self._fails([*self._compile[file], *self._options]) or self._fails(self._link[module]):
                return False
            built = self._link[module][self._link[module].index("-o") + 1]
            target = self.tree / "fastbp" / Path(built).name
            target.unlink(missing_ok=True)
            shutil.copy2(self.tree / built, target)
        return True

    def _fails(self, command):
        return run(self.tree, command, self._environment, capture_output=True).returncode != 0

    def _concerned(self, name):
        """(module, C file) that a change of this file concerns"""
        if name.endswith(".py"):
            return set()
        # the .pxd files that include a header of src/kernels/; the kernels include the others
        by = {"team.h": "_backprop", "crew.h": "_crew", "park.h": "_crew"}.get(Path(name).name)
        if name.startswith("src/kernels/") and by is None:
            return {("_kernels", self.isa)}
        module = by or Path(name).stem
        return {(path.stem, path.stem) for path in (self.tree / "src").glob("*.pyx") if module in cimported(path)}
