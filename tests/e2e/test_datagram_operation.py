"""DatagramOperation: each datagram is a READ on the server's own socket, and a write answers its sender."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    BatchFramePicker,
    ClientSocket,
    Configuration,
    DatagramOperation,
    EmptyFramePicker,
    EngineError,
    FixedLengthFramePicker,
    FrameBatch,
    FrameError,
    FramePicker,
    HandlerError,
    MarkerFramePicker,
    NullOperation,
    ReadOperation,
    ReceiveError,
    RequestExecutor,
    SendError,
    ServerSocket,
    TimeoutStage,
    UnsupportedOperationError,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import Peers
from support.wire import Log, turns_to_the_end, turns_until

UDP = "udp://127.0.0.1:0"


class Server:
    """A datagram server: when it listens a peer `says` its words, or `started(server)` is called; it ends
    after `ends` READs."""

    def __init__(
        self,
        executor: RequestExecutor,
        peers: Peers,
        address: str | None = UDP,
        *,
        says: Sequence[bytes] = (),
        picker: FramePicker | None = None,
        started: Callable[[Server], object] | None = None,
        ends: int | None = None,
        socket: ServerSocket | None = None,
        on: Any = None,
        read: Callable[[Any], object] | None = None,
        **metadata: Any,
    ) -> None:
        self.executor, self.peers, self.log = executor, peers, Log()
        self.socket = ServerSocket() if socket is None else socket
        self.operation = DatagramOperation(picker)
        self._says, self._started, self._ends = says, started, ends
        if address is not None:
            metadata["address"] = address
        handler = self.log.handler({"READ": read} if read is not None else on)
        handler = {kind: [*calls, self._end] for kind, calls in handler.items()}
        self.metadata = executor.socket_bag.add_socket(
            self.socket, self.operation, handler=handler, **metadata
        )

    def _end(self, event: Any) -> None:
        if event.type.name == "CONNECTED":
            if self._says:
                self.says(*self._says)
            if self._started is not None:
                self._started(self)
        elif event.type.name == "READ" and len(self.log.of("READ")) == self._ends:
            self.socket.close()

    @property
    def local(self) -> Any:
        return self.metadata.local_address

    @property
    def answers(self) -> Any:
        """Those that wait to be sent."""
        return self.executor.socket_bag.get_operation(self.socket)._answers  # type: ignore[attr-defined]

    def says(self, *data: bytes) -> socket.socket:
        """A peer that has said all this."""
        return self.peers.datagram(self.local, *data)

    def run(self) -> Server:
        self.executor.execute_request()
        return self

    def gave(self, count: int, peer: int = 0) -> list[bytes]:
        """The next so many answers that a peer has got."""
        return [self.peers[peer].recv(100_000) for _ in range(count)]


@pytest.fixture
def serve(executor: RequestExecutor) -> Any:
    with Peers() as peers:
        yield lambda *args, **named: Server(executor, peers, *args, **named)


def echo(event: Any) -> None:
    event.next_is_write(event.frame.data)


def run_echo(serve: Any, address: str | None, sent: list[bytes], **named: Any) -> Server:
    """A server that answers each of `sent`, and is cancelled by the word after them."""

    def read(event: Any) -> None:
        event.cancel_operation() if len(server.log.of("READ")) > len(sent) else echo(event)

    server: Server = serve(address, read=read, says=[*sent, b"end"], **named)
    return server.run()


def unix_queue() -> int:
    """How many datagrams a unix socket's queue takes, and one more."""
    return int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())


