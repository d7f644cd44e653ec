"""The server of the container example: what the Dockerfile copies and starts, run without a container."""

from __future__ import annotations

import json
import re
import socket
import sys

from support.command import HANGS, ROOT, program

FOLDER = ROOT / "docs" / "examples" / "docker"


def test_what_is_started_serves_until_it_is_stopped() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (docs\S+) (\S+)$", text, re.MULTILINE)
    (command,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    _, script, address = json.loads(command)
    assert [place for _, place in copied] == [script]
    here = str(ROOT / copied[0][0])
    with program(sys.executable, here, address.replace("0.0.0.0:7000", "127.0.0.1:0"), "2") as running:
        with socket.create_connection(("127.0.0.1", running.port), HANGS) as client:
            client.sendall(b"hello\n")
            assert client.makefile("rb").readline() == b"olleh\n"
        code, errors = running.end()
    assert (code, errors) == (0, "")
