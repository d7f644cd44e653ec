"""Conversations where a kernel is needed: TLS, datagrams, servers, urgent bytes, hosts, forks."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    Configuration,
    Conversation,
    ConversationOperation,
    DatagramClientSocket,
    DisconnectedError,
    HandlerError,
    ReadOperation,
    RequestExecutor,
    SendError,
    ServerSocket,
    SocketTimeoutError,
    TlsHandshakeError,
    UnsupportedOperationError,
)
from support.certificates import Authority, server_side
from support.command import run_python
from support.conversation import LINE, ONE
from support.life import END, USUAL
from support.machine import refused_in_a_thread, until
from support.service import needs_descriptor
from support.talks import Talks, talks
from support.wire import (
    PATIENCE,
    Log,
    Secure,
    add,
    pair,
    peer,
    read_exactly,
    read_to_end,
    turns_to_the_end,
    turns_until,
)


@pytest.fixture
def people(executor: RequestExecutor) -> Iterator[Talks]:
    with talks(executor) as made:
        yield made


def served(executor: RequestExecutor, address: str, server: Any, client: Any, **more: Any) -> tuple[Log, Log]:
    """A server whose one client both hold conversations."""
    logs: list[Log] = []
    listener = ServerSocket()
    context = more.pop("server_context", None)

    def accept(event: Any) -> None:
        logs.append(add(executor, None, server, socket=event.client_socket))

    def listens(event: Any) -> None:
        local = event.metadata.local_address
        url = address if isinstance(local, str) else address.replace(":0", f":{local[1]}")
        on = {"FINALIZE": lambda event: listener.close()}
        logs.insert(0, add(executor, url, client, on=on, **more))

    on = {"CONNECTED": listens, "ACCEPT": accept}
    add(executor, address, ReadOperation(), socket=listener, on=on, stream_context=context)
    executor.execute_request()
    return logs[0], logs[1]


async def echo(talk: Conversation) -> int:
    count = 0
    async for frame in talk.frames(LINE):
        await talk.write(frame.data)
        count += 1
    return count


async def asks(talk: Conversation) -> list[bytes]:
    answers = []
    for number in range(3):
        await talk.write(b"%d\n" % number)
        answers.append((await talk.read(LINE)).data)
    return answers


@pytest.mark.parametrize("scheme", ["tcp", "tls", "unix"])
def test_both_ends(executor: RequestExecutor, ca: Authority, scheme: str, tmp_path: Any) -> None:
    address = f"unix://{tmp_path}/socket" if scheme == "unix" else f"{scheme}://localhost:0"
    more: dict[str, Any] = {}
    if scheme == "tls":
        more["stream_context"] = {"ca_file": ca.ca_file}
        more["server_context"] = ca.server.settings
    client, server = served(executor, address, echo, asks, **more)
    assert client.metadata.result == [b"0\n", b"1\n", b"2\n"]
    assert client.names == [*USUAL, *["WRITE", "READ"] * 3, *END]
    assert server.metadata.result == 3
    assert server.names == [*USUAL, *["READ", "WRITE"] * 3, *END]


# ---- STARTTLS --------------------------------------------------------------------------------------


def upgrading(
    ca: Authority, answer: bytes = b"go\n", plain: bytes = b"", when: threading.Event | None = None
) -> Any:
    def script(sock: socket.socket) -> bytes:
        assert read_exactly(sock, 9) == b"STARTTLS\n"
        sock.sendall(answer)
        assert read_exactly(sock, len(plain)) == plain
        assert when is None or when.wait(20)
        with server_side(ca).wrap_socket(sock, server_side=True) as wrapped:
            return read_to_end(wrapped)

    return script


def test_starttls_and_posts_before_and_during_it(secure: Secure, ca: Authority) -> None:
    """What is posted before leaves before the handshake, what is posted during it leaves encrypted."""

    async def function(talk: Conversation) -> Any:
        await talk.write(b"STARTTLS\n")
        assert (await talk.read(LINE)).data == b"go\n"
        talk.post(b"plain")

        def post() -> None:
            assert talk.metadata.tls is None
            talk.post(b"secret")
            posted.set()

        talk.executor.call_soon_threadsafe(post)
        await talk.start_tls()
        await talk.write(b" more")
        return talk.metadata.tls.version

    posted = threading.Event()  # else the peer might be done with the handshake before that
    log, result = secure(upgrading(ca, plain=b"plain", when=posted), function, "tcp", wrapped=False)
    assert log.metadata.result == "TLSv1.3"
    assert result == [b"secret more"]


@pytest.mark.parametrize("kind", ["leftover", "twice", "name", "no tls"])
def test_a_handshake_that_fails_is_raised_at_the_await(secure: Secure, ca: Authority, kind: str) -> None:
    async def function(talk: Conversation) -> str:
        await talk.write(b"STARTTLS\n")
        await talk.read(LINE)
        name = "elsewhere.test" if kind == "name" else None
        if kind == "twice":
            await talk.start_tls()
        with pytest.raises(TlsHandshakeError) as raised:
            await talk.start_tls(server_hostname=name)
        if kind == "twice":
            await talk.write(b"on")
        elif kind == "leftover":
            assert (await talk.read(LINE)).data == b"injected\n"
        else:
            with pytest.raises(Exception):  # noqa: B017  # nothing can be said over it any more
                await talk.write(b"x")
                await talk.read(ONE)
        return str(raised.value)

    def script(sock: socket.socket) -> object:
        assert read_exactly(sock, 9) == b"STARTTLS\n"
        if kind == "no tls":
            sock.sendall(b"go\n")
            read_exactly(sock, 10)
            sock.sendall(b"this is no TLS at all\n")
            return read_to_end(sock)
        sock.sendall(b"go\n" + (b"injected\n" if kind == "leftover" else b""))
        if kind == "leftover":
            return read_to_end(sock)
        with server_side(ca).wrap_socket(sock, server_side=True) as wrapped:
            return read_to_end(wrapped)

    log, result = secure(script, function, "tcp", wrapped=False, quiet=True)
    assert log.metadata.result is not None, log.events
    assert result == [b"on"] if kind == "twice" else True


def test_an_allowed_leftover_stays(secure: Secure, ca: Authority) -> None:
    async def function(talk: Conversation) -> bytes:
        await talk.write(b"STARTTLS\n")
        await talk.read(LINE)
        await talk.start_tls(allow_leftover=True)
        return (await talk.read(LINE)).data

    log, _ = secure(upgrading(ca, b"go\nleft\n"), function, "tcp", wrapped=False)
    assert log.metadata.result == b"left\n"


def test_a_handshake_that_is_broken_off_is_the_end_of_all_io(people: Talks, ca: Authority) -> None:
    context = ssl.create_default_context(cafile=ca.ca_file)

    async def function(talk: Conversation) -> str:
        with pytest.raises(SocketTimeoutError) as late:
            with talk.timeout(0.05):
                await talk.start_tls(server_hostname="localhost", context=context)
        assert late.value.phase == "handshaking"
        for again in (talk.read, lambda: talk.write(b"x")):
            with pytest.raises(TlsHandshakeError, match="broken off"):
                await again()
        await talk.sleep(0.001)
        return "done"

    assert people.result(function) == "done"


def test_much_posted_over_tls(secure: Secure) -> None:
    data = bytes(range(256)) * 10_000

    async def function(talk: Conversation) -> int:
        most = talk.post(data)
        await talk.flushed()
        assert talk.unsent == 0
        for number in range(100):
            talk.post(b"%03d" % number)
        await talk.flushed()
        return most

    log, result = secure(read_to_end, function, quiet=False)
    assert log.metadata.result == len(data)
    assert result == [data + b"".join(b"%03d" % number for number in range(100))]


@pytest.mark.parametrize("before", [b"", b"a\n", bytes(200_000)])
def test_while_it_sleeps_over_tls(secure: Secure, before: bytes) -> None:
    """64 KiB at most are kept, and the end behind what is kept is met."""

    async def function(talk: Conversation) -> Any:
        await talk.write(b"go\n")
        if len(before) < 65_536:
            with pytest.raises(DisconnectedError) as raised:
                await talk.sleep(60)
            assert raised.value.clean is (before == b"")
        else:
            for _ in until(lambda: talk.metadata.bytes_received >= 65_536):
                await talk.sleep(0.001)
            await talk.sleep(0.05)
            assert talk.metadata.bytes_received == 65_536
        await talk.sleep(0.001)
        got = b""
        async for frame in talk.frames():
            got += frame.data
        return got

    def script(sock: Any) -> None:
        assert read_exactly(sock, 3) == b"go\n"
        sock.sendall(before)
        sock.unwrap()

    log, _ = secure(script, function, quiet=True)
    assert log.metadata.result == before, log.errors


# ---- datagrams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["udp", "udg"])
def test_each_post_is_a_datagram(executor: RequestExecutor, kind: str, tmp_path: Any) -> None:
    family = socket.AF_INET if kind == "udp" else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_DGRAM) as theirs:
        theirs.bind(("127.0.0.1", 0) if kind == "udp" else f"{tmp_path}/theirs")
        theirs.settimeout(PATIENCE)
        name = theirs.getsockname()
        count = 60  # more than a unix socket's queue takes

        async def function(talk: Conversation) -> Any:
            assert sum(talk.post(b"%d" % number) > 0 for number in range(count)) == count
            talk.post(b"")
            got = []
            talk.executor.call_soon_threadsafe(receive, got)
            with pytest.raises(SocketTimeoutError):
                with talk.timeout(0.2):
                    await talk.read()
            await talk.flushed()
            receive(got)
            return got

        def receive(got: list[bytes]) -> None:
            theirs.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    got.append(theirs.recv(100))
            if len(got) <= count and got[-1:] != [b""]:
                executor.call_soon_threadsafe(receive, got)

        url = f"udp://127.0.0.1:{name[1]}" if kind == "udp" else f"udg://{name}"
        log = add(executor, url, function)
        executor.execute_request()
        assert log.metadata.result == [*(b"%d" % number for number in range(count)), b""]


def test_a_refused_datagram_is_raised_and_asked_again(executor: RequestExecutor) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        address = deaf.getsockname()

    async def function(talk: Conversation) -> bytes:
        await talk.write(b"is anybody there?")
        with pytest.raises(Exception, match="refused"):
            await talk.read()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
            theirs.bind(address)
            await talk.write(b"now?")
            theirs.sendto(b"yes", talk.metadata.local_address)
            return (await talk.read()).data

    log = add(executor, f"udp://127.0.0.1:{address[1]}", function)
    executor.execute_request()
    assert log.metadata.result == b"yes", log.errors


def test_a_datagram_servers_client(executor: RequestExecutor) -> None:
    async def server(talk: Conversation) -> bytes:
        frame = await talk.read()
        await talk.write(frame.data.upper())
        with pytest.raises(DisconnectedError) as end:
            await talk.read()
        assert end.value.clean
        talk.post(b"posted")
        return frame.data

    async def client(talk: Conversation) -> list[bytes]:
        await talk.write(b"hello")
        return [(await talk.read()).data, (await talk.read()).data]

    asked, answered = served(executor, "udp://127.0.0.1:0", server, client)
    assert asked.metadata.result == [b"HELLO", b"posted"], answered.errors
    assert isinstance(answered.events[0].socket, DatagramClientSocket)


def test_a_datagram_has_no_end_to_send_and_no_tls(executor: RequestExecutor) -> None:
    async def function(talk: Conversation) -> str:
        with pytest.raises(UnsupportedOperationError):
            await talk.shutdown_write()
        with pytest.raises(TlsHandshakeError):
            await talk.start_tls()
        with pytest.raises((SendError, UnsupportedOperationError)):
            await talk.write(bytes(70_000))
        return "done"

    log = add(executor, "udp://127.0.0.1:9", function)
    executor.execute_request()
    assert log.metadata.result == "done", log.errors


# ---- beside it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [False, True])
def test_urgent_bytes(executor: RequestExecutor, named: bool) -> None:
    """OOB is told beside what is awaited; what its handler names takes the conversation's place."""
    log_: list[str] = []

    async def function(talk: Conversation) -> bytes:
        try:
            return (await talk.read(LINE)).data
        finally:
            log_.append("over")

    def oob(event: Any) -> None:
        assert log_ == []
        if named:
            event.next_is_write(b"instead")

    def script(sock: socket.socket) -> bytes:
        sock.send(b"!", socket.MSG_OOB)
        if named:
            return read_to_end(sock)
        time.sleep(0.01)
        sock.sendall(b"line\n")
        return read_to_end(sock)

    with peer(script) as other:
        log = add(executor, other.url(), function, on={"OOB": oob})
        executor.execute_request()
        assert other.wait() == [b"instead" if named else b""]
    assert log.metadata.result == (None if named else b"line\n")
    assert log_ == ["over"]


