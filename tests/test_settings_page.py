"""The page of settings names every setting and counter, and gives the defaults that hold."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from evsockets import Configuration, SocketMetadata, StreamContext
from evsockets.typing import ConfigurationKeywords, MetadataKeywords, StreamKeywords

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"


def table(heading: str) -> dict[str, list[str]]:
    """The rows below a heading by name: their other cells. A row may have several names."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    cells = ((re.findall(r"`(\w+)`", row[0]), [cell.strip() for cell in row[1:]]) for row in rows)
    return {name: rest for names, rest in cells for name in names}


@pytest.mark.parametrize(
    ("heading", "keywords"),
    [
        ("Of a socket", MetadataKeywords),
        ("Of an executor", ConfigurationKeywords),
        ("Of the stream", StreamKeywords),
    ],
)
def test_every_setting_has_its_row(heading: str, keywords: type) -> None:
    assert set(table(heading)) == set(keywords.__annotations__)


def test_every_counter_has_its_row() -> None:
    public = {name for name in dir(SocketMetadata) if not name.startswith("_")}
    assert set(table("Counters of a socket")) == public - set(MetadataKeywords.__annotations__)


@pytest.mark.parametrize(
    ("heading", "settings"), [("Of an executor", Configuration), ("Of the stream", StreamContext)]
)
def test_defaults_are_those_that_hold(heading: str, settings: type) -> None:
    made = settings()
    for name, row in table(heading).items():
        shown = str(getattr(made, name)).replace("'", '"').removesuffix(".0")
        assert row[1].strip("`") == shown, name
    assert set(inspect.signature(settings).parameters) == set(table(heading))
