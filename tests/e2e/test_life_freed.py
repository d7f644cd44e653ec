"""A complete life is freed by reference counting: without the collector nothing is left of any kind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    AddressError,
    ClientSocket,
    Configuration,
    Conversation,
    ConversationOperation,
    DelayedOperation,
    EventType,
    FixedLengthFramePicker,
    Frame,
    FrameError,
    FramePicker,
    Inbox,
    NetworkSocketError,
    PersistentClientSocket,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    SocketTimeoutError,
    TlsHandshakeOperation,
    WriteOperation,
    fan_out,
)
from evsockets.core.channel import Channel
from support.certificates import Authority
from support.machine import comes_true
from support.stage import unanswered

#: Lives of one kind.
MANY = 30
ONE = FixedLengthFramePicker(1)
ASK = WriteOperation(b"?", then=ReadOperation(ONE))


@pytest.fixture(scope="module", autouse=True)
def older_objects_are_left_out() -> Iterator[None]:
    """Each look at all objects goes through those of these tests, not through the whole program's."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_records_kept(caplog: pytest.LogCaptureFixture) -> None:
    """pytest keeps what is logged, tracebacks and all."""
    caplog.set_level(logging.CRITICAL + 1, "evsockets")


def channels() -> int:
    return sum(type(thing) is Channel for thing in gc.get_objects())


class Lives:
    """Adds lives to an executor; what they need is closed at the end."""

    def __init__(self, executor: RequestExecutor, ca: Authority, stack: contextlib.ExitStack) -> None:
        self.executor = executor
        self.bag = executor.socket_bag
        self.ca = ca
        self.stack = stack
        self.deaf = stack.enter_context(socket.socket())  # bound and not listening
        self.deaf.bind(("0.0.0.0", 0))
        self.port = self.deaf.getsockname()[1]

    def add(self, operation: Any, received: bytes | None = b"", **more: Any) -> socket.socket:
        """A client whose peer has sent `received`; None: it has closed."""
        ours, theirs = socket.socketpair()
        self.stack.enter_context(theirs)
        if received is None:
            theirs.close()
        elif received:
            theirs.send(received)
        self.bag.add_socket(ClientSocket.from_socket(ours), operation, **more)
        return theirs

    def open(self, address: str, **more: Any) -> ClientSocket:
        made = ClientSocket()
        self.bag.add_socket(made, ASK, address=address, **more)
        return made

    def serve(self, scheme: str, accept: Callable[[Any], Any] | None = None, trusting: bool = True) -> None:
        """A server and its only client."""
        server = ServerSocket()
        tls = scheme == "tls"
        theirs = {"certificate": self.ca.server.certificate, "private_key": self.ca.server.private_key}
        ours = {"ca_file": self.ca.ca_file} if trusting else {}

        def answer(event: Any) -> None:
            event.next_is_write(b"!")

        def take(event: Any) -> None:
            self.bag.add_socket(event.client_socket, ReadOperation(ONE), handler={EventType.READ: answer})

        def go(event: Any) -> None:
            address = f"{scheme}://127.0.0.1:{event.metadata.local_address[1]}"
            self.open(
                address, stream_context=ours if tls else None,
                handler={EventType.FINALIZE: lambda event: server.close()},
            )  # fmt: skip

        self.bag.add_socket(
            server, ReadOperation(), address=f"{scheme}://127.0.0.1:0",
            stream_context=theirs if tls else None,
            handler={EventType.CONNECTED: go, EventType.ACCEPT: accept or take},
        )  # fmt: skip


def raising(error: BaseException) -> Callable[[Any], None]:
    def handler(event: Any) -> None:
        raise type(error)(*error.args)

    return handler


def forget(event: Any) -> None:
    event.executor.socket_bag.forget_socket(event.socket)


def keep_error(event: Any) -> None:
    event.metadata.user_context = event.exception


def again(count: int) -> Callable[[Any], None]:
    left = iter(range(count))

    def handler(event: Any) -> None:
        if next(left, None) is not None:
            event.enable_one_more_attempt()

    return handler


