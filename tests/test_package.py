"""The package itself: version, configuration, stubs, import, and the README's code."""

import doctest
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastbp

HERE = Path(fastbp.__file__).parent
DOCTEST = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def python(code, *options):
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_version_is_the_installed_one():
    assert re.match(r"\d+\.\d+", fastbp.__version__)
    assert fastbp.__version__ == importlib.metadata.version("fastbp")


def test_plot_is_imported_where_it_is_asked_for_and_what_is_not_there_is_named():
    pytest.importorskip("matplotlib")
    python("import fastbp, sys; assert 'fastbp.plot' not in sys.modules\n"
           "assert fastbp.plot is sys.modules['fastbp.plot']")
    with pytest.raises(AttributeError, match="module 'fastbp' has no attribute 'plots'"):
        fastbp.plots  # noqa: B018


@pytest.mark.parametrize(("what", "said"), [
    ("cannot import name '_kernels'", "ImportError: fastbp is not compiled here"),
    ("libm.so.6: not found", "ImportError: libm.so.6"),
])
def test_an_import_of_the_source_folder_says_what_to_do_and_other_errors_pass(what, said):
    code = f"""
import builtins
real = builtins.__import__
def failing(name, globals=None, locals=None, names=(), level=0):
    if level and names == ("_kernels",):
        raise ImportError({what!r})
    return real(name, globals, locals, names, level)
builtins.__import__ = failing
import fastbp
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]
    assert ("pip install -e ." in done.stderr.splitlines()[-1]) == ("_kernels" in what)


def test_show_config_tells_the_kernels_in_use(capsys):
    told = fastbp.show_config()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines if " " not in line[:28].strip()] == [
        [name, str(value)] for name, value in told.items() if " " not in name]
    assert len(lines) == len(told)
    assert told["instruction set"] == fastbp._kernels.isa
    assert told["fastbp"] == fastbp.__version__
    assert told["blas"].split()[0] == fastbp.engine.blas.libraries()[0].internal_api


def test_package_is_typed_and_its_compiled_modules_have_stubs():
    assert (HERE / "py.typed").is_file()
    compiled = [path for path in HERE.rglob("*") if path.suffix in (".so", ".pyd")]
    assert compiled, "fastbp is not compiled"
    for path in compiled:
        assert (path.parent / (path.name.split(".")[0] + ".pyi")).is_file(), path.name


def test_every_folder_of_the_package_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {path.parent for path in (ROOT / "fastbp").rglob("*.py")}
    named = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(settings["tool"]["setuptools"]["packages"]) == named


def test_every_public_name_is_documented():
    public = [name for name in dir(fastbp) if not name.startswith("_")]
    assert {"Network", "SGD", "Adam", "train", "minimize", "check_gradient", "show_config"} <= set(public)
    for name in fastbp.__all__:
        if callable(getattr(fastbp, name)):
            assert getattr(fastbp, name).__doc__, name
    for name in dir(fastbp.Network):
        if not name.startswith("_") and callable(getattr(fastbp.Network, name)):
            assert getattr(fastbp.Network, name).__doc__, name


def test_import_is_quick(monkeypatch, tmp_path):
    """The import takes under 50 ms beyond scipy.linalg.cython_blas, with bytecode, which the first import writes; in at
    least one of twelve tries, since the machine may be busy"""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)    # with coverage it is slower
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    code = (
        "import time, scipy.linalg.cython_blas\nt = time.process_time()\nimport fastbp\nprint(time.process_time() - t)"
    )
    assert any(float(python(code)) < 0.05 for _ in range(12))


def test_import_brings_no_optional_package_and_warns_of_nothing():
    loaded = python("import sys, fastbp; print(*sys.modules)", "-W", "error").split()
    assert not {"sklearn", "matplotlib", "tqdm", "pytest", "hypothesis", "pandas"} & set(loaded)


# ---------------------------------------------------------------- README

needs_readme = pytest.mark.skipif(not README.is_file(), reason="no README.md beside the tests")


@needs_readme
def test_code_in_the_readme_runs_and_sessions_answer_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(str(README), module_relative=False, encoding="utf-8", optionflags=DOCTEST)
    assert failed == 0
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    programs, names = [block for block in blocks if ">>>" not in block], {}
    assert attempted or programs, "the README shows no Python"
    for program in programs:
        exec(compile(program, str(README), "exec"), names)


@needs_readme
def test_sessions_in_the_docs_answer_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(
        str(README.parent / "docs" / "training.md"), module_relative=False, encoding="utf-8", optionflags=DOCTEST
    )
    assert attempted > 10
    assert failed == 0


@pytest.mark.parametrize(
    "path", [path for path in sorted(HERE.rglob("*.py")) if ">>>" in path.read_text(encoding="utf-8")]
)
def test_examples_in_docstrings_answer_as_shown(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = ".".join(["fastbp", *path.relative_to(HERE).with_suffix("").parts]).removesuffix(".__init__")
    failed, attempted = doctest.testmod(importlib.import_module(module), optionflags=DOCTEST)
    assert attempted > 0 or path.stem in ("loop", "rprop")      # shown elsewhere: test_site runs them
    assert failed == 0
