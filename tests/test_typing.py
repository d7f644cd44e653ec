"""What type checkers make of the library: `typing/` holds programs that they accept, and mistakes.

mypy and pyright, both strict, say nothing about those in `accepted`. In `rejected` each line that is wrong
ends in `# error: ` and the codes by which mypy (strict) and pyright (as it is by default) reject it, and they
reject no other. So checked, the examples of the documentation have no error.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import evsockets
from support.command import run
from support.optional import library

PROGRAMS = Path(__file__).parent / "typing"
EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
PLACE = Path(evsockets.__file__).parent.parent
"""Where the library is imported from: its sources, or wherever it is installed."""

Errors = dict[tuple[str, int], set[str]]
"""The codes of the errors by file and line."""


def checked(command: list[str], folder: Path, **environment: str) -> str:
    ran = run(*command, cwd=folder, PYTHONWARNINGS="default", **environment)
    assert ran.returncode in (0, 1), f"{command[:4]} failed:\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def by_mypy(folder: Path) -> Errors:
    library("mypy")
    path = {} if PLACE.name == "site-packages" else {"MYPYPATH": str(PLACE)}
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--explicit-package-bases"]
    command += ["--cache-dir", os.devnull, "."]
    errors: Errors = {}
    for line in checked(command, folder, **path).splitlines():
        if match := re.fullmatch(r"(.+?):(\d+): error: .*\[([\w-]+)\]", line):
            errors.setdefault((match[1], int(match[2])), set()).add(match[3])
    return errors


def by_pyright(folder: Path) -> Errors:
    library("pyright")
    settings = {"include": ["."], "strict": ["programs/accepted"], "extraPaths": [str(PLACE)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    errors: Errors = {}
    for one in json.loads(checked(command, folder))["generalDiagnostics"]:
        place = str(Path(one["file"]).relative_to(folder)), one["range"]["start"]["line"] + 1
        errors.setdefault(place, set()).add(one.get("rule", "syntax"))
    return errors


def marked(folder: Path) -> dict[tuple[str, int], list[str]]:
    """The codes that stand at the lines."""
    marks = {}
    for path in sorted(folder.rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if match := re.search(r"# error: (\S+), (\S+)$", line):
                marks[str(path.relative_to(folder)), number] = [match[1], match[2]]
    return marks


@pytest.mark.parametrize(("which", "check"), [(0, by_mypy), (1, by_pyright)], ids=["mypy", "pyright"])
def test_what_a_checker_says(which: int, check: Callable[[Path], Errors], tmp_path: Path) -> None:
    for folder, name in ((PROGRAMS, "programs"), (EXAMPLES, "examples")):
        shutil.copytree(folder, tmp_path / name)  # away from the project's own settings
    wanted = {place: codes[which] for place, codes in marked(tmp_path).items()}
    said = check(tmp_path)
    assert [
        f"{place}: {said.get(place, 'accepted')}, not {wanted.get(place, 'accepted')}"
        for place in sorted({*said, *wanted})
        if wanted.get(place) not in said.get(place, ())
    ] == []


def test_the_programs_are_there_and_marked() -> None:
    marks = marked(PROGRAMS)
    files = {str(path.relative_to(PROGRAMS)) for path in PROGRAMS.rglob("*.py")}
    assert {file for file, _ in marks} == {file for file in files if file.startswith("rejected")}
    assert len(marks) > 50 and len(files) > 7
    assert len([*EXAMPLES.rglob("*.py")]) > 10


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MADE_BY = ("__init__", "__call__")
COROUTINE = "a coroutine of `async def` says Any of what it yields and is sent"
ANYTHING = {
    "AcceptedSocket.__init__": "made by the library",
    "DatagramClientSocket.__init__": "made by the library",
    "Timer.__init__": "made by the library",
    "DelayedOperation.__init__": "the socket it is used on, whose class whoever uses it there knows",
    "Engine.watch": "a token, whatever it is, comes back as it was given",
    "Engine.poll": "a token, whatever it is, comes back as it was given",
    "SocketMetadata.result": "what any conversation has returned",
    "Event.user_context": "the user's own, as it was set",
    "Conversation.user_context": "the user's own, as it was set",
    "ConversationOperation.__init__": COROUTINE,
    "ConversationOperation.function": COROUTINE,
    "fan_out": COROUTINE,
    "fan_out_async": COROUTINE,
    "serve": COROUTINE,
    "ExecutionContext.__init__": "values are the user's own",
    "ExecutionContext.get": "values are the user's own",
    "ExecutionContext.set": "values are the user's own",
}
"""Where a public signature says Any, and why nothing narrower is true."""


def shown(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a module or class as checkers show them: of one with overloads, those."""
    every = [one for one in body if isinstance(one, FUNCTIONS)]
    overloads = [one for one in every if any(ast.unparse(by) == "overload" for by in one.decorator_list)]
    overloaded = {one.name for one in overloads}
    yield from (one for one in every if one.name not in overloaded or one in overloads)


def signatures(name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The public functions of what users import as `name`, those it inherits in the library too, by name."""
    thing = getattr(evsockets, name)
    for kind in reversed(thing.__mro__) if inspect.isclass(thing) else [thing] * inspect.isroutine(thing):
        if not kind.__module__.startswith("evsockets."):
            continue
        module = ast.parse(PLACE.joinpath(*kind.__module__.split(".")).with_suffix(".py").read_text())
        if kind is thing and not inspect.isclass(thing):
            yield from ((name, one) for one in shown(module.body) if one.name == name)
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                owner = name if kind.__name__[0] == "_" else kind.__name__
                for one in shown(node.body):
                    if one.name in MADE_BY or one.name[0] != "_":
                        yield f"{owner}.{one.name}", one


def test_any_only_where_nothing_narrower_is_true() -> None:
    says = set()
    for name in evsockets.__all__:
        for member, function in signatures(name):
            given = function.args
            every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
            said = [function.returns, *(one.annotation for one in every if one is not None)]
            assert function.returns is not None, f"{member} does not say what it returns"
            if any("Any" in re.findall(r"\w+", ast.unparse(one)) for one in said if one is not None):
                says.add(member)
    assert says == set(ANYTHING)
