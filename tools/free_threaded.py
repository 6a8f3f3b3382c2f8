"""The free-threaded CPython 3.13, and fastbp in it without the GIL.

    python tools/free_threaded.py FOLDER build          # the interpreter from Debian's source, packages, fastbp
    python tools/free_threaded.py FOLDER core           # the core of the suite
    python tools/free_threaded.py FOLDER races SECONDS  # the finder of races, tests/races.py
    python tools/free_threaded.py FOLDER scaling        # two threads over predict and train of separate networks

Debian's package client fetches the source (python3.13 of trixie) without changing the system's own lists; a compiler
and the headers of zlib, libffi and OpenSSL must be installed. All other files stay in FOLDER: FOLDER/tree is a copy of
this tree, which every command updates, compiles and works in. An interrupted `build` can be resumed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
           "http://deb.debian.org/debian {} main\n")
PACKAGES = ["numpy<2.5", "scipy<1.18", "scikit-learn<1.9", "threadpoolctl", "cython>=3.1", "setuptools>=77", "pytest",
            "pytest-xdist", "hypothesis", "pandas", "cloudpickle", "mpmath", "matplotlib", "tqdm", "rich", "numpydoc"]
CORE = ["test_kernels", "test_gradient", "test_calls", "test_core_edges", "test_network", "test_trainer",
        "test_trainer_state", "test_training", "test_rules", "test_outside", "test_outside_steps", "test_each",
        "test_curvature", "test_crew", "test_crew_kept", "test_processes", "test_published", "test_files",
        "test_golden_trainings", "test_many", "test_stretch", "test_lbfgs", "test_full_batch", "test_lm",
        "test_laplace", "test_races", "test_one_thread", "faults/test_threads", "faults/test_signals"]

SCALING = """
import sys, threading, time
import numpy as np
import fastbp

assert not sys._is_gil_enabled()
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((2000, 64)).astype("f4"), rng.integers(0, 10, 2000)
nets = [fastbp.Network([64, 100, 10], activation="relu", output="softmax", dtype="f4", seed=i) for i in range(2)]
copies = [X.copy(), X.copy()]
WORK = {
    "predict of a row": lambda i: [nets[i].predict(copies[i][k]) for k in range(2000) for _ in range(10)],
    "predict of 2000 rows": lambda i: [nets[i].predict(copies[i]) for _ in range(150)],
    "train": lambda i: fastbp.train(nets[i], copies[i], Y, optimizer="adam", epochs=60, batch_size=32, n_threads=1),
}

def seconds(members, work):
    barrier, began = threading.Barrier(members + 1), []
    def go(i):
        barrier.wait()
        work(i)
    threads = [threading.Thread(target=go, args=(i,)) for i in range(members)]
    for each in threads:
        each.start()
    barrier.wait()
    begin = time.perf_counter()
    for each in threads:
        each.join()
    return time.perf_counter() - begin

for name, work in WORK.items():
    work(0), work(1)
    tries = [(seconds(1, work), seconds(2, work)) for _ in range(12)]
    one, two = (min(each) for each in zip(*tries))
    print(f"{name:24}{1e3 * one:9.2f} ms alone{1e3 * two:9.2f} ms by two threads, each as much: {2 * one / two:.2f}")
"""


def run(*command, cwd=None, log=None, **environment):
    """Run a command, with its output in a log if given; exit if it fails."""
    with open(log or os.devnull, "w", encoding="utf-8") as file:
        done = subprocess.run([str(each) for each in command], cwd=cwd, env={**os.environ, **environment}, check=False,
                              stdout=file if log else None, stderr=subprocess.STDOUT if log else None)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed" + (f", see {log}" if log else ""))


def fetch(folder, package="python3.13", into="source", suite="trixie"):
    """Debian's source of a package, unpacked"""
    source = folder / into
    if (source / "configure").exists():
        return source
    apt = folder / "apt"
    for each in (apt / "lists" / "partial", apt / "cache" / "archives" / "partial", source):
        each.mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(SOURCES.format(suite))
    options = [f"-oDir::Etc::SourceList={apt / 'sources.list'}", "-oDir::Etc::SourceParts=/dev/null",
               f"-oDir::State::Lists={apt / 'lists'}", f"-oDir::Cache={apt / 'cache'}"]
    run("apt-get", "-qq", *options, "update")
    run("apt-get", "-qq", *options, "source", "--download-only", package, cwd=folder)
    run("tar", "xf", next(folder.glob(f"{package}_*.orig.tar.?z")), "--strip-components=1", "-C", source)
    return source


def copied(folder):
    """Copy this tree in its present state; unchanged files keep their dates and are not compiled again"""
    tree, listed = folder / "tree", subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True,
        check=False, text=True).stdout.split("\0")
    names = {name for name in listed if name and (ROOT / name).is_file()}
    if not names:       # outside a checkout, as in an sdist
        names = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file() and not (
            {"build", "__pycache__", ".venv"} & set(path.relative_to(ROOT).parts) or path.suffix == ".so")}
    for path in tree.rglob("*") if tree.exists() else ():   # files that no longer exist here
        name = path.relative_to(tree).as_posix()
        if path.is_file() and name not in names and path.suffix != ".so" and not name.startswith("build/"):
            path.unlink()
    for name in names:
        own, other = tree / name, ROOT / name
        if not own.exists() or own.read_bytes() != other.read_bytes():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(other, own)
    return tree


def compiled(folder):
    """The copy with its compiled modules"""
    tree = copied(folder)
    run(folder / "venv" / "bin" / "python", "setup.py", "-q", "build_ext", "--inplace", cwd=tree,
        log=folder / "fastbp.log")
    return tree


def build(folder):
    """The interpreter, the packages, and this fastbp"""
    python, source = folder / "python" / "bin" / "python3.13t", fetch(folder)
    if not python.exists():
        run("./configure", "-q", "--disable-gil", f"--prefix={folder / 'python'}", "--with-ensurepip=install",
            "CFLAGS=-O2", cwd=source, log=folder / "configure.log")
        run("make", "-j2", cwd=source, log=folder / "make.log")
        run("make", "altinstall", "COMPILEALL_OPTS=-x /", cwd=source, log=folder / "install.log")   # compiles no .pyc
    own = folder / "venv" / "bin" / "python"
    if not own.exists():
        run(python, "-m", "venv", folder / "venv")
        run(own, "-m", "pip", "install", "-q", "--only-binary=:all:", *PACKAGES)
    compiled(folder)


def main(folder, what, *arguments):
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python, tests = folder / "venv" / "bin" / "python", folder / "tree" / "tests"
    alone = {"PYTHON_GIL": "0", "PYTHONPATH": str(folder / "tree")}
    if what == "build":
        build(folder)
    elif what in ("core", "races", "scaling"):
        compiled(folder)
    if what == "core":
        files = [f"{name}.py" for name in CORE]
        run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, *arguments, cwd=tests, **alone)
    elif what == "races":
        run(python, "-W", "ignore", "races.py", *arguments, cwd=tests, **alone)
    elif what == "scaling":
        run(python, "-c", SCALING, cwd=folder, **alone)
    elif what != "build":
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
