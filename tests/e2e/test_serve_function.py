"""Serving by a function: who is talked to, and how serving ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    AddressError,
    Configuration,
    ConnectionFailedError,
    DrainReport,
    EventType,
    MarkerFramePicker,
    serve,
)
from support.certificates import Authority
from support.serving import serving
from support.wire import read_to_end

LINE = MarkerFramePicker(None, b"\n")


async def echo(talk: Any, prefix: bytes = b"") -> None:
    """Answer each line; `wait` is waited for, `bug` is one."""
    async for frame in talk.frames(LINE):
        if frame.data == b"wait\n":
            await talk.sleep(30)
        if frame.data == b"bug\n":
            raise ZeroDivisionError
        await talk.write(prefix + frame.data)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_each_client_is_talked_to(engine: str, kind: str, tmp_path: Any) -> None:
    address = "tcp://127.0.0.1:0" if kind == "tcp" else f"unix://{tmp_path}/socket"
    with serving(echo, address, args=(b"> ",), engine=engine) as server:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(5)]
            for number, client in enumerate(clients):
                client.sendall(b"%d\n" % number)
            for number, client in enumerate(clients):
                assert client.recv(100) == b"> %d\n" % number
        assert server.ask(b"a\nb\n") == b"> a\n> b\n"
        server.drain()
    assert server.error is None
    assert server.report is not None and server.report.aborted == []


def test_datagrams(engine: str) -> None:
    async def answer(talk: Any) -> None:
        await talk.write((await talk.read()).data.upper())

    with serving(answer, "udp://127.0.0.1:0", engine=engine) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(20)
            client.connect(server.local)
            client.send(b"hello")
            assert client.recv(100) == b"HELLO"
        server.drain()
    assert server.error is None


def test_metadata_is_the_clients_and_the_stream_context_the_listeners(engine: str, ca: Authority) -> None:
    import ssl

    seen: list[Any] = []

    async def look(talk: Any) -> None:
        metadata = talk.metadata
        seen.append((metadata.io_timeout, metadata.user_context, metadata.tls.version))
        await talk.write(b"hello\n")

    settings: Any = {"io_timeout": 7, "user_context": "mine", "stream_context": ca.server.settings}
    with serving(look, "tls://127.0.0.1:0", engine=engine, **settings) as server:
        context = ssl.create_default_context(cafile=ca.ca_file)
        with server.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as client:
            assert client.recv(100) == b"hello\n"
        server.drain()
    assert seen == [(7.0, "mine", "TLSv1.3")]
    assert server.error is None


def test_no_more_than_limit_at_a_time(engine: str) -> None:
    now, most = 0, 0

    async def count(talk: Any) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await talk.read(LINE)
        now -= 1

    with serving(count, engine=engine, limit=2) as server:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(6)]
            for client in clients:
                client.sendall(b"x\n")
            for client in clients:
                assert client.recv(1) == b""
        server.drain()
    assert most == 2


def test_a_bug_ends_its_client_alone_unless_configured(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(echo, engine=engine) as server:
        assert server.ask(b"bug\n") == b""
        assert server.ask(b"a\n") == b"a\n"
        server.drain()
    assert server.error is None
    assert [record.levelname for record in caplog.records if record.name == "evsockets"] == ["ERROR"]
    with serving(echo, engine=engine, configuration=Configuration()) as server:
        with contextlib.suppress(OSError):
            server.ask(b"bug\n")
        server.thread.join(20)
    assert type(server.error) is ZeroDivisionError


def test_handlers_hear_the_clients_and_of_the_listener_its_accepts(engine: str) -> None:
    heard: list[tuple[str, str]] = []

    def handler(event: Any) -> None:
        heard.append((event.type.name, type(event.socket).__name__))

    def accepted(event: Any) -> None:
        heard.append(("on_accept", type(event.client_socket).__name__))

    names = "INITIALIZE CONNECTED READ WRITE DISCONNECTED FINALIZE".split()
    own: Any = {f"on_{name.lower()}": lambda event: heard.append(("on", event.type.name)) for name in names}
    with serving(echo, engine=engine, handler=handler, on_accept=accepted, **own) as server:
        assert server.ask(b"a\n") == b"a\n"
        server.drain()
    assert heard[:2] == [("on_accept", "AcceptedSocket"), ("ACCEPT", "ServerSocket")]
    assert heard[2::2] == [*(("on", name) for name in names)]
    assert heard[3::2] == [*((name, "AcceptedSocket") for name in names)]


def test_a_client_that_an_accept_handler_takes_or_closes(engine: str) -> None:
    from evsockets import WriteOperation

    came = 0

    def choose(event: Any) -> None:
        nonlocal came
        came += 1
        if came == 1:
            event.client_socket.close()
        elif came == 2:
            event.executor.socket_bag.add_socket(event.client_socket, WriteOperation(b"other\n"))
        elif came == 3:
            raise ZeroDivisionError

    heard: list[Any] = []
    handler = {EventType.ACCEPT: choose, EventType.EXCEPTION: lambda event: heard.append(event.exception)}
    with serving(echo, engine=engine, handler=handler) as server:
        answers = []
        for number in range(4):
            with server.connect() as client:
                if number == 3:
                    client.sendall(b"a\n")
                    client.shutdown(socket.SHUT_WR)
                answers.append(read_to_end(client))
        server.drain()
    assert answers == [b"", b"other\n", b"", b"a\n"]
    assert [type(error.__cause__) for error in heard] == [ZeroDivisionError]
    assert server.error is None


def test_a_drain_waits_for_clients_and_aborts_them_at_the_end(engine: str) -> None:
    with serving(echo, engine=engine) as server:
        with server.connect() as slow, server.connect() as idle:
            for client in (slow, idle):
                client.sendall(b"a\n")
                assert client.recv(10) == b"a\n"
            slow.sendall(b"wait\n")
            assert server.ask(b"b\n") == b"b\n"
            server.drain(0.2)
    assert server.report is not None
    assert server.report.finished >= 1  # the one that had nothing of a next line
    assert [why for _, why in server.report.aborted] == ["still sleeping after 0.2 s"]


@pytest.mark.parametrize("speaks", [True, False])
def test_a_drain_has_a_moment_for_a_new_clients_first_byte(engine: str, speaks: bool) -> None:
    begun = threading.Event()

    async def greeted(talk: Any) -> None:
        begun.set()
        await echo(talk)

    with serving(greeted, engine=engine) as server, server.connect() as client:
        assert begun.wait(20) and server.executor is not None
        executor = server.executor

        def speak() -> None:
            assert executor.is_executing
            if speaks:
                client.sendall(b"late\n")

        def drain() -> None:
            executor.drain(3600)
            executor.call_soon_threadsafe(executor.call_soon_threadsafe, speak)

        executor.call_soon_threadsafe(drain)
        assert read_to_end(client) == (b"late\n" if speaks else b"")
        server.thread.join(20)
        assert server.report == DrainReport(finished=1)


def test_a_stop_ends_at_once(engine: str) -> None:
    with serving(echo, engine=engine) as server:
        with server.connect() as client:
            client.sendall(b"a\n")
            assert client.recv(10) == b"a\n"
            assert server.executor is not None
            server.executor.stop_request()
            server.thread.join(20)
    assert server.report is not None
    ((_, why),) = server.report.aborted
    assert why.startswith("still ") and why.endswith(" when the run was stopped")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("nonsense", AddressError),
        ("tcp://127.0.0.1", AddressError),
        ("tcp://192.0.2.1:0", ConnectionFailedError),
        ("unix:///nowhere/at/all", ConnectionFailedError),
        (3, TypeError),
    ],
)
def test_what_keeps_it_from_listening_is_raised(
    engine: str, address: Any, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(error):
        serve(echo, address, engine=engine, ready=lambda *args: pytest.fail("it is not"))
    assert [record for record in caplog.records if record.name == "evsockets"] == []


@pytest.mark.parametrize("how", ["drain", "stop_request"])
def test_ended_as_soon_as_it_is_ready(engine: str, how: str) -> None:
    def end(executor: Any, local_address: Any) -> None:
        getattr(executor, how)()

    report = serve(echo, "tcp://127.0.0.1:0", engine=engine, ready=end)
    assert (report.finished, report.closed_idle, report.aborted) == (0, 0, [])


def test_a_listener_that_is_cancelled_ends_it_in_order(engine: str) -> None:
    """Those who came are served to their end."""

    async def answer(talk: Any) -> None:
        await talk.write((await talk.read(LINE)).data)

    with serving(answer, engine=engine, on_accept=lambda event: event.cancel_operation()) as server:
        assert server.ask(b"a\n") == b"a\n"
        server.thread.join(20)
    assert server.error is None
    assert server.report is not None and server.report.finished == 1


def test_what_ready_raises_is_raised(engine: str) -> None:
    def ready(executor: Any, local_address: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        serve(echo, "tcp://127.0.0.1:0", engine=engine, ready=ready)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"io_timeuot": 1}, TypeError, "io_timeout"),
        ({"io_timeout": -1}, ValueError, "io_timeout"),
        ({"limit": 0}, ValueError, "limit"),
        ({"limit": "3"}, TypeError, "limit"),
        ({"args": "me"}, TypeError, "args"),
        ({"drain_timeout": -1}, ValueError, "drain_timeout"),
        ({"ready": 3}, TypeError, "ready"),
        ({"handler": 3}, TypeError, "handler"),
        ({"on_accpet": print}, TypeError, "on_accept"),
        ({"stream_context": 3}, TypeError, "stream context"),
    ],
)
def test_what_it_cannot_be_called_with(
    engine: str, settings: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        serve(echo, "tcp://127.0.0.1:0", **{"engine": engine, **settings})
    with pytest.raises(TypeError):
        serve(None, "tcp://127.0.0.1:0", engine=engine)  # type: ignore[arg-type]


SCRIPT = """
import signal, sys
from evsockets import MarkerFramePicker, serve

