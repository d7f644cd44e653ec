"""The demo's servers: one executor in a thread of its own, on loopback, closed when the demo ends."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import time
from types import TracebackType
from typing import Any

from .. import (
    AcceptEvent,
    Configuration,
    DelayedOperation,
    Event,
    EventType,
    MarkerFramePicker,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    SocketExceptionEvent,
    StreamContext,
    WriteOperation,
)
from .common import CommandError

_HEAD = MarkerFramePicker(None, b"\r\n\r\n", max_length=65536)
_PIECES = 8


class DemoServers:
    """Local servers, each with its own behaviour; a context manager.

    `addresses` maps "fast", "slow", "silent", "TLS" (only with trustme installed) and "closed" to their
    addresses. `ca_file` is the PEM file of a temporary certificate authority, None without TLS; `left_out`
    names missing servers, and why. `pace` is the seconds that the slow server takes for an answer.
    """

    def __init__(self, pace: float) -> None:
        self.addresses: dict[str, str] = {}
        self.ca_file: str | None = None
        self.left_out: list[str] = []
        self._pace = pace
        self._stack = contextlib.ExitStack()
        self._executor: RequestExecutor | None = None
        self._ready = threading.Event()
        self._problem: BaseException | None = None
        self._expected = 0
        self._thread = threading.Thread(target=self._serve, name="evsockets-demo-servers", daemon=True)

    def __enter__(self) -> DemoServers:
        try:
            # Bound but not listening: refuses, and nobody else can take the port meanwhile.
            closed = self._stack.enter_context(socket.socket())
            closed.bind(("127.0.0.1", 0))
            self.addresses["closed"] = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
            certificate = self._certificate()
            # The client runs on the engine asked for; its servers take the one that is always there.
            self._executor = self._stack.enter_context(
                RequestExecutor(
                    "selectors", configuration=Configuration(io_timeout=10, connection_timeout=10)
                )
            )
            self._listen("fast", "tcp://127.0.0.1:0")
            self._listen("slow", "tcp://127.0.0.1:0")
            self._listen("silent", "tcp://127.0.0.1:0")
            if certificate is not None:
                self._listen("TLS", "tls://127.0.0.1:0", certificate)
            self._thread.start()
            if not self._ready.wait(10) or self._problem is not None:
                raise CommandError(f"the demo's servers did not start: {self._problem or 'no answer'}", 1)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._executor is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                self._executor.stop_request()
            self._thread.join(10)
        self._stack.close()

    def _serve(self) -> None:
        assert self._executor is not None
        try:
            self._executor.execute_request()
        except BaseException as error:
            self._problem = error
        finally:
            self._ready.set()

    def _listen(self, name: str, address: str, context: StreamContext | None = None) -> None:
        assert self._executor is not None
        self._expected += 1
        answer = {"fast": self._on_fast, "slow": self._on_slow, "TLS": self._on_fast}.get(name)
        client: dict[EventType, Any] = {EventType.READ: answer or self._on_silent}
        for trouble in (EventType.EXCEPTION, EventType.TIMEOUT):  # the client's table tells of it
            client[trouble] = lambda event: None

        def accept(event: AcceptEvent) -> None:
            event.executor.socket_bag.add_socket(event.client_socket, ReadOperation(_HEAD), handler=client)

        def listening(event: Event) -> None:
            local = event.metadata.local_address
            assert isinstance(local, tuple)
            host, port = local[:2]
            scheme = address.partition(":")[0]
            self.addresses[name] = f"{scheme}://{host}:{port}"
            self._expected -= 1
            if not self._expected:
                self._ready.set()

        self._executor.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            handler={
                EventType.CONNECTED: listening,
                EventType.ACCEPT: accept,
                EventType.EXCEPTION: self._on_problem,
            },
            address=address,
            stream_context=context,
        )

    def _on_problem(self, event: SocketExceptionEvent) -> None:
        self._problem = event.exception
        self._ready.set()

    def _on_fast(self, event: ReadEvent) -> None:
        event.next_is_write(_answer(b"fast and whole\n" * 2000))

    def _on_silent(self, event: ReadEvent) -> None:
        """Wait for a second request, which never comes: the client's time-out is what ends this."""
        event.next_is_read(_HEAD)

    def _on_slow(self, event: ReadEvent) -> None:
        """Answer in pieces, spread over the pace."""
        event.next_is(_later(_answer(b"slow, but sure\n" * 400), time.monotonic(), self._pace, 1))

    def _certificate(self) -> StreamContext | None:
        """Make a throw-away certificate authority; None, with `left_out` set, without trustme."""
        try:
            import trustme
        except ImportError:
            self.left_out.append("the TLS server (its certificate authority needs trustme)")
            return None
        place = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="evsockets-demo-"))
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        self.ca_file = os.path.join(place, "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        chain = os.path.join(place, "server.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(chain)
        return StreamContext(certificate=chain)


def _later(data: bytes, start: float, pace: float, number: int) -> DelayedOperation:
    """Piece `number` of `data`, due at its share of `pace` seconds after `start`, and those after it."""
    size = -(-len(data) // _PIECES)
    due = start + pace * number / _PIECES
    then = _later(data, start, pace, number + 1) if number < _PIECES else None
    piece = WriteOperation(data[size * (number - 1) : size * number], then=then)
    return DelayedOperation(piece, _not_yet, due, interval=0.02)


def _not_yet(socket: Any, executor: Any, due: float) -> bool:
    return time.monotonic() < due


def _answer(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % len(body) + body
