"""Wake-ups from elsewhere are never lost, however they fall."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
from functools import partial
from typing import Any

import pytest

from evsockets import ClientSocket, ReadOperation, RequestExecutor, create_engine
from evsockets.engines import READ
from evsockets.testing.refusal import elsewhere, refuse
from evsockets.waker import Waker
from support.interrupts import interrupted, lines_of

ERRORS = [errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.ECONNRESET, errno.EPIPE]


class Between:
    """The reading end, with something happening just before or just after its bytes are taken."""

    def __init__(self, reader: Any, when: str, happens: Any) -> None:
        self._reader, self._when, self._happens = reader, when, happens

    def recv(self, size: int) -> bytes:
        if self._when == "before":
            self._happens()
        try:
            data: bytes = self._reader.recv(size)
        finally:
            if self._when == "after":
                self._happens()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


@pytest.mark.parametrize("when", ["before", "after"])
def test_one_that_falls_into_the_taking_keeps_no_later_one_back(when: str) -> None:
    with contextlib.closing(create_engine("selectors")) as engine:
        waker = Waker(engine)
        waker._reader = Between(waker._reader, when, waker.wake)  # type: ignore[assignment]
        waker.wake()
        ((token, mask),) = engine.poll(1)
        token.step(token, mask)
        while batch := engine.poll(0):  # a spare one is allowed, but not that it never ends
            waker._reader = waker._reader._reader if isinstance(waker._reader, Between) else waker._reader
            for token, mask in batch:
                token.step(token, mask)
        waker.wake()
        assert engine.poll(0), "a later wake-up was lost"
        waker.close()


def test_thousands_from_a_thread_all_arrive() -> None:
    """Each waits for the one before: a lost one would leave the executor asleep."""
    total = 5_000
    called = threading.Semaphore(0)
    with RequestExecutor("selectors") as executor:
        done = [0]

        def one() -> None:
            done[0] += 1
            called.release()
            if done[0] == 2 * total:
                executor.stop_request()

        def post() -> None:
            for _ in range(total):
                executor.call_soon_threadsafe(one)
                if not called.acquire(timeout=20):
                    executor.stop_request()
                    return

        ours, theirs = socket.socketpair()
        with theirs:
            executor.socket_bag.add_socket(ClientSocket.from_socket(ours), ReadOperation(), io_timeout=None)
            threads = [threading.Thread(target=post) for _ in range(2)]
            for thread in threads:
                thread.start()
            executor.execute_request()
            for thread in threads:
                thread.join()
    assert done == [2 * total]


@pytest.mark.parametrize("number", ERRORS)
def test_one_that_cannot_be_sent_arrives_all_the_same(engine: str, number: int) -> None:
    """Nor is it an error of whoever posts; and all later ones arrive, though the system refuses those too."""
    wanted = 5
    called: list[int] = []
    posted = threading.Semaphore(1)
    errors: list[BaseException] = []

    def one(executor: RequestExecutor, which: int) -> None:
        called.append(which)
        posted.release()
        if which == wanted - 1:
            executor.stop_request()

    def post(executor: RequestExecutor) -> None:
        refuse("sendto", number)
        for which in range(wanted):
            if posted.acquire(timeout=20):
                executor.call_soon_threadsafe(one, executor, which)

    with RequestExecutor(engine) as executor:
        ours, theirs = socket.socketpair()
        with theirs:
            metadata = executor.socket_bag.add_socket(
                ClientSocket.from_socket(ours), ReadOperation(), io_timeout=30
            )
            executor.start_request()
            executor.turn(0)

            def elsewhere_post() -> None:
                try:
                    elsewhere(lambda: post(executor))
                except BaseException as error:
                    errors.append(error)

            thread = threading.Thread(target=elsewhere_post)
            thread.start()
            while executor.is_executing and executor.turn(30):
                pass
            thread.join()
        assert metadata.request_complete
    assert errors == [] and called == list(range(wanted))


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.EINTR])
def test_one_that_cannot_be_read_is_read_later(number: int) -> None:
    with contextlib.closing(create_engine("selectors")) as engine:
        waker = Waker(engine)

        class Refusing:
            def recv(self, size: int) -> bytes:
                raise OSError(number, "refused")

        reader, waker._reader = waker._reader, Refusing()  # type: ignore[assignment]
        waker.wake()
        for token, mask in engine.poll(1):
            token.step(token, mask)
        waker._reader = reader
        for token, mask in engine.poll(0):  # told again
            token.step(token, mask)
        assert engine.poll(0) == []
        waker.wake()
        assert engine.poll(0), "a later wake-up was lost"
        waker.close()


def test_the_pair_keeps_its_numbers() -> None:
    """A signal's byte goes to a number given once for the whole run."""
    with contextlib.closing(create_engine("selectors")) as engine:
        waker = Waker(engine)
        before = waker._reader.fileno(), waker._writer.fileno()
        waker._writer.shutdown(socket.SHUT_WR)
        ((token, mask),) = engine.poll(1)
        token.step(token, mask)
        assert engine.poll(0) == []
        assert (waker._reader.fileno(), waker._writer.fileno()) == before
        socket.socket(fileno=before[1]).detach()  # still a socket
        waker.wake()
        ((token, mask),) = engine.poll(1)
        token.step(token, mask)
        assert engine.poll(0) == []
        waker.close()


def test_without_its_descriptor_whoever_wakes_is_told() -> None:
    with contextlib.closing(create_engine("selectors")) as engine:
        waker = Waker(engine)
        spare = socket.socket(fileno=waker._writer.fileno())
        spare.close()
        for _ in range(2):
            with pytest.raises(OSError):
                waker.wake()
        waker._writer.detach()
        waker.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of sockets left in a local
def test_an_interrupted_renewal_is_made_good(engine: str) -> None:
    """At each line of the taking of a wake-up that could not be sent: the next run hears every wake-up."""
    file = [str(sys.modules[Waker.__module__].__file__)]
    with create_engine(engine) as waited, contextlib.closing(Waker(waited)) as waker:
        lines = lines_of(partial(take_the_end, waker), file)
    assert len(lines) > 10
    for line in lines:
        with create_engine(engine) as waited, contextlib.closing(Waker(waited)) as waker:
            assert interrupted(line, partial(take_the_end, waker), file)
            waker.begin()
            for _ in range(3):
                waker.wake()
                told = next(filter(None, (waited.poll(5) for _ in range(10))), [])
                assert told == [(waker, READ)], line
                waker.step(waker, READ)


def take_the_end(waker: Waker) -> None:
    waker._writer.shutdown(socket.SHUT_WR)  # as where nothing can be sent
    waker.step(waker, READ)