@pytest.mark.parametrize("address", [UDP, "udp://[::1]:0", "udp://0.0.0.0:0", "udg://{}/socket"])
def test_each_datagram_is_read_and_answered(serve: Any, tmp_path: Path, address: str) -> None:
    sent = [b"one", b"", os.urandom(65_507 if address.startswith("udp") else 9000), b"four"]
    server = run_echo(serve, address.format(tmp_path), sent)
    (peer,) = server.peers
    assert server.gave(4) == sent
    assert server.log.names == [*USUAL, *["READ", "WRITE"] * 4, "READ", *END]
    assert server.log.frames == [*sent, b"end"]
    (remote,) = {event.frame.remote_address for event in server.log.of("READ")}
    name = peer.getsockname()
    assert remote == "@" + name[1:].decode() if isinstance(name, bytes) else remote[1] == name[1]
    assert {event.socket for event in server.log.events} == {server.socket}
    assert {event.operation for event in server.log.of("READ")} == {server.operation}
    size = sum(map(len, sent))
    assert (server.metadata.bytes_received, server.metadata.bytes_sent) == (size + 3, size)


def test_it_is_the_servers_socket_alone(serve: Any) -> None:
    seen: list[int] = []
    serve(read=lambda event: seen.append(len(event.executor.socket_bag)), says=[b"a", b"b"], ends=2).run()
    assert seen == [1, 1]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_wildcard_server_answers_from_the_address_asked(serve: Any, host: str) -> None:
    hosts = ["127.0.0.1", "127.0.0.2", "127.200.3.4"]

    def started(server: Server) -> None:
        for one in hosts:
            peer = server.peers.datagram(None)
            peer.connect((one, server.local[1]))  # takes an answer from there only
            peer.send(one.encode())

    address = f"udp://[{host}]:0" if host == "::" else f"udp://{host}:0"
    server = serve(address, read=echo, ends=3, started=started).run()
    # The last is answered though the server ends with it: it is closed after its answer was named.
    assert [peer.recv(100) for peer in server.peers[:2]] == [one.encode() for one in hosts[:2]]


@pytest.mark.parametrize(
    "read",
    [
        lambda event: None,
        lambda event: event.next_is_read(),
        lambda event: event.next_is(NullOperation()),
        lambda event: event.next_is(event.operation),
        lambda event: event.next_is(DatagramOperation()),
    ],
    ids=["nothing", "read", "end", "itself", "another"],
)
def test_whatever_is_named_besides_a_write_it_goes_on(serve: Any, read: Any) -> None:
    server = serve(read=read, says=[b"a", b"b", b"c"], ends=3).run()
    assert server.log.names == [*USUAL, *["READ"] * 3, *END]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", [b""]), (bytearray(b"ab"), [b"ab"]), (memoryview(b"ab"), [b"ab"]), (None, []),
        ([b"a", b"", bytearray(b"c")], [b"a", b"", b"c"]), ((b"a", b"b"), [b"a", b"b"]), ([], []),
    ],
)  # fmt: skip
def test_what_can_be_answered(serve: Any, data: Any, told: list[bytes]) -> None:
    def read(event: Any) -> None:
        if event.frame.data == b"ask":
            event.next_is_write(data)
        elif event.frame.data == b"more":
            event.next_is_write(b"last")

    server = serve(read=read, says=[b"ask", b"more", b"end"], ends=3).run()
    assert server.gave(len(told) + 1) == [*told, b"last"]


def test_a_write_handler_has_the_last_word(serve: Any) -> None:
    """It sets the data, and whatever it writes besides goes to the same sender, in order."""

    def write(event: Any) -> None:
        if event.operation.data == b"x":
            event.operation.data = b"0"
        number = int(event.operation.data)
        if number < 99:
            event.next_is_write(b"%d" % (number + 1))

    server = serve(
        on={"READ": lambda event: event.frame.data == b"x" and event.next_is_write(b"x"), "WRITE": write},
        started=lambda server: (server.says(b"x", b"x"), server.says(b"x", b"y")), ends=4,
    ).run()  # fmt: skip
    for peer, times in ((0, 2), (1, 1)):
        assert server.gave(100 * times, peer) == [b"%d" % n for n in range(100)] * times
    assert len(server.log.of("WRITE")) == 300


def test_then(serve: Any) -> None:
    answer = WriteOperation(b"a", then=WriteOperation(b"b", then=ReadOperation()))
    server = serve(read=lambda event: event.next_is(answer), says=[b"1", b"2", b"3"], ends=3).run()
    assert server.gave(4) == [b"a", b"b"] * 2


