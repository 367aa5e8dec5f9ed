"""Where the documentation stands, and the base class whose diagrams link to it."""

from sklearn.base import BaseEstimator

# The one place; `pyproject.toml` repeats it for the package index, and a test compares them.
ADDRESS = "https://skltransfer.github.io/skltransfer"


class DocumentedEstimator(BaseEstimator):
    """An estimator whose diagram in a notebook links to its page in the API reference."""

    _doc_link_module = "skltransfer"
    _doc_link_template = ADDRESS + "/generated/{estimator_module}.{estimator_name}.html"
