"""Conversations: an operation, what its peer does step by step, and the events expected.

    talk(WriteOperation(b"ask\n", then=ReadOperation(LINE)), gets(b"ask\n"), sends(b"one\n"), ends,
         told=["WRITE", b"one\n"], sent=b"ask\n")

The peer needs no thread: its steps are taken between the executor's turns, each as soon as it can be. The
fixture `talk` holds a conversation over memory (no kernel, exact time) and over real sockets on every engine.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from evsockets import (
    ClientSocket,
    EventType,
    FixedLengthFramePicker,
    MarkerFramePicker,
    ReadOperation,
    RequestExecutor,
)
from evsockets.testing.scripted import ManualClock
from support.life import END, USUAL
from support.memory import MemoryEngine, MemorySocket
from support.wire import PATIENCE, Said, operation_of, pair, reset, tcp_pair

LINE = MarkerFramePicker(None, b"\n")
READ_LINE = ReadOperation(LINE)
ONE = FixedLengthFramePicker(1)
#: More than any socket takes at once.
BIG = bytes(range(256)) * 8_000


def fixed(size: int) -> ReadOperation:
    """Read so many bytes."""
    return ReadOperation(FixedLengthFramePicker(size))


# ---- what a peer does ------------------------------------------------------------------------------

Step = Callable[["Conversation"], bool]
"""Does what it can; whether it is done."""


def sends(data: bytes) -> Step:
    """All of `data`, as fast as it is taken."""

    def step(talk: Conversation) -> bool:
        try:
            while talk.progress < len(data):
                talk.progress += talk.peer.send(memoryview(data)[talk.progress :])
        except (BlockingIOError, ConnectionError):
            return False
        return True

    return step


def sends_apart(data: bytes) -> list[Step]:
    """Each byte in a turn of its own."""
    return [step for number in range(len(data)) for step in (turns(2), sends(data[number : number + 1]))]


def gets(data: bytes) -> Step:
    """Waits until `data` has come, and nothing else before it."""

    def step(talk: Conversation) -> bool:
        start = len(talk.received) - talk.progress
        talk.progress += talk.receive(len(data) - talk.progress)
        assert talk.received[start:] == data[: talk.progress], bytes(talk.received[start:][:200])
        return talk.progress == len(data)

    return step


def gets_any(size: int) -> Step:
    """Waits until so many bytes have come."""

    def step(talk: Conversation) -> bool:
        talk.progress += talk.receive(size - talk.progress)
        return talk.progress == size

    return step


def gets_end(talk: Conversation) -> bool:
    """Waits for our end of stream; everything before it counts as sent."""
    while talk.receive(1 << 20):
        pass
    return talk.at_end


def ends(talk: Conversation) -> bool:
    """No more from the peer, which goes on reading."""
    talk.peer.shutdown(socket.SHUT_WR)
    return True


def closes(talk: Conversation) -> bool:
    """The peer is gone."""
    talk.close_peer()
    return True


def resets(talk: Conversation) -> bool:
    """The peer is gone with a reset; over TCP."""
    if isinstance(talk.peer, MemorySocket):
        talk.peer.reset()
    else:
        reset(talk.peer)
    return True


def says_goodbye(talk: Conversation, data: bytes, over: str) -> bool:
    """The peer sends all of `data` and is gone, over TCP with a reset; it has arrived when this returns."""
    if not isinstance(talk.peer, MemorySocket):
        talk.peer.settimeout(PATIENCE)
    assert sends(data)(talk)
    talk.progress = 0
    resets(talk) if over == "tcp" else closes(talk)
    if not isinstance(talk.peer, MemorySocket):
        poll = select.poll()
        poll.register(talk.client.fileno(), 0)
        assert poll.poll(PATIENCE * 1000)  # POLLHUP is told unasked
    return True


def urgent(byte: bytes) -> Step:
    """An urgent byte; over TCP."""
    return lambda talk: talk.peer.send(byte, socket.MSG_OOB) == 1


def is_told(name: str, times: int = 1) -> Step:
    """Waits until so many events of the kind have been told to our socket."""
    return lambda talk: talk.names.count(name) >= times


def does(function: Callable[[], object]) -> Step:
    """Calls it between two turns."""

    def step(talk: Conversation) -> bool:
        function()
        return True

    return step


def turns(count: int) -> Step:
    """Waits for so many turns, reading nothing."""

    def step(talk: Conversation) -> bool:
        talk.progress += 1
        return talk.progress > count

    return step


def reads_nothing(talk: Conversation) -> bool:
    """The peer reads no more until our socket's life is over."""
    return not talk.going_on


