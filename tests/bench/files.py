"""`evsockets serve` and other file servers under wrk."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from .kinds import Kind, Peer, Sample
from .lab import LIMIT, BenchError, Lab, Server

_COUNT = re.compile(r"(\d+) requests in ([\d.]+)(ms|s|m)")
_TROUBLE = re.compile(r"Non-2xx[^\n]*|Socket errors: [^\n]*")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}

NGINX = Peer("nginx", "", "files", "nginx")
HTTP_SERVER = Peer("python -m http.server", "", "files", "http.server")
CADDY = Peer("caddy", "", "files", "caddy")
ENGINES = [
    Peer(f"evsockets serve, {engine}", "", "files", engine, f"engine:{engine}")
    for engine in ("selectors", "libev", "gevent")
]


@dataclass(frozen=True, kw_only=True)
class Files(Kind):
    """A file of `size` bytes asked for on `connections` connections: requests per second.

    `close`: each request comes on a connection of its own.
    """

    size: int
    connections: int = 50
    close: bool = False
    seconds: int = 3
    unit: str = "requests/s"
    base: str = NGINX.name
    peers: list[Peer] = field(default_factory=lambda: [NGINX, CADDY, *ENGINES, HTTP_SERVER], repr=False)

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        for program in ("wrk", "taskset", "nginx"):
            if shutil.which(program, path="/usr/sbin:/usr/bin:/bin:/usr/local/bin") is None:
                raise BenchError(f"{program} is not installed")
        root = lab.folder / "site"
        root.mkdir(exist_ok=True)
        (root / "file.bin").write_bytes(bytes(self.size))
        with lab.serving(lab.python("files", peer.flavour, str(root))) as server:
            _listens(server)
            self._load(lab, peer, server, 1)
            before = server.cpu()
            count, seconds = self._load(lab, peer, server, 1 if lab.quick else self.seconds)
            return Sample(count / seconds, (server.cpu() - before) / count * 1e6)

    def _load(self, lab: Lab, peer: Peer, server: Server, seconds: int) -> tuple[int, float]:
        """How many requests were answered, in how many seconds."""
        command = ["taskset", "-c", str(lab.load_cpu), "wrk", "-t", "1", "-c", str(self.connections)]
        command += ["-d", str(seconds), "-H", f"Connection: {'close' if self.close else 'keep-alive'}"]
        url = f"http://127.0.0.1:{server.port}/file.bin"
        done = subprocess.run([*command, url], capture_output=True, text=True, timeout=LIMIT, check=True)
        told = done.stdout
        match = _COUNT.search(told)
        trouble = _TROUBLE.search(told)
        if match is None or int(match[1]) == 0 or (trouble is not None and "Non-2xx" in trouble[0]):
            raise BenchError(f"wrk at {url}: {told}")
        if trouble is not None:
            print(f"({peer.name}: {trouble[0].strip()})")
        return int(match[1]), float(match[2]) * _SECONDS[match[3]]


def _listens(server: Server) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + LIMIT
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        if time.monotonic() > deadline or not Path(f"/proc/{server.pid}").exists():
            raise BenchError("the file server did not start")
        time.sleep(0.02)


SECTION: list[Kind] = [
    Files(title="A file of 1 KiB, 50 connections", size=1024),
    Files(title="A file of 1 KiB, each on a connection of its own, 50 at a time", size=1024, close=True),
    Files(title="A file of 1 MiB, 20 connections", size=1 << 20, connections=20),
]
