"""The help of each command fits a screen, and shows how the command is used."""

from __future__ import annotations

import re

import pytest

from evsockets.cli import main

COMMANDS = ["fetch", "serve", "echo", "engines", "demo", "completion"]
#: Of a terminal window that is as wide as they are made, and twice as high as the first ones were.
COLUMNS, LINES = 80, 50


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert any(re.match(rf"(?:  |example: )evsockets {command}\b", line) for line in lines), "no example"


def test_the_commands_are_all_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE) == COMMANDS
