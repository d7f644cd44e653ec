"""An operation, a limitation solver, an engine, a resolver and an error of one's own; timers; asyncio."""

import asyncio
import socket
from typing import Any

from evsockets import (
    READ,
    AcceptedSocket,
    Channel,
    ClientSocket,
    ConnectionFailedError,
    DatagramClientSocket,
    DelayedOperation,
    DisconnectedError,
    Engine,
    ExecutionContext,
    Frame,
    FrameError,
    LimitationDecision,
    LimitationSolver,
    NetworkSocketError,
    Operation,
    ReadEvent,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    SlowTransferError,
    WriteOperation,
)


class Discard(Operation):
    """Throws everything away, and tells of it."""

    interest = READ

    def __init__(self, then: Operation | None = None) -> None:
        self.then = then

    def start(self, channel: Channel) -> Operation | None:
        return self.step(channel, READ)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        received = channel.recv()
        if received is None:
            return self
        channel.inbox.drop(len(channel.inbox))
        channel.emit(ReadEvent(channel, Frame(received, channel.metadata.remote_address), self))
        return self if received else self.then


class Few(LimitationSolver):
    """Lets a few in, whatever they are."""

    def initialize(self, executor: RequestExecutor, context: ExecutionContext) -> None:
        context.set("running", 0)

    def decide(
        self,
        executor: RequestExecutor,
        socket: ClientSocket | AcceptedSocket | DatagramClientSocket,
        context: ExecutionContext,
        total: int,
    ) -> LimitationDecision:
        return LimitationDecision.OK if total < 5 else LimitationDecision.SKIP_CURRENT


class OwnEngine(Engine):
    """Knows nothing."""

    name = "own"

    def watch(self, fd: int, interest: int, token: Any) -> None: ...

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        return []

    def close(self) -> None: ...


class TooLongError(FrameError):
    """An error of one's own."""


def look_up(
    host: str, port: int, family: int = 0, kind: int = 0
) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    return [(int(socket.AF_INET), kind, 0, "", ("127.0.0.1", port))]


def is_full(socket: ClientSocket, executor: RequestExecutor, most: int) -> bool:
    return len(executor.socket_bag) > most


def say(word: str, times: int = 1) -> None:
    print(word * times)


def blame(error: NetworkSocketError) -> str:
    if isinstance(error, ConnectionFailedError):
        return f"{error.attempts[-1][1].errno} {error.socket and error.socket.fileno()}"
    if isinstance(error, SlowTransferError):
        return f"{error.direction} {error.speed / error.duration}"
    return error.address or ""


async def inside_asyncio(executor: RequestExecutor) -> None:
    await executor.execute_request_async({"name": "value"})


executor = RequestExecutor(OwnEngine(), resolver=look_up)
RequestExecutor(resolver=socket.getaddrinfo).with_limitation_solver(Few())
def is_busy(*_: object) -> bool:
    return False


DelayedOperation(ReadOperation(), is_busy)
DelayedOperation(ReadOperation(), lambda socket, executor: executor.is_executing, interval=1)
both = ReadWriteOperation(True, [WriteOperation(b"x"), ReadOperation()])
executor.socket_bag.add_socket(ClientSocket(), DelayedOperation(Discard(both), is_full, 5, interval=0.5))
executor.call_soon_threadsafe(say, "word", 2)
executor.call_soon_threadsafe(executor.stop_request)
executor.call_later(1.5, say, "word", keeps_running=False).cancel()
print(blame(TooLongError("too long", address="tcp://a:1")))
print(blame(DisconnectedError("gone", clean=True, errno=32)))
print(executor.drain(1).aborted[0][1].upper())
asyncio.run(inside_asyncio(executor))
