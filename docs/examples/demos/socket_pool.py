"""Many requests, a few at a time, each over TLS that starts when the connection is made.

    python socket_pool.py tcp://127.0.0.1:443 256 32 ca.pem
"""

from __future__ import annotations

import sys

from evsockets import (
    ClientSocket,
    ConstantLimitationSolver,
    Event,
    EventType,
    MarkerFramePicker,
    ReadEvent,
    RemoveFinishedSocketsEventHandler,
    RequestExecutor,
    SocketExceptionEvent,
    TimeoutEvent,
    TlsHandshakeOperation,
    WriteEvent,
    WriteOperation,
)

REQUEST = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
PAGE = MarkerFramePicker(None, b"</html>", case_sensitive=False)


class Pool:
    """Counts running requests, and their results."""

    def __init__(self) -> None:
        self.open = self.most = self.read = self.failed = 0

    def on_connected(self, event: Event) -> None:
        self.open += 1
        self.most = max(self.most, self.open)

    def on_write(self, event: WriteEvent) -> None:
        event.next_is_read(PAGE)

    def on_read(self, event: ReadEvent) -> None:
        self.read += 1

    def on_disconnected(self, event: Event) -> None:
        self.open -= 1

    def on_failure(self, event: SocketExceptionEvent | TimeoutEvent) -> None:
        self.failed += 1


def main(address: str, total: str, concurrent: str, ca_file: str) -> None:
    pool = Pool()
    with RequestExecutor() as executor:
        executor.with_limitation_solver(ConstantLimitationSolver(int(concurrent)))
        executor.with_event_handler(
            RemoveFinishedSocketsEventHandler(
                {
                    EventType.CONNECTED: pool.on_connected,
                    EventType.WRITE: pool.on_write,
                    EventType.READ: pool.on_read,
                    EventType.DISCONNECTED: pool.on_disconnected,
                    EventType.EXCEPTION: pool.on_failure,
                    EventType.TIMEOUT: pool.on_failure,
                }
            )
        )
        # One operation serves all sockets: it keeps no state.
        operation = TlsHandshakeOperation(WriteOperation(REQUEST))
        for _ in range(int(total)):
            executor.socket_bag.add_socket(
                ClientSocket(), operation, address=address, stream_context={"ca_file": ca_file}
            )
        executor.execute_request()
        left = len(executor.socket_bag)
        print(f"read: {pool.read}, failed: {pool.failed}, at once: {pool.most}, left: {left}")


if __name__ == "__main__":
    main(*sys.argv[1:])
