"""Sizes of the command line that tests make smaller: it has no options for them."""

from skltransfer.cli import _extract, _image_data, _inputs, _plans
from skltransfer.model_selection import _strategies

PLACES = {
    "LABELS_PER_CLASS": _plans,
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
