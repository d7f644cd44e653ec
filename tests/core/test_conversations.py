"""Conversations: what is awaited, what it gives, what handlers hear and may do beside it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from evsockets import (
    Conversation,
    ConversationOperation,
    DelayedOperation,
    DisconnectedError,
    EmptyFramePicker,
    Frame,
    FrameError,
    FramePicker,
    Inbox,
    Mailbox,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    ShutdownWriteOperation,
    UnsupportedOperationError,
    WriteOperation,
)
from evsockets.core.dispatch import Dispatch
from support.conversation import (
    BIG,
    LINE,
    ONE,
    READ_LINE,
    Step,
    Talk,
    closes,
    does,
    ends,
    fixed,
    gets,
    is_told,
    resets,
    sends,
    turns,
)

Function = Callable[..., Coroutine[Any, Any, Any]]


# ---- what it is made of ----------------------------------------------------------------------------


async def echo(talk: Conversation) -> None:
    async for frame in talk.frames(LINE):
        await talk.write(frame.data)


async def generator(talk: Conversation) -> Any:
    yield talk


def bare_generator(talk: Conversation) -> Generator[Any, None, None]:
    yield talk


class Callables:
    async def __call__(self, talk: Conversation) -> str:
        return "called"

    async def method(self, talk: Conversation, more: str) -> str:
        return more


@pytest.mark.parametrize("wrong", [generator, 42, None, "echo"])
def test_what_no_conversation_can_be_made_of(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"42|None|echo|generator"):
        ConversationOperation(wrong)


def test_a_coroutine_in_place_of_its_function() -> None:
    with pytest.raises(TypeError, match=r"function, not the coroutine echo"):
        ConversationOperation(echo(None))  # type: ignore[arg-type]


@pytest.mark.parametrize("returns", [lambda talk: None, bare_generator, lambda talk: 42])
def test_a_function_that_returns_no_coroutine(talk: Talk, returns: Any) -> None:
    with pytest.raises(TypeError, match="must return a coroutine"):
        talk(returns)


@pytest.mark.parametrize(
    ("function", "args", "result"),
    [
        (Callables(), (), "called"),
        (Callables().method, ("more",), "more"),
        (lambda talk: echo_once(talk), (), 7),
    ],
)
def test_whatever_returns_a_coroutine(talk: Talk, function: Any, args: Any, result: Any) -> None:
    talk(ConversationOperation(function, *args), gives=result)


async def echo_once(talk: Conversation) -> int:
    return 7


def test_its_arguments(talk: Talk) -> None:
    async def told(talk: Conversation, *args: Any, **kwargs: Any) -> Any:
        assert isinstance(talk, Conversation)
        return args, kwargs

    talk(ConversationOperation(told, 1, b"2", name="n"), gives=((1, b"2"), {"name": "n"}))


def test_one_object_serves_many_sockets(talk: Talk) -> None:
    operation = ConversationOperation(echo)
    several = [talk.begin(operation, sends(b"%d\n" % n), gets(b"%d\n" % n), ends) for n in range(5)]
    talk.run()
    for number, one in enumerate(several):
        line = b"%d\n" % number
        one.check([line, "WRITE"], line)


@pytest.mark.parametrize("place", ["first", "then", "next", "delayed", "idle"])
def test_it_goes_where_operations_go(talk: Talk, place: str) -> None:
    async def says(talk: Conversation) -> str:
        await talk.write(b"said")
        return "done"

    said = ConversationOperation(says)
    nothing: list[Step] = []
    first: Operation
    first, on, steps, before, after = {
        "first": (said, {}, nothing, [], []),
        "then": (WriteOperation(b"a", then=said), {}, nothing, ["WRITE"], []),
        "next": (fixed(1), {"READ": [said]}, [sends(b"x"), gets(b"said")], [b"x"], []),
        "delayed": (DelayedOperation(said, lambda *_: False), {}, nothing, [], []),
        "idle": (NullOperation(), {"DATA_ALERT": [said, fixed(1)]}, [sends(b"x"), gets(b"said"), closes],
                 ["DATA_ALERT 1"], ["DATA_ALERT 1", b"x"]),
    }[place]  # fmt: skip
    talk(
        first, *steps, told=[*before, "WRITE", *after], sent=b"asaid" if place == "then" else b"said",
        on=on, keep_alive=place == "idle", gives="done",
    )  # fmt: skip


def test_each_has_a_context_of_its_own(talk: Talk) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def function(talk: Conversation, name: str) -> None:
        seen.append((name, variable.get()))
        variable.set(name)
        await talk.read(ONE)
        seen.append((name, variable.get()))

    token = variable.set("outside")
    several = [talk.begin(ConversationOperation(function, name), sends(b"x")) for name in ("a", "b")]
    talk.run()
    assert [one.metadata.request_complete for one in several] == [True, True]
    assert sorted(seen) == [("a", "a"), ("a", "outside"), ("b", "b"), ("b", "outside")]
    assert variable.get() == "outside"
    variable.reset(token)


# ---- what is awaited -------------------------------------------------------------------------------


class Upper(Operation):
    """One of a user's own: answers a byte in capitals."""

    def step(self, channel: Any, mask: int) -> Operation | None:
        if channel.recv() is None:
            return self
        channel.send(channel.inbox.take(1).upper())
        return None


