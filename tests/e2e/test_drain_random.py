"""A drain with clients in every state: each is counted once, and none is reset but those aborted."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evsockets import (
    AcceptedSocket,
    Configuration,
    DelayedOperation,
    DrainReport,
    EventType,
    LimitationDecision,
    LimitationSolver,
    NullOperation,
    Operation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from evsockets.core.clock import clock_of
from support.certificates import Authority
from support.life import Life
from support.queued import PLACES, begin_drain
from support.service import LINE
from support.wire import turns_to_the_end

#: Where a client is when the drain comes. Of the last two the kernel has something: a connection, a request.
STATES = [
    "waiting", "handshaking", "idle", "reading", "writing", "delayed", "datagram", "queued", "asking",
]  # fmt: skip
#: Turns in which everything must have happened.
TURNS = 3000
MUCH = bytes(8_000_000)
LONG = 1000.0


class Peer:
    """One client's other end. `ends`: when the drain has begun it does what lets its request end."""

    def __init__(self, state: str, ends: bool) -> None:
        self.state = state
        self.ends = ends or state in ("idle", "asking")
        self.released = False
        self.received = b""
        self.end: str | None = None  # "end" or "reset"
        self.life: Life | None = None
        self.sock = socket.socket(type=socket.SOCK_DGRAM if state == "datagram" else socket.SOCK_STREAM)
        self._tls: ssl.SSLSocket | None = None
        self._missing = b""  # of what is to be sent over TLS

    @property
    def scheme(self) -> str:
        return {"handshaking": "tls", "datagram": "udp"}.get(self.state, "tcp")

    @property
    def ready(self) -> bool:
        """Whether its client is where it should be."""
        life = self.life
        if life is None:
            return False
        match self.state:
            case "waiting":
                return True  # added, and refused
            case "handshaking":
                return life.names == ["INITIALIZE"]
            case "idle" | "asking":
                return self.received == b"hello\n"
            case "writing":
                return "WRITE" in life.names
        return life.connected

    @property
    def expected(self) -> bytes:
        """What it gets if its request ends."""
        return {"idle": b"hello\n", "asking": b"hello\nmore\n", "writing": MUCH}.get(self.state, b"hello\n")

    def connect(self, address: Any) -> int:
        self.sock.connect(address)
        self.sock.setblocking(False)
        if self.state == "reading":
            self.sock.send(b"hel")
        elif self.state not in ("handshaking", "writing"):
            self.sock.send(b"hello\n")
        return int(self.sock.getsockname()[1])

    def release(self, context: ssl.SSLContext) -> None:
        """The drain has begun."""
        self.released = self.ends
        if not self.ends:
            return
        if self.state == "reading":
            self.sock.send(b"lo\n")
        elif self.state == "handshaking":
            self._tls = context.wrap_socket(
                self.sock, server_hostname="localhost", do_handshake_on_connect=False
            )
            self._missing = b"hello\n"

    def turn(self) -> None:
        """Receive what is there."""
        if self.sock.getblocking() or self.end is not None:  # not connected yet
            return
        if self.state == "writing" and not self.released:
            return
        try:
            if self._tls is not None and self._missing:
                self._tls.do_handshake()
                self._missing = self._missing[self._tls.send(self._missing) :]
            while data := (self._tls or self.sock).recv(1 << 20):
                self.received += data
                if self.state == "datagram":
                    self.end = "end"
                    return
            self.end = "end"
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.end = "reset"

    def close(self) -> None:
        (self._tls or self.sock).close()


class House(LimitationSolver):
    """Servers, and a client of theirs for each peer."""

    def __init__(self, executor: RequestExecutor, ca: Authority, adopted: bool) -> None:
        self.executor = executor
        self.report: DrainReport | None = None
        self.left: list[socket.socket] = []  # in the adopted queue
        self.kept: socket.socket | None = None
        self.on_accept: Any = None
        self._peers: dict[tuple[str, int], Peer] = {}  # by listener and port
        self._clients: dict[Any, Peer] = {}
        self._addresses: dict[str, Any] = {}
        self._offset = 0.0
        executor._loop.clock = lambda: time.monotonic() + self._offset
        executor._loop.time = clock_of(executor._loop.clock)
        executor.with_limitation_solver(self)
        leaf = ca.server
        tls = leaf.settings
        self._listen("tls", stream_context=tls)
        self._listen("udp")
        if adopted:
            listener = socket.create_server(("127.0.0.1", 0))
            self.kept = listener.dup()
            self._listen("tcp", server=ServerSocket.from_socket(listener))
        else:
            self._listen("tcp")

    def _listen(self, scheme: str, server: ServerSocket | None = None, **metadata: Any) -> None:
        if server is None:
            metadata["address"] = f"{scheme}://127.0.0.1:0"

        def listening(event: Any) -> None:
            self._addresses[scheme] = event.metadata.local_address

        def accept(event: Any) -> None:
            self._accept(event, self._peers[scheme, event.remote_address[1]])

        handler = {EventType.CONNECTED: listening, EventType.ACCEPT: accept}
        self.executor.socket_bag.add_socket(
            server or ServerSocket(), ReadOperation(), handler=handler, **metadata
        )

    @property
    def listening(self) -> bool:
        return len(self._addresses) == 3

    def come(self, peer: Peer) -> None:
        self._peers[peer.scheme, peer.connect(self._addresses[peer.scheme])] = peer

    def _accept(self, event: Any, peer: Peer) -> None:
        self._clients[event.client_socket] = peer
        peer.life = Life(self._act)
        peer.life.socket = event.client_socket
        idle = peer.state in ("idle", "asking")
        metadata = self.executor.socket_bag.add_socket(
            event.client_socket, self._first(peer), handler=peer.life, keep_alive=idle, user_context=peer
        )
        peer.life.metadata = metadata
        if self.on_accept is not None:
            on_accept, self.on_accept = self.on_accept, None
            on_accept()

    def _first(self, peer: Peer) -> Operation:
        if peer.state == "writing":
            return WriteOperation(MUCH)
        if peer.state in ("delayed", "datagram"):
            return DelayedOperation(ReadOperation(LINE), lambda *_: not peer.released)
        return NullOperation() if peer.state == "asking" else ReadOperation(LINE)

    def _act(self, life: Life, event: Any) -> None:
        if event.type is EventType.READ:
            event.next_is_write(event.frame.data)
        elif event.type is EventType.DATA_ALERT:
            event.next_is_read(LINE)

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> LimitationDecision:
        peer = self._clients.get(socket) if isinstance(socket, AcceptedSocket) else None
        refused = peer is not None and peer.state == "waiting" and not peer.released
        return LimitationDecision.SKIP_CURRENT if refused else LimitationDecision.OK

    def drain(self, place: str, peers: list[Peer]) -> None:
        """With the last peers already in the kernel's queue."""
        for peer in peers:
            if peer.state == "queued":
                self.come(peer)
            elif peer.state == "asking":
                peer.sock.send(b"more\n")
        self.report = begin_drain(self.executor, place, LONG)

    def late(self) -> None:
        """The deadline."""
        self._offset += 2 * LONG


