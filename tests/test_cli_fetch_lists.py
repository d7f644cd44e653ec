"""`evsockets fetch` of many, whatever the engine: lists, what is printed, signals, pipes, terminals."""

from __future__ import annotations

import csv
import json
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evsockets.cli import fetch
from support.command import HANGS, environment, run, run_here, run_on_terminal

FETCH = [sys.executable, "-m", "evsockets", "fetch"]


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that can be connected with."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def test_a_list_with_garbage(tmp_path: Path, listening: int, unused_port: int) -> None:
    place = tmp_path / "list"
    lines = [
        "\ufeff# all of them",
        f"tcp://127.0.0.1:{listening},{unused_port}  # two",
        "",
        "\xff\x1b[2Jgarbage",
        "x" * 100_000,
        "tcp://10.0.0.0/0:80",
        f"http://127.0.0.1:{listening}/\r",
    ]
    place.write_bytes(
        "\n".join(lines).encode("latin-1", "xmlcharrefreplace").replace(b"&#65279;", b"\xef\xbb\xbf")
    )
    done = run_here("fetch", "--connect-only", "--json", "--from", str(place))
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["succeeded"], found["failed"]) == (2, 4)
    results = found["results"]
    assert [one["outcome"] for one in results] == [
        "complete", "no connection", "bad address", "bad address", "bad address", "complete",
    ]  # fmt: skip
    for line, one in zip((4, 5, 6), results[2:5], strict=True):
        assert one["error"].startswith(f"{place}, line {line}: ")
        assert (one["start"], one["seconds"], one["attempts"], one["phases"]) == (None, None, 0, [])
    table = run_here("fetch", "--connect-only", "--from", str(place), f"tcp://127.0.0.1:{listening}")
    assert "\x1b" not in table.stdout
    assert "3 complete, 4 failed (3 bad address, 1 no connection), 0 B received" in table.stdout


def test_what_is_printed(listening: int, unused_port: int) -> None:
    both = [f"tcp://127.0.0.1:{listening},{unused_port}", "--connect-only"]
    for only, ok in (("complete", "True"), ("failed", "False")):
        done = run_here("fetch", *both, "--csv", "--only", only)
        (row,) = csv.DictReader(done.stdout.splitlines())
        assert row["ok"] == ok
        assert done.returncode == 1
        assert float(row["seconds"]) >= float(row["connecting"]) > 0
    assert row["error"] == f"tcp://127.0.0.1:{unused_port}: Connection refused (errno 111) while connecting"
    done = run_here("fetch", *both, "--only", "failed")
    assert [line.split()[0] for line in done.stdout.splitlines()[2:3]] == [f"tcp://127.0.0.1:{unused_port}"]
    assert "1 complete, 1 failed" in done.stdout
    done = run_here("fetch", *both, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_long_table_names_what_keeps_nothing(unused_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_MANY", 3)
    refused = f"tcp://127.0.0.1:{unused_port}"
    for options, count, said in (([], 5, 1), (["--json"], 3, 1), ([], 2, 0), (["--jsonl"], 5, 0)):
        assert run_here("fetch", *options, *[refused] * count).stderr.count("--jsonl and --csv") == said
    assert run_here("fetch", "--only", "complete", *[refused] * 5).stderr == ""


def test_an_opening_is_tried_again(unused_port: int) -> None:
    arguments = ["--retries", "2", "--backoff", "0.01", "--jsonl", f"tcp://127.0.0.1:{unused_port}"]
    assert json.loads(run_here("fetch", *arguments).stdout)["attempts"] == 3


def test_standard_input_is_what_is_sent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(HANGS)
        with subprocess.Popen(
            [*FETCH, "--send", "-", "--quiet", f"udp://127.0.0.1:{peer.getsockname()[1]}"],
            env=environment(), stdin=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            process.stdin.write(b"\\r as it is\n")
            process.stdin.close()
            data, address = peer.recvfrom(100)
            peer.sendto(b"", address)
            assert (data, process.wait(HANGS)) == (b"\\r as it is\n", 0)


def test_a_signal_while_it_waits_for_a_list(unused_port: int) -> None:
    with subprocess.Popen(
        [*FETCH, "--jsonl", "--from", "-", f"tcp://127.0.0.1:{unused_port}"], env=environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["outcome"] == "no connection"
        process.terminate()
        assert process.communicate(timeout=HANGS) == ("", "")
    assert process.returncode == 128 + signal.SIGTERM


def test_a_reader_that_has_gone_ends_an_endless_list(unused_port: int) -> None:
    command = f"yes tcp://127.0.0.1:{unused_port} | {' '.join(FETCH)} --from - --jsonl | head -n 1"
    done = run("bash", "-c", f"{command}; exit ${{PIPESTATUS[1]}}")
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    assert json.loads(done.stdout)["outcome"] == "no connection"


def test_a_full_disk_ends_an_endless_list(unused_port: int) -> None:
    command = f"yes tcp://127.0.0.1:{unused_port} | {' '.join(FETCH)} --from - --csv >/dev/full"
    done = run("bash", "-c", f"{command}; exit ${{PIPESTATUS[1]}}")
    assert done.returncode == 1
    assert done.stderr.startswith("evsockets: cannot write to standard output: No space left on device; ")
    assert done.stderr.count("\n") == 1


def test_there_are_fewer_descriptors_than_targets(listening: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 64:
        pytest.skip(f"this machine allows {hard} descriptors")
    command = (
        f"ulimit -n 64; exec {' '.join(FETCH)} --connect-only --quiet {f'tcp://127.0.0.1:{listening} ' * 100}"
    )
    assert run("sh", "-c", command).returncode == 0


def test_a_terminal_of_unknown_size_and_colours(unused_port: int) -> None:
    command = [*FETCH, "--connect-only", "--no-progress", f"tcp://127.0.0.1:{unused_port}-{unused_port}"]
    status, shown = run_on_terminal(*command, columns=0)
    assert status == 1
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert max(map(len, plain.split("\r\n"))) <= 80
    assert "…" not in plain
    assert {"address", "outcome", "sent", "received", "time", "connecting"} <= set(plain.split())
    assert "\x1b[31m" in shown


def test_completion_in_bash(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(run_here("completion", "bash").stdout)
    (tmp_path / "hosts.txt").touch()
    code = f"""
        cd {tmp_path}; source {script}
        complete() {{
            COMP_WORDS=(evsockets "$@"); COMP_CWORD=$#; _shtab_evsockets; echo "${{COMPREPLY[@]}}"
        }}
        complete fe; complete fetch --js; complete fetch --only ''; complete fetch --from ho
    """
    done = run("bash", "-c", code)
    assert done.stdout.splitlines() == ["fetch", "--json --jsonl", "complete failed", "hosts.txt"]
    assert done.stderr == ""
    for shell in ("zsh", "fish"):
        assert "evsockets" in run_here("completion", shell).stdout
