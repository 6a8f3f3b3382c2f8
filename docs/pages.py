"""An extension of Sphinx: the pages that are made from the repository, links between pages, formulas without scripts.

It writes docs/generated/: a page for each public name and for each example, and copies of the pages that lie outside of
docs/. Links in Markdown stay those of the repository, so that they work there too; here they are turned round.
"""

import ast
import importlib
import inspect
import posixpath
import re
import shutil
from pathlib import Path

import latex2mathml.converter
from api import PUBLIC
from docutils import nodes
from sphinx import addnodes

ROOT = Path(__file__).parent.parent
MADE = ROOT / "docs" / "generated"
COPIES = {      # pages outside of docs/: their copies
    "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog", "SECURITY.md": "security",
    "bench/README.md": "bench", "tests/README.md": "tests",
}
EXAMPLES = {    # the gallery, in its order
    "First steps": ["xor", "digits", "regression", "online", "larger_than_memory", "mnist_nielsen"],
    "Functions, second order, error bars": ["levenberg_marquardt", "error_bars", "scipy_optimizers"],
    "Tables and scikit-learn": ["tables", "sklearn_search", "sklearn_learning_curves"],
    "Many networks": ["many_networks", "bootstrap"],
    "Losses of your own": ["autoencoder", "cox_regression", "reinforce", "dqn", "cartpole"],
}
MARKED = re.compile(r"""
    (?P<keep> ^\ *>>>.*(?:\n(?!\ *\n).*)*      # a session
    | ``[^`]*``|`[^`]*`                         # code
    | ^\ *[\w, ]+\ :\ | ^\ *\w+_$             # the name of a parameter or attribute
    )
    | \|[^|\n]+\| | (?<![\w*.])[A-Za-z][\w.]*_(?![\w*({])
    """, re.VERBOSE | re.MULTILINE)
TITLES = {      # of the examples; all others are named after their file
    "xor": "XOR", "digits": "Handwritten digits", "regression": "Regression with outliers", "online": "Online learning",
    "mnist_nielsen": "Nielsen's networks on MNIST", "levenberg_marquardt": "Levenberg-Marquardt",
    "error_bars": "Error bars", "scipy_optimizers": "SciPy's optimizers", "tables": "A table of flats",
    "sklearn_search": "A search with scikit-learn", "sklearn_learning_curves": "Learning curves of the solvers",
    "many_networks": "A thousand networks", "bootstrap": "Bootstrap intervals", "autoencoder": "An autoencoder",
    "reinforce": "REINFORCE", "dqn": "DQN", "cartpole": "The cart-pole",
}
BASES = ("Optimizer", "Schedule", "Callback")       # their methods are shown on their own pages


def write(name, text):
    """Write a generated page, unless it is there already: Sphinx reads changed pages only."""
    path = MADE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


def find(full):
    """(module, object) of a full name such as fastbp.optimizers.Nadam"""
    module, _, name = full.rpartition(".")
    return module, getattr(importlib.import_module(module), name)


# ---------------------------------------------------------------- API reference

def methods(cls):
    """Public methods and properties that fastbp defines, with a docstring; inherited ones too."""
    if issubclass(cls, BaseException) or cls.__name__ == "Group":
        return []
    found = []
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        ours = (getattr(function, "__module__", None) or "").startswith("fastbp")
        of_base = cls.__name__ not in BASES and any(
            base.__name__ in BASES and (hasattr(base, name)) for base in cls.__mro__)
        if not name.startswith("_") and callable(function) and ours and not of_base and inspect.getdoc(value):
            found.append((name, isinstance(value, property)))
    return found


