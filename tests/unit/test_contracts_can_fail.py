"""The shipped contracts find what is wrong, and say it with the values that show it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from support.command import run

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
    def make_picker(self):
        return Rereading()

    def examples(self):
        return [(b"abc\\n", [b"abc\\n"])]

    def make_large(self, size):
        return LargeStream(Rereading(), bytes(size - 1) + b"\\n")


class Spelling(FramePicker):
    def pick(self, inbox, ended):
        for number, byte in enumerate(inbox.peek(len(inbox)), 1):
            if byte == 10:
                return Frame(inbox.take(number))


class TestSpelling(TestRereading):
    def make_picker(self):
        return Spelling()

    def make_large(self, size):
        return LargeStream(Spelling(), bytes(size - 1) + b"\\n")


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


def failing(folder: Path, tests: str, chosen: str) -> tuple[str, set[str]]:
    """What pytest says of these tests, which fail, and which they are."""
    (folder / "test_broken.py").write_text(tests)
    done = run(
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", chosen, "test_broken.py", cwd=folder
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.stdout, {line.partition("::")[2] for line in lines}


def test_broken_ones_fail_and_say_why(tmp_path: Path) -> None:
    said, failed = failing(tmp_path, BROKEN, CHOSEN)
    for words in (
        "a frame carries inbox.remote_address",
        "assert None == ('192.0.2.1', 7)",  # the values, as in a test of one's own
        "examples() gave none",
        "gives make_picker(self)",
        "gives make_engine(self)",
        "not an Engine",
        "8 times the frame took",
    ):
        assert words in said
    assert {one.partition("::")[0] for one in failed} == {
        "TestCareless", "TestRereading", "TestSpelling", "TestNothingToProve", "TestNoPicker", "TestNoEngine",
        "TestTheClassItself", "TestNoTime",
    }  # fmt: skip


BROKEN_ENGINES = """
from evsockets.engines import SelectorsEngine, WatchError
from evsockets.testing import EngineContract


class Silent(SelectorsEngine):
    def watch(self, fd, interest, token):
        try:
            super().watch(fd, interest, token)
        except OSError:
            pass


class Late(SelectorsEngine):
    def __init__(self):
        super().__init__()
        self.refused = None

    def watch(self, fd, interest, token):
        try:
            super().watch(fd, interest, token)
        except OSError as error:
            self.refused = error

    def poll(self, timeout):
        batch = super().poll(timeout)  # as libev does: it waits first
        if self.refused:
            error, self.refused = self.refused, None
            raise WatchError(error.errno, error.strerror, [])
        return batch


class Keeping(SelectorsEngine):
    def __init__(self):
        super().__init__()
        self.kept = []

    def watch(self, fd, interest, token):
        self.kept.append(token)
        super().watch(fd, interest, token)


class Deaf(SelectorsEngine):
    def poll(self, timeout):
        try:
            return super().poll(timeout)
        except OSError:
            return []


class TestSilent(EngineContract):
    make_engine = staticmethod(Silent)


class TestLate(EngineContract):
    make_engine = staticmethod(Late)


class TestKeeping(EngineContract):
    make_engine = staticmethod(Keeping)


class TestDeaf(EngineContract):
    make_engine = staticmethod(Deaf)
"""


def test_each_late_promise_has_an_engine_that_breaks_it(tmp_path: Path) -> None:
    """And keeps the others: no promise's test fails for another one's sake."""
    chosen = "test_16 and False-1-28 or test_17 or test_18"
    _, failed = failing(tmp_path, BROKEN_ENGINES, chosen)
    assert {re.match(r"\w+::test_\d\d", one)[0] for one in failed} == {  # type: ignore[index]
        "TestSilent::test_16", "TestLate::test_16", "TestKeeping::test_17", "TestDeaf::test_18",
    }  # fmt: skip
