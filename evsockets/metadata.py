"""What a user may set on a socket and read about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .address import Address, parse_address
from .configuration import Configuration, StreamContext, check_timeout

if TYPE_CHECKING:
    from .channel import Channel

SERVER_DEFAULTS = ("connection_timeout", "io_timeout", "idle_timeout", "request_timeout")
SPEEDS = ("min_receive_speed", "min_receive_speed_duration", "min_send_speed", "min_send_speed_duration")


def _timed(name: str, kind: str) -> Any:
    slot = "_" + name

    def read(self: SocketMetadata) -> float | None:
        return getattr(self, slot)  # type: ignore[no-any-return]

    def write(self: SocketMetadata, value: float | None) -> None:
        value = check_timeout(name, value)
        self._check_thread()
        setattr(self, slot, value)
        self._channel.settings_changed()

    read.__doc__ = f"{kind}, or None. Negative or NaN: ValueError."
    return property(read, write, doc=read.__doc__)


class SocketMetadata:
    """Settings (writable) and counters (read-only) of one socket's life.

    A changed time-out acts at once, from the same start. Setting a read-only or unknown name is an
    AttributeError.
    """

    __slots__ = (
        "_address", "_channel", "_connection_timeout", "_idle_timeout", "_io_timeout", "_keep_alive",
        "_min_receive_speed", "_min_receive_speed_duration", "_min_send_speed", "_min_send_speed_duration",
        "_parsed", "_request_timeout", "_stream_context", "user_context",
    )  # fmt: skip

    def __init__(self, channel: Channel, configuration: Configuration, server: bool, keep: bool) -> None:
        self._channel = channel
        self._address: str | None = None
        self._parsed: Address | None = None
        self.user_context: Any = None
        self._keep_alive = keep
        if server:
            self._connection_timeout = self._io_timeout = None
            self._idle_timeout = self._request_timeout = None
        else:
            self._connection_timeout = configuration.connection_timeout
            self._io_timeout = configuration.io_timeout
            self._idle_timeout = configuration.idle_timeout
            self._request_timeout = configuration.request_timeout
        self._min_receive_speed = configuration.min_receive_speed
        self._min_receive_speed_duration = configuration.min_receive_speed_duration
        self._min_send_speed = configuration.min_send_speed
        self._min_send_speed_duration = configuration.min_send_speed_duration
        self._stream_context = StreamContext.of(configuration.stream_context)

    def _check_thread(self) -> None:
        self._channel.executor.check_thread()

    connection_timeout = _timed("connection_timeout", "Seconds from resolving to CONNECTED")
    io_timeout = _timed("io_timeout", "Seconds without a byte while an operation is pending")
    idle_timeout = _timed("idle_timeout", "Seconds a kept-alive connection may idle")
    request_timeout = _timed("request_timeout", "Seconds from the first INITIALIZE on")
    min_receive_speed = _timed("min_receive_speed", "Bytes per second that must arrive")
    min_receive_speed_duration = _timed("min_receive_speed_duration", "Seconds the speed is measured over")
    min_send_speed = _timed("min_send_speed", "Bytes per second that must leave")
    min_send_speed_duration = _timed("min_send_speed_duration", "Seconds the speed is measured over")

    @property
    def address(self) -> str | None:
        """The URL, such as ``tls://host:443``. A malformed one: AddressError."""
        if self._address is None:
            self._channel.name_peer()
        return self._address

    @address.setter
    def address(self, value: str | None) -> None:
        self._check_thread()
        self._parsed = None if value is None else parse_address(value, server=self._channel.socket.is_server)
        self._address = value

    @property
    def stream_context(self) -> StreamContext:
        """Socket and TLS settings; None or a mapping may be assigned."""
        return self._stream_context

    @stream_context.setter
    def stream_context(self, value: Any) -> None:
        self._check_thread()
        self._stream_context = StreamContext.of(value)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection idles when there is no next operation, instead of being closed."""
        return self._keep_alive

    @keep_alive.setter
    def keep_alive(self, value: bool) -> None:
        self._check_thread()
        self._keep_alive = bool(value) or self._channel.socket.persistent

    @property
    def request_complete(self) -> bool:
        """True from DISCONNECTED (else FINALIZE) on."""
        return self._channel.complete

    @property
    def connection_start_time(self) -> float | None:
        """Unix timestamp at which connecting began."""
        return self._channel.wall(self._channel.opened_at)

    @property
    def connection_finish_time(self) -> float | None:
        """Unix timestamp of CONNECTED."""
        return self._channel.wall(self._channel.connected_at)

    @property
    def last_io_start_time(self) -> float | None:
        """Unix timestamp at which the I/O clock started last."""
        return self._channel.wall(self._channel.io_start)

    @property
    def bytes_sent(self) -> int:
        """Application bytes the kernel took."""
        return self._channel.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Application bytes that arrived."""
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
    def remote_address(self) -> Any:
        """The peer's address as `socket` gives it; None without one."""
        return self._channel.remote_address()

    @property
    def local_address(self) -> Any:
        """Our address as `socket` gives it; None without one."""
        return self._channel.local_address()

    @property
    def tls(self) -> Any:
        """`version`, `cipher`, `alpn_protocol`, `peer_certificate`; None without TLS."""
        return self._channel.tls

    def __repr__(self) -> str:
        return f"<SocketMetadata {self._address} complete={self.request_complete}>"


WRITABLE = frozenset(
    {"address", "user_context", "stream_context", "keep_alive", *SERVER_DEFAULTS, *SPEEDS}
)


def check_names(values: dict[str, Any]) -> None:
    """TypeError for a name that is no writable metadata, naming the closest one."""
    for name in values:
        if name not in WRITABLE:
            import difflib

            near = difflib.get_close_matches(name, sorted(WRITABLE), 1, 0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(WRITABLE))}"
            raise TypeError(f"unknown metadata {name!r}{hint}")
