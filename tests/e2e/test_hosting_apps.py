"""Executors inside running web applications, aiohttp's and FastAPI's, in one loop and without a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EndOfStreamFramePicker,
    EventType,
    ReadOperation,
    RequestExecutor,
    UnsupportedOperationError,
    WriteOperation,
)
from support.machine import until
from support.optional import library
from support.service import LINE

CALLS = 20
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def gather(engine: str, port: int, request: bytes, *, http: bool = False) -> list[bytes]:
    """What so many concurrent calls answer, made by an executor inside the running loop."""
    answers: list[bytes] = []
    picker = EndOfStreamFramePicker() if http else LINE
    with RequestExecutor(engine) as executor:
        for _ in range(CALLS):
            executor.socket_bag.add_socket(
                ClientSocket(), WriteOperation(request, then=ReadOperation(picker)),
                address=f"tcp://127.0.0.1:{port}", io_timeout=30,
                handler={EventType.READ: lambda event: answers.append(event.frame.data)},
            )  # fmt: skip
        await executor.execute_request_async()
    return answers


@contextlib.asynccontextmanager
async def lines_server() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A back end that answers nobody before the event is set."""
    gate = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        await gate.wait()
        writer.write(b"answer to " + line)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512) as server:
        yield server.sockets[0].getsockname()[1], gate


@contextlib.asynccontextmanager
async def fastapi_app(engine: str, backend: int) -> AsyncIterator[int]:
    """`/calls` asks the back end many times at once by an executor of its own; `/ping` answers at once."""
    fastapi, uvicorn = library("fastapi"), library("uvicorn")
    app = fastapi.FastAPI()

    @app.get("/calls")
    async def calls() -> dict[str, int]:
        answers = await gather(engine, backend, b"fastapi\n")
        return {"answers": answers.count(b"answer to fastapi\n")}

    @app.get("/ping")
    async def ping() -> str:
        return "pong"

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        for _ in until(lambda: server.started):
            await asyncio.sleep(0)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


@contextlib.asynccontextmanager
async def aiohttp_app(engine: str, fastapi: int) -> AsyncIterator[int]:
    """`/calls` asks the other application's `/calls` many times at once; `/ping` answers at once."""
    web = library("aiohttp.web")

    async def calls(request: Any) -> Any:
        answers = await gather(engine, fastapi, GET % b"/calls", http=True)
        return web.json_response({"answers": sum(b'{"answers":20}' in answer for answer in answers)})

    async def ping(request: Any) -> Any:
        return web.Response(text="pong")

    app = web.Application()
    app.add_routes([web.get("/calls", calls), web.get("/ping", ping)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def get(port: int, path: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET % path)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def both_apps(engine: str) -> None:
    async with (
        lines_server() as (backend, gate),
        fastapi_app(engine, backend) as fastapi,
        aiohttp_app(engine, fastapi) as aiohttp,
    ):
        # Twenty executors in FastAPI, each with twenty sockets, asked by one executor in aiohttp.
        slow = asyncio.create_task(get(aiohttp, b"/calls"))
        for port in (fastapi, aiohttp):  # while they wait, other requests go on
            for _ in range(5):
                assert b"pong" in await get(port, b"/ping")
        assert not slow.done()
        gate.set()
        assert b'{"answers": 20}' in await slow


def on_asyncio(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def on_uvloop(main: Coroutine[Any, Any, None]) -> None:
    library("uvloop").run(main)


@pytest.mark.usefixtures("uvloop_once")
@pytest.mark.parametrize("run", [on_asyncio, on_uvloop])
def test_beside_fastapi_and_aiohttp(engine: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    with RequestExecutor(engine) as executor:
        try:
            executor.fileno()
        except UnsupportedOperationError:
            pytest.skip(f"{engine} has no descriptor")
    before = set(threading.enumerate())
    run(both_apps(engine))
    assert set(threading.enumerate()) <= before
