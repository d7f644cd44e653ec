"""Names and addresses: from the URL to a connection, and how that fails."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    AddressError,
    ClientSocket,
    ConnectionFailedError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.certificates import Authority
from support.life import END, FAILED, USUAL
from support.servers import free_port
from support.service import Serve
from support.wire import PATIENCE, Log, add, peer, read_to_end, reset, talk, turns_to_the_end

WROTE = [*USUAL, "WRITE", *END]
LATE = ["INITIALIZE", "TIMEOUT", "FINALIZE"]
X = WriteOperation(b"x")


class Names:
    """A resolver like `socket.getaddrinfo`: every name has `addresses`, or its look-up fails with `error`."""

    def __init__(self, *addresses: Any, error: BaseException | None = None) -> None:
        self.addresses = addresses
        self.error = error
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, host: str, port: int, family: int = 0, type: int = 0, *more: int) -> list[Any]:
        self.calls.append((host, port, type))
        if self.error is not None:
            raise self.error
        families = {2: socket.AF_INET, 4: socket.AF_INET6}
        return [(families[len(where)], type, 6, "", where) for where in self.addresses]

    def talk(self, engine: str, address: str, operation: Any, **more: Any) -> Log:
        """What a client is told whose executor resolves by this."""
        with RequestExecutor(engine, resolver=self) as executor:
            return talk(executor, address, operation, **more)


@contextlib.contextmanager
def blackhole(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[Any]:
    """An address whose listen queue is full: connecting never ends."""
    with socket.socket(family) as listener, contextlib.ExitStack() as stack:
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


def failed(log: Log, number: int | None, *said: object) -> ConnectionFailedError:
    """The error of a life that got no connection."""
    error = log.error
    assert isinstance(error, ConnectionFailedError) and error.errno == number and log.names == FAILED
    assert all(str(word) in str(error) for word in said), str(error)
    return error


# ---- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "where", "family"), [
    ("127.0.0.1", ("127.0.0.1", 0), socket.AF_INET), ("[::1]", ("::1", 0), socket.AF_INET6),
    ("abstract", "\0evsockets-test-{}", socket.AF_UNIX), ("path", "{}/peer.sock", socket.AF_UNIX),
])  # fmt: skip
def test_addresses_seen_from_both_ends(
    executor: RequestExecutor, tmp_path: Path, host: str, where: Any, family: int
) -> None:
    """None before there is a connection; the peer's is known even after the end."""
    seen: list[Any] = []
    unix = isinstance(where, str)
    bind = where.format(tmp_path.name if host == "abstract" else tmp_path) if unix else where
    with peer(lambda sock: (sock.getpeername(), read_to_end(sock)), family=family, bind=bind) as other:
        url = "unix://" + bind.replace("\0", "@") if unix else other.url(host=host)
        note = {
            name: lambda event: seen.append((event.metadata.local_address, event.metadata.remote_address))
            for name in ("INITIALIZE", "CONNECTED")
        }
        log = talk(executor, url, X, on=note)
    remote = bind.replace("\0", "@") if unix else other.name
    ((theirs, data),) = other.results
    assert data == b"x" and seen == [(None, None), (None if unix else theirs, remote)]
    assert log.metadata.address == url and log.metadata.remote_address == remote


@pytest.mark.parametrize("by", ["name", "number"])
def test_ipv6_zones(server: Serve, by: str) -> None:
    """A zone of the server's and of the client's address goes to the kernel, and stays in the URL."""
    zone = socket.if_indextoname(1) if by == "name" else "1"  # the loopback: nobody else is talked to
    locals_seen: list[Any] = []
    service = server(
        f"tcp://[::1%{zone}]:0", asks=[X], host=f"::1%{zone}", first=ReadOperation, handler={},
        asking={"on": {"CONNECTED": lambda event: locals_seen.append(event.metadata.local_address)}},
    ).execute()  # fmt: skip
    asked = service.asked[0].metadata
    assert asked.address == f"tcp://[::1%{zone}]:{service.port}"
    assert asked.remote_address[:2] == service.local[:2] == ("::1", service.port)
    assert service.accepted[0].remote_address[:2] == locals_seen[0][:2] and locals_seen[0][0] == "::1"


