"""Two requests at once: one address answers in time, one connection is slow and gets a second attempt.

    python request_executor_client.py tcp://127.0.0.1:80 tcp://127.0.0.1:81
"""

from __future__ import annotations

import sys

from evsockets import (
    ClientSocket,
    Event,
    EventType,
    MarkerFramePicker,
    ReadEvent,
    RequestExecutor,
    SocketExceptionEvent,
    TimeoutEvent,
    WriteEvent,
    WriteOperation,
)

REQUEST = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
PAGE = MarkerFramePicker(None, b"</html>", case_sensitive=False)


def log(event: Event) -> None:
    print(event.type.value, event.metadata.address)


def on_write(event: WriteEvent) -> None:
    event.next_is_read(PAGE)


def on_read(event: ReadEvent) -> None:
    print(event.metadata.address, "sent", len(event.frame), "bytes")


def on_timeout(event: TimeoutEvent) -> None:
    """One more attempt, with ten times the time."""
    if event.user_context is None:
        event.metadata.user_context = "tried again"
        event.metadata.io_timeout = 2
        event.enable_one_more_attempt()


def on_exception(event: SocketExceptionEvent) -> None:
    print(event.exception)


def main(quick: str, slow: str) -> None:
    with RequestExecutor() as executor:
        executor.with_event_handler(
            {
                EventType.INITIALIZE: log,
                EventType.CONNECTED: log,
                EventType.WRITE: [log, on_write],
                EventType.READ: [log, on_read],
                EventType.TIMEOUT: [log, on_timeout],
                EventType.EXCEPTION: on_exception,
                EventType.DISCONNECTED: log,
            }
        )
        add = executor.socket_bag.add_socket
        add(ClientSocket(), WriteOperation(REQUEST), address=quick)
        add(ClientSocket(), WriteOperation(REQUEST), address=slow, io_timeout=0.2)
        executor.execute_request()


if __name__ == "__main__":
    main(*sys.argv[1:])
