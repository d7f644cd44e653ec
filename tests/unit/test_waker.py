"""Wake-ups from elsewhere are never lost, however they fall."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest

from evsockets import ClientSocket, ReadOperation, RequestExecutor, create_engine
from evsockets.waker import Waker


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
