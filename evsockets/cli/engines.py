"""`evsockets engines`: the engines that can be used here, and what the others need."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from .. import Engine, EngineError, __version__, _build, available_engines, create_engine
from ..engines.discovery import announced
from ..text import one_line


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "engines",
        help="list the engines: which are usable, and what the others need",
        epilog="example: evsockets engines --json",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the engines; 1 if none can be used."""
    found = available_engines()
    chosen, problem = _default()
    entries = [
        {
            "name": name,
            "usable": reason is None,
            "default": reason is None and name == chosen,
            "version": _version(name),
            "runs_on": _runs_on(name) if reason is None else None,
            "problem": None if reason is None else one_line(reason),
        }
        for name, reason in found.items()
    ]
    if arguments.json:
        import json

        build = {"compiled": _build.is_compiled(), "why_pure": _build.why_pure()}
        print(json.dumps({"default": chosen, "build": build, "engines": entries}, indent=2))
    else:
        _print(entries)
        print(f"evsockets {__version__}: {_build.describe()}")
    if problem is not None:
        print(f"evsockets: {problem}", file=sys.stderr)
    return 0 if any(entry["usable"] for entry in entries) else 1


def _print(entries: list[dict[str, Any]]) -> None:
    from .table import print_table

    rows = []
    tones = []
    for entry in entries:
        state = "usable" if entry["usable"] else "not usable"
        note = entry["problem"] or entry["runs_on"] or ""
        if entry["default"]:
            note = f"{note} (the default here)".strip()
        rows.append([entry["name"], state, entry["version"] or "-", note])
        tones.append("good" if entry["usable"] else "off")
    print_table(["engine", "state", "version", "notes"], rows, tones=tones, left=4, wrap=True)


def _default() -> tuple[str | None, str | None]:
    """The engine that is chosen when nobody says which; else None, and why there is none."""
    try:
        engine = create_engine()
    except EngineError as error:
        return None, one_line(str(error))
    engine.close()
    # The variable may ask for a variant; the engine's name is without it.
    return os.environ.get("EVSOCKETS_ENGINE", "").strip() or engine.name, None


def _version(name: str) -> str | None:
    """The version of the distribution which brings engine `name`."""
    base = name.partition(":")[0]
    try:
        entry = announced().get(base)
    except OSError:
        entry = None
    if entry is not None and entry.dist is not None:
        return entry.dist.version
    if base == "selectors":
        return __version__
    return None


def _runs_on(name: str) -> str | None:
    """What a usable engine stands on, and what it cannot stand on though it is here."""
    try:
        engine = create_engine(name)
    except EngineError as error:
        return one_line(str(error))
    with engine:
        passed_over = getattr(engine, "passed_over", None)
        return _stands_on(engine) if passed_over is None else f"{_stands_on(engine)}; not used: {passed_over}"


def _stands_on(engine: Engine) -> str:
    """The engine's binding, or the module, and its version."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    binding = getattr(engine, "binding", None)
    module = str(binding or engine.name)
    try:
        found = f"{module.partition('.')[0]} {version(module.partition('.')[0])}"
    except PackageNotFoundError:
        return module if binding else f"Python {platform.python_version()}"
    return f"{module} ({found})" if "." in module else found
