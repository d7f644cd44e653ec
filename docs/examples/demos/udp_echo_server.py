"""An echo server that answers each datagram after a delay, without delaying the others.

    python udp_echo_server.py udp://127.0.0.1:10031 0.5
"""

from __future__ import annotations

import signal
import sys
import time

from evsockets import (
    AcceptEvent,
    DelayedOperation,
    Event,
    EventType,
    ReadEvent,
    ReadOperation,
    RemoveFinishedSocketsEventHandler,
    RequestExecutor,
    ServerSocket,
    SocketExceptionEvent,
    WriteOperation,
)


class Echo:
    """Answers after `delay` seconds."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.client = RemoveFinishedSocketsEventHandler({EventType.READ: self.on_read})

    def on_listening(self, event: Event) -> None:
        here = event.metadata.local_address
        assert isinstance(here, tuple)  # not the path of a unix socket
        print("udp://%s:%d" % here[:2], "echoes", flush=True)

    def on_accept(self, event: AcceptEvent) -> None:
        event.executor.socket_bag.add_socket(event.client_socket, ReadOperation(), handler=self.client)

    def on_read(self, event: ReadEvent) -> None:
        when = time.monotonic() + self.delay
        there = event.metadata.remote_address
        assert isinstance(there, tuple)
        asker = "%s:%d" % there[:2]
        answer = WriteOperation(f"echo for {asker}: ".encode() + event.frame.data)
        event.next_is(
            DelayedOperation(answer, lambda socket, executor: time.monotonic() < when, interval=self.delay)
        )


def on_exception(event: SocketExceptionEvent) -> None:
    print(event.exception, file=sys.stderr)


def main(address: str, delay: str) -> None:
    echo = Echo(float(delay))
    with RequestExecutor() as executor:
        executor.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            address=address,
            handler={
                EventType.CONNECTED: echo.on_listening,
                EventType.ACCEPT: echo.on_accept,
                EventType.EXCEPTION: on_exception,
            },
        )
        signal.signal(signal.SIGTERM, lambda *_: executor.drain(2))
        executor.execute_request()


if __name__ == "__main__":
    main(*sys.argv[1:])
