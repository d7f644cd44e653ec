"""Which build this is: compiled, or the sources as they are, which EVSOCKETS_PURE=1 chooses."""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader

_FOLDER = os.path.dirname(__file__)


def import_sources() -> None:
    """Have this package's modules imported from their sources from now on, compiled or not."""
    for folder, _, _ in os.walk(_FOLDER):
        sys.path_importer_cache[folder] = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))


def is_compiled() -> bool:
    """Whether the hot part runs compiled."""
    ours = [module for name, module in sys.modules.items() if name.startswith(f"{__package__}.")]
    return any(str(getattr(module, "__file__", "")).endswith(tuple(EXTENSION_SUFFIXES)) for module in ours)


def why_pure() -> str | None:
    """What keeps a compiled build from being used; None if nothing does, or there is none."""
    has_modules = any(
        name.endswith(tuple(EXTENSION_SUFFIXES)) for _, _, names in os.walk(_FOLDER) for name in names
    )
    return "EVSOCKETS_PURE=1" if has_modules and not is_compiled() else None


def describe() -> str:
    """`compiled` or `pure Python`, and what keeps a compiled build from being used."""
    if is_compiled():
        return "compiled"
    reason = why_pure()
    return f"pure Python, by {reason}" if reason else "pure Python"


if os.environ.get("EVSOCKETS_PURE") == "1":
    import_sources()