def test_isolated_errors_end_one_conversation(engine: str) -> None:
    async def bug(talk: Conversation) -> None:
        raise ZeroDivisionError("in a coroutine")

    async def bug_in_finally(talk: Conversation) -> None:
        try:
            talk.cancel()
            await talk.read()
        finally:
            raise ZeroDivisionError("in finally")

    async def fine(talk: Conversation) -> str:
        await talk.sleep(0.02)
        return "fine"

    isolated = Configuration(isolate_handler_errors=True)
    with RequestExecutor(engine, configuration=isolated) as executor, talks(executor) as people:
        logs = [people.add(function) for function in (bug, bug_in_finally, fine)]
        executor.execute_request()
    for log in logs[:2]:
        assert type(log.error) is HandlerError and type(log.error.__cause__) is ZeroDivisionError
    assert logs[0].names == [*USUAL, "EXCEPTION", *END]
    assert logs[1].names == [*USUAL, "DISCONNECTED", "EXCEPTION", "FINALIZE"]
    assert logs[2].metadata.result == "fine"


def test_closing_the_executor_closes_them(engine: str) -> None:
    closed = []

    async def function(talk: Conversation) -> None:
        try:
            await talk.read()
        finally:
            closed.append(True)

    with RequestExecutor(engine) as executor, talks(executor) as people:
        people.add(function)
        executor.start_request()
        executor.turn(0)
        executor.turn(0)
    assert closed == [True]


