"""Events as blinker signals, for parts of a program that do not handle sockets.

    python system_notification.py tcp://127.0.0.1:80
"""

from __future__ import annotations

import sys
from typing import Any

from blinker import Namespace

from evsockets import (
    ClientSocket,
    Event,
    EventType,
    MarkerFramePicker,
    ReadOperation,
    RequestExecutor,
    SignalEventHandler,
    WriteOperation,
)

REQUEST = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
PAGE = MarkerFramePicker(None, b"</html>", case_sensitive=False)


def log(sender: Any, event: Event) -> None:
    """A logger, which may be anywhere in the program."""
    print("notified of", event.type.value)


def main(address: str) -> None:
    signals = Namespace()
    for kind in EventType:
        signals.signal(kind.value).connect(log)
    with RequestExecutor() as executor:
        executor.with_event_handler(SignalEventHandler(signals))
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(REQUEST, then=ReadOperation(PAGE)), address=address
        )
        executor.execute_request()


if __name__ == "__main__":
    main(*sys.argv[1:])
