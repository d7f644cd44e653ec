"""HTTP from nginx, with and without TLS: many at once, kept alive, big and slow."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConstantLimitationSolver,
    EndOfStreamFramePicker,
    Event,
    EventType,
    MarkerFramePicker,
    Operation,
    PersistentClientSocket,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    StreamContext,
    TlsHandshakeError,
    WriteOperation,
)
from support.certificates import Authority
from support.clients import Get, begin
from support.life import FAILED
from support.machine import resident
from support.servers import BIG_FILE, Nginx
from support.service import CLIENT
from support.wire import Log, add, talk


def address_of(nginx: Nginx, scheme: str) -> str:
    return f"{scheme}://localhost:{nginx.http if scheme == 'tcp' else nginx.https}"


def target(nginx: Nginx, scheme: str, ca: Authority) -> dict[str, Any]:
    """A client's metadata: where nginx is, and whom to trust there."""
    context = StreamContext(ca_file=ca.ca_file) if scheme != "tcp" else None
    return {"address": address_of(nginx, scheme), "stream_context": context}


def forget(event: Event) -> None:
    """Keeps the connection of a finished request for the next one."""
    event.executor.socket_bag.forget_socket(event.socket)


def test_many_pages_at_once_over_tcp_and_tls(executor: RequestExecutor, nginx: Nginx, ca: Authority) -> None:
    schemes = ["tcp", "tls", "tlsv1.2", "tlsv1.3"] * 10
    gets = [Get() for _ in schemes]
    for scheme, get in zip(schemes, gets, strict=True):
        begin(executor, get, **target(nginx, scheme, ca))
    executor.execute_request()
    assert [get.failure for get in gets] == [None] * len(gets)
    assert {get.status for get in gets} == {200}
    assert all(get.body == nginx.page for get in gets)
    assert {get.finished for get in gets} == {1}


def test_two_thousand_connections_never_more_than_a_hundred(executor: RequestExecutor, nginx: Nginx) -> None:
    running = most = 0

    def count(event: object) -> None:
        nonlocal running, most
        running += 1 if event.type is EventType.INITIALIZE else -1  # type: ignore[attr-defined]
        most = max(most, running)

    executor.with_limitation_solver(ConstantLimitationSolver(100))
    executor.with_event_handler({EventType.INITIALIZE: count, EventType.FINALIZE: count})
    gets = [Get() for _ in range(2000)]
    for get in gets:
        begin(executor, get, address=f"tcp://127.0.0.1:{nginx.http}")
    executor.execute_request()
    assert [get.failure for get in gets if get.failure] == []
    assert sum(get.body == nginx.page for get in gets) == 2000
    assert (running, most) == (0, 100)


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_hundred_megabytes(executor: RequestExecutor, nginx: Nginx, ca: Authority, scheme: str) -> None:
    digest = hashlib.sha256()
    pages: list[int] = []

    def consume(data: bytes) -> None:
        digest.update(data)
        pages.append(resident())

    get = Get("/big", consume=consume)
    # No log of its events, which would keep them.
    metadata = executor.socket_bag.add_socket(
        ClientSocket(), get.operation, handler=get.handler, **target(nginx, scheme, ca)
    )
    executor.execute_request()
    assert get.failure is None and digest.hexdigest() == nginx.big_digest
    assert metadata.bytes_received > BIG_FILE
    assert max(pages) - pages[0] < BIG_FILE // 4, "the body is kept somewhere"


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_hundred_megabytes_as_one_frame(
    executor: RequestExecutor, nginx: Nginx, ca: Authority, scheme: str
) -> None:
    get = Get("/big")
    begin(executor, get, **target(nginx, scheme, ca))
    executor.execute_request()
    assert get.failure is None and len(get.body) == BIG_FILE
    assert hashlib.sha256(get.body).hexdigest() == nginx.big_digest


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_kept_alive_for_the_next_life(
    executor: RequestExecutor, nginx: Nginx, ca: Authority, scheme: str
) -> None:
    socket, log = ClientSocket(), Log()
    answers = set()
    for _ in range(3):
        get = Get("/who", done=forget)
        begin(executor, get, socket=socket, log=log, **target(nginx, scheme, ca), keep_alive=True)
        executor.execute_request()
        assert get.failure is None
        answers.add(get.body)
    assert len(answers) == 1, "the server saw more than one connection"
    first_life = ["INITIALIZE", "CONNECTED", "WRITE", "READ", "READ", "FINALIZE"]
    assert log.names == first_life + [name for name in first_life if name != "CONNECTED"] * 2


