"""`Mailbox`: in order, each taker in a turn of its own, nothing lost, and from every thread."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
from support.machine import refused_in_a_thread, until
from support.runs import WAYS, run
from support.service import count_polls
from support.talks import Talks, talks
from support.wire import Log

BRIEF = 0.02


class Post(Talks):
    """Conversations with a mailbox that has no limit; `taken` is what those that `take` have from it."""

    def __init__(self, executor: RequestExecutor, stack: ExitStack) -> None:
        super().__init__(executor, stack)
        self.mailbox: Mailbox[Any] = Mailbox()
        self.taken: list[Any] = []

    def take(self, name: Any = "taker") -> Log:
        """A conversation that takes one item."""
        return self.add(take_one, self.mailbox, self.taken, name)

    def take_all(self, *name: Any) -> Log:
        return self.add(take_all, self.mailbox, self.taken, *name)

    def put(self, *items: Any) -> None:
        for item in items:
            self.mailbox.put(item)

    def later(self, act: Callable[..., object], *args: Any) -> None:
        self.executor.call_later(BRIEF, act, *args)


@pytest.fixture
def post(executor: RequestExecutor) -> Iterator[Post]:
    with ExitStack() as stack:
        yield Post(executor, stack)


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
    post: Post, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = count_polls(post.executor, monkeypatch)
    post.put(*range(1000))
    assert len(post.mailbox) == 1000
    post.mailbox.close()
    log = post.take_all()
    run(post.executor, way)
    assert post.taken == list(range(1000)) and len(post.mailbox) == 0
    assert 10 < len(polls) < 100  # others have their turn now and then
    assert "EXCEPTION" not in log.names


@pytest.mark.parametrize("way", WAYS)
def test_takers_are_served_in_the_order_they_came_each_in_a_turn_of_its_own(post: Post, way: str) -> None:
    for name in "abcd":
        post.take(name)

    def put() -> None:
        post.put(0, 1, 2, 3)
        post.taken.append("put")  # nobody has taken inside it
        assert len(post.mailbox) == 4

    post.later(put)
    run(post.executor, way)
    assert post.taken == ["put", ("a", 0), ("b", 1), ("c", 2), ("d", 3)]


def test_who_comes_late_does_not_overtake(post: Post) -> None:
    """A conversation that begins to take while another has been called, but has yet to take."""

    async def late(talk: Conversation) -> None:
        await talk.sleep(BRIEF)
        post.put(1, 2)
        await take_one(talk, post.mailbox, post.taken, "late")

    post.take("early")
    post.result(late)
    assert post.taken == [("early", 1), ("late", 2)]


def test_work_shared_by_many(post: Post) -> None:
    async def give(talk: Conversation) -> None:
        for number in range(1000):
            await talk.put(post.mailbox, number)
            if number % 50 == 0:
                await talk.sleep(0)
        post.mailbox.close()

    for name in range(20):
        post.take_all(name)
    post.result(give)
    assert sorted(item for _, item in post.taken) == list(range(1000))
    assert len({name for name, _ in post.taken}) == 20


def test_two_that_put_and_take_go_on_together(post: Post) -> None:
    """Nobody starves beside conversations that never wait."""
    going = [True]

    async def busy(talk: Conversation) -> int:
        count = 0
        while going[0]:
            await talk.put(post.mailbox, count)
            await talk.take(post.mailbox)
            count += 1
        return count

    async def other(talk: Conversation) -> None:
        for _ in range(10):
            await talk.sleep(0.001)
        going[0] = False

    assert post.results(busy, other)[0] > 64


# ---- nothing lost --------------------------------------------------------------------------------------


def cancel(log: Log) -> None:
    log.of("CONNECTED")[0].cancel_operation()


def replace(log: Log) -> None:
    log.events[0].executor.socket_bag.set_operation(log.events[0].socket, NullOperation())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("end", [cancel, replace])
def test_a_taker_that_ends_before_its_turn_loses_nothing(
    post: Post, end: Callable[[Log], None], when: str
) -> None:
    first = post.take("first")
    post.take("second")

    def put() -> None:
        if when == "before":
            end(first)
        post.put(1)  # the first is called, if it is there
        if when == "after":
            end(first)

    post.later(put)
    post.executor.execute_request()
    assert (post.taken, len(post.mailbox)) == ([("second", 1)], 0)


def test_the_last_taker_that_ends_leaves_the_item_there(post: Post) -> None:
    log = post.take()
    post.later(lambda: (post.put(1), cancel(log)))
    post.executor.execute_request()
    assert (post.taken, len(post.mailbox)) == ([], 1)
    assert post.result(take_one, post.mailbox, post.taken, "later") == 1


def test_a_stopped_run_loses_nothing(post: Post) -> None:
    for name in range(5):
        post.take(name)
    post.later(lambda: (post.put(0, 1, 2), post.executor.stop_request()))
    post.executor.execute_request()
    assert (post.taken, len(post.mailbox)) == ([], 3)
    assert [post.result(take_one, post.mailbox, [], 0) for _ in range(3)] == [0, 1, 2]


def test_a_connection_that_ends_while_it_takes(post: Post) -> None:
    async def taker(talk: Conversation) -> str:
        try:
            await talk.take(post.mailbox)
        except DisconnectedError as error:
            post.put(1)
            return f"{error.clean} {await talk.take(post.mailbox)}"  # taking goes on without the connection
        return "taken"

    post.later(lambda: post.peers[0].close())
    assert post.result(taker) == "True 1"


# ---- with time-outs ------------------------------------------------------------------------------------


def test_a_time_out_ends_the_wait_and_loses_nothing(post: Post) -> None:
    async def taker(talk: Conversation) -> Any:
        with pytest.raises(SocketTimeoutError):
            with talk.timeout(BRIEF):
                try:
                    await talk.take(post.mailbox)
                finally:
                    post.put(1)
                    await talk.take(post.mailbox)  # is broken off as well
        assert len(post.mailbox) == 1
        with talk.timeout(0):  # what can be had without waiting
            return await talk.take(post.mailbox)

    assert post.result(taker) == 1


def test_what_was_put_in_the_turn_of_the_time_out_is_taken(post: Post) -> None:
    clock = post.executor._loop.clock
    began: list[float] = []

    async def taker(talk: Conversation) -> Any:
        with talk.timeout(BRIEF):
            began.append(clock())
            return await talk.take(post.mailbox)

    async def giver(talk: Conversation) -> None:
        for _ in until(lambda: began):
            await talk.sleep(0)
        while clock() < began[0] + BRIEF:
            pass  # hold the executor up until the other's time has passed
        post.put(1)

    assert post.results(taker, giver) == [1, None]


# ---- limit and closing ---------------------------------------------------------------------------------


def test_a_full_one(post: Post) -> None:
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

    assert post.result(taker) == [1, 2, 3]


@pytest.mark.parametrize("limit", [1, 3])
def test_putting_waits_for_room_in_the_order_of_coming(post: Post, limit: int) -> None:
    mailbox: Mailbox[Any] = Mailbox(limit)
    most = 0

    async def giver(talk: Conversation, name: str) -> None:
        for number in range(10):
            await talk.put(mailbox, (name, number))

    async def taker(talk: Conversation) -> None:
        nonlocal most
        await talk.sleep(BRIEF)
        while len(post.taken) < 20:
            most = max(most, len(mailbox))
            post.taken.append(await talk.take(mailbox))

    post.add(giver, "a")
    post.add(giver, "b")
    post.result(taker)
    for name in "ab":
        assert [number for who, number in post.taken if who == name] == list(range(10))
    assert most == limit


@pytest.mark.parametrize("ends", [True, False])
def test_who_waits_to_put_is_not_overtaken_and_has_put_nothing_if_it_ends(post: Post, ends: bool) -> None:
    mailbox: Mailbox[str] = Mailbox(1)
    mailbox.put("lies there")

    async def giver(talk: Conversation, item: str) -> None:
        await talk.put(mailbox, item)

    async def taker(talk: Conversation) -> list[str]:
        await talk.sleep(BRIEF)
        if ends:
            cancel(first)
            await talk.sleep(BRIEF)
        item = await talk.take(mailbox)
        for put in (mailbox.put, mailbox.put_threadsafe):
            with pytest.raises(MailboxFullError):
                put("overtakes")
        return [item, await talk.take(mailbox)]

    first = post.add(giver, "first")
    if ends:
        post.add(giver, "second")
    assert post.result(taker) == ["lies there", "second" if ends else "first"]


@pytest.mark.parametrize("way", WAYS)
def test_closed_with_takers_and_putters(post: Post, way: str) -> None:
    full: Mailbox[int] = Mailbox(1)
    full.put(1)
    errors: list[str] = []

    async def uncaught(talk: Conversation) -> str:
        await talk.take(post.mailbox)
        return "never"

    async def putter(talk: Conversation) -> None:
        try:
            await talk.put(full, 2)
        except MailboxClosedError as error:
            errors.append(str(error))

    logs = [post.add(uncaught), post.take_all(), post.add(putter)]
    for mailbox in (post.mailbox, full) * 2:
        post.later(mailbox.close)
    run(post.executor, way)
    assert (post.taken, errors) == ([], ["the mailbox is closed"])
    for log in logs:
        assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
        assert log.metadata.result is None
    for put in (full.put, full.put_threadsafe):
        with pytest.raises(MailboxClosedError):
            put(2)
    # What lies there can still be taken.
    assert [post.result(take_one, full, [], "last") for _ in range(2)] == [1, None]
    assert "closed" in repr(full)


def test_a_put_into_a_closed_one_that_nobody_catches(post: Post) -> None:
    async def giver(talk: Conversation) -> None:
        await talk.put(post.mailbox, 1)

    post.mailbox.close()
    with pytest.raises(MailboxClosedError):
        post.result(giver)


# ---- from elsewhere ------------------------------------------------------------------------------------


def test_a_handler_puts(post: Post) -> None:
    async def reader(talk: Conversation) -> None:
        await talk.read()
        post.mailbox.close()

    post.take_all()
    post.result(reader, says=b"hello", on={"READ": lambda event: post.put(event.frame.data)})
    assert post.taken == [b"hello"]


@pytest.mark.parametrize("way", WAYS)
def test_threads_put(post: Post, way: str) -> None:
    def put(name: int) -> None:
        for number in range(500):
            post.mailbox.put_threadsafe((name, number))

    def close() -> None:
        for thread in threads:
            thread.join()
        post.executor.call_soon_threadsafe(post.mailbox.close)

    threads = [threading.Thread(target=put, args=(name,)) for name in range(4)]
    closer = threading.Thread(target=close)
    post.take_all()
    for thread in (*threads, closer):
        post.later(thread.start)
    run(post.executor, way)
    closer.join()
    assert len(post.taken) == 2000
    for name in range(4):
        assert [number for who, number in post.taken if who == name] == list(range(500))


def test_the_limit_holds_among_threads(post: Post) -> None:
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
    assert len(mailbox) == len(refused) == 100
    mailbox.close()
    post.result(take_all, mailbox, post.taken)
    assert len(post.taken) == 100


def test_a_signal_handler_puts(post: Post) -> None:
    with alarm(lambda *_: post.mailbox.put_threadsafe("signal"), BRIEF):
        assert post.result(take_one, post.mailbox, [], "taker") == "signal"


def test_another_thread_is_told_what_to_call(post: Post) -> None:
    def wrongly() -> None:
        put, close = refused_in_a_thread(lambda: post.put(1), post.mailbox.close)
        assert "put_threadsafe()" in put and "call_soon_threadsafe()" in close
        thread = threading.Thread(target=post.mailbox.put_threadsafe, args=(2,))
        thread.start()
        thread.join()

    post.later(wrongly)
    assert post.result(take_one, post.mailbox, [], "taker") == 2


def test_another_greenlet_puts_while_the_engine_waits(gevent_is_tested: None) -> None:
    import gevent

    mailbox: Mailbox[str] = Mailbox()
    with RequestExecutor("gevent") as executor, talks(executor) as people:
        greenlet = gevent.spawn_later(BRIEF, mailbox.put, "put beside")
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
    gc.collect()
    assert known() is None
    with pytest.raises(RuntimeError, match="closed"):
        mailbox.put_threadsafe(2)


def test_a_waiting_conversation_that_ends_leaves_no_cycle(post: Post) -> None:
    class Item:
        pass

    async def taker(talk: Conversation, item: Item) -> None:
        await talk.take(post.mailbox)

    item = Item()
    known = weakref.ref(item)
    log = post.add(taker, item)
    post.later(cancel, log)
    post.executor.execute_request()
    log.events.clear()
    gc.disable()
    try:
        del item, log
        for socket in list(post.executor.socket_bag):
            post.executor.socket_bag.remove_socket(socket)
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


async def take_from(talk: Conversation, wrong: Any) -> None:
    await talk.take(wrong)


async def put_into(talk: Conversation, wrong: Any) -> None:
    await talk.put(wrong, 1)


async def items_of(talk: Conversation, wrong: Any) -> None:
    talk.items(wrong)


@pytest.mark.parametrize("use", [take_from, put_into, items_of])
def test_what_is_no_mailbox(post: Post, use: Any) -> None:
    async def taker(talk: Conversation) -> str:
        with pytest.raises(TypeError, match="Mailbox.*\\[\\]"):
            await use(talk, [])
        return "told"

    assert post.result(taker) == "told"


def test_another_conversations_take_is_refused_and_takes_nothing(post: Post) -> None:
    """While it lasts, and when it is over."""
    known: list[Conversation] = []

    async def idle(talk: Conversation) -> None:
        known.append(talk)
        await talk.sleep(3 * BRIEF)

    async def taker(talk: Conversation) -> list[int]:
        for _ in until(lambda: known):
            await talk.sleep(0)
        for use in (take_from, put_into):
            with pytest.raises(RuntimeError):
                await use(known[0], post.mailbox)
        return [await talk.take(post.mailbox), len(post.mailbox)]

    post.put(1)
    assert post.results(idle, taker) == [None, [1, 0]]
    post.put(1)
    with pytest.raises(RuntimeError, match="over"):
        known[0].take(post.mailbox).send(None)
    assert len(post.mailbox) == 1
