"""Every engine that can be used here keeps every promise of the contract."""

from __future__ import annotations

import os

import pytest

from evsockets.engines import Engine, SelectorsEngine, TracingEngine, available_engines, create_engine
from evsockets.testing import EngineContract

_REQUIRED = [name for name in os.environ.get("EVSOCKETS_TEST_ENGINES", "").replace(",", " ").split() if name]
_KNOWN = available_engines()
_NAMES = list(dict.fromkeys([*_KNOWN, *_REQUIRED]))


@pytest.fixture(params=_NAMES)
def engine_name(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    reason = _KNOWN.get(name, "not known")
    if reason is not None:
        if name in _REQUIRED:
            pytest.fail(f"the engine {name} must be there: {reason}")
        pytest.skip(f"{name}: {reason}")
    return name


def _contract(name: str) -> type[EngineContract]:
    class Contract(EngineContract):
        def make_engine(self) -> Engine:
            reason = _KNOWN.get(name, "not known")
            if reason is not None:
                if name in _REQUIRED:
                    pytest.fail(f"the engine {name} must be there: {reason}")
                pytest.skip(f"{name}: {reason}")
            return create_engine(name)

        def test_name_is_what_it_was_chosen_by(self) -> None:
            assert self.engine.name == name.partition(":")[0]

    Contract.__name__ = Contract.__qualname__ = "Test_" + name.replace(":", "_")
    return Contract


for _name in _NAMES:
    if ":" in _name or not any(each.startswith(_name + ":") for each in _NAMES):
        _class = _contract(_name)  # a name without its variant is its first variant
        globals()[_class.__name__] = _class
del _class


class TestTracing(EngineContract):
    """A wrapper keeps the promises of what it wraps."""

    def make_engine(self) -> Engine:
        return TracingEngine(SelectorsEngine(), write=lambda line: None)
