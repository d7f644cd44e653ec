"""Names for annotations: types of arguments and results, and keywords. Nothing here is needed at run time.

A function of your own that passes keywords on is declared `def connect(**data: Unpack[MetadataKeywords])`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from .frames.inbox import RemoteAddress

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Buffer as Buffer

    from .configuration import Configuration, StreamContext
    from .engines.base import Engine
    from .event_types import EventType
    from .events import (
        AcceptEvent,
        DataAlertEvent,
        Event,
        IoEvent,
        ReadEvent,
        SocketExceptionEvent,
        TimeoutEvent,
        WriteEvent,
    )
    from .executor import RequestExecutor
    from .sockets import AcceptedSocket, ClientSocket, DatagramClientSocket, Socket
    from .targets.outcomes import Outcome
else:
    Buffer = bytes | bytearray | memoryview

Data: TypeAlias = Buffer | Iterable[Buffer]
"""Data to write: bytes-like, or an iterable of bytes-like."""

Callback: TypeAlias = Callable[[Any], object]
"""A callable for events of one type. Their class depends on the type, which no annotation can express."""

HandlerMapping: TypeAlias = Mapping["EventType", Callback | Iterable[Callback]]
"""Handlers by event type."""

Handler: TypeAlias = Callable[["Event"], object] | HandlerMapping
"""A callable that takes every event, or handlers by event type."""

SocketAddress: TypeAlias = RemoteAddress
"""An address in the form of the module `socket`: (host, port), the IPv6 4-tuple, a path, or None."""

Client: TypeAlias = "ClientSocket | AcceptedSocket | DatagramClientSocket"
"""The sockets that a limitation solver decides about: all but listeners."""

AddressInfo: TypeAlias = tuple[
    int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
]
"""One of the answers of `socket.getaddrinfo`."""

Lookup: TypeAlias = Callable[[str, int, int, int], Iterable[AddressInfo]]
"""A blocking callable like `socket.getaddrinfo`, called as `lookup(host, port, family, type)`."""

Path: TypeAlias = str | os.PathLike[str]

TimeoutPhase: TypeAlias = Literal[
    "resolving", "connecting", "handshaking", "reading", "writing", "delayed", "sleeping", "waiting", "idle",
    "listening",
]  # fmt: skip
"""The values of `TimeoutEvent.phase`."""

_RelativeNames: TypeAlias = tuple[tuple[tuple[str, str], ...], ...]


class StreamKeywords(TypedDict, total=False):
    """The keywords of StreamContext, and the keys of a mapping in its place."""

    bind_to: tuple[str, int] | str | None
    backlog: int
    reuse_address: bool | None
    reuse_port: bool
    options: Iterable[tuple[int, int, int | Buffer]]
    connect_datagrams: bool
    broadcast: bool
    multicast_groups: list[str] | tuple[str, ...]
    multicast_interface: str | int | None
    multicast_ttl: int | None
    multicast_loop: bool | None
    no_delay: bool
    tcp_keepalive: bool | float | tuple[float, float, int]
    ipv6_only: bool | None
    receive_buffer_size: int | None
    send_buffer_size: int | None
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None
    server_hostname: str | None
    alpn_protocols: list[str] | tuple[str, ...]
    verify: bool | Literal["optional"] | None
    ca_file: Path | None
    ca_data: str | bytes | None
    certificate: Path | None
    private_key: Path | None
    ciphers: str | None
    require_close_notify: bool
    unlink_socket: bool
    proxy: str | None
    proxy_protocol: bool | Iterable[str]


class ConnectionKeywords(TypedDict, total=False):
    """Metadata of a connection, without its address: times in seconds, speeds in bytes/s."""

    stream_context: StreamContext | StreamKeywords | None
    connection_timeout: float | None
    io_timeout: float | None
    idle_timeout: float | None
    request_timeout: float | None
    min_receive_speed: float | None
    min_receive_speed_duration: float | None
    min_send_speed: float | None
    min_send_speed_duration: float | None


class MetadataKeywords(ConnectionKeywords, total=False):
    """A socket's settings: the keywords of `set_metadata`, and some of those of `add_socket`."""

    address: str | None
    user_context: object
    keep_alive: bool


class EventCallbacks(TypedDict, total=False):
    """Keywords for a callable of one event type; None has no effect."""

    on_initialize: Callable[[IoEvent], object] | None
    on_connected: Callable[[IoEvent], object] | None
    on_accept: Callable[[AcceptEvent], object] | None
    on_read: Callable[[ReadEvent[Any]], object] | None
    on_oob: Callable[[ReadEvent], object] | None
    on_write: Callable[[WriteEvent], object] | None
    on_data_alert: Callable[[DataAlertEvent], object] | None
    on_disconnected: Callable[[Event], object] | None
    on_finalize: Callable[[Event], object] | None
    on_timeout: Callable[[TimeoutEvent], object] | None
    on_exception: Callable[[SocketExceptionEvent], object] | None


class SocketKeywords(EventCallbacks, MetadataKeywords, total=False):
    """The keywords of `add_socket`."""


class EachKeywords(EventCallbacks, ConnectionKeywords, total=False):
    """The keywords of `fan_out` and `serve` for each of their sockets."""

    user_context: object


class RunKeywords(EachKeywords, total=False):
    """The same, with those for the executor."""

    handler: Handler | None
    engine: str | Engine | None
    configuration: Configuration | None


class FanOutKeywords(RunKeywords, total=False):
    """The keywords of `fan_out` and `fan_out_async` besides `args`."""

    limit: int
    retries: int
    backoff: float
    retry_if: Callable[[Outcome[Any]], object] | None
    processes: int | None


class ServeKeywords(RunKeywords, total=False):
    """The keywords of `serve` besides `args`."""

    limit: int | None
    drain_timeout: float | None
    ready: Callable[[RequestExecutor, Any], object] | None
    workers: int | None


class ConfigurationKeywords(ConnectionKeywords, total=False):
    """The keywords of Configuration."""

    preferred_engines: list[str] | tuple[str, ...]
    isolate_handler_errors: bool
    resolver_threads: int


class ErrorKeywords(TypedDict, total=False):
    """The keywords of every error of a socket."""

    socket: Socket | None
    address: str | None
    errno: int | None


class PeerCertificate(TypedDict, total=False):
    """A verified certificate, in the form of `ssl.SSLSocket.getpeercert()`."""

    subject: _RelativeNames
    issuer: _RelativeNames
    version: int
    serialNumber: str
    notBefore: str
    notAfter: str
    subjectAltName: tuple[tuple[str, str], ...]
    OCSP: tuple[str, ...]
    caIssuers: tuple[str, ...]
    crlDistributionPoints: tuple[str, ...]