clients = st.lists(st.tuples(st.sampled_from(STATES), st.booleans()), max_size=12)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(clients, st.sampled_from(PLACES), st.booleans(), st.booleans())
@example([(state, ends) for state in STATES for ends in (True, False)], "signal", False, True)
@example([(state, ends) for state in STATES for ends in (True, False)], "thread", True, False)
def test_everybody_is_counted_once(
    engine: str, ca: Authority, mix: list[tuple[str, bool]], place: str, adopted: bool, accepting: bool
) -> None:
    """`accepting`: the drain is asked for while one more client is accepted, else in a callback."""
    # Whoever is refused makes its listener pause, so these come last.
    peers = [Peer(*one) for one in sorted(mix, key=lambda one: one[0] == "waiting")]
    extra = [Peer("reading", True)] if accepting else []
    context = ssl.create_default_context(cafile=ca.ca_file)
    settings = Configuration(connection_timeout=None, io_timeout=None)
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(RequestExecutor(engine, configuration=settings))
        for peer in [*peers, *extra]:
            stack.callback(peer.close)
        house = House(executor, ca, adopted)
        if house.kept is not None:
            stack.callback(house.kept.close)

        def until(condition: Any) -> None:
            for _ in range(TURNS):
                if condition():
                    return
                assert executor.turn(0.01) or condition()
                for peer in [*peers, *extra]:
                    peer.turn()
            raise AssertionError([(peer.state, peer.ends, peer.life and peer.life.names) for peer in peers])

        executor.start_request()
        until(lambda: house.listening)
        waiting = [peer for peer in peers if peer.state == "waiting"]
        early = [peer for peer in peers if peer.state not in ("waiting", "queued")]
        for peer in early:
            house.come(peer)
        until(lambda: all(peer.ready for peer in early))
        if accepting:
            house.on_accept = lambda: house.drain(place, peers)
        for peer in [*waiting, *extra]:  # in one turn, if it is also one with the drain
            house.come(peer)
        if not accepting:
            until(lambda: not waiting or waiting[0].ready)
            executor.call_soon_threadsafe(house.drain, place, peers)
        until(lambda: house.report is not None)
        report = house.report
        assert report is not None
        if house.kept is not None:
            successor = house.kept
            successor.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    house.left.append(successor.accept()[0])
                    stack.callback(house.left[-1].close)
        left = {("tcp", one.getpeername()[1]) for one in house.left}
        ours = [peer for peer in [*peers, *extra] if (peer.scheme, peer.sock.getsockname()[1]) not in left]
        for peer in [*peers, *extra]:
            peer.release(context)
        if executor.is_executing:  # a callback has the delayed ones asked
            executor.call_soon_threadsafe(list)
        until(lambda: not executor.is_executing or all(peer.end == "end" for peer in ours if peer.ends))
        if executor.is_executing:
            house.late()
            turns_to_the_end(executor, 0)
        for peer in ours:
            peer.turn()

        assert [peer.received for peer in ours if peer.ends] == [peer.expected for peer in ours if peer.ends]
        aborted = {peer for peer in ours if not peer.ends and peer.state != "queued"}
        told = [socket for socket, _ in report.aborted]
        assert len(told) == len(set(told)) == len(aborted)
        assert {house._clients[one] for one in told} == aborted
        assert report.finished + report.closed_idle == len(ours) - len(aborted)
        assert report.closed_idle == sum(peer.state == "idle" for peer in ours)
        for peer in ours:
            assert peer in aborted or peer.end == "end", peer.state
            assert peer.life is not None
            assert peer.life.finalized or not peer.life.started
        assert not any(isinstance(one, AcceptedSocket) for one in executor.socket_bag)
