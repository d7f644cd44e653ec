"""Every example in the README and the documentation runs as it stands.

A ```` ```python ```` block is a script: run in a process of its own, warnings are errors. A ```` ```py ````
block needs something a test must not touch (the internet) and is compiled only. The comment
`<!-- needs: gevent -->` before a block names what has to be installed for it; a backend's README needs
that backend.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import evsockets
import evsockets.testing
from support.command import run
from support.sources import sources_only

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"(?:<!-- needs: (?P<needs>[\w ]+) -->\n+)?^```(?P<kind>python|py)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    page: Path
    line: int
    code: str
    needs: tuple[str, ...]
    runs: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples() -> list[Example]:
    pages = [
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "backends").rglob("*.md")),
    ]
    found = []
    for page in pages:
        if "_build" in page.parts:
            continue
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("code")) + 1
            needs = tuple((match["needs"] or "").split())
            if page.parent.parent.name == "backends":
                # A backend's own page speaks of itself.
                own = next(folder.name for folder in page.parent.iterdir() if (folder / "py.typed").exists())
                needs += (own,)
            found.append(Example(page, line, match["code"], needs, match["kind"] == "python"))
    return found


@pytest.mark.parametrize("example", examples(), ids=str)
def test_example(example: Example, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    # Leading empty lines make a traceback's line numbers those of the page.
    script.write_text("\n" * (example.line - 1) + example.code)
    compile(script.read_text(), str(example), "exec")
    if not example.runs:
        return
    for module in example.needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed here; another environment runs this example")
    command = [sys.executable, "-W", "error", "-X", "faulthandler", script]
    answer = run(*command, cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    # What an interpreter only prints, such as an unclosed socket met at its end, counts too.
    assert answer.stderr == ""


def test_there_are_examples() -> None:
    pages = {example.page.name for example in examples() if example.runs}
    assert {"README.md", "tutorial.md"} <= pages
    assert {page.name for page in (ROOT / "docs" / "howto").glob("*.md")} - pages <= {"index.md"}


def links() -> list[tuple[Path, str]]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = []
    for page in pages:
        if "_build" not in page.parts:
            prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
            found += [(page, target) for target in re.findall(r"\]\(([^)#\s]+)", prose)]
    return found


def test_links_lead_somewhere() -> None:
    dead = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page, target in links()
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert dead == []


def test_the_reference_holds_every_name() -> None:
    page = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    names = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)(?:\(\))?$", page, re.MULTILINE)) | set(
        re.findall(r"`(\w+)`", page)
    )
    assert {*evsockets.__all__, *evsockets.testing.__all__} - names == set()


def test_every_howto_is_in_the_index() -> None:
    folder = ROOT / "docs" / "howto"
    listed = re.findall(r"^[\w-]+$", (folder / "index.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.stem for page in folder.glob("*.md") if page.stem != "index")


def script(name: str) -> Any:
    """A module beside the pages."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@sources_only
def test_every_way_leads_somewhere() -> None:
    ways = script("ways")
    assert all(len(measure().calls) > 20 for measure in ways.WAYS.values())


def test_states_are_drawn_from_the_tables() -> None:
    states = script("states")
    page = states.PAGE.read_text()
    assert states.filled(page) == page, "run python docs/states.py"


def test_the_promises_of_engines_are_on_the_page() -> None:
    contract = evsockets.engines.base.__doc__ or ""
    promises = contract[contract.index("1. Level") :].strip()
    assert promises.count("\n") > 17 and promises in (ROOT / "docs/howto/engine.md").read_text()
