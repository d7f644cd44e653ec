"""The end of a run: what was posted is done, everything is complete, and nothing is held on to."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import LimitationDecision, LimitationSolver, ReadOperation, RequestExecutor
from support.conversation import Talk, sends
from support.scenes import KINDS, scene
from support.wire import add


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ACCEPT"])
def test_callbacks_of_the_last_events_run_in_it(executor: RequestExecutor, kind: str) -> None:
    ran: list[Any] = []
    with scene(executor, kind) as one:
        one.prepare(lambda event: executor.call_soon_threadsafe(ran.append, event))
        executor.execute_request()
        assert [event.type.name for event in ran] == [kind] * len(ran)
        assert ran


def test_a_callback_of_the_last_event_may_add_a_socket(talk: Talk) -> None:
    """FINALIZE of a socket that timed out comes last in its turn."""
    lives: list[Any] = []

    def more() -> None:
        lives.append(talk.begin(ReadOperation(), sends(b"!")))

    on = {"FINALIZE": lambda event: talk.executor.call_soon_threadsafe(more)}
    talk(ReadOperation(), told=["TIMEOUT IO reading"], io_timeout=2, on=on)
    lives[0].check([b"!"])


def test_a_callback_that_posts_itself_does_not_keep_it_alive(talk: Talk) -> None:
    ran: list[int] = []

    def again(event: Any = None) -> None:
        ran.append(1)
        talk.executor.call_soon_threadsafe(again)

    talk(ReadOperation(), told=["TIMEOUT IO reading"], io_timeout=2, on={"FINALIZE": again})
    assert 1 < len(ran) < 5
    talk.run()
    assert len(ran) < 10


def test_an_exception_in_the_last_callback(talk: Talk) -> None:
    on = {"FINALIZE": lambda event: talk.executor.call_soon_threadsafe(int, "no number")}
    with pytest.raises(ValueError, match="no number"):
        talk(ReadOperation(), told=["TIMEOUT IO reading"], io_timeout=2, on=on)
    assert not talk.executor.is_executing
    talk.run()


def test_a_solver_that_fails_at_the_end_leaves_nothing_incomplete(executor: RequestExecutor) -> None:
    class Failing(LimitationSolver):
        def decide(self, *_: Any) -> LimitationDecision:
            return LimitationDecision.SKIP_CURRENT

        def finalize(self, *_: Any) -> None:
            raise LookupError("finalize")

    executor.with_limitation_solver(Failing())
    log = add(executor, None, ReadOperation())
    executor.call_soon_threadsafe(executor.stop_request)
    with pytest.raises(LookupError):
        executor.execute_request()
    assert log.metadata.request_complete
    assert not executor.is_executing
