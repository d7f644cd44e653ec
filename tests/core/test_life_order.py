"""The order of events in a socket's life, and its end by cancel, close and stop from every event."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    EventType,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from evsockets.transports.stream import StreamTransport
from support.conversation import Talk, sends
from support.life import END, FAILED, USUAL
from support.scenes import KINDS, UP_TO, rest_after, scene
from support.wire import add, listening, pair
from support.wire import talk as hold


def test_usual_order_and_times(executor: RequestExecutor) -> None:
    times: dict[str, tuple[Any, ...]] = {}

    def note(event: Any) -> None:
        m = event.metadata
        times[event.type.name] = (
            m.connection_start_time, m.connection_finish_time, m.last_io_start_time, m.request_complete,
        )  # fmt: skip
        assert event.socket is client
        assert event.executor is executor

    client = ClientSocket()
    names = [*USUAL, "WRITE", *END]
    with listening() as (_, url):
        log = hold(executor, url, WriteOperation(b"x"), socket=client, on=dict.fromkeys(names, note))
    assert log.names == names
    assert times["INITIALIZE"] == (None, None, None, False)
    start, finish, last, complete = times["CONNECTED"]
    assert start is not None and finish >= start and last is None and not complete
    assert times["WRITE"][2] is not None
    assert [times[name][3] for name in names] == [False, False, False, True, True]


def test_read_first_is_connected_before_the_peer_speaks(executor: RequestExecutor) -> None:
    with listening() as (_, url):
        log = hold(executor, url, ReadOperation(), on={"CONNECTED": lambda event: event.cancel_operation()})
    assert log.names == [*USUAL, *END]


@pytest.mark.parametrize("kind", [ClientSocket, ServerSocket])
def test_no_address(executor: RequestExecutor, kind: Any) -> None:
    log = hold(executor, None, ReadOperation(), socket=kind())
    assert log.names == FAILED and isinstance(log.error, ConnectionFailedError)


def test_initialize_may_set_everything(executor: RequestExecutor) -> None:
    def prepare(event: Any) -> None:
        event.metadata.address = url
        event.metadata.user_context = "context"
        event.executor.socket_bag.set_operation(event.socket, WriteOperation(b"other"))

    with listening() as (listener, url):
        log = hold(executor, None, ReadOperation(), on={"INITIALIZE": prepare})
        with listener.accept()[0] as theirs:
            assert theirs.recv(100) == b"other"
    assert log.names == [*USUAL, "WRITE", *END]
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

    ours, theirs = pair()
    with theirs, scene(executor, kind) as one:
        theirs.sendall(b"ok")
        other = add(executor, None, WriteOperation(b"ping", then=ReadOperation()), socket=ours)
        log = one.prepare(cancel)
        executor.execute_request()
        assert log.names == UP_TO[kind] + rest_after(kind)
        if kind == "WRITE":
            assert one.received() == b""
    assert other.names == [*USUAL, "WRITE", "READ", *END]
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
    def stop(event: Any) -> None:
        executor.stop_request()
        executor.stop_request()
        executor.socket_bag.add_socket(late, ReadOperation())
        if hasattr(event, "next_is_write"):
            event.next_is_write(b"never sent")

    late = ClientSocket()
    silent, theirs = pair()
    with theirs, scene(executor, kind) as one:
        other = add(executor, None, ReadOperation(), socket=silent)
        log = one.prepare(stop)
        executor.execute_request()
    assert log.names == UP_TO[kind] + rest_after(kind)
    assert other.names == [*USUAL, *END]
    assert not executor.is_executing
    assert not executor.socket_bag.get_metadata(late).request_complete
    assert late in executor.socket_bag


# ---- in memory ---------------------------------------------------------------------------------------


def stop(event: Any) -> None:
    event.executor.stop_request()


def test_stop_leaves_the_unstarted_for_the_next_run(talk: Talk) -> None:
    stopped = talk.begin(ReadOperation(), on={"INITIALIZE": stop})
    waiting = talk.begin(ReadOperation(), sends(b"!"))
    talk.run()
    assert (stopped.names, waiting.names) == (["INITIALIZE", "FINALIZE"], [])
    assert not waiting.metadata.request_complete
    talk.run()
    waiting.check([b"!"])
    assert stopped.names == ["INITIALIZE", "FINALIZE"]


def test_stop_works_in_each_run(talk: Talk) -> None:
    for _ in range(3):
        talk(ReadOperation(), on={"CONNECTED": stop})


def test_stop_ends_idle_sockets(talk: Talk) -> None:
    kept = talk.begin(NullOperation(), keep_alive=True)
    talk(ReadOperation(), on={"CONNECTED": stop})
    kept.check()
    assert kept.at_end


def test_cancelling_another_socket(talk: Talk) -> None:
    victim = talk.begin(ReadOperation())
    talk(ReadOperation(), sends(b"!"), told=[b"!"], on={"READ": lambda event: victim.client.close()})
    victim.check()


def test_failing_close_gives_exception_instead_of_disconnected(talk: Talk) -> None:
    class Failing(StreamTransport):
        def close(self) -> None:
            self.sock.close()
            raise OSError(5, "Input/output error")

    def replace(event: Any) -> None:
        channel = event._channel
        channel.set_transport(Failing(channel.transport.sock))

    one = talk.begin(ReadOperation(), sends(b"!"), on={"CONNECTED": replace})
    talk.run()
    assert one.names == [*USUAL, "READ", "EXCEPTION", "FINALIZE"]
    assert one.error.errno == 5


def test_handler_order_and_last_word(talk: Talk) -> None:
    said: list[str] = []

    def speak(name: str, data: bytes) -> Any:
        return lambda event: said.append(name) or event.next_is_write(data)

    talk.executor.with_event_handler({EventType.READ: speak("global 1", b"1")})
    one = talk.begin(ReadOperation(), sends(b"!"), on={"READ": speak("own", b"0")})
    handler = {EventType.READ: speak("global 2", b"2")}
    talk.executor.with_event_handler(handler)
    talk.executor.with_event_handler(handler)
    talk.run()
    one.check([b"!", "WRITE"], b"2")
    assert said == ["own", "global 1", "global 2"]


def test_cancel_lets_the_other_handlers_see_the_event(talk: Talk) -> None:
    seen: list[str] = []
    talk.executor.with_event_handler({EventType.READ: lambda event: seen.append("global")})
    talk(ReadOperation(), sends(b"!"), told=[b"!"], on={"READ": lambda event: event.cancel_operation()})
    assert seen == ["global"]