async def echo(talk):
    async for frame in talk.frames(MarkerFramePicker(None, b"\\n")):
        await talk.write(frame.data)
        if frame.data == b"wait\\n":
            await talk.sleep(30)

def mine(*_):
    print("mine", flush=True)

signal.signal(signal.SIGTERM, mine)
before = signal.getsignal(signal.SIGINT)
report = serve(
    echo, "tcp://127.0.0.1:0", engine=sys.argv[1], drain_timeout=float(sys.argv[2]),
    ready=lambda executor, local: print(local[1], flush=True),
)
assert signal.getsignal(signal.SIGINT) is before
signal.raise_signal(signal.SIGTERM)
print(report.finished, report.closed_idle, [why for _, why in report.aborted], flush=True)
"""


@contextlib.contextmanager
def process(engine: str, seconds: float) -> Iterator[tuple[Any, Callable[[], socket.socket]]]:
    """A server of its own process, and how to connect to it."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, engine, str(seconds)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        port = int(running.stdout.readline())
        yield running, lambda: socket.create_connection(("127.0.0.1", port), timeout=20)
        running.wait(20)
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def refused(connect: Callable[[], socket.socket]) -> None:
    """Wait until nobody is let in any more."""
    with pytest.raises(OSError):
        while True:
            connect().close()
            time.sleep(0.01)


