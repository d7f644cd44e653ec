"""The access log of `serve`: a line for each answered request, in the format of web servers or as JSON."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from ..http import Request
from ..text import printable
from .common import notice

FORMATS = ("combined", "json")


class Entry:
    """One answer: the peer, its request, `when` (a Unix timestamp), the status, and the body's `bytes`."""

    __slots__ = ("began", "bytes", "peer", "request", "status", "when")

    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.request: Request | None = None
        self.status = 0
        self.bytes = 0
        self.when = time.time()
        self.began = time.monotonic()


class AccessLog:
    """Writes entries to standard error. `form`: "combined" (the format of Apache and nginx, with the seconds
    that the answer took at the end), "json" (one object a line), None for no lines.

    Text of clients is escaped."""

    def __init__(self, form: str | None) -> None:
        self._line = {"combined": _combined, "json": _json}.get(form or "")

    @property
    def wanted(self) -> bool:
        """Whether lines are written at all."""
        return self._line is not None

    def write(self, entry: Entry) -> None:
        """Write the line of an answer that is over."""
        if self._line is not None:
            notice(self._line(entry, time.monotonic() - entry.began))

    def error(self, peer: Any, error: BaseException) -> None:
        """Write what ended a client."""
        if self._line is _json:
            notice(json.dumps({"client": _named(peer), "error": str(error)}))
        elif self._line is not None:
            notice(f"{printable(_named(peer))} {str(error)!a}")


def _combined(entry: Entry, seconds: float) -> str:
    request = entry.request
    when = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(entry.when))
    line, referer, agent = "-", "-", "-"
    if request is not None:
        line = f"{request.method} {request.target} HTTP/{request.version[0]}.{request.version[1]}"
        referer, agent = request.headers.get("referer", "-"), request.headers.get("user-agent", "-")
    quoted = [_quoted(text) for text in (line, referer, agent)]
    size = entry.bytes or "-"
    peer = printable(_named(entry.peer)).replace(" ", "\\x20")  # which parts the fields
    return f"{peer} - - [{when}] {quoted[0]} {entry.status} {size} {quoted[1]} {quoted[2]} {seconds:.6f}"


def _json(entry: Entry, seconds: float) -> str:
    request = entry.request
    told: dict[str, Any] = {
        "time": datetime.fromtimestamp(entry.when, UTC).isoformat(timespec="milliseconds"),
        "client": _named(entry.peer),
        "method": None if request is None else request.method,
        "target": None if request is None else request.target,
        "status": entry.status,
        "bytes": entry.bytes,
        "seconds": round(seconds, 6),
        "referer": None if request is None else request.headers.get("referer"),
        "agent": None if request is None else request.headers.get("user-agent"),
    }
    return json.dumps(told)


def _named(peer: Any) -> str:
    """A client's address without its port; a path, if it has one."""
    return str(peer[0] if isinstance(peer, tuple) else peer or "-")


def _quoted(text: str) -> str:
    r"""In quotes that nothing inside can end; what is no printable ASCII as \xHH."""
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
