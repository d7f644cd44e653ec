"""The kernel refuses to watch a descriptor (no memory, its limit reached): that socket's affair alone."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    DisconnectedError,
    EngineError,
    NetworkSocketError,
    NullOperation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from evsockets.testing.refusal import elsewhere, refuse
from support.elsewhere import leave_hub, with_executor
from support.wire import Log, add, pair

BIG = bytes(10_000_000)
OPERATIONS: dict[str, Callable[[], Any]] = {
    "read": ReadOperation,
    "write": lambda: WriteOperation(BIG),
    "read after write": lambda: WriteOperation(b"x", then=ReadOperation()),
    "both": lambda: ReadWriteOperation(True, [ReadOperation(), WriteOperation(BIG)]),
    "idle": NullOperation,
}
NUMBERS = pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])


def refuse_socket(number: int) -> Callable[[Any], None]:
    """A handler: from now on the kernel refuses to watch its socket."""
    return lambda event: refuse("epoll_ctl", number, argument=2, equals=event.socket.fileno())


def beside(executor: RequestExecutor, script: Callable[[], Log]) -> Log:
    """Run what `script` adds, and two sockets that must not notice, one added before and one after it."""
    sockets = [pair() for _ in range(2)]
    logs = []
    for ours, theirs in sockets:
        theirs.sendall(b"fine")
        if not logs:
            logs.append(add(executor, None, ReadOperation(), socket=ours, io_timeout=20))
            refused = script()
        else:
            logs.append(add(executor, None, ReadOperation(), socket=ours, io_timeout=20))
    executor.execute_request()
    for log, (_, theirs) in zip(logs, sockets, strict=True):
        theirs.close()
        assert log.frames == [b"fine"] and "EXCEPTION" not in log.names
    return refused


def refused_as(log: Log, number: int, kind: type[NetworkSocketError] = NetworkSocketError) -> None:
    assert log.names[0] == "INITIALIZE" and log.names[-1] == "FINALIZE"
    assert log.names.count("EXCEPTION") == 1 and not log.timeouts
    assert isinstance(log.error, kind) and not isinstance(log.error, DisconnectedError)
    assert log.error.errno == number and isinstance(log.error.__cause__, OSError)
    assert log.error.__cause__.errno == number


@NUMBERS
@pytest.mark.parametrize("what", OPERATIONS)
def test_whatever_the_socket_waits_for(engine: str, what: str, number: int) -> None:
    ours, theirs = pair()
    on = {"CONNECTED": refuse_socket(number)}

    def script(executor: RequestExecutor) -> Log:
        return beside(
            executor,
            lambda: add(executor, None, OPERATIONS[what](), socket=ours, on=on, keep_alive=what == "idle"),
        )

    with theirs:
        log = with_executor(engine, script)
    refused_as(log, number)
    assert log.names[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]
    assert log.error.socket is ours


@NUMBERS
def test_a_change_of_what_is_waited_for(engine: str, number: int) -> None:
    """It waits to read, is told, and then for room to write."""
    ours, theirs = pair()

    def read(event: Any) -> None:
        refuse_socket(number)(event)
        event.next_is_write(BIG)

    with theirs:
        theirs.sendall(b"!")
        log = with_executor(
            engine,
            lambda executor: beside(
                executor,
                lambda: add(executor, None, ReadOperation(), socket=ours, on={"READ": read}, io_timeout=20),
            ),
        )
    refused_as(log, number)


@NUMBERS
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "unix://@{pid}-refused"])
def test_a_listener(engine: str, address: str, number: int) -> None:
    on = {"CONNECTED": refuse_socket(number)}
    address = address.format(pid=os.getpid())
    log = with_executor(
        engine,
        lambda executor: beside(
            executor, lambda: add(executor, address, ReadOperation(), socket=ServerSocket(), on=on)
        ),
    )
    refused_as(log, number)


def next_number() -> int:
    """The descriptor that the next socket will have."""
    with socket.socket() as lowest:
        return lowest.fileno()


@NUMBERS
@pytest.mark.parametrize("host", ["127.0.0.1", "several.invalid"])
def test_a_connect_on_its_way(engine: str, host: str, number: int) -> None:
    """To a server whose queue is full; of a name with several addresses every attempt fails like that."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]
        for one in fill:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))

        def resolve(*args: Any, **more: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port)) for last in (1, 2)]

        def script(executor: RequestExecutor) -> Log:
            def refuse_several(event: Any) -> None:
                for descriptor in range(next_number(), next_number() + 40):
                    refuse("epoll_ctl", number, argument=2, equals=descriptor)

            log = add(
                executor, f"tcp://{host}:{port}", ReadOperation(), socket=ClientSocket(),
                on={"INITIALIZE": refuse_several}, connection_timeout=20,
            )  # fmt: skip
            executor.execute_request()
            return log

        log = with_executor(engine, script, resolver=resolve)
        for one in fill:
            one.close()
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    refused_as(log, number, ConnectionFailedError)
    tried = [where[0] for where, _ in log.error.attempts]
    assert tried == (["127.0.0.1"] if host[0] == "1" else ["127.0.0.1", "127.0.0.2"])


@NUMBERS
def test_the_descriptor_that_wakes_the_executor(engine: str, number: int) -> None:
    """Without it an executor would be deaf: an EngineError, when it is made or when it runs."""

    def there() -> None:
        try:
            if engine == "gevent":
                import gevent

                gevent.sleep(0)  # the hub's own are another matter
            for descriptor in range(3, 100):
                refuse("epoll_ctl", number, argument=2, equals=descriptor)
            with RequestExecutor(engine) as executor:
                ours, theirs = pair()
                with theirs:
                    theirs.sendall(b"x")
                    executor.socket_bag.add_socket(ours, ReadOperation())
                    executor.execute_request()
        finally:
            leave_hub(engine)

    with pytest.raises(EngineError, match="wakes it") as caught:
        elsewhere(there)
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == number
