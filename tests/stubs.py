"""Stubs for type checkers and editors, written from the table of public names.

A type checker does not run the module ``__getattr__`` that finds a public name. Where one stands in
an ``__init__.py``, a stub beside it says where each name comes from. ``python -m tests.stubs``
writes the stubs, and a test compares them with the table.
"""

from collections import defaultdict
from pathlib import Path

import skltransfer

ROOT = Path(skltransfer.__file__).parent
# Widest line of the project.
WIDTH = 100


def stubs() -> dict[Path, str]:
    """Return the text of every stub, by its path."""
    texts = {ROOT / "__init__.pyi": stub(skltransfer._PUBLIC.values(), ("__version__",))}
    for package, modules in skltransfer._PUBLIC.items():
        if "_face(" in (ROOT / package / "__init__.py").read_text(encoding="utf-8"):
            texts[ROOT / package / "__init__.pyi"] = stub([modules])
    return texts


def stub(packages, own=()) -> str:
    """Return a stub that shows the names of some packages, beside texts that are its own."""
    modules = defaultdict(set)
    for package in packages:
        for module, names in package.items():
            modules[module].update(names)
    shown = sorted({*own, *(name for names in modules.values() for name in names)})
    return "\n".join(
        [
            *(_import(f"skltransfer.{module}", modules[module]) for module in sorted(modules)),
            "",
            *(f"{name}: str" for name in own),
            "__all__ = [",
            *(f'    "{name}",' for name in shown),
            "]",
            "",
        ]
    )


def _import(module: str, names) -> str:
    """Return one import, laid out as ruff does."""
    names = sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name.lower()))
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")
