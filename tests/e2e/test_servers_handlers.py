"""What handlers may do to a listener, and what users may not."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from evsockets import (
    Configuration,
    EventType,
    HandlerError,
    NetworkSocketError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.clients import Recorder
from support.service import Peers, Service
from support.wire import read_to_end

LIFE = ["INITIALIZE", "CONNECTED", "ACCEPT", "DISCONNECTED", "FINALIZE"]


def listener(executor: RequestExecutor, handler: Any, **metadata: Any) -> tuple[ServerSocket, Recorder]:
    events = Recorder()

    def tell(event: Any) -> None:
        events(event)
        handler(event)

    server = ServerSocket()
    metadata.setdefault("address", "tcp://127.0.0.1:0")
    executor.socket_bag.add_socket(server, ReadOperation(), handler=tell, **metadata)
    return server, events


def test_address_set_in_initialize(executor: RequestExecutor) -> None:
    def handler(event: Any) -> None:
        if event.type is EventType.INITIALIZE:
            event.metadata.address = "tcp://127.0.0.1:0"
        elif event.type is EventType.CONNECTED:
            assert event.metadata.local_address[1] > 0
            event.cancel_operation()

    _, events = listener(executor, handler, address=None)
    executor.execute_request()
    assert events.names() == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_cancelled_in_initialize(executor: RequestExecutor) -> None:
    def handler(event: Any) -> None:
        if event.type is EventType.INITIALIZE:
            event.cancel_operation()

    _, events = listener(executor, handler)
    executor.execute_request()
    assert events.names() == ["INITIALIZE", "FINALIZE"]


def test_a_write_is_no_operation_for_a_server(executor: RequestExecutor) -> None:
    refused: list[Exception] = []

    def handler(event: Any) -> None:
        if event.type is EventType.CONNECTED:
            try:
                executor.socket_bag.set_operation(server, WriteOperation(b"x"))
            except (TypeError, NetworkSocketError) as error:
                refused.append(error)
            executor.socket_bag.set_operation(server, ReadOperation())  # changes nothing
            peers.stream(event.metadata.local_address)
        elif event.type is EventType.ACCEPT:
            event.cancel_operation()

    server, events = listener(executor, handler)
    with pytest.raises(TypeError, match="server"):
        executor.socket_bag.set_operation(server, WriteOperation(b"x"))
    with Peers() as peers:
        executor.execute_request()
    assert len(refused) == 1
    assert events.names() == LIFE


def test_forgetting_a_server_is_ignored(executor: RequestExecutor) -> None:
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                executor.socket_bag.forget_socket(server)
                peers.stream(event.metadata.local_address)
            elif event.type is EventType.ACCEPT:
                event.cancel_operation()

        server, events = listener(executor, handler, keep_alive=True)
        executor.execute_request()
    assert events.names() == LIFE


def test_a_server_goes_on_after_accept(executor: RequestExecutor) -> None:
    """A next operation set in ACCEPT changes nothing: it keeps accepting without being asked."""
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                peers.stream(event.metadata.local_address)
                peers.stream(event.metadata.local_address)
            elif event.type is EventType.ACCEPT and len(events.of(EventType.ACCEPT)) == 2:
                event.socket.close()

        _, events = listener(executor, handler)
        executor.execute_request()
    assert events.names().count("ACCEPT") == 2


def test_exception_in_accept(executor: RequestExecutor) -> None:
    """It leaves the run; listener, this client and all others are closed."""

    class Bug(Exception):
        pass

    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                for _ in range(3):
                    peers.stream(event.metadata.local_address)
            elif event.type is EventType.ACCEPT:
                executor.socket_bag.add_socket(event.client_socket, ReadOperation())
                if len(events.of(EventType.ACCEPT)) == 2:
                    raise Bug

        _, events = listener(executor, handler)
        with pytest.raises(Bug):
            executor.execute_request()
        for peer in peers:
            try:
                assert read_to_end(peer) == b""
            except ConnectionResetError:  # it lay in the listener's queue
                continue
        assert len(executor.socket_bag) == 1, "accepted sockets are not left behind"
    assert events.names() == ["INITIALIZE", "CONNECTED", "ACCEPT", "ACCEPT", "DISCONNECTED", "FINALIZE"]


def test_isolated_errors_end_one_client_only(engine: str) -> None:
    with RequestExecutor(engine, configuration=Configuration(isolate_handler_errors=True)) as executor:
        with Peers() as peers:

            def handler(event: Any) -> None:
                if event.type is EventType.READ:
                    if event.frame.data == b"bad\n":
                        raise ZeroDivisionError
                    event.next_is_write(event.frame.data)

            def started(event: Any) -> None:
                for data in (b"bad\n", b"good\n"):
                    peers.stream(event.metadata.local_address, data)

            service = Service(executor, clients=2, started=started, handler=handler)
            executor.execute_request()
            assert [read_to_end(peer) for peer in peers] == [b"", b"good\n"]
        (error,) = service.talking.exceptions()
        assert isinstance(error, HandlerError) and isinstance(error.__cause__, ZeroDivisionError)


def test_stop_in_accept(executor: RequestExecutor) -> None:
    """The client just added never started: it stays for the next run, which serves it."""
    with Peers() as peers:

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"x\n")

        def stop(event: Any) -> None:
            executor.stop_request()

        service = Service(executor, started=started)
        executor.with_event_handler({EventType.ACCEPT: stop})
        executor.execute_request()
        assert service.listening.names() == LIFE
        assert service.talking.names() == []
        executor.execute_request()
        assert read_to_end(peers[0]) == b"x\n"
        assert service.talking.names() == [
            "INITIALIZE",
            "CONNECTED",
            "READ",
            "WRITE",
            "DISCONNECTED",
            "FINALIZE",
        ]


def test_an_accepted_socket_lives_once(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(executor, started=lambda e: peers.stream(e.metadata.local_address, b"x\n"))
        executor.execute_request()
        client = service.accepted[0].client_socket
        with pytest.raises(ValueError, match="accepted"):
            executor.socket_bag.add_socket(client, ReadOperation())


def test_a_client_closed_by_the_accept_handler(executor: RequestExecutor) -> None:
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                peers.stream(event.metadata.local_address)
            elif event.type is EventType.ACCEPT:
                event.client_socket.close()
                event.client_socket.close()
                event.cancel_operation()

        _, events = listener(executor, handler)
        executor.execute_request()
        assert read_to_end(peers[0]) == b""
    assert events.names() == LIFE


def test_closing_a_never_started_listener(executor: RequestExecutor) -> None:
    """An adopted descriptor is closed with its socket."""
    plain = socket.create_server(("127.0.0.1", 0))
    where = plain.getsockname()
    server = ServerSocket.from_socket(plain)
    server.close()
    assert server.fileno() == -1
    with socket.socket() as peer:
        assert peer.connect_ex(where) != 0


def test_a_listener_among_clients_in_two_executors(engine: str) -> None:
    """One executor hosted beside another, turn by turn: a client handed over to the other one."""
    with RequestExecutor(engine) as front, RequestExecutor(engine) as back, Peers() as peers:
        events = Recorder()

        def read(event: Any) -> None:
            events(event)
            if event.type is EventType.READ:
                event.next_is_write(event.frame.data)

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                peers.stream(event.metadata.local_address, b"over")
            elif event.type is EventType.ACCEPT:
                back.socket_bag.add_socket(event.client_socket, ReadOperation(), handler=read)
                event.cancel_operation()

        listener(front, handler)
        front.execute_request()
        back.execute_request()
        assert read_to_end(peers[0]) == b"over"
        assert events.names()[-2:] == ["DISCONNECTED", "FINALIZE"]
