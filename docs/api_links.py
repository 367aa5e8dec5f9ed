"""Links from public names in the text to their pages in the API reference, and back.

A name is linked where it stands alone in inline code, also with a call (``KMMReweighter``,
``skltransfer.save``, ``FineTunedClassifier(old)``), and in the blocks of code of the pages. Each
page of the reference lists the pages of the guide that name its object.
"""

import html
import re

from api_reference import places
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

# In a block of code these are as likely a method or another package's function.
AMBIGUOUS_IN_CODE = {"load", "mmd", "save"}
# Pages of the reference link back to these.
LINKING_PAGES = re.compile(r"guide/(?!index$)|in_context$|tiny$")
NO_LINKS_INSIDE = (nodes.title, nodes.reference, addnodes.pending_xref, addnodes.desc_signature)


class ApiNames:
    """Public names, where the reference lists them, and what matches them."""

    def __init__(self):
        self.places = places()
        del self.places["main"]
        names = "|".join(sorted(self.places, key=len, reverse=True))
        self._inline = re.compile(
            rf"(?:skltransfer\.)?(?:[a-z_]+\.)?({names})(?:\(.*\))?", re.DOTALL
        )
        in_code = "|".join(sorted(set(self.places) - AMBIGUOUS_IN_CODE))
        self.in_code = re.compile(rf"\b({in_code})\b")
        self.in_highlighted_code = re.compile(rf'<span class="n[cn]?">({in_code})</span>')

    def full_name(self, text: str) -> str | None:
        """Return the full name of what a piece of inline code names, if it is public here."""
        found = self._inline.fullmatch(text)
        if found is None:
            return None
        place = self.places[found[1]]
        written = text.partition("(")[0].removeprefix("skltransfer.")
        return place if f"skltransfer.{place}".endswith(f".{written}") else None


class LinkNames(SphinxTransform):
    """Turn inline code that is a public name into a reference to its page."""

    default_priority = 450

    def apply(self, **kwargs):
        """Replace the nodes of one document, and note which names it has."""
        docname, names = self.env.docname, self.app.api_names
        linked = self.env.api_links.setdefault(docname, set())
        for block in self.document.findall(nodes.FixedTextElement):
            linked |= {names.places[name] for name in names.in_code.findall(block.astext())}
        for code in list(self.document.findall(nodes.literal)):
            full_name = names.full_name(code.astext())
            if full_name is None:
                continue
            linked.add(full_name)
            if docname == f"generated/{full_name}" or _is_inside(code, NO_LINKS_INSIDE):
                continue
            reference = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=full_name, refwarn=True
            )
            reference["refexplicit"], reference["refdoc"] = True, docname
            code.replace_self(reference)
            reference += code


def _is_inside(node, kinds) -> bool:
    while node is not None and not isinstance(node, kinds):
        node = node.parent
    return node is not None


class GuidePages(Directive):
    """A line with the pages of the guide that name an object; nothing where none does."""

    required_arguments = 1

    def run(self):
        """Hold the place until all pages have been read."""
        return [guide_pages("", name=self.arguments[0])]


class guide_pages(nodes.General, nodes.Element):
    """The place of that line."""


def _fill_guide_pages(app, doctree, docname):
    for place in list(doctree.findall(guide_pages)):
        line = nodes.paragraph("", "In the guide: ", classes=["guide-pages"])
        for page in sorted(app.env.api_links):
            if place["name"] in app.env.api_links[page] and LINKING_PAGES.match(page):
                address = app.builder.get_relative_uri(docname, page)
                title = app.env.titles[page].astext()
                if len(line) > 1:
                    line += nodes.Text(", ")
                line += nodes.reference("", title, internal=True, refuri=address)
        place.replace_self(line if len(line) > 1 else [])


def _link_code(app, pagename, templatename, context, doctree):
    """Link the names in the blocks of code of a page."""
    if doctree is None or pagename.startswith(("generated/", "auto_examples/", "_modules/")):
        return

    def link(found):
        page = f"generated/{app.api_names.places[found[1]]}"
        address = html.escape(app.builder.get_relative_uri(pagename, page))
        return f'<a class="code-link" href="{address}">{found[0]}</a>'

    context["body"] = app.api_names.in_highlighted_code.sub(link, context["body"])


def _alias_top_level(app, env):
    """Know each name as ``skltransfer.NAME`` too, as examples and other projects write it."""
    objects = env.get_domain("py").objects
    for name, place in app.api_names.places.items():
        if place in objects:
            objects.setdefault(f"skltransfer.{name}", objects[place]._replace(aliased=True))


def _forget(app, env, docname):
    env.api_links.pop(docname, None)


def _merge(app, env, docnames, other):
    env.api_links |= {docname: other.api_links.get(docname, set()) for docname in docnames}


def _start(app, env, docnames):
    if not hasattr(env, "api_links"):
        env.api_links = {}


def _write_again(app, env):
    """Write the reference again when pages that name its objects have changed."""
    _alias_top_level(app, env)
    return [docname for docname in env.found_docs if docname.startswith("generated/")]


def setup(app):
    """Register the transform, the directive and what they share."""
    app.api_names = ApiNames()
    app.add_transform(LinkNames)
    app.add_node(guide_pages)
    app.add_directive("guide-pages", GuidePages)
    app.connect("env-before-read-docs", _start)
    app.connect("env-purge-doc", _forget)
    app.connect("env-merge-info", _merge)
    app.connect("env-updated", _write_again)
    app.connect("doctree-resolved", _fill_guide_pages)
    app.connect("html-page-context", _link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