@pytest.mark.parametrize("kind", ["no coroutine", "bug", "handler"])
def test_an_error_says_who_raised(engine: str, kind: str) -> None:
    told: list[str] = []

    def plain(talk: Any) -> Any:
        return None

    def fault(event: Any) -> None:
        raise ZeroDivisionError

    more = {"on_read": fault} if kind == "handler" else {}
    function: Any = plain if kind == "no coroutine" else echo
    with serving(
        function, engine=engine, on_exception=lambda event: told.append(str(event.exception)), **more
    ) as server:
        with contextlib.suppress(OSError):  # reset, as it was not read; perhaps before it was sent
            assert server.ask(b"bug\n") == b""
        server.drain()
    raised = "TypeError('" if kind == "no coroutine" else "ZeroDivisionError()"
    assert len(told) == 1
    assert f": {'a handler' if kind == 'handler' else 'the conversation'} raised {raised}" in told[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(engine: str, number: signal.Signals) -> None:
    """Nobody new is let in, who is served is served to the end, and the earlier handlers are back."""
    with process(engine, 20) as (running, connect):
        with connect() as client:
            client.sendall(b"a\n")
            assert client.recv(10) == b"a\n"
            client.sendall(b"b")
            running.send_signal(number)
            refused(connect)
            client.sendall(b"\n")
            assert client.recv(10) == b"b\n"
            assert client.recv(10) == b""
        assert re.fullmatch(r"mine\n[1-9]\d* \d+ \[\]\n", running.stdout.read())
        assert running.wait(20) == 0


def test_a_second_signal_ends_at_once(engine: str) -> None:
    with process(engine, 20) as (running, connect):
        with connect() as client:
            client.sendall(b"wait\n")
            assert client.recv(10) == b"wait\n"
            running.send_signal(signal.SIGTERM)
            refused(connect)
            running.send_signal(signal.SIGTERM)
            assert client.recv(10) == b""
        assert "still sleeping when the run was stopped" in running.stdout.read()
        assert running.wait(20) == 0


def test_the_drain_timeout_is_kept(engine: str) -> None:
    with process(engine, 0.2) as (running, connect):
        with connect() as client:
            client.sendall(b"wait\n")
            assert client.recv(10) == b"wait\n"
            running.send_signal(signal.SIGTERM)
            assert client.recv(10) == b""
        assert running.stdout.read() == "mine\n0 0 ['still sleeping after 0.2 s']\n"


def test_in_another_thread_signals_stay_as_they_are(engine: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with serving(echo, engine=engine) as server:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
        server.drain()
    assert server.error is None


def test_in_the_main_thread_signals_are_its_own_only_meanwhile(engine: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    def ready(executor: Any, local: Any) -> None:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
        os.kill(os.getpid(), signal.SIGTERM)

    report = serve(echo, "tcp://127.0.0.1:0", engine=engine, ready=ready)
    assert (report.finished, report.closed_idle, report.aborted) == (0, 0, [])
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