# ---- what is told ----------------------------------------------------------------------------------


def shown(event: Any) -> Any:
    """An event as it is written in a test: READ as its frame's bytes, EXCEPTION as the type of the error."""
    if event.type is EventType.READ:
        return event.frame.data
    if event.type is EventType.EXCEPTION:
        return type(event.exception)
    if event.type is EventType.TIMEOUT:
        return f"TIMEOUT {event.when.name} {event.phase}"
    if event.type is EventType.DATA_ALERT:
        return f"DATA_ALERT {event.attempt}"
    return event.type.name


class Conversation:
    """One socket's life and its peer; see `Talk`."""

    def __init__(self, executor: RequestExecutor, client: ClientSocket, peer: Any) -> None:
        self.executor = executor
        self.client = client
        self.peer = peer
        self.peer_name = peer.getsockname() or None
        self.events: list[Any] = []
        self.moments: list[float] = []  # of the executor's clock, one for each event
        self.metadata: Any = None
        self.received = bytearray()
        self.progress = 0  # of the current step
        self.at_end = False
        self._steps: deque[Step] = deque()
        self._answers: dict[str, Any] = {}

    @property
    def names(self) -> list[str]:
        return [event.type.name for event in self.events]

    def when(self, name: str) -> list[float]:
        """The moments of the events of a kind."""
        return [moment for kind, moment in zip(self.names, self.moments, strict=True) if kind == name]

    @property
    def told(self) -> list[Any]:
        return [shown(event) for event in self.events]

    @property
    def errors(self) -> list[Any]:
        return [event.exception for event in self.events if event.type is EventType.EXCEPTION]

    @property
    def error(self) -> Any:
        """The one exception there was."""
        (error,) = self.errors
        return error

    @property
    def going_on(self) -> bool:
        return "FINALIZE" not in self.names

    def live(self, operation: Said, steps: Sequence[Any], on: dict[str, Any], **metadata: Any) -> None:
        """Begin a life of the socket."""
        self.events.clear()
        self.moments.clear()
        self.received.clear()
        self._steps = deque(each for step in steps for each in (step if isinstance(step, list) else [step]))
        self._answers = {name: iter(each) if isinstance(each, list) else each for name, each in on.items()}
        handler = {kind: self._tell for kind in EventType if kind is not EventType.OOB or "OOB" in on}
        self.metadata = self.executor.socket_bag.add_socket(
            self.client, operation_of(operation), **{"handler": handler, "io_timeout": PATIENCE, **metadata}
        )

    def _tell(self, event: Any) -> None:
        self.events.append(event)
        self.moments.append(self.executor._loop.clock())
        answer = self._answers.get(event.type.name)
        if callable(answer):
            answer(event)
        elif answer is not None:
            following = next(answer, None)
            if following is not None:
                event.next_is(following)

    def receive(self, size: int) -> int:
        """Have the peer receive so many bytes at the most; how many there were."""
        try:
            data = self.peer.recv(size) if size else b""
        except BlockingIOError:
            return 0
        except ConnectionError:
            data = b""
        self.received += data
        self.at_end = self.at_end or (not data and size > 0)
        return len(data)

    def go_on(self) -> bool:
        """The peer takes every step that it can take now, and reads to the end after the last one; whether
        it did anything."""
        before = len(self._steps), self.progress, len(self.received)
        while self._steps and self._steps[0](self):
            self._steps.popleft()
            self.progress = 0
        if not self._steps and self.peer.fileno() >= 0:
            gets_end(self)
        return before != (len(self._steps), self.progress, len(self.received))

    def close_peer(self) -> None:
        self.peer.close()

    def check(
        self,
        told: Sequence[Any] = (),
        sent: bytes | None = b"",
        begins: Sequence[str] = USUAL,
        ends_with: Sequence[str] = END,
    ) -> None:
        """Whether just these events have been told, and just these bytes been sent."""
        assert self.told == [*begins, *told, *ends_with], self.errors
        assert not self._steps, f"{len(self._steps)} steps of the peer were not taken"
        if sent is not None:
            assert self.received == sent
            assert self.metadata.bytes_sent == len(sent)