AWAITED: list[tuple[Callable[[], Operation], bytes, bytes, bytes | None, list[Any]]] = [
    (lambda: fixed(2), b"xy", b"", b"xy", [b"xy"]),
    (lambda: ReadOperation(EmptyFramePicker()), b"x", b"", b"", [b""]),
    (lambda: WriteOperation(b"w"), b"", b"w", None, ["WRITE"]),
    (lambda: WriteOperation([b"w", b"", b"v"]), b"", b"wv", None, ["WRITE"]),
    (lambda: WriteOperation(), b"", b"", None, ["WRITE"]),
    (lambda: WriteOperation(b"w", then=READ_LINE), b"one\n", b"w", b"one\n", ["WRITE", b"one\n"]),
    (lambda: WriteOperation(b"w", then=WriteOperation(b"v", then=fixed(1))), b"x", b"wv", b"x",
     ["WRITE", "WRITE", b"x"]),
    (lambda: DelayedOperation(fixed(1), lambda *_: False), b"x", b"", b"x", [b"x"]),
    (lambda: ReadWriteOperation(True, [WriteOperation(b"w"), fixed(1), fixed(1)]), b"xy", b"w", b"y",
     ["WRITE", b"x", b"y"]),
    (NullOperation, b"", b"", None, []),
    (lambda: ShutdownWriteOperation(), b"", b"", None, []),
    (lambda: ShutdownWriteOperation(fixed(1)), b"x", b"", b"x", [b"x"]),
    (Upper, b"x", b"X", None, []),
]  # fmt: skip


@pytest.mark.parametrize(("make", "arrives", "sent", "gives", "told"), AWAITED, ids=range(len(AWAITED)))
def test_do(
    talk: Talk, make: Callable[[], Operation], arrives: bytes, sent: bytes, gives: Any, told: list[Any]
) -> None:
    """An operation and what it leads to; the last frame read."""

    async def function(talk: Conversation) -> Any:
        frame = await talk.do(make())
        return None if frame is None else bytes(frame)

    one = talk.begin(function, sends(arrives))
    talk.run()
    shown = one.told[2:-2]
    if isinstance(make(), ReadWriteOperation):  # in whichever order
        shown, told = sorted(shown, key=str), sorted(told, key=str)
    assert (one.metadata.result, shown, one.received) == (gives, told, sent)


@pytest.mark.parametrize("wrong", [42, None, ReadOperation, ConversationOperation(echo)])
def test_what_cannot_be_done(talk: Talk, wrong: Any) -> None:
    async def function(talk: Conversation) -> None:
        with pytest.raises(TypeError, match="do"):
            await talk.do(wrong)
        await talk.write(b"on")

    talk(function, told=["WRITE"], sent=b"on")


