"""Half-close both ways over real sockets, between a server and a client, and of TLS."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from core.test_half_close import *  # noqa: F403
from core.test_half_close import BIG, TO_THE_END
from evsockets import DisconnectedError, ReadOperation, ShutdownWriteOperation, WriteOperation
from support.certificates import Authority
from support.conversation import READ_LINE
from support.life import END, USUAL
from support.service import CLIENT, Serve
from support.tls import Far


def served(server: Serve, ca: Authority, scheme: str, read: Any, asks: bytes, then: Any) -> Any:
    """A server that reads to the end of a client, which has asked and ended its direction."""
    return server(
        f"{scheme}://127.0.0.1:0", first=lambda: TO_THE_END, handler={"READ": read},
        asks=[WriteOperation(asks, then=ShutdownWriteOperation(then))], host="localhost",
        asking={"stream_context": {"ca_file": ca.ca_file}}, stream_context=ca.server.settings,
    ).execute()  # fmt: skip


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_our_end_while_a_server_still_writes(server: Serve, ca: Authority, scheme: str) -> None:
    """The server answers only after our end of stream; its answer arrives whole."""

    def read(event: Any) -> None:
        event.next_is_write([event.frame.data, BIG])

    service = served(server, ca, scheme, read, b"question", TO_THE_END)
    (asked,) = service.asked
    assert asked.names == CLIENT and asked.frames == [b"question" + BIG]
    assert service.talking.names == [*USUAL, "READ", "WRITE", *END]


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize("then_write", [False, True])
def test_the_end_is_told_once_by_a_server(
    server: Serve, ca: Authority, scheme: str, then_write: bool
) -> None:
    """A second read after the frame that the end completed meets the end again, once; writing works."""

    def read(event: Any) -> None:
        event.next_is(WriteOperation(b"got it", then=READ_LINE) if then_write else READ_LINE)

    service = served(server, ca, scheme, read, b"all", ReadOperation())
    assert service.talking.frames == [b"all"]
    assert [type(error) for error in service.talking.errors] == [DisconnectedError]
    assert service.asked[0].frames == [b"got it"] * then_write


@pytest.mark.parametrize("require", [True, False])
def test_tls_truncation(server: Serve, ca: Authority, require: bool) -> None:
    """TLS that ends without close_notify is an error for pending reads, raw ones included."""
    context = ssl.create_default_context(cafile=ca.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # no session tickets: unread ones would be a reset

    def shakes_hands_and_is_gone(address: Any) -> None:
        with socket.create_connection(address) as sock:
            far = Far(sock, context, server_side=False)
            far.call(far.tls.do_handshake)

    with ThreadPoolExecutor(1) as pool:
        gone: list[Any] = []
        service = server(
            "tls://127.0.0.1:0", first=ReadOperation, handler={},
            started=lambda event: gone.append(pool.submit(shakes_hands_and_is_gone, service.local)),
            stream_context={**ca.server.settings, "require_close_notify": require},
        )  # fmt: skip
        service.execute()
        gone[0].result()
    assert [type(error) for error in service.talking.errors] == [DisconnectedError] * require
