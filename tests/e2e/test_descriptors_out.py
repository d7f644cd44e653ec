"""Out of descriptors, by the system's own limit: while connecting, and while accepting."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from evsockets import (
    AcceptError,
    ClientSocket,
    ConnectionFailedError,
    EngineUnavailableError,
    EventType,
    FixedLengthFramePicker,
    NetworkSocketError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
)
from support.command import run_python
from support.wire import Log, turns_until


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Allow `count` more descriptors than are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, hard))
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_while_connecting(executor: RequestExecutor) -> None:
    """What found no descriptor says so, everything is finalized, and the executor is as good as new."""
    events = Log()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        for _ in range(8):
            executor.socket_bag.add_socket(
                ClientSocket(), ReadOperation(), address=address, handler=events, io_timeout=0.1
            )
        with descriptors_left(1):
            executor.execute_request()
        errors = events.errors
        assert errors
        assert all(isinstance(error, ConnectionFailedError) for error in errors)
        assert {error.errno for error in errors} == {errno.EMFILE}
        assert len(events.of(EventType.FINALIZE)) == 8
        again = Log()
        executor.socket_bag.add_socket(
            ClientSocket(), ReadOperation(), address=address, handler=again, io_timeout=0.05
        )
        executor.execute_request()
        assert again.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]


def test_while_accepting(executor: RequestExecutor) -> None:
    """One EXCEPTION an episode; with descriptors to be had again, every client is accepted."""
    events = Log()
    with ExitStack() as stack:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = listener.getsockname()[1]
        executor.socket_bag.add_socket(ServerSocket.from_socket(listener), ReadOperation(), handler=events)
        executor.start_request()
        turns_until(executor, lambda: events.of(EventType.CONNECTED))
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        with descriptors_left(0):
            for _ in range(30):
                executor.turn(0.01)
            assert [type(error) for error in events.errors] == [AcceptError]
            assert events.errors[0].errno == errno.EMFILE
            assert not events.of(EventType.ACCEPT)
        for _ in range(1000):
            executor.turn(0.05)
            if len(events.of(EventType.ACCEPT)) == 3:
                break
        assert len(events.of(EventType.ACCEPT)) == 3
        assert len(events.errors) == 1
        executor.stop_request()
        assert not executor.turn(0)


@pytest.mark.parametrize("kind", ["connect", "race", "adopted", "listener"])
def test_one_more_than_the_engine_can_watch(kind: str) -> None:
    """select(2) ends at 1024: the socket beyond it fails, the others go on."""
    ours, theirs = socket.socketpair()
    low = ClientSocket.from_socket(ours)
    events, fine = Log(), Log()

    def two(host: str, port: int, *more: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")
        ]

    with theirs, RequestExecutor("selectors:select", resolver=two) as executor, ExitStack() as stack:
        for _ in range(1100):
            stack.callback(os.close, os.dup(0))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        assert listener.fileno() > 1024
        theirs.sendall(b"!")
        port = listener.getsockname()[1]
        one: ClientSocket | ServerSocket = ClientSocket()
        address: str | None = f"tcp://127.0.0.1:{port}"
        if kind == "race":
            address = f"tcp://name.test:{port}"
        elif kind == "adopted":
            one, address = ClientSocket.from_socket(socket.create_connection(("127.0.0.1", port))), None
        elif kind == "listener":
            one, address = ServerSocket(), "tcp://127.0.0.1:0"
        metadata = {} if address is None else {"address": address}
        executor.socket_bag.add_socket(one, ReadOperation(), handler=events, **metadata)
        executor.socket_bag.add_socket(low, ReadOperation(FixedLengthFramePicker(2)), handler=fine)
        # The low number stays taken until then.
        executor.with_event_handler({EventType.EXCEPTION: lambda event: theirs.sendall(b"?")})
        executor.execute_request()
    (error,) = events.errors
    assert isinstance(error, NetworkSocketError) and error.errno == errno.EMFILE
    assert events.names[-1] == "FINALIZE"
    assert [event.frame.data for event in fine.of(EventType.READ)] == [b"!?"]


def test_an_executor_that_cannot_be_made_leaves_nothing_open(engine: str) -> None:
    """With every number of descriptors left from none to what it takes; the reason is the true one."""
    before = len(os.listdir("/proc/self/fd"))
    made = 0
    reasons: list[str] = []
    for count in range(12):
        try:
            with descriptors_left(count):
                RequestExecutor(engine).close()
            made += 1
        except (OSError, EngineUnavailableError) as error:
            reasons.append(str(error))
        assert len(os.listdir("/proc/self/fd")) == before
    assert 0 < made < 12
    assert all(os.strerror(errno.EMFILE) in reason for reason in reasons)


FIRST_LOOK = """
import os, resource, sys
from evsockets import EngineUnavailableError, RequestExecutor, available_engines
lowest = os.dup(0)
os.close(lowest)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
for name, reason in available_engines().items():
    print(name, "-", reason)
for name in ("gevent", "libev", "libevent"):
    try:
        RequestExecutor(name)
    except EngineUnavailableError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
RequestExecutor(sys.argv[1]).close()
"""


def test_engines_that_cannot_be_looked_for(engine: str) -> None:
    """In a process that looks for the first time: what cannot be read is not said to be missing, nor kept."""
    done = run_python(FIRST_LOOK, engine)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("entry points cannot be read") == 6
    assert done.stdout.count(os.strerror(errno.EMFILE)) >= 6
    assert "not installed" not in done.stdout
