"""Names and addresses: from the URL to a connection, and how that fails."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from typing import Any

import pytest

from evsockets import (
    ConnectionFailedError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.life import END, FAILED, USUAL
from support.wire import PATIENCE, add, peer, read_to_end, reset, talk


def answering(*sockaddrs: tuple, error: BaseException | None = None):
    """A resolver like `socket.getaddrinfo` that knows these addresses and counts its calls."""

    def lookup(host, port, family=0, type=0, proto=0, flags=0):
        calls.append((host, port, type))
        if error is not None:
            raise error
        return [
            (socket.AF_INET6 if ":" in where[0] else socket.AF_INET, type, 6, "", where)
            for where in sockaddrs
        ]

    calls: list[tuple] = []
    lookup.calls = calls  # type: ignore[attr-defined]
    return lookup


@contextlib.contextmanager
def on(engine: str, resolver):
    with RequestExecutor(engine, resolver=resolver) as executor:
        yield executor


@contextlib.contextmanager
def blackhole(family: int = socket.AF_INET, host: str = "127.0.0.1"):
    """An address whose listen queue is full: connecting never ends."""
    with socket.socket(family) as listener, contextlib.ExitStack() as stack:
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


# ---- names -----------------------------------------------------------------------------------------


def test_a_name_is_resolved_by_the_given_callable(engine: str) -> None:
    with peer(read_to_end) as server:
        resolver = answering(("127.0.0.1", server.port))
        with on(engine, resolver) as executor:
            log = talk(executor, server.url(host="some.test"), WriteOperation(b"x"))
    assert server.results == [b"x"]
    assert resolver.calls == [("some.test", server.port, socket.SOCK_STREAM)]
    assert log.metadata.address == server.url(host="some.test")
    assert log.metadata.remote_address == ("127.0.0.1", server.port)


def test_numeric_addresses_skip_it(engine: str) -> None:
    resolver = answering(error=AssertionError("asked"))
    with peer(read_to_end) as server, on(engine, resolver) as executor:
        talk(executor, server.url(), WriteOperation(b"x"))
    assert resolver.calls == []


def test_identical_look_ups_in_flight_are_shared(engine: str) -> None:
    go = threading.Event()
    with peer(read_to_end, count=5) as server:
        inner = answering(("127.0.0.1", server.port))

        def lookup(*args, **more):
            assert go.wait(PATIENCE)
            return inner(*args, **more)

        with on(engine, lookup) as executor:
            logs = [add(executor, server.url(host="some.test"), WriteOperation(b"x")) for _ in range(5)]
            executor.call_soon_threadsafe(executor.call_soon_threadsafe, go.set)
            executor.execute_request()
    assert [log.names for log in logs] == [[*USUAL, "WRITE", *END]] * 5
    assert len(inner.calls) == 1


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OSError(errno.EIO, "no way")]
)
def test_a_name_that_does_not_resolve(engine: str, error: OSError) -> None:
    with on(engine, answering(error=error)) as executor:
        log = talk(executor, "tcp://nowhere.test:80", ReadOperation())
    assert isinstance(log.error, ConnectionFailedError)
    assert log.error.__cause__ is error and log.error.errno == error.errno
    assert log.error.attempts[-1][1] is error
    assert "tcp://nowhere.test:80" in str(log.error) and "resolving" in str(log.error)
    assert log.names == FAILED


def test_a_name_without_addresses(engine: str) -> None:
    with on(engine, answering()) as executor:
        log = talk(executor, "tcp://empty.test:80", ReadOperation())
    assert isinstance(log.error, ConnectionFailedError) and log.names == FAILED


def test_a_bug_in_the_resolver_ends_the_run(engine: str) -> None:
    with on(engine, answering(error=ZeroDivisionError("bug"))) as executor:
        log = add(executor, "tcp://some.test:80", ReadOperation())
        with pytest.raises(ZeroDivisionError):
            executor.execute_request()
    assert log.names == ["INITIALIZE", "FINALIZE"]


@pytest.mark.parametrize("count", [1, 20])
def test_a_hanging_resolver_stops_nobody(engine: str, count: int) -> None:
    """Not even where more names hang than are looked up at a time: the rest have their time-outs, too."""
    release = threading.Event()

    def lookup(*args, **more):
        release.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    try:
        with peer(read_to_end) as server, on(engine, lookup) as executor:
            slow = [
                add(executor, f"tcp://slow{number}.test:80", ReadOperation(), connection_timeout=0.1)
                for number in range(count)
            ]
            fast = add(executor, server.url(), WriteOperation(b"x"))
            executor.execute_request()
        for log in slow:
            assert log.timeouts == [("CONNECTION", "resolving")]
            assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
        assert fast.names == [*USUAL, "WRITE", *END]
    finally:
        release.set()


def test_a_name_that_the_system_does_not_know(engine: str) -> None:
    """The system's resolver, kept from asking a name server: nothing leaves this machine."""

    def offline(*args: Any, **named: Any) -> Any:
        return socket.getaddrinfo(*args, **{**named, "flags": socket.AI_NUMERICHOST})

    with on(engine, offline) as executor:
        log = talk(executor, "tcp://no.such.name.invalid:80", ReadOperation(), connection_timeout=PATIENCE)
    assert isinstance(log.error, ConnectionFailedError) and isinstance(log.error.__cause__, socket.gaierror)
    assert log.names == FAILED


