"""The client jobs on anyio: a task a connection; the flavour is the back end, `asyncio` or `trio`."""

from __future__ import annotations

import ssl
from importlib import import_module
from typing import Any

from .job import HOST, LINE, NAME, REPLY_SIZE, REQUEST, Finish, Job, parse_job, run_client

anyio: Any = import_module("anyio")
buffered: Any = import_module("anyio.streams.buffered")


def fanout(job: Job, count: int) -> int:
    """Short requests, `job.concurrency` at a time, each read to its end."""
    context: ssl.SSLContext | None = job.client_context()
    left = count

    async def worker() -> None:
        nonlocal left
        while left:
            left -= 1
            tls = {"ssl_context": context, "tls_hostname": NAME} if context else {}
            async with await anyio.connect_tcp(HOST, job.port, **tls) as stream:
                await stream.send(REQUEST)
                received = 0
                async for data in stream:
                    received += len(data)
            if received != REPLY_SIZE:
                raise ConnectionError("short reply")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(job.concurrency):
                tasks.start_soon(worker)

    anyio.run(main, backend=job.flavour)
    return count


def lines(job: Job, count: int, connections: int, finish: Finish) -> int:
    """Lines out and back on `connections` connections, `job.depth` outstanding on each."""
    quota = count // connections
    busy = connections

    async def exchange(finished: Any) -> None:
        nonlocal busy
        async with await anyio.connect_tcp(HOST, job.port) as stream:
            reader = buffered.BufferedByteReceiveStream(stream)
            sent = min(job.depth, quota)
            await stream.send(LINE * sent)
            for _ in range(quota):
                await reader.receive_until(b"\n", 65536)
                if sent < quota:
                    sent += 1
                    await stream.send(LINE)
            busy -= 1
            if not busy:
                finish()
                finished.set()
            await finished.wait()  # all connections are open at the end

    async def main() -> None:
        finished = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for _ in range(connections):
                tasks.start_soon(exchange, finished)

    anyio.run(main, backend=job.flavour)
    return quota * connections


if __name__ == "__main__":
    run_client(parse_job(), fanout, lines)
