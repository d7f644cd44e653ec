"""The ways in which an executor is run: by itself, turn by turn, and inside asyncio."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from evsockets import RequestExecutor
from support.machine import until
from support.service import needs_descriptor
from support.wire import turns_to_the_end

WAYS = ["execute", "turns", "patience", "asyncio"]


def run(executor: RequestExecutor, way: str, **options: Any) -> None:
    """A whole run of `executor`, in the given way. Skips the test where the way does not exist."""
    if way == "execute":
        executor.execute_request(**options)
    elif way == "asyncio":
        needs_descriptor(executor)
        if options:
            pytest.skip("inside asyncio a run has no such options")
        asyncio.run(executor.execute_request_async())
    elif way == "turns":
        executor.start_request(**options)
        turns_to_the_end(executor)
    else:  # a host that waits as long as it is told to, and no shorter

        def ended() -> bool:
            time.sleep(executor.patience() or 0)
            return not executor.turn(0)

        executor.start_request(**options)
        for _ in until(ended, "the run's end"):
            pass
