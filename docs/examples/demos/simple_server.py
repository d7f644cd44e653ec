"""A web server of two pages and one error, by handlers. (`evsockets serve` serves files.)

    python simple_server.py tcp://127.0.0.1:8080
"""

from __future__ import annotations

import signal
import sys

from evsockets import (
    AcceptEvent,
    Event,
    EventType,
    MarkerFramePicker,
    ReadEvent,
    ReadOperation,
    RemoveFinishedSocketsEventHandler,
    RequestExecutor,
    ServerSocket,
    SocketExceptionEvent,
)

HEAD = MarkerFramePicker(None, b"\r\n\r\n", max_length=16_384)
PAGES = {
    b"/": b"<html><a href='/about'>About</a></html>",
    b"/about": b"<html>A server of thirty lines.</html>",
}


def on_listening(event: Event) -> None:
    here = event.metadata.local_address
    assert isinstance(here, tuple)  # not the path of a unix socket
    print("http://%s:%d" % here[:2], "waits for a browser", flush=True)


def on_accept(event: AcceptEvent) -> None:
    event.executor.socket_bag.add_socket(
        event.client_socket, ReadOperation(HEAD), handler=CLIENT, io_timeout=10
    )


def on_read(event: ReadEvent) -> None:
    _, _, rest = event.frame.data.partition(b" ")
    page = PAGES.get(rest.split(b" ")[0].partition(b"?")[0])
    status = b"404 Not Found" if page is None else b"200 OK"
    page = page or b"<html>There is no such page.</html>"
    head = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    event.next_is_write(head % (status, len(page)) + page)


def on_exception(event: SocketExceptionEvent) -> None:
    print(event.exception, file=sys.stderr)


#: The handler of all clients, which removes finished ones from the bag.
CLIENT = RemoveFinishedSocketsEventHandler({EventType.READ: on_read, EventType.EXCEPTION: on_exception})


def main(address: str) -> None:
    with RequestExecutor() as executor:
        executor.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            address=address,
            handler={
                EventType.CONNECTED: on_listening,
                EventType.ACCEPT: on_accept,
                EventType.EXCEPTION: on_exception,
            },
        )
        signal.signal(signal.SIGTERM, lambda *_: executor.drain(2))
        executor.execute_request()


if __name__ == "__main__":
    main(*sys.argv[1:])
