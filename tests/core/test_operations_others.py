"""Our end of the stream, delays, null, and operations of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    READ,
    WRITE,
    ClientSocket,
    DelayedOperation,
    DisconnectedError,
    Event,
    EventType,
    NullOperation,
    Operation,
    ReadOperation,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.conversation import READ_LINE, Talk, does, gets_end, sends, turns
from support.wire import turns_to_the_end

X = WriteOperation(b"x")

# ---- our end, and null -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_our_end_then_the_answer(talk: Talk, size: int) -> None:
    """The end comes behind the last byte that the kernel did not take at once."""
    then = ShutdownWriteOperation(READ_LINE)
    talk(
        WriteOperation(bytes(size), then=then), turns(3), gets_end, sends(b"thanks\n"),
        told=["WRITE", b"thanks\n"], sent=bytes(size),
    )  # fmt: skip


def test_shutdown_without_more_ends_the_request(talk: Talk) -> None:
    assert talk(ShutdownWriteOperation()).at_end


def test_writing_after_our_end_fails(talk: Talk) -> None:
    one = talk(ShutdownWriteOperation(WriteOperation(b"late")), told=["WRITE", DisconnectedError])
    assert one.error.errno == 32


def test_shutdown_keeps_an_idle_connection_open(talk: Talk) -> None:
    """Kept alive, it idles with its direction ended until the peer ends too."""
    on = {"DATA_ALERT": [READ_LINE]}
    steps = [gets_end, sends(b"after\n"), turns(5), does(lambda: one.close_peer())]
    one = talk.pair()
    talk(
        ShutdownWriteOperation(), *steps, told=["DATA_ALERT 1", b"after\n"], on=on, again=one, keep_alive=True
    )


def test_null_ends_a_plain_socket(talk: Talk) -> None:
    talk(NullOperation(), sends(b"unread"))


# ---- delays ----------------------------------------------------------------------------------------


def test_what_a_delay_shows() -> None:
    inner = WriteOperation(b"x")

    def pending(socket: Any, executor: Any, first: int, second: int) -> bool:
        return False

    operation = DelayedOperation(inner, pending, 1, 2, interval=3)
    assert (operation.operation, operation.pending, operation.args) == (inner, pending, (1, 2))
    wrongs: list[Any] = [(b"x", pending), (inner, None)]
    for wrong in wrongs:
        with pytest.raises(TypeError):
            DelayedOperation(*wrong)
    for interval in (0, -1, float("nan")):
        with pytest.raises(ValueError):
            DelayedOperation(inner, pending, interval=interval)


class Pending:
    """A predicate that holds until it has been asked so often, or is told otherwise."""

    def __init__(self, times: float = float("inf")) -> None:
        self.times = times
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> bool:
        self.asked.append(args)
        return len(self.asked) < self.times

    def release(self) -> None:
        self.times = 0


def test_not_pending_it_starts_at_once(talk: Talk) -> None:
    pending = Pending(times=1)
    one = talk(DelayedOperation(X, pending, "a", 1), told=["WRITE"], sent=b"x")
    assert pending.asked == [(one.client, talk.executor, "a", 1)]


@pytest.mark.parametrize("io_timeout", [None, 60, 0.01])
@pytest.mark.parametrize("first", [True, False])
def test_asked_every_interval(talk: Talk, io_timeout: float | None, first: bool) -> None:
    """A delay is no time without progress."""
    pending = Pending(times=4)
    delayed = DelayedOperation(X, pending, interval=0.01)
    operation: Operation = delayed if first else ReadOperation()
    told = ["WRITE"] if first else [b"go", "WRITE"]
    on = {"READ": [delayed]}
    talk(operation, sends(b"go"), told=told, sent=b"x", on=on, io_timeout=io_timeout)
    assert len(pending.asked) == 4


def test_asked_when_another_socket_had_an_event(talk: Talk) -> None:
    pending = Pending()

    def on_read(event: Any) -> None:
        if event.frame.data == b"3\n":
            pending.release()
        else:
            event.next_is(READ_LINE)

    waiting = talk.begin(DelayedOperation(X, pending))
    talk(READ_LINE, sends(b"1\n2\n3\n"), told=[b"1\n", b"2\n", b"3\n"], on={"READ": on_read})
    waiting.check(["WRITE"], b"x")
    assert 2 <= len(pending.asked) <= 4  # not once for each event of a turn


@pytest.mark.parametrize("what", ["connected", "ended", "failed"])
def test_events_nobody_listens_to_count(talk: Talk, what: str) -> None:
    """The other socket has no handler at all, and its metadata is what the delay waits for."""

    def pending(*args: Any) -> bool:
        return other.connection_finish_time is None if what == "connected" else not other.request_complete

    waiting = talk.begin(DelayedOperation(X, pending), request_timeout=10)
    if what == "failed":
        other = talk.bag.add_socket(ClientSocket(), ReadOperation(), address="unix:///nowhere/at/all")
    else:
        other = talk.bag.add_socket(talk.pair().client, ReadOperation(), io_timeout=0.05)
    talk.run()
    waiting.check(["WRITE"], b"x")


def test_asked_after_a_thread_safe_callback_and_never_spins(talk: Talk) -> None:
    executor, pending = talk.executor, Pending()
    one = talk.begin(DelayedOperation(X, pending))
    executor.start_request()
    for _ in range(10):
        assert executor.turn(0)
    assert len(pending.asked) == 1
    assert executor.patience() is None
    executor.call_soon_threadsafe(int)
    executor.turn(0)
    assert len(pending.asked) == 2
    executor.call_soon_threadsafe(pending.release)
    turns_to_the_end(executor, 0)
    assert len(pending.asked) == 3
    one.go_on()
    one.check(["WRITE"], b"x")


def test_delayed_on_one_another(talk: Talk) -> None:
    """The second is asked because the first had its events."""
    order: list[str] = []
    first = DelayedOperation(NullOperation(), Pending(times=3), interval=0.01)
    second = DelayedOperation(NullOperation(), lambda socket, executor: "first" not in order)
    talk.begin(first, on={"FINALIZE": lambda event: order.append("first")})
    talk.begin(second, on={"FINALIZE": lambda event: order.append("second")})
    talk.run()
    assert order == ["first", "second"]


def test_an_exception_out_of_pending_ends_the_run(talk: Talk) -> None:
    with pytest.raises(ZeroDivisionError):
        talk(DelayedOperation(NullOperation(), lambda *args: 1 / 0))


def test_a_delayed_socket_can_be_timed_out(talk: Talk) -> None:
    told = ["TIMEOUT REQUEST delayed"]
    talk(DelayedOperation(NullOperation(), Pending()), told=told, request_timeout=0.05)


def test_a_delayed_socket_can_be_closed(talk: Talk) -> None:
    one = talk.pair()
    talk(DelayedOperation(NullOperation(), Pending()), turns(2), does(one.client.close), again=one)


@pytest.mark.parametrize("asked", [1, 2])
@pytest.mark.parametrize("how", ["stopped", "closed"])
def test_nothing_starts_when_the_predicate_ends_it(talk: Talk, how: str, asked: int) -> None:
    """When it becomes current as well as later."""
    times = iter(range(1, asked + 1))

    def pending(*args: Any) -> bool:
        if next(times) < asked:
            return True
        talk.executor.stop_request() if how == "stopped" else one.client.close()
        return False

    one = talk.pair()
    talk(DelayedOperation(X, pending, interval=0.001), again=one)


# ---- one's own -------------------------------------------------------------------------------------


class Greeting(Operation):
    """Says hello in its own way and reads the answer without a picker."""

    __slots__ = ()
    interest = READ

    def start(self, channel: Any) -> Any:
        assert channel.send(b"hello") == 5
        return self

    def step(self, channel: Any, mask: int) -> Any:
        assert mask & READ
        data = channel.recv()
        if data is None or len(channel.inbox) < 5:
            return self
        channel.metadata.user_context = channel.inbox.take(5), channel.socket
        channel.emit(Event(EventType.CONNECTED, channel))
        return WriteOperation(b"bye")


def test_an_operation_of_ones_own(talk: Talk) -> None:
    one = talk(Greeting(), sends(b"howdy and more"), told=["CONNECTED", "WRITE"], sent=b"hellobye")
    assert one.metadata.user_context == (b"howdy", one.client)
    assert one.metadata.bytes_received == 14


class Pour(Operation):
    """Sends as much as the peer takes, with what it has sent so far in the user context."""

    __slots__ = ()
    interest = WRITE
    phase = "writing"

    def step(self, channel: Any, mask: int) -> Any:
        channel.metadata.user_context += channel.send(bytes(100_000))
        return self if channel.metadata.user_context < 2_000_000 else None


def test_its_interest_may_be_writing(talk: Talk) -> None:
    one = talk(Pour(), turns(3), sent=None, user_context=0)
    assert one.metadata.user_context >= 2_000_000
    assert one.received == bytes(one.metadata.user_context)


def test_the_default_start_waits(talk: Talk) -> None:
    class Bare(Operation):
        def step(self, channel: Any, mask: int) -> Any:
            return None if channel.recv() is not None else self

    talk(Bare(), turns(3), sends(b"x"))


def test_its_end_of_stream_and_errors(talk: Talk) -> None:
    class Bare(Operation):
        def step(self, channel: Any, mask: int) -> Any:
            return self if channel.recv() != b"" else 1 / 0

    one = talk.begin(Bare())
    one.close_peer()
    with pytest.raises(ZeroDivisionError):
        talk.run()
    one.check()
