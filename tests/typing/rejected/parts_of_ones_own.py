"""Mistakes in parts of one's own, and around a run."""

from evsockets import (
    AsyncSocketFactory,
    BatchFramePicker,
    Channel,
    ClientSocket,
    DelayedOperation,
    DisconnectedError,
    Engine,
    Frame,
    FrameBatch,
    FramePicker,
    Inbox,
    LimitationSolver,
    NetworkSocketError,
    Operation,
    RawFramePicker,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    SocketType,
)


class BytesPicker(FramePicker):
    def pick(self, inbox: Inbox, ended: bool) -> bytes | None:  # error: override, reportIncompatibleMethodOverride
        return inbox.take(len(inbox))


class EagerPicker(FramePicker):
    def pick(self, data: bytes) -> Frame | None:  # error: override, reportIncompatibleMethodOverride
        return Frame(data)


class OfBytes(FramePicker[bytes]):  # error: type-var, reportInvalidTypeArguments
    def pick(self, inbox: Inbox, ended: bool) -> None: ...


class Yes(LimitationSolver):
    def decide(self, *about: object) -> bool:  # error: override, reportIncompatibleMethodOverride
        return True


class OfClients(LimitationSolver):
    def initialize(self, executor: RequestExecutor) -> None:  # error: override, reportIncompatibleMethodOverride
        print(executor)


class Hasty(Operation):
    def step(self, channel: Channel, mask: int) -> bool:  # error: override, reportIncompatibleMethodOverride
        return channel.recv() is not None


class HalfEngine(Engine):
    name = "half"


def is_full(socket: ClientSocket, executor: RequestExecutor, most: int) -> bool:
    return len(executor.socket_bag) > most


def say(word: str, times: int = 1) -> None:
    print(word * times)


async def inside_asyncio(executor: RequestExecutor) -> None:
    executor.execute_request_async()  # error: unused-coroutine, reportUnusedCoroutine
    await executor.execute_request()  # error: func-returns-value, reportGeneralTypeIssues


HalfEngine()  # error: abstract, reportAbstractUsage
executor = RequestExecutor()
RequestExecutor("selectors", Engine)  # error: call-arg, reportCallIssue
RequestExecutor(resolver={"example.org": "127.0.0.1"})  # error: arg-type, reportArgumentType
executor.execute_request({1: "one"})  # error: dict-item, reportArgumentType
executor.execute_request(["one"])  # error: arg-type, reportArgumentType
executor.with_limitation_solver(5)  # error: arg-type, reportArgumentType
executor.call_soon_threadsafe(say)  # error: arg-type, reportArgumentType
executor.call_soon_threadsafe(say, 5)  # error: arg-type, reportArgumentType
executor.call_soon_threadsafe(say("word"))  # error: func-returns-value, reportArgumentType
executor.call_later(1, say, 5)  # error: arg-type, reportArgumentType
executor.call_later(say, 1, "word")  # error: arg-type, reportArgumentType
DelayedOperation(ReadOperation(), is_full)  # error: arg-type, reportArgumentType
DelayedOperation(ReadOperation(), is_full, "5")  # error: arg-type, reportArgumentType
DelayedOperation(is_full, ReadOperation())  # error: call-overload, reportArgumentType
AsyncSocketFactory().create_socket(SocketType.SERVER, persistent=True)  # error: call-overload, reportCallIssue
AsyncSocketFactory().create_socket("server")  # error: call-overload, reportArgumentType
server: ServerSocket = AsyncSocketFactory().create_socket()  # error: assignment, reportAssignmentType
number: int = BatchFramePicker(RawFramePicker()).pick(Inbox(), False)  # error: assignment, reportAssignmentType
operation: ReadOperation[FrameBatch] = ReadOperation(RawFramePicker())  # error: arg-type, reportAssignmentType
error = NetworkSocketError("gone", socket=executor)  # error: arg-type, reportArgumentType
gone = DisconnectedError("gone", clear=True)  # error: call-arg, reportCallIssue
