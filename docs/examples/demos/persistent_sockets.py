"""A server that forwards requests over pooled connections: a persistent socket returns its connection to the
pool of the process, and the next one with the same key reuses it.

    python persistent_sockets.py tcp://127.0.0.1:8080 tcp://127.0.0.1:80
"""

from __future__ import annotations

import signal
import sys

from evsockets import (
    AcceptEvent,
    DelayedOperation,
    Event,
    EventType,
    MarkerFramePicker,
    PersistentClientSocket,
    ReadEvent,
    ReadOperation,
    RemoveFinishedSocketsEventHandler,
    RequestExecutor,
    ServerSocket,
    SocketExceptionEvent,
    WriteOperation,
)

HEAD = MarkerFramePicker(None, b"\r\n\r\n", max_length=16_384)
PAGE = MarkerFramePicker(None, b"</html>", case_sensitive=False)
REQUEST = WriteOperation(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", then=ReadOperation(PAGE))


class Gateway:
    """Passes each request on, and its answer back."""

    def __init__(self, executor: RequestExecutor, remote: str) -> None:
        self.executor = executor
        self.remote = remote

    def on_listening(self, event: Event) -> None:
        here = event.metadata.local_address
        assert isinstance(here, tuple)  # not the path of a unix socket
        print("http://%s:%d" % here[:2], "asks", self.remote, flush=True)

    def on_accept(self, event: AcceptEvent) -> None:
        self.executor.socket_bag.add_socket(
            event.client_socket, ReadOperation(HEAD), handler={EventType.READ: self.on_request}
        )

    def on_request(self, event: ReadEvent) -> None:
        answer = WriteOperation()  # delayed until its data has arrived
        event.next_is(DelayedOperation(answer, lambda socket, executor: answer.data is None))

        def on_answer(read: ReadEvent) -> None:
            page = read.frame.data.partition(b"\r\n\r\n")[2]
            answer.data = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
            self.executor.socket_bag.forget_socket(read.socket)

        def on_end(end: Event) -> None:
            if answer.data is None:
                answer.data = b"HTTP/1.0 502 Bad Gateway\r\n\r\n"

        self.executor.socket_bag.add_socket(
            PersistentClientSocket(key="remote"),
            REQUEST,
            address=self.remote,
            connection_timeout=5,
            io_timeout=5,
            handler=RemoveFinishedSocketsEventHandler(
                {
                    EventType.CONNECTED: self.on_connected,
                    EventType.READ: on_answer,
                    EventType.EXCEPTION: on_exception,
                    EventType.FINALIZE: on_end,
                }
            ),
        )

    def on_connected(self, event: Event) -> None:
        print("a connection to", self.remote, flush=True)


def on_exception(event: SocketExceptionEvent) -> None:
    print(event.exception, file=sys.stderr)


def main(address: str, remote: str) -> None:
    with RequestExecutor() as executor:
        gateway = Gateway(executor, remote)
        executor.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            address=address,
            handler={
                EventType.CONNECTED: gateway.on_listening,
                EventType.ACCEPT: gateway.on_accept,
                EventType.EXCEPTION: on_exception,
            },
        )
        signal.signal(signal.SIGTERM, lambda *_: executor.drain(2))
        executor.execute_request()


if __name__ == "__main__":
    main(*sys.argv[1:])
