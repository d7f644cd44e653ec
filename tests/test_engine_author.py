"""A stranger's engine: fifteen lines test it, the plugin picks it and prints its scorecard."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from support.command import run

README = Path(__file__).parent.parent / "backends" / "README.md"
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", README.read_text(), re.DOTALL))
OWN_TEST = """
from evsockets import ClientSocket, EventType, RequestExecutor, WriteOperation, ReadOperation
import socket


def test_of_its_author(engine, executor):
    assert executor.engine.name == engine == "plainpoll"
    left, right = socket.socketpair()
    right.sendall(b"x")
    seen = []
    executor.socket_bag.add_socket(
        ClientSocket.from_socket(left), ReadOperation(), handler={EventType.READ: seen.append})
    executor.execute_request()
    right.close()
    assert [event.frame.data for event in seen] == [b"x"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What the author has: a package with the engine of the README, not installed, and its test file."""
    package = tmp_path / "evsockets_plainpoll"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "engine.py").write_text(EXAMPLES["engine"])
    contract = f"from evsockets_plainpoll.engine import PlainPollEngine\n{EXAMPLES['contract']}"
    assert len(contract.strip().splitlines()) <= 15
    (tmp_path / "test_plainpoll.py").write_text(contract)
    (tmp_path / "test_own.py").write_text(OWN_TEST)
    return tmp_path


def run_pytest(project: Path, *arguments: str) -> tuple[int, str]:
    plugin = ["-p", "no:cacheprovider", "-p", "evsockets.testing.plugin", "--rootdir", project]
    command = [sys.executable, "-m", "pytest", "-q", *plugin, *arguments]
    answer = run(*command, cwd=project, EVSOCKETS_TEST_ENGINES="")
    return answer.returncode, answer.stdout + answer.stderr


def test_fifteen_lines_and_a_scorecard(project: Path) -> None:
    code, output = run_pytest(project, "test_plainpoll.py", "-k", "not more_than_select")
    assert code == 0, output
    card = re.search(
        r"^plainpoll \(TestPlainPoll\)  (\d+) passed, 0 failed, \d skipped$", output, re.MULTILINE
    )
    assert card is not None and int(card[1]) > 70, output


def test_a_flaw_is_found_by_both_suites(project: Path) -> None:
    """An engine that does not tell the kernel what is forgotten."""
    code = EXAMPLES["engine"]
    assert code.count("self._poll.unregister(fd)") == 1
    flawed = code.replace("self._poll.unregister(fd)", "pass")
    (project / "evsockets_plainpoll" / "engine.py").write_text(flawed)
    status, output = run_pytest(project, "test_plainpoll.py", "-k", "05_forgetting or cut_off")
    assert status == 1
    failed = set(re.findall(r"^FAILED \S+::(\w+)", output, re.MULTILINE))
    assert len(failed) == 2, output
    assert re.search(r"^plainpoll \(TestPlainPoll\)  \d+ passed, 2 failed", output, re.MULTILINE)


def test_an_engine_that_is_not_installed_is_picked(project: Path) -> None:
    code, output = run_pytest(
        project, "test_own.py", "--engines", "evsockets_plainpoll.engine:PlainPollEngine"
    )
    assert code == 0, output
    assert "plainpoll  1 passed, 0 failed, 0 skipped" in output


def test_what_is_picked_must_be_there(project: Path) -> None:
    code, output = run_pytest(project, "test_own.py", "--engines", "plainpol")
    assert code == 1 and "engine plainpol must be here and is not" in output
    assert "plainpol  0 passed, 1 failed, 0 skipped" in output
    code, output = run_pytest(project, "test_own.py", "--engines", "evsockets_plainpoll.engine:PollEngine")
    assert code == 4 and "PollEngine cannot be loaded" in output


def test_suites_of_other_engines_are_left_out(project: Path) -> None:
    named = 'class TestNamed(TestPlainPoll):\n    engine_name = "plainpoll:fast"\n'
    with (project / "test_plainpoll.py").open("a") as file:
        file.write(f"\n\n{named}")
    chosen = ("test_plainpoll.py", "--engines")
    _, one = run_pytest(project, *chosen, "plainpoll", "--collect-only")
    _, other = run_pytest(project, *chosen, "selectors", "--collect-only")
    assert "::TestNamed::" in one and "::TestNamed::" not in other
    assert "::TestPlainPoll::" in other, "a suite that names no engine always runs"
