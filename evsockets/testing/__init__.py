"""Test suites for authors of engines and pickers, and tools for tests of users.

Names are loaded on first use, so that pytest or hypothesis are needed only for the names that use them.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .end_to_end import EngineEndToEnd
    from .engines import EngineContract
    from .pickers import LargeStream, PickerContract, PickerExample
    from .scripted import ManualClock, ScriptedEngine

_HOMES = {
    "EngineContract": "engines",
    "EngineEndToEnd": "end_to_end",
    "LargeStream": "pickers",
    "ManualClock": "scripted",
    "PickerContract": "pickers",
    "PickerExample": "pickers",
    "ScriptedEngine": "scripted",
}

__all__ = [
    "EngineContract",
    "EngineEndToEnd",
    "LargeStream",
    "ManualClock",
    "PickerContract",
    "PickerExample",
    "ScriptedEngine",
]

if "pytest" in sys.modules:
    # So that a broken promise shows the values that broke it.
    sys.modules["pytest"].register_assert_rewrite(*(f"{__name__}.{home}" for home in {*_HOMES.values()}))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} needs {error.name}: pip install {error.name}", name=error.name
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
