"""`evsockets serve` against slowhttptest: slow heads, slow bodies and slow readers, all at once."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from support.command import HANGS, program
from support.machine import comes_true
from support.servers import need

#: The command line, which measures an answer's speed over a second in place of 30, and demands more than this
#: program takes: what its kernel holds has to be read before it sees the reset.
SERVE = """
import sys
from evsockets.cli import file_service, main
file_service._CLIENT_LIMITS.update(min_send_speed=8192.0, min_send_speed_duration=1.0)
sys.exit(main())
"""
CLIENTS = 30
#: Who breaks off none of these in half a minute has not closed them.
COMMON = ["-c", str(CLIENTS), "-r", "300", "-i", "1", "-l", "30", "-p", "20"]
KINDS = [
    ["-H", "-u", "page.txt"],
    ["-B", "-u", "page.txt"],
    ["-X", "-u", "big.bin", "-w", "10", "-y", "20", "-n", "1", "-z", "1024"],
]


def test_slow_clients_are_closed_and_others_served(engine: str, tmp_path: Path) -> None:
    tool = need("slowhttptest")
    (tmp_path / "page.txt").write_text("0123456789")
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(64 << 20)
    options = ["-p", "0", "--engine", engine, "--request-timeout", "1", "--idle-timeout", "1", "--log"]
    with (
        program(sys.executable, "-c", SERVE, "serve", str(tmp_path), *options) as server,
        ExitStack() as stack,
    ):
        before = server.descriptors()
        attacks = [
            stack.enter_context(
                subprocess.Popen(
                    [tool, *COMMON, kind, url, f"http://127.0.0.1:{server.port}/{name}", *more],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for kind, url, name, *more in KINDS
        ]
        most, served = 0, 0
        while any(attack.poll() is None for attack in attacks):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
                sock.settimeout(20)
                sock.sendall(b"GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n")
                assert sock.recv(65536).endswith(b"0123456789")
            served += 1
            most = max(most, server.descriptors())
            time.sleep(0.02)
        for attack in attacks:
            said = re.sub(r"\x1b\[[\d;]*m", "", attack.communicate(timeout=HANGS)[0])
            assert "No open connections left" in said, said
            assert "service available:   YES" in said, said
        assert most > before + CLIENTS // 2  # they were there together
        assert served > 10
        comes_true(lambda: server.descriptors() <= before, "descriptors are still open")
        status, errors = server.end()
    assert status == 0
    assert "Traceback" not in errors
    # Each, but for those with which the program looks in: by whichever limit its next bytes leave time for.
    assert len(re.findall(r'"-" 408 |is under the minimum of 16 while', errors)) > CLIENTS // 2
    assert errors.count("is under the minimum of 8192 while writing") > CLIENTS // 2
