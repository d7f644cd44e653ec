"""StreamContext(connect_datagrams=False): one address is asked, and anybody may answer."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    BatchFramePicker,
    ClientSocket,
    FrameError,
    LineFramePicker,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    SendError,
    WriteOperation,
)
from support.life import END
from support.service import Peers, Serve
from support.wire import add, talk

OPEN = {"connect_datagrams": False}
ASK = WriteOperation(b"who is there?", then=ReadOperation())


def reading(*, until: bytes) -> Any:
    def read(event: Any) -> None:
        if event.frame.data != until:
            event.next_is_read()

    return read


@pytest.mark.parametrize("connected", [True, False])
def test_another_port_answers(executor: RequestExecutor, connected: bool) -> None:
    with Peers() as peers:
        asked, address = peers.datagram_server()
        other, _ = peers.datagram_server()

        def write(event: Any) -> None:
            local = "127.0.0.1", event.metadata.local_address[1]
            other.sendto(b"I am", local)
            asked.sendto(b"I, too", local)

        log = talk(
            executor, address, ASK, on={"WRITE": write, "READ": reading(until=b"I, too")},
            stream_context={"connect_datagrams": connected},
        )  # fmt: skip
        told = [(event.frame.data, event.frame.remote_address) for event in log.of("READ")]
        everybody = [(b"I am", other.getsockname()), (b"I, too", asked.getsockname())]
        assert told == (everybody[1:] if connected else everybody)
        assert asked.recv(100) == b"who is there?"
        assert log.metadata.remote_address == asked.getsockname()
        assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", *["READ"] * len(told), *END]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("bind_to", [None, "own"])
def test_it_has_its_port_from_the_beginning(server: Serve, host: str, bind_to: str | None) -> None:
    ports: list[int] = []
    own = None if bind_to is None else (host.strip("[]"), 0)
    service = server(
        f"udp://{host}:0", asks=[ASK], asking={"stream_context": {**OPEN, "bind_to": own}},
        handler={"READ": lambda event: event.next_is_write(b"I")},
    )  # fmt: skip
    service.executor.with_event_handler(
        lambda event: ports.append(event.metadata.local_address[1])
        if event.type.name == "CONNECTED" and event.socket is not service.server
        else None
    )
    service.execute()
    assert service.asked[0].frames == [b"I"]
    assert service.accepted[0].remote_address[1] == ports[0] != 0
    assert service.asked[0].of("READ")[0].frame.remote_address == service.local


def test_a_group_is_asked_and_each_answers_for_itself(executor: RequestExecutor) -> None:
    with Peers() as peers:
        members = [peers.datagram(None) for _ in range(3)]
        port = 0
        for member in members:
            member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            member.bind(("224.0.0.251", port))
            port = member.getsockname()[1]
            joined = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
            member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        speakers = [peers.datagram_server()[0] for _ in members]

        def write(event: Any) -> None:
            executor.call_soon_threadsafe(answer)  # when it has left

        def answer() -> None:
            for member, speaker in zip(members, speakers, strict=True):
                data, asker = member.recvfrom(100)
                speaker.sendto(b"not " + data, asker)

        def read(event: Any) -> None:
            if len(log.frames) < 3:
                event.next_is_read()

        log = add(
            executor, f"udp://224.0.0.251:{port}", WriteOperation(b"you", then=ReadOperation()),
            on={"WRITE": write, "READ": read},
            stream_context={**OPEN, "multicast_interface": "127.0.0.1", "multicast_loop": True},
        )  # fmt: skip
        executor.execute_request()
        assert log.frames == [b"not you"] * 3
        told = {event.frame.remote_address for event in log.of("READ")}
        assert told == {speaker.getsockname() for speaker in speakers}


def test_sizes_pickers_and_both_directions(executor: RequestExecutor) -> None:
    """As of a connected one: whole datagrams, empty ones too, and a frame never spans two."""
    with Peers() as peers:
        server, address = peers.datagram_server()
        largest = bytes(65_507)

        def connected(event: Any) -> None:
            for data in (b"", largest, b"a\nb\nc", b"no line"):
                server.sendto(data, ("127.0.0.1", event.metadata.local_address[1]))

        lines = ReadOperation(BatchFramePicker(LineFramePicker()))
        reads = [ReadOperation(), ReadOperation(), lines, lines]
        both = ReadWriteOperation(operations=[*reads, WriteOperation([b"one", b""]), WriteOperation(largest)])
        log = talk(executor, address, both, on={"CONNECTED": connected}, stream_context=OPEN)
        assert log.frames == [b"", largest, b"ab"] and isinstance(log.error, FrameError)
        (batch,) = log.of("READ")[2:]
        assert {frame.remote_address for frame in batch.frame.frames} == {server.getsockname()}
        assert [server.recv(70_000) for _ in range(3)] == [b"one", b"", largest]


@pytest.mark.parametrize("bound", [True, False])
def test_udg(executor: RequestExecutor, tmp_path: Path, bound: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asked, Peers() as peers:
        asked.bind(str(tmp_path / "asked"))
        other = peers.datagram("@") if bound else socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = "@" + other.getsockname()[1:].decode() if bound else None

        def write(event: Any) -> None:
            other.sendto(b"I am", "\0" + event.metadata.local_address[1:])
            other.close()

        log = talk(executor, f"udg://{tmp_path}/asked", ASK, on={"WRITE": write}, stream_context=OPEN)
        (read,) = log.of("READ")
        assert (read.frame.data, read.frame.remote_address) == (b"I am", name)
        assert asked.recv(100) == b"who is there?"


def test_what_cannot_be_sent(executor: RequestExecutor, tmp_path: Path) -> None:
    (tmp_path / "gone").touch()
    log = talk(executor, f"udg://{tmp_path}/gone", ASK, stream_context=OPEN)
    assert isinstance(log.error, SendError)
    with Peers() as peers:
        log = talk(executor, peers.datagram_server()[1], WriteOperation(bytes(65_508)), stream_context=OPEN)
    assert isinstance(log.error, SendError)


def test_nobody_there_is_not_told(executor: RequestExecutor) -> None:
    with Peers() as peers:
        address = peers.datagram_server()[1]
    log = talk(executor, address, ASK, stream_context=OPEN, io_timeout=0.05)
    assert log.errors == [] and log.timeouts == [("IO", "reading")]


def test_a_kept_one_serves_only_who_wants_such(executor: RequestExecutor) -> None:
    """The next life goes on with what an earlier one left if it was opened the same way."""
    client = ClientSocket()
    ports: list[int] = []

    def ended(event: Any) -> None:
        ports.append(event.metadata.local_address[1])
        executor.socket_bag.forget_socket(event.socket)

    with Peers() as peers:
        address = peers.datagram_server()[1]
        for context in (OPEN, OPEN, {}, {}):
            talk(
                executor, address, WriteOperation(b"x"), socket=client, on={"WRITE": ended},
                stream_context=context, keep_alive=True,
            )  # fmt: skip
    assert ports[0] == ports[1] != ports[2] == ports[3]