@pytest.mark.parametrize(
    "wrong",
    [lambda talk: talk.read(b"\n"), lambda talk: talk.write("text"), lambda talk: talk.write(7)],
)
def test_wrong_arguments_are_told_at_the_await(talk: Talk, wrong: Any) -> None:
    async def function(talk: Conversation) -> None:
        with pytest.raises(TypeError):
            await wrong(talk)

    talk(function)


def test_a_conversation_inside_a_conversation_is_its_function_awaited(talk: Talk) -> None:
    async def inner(talk: Conversation) -> bytes:
        return (await talk.read(ONE)).data

    async def function(talk: Conversation) -> Any:
        with pytest.raises(TypeError, match="await its function"):
            await talk.do(WriteOperation(b"w", then=ConversationOperation(inner)))
        return await inner(talk)

    talk(function, sends(b"x"), told=["WRITE", b"x"], sent=b"w", gives=b"x")


def test_many_steps_that_need_no_waiting_let_others_have_their_turn(talk: Talk) -> None:
    """A thousand frames lie in the inbox: another socket's event comes between them."""
    order: list[str] = []

    async def busy(talk: Conversation) -> None:
        for _ in range(1000):
            await talk.read(ONE)
            order.append("busy")

    async def other(talk: Conversation) -> None:
        for _ in range(3):
            await talk.read(ONE)
            order.append("other")

    several = [talk.begin(busy, sends(b"x" * 1000)), talk.begin(other, sends(b"abc"))]
    talk.run()
    assert all(one.metadata.request_complete for one in several)
    assert order.index("other") < 200
    assert order.count("busy") == 1000


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_many_frames_of_one_chunk(talk: Talk, own: bool, heard: bool) -> None:
    """However the pickers are asked: nothing piles up."""

    class Own(FramePicker):
        def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
            return ONE.pick(inbox, ended)

    picker = Own() if own else ONE

    async def function(talk: Conversation) -> int:
        return sum([len((await talk.read(picker)).data) for _ in range(5000)])

    one = talk.pair()
    one.live(function, [sends(b"x" * 5000)], {})
    if not heard:
        one.metadata._channel.dispatch.read = None  # type: ignore[union-attr]
    talk.run()
    assert one.metadata.result == 5000


def test_what_is_written_while_one_chunk_is_worked_through_leaves_in_one_send(talk: Talk) -> None:
    lines = b"".join(b"%d\n" % n for n in range(20))
    told = [each for n in range(20) for each in (b"%d\n" % n, "WRITE")]
    one = talk(echo, sends(lines), gets(lines), ends, told=told, sent=lines)
    if talk.in_memory:
        assert one.peer.arrivals == [len(lines)]


def test_while_a_write_waits_nothing_is_read(talk: Talk) -> None:
    big = bytes(2_000_000)

    async def function(talk: Conversation) -> None:
        await talk.write(big)
        assert talk.metadata.bytes_received == 0
        await talk.read(ONE)

    talk(function, sends(b"x"), turns(5), told=["WRITE", b"x"], sent=big)


def test_frames_end_where_the_stream_does(talk: Talk) -> None:
    async def function(talk: Conversation) -> Any:
        got = [bytes(frame) async for frame in talk.frames(LINE)]
        assert talk.ended
        return got

    talk(function, sends(b"a\nb\n"), ends, told=[b"a\n", b"b\n"], gives=[b"a\n", b"b\n"])


@pytest.mark.parametrize(("over", "error"), [(ends, FrameError), (resets, DisconnectedError)])
def test_frames_that_end_otherwise(talk: Talk, over: Step, error: type[Exception]) -> None:
    async def function(talk: Conversation) -> None:
        with pytest.raises(error):
            async for frame in talk.frames(LINE):
                assert frame.data == b"a\n"
        assert talk.ended is (over is ends)

    talk(function, sends(b"a\nb"), is_told("READ"), over, told=[b"a\n"], over="tcp")


# ---- what nobody can await -------------------------------------------------------------------------


