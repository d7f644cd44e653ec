"""The TCP server jobs on anyio: a task a connection; the flavour is the back end, `asyncio` or `trio`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .job import HOST, RECEIVE, announce, parse_job

anyio: Any = import_module("anyio")
buffered: Any = import_module("anyio.streams.buffered")
LONGEST = 65536


async def echo(stream: Any) -> None:
    """Send back what comes."""
    async with stream:
        try:
            while True:
                await stream.send(await stream.receive(RECEIVE))
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass


async def lines(stream: Any) -> None:
    """Send back whole lines."""
    async with stream:
        reader = buffered.BufferedByteReceiveStream(stream)
        try:
            while True:
                await stream.send(await reader.receive_until(b"\n", LONGEST) + b"\n")
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            pass


async def main(work: str) -> None:
    """Serve for ever."""
    listener = await anyio.create_tcp_listener(local_host=HOST, local_port=0, backlog=4096)
    announce(listener.extra(anyio.abc.SocketAttribute.local_port))
    await listener.serve(lines if work == "lines" else echo)


if __name__ == "__main__":
    job = parse_job()
    anyio.run(main, job.work, backend=job.flavour)
