"""fan_out, serve and mailboxes."""

import asyncio
import functools
from collections.abc import Iterator
from typing import assert_type

from evsockets import (
    Conversation,
    DrainReport,
    EventType,
    LineFramePicker,
    Mailbox,
    Outcome,
    ReadEvent,
    RequestExecutor,
    StreamContext,
    Target,
    TimeoutEvent,
    fan_out,
    fan_out_async,
    serve,
)
from evsockets.typing import StreamKeywords

LINE = LineFramePicker()
messages: Mailbox[str] = Mailbox(limit=5)
numbers = Mailbox[int]()


async def greeting(talk: Conversation, name: bytes) -> bytes:
    banner = await talk.read(LINE)
    await talk.write(b"HELO " + name + b"\r\n")
    return banner.data + (await talk.read(LINE)).data


async def banner(talk: Conversation) -> int:
    return len(await talk.read())


async def patient(talk: Conversation, name: bytes, pause: float = 1.0) -> str:
    await talk.sleep(pause)
    return name.decode()


async def forward(talk: Conversation, inbox: Mailbox[str]) -> None:
    assert_type(await talk.take(numbers), int)
    await talk.put(inbox, "text")
    async for message in talk.items(inbox):
        assert_type(message, str)


class Prober:
    async def probe(self, talk: Conversation, port: int) -> int:
        return port

    async def __call__(self, talk: Conversation) -> None: ...


def addresses() -> Iterator[str]:
    yield from ("tcp://127.0.0.1:%d" % port for port in range(1, 100))


def targets() -> Iterator[str | Target]:
    yield "tcp://127.0.0.1:25"
    yield Target("tcp://127.0.0.1:26", args=(b"you",), user_context={"name": 1}, io_timeout=3)


def on_read(event: ReadEvent) -> None: ...
def on_timeout(event: TimeoutEvent) -> None: ...
def is_hopeful(outcome: Outcome[bytes]) -> bool:
    return not outcome.ok and outcome.attempts < 3


def shown(outcome: Outcome) -> str:
    return f"{outcome.address} {outcome.value!r} {outcome.error!r} {outcome.times.talking:.1f} s"


for outcome in fan_out(greeting, addresses(), args=(b"me",), limit=500, connection_timeout=3, retries=1):
    assert_type(outcome.value, bytes)
    assert_type(outcome.result, bytes | None)
    print(shown(outcome), outcome.target.user_context, outcome.tls and outcome.tls.version)
with fan_out(banner, ["tcp://a:1"], on_read=on_read, handler={EventType.TIMEOUT: on_timeout}) as outcomes:
    print(outcomes.running, outcomes.executor.is_executing, [outcome.value + 1 for outcome in outcomes])
fan_out(greeting, targets(), args=(b"me",), retry_if=is_hopeful, backoff=0.5, user_context=1)
fan_out(greeting, [Target("tcp://127.0.0.1:25", (b"me",)), Target("tcp://127.0.0.1:26", args=(b"you",))])
fan_out(banner, [Target("tcp://127.0.0.1:25"), "tcp://127.0.0.1:26"], processes=2)
own = [Target(address, args=(b"me", 2), stream_context={"server_hostname": "a"}) for address in addresses()]
fan_out(patient, own, stream_context={"verify": False, "alpn_protocols": ["h2"]}, limit=5)
mixed: list[str | Target] = ["tcp://127.0.0.1:25", Target("tcp://127.0.0.1:26", io_timeout=1)]
settings: StreamKeywords = {"verify": False}
fan_out(banner, mixed, stream_context=settings)
fan_out(banner, mixed, stream_context=StreamContext(ca_file="ca.pem") if addresses() else None)
fan_out(patient, addresses(), args=(b"me",))
fan_out(patient, addresses(), args=(b"me", 2))
fan_out(Prober().probe, addresses(), args=(25,))
fan_out(Prober(), addresses())
fan_out(lambda talk: greeting(talk, b"me"), addresses())
fan_out(functools.partial(greeting, name=b"me"), addresses())


async def main() -> list[str]:
    async with fan_out_async(patient, addresses(), args=(b"me",)) as outcomes:
        return [outcome.value async for outcome in outcomes]


def ready(executor: RequestExecutor, address: tuple[str, int]) -> None:
    executor.call_later(5, executor.drain, 1)
    print(address[1])


asyncio.run(main())
messages.put("text")
numbers.put_threadsafe(5)
report = serve(forward, "tcp://127.0.0.1:0", args=(messages,), limit=50, ready=ready, io_timeout=5)
assert_type(report, DrainReport)
serve(banner, "tls://:443", stream_context={"certificate": "server.pem"}, drain_timeout=None, on_read=on_read)
