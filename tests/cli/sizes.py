"""Sizes of the command line that tests make smaller: it has no options for them."""

from skltransfer.cli import _compare, _extract, _few_labels, _image_data, _inputs
from skltransfer.model_selection import _strategies

PLACES = {
    "N_DRAWS": _few_labels,
    "N_TRAINED_DRAWS": _few_labels,
    "LABELS_PER_CLASS": _few_labels,
    "TRAINED_LABELS_PER_CLASS": _few_labels,
    "N_CANCER_DRAWS": _compare,
    "N_EPOCHS": _strategies,
    "N_ITERATIONS": _strategies,
    "_MAX_IMAGES": _image_data,
    "_PASS": _extract,
    "_GROUP_ROWS": _extract,
    "_CSV_ROWS": _inputs,
}


def set_sizes(monkeypatch, **sizes) -> None:
    """Set constants of the command line for one test."""
    for name, size in sizes.items():
        monkeypatch.setattr(PLACES[name], name, size)
