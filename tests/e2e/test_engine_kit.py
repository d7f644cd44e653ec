"""The end-to-end kit for authors of engines, on every engine."""

from __future__ import annotations

import pytest

from evsockets import Engine, create_engine
from evsockets.testing import EngineEndToEnd


class TestKit(EngineEndToEnd):
    name: str

    @pytest.fixture(autouse=True)
    def named(self, engine: str) -> None:
        self.name = engine

    def make_engine(self) -> Engine:
        return create_engine(self.name)
