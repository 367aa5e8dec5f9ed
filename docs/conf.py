"""Sphinx configuration: pydata theme, numpydoc, gallery; warnings are errors (``-W``)."""

import os
import sys
import warnings
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

# The gallery runs beside nothing else; a spinning thread pool on a small machine would be slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import skltransfer
from api_reference import write_reference

project = "skltransfer"
copyright = "2026, the skltransfer developers"
version = release = skltransfer.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "myst_parser",
]
exclude_patterns = ["_build", "examples/*"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
templates_path = ["templates"]
default_role = "code"
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_validation_checks = set()
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "skltransfer"
html_static_path = []
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
}
html_sidebars = {name: [] for name in ("api", "benchmarks", "changelog", "families")}

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "default_thumb_file": None,
    "within_subsection_order": "FileNameSortKey",
}

warnings.filterwarnings("ignore", category=DeprecationWarning)


def _skip_inherited_from_scikit_learn(app, what, name, obj, skip, options):
    """Keep what this package defines; scikit-learn documents the rest."""
    module = getattr(obj, "__module__", None) or getattr(
        getattr(obj, "fget", None), "__module__", ""
    )
    return True if str(module).startswith("sklearn") else None


def setup(app):
    """Write the API reference before Sphinx reads the sources."""
    write_reference(DOCS / "api.rst")
    app.connect("autodoc-skip-member", _skip_inherited_from_scikit_learn)
