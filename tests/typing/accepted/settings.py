"""Metadata, contexts, stream settings and a function that hands keywords on."""

import socket
import ssl
from collections.abc import Mapping
from typing import Unpack, assert_type

from evsockets import (
    AsyncSocketFactory,
    ClientSocket,
    Configuration,
    Event,
    ExecutionContext,
    PersistentClientSocket,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    SocketMetadata,
    SocketType,
    StreamContext,
)
from evsockets.typing import ConnectionKeywords, MetadataKeywords, SocketAddress, StreamKeywords


def connect(executor: RequestExecutor, port: int, **metadata: Unpack[MetadataKeywords]) -> SocketMetadata:
    metadata.setdefault("address", f"tcp://127.0.0.1:{port}")
    return executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), **metadata)


def listen(executor: RequestExecutor, address: str, **metadata: Unpack[ConnectionKeywords]) -> SocketMetadata:
    return executor.socket_bag.add_socket(ServerSocket(), ReadOperation(), address=address, **metadata)


def port_of(address: SocketAddress) -> int | None:
    return address[1] if isinstance(address, tuple) else None


def names_of(metadata: SocketMetadata) -> list[str]:
    if metadata.tls is None or metadata.tls.peer_certificate is None:
        return []
    return [name for kind, name in metadata.tls.peer_certificate.get("subjectAltName", ()) if kind == "DNS"]


def on_finalize(event: Event) -> None:
    metadata = event.metadata
    print(port_of(metadata.remote_address), port_of(metadata.local_address), names_of(metadata))
    print(metadata.bytes_received / 1024, event.user_context["name"], event.context["total"] + 1)
    event.context.in_namespace("seen").set("last", metadata.address)


def run(executor: RequestExecutor, context: Mapping[str, int] | ExecutionContext | None) -> None:
    executor.execute_request(context)


settings: StreamKeywords = {"no_delay": False, "bind_to": ("127.0.0.1", 0), "verify": "optional"}
StreamContext(proxy="socks5://me:secret@127.0.0.1:1080", proxy_protocol=["10.0.0.0/8"], ciphers="ECDHE")
StreamContext(proxy=None, proxy_protocol=True)
configuration = Configuration(
    connection_timeout=1,
    idle_timeout=None,
    preferred_engines=["selectors"],
    stream_context={"alpn_protocols": ["h2", "http/1.1"], "ca_file": "ca.pem"},
    min_send_speed=1e6,
    isolate_handler_errors=True,
)
factory = AsyncSocketFactory(configuration)
assert_type(factory.create_socket(), ClientSocket)
assert_type(factory.create_socket(SocketType.SERVER), ServerSocket)
assert_type(factory.create_socket(persistent=True, key=("a", 1)), PersistentClientSocket)
with factory.create_request_executor("selectors") as executor:
    metadata = connect(executor, 7, io_timeout=1.5, user_context={"name": "x"}, keep_alive=True)
    listen(executor, "tcp://127.0.0.1:0", stream_context={"backlog": 5})
    metadata.io_timeout = None
    metadata.connection_timeout = 3
    metadata.address = None
    metadata.stream_context = StreamContext(tls=ssl.create_default_context(), server_hostname="example.org")
    metadata.stream_context = settings
    metadata.stream_context = StreamContext(options=[(1, socket.SO_PRIORITY, b"\5")], ca_data=b"PEM")
    metadata.user_context = None
    assert_type(metadata.request_timeout, float | None)
    executor.socket_bag.set_metadata(ClientSocket.from_socket(socket.socket()), request_timeout=9, address="tcp://a:1")
    run(executor, {"total": 0})
    run(executor, ExecutionContext({"total": 0}))
