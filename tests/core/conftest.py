"""An executor on the scripted engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    with made.executor:
        yield made