ANYTHING: Any = object()


class Talk:
    """Holds conversations; called, it holds one from its beginning to its end and compares.

    `told` are the events between CONNECTED and DISCONNECTED, `sent` is every byte that the peer got.
    `on` maps names of events to a handler, or to a list of the operations that they name as next ones.
    A coroutine function stands for its conversation, and `gives` is what that returns.
    """

    def __init__(self, executor: RequestExecutor) -> None:
        self.executor = executor
        self.bag = executor.socket_bag
        self._all: list[Conversation] = []

    @property
    def in_memory(self) -> bool:
        return isinstance(self.executor.engine, MemoryEngine)

    @property
    def clock(self) -> ManualClock:
        """In memory time passes only while nothing else happens, and when a test advances it."""
        assert isinstance(self.executor.engine, MemoryEngine)
        return self.executor.engine.clock

    def later(self, *steps: tuple[float, Callable[[], object]]) -> None:
        """In memory: call each function so many seconds of waiting after the one before."""
        assert isinstance(self.executor.engine, MemoryEngine)
        for seconds, function in steps:
            self.executor.engine.call(lambda function=function: function() and None, after=seconds)

    def pair(self, over: str = "unix") -> Conversation:
        """A socket of ours and its peer, which have not begun. In memory there is only one kind."""
        engine = self.executor.engine
        client: ClientSocket
        theirs: Any
        if isinstance(engine, MemoryEngine):
            client, theirs = engine.pair()
        else:
            client, theirs = tcp_pair() if over == "tcp" else pair()
            theirs.setblocking(False)
        self._all.append(Conversation(self.executor, client, theirs))
        return self._all[-1]

    def begin(
        self,
        operation: Said,
        *steps: Any,
        on: dict[str, Any] | None = None,
        over: str = "unix",
        **metadata: Any,
    ) -> Conversation:
        """Add a socket that has the conversation when the executor runs."""
        made = self.pair(over)
        made.live(operation, steps, on or {}, **metadata)
        return made

    def run(self) -> None:
        """Run the executor and the peers to the end."""
        limit = time.monotonic() + PATIENCE
        self.executor.start_request()
        alive, idle = True, False
        try:
            while alive:
                assert time.monotonic() < limit, [each.told for each in self._all]
                busy = [each.go_on() for each in self._all]
                pause = None if self.in_memory else 0.05
                alive = self.executor.turn(pause if idle and not any(busy) else 0)
                idle = not any(busy)  # neither side has done anything: let time pass
        finally:
            for each in self._all:
                each.go_on()

    def __call__(
        self,
        operation: Said,
        *steps: Any,
        gives: Any = ANYTHING,
        told: Sequence[Any] = (),
        sent: bytes | None = b"",
        begins: Sequence[str] = USUAL,
        ends_with: Sequence[str] = END,
        on: dict[str, Any] | None = None,
        over: str = "unix",
        again: Conversation | None = None,
        **metadata: Any,
    ) -> Conversation:
        made = self.pair(over) if again is None else again
        made.live(operation, steps, on or {}, **metadata)
        try:
            self.run()
        finally:
            made.check(told, sent, begins, ends_with)
        if gives is not ANYTHING:
            assert made.metadata.result == gives
            assert made.metadata.result is gives or not isinstance(gives, bool)
        return made

    def close(self) -> None:
        """Close what is left of both ends."""
        for each in self._all:
            each.client.close()
            each.close_peer()