def api_page(full):
    module, value = find(full)
    name = full.rpartition(".")[2]
    lines = [full, "=" * len(full), "", f".. currentmodule:: {module}", ""]
    if not inspect.isclass(value):
        return "\n".join([*lines, f".. autofunction:: {full}", ""])
    lines += [f".. autoclass:: {full}", ""]
    found = methods(value)
    if found:
        lines += [".. rubric:: Methods and properties", "", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   ~{name}.{method}" for method, _ in found] + [""]
    for method, is_property in found:
        lines += [f".. auto{'property' if is_property else 'method'}:: {full}.{method}", ""]
    return "\n".join(lines)


def api_index():
    lines = ["API reference", "=============", "", "Every public class and function has a page.", ""]
    for title, (module, names) in PUBLIC.items():
        lines += [title, "-" * len(title), "", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {module}.{name}" for name in names] + [""]
    lines += [".. toctree::", "   :hidden:", ""]
    lines += [f"   api/{module}.{name}" for module, names in PUBLIC.values() for name in names]
    return "\n".join([*lines, ""])


# ---------------------------------------------------------------- gallery

def example(name):
    """(title, rest of the docstring, first line of the code) of an example"""
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    title, _, rest = ast.get_docstring(tree).partition("\n")
    return title, rest.strip("\n"), tree.body[1].lineno


def picture(name):
    for ending in ("svg", "png"):
        if (ROOT / "docs" / "pictures" / f"{name}.{ending}").exists():
            return f"{name}.{ending}"
    return None


def title_of(name):
    return TITLES.get(name, name.replace("_", " ").capitalize())


def paragraphs(text):
    """The paragraphs of a docstring as Markdown; those that are indented are commands or formulas."""
    return [f"```text\n{inspect.cleandoc(part)}\n```" if part.startswith("    ") else part
            for part in text.split("\n\n")]


def example_page(name):
    title, rest, first = example(name)
    parts = [f"# {title_of(name)}", title, *(paragraphs(rest) if rest else [])]
    if picture(name):
        parts.append(f"![The picture of {name}.py](../../pictures/{picture(name)})")
    parts.append(f"```{{literalinclude}} ../../../examples/{name}.py\n:language: python\n:lines: {first}-\n```")
    output = ROOT / "docs" / "pictures" / f"{name}.txt"
    if output.exists():
        parts.append("It prints:")
        parts.append(f"```text\n{output.read_text(encoding='utf-8').rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def gallery():
    parts = ["# Examples", "Each is a short program in the folder `examples/`. The tests run all of them."]
    for title, names in EXAMPLES.items():
        cards = ['<div class="gallery">']
        for name in names:
            shown = f'<img src="../_images/{picture(name)}" alt="" loading="lazy">' if picture(name) else ""
            cards.append(f'<div><a href="examples/{name}.html">{shown}{title_of(name)}</a>'
                         f"<span>{example(name)[0]}</span></div>")
        parts += [f"## {title}", "\n".join([*cards, "</div>"])]
    names = "\n".join(f"examples/{name}" for part in EXAMPLES.values() for name in part)
    parts.append(f"```{{toctree}}\n:hidden:\n\n{names}\n```")
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------- links

def turned(text, page):
    """Markdown whose links between files of the repository are links between pages; page: its path in the repository"""
    def link(match):
        shown, target, anchor = match.groups(default="")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        name = Path(place).stem
        if place in COPIES:
            where = f"docs/generated/{COPIES[place]}.md"
        elif place.startswith("examples/") and place.endswith(".py"):
            where = f"docs/generated/examples/{name}.md"
        elif place == "examples":
            where = "docs/generated/gallery.md"
        elif place == "README.md":
            where = "docs/index.md"
        else:
            where = place
        here = f"docs/generated/{COPIES[page]}.md" if page in COPIES else page
        return f"[{shown}]({posixpath.relpath(where, posixpath.dirname(here))}{anchor})"

    return re.sub(r"\[([^]]+)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)]*)?\)", link, text)


def on_source_read(app, docname, source):
    source[0] = source[0].replace("\n\n```\n", "\n```\n")      # sessions end with an empty line, for doctest
    if not docname.startswith("generated/"):
        source[0] = turned(source[0], f"docs/{docname}.md")


# ---------------------------------------------------------------- tables

def with_breaks(text):
    """HTML whose words of code may be broken behind _ . ( = and the like, and nowhere else."""
    return re.sub(r"(?<=[\w)])([_.,(=/]|::)(?=\w)", r"\1<wbr>", text)


def tests_folded(match):
    """A cell of tests: three or more are shown when their number is clicked."""
    names = match[1].split(", ")
    shown = "<br>".join(with_breaks(name) for name in names)
    if len(names) > 2:
        shown = f"<details><summary>{len(names)} tests</summary>{shown}</details>"
    return f'<td class="tests">{shown}</td>'


def on_page(app, pagename, templatename, context, doctree):
    if "body" in context:
        name = r"[\w/]+\.py::\w+"
        body = re.sub(rf"<td><p>({name}(?:, {name})*)</p></td>", tests_folded, context["body"])
        context["body"] = re.sub(r'(?<=<span class="pre">)[^<]+', lambda match: with_breaks(match[0]), body)


# ---------------------------------------------------------------- formulas and names

def visit_math(translator, node):
    block = isinstance(node, nodes.math_block)
    text = node.astext().replace(r"\begin{aligned}", r"\begin{array}{rl}").replace(r"\end{aligned}", r"\end{array}")
    made = latex2mathml.converter.convert(text, display="block" if block else "inline")
    translator.body.append(f'<div class="formula">{made}</div>' if block else made)
    raise nodes.SkipNode


def known(role, rawtext, text, lineno, inliner, options=None, content=None):
    """`name` in a docstring: a link to its page if there is one, else code"""
    env = inliner.document.settings.env
    reference = addnodes.pending_xref(
        "", refdomain="py", reftype="obj", reftarget=text.removesuffix("()"), refwarn=False,
        refdoc=env.docname, maybe=True, **{key: env.ref_context.get(key) for key in ("py:module", "py:class")})
    reference += nodes.literal(rawtext, text, classes=["xref", "py"])
    return [reference], []


def on_missing(app, env, node, shown):
    """`train` is also fastbp.train; names that have no page stay code: parts of other libraries, arguments."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"]
    if not name.startswith("fastbp."):
        python = env.get_domain("py")
        found = python.resolve_xref(env, node["refdoc"], app.builder, "obj", f"fastbp.{name}", node, shown)
        if found is not None:
            return found
    return shown if node.get("maybe") else None


def on_docstring(app, what, name, value, options, lines):
    """Docstrings are read at the terminal: |x| and names that end in _ mean nothing to docutils if they are code."""
    text = MARKED.sub(lambda match: match[0] if match.lastgroup == "keep" else f"``{match[0]}``", "\n".join(lines))
    text = re.sub(r"(?<![\w/`])docs/(\w+)\.md", r":doc:`\1.md </\1>`", text)
    lines[:] = text.split("\n")


def make(app):
    for part, names in PUBLIC.values():
        for name in names:
            write(f"api/{part}.{name}.rst", api_page(f"{part}.{name}"))
    write("reference.rst", api_index())
    names = [name for part in EXAMPLES.values() for name in part]
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {*names}, "an example is not in EXAMPLES"
    for name in names:
        write(f"examples/{name}.md", example_page(name))
    write("gallery.md", gallery())
    for path, name in COPIES.items():
        write(f"{name}.md", turned((ROOT / path).read_text(encoding="utf-8"), path))


def copy_pictures(app, error):
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir) / "_images"
        folder.mkdir(exist_ok=True)
        for path in (ROOT / "docs" / "pictures").glob("*.*g"):
            shutil.copy(path, folder)


def setup(app):
    app.connect("builder-inited", make)
    app.connect("autodoc-process-docstring", on_docstring, priority=100)    # before numpydoc
    app.connect("source-read", on_source_read)
    app.connect("missing-reference", on_missing)
    app.connect("html-page-context", on_page)
    app.connect("build-finished", copy_pictures)
    app.add_role("known", known)
    for kind in (nodes.math, nodes.math_block):
        app.add_node(kind, override=True, html=(visit_math, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