def test_a_keyboard_interrupt_out_of_the_coroutine(people: Talks) -> None:
    async def function(talk: Conversation) -> None:
        await talk.sleep(0)
        raise KeyboardInterrupt

    other: list[str] = []

    async def bystander(talk: Conversation) -> None:
        try:
            await talk.sleep(60)
        finally:
            other.append("closed")

    logs = [people.add(each) for each in (bystander, function)]
    with pytest.raises(KeyboardInterrupt):
        people.executor.execute_request()
    assert other == ["closed"] and all(log.names[-2:] == END for log in logs)


def test_unheard_what_need_not_wait_does_not_suspend(executor: RequestExecutor) -> None:
    """A read whose frame lies in the inbox, and a write that the kernel takes."""

    async def function(talk: Conversation) -> list[str]:
        await talk.read(ONE)
        over = []
        for step in (talk.read(ONE), talk.write(b"w"), talk.write(b"v")):
            with pytest.raises(StopIteration):
                step.send(None)
            over.append("at once")
        return over

    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"xy")
        metadata = executor.socket_bag.add_socket(ours, ConversationOperation(function))
        executor.execute_request()
        assert read_to_end(theirs) == b"wv"
    assert metadata.result == ["at once"] * 3


def test_its_context_is_the_runs(people: Talks) -> None:
    async def function(talk: Conversation) -> Any:
        talk.context["told"] = True
        return talk.context["name"], talk.context is event_contexts[0]

    event_contexts: list[Any] = []
    log = people.add(function, on={"CONNECTED": lambda event: event_contexts.append(event.context)})
    people.executor.execute_request({"name": "run"})
    assert log.metadata.result == ("run", True) and event_contexts[0].get("told") is True


