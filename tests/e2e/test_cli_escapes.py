"""What peers have a say in reaches the terminal escaped: no line is forged, no cursor moved."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evsockets.cli.table import print_table
from evsockets.text import one_line, printable, shorten
from support.command import HANGS, environment, run_command, serving
from support.machine import comes_true

#: The name of a client, in Linux' abstract namespace: any bytes at all.
NASTY = b"\0\x1b]0;owned\x07\x1b[2J\xff\x80'\n@other 'GET /forged' 200\r\x85\xe2\x80\xa8[bold]%d"


@contextmanager
def nasty_client(server: str, number: int = 0) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(NASTY % number + str(os.getpid()).encode())
        sock.settimeout(20)
        sock.connect(server)
        yield sock


def is_clean(errors: str) -> bool:
    return all(line.isprintable() for line in errors.splitlines()) and "\r" not in errors


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "page.txt").write_text("0123456789")
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(64 << 20)
    return tmp_path


def test_the_log_of_serve_has_a_line_a_request_and_a_line_an_error(site: Path) -> None:
    path = str(site / "web.sock")
    options = ["--address", f"unix://{path}", "--log", "--drain", "0"]
    with serving("serve", str(site), *options) as running:
        before = running.descriptors()
        with nasty_client(path, 1) as sock:
            sock.sendall(b"GET /page.txt?\x1b HTTP/1.0\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
        with nasty_client(path, 2) as sock:
            sock.sendall(b"GET /page.txt?\x9b2J HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        with nasty_client(path, 3) as sock:
            sock.sendall(b"GET /big.bin HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        comes_true(lambda: running.descriptors() <= before, "a client is still there")
        with nasty_client(path, 4) as sock:  # and never reads the rest
            sock.sendall(b"GET /big.bin HTTP/1.0\r\n\r\n")
            assert sock.recv(100)
            status, errors = running.end()
    assert status == 0
    assert is_clean(errors), errors
    *lines, report = errors.splitlines()
    told = re.compile(r'\S+ - - \[[^]]+\] "(?:GET \S+ HTTP/1\.0|-)" (\d+) (\d+|-) "-" "-" \d+\.\d{6}')
    found = [match for line in lines if (match := told.fullmatch(line))]
    assert [match[1] for match in found] == ["400", "200", "200", "200"]
    assert found[1][2] == "10" and 0 < int(found[3][2]) < 64 << 20  # what was sent of it
    assert all(line.startswith("@\\x1b]0;owned\\x07\\x1b[2J") for line in lines)
    assert len(lines) == 5  # one of the answers could not be sent
    assert report.startswith("evsockets: drained: ")
    assert "1 aborted; aborted <AcceptedSocket" in report
    assert "\\x1b[2J" in report


def test_echo_says_what_ended_a_client(tmp_path: Path) -> None:
    path = str(tmp_path / "echo.sock")
    with serving("echo", f"unix://{path}", "--drain", "0") as running:
        before = running.descriptors()
        with nasty_client(path) as sock:
            for _ in range(100):  # what comes back is never read: closing is a reset
                try:
                    sock.settimeout(0.2)
                    sock.sendall(bytes(65536))
                except TimeoutError:
                    break
        comes_true(lambda: running.descriptors() <= before, "the client is still there")
        status, errors = running.end()
    assert status == 0
    assert is_clean(errors), errors
    assert errors.count("\\x1b[2J") == 1
    assert len(errors.splitlines()) == 2


def test_the_bar_of_a_late_answer_names_its_client(tmp_path: Path) -> None:
    path = str(tmp_path / "echo.sock")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "evsockets", "echo", f"unix://{path}", "--delay", "0.3"],
        env=environment(TERM="xterm") | {"COLUMNS": "300"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    try:
        os.close(theirs)
        assert process.stdout is not None
        assert process.stdout.readline()
        with nasty_client(path) as sock:
            sock.sendall(b"late")
            assert sock.recv(10) == b"late"
        process.terminate()
        process.wait(HANGS)
        shown = os.read(ours, 1 << 20).decode()
    finally:
        process.kill() if process.poll() is None else None
        process.communicate()
        os.close(ours)
    assert "\\x1b[2J" in shown
    assert "\x1b]0;owned" not in shown
    assert "\x1b[2J" not in shown
    assert "[bold]" in shown  # words, and no markup


def test_names_that_are_no_text_are_printed_all_the_same(tmp_path: Path) -> None:
    """A terminal's encoding has no place for undecodable bytes: that ends neither a server nor a report."""
    place = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[2J")
    os.mkdir(place)
    with serving("serve", place, "-p", "0") as running:
        assert "\\udcff\\x1b[2J" in running.banner
        assert running.end()[0] == 0
    done = run_command("fetch", f"unix://{place}/none.sock", "--timeline", str(tmp_path / "x.svg"))
    assert done.returncode == 1
    assert done.stderr == ""
    assert is_clean(done.stdout)
    assert done.stdout.count("\\x1b[2J") == 2
    assert "\x1b" not in (tmp_path / "x.svg").read_text()


def test_printable() -> None:
    assert printable("as it is: ä…€ 'x' \\n") == "as it is: ä…€ 'x' \\n"
    assert printable("\x1b\n\x85\u202e\udcff\x00") == r"\x1b\n\x85\u202e\udcff\x00"
    assert one_line("one:\n two\x1b\n\n three") == r"one: two\x1b; three"
    assert printable(printable("\x1b")) == printable("\x1b")
    assert len(shorten(printable("\x1b" * 50), 20)) == 20


def test_tables_have_a_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a", "b"], [["x\ny\x1b[2J", "z\r"]])
    assert capsys.readouterr().out.splitlines()[2:] == [r"x\ny\x1b[2J  z\r"]
