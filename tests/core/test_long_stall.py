"""After a long stall I/O is looked at before a time-out is declared, however little an engine tells of."""

from __future__ import annotations

import contextlib
from typing import Any

from evsockets import EngineError, EventType, ReadOperation, RequestExecutor
from evsockets.engines.stdlib import SelectorsEngine
from evsockets.testing import ManualClock
from support.wire import add, pair


class Narrow(SelectorsEngine):
    """Tells of one ready socket at a time, of each in its turn, as an engine may; its clock is the test's."""

    def __init__(self) -> None:
        super().__init__("poll")
        self.clock = ManualClock()
        self.polls = 0

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        batch = super().poll(0)
        if not batch and timeout:
            self.clock.advance(timeout)
        self.polls += 1
        return [batch[self.polls % len(batch)]] if batch else []


def test_what_has_arrived_is_no_time_out() -> None:
    engine = Narrow()
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(RequestExecutor(engine))
        stack.callback(engine.close)

        def slow(event: Any) -> None:
            engine.clock.advance(10)

        logs = []
        for _ in range(6):
            ours, theirs = pair()
            stack.enter_context(theirs).send(b"x")
            logs.append(add(executor, None, ReadOperation(), socket=ours, io_timeout=3, on={"READ": slow}))
        silent, theirs = pair()
        stack.enter_context(theirs)
        late = add(executor, None, ReadOperation(), socket=silent, io_timeout=3)
        executor.execute_request()
    assert [log.frames for log in logs] == [[b"x"]] * 6
    assert late.timeouts == [("IO", "reading")]


class Stubborn(SelectorsEngine):
    """Fails to forget a descriptor, once."""

    failure: Exception | None = OSError(12, "no")

    def watch(self, fd: int, interest: int, token: Any) -> None:
        super().watch(fd, interest, token)
        if interest == 0 and self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure


def test_a_life_ends_whatever_the_engine_says_of_it() -> None:
    engine = Stubborn()
    ours, theirs = pair()
    with theirs, contextlib.closing(engine):
        executor = RequestExecutor(engine)
        log = add(executor, None, ReadOperation(), socket=ours)
        theirs.send(b"x")
        with contextlib.suppress(EngineError):
            executor.execute_request()
        assert log.names[-1] == EventType.FINALIZE.name and log.metadata.request_complete
        assert theirs.recv(1) == b""  # it is closed
        executor.close()


def test_an_engine_closed_before_its_executor() -> None:
    engine = SelectorsEngine()
    executor = RequestExecutor(engine)
    engine.close()
    executor.close()
