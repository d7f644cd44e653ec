"""A streaming HTTP proxy, which gets its routes from Redis and the answers from HTTP servers.

    python proxy.py tcp://127.0.0.1:8080 tcp://127.0.0.1:6379

The first segment of a path is a key in Redis: after `SET route:app tcp://127.0.0.1:9000`, a request for
`/app/page` goes to that server as `/page`. Request and response bodies of any size pass through one slot a
direction, so a slow reader slows its sender down and memory is bounded. Bodies of requests need a
Content-Length; an upstream server gets the whole request before its answer is read.
"""

from __future__ import annotations

import re
import signal
import sys
from typing import Any

from evsockets import (
    AcceptEvent,
    ClientSocket,
    Configuration,
    DelayedOperation,
    Event,
    EventType,
    MarkerFramePicker,
    PersistentClientSocket,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    RespFramePicker,
    ServerSocket,
    WriteEvent,
    WriteOperation,
)
from evsockets.frames import RespFrame

HEAD = MarkerFramePicker(None, b"\r\n\r\n", max_length=16 * 1024)
REPLY = ReadOperation(RespFramePicker(max_length=1024))
REQUEST = re.compile(rb"([A-Z]+) (/([A-Za-z0-9_-]+)(/\S*)?) HTTP/1\.[01]")
#: Hop-by-hop fields, which are not forwarded (RFC 9110, 7.6.1).
HOP = {b"connection", b"keep-alive", b"expect", b"te", b"trailer", b"upgrade", b"proxy-connection"}


class Slot:
    """One direction of a relay, holding one chunk at most: adding another one waits."""

    def __init__(self) -> None:
        self.chunk = b""
        self.ended = False

    def is_full(self, *_: Any) -> bool:
        return bool(self.chunk)

    def is_empty(self, *_: Any) -> bool:
        return not self.chunk and not self.ended

    def take(self) -> bytes:
        chunk, self.chunk = self.chunk, b""
        return chunk


class Exchange:
    """One request: the client in front, the look-up, and the server behind."""

    def __init__(self, proxy: Proxy, client: Any) -> None:
        self.proxy = proxy
        self.client = client
        self.server: ClientSocket | None = None
        self.up = Slot()
        self.down = Slot()
        self.head = b""
        self.answering = False
        self.body_left = 0
        self.greet = b""  # 100 (Continue) for an upload, once its server is known

    # The client: its head is read, then its body if it has one, then it waits for data to write.

    def on_client_read(self, event: ReadEvent) -> None:
        if self.head:
            chunk = event.frame.data[: self.body_left]
            self.body_left -= len(chunk)
            self.up.chunk = chunk
            more = DelayedOperation(ReadOperation(), self.up.is_full)
            event.next_is(more if self.body_left else self.write_later())
            return
        event.next_is(self.write_later())
        if not self.parse(event.frame.data):
            self.refuse(b"400 Bad Request")

    def parse(self, data: bytes) -> bool:
        """Parse the request and look its route up; False if it cannot be forwarded."""
        first, *lines = data[:-4].split(b"\r\n")
        request = REQUEST.fullmatch(first)
        if request is None:
            return False
        kept = [b"%b %b HTTP/1.1" % (request[1], request[4] or b"/")]
        for line in lines:
            name, colon, value = line.partition(b":")
            name = name.lower()
            if not colon or name.strip() != name or name == b"transfer-encoding":
                return False
            if name == b"content-length":
                if not value.strip().isdigit() or self.body_left:
                    return False
                self.body_left = int(value)
            elif name == b"expect":
                self.greet = b"HTTP/1.1 100 Continue\r\n\r\n"
            if name not in HOP:
                kept.append(line)
        self.head = b"\r\n".join([*kept, b"Connection: close", b"\r\n"])
        self.proxy.look_up(request[3], self)
        return True

    def write_later(self) -> DelayedOperation:
        return DelayedOperation(WriteOperation(), self.nothing_to_say)

    def nothing_to_say(self, *_: Any) -> bool:
        return self.down.is_empty() and (not self.body_left or self.server is None)

    def on_client_write(self, event: WriteEvent) -> None:
        """Forward a chunk, end, or send 100 (Continue) for an upload."""
        if self.down.chunk:
            event.operation.data = self.down.take()
            event.next_is(self.write_later())
        elif not self.down.ended:
            event.operation.data, self.greet = self.greet, b""
            event.next_is_read()

    def on_client_end(self, event: Event) -> None:
        if self.server is not None:
            self.server.close()

    def refuse(self, status: bytes) -> None:
        """Answer instead of a server that failed; if its answer has begun, close the connection."""
        if self.down.ended:
            return
        if self.answering:
            self.client.close()
            return
        self.down.chunk = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status
        self.down.ended = True

    # The upstream server.

    def connect(self, address: str) -> None:
        server = ClientSocket()
        then = DelayedOperation(WriteOperation(), self.up.is_empty) if self.body_left else ReadOperation()
        self.proxy.executor.socket_bag.add_socket(
            server,
            WriteOperation(self.head, then=then),
            handler={
                EventType.WRITE: self.on_server_write,
                EventType.READ: self.on_server_read,
                EventType.EXCEPTION: lambda event: self.refuse(b"502 Bad Gateway"),
                EventType.TIMEOUT: lambda event: self.refuse(b"504 Gateway Timeout"),
                EventType.FINALIZE: self.on_server_end,
            },
            address=address,
            connection_timeout=10,
            io_timeout=60,
        )
        self.server = server

    def on_server_write(self, event: WriteEvent) -> None:
        if event.operation.data is not None:  # the head
            return
        event.operation.data = self.up.take()
        more = self.body_left or self.up.chunk
        event.next_is(DelayedOperation(WriteOperation(), self.up.is_empty) if more else ReadOperation())

    def on_server_read(self, event: ReadEvent) -> None:
        self.answering = True
        self.down.chunk = event.frame.data
        event.next_is(DelayedOperation(ReadOperation(), self.down.is_full))

    def on_server_end(self, event: Event) -> None:
        self.down.ended = True
        event.executor.socket_bag.remove_socket(event.socket)


