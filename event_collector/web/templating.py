"""The templates of the pages, and pages that are files: these have their style sheet and their scripts inside."""

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from event_collector.web.filters import FILTERS
from event_collector.web.sections import Section

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
_IMPORT: Final = re.compile(r'^import .* from "\./(.+)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ", re.MULTILINE)


def environment() -> Environment:
    """Return the templates, with their filters. They escape all text."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    templates.filters.update(FILTERS)
    return templates


def page_file(title: str, sections: Iterable[Section]) -> str:
    """Return a page of figures that needs nothing beside it, for a file."""
    style = _read("vendor/uPlot.min.css") + _read("page.css")
    theme, module = _read("theme.js"), bundle("charts.js")
    library = f"/*\n{_read('vendor/uPlot-LICENSE.txt')}*/\n{_read('vendor/uPlot.iife.min.js')}"
    hashes = [_hash(script) for script in (theme, library, module)]
    return environment().get_template("figures_page.html").render(
        layout="file.html", title=title, sections=list(sections), style=style, theme=theme, library=library,
        module=module, style_hash=_hash(style), script_hashes=hashes,
    )  # fmt: skip


def bundle(name: str, _seen: set[str] | None = None) -> str:
    """Return a module of the page and those that it imports as one. Each of its imports has a line of its own."""
    seen = set() if _seen is None else _seen
    seen.add(name)
    text = _read(name)
    imported = [bundle(other, seen) for other in _IMPORT.findall(text) if other not in seen]
    return "".join([*imported, _EXPORT.sub("", _IMPORT.sub("", text))])


def _read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return how a Content-Security-Policy names a script or style within the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
