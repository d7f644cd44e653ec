"""Conversations: what is posted leaves beside whatever is awaited, in order, and `flushed` waits for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    WRITE,
    Conversation,
    ConversationOperation,
    DelayedOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    ShutdownWriteOperation,
    SocketTimeoutError,
    WriteOperation,
)
from evsockets.transports.plain import MOST_RECEIVED
from support.conversation import (
    BIG,
    LINE,
    ONE,
    Talk,
    closes,
    does,
    ends,
    gets,
    gets_any,
    gets_end,
    is_told,
    reads_nothing,
    resets,
    sends,
    turns,
)
from support.states import Sampler
from support.wire import turns_to_the_end


@pytest.mark.parametrize("data", [b"posted", bytearray(b"posted"), memoryview(b"posted")])
def test_it_leaves_without_an_event(talk: Talk, data: Any) -> None:
    async def function(talk: Conversation) -> int:
        waits = talk.post(data)
        assert waits == talk.unsent == talk.metadata.unsent_bytes == 6
        await talk.read(ONE)
        assert talk.unsent == 0
        return waits

    talk(function, gets(b"posted"), sends(b"x"), told=[b"x"], sent=b"posted", gives=6)


@pytest.mark.parametrize("wrong", ["text", 7, None, [b"a"]])
def test_what_cannot_be_posted(talk: Talk, wrong: Any) -> None:
    async def function(talk: Conversation) -> None:
        with pytest.raises(TypeError, match="post"):
            talk.post(wrong)
        assert talk.post(b"") == 0

    talk(function)


def test_posts_of_one_turn_leave_in_one_send(talk: Talk) -> None:
    """From wherever: its own conversation, another one, a callback."""
    kept: list[Conversation] = []

    async def receiver(talk: Conversation) -> None:
        kept.append(talk)
        await talk.read(ONE)

    async def sender(talk: Conversation) -> None:
        for number in range(10):
            assert kept[0].post(b"%d" % number) == number + 1
        await talk.sleep(0.01)
        talk.executor.call_soon_threadsafe(lambda: [kept[0].post(b"a"), kept[0].post(b"b")])
        await talk.sleep(0.01)

    one = talk.begin(receiver, gets(b"0123456789ab"), sends(b"x"))
    talk.begin(sender)
    talk.run()
    one.check([b"x"], b"0123456789ab")
    if talk.in_memory:
        assert one.peer.arrivals == [10, 2]


def test_posted_at_the_end_of_a_turn_it_has_left(talk: Talk) -> None:
    """Nothing need happen for it, and the host's turn is over by then."""
    kept: list[Conversation] = []

    async def function(talk: Conversation) -> None:
        kept.append(talk)
        await talk.read(ONE)

    def between_turns() -> None:
        assert kept[0].post(b"now") == 3
        assert talk.executor.patience() == 0
        talk.executor.turn(0)
        assert kept[0].unsent == 0

    steps = [turns(3), does(between_turns), gets(b"now"), sends(b"x")]
    one = talk(function, *steps, told=[b"x"], sent=b"now")
    assert one.metadata.request_complete


def filled(talk: Talk, before: Callable[[Conversation], Any], *steps: Any, **more: Any) -> Any:
    """A conversation that has posted more than the kernel takes."""

    async def function(talk: Conversation) -> Any:
        talk.post(BIG)
        await talk.sleep(0)
        await talk.sleep(0)
        assert talk.unsent > 0
        return await before(talk)

    one = talk.pair()
    one.live(function, steps, {}, **more)
    talk.run()
    return one


def test_reading_goes_on_beside(talk: Talk, states_at_rest: Any) -> None:
    async def reads(talk: Conversation) -> bytes:
        got = b""
        for _ in range(3):
            got += (await talk.read(ONE)).data
            assert talk.unsent > 0
        await talk.flushed()
        assert talk.unsent == 0
        return got

    one = filled(talk, reads, turns(5), sends(b"a"), turns(3), sends(b"bc"), is_told("READ", 3), gets(BIG))
    one.check([b"a", b"b", b"c"], BIG)
    assert one.metadata.result == b"abc"
    if isinstance(states_at_rest, Sampler):
        assert ("connected", "operation", "current", "posted") in states_at_rest.seen


@pytest.mark.parametrize("kind", ["bytes", "iterable", "empty"])
def test_a_write_goes_behind_what_was_posted_and_posts_go_behind_a_write(talk: Talk, kind: str) -> None:
    """Its iterable's last chunk included."""
    data: Any = {"bytes": BIG, "iterable": [BIG[:1000]] * 2000, "empty": b""}[kind]
    whole = data if isinstance(data, bytes) else b"".join(data)
    kept: list[Conversation] = []

    async def writes(talk: Conversation) -> None:
        kept.append(talk)
        await talk.write(data)
        assert talk.unsent <= 5
        await talk.flushed()

    def post() -> None:
        kept[0].post(b"after")

    steps = [turns(6), does(post)] if kind != "empty" else []
    after = b"after" if steps else b""
    one = filled(talk, writes, *steps, gets(BIG + whole + after))
    one.check(["WRITE"], BIG + whole + after)