class Proxy:
    """The listener, and the look-ups in Redis over pooled connections."""

    def __init__(self, executor: RequestExecutor, front: str, routes: str) -> None:
        self.executor = executor
        self.routes = routes
        executor.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            address=front,
            handler={EventType.CONNECTED: self.on_listening, EventType.ACCEPT: self.on_accept},
        )

    def on_listening(self, event: Event) -> None:
        here = event.metadata.local_address
        assert isinstance(here, tuple)  # not the path of a unix socket
        print("http://%s:%d" % here[:2], "proxies", flush=True)

    def on_accept(self, event: AcceptEvent) -> None:
        exchange = Exchange(self, event.client_socket)
        self.executor.socket_bag.add_socket(
            event.client_socket,
            ReadOperation(HEAD),
            handler={
                EventType.READ: exchange.on_client_read,
                EventType.WRITE: exchange.on_client_write,
                # A client that closes, or times out, gets no answer.
                EventType.EXCEPTION: lambda event: None,
                EventType.TIMEOUT: lambda event: None,
                EventType.FINALIZE: exchange.on_client_end,
            },
            io_timeout=30,
        )

    def look_up(self, name: bytes, exchange: Exchange) -> None:
        """Get a route from Redis; the exchange goes on with its answer."""

        def on_read(event: ReadEvent[RespFrame]) -> None:
            self.executor.socket_bag.forget_socket(event.socket)  # back to the pool
            route = event.frame.value
            if not isinstance(route, bytes):  # none, or an error
                exchange.refuse(b"404 Not Found" if route is None else b"502 Bad Gateway")
            elif exchange.client in self.executor.socket_bag:
                exchange.connect(route.decode())

        key = b"route:" + name
        self.executor.socket_bag.add_socket(
            PersistentClientSocket("routes"),
            WriteOperation(b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key), then=REPLY),
            handler={
                EventType.READ: on_read,
                EventType.EXCEPTION: lambda event: exchange.refuse(b"502 Bad Gateway"),
                EventType.TIMEOUT: lambda event: exchange.refuse(b"504 Gateway Timeout"),
                EventType.FINALIZE: lambda event: self.executor.socket_bag.remove_socket(event.socket),
            },
            address=self.routes,
            connection_timeout=5,
            io_timeout=5,
        )


def main(front: str, routes: str) -> None:
    """Proxy until SIGTERM; running requests have ten seconds to end."""
    with RequestExecutor(configuration=Configuration(isolate_handler_errors=True)) as executor:
        Proxy(executor, front, routes)
        signal.signal(signal.SIGTERM, lambda *_: executor.drain(10))
        executor.execute_request()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: python proxy.py FRONT ROUTES", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
