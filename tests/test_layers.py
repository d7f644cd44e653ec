"""Imports point one way; what is only needed for types stands under TYPE_CHECKING and does not count."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "evsockets"

# From the ground up: a module may import what stands in its own row or in a row above it.
LAYERS: list[set[str]] = [
    {"errors", "_unpatched", "forks", "phases"},
    {"checks", "frames", "address", "meters", "deadlines", "race", "context"},
    {"configuration"},
    {"engines.base"},
    {"engines.stdlib", "engines.facilities", "engines.tracing", "engines.discovery"},
    {"transports", "resolver", "persistence", "waker"},
    {"events", "limits", "metadata"},
    {"sockets"},
    {"operations"},
    {"handlers", "channel", "urgent"},
    {"admission", "socket_bag", "hosting", "drain", "run", "executor", "factory"},
]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def sources() -> dict[str, Path]:
    return {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def layer_of(name: str) -> int | None:
    """The row of a module; None for the packages that are not core (testing, cli) and for the root."""
    for number, row in enumerate(LAYERS):
        if name in row or name.partition(".")[0] in row:
            return number
    return None


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield other
                yield from runtime_nodes(other)
            continue
        yield node
        # What a function imports is imported late on purpose and closes no circle at import time.
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from runtime_nodes(node)


def imports(path: Path, known: set[str]) -> set[str]:
    """The evsockets modules a file imports when it is imported itself."""
    found = set()
    package = ["evsockets", *path.relative_to(PACKAGE).parts[:-1]]
    for node in runtime_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            inner = [f"{origin}.{alias.name}" for alias in node.names]
            # `from . import waker` means the module and not the package that holds it.
            modules = [name for name in inner if name.removeprefix("evsockets.") in known]
            names = modules or [origin]
        else:
            continue
        for name in names:
            inside = name.removeprefix("evsockets").lstrip(".")
            if name.split(".")[0] == "evsockets" and (inside in known or not inside):
                found.add(inside)
    return found


@pytest.mark.parametrize("name", sources())
def test_imports_point_down(name: str) -> None:
    everything = sources()
    here = layer_of(name)
    if here is None:
        return
    for imported in sorted(imports(everything[name], set(everything))):
        if imported == "engines":
            continue  # the package's __init__ holds no code; the module meant is in the list too
        there = layer_of(imported)
        assert there is not None, f"evsockets.{name} imports {imported or 'the package itself'}"
        assert there <= here, f"evsockets.{name} (row {here}) imports evsockets.{imported} (row {there})"


def test_every_core_module_has_its_row() -> None:
    outside = {"", "__main__", "cli", "testing", "engines"}
    homeless = [
        name for name in sources() if layer_of(name) is None and name.partition(".")[0] not in outside
    ]
    assert homeless == []


def test_nothing_imports_testing_or_cli() -> None:
    everything = sources()
    for name, path in everything.items():
        top = name.partition(".")[0]
        for imported in imports(path, set(everything)):
            other = imported.partition(".")[0]
            if other in ("testing", "cli") and top not in (other, "__main__", "cli"):
                raise AssertionError(f"evsockets.{name} imports evsockets.{imported}")


def test_the_core_needs_nothing_but_python() -> None:
    for name, path in sources().items():
        if name.partition(".")[0] in ("cli", "testing"):
            continue
        for node in runtime_nodes(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            for imported in names:
                top = imported.split(".")[0]
                assert top == "evsockets" or top in sys.stdlib_module_names, f"evsockets.{name}: {imported}"


@pytest.mark.parametrize("distribution", ["libev", "gevent"])
def test_backends_know_the_engine_contract_only(distribution: str) -> None:
    folder = ROOT / "backends" / distribution / f"evsockets_{distribution}"
    files = list(folder.rglob("*.py"))
    assert files, f"no sources in {folder}"
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for imported in names:
                if imported.split(".")[0] == "evsockets":
                    assert imported in (
                        "evsockets.engines.base",
                        "evsockets.errors",
                        "evsockets._unpatched",
                    ), f"{path.name} imports {imported}"
