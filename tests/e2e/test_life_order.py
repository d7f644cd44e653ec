"""The order of events in a socket's life, and its end by cancel, close and stop from every event."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    EventType,
    FixedLengthFramePicker,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.scenes import KINDS, UP_TO, rest_after, scene
from support.wire import Log, add, pair, talk


def bystander(executor: RequestExecutor) -> tuple[Log, socket.socket]:
    ours, theirs = pair()
    theirs.sendall(b"ok")
    operation = WriteOperation(b"ping", then=ReadOperation(FixedLengthFramePicker(2)))
    return add(executor, None, operation, socket=ours), theirs


def test_usual_order_and_times(executor: RequestExecutor) -> None:
    times: dict[str, tuple[Any, ...]] = {}

    def note(event: Any) -> None:
        m = event.metadata
        times[event.type.name] = (
            m.connection_start_time, m.connection_finish_time, m.last_io_start_time, m.request_complete,
        )  # fmt: skip
        assert event.socket is client
        assert event.executor is executor

    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = ClientSocket()
        url = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        names = ("INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE")
        log = talk(executor, url, WriteOperation(b"x"), socket=client, on=dict.fromkeys(names, note))
    assert log.names == list(names)
    assert times["INITIALIZE"] == (None, None, None, False)
    start, finish, last, complete = times["CONNECTED"]
    assert start is not None and finish >= start and last is None and not complete
    assert times["WRITE"][2] is not None
    assert [times[name][3] for name in names] == [False, False, False, True, True]


def test_read_first_is_connected_before_the_peer_speaks(executor: RequestExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        log = talk(executor, url, ReadOperation(), on={"CONNECTED": lambda event: event.cancel_operation()})
    assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("operation", [ReadOperation(), WriteOperation(b"x")], ids=["read", "write"])
def test_refused(executor: RequestExecutor, unused_port: int, operation: Any) -> None:
    log = talk(executor, f"tcp://127.0.0.1:{unused_port}", operation)
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    assert isinstance(log.error, ConnectionFailedError)
    assert log.error.errno and isinstance(log.error.__cause__, OSError)
    assert log.error.attempts[-1][1] is log.error.__cause__


def test_no_address(executor: RequestExecutor) -> None:
    log = talk(executor, None, ReadOperation())
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    assert isinstance(log.error, ConnectionFailedError)
    server = talk(executor, None, ReadOperation(), socket=ServerSocket())
    assert server.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]


def test_initialize_may_set_everything(executor: RequestExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def prepare(event: Any) -> None:
            event.metadata.address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
            event.metadata.user_context = "context"
            event.executor.socket_bag.set_operation(event.socket, WriteOperation(b"other"))

        log = talk(executor, None, ReadOperation(), on={"INITIALIZE": prepare})
        theirs, _ = listener.accept()
        with theirs:
            assert theirs.recv(100) == b"other"
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]
    assert {event.user_context for event in log.events} == {"context"}


@pytest.mark.parametrize("kind", KINDS)
def test_cancel_in_every_event(executor: RequestExecutor, kind: str) -> None:
    def cancel(event: Any) -> None:
        event.cancel_operation()
        if hasattr(event, "next_is_write"):
            event.next_is_write(b"never sent")
        if hasattr(event, "enable_one_more_attempt"):
            event.enable_one_more_attempt()
        assert event.is_cancelled or kind in ("DISCONNECTED", "FINALIZE", "EXCEPTION")

    other, theirs = bystander(executor)
    with theirs, scene(executor, kind) as one:
        log = one.prepare(cancel)
        executor.execute_request()
        assert log.names == UP_TO[kind] + rest_after(kind)
        if kind == "WRITE":
            assert one.received() == b""
    assert other.names == ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]
    assert log.metadata.request_complete


@pytest.mark.parametrize("kind", KINDS)
def test_close_in_every_event(executor: RequestExecutor, kind: str) -> None:
    with scene(executor, kind) as one:
        log = one.prepare(lambda event: event.socket.close())
        executor.execute_request()
        assert log.names == UP_TO[kind] + rest_after(kind)
        assert one.socket.fileno() == -1 and not one.socket.is_connected


@pytest.mark.parametrize("kind", KINDS)
def test_stop_in_every_event(executor: RequestExecutor, kind: str) -> None:
    with scene(executor, kind) as one:
        silent, theirs = pair()
        other = add(executor, None, ReadOperation(), socket=silent)
        late = ClientSocket()

        def stop(event: Any) -> None:
            executor.stop_request()
            executor.stop_request()
            executor.socket_bag.add_socket(late, ReadOperation())
            if hasattr(event, "next_is_write"):
                event.next_is_write(b"never sent")

        log = one.prepare(stop)
        with theirs:
            executor.execute_request()
        assert log.names == UP_TO[kind] + rest_after(kind)
        assert other.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
        assert not executor.is_executing
        assert not executor.socket_bag.get_metadata(late).request_complete
        assert late in executor.socket_bag


def test_stop_leaves_the_unstarted_for_the_next_run(executor: RequestExecutor) -> None:
    first, one = pair()
    second, two = pair()
    with one, two:
        two.sendall(b"!")
        stopped = add(
            executor, None, ReadOperation(), socket=first,
            on={"INITIALIZE": lambda event: executor.stop_request()},
        )  # fmt: skip
        waiting = add(executor, None, ReadOperation(), socket=second)
        executor.execute_request()
        assert (stopped.names, waiting.names) == (["INITIALIZE", "FINALIZE"], [])
        assert not waiting.metadata.request_complete
        executor.execute_request()
    assert waiting.frames == [b"!"]
    assert stopped.names == ["INITIALIZE", "FINALIZE"]


def test_stop_works_in_each_run(executor: RequestExecutor) -> None:
    for _ in range(3):
        ours, theirs = pair()
        with theirs:
            on = {"CONNECTED": lambda event: executor.stop_request()}
            log = talk(executor, None, ReadOperation(), socket=ours, on=on)
        assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_stop_ends_idle_sockets(executor: RequestExecutor) -> None:
    idle, theirs = pair()
    ours, others = pair()
    with theirs, others:
        kept = add(executor, None, NullOperation(), socket=idle, keep_alive=True)
        on = {"CONNECTED": lambda event: executor.stop_request()}
        talk(executor, None, ReadOperation(), socket=ours, on=on)
        assert kept.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
        assert theirs.recv(1) == b""


def test_cancelling_another_socket(executor: RequestExecutor) -> None:
    victim, one = pair()
    killer, two = pair()
    with one, two:
        two.sendall(b"!")
        log = add(executor, None, ReadOperation(), socket=victim)
        talk(executor, None, ReadOperation(), socket=killer, on={"READ": lambda event: victim.close()})
    assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_no_next_operation_after_all(executor: RequestExecutor) -> None:
    def think_again(event: Any) -> None:
        event.next_is_read()
        event.next_operation_not_required()

    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"!")
        log = talk(executor, None, WriteOperation(b"x"), socket=ours, on={"WRITE": think_again})
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]


def test_failing_close_gives_exception_instead_of_disconnected(
    executor: RequestExecutor,
) -> None:
    from evsockets.transports.stream import StreamTransport

    class Failing(StreamTransport):
        def close(self) -> None:
            super().close()
            raise OSError(5, "Input/output error")

    def exchange(event: Any) -> None:
        event._channel.set_transport(Failing(event._channel.transport.sock))

    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"!")
        log = add(executor, None, ReadOperation(), socket=ours, on={"CONNECTED": exchange})
        executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "READ", "EXCEPTION", "FINALIZE"]
    assert log.error.errno == 5


def test_handler_order_and_last_word(executor: RequestExecutor) -> None:
    said: list[str] = []

    def speak(name: str, data: bytes | None) -> Any:
        def handler(event: Any) -> None:
            said.append(name)
            if data is not None:
                event.next_is_write(data)

        return handler

    executor.with_event_handler({EventType.READ: speak("global 1", b"1")})
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"!")
        add(executor, None, ReadOperation(), socket=ours, on={"READ": speak("own", b"0")})
        again = speak("global 2", b"2")
        handler = {EventType.READ: again}
        executor.with_event_handler(handler)
        executor.with_event_handler(handler)
        executor.execute_request()
        assert theirs.recv(10) == b"2"
    assert said == ["own", "global 1", "global 2"]


def test_cancel_lets_the_other_handlers_see_the_event(executor: RequestExecutor) -> None:
    seen: list[str] = []
    executor.with_event_handler({EventType.READ: lambda event: seen.append("global")})
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"!")
        talk(executor, None, ReadOperation(), socket=ours, on={"READ": lambda e: e.cancel_operation()})
    assert seen == ["global"]


def test_a_read_set_in_write_and_then_handler(executor: RequestExecutor) -> None:
    then = ReadOperation()
    seen: list[Any] = []
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"!")
        on = {"WRITE": lambda event: seen.append(event.next_operation)}
        log = talk(executor, None, WriteOperation(b"x", then=then), socket=ours, on=on)
    assert seen == [then]
    assert log.frames == [b"!"]
