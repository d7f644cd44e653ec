"""The shipped contracts find what is wrong, and say it with the values that show it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BROKEN = """
from evsockets import Frame, FramePicker
from evsockets.testing import EngineContract, LargeStream, PickerContract, ScriptedEngine


class Careless(FramePicker):
    def pick(self, inbox, ended):
        return Frame(inbox.take(len(inbox)))


class TestCareless(PickerContract):
    def make_picker(self):
        return Careless()

    def examples(self):
        return [(b"abc", [b"abc"])]


class Rereading(FramePicker):
    def pick(self, inbox, ended):
        size = inbox.peek(len(inbox)).find(b"\\n") + 1
        return Frame(inbox.take(size)) if size else None


class TestRereading(PickerContract):
    large_size = 8 * 1024 * 1024

    def make_picker(self):
        return Rereading()

    def examples(self):
        return [(b"abc\\n", [b"abc\\n"])]

    def make_large(self, size):
        return LargeStream(Rereading(), bytes(size - 1) + b"\\n")


class TestNothingToProve(PickerContract):
    def make_picker(self):
        return Careless()

    def examples(self):
        return []


class TestNoPicker(PickerContract):
    pass


class TestNoEngine(EngineContract):
    pass


class TestTheClassItself(EngineContract):
    def make_engine(self):
        return ScriptedEngine


class TestNoTime(EngineContract):
    def make_engine(self):
        return ScriptedEngine(look=True)
"""
CHOSEN = "whole_stream or trailing or test_01_level_triggered_for or test_08 or garbage or linear"


def test_broken_ones_fail_and_say_why(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text(BROKEN)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", CHOSEN, "test_broken.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    for words in (
        "a frame carries inbox.remote_address",
        "assert None == ('192.0.2.1', 7)",  # the values, as in a test of one's own
        "examples() gave none",
        "gives make_picker(self)",
        "gives make_engine(self)",
        "not an Engine",
        "8 times the frame took",
    ):
        assert words in done.stdout
    failed = {
        line.split("::")[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))
    }
    assert failed == {
        "TestCareless",
        "TestRereading",
        "TestNothingToProve",
        "TestNoPicker",
        "TestNoEngine",
        "TestTheClassItself",
        "TestNoTime",
    }