@pytest.mark.parametrize("address", [
    "127.0.0.1:80", "gopher://h:1", "tcp://h:99999", "tcp://h", "unix://" + "x" * 200, "fd://3",
    "tcp://h:port",
])  # fmt: skip
def test_a_malformed_address_is_told_where_it_is_set(executor: RequestExecutor, address: str) -> None:
    bag = executor.socket_bag
    with pytest.raises(AddressError):
        bag.add_socket(ClientSocket(), ReadOperation(), address=address)
    assert len(bag) == 0
    metadata = bag.add_socket(ClientSocket(), ReadOperation())
    with pytest.raises(AddressError):
        metadata.address = address


def test_bind_to(executor: RequestExecutor) -> None:
    """Another address, or only another port of the server's own: both are peers."""
    with peer(lambda sock: sock.getpeername(), count=3, bind=("127.0.0.1", free_port())) as server:
        for bind_to in (("127.0.0.2", 0), ("127.0.0.2", server.port), ("127.0.0.1", 0)):
            log = talk(executor, server.url(), ReadOperation(), stream_context={"bind_to": bind_to})
            assert log.errors == []
    hosts, ports = zip(*server.results, strict=True)
    assert hosts == ("127.0.0.2", "127.0.0.2", "127.0.0.1") and ports[1] == server.port


# ---- to itself -------------------------------------------------------------------------------------


