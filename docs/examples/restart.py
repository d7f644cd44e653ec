"""An HTTP server that another process replaces while it serves, without a failed request.

    python restart.py tcp://127.0.0.1:8080     shares the port with its predecessor (SO_REUSEPORT)
    python restart.py fd://3                   serves on a listening socket that another process holds open

Start the new one; when it has printed its address, send SIGTERM to the old one. Several addresses are served
at once.
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
    RequestExecutor,
    ServerSocket,
    SocketExceptionEvent,
    StreamContext,
)

REQUEST = ReadOperation(MarkerFramePicker(None, b"\r\n\r\n", max_length=16 * 1024))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: %b\r\n\r\nok\n"


class Site:
    """The service at one address."""

    def __init__(self, executor: RequestExecutor, address: str) -> None:
        self.executor = executor
        self.closed = False  # the listener: new connections go to the successor
        executor.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            address=address,
            stream_context=StreamContext(reuse_port=address.startswith("tcp")),
            handler={
                EventType.CONNECTED: self.on_listening,
                EventType.ACCEPT: self.on_accept,
                EventType.FINALIZE: self.on_closed,
            },
        )

    def on_listening(self, event: Event) -> None:
        here = event.metadata.local_address
        print("tcp://%s:%d" % here[:2] if isinstance(here, tuple) else f"unix://{here}", flush=True)

    def on_closed(self, event: Event) -> None:
        self.closed = True

    def on_accept(self, event: AcceptEvent) -> None:
        # Between two requests a read is pending, so that the connection does not idle: a drain would close
        # an idle connection at once, and a request that is on its way then would fail.
        self.executor.socket_bag.add_socket(
            event.client_socket,
            REQUEST,
            io_timeout=60,
            handler={EventType.READ: self.on_request, EventType.EXCEPTION: on_lost},
        )

    def on_request(self, event: ReadEvent) -> None:
        if self.closed or b"connection: close" in event.frame.data.lower():
            event.next_is_write(ANSWER % b"close")
        else:
            event.next_is_write(ANSWER % b"keep-alive", then=REQUEST)


def on_lost(event: SocketExceptionEvent) -> None:
    """Errors of clients are ignored."""


if __name__ == "__main__":
    if len(sys.argv) < 2 or not all("://" in address for address in sys.argv[1:]):
        print("usage: python restart.py ADDRESS [ADDRESS...]", file=sys.stderr)
        sys.exit(2)
    with RequestExecutor() as executor:
        for address in sys.argv[1:]:
            Site(executor, address)
        executor.call_soon_threadsafe(signal.signal, signal.SIGTERM, lambda *_: executor.drain(timeout=10))
        executor.execute_request()
