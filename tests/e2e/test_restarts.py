"""A server is replaced under load, ten times, and no request fails."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import HANGS, ROOT, environment
from support.machine import comes_true
from support.servers import free_port, need

RESTARTS = 10
CLIENTS = 6
#: The example of the documentation, with everything loaded before it is its turn.
SERVER = f"""
import runpy, sys
import evsockets
evsockets.RequestExecutor().close()
sys.stdin.readline()
runpy.run_path({str(ROOT / "docs" / "examples" / "restart.py")!r}, run_name="__main__")
"""


class Process:
    """One server, which does nothing until `listen`."""

    def __init__(self, engine: str, addresses: list[str], descriptors: list[int]) -> None:
        self._addresses = len(addresses)
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *addresses], env=environment(EVSOCKETS_ENGINE=engine),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            pass_fds=descriptors,
        )  # fmt: skip

    def listen(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for _ in range(self._addresses):
            assert self._process.stdout.readline().startswith("tcp://")

    def sockets(self) -> int:
        """How many it has open."""
        found = 0
        for one in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found += str(one.readlink()).startswith("socket:")
        return found

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        _, errors = self._process.communicate(timeout=HANGS)
        assert (self._process.returncode, errors) == (0, "")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=HANGS)


class Load:
    """wrk asking without a pause: `connection` is keep-alive, or close for one request a connection."""

    def __init__(self, port: int, connection: str) -> None:
        self._process = subprocess.Popen(
            [need("wrk"), "-t", "1", "-c", str(CLIENTS), "-d", "90", "--timeout", "90",
             "-H", f"Connection: {connection}", f"http://127.0.0.1:{port}/"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(self) -> str:
        self._process.send_signal(signal.SIGINT)
        return self._process.communicate(timeout=HANGS)[0]

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=HANGS)


@pytest.mark.slow
def test_no_request_fails(engine: str) -> None:
    """The new one listens first, then the old one drains. On a listening socket that both have inherited,
    with connections kept alive and with one request a connection; on a port shared by SO_REUSEPORT, kept
    alive.

    One request a connection on a shared port is not among them: who connects in the microseconds between the
    old one's last look at its queue and its close is reset by the kernel.
    """
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512)) for _ in range(2)
        ]
        descriptors = [listener.fileno() for listener in listeners]
        shared = free_port()
        addresses = [*(f"fd://{number}" for number in descriptors), f"tcp://127.0.0.1:{shared}"]
        servers = []
        for _ in range(RESTARTS + 1):
            servers.append(Process(engine, addresses, descriptors))
            stack.callback(servers[-1].kill)
        servers[0].listen()
        alone = servers[0].sockets()
        loads = [
            Load(listeners[0].getsockname()[1], "keep-alive"),
            Load(listeners[1].getsockname()[1], "close"),
            Load(shared, "keep-alive"),
        ]
        for load in loads:
            stack.callback(load.kill)
        for old, new in itertools.pairwise(servers):
            comes_true(lambda: old.sockets() >= alone + 2 * CLIENTS, "the clients do not come")  # noqa: B023
            new.listen()
            old.end()
        comes_true(lambda: servers[-1].sockets() >= alone + 2 * CLIENTS, "the clients do not come")
        reports = [load.end() for load in loads]
        servers[-1].end()
    for told in reports:
        assert "Socket errors" not in told and "Non-2xx" not in told, told
        found = re.search(r"(\d+) requests in", told)
        assert found and int(found[1]) > RESTARTS * CLIENTS, told
