"""`evsockets fetch`, `engines` and the command line itself, each in a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evsockets import __version__, _build
from support.certificates import Authority
from support.command import HANGS, environment, run, run_command, run_here, serving
from support.optional import library
from support.servers import Nginx

ANSWER = b"HTTP/1.0 200 OK\r\n\r\n<html>\xff" + b"x" * 5000 + b"</html>"


@pytest.fixture
def peer() -> Iterator[Callable[[bytes], str]]:
    """`peer(answer)`: the address of a plain server that reads once, answers, and closes."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def answering(listener: socket.socket, answer: bytes) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                if client.recv(65536):
                    client.sendall(answer)

    def start(answer: bytes = ANSWER) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        thread = threading.Thread(target=answering, args=(listener, answer))
        thread.start()
        threads.append(thread)
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def document(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = run_command("fetch", "--json", *arguments)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_many_at_once_all_complete(engine: str, peer: Callable[..., str]) -> None:
    address = peer()
    done = run_command("fetch", "--engine", engine, "--send", r"GET /\r\n\r\n", *[address] * 20)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("complete") == 21
    assert f"on engine {engine}" in done.stdout


def test_one_failure_makes_the_exit_status(peer: Callable[..., str], unused_port: int) -> None:
    refused = f"tcp://127.0.0.1:{unused_port}"
    status, found = document("--http", "/", peer(), refused)
    assert status == 1
    good, bad = found["results"]
    assert (good["ok"], good["outcome"], good["bytes_received"]) == (True, "complete", len(ANSWER))
    assert (bad["ok"], bad["outcome"]) == (False, "no connection")
    assert refused in bad["error"]
    assert (found["succeeded"], found["failed"]) == (1, 1)


def test_phases_follow_each_other_on_one_axis(peer: Callable[..., str]) -> None:
    _, found = document("--send", "x", peer().replace("127.0.0.1", "localhost"))
    phases = found["results"][0]["phases"]
    names = [phase["phase"] for phase in phases]
    assert names[0] == "resolving"
    assert names[-1] == "reading"
    for before, after in itertools.pairwise(phases):
        assert before["start"] <= before["end"] == after["start"]
    assert phases[-1]["end"] <= found["seconds"]


def test_data_goes_to_standard_output_and_the_table_to_standard_error(peer: Callable[..., str]) -> None:
    done = run_command("fetch", "--data", "--send", "x", peer(b"first\n"), peer(b"second\n"))
    assert done.stdout == "first\nsecond\n"
    assert "2 complete" in done.stderr


def test_data_in_json_keeps_what_is_no_text(peer: Callable[..., str]) -> None:
    _, found = document("--data", "--send", "x", peer(b"\xff\xc3\xa9"))
    assert found["results"][0]["data"] == "\\xff\xe9"


@pytest.mark.parametrize(
    ("option", "value", "kept"), [("--until", "</html>", len(ANSWER)), ("--length", "19", 19)]
)
def test_reads_a_frame(peer: Callable[..., str], option: str, value: str, kept: int) -> None:
    status, found = document("--data", "--send", "x", option, value, peer())
    assert status == 0
    assert found["results"][0]["data"] == ANSWER[:kept].decode("utf-8", "backslashreplace")


def test_an_answer_that_ends_too_early_fails(peer: Callable[..., str]) -> None:
    status, found = document("--send", "x", "--length", "99", peer(b"short"))
    assert status == 1
    assert found["results"][0]["outcome"] == "bad answer"


def test_what_arrived_of_an_incomplete_answer_is_shown(engine: str, peer: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        waiting = f"tcp://127.0.0.1:{listener.getsockname()[1]}"

        def begin() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(b"no newline")
                while client.recv(100):
                    pass

        thread = threading.Thread(target=begin)
        thread.start()
        options = ["--engine", engine, "--data", "--send", "x", "--until", "\\n"]
        found = [
            document(*options, "--io-timeout", "1.5", waiting)[1]["results"][0],
            document(*options, peer(b"partial"))[1]["results"][0],
        ]
        thread.join(HANGS)
    assert [(one["outcome"], one["data"]) for one in found] == [
        ("timed out (reading)", "no newline"), ("bad answer", "partial"),
    ]  # fmt: skip


def test_who_only_connects_reads_nothing(engine: str, silent: str) -> None:
    status, found = document("--engine", engine, "--connect-only", silent)
    assert (status, [phase["phase"] for phase in found["results"][0]["phases"]]) == (0, ["connecting"])


def test_the_errors_of_a_url_name_it_once(engine: str, unused_port: int) -> None:
    library("httptools")
    ports = f"{unused_port},{unused_port}"
    done = run_command("fetch", "--engine", engine, f"http://127.0.0.1:{ports}/x")
    url = f"http://127.0.0.1:{unused_port}/x"
    assert done.stdout.count("tcp://") == 0
    assert done.stdout.count(f"\n  {url}: Connection refused") == 2
    assert done.stdout.count(f"\n{url} ") == 2


def test_a_list_without_an_address_is_said() -> None:
    done = run_here("fetch", "--from", os.devnull)
    assert done.returncode == 0
    assert "nobody was asked" in done.stderr
    assert "engine" not in done.stdout


def test_names_beyond_the_locale(engine: str, unused_port: int) -> None:
    # tox sets the last one.
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    done = run_command("fetch", "--engine", engine, "tcp://b\xfccher.invalid:0", **plain)
    assert "port 0" in done.stderr
    code = f"echo 'tcp://127.0.0.1:{unused_port} \xfc' | {sys.executable} -m evsockets fetch --from -"
    done = run("sh", "-c", code, **plain)
    assert done.returncode == 1
    assert "\\xfc" in done.stdout


def test_time_outs(silent: str) -> None:
    status, found = document("--send", "x", "--io-timeout", "0.2", silent, silent)
    assert status == 1
    assert {result["outcome"] for result in found["results"]} == {"timed out (reading)"}
    assert found["seconds"] >= 0.2
    status, found = document("--request-timeout", "0.1", silent)
    assert "request time-out 0.1 s" in found["results"][0]["error"]
    proxy = silent.replace("tcp", "socks5")
    _, found = document("--connection-timeout", "0.2", "--proxy", proxy, "tcp://192.0.2.1:1")
    (result,) = found["results"]
    asked = f"timed out while waiting for the proxy {proxy} to answer the greeting"
    assert result["error"] == f"{asked}, connection time-out 0.2 s"
    assert result["outcome"] == "timed out (connecting)"


def test_limit_is_kept(peer: Callable[..., str]) -> None:
    status, found = document("--limit", "1", "--send", "x", *[peer()] * 5)
    assert status == 0
    spans = sorted((one["start"], one["start"] + one["seconds"]) for one in found["results"])
    for before, after in itertools.pairwise(spans):
        assert before[1] <= after[0] + 1e-6


def test_udp_asks_and_hears_one_datagram() -> None:
    with serving("echo", "udp://127.0.0.1:0") as echo:
        status, found = document("--data", "--send", r"ask\x21", echo.url)
    assert status == 0
    assert found["results"][0]["data"] == "ask!"


def test_tls_trusts_the_given_authority_only(ca: Authority) -> None:
    with serving("echo", "tls://127.0.0.1:0", *ca.server.options) as echo:
        status, found = document("--ca", ca.ca_file, "--send", "hello", "--length", "5", echo.url)
        assert status == 0
        assert found["results"][0]["tls"]["version"] == "TLSv1.3"
        status, found = document("--send", "hello", "--length", "5", echo.url)
        assert status == 1
        assert found["results"][0]["outcome"] == "TLS failed"


def test_each_handshake_is_timed_from_its_own_beginning(ca: Authority) -> None:
    """Not from the end of the turn in which all of them began."""
    with serving("echo", "tls://127.0.0.1:0", *ca.server.options) as echo:
        _, found = document("--ca", ca.ca_file, "--send", "hello", "--length", "5", *[echo.url] * 20)
    starts = [
        phase["start"]
        for result in found["results"]
        for phase in result["phases"]
        if phase["phase"] == "handshaking"
    ]
    assert len(set(starts)) == 20
    assert starts == sorted(starts)


def test_pages_from_nginx_over_tcp_and_tls(engine: str, nginx: Nginx, ca: Authority) -> None:
    plain, encrypted = f"tcp://localhost:{nginx.http}", f"tls://localhost:{nginx.https}"
    options = ["--engine", engine, "--ca", ca.ca_file, "--data", "--http", "/", "--limit", "20"]
    status, found = document(*options, *[plain, encrypted] * 30)
    assert status == 0, found
    assert {result["data"].endswith(nginx.page.decode()) for result in found["results"]} == {True}
    status, found = document(*options, plain, "tls://localhost:1", encrypted)
    assert status == 1
    assert [result["ok"] for result in found["results"]] == [True, False, True]


def test_timeline_is_a_picture(tmp_path: Path, peer: Callable[..., str], unused_port: int) -> None:
    picture = tmp_path / "timeline.svg"
    odd = 'unix:///no/such/<&">'
    done = run_command(
        "fetch", "--timeline", str(picture), "--send", "x", peer(), f"tcp://127.0.0.1:{unused_port}", odd
    )
    assert done.returncode == 1
    tree = xml.etree.ElementTree.parse(picture)
    texts = " ".join(tree.getroot().itertext())
    assert odd in texts
    assert "waiting for the first byte" in texts
    assert "3 sockets in" in texts and "1 of 3" in texts


def test_timeline_is_a_trace(tmp_path: Path, peer: Callable[..., str]) -> None:
    trace = tmp_path / "timeline.JSON"
    done = run_command("fetch", "--timeline", str(trace), "--send", "x", peer())
    assert done.returncode == 0, done.stderr
    names = [event["name"] for event in json.loads(trace.read_text())["traceEvents"]]
    assert {"thread_name", "connecting", "receiving", "complete"} <= set(names)


@pytest.mark.parametrize("path", ["/no/such/place.svg", "picture.png"])
def test_timeline_that_cannot_be_written_is_said_before_the_run(silent: str, path: str) -> None:
    done = run_here("fetch", "--timeline", path, silent)
    assert done.returncode == 2
    assert path in done.stderr


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["localhost:80"], "://"),
        (["gopher://localhost:70"], "tcp"),
        (["tcp://localhost:99999"], "99999"),
        (["--engine", "steam", "tcp://localhost:1"], "usable here: "),
        (["--ca", "/no/such.pem", "tcp://localhost:1"], "/no/such.pem"),
        (["--ca", "/etc/hostname", "tcp://localhost:1"], "PEM"),
        (["http://me@localhost"], "--header"),
        (["tcp://127.0.0.0/8:80"], "--max-targets 16777216"),
        (["--from", "/no/such/list"], "/no/such/list"),
        (["--from", "/tmp"], "directory"),
        (["--from", "-", "--send", "-"], "twice"),
        (["-k", "https://localhost"], "instead of -k write --insecure"),
        (
            ["-sSL", "--head", "https://localhost"],
            "-sSL write --data --quiet, --location; instead of --head write --jsonl",
        ),
        (["--header", "A: b", "tcp://localhost:1"], "--header is for HTTP"),
        (["--location", "--send", "x", "http://localhost"], "without --send"),
        (["--fail", "tcp://localhost:1"], "--http PATH"),
        (["--certificates", "http://localhost"], "https://"),
        (["--server-name", "x", "tcp://localhost:1"], "--starttls"),
        (["--insecure", "tcp://localhost:1"], "--insecure is for TLS"),
        (["--starttls", "smtp", "tls://localhost:1"], "--starttls needs tcp://"),
        (["--starttls", "smtp", "https://localhost"], "instead of https://localhost"),
        (["udp://localhost:1"], "needs --send TEXT"),
        (["--connect", "1", "tcp://localhost"], "did you mean --connect-only?"),
        (["-p", "22,80", "tcp://localhost"], "tcp://host:22,80"),
        (["--starttls", "gopher", "tcp://localhost:1"], "smtp"),
        (["--header", "none", "http://localhost"], "Accept: text/html"),
        (["--http", "/", "--length", "1", "tcp://localhost:1"], "leave them out"),
        (["--insecure", "--ca", "x", "tcp://localhost:1"], "one of them"),
        (["--proxy", "ftp://a:b", "tcp://localhost:1"], "socks5://host:port"),
        (["--server-name", "", "tls://localhost:1"], "--server-name"),
        (["tcp://localhost:80/a"], "write tcp://localhost:80 --http /a"),
        (["http://localhost:99999/"], "99999"),
        (["tcp://localhost/a"], "host:port"),
        (["fd://0"], "servers only"),
        ([], "ADDRESS"),
        (["--limit", "0", "tcp://localhost:1"], "whole number"),
        (["--io-timeout", "-1", "tcp://localhost:1"], "seconds"),
        (["--io-timeout", "nan", "tcp://localhost:1"], "seconds"),
        (["--send", r"\q", "tcp://localhost:1"], "escape"),
        (["--until", "a", "--length", "1", "tcp://localhost:1"], "not allowed"),
        (["--until", "", "tcp://localhost:1"], "--until"),
        (["--http", "/a b", "tcp://localhost:1"], "percent-encoded"),
        (["--http", "/a\r\nX: y", "tcp://localhost:1"], "percent-encoded"),
        (["--timeouts", "1", "tcp://localhost:1"], "did you mean --io-timeout?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_cure(arguments: list[str], cure: str) -> None:
    done = run_here("fetch", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert cure in done.stderr
    assert done.stderr.startswith(("evsockets: ", "evsockets fetch: "))
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["fetsh"], "did you mean fetch?"),
        (["--verbose"], "unknown: --verbose"),
        (["--verison"], "did you mean --version?"),
        (["fetch", "--wait", "3"], "unknown: --wait (see"),
        (["echo"], "ADDRESS"),
        (["echo", "tcp://127.0.0.1:0", "--delay", "none"], "seconds"),
        (["serve", ".", "--port", "65536"], "no port"),
        (["serve", ".", "--limits", "1"], "did you mean --limit?"),
        (["engines", "libev"], "libev"),
    ],
)
def test_usage_errors_take_one_line(arguments: list[str], says: str) -> None:
    done = run_here(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "--help" in done.stderr
    assert done.stderr.count("\n") == 1


def test_version() -> None:
    assert (
        run_here("-V").stdout
        == run_command("--version").stdout
        == f"evsockets {__version__} ({_build.describe()})\n"
    )


def test_more_connections_than_the_soft_limit_of_descriptors(peer: Callable[..., str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 400:
        pytest.skip(f"this machine allows {hard} descriptors")
    command = f"ulimit -Sn 64; exec {sys.executable} -m evsockets fetch --send x {f'{peer()} ' * 100}"
    done = run("sh", "-c", command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_full_disk_is_said_in_one_line(peer: Callable[..., str]) -> None:
    for arguments in (
        ["engines"],
        ["fetch", "--send", "x", peer()],
        ["fetch", "--json", "--send", "x", peer()],
        ["serve", "/tmp", "-p", "0"],
    ):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "evsockets", *arguments], env=environment(),
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=HANGS, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == (
            "evsockets: cannot write to standard output: No space left on device; "
            "make room, or redirect the output\n"
        )


def test_standard_input_and_errors_that_are_closed_or_full() -> None:
    fetch = f"{sys.executable} -m evsockets fetch"
    closed = run("sh", "-c", f"{fetch} --send - tcp://127.0.0.1:1 <&-")
    assert closed.returncode == 2
    assert closed.stderr.startswith("evsockets: --send -: standard input is closed")
    full = run("sh", "-c", f"{fetch} tcp://127.0.0.1:99999 2>/dev/full")
    assert full.returncode == 2  # and not what the interpreter says of its own standard error


def test_output_that_nobody_wants(peer: Callable[..., str]) -> None:
    fetch = f"{sys.executable} -m evsockets fetch --send x {peer()}"
    closed = run("sh", "-c", f"{fetch} >&-")
    assert (closed.returncode, closed.stderr) == (0, "")
    # What is written after the reader has gone: a page far beyond a pipe's room.
    pages = f"{peer()} " * 1000
    headed = run("bash", "-c", f"{fetch} {pages} | head -n 1; exit ${{PIPESTATUS[0]}}")
    assert headed.stdout.startswith("address")
    assert (headed.returncode, headed.stderr) == (128 + signal.SIGPIPE, "")


def test_a_name_that_is_unknown_was_only_resolved(tmp_path: Path) -> None:
    # The system's resolver, kept from asking a name server: nothing leaves this machine.
    (tmp_path / "sitecustomize.py").write_text(
        "import functools, socket\n"
        "socket.getaddrinfo = functools.partial(socket.getaddrinfo, flags=socket.AI_NUMERICHOST)\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), environment()["PYTHONPATH"]]))
    done = run_command("fetch", "--json", "tcp://no.such.name.invalid:80", PYTHONPATH=path)
    assert done.returncode != 0
    found = json.loads(done.stdout)
    assert [phase["phase"] for phase in found["results"][0]["phases"]] == ["resolving"]


def test_engines_lists_what_is_usable(engine: str) -> None:
    done = run_command("engines", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["engines"]}
    assert found[engine]["usable"]
    assert found[engine]["version"]
    assert all(entry["usable"] or entry["problem"] for entry in found.values())
    assert found["selectors"]["usable"]
    assert json.loads(done.stdout)["build"] == {
        "compiled": _build.is_compiled(),
        "why_pure": _build.why_pure(),
    }


def test_engines_names_the_variant_that_the_environment_asks_for() -> None:
    done = run_command("engines", "--json", EVSOCKETS_ENGINE="selectors:select")
    assert json.loads(done.stdout)["default"] == "selectors:select"
    done = run_command("engines", EVSOCKETS_ENGINE="steam")
    assert "(the default here)" not in done.stdout
    assert "EVSOCKETS_ENGINE" in done.stderr
    assert done.stderr.count("\n") == 1


def test_engines_as_a_table_names_the_default() -> None:
    done = run_command("engines")
    assert done.returncode == 0, done.stderr
    assert "selectors:epoll" in done.stdout
    assert done.stdout.count("(the default here)") == 1
    assert done.stdout.endswith(f"\nevsockets {__version__}: {_build.describe()}\n")


@pytest.mark.parametrize("command", ["fetch", "serve", "echo", "engines", "demo", "completion"])
def test_every_command_explains_itself(command: str) -> None:
    done = run_here(command, "--help")
    assert done.returncode == 0
    assert f"evsockets {command}" in done.stdout
    assert done.stdout.count("\n") <= 50
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_fetch_with_its_table(
    engine: str, peer: Callable[..., str], number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "evsockets", "fetch", "--engine", engine, "--send", "x"]
        process = subprocess.Popen(
            [*command, peer(b"y"), silent], env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        listener.settimeout(HANGS)
        client, _ = listener.accept()
        with client:
            client.settimeout(HANGS)
            assert client.recv(10) == b"x"
            process.send_signal(number)
            shown, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + number
    assert errors == ""
    assert "interrupted" in shown
    assert f"on engine {engine}" in shown