class Broken(FramePicker):
    def pick(self, inbox: Any, ended: bool) -> Any:
        inbox.take(1)
        raise FrameError("it is broken")


@pytest.mark.parametrize(
    ("picker", "frames", "partial"),
    [
        (FixedLengthFramePicker(3), [b"abc"], b"ab"),
        (MarkerFramePicker(None, b"c"), [b"abc"], b"ab"),
        (EmptyFramePicker(), [b"", b""], None),
        (Broken(), [], b"b"),
    ],
)
def test_the_picker_looks_at_each_alone(
    serve: Any, picker: FramePicker, frames: list[bytes], partial: bytes | None
) -> None:
    """A datagram without a whole frame is an EXCEPTION, and the next one is looked at from its beginning."""

    def raised(event: Any) -> None:
        if len(server.log.of("EXCEPTION")) + len(server.log.of("READ")) == 2:
            event.socket.close()

    on = {"EXCEPTION": raised, "READ": raised}
    server = serve(picker=picker, says=[b"ab", b"abcde"], on=on)
    server.run()
    assert server.log.frames == frames
    errors = server.log.errors
    assert [type(error) for error in errors] == [FrameError] * (2 - len(frames))
    for error in errors:
        assert error.socket is server.socket and error.picker is picker
    if partial is not None:
        assert errors[0].partial.data == partial


def test_a_batch_a_datagram(serve: Any) -> None:
    picker = BatchFramePicker(MarkerFramePicker(None, b"\n"))
    server = serve(picker=picker, says=[b"a\nb\nc", b"", b"d\n"], ends=3).run()
    frames = [event.frame for event in server.log.of("READ")]
    assert all(type(frame) is FrameBatch for frame in frames)
    assert [[each.data for each in frame.frames] for frame in frames] == [[b"a\n", b"b\n"], [b""], [b"d\n"]]
    assert {frame.remote_address[1] for frame in frames} == {server.peers[0].getsockname()[1]}


@pytest.mark.parametrize("isolated", [True, False])
def test_an_error_of_a_handler_concerns_one_datagram(engine: Any, isolated: bool) -> None:
    def read(event: Any) -> None:
        if event.frame.data == b"bad":
            raise ValueError("a bug") if isolated else ReceiveError("of the library's")
        echo(event)

    configuration = Configuration(isolate_handler_errors=isolated)
    with RequestExecutor(engine, configuration=configuration) as executor, Peers() as peers:
        server = Server(executor, peers, read=read, ends=4, says=[b"a", b"bad", b"b", b"c"]).run()
        assert server.gave(2) == [b"a", b"b"]
    assert server.log.names.count("READ") == 4 and server.log.names[-2:] == END
    assert [type(error) for error in server.log.errors] == [HandlerError if isolated else ReceiveError]


@pytest.mark.parametrize("where", ["READ", "WRITE", "iterable"])
def test_any_other_exception_ends_the_run(serve: Any, where: str) -> None:
    """What was answered before leaves."""

    def items() -> Any:
        yield b"item"
        raise ValueError("a bug")

    def bug(event: Any) -> None:
        if event.type.name == "READ" and event.frame.data == b"a":
            return echo(event)
        if event.type.name == where and (where == "READ" or event.operation.data == b"b"):
            raise ValueError("a bug")
        if event.type.name == "READ":
            event.next_is_write(items() if where == "iterable" else b"b")
        return None

    server = serve(on=bug, says=[b"a", b"b", b"c"])
    with pytest.raises(ValueError, match="a bug"):
        server.run()
    assert server.log.names[-2:] == END
    assert server.gave(1) == [b"a"]
    assert server.log.frames == [b"a", b"b"] or where == "iterable"


