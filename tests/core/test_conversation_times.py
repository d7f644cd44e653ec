"""Conversations: sleeping, time-outs raised where something is awaited, `timeout()` blocks, drains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    Conversation,
    DelayedOperation,
    FixedLengthFramePicker,
    NetworkSocketError,
    NullOperation,
    ReadWriteOperation,
    SocketTimeoutError,
    TimeoutStage,
)
from evsockets.core.dispatch import Dispatch
from support.conversation import (
    BIG,
    LINE,
    ONE,
    Talk,
    does,
    fixed,
    gets_any,
    is_told,
    reads_nothing,
    sends,
    turns,
)

# ---- sleeping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 0.01, 0.05])
def test_sleep(talk: Talk, seconds: float) -> None:
    """Never early; others have their turn, even if it is for no time."""
    clock = talk.executor._loop.clock

    async def function(talk: Conversation) -> float:
        before = clock()
        await talk.sleep(seconds)
        return clock() - before

    slept = talk(function).metadata.result
    assert slept >= seconds and (not talk.in_memory or slept == pytest.approx(seconds))


@pytest.mark.parametrize(("wrong", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
@pytest.mark.parametrize("name", ["sleep", "timeout"])
def test_wrong_seconds(talk: Talk, name: str, wrong: Any, error: type[Exception]) -> None:
    async def function(talk: Conversation) -> None:
        with pytest.raises(error, match="seconds"):
            if name == "sleep":
                await talk.sleep(wrong)
            with talk.timeout(wrong):
                pass

    talk(function)


def test_no_io_time_out_while_it_sleeps_or_waits_or_is_delayed(talk: Talk) -> None:
    async def function(talk: Conversation) -> str:
        await talk.sleep(0.3)
        later = talk.executor._loop.clock() + 0.3
        early = lambda *_: talk.executor._loop.clock() < later  # noqa: E731
        await talk.do(DelayedOperation(NullOperation(), early, interval=0.1))
        return "done"

    talk(function, io_timeout=0.05, gives="done")


def test_a_suspended_one_goes_on_in_a_turn_of_its_own(talk: Talk) -> None:
    """What mailboxes are made of."""
    order: list[str] = []
    kept: list[Conversation] = []

    async def waits(talk: Conversation) -> None:
        kept.append(talk)
        assert not talk._wake()  # it does not wait
        await talk._suspend()
        order.append("woken")
        await talk._suspend()
        order.append("again")

    async def wakes(talk: Conversation) -> None:
        await talk.sleep(0.01)
        assert kept[0]._wake() and not kept[0]._wake()
        order.append("after wake")
        await talk.sleep(0.01)
        assert kept[0]._wake()

    one, two = talk.begin(waits), talk.begin(wakes)
    talk.run()
    one.check()
    two.check()
    assert order == ["after wake", "woken", "again"]
    assert not kept[0]._wake()


# ---- the I/O time-out ------------------------------------------------------------------------------


def test_io_is_raised_and_the_conversation_goes_on_with_a_fresh_clock(talk: Talk) -> None:
    clock = talk.executor._loop.clock

    async def function(talk: Conversation) -> bytes:
        for _ in range(3):
            before = clock()
            with pytest.raises(SocketTimeoutError) as raised:
                await talk.read(LINE)
            assert isinstance(raised.value, NetworkSocketError) and isinstance(raised.value, TimeoutError)
            assert (raised.value.when, raised.value.phase) == (TimeoutStage.IO, "reading")
            assert raised.value.socket is talk.socket and "0.05" in str(raised.value)
            assert clock() - before >= 0.05
        await talk.write(b"?")
        return (await talk.read(LINE)).data

    talk(
        function, sends(b"ha"), gets_any(1), sends(b"lf\n"),
        told=["WRITE", b"half\n"], sent=b"?", io_timeout=0.05,
        gives=b"half\n",
    )  # fmt: skip


@pytest.mark.parametrize("again", [False, True])
def test_not_caught_timeout_is_told_when_the_coroutine_has_ended(talk: Talk, again: bool) -> None:
    """One more attempt has no effect."""
    order: list[str] = []

    async def function(talk: Conversation) -> None:
        try:
            await talk.read(ONE)
        finally:
            order.append("closed")

    def timeout(event: Any) -> None:
        order.append("TIMEOUT")
        if again:
            event.enable_one_more_attempt()

    talk(function, reads_nothing, told=["TIMEOUT IO reading"], io_timeout=0.05, on={"TIMEOUT": timeout})
    assert order == ["closed", "TIMEOUT"]


def numbers(pulled: list[int]) -> Iterator[bytes]:
    for number in range(100_000):
        pulled.append(number)
        yield b"%07d\n" % number * 100


@pytest.mark.parametrize("kind", ["bytes", "iterable"])
@pytest.mark.parametrize("by", ["io", "scope"])
def test_a_write_that_is_broken_off(talk: Talk, kind: str, by: str) -> None:
    """Its bytes stay queued in order, an iterable is pulled no further, and reading goes on beside."""
    pulled: list[int] = []

    async def function(talk: Conversation) -> bytes:
        with pytest.raises(SocketTimeoutError) as raised:
            with talk.timeout(0.2 if by == "scope" else None):
                await talk.write(BIG if kind == "bytes" else numbers(pulled))
        assert raised.value.phase == "writing"
        unsent, count = talk.unsent, len(pulled)
        assert 0 < unsent == talk.metadata.unsent_bytes
        assert (await talk.read(ONE)).data == b"x"
        assert talk.unsent > 0
        assert len(pulled) == count
        await talk.write(b"END")
        assert talk.unsent == 0 and len(pulled) == count
        return b"" if kind == "bytes" else b"".join(b"%07d\n" % number * 100 for number in pulled)

    io_timeout = 0.2 if by == "io" else 60
    one = talk(
        function, is_told("WRITE"), reads_now, sends(b"x"), is_told("READ"),
        told=["WRITE", b"x", "WRITE"], sent=None, io_timeout=io_timeout,
    )  # fmt: skip
    expected = BIG if kind == "bytes" else one.metadata.result
    assert one.received == expected + b"END"


def reads_now(one: Any) -> bool:
    """Until its write has been broken off: then it reads."""
    return one.executor.socket_bag.get_operation(one.client).interest == 1


def test_request_is_never_raised_inside(talk: Talk) -> None:
    order: list[str] = []

    async def function(talk: Conversation) -> None:
        try:
            await talk.read(ONE)
        except BaseException as error:
            order.append(type(error).__name__)
            raise

    on = {"TIMEOUT": lambda event: order.append("TIMEOUT")}
    talk(function, reads_nothing, told=["TIMEOUT REQUEST reading"], request_timeout=0.05, on=on)
    assert order == ["TIMEOUT", "GeneratorExit"]


def test_request_with_one_more_attempt(talk: Talk) -> None:
    async def function(talk: Conversation) -> bytes:
        return (await talk.read(ONE)).data

    talk(
        function, is_told("TIMEOUT"), sends(b"x"), told=["TIMEOUT REQUEST reading", b"x"],
        request_timeout=0.05, on={"TIMEOUT": lambda event: event.enable_one_more_attempt()},
        gives=b"x",
    )  # fmt: skip


# ---- timeout() -------------------------------------------------------------------------------------


def test_the_with_itself_raises(talk: Talk) -> None:
    clock = talk.executor._loop.clock

    async def function(talk: Conversation) -> bytes:
        before = clock()
        with pytest.raises(SocketTimeoutError) as raised:
            with talk.timeout(0.05) as scope:
                try:
                    await talk.read(LINE)
                except Exception:  # must not catch it
                    return b"caught"
        assert scope.expired
        assert (raised.value.when, raised.value.phase) == (TimeoutStage.SCOPE, "reading")
        assert raised.value.socket is talk.socket and "0.05" in str(raised.value)
        assert clock() - before >= 0.05
        return (await talk.read(LINE)).data

    talk(function, turns(2), scope_is_over, sends(b"a\n"), told=[b"a\n"], gives=b"a\n")


def scope_is_over(one: Any) -> bool:
    (channel,) = one.executor._loop.channels()
    return not channel.task.scopes


def test_in_time(talk: Talk) -> None:
    async def function(talk: Conversation) -> bool:
        with talk.timeout(60) as scope:
            await talk.read(ONE)
        with talk.timeout(None) as boundless:
            await talk.read(ONE)
        return scope.expired or boundless.expired

    talk(function, sends(b"xy"), told=[b"x", b"y"], gives=False)


def test_not_caught_it_is_the_sockets_exception(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        with talk.timeout(0.01):
            await talk.sleep(1)

    one = talk(function, told=[SocketTimeoutError])
    assert one.error.when is TimeoutStage.SCOPE and one.error.phase == "sleeping"


def test_nested_the_outermost_that_has_passed_wins(talk: Talk) -> None:
    async def function(talk: Conversation) -> list[str]:
        raised = []
        for outer, inner in [(0.01, 1), (1, 0.01), (0.01, 0.01)]:
            try:
                with talk.timeout(outer) as outside:
                    try:
                        with talk.timeout(inner) as inside:
                            await talk.sleep(10)
                    except SocketTimeoutError:
                        raised.append("inner")
                        assert inside.expired and not outside.expired
            except SocketTimeoutError:
                raised.append("outer")
                assert outside.expired and not inside.expired
        return raised

    talk(function, gives=["outer", "inner", "outer"])


def test_every_later_await_inside_is_broken_off_too(talk: Talk) -> None:
    async def function(talk: Conversation) -> int:
        broken = 0
        with pytest.raises(SocketTimeoutError):
            with talk.timeout(0.01):
                for _ in range(5):
                    try:
                        await talk.sleep(10)
                    except BaseException:
                        broken += 1
                await talk.sleep(10)
        return broken

    talk(function, gives=5)


def test_the_with_raises_whatever_its_block_catches(talk: Talk) -> None:
    async def function(talk: Conversation) -> TimeoutStage:
        with pytest.raises(SocketTimeoutError) as raised:
            with talk.timeout(0.01) as scope:
                try:
                    await talk.sleep(10)
                except BaseException:
                    pass
        assert scope.expired and raised.value.phase == "sleeping"
        with pytest.raises(KeyError):  # what the block raises itself is raised
            with talk.timeout(0.01):
                try:
                    await talk.sleep(10)
                finally:
                    raise KeyError
        return raised.value.when

    talk(function, gives=TimeoutStage.SCOPE)


def test_a_block_that_ends_without_awaiting_raises_nothing(talk: Talk) -> None:
    clock = talk.executor._loop.clock

    async def function(talk: Conversation) -> None:
        with talk.timeout(0) as scope:
            pass
        assert not scope.expired
        with talk.timeout(0.001) as scope:
            began = clock()
            while not talk_is_in_memory and clock() - began < 0.002:
                pass

    talk_is_in_memory = talk.in_memory
    talk(function)


def test_none_at_all_is_what_can_be_had_without_waiting(talk: Talk) -> None:
    """All that has arrived, however many receives it takes, and no more."""
    data = bytes(150_000)

    async def function(talk: Conversation) -> bytes:
        await talk.sleep(0.02)
        got = b""
        with pytest.raises(SocketTimeoutError):
            with talk.timeout(0):
                while True:
                    got += (await talk.read(FixedLengthFramePicker(1000))).data
        with talk.timeout(0):
            await talk.write(b"at once")
        return got

    told: Any = [data[:1000]] * 150 + ["WRITE"]
    talk(function, sends(data), told=told, sent=b"at once", gives=data)


def test_a_peer_that_sends_without_end_holds_no_bound_up(talk: Talk) -> None:
    async def function(talk: Conversation) -> int:
        count = 0
        with pytest.raises(SocketTimeoutError):
            with talk.timeout(0.05):
                while True:
                    await talk.read(FixedLengthFramePicker(100))
                    count += 1
        return count

    def floods(one: Any) -> bool:
        try:
            while True:
                one.peer.send(bytes(50_000))
        except (BlockingIOError, ConnectionError):
            pass
        if talk.in_memory:
            talk.executor._loop.clock.advance(0.001)  # type: ignore[attr-defined]
        return not one.going_on

    one = talk.pair()
    one.live(function, [floods], {})
    one._answers = {}
    talk.run()
    assert one.metadata.result > 0


def test_writing_without_end_is_bounded_too(talk: Talk) -> None:
    async def function(talk: Conversation) -> int:
        count = 0
        with pytest.raises(SocketTimeoutError):
            with talk.timeout(0.05):
                while True:
                    await talk.write(b"x" * 10)
                    count += 1
        return count

    def reads(one: Any) -> bool:
        one.receive(1 << 20)
        if talk.in_memory:
            talk.executor._loop.clock.advance(0.001)  # type: ignore[attr-defined]
        return not one.going_on

    one = talk.pair()
    one.live(function, [reads], {})
    talk.run()
    assert one.metadata.result > 0


def test_a_block_is_entered_once(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        scope = talk.timeout(1)
        with scope:
            with pytest.raises(RuntimeError, match="once"):
                scope.__enter__()
        with pytest.raises(RuntimeError, match="once"):
            scope.__enter__()

    talk(function)


def test_a_block_bounds_no_other_conversation(talk: Talk) -> None:
    """A mistake is told where it is made, not by a time-out of the other."""
    others: list[Conversation] = []

    async def sleeps(talk: Conversation) -> str:
        others.append(talk)
        await talk.sleep(0.05)
        return "slept"

    async def mistakes(talk: Conversation) -> None:
        await talk.sleep(0.01)
        with pytest.raises(RuntimeError, match="its own conversation"):
            with others[0].timeout(0):
                pass

    one, two = talk.begin(sleeps), talk.begin(mistakes)
    talk.run()
    one.check()
    two.check()
    assert one.metadata.result == "slept"


def test_a_duplex_is_broken_off(talk: Talk) -> None:
    async def function(talk: Conversation) -> bytes:
        duplex = ReadWriteOperation(True, [fixed(1), fixed(1)])
        with pytest.raises(SocketTimeoutError):
            with talk.timeout(0.05):
                await talk.do(duplex)
        await talk.write(b"?")
        return (await talk.read(ONE)).data

    talk(function, sends(b"a"), gets_any(1), sends(b"b"), told=[b"a", "WRITE", b"b"], sent=b"?", gives=b"b")


# ---- drains ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrived", [b"", b"ha"])
def test_a_drain_ends_frames_where_nothing_of_a_next_one_has_arrived(talk: Talk, arrived: bytes) -> None:
    async def function(talk: Conversation) -> list[bytes]:
        assert not talk.draining
        got = [frame.data async for frame in talk.frames(LINE)]
        assert talk.draining
        return got

    drain = does(lambda: talk.executor.call_soon_threadsafe(talk.executor.drain, 60))
    rest = [turns(4), sends(b"lf\n")] if arrived else []
    told = [b"one\n", *([b"half\n"] if arrived else [])]
    steps = [sends(b"one\n"), is_told("READ"), sends(arrived), turns(2), drain, *rest]
    talk(function, *steps, told=told, gives=told)


def test_a_drain_leaves_a_single_read_alone(talk: Talk) -> None:
    async def function(talk: Conversation) -> bytes:
        frame = await talk.read(LINE)
        assert talk.draining
        async for _ in talk.frames(LINE):
            raise AssertionError("a drain is on")
        return frame.data

    drain = does(lambda: talk.executor.call_soon_threadsafe(talk.executor.drain, 60))
    talk(function, turns(2), drain, turns(4), sends(b"one\n"), told=[b"one\n"], gives=b"one\n")


def test_a_drains_deadline_closes_it(talk: Talk) -> None:
    log: list[str] = []

    async def function(talk: Conversation) -> None:
        try:
            await talk.read(LINE)
        finally:
            log.append("closed")

    drain = does(lambda: talk.executor.call_soon_threadsafe(talk.executor.drain, 0.05))
    talk(function, turns(2), drain, reads_nothing)
    assert log == ["closed"]


def test_not_heard_it_is_logged_with_what_it_awaited(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    async def function(talk: Conversation) -> None:
        await talk.read(ONE)

    one = talk.pair()
    one.live(function, [reads_nothing], {}, io_timeout=0.05)
    one.metadata._channel.dispatch = Dispatch(None, None)
    one.metadata._channel.dispatch.finalize = one._tell
    talk.run()
    (record,) = [each for each in caplog.records if each.name == "evsockets"]
    assert "TIMEOUT of stage IO while reading" in record.getMessage()


def test_async_with_is_told_to_be_plain(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        block: Any = talk.timeout(1)
        with pytest.raises(TypeError, match="plain block: `with talk.timeout"):
            async with block:
                pass

    talk(function, told=[])
