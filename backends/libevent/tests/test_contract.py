"""The libevent engine keeps the contract, with every method that libevent offers here."""

from __future__ import annotations

import pytest

from evsockets.testing import EngineContract
from evsockets_libevent import LibeventEngine


class TestLibevent(EngineContract):
    variant: str | None = None

    def make_engine(self) -> LibeventEngine:
        if self.variant is not None and self.variant not in LibeventEngine.variants():
            pytest.skip(f"this libevent has no {self.variant}")
        return LibeventEngine(self.variant)


class TestChangelist(TestLibevent):
    variant = "epoll-changelist"


class TestPoll(TestLibevent):
    variant = "poll"


class TestSelect(TestLibevent):
    variant = "select"
