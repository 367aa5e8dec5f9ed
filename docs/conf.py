"""Sphinx configuration: pydata theme, numpydoc, gallery; warnings are errors (``-W``)."""

import os
import sys
import tomllib
import warnings
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

# The gallery runs beside nothing else; a spinning thread pool on a small machine would be slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import skltransfer
from api_reference import reference, write_page
from command_line import commands
from scale_table import scale_table
from skltransfer._documentation import ADDRESS

project = "skltransfer"
copyright = "2026, the skltransfer developers"
version = release = skltransfer.__version__
PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "sphinx_design",
    "myst_parser",
    "api_links",
    "mathml",
]
exclude_patterns = ["_build", "examples/*"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
templates_path = ["templates"]
default_role = "code"
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_validation_checks = set()
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

# The inventory of each project is fetched. Without a connection the part of it that is kept here,
# as text, takes its place.
intersphinx_mapping = {
    name: (address, (None, f"inventories/{name}.inv"))
    for name, address in {
        "python": "https://docs.python.org/3",
        "numpy": "https://numpy.org/doc/stable",
        "scipy": "https://docs.scipy.org/doc/scipy",
        "sklearn": "https://scikit-learn.org/stable",
        "pandas": "https://pandas.pydata.org/docs",
        "torch": "https://docs.pytorch.org/docs/stable",
    }.items()
}
intersphinx_timeout = 20

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "skltransfer"
html_baseurl = ADDRESS + "/"
html_static_path = ["static"]
html_css_files = ["custom.css"]
html_math_renderer = "mathml"
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "github_url": PROJECT["urls"]["Source"],
}
html_sidebars = {name: [] for name in ("index", "api", "benchmarks", "changelog", "families")}

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skltransfer",),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "default_thumb_file": None,
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
}

# `sphinx-build -b linkcheck` asks for every address outside; it needs a connection.
linkcheck_ignore = [r"https://doi\.org/"]  # publishers refuse programs

warnings.filterwarnings("ignore", category=DeprecationWarning)


def _skip_inherited_from_scikit_learn(app, what, name, obj, skip, options):
    """Keep what this package defines; scikit-learn documents the rest."""
    module = getattr(obj, "__module__", None) or getattr(
        getattr(obj, "fget", None), "__module__", ""
    )
    return True if str(module).startswith("sklearn") else None


def setup(app):
    """Write the pages that are made from the code before Sphinx reads the sources."""
    write_page(DOCS / "api.rst", reference())
    write_page(DOCS / "generated" / "command_line.txt", commands())
    record = (DOCS.parent / "benchmarks" / "speed" / "scale.json").read_text()
    write_page(DOCS / "generated" / "scale_table.txt", scale_table(record))
    app.connect("autodoc-skip-member", _skip_inherited_from_scikit_learn)
