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
    "skltransfer.distributed": "Beyond one machine",
    "skltransfer.datasets": "Data sets",
    "skltransfer.cli": "Command line",
}


def names_of(package: str) -> list[str]:
    """Return the public names of a package."""
    return sorted(getattr(import_module(package), "__all__", ["main"]))


def places() -> dict[str, str]:
    """Return the full name under which the reference lists each public name."""
    return {name: f"{package}.{name}" for package in SECTIONS for name in names_of(package)}


def reference() -> str:
    """Return the page that lists every public name, in reStructuredText."""
    lines = ["API reference", "=============", ""]
    for package, heading in SECTIONS.items():
        lines += [heading, "-" * len(heading), "", f".. currentmodule:: {package}", ""]
        lines += [(import_module(package).__doc__ or "").strip().splitlines()[0], ""]
        lines += [".. autosummary::", "   :toctree: generated/", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in names_of(package)] + [""]
    return "\n".join(lines)


def write_page(path: Path, text: str) -> None:
    """Write a page, unless it stands there already: Sphinx reads again what is newer."""
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
