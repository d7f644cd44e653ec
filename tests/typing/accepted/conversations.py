"""Programs in the sequential style."""

from typing import assert_type

from evsockets import (
    BatchFramePicker,
    ClientSocket,
    Conversation,
    ConversationOperation,
    Frame,
    FrameBatch,
    FramePicker,
    Inbox,
    IoEvent,
    MarkerFramePicker,
    ReadOperation,
    RequestExecutor,
    SocketTimeoutError,
    TimeoutStage,
    WriteOperation,
)

LINE = MarkerFramePicker(None, b"\n")


class Number(Frame):
    value = 1


class NumberPicker(FramePicker[Number]):
    def pick(self, inbox: Inbox, ended: bool) -> Number | None:
        return Number(inbox.take(1)) if inbox else None


async def greeting(talk: Conversation, name: bytes) -> bytes:
    banner = await talk.read(LINE)
    await talk.write(b"HELO " + name + b"\r\n")
    return banner.data + (await talk.read(LINE)).data


async def all_of_it(talk: Conversation, count: int, *, pause: float = 0.5, data: bytes = b"") -> list[int]:
    assert_type(await talk.read(), Frame)
    assert_type(await talk.read(None), Frame)
    assert_type(await talk.read(NumberPicker()), Number)
    assert_type(await talk.read(BatchFramePicker(LINE)), FrameBatch)
    assert_type(await talk.read(BatchFramePicker(NumberPicker())), FrameBatch[Number])
    assert_type(await talk.do(ReadOperation(NumberPicker())), Number)
    assert_type(await talk.do(WriteOperation(b"x", then=ReadOperation())), Frame | None)
    batch: FrameBatch = await talk.read(BatchFramePicker(LINE))
    print(len(batch.frames), talk.metadata.address, talk.user_context, talk.context.get("name"), talk.ended)
    async for number in talk.frames(NumberPicker()):
        assert_type(number, Number)
        talk.post(bytearray(number.data))
        if talk.unsent > 100_000:
            await talk.flushed()
    try:
        with talk.timeout(pause) as scope:
            await talk.write([data, memoryview(data)])
            await talk.sleep(0 if scope.expired else 1)
    except SocketTimeoutError as error:
        if error.when is TimeoutStage.SCOPE and error.phase == "sleeping":
            print(error.address, error.socket)
    await talk.start_tls(server_hostname="example.org")
    await talk.shutdown_write()
    talk.cancel()
    return [count]


def starting(event: IoEvent) -> None:
    event.next_is(ConversationOperation(all_of_it, 5, pause=1))


executor = RequestExecutor()
add = executor.socket_bag.add_socket
add(ClientSocket(), ConversationOperation(greeting, b"me"), address="tcp://127.0.0.1:25")
add(ClientSocket(), ConversationOperation(greeting, name=b"me"), address="tcp://127.0.0.1:25")
add(ClientSocket(), WriteOperation(b"", then=ConversationOperation(all_of_it, 1)), on_connected=starting)