@pytest.mark.parametrize("what", ["post", "cancel"])
def test_another_thread_is_told_what_to_call(people: Talks, what: str) -> None:
    """Nothing is sent, nothing is ended."""

    async def function(talk: Conversation) -> bytes:
        (error,) = refused_in_a_thread(talk.cancel if what == "cancel" else lambda: talk.post(b"never"))
        assert "call_soon_threadsafe" in error
        await talk.write(b"on\n")
        return (await talk.read(LINE)).data

    assert people.result(function, says=b"still here\n") == b"still here\n"
    assert read_to_end(people.peers[0]) == b"on\n"


# ---- hosts -----------------------------------------------------------------------------------------


def test_inside_asyncio(engine: str) -> None:
    """Its own awaitables are not the conversation's, and the conversation's not its own."""

    async def function(talk: Conversation) -> str:
        await talk.sleep(0.01)
        with pytest.raises(RuntimeError, match="own Conversation"):
            await asyncio.sleep(0.01)
        kept.append(talk)
        await talk.sleep(0.05)
        return "done"

    async def main() -> None:
        run = asyncio.ensure_future(executor.execute_request_async())
        for _ in until(lambda: kept):
            await asyncio.sleep(0.001)
        with pytest.raises(RuntimeError):
            await kept[0].read()
        await run

    kept: list[Conversation] = []
    with RequestExecutor(engine) as executor, talks(executor) as people:
        needs_descriptor(executor)
        log = people.add(function)
        asyncio.run(main())
    assert log.metadata.result == "done"


