"""Every engine that can be used here keeps every promise of the contract."""

from __future__ import annotations

import os

import pytest

from evsockets.engines import Engine, SelectorsEngine, TracingEngine, available_engines, create_engine
from evsockets.testing import EngineContract

_REQUIRED = [name for name in os.environ.get("EVSOCKETS_TEST_ENGINES", "").replace(",", " ").split() if name]
_KNOWN = available_engines()
_NAMES = list(dict.fromkeys([*_KNOWN, *_REQUIRED]))


def _contract(name: str) -> type[EngineContract]:
    class Contract(EngineContract):
        engine_name = name

        def make_engine(self) -> Engine:
            return create_engine(name)

        def test_name_is_what_it_was_chosen_by(self) -> None:
            assert self.engine.name == name.partition(":")[0]

    return Contract


def _absent(name: str, reason: str) -> type:
    class Absent:
        engine_name = name

        def test_is_available(self) -> None:
            if name in _REQUIRED:
                pytest.fail(f"the engine {name} must be there: {reason}")
            pytest.skip(f"{name}: {reason}")

    return Absent


for _name in _NAMES:
    if ":" not in _name and any(each.startswith(_name + ":") for each in _NAMES):
        continue  # a name without its variant is one of its variants
    _reason = _KNOWN.get(_name, "not known")
    _class = _contract(_name) if _reason is None else _absent(_name, _reason)
    _class.__name__ = _class.__qualname__ = "Test_" + _name.replace(":", "_")
    globals()[_class.__name__] = _class
del _class


class TestTracing(EngineContract):
    """A wrapper keeps the promises of what it wraps."""

    def make_engine(self) -> Engine:
        return TracingEngine(SelectorsEngine(), write=lambda line: None)
