"""Half-close both ways over real sockets, between a server and a client, and of TLS."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from core.test_half_close import *  # noqa: F403
from evsockets import (
    ClientSocket,
    DisconnectedError,
    EndOfStreamFramePicker,
    EventType,
    Operation,
    ReadOperation,
    RequestExecutor,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.certificates import Authority
from support.service import LINE, Peers, Service
from support.wire import Log

BIG = bytes(range(256)) * 4096


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_our_end_while_a_server_still_writes(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    """The server answers only after our end of stream; its answer arrives whole."""
    asked = Log()

    def started(event: Any) -> None:
        whole = ReadOperation(EndOfStreamFramePicker())
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"question", then=ShutdownWriteOperation(whole)), handler=asked,
            address=f"{scheme}://localhost:{event.metadata.local_address[1]}", stream_context=trust,
        )  # fmt: skip

    def answer(event: Any) -> None:
        if event.type is EventType.READ:
            event.next_is_write([event.frame.data, BIG])

    trust = {"ca_file": ca.ca_file} if scheme == "tls" else None
    ours = ca.server.settings
    service = Service(
        executor, f"{scheme}://127.0.0.1:0", handler=answer, started=started,
        first=lambda: ReadOperation(EndOfStreamFramePicker()), stream_context=ours if trust else None,
    )  # fmt: skip
    executor.execute_request()
    assert asked.names == ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]
    assert asked.of(EventType.READ)[0].frame.data == b"question" + BIG
    assert service.talking.names == ["INITIALIZE", "CONNECTED", "READ", "WRITE", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize("then_write", [False, True])
def test_the_end_is_told_once_by_a_server(
    executor: RequestExecutor, ca: Authority, scheme: str, then_write: bool
) -> None:
    """A second read after the frame that the end completed meets the end again, once; writing works."""
    reads: list[bytes] = []

    def handler(event: Any) -> None:
        if event.type is EventType.READ:
            reads.append(event.frame.data)
            if then_write:
                event.next_is_write(b"got it", then=ReadOperation(LINE))
            else:
                event.next_is_read(LINE)

    def started(event: Any) -> None:
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"all", then=ShutdownWriteOperation(ReadOperation())),
            address=f"{scheme}://localhost:{event.metadata.local_address[1]}", handler=asked,
            stream_context={"ca_file": ca.ca_file} if scheme == "tls" else None,
        )  # fmt: skip

    asked = Log()
    ours = ca.server.settings
    service = Service(
        executor, f"{scheme}://127.0.0.1:0", handler=handler, started=started,
        first=lambda: ReadOperation(EndOfStreamFramePicker()),
        stream_context=ours if scheme == "tls" else None,
    )  # fmt: skip
    executor.execute_request()
    assert reads == [b"all"]
    assert [type(error) for error in service.talking.errors] == [DisconnectedError]
    assert [e.frame.data for e in asked.of(EventType.READ)] == ([b"got it"] if then_write else [])


@pytest.mark.parametrize("require", [True, False])
def test_tls_truncation(executor: RequestExecutor, ca: Authority, require: bool) -> None:
    """TLS that ends without close_notify is an error for pending reads, raw ones included."""
    client = ssl.create_default_context(cafile=ca.ca_file)
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # no session tickets: unread ones would be a reset
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                peers[0].close()

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address)
            executor.socket_bag.add_socket(ClientSocket.from_socket(peers[0].dup()), Handshake(), handler={})

        class Handshake(Operation):
            def start(self, channel: Any) -> Any:
                return self.step(channel, 0)

            def step(self, channel: Any, mask: int) -> Any:
                channel.recv()
                incoming.write(channel.inbox.take(len(channel.inbox)))
                try:
                    session.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    done = False
                if outgoing.pending:
                    channel.send(outgoing.read())
                return None if done else self

        service = Service(
            executor, "tls://127.0.0.1:0", handler=handler, started=started, first=ReadOperation,
            stream_context={
                "certificate": ca.server.certificate, "private_key": ca.server.private_key,
                "require_close_notify": require,
            },
        )  # fmt: skip
        executor.execute_request()
    kinds = [type(error) for error in service.talking.errors]
    assert kinds == ([DisconnectedError] if require else [])
