"""The directory `serve` shows: files and listings, and never anything outside it."""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
import time
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from urllib.parse import quote

from ..text import human_bytes
from .http import HttpError

#: What every page looks like, by day and by night, on a desk and on a phone.
_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 0 .3rem .8rem; border-bottom: 1px solid #8884; }
td:first-child, th:first-child { width: 100%; padding-left: 0; overflow-wrap: anywhere; }
td:not(:first-child), th:not(:first-child) { text-align: right; white-space: nowrap; }
a { text-decoration: none; } a:hover { text-decoration: underline; }
footer { margin-top: 1rem; opacity: .6; font-size: .85rem; }
@media (max-width: 35rem) { td:nth-child(3), th:nth-child(3) { display: none; } }
"""


@dataclass(slots=True)
class OpenFile:
    """A regular file open for reading. Its owner closes `descriptor`."""

    descriptor: int
    size: int
    modified: float
    tag: str
    content_type: str


@dataclass(slots=True)
class Listing:
    """A directory, as a page of HTML."""

    page: bytes


@dataclass(slots=True)
class Redirect:
    """A directory asked for without its final slash; `location` is where it is."""

    location: str


class Directory:
    """A directory whose files are shown; `root` is its path. NotADirectoryError if it is none."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(os.fsencode(root))
        if not os.path.isdir(self.root):
            raise NotADirectoryError(root)
        self._inside = self.root.rstrip(b"/") + b"/"

    def open(self, path: bytes) -> OpenFile | Listing | Redirect:
        """Return what the decoded absolute URL path `path` names; HttpError if there is nothing to show.

        Symbolic links are followed as long as they stay inside. A link that leads out, like "..", is
        answered as if it were not there.
        """
        names = [name for name in path.split(b"/") if name not in (b"", b".")]
        if b".." in names:
            raise HttpError(HTTPStatus.NOT_FOUND, "nothing here")
        try:
            descriptor = self._descriptor(names)
        except PermissionError:
            raise HttpError(HTTPStatus.FORBIDDEN, "no permission") from None
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "too many files are open") from None
            raise HttpError(HTTPStatus.NOT_FOUND, "nothing here") from None
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                if path.endswith(b"/"):
                    return self._listing_or_index(names)
                return Redirect("/" + "".join(quote(name) + "/" for name in names))
            if not stat.S_ISREG(status.st_mode) or path.endswith(b"/"):
                raise HttpError(HTTPStatus.NOT_FOUND, "nothing here")
            found = _describe(descriptor, names[-1], status)
            descriptor = -1
            return found
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _descriptor(self, names: list[bytes]) -> int:
        """Open what `names` lead to, read-only."""
        try:
            return self._walk(names)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
        # There is a link on the way: walk where it leads, if that is inside.
        real = os.path.realpath(os.path.join(self.root, *names), strict=True)
        if not (real + b"/").startswith(self._inside):
            raise FileNotFoundError
        return self._walk([step for step in real[len(self._inside) :].split(b"/") if step])

    def _walk(self, steps: list[bytes]) -> int:
        """Open step by step from the root, refusing links (ELOOP, or ENOTDIR): nobody who swaps a
        directory for a link meanwhile leads this out."""
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        here = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for step in steps:
            try:
                there = os.open(step, flags, dir_fd=here)
            finally:
                os.close(here)
            here = there
        return here

    def _listing_or_index(self, names: list[bytes]) -> OpenFile | Listing:
        try:
            index = self._descriptor([*names, b"index.html"])
        except OSError:  # usually there is none
            return Listing(self._page(names))
        status = os.fstat(index)
        if stat.S_ISREG(status.st_mode):
            return _describe(index, b"index.html", status)
        os.close(index)
        return Listing(self._page(names))

    def _page(self, names: list[bytes]) -> bytes:
        """The HTML page which lists a directory; what would not be shown when asked for is left out."""
        title = "/" + "".join(os.fsdecode(name) + "/" for name in names)
        rows = []
        if names:
            rows.append('<tr><td><a href="../">../</a></td><td></td><td></td></tr>')
        place = os.path.join(self.root, *names)
        try:
            with os.scandir(place) as entries:
                found = [item for entry in entries if (item := self._item(entry)) is not None]
        except OSError:
            raise HttpError(HTTPStatus.FORBIDDEN, "no permission") from None
        for is_file, name, size, modified in sorted(found):
            slash = "" if is_file else "/"
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(modified))
            # "./" keeps a name such as "a:b" from being taken for a scheme.
            rows.append(
                f'<tr><td><a href="./{quote(name)}{slash}">{_text(os.fsdecode(name))}{slash}</a></td>'
                f"<td>{human_bytes(size) if is_file else ''}</td><td>{when}</td></tr>"
            )
        page = (
            f"{page_head(_text(title))}<body>\n<h1>{_text(title)}</h1>\n"
            "<table>\n<thead><tr><th>Name</th><th>Size</th><th>Modified</th></tr></thead>\n<tbody>\n"
            + "\n".join(rows)
            + f"\n</tbody>\n</table>\n<footer>{_entries(len(found))}, served by evsockets</footer>\n"
            + "</body>\n</html>\n"
        )
        return page.encode("utf-8")

    def _item(self, entry: os.DirEntry[bytes]) -> tuple[bool, bytes, int, float] | None:
        """One entry as `(is_file, name, size, modified)`, None if it is not to be shown."""
        try:
            if entry.is_symlink():
                real = os.path.realpath(entry.path, strict=True)
                if not (real + b"/").startswith(self._inside):
                    return None
            status = entry.stat()
        except OSError:  # gone meanwhile, or a link to nothing
            return None
        if stat.S_ISDIR(status.st_mode):
            return False, entry.name, 0, status.st_mtime
        return (True, entry.name, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None


def page_head(title: str) -> str:
    """Return how a page with this title (as HTML) begins, up to its body."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
    )


def _entries(count: int) -> str:
    return {0: "nothing here", 1: "1 entry"}.get(count, f"{count} entries")


def _describe(descriptor: int, name: bytes, status: os.stat_result) -> OpenFile:
    kind, encoding = mimetypes.guess_type(os.fsdecode(name))
    if encoding is not None:
        # The file itself is what is asked for, not what it would unpack to.
        kind = {"gzip": "application/gzip"}.get(encoding, "application/octet-stream")
    kind = kind or "application/octet-stream"
    if kind.startswith("text/") or kind in ("application/json", "application/javascript"):
        kind += "; charset=utf-8"
    tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    return OpenFile(descriptor, status.st_size, status.st_mtime, tag, kind)


def _text(text: str) -> str:
    """`text` for HTML; bytes of a file name that are no UTF-8 show as the replacement sign."""
    return escape(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
