"""A socket's metadata."""

from __future__ import annotations

import time
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Configuration,
    FixedLengthFramePicker,
    ReadOperation,
    RequestExecutor,
    StreamContext,
    WriteOperation,
)
from support.conversation import Talk
from support.wire import listening
from support.wire import talk as hold

X = WriteOperation(b"x")

READ_ONLY = (
    "request_complete", "connection_start_time", "connection_finish_time", "last_io_start_time",
    "bytes_sent", "bytes_received", "receive_speed", "send_speed", "remote_address", "local_address", "tls",
)  # fmt: skip
WRITABLE = {
    "address": "tcp://127.0.0.1:1", "user_context": 5, "stream_context": StreamContext(no_delay=False),
    "connection_timeout": 1.5, "io_timeout": None, "idle_timeout": 3.0, "request_timeout": 4.0,
    "min_receive_speed": 5.0, "min_receive_speed_duration": 6.0, "min_send_speed": 7.0,
    "min_send_speed_duration": 8.0, "keep_alive": True,
}  # fmt: skip


def test_defaults(executor: RequestExecutor) -> None:
    metadata = executor.socket_bag.add_socket(ClientSocket(), ReadOperation())
    assert metadata.connection_timeout == metadata.io_timeout == 60
    assert metadata.idle_timeout is metadata.request_timeout is None
    assert metadata.min_receive_speed is metadata.min_send_speed is None
    assert metadata.min_receive_speed_duration is metadata.min_send_speed_duration is None
    assert metadata.bytes_sent == metadata.bytes_received == 0
    assert metadata.receive_speed == metadata.send_speed == 0
    assert metadata.address is metadata.user_context is metadata.tls is None
    assert metadata.remote_address is metadata.local_address is None
    assert metadata.connection_start_time is metadata.connection_finish_time is None
    assert metadata.last_io_start_time is None
    assert metadata.keep_alive is False and metadata.request_complete is False
    assert metadata.stream_context == StreamContext()


def test_defaults_of_the_configuration() -> None:
    configuration = Configuration(
        connection_timeout=1, io_timeout=2, idle_timeout=3, request_timeout=4, stream_context={"backlog": 7},
        min_receive_speed=5, min_receive_speed_duration=6, min_send_speed=7, min_send_speed_duration=8,
    )  # fmt: skip
    with RequestExecutor("selectors", configuration=configuration) as executor:
        metadata = executor.socket_bag.add_socket(ClientSocket(), ReadOperation())
        names = ["connection_timeout", "io_timeout", "idle_timeout", "request_timeout"]
        names += ["min_receive_speed", "min_receive_speed_duration"]
        names += ["min_send_speed", "min_send_speed_duration"]
        assert [getattr(metadata, name) for name in names] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert metadata.stream_context.backlog == 7


@pytest.mark.parametrize("name", READ_ONLY)
def test_read_only(executor: RequestExecutor, name: str) -> None:
    client = ClientSocket()
    metadata = executor.socket_bag.add_socket(client, ReadOperation())
    with pytest.raises(AttributeError):
        setattr(metadata, name, 1)
    with pytest.raises((TypeError, AttributeError)):
        executor.socket_bag.set_metadata(client, **{name: 1})


@pytest.mark.parametrize("name", WRITABLE)
def test_writable(executor: RequestExecutor, name: str) -> None:
    value = WRITABLE[name]
    bag = executor.socket_bag
    clients = [ClientSocket() for _ in range(3)]
    bag.add_socket(clients[0], ReadOperation(), **{name: value})
    setattr(bag.add_socket(clients[1], ReadOperation()), name, value)
    bag.add_socket(clients[2], ReadOperation())
    bag.set_metadata(clients[2], **{name: value})
    for client in clients:
        assert getattr(bag.get_metadata(client), name) == value
    bag.set_metadata(clients[2])
    assert getattr(bag.get_metadata(clients[2]), name) == value