def unused(host: str) -> Any:
    """An address of `host` that nobody uses."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        return sock.getsockname()


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize(("host", "asked"), [
    ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]"),
    ("127.0.0.1", "0.0.0.0"),
])  # fmt: skip
def test_a_connection_to_itself_is_refused(
    executor: RequestExecutor, ca: Authority, host: str, asked: str, scheme: str
) -> None:
    """The kernel connects a socket to its own port, and what is written comes back as the answer. Asked for
    0.0.0.0, it goes to the loopback: not the address asked for is the one reached."""
    where = unused(host)
    log = talk(
        executor, f"{scheme}://{asked}:{where[1]}", WriteOperation(b"hello", then=ReadOperation()),
        stream_context={"bind_to": where[:2], "ca_file": ca.ca_file},
    )  # fmt: skip
    error = failed(log, errno.ECONNREFUSED, "itself")
    assert [address for address, _ in error.attempts] == [(asked.strip("[]"), *where[1:])]
    assert log.metadata.local_address is None


def test_instead_of_itself_the_next_address_of_a_name_is_tried(engine: str) -> None:
    ours = unused("127.0.0.1")
    with peer(read_to_end) as server:
        context = {"bind_to": ours, "reuse_address": True}
        log = Names(ours, server.name).talk(engine, "tcp://some.test:1", X, stream_context=context)
    assert server.results == [b"x"] and log.names == WROTE
    assert (log.metadata.remote_address, log.metadata.local_address) == (server.name, ours)


# ---- names -----------------------------------------------------------------------------------------


def test_a_name_is_resolved_by_the_given_callable(engine: str) -> None:
    with peer(read_to_end) as server:
        names = Names(server.name)
        log = names.talk(engine, server.url(host="some.test"), X)
    assert server.results == [b"x"]
    assert names.calls == [("some.test", server.port, socket.SOCK_STREAM)]
    assert log.metadata.address == server.url(host="some.test")
    assert log.metadata.remote_address == server.name


def test_numeric_addresses_skip_it(engine: str) -> None:
    with peer(read_to_end) as server:
        names = Names(error=AssertionError("asked"))
        names.talk(engine, server.url(), X)
    assert names.calls == []


def test_identical_look_ups_in_flight_are_shared(engine: str) -> None:
    go = threading.Event()
    with peer(read_to_end, count=5) as server:
        names = Names(server.name)

        def lookup(*args: Any, **more: Any) -> Any:
            assert go.wait(PATIENCE)
            return names(*args, **more)

        with RequestExecutor(engine, resolver=lookup) as executor:
            logs = [add(executor, server.url(host="some.test"), X) for _ in range(5)]
            executor.call_soon_threadsafe(executor.call_soon_threadsafe, go.set)
            executor.execute_request()
    assert [log.names for log in logs] == [WROTE] * 5 and len(names.calls) == 1


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OSError(errno.EIO, "no way")]
)
def test_a_name_that_does_not_resolve(engine: str, error: OSError) -> None:
    log = Names(error=error).talk(engine, "tcp://nowhere.test:80", ReadOperation())
    told = failed(log, error.errno, "tcp://nowhere.test:80", "resolving")
    assert told.__cause__ is told.attempts[-1][1] is error


def test_a_name_without_addresses(engine: str) -> None:
    failed(Names().talk(engine, "tcp://empty.test:80", ReadOperation()), socket.EAI_NONAME)


def test_a_bug_in_the_resolver_ends_the_run(engine: str) -> None:
    log = Log()
    with pytest.raises(ZeroDivisionError):
        Names(error=ZeroDivisionError("bug")).talk(engine, "tcp://some.test:80", ReadOperation(), log=log)
    assert log.names == ["INITIALIZE", "FINALIZE"]


@pytest.mark.parametrize("count", [1, 20])
def test_a_hanging_resolver_stops_nobody(engine: str, count: int) -> None:
    """Not even where more names hang than are looked up at a time: the rest have their time-outs, too."""
    release = threading.Event()

    def lookup(*args: Any, **more: Any) -> Any:
        release.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    with peer(read_to_end) as server, RequestExecutor(engine, resolver=lookup) as executor:
        slow = [
            add(executor, f"tcp://slow{number}.test:80", ReadOperation(), connection_timeout=0.1)
            for number in range(count)
        ]
        fast = add(executor, server.url(), X)
        executor.execute_request()
        release.set()
    assert [log.timeouts for log in slow] == [[("CONNECTION", "resolving")]] * count
    assert [log.names for log in slow] == [LATE] * count and fast.names == WROTE


def test_a_name_that_the_system_does_not_know(engine: str) -> None:
    """The system's resolver, kept from asking a name server: nothing leaves this machine."""

    def offline(*args: Any, **named: Any) -> Any:
        return socket.getaddrinfo(*args, **{**named, "flags": socket.AI_NUMERICHOST})

    with RequestExecutor(engine, resolver=offline) as executor:
        log = talk(executor, "tcp://no.such.name.invalid:80", ReadOperation())
    assert isinstance(failed(log, log.error.errno).__cause__, socket.gaierror)


# ---- Happy Eyeballs --------------------------------------------------------------------------------


def test_the_next_address_when_the_first_is_refused(engine: str, unused_port: int) -> None:
    with peer(read_to_end) as server:
        log = Names(("127.0.0.1", unused_port), server.name).talk(engine, "tcp://both.test:80", X)
    assert server.results == [b"x"] and log.names == WROTE
    assert log.metadata.remote_address == server.name


def test_the_next_family_while_the_first_hangs(engine: str) -> None:
    first = WriteOperation(b"x", then=WriteOperation(b"y"))
    with blackhole(socket.AF_INET6, "::1") as hole, peer(read_to_end) as server:
        log = Names(hole, server.name).talk(engine, "tcp://both.test:80", first, connection_timeout=10)
    assert server.results == [b"xy"] and log.names == [*USUAL, "WRITE", "WRITE", *END]


def test_every_attempt_is_kept(engine: str, unused_port: int) -> None:
    addresses = [("127.0.0.1", unused_port), ("::1", unused_port, 0, 0), ("127.0.0.2", unused_port)]
    log = Names(*addresses).talk(engine, "tcp://all.test:80", ReadOperation())
    error = failed(log, errno.ECONNREFUSED)
    assert [address for address, _ in error.attempts] == addresses
    assert all(isinstance(one, ConnectionRefusedError) for _, one in error.attempts)
    assert error.__cause__ is error.attempts[-1][1]
    assert error.socket is log.events[0].socket and error.address == "tcp://all.test:80"


