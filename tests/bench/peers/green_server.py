"""The server jobs on plain gevent: a greenlet a connection."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .job import HOST, RECEIVE, announce, parse_job

servers: Any = import_module("gevent.server")


def echo(sock: Any, _address: Any) -> None:
    """Send back what comes."""
    try:
        while data := sock.recv(RECEIVE):
            sock.sendall(data)
    except OSError:
        pass


def lines(sock: Any, _address: Any) -> None:
    """Send back whole lines."""
    partial = b""
    try:
        while data := sock.recv(RECEIVE):
            frames = (partial + data).split(b"\n")
            partial = frames.pop()
            sock.sendall(b"".join([frame + b"\n" for frame in frames]))
    except OSError:
        pass


def main() -> None:
    """Serve for ever."""
    job = parse_job()
    server: Any
    if job.work == "udp":

        def answer(data: bytes, address: Any) -> None:
            server.sendto(data, address)

        server = servers.DatagramServer((HOST, 0), answer)
        server.start()
    else:
        secrets = {"certfile": job.certificate, "keyfile": job.key} if job.certificate else {}
        handle = lines if job.work == "lines" else echo
        server = servers.StreamServer((HOST, 0), handle, backlog=4096, **secrets)
        server.init_socket()
    announce(server.socket.getsockname()[1])
    server.serve_forever()


if __name__ == "__main__":
    main()
