"""The client jobs on asyncio and uvloop: flavours `asyncio-protocol`, `asyncio-streams`, `uvloop-...`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from .job import CHUNK, HOST, LINE, NAME, REPLY_SIZE, REQUEST, Finish, Job, nothing, parse_job, run_client


def run(job: Job, main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on the flavour's loop."""
    if job.flavour.startswith("uvloop"):
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


class Request(asyncio.Protocol):
    """One short request, read to its end."""

    def __init__(self, done: Finish) -> None:
        self.done = done
        self.received = 0

    def connection_made(self, transport: Any) -> None:
        transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.received != REPLY_SIZE:
            raise ConnectionError("short reply")
        self.done()


def fanout(job: Job, count: int) -> int:
    """Short requests, `job.concurrency` at a time, each a task."""
    context = job.client_context()
    host = NAME if context else None
    streams = job.flavour.endswith("streams")

    async def by_protocol(loop: asyncio.AbstractEventLoop) -> None:
        over = loop.create_future()
        await loop.create_connection(
            lambda: Request(lambda: over.set_result(None)), HOST, job.port, ssl=context, server_hostname=host
        )
        await over

    async def by_streams() -> None:
        reader, writer = await asyncio.open_connection(HOST, job.port, ssl=context, server_hostname=host)
        writer.write(REQUEST)
        if len(await reader.read()) != REPLY_SIZE:
            raise ConnectionError("short reply")
        writer.close()

    async def worker(left: list[None]) -> None:
        loop = asyncio.get_running_loop()
        while left:
            left.pop()
            await (by_streams() if streams else by_protocol(loop))

    async def main() -> None:
        left = [None] * count
        await asyncio.gather(*(worker(left) for _ in range(job.concurrency)))

    run(job, main())
    return count


class Conversation(asyncio.Protocol):
    """Lines out and back."""

    def __init__(self, quota: int, depth: int, done: Finish, lost: Finish) -> None:
        self.quota = quota
        self.sent = min(depth, quota)
        self.received = 0
        self.done = done
        self.lost = lost
        self.partial = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(LINE * self.sent)

    def data_received(self, data: bytes) -> None:
        frames = (self.partial + data).split(b"\n")
        self.partial = frames.pop()
        self.received += len(frames)
        more = min(len(frames), self.quota - self.sent)
        if more:
            self.sent += more
            self.transport.write(LINE * more)
        elif self.received == self.quota:
            self.done()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost()


def lines(job: Job, count: int, connections: int, finish: Finish) -> int:
    """Lines out and back on `connections` connections, `job.depth` outstanding on each."""
    quota = count // connections
    streams = job.flavour.endswith("streams")
    finished = asyncio.Event()
    busy = connections

    def done() -> None:
        nonlocal busy
        busy -= 1
        if not busy:
            finished.set()

    async def by_streams() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection(HOST, job.port)
        sent = min(job.depth, quota)
        writer.write(LINE * sent)
        for _ in range(quota):
            if not await reader.readline():
                raise ConnectionError("the server went away")
            if sent < quota:
                sent += 1
                writer.write(LINE)
                await writer.drain()
        return writer

    async def end(transport: asyncio.WriteTransport) -> None:
        # Ended by the peer: a large receive buffer thrown away whole lets the allocator keep the next ones,
        # without which asyncio runs at a quarter of its speed.
        transport.write_eof()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if streams:
            writers = await asyncio.gather(*(by_streams() for _ in range(connections)))
            finish()
            for writer in writers:
                await end(writer.transport)
            await asyncio.sleep(0.05)
            return
        links = []
        lost = asyncio.Event()
        for _ in range(connections):
            _, link = await loop.create_connection(
                lambda: Conversation(quota, job.depth, done, lost.set), HOST, job.port
            )
            links.append(link)
        await finished.wait()
        finish()
        for link in links:
            await end(link.transport)
        await lost.wait()

    run(job, main())
    return quota * connections


class Receiver(asyncio.Protocol):
    """Counts what comes."""

    def __init__(self) -> None:
        self.total = 0
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.total += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


def source(job: Job) -> int:
    """Receive everything the server has."""
    total = 0

    async def main() -> None:
        nonlocal total
        if job.flavour.endswith("streams"):
            reader, _ = await asyncio.open_connection(HOST, job.port)
            while data := await reader.read(65536):
                total += len(data)
            return
        loop = asyncio.get_running_loop()
        _, receiver = await loop.create_connection(Receiver, HOST, job.port)
        await receiver.over.wait()
        total = receiver.total

    run(job, main())
    return total


class Sender(asyncio.Protocol):
    """Pushes chunks as long as the transport takes them."""

    def __init__(self, amount: int) -> None:
        self.left = amount
        self.paused = False
        self.over = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.resume_writing()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            self.transport.write(CHUNK)
            self.left -= len(CHUNK)
        if not self.left:
            self.transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


def sink(job: Job) -> int:
    """Send `job.count` bytes and wait until the server has them."""

    async def main() -> None:
        if job.flavour.endswith("streams"):
            reader, writer = await asyncio.open_connection(HOST, job.port)
            for _ in range(job.count // len(CHUNK)):
                writer.write(CHUNK)
                await writer.drain()
            writer.write_eof()
            await reader.read()
            return
        loop = asyncio.get_running_loop()
        _, sender = await loop.create_connection(lambda: Sender(job.count), HOST, job.port)
        await sender.over.wait()

    run(job, main())
    return job.count


if __name__ == "__main__":
    chosen = parse_job()
    if chosen.work == "lines" or chosen.work == "hold":
        # One connection, so that the measured run finds the allocator in its fast state.
        lines(chosen, 10, 1, nothing)
    run_client(chosen, fanout, lines, source, sink)