def test_what_cannot_be_sent_is_told(serve: Any) -> None:
    """Too large, out of band, or to a sender without a name: an EXCEPTION each, and the server goes on."""
    answers = iter([WriteOperation(bytes(65_508)), WriteOperation(b"x", out_of_band=True)])

    def read(event: Any) -> None:
        event.next_is(next(answers, None) or WriteOperation(b"good"))

    server = serve(read=read, says=[b"a", b"b", b"c", b"end"], ends=4).run()
    assert server.gave(1) == [b"good"]
    by_type = {type(error): error for error in server.log.errors}
    assert set(by_type) == {SendError, UnsupportedOperationError}
    assert by_type[SendError].errno == errno.EMSGSIZE


def test_a_unix_sender_without_a_name(serve: Any, tmp_path: Path) -> None:
    def started(server: Server) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nobody:
            nobody.sendto(b"who?", server.local)
        server.says(b"me", b"end")

    server = serve(f"udg://{tmp_path}/socket", read=echo, started=started, ends=3).run()
    assert server.gave(1) == [b"me"]
    assert server.log.of("READ")[0].frame.remote_address is None
    assert [error.errno for error in server.log.errors] == [errno.EDESTADDRREQ]


def test_a_truncated_datagram(serve: Any, tmp_path: Path) -> None:
    def started(server: Server) -> None:
        server.says(b"a", bytes(65_537))
        server.says(b"b")

    server = serve(f"udg://{tmp_path}/socket", started=started, ends=2).run()
    assert server.log.frames == [b"a", b"b"]
    assert [error.errno for error in server.log.errors] == [errno.EMSGSIZE]


def test_a_full_peer_keeps_its_answers_and_nobody_elses(serve: Any, tmp_path: Path) -> None:
    """A unix sender whose queue is full: its answers wait in order, others are answered meanwhile."""
    queue = unix_queue()
    number = queue + 20
    others: list[bytes] = []

    def started(server: Server) -> None:
        slow = server.says(b"start")
        server.says()
        slow.setblocking(True)

    def read(event: Any) -> None:
        slow, other = server.peers
        if event.frame.data == b"start":
            event.next_is_write([b"%d" % n for n in range(number)])
            other.sendto(b"other", server.local)
        elif event.frame.data == b"other":
            event.next_is_write(b"to the other")
            other.sendto(b"read it", server.local)
        elif event.frame.data == b"read it":
            others.append(other.recv(100))
            got.extend(slow.recv(10) for _ in range(queue))  # now there is room
            other.sendto(b"again", server.local)
        else:
            slow.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    got.append(slow.recv(10))
            if len(got) == number:
                event.cancel_operation()
            else:
                other.sendto(b"again", server.local)

    got: list[bytes] = []
    server = serve(f"udg://{tmp_path}/socket", read=read, started=started)
    server.run()
    assert others == [b"to the other"]
    assert got == [b"%d" % n for n in range(number)]
    assert server.log.errors == []


def test_answers_that_are_never_taken_are_dropped_in_the_end(engine: Any, tmp_path: Path) -> None:
    """As a client of the server would end by its io_timeout."""

    on = {
        "READ": lambda event: event.next_is_write(b"x" for _ in range(100_000)),
        "EXCEPTION": lambda event: event.cancel_operation(),
    }
    configuration = Configuration(io_timeout=0.05)
    with RequestExecutor(engine, configuration=configuration) as executor, Peers() as peers:
        server = Server(executor, peers, f"udg://{tmp_path}/socket", says=[b"a"], on=on).run()
    (error,) = server.log.errors
    assert type(error) is SendError and error.errno == errno.EAGAIN