class Future:
    def __await__(self) -> Generator[Any, None, None]:
        yield self


@types.coroutine
def nothing() -> Generator[None, None, None]:
    yield


@pytest.mark.parametrize(
    "foreign", [Future, nothing, lambda: asyncio.sleep(0), lambda: asyncio.Event().wait()], ids=range(4)
)
def test_awaiting_anything_else(talk: Talk, foreign: Any) -> None:
    """It is raised at that await, and says what to do; the conversation can go on."""

    async def function(talk: Conversation) -> None:
        loop = asyncio.new_event_loop() if foreign not in (Future, nothing) else None
        asyncio.events._set_running_loop(loop)
        try:
            with pytest.raises(RuntimeError, match=r"function\(\) awaits .* own Conversation"):
                await foreign()
        finally:
            asyncio.events._set_running_loop(None)
            if loop is not None:
                loop.close()
        await talk.write(b"on")

    talk(function, told=["WRITE"], sent=b"on")


def test_awaiting_another_conversation(talk: Talk) -> None:
    others: list[Conversation] = []

    async def first(talk: Conversation) -> None:
        others.append(talk)
        await talk.read(ONE)

    async def second(talk: Conversation) -> None:
        for wrong in (others[0].read, others[0].shutdown_write, lambda: others[0].write(b"not this one")):
            with pytest.raises(RuntimeError, match="own Conversation"):
                await wrong()

    one, two = talk.begin(first, is_told("WRITE", 0), turns(4), sends(b"x")), talk.begin(second)
    talk.run()
    one.check([b"x"])
    two.check()


# ---- beside handlers -------------------------------------------------------------------------------


def test_handlers_hear_first(talk: Talk) -> None:
    order: list[str] = []

    async def function(talk: Conversation) -> None:
        await talk.read(ONE)
        order.append("read")
        await talk.write(b"w")
        order.append("written")

    on = {"READ": lambda event: order.append("READ"), "WRITE": lambda event: order.append("WRITE")}
    talk(function, sends(b"x"), told=[b"x", "WRITE"], sent=b"w", on=on)
    assert order == ["READ", "read", "WRITE", "written"]


