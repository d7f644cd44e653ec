"""Conversations of every kind over loopback; their traces are the same on every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engines.base import Engine
from ..event_types import EventType
from ..executor import RequestExecutor
from ..frames import EndOfStreamFramePicker, FixedLengthFramePicker, MarkerFramePicker
from ..limits import ConstantLimitationSolver
from ..operations.delay import DelayedOperation
from ..operations.duplex import ReadWriteOperation
from ..operations.null import NullOperation
from ..operations.read import ReadOperation
from ..operations.shutdown import ShutdownWriteOperation
from ..operations.write import WriteOperation
from .recordings import Stage

LINE = MarkerFramePicker(None, b"\n")
_BIG = bytes(range(256)) * 4_096  # 1 MiB: more than a socket takes at once

Conversation = Callable[[Stage], None]
CONVERSATIONS: dict[str, Conversation] = {}
"""By name."""


def run(name: str, engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Run the conversation on `engine`; returns the events of each of its sockets, in order."""
    with RequestExecutor(engine) as executor, Stage(executor) as stage:
        CONVERSATIONS[name](stage)
        executor.execute_request()
        return stage.trace.lives


def _conversation(function: Conversation) -> Conversation:
    CONVERSATIONS[function.__name__] = function
    return function


def _ask(data: bytes = b"ask\n") -> WriteOperation:
    return WriteOperation(data, then=ReadOperation(LINE))


def _again(event: Any) -> None:
    event.next_is_read(LINE)


@_conversation
def lines(stage: Stage) -> None:
    """A frame in one piece, one in many, then the end at a frame's boundary."""
    address = stage.peer(
        ("receive", b"ask\n"), ("send", b"one\n"), ("send apart", b"two\n"), ("end",), ("wait",)
    )
    stage.client("lines", address, _ask(), {EventType.READ: _again})


@_conversation
def bytes_left_over(stage: Stage) -> None:
    """What came with a frame is offered to the next picker."""
    address = stage.peer(("send", b"one\ntwo\n\n12345"), ("end",), ("wait",))

    def follow(event: Any) -> None:
        if event.frame.data == b"\n":
            event.next_is_read(FixedLengthFramePicker(5))
        elif len(event.frame.data) == 4:
            _again(event)

    stage.client("left over", address, ReadOperation(LINE), {EventType.READ: follow})


@_conversation
def cut_off(stage: Stage) -> None:
    """Ends inside a frame, at a boundary, by a reset; a refused connect."""
    inside = stage.peer(("send", b"half"), ("end",), ("wait",))
    boundary = stage.peer(("end",), ("wait",))
    reset = stage.peer(("receive", b"ask\n"), ("reset",))
    stage.client("inside", inside, ReadOperation(LINE))
    stage.client("boundary", boundary, ReadOperation(LINE))
    stage.client("raw", stage.peer(("end",), ("wait",)), ReadOperation())
    stage.client("reset", reset, _ask())
    stage.client("refused", stage.refusing("tcp"), _ask())


@_conversation
def much(stage: Stage) -> None:
    """More than the kernel takes at once, out and back; an iterator's pieces."""
    both = stage.peer(("receive", _BIG), ("send", _BIG), ("wait",))
    stage.client("much", both, WriteOperation(_BIG, then=ReadOperation(FixedLengthFramePicker(len(_BIG)))))
    pieces = stage.peer(("receive", b"".join([b"x" * 10_000] * 50)), ("send", b"all\n"), ("wait",))
    stage.client(
        "pieces", pieces, WriteOperation((b"x" * 10_000 for _ in range(50)), then=ReadOperation(LINE))
    )


@_conversation
def both_directions(stage: Stage) -> None:
    """Reading and writing at the same time; a half-close and what follows it."""
    duplex = stage.peer(("send", b"one\n"), ("receive", b"1\n2\n"), ("send", b"two\n"), ("wait",))
    stage.client(
        "duplex",
        duplex,
        ReadWriteOperation(False, [ReadOperation(LINE), WriteOperation(b"1\n2\n"), ReadOperation(LINE)]),
    )
    half = stage.peer(("receive", b"ask\n"), ("wait",), ("send", b"an answer"))
    stage.client(
        "half",
        half,
        WriteOperation(b"ask\n", then=ShutdownWriteOperation(ReadOperation(EndOfStreamFramePicker()))),
    )


@_conversation
def kept_alive(stage: Stage) -> None:
    """A new operation for an idle socket; stray bytes until it is given up; an idle end."""
    stray = stage.peer(("receive", b"ask\n"), ("send", b"answer\nstray"), ("wait",))
    stage.client("stray", stray, _ask(), keep_alive=True)
    idle = stage.peer(("receive", b"ask\n"), ("send", b"answer\n"), ("end",), ("wait",))
    stage.client("idle", idle, _ask(), keep_alive=True)
    asked = stage.peer(
        ("send", b"hello\n"), ("receive", b"ask\n"), ("send", b"answer\n"), ("end",), ("wait",)
    )

    def alert(event: Any) -> None:
        event.next_is_read(LINE)

    def read(event: Any) -> None:
        if event.frame.data == b"hello\n":
            event.next_is(_ask())

    stage.client(
        "asked", asked, NullOperation(), {EventType.DATA_ALERT: alert, EventType.READ: read}, keep_alive=True
    )


@_conversation
def out_of_band(stage: Stage) -> None:
    """An urgent byte comes before the operation is looked at."""
    urgent = stage.peer(("receive", b"ask\n"), ("urgent", b"!"), ("send", b"answer\n"), ("wait",))
    stage.client("urgent", urgent, _ask(), {EventType.OOB: lambda event: None})


