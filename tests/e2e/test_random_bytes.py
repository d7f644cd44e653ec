"""Thousands of random byte strings at framed, TLS and HTTP servers: no error, no leak, no spin."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    DisconnectedError,
    EventType,
    FixedLengthFramePicker,
    FrameError,
    LengthPrefixedFramePicker,
    MarkerFramePicker,
    NetworkSocketError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
)
from support.certificates import Authority
from support.command import Serving, serving
from support.machine import MIB, comes_true, processor_time, resident, until
from support.service import LINE

#: How many there are on the standard library's engine; the first tenth of them on another.
FRAMED, TLS, HTTP, HTTPS = 10_000, 5_000, 9_000, 2_000
ABREAST = 100

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Strangers:
    """Clients that send one string each, end their side, and want to see the server end the other.

    `talk` keeps `ABREAST` of them open, and calls `turn` when there is nothing to read.
    """

    def __init__(self, address: Any, strings: Iterator[bytes], turn: Callable[[], object]) -> None:
        self._address = address
        self._strings = strings
        self._turn = turn

    def talk(self) -> int:
        """How many there were."""
        count = open_now = 0
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            for sock in iter(self._connect, None):
                count += 1
                open_now += 1
                selector.register(sock, selectors.EVENT_READ)
                if open_now == 1:
                    stack.callback(self._close_all, selector)
                while open_now >= ABREAST:
                    open_now -= self._hear(selector)
            while open_now:
                open_now -= self._hear(selector)
        return count

    def _connect(self) -> socket.socket | None:
        data = next(self._strings, None)
        if data is None:
            return None
        sock = socket.socket(socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET)
        try:
            if not isinstance(self._address, str):
                # Spread over source addresses: one has too few ports while the last connections linger.
                sock.bind((f"127.0.0.{random.randrange(1, 100)}", 0))
            sock.settimeout(20)
            sock.connect(self._address)
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
        except BaseException:
            sock.close()
            raise
        return sock

    def _hear(self, selector: selectors.BaseSelector) -> int:
        """How many ended."""
        self._turn()
        ended = 0
        for key, _ in selector.select(0 if self._turn is not nothing else 20):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                over = not sock.recv(65536)
            except ConnectionError:
                over = True
            if over:
                selector.unregister(sock)
                sock.close()
                ended += 1
        return ended

    @staticmethod
    def _close_all(selector: selectors.BaseSelector) -> None:
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


def nothing() -> None:
    """A server in another process needs no turns of ours."""


def spoilt(dice: random.Random, good: bytes) -> bytes:
    """Something like `good`: bytes changed, left out, or more of them."""
    data = bytearray(good)
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(data))
        choice = dice.randrange(3)
        if choice == 0:
            data[at] = dice.choice(b'\0\r\n\t %:/.,-=x9"\xff')
        elif choice == 1 and len(data) > 1:
            del data[at : at + dice.randrange(1, 9)]
            data += b"" if data else b"x"
        else:
            data[at:at] = dice.randbytes(dice.randrange(1, 9))
    return bytes(data)


# ---- in this process: framed, and TLS ----------------------------------------------------------------


class Guarded:
    """A server in this executor, run by turns; what its clients meet is counted, not kept."""

    def __init__(
        self, executor: RequestExecutor, address: str, first: Callable[[], ReadOperation], **metadata: Any
    ) -> None:
        self.executor = executor
        self.first = first
        self.errors: dict[type[Exception], int] = {}
        self.ended = 0
        self.local: Any = None
        self.polls = 0
        executor.socket_bag.add_socket(
            ServerSocket(), ReadOperation(), address=address, handler=self.on_server, **metadata
        )
        executor.start_request()
        for _ in until(lambda: self.local):
            executor.turn(0.01)

    def on_server(self, event: Any) -> None:
        if event.type is EventType.CONNECTED:
            self.local = event.metadata.local_address
        elif event.type is EventType.ACCEPT:
            self.executor.socket_bag.add_socket(
                event.client_socket, self.first(), io_timeout=30, connection_timeout=30,
                handler={
                    EventType.READ: lambda e: e.next_is(e.operation),
                    EventType.EXCEPTION: self.on_exception,
                    EventType.TIMEOUT: self.on_timeout,
                    EventType.FINALIZE: self.on_end,
                },
            )  # fmt: skip
        elif event.type is EventType.EXCEPTION:
            raise event.exception

    def on_exception(self, event: Any) -> None:
        kind = type(event.exception)
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def on_timeout(self, event: Any) -> None:
        raise AssertionError(f"{event.metadata.address} hangs {event.phase}")

    def on_end(self, event: Any) -> None:
        self.ended += 1

    def turn(self) -> None:
        self.executor.turn(0.001)

    def check(self, address: Any, strings: Callable[[int, int], Iterator[bytes]], count: int) -> None:
        """Every string gets its end; memory stays where it was after the first tenth; silence is silence."""
        if self.executor.engine.name != "selectors":
            count //= 10
        Strangers(address, strings(1, count // 10), self.turn).talk()
        before = resident()
        assert Strangers(address, strings(2, count - count // 10), self.turn).talk() == count - count // 10
        for _ in range(100_000):
            if self.ended == count:
                break
            self.executor.turn(0.1)
        assert self.ended == count
        assert len(self.executor.socket_bag) == 1
        assert resident() - before < 8 * MIB
        assert self.executor.turn(0)
        assert self.executor.patience() is None, "something keeps it awake"
        self.executor.stop_request()
        assert not self.executor.turn(0)


def test_at_a_framed_server(executor: RequestExecutor, tmp_path: Path) -> None:
    dice = random.Random(11)
    pickers = [
        MarkerFramePicker(b"<", b">", max_length=100), MarkerFramePicker(None, b"ab", False, max_length=100),
        LengthPrefixedFramePicker(2, max_length=100), LengthPrefixedFramePicker(1, "little"),
        FixedLengthFramePicker(7), LINE,
    ]  # fmt: skip

    def strings(seed: int, count: int) -> Iterator[bytes]:
        dice = random.Random(seed)
        for _ in range(count):
            data = dice.randbytes(dice.randrange(300))
            yield data if dice.random() < 0.5 else data.translate(FEW)

    path = str(tmp_path / "server.sock")
    server = Guarded(
        executor,
        f"unix://{path}",
        lambda: ReadOperation(dice.choice(pickers)),
        stream_context={"backlog": 512},
    )
    server.check(path, strings, FRAMED)
    assert set(server.errors) == {FrameError, DisconnectedError}
    assert sum(server.errors.values()) == server.ended


#: Makes every byte one that means something to one of the pickers.
FEW = bytes(b"<>ab\n\0\1\2"[number % 8] for number in range(256))


def test_at_a_tls_server(executor: RequestExecutor, ca: Authority) -> None:
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + b"\0" + bytes(160)

    def strings(seed: int, count: int) -> Iterator[bytes]:
        dice = random.Random(seed)
        for number in range(count):
            data = dice.randbytes(dice.randrange(300))
            if number % 3 == 0:
                yield data
            elif number % 3 == 1:
                yield b"\x16\x03\x01" + struct.pack(">H", dice.randrange(400)) + data
            else:
                yield spoilt(dice, hello)

    server = Guarded(
        executor, "tls://127.0.0.1:0", ReadOperation,
        stream_context={
            "certificate": ca.server.certificate, "private_key": ca.server.private_key, "backlog": 512
        },
    )  # fmt: skip
    server.check(server.local, strings, TLS)
    assert all(issubclass(kind, NetworkSocketError) for kind in server.errors)
    assert sum(server.errors.values()) == server.ended


# ---- in a process of its own: `serve` ----------------------------------------------------------------

REQUESTS = [
    b"GET /page.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\nConnection: close\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\nIf-Modified-Since: Tue, 24 Nov 2026 10:00:00 GMT\r\n\r\n",
    b"GET http://x/%70age.txt?a#b HTTP/1.0\nConnection: keep-alive\n\nGET /missing HTTP/1.0\n\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
]


def requests(seed: int, count: int) -> Iterator[bytes]:
    dice = random.Random(seed)
    for number in range(count):
        yield spoilt(dice, dice.choice(REQUESTS)) if number % 3 else dice.randbytes(dice.randrange(1, 400))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "page.txt").write_text("0123456789")
    return folder


def check(server: Serving, strings: Callable[[int, int], Iterator[bytes]], count: int) -> None:
    address = ("127.0.0.1", server.port)
    Strangers(address, strings(0, 1), nothing).talk()  # the engine's own descriptors are there from now on
    descriptors = server.descriptors()
    Strangers(address, strings(1, count // 10), nothing).talk()
    memory = resident(server.process.pid)
    Strangers(address, strings(2, count - count // 10), nothing).talk()
    comes_true(lambda: server.descriptors() <= descriptors, "descriptors are left open")
    assert resident(server.process.pid) - memory < 8 * MIB
    used = processor_time(server.process.pid)
    with pytest.raises(TimeoutError), socket.create_connection(address, timeout=0.5) as silent:
        silent.recv(1)  # half a second in which nobody wants anything
    assert processor_time(server.process.pid) - used < 0.25
    status, errors = server.end()
    assert status == 0, errors
    assert "Traceback" not in errors and "Warning" not in errors


def test_at_serve(site: Path) -> None:
    with serving("serve", str(site), "-p", "0") as server:
        check(server, requests, HTTP)


def test_at_serve_instead_of_a_handshake(site: Path, ca: Authority) -> None:
    secret = ca.server.options
    with serving("serve", str(site), "-p", "0", *secret) as server:
        check(server, requests, HTTPS)