def test_persistent_sockets_share_a_connection(engine: str, nginx: Nginx) -> None:
    answers = set()
    for life in range(4):
        with RequestExecutor(engine) as executor:
            # The last one ends it for good, so that nothing stays in the pool.
            get = Get("/who", done=forget if life < 3 else lambda event: event.cancel_operation())
            begin(executor, get, address_of(nginx, "tcp"), socket=PersistentClientSocket(key="house"))
            executor.execute_request()
            assert get.failure is None
            answers.add(get.body)
    assert len(answers) == 1


def test_idle_connection_times_out(executor: RequestExecutor, nginx: Nginx) -> None:
    get = Get()
    log = begin(executor, get, address_of(nginx, "tcp"), keep_alive=True, idle_timeout=0.1)
    executor.execute_request()
    assert get.body == nginx.page
    assert log.timeouts == [("IDLE", "idle")]
    assert log.names[-3:] == ["TIMEOUT", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_until_the_end_of_the_stream(
    executor: RequestExecutor, nginx: Nginx, ca: Authority, scheme: str
) -> None:
    asked = WriteOperation(b"GET / HTTP/1.0\r\n\r\n", then=ReadOperation(EndOfStreamFramePicker()))
    log = talk(executor, operation=asked, **target(nginx, scheme, ca))
    (answer,) = log.frames
    assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(nginx.page) and log.errors == []


def test_a_stranger_is_not_trusted(executor: RequestExecutor, nginx: Nginx, ca: Authority) -> None:
    log = begin(executor, Get(), address_of(nginx, "tls"), stream_context={"ca_file": ca.stranger.ca_file})
    executor.execute_request()
    assert isinstance(log.error, TlsHandshakeError) and "certificate" in str(log.error).lower()
    assert log.names == FAILED


def test_one_bad_address_leaves_the_others_alone(
    executor: RequestExecutor, nginx: Nginx, unused_port: int
) -> None:
    good, bad = [Get() for _ in range(5)], Get()
    for get in good:
        begin(executor, get, address=address_of(nginx, "tcp"))
    begin(executor, bad, address=f"tcp://127.0.0.1:{unused_port}")
    executor.execute_request()
    assert [get.body for get in good] == [nginx.page] * 5
    assert bad.failure is not None
    assert bad.finished == 1


@pytest.mark.parametrize("read_first", [None, True, False], ids=["one by one", "read first", "write first"])
def test_pages_by_their_end_marker(
    executor: RequestExecutor, nginx: Nginx, ca: Authority, read_first: bool | None
) -> None:
    """Plain and encrypted in one run: each gets exactly one READ, whose frame ends as the page does."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    read = ReadOperation(MarkerFramePicker(None, b"</HTML>", case_sensitive=False))
    first: Operation = WriteOperation(request, then=read)
    if read_first is not None:
        first = ReadWriteOperation(read_first, [WriteOperation(request), read])
    logs = [add(executor, operation=first, **target(nginx, scheme, ca)) for scheme in ("tcp", "tls") * 3]
    executor.execute_request()
    for log in logs:
        assert log.names == CLIENT
        (frame,) = log.frames
        assert frame.startswith(b"HTTP/1.1 200") and frame.endswith(nginx.page)