def failing_iterable() -> Iterator[bytes]:
    yield b"x"
    raise ValueError("a bug")


def pending(count: int) -> Callable[..., bool]:
    left = iter(range(count))
    return lambda *_: next(left, None) is not None


def add_and_remove(lives: Lives) -> None:
    lives.bag.remove_socket(lives.open("tcp://127.0.0.1:1"))


def urgent(lives: Lives) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs = lives.stack.enter_context(listener.accept()[0])
    theirs.send(b"!", socket.MSG_OOB)
    theirs.send(b"x")
    operation = WriteOperation(b"!", out_of_band=True, then=ReadOperation(ONE))
    lives.bag.add_socket(ClientSocket.from_socket(ours), operation, handler={EventType.OOB: repr})


def pooled(lives: Lives) -> None:
    listener = lives.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    made = PersistentClientSocket()
    lives.stack.callback(made.close)
    lives.bag.add_socket(
        made, ASK, address=f"tcp://127.0.0.1:{listener.getsockname()[1]}",
        handler={EventType.WRITE: lambda event: (event.next_operation_not_required(), forget(event))},
    )  # fmt: skip


def reset(lives: Lives, **more: Any) -> None:
    theirs = lives.add(ReadOperation(FixedLengthFramePicker(5)), b"xy", **more)
    known = list(lives.bag)[-1]
    os.write(known.fileno(), b"unread")  # what a peer has not read when it closes makes a reset
    theirs.close()


def hole(lives: Lives, **more: Any) -> None:
    address = lives.stack.enter_context(unanswered())
    lives.open(address, connection_timeout=0.01, **more)


def taken_port(lives: Lives) -> None:
    listener = lives.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    lives.bag.add_socket(ServerSocket(), ReadOperation(), address=address)


def named_by_what_refers_to_an_event(lives: Lives) -> None:
    """The write times out, and what was to follow it refers to an event of the very socket."""

    def name(event: Any) -> None:
        then = DelayedOperation(ReadOperation(), lambda *_: event.is_cancelled)
        write = WriteOperation((bytes(65_536) for _ in range(100)), then=then)
        lives.bag.set_operation(event.socket, write)

    lives.add(ReadOperation(), io_timeout=0.01, handler={EventType.CONNECTED: name})


async def converses(talk: Conversation) -> bytes:
    await talk.write(b"?")
    with contextlib.suppress(SocketTimeoutError), talk.timeout(0.001):
        await talk.read(FixedLengthFramePicker(9))
    talk.post(b"!")
    await talk.flushed()
    await talk.sleep(0.001)
    async for frame in talk.frames(ONE):
        return frame.data
    return b"nothing"


async def raises(talk: Conversation) -> None:
    await talk.read(ONE)
    raise ValueError("a bug")


async def meets(talk: Conversation) -> None:
    try:
        await talk.read(FixedLengthFramePicker(5))
    except NetworkSocketError as error:
        talk.metadata.user_context = str(error)
        with contextlib.suppress(NetworkSocketError):
            await talk.write(b"x")


async def awaits_wrongly(talk: Conversation) -> None:
    with contextlib.suppress(RuntimeError):
        await asyncio.sleep(0)
    await talk.start_tls()


async def wait_for_each_other(talk: Conversation, both: list[Conversation]) -> None:
    both.append(talk)
    talk.post(bytes(1_000_000))
    await talk.read(ONE)
    await both[0].flushed()
    await both[-1].flushed()


def talk_of(function: Any) -> Callable[[Lives], object]:
    return lambda lives: lives.add(ConversationOperation(function), b"!")


def reset_talk(lives: Lives) -> None:
    theirs = lives.add(ConversationOperation(meets), b"xy")
    known = list(lives.bag)[-1]
    os.write(known.fileno(), b"unread")
    theirs.close()


