"""Mistakes in the sequential style."""

from collections.abc import AsyncIterator

from evsockets import (
    BatchFramePicker,
    Conversation,
    ConversationOperation,
    FrameBatch,
    MarkerFramePicker,
    RawFramePicker,
    ReadOperation,
)

LINE = MarkerFramePicker(None, b"\n")


async def greeting(talk: Conversation, name: bytes) -> bytes:
    talk.write(b"HELO " + name)  # error: unused-coroutine, reportUnusedCoroutine
    banner = talk.read(LINE)
    print(banner.data)  # error: attr-defined, reportAttributeAccessIssue
    await talk.write("HELO")  # error: arg-type, reportArgumentType
    await talk.write(["one"])  # error: list-item, reportArgumentType
    await talk.read(b"\n")  # error: arg-type, reportArgumentType
    await talk.read(RawFramePicker)  # error: arg-type, reportArgumentType
    await talk.read(ReadOperation())  # error: arg-type, reportArgumentType
    await talk.do(LINE)  # error: call-overload, reportArgumentType
    await talk.post(b"now")  # error: misc, reportGeneralTypeIssues
    talk.post(["one"])  # error: arg-type, reportArgumentType
    await talk.sleep()  # error: call-arg, reportCallIssue
    await talk.sleep("1")  # error: arg-type, reportArgumentType
    print((await talk.read(LINE)).frames)  # error: attr-defined, reportAttributeAccessIssue
    batch: FrameBatch = await talk.read(LINE)  # error: arg-type, reportAssignmentType
    text: str = (await talk.read(LINE)).data  # error: assignment, reportAssignmentType
    number: int = (await talk.read(BatchFramePicker(LINE))).frames[0]  # error: assignment, reportAssignmentType
    for frame in talk.frames(LINE):  # error: attr-defined, reportGeneralTypeIssues
        print(frame)
    async with talk.timeout(5):  # error: attr-defined, reportGeneralTypeIssues
        print(batch, text, number)
    return await talk.read(LINE)  # error: return-value, reportReturnType


def no_coroutine(talk: Conversation) -> bytes:
    return b""


async def without(name: bytes) -> bytes:
    return name


async def generator(talk: Conversation) -> AsyncIterator[bytes]:
    yield b""


ConversationOperation(greeting)  # error: call-arg, reportCallIssue
ConversationOperation(greeting, "me")  # error: arg-type, reportArgumentType
ConversationOperation(greeting, b"me", 5)  # error: call-arg, reportCallIssue
ConversationOperation(greeting, nam=b"me")  # error: call-arg, reportCallIssue
ConversationOperation(no_coroutine)  # error: arg-type, reportArgumentType
ConversationOperation(without, b"me")  # error: arg-type, reportArgumentType
ConversationOperation(generator)  # error: arg-type, reportArgumentType
