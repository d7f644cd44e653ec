"""An executor on the scripted engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from evsockets import RequestExecutor
from evsockets.transports import broken
from support.conversation import Talk
from support.memory import MemoryEngine, unread
from support.stage import Stage
from support.states import Sampler


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    with made.executor:
        yield made


@pytest.fixture
def executor() -> Iterator[RequestExecutor]:
    """On a clock that only the engine moves; the sockets may be the kernel's."""
    made = Stage(patient=True)
    with made.executor:
        yield made.executor


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    """Conversations in memory."""
    monkeypatch.setattr(broken, "_unread_bytes", unread)
    with RequestExecutor(MemoryEngine()) as executor, closing(Talk(executor)) as made:
        yield made


@pytest.fixture(autouse=True)
def states_at_rest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sampler]:
    """Whenever the engine is about to be asked, every channel is in a state of the table."""
    sampler = Sampler(monkeypatch)
    yield sampler
    assert not sampler.wrong, sampler.wrong[:5]
