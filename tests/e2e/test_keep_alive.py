"""Connections that outlive a request: idle, forgotten, and in the pool."""

from __future__ import annotations

import socket

import pytest

from evsockets import (
    ClientSocket,
    DisconnectedError,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    EventType,
    FixedLengthFramePicker,
    Frame,
    FramePicker,
    NullOperation,
    PersistentClientSocket,
    ReadOperation,
    RequestExecutor,
    TlsDataFlushEventHandler,
    UnmanagedSocketError,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import LINE
from support.wire import add, pair, peer, read_to_end, reset, talk


def alerts(log) -> list[int]:
    return [event.attempt for event in log.events if event.type is EventType.DATA_ALERT]


# ---- idle ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_the_peer_ends_an_idle_connection(executor: RequestExecutor, how: str) -> None:
    def script(sock):
        sock.recv(1)
        if how == "reset":
            reset(sock)
        elif how == "half-close":
            sock.shutdown(socket.SHUT_WR)
            return read_to_end(sock)

    with peer(script) as server:
        log = talk(executor, server.url(), WriteOperation(b"x"), keep_alive=True)
    assert log.names == [*USUAL, "WRITE", *END]


def test_idle_timeout(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, NullOperation(), socket=client, keep_alive=True, idle_timeout=0.05,
                   io_timeout=0.01)  # fmt: skip
    assert log.timeouts == [("IDLE", "idle")]
    assert log.names == [*USUAL, "TIMEOUT", *END]


@pytest.mark.parametrize("inbox", [True, False])
def test_twenty_five_alerts_then_the_end(executor: RequestExecutor, inbox: bool) -> None:
    client, theirs = pair()
    with theirs:
        theirs.sendall(b"line\nunread")
        operation = ReadOperation(LINE) if inbox else NullOperation()
        log = talk(executor, None, operation, socket=client, keep_alive=True)
    assert alerts(log) == list(range(1, 26))
    assert {event.total_attempts for event in log.events if event.type is EventType.DATA_ALERT} == {25}
    assert isinstance(log.error, UnmanagedSocketError) and log.error.socket is client
    assert log.names == [*USUAL, *["READ"] * inbox, *["DATA_ALERT"] * 25, "EXCEPTION", *END]


def test_alerts_come_once_per_turn(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        theirs.sendall(b"unread")
        log = add(executor, None, NullOperation(), socket=client, keep_alive=True)
        executor.start_request()
        for _ in range(15):
            before = len(alerts(log))
            executor.turn(0)
            assert len(alerts(log)) <= before + 1
        assert 10 <= len(alerts(log)) <= 15
        executor.stop_request()
        while executor.turn(0):
            pass
    assert log.names[-2:] == END


def test_even_when_the_peer_has_gone(executor: RequestExecutor) -> None:
    """What came before the end is told before the end."""
    client, theirs = pair()
    theirs.sendall(b"line\nunread")
    theirs.close()
    log = talk(
        executor, None, ReadOperation(LINE), socket=client, keep_alive=True,
        on={"DATA_ALERT": lambda event: event.attempt == 3 and event.next_is_read()},
    )  # fmt: skip
    assert log.frames == [b"line\n", b"unread"]
    assert log.names == [*USUAL, "READ", *["DATA_ALERT"] * 3, "READ", *END]


def test_what_a_frame_at_the_end_left_is_told(executor: RequestExecutor) -> None:
    """The end has been seen already when the connection becomes idle."""

    class Byte(FramePicker):
        """One byte, once no more will come."""

        def pick(self, inbox, ended):
            return Frame(inbox.take(1), inbox.remote_address) if ended and len(inbox) else None

    client, theirs = pair()
    theirs.sendall(b"abc")
    theirs.close()
    log = talk(
        executor, None, ReadOperation(Byte()), socket=client, keep_alive=True,
        on={"DATA_ALERT": lambda event: event.next_is_read()},
    )  # fmt: skip
    assert log.frames == [b"a", b"bc"]
    assert log.names == [*USUAL, "READ", "DATA_ALERT", "READ", *END]


def test_an_answer_restarts_the_count(executor: RequestExecutor) -> None:
    client, theirs = pair()

    def on_alert(event):
        if event.attempt == 5:
            event.next_is_read(FixedLengthFramePicker(1))

    with theirs:
        theirs.sendall(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        log = talk(
            executor, None, NullOperation(), socket=client, keep_alive=True, on={"DATA_ALERT": on_alert}
        )
    assert alerts(log) == [1, 2, 3, 4, 5] * 3 and log.frames == [b"a", b"b", b"c"]
    assert log.names[-2:] == END and log.errors == []


def test_an_empty_read_does_not_restart_the_count(executor: RequestExecutor) -> None:
    client, theirs = pair()
    empty = ReadOperation(EmptyFramePicker())
    with theirs:
        theirs.sendall(b"abc")
        log = talk(
            executor, None, NullOperation(), socket=client, keep_alive=True,
            on={"DATA_ALERT": lambda event: event.next_is(empty)},
        )  # fmt: skip
    assert alerts(log) == list(range(1, 26))
    assert isinstance(log.error, UnmanagedSocketError)
    assert set(log.frames) == {b""}


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_an_alert_may_end_the_connection(executor: RequestExecutor, how: str) -> None:
    client, theirs = pair()

    def on_alert(event):
        event.cancel_operation() if how == "cancel" else client.close()

    with theirs:
        theirs.sendall(b"abc")
        log = talk(
            executor, None, NullOperation(), socket=client, keep_alive=True, on={"DATA_ALERT": on_alert}
        )
    assert log.names == [*USUAL, "DATA_ALERT", *END]


@pytest.mark.parametrize("how", ["set_operation", "forget_socket"])
def test_the_bag_may_answer_an_alert(executor: RequestExecutor, how: str) -> None:
    client, theirs = pair()

    def on_alert(event):
        bag = event.executor.socket_bag
        bag.forget_socket(client) if how == "forget_socket" else bag.set_operation(client, ReadOperation())

    with theirs:
        theirs.sendall(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        log = talk(
            executor, None, NullOperation(), socket=client, keep_alive=True, on={"DATA_ALERT": on_alert}
        )
        client.close()
    if how == "forget_socket":
        assert log.names == [*USUAL, "DATA_ALERT", "FINALIZE"]
    else:
        assert log.names == [*USUAL, "DATA_ALERT", "READ", *END] and log.frames == [b"abc"]


def test_set_operation_starts_at_once(executor: RequestExecutor) -> None:
    client, theirs = pair()

    def later(event):
        executor.call_soon_threadsafe(go)

    def go():
        assert executor.socket_bag.get_operation(client) is None
        executor.socket_bag.set_operation(client, WriteOperation(b"x"))

    with theirs:
        log = talk(
            executor, None, NullOperation(), socket=client, keep_alive=True,
            on={"CONNECTED": later, "WRITE": lambda event: setattr(event.metadata, "keep_alive", False)},
        )  # fmt: skip
        assert read_to_end(theirs) == b"x"
    assert log.names == [*USUAL, "WRITE", *END]


def test_the_flush_handler_swallows_the_first_alert(executor: RequestExecutor) -> None:
    client, theirs = pair()
    seen = []

    def inner(event):
        seen.append((event.type.name, getattr(event, "attempt", None)))
        if event.type is EventType.DATA_ALERT:
            event.next_is_read()

    executor.socket_bag.add_socket(
        client, NullOperation(), handler=TlsDataFlushEventHandler(inner), keep_alive=True
    )
    with theirs:
        theirs.sendall(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        executor.execute_request()
    assert seen == [
        ("INITIALIZE", None), ("CONNECTED", None), ("DATA_ALERT", 2), ("READ", None),
        ("DISCONNECTED", None), ("FINALIZE", None),
    ]  # fmt: skip


# ---- forgotten -------------------------------------------------------------------------------------


def forget(event):
    event.executor.socket_bag.forget_socket(event.socket)


def test_the_next_life_uses_the_connection(executor: RequestExecutor) -> None:
    """Bytes beyond the frame stay with it, a next operation set is ignored, and CONNECTED comes once."""

    def script(sock):
        sock.sendall(b"one\ntwo\n")
        return read_to_end(sock)

    client = ClientSocket()

    def on_read(event):
        forget(event)
        event.next_is_write(b"never")

    with peer(script) as server:
        first = talk(
            executor, server.url(), ReadOperation(LINE), socket=client, keep_alive=True, on={"READ": on_read}
        )
        assert first.names == [*USUAL, "READ", "FINALIZE"] and first.frames == [b"one\n"]
        assert first.metadata.request_complete and client.is_connected and client.fileno() >= 0
        descriptor = client.fileno()
        second = talk(
            executor, server.url(), ReadOperation(LINE), socket=client,
            on={"READ": lambda event: event.next_is_write(b"%d" % (event.socket.fileno() == descriptor))},
        )  # fmt: skip
        assert second.names == ["INITIALIZE", "READ", "WRITE", *END] and second.frames == [b"two\n"]
        assert not client.is_connected and client.fileno() == -1
        times = second.metadata
        assert times.connection_start_time is not None and times.connection_finish_time is not None
        assert second.metadata.remote_address == ("127.0.0.1", server.port)
    assert server.results == [b"1"]


def test_the_next_life_may_want_urgent_bytes(executor: RequestExecutor) -> None:
    def script(sock):
        sock.recv(1)
        sock.send(b"!", socket.MSG_OOB)
        sock.sendall(b"line\n")
        return read_to_end(sock)

    client = ClientSocket()
    with peer(script) as server:
        talk(
            executor, server.url(), NullOperation(), socket=client, keep_alive=True, on={"CONNECTED": forget}
        )
        write = WriteOperation(b"x", then=ReadOperation(LINE))
        log = talk(executor, server.url(), write, socket=client, oob=True)
    assert log.names == ["INITIALIZE", "WRITE", "OOB", "READ", *END] and log.frames == [b"line\n"]


@pytest.mark.parametrize("when", ["idle", "in CONNECTED", "in WRITE"])
def test_forgetting_at_several_moments(executor: RequestExecutor, when: str) -> None:
    client, theirs = pair()

    def later(event):
        executor.call_soon_threadsafe(executor.socket_bag.forget_socket, client)

    on = {
        "idle": {"CONNECTED": later},
        "in CONNECTED": {"CONNECTED": forget},
        "in WRITE": {"WRITE": forget},
    }[when]
    size = 500_000
    with theirs:
        log = add(executor, None, WriteOperation(bytes(size)), socket=client, keep_alive=True, on=on)
        executor.start_request()
        executor.turn(0)
        received = 0
        while received < size:
            received += len(theirs.recv(65536))
            executor.turn(0) if executor.is_executing else None
        while executor.is_executing and executor.turn(None):
            pass
        # The kernel has taken the last byte, and the connection is open.
        assert log.names == [*USUAL, "WRITE", "FINALIZE"]
        assert client.is_connected
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        client.close()
        assert theirs.recv(1) == b""


def test_ignored_without_keep_alive(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, WriteOperation(b"x"), socket=client, on={"WRITE": forget})
        assert read_to_end(theirs) == b"x"
    assert log.names == [*USUAL, "WRITE", *END]


def test_another_address_closes_the_connection(executor: RequestExecutor) -> None:
    client = ClientSocket()
    with peer(read_to_end) as one, peer(read_to_end) as two:
        talk(executor, one.url(), WriteOperation(b"1"), socket=client, keep_alive=True, on={"WRITE": forget})
        assert client.is_connected
        log = talk(executor, two.url(), WriteOperation(b"2"), socket=client)
    assert log.names == [*USUAL, "WRITE", *END]
    assert (one.results, two.results) == ([b"1"], [b"2"])


def test_close_of_the_executor_closes_forgotten_ones(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        talk(executor, None, WriteOperation(b"1"), socket=client, keep_alive=True, on={"WRITE": forget})
        assert client.is_connected
        executor.close()
        assert not client.is_connected
        assert read_to_end(theirs) == b"1"


def test_the_peer_went_away_between_two_lives(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        talk(executor, None, NullOperation(), socket=client, keep_alive=True, on={"CONNECTED": forget})
    log = talk(executor, None, ReadOperation(LINE), socket=client)
    assert isinstance(log.error, DisconnectedError)
    assert log.names == ["INITIALIZE", "EXCEPTION", *END]


# ---- counted on, or from the beginning ---------------------------------------------------------------


def test_an_operation_after_an_empty_read_counts_from_the_beginning(executor: RequestExecutor) -> None:
    client, theirs = pair()

    def on_read(event):
        if event.frame.data == b"":
            event.next_is_read()
        elif len(alerts(log)) == 30:
            event.cancel_operation()
        else:
            theirs.sendall(b"x")

    with theirs:
        theirs.sendall(b"x")
        log = add(
            executor, None, NullOperation(), socket=client, keep_alive=True,
            on={"READ": on_read, "DATA_ALERT": lambda event: event.next_is_read(EmptyFramePicker())},
        )  # fmt: skip
        executor.execute_request()
    assert alerts(log) == [1] * 30 and log.errors == []


def test_an_empty_read_set_from_elsewhere_counts_on(executor: RequestExecutor) -> None:
    client, theirs = pair()
    empty = ReadOperation(EmptyFramePicker())

    def later(event):
        executor.call_soon_threadsafe(lambda: executor.socket_bag.set_operation(client, empty))

    with theirs:
        theirs.sendall(b"x")
        log = add(
            executor, None, NullOperation(), socket=client, keep_alive=True, request_timeout=20,
            on={"DATA_ALERT": lambda event: event.attempt < 25 and later(event)},
        )  # fmt: skip
        executor.execute_request()
    assert alerts(log) == list(range(1, 26))
    assert isinstance(log.error, UnmanagedSocketError)


# ---- forgotten while the peer ends ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ClientSocket, PersistentClientSocket])
def test_an_end_met_by_the_read_in_hand_ends_a_forgotten_socket(
    executor: RequestExecutor, kind: type
) -> None:
    """There is no connection left to let go of, and the next life has a new one."""
    lives = []

    def script(sock):
        if lives:
            sock.sendall(b"fresh")

    client = kind()
    with peer(script, count=2) as server:
        log = talk(
            executor, server.url(), ReadOperation(), socket=client, keep_alive=True,
            on={"CONNECTED": lambda event: executor.socket_bag.forget_socket(client)},
        )  # fmt: skip
        assert log.names == [*USUAL, *END] and not client.is_connected
        lives.append(log)
        log = talk(executor, server.url(), ReadOperation(), socket=client, keep_alive=True)
    assert log.names == [*USUAL, "READ", *END] and log.frames == [b"fresh"]


def test_a_read_to_the_end_leaves_a_half_closed_connection_to_the_next_life(
    executor: RequestExecutor,
) -> None:
    client, theirs = pair()
    with theirs:
        theirs.sendall(b"question")
        theirs.shutdown(socket.SHUT_WR)
        log = talk(
            executor, None, ReadOperation(EndOfStreamFramePicker()), socket=client, keep_alive=True,
            on={"READ": lambda event: executor.socket_bag.forget_socket(client)},
        )  # fmt: skip
        assert log.names == [*USUAL, "READ", "FINALIZE"] and client.is_connected
        log = talk(executor, None, WriteOperation(b"answer"), socket=client)
        assert log.names == ["INITIALIZE", "WRITE", *END]
        assert read_to_end(theirs) == b"answer"


# ---- in another executor ----------------------------------------------------------------------------


def test_closing_the_executor_that_forgot_it_leaves_its_next_life_alone(engine: str) -> None:
    client, theirs = pair()
    with theirs, RequestExecutor(engine) as one, RequestExecutor(engine) as two:
        log = talk(
            one, None, WriteOperation(b"1"), socket=client, keep_alive=True,
            on={"CONNECTED": lambda event: one.socket_bag.forget_socket(client)},
        )  # fmt: skip
        assert log.names == [*USUAL, "WRITE", "FINALIZE"]

        def on_write(event):
            one.close()
            event.next_is_read()
            theirs.sendall(b"!")

        log = talk(two, None, WriteOperation(b"2"), socket=client, on={"WRITE": on_write})
        assert log.names == ["INITIALIZE", "WRITE", "READ", *END] and log.frames == [b"!"]
        assert read_to_end(theirs) == b"12"
