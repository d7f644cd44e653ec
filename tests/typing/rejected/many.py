"""Mistakes around fan_out, serve and mailboxes."""

from evsockets import Conversation, Mailbox, Outcome, ReadEvent, Target, fan_out, fan_out_async, serve

ADDRESSES = ["tcp://127.0.0.1:25"]
messages: Mailbox[str] = Mailbox()


async def greeting(talk: Conversation, name: bytes) -> bytes:
    messages.put(name)  # error: arg-type, reportArgumentType
    await talk.put(messages, 5)  # error: misc, reportArgumentType
    number: int = await talk.take(messages)  # error: arg-type, reportAssignmentType
    talk.take(messages)  # error: unused-coroutine, reportUnusedCoroutine
    for message in talk.items(messages):  # error: attr-defined, reportGeneralTypeIssues
        print(message, number)
    return await talk.take(messages)  # error: arg-type, reportReturnType


async def banner(talk: Conversation) -> int:
    return len(await talk.read())


async def no_conversation(name: bytes) -> bytes:
    return name


def no_coroutine(talk: Conversation) -> bytes:
    return b""


def on_read(event: ReadEvent) -> None: ...
def ready() -> None: ...


# the function, and what it is for
fan_out(greeting(ADDRESSES, b"me"), ADDRESSES)  # error: arg-type, reportArgumentType
fan_out(ADDRESSES, banner)  # error: call-overload, reportCallIssue
fan_out(no_coroutine, ADDRESSES)  # error: arg-type, reportArgumentType
fan_out(no_conversation, ADDRESSES)  # error: arg-type, reportArgumentType
fan_out(banner, 25)  # error: call-overload, reportArgumentType
fan_out(banner, [("127.0.0.1", 25)])  # error: list-item, reportArgumentType
fan_out_async(greeting, ADDRESSES)  # error: arg-type, reportArgumentType

# its arguments
fan_out(greeting, ADDRESSES)  # error: arg-type, reportArgumentType
fan_out(greeting, ADDRESSES, args=("me",))  # error: arg-type, reportArgumentType
fan_out(greeting, ADDRESSES, args=(b"me", 5))  # error: arg-type, reportArgumentType
fan_out(greeting, ADDRESSES, args=b"me")  # error: call-overload, reportArgumentType
fan_out(banner, ADDRESSES, args=(b"me",))  # error: arg-type, reportArgumentType
fan_out(greeting, [Target("tcp://127.0.0.1:25")])  # error: arg-type, reportArgumentType
fan_out(greeting, [Target("tcp://127.0.0.1:25", ("me",))])  # error: arg-type, reportArgumentType
fan_out(greeting, [Target("tcp://127.0.0.1:25", (b"me", 1)), "tcp://a:1"], args=(b"me",))  # error: arg-type, reportArgumentType
serve(greeting, "tcp://127.0.0.1:0")  # error: arg-type, reportArgumentType
serve(greeting, "tcp://127.0.0.1:0", args=("me",))  # error: arg-type, reportArgumentType
serve(banner, "tcp://127.0.0.1:0", args=(1,))  # error: arg-type, reportArgumentType

# keywords
fan_out(banner, ADDRESSES, limt=5)  # error: call-overload, reportCallIssue
fan_out(banner, ADDRESSES, address="tcp://127.0.0.1:26")  # error: call-overload, reportCallIssue
fan_out(banner, ADDRESSES, keep_alive=True)  # error: call-overload, reportCallIssue
fan_out(banner, ADDRESSES, io_timeout="5")  # error: call-overload, reportArgumentType
fan_out(banner, ADDRESSES, stream_context={"verfy": False})  # error: call-overload, reportArgumentType
Target("tcp://127.0.0.1:25", stream_context={"verfy": False})  # error: call-overload, reportArgumentType
fan_out(banner, ADDRESSES, on_write=on_read)  # error: arg-type, reportArgumentType
fan_out(banner, ADDRESSES, handler=on_read)  # error: arg-type, reportArgumentType
Target("tcp://127.0.0.1:25", io_timeuot=5)  # error: call-overload, reportCallIssue
Target(("127.0.0.1", 25))  # error: call-overload, reportArgumentType
serve(banner, "tcp://127.0.0.1:0", ready=ready)  # error: arg-type, reportArgumentType
serve(banner, 8080)  # error: call-overload, reportArgumentType
Mailbox("5")  # error: arg-type, reportArgumentType

# outcomes
for outcome in fan_out(banner, ADDRESSES):
    text: str = outcome.value  # error: assignment, reportAssignmentType
    print(outcome.result + 1)  # error: operator, reportOptionalOperand
    print(outcome.tls.version)  # error: union-attr, reportOptionalMemberAccess
    print(outcome.metadata)  # error: attr-defined, reportAttributeAccessIssue
    outcome.result = 5  # error: misc, reportAttributeAccessIssue
wrong: Outcome[str] = next(fan_out(banner, ADDRESSES))  # error: arg-type, reportAssignmentType


async def main() -> None:
    async for outcome in fan_out(banner, ADDRESSES):  # error: attr-defined, reportGeneralTypeIssues
        print(outcome)
    for outcome in fan_out_async(banner, ADDRESSES):  # error: attr-defined, reportGeneralTypeIssues
        print(outcome)