GEVENT = """
    import gevent, sys
    from evsockets import *

    async def blocks(talk):
        order.append("blocks")
        gevent.sleep(0.05)
        order.append("blocked")
        await talk.sleep(0.01)
        return "done"

    def other():
        gevent.sleep(0.01)
        order.append("greenlet")

    order = []
    import socket
    ours, theirs = socket.socketpair()
    client = ClientSocket.from_socket(ours)
    with RequestExecutor("gevent") as executor:
        metadata = executor.socket_bag.add_socket(client, ConversationOperation(blocks))
        greenlet = gevent.spawn(other)
        executor.execute_request()
    print(order, metadata.result)
"""


@pytest.mark.usefixtures("gevent_is_tested")
def test_inside_gevent_it_may_block_cooperatively() -> None:
    result = run_python(GEVENT)
    assert result.stdout.strip() == "['blocks', 'greenlet', 'blocked'] done", result.stderr


FORK = """
    import os, socket, sys
    from evsockets import *

    async def forks(talk):
        await talk.sleep(0)
        pid = os.fork()
        if pid:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            talk.post(b"from the parent")
            await talk.flushed()
            return status
        code = 0
        for attempt in (talk.read, lambda: talk.write(b"x"), lambda: talk.sleep(0), talk.flushed,
                        talk.start_tls, talk.shutdown_write, lambda: talk.frames().__anext__()):
            try:
                await attempt()
            except EngineError:
                code += 1
        try:
            talk.post(b"from the child")
        except EngineError:
            code += 1
        if sys.argv[2] == "exit":
            os._exit(code)
        sys.exit(code) if sys.argv[2] == "sys.exit" else None

    ours, theirs = socket.socketpair()
    parent = os.getpid()
    with RequestExecutor(sys.argv[1]) as executor:
        client, operation = ClientSocket.from_socket(ours), ConversationOperation(forks)
        metadata = executor.socket_bag.add_socket(client, operation)
        try:
            executor.execute_request()
        except EngineError:
            assert os.getpid() != parent
            os._exit(88)
        finally:
            if os.getpid() != parent:
                theirs.close()
    with theirs:
        print(metadata.result, theirs.recv(100))
"""


@pytest.mark.parametrize(("how", "code"), [("exit", 8), ("sys.exit", 8), ("return", 88)])
def test_in_the_child_of_a_fork(engine: str, how: str, code: int) -> None:
    result = run_python(FORK, engine, how)
    assert result.stdout.strip() == f"{code} b'from the parent'", result.stdout + result.stderr
    assert result.stderr == ""


def test_a_crowd(executor: RequestExecutor, people: Talks) -> None:
    """Each of two hundred says something to all of the others: all of it arrives, in few sends."""
    members: list[Conversation] = []
    count = 200

    async def member(talk: Conversation) -> int:
        members.append(talk)
        heard = 0
        async for frame in talk.frames(LINE):
            if frame.data == b"go\n":
                for other in members:
                    other.post(b"hello from %d\n" % id(talk))
        return heard

    for _ in range(count):
        people.add(member)
        people.peers[-1].setblocking(False)
    executor.start_request()
    turns_until(executor, lambda: len(members) >= count, 0)
    for theirs in people.peers:
        theirs.sendall(b"go\n")
    got = [0] * count
    for _ in until(lambda: min(got) >= count):
        executor.turn(0)
        for number, theirs in enumerate(people.peers):
            with contextlib.suppress(BlockingIOError):
                got[number] += theirs.recv(1 << 20).count(b"\n")
    for theirs in people.peers:
        theirs.close()
    turns_to_the_end(executor, 0.1)
    assert got == [count] * count
