"""The settings and counters of a socket."""

from __future__ import annotations

from _socket import SOCK_STREAM
from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from .address import Address, client_address, parse_address
from .configuration import StreamContext
from .settings import CHECKS, WRITABLE, Settings, unknown
from .validation import check_flag

if TYPE_CHECKING:
    from typing import Protocol

    from .core.channel import Channel
    from .transports.tls_info import TlsInfo
    from .typing import SocketAddress, StreamKeywords

    class Seconds(Protocol):
        """A property: a number, or None."""

        def __get__(self, metadata: SocketMetadata, owner: type[SocketMetadata]) -> float | None: ...

        def __set__(self, metadata: SocketMetadata, value: float | None) -> None: ...

_client_address = client_address  # read by this name it costs compiled code no look-up


def _setting(name: str, kind: str) -> Seconds:
    def read(self: SocketMetadata) -> Any:
        return getattr(self._settings, name)

    def write(self: SocketMetadata, value: float | None) -> None:
        self._check_thread()
        self._apply({name: value})

    return property(read, write, doc=f"{kind}. Negative or NaN: ValueError.")


class SocketMetadata:
    """Settings (writable) and counters (read-only) of one socket's life.

    A changed time-out takes effect at once, and counts from the same start as before. Setting a read-only or
    unknown name raises an AttributeError.
    """

    __slots__ = ("_address", "_channel", "_keep_alive", "_parsed", "_result", "_settings", "user_context")

    def __init__(self, channel: Channel, settings: Settings, keep_alive: bool) -> None:
        self._channel = channel  # when the life is over, its Snapshot
        self._settings = settings
        self._keep_alive = keep_alive
        self._address: str | None = None
        self._parsed: Address | None = None
        self._result: Any = None
        self.user_context: Any = None

    def _check_thread(self) -> None:
        self._channel.loop.check_thread()

    def _apply(self, values: dict[str, Any]) -> None:
        """Set writable names, all or none. TypeError names the closest one for an unknown name."""
        address, parsed, settings = self._address, self._parsed, self._settings
        given: dict[str, Any] | None = None
        for name, value in values.items():
            if name == "address":
                address, parsed = value, self._parse(value)
            elif name == "keep_alive":
                check_flag("keep_alive", value)
            elif name != "user_context":
                given = {} if given is None else given
                given[name] = value
        if given is not None:
            settings = self._channel.loop.settings_like(settings, given)
        self._address, self._parsed = address, parsed
        if "user_context" in values:
            self.user_context = values["user_context"]
        if "keep_alive" in values:
            self._keep_alive = values["keep_alive"] or self._channel.kind._persistent
        if settings is not self._settings:
            self._settings = settings
            self._channel.settings_changed()

    def _parse(self, address: str | None) -> Address | None:
        """`address` taken apart; raises where the socket cannot begin with it."""
        channel, parsed = self._channel, None
        server = channel.kind.is_server
        if address is not None:
            simple = type(address) is str and not server
            parsed = _client_address(address) if simple else parse_address(address, server=server)
        if channel.operation is not None:
            check_adopted(parsed, channel.socket._adopted)
            channel.operation._check_place(channel, parsed)
        return parsed

    def _timestamp(self, when: float) -> float:
        """The Unix timestamp of a time on the executor's clock."""
        return when + self._channel.loop.wall_offset

    connection_timeout = _setting("connection_timeout", "Seconds from resolving to CONNECTED, or None")
    io_timeout = _setting("io_timeout", "Seconds without a byte while an operation is pending, or None")
    idle_timeout = _setting("idle_timeout", "Seconds a kept-alive connection may idle, or None")
    request_timeout = _setting("request_timeout", "Seconds from the first INITIALIZE on, or None")
    min_receive_speed = _setting("min_receive_speed", "Bytes per second that must arrive, or None")
    min_receive_speed_duration = _setting(
        "min_receive_speed_duration", "Seconds the receive speed is measured over, or None"
    )
    min_send_speed = _setting("min_send_speed", "Bytes per second that must leave, or None")
    min_send_speed_duration = _setting(
        "min_send_speed_duration", "Seconds the send speed is measured over, or None"
    )

    @property
    def address(self) -> str | None:
        """The URL, such as ``tls://host:443``. AddressError for a malformed one."""
        if self._address is None:
            self._address = self._channel.peer_url()
        return self._address

    @address.setter
    def address(self, value: str | None) -> None:
        self._check_thread()
        self._apply({"address": value})

    @property
    def stream_context(self) -> StreamContext:
        """Socket and TLS settings; None or a mapping may be assigned."""
        return self._settings.stream_context

    @stream_context.setter
    def stream_context(self, value: StreamContext | StreamKeywords | None) -> None:
        self._check_thread()
        self._apply({"stream_context": value})

    @property
    def keep_alive(self) -> bool:
        """Whether the connection idles when there is no next operation, instead of being closed."""
        return self._keep_alive

    @keep_alive.setter
    def keep_alive(self, value: bool) -> None:
        self._check_thread()
        self._apply({"keep_alive": value})

    @property
    def request_complete(self) -> bool:
        """True from DISCONNECTED on (without a connection from FINALIZE on)."""
        return self._channel.complete

    @property
    def result(self) -> Any:
        """The conversation's return value; None before, and without a conversation."""
        return self._result

    @property
    def unsent_bytes(self) -> int:
        """The number of bytes written or posted that the kernel has not accepted yet."""
        return self._channel.unsent_bytes()

    @property
    def connection_start_time(self) -> float | None:
        """Unix timestamp at which connecting began."""
        start = self._channel.opened_at
        return None if start is None else self._timestamp(start.when)

    @property
    def connection_finish_time(self) -> float | None:
        """Unix timestamp of CONNECTED."""
        start, finish = self._channel.opened_at, self._channel.connected_at
        # A connection made at once began in the same turn, whose time is read when its handlers have run.
        if finish == inf:
            return None
        return self._timestamp(finish if start is None else max(start.when, finish))

    @property
    def last_io_start_time(self) -> float | None:
        """Unix timestamp at which the I/O time-out started last."""
        start = self._channel.io_start
        return None if start is None else self._timestamp(start.when)

    @property
    def bytes_sent(self) -> int:
        """Application bytes that the kernel has accepted."""
        return self._channel.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Application bytes received."""
        return self._channel.bytes_received

    @property
    def receive_speed(self) -> float:
        """Bytes per second over the last seconds (the minimum's duration, or 5)."""
        return self._channel.speed("receive")

    @property
    def send_speed(self) -> float:
        """Bytes per second over the last seconds (the minimum's duration, or 5)."""
        return self._channel.speed("send")

    @property
    def remote_address(self) -> SocketAddress:
        """The peer's address in the form of the module `socket`; None without one."""
        return self._channel.remote

    @property
    def local_address(self) -> SocketAddress:
        """The local address in the form of the module `socket`; None without one."""
        return self._channel.local_address()

    @property
    def tls(self) -> TlsInfo | None:
        """`version`, `cipher`, `alpn_protocol`, `peer_certificate` and `peer_certificate_der`; None without
        TLS."""
        agreed: TlsInfo | None = self._channel.tls
        return agreed

    def __repr__(self) -> str:
        return f"<SocketMetadata {self._address} complete={self.request_complete}>"


def check_adopted(address: Address | None, sock: Any) -> None:
    """Raise TypeError for a stream's address on an adopted datagram socket, and the other way round."""
    if address is None or sock is None:
        return
    if address.is_datagram if sock.type == SOCK_STREAM else address.is_stream:
        kind = "a stream" if sock.type == SOCK_STREAM else "datagrams"
        raise TypeError(f"address {address.text!r}: the socket adopted carries {kind}; leave the address out")


def check_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The checked values of metadata for later sockets; raises as setting them does. Addresses are not
    checked."""
    for name in values:
        if name not in WRITABLE:
            raise unknown(name)
    return {name: CHECKS[name](name, value) if name in CHECKS else value for name, value in values.items()}
