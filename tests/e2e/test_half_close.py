"""Half-close both ways; what came before the end is delivered first, the end exactly once."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    DisconnectedError,
    EndOfStreamFramePicker,
    EventType,
    FixedLengthFramePicker,
    FrameError,
    LengthPrefixedFramePicker,
    MarkerFramePicker,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.certificates import Authority
from support.clients import Recorder
from support.service import LINE, Peers, Service, echo
from support.wire import read_to_end, reset

BIG = bytes(range(256)) * 4096


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_our_end_while_we_still_read(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    """The server answers only after our end of stream; its answer arrives whole."""
    asked = Recorder()

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
    ours = {"certificate": ca.server.certificate, "private_key": ca.server.private_key}
    service = Service(
        executor, f"{scheme}://127.0.0.1:0", handler=answer, started=started,
        first=lambda: ReadOperation(EndOfStreamFramePicker()), stream_context=ours if trust else None,
    )  # fmt: skip
    executor.execute_request()
    assert asked.names() == ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]
    assert asked.of(EventType.READ)[0].frame.data == b"question" + BIG
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", "READ", "WRITE", "DISCONNECTED", "FINALIZE"]


def test_peer_ends_while_we_still_write(executor: RequestExecutor) -> None:
    """The peer's end of stream does not cut our answer."""
    with Peers() as peers:

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"question\n").shutdown(socket.SHUT_WR)

        service = Service(executor, started=started)
        executor.execute_request()
        assert read_to_end(peers[0]) == b"question\n"
    assert "EXCEPTION" not in service.talking.names()


def test_peer_ends_during_a_long_answer(executor: RequestExecutor) -> None:
    """A reader in the same run has ended its direction long before the answer is through."""
    got = []
    with Peers():

        def started(event: Any) -> None:
            executor.socket_bag.add_socket(
                ClientSocket(),
                ShutdownWriteOperation(ReadOperation(EndOfStreamFramePicker())),
                handler={EventType.READ: lambda e: got.append(e.frame.data)},
                address="tcp://127.0.0.1:%d" % event.metadata.local_address[1],
            )

        service = Service(
            executor,
            handler={},
            started=started,
            first=lambda: WriteOperation(BIG[:1000] for _ in range(5000)),
        )
        executor.execute_request()
    assert got == [BIG[:1000] * 5000]
    assert "EXCEPTION" not in service.talking.names()


@pytest.mark.parametrize("how", ["close", "shutdown"])
def test_data_before_the_end_comes_first(executor: RequestExecutor, how: str) -> None:
    """Frames already there are delivered one by one, then the end: once."""
    with Peers() as peers:

        def started(event: Any) -> None:
            peer = peers.stream(event.metadata.local_address, b"1\n22\n333\n")
            peer.close() if how == "close" else peer.shutdown(socket.SHUT_WR)

        handler = {EventType.READ: lambda e: e.next_is_read(LINE)}
        service = Service(executor, started=started, handler=handler)
        executor.execute_request()
    assert [e.frame.data for e in service.talking.of(EventType.READ)] == [b"1\n", b"22\n", b"333\n"]
    assert service.talking.names()[-4:] == ["READ", "EXCEPTION", "DISCONNECTED", "FINALIZE"]
    (error,) = service.talking.exceptions()
    assert type(error) is DisconnectedError and error.errno is None


def test_raw_reads_end_without_exception(executor: RequestExecutor) -> None:
    with Peers() as peers:

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"abc").shutdown(socket.SHUT_WR)

        service = Service(
            executor,
            started=started,
            first=ReadOperation,
            handler={EventType.READ: lambda e: e.next_is_read()},
        )
        executor.execute_request()
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", "READ", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize(
    "picker", [FixedLengthFramePicker(10), LINE, LengthPrefixedFramePicker(), MarkerFramePicker(b"ab", b"!")]
)
def test_the_end_inside_a_frame(executor: RequestExecutor, picker: Any) -> None:
    with Peers() as peers:

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"abc").shutdown(socket.SHUT_WR)

        service = Service(executor, started=started, first=lambda: ReadOperation(picker))
        executor.execute_request()
    (error,) = service.talking.exceptions()
    assert isinstance(error, FrameError) and bytes(error.partial) == b"abc" and error.picker is picker
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", "EXCEPTION", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("picker", [FixedLengthFramePicker(10), LINE, LengthPrefixedFramePicker()])
def test_the_end_at_a_boundary(executor: RequestExecutor, picker: Any) -> None:
    with Peers() as peers:
        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address).close(),
            first=lambda: ReadOperation(picker),
        )  # fmt: skip
        executor.execute_request()
    (error,) = service.talking.exceptions()
    assert type(error) is DisconnectedError


def test_nothing_until_the_end_is_an_empty_frame(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address).close(), handler={},
            first=lambda: ReadOperation(EndOfStreamFramePicker()),
        )  # fmt: skip
        executor.execute_request()
    assert [e.frame.data for e in service.talking.of(EventType.READ)] == [b""]


