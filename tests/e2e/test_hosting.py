"""An executor inside asyncio, uvloop and trio. No thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    ReadOperation,
    RequestExecutor,
    UnsupportedOperationError,
    WriteOperation,
)
from support.machine import until
from support.optional import library
from support.service import CLIENT, LINE, Peers, Service, conversation, needs_descriptor
from support.wire import Log

Run = Callable[[Coroutine[Any, Any, Any]], Any]
pytestmark = pytest.mark.usefixtures("uvloop_once")


def run_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    return uvloop.run(main)


@pytest.fixture(params=[asyncio.run, run_uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, executor: RequestExecutor) -> Run:
    """Runs a coroutine; skips what the engine cannot: be waited for through a descriptor."""
    try:
        executor.fileno()
    except UnsupportedOperationError:
        pytest.skip(f"{executor.engine.name} has no descriptor")
    if request.param is run_uvloop:
        library("uvloop")
    chosen: Run = request.param
    return chosen


def test_beside_an_asyncio_server(executor: RequestExecutor, run: Run) -> None:
    """The executor asks a server of the loop that hosts it, and serves a client of that loop."""
    ticks = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"async " + await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            for _ in range(20):
                executor.socket_bag.add_socket(
                    ClientSocket(), WriteOperation(b"hello\n", then=ReadOperation(LINE)), handler=events,
                    address=f"tcp://127.0.0.1:{port}",
                )  # fmt: skip
            ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            Service(executor, started=lambda e: ready.set_result(e.metadata.local_address[1]))
            ticking = asyncio.create_task(tick())
            running = asyncio.create_task(executor.execute_request_async())
            reader, writer = await asyncio.open_connection("127.0.0.1", await ready)
            writer.write(b"to the executor\n")
            assert await reader.readline() == b"to the executor\n"
            writer.close()
            await writer.wait_closed()
            await running
            ticking.cancel()

    events = Log()
    run(main())
    assert [e.frame.data for e in events.of(EventType.READ)] == [b"async hello\n"] * 20
    assert not executor.is_executing and ticks > 0


def test_time_outs_under_asyncio(executor: RequestExecutor, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        events = Log()
        executor.socket_bag.add_socket(
            ClientSocket(), ReadOperation(), handler=events, io_timeout=0.05,
            address="tcp://127.0.0.1:%d" % silent.getsockname()[1],
        )  # fmt: skip
        run(executor.execute_request_async())
    assert events.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]


def test_cancelled_await(executor: RequestExecutor, run: Run) -> None:
    """Ends the run as an exception does; the executor can be used again."""

    async def main(service: Service) -> None:
        ready = asyncio.Event()
        service._started = lambda event: ready.set()
        running = asyncio.create_task(executor.execute_request_async())
        await ready.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    service = Service(executor)
    run(main(service))
    assert service.listening.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
    assert not executor.is_executing and service.metadata.request_complete
    _, events = conversation(executor)
    run(executor.execute_request_async())
    assert events.names == CLIENT


def test_cancelled_by_its_own_handler(executor: RequestExecutor, run: Run) -> None:
    """In the very turn that ends the run, too: no complaint of the loop."""
    complaints: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: complaints.append(what))
        running = asyncio.create_task(executor.execute_request_async())

        def last(event: Any) -> None:
            running.cancel()

        executor.with_event_handler({EventType.FINALIZE: last})
        with pytest.raises(asyncio.CancelledError):
            await running

    service = Service(executor, started=lambda event: event.cancel_operation())
    run(main())
    assert service.listening.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
    assert complaints == [] and not executor.is_executing


def test_asyncio_timeout_around_it(executor: RequestExecutor, run: Run) -> None:
    async def main() -> None:
        async with asyncio.timeout(0.05):
            await executor.execute_request_async()

    service = Service(executor)
    with pytest.raises(TimeoutError):
        run(main())
    assert service.listening.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_exception_under_asyncio(executor: RequestExecutor, run: Run) -> None:
    class Bug(Exception):
        pass

    def bug(event: Any) -> None:
        raise Bug("mine")

    service = Service(executor, started=bug)
    with pytest.raises(Bug, match="mine"):
        run(executor.execute_request_async())
    assert service.listening.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_changes_from_the_hosting_loop(executor: RequestExecutor, run: Run) -> None:
    """A coroutine adds a socket, sets an operation and stops the run, between turns."""
    events = Log()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        answered = asyncio.Event()
        service = Service(executor, clients=99, started=lambda e: ready.set())
        running = loop.create_task(executor.execute_request_async())
        await ready.wait()
        await asyncio.sleep(0)

        def handler(event: Any) -> None:
            events(event)
            if event.type is EventType.READ:
                answered.set()

        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"added\n", then=ReadOperation(LINE)), handler=handler,
            address="tcp://127.0.0.1:%d" % service.local[1],
        )  # fmt: skip
        await answered.wait()
        executor.stop_request()
        await running
        assert service.listening.names[-2:] == ["DISCONNECTED", "FINALIZE"]

    run(main())
    assert events.names[:4] == CLIENT[:4]


def test_drain_from_the_hosting_loop(executor: RequestExecutor, run: Run) -> None:
    """A coroutine's drain() only starts it: the loop is never blocked, the await ends."""
    reports = []

    async def main() -> None:
        ready = asyncio.Event()
        service = Service(executor, clients=9, started=lambda e: ready.set())
        running = asyncio.create_task(executor.execute_request_async())
        await ready.wait()
        reader, writer = await asyncio.open_connection(*service.local)
        for _ in until(lambda: service.accepted):
            await asyncio.sleep(0)
        reports.append(executor.drain(5))
        assert executor.is_executing
        writer.write(b"last\n")
        assert await reader.read() == b"last\n"
        writer.close()
        await writer.wait_closed()
        await running

    run(main())
    assert reports[0].finished == 1


