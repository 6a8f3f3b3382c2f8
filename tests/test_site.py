"""The pages: their code runs with the output shown, links resolve, every public name has a page."""

import doctest
import importlib
import inspect
import os
import re
import sys
import warnings
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastbp

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [path for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] if "generated" not in path.parts]
DOCTEST = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"(?:^<!-- (?P<note>[^>]*) -->\n)?^```(?P<kind>\w*)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
NEEDS = {"sklearn.md": ["sklearn"], "from_scikit_learn.md": ["sklearn"], "tables.md": ["sklearn", "pandas"]}

pytestmark = pytest.mark.skipif(not (DOCS / "conf.py").is_file(), reason="no docs/ beside the tests")


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_python_runs_and_sessions_answer_as_shown(page, tmp_path, monkeypatch):
    """The blocks of a page are one program, except those that say why they are not run"""
    blocks = [block for block in BLOCK.finditer(page.read_text(encoding="utf-8")) if block["kind"] == "python"]
    for package in NEEDS.get(page.name, ()) if blocks else ():
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names = {}
    with warnings.catch_warnings():
        for block in blocks:
            note = block["note"] or ""
            needed = note.removeprefix("needs:").split() if note.startswith("needs:") else []
            if needed:
                warnings.simplefilter("ignore")     # from other packages
            if not note.startswith("not run") and all(map(find_spec, needed)):
                run(block["code"], page, names)


def run(code, page, names):
    if ">>>" not in code:
        exec(compile(code, str(page), "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), 0)
    assert doctest.DocTestRunner(optionflags=DOCTEST).run(test, clear_globs=False).failed == 0
    names.update(test.globs)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_sessions_stand_in_blocks_and_blocks_that_are_not_run_say_why(page):
    text = page.read_text(encoding="utf-8")
    outside = BLOCK.sub("", text)
    assert ">>>" not in outside
    for block in BLOCK.finditer(text):
        if (block["note"] or "").startswith("not run"):
            assert len(block["note"]) > len("not run: ")


def anchors(path):
    """The anchors of a page, as GitHub and MyST make them from its headings"""
    titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "bench/README.md", ROOT / "tests/README.md"],
                         ids=name_of)
def test_links_between_files_lead_to_what_is_there(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)]*)\)", text):
        path = Path(os.path.normpath(page.parent / target)) if target else page
        assert path.exists(), f"{target} in {page.name}"
        assert not anchor or anchor in anchors(path), f"{target}#{anchor} in {page.name}"


# ---------------------------------------------------------------- the API reference

def api():
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module("api")
    finally:
        sys.path.remove(str(DOCS))


def of(full):
    module, _, name = full.rpartition(".")
    return getattr(importlib.import_module(module), name)


def names():
    if not (DOCS / "api.py").is_file():
        return []
    needs_sklearn = ("fastbp.sklearn", "fastbp.tabular")
    return [name for name in api().NAMES if find_spec("sklearn") or not name.startswith(needs_sklearn)]


def test_every_public_name_has_a_page():
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    shown = {id(of(name)) for name in names()}
    for module in (fastbp, *map(importlib.import_module, MODULES)):
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.ismodule(value) and not isinstance(value, str):
                assert id(value) in shown, f"{module.__name__}.{name} has no page: a line in docs/api.py"


MODULES = [f"fastbp.{name}" for name in (
    "callbacks", "container", "curvature", "datasets", "distributed", "many", "metrics", "optimizers", "plot",
    "schedules", "sklearn", "tabular")]


def sections(text):
    return set(re.findall(r"^(\w[\w ]+)\n-+$", inspect.cleandoc(text), re.MULTILINE))


@pytest.mark.parametrize("name", names())
def test_the_docstring_of_a_public_name_has_its_sections(name):
    """Parameters and Returns if there are any, and always See Also and Examples"""
    if name.startswith("fastbp.plot"):
        pytest.importorskip("matplotlib")
    value = of(name)
    found = sections(value.__doc__)
    wanted = {"See Also", "Examples"}
    if inspect.isclass(value):
        init = value.__init__ if "__init__" in vars(value) and not is_dataclass(value) else None
        if init and len(inspect.signature(init).parameters) > 1 and not issubclass(value, (BaseException, CURVATURE)):
            wanted |= {"Parameters"}
        if issubclass(value, tuple):
            wanted |= {"Attributes"}
    else:
        wanted |= {"Parameters"} if inspect.signature(value).parameters else set()
        wanted |= {"Raises"} if inspect.signature(value).parameters else set()
        if inspect.signature(value).return_annotation not in (None, "None"):
            wanted |= {"Returns"}
    assert not wanted - found


@pytest.mark.parametrize("name", names())
def test_the_examples_of_a_public_name_answer_as_shown(name, tmp_path, monkeypatch):
    if name.startswith("fastbp.plot"):
        pytest.importorskip("matplotlib")
    if name in ("fastbp.many.table", "fastbp.tabular.TabularPreparation"):
        pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(of(name).__doc__, {}, name, None, 0)
    assert doctest.DocTestRunner(optionflags=DOCTEST).run(test).failed == 0


CURVATURE = importlib.import_module("fastbp.curvature").Curvature


TRANSLATED = (      # CONTRIBUTING.md has the field's terms for these
    "go on from", "goes on from", "put back", "draw anew", "drawn anew", "left aside", "where it lies",
    "where they lie", "replaced as a whole", "nothing better", "put up with", "wants preparing", "whole or refused",
    "in turn in one run", "have not, they", "what is no array", "comes as chunks", "is done to j and d",
)


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "fastbp").rglob("*.py"))], ids=name_of)
def test_pages_and_docstrings_use_the_terms_of_the_field(path):
    text = " ".join(path.read_text(encoding="utf-8").lower().split())
    assert [phrase for phrase in TRANSLATED if phrase in text] == []


def test_every_page_stands_in_a_table_of_contents():
    listed = {"index"}
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            folder = page.parent.relative_to(DOCS)
            listed |= {(folder / line).as_posix() for line in block.splitlines() if line and not line.startswith(":")}
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert {page for page in pages if not page.startswith("generated/")} <= listed