def test_udp_receives_nothing_while_its_own_buffer_is_full(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes every third only: nothing is lost, the order is kept, and reading waits."""
    from evsockets.transports.datagram import ServerDatagram

    calls: list[str] = []
    real_send, real_receive = ServerDatagram.send_many, ServerDatagram.receive_many

    def send_many(self: Any, datagrams: Any) -> int:
        calls.append("send")
        return real_send(self, datagrams[:1]) if len(calls) % 3 == 0 else 0

    def receive_many(self: Any, most: int) -> Any:
        assert not server.answers._kept
        return real_receive(self, most)

    monkeypatch.setattr(ServerDatagram, "send_many", send_many)
    monkeypatch.setattr(ServerDatagram, "receive_many", receive_many)
    words = [b"%d" % n for n in range(100)]

    def read(event: Any) -> None:
        if event.frame.data == b"end":
            event.cancel_operation()
        else:
            event.next_is_write(event.frame.data)
            if event.frame.data == words[-1]:
                server.peers[0].sendto(b"end", server.local)

    server = serve(read=read, says=words)
    server.run()
    assert server.gave(100) == words


def full_peer(server: Server, number: int) -> socket.socket:
    """A unix peer that says `number` words and reads no answer."""
    peer = server.says()
    peer.setblocking(False)
    for n in range(number):
        while True:
            try:
                peer.sendto(b"%d" % n, server.local)
                break
            except BlockingIOError:
                server.executor.turn(0)
    return peer


@pytest.mark.parametrize("end", ["close", "stop_request"])
def test_what_was_not_taken_is_dropped_at_the_end(serve: Any, tmp_path: Path, end: str) -> None:
    """And what one sender may have waiting is bounded: an answer beyond is told to be lost."""
    queue = unix_queue()
    server = serve(f"udg://{tmp_path}/socket", read=echo)
    executor = server.executor
    executor.start_request()
    executor.turn(0)
    # The peer's queue takes one more than the setting says.
    peer = full_peer(server, queue + 1 + 128 + 2)
    turns_until(executor, lambda: len(server.log.of("READ")) >= queue + 131, 0)
    assert [type(error) for error in server.log.errors] == [SendError] * 2
    assert server.answers._kept
    if end == "close":
        server.socket.close()
    else:
        executor.stop_request()
    turns_to_the_end(executor, 0)
    assert server.log.names[-2:] == END
    assert server.gave(queue + 1) == [b"%d" % n for n in range(queue + 1)]
    with pytest.raises(BlockingIOError):
        peer.recv(10)
    assert server.metadata.bytes_sent == sum(len(b"%d" % n) for n in range(queue + 1))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_answers_nothing_in_the_child(serve: Any) -> None:
    def read(event: Any) -> None:
        if event.frame.data == b"a":
            return echo(event)
        child = os.fork()
        if not child:
            return None
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        echo(event)
        event.next_operation.data = b"of the parent"
        server.executor.call_soon_threadsafe(server.socket.close)
        return None

    parent = os.getpid()
    server = serve(read=read, says=[b"a", b"fork"])
    try:
        server.run()
    finally:
        if os.getpid() != parent:
            os._exit(7 if isinstance(sys.exception(), EngineError) else 1)
    (peer,) = server.peers
    peer.setblocking(False)
    assert server.gave(2) == [b"a", b"of the parent"]
    with pytest.raises(BlockingIOError):
        peer.recv(100)


def test_speeds_and_a_repr(serve: Any) -> None:
    speeds: list[float] = []

    def read(event: Any) -> None:
        assert repr(event.socket).endswith("connected <DatagramOperation RawFramePicker>>")
        speeds.extend([event.metadata.receive_speed, event.metadata.send_speed])
        echo(event)

    server = serve(read=read, says=[b"a" * 100], ends=1).run()
    assert speeds[0] > 0 and speeds[1] == 0 and server.metadata.receive_speed > 0


def test_an_endless_answer_starves_nobody(serve: Any) -> None:
    """Others are served and callbacks called meanwhile, and the end ends it."""
    sent = 0

    def forever() -> Any:
        nonlocal sent
        while True:
            sent += 1
            if sent == 1000:
                server.executor.call_soon_threadsafe(server.says, b"another")
            yield b"x"

    def read(event: Any) -> None:
        if event.frame.data == b"all":
            event.next_is_write(forever())
        else:
            echo(event)
            event.executor.call_soon_threadsafe(event.socket.close)

    server = serve(read=read, says=[b"all"])
    server.run()
    assert 1000 <= sent < 3000
    assert server.log.names[-2:] == END
    assert server.gave(1, 1) == [b"another"]


def test_a_bounded_share_a_turn(serve: Any) -> None:
    words = [b"%d" % n for n in range(200)]
    turns: list[int] = []

    def read(event: Any) -> None:
        if not turns:
            turns.append(0)
            event.executor.call_soon_threadsafe(lambda: turns.append(len(server.log.of("READ"))))

    server = serve(read=read, says=words, ends=200)
    server.run()
    assert server.log.frames == words
    assert 1 < turns[1] < 100


# ---- where it is no server's ------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "unix://@evsockets-no", "tls://127.0.0.1:0"])
def test_a_stream_server_is_refused_at_once(executor: RequestExecutor, address: str) -> None:
    with pytest.raises(TypeError, match=r"is for udp:// and udg:// servers.*ReadOperation\(\)"):
        executor.socket_bag.add_socket(ServerSocket(), DatagramOperation(), address=address)
    server = ServerSocket()
    metadata = executor.socket_bag.add_socket(server, DatagramOperation())
    with pytest.raises(TypeError, match="is for udp:// and udg:// servers"):
        metadata.address = address
    metadata.address = UDP
    assert len(executor.socket_bag) == 1
    executor.socket_bag.set_operation(server, ReadOperation())
    metadata.address = address
    with pytest.raises(TypeError, match="is for udp:// and udg:// servers"):
        executor.socket_bag.set_operation(server, DatagramOperation())


def test_an_adopted_stream_is_refused(executor: RequestExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = ServerSocket.from_socket(listening)
        with pytest.raises(TypeError, match="the socket adopted carries a stream"):
            executor.socket_bag.add_socket(server, DatagramOperation())
        server.close()


def test_a_stream_by_its_descriptor_is_refused_when_it_is_looked_at(executor: RequestExecutor) -> None:
    number = socket.create_server(("127.0.0.1", 0)).detach()
    executor.socket_bag.add_socket(ServerSocket(), DatagramOperation(), address=f"fd://{number}")
    with pytest.raises(TypeError, match="carries a stream"):
        executor.execute_request()


def test_a_client_is_refused(executor: RequestExecutor) -> None:
    with pytest.raises(TypeError, match=r"ClientSocket\(\) reads with ReadOperation\(\)"):
        executor.socket_bag.add_socket(ClientSocket(), DatagramOperation(), address="udp://127.0.0.1:9")
    executor.socket_bag.add_socket(
        ClientSocket(), WriteOperation(b"x", then=DatagramOperation()), address="udp://127.0.0.1:9"
    )
    with pytest.raises(TypeError, match="is for udp:// and udg:// servers"):
        executor.execute_request()


@pytest.mark.parametrize("picker", [b"x", ReadOperation(), FramePicker])
def test_what_is_no_picker(picker: Any) -> None:
    with pytest.raises(TypeError, match="DatagramOperation takes a frame picker"):
        DatagramOperation(picker)


def test_another_operation_comes_too_late(serve: Any) -> None:
    errors: list[TypeError] = []

    def started(server: Server) -> None:
        for operation in (DatagramOperation(), WriteOperation(b"x")):
            with pytest.raises(TypeError) as raised:
                server.executor.socket_bag.set_operation(server.socket, operation)
            errors.append(raised.value)
        server.socket.close()

    serve(started=started).executor.execute_request()
    assert len(errors) == 2


# ---- as listeners have it ---------------------------------------------------------------------------------


def test_one_operation_for_many_servers_and_lives(executor: RequestExecutor) -> None:
    operation, seen = DatagramOperation(), []
    with Peers() as peers:

        def read(event: Any) -> None:
            seen.append(event.frame.data)
            event.cancel_operation()

        def connected(event: Any) -> None:
            peers.datagram(event.metadata.local_address, b"x")

        handler = Log().handler({"CONNECTED": connected, "READ": read})
        servers = ServerSocket(), ServerSocket()
        for _ in range(2):
            for server in servers:
                executor.socket_bag.add_socket(server, operation, handler=handler, address=UDP)
            executor.execute_request()
    assert seen == [b"x"] * 4


@pytest.mark.parametrize("how", ["fd", "from_socket"])
def test_adopted(serve: Any, how: str) -> None:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    if how == "fd":
        server = run_echo(serve, f"fd://{bound.detach()}", [b"a", b"b"])
    else:
        server = run_echo(serve, None, [b"a", b"b"], socket=ServerSocket.from_socket(bound))
    assert server.gave(2) == [b"a", b"b"]


def test_no_time_out_unless_one_is_given(serve: Any) -> None:
    server = serve(started=lambda server: server.socket.close())
    assert server.metadata.io_timeout is None
    server.run()


def test_an_io_timeout_counts_since_the_last_datagram(serve: Any) -> None:
    server = serve(says=[b"a"], io_timeout=0.05).run()
    assert server.log.names == [*USUAL, "READ", "TIMEOUT", *END]
    (event,) = server.log.of("TIMEOUT")
    assert (event.when, event.phase) == (TimeoutStage.IO, "listening")


def test_a_drain_serves_what_lies_there(serve: Any, tmp_path: Path) -> None:
    """More than a turn's share of it; a unix server's file goes, and answers that are kept leave before."""
    words = [b"%d" % n for n in range(100)]

    def started(server: Server) -> None:
        for word in words:
            server.says(word)
        reports.append(server.executor.drain(30))

    reports: list[Any] = []
    server = serve(UDP, read=echo, started=started).run()
    assert [peer.recv(10) for peer in server.peers] == words
    assert reports[0].finished == reports[0].closed_idle == 0 and reports[0].aborted == []
    assert server.log.names[-2:] == END


def test_a_drain_waits_for_kept_answers(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    queue = unix_queue()
    got: list[bytes] = []

    def read(event: Any) -> None:
        event.next_is_write([b"%d" % n for n in range(queue + 5)])
        event.executor.call_soon_threadsafe(drain)

    def drain() -> None:
        server.executor.drain(30)
        server.executor.call_soon_threadsafe(take)

    def take() -> None:
        assert not path.exists()
        got.extend(server.gave(queue))

    server = serve(f"udg://{path}", read=read, says=[b"a"])
    server.run()
    got += server.gave(5)
    assert got == [b"%d" % n for n in range(queue + 5)]


def test_a_drain_ends_with_the_last_item_of_an_iterable(serve: Any) -> None:
    def read(event: Any) -> None:
        if event.frame.data == b"a":
            server.says(b"b")
            event.executor.drain(100)
        event.next_is_write(iter([event.frame.data, b"."]))

    server = serve(UDP, read=read, says=[b"a"])
    began = time.monotonic()
    server.run()
    assert [peer.recv(10) for peer in server.peers for _ in "12"] == [b"a", b".", b"b", b"."]
    assert time.monotonic() - began < 50  # and not at the drain's deadline


def test_a_drain_leaves_an_adopted_ones_queue(serve: Any) -> None:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))

    def drain() -> None:  # from the end of a turn: the next begins with it
        server.says(b"for the successor")
        server.executor.drain(30)

    def started(server: Server) -> None:
        server.executor.call_soon_threadsafe(drain)

    with socket.socket(fileno=os.dup(bound.fileno())) as kept:
        server = serve(None, socket=ServerSocket.from_socket(bound), started=started)
        server.run()
        assert kept.recv(100) == b"for the successor"
    assert server.log.names == [*USUAL, *END]


def test_stop_tells_nothing_more(serve: Any) -> None:
    def read(event: Any) -> None:
        echo(event)
        if event.frame.data == b"b":
            event.executor.stop_request()

    server = serve(read=read, says=[b"a", b"b", b"c"]).run()
    assert server.log.names == [*USUAL, "READ", "WRITE", "READ", *END]
    assert server.gave(1) == [b"a"]
