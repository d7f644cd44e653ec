"""Each example says how it is started when it is started in another way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.command import ROOT, run

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


@pytest.mark.parametrize("arguments", [[], ["one"], ["one", "two", "three"]], ids=len)
@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_usage(path: Path, arguments: list[str]) -> None:
    done = run(sys.executable, path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"usage: python {path.name} ")