def test_stopped_from_a_thread_under_asyncio(executor: RequestExecutor, run: Run) -> None:
    service = Service(executor, started=lambda e: threading.Thread(target=executor.stop_request).start())
    run(executor.execute_request_async())
    assert service.listening.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_two_executors_in_one_loop(engine: str, executor: RequestExecutor, run: Run) -> None:
    async def main() -> None:
        await asyncio.gather(executor.execute_request_async(), other.execute_request_async())

    with RequestExecutor(engine) as other:
        pairs = [conversation(executor), conversation(other)]
        run(main())
    assert [events.names for _, events in pairs] == [CLIENT] * 2


def test_handler_resolves_a_future(executor: RequestExecutor, run: Run) -> None:
    """Handlers run in the loop's thread, so they may touch its futures and start tasks."""

    async def main() -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        with Peers() as peers:
            Service(
                executor, started=lambda e: peers.stream(e.metadata.local_address, b"value\n"),
                handler={EventType.READ: lambda e: future.set_result(e.frame.data)},
            )  # fmt: skip
            running = asyncio.create_task(executor.execute_request_async())
            value = await future
            await running
            return value

    assert run(main()) == b"value\n"


def test_an_engine_without_descriptor_says_so() -> None:
    with RequestExecutor("selectors:poll") as executor:
        Service(executor)
        with pytest.raises(UnsupportedOperationError, match=r"no descriptor .*'selectors:epoll'"):
            executor.fileno()
        with pytest.raises(UnsupportedOperationError):
            asyncio.run(executor.execute_request_async())
        assert not executor.is_executing


# ---- trio --------------------------------------------------------------------------------------------


def test_inside_trio(executor: RequestExecutor) -> None:
    """Through fileno() and patience(), beside trio's own tasks."""
    needs_descriptor(executor)
    trio = library("trio")
    answers: list[bytes] = []

    async def run_executor() -> None:
        executor.start_request()
        while executor.turn(0):
            patience = executor.patience()
            if patience == 0:
                await trio.lowlevel.checkpoint()
                continue
            with trio.move_on_after(float("inf") if patience is None else patience):
                await trio.lowlevel.wait_readable(executor.fileno())

    async def ask(port: int) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"from trio\n")
            answers.append(await stream.receive_some())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            Service(
                executor, clients=3,
                started=lambda e: [nursery.start_soon(ask, e.metadata.local_address[1]) for _ in range(3)],
            )  # fmt: skip
            nursery.start_soon(run_executor)

    trio.run(main)
    assert answers == [b"from trio\n"] * 3
