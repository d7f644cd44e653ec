"""What pyev's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def loop() -> Iterator[object]:
    """A loop of the test's own."""
    import pyev

    made = pyev.Loop()
    yield made
    made.destroy()