def test_all_hang(engine: str) -> None:
    with blackhole() as one, blackhole(socket.AF_INET6, "::1") as two:
        log = Names(one, two).talk(engine, "tcp://holes.test:80", ReadOperation(), connection_timeout=0.3)
    assert log.timeouts == [("CONNECTION", "connecting")] and log.names == LATE


# ---- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "number"), [
    ("read", errno.ECONNREFUSED), ("write", errno.ECONNREFUSED), ("server", errno.EADDRINUSE),
])  # fmt: skip
def test_refused(executor: RequestExecutor, unused_port: int, kind: str, number: int) -> None:
    url = f"tcp://127.0.0.1:{unused_port}"
    handle = ServerSocket() if kind == "server" else ClientSocket()
    log = talk(executor, url, X if kind == "write" else ReadOperation(), socket=handle)
    error = failed(log, number, url, number)
    assert isinstance(error.__cause__, OSError) and error.__cause__.errno == number and error.address == url
    if kind != "server":
        assert error.attempts[0][0] == ("127.0.0.1", unused_port)


def test_no_such_unix_socket(executor: RequestExecutor, tmp_path: Path) -> None:
    log = talk(executor, f"unix://{tmp_path}/none", ReadOperation())
    assert failed(log, errno.ENOENT).attempts[0][0] == f"{tmp_path}/none"


def test_blackholed_and_tried_again(executor: RequestExecutor) -> None:
    def again(event: Any) -> None:
        if len(log.timeouts) == 1:
            event.enable_one_more_attempt()

    with blackhole() as hole:
        url, limit = f"tcp://127.0.0.1:{hole[1]}", {"connection_timeout": 0.05}
        log = add(executor, url, ReadOperation(), on={"TIMEOUT": again}, **limit)
        executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT", *LATE]
    assert log.timeouts == [("CONNECTION", "connecting")] * 2


def test_a_full_unix_queue_is_tried_again(executor: RequestExecutor, tmp_path: Path) -> None:
    """EAGAIN, and no descriptor tells when it is over."""
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(path)
        listener.listen(0)
        listener.settimeout(PATIENCE)
        filler.connect(path)
        first = WriteOperation(b"x" * 1_000_000, then=WriteOperation(b"y"))
        log = add(executor, f"unix://{path}", first)
        kept = add(executor, f"unix://{path}", WriteOperation(b"z"), keep_alive=True, idle_timeout=0.05)
        executor.start_request()
        for _ in range(5):
            executor.turn(0.01)
        assert log.names == ["INITIALIZE"]
        received = []

        def accept() -> None:
            for _ in range(3):
                with listener.accept()[0] as accepted:
                    accepted.settimeout(PATIENCE)
                    filler.close()
                    received.append(read_to_end(accepted))

        thread = threading.Thread(target=accept)
        thread.start()
        turns_to_the_end(executor)
        thread.join(PATIENCE)
    assert sorted(received) == [b"", b"x" * 1_000_000 + b"y", b"z"]
    assert log.names == [*USUAL, "WRITE", "WRITE", *END]
    assert kept.names == [*USUAL, "WRITE", "TIMEOUT", *END]


def test_reset_while_connecting_over_tls(executor: RequestExecutor) -> None:
    with peer(reset) as server:
        log = talk(executor, server.url("tls"), ReadOperation(), stream_context={"verify": False})
    assert failed(log, log.error.errno).errno in (errno.ECONNRESET, errno.EPIPE)


def test_reset_right_after_connecting(executor: RequestExecutor) -> None:
    with peer(reset) as server:
        log = talk(executor, server.url(), ReadOperation())
    assert log.error.errno == errno.ECONNRESET
    assert log.names in (FAILED, [*USUAL, "EXCEPTION", *END])