def test_keep_alive_is_a_flag(executor: RequestExecutor) -> None:
    client = ClientSocket()
    metadata = executor.socket_bag.add_socket(client, ReadOperation(), io_timeout=1)
    with pytest.raises(TypeError, match="keep_alive must be True or False, not 'no'"):
        executor.socket_bag.set_metadata(client, io_timeout=2, keep_alive="no")  # type: ignore[arg-type]
    assert metadata.keep_alive is False and metadata.io_timeout == 1


@pytest.mark.parametrize(
    ("wrong", "right"), [("io_timout", "io_timeout"), ("adress", "address"), ("keepalive", "keep_alive")]
)
def test_unknown_names(executor: RequestExecutor, wrong: str, right: str) -> None:
    client = ClientSocket()
    with pytest.raises(TypeError, match=right):
        executor.socket_bag.add_socket(client, ReadOperation(), **{wrong: 1})
    metadata = executor.socket_bag.add_socket(client, ReadOperation())
    with pytest.raises(TypeError, match=right):
        executor.socket_bag.set_metadata(client, **{wrong: 1})
    with pytest.raises(AttributeError):
        setattr(metadata, wrong, 1)


def test_stream_context_forms(executor: RequestExecutor) -> None:
    metadata = executor.socket_bag.add_socket(ClientSocket(), ReadOperation())
    metadata.stream_context = {"backlog": 3}
    assert metadata.stream_context.backlog == 3
    metadata.stream_context = None
    assert metadata.stream_context == StreamContext()
    with pytest.raises(TypeError, match="backlog"):
        metadata.stream_context = {"backlogs": 3}


def test_user_context_is_live_and_read_only_on_events(talk: Talk) -> None:
    def change(event: Any) -> None:
        assert event.user_context == 1
        event.metadata.user_context = 2
        assert event.user_context == 2
        with pytest.raises(AttributeError):
            event.user_context = 3

    one = talk(X, told=["WRITE"], sent=b"x", user_context=1, on={"INITIALIZE": change})
    assert {event.user_context for event in one.events} == {2}


@pytest.mark.parametrize("end", ["DISCONNECTED", "FINALIZE", "afterwards"])
def test_our_own_address_outlives_the_connection(executor: RequestExecutor, end: str) -> None:
    """As the peer's does, though nobody asked for it before."""
    seen: list[Any] = []
    on = {} if end == "afterwards" else {end: lambda event: seen.append(event.metadata.local_address)}
    with listening() as (listener, url):
        log = hold(executor, url, X, on=on)
        if end == "afterwards":
            seen.append(log.metadata.local_address)
        theirs, name = listener.accept()
        theirs.close()
    assert seen == [name]


def test_counters_addresses_and_times(executor: RequestExecutor) -> None:
    before = time.time()
    seen: list[Any] = []
    peers: list[Any] = []

    def connected(event: Any) -> None:
        peers.append(listener.accept()[0])
        peers[0].sendall(b"12345678")

    def read(event: Any) -> None:
        seen.append((event.metadata.remote_address, event.metadata.local_address[0]))

    with listening() as (listener, url):
        name = listener.getsockname()
        operation = WriteOperation(b"12345", then=ReadOperation(FixedLengthFramePicker(8)))
        metadata = hold(executor, url, operation, on={"CONNECTED": connected, "READ": read}).metadata
    with peers[0] as theirs:
        assert theirs.recv(10) == b"12345"
    after = time.time()
    assert seen == [(name, "127.0.0.1")]
    assert (metadata.bytes_sent, metadata.bytes_received) == (5, 8)
    assert metadata.remote_address == name and metadata.address == url
    times = (metadata.connection_start_time, metadata.connection_finish_time, metadata.last_io_start_time)
    assert before - 0.01 <= times[0] <= times[1] <= times[2] <= after + 0.01
    assert metadata.request_complete and metadata.send_speed >= 0 and metadata.receive_speed >= 0


@pytest.mark.parametrize("heard", [True, False])
def test_times_are_in_order(talk: Talk, heard: bool) -> None:
    """Also where the connection is there at once."""
    one = talk.begin(X, **({} if heard else {"handler": None}))
    talk.run()
    m = one.metadata
    assert m.connection_start_time <= m.connection_finish_time <= m.last_io_start_time
    assert (m.bytes_sent, one.received) == (1, b"x")