def test_posts_meanwhile_wait_for_the_write_under_way(talk: Talk) -> None:
    """In an ordinary write, none posted before."""
    kept: list[Conversation] = []

    async def function(talk: Conversation) -> None:
        kept.append(talk)
        await talk.write(BIG)
        await talk.write([BIG[:10]] * 200_000)

    post = does(lambda: kept[0].post(b"posted"))
    expected = BIG + b"posted" + BIG[:10] * 200_000 + b"posted"
    talk(
        function, turns(3), post, gets(BIG), is_told("WRITE", 2),
        turns(3), post, gets(expected[len(BIG):]), told=["WRITE", "WRITE"], sent=expected,
    )  # fmt: skip


class Says(Operation):
    """Sends as soon as `Channel.send` takes it."""

    interest = WRITE

    def start(self, channel: Any) -> Operation | None:
        return self.step(channel, 0)

    def step(self, channel: Any, mask: int) -> Operation | None:
        return None if channel.send(b"own") else self


def test_an_operation_of_ones_own_sends_behind_what_was_posted(talk: Talk) -> None:
    """Not in the midst of it, where a turn's share of it has left and the kernel has room for more."""

    async def function(talk: Conversation) -> None:
        talk.post(BIG)
        await talk.do(Says())

    one = talk.pair()
    if talk.in_memory:
        one.peer.room = 2 * len(BIG)
    talk(function, gets(BIG + b"own"), sent=BIG + b"own", again=one)


@pytest.mark.parametrize("how", ["return", "shutdown", "shutdown then", "shutdown delayed"])
def test_what_is_left_still_leaves(talk: Talk, how: str) -> None:
    async def ending(talk: Conversation) -> str:
        if how == "shutdown":
            await talk.shutdown_write()
            assert talk.post(b"dropped") == 0
            await talk.read(ONE)
        if how == "shutdown then":
            await talk.do(ShutdownWriteOperation(ReadOperation(ONE)))
            assert talk.post(b"dropped") == 0
        if how == "shutdown delayed":
            asked = iter([True, False])
            held = ShutdownWriteOperation(ReadOperation(ONE))
            talk.executor.call_later(0, str)  # in whose turn it is asked again
            await talk.do(DelayedOperation(held, lambda socket, executor: next(asked)))
        return "done"

    steps = [gets(BIG)] if how == "return" else [gets_end, sends(b"x")]
    one = filled(talk, ending, turns(5), *steps)
    one.check([] if how == "return" else [b"x"], BIG)
    assert one.metadata.result == "done"


def test_a_kept_connection_idles_when_it_has_left(talk: Talk) -> None:
    async def ending(talk: Conversation) -> str:
        return "done"

    one = filled(talk, ending, turns(5), gets(BIG), closes, keep_alive=True)
    one.check([], BIG)


def test_cancel_drops_it(talk: Talk) -> None:
    async def cancels(talk: Conversation) -> None:
        talk.cancel()
        assert talk.post(b"more") == 0
        await talk.read(ONE)

    one = filled(talk, cancels, turns(5))
    assert one.told[-2:] == ["DISCONNECTED", "FINALIZE"]
    assert len(one.received) < len(BIG)


def test_on_a_finished_socket_it_is_dropped(talk: Talk) -> None:
    async def function(talk: Conversation) -> Conversation:
        return talk

    one = talk(function)
    assert one.metadata.result.post(b"late") == 0
    assert one.metadata.unsent_bytes == 0


def test_it_raises_no_network_error_the_owner_meets_it(talk: Talk) -> None:
    async def function(talk: Conversation) -> str:
        await talk.read(ONE)
        resets(one)
        for number in range(10):
            talk.post(b"x%d" % number)
        with pytest.raises(Exception, match=r"reset|pipe"):
            for _ in range(10):
                talk.post(b"y")
                await talk.sleep(0.01)
        return "met"

    one = talk.pair("tcp")
    one.live(function, [sends(b"x"), reads_nothing], {})
    talk.run()
    assert one.metadata.result == "met"


