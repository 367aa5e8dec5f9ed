"""Check the built pages: links inside them lead somewhere, and nothing is loaded from outside.

    python docs/check_links.py docs/_build/html

Links to other sites are not followed; ``sphinx-build -b linkcheck`` does this, with a connection.
"""

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes that a browser loads, or that a reader follows.
ADDRESSES = {"href", "src", "srcset", "poster", "data"}
# What a page needs to look right must come with it.
LOADED = {"img", "script", "source", "video", "audio", "iframe", "object", "embed"}


class Page(HTMLParser):
    """The addresses and anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[tuple[str, bool]] = []  # address, whether the page loads it
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note the addresses and the anchor of an element."""
        attributes = {name: value or "" for name, value in attrs}
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        sheet = attributes.get("rel", "") in ("stylesheet", "icon", "preload", "modulepreload")
        for name in ADDRESSES.intersection(attributes):
            if tag == "link" and not sheet:
                continue  # such as the canonical address of the page
            values = [attributes[name]]
            if name == "srcset":
                values = [part.split()[0] for part in attributes[name].split(",") if part.strip()]
            self.links += [(value, tag in LOADED or sheet) for value in values]


@cache
def page(path: Path) -> Page:
    """Return a page, read once."""
    return Page(path.read_text(errors="replace"))


def pages(folder: Path) -> list[Path]:
    """Return the built pages; a theme keeps templates of its own in ``_static``."""
    paths = (path.relative_to(folder) for path in folder.rglob("*.html"))
    return sorted(folder / path for path in paths if path.parts[0] != "_static")


def faults(folder: Path) -> list[str]:
    """Return a line for each link that leads nowhere, and for each thing loaded from outside."""
    found = []
    for path in pages(folder):
        for address, is_loaded in page(path).links:
            fault = _fault(address, is_loaded, path, folder)
            if fault:
                found.append(f"{path.relative_to(folder)}: {address}: {fault}")
    return list(dict.fromkeys(found))


def _fault(address: str, is_loaded: bool, path: Path, folder: Path) -> str | None:
    parts = urlsplit(address)
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        return "is loaded from outside" if is_loaded else None
    target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(folder):
        return "leads out of the pages"
    if not target.is_file():
        return "there is no such file"
    if parts.fragment and target.suffix == ".html":
        if unquote(parts.fragment) not in page(target).anchors:
            return "the page has no such anchor"
    return None


def main(folder: str) -> int:
    """Print the faults, and return the exit status."""
    root = Path(folder).resolve()
    n_pages, found = len(pages(root)), faults(root)
    print("\n".join([*found, f"{n_pages} pages, {len(found)} faults"]))
    return 1 if found or not n_pages else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
