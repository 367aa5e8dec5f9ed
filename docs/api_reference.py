"""The API reference, written from what the packages make public in ``__all__``."""

from importlib import import_module
from pathlib import Path

# Packages in the order of the reference, with the heading of each.
SECTIONS = {
    "skltransfer.domains": "The data contract",
    "skltransfer.instance": "Instance-based transfer",
    "skltransfer.feature": "Feature-based transfer",
    "skltransfer.parameter": "Parameter-based transfer",
    "skltransfer.relation": "Relation-based transfer",
    "skltransfer.backbones": "Backbones",
    "skltransfer.metrics": "Metrics of domains and of transferability",
    "skltransfer.model_selection": "Model selection",
    "skltransfer.inspection": "Inspection",
    "skltransfer.persistence": "Persistence and export",
    "skltransfer.federated": "Federations",
    "skltransfer.datasets": "Data sets",
    "skltransfer.cli": "Command line",
}


def reference() -> str:
    """Return the page that lists every public name, in reStructuredText."""
    lines = ["API reference", "=============", ""]
    for package, heading in SECTIONS.items():
        module = import_module(package)
        names = getattr(module, "__all__", ["main"])
        lines += [heading, "-" * len(heading), "", f".. currentmodule:: {package}", ""]
        lines += [(module.__doc__ or "").strip().splitlines()[0], ""]
        lines += [".. autosummary::", "   :toctree: generated/", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in sorted(names)] + [""]
    return "\n".join(lines)


def write_reference(path: Path) -> None:
    """Write the page, unless it stands there already."""
    text = reference()
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
