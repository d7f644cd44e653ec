"""What users of other programs write, and what the command line tells them to write instead."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from evsockets.cli import build_parser, habits
from evsockets.cli.habits import command_for, instead
from support.command import ROOT, run_here
from support.optional import library

_REPLACED = re.compile(r"--[a-z][\w-]*")


@pytest.mark.parametrize(
    ("command", "programs", "least"), [("fetch", "curl|nmap", 35), ("serve", "http.server|uvicorn|caddy", 15)]
)
def test_each_option_that_the_page_names_is_known(command: str, programs: str, least: int) -> None:
    page = (ROOT / "docs" / "howto" / "command-line.md").read_text()
    rows = re.findall(rf"^\| (`(?:{programs}).*?) \|", page, re.MULTILINE)
    options = re.findall(r"(?<=[` ])--?[A-Za-z][\w.-]*-?", " ".join(rows))
    assert len(options) > least
    for option in options:
        assert instead(option, command), option


@pytest.mark.parametrize("command", ["fetch", "serve"])
def test_what_is_told_to_write_can_be_written(command: str) -> None:
    """The options that are named exist, and none of those that exist is explained away."""
    own = set(build_parser().parse_args([command]).parser._option_string_actions)
    for option, told in habits._INSTEAD[command].items():
        assert option not in own
        assert own.issuperset(_REPLACED.findall(told)), told


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("-s", "--data --quiet"),
        ("-sSL", "--data --quiet, --location"),
        ("-fsSL", "--fail, --data --quiet, --location"),
        ("-p22,80", "ports in the address, as in tcp://host:22,80"),
        ("-Pn", "nothing: nobody is pinged"),
        ("-sV", r"--until '\n' --io-timeout 3 --data, which shows what servers say first"),
        ("-oJ", "--json"),
        ("-T4", "--limit and --connection-timeout"),
        ("-Z", "nothing: all are asked at once"),
        ("-4", habits._FAMILY),
        ("--ipv6", habits._FAMILY),
        ("--tlsv1.2", "tlsv1.2://host:443 --http /path"),
        ("-kq", None),
        ("--steam", None),
        ("-", None),
        ("host", None),
        ("[::1]:80", None),
    ],
)
def test_what_to_do_about_an_option(word: str, said: str | None) -> None:
    assert instead(word) == (said and f"instead of {word} write {said}")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("8001", "--port 8001"),
        (":8001", "--port 8001"),
        ("0.0.0.0:80", "--address tcp://0.0.0.0:80"),
        ("-b127.0.0.1", "--address tcp://HOST:PORT"),
        ("-w4", "--workers"),
        ("--tls-cert", "--certificate chain.pem --key key.pem"),
        ("-k", None),
        ("www", None),
    ],
)
def test_what_to_write_to_serve(word: str, said: str | None) -> None:
    assert instead(word, "serve") == (said and f"instead of {word} write {said}")


def test_other_commands_have_no_habits() -> None:
    assert instead("-k", "echo") is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("fetch --data {'a':1} tcp://a:1", "--data and --json take no value, they print what came"),
        ("fetch tcp://a:1 --json {}", "--data and --json take no value"),
        ("fetch tcp://a:1 --data a=b", "--data and --json take no value"),
        (
            "fetch tcp://a:1 -d a=b",
            "unknown: -d a=b; instead of -d write a program with",
        ),
        ("fetch --max-redirs 3 tcp://a:1", "--location follows 10 redirects at most"),
        ("fetch --limit-rate 1k tcp://a:1", "bytes come as fast as they can"),
        ("fetch --noproxy=* tcp://a:1", "without --proxy there is none"),
        ("fetch --http2 tcp://a:1", "HTTP/1.1 is spoken"),
        (
            "fetch --timeout 3 tcp://a:1",
            "write --request-timeout (a whole request), --connection-timeout",
        ),
        ("fetch --onli failed tcp://a:1", "did you mean --only?"),
        ("serve www 8001", "unknown: 8001; instead of 8001 write --port 8001"),
        ("serve 8001", "'8001' is no directory; instead of 8001 write --port 8001"),
        ("serve no-such", "'no-such' is no directory; name one"),
        ("serve --bind 0.0.0.0", "instead of --bind write --address tcp://HOST:PORT"),
        ("serve -d www", "evsockets serve DIRECTORY"),
        ("serve --gzip", "left to a proxy in front"),
        ("serve --log www", "write what is no value of --log before it"),
        ("serve --log jsn", "did you mean json?"),
        ("serve --ports 1", "did you mean --port?"),
        ("serve --address 127.0.0.1:8000", "has no scheme: write tcp://127.0.0.1:8000 "),
        ("serve --address 0.0.0.0:80 --certificate c", "write tls://0.0.0.0:80 "),
        ("serve --address 8001", "write tcp://127.0.0.1:8001 "),
        ("serve --address :8001", "write tcp://127.0.0.1:8001 "),
        ("serve --address localhost/", "write tcp://localhost:8000 "),
        ("serve --address ::1", "write tcp://[::1]:8000 "),
        ("serve --address [::1]:80", "write tcp://[::1]:80 "),
        ("serve --address /run/www", "write unix:///run/www "),
        ("serve --address unix:/run/www", "has no '://' behind 'unix'"),
        ("serve --address https://127.0.0.1:1", "tls://127.0.0.1:1 needs --certificate FILE"),
        ("serve --cors https://a.b/", "an origin has no slash at its end: give https://a.b "),
        ("serve --cors https://a.b/c", "is no origin"),
        ("http://host/", "did you mean fetch?"),
        ("get http://host/", "did you mean fetch?"),
        ("scan", "did you mean fetch?"),
        ("http.server", "did you mean serve?"),
        ("ecko", "did you mean echo?"),
    ],
)
def test_the_command_says_so(
    arguments: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library("httptools")
    monkeypatch.chdir(tmp_path)
    done = run_here(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert says in f"{done.stderr.rstrip()} "
    assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_listened_on_is_not_proposed() -> None:
    library("httptools")
    for address in ("ftp://host:1", "127.0.0.1:8000"):
        done = run_here("serve", os.curdir, "--address", address)
        assert done.returncode == 2
        assert "udp" not in done.stderr and "udg" not in done.stderr


def test_an_unknown_command_without_a_likeness() -> None:
    assert command_for("frobnicate") is None
    assert "did you mean" not in run_here("frobnicate").stderr
