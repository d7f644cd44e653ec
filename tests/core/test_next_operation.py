"""What comes next: `event.next_operation`, and `set_operation` in every state of a socket."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    DelayedOperation,
    EventType,
    IoEvent,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    WriteOperation,
)
from support.conversation import Conversation, Talk, closes, does, fixed, gets, is_told, sends, turns

LARGE = b"x" * 3_000_000
NEXT = WriteOperation(b"next")
START = ["INITIALIZE", "CONNECTED"]


def from_another(talk: Talk, function: Any) -> None:
    """Have the function called in the READ handler of another socket."""
    talk.begin(ReadOperation(), sends(b"!"), on={"READ": lambda event: function()})


# ---- in the socket's own handlers ------------------------------------------------------------------


def test_set_operation_shows_as_next_operation(talk: Talk) -> None:
    seen: list[Any] = []
    following = fixed(1)

    def choose(event: Any) -> None:
        if event.frame.data == b"a":
            talk.bag.set_operation(event.socket, following)

    talk.executor.with_event_handler({EventType.READ: lambda event: seen.append(event.next_operation)})
    talk(fixed(1), sends(b"ab"), told=[b"a", b"b"], on={"READ": choose})
    assert seen == [following, None]


def test_an_event_that_is_over_has_no_next_operation(talk: Talk) -> None:
    one = talk(
        ReadOperation(), sends(b"a"), told=[b"a", "WRITE"], sent=b"b", on={"READ": [WriteOperation(b"b")]}
    )
    kept = [event for event in one.events if hasattr(event, "next_operation")]
    assert {event.type for event in kept} >= {EventType.READ, EventType.WRITE}
    assert [event.next_operation for event in kept] == [None] * len(kept)


def test_what_an_event_that_is_over_is_told_is_nothing(talk: Talk) -> None:
    one = talk.pair()
    late = does(lambda: one.events[2].next_is_write(b"late"))
    talk(
        WriteOperation(b"b", then=ReadOperation()), is_told("WRITE"), turns(1), late, sends(b"a"),
        told=["WRITE", b"a"], sent=b"b", again=one,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["READ", "INITIALIZE", "CONNECTED"])
@pytest.mark.parametrize("other", [WriteOperation(b"last"), None])
def test_an_assignment_is_a_last_word_too(talk: Talk, kind: str, other: Operation | None) -> None:
    def overrule(event: Any) -> None:
        event.next_operation = other

    talk.executor.with_event_handler({EventType[kind]: overrule})
    on = {kind: lambda event: talk.bag.set_operation(event.socket, WriteOperation(b"first"))}
    told = [*[b"a"] * (kind == "READ"), *["WRITE"] * (other is not None)]
    sent = b"" if other is None else b"last"
    talk(ReadOperation(), sends(b"a"), told=told, sent=sent, on=on)


@pytest.mark.parametrize("wrong", [5, "read", ReadOperation])
def test_only_operations_can_be_assigned(talk: Talk, wrong: Any) -> None:
    on = {"READ": lambda event: setattr(event, "next_operation", wrong)}
    with pytest.raises(TypeError, match="next_operation"):
        talk(ReadOperation(), sends(b"a"), told=[b"a"], on=on)


class Wrong(Operation):
    def __init__(self, where: str) -> None:
        self.where = where

    def start(self, channel: Any) -> Any:
        return 5 if self.where == "start" else self

    def step(self, channel: Any, mask: int) -> Any:
        return 5


@pytest.mark.parametrize("where", ["start", "step"])
def test_an_operation_that_returns_no_operation(talk: Talk, where: str) -> None:
    one = talk.pair()
    with pytest.raises(TypeError, match="an operation or None"):
        talk(Wrong(where), sends(b"a"), again=one)
    assert one.metadata.request_complete


@pytest.mark.parametrize("kind", ["READ", "WRITE", "CONNECTED", "INITIALIZE", "DATA_ALERT", "TIMEOUT"])
def test_in_its_own_handler(talk: Talk, kind: str) -> None:
    told: dict[str, list[Any]] = {
        "WRITE": ["WRITE"], "READ": [b"xy"], "DATA_ALERT": ["DATA_ALERT 1"], "TIMEOUT": ["TIMEOUT IO reading"]
    }  # fmt: skip

    def set_it(event: Any) -> None:
        if kind != "WRITE" or event.operation is not NEXT:
            talk.bag.set_operation(event.socket, NEXT)
            event.metadata.keep_alive = False
        if kind == "TIMEOUT":
            event.enable_one_more_attempt()

    alert = kind == "DATA_ALERT"
    first: Operation = NullOperation() if alert else fixed(2)
    if kind == "WRITE":
        first = WriteOperation(b"request ", then=fixed(2))
    talk(
        first, *[sends(b"xy")] * (kind != "TIMEOUT"), on={kind: set_it}, told=[*told.get(kind, []), "WRITE"],
        sent=b"request next" if kind == "WRITE" else b"next", keep_alive=alert, io_timeout=0.05,
    )  # fmt: skip


# ---- the first one ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", START)
def test_the_first_operation_shows_and_may_be_replaced(talk: Talk, kind: str) -> None:
    first = fixed(1)

    def replace(event: Any) -> None:
        assert isinstance(event, IoEvent)
        assert event.next_operation is first
        event.next_is_write(b"instead")

    talk(first, told=["WRITE"], sent=b"instead", on={kind: replace})


def test_the_last_word_counts(talk: Talk) -> None:
    on = {
        "INITIALIZE": lambda event: event.next_is_write(b"first"),
        "CONNECTED": lambda event: talk.bag.set_operation(event.socket, WriteOperation(b"last")),
    }
    talk(fixed(1), told=["WRITE"], sent=b"last", on=on)


@pytest.mark.parametrize("kind", START)
@pytest.mark.parametrize("keep_alive", [False, True])
def test_nothing_first(talk: Talk, kind: str, keep_alive: bool) -> None:
    """It connects and ends; kept alive it idles."""
    steps = [turns(3), is_told("CONNECTED"), closes] if keep_alive else []
    on = {kind: lambda event: event.next_operation_not_required()}
    one = talk.begin(fixed(1), *steps, on=on, keep_alive=keep_alive, idle_timeout=60)
    talk.run()
    one.check()


# ---- from outside ----------------------------------------------------------------------------------


def test_between_two_turns_it_replaces_a_read(talk: Talk) -> None:
    """The socket that was looked at last is not one whose handler is running."""

    def received(one: Conversation) -> bool:
        return bool(one.metadata.bytes_received == 3)

    one = talk.pair()
    replace = does(lambda: talk.bag.set_operation(one.client, fixed(3)))
    talk(fixed(4), sends(b"abc"), received, replace, told=[b"abc"], again=one)


@pytest.mark.parametrize("forget", [False, True])
def test_from_the_end_of_another(talk: Talk, forget: bool) -> None:
    """A READ handler closes another socket, in whose DISCONNECTED the first one is told what to do."""

    def close_other(event: Any) -> None:
        victim.client.close()
        if not forget:
            event.next_is(fixed(5))

    def disconnected(event: Any) -> None:
        if forget:
            talk.bag.forget_socket(one.client)
        else:
            talk.bag.set_operation(one.client, WriteOperation(b"told"))

    one = talk.begin(ReadOperation(), sends(b"!"), on={"READ": close_other}, keep_alive=forget)
    victim = talk.begin(ReadOperation(), on={"DISCONNECTED": disconnected})
    talk.run()
    if forget:
        one.check([b"!"], ends_with=["FINALIZE"])
    else:
        one.check([b"!", "WRITE"], b"told")


WHILE = {
    # what it does, what the peer does, and what both sides have said before the next operation
    "writing": (
        lambda: WriteOperation(LARGE, then=WriteOperation(b"then")), [turns(5), gets(LARGE)], ["WRITE"], LARGE
    ),
    "an iterable": (
        lambda: WriteOperation(iter([LARGE, b"!"])), [turns(5), gets(LARGE)], ["WRITE"], LARGE + b"!"
    ),
    "both directions": (
        lambda: ReadWriteOperation(True, [WriteOperation(LARGE), fixed(1)]),
        [turns(5), gets(LARGE), sends(b"r")], ["WRITE", b"r"], LARGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WHILE)
def test_it_comes_when_the_current_one_is_done(talk: Talk, what: str) -> None:
    """Instead of a write's `then`."""
    operation, steps, told, sent = WHILE[what]
    one = talk.begin(operation(), *steps)
    from_another(talk, lambda: talk.bag.set_operation(one.client, NEXT))
    talk.run()
    one.check([*told, "WRITE"], sent + b"next")


