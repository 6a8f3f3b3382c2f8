"""Distribution: the sdist is complete, its description has no dead links, and missing tools for wheels are named."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
MANIFEST = (ROOT / "MANIFEST.in").read_text().splitlines()
GRAFTED = {line.split()[1] for line in MANIFEST if line.startswith("graft")}
INCLUDED = {name for line in MANIFEST if line.startswith("include") for name in line.split()[1:]}
BY_ITSELF = {"fastbp", "README.md", "LICENSE", "setup.py", "pyproject.toml", "MANIFEST.in"}


def in_git():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("this is no checkout")
    return done.stdout.splitlines()


def test_fault_80_all_that_git_has_is_in_the_sdist():
    top = {name.split("/")[0] for name in in_git()}
    assert top - BY_ITSELF - GRAFTED - INCLUDED == set()
    for name in GRAFTED | INCLUDED:
        assert (ROOT / name).exists(), name


def test_fault_80_the_description_at_an_index_has_no_link_to_a_file(monkeypatch):
    """Without [project.urls] Source there are no links to files; with it they lead there"""
    setuptools = pytest.importorskip("setuptools")
    pytest.importorskip("Cython")
    seen = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", seen.update)
    monkeypatch.setattr("Cython.Build.cythonize", lambda *_, **__: [])
    readme = runpy.run_path(str(ROOT / "setup.py"))["readme"]
    assert seen["long_description"] == readme()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)
    assert links
    for link in links:
        assert (ROOT / link.split("#")[0]).exists(), link
        assert f"]({link})" not in readme()
    monkeypatch.setattr("tomllib.loads", lambda _: {"project": {"urls": {"Source": "https://host/of/fastbp"}}})
    assert all(f"](https://host/of/fastbp/blob/main/{link})" in readme() for link in links)


def test_a_missing_program_is_named_with_its_package_before_anything_is_built(tmp_path, monkeypatch):
    from steps import PACKAGES, Steps

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    steps = Steps(tmp_path, tmp_path / "dist", None, False)
    with pytest.raises(SystemExit, match=re.escape(f"missing: auditwheel ({PACKAGES['auditwheel']})")):
        steps.need("auditwheel")


def test_the_help_of_the_command_names_every_target():
    import wheels

    done = subprocess.run([sys.executable, str(ROOT / "tools" / "wheels.py"), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for target in wheels.TARGETS:
        assert f"wheels.py {target}" in done.stdout or f" {target} " in done.stdout, target


@pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="needs musl-gcc")
def test_crews_need_no_headers_of_the_kernel(tmp_path):
    """musl has no kernel headers, and its compiler does not see glibc's"""
    subprocess.run(["musl-gcc", "-std=gnu11", "-O1", "-D_GNU_SOURCE", f"-I{ROOT / 'src' / 'kernels'}",
                    ROOT / "tests" / "crew_jobs.c", "-o", tmp_path / "jobs", "-static", "-lpthread"], check=True)
    done = subprocess.run([tmp_path / "jobs"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 wrong of ")


def test_a_tag_is_an_older_one_or_the_one_that_is_wanted(tmp_path, monkeypatch):
    from steps import Steps, release

    assert release("fastbp-0.1.0-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl") == (2, 17)
    assert release("fastbp-0.1.0-cp311-cp311-linux_x86_64.whl") > (2, 41)
    steps, calls = Steps(tmp_path, tmp_path / "dist", None, False), []

    def run(*command):
        calls.append(command[0])
        place = Path(command[command.index("-w") + 1] if "-w" in command else command[-1].parent)
        name = "a-manylinux_2_28_x86_64.whl" if "-w" in command else "a-manylinux_2_34_x86_64.whl"
        for old in place.glob("*.whl"):
            old.unlink()
        (place / name).write_bytes(b"")

    monkeypatch.setattr(steps, "run", run)
    wheel = tmp_path / "a-linux_x86_64.whl"
    assert steps.repaired(wheel, "manylinux_2_28_x86_64").name == "a-manylinux_2_28_x86_64.whl"
    assert steps.repaired(wheel, "manylinux_2_34_x86_64").name == "a-manylinux_2_34_x86_64.whl"
    assert calls == ["auditwheel", "auditwheel", sys.executable]
    with pytest.raises(SystemExit, match="asks for more than manylinux_2_17_x86_64 grants"):
        steps.repaired(wheel, "manylinux_2_17_x86_64")


# ---------------------------------------------------------------- POSIX calls have an alternative elsewhere


POSIX = {
    "os": {"O_DIRECTORY", "O_NONBLOCK", "chown", "fchmod", "fchown", "fork", "geteuid", "getuid", "killpg", "mkfifo",
           "register_at_fork", "sched_getaffinity", "sched_setaffinity", "statvfs", "sysconf", "uname", "waitpid"},
    "signal": {"SIGALRM", "SIGCONT", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1", "SIGUSR2", "pthread_kill", "setitimer"},
}
MODULES = {"fcntl", "grp", "pwd", "resource", "termios"}


def without_a_twin(nodes):
    """POSIX-only names in these statements, unless a statement asks for the system by name"""
    inside = [node for each in nodes for node in ast.walk(each)]
    asked = {node.value for node in inside if isinstance(node, ast.Constant)}
    used = {node.attr for node in inside if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            and node.attr in POSIX.get(node.value.id, ())}
    used |= {name.name for node in inside if isinstance(node, ast.Import) for name in node.names} & MODULES
    return set() if "win32" in asked or "darwin" in asked else used - asked


def test_what_only_posix_has_is_asked_for_before_it_is_used():
    found = {}
    for path in (ROOT / "fastbp").rglob("*.py"):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if names := without_a_twin([statement]):
                found[path.relative_to(ROOT).as_posix(), getattr(statement, "name", statement.lineno)] = names
    # NamedFolder is its alternative
    assert found == {("fastbp/files/folder.py", "Folder"): {"O_DIRECTORY", "fchmod", "fchown"}}


def test_the_tests_can_be_collected_where_there_is_no_posix():
    """The code that runs at import: statements of the module, and decorators"""
    for path in (ROOT / "tests").rglob("*.py"):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            function = isinstance(statement, ast.FunctionDef)
            if isinstance(statement, ast.ClassDef) or path.parent.name == "tools":
                continue
            names = set().union(*(without_a_twin([each]) for each in statement.decorator_list)) if function else (
                without_a_twin([statement]))
            assert not names, (path.name, statement.lineno, names)
