"""Imports point one way, those for types included: what points up for a type is listed, and why."""

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
    {
        "_build", "_generic", "_unpatched", "event_types", "recycled", "pickles", "text", "weak",
        "frames.base", "frames.inbox", "frames.seeker", "typing",
    },
    {"errors"},
    {"validation", "frames", "address", "context", "forks", "core.states", "proxies"},
    {"immutable"},
    {"configuration"},
    {"engines.base"},
    {"engines.asking", "engines.stdlib", "engines.multiplexers", "engines.tracing", "engines.discovery"},
    {"transports"},
    {"settings", "core.deadlines", "core.failure", "core.token"},
    {"core.operation"},
    {"callbacks", "events", "limits", "metadata", "sockets", "waker"},
    {"channel"},
    {"core"},  # one room, mutual inside; what others stand on has rows of its own
    {"operations"},
    {"conversations.scopes", "conversations.waiting"},
    {"conversations"},
    {"http"},  # an extra
    {"opening"},
    {"watching", "watching.timeline_record"},
    {"watching.timeline_picture", "watching.timeline_trace"},
    {
        "handlers", "socket_bag", "hosting", "drain", "timer", "inherited", "watching.timeline",
        "watching.metrics",
    },
    {"executor", "factory"},
    {"targets", "distributed"},
    {"serving"},
    {"watching.explain"},
    {"watching.dump"},
]

# What may point up for a type's sake: what a handler is handed names what stands above it, and what the core
# passes on without looking inside. The names for annotations (`typing`) are made of everybody's.
FOR_TYPES = {
    ("core.failure", "core.channel"),
    ("core.operation", "core.channel"),
    ("core.operation", "metadata"),
    ("callbacks", "core.dispatch"),
    ("core.loop", "drain"),
    ("core.loop", "executor"),
    ("events", "channel"),
    ("conversations.conversation", "executor"),
    ("conversations.scopes", "conversations.task"),
    ("conversations.waiting", "conversations.task"),
    ("events", "core.channel"),
    ("events", "executor"),
    ("events", "operations.write"),
    ("errors", "sockets"),
    ("frames.base", "sockets"),
    ("limits", "executor"),
    ("operations.delay", "executor"),
    ("metadata", "core.channel"),
    ("sockets", "core.channel"),
    ("sockets", "opening.pool"),
    ("typing", "configuration"),
    ("typing", "engines.base"),
    ("typing", "events"),
    ("typing", "executor"),
    ("typing", "targets.outcomes"),
    ("typing", "sockets"),
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def sources() -> dict[str, Path]:
    return {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def layer_of(name: str) -> int | None:
    """The row of a module; None for the packages that are not core (testing, cli) and for the root."""
    for known in (name, name.partition(".")[0]):
        for number, row in enumerate(LAYERS):
            if known in row:
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


def imports(path: Path, known: set[str], *, late: bool = False) -> set[str]:
    """The evsockets modules a file imports when it is imported itself; `late`: at any time, for types too."""
    found = set()
    package = ["evsockets", *path.relative_to(PACKAGE).parts[:-1]]
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if late else runtime_nodes(tree):
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


def test_types_point_up_only_where_it_is_said() -> None:
    everything = sources()
    up = set()
    for name, path in everything.items():
        here = layer_of(name)
        for imported in imports(path, set(everything), late=True) if here is not None else ():
            there = layer_of(imported)
            if there is not None and here is not None and there > here:
                up.add((name, imported))
    assert up == FOR_TYPES


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """The modules that lead to themselves, those of one circle together."""
    reached = {name: set(there) for name, there in arrows.items()}
    for via in arrows:
        for there in reached.values():
            if via in there:
                there |= reached[via]
    found: list[set[str]] = []
    for name in arrows:
        circle = {other for other in reached[name] if name in reached[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


def test_circles_only_inside_the_core() -> None:
    """What points up for a type set aside, nothing leads to itself, within one row or one folder neither."""
    everything = sources()
    arrows = {
        name: {there for there in imports(path, set(everything), late=True) if (name, there) not in FOR_TYPES}
        - {name}
        for name, path in everything.items()
        if layer_of(name) is not None
    }
    arrows = {name: {there for there in out if there in arrows} for name, out in arrows.items()}
    assert [
        circle for circle in circles(arrows) if {name.partition(".")[0] for name in circle} != {"core"}
    ] == []


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
        if name.partition(".")[0] in ("cli", "testing", "http"):
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


@pytest.mark.parametrize("distribution", ["libev", "libevent", "gevent"])
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
