"""Two requests over one connection, kept open between two runs: the socket is forgotten, and added again.

    python keep_alive_connection.py tcp://127.0.0.1:80
"""

from __future__ import annotations

import sys

from evsockets import (
    ClientSocket,
    Event,
    EventType,
    MarkerFramePicker,
    ReadEvent,
    RemoveFinishedSocketsEventHandler,
    RequestExecutor,
    SocketExceptionEvent,
    WriteEvent,
    WriteOperation,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
PAGE = MarkerFramePicker(None, b"</html>", case_sensitive=False)


def log(event: Event) -> None:
    print(event.type.value)


def on_write(event: WriteEvent) -> None:
    event.next_is_read(PAGE)


def on_read(event: ReadEvent) -> None:
    here = event.metadata.local_address
    assert isinstance(here, tuple)  # not the path of a unix socket
    print(len(event.frame), "bytes over the connection of port", here[1])
    event.executor.socket_bag.forget_socket(event.socket)


def on_exception(event: SocketExceptionEvent) -> None:
    print(event.exception)


def main(address: str) -> None:
    socket = ClientSocket()
    with RequestExecutor() as executor:
        executor.with_event_handler(
            RemoveFinishedSocketsEventHandler(
                {
                    EventType.INITIALIZE: log,
                    EventType.CONNECTED: log,
                    EventType.WRITE: [log, on_write],
                    EventType.READ: [log, on_read],
                    EventType.EXCEPTION: on_exception,
                    EventType.DISCONNECTED: log,
                    EventType.FINALIZE: log,
                }
            )
        )
        for _ in range(2):
            executor.socket_bag.add_socket(
                socket, WriteOperation(REQUEST), address=address, keep_alive=True, connection_timeout=5
            )
            executor.execute_request()


if __name__ == "__main__":
    main(*sys.argv[1:])
