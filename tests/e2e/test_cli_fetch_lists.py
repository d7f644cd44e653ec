"""`evsockets fetch` of many, on every engine: results as they come, progress, certificates."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys

from support.certificates import Authority
from support.command import HANGS, environment, run_here, run_on_terminal
from support.servers import Dovecot

FETCH = [sys.executable, "-m", "evsockets", "fetch"]


def test_results_come_while_the_list_is_still_written(engine: str, unused_port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        subprocess.Popen(
            [*FETCH, "--engine", engine, "--connect-only", "--jsonl", "--from", "-"],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        listening = listener.getsockname()[1]
        for port, ok in ((listening, True), (unused_port, False), (listening, True)):
            process.stdin.write(f"tcp://127.0.0.1:{port}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["ok"] is ok
        process.stdin.close()
        assert process.wait(HANGS) == 1


def test_progress_tells_rate_and_failures(engine: str, unused_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = [f"tcp://127.0.0.1:{unused_port}"] * 20 + [f"tcp://127.0.0.1:{silent.getsockname()[1]}"]
        command = [*FETCH, "--engine", engine, "--io-timeout", "1.3", *addresses]
        status, shown = run_on_terminal(*command, columns=120)
    assert status == 1
    assert "20/21 done, 20 failed (20 no connection), 1 running" in shown
    assert re.search(r"[\d,]+/s, .* left", shown)


def test_certificates_by_starttls(engine: str, dovecot: Dovecot, ca: Authority) -> None:
    arguments = [
        "--engine",
        engine,
        "--certificates",
        "--starttls",
        "imap",
        f"tcp://127.0.0.1:{dovecot.imap}",
    ]
    done = run_here("fetch", "--jsonl", "--ca", ca.ca_file, "--server-name", "localhost", *arguments)
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert found["tls"]["version"] == "TLSv1.3"
    assert "localhost" in found["certificate"]["names"]
    assert found["certificate"]["days_left"] > 0
    assert [phase["phase"] for phase in found["phases"]][:2] == ["connecting", "handshaking"]
    done = run_here("fetch", *arguments)
    assert "TLS failed" in done.stdout
    assert "--ca FILE" in done.stdout
    done = run_here("fetch", "--insecure", *arguments)
    assert done.returncode == 0
    assert found["certificate"]["sha256"] in done.stdout
    assert "days left" in done.stdout
