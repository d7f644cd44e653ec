"""The ways in which an executor is run: by itself, turn by turn, and inside asyncio."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from evsockets import RequestExecutor
from support.service import needs_descriptor

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
    else:
        executor.start_request(**options)
        more = True
        while more:
            if way == "turns":
                more = executor.turn(None)
            else:  # a host that waits as long as it is told to, and no shorter
                time.sleep(executor.patience() or 0)
                more = executor.turn(0)
