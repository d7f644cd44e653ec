"""The same conversation gives the same events on every engine."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EndOfStreamFramePicker,
    EngineUnavailableError,
    EventType,
    FixedLengthFramePicker,
    ReadOperation,
    RequestExecutor,
    ShutdownWriteOperation,
    WriteOperation,
    create_engine,
)
from support.certificates import Authority
from support.service import LINE, Service

OTHERS = ("libev", "libev:poll", "libev:select", "gevent", "selectors:poll", "selectors:select")
BIG = bytes(range(256)) * 2048


class Trace:
    """Every event of every socket, in order per socket, with what can be compared."""

    def __init__(self) -> None:
        self.lives: dict[str, list[tuple[Any, ...]]] = {}
        self._names: dict[Any, str] = {}

    def name(self, socket: Any, name: str) -> None:
        self._names[socket] = name

    def __call__(self, event: Any) -> None:
        name = self._names.get(event.socket, "?")
        entry: tuple[Any, ...] = (event.type.name,)
        if event.type is EventType.READ:
            entry += (event.frame.data, type(event.operation.picker).__name__)
        elif event.type is EventType.TIMEOUT:
            entry += (event.when.name, event.phase)
        elif event.type is EventType.EXCEPTION:
            entry += (type(event.exception).__name__, event.exception.errno)
        elif event.type is EventType.DATA_ALERT:
            entry += (event.attempt,)
        elif event.type is EventType.FINALIZE:
            metadata = event.metadata
            entry += (metadata.bytes_received, metadata.bytes_sent, metadata.request_complete)
        self.lives.setdefault(name, []).append(entry)


def conversations(engine: str, ca: Authority) -> dict[str, list[tuple[Any, ...]]]:
    """Lines, a long answer, a half-close, TLS, datagrams, a refusal, an idle alert, a time-out."""
    trace = Trace()
    with RequestExecutor(engine) as executor:
        executor.with_event_handler(trace)
        servers: list[Service] = []
        left = 6

        def client(name: str, address: str, operation: Any, handler: Any = None, **metadata: Any) -> None:
            socket = ClientSocket()
            trace.name(socket, name)

            def ended(event: Any) -> None:
                nonlocal left
                left -= 1
                if not left:
                    for service in servers:
                        service.server.close()

            executor.socket_bag.add_socket(
                socket, operation, handler={EventType.FINALIZE: ended, **(handler or {})}, address=address,
                **metadata,
            )  # fmt: skip

        def answer(event: Any) -> None:
            if event.type is EventType.READ:
                event.next_is_write(
                    BIG if event.frame.data == b"big\n" else event.frame.data, then=follow(event)
                )

        def follow(event: Any) -> Any:
            return ReadOperation(LINE) if event.frame.data == b"1\n" else None

        def accepted(event: Any) -> None:
            trace.name(event.client_socket, f"accepted {event.metadata.address[:3]}")

        def plain(event: Any) -> None:
            port = event.metadata.local_address[1]
            where = f"tcp://127.0.0.1:{port}"
            client("lines", where, WriteOperation(b"1\n2\n", then=ReadOperation(LINE)),
                   {EventType.READ: lambda e: e.next_is_read(LINE)})  # fmt: skip
            client(
                "big",
                where,
                WriteOperation([b"b", b"ig", b"\n"], then=ReadOperation(FixedLengthFramePicker(len(BIG)))),
            )
            client("half", where, WriteOperation(
                b"x\n", then=ShutdownWriteOperation(ReadOperation(EndOfStreamFramePicker()))))  # fmt: skip
            client("late", where, ReadOperation(LINE), io_timeout=0.1)

        def secret(event: Any) -> None:
            port = event.metadata.local_address[1]
            client("tls", f"tls://localhost:{port}", WriteOperation(b"s\n", then=ReadOperation(LINE)),
                   stream_context={"ca_file": ca.ca_file})  # fmt: skip

        def datagrams(event: Any) -> None:
            port = event.metadata.local_address[1]
            client("udp", f"udp://127.0.0.1:{port}", WriteOperation([b"d\n", b""], then=ReadOperation()),
                   {EventType.READ: lambda e: e.next_is_read() if e.frame.data else None})  # fmt: skip

        own = {"certificate": ca.server.certificate, "private_key": ca.server.private_key}
        servers.append(Service(executor, clients=99, handler=answer, started=plain))
        servers.append(
            Service(
                executor, "tls://127.0.0.1:0", clients=99, handler=answer, started=secret, stream_context=own
            )
        )
        servers.append(
            Service(
                executor,
                "udp://127.0.0.1:0",
                clients=99,
                first=ReadOperation,
                handler=answer,
                started=datagrams,
            )
        )
        for service in servers:
            trace.name(service.server, service.metadata.address or "")
        executor.with_event_handler({EventType.ACCEPT: accepted})
        executor.execute_request()
    return {name: life for name, life in trace.lives.items() if not name.startswith("accepted")}


@pytest.fixture(scope="module")
def expected(ca: Authority) -> dict[str, list[tuple[Any, ...]]]:
    return conversations("selectors:epoll", ca)


@pytest.mark.parametrize("other", OTHERS)
def test_same_trace(expected: dict[str, list[tuple[Any, ...]]], ca: Authority, other: str) -> None:
    try:
        create_engine(other).close()
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert conversations(other, ca) == expected


def test_the_trace_says_what_it_should(expected: dict[str, list[tuple[Any, ...]]]) -> None:
    names = {name: [entry[0] for entry in life] for name, life in expected.items()}
    usual = ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]
    assert names["big"] == names["half"] == names["tls"] == usual
    assert names["lines"] == [*usual[:4], "READ", "EXCEPTION", "DISCONNECTED", "FINALIZE"]
    assert names["late"] == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert names["udp"] == [*usual[:4], "READ", "DISCONNECTED", "FINALIZE"]
    assert expected["half"][3][1] == b"x\n"
