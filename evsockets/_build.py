"""The build in use: compiled, or the Python sources, which EVSOCKETS_PURE=1 selects."""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader

_FOLDER = os.path.dirname(__file__)


def import_sources() -> None:
    """Import this package's modules from their sources from now on, also if they are compiled."""
    for folder, _, _ in os.walk(_FOLDER):
        sys.path_importer_cache[folder] = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))


def is_compiled() -> bool:
    """Whether the hot path runs compiled."""
    ours = [module for name, module in sys.modules.items() if name.startswith(f"{__package__}.")]
    return any(str(getattr(module, "__file__", "")).endswith(tuple(EXTENSION_SUFFIXES)) for module in ours)


def why_pure() -> str | None:
    """The reason why a compiled build is not used; None if it is, or if there is none."""
    has_modules = any(
        name.endswith(tuple(EXTENSION_SUFFIXES)) for _, _, names in os.walk(_FOLDER) for name in names
    )
    return "EVSOCKETS_PURE=1" if has_modules and not is_compiled() else None


def describe() -> str:
    """`compiled` or `pure Python`, with the reason why a compiled build is not used."""
    if is_compiled():
        return "compiled"
    reason = why_pure()
    return f"pure Python, by {reason}" if reason else "pure Python"


if os.environ.get("EVSOCKETS_PURE") == "1":
    import_sources()
