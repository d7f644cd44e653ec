"""systemd: notifications to it, and the sockets that it has opened (sd_notify(3), sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

_FIRST = 3


def notify(state: str) -> None:
    """Send `state`, such as "READY=1", to the service manager, if there is one (NOTIFY_SOCKET)."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)


def passed_socket(family: int, sockaddr: Any) -> int | None:
    """The descriptor of the listening socket at `sockaddr` that the service manager passed on, or None."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    for number in range(_FIRST, _FIRST + int(os.environ.get("LISTEN_FDS", "0"))):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as sock:
            if sock.family == family and _place(sock.getsockname()) == _place(sockaddr):
                return number
    return None


def _place(sockaddr: Any) -> Any:
    return sockaddr[:2] if isinstance(sockaddr, tuple) else sockaddr