def test_a_handler_sets_the_data(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        await talk.write(b"w")

    on = {"WRITE": lambda event: setattr(event.operation, "data", b"other")}
    talk(function, told=["WRITE"], sent=b"other", on=on)


def broken_off(log: list[str]) -> Function:
    async def function(talk: Conversation) -> str:
        try:
            await talk.do(WriteOperation(b"w", then=READ_LINE))
        finally:
            log.append("closed")
        return "never"

    return function


@pytest.mark.parametrize("kind", ["READ", "WRITE"])
def test_a_next_operation_ends_the_conversation_and_takes_its_place(talk: Talk, kind: str) -> None:
    log: list[str] = []

    def named(event: Any) -> None:
        if not log:
            event.next_is(WriteOperation(b"n"))

    told = ["WRITE", b"a\n", "WRITE"] if kind == "READ" else ["WRITE", "WRITE"]
    one = talk(broken_off(log), sends(b"a\n"), told=told, sent=b"wn", on={kind: named})
    assert log == ["closed"] and one.metadata.result is None


def test_a_then_that_is_cleared_is_no_next_operation(talk: Talk) -> None:
    async def function(talk: Conversation) -> Any:
        return await talk.do(WriteOperation(b"w", then=READ_LINE))

    on = {"WRITE": lambda event: event.next_operation_not_required()}
    talk(function, told=["WRITE"], sent=b"w", on=on, gives=None)


WAITS: dict[str, Callable[[Any, list[str]], Any]] = {
    "reading": lambda talk, log: talk.read(ONE),
    "sleeping": lambda talk, log: talk.sleep(3600),
    "waiting": lambda talk, log: talk._suspend(),
    "delayed": lambda talk, log: talk.do(DelayedOperation(NullOperation(), lambda *_: not log)),
    "writing": lambda talk, log: talk.write(BIG),
}


@pytest.mark.parametrize("waits", WAITS)
def test_set_operation_from_outside(talk: Talk, waits: str) -> None:
    """At once where it reads, sleeps or waits; else it comes next."""
    log: list[str] = []

    async def function(talk: Conversation) -> str:
        try:
            await WAITS[waits](talk, log)
        finally:
            log.append("closed")
        return "never"

    def set_it() -> None:
        talk.bag.set_operation(one.client, WriteOperation(b"next"))
        assert waits == "writing" or log == []  # nothing runs inside somebody else's handler
        if waits == "delayed":
            log.append("asked for")
            talk.executor.call_soon_threadsafe(lambda: None)

    one = talk.begin(function, turns(3), does(set_it))
    talk.run()
    one.check(*((["WRITE", "WRITE"], BIG + b"next") if waits == "writing" else (["WRITE"], b"next")))
    assert "closed" in log and one.metadata.result is None


def test_the_operation_is_what_is_awaited(talk: Talk) -> None:
    seen: list[Any] = []
    big = WriteOperation(bytes(2_000_000))

    async def function(talk: Conversation) -> None:
        await talk.do(READ_LINE)
        await talk.do(big)
        await talk.sleep(1)

    look = does(lambda: seen.append(talk.bag.get_operation(one.client)))
    one = talk.begin(function, turns(2), look, sends(b"a\n"), turns(3), look)
    first = talk.bag.get_operation(one.client)
    assert isinstance(first, ConversationOperation)
    talk.run()
    assert seen == [READ_LINE, big]
    assert talk.bag.get_operation(one.client) is None


# ---- how it ends -----------------------------------------------------------------------------------


def test_the_result_is_there_before_disconnected(talk: Talk) -> None:
    async def function(talk: Conversation) -> str:
        assert talk.metadata.result is None
        return "result"

    seen = []
    on = {
        "CONNECTED": lambda event: seen.append(event.metadata.result),
        "DISCONNECTED": lambda event: seen.append(event.metadata.result),
    }
    talk(function, on=on)
    assert seen == [None, "result"]


def test_a_kept_one_idles_and_may_converse_again(talk: Talk) -> None:
    async def answer(talk: Conversation, text: bytes) -> bytes:
        line = await talk.read(LINE)
        await talk.write(text)
        return line.data + text

    def again() -> None:
        results.append(one.metadata.result)
        talk.bag.set_operation(one.client, ConversationOperation(answer, b"second"))

    results: list[Any] = []
    one = talk.begin(
        ConversationOperation(answer, b"first"), sends(b"a\n"), gets(b"first"), turns(2), does(again),
        sends(b"b\n"), gets(b"second"), closes, keep_alive=True,
    )  # fmt: skip
    talk.run()
    one.check([b"a\n", "WRITE", b"b\n", "WRITE"], b"firstsecond")
    assert [*results, one.metadata.result] == [b"a\nfirst", b"b\nsecond"]


def test_forget_acts_when_it_has_returned(talk: Talk) -> None:
    async def function(talk: Conversation) -> str:
        talk.executor.socket_bag.forget_socket(talk.socket)
        await talk.write(b"w")
        assert (await talk.read(ONE)).data == b"x"
        return "done"

    one = talk(
        function, sends(b"xy"), told=["WRITE", b"x"], ends_with=["FINALIZE"], keep_alive=True, sent=None,
        gives="done",
    )  # fmt: skip
    talk(fixed(1), told=[b"y"], begins=["INITIALIZE"], again=one, sent=None)


@pytest.mark.parametrize("raised", [ZeroDivisionError("bug"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_that_is_no_library_error_ends_the_run(talk: Talk, raised: BaseException) -> None:
    async def function(talk: Conversation) -> None:
        await talk.read(ONE)
        raise raised

    with pytest.raises(type(raised)):
        talk(function, sends(b"x"), told=[b"x"])


def test_a_library_error_is_the_sockets_exception(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        await talk.read(ONE)
        raise UnsupportedOperationError("not me")

    one = talk(function, sends(b"x"), told=[b"x", UnsupportedOperationError])
    assert one.error.socket is one.client and one.metadata.result is None


ENDINGS = ["talk.cancel", "event", "socket", "outside", "stop"]


@pytest.mark.parametrize("how", ENDINGS)
def test_ended_from_outside_it_is_closed_before_disconnected(talk: Talk, how: str) -> None:
    order: list[str] = []

    async def function(talk: Conversation) -> str:
        try:
            await talk.read(ONE)
            if how == "talk.cancel":
                talk.cancel()
            await talk.read(ONE)
        except GeneratorExit:
            order.append("closed")
            assert talk.post(b"dropped") == 0
            with pytest.raises(GeneratorExit):
                await talk.read(ONE)
            with pytest.raises(GeneratorExit):
                await talk.sleep(0)
            order.append("again")
        return "no result"

    def read(event: Any) -> None:
        if how == "event":
            event.cancel_operation()
        if how == "stop":
            event.executor.stop_request()

    def outside() -> None:
        if how == "socket":
            one.client.close()
        if how == "outside":
            talk.executor.call_soon_threadsafe(one.client.close)

    on = {"READ": read, "DISCONNECTED": lambda event: order.append("DISCONNECTED")}
    one = talk.begin(function, sends(b"x"), is_told("READ"), does(outside), on=on)
    talk.run()
    one.check([b"x"])
    assert order == ["closed", "again", "DISCONNECTED"]
    assert one.metadata.result is None


@pytest.mark.parametrize("raised", [FrameError("in finally"), ZeroDivisionError("in finally")])
def test_what_its_finally_raises_counts_as_raised_in_disconnected(talk: Talk, raised: Exception) -> None:
    async def function(talk: Conversation) -> None:
        try:
            await talk.read(ONE)
        finally:
            raise raised

    one = talk.begin(function, turns(2), does(lambda: one.client.close()))
    if isinstance(raised, FrameError):
        talk.run()
        assert one.told == ["INITIALIZE", "CONNECTED", "DISCONNECTED", FrameError, "FINALIZE"]
    else:
        with pytest.raises(ZeroDivisionError, match="in finally"):
            talk.run()
        one.check()


@pytest.mark.parametrize("deep", [0, 1, 3])
def test_closed_its_finally_awaits_in_vain_at_any_depth(talk: Talk, deep: int) -> None:
    async def function(talk: Conversation, deep: int) -> None:
        try:
            await (function(talk, deep - 1) if deep else talk.read(ONE))
        finally:
            for wait in (talk.read(ONE), talk.sleep(60), talk.take(Mailbox())):
                with contextlib.suppress(GeneratorExit):
                    await wait
            ended.append(deep)

    ended: list[int] = []
    one = talk.begin(ConversationOperation(function, deep), turns(2), does(lambda: one.client.close()))
    talk.run()
    one.check()
    assert ended == list(range(deep + 1))


async def _reads_within(talk: Conversation) -> None:
    with talk.timeout(10):
        await talk.read(ONE)


async def _reads_all(talk: Conversation) -> None:
    async for _ in talk.frames(ONE):
        pass


@pytest.mark.parametrize(
    "waits",
    [
        lambda talk: nothing(),
        lambda talk: talk.read(ONE),
        lambda talk: talk.sleep(60),
        lambda talk: talk.take(Mailbox()),
        lambda talk: talk.put(Mailbox(), 1),
        _reads_within,
        _reads_all,
    ],
    ids=["foreign", "read", "sleep", "take", "put", "timeout", "frames"],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as it is freed, once more
def test_one_that_does_not_end_when_it_is_closed(talk: Talk, waits: Any) -> None:
    async def function(talk: Conversation) -> None:
        while len(asked) < 1000:
            try:
                await waits(talk) if asked else await talk.read(ONE)
            except BaseException:
                asked.append(True)

    asked: list[bool] = []
    one = talk.begin(function, turns(2), does(lambda: one.client.close()))
    with pytest.raises(RuntimeError, match="awaiting after GeneratorExit|ignored"):
        talk.run()
    one.check()
    gc.collect()
    assert len(asked) < 500


def test_after_its_end(talk: Talk) -> None:
    kept: list[Conversation] = []

    async def function(talk: Conversation) -> str:
        kept.append(talk)
        await talk.read(ONE)
        return "r"

    one = talk(function, sends(b"x"), ends, told=[b"x"], user_context="mine")
    (over,) = kept
    assert over.post(b"dropped") == 0 and over.unsent == 0 and one.metadata.unsent_bytes == 0
    assert (over.socket, over.metadata, over.executor) == (one.client, one.metadata, talk.executor)
    assert over.user_context == "mine" and not over.draining
    over.cancel()
    with pytest.raises(RuntimeError, match="over"):
        over.read().send(None)
    assert "function" in repr(over)


def test_a_handlers_library_error_is_not_the_coroutines(talk: Talk) -> None:
    log: list[str] = []

    async def function(talk: Conversation) -> None:
        try:
            await talk.read(ONE)
        except GeneratorExit:
            log.append("closed")
            raise
        except BaseException as error:
            log.append(repr(error))

    def read(event: Any) -> None:
        raise FrameError("a handler's")

    on = {"READ": read, "EXCEPTION": lambda event: log.append("EXCEPTION")}
    talk(function, sends(b"x"), told=[b"x", FrameError], on=on)
    assert log == ["closed", "EXCEPTION"]


def test_another_conversation_takes_its_place(talk: Talk) -> None:
    async def first(talk: Conversation) -> str:
        await talk.read(ONE)
        return "first"

    async def second(talk: Conversation) -> str:
        await talk.write(b"2")
        return "second"

    on = {"READ": lambda event: event.next_is(ConversationOperation(second))}
    talk(first, sends(b"x"), told=[b"x", "WRITE"], sent=b"2", on=on, gives="second")


@pytest.mark.parametrize("awaits", [True, False])
def test_it_sets_its_own_sockets_operation(talk: Talk, awaits: bool) -> None:
    """That ends it at its next await, or comes after it has returned."""
    log: list[str] = []

    async def function(talk: Conversation) -> str:
        talk.executor.socket_bag.set_operation(talk.socket, WriteOperation(b"own"))
        if awaits:
            try:
                await talk.read(ONE)
            finally:
                log.append("closed")
        return "returned"

    one = talk(function, told=["WRITE"], sent=b"own")
    assert (one.metadata.result, log) == ((None, ["closed"]) if awaits else ("returned", []))


def test_a_delayed_operation_is_asked_when_a_conversation_went_on(talk: Talk) -> None:
    """Nobody listens to any event, and no callback runs."""
    done: list[bool] = []

    async def other(talk: Conversation) -> None:
        await talk.sleep(0.01)
        done.append(True)
        await talk.sleep(0.01)

    one = talk.begin(DelayedOperation(WriteOperation(b"w"), lambda *_: not done))
    two = talk.pair()
    two.live(other, [], {})
    two.metadata._channel.dispatch = Dispatch(None, None)
    two.metadata._channel.dispatch.finalize = two._tell
    talk.run()
    one.check(["WRITE"], b"w")


def test_a_wake_up_before_the_wait_has_begun(talk: Talk) -> None:
    """Bytes that the kernel does not take hold the wait up; the wake-up counts all the same."""
    kept: list[Conversation] = []

    async def waits(talk: Conversation) -> str:
        kept.append(talk)
        frames = [await talk.read(ONE), await talk.read(ONE)]
        await talk.write(bytes(60_000))  # corked: a byte lies in the inbox
        await talk._suspend()
        return f"woken after {len(frames)}"

    one = talk.pair()
    if talk.in_memory:
        one.peer.room = 1000
    one.live(waits, [sends(b"xyz"), is_told("WRITE"), turns(2), does(lambda: kept[0]._wake()),
                         gets(bytes(60_000))], {})  # fmt: skip
    talk.run()
    assert one.metadata.result == "woken after 2"
