"""The discovery of the examples: whoever of a group answers is found, from wherever it does."""

from __future__ import annotations

import socket
import subprocess
import sys

from support.command import HANGS, ROOT, environment
from support.service import Peers

GROUP = "239.255.255.250"
ANSWER = b"HTTP/1.1 200 OK\r\nST: ssdp:all\r\nLocation: http://127.0.0.1/%s\r\nSERVER:%s\r\n\r\n"


def test_devices_are_found(engine: str) -> None:
    with Peers() as peers:
        devices, port = [peers.datagram(None) for _ in range(2)], 0
        for device in devices:
            device.settimeout(HANGS)
            device.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            device.bind((GROUP, port))
            port = device.getsockname()[1]
            joined = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
            device.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        command = [sys.executable, str(ROOT / "docs" / "examples" / "discover.py")]
        with subprocess.Popen(
            [*command, f"udp://{GROUP}:{port}", "127.0.0.1"],
            env=environment(EVSOCKETS_ENGINE=engine),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                for number, device in enumerate(devices):
                    question, asker = device.recvfrom(1000)
                    assert question.startswith(f"M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}:{port}\r\n".encode())
                    speaker, _ = peers.datagram_server()
                    for data in (b"", b"\0\xff\r\n:", ANSWER % (b"%d.xml" % number, b" test\x1b[2J")):
                        speaker.sendto(data, asker)
                    speaker.sendto(ANSWER % (b"%d.xml" % number, b"again"), asker)
                output, errors = process.communicate(timeout=HANGS)
            finally:
                process.kill()
    assert (process.returncode, errors) == (0, "")
    *lines, last = output.splitlines()
    assert sorted(lines) == [f"127.0.0.1 http://127.0.0.1/{number}.xml test\\x1b[2J" for number in range(2)]
    assert last == "devices: 2"