@pytest.mark.parametrize("forget", [False, True])
def test_while_delayed_it_comes_after_what_is_held_back(talk: Talk, forget: bool) -> None:
    held = [True]

    def tell() -> None:
        talk.bag.forget_socket(one.client) if forget else talk.bag.set_operation(one.client, NEXT)
        held.clear()

    inner = WriteOperation(b"held ", then=WriteOperation(b"then"))
    one = talk.begin(DelayedOperation(inner, lambda socket, executor: bool(held)), keep_alive=forget)
    from_another(talk, tell)
    talk.run()
    if forget:
        one.check(["WRITE"], b"held ", ends_with=["FINALIZE"])
    else:
        one.check(["WRITE", "WRITE"], b"held next")


def test_while_idle_it_starts(talk: Talk) -> None:
    def tell() -> None:
        assert talk.bag.get_operation(one.client) is None
        talk.bag.set_metadata(one.client, keep_alive=False)
        talk.bag.set_operation(one.client, NEXT)

    one = talk.begin(NullOperation(), keep_alive=True)
    from_another(talk, tell)
    talk.run()
    one.check(["WRITE"], b"next")


@pytest.mark.parametrize("forget", [False, True])
def test_in_the_write_of_an_answer_it_comes_after_it(talk: Talk, forget: bool) -> None:
    def tell(event: Any) -> None:
        if event.operation is answer:
            talk.bag.forget_socket(event.socket) if forget else talk.bag.set_operation(event.socket, NEXT)

    answer = WriteOperation(b"answer ", then=ReadOperation())
    one = talk.begin(
        ReadOperation(), sends(b"?"), on={"READ": [answer], "WRITE": tell}, keep_alive=forget, idle_timeout=5
    )
    talk.run()
    if forget:
        one.check([b"?", "WRITE"], b"answer ", ends_with=["FINALIZE"])
    else:
        one.check([b"?", "WRITE", "WRITE"], b"answer next")


