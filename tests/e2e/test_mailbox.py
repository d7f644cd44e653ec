"""`Mailbox`: in order, each taker in a turn of its own, nothing lost, and from every thread."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    Conversation,
    DisconnectedError,
    Mailbox,
    MailboxClosedError,
    MailboxFullError,
    NullOperation,
    RequestExecutor,
    SocketTimeoutError,
)
from evsockets.testing.engines import alarm
from support.machine import until
from support.runs import WAYS, run
from support.service import count_polls
from support.talks import Talks, talks
from support.wire import reset

BRIEF = 0.02


@pytest.fixture
def people(executor: RequestExecutor) -> Iterator[Talks]:
    with talks(executor) as made:
        yield made


async def take_all(talk: Conversation, mailbox: Mailbox[Any], taken: list[Any], name: Any = None) -> None:
    async for item in talk.items(mailbox):
        taken.append(item if name is None else (name, item))


async def take_one(talk: Conversation, mailbox: Mailbox[Any], taken: list[Any], name: Any) -> Any:
    item = await talk.take(mailbox)
    taken.append((name, item))
    return item


# ---- order ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_items_put_before_are_taken_in_order_many_a_turn(
    executor: RequestExecutor, people: Talks, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = count_polls(executor, monkeypatch)
    mailbox: Mailbox[int] = Mailbox()
    for number in range(1000):
        mailbox.put(number)
    assert len(mailbox) == 1000
    mailbox.close()
    taken: list[int] = []
    log = people.add(take_all, mailbox, taken)
    run(executor, way)
    assert taken == list(range(1000))
    assert 10 < len(polls) < 100  # others have their turn now and then
    assert len(mailbox) == 0
    assert "EXCEPTION" not in log.names


@pytest.mark.parametrize("way", WAYS)
def test_takers_are_served_in_the_order_they_came_each_in_a_turn_of_its_own(
    executor: RequestExecutor, people: Talks, way: str
) -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[Any] = []
    for name in "abcd":
        people.add(take_one, mailbox, taken, name)

    def put() -> None:
        for number in range(4):
            mailbox.put(number)
        taken.append("put")  # nobody has taken inside it
        assert len(mailbox) == 4

    executor.call_later(BRIEF, put)
    run(executor, way)
    assert taken == ["put", ("a", 0), ("b", 1), ("c", 2), ("d", 3)]


def test_who_comes_late_does_not_overtake(executor: RequestExecutor, people: Talks) -> None:
    """A conversation that begins to take while another has been called, but has yet to take."""
    mailbox: Mailbox[int] = Mailbox()
    taken: list[Any] = []
    people.add(take_one, mailbox, taken, "early")

    async def late(talk: Conversation) -> None:
        await talk.sleep(BRIEF)
        mailbox.put(1)
        mailbox.put(2)
        await take_one(talk, mailbox, taken, "late")

    people.add(late)
    executor.execute_request()
    assert taken == [("early", 1), ("late", 2)]


def test_work_shared_by_many(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[Any] = []
    for name in range(20):
        people.add(take_all, mailbox, taken, name)

    async def give(talk: Conversation) -> None:
        for number in range(1000):
            await talk.put(mailbox, number)
            if number % 50 == 0:
                await talk.sleep(0)
        mailbox.close()

    people.add(give)
    executor.execute_request()
    assert sorted(item for _, item in taken) == list(range(1000))
    assert len({name for name, _ in taken}) == 20


def test_two_that_put_and_take_go_on_together(executor: RequestExecutor, people: Talks) -> None:
    """Nobody starves beside conversations that never wait."""
    going = [True]
    mailbox: Mailbox[int] = Mailbox()

    async def busy(talk: Conversation) -> int:
        count = 0
        while going[0]:
            await talk.put(mailbox, count)
            await talk.take(mailbox)
            count += 1
        return count

    async def other(talk: Conversation) -> None:
        for _ in range(10):
            await talk.sleep(0.001)
        going[0] = False

    log = people.add(busy)
    people.add(other)
    executor.execute_request()
    assert log.metadata.result > 64


# ---- nothing lost --------------------------------------------------------------------------------------


def cancel(log: Any, people: Talks) -> None:
    log.of("CONNECTED")[0].cancel_operation()


def replace(log: Any, people: Talks) -> None:
    people.executor.socket_bag.set_operation(log.events[0].socket, NullOperation())


def disconnect(log: Any, people: Talks) -> None:
    reset(people.peers[0])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("end", [cancel, replace])
def test_a_taker_that_ends_before_its_turn_loses_nothing(
    executor: RequestExecutor, people: Talks, end: Callable[..., None], when: str
) -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[Any] = []
    first = people.add(take_one, mailbox, taken, "first")
    people.add(take_one, mailbox, taken, "second")

    def put() -> None:
        if when == "before":
            end(first, people)
        mailbox.put(1)  # the first is called, if it is there
        if when == "after":
            end(first, people)

    executor.call_later(BRIEF, put)
    executor.execute_request()
    assert taken == [("second", 1)]
    assert len(mailbox) == 0


def test_the_last_taker_that_ends_leaves_the_item_there(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[Any] = []
    log = people.add(take_one, mailbox, taken, "first")
    executor.call_later(BRIEF, lambda: (mailbox.put(1), cancel(log, people)))
    executor.execute_request()
    assert (taken, len(mailbox)) == ([], 1)
    assert people.result(take_one, mailbox, taken, "later") == 1


def test_a_stopped_run_loses_nothing(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[Any] = []
    for name in range(5):
        people.add(take_one, mailbox, taken, name)

    def put_and_stop() -> None:
        for number in range(3):
            mailbox.put(number)
        executor.stop_request()

    executor.call_later(BRIEF, put_and_stop)
    executor.execute_request()
    assert (taken, len(mailbox)) == ([], 3)
    assert [people.result(take_one, mailbox, taken, 0) for _ in range(3)] == [0, 1, 2]


def test_a_connection_that_ends_while_it_takes(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()

    async def taker(talk: Conversation) -> str:
        try:
            await talk.take(mailbox)
        except DisconnectedError as error:
            mailbox.put(1)
            return f"{error.clean} {await talk.take(mailbox)}"  # taking goes on without the connection
        return "taken"

    log = people.add(taker)
    executor.call_later(BRIEF, people.peers[0].close)
    executor.execute_request()
    assert log.metadata.result == "True 1"


# ---- with time-outs ------------------------------------------------------------------------------------


def test_a_time_out_ends_the_wait_and_loses_nothing(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()

    async def taker(talk: Conversation) -> Any:
        with pytest.raises(SocketTimeoutError):
            with talk.timeout(BRIEF):
                try:
                    await talk.take(mailbox)
                finally:
                    mailbox.put(1)
                    await talk.take(mailbox)  # is broken off as well
        assert len(mailbox) == 1
        with talk.timeout(0):  # what can be had without waiting
            return await talk.take(mailbox)

    assert people.result(taker) == 1


def test_what_was_put_in_the_turn_of_the_time_out_is_taken(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()
    began: list[float] = []

    async def taker(talk: Conversation) -> Any:
        with talk.timeout(BRIEF):
            began.append(executor._loop.clock())
            return await talk.take(mailbox)

    async def giver(talk: Conversation) -> None:
        for _ in until(lambda: began):
            await talk.sleep(0)
        while executor._loop.clock() < began[0] + BRIEF:
            pass  # hold the executor up until the other's time has passed
        mailbox.put(1)

    log = people.add(taker)
    people.add(giver)
    executor.execute_request()
    assert log.metadata.result == 1


# ---- limit and closing ---------------------------------------------------------------------------------


def test_a_full_one(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    assert mailbox.limit == 2
    mailbox.put(1)
    mailbox.put_threadsafe(2)
    for put in (mailbox.put, mailbox.put_threadsafe):
        with pytest.raises(MailboxFullError, match=r"2 items; .* `await talk.put\(mailbox, item\)` waits"):
            put(3)
    assert len(mailbox) == 2

    async def taker(talk: Conversation) -> list[int]:
        first = await talk.take(mailbox)
        mailbox.put(3)
        with pytest.raises(MailboxFullError):
            mailbox.put(4)
        return [first, await talk.take(mailbox), await talk.take(mailbox)]

    assert people.result(taker) == [1, 2, 3]


@pytest.mark.parametrize("limit", [1, 3])
def test_putting_waits_for_room_in_the_order_of_coming(
    executor: RequestExecutor, people: Talks, limit: int
) -> None:
    mailbox: Mailbox[Any] = Mailbox(limit)
    most = 0
    taken: list[Any] = []

    async def giver(talk: Conversation, name: str) -> None:
        for number in range(10):
            await talk.put(mailbox, (name, number))

    async def taker(talk: Conversation) -> None:
        nonlocal most
        await talk.sleep(BRIEF)
        while len(taken) < 20:
            most = max(most, len(mailbox))
            taken.append(await talk.take(mailbox))

    people.add(giver, "a")
    people.add(giver, "b")
    people.add(taker)
    executor.execute_request()
    for name in "ab":
        assert [number for who, number in taken if who == name] == list(range(10))
    assert most == limit


def test_a_putter_that_ends_has_put_nothing(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[str] = Mailbox(1)
    mailbox.put("lies there")

    async def giver(talk: Conversation, item: str) -> None:
        await talk.put(mailbox, item)

    async def taker(talk: Conversation) -> list[str]:
        await talk.sleep(BRIEF)
        cancel(first, people)
        await talk.sleep(BRIEF)
        return [await talk.take(mailbox), await talk.take(mailbox)]

    first = people.add(giver, "never")
    people.add(giver, "second")
    log = people.add(taker)
    executor.execute_request()
    assert log.metadata.result == ["lies there", "second"]


def test_nobody_overtakes_who_waits_to_put(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    mailbox.put(1)

    async def giver(talk: Conversation) -> None:
        await talk.put(mailbox, 2)

    async def taker(talk: Conversation) -> list[int]:
        await talk.sleep(BRIEF)
        first = await talk.take(mailbox)
        for put in (mailbox.put, mailbox.put_threadsafe):
            with pytest.raises(MailboxFullError):
                put(3)
        return [first, await talk.take(mailbox)]

    people.add(giver)
    log = people.add(taker)
    executor.execute_request()
    assert log.metadata.result == [1, 2]


@pytest.mark.parametrize("way", WAYS)
def test_closed_with_takers_and_putters(executor: RequestExecutor, people: Talks, way: str) -> None:
    empty: Mailbox[int] = Mailbox()
    full: Mailbox[int] = Mailbox(1)
    full.put(1)
    taken: list[Any] = []
    errors: list[str] = []

    async def uncaught(talk: Conversation) -> str:
        await talk.take(empty)
        return "never"

    async def putter(talk: Conversation) -> None:
        try:
            await talk.put(full, 2)
        except MailboxClosedError as error:
            errors.append(str(error))

    logs = [people.add(uncaught), people.add(take_all, empty, taken), people.add(putter)]

    def close() -> None:
        for mailbox in (empty, full):
            mailbox.close()
            mailbox.close()

    executor.call_later(BRIEF, close)
    run(executor, way)
    assert taken == []
    assert errors == ["the mailbox is closed"]
    for log in logs:
        assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
        assert log.metadata.result is None
    for put in (full.put, full.put_threadsafe):
        with pytest.raises(MailboxClosedError):
            put(2)
    assert people.result(take_one, full, taken, "last") == 1  # what lies there can still be taken
    assert people.result(take_one, full, taken, "nothing") is None
    assert "closed" in repr(full)


def test_a_put_into_a_closed_one_that_nobody_catches(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.close()

    async def giver(talk: Conversation) -> None:
        await talk.put(mailbox, 1)

    people.add(giver)
    with pytest.raises(MailboxClosedError):
        executor.execute_request()


# ---- from elsewhere ------------------------------------------------------------------------------------


def test_a_handler_puts(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[bytes] = Mailbox()
    taken: list[Any] = []

    async def reader(talk: Conversation) -> None:
        await talk.read()
        mailbox.close()

    people.add(take_all, mailbox, taken)
    people.add(reader, on={"READ": lambda event: mailbox.put(event.frame.data)})
    people.peers[1].sendall(b"hello")
    executor.execute_request()
    assert taken == [b"hello"]


@pytest.mark.parametrize("way", WAYS)
def test_threads_put(executor: RequestExecutor, people: Talks, way: str) -> None:
    mailbox: Mailbox[Any] = Mailbox()
    taken: list[Any] = []
    people.add(take_all, mailbox, taken)

    def put(name: int) -> None:
        for number in range(500):
            mailbox.put_threadsafe((name, number))

    threads = [threading.Thread(target=put, args=(name,)) for name in range(4)]

    def close() -> None:
        for thread in threads:
            thread.join()
        executor.call_soon_threadsafe(mailbox.close)

    closer = threading.Thread(target=close)

    def begin() -> None:
        for thread in (*threads, closer):
            thread.start()

    executor.call_later(BRIEF, begin)
    run(executor, way)
    closer.join()
    assert len(taken) == 2000
    for name in range(4):
        assert [number for who, number in taken if who == name] == list(range(500))


def test_the_limit_holds_among_threads(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox(100)
    refused: list[int] = []
    begin = threading.Barrier(4)

    def put() -> None:
        begin.wait()
        for number in range(50):
            try:
                mailbox.put_threadsafe(number)
            except MailboxFullError:
                refused.append(number)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mailbox) == 100
    assert len(refused) == 100
    mailbox.close()
    taken: list[int] = []
    people.add(take_all, mailbox, taken)
    executor.execute_request()
    assert len(taken) == 100


def test_a_signal_handler_puts(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[str] = Mailbox()
    log = people.add(take_one, mailbox, [], "taker")
    with alarm(lambda *_: mailbox.put_threadsafe("signal"), BRIEF):
        executor.execute_request()
    assert log.metadata.result == "signal"


def test_another_thread_is_told_what_to_call(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()
    errors: list[str] = []

    def elsewhere() -> None:
        for act in (lambda: mailbox.put(1), mailbox.close):
            try:
                act()
            except RuntimeError as error:
                errors.append(str(error))
        mailbox.put_threadsafe(2)

    thread = threading.Thread(target=elsewhere)
    log = people.add(take_one, mailbox, [], "taker")
    executor.call_later(BRIEF, thread.start)
    executor.execute_request()
    thread.join()
    assert ["put_threadsafe()" in errors[0], "call_soon_threadsafe()" in errors[1]] == [True, True]
    assert log.metadata.result == 2


def test_another_greenlet_puts_while_the_engine_waits(gevent_is_tested: None) -> None:
    import gevent

    mailbox: Mailbox[str] = Mailbox()
    with RequestExecutor("gevent") as executor, talks(executor) as people:

        def beside() -> None:
            gevent.sleep(BRIEF)
            mailbox.put("put beside")

        greenlet = gevent.spawn(beside)
        assert people.result(take_one, mailbox, [], "taker") == "put beside"
        greenlet.join()


# ---- whose it is ---------------------------------------------------------------------------------------


def test_it_belongs_to_the_executor_that_took_first(engine: str) -> None:
    mailbox: Mailbox[int] = Mailbox()
    for number in range(3):
        mailbox.put(number)
    with RequestExecutor(engine) as first, RequestExecutor(engine) as second:
        with talks(first) as ours, talks(second) as theirs:
            assert ours.result(take_one, mailbox, [], "first") == 0
            theirs.add(take_one, mailbox, [], "second")
            with pytest.raises(RuntimeError, match="took from it first"):
                second.execute_request()
            assert ours.result(take_one, mailbox, [], "first") == 1
    for put in (mailbox.put, mailbox.put_threadsafe):
        with pytest.raises(RuntimeError, match="closed"):
            put(4)
    mailbox.close()
    assert len(mailbox) == 1


def test_it_keeps_no_executor_alive(engine: str) -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    with RequestExecutor(engine) as executor, talks(executor) as people:
        assert people.result(take_one, mailbox, [], "") == 1
        known = weakref.ref(executor)
    del executor, people
    import gc

    gc.collect()
    assert known() is None
    with pytest.raises(RuntimeError, match="closed"):
        mailbox.put_threadsafe(2)


def test_a_waiting_conversation_that_ends_leaves_no_cycle(executor: RequestExecutor, people: Talks) -> None:
    import gc

    mailbox: Mailbox[int] = Mailbox(1)

    class Item:
        pass

    async def taker(talk: Conversation, item: Item) -> None:
        await talk.take(mailbox)

    item = Item()
    known = weakref.ref(item)
    log = people.add(taker, item)
    executor.call_later(BRIEF, cancel, log, people)
    executor.execute_request()
    log.events.clear()
    gc.disable()
    try:
        del item, log
        for socket in list(executor.socket_bag):
            executor.socket_bag.remove_socket(socket)
        assert known() is None
    finally:
        gc.enable()


# ---- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError), (True, TypeError)],
)
def test_limits_that_are_none(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="limit"):
        Mailbox(limit)


@pytest.mark.parametrize("what", ["take", "put", "items"])
def test_what_is_no_mailbox(executor: RequestExecutor, people: Talks, what: str) -> None:
    async def taker(talk: Conversation, wrong: Any) -> str:
        with pytest.raises(TypeError, match="Mailbox.*\\[\\]"):
            if what == "items":
                talk.items(wrong)
            elif what == "take":
                await talk.take(wrong)
            else:
                await talk.put(wrong, 1)
        return "told"

    assert people.result(taker, []) == "told"


def test_another_conversations_take_is_refused_and_takes_nothing(
    executor: RequestExecutor, people: Talks
) -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    known: list[Conversation] = []

    async def idle(talk: Conversation) -> None:
        known.append(talk)
        await talk.sleep(3 * BRIEF)

    async def taker(talk: Conversation) -> list[int]:
        for _ in until(lambda: known):
            await talk.sleep(0)
        with pytest.raises(RuntimeError):
            await known[0].take(mailbox)
        with pytest.raises(RuntimeError):
            await known[0].put(mailbox, 2)
        return [await talk.take(mailbox), len(mailbox)]

    people.add(idle)
    log = people.add(taker)
    executor.execute_request()
    assert log.metadata.result == [1, 0]


def test_after_the_conversation_nothing_is_taken(executor: RequestExecutor, people: Talks) -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    known: list[Conversation] = []

    async def brief(talk: Conversation) -> None:
        known.append(talk)

    people.result(brief)
    waiting = known[0].take(mailbox)
    with pytest.raises(RuntimeError, match="over"):
        waiting.send(None)
    assert len(mailbox) == 1
