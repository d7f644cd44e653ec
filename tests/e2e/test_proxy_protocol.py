"""Servers behind a load balancer: the PROXY protocol by HAProxy, by hand, forged, malformed and slow."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from evsockets import ConnectionFailedError, ReadOperation, RequestExecutor, ServerSocket, WriteOperation
from support.certificates import Authority
from support.proxies import haproxy
from support.servers import free_port
from support.service import LINE, Serve
from support.wire import read_to_end, talk

HEADER = b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 80\r\n"


@pytest.mark.parametrize("scheme", ["tcp", "tls", "unix"])
def test_haproxy(server: Serve, ca: Authority, tmp_path: Path, scheme: str) -> None:
    """Both versions, before TLS, and the URL in the listener's scheme."""
    place = str(tmp_path / "served") if scheme == "unix" else f"127.0.0.1:{free_port()}"
    told: list[tuple[Any, Any]] = []
    with haproxy(tmp_path, place) as fronts:

        def come(event: Any) -> None:
            for front in fronts:
                service.ask(
                    WriteOperation(b"hello\n", then=ReadOperation(LINE)),
                    address=f"{'tls' if scheme == 'tls' else 'tcp'}://localhost:{front}",
                    stream_context={"ca_file": ca.ca_file},
                    on={"FINALIZE": ended},
                )

        def ended(event: Any) -> None:
            if all(asked.metadata.request_complete for asked in service.asked):
                service.server.close()

        service = server(
            f"{scheme}://{place}",
            clients=1000,  # to see whether HAProxy is there others come through it, too
            started=come,
            stream_context={"proxy_protocol": True, **(ca.server.settings if scheme == "tls" else {})},
            handler={
                "READ": lambda event: (
                    told.append((event.metadata.remote_address, event.metadata.address)),
                    event.next_is_write(event.frame.data),
                )
            },
        )
        service.execute()
    assert [asked.errors for asked in service.asked] == [[], []]
    assert [asked.frames for asked in service.asked] == [[b"hello\n"], [b"hello\n"]]
    assert [event.metadata.bytes_received for event in service.talking.of("READ")] == [6, 6]
    ours = {asked.metadata.local_address for asked in service.asked}
    assert {remote for remote, _ in told} == ours
    shown = "tls" if scheme == "tls" else "tcp"
    assert {address for _, address in told} == {f"{shown}://127.0.0.1:{port}" for _, port in ours}


def test_what_follows_is_the_clients(server: Serve) -> None:
    """A header with the client's first bytes behind it, and whom they are from before and after."""
    seen: list[Any] = []

    def watch(event: Any) -> None:
        seen.append((event.type.name, event.metadata.remote_address[0], event.metadata.address))
        if event.type.name == "READ":
            seen.append((event.frame.remote_address, event.metadata.bytes_received))

    service = server(says=[HEADER + b"hello\n"], stream_context={"proxy_protocol": True}, handler=watch)
    service.execute()
    came = service.accepted[0].remote_address
    assert seen[0] == ("INITIALIZE", "127.0.0.1", f"tcp://127.0.0.1:{came[1]}")
    assert seen[1] == ("CONNECTED", "192.0.2.1", "tcp://192.0.2.1:4000")
    assert seen[3] == (("192.0.2.1", 4000), 6)
    assert seen[-1] == ("FINALIZE", "192.0.2.1", "tcp://192.0.2.1:4000")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header: the connection begins with b'GET / HTTP/1.1"),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 port\r\n", "no PROXY header: malformed: b'PROXY TCP4"),
        (b"PROXY " + bytes(200), "no PROXY header: its line has more than 107 bytes"),
    ],
)
def test_refused(server: Serve, header: bytes, why: str) -> None:
    service = server(says=[header + b"hello\n"], stream_context={"proxy_protocol": True}).execute()
    assert service.talking.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    error = service.talking.error
    assert isinstance(error, ConnectionFailedError) and why in str(error)
    assert str(error).startswith(f"tcp://127.0.0.1:{service.accepted[0].remote_address[1]}: ")


def test_only_networks_named_are_believed(server: Serve) -> None:
    """A header forged by somebody else does not help: he is refused before it is read."""
    forged = b"PROXY TCP4 10.0.0.1 127.0.0.1 4000 80\r\nhello\n"
    service = server(says=[forged], stream_context={"proxy_protocol": ["10.0.0.0/8", "::1"]}).execute()
    assert "the peer is no proxy to be trusted" in str(service.talking.error)
    assert service.talking.metadata is None or "CONNECTED" not in service.talking.names
    local = server(says=[HEADER + b"hello\n"], stream_context={"proxy_protocol": ["127.0.0.0/8"]}).execute()
    assert read_to_end(local.peers[-1]) == b"hello\n"


def test_slow_and_ended(server: Serve) -> None:
    """Half a header: the connection's time-out holds, and an end is told as one."""

    def come(event: Any) -> None:
        service.come(HEADER[:20])
        with contextlib.closing(service.come(HEADER[:20])):
            pass

    service = server(
        started=come,
        clients=2,
        stream_context={"proxy_protocol": True},
        client_metadata={"connection_timeout": 0.2},
    )
    service.execute()
    assert service.talking.timeouts == [("CONNECTION", "connecting")]
    assert "no PROXY header: the connection ended after 20 bytes of it" in str(service.talking.error)


def test_datagrams_have_none(executor: RequestExecutor) -> None:
    settings = {"proxy_protocol": True}
    log = talk(
        executor, "udp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), stream_context=settings,
        io_timeout=None, connection_timeout=None,
    )  # fmt: skip
    assert "proxy_protocol is for streams" in str(log.error)