# ---- Happy Eyeballs --------------------------------------------------------------------------------


def test_the_next_address_when_the_first_is_refused(engine: str, unused_port: int) -> None:
    with peer(read_to_end) as server:
        resolver = answering(("127.0.0.1", unused_port), ("127.0.0.1", server.port))
        with on(engine, resolver) as executor:
            log = talk(executor, "tcp://both.test:80", WriteOperation(b"x"))
    assert server.results == [b"x"] and log.names == [*USUAL, "WRITE", *END]
    assert log.metadata.remote_address == ("127.0.0.1", server.port)


def test_the_next_family_while_the_first_hangs(engine: str) -> None:
    with blackhole(socket.AF_INET6, "::1") as hole, peer(read_to_end) as server:
        resolver = answering(hole, ("127.0.0.1", server.port))
        with on(engine, resolver) as executor:
            first = WriteOperation(b"x", then=WriteOperation(b"y"))
            log = talk(executor, "tcp://both.test:80", first, connection_timeout=10)
    assert server.results == [b"xy"]
    assert log.names == [*USUAL, "WRITE", "WRITE", *END]


def test_every_attempt_is_kept(engine: str, unused_port: int) -> None:
    resolver = answering(("127.0.0.1", unused_port), ("::1", unused_port, 0, 0), ("127.0.0.2", unused_port))
    with on(engine, resolver) as executor:
        log = talk(executor, "tcp://all.test:80", ReadOperation())
    error = log.error
    assert isinstance(error, ConnectionFailedError) and error.errno == errno.ECONNREFUSED
    assert [address for address, _ in error.attempts] == [
        ("127.0.0.1", unused_port), ("::1", unused_port, 0, 0), ("127.0.0.2", unused_port)
    ]  # fmt: skip
    assert all(isinstance(one, ConnectionRefusedError) for _, one in error.attempts)
    assert error.__cause__ is error.attempts[-1][1]
    assert error.socket is not None and error.address == "tcp://all.test:80"
    assert log.names == FAILED


def test_all_hang(engine: str) -> None:
    with (
        blackhole() as one,
        blackhole(socket.AF_INET6, "::1") as two,
        on(engine, answering(one, two)) as executor,
    ):
        log = talk(executor, "tcp://holes.test:80", ReadOperation(), connection_timeout=0.3)
    assert log.timeouts == [("CONNECTION", "connecting")]
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]


# ---- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [ReadOperation(), WriteOperation(b"x")], ids=["read", "write"])
def test_refused(executor: RequestExecutor, unused_port: int, operation) -> None:
    log = talk(executor, f"tcp://127.0.0.1:{unused_port}", operation)
    assert isinstance(log.error, ConnectionFailedError)
    assert log.error.errno == errno.ECONNREFUSED and isinstance(log.error.__cause__, ConnectionRefusedError)
    assert f"tcp://127.0.0.1:{unused_port}" in str(log.error) and str(errno.ECONNREFUSED) in str(log.error)
    assert log.error.attempts[0][0] == ("127.0.0.1", unused_port)
    assert log.names == FAILED