def waiting_talks(lives: Lives) -> None:
    both: list[Any] = []
    for _ in range(2):
        lives.add(ConversationOperation(wait_for_each_other, both), b"!", io_timeout=0.01)


KINDS: dict[str, Callable[[Lives], object]] = {
    "a conversation": talk_of(converses),
    "a conversation's bug": talk_of(raises),
    "a conversation that awaits wrongly": talk_of(awaits_wrongly),
    "a conversation not waited for": lambda lives: lives.add(
        ConversationOperation(converses), b"!",
        handler={EventType.WRITE: lambda event: event.cancel_operation()},
    ),
    "a conversation that is replaced": lambda lives: lives.add(
        ConversationOperation(raises), b"!",
        handler={EventType.READ: lambda event: event.next_is_write(b"x")},
    ),
    "a conversation timed out": lambda lives: lives.add(ConversationOperation(converses), io_timeout=0.01),
    "a conversation's time": lambda lives: lives.add(ConversationOperation(converses), request_timeout=0.01),
    "a conversation reset": reset_talk,
    "conversations that wait for each other": waiting_talks,
    "answered": lambda lives: lives.add(ASK, b"!"),
    "served": lambda lives: lives.serve("tcp"),
    "served over tls": lambda lives: lives.serve("tls"),
    "served by datagrams": lambda lives: lives.serve("udp"),
    "not taken": lambda lives: lives.serve("tcp", accept=lambda event: event.cancel_operation()),
    "certificate refused": lambda lives: lives.serve("tls", trusting=False),
    "refused": lambda lives: lives.open(f"tcp://127.0.0.1:{lives.port}"),
    "all of a race refused": lambda lives: lives.open(f"tcp://two.test:{lives.port}"),
    "no source address": lambda lives: lives.open(
        "tcp://two.test:1", stream_context={"bind_to": ("192.0.2.1", 0)}
    ),
    "unknown name": lambda lives: lives.open("tcp://nobody.test:1"),
    "datagram refused": lambda lives: lives.open(f"udp://127.0.0.1:{lives.port}", io_timeout=0.05),
    "port taken": taken_port,
    "connecting timed out": hole,
    "tried again": lambda lives: hole(lives, handler={EventType.TIMEOUT: again(2)}),
    "timed out": lambda lives: lives.add(ReadOperation(), io_timeout=0.01),
    "timed out in a large write": lambda lives: lives.add(WriteOperation(bytes(1_000_000)), io_timeout=0.01),
    "timed out with more to come": named_by_what_refers_to_an_event,
    "too slow": lambda lives: lives.add(
        ReadOperation(), min_receive_speed=1000, min_receive_speed_duration=0.01
    ),
    "ended inside a frame": lambda lives: lives.add(
        ReadOperation(FixedLengthFramePicker(9)), b"x"
    ).shutdown(socket.SHUT_WR),
    "reset": reset,
    "nobody there": lambda lives: lives.add(WriteOperation(bytes(100)), None),
    "no tls": lambda lives: lives.add(
        TlsHandshakeOperation(ReadOperation(), server_hostname="x"), b"no tls at all" * 9
    ),
    "a library error in a handler": lambda lives: lives.add(
        ASK, handler={EventType.WRITE: raising(FrameError("no"))}
    ),
    "a bug in a handler": lambda lives: lives.add(ASK, handler={EventType.WRITE: raising(ValueError())}),
    "a bug at the end": lambda lives: lives.add(
        WriteOperation(b"x"), handler={EventType.DISCONNECTED: raising(AddressError("no"))}
    ),
    "a bug after a failure": lambda lives: lives.add(
        ReadOperation(ONE), None, handler={EventType.EXCEPTION: raising(ValueError())}
    ),
    "a bug in FINALIZE": lambda lives: lives.add(
        WriteOperation(b"x"), handler={EventType.FINALIZE: raising(ValueError())}
    ),
    "a bug in an iterable": lambda lives: lives.add(WriteOperation(failing_iterable())),
    "its error kept in its own metadata": lambda lives: reset(
        lives, handler={EventType.EXCEPTION: keep_error}
    ),
    "a refusal kept in its own metadata": lambda lives: lives.open(
        f"tcp://two.test:{lives.port}", handler={EventType.EXCEPTION: keep_error}
    ),
    "cancelled at first": lambda lives: lives.add(
        ASK, handler={EventType.INITIALIZE: lambda event: event.cancel_operation()}
    ),
    "cancelled": lambda lives: lives.add(
        ASK, handler={EventType.WRITE: lambda event: event.cancel_operation()}
    ),
    "both directions": lambda lives: lives.add(
        ReadWriteOperation(operations=[ReadOperation(ONE), WriteOperation(b"x"), WriteOperation(b"y")]), b"!"
    ),
    "delayed": lambda lives: lives.add(DelayedOperation(ASK, pending(3), interval=0.001), b"!"),
    "urgent bytes": urgent,
    "kept alive": lambda lives: lives.add(WriteOperation(b"x"), keep_alive=True, idle_timeout=0.01),
    "unread bytes": lambda lives: lives.add(WriteOperation(b"x"), b"unread", keep_alive=True),
    "forgotten": lambda lives: lives.add(
        WriteOperation(b"x"), keep_alive=True, handler={EventType.WRITE: forget}
    ),
    "pooled": pooled,
    "removed unstarted": add_and_remove,
}

