"""Redis: commands in a pipeline, and published messages as they arrive, in the protocol RESP.

    python redis.py tcp://127.0.0.1:6379 pipeline 1000
    python redis.py tcp://127.0.0.1:6379 subscribe news 3
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from evsockets import Conversation, Outcome, RespFramePicker, fan_out

REPLY = RespFramePicker()


def command(*parts: bytes | int) -> bytes:
    words = [part if isinstance(part, bytes) else b"%d" % part for part in parts]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


async def pipeline(talk: Conversation, count: int) -> tuple[Any, ...]:
    """Send all commands at once; the answers come in their order."""
    await talk.write(
        command(b"DEL", b"counter")
        + command(b"INCR", b"counter") * count
        + command(b"LPUSH", b"list", b"two", b"one")
        + command(b"LRANGE", b"list", 0, -1)
        + command(b"DEL", b"list")
    )
    values = [(await talk.read(REPLY)).value for _ in range(count + 4)]
    return values[count], values[count + 2]


async def subscribe(talk: Conversation, channel: bytes, count: int) -> list[bytes]:
    """The next `count` messages."""
    await talk.write(command(b"SUBSCRIBE", channel))
    messages: list[bytes] = []
    async for frame in talk.frames(REPLY):
        kind, _, content = frame.value
        if kind == b"subscribe":
            print("subscribed", flush=True)
        elif kind == b"message":
            messages.append(content)
            if len(messages) == count:
                break
    return messages


def main(address: str, what: str, *arguments: str) -> None:
    outcomes: Iterable[Outcome]
    if what == "pipeline":
        outcomes = fan_out(pipeline, [address], args=(int(arguments[0]),))
    else:
        channel, count = arguments
        outcomes = fan_out(subscribe, [address], args=(channel.encode(), int(count)), io_timeout=None)
    for outcome in outcomes:
        print(outcome.value)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5) or sys.argv[2] not in ("pipeline", "subscribe"):
        print("usage: python redis.py ADDRESS (pipeline COUNT | subscribe CHANNEL COUNT)", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