# ---- in both directions ----------------------------------------------------------------------------


def test_inside_a_handler_of_both_directions_it_is_queued(talk: Talk) -> None:
    """As `event.next_is` is: the other direction's queue does not hold it up."""

    def tell(event: Any) -> None:
        if event.frame.data == b"a":
            talk.bag.set_operation(event.socket, NEXT)
            assert event.next_operation is NEXT

    duplex = ReadWriteOperation(True, [fixed(1), fixed(1)])
    talk(
        duplex, sends(b"a"), gets(b"next"), sends(b"b"), told=[b"a", "WRITE", b"b"], sent=b"next",
        on={"READ": tell},
    )  # fmt: skip


@pytest.mark.parametrize("outside", [False, True])
def test_in_the_timeout_of_both_directions_it_is_queued(talk: Talk, outside: bool) -> None:
    """What was set before, from outside, still comes when both are done."""

    def timed_out(event: Any) -> None:
        event.enable_one_more_attempt()
        if not outside:
            talk.bag.set_operation(event.socket, WriteOperation(b"still there?"))
        event.metadata.io_timeout = 5

    duplex = ReadWriteOperation(True, [fixed(1)])
    steps = [is_told("TIMEOUT"), gets(b"" if outside else b"still there?"), sends(b"r")]
    one = talk.begin(duplex, *steps, on={"TIMEOUT": timed_out}, io_timeout=0.05)
    if outside:
        from_another(talk, lambda: talk.bag.set_operation(one.client, NEXT))
    talk.run()
    if outside:
        one.check(["TIMEOUT IO reading", b"r", "WRITE"], b"next")
    else:
        one.check(["TIMEOUT IO reading", "WRITE", b"r"], b"still there?")
