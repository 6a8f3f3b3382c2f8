"""The site: `pip install -e ".[docs]" && python -m sphinx -W --keep-going docs build/site`."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]    # pages.py; fastbp as it is compiled beside docs/


import fastbp  # noqa: E402

project, author = "fastbp", "the developers of fastbp"
version = release = fastbp.__version__
html_title = f"fastbp {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "pages"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "known"                  # `name` in a docstring is a link if it is documented, else code
highlight_language = "none"             # formulas of docstrings, commands; sessions are Python anyway
autosummary_generate = False            # pages.py writes a page for each name of api.py
autodoc_typehints = "none"              # numpydoc's lists say the types
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
add_module_names = False
toc_object_entries = False
maximum_signature_line_length = 88

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]     # the copies of CHANGELOG.md and its like may begin with a second level

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["fastbp.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "fastbp"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "benchmark": []}     # its tables are wide
copyright = "the developers of fastbp; BSD-3-Clause"
