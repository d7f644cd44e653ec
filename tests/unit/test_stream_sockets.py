"""TCP sockets as transports open and accept them: compiled they are not those of the standard library."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from evsockets.transports.listener import Listener, accept_stream, open_stream

FAMILIES = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}


@pytest.fixture(params=FAMILIES, ids=list(FAMILIES))
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family, host = FAMILIES[request.param]
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        listener.setblocking(False)
        yield listener


def connected(listener: socket.socket) -> Any:
    """A client of it."""
    client = open_stream(listener.family, True)
    number = client.connect_ex(listener.getsockname())
    while number in (errno.EINPROGRESS, errno.EALREADY):
        select.select([], [client.fileno()], [], 5)
        number = client.connect_ex(listener.getsockname())
    assert number in (0, errno.EISCONN)
    return client


def taken(listener: socket.socket) -> tuple[Any, Any]:
    """Its next client."""
    select.select([listener], [], [], 5)
    accepted = accept_stream(listener)
    assert accepted is not None
    return accepted


def test_both_ends_have_the_same_names_and_carry_bytes(listener: socket.socket) -> None:
    assert accept_stream(listener) is None
    with closing(connected(listener)) as client:
        server, remote = taken(listener)
        with closing(server):
            assert (client.family, client.type, client.proto) == (listener.family, socket.SOCK_STREAM, 0)
            assert client.getsockname() == remote == server.getpeername()
            assert client.getpeername() == listener.getsockname() == server.getsockname()
            assert type(client.getsockname()) is tuple
            assert client.send(b"hello", 0) == 5
            select.select([server.fileno()], [], [], 5)
            assert server.recv(1, socket.MSG_PEEK) == b"h"
            assert server.recv(10) == b"hello"
            with pytest.raises(BlockingIOError):
                server.recv(10)
            buffer = bytearray(4)
            assert server.send(b"good") == 4
            select.select([client.fileno()], [], [], 5)
            assert client.recv_into(buffer) == 4
            assert buffer == b"good"
            client.shutdown(socket.SHUT_WR)
            select.select([server.fileno()], [], [], 5)
            assert server.recv(10) == b""


def test_options_and_flags(listener: socket.socket) -> None:
    for no_delay in (True, False):
        with closing(open_stream(listener.family, no_delay)) as client:
            assert bool(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) == no_delay
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not os.get_blocking(client.fileno())
            assert not os.get_inheritable(client.fileno())
    with closing(connected(listener)):
        server, _ = taken(listener)
        with closing(server):
            assert not os.get_blocking(server.fileno())
            assert not os.get_inheritable(server.fileno())


def test_closed_it_has_no_descriptor(listener: socket.socket) -> None:
    for asked in (False, True):
        client = connected(listener)
        number = client.fileno()
        if asked:
            client.getpeername()
        client.close()
        client.close()
        assert client.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        for call in (lambda one=client: one.recv(1), lambda one=client: one.send(b"x")):
            with pytest.raises(OSError, match="Bad file descriptor"):
                call()
        with pytest.raises(OSError, match="Bad file descriptor"):
            client.getsockname()


def test_closed_behind_its_back_is_told(listener: socket.socket) -> None:
    client = connected(listener)
    os.close(client.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        client.close()


@pytest.mark.parametrize("asked", [False, True])
def test_left_open_it_warns_and_is_closed(listener: socket.socket, asked: bool) -> None:
    held = [connected(listener)]
    number = held[0].fileno()
    if asked:
        held[0].getpeername()
    with pytest.warns(ResourceWarning, match="unclosed <socket"):
        held.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_what_is_no_address_is_refused_as_by_the_standard_library() -> None:
    with closing(open_stream(socket.AF_INET, True)) as client:
        for wrong in (("127.0.0.1", 70_000), ("127.0.0.1\0", 1), ("127.0.0.1", "80"), "127.0.0.1", (1, 2)):
            with pytest.raises((TypeError, ValueError, OverflowError)):
                client.connect_ex(wrong)


def test_refused(listener: socket.socket) -> None:
    name = listener.getsockname()
    listener.close()
    with closing(open_stream(listener.family, True)) as client:
        number = client.connect_ex(name)
        while number in (errno.EINPROGRESS, errno.EALREADY):
            select.select([], [client.fileno()], [], 5)
            number = client.connect_ex(name)
        assert number == errno.ECONNREFUSED


def test_audit_hooks_see_it(listener: socket.socket) -> None:
    seen: list[tuple[str, Any]] = []
    wanted = True

    def hook(event: str, arguments: Any) -> None:
        if wanted and event in ("socket.__new__", "socket.connect"):
            seen.append((event, arguments[-1]))

    sys.addaudithook(hook)
    connected(listener).close()
    wanted = False
    assert seen[0][0] == "socket.__new__"
    assert seen[1] == ("socket.connect", listener.getsockname())


def test_a_listener_accepts_these(listener: socket.socket) -> None:
    with closing(connected(listener)) as client:
        select.select([listener], [], [], 5)
        accepted = Listener(listener).accept()
        assert accepted is not None
        server, remote = accepted
        with closing(server):
            assert remote == client.getsockname()
    assert Listener(listener).accept() is None


def test_one_that_was_never_opened_closes_nothing(listener: socket.socket) -> None:
    client = connected(listener)
    kind = type(client)
    client.close()
    before = os.fstat(0)
    if kind is not socket.SocketType:  # compiled
        with pytest.raises(TypeError):
            kind()
    assert os.fstat(0).st_ino == before.st_ino


def test_there_is_one_owner_of_a_descriptor(listener: socket.socket) -> None:
    with closing(connected(listener)) as client:
        for copies in (copy.copy, pickle.dumps):
            with pytest.raises(TypeError):
                copies(client)


def test_a_negative_size(listener: socket.socket) -> None:
    with closing(connected(listener)) as client, pytest.raises(ValueError, match="negative"):
        client.recv(-1)
