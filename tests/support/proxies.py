"""Proxies of the distribution, for clients and in front of servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.servers import can_connect, free_port, need, started


@contextmanager
def microsocks(folder: Path, *options: str) -> Iterator[int]:
    """A SOCKS5 server; `options`: `-u user -P password`. Yields its port."""
    program, port = need("microsocks"), free_port()
    command = [program, "-i", "127.0.0.1", "-p", str(port), *options]
    with started(
        command, folder / f"microsocks-{port}.log", can_connect(socket.AF_INET, ("127.0.0.1", port))
    ):
        yield port


@contextmanager
def dante(folder: Path) -> Iterator[int]:
    """A SOCKS5 server that leads to 127.0.0.1 and nowhere else. Yields its port."""
    program, port = need("danted"), free_port()
    config = folder / "danted.conf"
    here = "{ from: 127.0.0.1/32 to: 127.0.0.1/32 }"
    config.write_text(
        f"logoutput: stderr\ninternal: 127.0.0.1 port = {port}\nexternal: 127.0.0.1\n"
        "clientmethod: none\nsocksmethod: none\nuser.unprivileged: nobody\n"
        f"client pass {here}\nsocks pass {here}\n"
    )
    command = [program, "-f", str(config), "-p", str(folder / "danted.pid")]
    with started(command, folder / "danted.log", can_connect(socket.AF_INET, ("127.0.0.1", port))):
        yield port


@contextmanager
def tinyproxy(folder: Path, *lines: str) -> Iterator[int]:
    """An HTTP proxy; `lines` of its configuration besides. Yields its port."""
    program, port = need("tinyproxy"), free_port()
    config = folder / f"tinyproxy-{port}.conf"
    config.write_text("\n".join([f"Port {port}", "Listen 127.0.0.1", "Timeout 20", "LogLevel Error", *lines]))
    command = [program, "-d", "-c", str(config)]
    ready = can_connect(socket.AF_INET, ("127.0.0.1", port))
    with started(command, folder / f"tinyproxy-{port}.log", ready):
        yield port


@contextmanager
def haproxy(folder: Path, behind: str) -> Iterator[tuple[int, int]]:
    """A load balancer in front of `behind` (host:port or a path), which it tells who comes: by version 1 of
    the PROXY protocol to those at the first port it yields, by version 2 at the second."""
    program, ports = need("haproxy"), (free_port(), free_port())
    config = folder / "haproxy.cfg"
    sections = [
        f"listen {name}\n bind 127.0.0.1:{port}\n server one {behind} {name}\n"
        for name, port in zip(("send-proxy", "send-proxy-v2"), ports, strict=True)
    ]
    times = "".join(f" timeout {what} 20s\n" for what in ("connect", "client", "server"))
    config.write_text(f"defaults\n mode tcp\n retries 0\n{times}" + "".join(sections))
    ready = [can_connect(socket.AF_INET, ("127.0.0.1", port)) for port in ports]
    with started([program, "-db", "-f", str(config)], folder / "haproxy.log", *ready):
        yield ports
