"""What handlers may do to a listener, and what users may not."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from evsockets import (
    Configuration,
    HandlerError,
    NetworkSocketError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import Peers, Serve, Service, echo
from support.wire import add, read_to_end

LIFE = [*USUAL, "ACCEPT", *END]


def cancel(event: Any) -> None:
    event.cancel_operation()


def test_address_set_in_initialize(server: Serve) -> None:
    def listening(event: Any) -> None:
        assert event.metadata.local_address[1] > 0
        cancel(event)

    def initialize(event: Any) -> None:
        event.metadata.address = "tcp://127.0.0.1:0"

    service = server(None, server_handler={"INITIALIZE": initialize, "CONNECTED": listening}).execute()
    assert service.listening.names == [*USUAL, *END]


def test_cancelled_in_initialize(server: Serve) -> None:
    service = server(server_handler={"INITIALIZE": cancel}).execute()
    assert service.listening.names == ["INITIALIZE", "FINALIZE"]


def test_a_write_is_no_operation_for_a_server(executor: RequestExecutor, server: Serve) -> None:
    bag, refused = executor.socket_bag, []

    def connected(event: Any) -> None:
        with pytest.raises((TypeError, NetworkSocketError)) as caught:
            bag.set_operation(event.socket, WriteOperation(b"x"))
        refused.append(caught)
        bag.set_operation(event.socket, ReadOperation())  # changes nothing

    service = server(says=[b""], serves=False, server_handler={"CONNECTED": connected, "ACCEPT": cancel})
    with pytest.raises(TypeError, match="server"):
        bag.set_operation(service.server, WriteOperation(b"x"))
    service.execute()
    assert len(refused) == 1 and service.listening.names == LIFE


def test_forgetting_a_server_is_ignored(executor: RequestExecutor, server: Serve) -> None:
    def forget(event: Any) -> None:
        executor.socket_bag.forget_socket(event.socket)

    handler = {"CONNECTED": forget, "ACCEPT": cancel}
    service = server(says=[b""], serves=False, server_handler=handler, keep_alive=True).execute()
    assert service.listening.names == LIFE


def test_exception_in_accept(executor: RequestExecutor, server: Serve) -> None:
    """It leaves the run; listener, this client and all others are closed."""

    class Bug(Exception):
        pass

    def accepted(event: Any) -> None:
        if len(service.accepted) == 2:
            raise Bug

    service = server(says=[b""] * 3, server_handler={"ACCEPT": accepted})
    with pytest.raises(Bug):
        service.execute()
    for peer in service.peers:
        try:
            assert read_to_end(peer) == b""
        except ConnectionResetError:  # it lay in the listener's queue
            continue
    assert len(executor.socket_bag) == 1, "accepted sockets are not left behind"
    assert service.listening.names == [*USUAL, "ACCEPT", "ACCEPT", *END]


@pytest.mark.parametrize(("raised", "told", "isolated"), [
    (ZeroDivisionError, HandlerError, True), (NetworkSocketError, NetworkSocketError, False),
])  # fmt: skip
def test_an_error_in_a_clients_handler_ends_that_client_only(
    engine: str, raised: type, told: type, isolated: bool
) -> None:
    def read(event: Any) -> None:
        if event.frame.data == b"bad\n":
            raise raised("I do not like that")
        echo(event)

    configuration = Configuration(isolate_handler_errors=isolated)
    with RequestExecutor(engine, configuration=configuration) as executor, Peers() as peers:
        service = Service(executor, says=[b"bad\n", b"good\n"], handler={"READ": read}, peers=peers).execute()
        assert service.answers() == [b"", b"good\n"]
    error = service.talking.error
    assert type(error) is told and (not isolated or isinstance(error.__cause__, raised))


def test_stop_in_accept(executor: RequestExecutor, server: Serve) -> None:
    """The client just added never started: it stays for the next run, which serves it."""
    service = server(says=[b"x\n"], server_handler={"ACCEPT": lambda e: executor.stop_request()}).execute()
    assert service.listening.names == LIFE
    assert service.talking.names == []
    assert service.execute().answers() == [b"x\n"]
    assert service.talking.names == [*USUAL, "READ", "WRITE", *END]


def test_an_accepted_socket_lives_once(executor: RequestExecutor, server: Serve) -> None:
    client = server(says=[b"x\n"]).execute().accepted[0].client_socket
    with pytest.raises(ValueError, match="accepted"):
        executor.socket_bag.add_socket(client, ReadOperation())


def test_a_client_closed_by_the_accept_handler(server: Serve) -> None:
    def accepted(event: Any) -> None:
        event.client_socket.close()
        event.client_socket.close()
        cancel(event)

    service = server(says=[b""], serves=False, server_handler={"ACCEPT": accepted}).execute()
    assert service.answers() == [b""] and service.listening.names == LIFE


def test_closing_a_never_started_listener() -> None:
    """An adopted descriptor is closed with its socket."""
    plain = socket.create_server(("127.0.0.1", 0))
    where = plain.getsockname()
    server = ServerSocket.from_socket(plain)
    server.close()
    assert server.fileno() == -1
    with socket.socket() as peer:
        assert peer.connect_ex(where) != 0


def test_a_client_handed_over_to_another_executor(engine: str, server: Serve) -> None:
    with RequestExecutor(engine) as back:

        def accepted(event: Any) -> None:
            logs.append(add(back, None, ReadOperation(), socket=event.client_socket, on={"READ": echo}))
            cancel(event)

        logs: list[Any] = []
        service = server(says=[b"over"], serves=False, server_handler={"ACCEPT": accepted}).execute()
        back.execute_request()
        assert service.answers() == [b"over"] and logs[0].names[-2:] == END
