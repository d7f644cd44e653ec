"""The directory `serve` shows: files and listings, and never anything outside it."""

from __future__ import annotations

import errno
import functools
import mimetypes
import os
import re
import stat
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from ..http import HttpError
from .pages import Item, listing

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# A user in front of the host is an error (RFC 9110 4.2.4).
_ABSOLUTE = re.compile(r"https?://[^/?#@]+(?=[/?#]|$)", re.IGNORECASE)


# O_NONBLOCK: opening a FIFO must not wait for its writer.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


class OpenFile(NamedTuple):
    """A regular file open for reading. Its owner closes `descriptor`."""

    descriptor: int
    size: int
    modified: float
    tag: str
    content_type: str


class Listing(NamedTuple):
    """A directory, as a page of HTML."""

    page: bytes


class Redirect(NamedTuple):
    """A directory asked for without its final slash; `location` is where it is."""

    location: str


@functools.lru_cache(maxsize=256)
def path_of(target: str) -> tuple[bytes, str]:
    """Return the decoded path of a request target, in origin or absolute form, and its query; HttpError (400)
    for one that has no path."""
    absolute = _ABSOLUTE.match(target)
    if absolute:
        target = "/" + target[absolute.end() :].removeprefix("/")  # which a query may follow at once
    path, _, query = target.partition("#")[0].partition("?")
    if not path.startswith("/"):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the request target is no path")
    if _BAD_ESCAPE.search(path):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the path has a malformed percent escape")
    decoded = unquote_to_bytes(path)
    if b"\0" in decoded:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the path has a NUL byte")
    return decoded, query


class Directory:
    """A directory whose files are shown; `root` is its path. NotADirectoryError if it is none.

    `hidden`: whether names that begin with a dot are shown, too. A link counts by its own name.
    """

    def __init__(self, root: str, *, hidden: bool = False) -> None:
        self._hidden = hidden
        self.root = os.path.realpath(os.fsencode(root))
        if not os.path.isdir(self.root):
            raise NotADirectoryError(root)
        self._inside = self.root.rstrip(b"/") + b"/"

    def open(self, path: bytes, query: str = "") -> OpenFile | Listing | Redirect:
        """Return what the decoded absolute URL path `path` names; HttpError if there is nothing to show.
        `query` may say how a listing is sorted.

        Symbolic links are followed as long as they stay inside. A link that leads out, like "..", is
        answered as if it were not there.
        """
        names = [name for name in path.split(b"/") if name not in (b"", b".")]
        if b"/." in path and (b".." in names or not (self._hidden or _are_shown(names))):
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
                    return self._listing_or_index(names, query)
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
        if not steps:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        here = os.open(self._inside + steps[0], _FLAGS)
        for step in steps[1:]:
            try:
                there = os.open(step, _FLAGS, dir_fd=here)
            finally:
                os.close(here)
            here = there
        return here

    def _listing_or_index(self, names: list[bytes], query: str) -> OpenFile | Listing:
        try:
            index = self._descriptor([*names, b"index.html"])
        except OSError:  # usually there is none
            return self._listed(names, query)
        status = os.fstat(index)
        if stat.S_ISREG(status.st_mode):
            return _describe(index, b"index.html", status)
        os.close(index)
        return self._listed(names, query)

    def _listed(self, names: list[bytes], query: str) -> Listing:
        """What a directory holds, as a page; what would not be shown when asked for is left out."""
        place = os.path.join(self.root, *names)
        try:
            with os.scandir(place) as entries:
                items = [item for entry in entries if (item := self._item(entry)) is not None]
        except OSError:
            raise HttpError(HTTPStatus.FORBIDDEN, "no permission") from None
        return Listing(listing(names, items, query))

    def _item(self, entry: os.DirEntry[bytes]) -> Item | None:
        """One entry; None if it is not to be shown."""
        if not self._hidden and entry.name.startswith(b"."):
            return None
        try:
            if entry.is_symlink():
                real = os.path.realpath(entry.path, strict=True)
                if not (real + b"/").startswith(self._inside):
                    return None
            status = entry.stat()
        except OSError:  # gone meanwhile, or a link to nothing
            return None
        if stat.S_ISDIR(status.st_mode):
            return Item(False, entry.name, 0, status.st_mtime)
        is_file = stat.S_ISREG(status.st_mode)
        return Item(True, entry.name, status.st_size, status.st_mtime) if is_file else None


def _are_shown(names: list[bytes]) -> bool:
    return not any(name.startswith(b".") for name in names)


def _describe(descriptor: int, name: bytes, status: os.stat_result) -> OpenFile:
    tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    return OpenFile(descriptor, status.st_size, status.st_mtime, tag, _content_type(name))


@functools.lru_cache(maxsize=256)
def _content_type(name: bytes) -> str:
    kind, encoding = mimetypes.guess_type(os.fsdecode(name))
    if encoding is not None:
        # The file itself is what is asked for, not what it would unpack to.
        kind = {"gzip": "application/gzip"}.get(encoding, "application/octet-stream")
    kind = kind or "application/octet-stream"
    if kind.startswith("text/") or kind in ("application/json", "application/javascript"):
        kind += "; charset=utf-8"
    return kind
