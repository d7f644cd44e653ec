"""The server jobs on asyncio and uvloop: flavours `asyncio-protocol`, `asyncio-streams`, `uvloop-...`."""

from __future__ import annotations

import asyncio
from typing import Any

from .job import HOST, RECEIVE, Job, announce, parse_job


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Lines(Echo):
    """Sends back whole lines."""

    partial = b""

    def data_received(self, data: bytes) -> None:
        frames = (self.partial + data).split(b"\n")
        self.partial = frames.pop()
        self.transport.write(b"".join([frame + b"\n" for frame in frames]))


class Datagrams(asyncio.DatagramProtocol):
    """Sends every datagram back."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(RECEIVE):
        writer.write(data)
        await writer.drain()
    writer.close()


async def line_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back whole lines."""
    while data := await reader.readline():
        writer.write(data)
        await writer.drain()
    writer.close()


async def main(job: Job) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    context = job.server_context()
    if job.work == "udp":
        transport, _ = await loop.create_datagram_endpoint(Datagrams, (HOST, 0))
        announce(transport.get_extra_info("sockname")[1])
        await loop.create_future()
    if job.flavour.endswith("streams"):
        serve = line_stream if job.work == "lines" else echo_stream
        server = await asyncio.start_server(serve, HOST, 0, ssl=context, backlog=4096)
    else:
        protocol = Lines if job.work == "lines" else Echo
        server = await loop.create_server(protocol, HOST, 0, ssl=context, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    chosen = parse_job()
    if chosen.flavour.startswith("uvloop"):
        import uvloop

        uvloop.run(main(chosen))
    else:
        asyncio.run(main(chosen))
