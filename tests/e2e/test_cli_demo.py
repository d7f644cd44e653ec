"""`evsockets demo`: what it promises, on every engine, with and without the extra."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

from support.command import run_command, run_on_terminal, run_python

# An interpreter in which the extra `cli` is not installed.
WITHOUT_EXTRA = """
import sys
sys.modules["rich"] = sys.modules["trustme"] = None
from evsockets.cli import main
sys.exit(main(["demo"]))
"""


def test_demo_shows_every_outcome_and_the_proof(engine: str, tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    done = run_command("demo", "--engine", engine, "--timeline", str(picture))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert f"on engine {engine}" in done.stdout
    for kind, outcome, times in [
        ("fast", "complete", 4),
        ("slow", "complete", 3),
        ("TLS", "complete", 2),
        ("silent", r"timed out \(reading\)", 2),
        ("closed", "no connection", 1),
    ]:
        assert len(re.findall(rf"\({kind}\) +{outcome}", done.stdout)) == times
    proof = re.search(r"would have taken ([\d.]+) s.*: ([\d.]+) s,\nas long as", done.stdout, re.DOTALL)
    assert proof is not None
    alone, together = map(float, proof.groups())
    assert together >= 1.5
    assert alone >= 3 * 1.0 + 2 * 1.5
    assert together < alone
    texts = " ".join(xml.etree.ElementTree.parse(picture).getroot().itertext())
    assert "TLS handshake" in texts
    assert "(silent)" in texts


def test_demo_without_the_extra_says_what_it_left_out() -> None:
    done = run_python(WITHOUT_EXTRA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Left out: the TLS server" in done.stdout
    assert "rich" in done.stdout
    assert "evsockets[cli]" in done.stdout
    assert "(TLS)" not in done.stdout


@pytest.mark.parametrize(
    "code", [WITHOUT_EXTRA, WITHOUT_EXTRA.replace("sys.modules", "others = {}; others", 1)]
)
def test_demo_fits_a_terminal_of_80_columns(code: str) -> None:
    status, shown = run_on_terminal(sys.executable, "-c", code, columns=80)
    assert status == 0, shown
    # What the progress display wrote was for the moment: only whole lines stay.
    lines = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line.rpartition("\r")[2]) for line in shown.split("\r\n")]
    assert max(map(len, lines)) <= 80
    # Nothing was cut: what is too wide becomes a second table.
    assert sum("(silent)" in line and "timed out (reading)" in line for line in lines) == 2
    heads = " ".join(line for line in lines if "address" in line).split()
    assert heads.count("address") == 2
    assert {"outcome", "received", "connecting", "reading"} <= set(heads)


def test_a_picture_that_cannot_be_written_is_said_before_the_run() -> None:
    done = run_command("demo", "--timeline", "/no/such/place.svg")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_demo_with_an_unknown_engine_says_which_there_are() -> None:
    done = run_command("demo", "--engine", "steam")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "selectors" in done.stderr