def test_no_such_unix_socket(executor: RequestExecutor, tmp_path) -> None:
    log = talk(executor, f"unix://{tmp_path}/none", ReadOperation())
    assert isinstance(log.error, ConnectionFailedError) and log.error.errno == errno.ENOENT
    assert log.error.attempts[0][0] == f"{tmp_path}/none"


def test_blackholed_and_tried_again(executor: RequestExecutor) -> None:
    with blackhole() as hole:
        attempts = iter([True, False])

        def on_timeout(event):
            if next(attempts):
                event.enable_one_more_attempt()

        log = talk(
            executor, f"tcp://127.0.0.1:{hole[1]}", ReadOperation(), connection_timeout=0.05,
            on={"TIMEOUT": on_timeout},
        )  # fmt: skip
    assert log.names == ["INITIALIZE", "TIMEOUT", "INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert log.timeouts == [("CONNECTION", "connecting")] * 2


def test_a_full_unix_queue_is_tried_again(executor: RequestExecutor, tmp_path) -> None:
    """EAGAIN, and no descriptor tells when it is over."""
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        listener.settimeout(PATIENCE)
        filler = stack.enter_context(socket.socket(socket.AF_UNIX))
        filler.connect(path)
        first = WriteOperation(b"x" * 1_000_000, then=WriteOperation(b"y"))
        log = add(executor, f"unix://{path}", first)
        kept = add(executor, f"unix://{path}", WriteOperation(b"z"), keep_alive=True, idle_timeout=0.05)
        executor.start_request()
        for _ in range(5):
            executor.turn(0.01)
        assert log.names == ["INITIALIZE"]
        received = []

        def accept():
            for _ in range(3):
                with listener.accept()[0] as accepted:
                    accepted.settimeout(PATIENCE)
                    filler.close()
                    received.append(read_to_end(accepted))

        thread = threading.Thread(target=accept)
        thread.start()
        while executor.turn(None):
            pass
        thread.join(PATIENCE)
    assert sorted(received) == [b"", b"x" * 1_000_000 + b"y", b"z"]
    assert log.names == [*USUAL, "WRITE", "WRITE", *END]
    assert kept.names == [*USUAL, "WRITE", "TIMEOUT", *END]


def test_a_unix_queue_that_stays_full(executor: RequestExecutor, tmp_path) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(path)
        listener.listen(0)
        filler.connect(path)
        log = talk(executor, f"unix://{path}", ReadOperation(), connection_timeout=0.1)
    assert log.timeouts == [("CONNECTION", "connecting")]
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]


def test_reset_while_connecting_over_tls(executor: RequestExecutor) -> None:
    with peer(reset) as server:
        log = talk(executor, server.url("tls"), ReadOperation(), stream_context={"verify": False})
    assert isinstance(log.error, ConnectionFailedError) and log.error.errno in (104, 32)
    assert log.names == FAILED


def test_reset_right_after_connecting(executor: RequestExecutor) -> None:
    with peer(reset) as server:
        log = talk(executor, server.url(), ReadOperation())
    assert log.error.errno == errno.ECONNRESET
    assert log.names in (FAILED, [*USUAL, "EXCEPTION", *END])


@pytest.mark.parametrize("kind", ["client", "server"])
def test_the_systems_number_is_on_the_error(executor: RequestExecutor, unused_port: int, kind: str) -> None:
    if kind == "client":
        log = talk(executor, f"tcp://127.0.0.1:{unused_port}", ReadOperation())
        wanted = errno.ECONNREFUSED
    else:
        log = talk(executor, f"tcp://127.0.0.1:{unused_port}", ReadOperation(), socket=ServerSocket())
        wanted = errno.EADDRINUSE
    assert log.error.errno == wanted and isinstance(log.error.__cause__, OSError)
    assert log.error.address == f"tcp://127.0.0.1:{unused_port}"
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
