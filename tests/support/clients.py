"""Small protocol clients made of operations and handlers, as a user of the library would write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evsockets import (
    EventType,
    FixedLengthFramePicker,
    MarkerFramePicker,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    RespFramePicker,
    WriteOperation,
)
from support.wire import Log, add

LINE = MarkerFramePicker(None, b"\r\n")
HEADERS = MarkerFramePicker(None, b"\r\n\r\n")


def begin(executor: RequestExecutor, conversation: Any, address: str, **metadata: Any) -> Log:
    """Add a client that has the conversation, a `Get` or the like."""
    return add(executor, address, conversation.operation, on=conversation.handler, **metadata)


class Get:
    """One HTTP/1.1 GET: the header block is read by its marker, the body by its Content-Length.

    Give it to `begin`. Afterwards `status` and `body` are set, or `failure` is the exception or "timeout".
    A `consume` callable gets the body in pieces as they come instead; `done` is called in the READ that
    completes it.
    """

    def __init__(
        self,
        path: str = "/",
        *,
        host: str = "localhost",
        consume: Callable[[bytes], None] | None = None,
        done: Callable[[ReadEvent], object] | None = None,
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.failure: object = None
        self.finished = 0
        self._consume = consume
        self._done = done
        self._missing = 0
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.operation = WriteOperation(request, then=ReadOperation(HEADERS))
        self.handler = {
            EventType.READ: self._on_read,
            EventType.EXCEPTION: self._on_exception,
            EventType.TIMEOUT: self._on_timeout,
            EventType.FINALIZE: self._on_finalize,
        }

    def _on_read(self, event: ReadEvent) -> None:
        data = event.frame.data
        if not self.status:
            first, *fields = data.decode("latin-1").split("\r\n")
            self.status = int(first.split()[1])
            pairs = (field.split(":", 1) for field in fields if field)
            self.headers = {name.lower(): value.strip() for name, value in pairs}
            self._missing = int(self.headers["content-length"])
            if self._consume is None:
                event.next_is_read(FixedLengthFramePicker(self._missing))
            else:
                event.next_is_read()
            return
        if self._consume is None:
            self.body = data
        else:
            self._consume(data)
        self._missing -= len(data)
        if self._missing > 0:
            event.next_is_read()
        elif self._done is not None:
            self._done(event)

    def _on_exception(self, event: Any) -> None:
        self.failure = event.exception

    def _on_timeout(self, event: Any) -> None:
        self.failure = "timeout"

    def _on_finalize(self, event: Any) -> None:
        self.finished += 1


class Resp:
    """A Redis conversation: sends all commands at once and reads as many replies.

    `replies` holds what they mean; an error is an exception.
    """

    READ = ReadOperation(RespFramePicker())

    def __init__(self, *commands: tuple[bytes, ...]) -> None:
        self.replies: list[Any] = []
        self._commands = len(commands)
        self.operation = WriteOperation(map(self._encode, commands), then=self.READ)
        self.handler = {EventType.READ: self._on_read}

    def more(self, number: int) -> None:
        """So many come that are no replies."""
        self._commands += number

    @staticmethod
    def _encode(command: tuple[bytes, ...]) -> bytes:
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
        return b"*%d\r\n%b" % (len(command), parts)

    def _on_read(self, event: ReadEvent) -> None:
        self.replies.append(event.frame.value)
        if len(self.replies) < self._commands:
            event.next_is(self.READ)