#: Of these the socket is kept, by the executor or the pool.
CONNECTION_KEPT = ("forgotten", "pooled")


def look_up(host: str, port: int, *_: Any) -> list[tuple[Any, ...]]:
    if host == "nobody.test":
        raise socket.gaierror(socket.EAI_NONAME, "unknown")
    if host == "slow.test":
        time.sleep(0.1)
    both = ("127.0.0.1", "127.0.0.2")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in both]


@contextlib.contextmanager
def lives(engine: str, ca: Authority, isolated: bool = True) -> Iterator[Lives]:
    """Without the collector from here to the end."""
    gc.collect()
    gc.disable()
    configuration = Configuration(isolate_handler_errors=isolated)
    try:
        with (
            contextlib.ExitStack() as stack,
            RequestExecutor(engine, configuration=configuration, resolver=look_up) as executor,
        ):
            yield Lives(executor, ca, stack)
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_a_complete_life(
    engine: str, ca: Authority, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its channel, though the bag and somebody else hold its socket and its metadata; of these, when
    they let go."""
    monkeypatch.setattr(sys, "unraisablehook", lambda told: None)  # the runner's keeps what it is told
    with lives(engine, ca) as some:
        before = channels()
        for _ in range(MANY):
            KINDS[kind](some)
        known = [(one, some.bag.get_metadata(one)) for one in some.bag]
        some.executor.execute_request()
        assert channels() == before
        for one, metadata in known:
            assert metadata.request_complete and "complete" in repr(one) and "complete=True" in repr(metadata)
            some.bag.remove_socket(one)
        gone = [weakref.ref(one) for one, _ in known]
        one = metadata = None
        known.clear()
        if kind not in CONNECTION_KEPT:
            assert [ref() for ref in gone if ref() is not None] == []


def test_no_frame_of_a_conversation_is_left(executor: RequestExecutor) -> None:
    """Neither after an await that was broken off."""
    made: list[weakref.ref[Frame]] = []

    class Marked(Frame):
        """One that can be referred to weakly."""

    class Four(FramePicker[Marked]):
        def pick(self, inbox: Inbox, ended: bool) -> Marked | None:
            if len(inbox) < 4:
                return None
            frame = Marked(inbox.take(4))
            made.append(weakref.ref(frame))
            return frame

    async def function(talk: Conversation) -> None:
        with contextlib.suppress(SocketTimeoutError), talk.timeout(0.01):
            await talk.read(FixedLengthFramePicker(1000))
        await talk.read(Four())

    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(b"four")
        client = ClientSocket.from_socket(ours)
        executor.socket_bag.add_socket(client, ConversationOperation(function))
        executor.execute_request()
        executor.socket_bag.remove_socket(client)
        del client
        assert len(made) == 1 and made[0]() is None


@pytest.mark.parametrize(
    "where", ["INITIALIZE", "CONNECTED", "READ", "EXCEPTION", "DISCONNECTED", "FINALIZE"]
)
def test_nothing_is_left_of_a_run_that_was_broken_off(engine: str, ca: Authority, where: str) -> None:
    with lives(engine, ca, isolated=False) as some:
        before = channels()
        handler = {EventType[where]: raising(KeyError("a bug"))}
        for _ in range(MANY):
            some.add(ReadOperation(ONE), None if where == "EXCEPTION" else b"!", handler=handler)
        with contextlib.suppress(KeyError):
            some.executor.execute_request()
        assert all(some.bag.get_metadata(one).request_complete for one in some.bag)
        assert channels() == before


def test_nothing_is_left_of_a_life_that_was_refused(engine: str, ca: Authority) -> None:
    """By its bag, or as the target of a fan-out."""
    with lives(engine, ca) as some:
        before = channels()
        for _ in range(MANY):
            with contextlib.suppress(AddressError):
                some.open("nowhere")
        outcomes = list(fan_out(converses, ["nowhere"] * MANY, engine=engine))
        assert [type(one.error) for one in outcomes] == [AddressError] * MANY
        assert channels() == before


@pytest.mark.parametrize("how", ["stopped", "drained"])
def test_nothing_is_left_of_a_run_that_was_ended(engine: str, ca: Authority, how: str) -> None:
    with lives(engine, ca) as some:
        before = channels()

        def end(event: Any) -> None:
            event.executor.stop_request() if how == "stopped" else event.executor.drain(0.01)

        for number in range(MANY):
            some.add(ASK, handler={EventType.WRITE: end} if number == MANY - 1 else None)
        some.executor.execute_request()
        assert channels() == before


def test_nothing_is_left_of_a_look_up_that_was_given_up(engine: str, ca: Authority) -> None:
    with lives(engine, ca) as some:
        before = channels()
        for number in range(3):
            one = some.open(f"tcp://slow.test:{number + 1}")
            some.executor.call_soon_threadsafe(some.executor.call_soon_threadsafe, one.close)
        some.executor.execute_request()
        comes_true(lambda: channels() == before, "a look-up keeps its asker")


def test_what_the_metadata_tells_after_the_end(executor: RequestExecutor, ca: Authority) -> None:
    """The same as in FINALIZE, on both sides of a connection."""
    told: list[tuple[Any, dict[str, Any]]] = []

    def note(metadata: Any) -> dict[str, Any]:
        names = (
            "request_complete", "connection_start_time", "connection_finish_time", "bytes_sent",
            "bytes_received", "remote_address", "local_address", "tls", "address",
        )  # fmt: skip
        return {name: getattr(metadata, name) for name in names}

    executor.with_event_handler(
        {EventType.FINALIZE: lambda event: told.append((event, note(event.metadata)))}
    )
    with contextlib.ExitStack() as stack:
        Lives(executor, ca, stack).serve("tls")
        executor.execute_request()
    assert len(told) == 3  # the server, too
    for event, then in told:
        assert note(event.metadata) == then and then["request_complete"]
        assert event.metadata.last_io_start_time is not None
        if not event.socket.is_server:
            assert then["tls"].version and then["bytes_sent"] == then["bytes_received"] == 1
            assert then["remote_address"][0] == then["local_address"][0] == "127.0.0.1"
            assert then["address"].startswith("tls://127.0.0.1:")
            assert event.metadata.send_speed > 0 and event.metadata.receive_speed > 0
        event.metadata.io_timeout = 3
        event.metadata.address = "tcp://127.0.0.1:1"
        assert (event.metadata.io_timeout, event.metadata.address) == (3, "tcp://127.0.0.1:1")
        assert "complete" in repr(event.socket)
