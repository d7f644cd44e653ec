"""Conversations: what goes wrong is raised where it is awaited, and what may be done after it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from evsockets import (
    Conversation,
    ConversationOperation,
    DelayedOperation,
    DisconnectedError,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    Frame,
    FrameError,
    FramePicker,
    Inbox,
    MarkerFramePicker,
    NetworkSocketError,
    NullOperation,
    RawFramePicker,
    ReadOperation,
    ReadWriteOperation,
    SlowTransferError,
    WriteOperation,
)
from support.conversation import (
    LINE,
    ONE,
    Talk,
    closes,
    ends,
    gets,
    is_told,
    resets,
    says_goodbye,
    sends,
    turns,
)

SHORT = MarkerFramePicker(None, b"\n", max_length=4)


# ---- what asyncio alone can do ---------------------------------------------------------------------


def test_without_a_loop_of_asyncio_a_note_says_what_to_await(talk: Talk) -> None:
    async def sleeps(_: Conversation) -> None:
        await asyncio.sleep(0.1)

    with pytest.raises(RuntimeError, match="no running event loop") as caught:
        talk(ConversationOperation(sleeps))
    assert "await talk.sleep(seconds)" in caught.value.__notes__[0]


# ---- what the methods return -----------------------------------------------------------------------


def test_nothing_happens_before_it_is_awaited(talk: Talk) -> None:
    """It may be made earlier, awaited in any order, and is a coroutine to whom that matters."""

    async def function(talk: Conversation) -> Any:
        said, later, first = talk.write(b"b\n"), talk.read(LINE), talk.read(LINE)
        assert isinstance(said, Coroutine) and not inspect.iscoroutine(said)
        await talk.write(b"a\n")
        frames = [bytes(await first), bytes(await later)]
        await said
        return frames

    told = ["WRITE", b"1\n", b"2\n", "WRITE"]
    talk(function, sends(b"1\n2\n"), told=told, sent=b"a\nb\n", gives=[b"1\n", b"2\n"])


def test_it_is_awaited_once(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        for once in (talk.write(b"a"), talk.read(ONE), talk.sleep(0)):
            await once
            with pytest.raises(RuntimeError, match="was awaited before: call the method"):
                await once

    talk(function, sends(b"1"), told=["WRITE", b"1"], sent=b"a")


def test_one_that_was_closed_is_not_awaited_any_more(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        closed, thrown = talk.write(b"a"), talk.write(b"b")
        closed.close()
        with pytest.raises(ZeroDivisionError):
            thrown.throw(ZeroDivisionError())
        for one in (closed, thrown):
            with pytest.raises(RuntimeError, match="was awaited before"):
                await one

    talk(function, told=[])


@pytest.mark.parametrize(("calls", "times"), [(1, "once"), (2, "2 times")])
def test_a_missing_await_is_a_warning(talk: Talk, calls: int, times: str) -> None:
    async def function(talk: Conversation) -> None:
        for _ in range(calls):
            talk.write(b"lost")  # type: ignore[unused-coroutine]
        await talk.write(b"said")

    with pytest.warns(RuntimeWarning, match=f"function.. has called methods .* without `await`, {times}"):
        talk(function, told=["WRITE"], sent=b"said")


# ---- the end of the stream -------------------------------------------------------------------------

ENDS: list[tuple[FramePicker | None, bytes, type[Exception] | None, bool]] = [
    (None, b"", DisconnectedError, True),  # a raw read raises it as well
    (RawFramePicker(), b"", DisconnectedError, True),
    (LINE, b"", DisconnectedError, True),
    (ONE, b"", DisconnectedError, True),
    (LINE, b"half", FrameError, False),
    (FixedLengthFramePicker(9), b"half", FrameError, False),
    (EmptyFramePicker(), b"", None, False),
    (EndOfStreamFramePicker(), b"all", None, False),
]


@pytest.mark.parametrize(("picker", "before", "error", "clean"), ENDS, ids=range(len(ENDS)))
def test_the_end_of_the_stream(talk: Talk, picker: Any, before: bytes, error: Any, clean: bool) -> None:
    """It ends reading only; what had arrived stays, and so the same read meets the same again."""

    async def function(talk: Conversation) -> Any:
        if error is None:
            return bytes(await talk.read(picker))
        for _ in range(2):
            with pytest.raises(error) as raised:
                await talk.read(picker)
            assert raised.value.socket is talk.socket and "reading" in str(raised.value)
            assert getattr(raised.value, "clean", False) is clean
            if error is FrameError:
                assert raised.value.picker is picker and raised.value.partial.data == before
        assert talk.ended
        await talk.write(b"still")
        return bytes(await talk.read()) if before else None

    told: list[Any] = [before] if error is None else ["WRITE", *([before] if before else [])]
    gives = before or (None if error else b"")
    talk(function, sends(before), ends, told=told, sent=b"" if error is None else b"still", gives=gives)


@pytest.mark.parametrize("picker", [None, LINE, ONE])
def test_not_caught_it_is_the_sockets_exception(talk: Talk, picker: Any) -> None:
    async def function(talk: Conversation) -> None:
        await talk.read(picker)

    one = talk(function, ends, told=[DisconnectedError])
    assert one.error.clean


def test_a_reset_is_not_clean(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        with pytest.raises(DisconnectedError) as raised:
            await talk.read(ONE)
        assert not raised.value.clean and raised.value.errno

    talk(function, turns(2), resets, over="tcp")


# ---- frames that are none --------------------------------------------------------------------------


def test_a_frame_error_leaves_the_bytes(talk: Talk) -> None:
    """The same picker fails again; another one may skip them, or the peer is answered."""

    async def function(talk: Conversation) -> bytes:
        for _ in range(3):
            with pytest.raises(FrameError, match="longer than the limit"):
                await talk.read(SHORT)
        await talk.write(b"too long")
        skipped = await talk.read(LINE)
        assert skipped.data == b"far too long\n"
        return (await talk.read(SHORT)).data

    talk(
        function, sends(b"far too long\nok\n"), gets(b"too long"),
        told=["WRITE", b"far too long\n", b"ok\n"], sent=b"too long",
        gives=b"ok\n",
    )  # fmt: skip


class Bug(FramePicker):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        if not inbox:
            return None
        raise self.error


def raising(error: BaseException) -> Iterator[bytes]:
    yield b"first"
    raise error


def raise_it(error: BaseException) -> Any:
    def pending(*_: Any) -> bool:
        raise error

    return pending


SOURCES: list[tuple[str, Callable[[Any, BaseException], Any], bytes]] = [
    ("picker", lambda talk, error: talk.read(Bug(error)), b""),
    ("iterator", lambda talk, error: talk.write(raising(error)), b"first"),
    ("pending", lambda talk, error: talk.do(DelayedOperation(NullOperation(), raise_it(error))), b""),
    ("duplex", lambda talk, error: talk.do(ReadWriteOperation(True, [ReadOperation(Bug(error))])), b""),
]


@pytest.mark.parametrize(("name", "await_it", "sent"), SOURCES, ids=[row[0] for row in SOURCES])
@pytest.mark.parametrize("error", [ZeroDivisionError, FrameError])
def test_what_its_own_code_raises_is_raised_at_the_await(
    talk: Talk, name: str, await_it: Any, sent: bytes, error: type[Exception]
) -> None:
    async def function(talk: Conversation) -> bytes:
        with pytest.raises(error, match="mine"):
            await await_it(talk, error("mine"))
        return (await talk.read(ONE)).data

    told = [*(["WRITE"] if sent else []), b"x"]
    talk(function, sends(b"x"), told=told, sent=sent, gives=b"x")


# ---- a failed write --------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"w", bytes(3_000_000), [b"w"] * 100])
def test_after_a_failed_write_reads_still_give_what_had_arrived(talk: Talk, data: Any) -> None:
    """Then they, and every other I/O, raise the same error anew; sleeping goes on."""

    async def function(talk: Conversation) -> list[bytes]:
        await talk.read(ONE)
        says_goodbye(one, b"reason\nrest", "tcp")
        with pytest.raises(NetworkSocketError) as first:
            for _ in range(3):  # the kernel may take one before it knows
                await talk.write(data)
        got = [(await talk.read(LINE)).data]
        for more_data in (b"again", [b"again"], b"again"):  # while a part of a frame lies there
            with pytest.raises(type(first.value)):
                await talk.write(more_data)
        got.append((await talk.read()).data)
        await talk.sleep(0)
        for again in (talk.read, lambda: talk.write(b"again"), talk.read, talk.shutdown_write):
            with pytest.raises(NetworkSocketError) as more:
                await again()
            assert type(more.value) is type(first.value)
            assert more.value.errno == first.value.errno
        assert talk.post(b"dropped") == 0
        await talk.sleep(0)
        return got

    one = talk.pair("tcp")
    one.live(function, [sends(b"x"), lambda talk: not talk.going_on], {})
    talk.run()
    assert one.metadata.result == [b"reason\n", b"rest"], one.told


def test_not_caught_a_failed_write_is_the_exception(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        await talk.read(ONE)
        resets(one)
        for _ in range(5):
            await talk.write(b"w")
            await talk.sleep(0.01)

    one = talk.pair("tcp")
    one.live(function, [sends(b"x"), lambda talk: not talk.going_on], {})
    talk.run()
    assert isinstance(one.error, DisconnectedError)


# ---- while it sleeps -------------------------------------------------------------------------------

GONE: list[tuple[Any, bool | None]] = [(ends, True), (closes, True), (resets, False)]


@pytest.mark.parametrize("waits", ["sleep", "wait"])
@pytest.mark.parametrize(("gone", "clean"), GONE)
def test_while_it_sleeps_or_waits_the_connections_end_is_raised_once(
    talk: Talk, waits: str, gone: Any, clean: bool
) -> None:
    async def function(talk: Conversation) -> str:
        with pytest.raises(DisconnectedError) as raised:
            await (talk.sleep(3600) if waits == "sleep" else talk._suspend())
        assert raised.value.clean is clean
        await talk.sleep(0.001)  # has been seen
        return "done"

    talk(function, turns(2), gone, over="tcp", gives="done")


def test_what_arrives_while_it_sleeps_is_kept_and_64_KiB_at_most(talk: Talk) -> None:
    data = bytes(range(256)) * 800

    async def function(talk: Conversation) -> bool:
        await talk.sleep(0.05)
        seen = talk.metadata.bytes_received
        assert 0 < seen <= 65536
        return (await talk.read(FixedLengthFramePicker(len(data)))).data == data

    talk(function, sends(data), told=[data], gives=True)


def test_an_end_behind_bytes_that_are_kept(talk: Talk) -> None:
    """They are read first, and then the end."""

    async def function(talk: Conversation) -> None:
        with pytest.raises(DisconnectedError) as raised:
            await talk.sleep(3600)
        assert not raised.value.clean
        assert (await talk.read(LINE)).data == b"a\n"
        with pytest.raises(DisconnectedError) as end:
            await talk.read(LINE)
        assert end.value.clean

    talk(function, sends(b"a\n"), turns(3), ends, told=[b"a\n"])


# ---- others ----------------------------------------------------------------------------------------


def test_too_slow_a_transfer_is_raised_at_the_await(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        with pytest.raises(SlowTransferError):
            await talk.read(LINE)
        assert (await talk.read(ONE)).data == b"x"

    talk(
        function, sends(b"x"), told=[b"x"],
        min_receive_speed=100, min_receive_speed_duration=0.1,
    )  # fmt: skip


def test_errors_without_end_starve_nobody(talk: Talk) -> None:
    """One that tries the same for ever has its share of each turn, and the others theirs."""
    tries: list[int] = []

    async def stubborn(talk: Conversation) -> None:
        while len(tries) < 5000:
            try:
                await talk.read(ONE)
            except DisconnectedError:
                tries.append(1)

    async def other(talk: Conversation) -> int:
        await talk.read(ONE)
        return len(tries)

    first = talk.begin(stubborn, ends)
    second = talk.begin(other, turns(3), sends(b"x"))
    talk.run()
    first.check()
    second.check([b"x"])
    assert second.metadata.result < 5000


def test_isolated_a_bug_is_its_own_exception(talk: Talk) -> None:
    """The executor of this test does not isolate: the e2e file has the other half."""

    async def function(talk: Conversation) -> None:
        await talk.do(WriteOperation(b"w"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        talk(function, is_told("WRITE"), told=["WRITE"], sent=b"w")
