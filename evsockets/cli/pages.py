"""The HTML pages of `serve`: listings of directories, and errors."""

from __future__ import annotations

import mimetypes
import os
import re
import time
from html import escape
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from ..text import human_bytes

#: What every page looks like, by day and by night, on a desk and on a phone.
_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 0 .3rem .8rem; border-bottom: 1px solid #8884; }
td:first-child, th:first-child { width: 100%; padding-left: 0; overflow-wrap: anywhere; }
td:not(:first-child), th:not(:first-child) { text-align: right; white-space: nowrap; }
th a { color: inherit; }
svg { width: 1.1em; height: 1.1em; margin-right: .5em; vertical-align: -.2em; opacity: .6; }
svg * { fill: none; stroke: currentColor; stroke-width: 1.4; stroke-linejoin: round; }
a { text-decoration: none; } a:hover { text-decoration: underline; }
footer { margin-top: 1rem; opacity: .6; font-size: .85rem; }
@media (max-width: 35rem) { td:nth-child(3), th:nth-child(3) { display: none; } }
"""

_SHEET = '<path d="M3.5 1.5h6l3 3v10h-9z M9.5 1.5v3h3"/>'
_ICONS = {
    "folder": '<path d="M1.5 3.5h5l1.5 2h6.5v8h-13z"/>',
    "file": _SHEET,
    "text": _SHEET + '<path d="M5.5 7.5h5 M5.5 9.5h5 M5.5 11.5h3"/>',
    "image": '<path d="M1.5 2.5h13v11h-13z M2 12l4-4 3 3 2-2 3 3"/><circle cx="11" cy="5.5" r="1"/>',
    "audio": '<path d="M5.5 12.5v-9l7-2v9"/><circle cx="4" cy="12.5" r="1.5"/>'
    '<circle cx="11" cy="10.5" r="1.5"/>',
    "video": '<path d="M1.5 3.5h13v9h-13z M6.5 6l4 2-4 2z"/>',
    "archive": '<path d="M1.5 2.5h13v3h-13z M2.5 5.5v8h11v-8 M6.5 8h3"/>',
}
_ARCHIVES = ("application/zip", "application/x-tar", "application/gzip", "application/x-7z-compressed")
_COLUMNS = ("name", "size", "modified")
_ORDER = re.compile(r"sort=(name|size|modified)(?:&order=(asc|desc))?")


class Item(NamedTuple):
    """An entry of a directory; `modified` is a Unix timestamp."""

    is_file: bool
    name: bytes
    size: int
    modified: float


def listing(names: list[bytes], items: list[Item], query: str) -> bytes:
    """Return the page of the directory with the path `names`. `query` may set `sort` (name, size, modified)
    and `order` (asc, desc); directories come first."""
    column, descending = _order(query)
    if column == "size":
        items.sort(key=lambda item: (item.size, item.name), reverse=descending)
    elif column == "modified":
        items.sort(key=lambda item: (item.modified, item.name), reverse=descending)
    else:
        items.sort(key=lambda item: item.name, reverse=descending)
    items.sort(key=lambda item: item.is_file)
    title = _text("/" + "".join(os.fsdecode(name) + "/" for name in names))
    rows = []
    if names:
        rows.append(f'<tr><td><a href="../">{_icon("folder")}../</a></td><td></td><td></td></tr>')
    kinds = {"folder"} if names else set()
    for item in items:
        kind = _kind(item)
        kinds.add(kind)
        slash = "" if item.is_file else "/"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(item.modified))
        # "./" keeps a name such as "a:b" from being taken for a scheme.
        shown = _text(os.fsdecode(item.name))
        rows.append(
            f'<tr><td>{_icon(kind)}<a href="./{quote(item.name)}{slash}">{shown}{slash}</a></td>'
            f"<td>{human_bytes(item.size) if item.is_file else ''}</td><td>{when}</td></tr>"
        )
    head = "".join(_column(each, each == column, descending) for each in _COLUMNS)
    page = (
        f"{page_head(title)}<body>\n{_symbols(kinds)}<h1>{title}</h1>\n"
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + f"\n</tbody>\n</table>\n<footer>{_entries(len(items))}, served by evsockets</footer>\n"
        + "</body>\n</html>\n"
    )
    return page.encode("utf-8")


def error_page(status: HTTPStatus, why: str, path: str | None) -> bytes:
    """Return the page of an error; if a file was not found (`path`, as requested), with a link back."""
    title = f"{status.value} {status.phrase}"
    ways = ""
    if path is not None and path.startswith("/"):
        # Two slashes in front, in either form, would lead to a host of that name.
        above = "/" + (path.partition("?")[0].rstrip("/").rpartition("/")[0] + "/").lstrip("/\\")
        up = f'<a href="{escape(above)}">One up</a> &middot; ' if above != "/" else ""
        ways = f'<p>{up}<a href="/">Back to the start</a></p>\n'
    page = f"{page_head(title)}<body>\n<h1>{title}</h1>\n<p>{escape(why)}</p>\n{ways}</body>\n</html>\n"
    return page.encode()


def page_head(title: str) -> str:
    """Return the beginning of a page with this title (as HTML), up to its body."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
    )


def _order(query: str) -> tuple[str, bool]:
    """By which column, and whether the other way round; by name if `query` says nothing that is known."""
    match = _ORDER.fullmatch(query)
    return (match[1], match[2] == "desc") if match else ("name", False)


def _column(name: str, sorted_by: bool, descending: bool) -> str:
    """A column's head, which sorts by it; by the one sorted by already, the other way round."""
    order = "asc" if not sorted_by or descending else "desc"
    arrow = (" &#9660;" if descending else " &#9650;") if sorted_by else ""
    told = f' aria-sort="{"descending" if descending else "ascending"}"' if sorted_by else ""
    return f'<th{told}><a href="?sort={name}&amp;order={order}">{name.capitalize()}{arrow}</a></th>'


def _kind(item: Item) -> str:
    if not item.is_file:
        return "folder"
    kind, coding = mimetypes.guess_type(os.fsdecode(item.name))
    if coding is not None or kind in _ARCHIVES:
        return "archive"
    family = (kind or "").partition("/")[0]
    if family in _ICONS:
        return family
    return "text" if kind in ("application/json", "application/pdf") else "file"


def _icon(kind: str) -> str:
    return f'<svg aria-hidden="true"><use href="#{kind}"/></svg>'


def _symbols(kinds: set[str]) -> str:
    """The icons that a page uses, each drawn once."""
    drawn = "".join(
        f'<symbol id="{kind}" viewBox="0 0 16 16">{_ICONS[kind]}</symbol>' for kind in sorted(kinds)
    )
    return f'<svg style="display:none">{drawn}</svg>\n' if drawn else ""


def _entries(count: int) -> str:
    return {0: "nothing here", 1: "1 entry"}.get(count, f"{count} entries")


def _text(text: str) -> str:
    """`text` for HTML; bytes of a file name that are no UTF-8 show as the replacement sign."""
    return escape(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
