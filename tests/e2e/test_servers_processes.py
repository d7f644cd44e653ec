"""Server processes: several on one port, and what one does when its interpreter ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.command import Serving, program, run
from support.machine import comes_true
from support.servers import need

#: Answers everything with its process number; `python -c ANSWERS ENGINE ADDRESS`.
ANSWERS = """
import os, signal, sys
from evsockets import EventType, ReadOperation, RequestExecutor, ServerSocket, StreamContext, WriteOperation

engine, address = sys.argv[1:]
number = str(os.getpid()).encode()
executor = RequestExecutor(engine)

def accept(event):
    executor.socket_bag.add_socket(
        event.client_socket, ReadOperation(), handler={EventType.READ: lambda e: e.next_is_write(number)}
    )

executor.socket_bag.add_socket(
    ServerSocket(), ReadOperation(), address=address, stream_context=StreamContext(reuse_port=True),
    handler={
        EventType.CONNECTED: lambda e: print("any://%s:%d" % e.metadata.local_address, flush=True),
        EventType.ACCEPT: accept,
    },
)
signal.signal(signal.SIGTERM, lambda *_: executor.drain(10))
with executor:
    executor.execute_request()
"""


def asked(port: int, kind: socket.SocketKind) -> int:
    """The number of the process that answers."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port))
        sock.send(b"who?")
        return int(sock.recv(100))


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_two_processes_share_a_port(engine: str, scheme: str) -> None:
    """The kernel spreads the clients over both; when one ends in order, nobody is lost."""
    kind = socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
    with contextlib.ExitStack() as stack:

        def start(port: int) -> Serving:
            command = [sys.executable, "-c", ANSWERS, engine, f"{scheme}://127.0.0.1:{port}"]
            return stack.enter_context(program(*command))

        first = start(0)
        second = start(first.port)
        assert second.port == first.port
        answers = Counter(asked(first.port, kind) for _ in range(200))
        # Of 200 clients by the hash of their ports; all on one side: never in the life of the universe.
        assert answers.keys() == {first.process.pid, second.process.pid}
        assert first.end() == (0, "")
        assert {asked(second.port, kind) for _ in range(50)} == {second.process.pid}
        assert second.end() == (0, "")


#: A listener, an accepted client and an unfinished request are simply left; `python -c LEAVES ENGINE PLACE`.
LEAVES = """
import socket, sys
from evsockets import ClientSocket, EventType, ReadOperation, RequestExecutor, ServerSocket

engine, place = sys.argv[1:]
executor = RequestExecutor(engine)
accepted = []
ports = []

def accept(event):
    executor.socket_bag.add_socket(event.client_socket, ReadOperation())
    accepted.append(event.client_socket)

handler = {EventType.ACCEPT: accept, EventType.CONNECTED: lambda e: ports.append(e.metadata.local_address)}
for address in ("tcp://127.0.0.1:0", "udp://127.0.0.1:0", f"unix://{place}/server.sock"):
    executor.socket_bag.add_socket(ServerSocket(), ReadOperation(), address=address, handler=handler)
executor.start_request()
while len(ports) < 3:
    executor.turn(1)
peer = socket.create_connection(ports[0])
executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), address="tcp://%s:%d" % ports[0])
while len(accepted) < 2:
    executor.turn(1)
print("leaving", flush=True)
with open(f"{place}/leaving", "w"):
    pass
"""


def test_the_interpreters_end_touches_nobody(engine: str, tmp_path: Path) -> None:
    """Nothing connects, nothing is written to peers, and nothing hangs."""
    trace = tmp_path / "trace"
    done = run(
        need("strace"), "-f", "-o", str(trace), "-e", "trace=network,openat",
        sys.executable, "-W", "always", "-c", LEAVES, engine, str(tmp_path), PYTHONWARNINGS="always",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "leaving\n"
    assert "Traceback" not in done.stderr
    calls = trace.read_text().partition(f"{tmp_path}/leaving")[2]
    assert calls
    assert re.findall(r"\b(connect|sendto|sendmsg|accept4|bind)\(", calls) == []


def test_a_killed_servers_socket_file_is_taken_over(engine: str, tmp_path: Path) -> None:
    """Killed without a chance to remove it; the next server replaces the stale file."""
    command = [sys.executable, "-m", "evsockets", "echo", f"unix://{tmp_path}/s", "--engine", engine]
    with program(*command) as first:
        assert (tmp_path / "s").is_socket()
        os.kill(first.process.pid, signal.SIGKILL)
        comes_true(lambda: first.process.poll() is not None, "it lives on")
    assert (tmp_path / "s").is_socket()
    with program(*command) as second:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(tmp_path / "s"))
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
        assert second.end()[0] == 0
    assert not (tmp_path / "s").exists()