@_conversation
def time_outs(stage: Stage) -> None:
    """Every stage of them, one with another attempt."""
    attempts: list[Any] = []

    def once_more(event: Any) -> None:
        attempts.append(event)
        if len(attempts) == 1:
            event.enable_one_more_attempt()

    silent = stage.peer(("wait",))
    stage.client("reading", silent, ReadOperation(LINE), {EventType.TIMEOUT: once_more}, io_timeout=0.05)
    silent = stage.peer(("receive", b"ask\n"), ("send", b"answer\n"), ("wait",))
    stage.client("idle", silent, _ask(), keep_alive=True, idle_timeout=0.05)
    silent = stage.peer(("wait",))
    stage.client("request", silent, ReadOperation(LINE), request_timeout=0.2)
    silent = stage.peer(("wait",)).replace("tcp:", "tls:")
    stage.client("handshake", silent, ReadOperation(LINE), connection_timeout=0.2)
    slow = stage.peer(("send", b"slow"), ("wait",))
    stage.client("slow", slow, ReadOperation(LINE), min_receive_speed=1_000, min_receive_speed_duration=0.1)


@_conversation
def datagrams(stage: Stage) -> None:
    """Answered ones, an empty one, and one to a port where nobody is."""

    def clients(event: Any) -> None:
        where = "udp://127.0.0.1:%d" % event.metadata.local_address[1]
        stage.client("empty", where, WriteOperation([b""], then=ReadOperation()))
        stage.client(
            "two",
            where,
            WriteOperation([b"one", b"two"], then=ReadOperation()),
            {EventType.READ: lambda e: e.next_is_read() if e.frame.data == b"one" else None},
        )

    stage.server("udp://127.0.0.1:0", clients, {EventType.READ: lambda e: e.next_is_write(e.frame.data)})
    stage.client("nobody", stage.refusing("udp"), WriteOperation(b"x", then=ReadOperation()))


@_conversation
def unix(stage: Stage) -> None:
    """A server and a client on a path."""
    address = f"unix://{stage.folder / 'socket'}"
    stage.server(
        address,
        lambda event: stage.client("unix", address, _ask()),
        {EventType.READ: lambda event: event.next_is_write(event.frame.data)},
        lambda: ReadOperation(LINE),
    )


@_conversation
def many(stage: Stage) -> None:
    """A server with a hundred clients at once, each asking and answered three times."""

    def clients(event: Any) -> None:
        where = "tcp://127.0.0.1:%d" % event.metadata.local_address[1]
        for number in range(100):
            stage.client(
                f"client {number}",
                where,
                _ask(b"%d 1\n%d 2\n%d 3\n" % ((number,) * 3)),
                {EventType.READ: more},
            )

    def more(event: Any) -> None:
        if not event.frame.data.endswith(b"3\n"):
            _again(event)

    stage.server(
        "tcp://127.0.0.1:0",
        clients,
        {EventType.READ: lambda e: e.next_is_write(e.frame.data, then=ReadOperation(LINE))},
        lambda: ReadOperation(LINE),
    )


@_conversation
def one_after_another(stage: Stage) -> None:
    """A limit of one at a time, and one that is held back until another has ended."""
    ended: list[str] = []
    stage.executor.with_limitation_solver(ConstantLimitationSolver(2))
    address = stage.peer(("receive", b"ask\n"), ("send", b"answer\n"), ("wait",), clients=3)

    def note(event: Any) -> None:
        ended.append("one")

    held = stage.peer(("receive", b"ask\n"), ("send", b"answer\n"), ("wait",))
    stage.client("held", held, DelayedOperation(_ask(), lambda socket, executor: len(ended) < 3))
    for number in range(3):
        stage.client(f"in turn {number}", address, _ask(), {EventType.FINALIZE: note})


@_conversation
def cancelled(stage: Stage) -> None:
    """One socket ends another, itself, and is ended before it began."""
    address = stage.peer(("wait",))
    victim = stage.client("victim", address, ReadOperation(LINE))
    other = stage.peer(("send", b"now\n"), ("wait",))

    def read(event: Any) -> None:
        victim.close()
        event.cancel_operation()

    stage.client("killer", other, ReadOperation(LINE), {EventType.READ: read})
    stage.client(
        "unborn", other, ReadOperation(LINE), {EventType.INITIALIZE: lambda event: event.cancel_operation()}
    )


@_conversation
def tls(stage: Stage) -> None:
    """A verified conversation and a certificate nobody vouches for; needs trustme."""
    import trustme

    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    root, own = str(stage.folder / "ca.pem"), str(stage.folder / "own.pem")
    authority.cert_pem.write_to_path(root)
    leaf.private_key_and_cert_chain_pem.write_to_path(own)
    data = _BIG[:200_000]

    def clients(event: Any) -> None:
        where = "tls://localhost:%d" % event.metadata.local_address[1]
        whole = FixedLengthFramePicker(len(data))
        stage.client(
            "verified",
            where,
            WriteOperation(data, then=ReadOperation(whole)),
            stream_context={"ca_file": root},
        )
        stage.client("distrustful", where, WriteOperation(data))

    stage.server(
        "tls://127.0.0.1:0",
        clients,
        {EventType.READ: lambda e: e.next_is_write(e.frame.data)},
        lambda: ReadOperation(FixedLengthFramePicker(len(data))),
        stream_context={"certificate": own, "private_key": own},
    )
