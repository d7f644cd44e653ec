"""What authors of engines and pickers, and users' own test suites, need.

Names are loaded when first used, so that what needs pytest or hypothesis asks for them only then.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .end_to_end import EngineEndToEnd
    from .engines import EngineContract
    from .pickers import PickerContract
    from .scripted import ManualClock, ScriptedEngine

_HOMES = {
    "EngineContract": "engines",
    "EngineEndToEnd": "end_to_end",
    "ManualClock": "scripted",
    "PickerContract": "pickers",
    "ScriptedEngine": "scripted",
}

__all__ = ["EngineContract", "EngineEndToEnd", "ManualClock", "PickerContract", "ScriptedEngine"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