def test_unsent_posts_run_the_io_clock_even_while_it_sleeps(talk: Talk) -> None:
    async def sleeps(talk: Conversation) -> str:
        with pytest.raises(SocketTimeoutError) as raised:
            await talk.sleep(3600)
        assert raised.value.phase == "sleeping"
        with pytest.raises(SocketTimeoutError) as raised:
            await talk._suspend()
        assert raised.value.phase == "waiting"
        talk.cancel()
        await talk.sleep(1)
        return "never"

    one = filled(talk, sleeps, reads_nothing, io_timeout=0.1)
    assert one.told[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_flushed_of_another_conversation_is_back_pressure(talk: Talk) -> None:
    """A proxy's one side waits until the other's peer takes what it posted."""
    sides: list[Conversation] = []

    async def slow(talk: Conversation) -> None:
        sides.append(talk)
        await talk.read(ONE)

    async def fast(talk: Conversation) -> int:
        most = 0
        async for frame in talk.frames():
            sides[0].post(frame.data)
            most = max(most, sides[0].unsent)
            await sides[0].flushed()
            assert sides[0].unsent == 0
        return most

    first = talk.begin(slow, turns(30), gets(BIG), sends(b"x"))
    second = talk.begin(fast, sends(BIG), ends)
    talk.run()
    first.check([b"x"], BIG)
    assert second.metadata.result <= MOST_RECEIVED


@pytest.mark.parametrize("how", ["cancel", "return", "reset"])
def test_flushed_returns_when_the_other_ends(talk: Talk, how: str) -> None:
    sides: list[Conversation] = []

    async def slow(talk: Conversation) -> None:
        sides.append(talk)
        talk.post(BIG)
        await talk.read(ONE)
        if how == "cancel":
            talk.cancel()

    async def waits(talk: Conversation) -> str:
        assert sides[0].unsent
        await sides[0].flushed()
        return "flushed"

    over = {"cancel": sends(b"x"), "return": sends(b"x"), "reset": closes}[how]
    talk.begin(slow, turns(8), over, *([] if how != "return" else [gets_any(len(BIG))]))
    second = talk.begin(waits)
    talk.run()
    assert second.metadata.result == "flushed"


@pytest.mark.parametrize("deep", [0, 2])
@pytest.mark.parametrize("whose", ["own", "other"])
def test_flushed_of_one_that_is_closed_is_broken_off(talk: Talk, whose: str, deep: int) -> None:
    """While another's bytes are unsent, and its own."""

    async def poster(talk: Conversation) -> None:
        talks["other"] = talk
        talk.post(bytes(5_000_000))
        await talk.sleep(60)

    async def waiter(talk: Conversation, deep: int = deep) -> None:
        if deep:
            return await waiter(talk, deep - 1)
        talks["own"] = talk
        talk.post(bytes(5_000_000))
        try:
            await talk.sleep(60)
        finally:
            assert talks[whose].unsent
            try:
                await talks[whose].flushed()
            except GeneratorExit:
                ended.append(whose)

    talks: dict[str, Conversation] = {}
    ended: list[str] = []
    first = talk.begin(ConversationOperation(poster), turns(4), does(lambda: first.client.close()))
    second = talk.begin(ConversationOperation(waiter), turns(3), does(lambda: second.client.close()))
    talk.run()
    assert ended == [whose]


def test_flushed_with_nothing_unsent(talk: Talk) -> None:
    async def function(talk: Conversation) -> str:
        await talk.flushed()
        talk.post(b"x")
        await talk.flushed()
        return "done"

    talk(function, sent=b"x", gives="done")


def test_flushed_from_another_executor(talk: Talk) -> None:
    from evsockets import RequestExecutor
    from support.memory import MemoryEngine

    kept: list[Conversation] = []

    async def slow(talk: Conversation) -> None:
        kept.append(talk)
        talk.post(BIG)
        await talk.read(ONE)

    async def waits(talk: Conversation) -> None:
        with pytest.raises(RuntimeError, match="awaits"):
            await kept[0].flushed()

    other = Talk(RequestExecutor(MemoryEngine()))
    with other.executor:
        one = other.begin(slow, turns(3))
        other.executor.start_request()
        for _ in range(4):
            other.executor.turn(0)
        assert kept[0].unsent
        talk(waits)
        one.close_peer()
        other.executor.stop_request()
        turns_to_the_end(other.executor, 0)
        other.close()


def test_beside_a_duplex_and_a_delayed_write(talk: Talk) -> None:
    async def function(talk: Conversation) -> None:
        talk.post(b"1")
        await talk.do(ReadWriteOperation(True, [WriteOperation(b"2"), ReadOperation(LINE)]))
        talk.post(b"3")

    talk(function, gets(b"12"), sends(b"a\n"), gets(b"3"), told=["WRITE", b"a\n"], sent=b"123")


def test_posts_leave_though_the_conversation_never_waits(talk: Talk) -> None:
    """It goes on from frame to frame of what has arrived: at the end of the turn they leave."""

    async def function(talk: Conversation) -> None:
        for _ in range(300):
            await talk.read(ONE)
            talk.post(b"y")
            assert talk.unsent <= 64

    talk(function, sends(b"x" * 300), gets(b"y" * 300), told=[b"x"] * 300, sent=b"y" * 300)