def test_queued_writes_are_sent_after_the_peers_end(executor: RequestExecutor) -> None:
    """Duplex: at the end of stream what is queued still leaves, then the read meets the end."""
    with Peers() as peers:

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"x").shutdown(socket.SHUT_WR)

        service = Service(
            executor, started=started, handler={},
            first=lambda: ReadWriteOperation(
                operations=[ReadOperation(LINE), WriteOperation([b"a" * 1000] * 100), WriteOperation(b"!")]
            ),
        )  # fmt: skip
        executor.execute_request()
        assert read_to_end(peers[0]) == b"a" * 100_000 + b"!"
    (error,) = service.talking.exceptions()
    assert isinstance(error, FrameError) and bytes(error.partial) == b"x"


def test_reset_is_a_disconnected_error_with_its_number(executor: RequestExecutor) -> None:
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                reset(peers[0])

        service = Service(executor, started=lambda e: peers.stream(e.metadata.local_address), handler=handler)
        executor.execute_request()
    (error,) = service.talking.exceptions()
    assert isinstance(error, DisconnectedError) and error.errno == errno.ECONNRESET
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", "EXCEPTION", "DISCONNECTED", "FINALIZE"]


def test_writing_to_a_peer_that_has_gone(executor: RequestExecutor) -> None:
    """EPIPE or ECONNRESET: a DisconnectedError, once, and no signal."""
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                reset(peers[0])

        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address), handler=handler,
            first=lambda: WriteOperation(b"x" * 100 for _ in range(1000)),
        )  # fmt: skip
        executor.execute_request()
    (error,) = service.talking.exceptions()
    assert isinstance(error, DisconnectedError) and error.errno in (errno.EPIPE, errno.ECONNRESET)


def test_shutdown_waits_for_unsent_bytes(executor: RequestExecutor) -> None:
    """Our end comes behind the last byte the kernel did not take at once."""
    got = []

    def started(event: Any) -> None:
        executor.socket_bag.add_socket(
            ClientSocket(), ReadOperation(EndOfStreamFramePicker()), handler=on_read,
            address="tcp://127.0.0.1:%d" % event.metadata.local_address[1],
        )  # fmt: skip

    def on_read(event: Any) -> None:
        if event.type is EventType.READ:
            got.append(len(event.frame.data))
            event.next_is_write(b"thanks\n")

    service = Service(
        executor, handler={}, started=started,
        first=lambda: WriteOperation(BIG * 8, then=ShutdownWriteOperation(ReadOperation(LINE))),
    )  # fmt: skip
    executor.execute_request()
    assert got == [len(BIG) * 8]
    assert [e.frame.data for e in service.talking.of(EventType.READ)] == [b"thanks\n"]


def test_shutdown_alone_ends_the_request(executor: RequestExecutor) -> None:
    with Peers() as peers:
        Service(
            executor, handler={}, first=ShutdownWriteOperation,
            started=lambda e: peers.stream(e.metadata.local_address),
        )  # fmt: skip
        executor.execute_request()
        assert read_to_end(peers[0]) == b""


def test_shutdown_keeps_an_idle_connection_open(executor: RequestExecutor) -> None:
    """Kept alive, it idles with its direction ended until the peer ends too."""
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.DATA_ALERT:
                event.next_is_read(LINE)
                peers[0].close()

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"after\n")

        service = Service(
            executor, first=ShutdownWriteOperation, started=started, handler=handler,
            client_metadata={"keep_alive": True},
        )  # fmt: skip
        executor.execute_request()
    assert service.talking.names() == [
        "INITIALIZE", "CONNECTED", "DATA_ALERT", "READ", "DISCONNECTED", "FINALIZE"
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize("then_write", [False, True])
def test_the_end_is_told_once(
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

    asked = Recorder()
    ours = {"certificate": ca.server.certificate, "private_key": ca.server.private_key}
    service = Service(
        executor, f"{scheme}://127.0.0.1:0", handler=handler, started=started,
        first=lambda: ReadOperation(EndOfStreamFramePicker()),
        stream_context=ours if scheme == "tls" else None,
    )  # fmt: skip
    executor.execute_request()
    assert reads == [b"all"]
    assert [type(error) for error in service.talking.exceptions()] == [DisconnectedError]
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
    kinds = [type(error) for error in service.talking.exceptions()]
    assert kinds == ([DisconnectedError] if require else [])


def test_echo_until_the_end(executor: RequestExecutor) -> None:
    """An echo server that reads on after each answer ends with its peer."""
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                echo(event)
            elif event.type is EventType.WRITE:
                event.next_is_read(LINE)

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"1\n2\n3\n").shutdown(socket.SHUT_WR)

        Service(executor, started=started, handler=handler)
        executor.execute_request()
        assert read_to_end(peers[0]) == b"1\n2\n3\n"
