"""What a user may set on a socket and read about it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .address import Address, parse_address
from .checks import check_duration, check_speed, check_timeout
from .configuration import Configuration, StreamContext

if TYPE_CHECKING:
    from .channel import Channel

TIMEOUTS = ("connection_timeout", "io_timeout", "idle_timeout", "request_timeout")
SPEEDS = ("min_receive_speed", "min_send_speed")
DURATIONS = ("min_receive_speed_duration", "min_send_speed_duration")


def _stream_context(_name: str, value: Any) -> StreamContext:
    return StreamContext.of(value)


# How each setting is checked: called with its name and the value, it returns what is kept.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(TIMEOUTS, check_timeout),
    **dict.fromkeys(SPEEDS, check_speed),
    **dict.fromkeys(DURATIONS, check_duration),
    "stream_context": _stream_context,
}
WRITABLE = ("address", "user_context", "keep_alive", *_CHECKS)


class Settings:
    """What can be set but address and context. Never changed: sockets that keep their defaults share one."""

    __slots__ = (*TIMEOUTS, *SPEEDS, *DURATIONS, "stream_context")

    connection_timeout: float | None
    io_timeout: float | None
    idle_timeout: float | None
    request_timeout: float | None
    min_receive_speed: float | None
    min_receive_speed_duration: float | None
    min_send_speed: float | None
    min_send_speed_duration: float | None
    stream_context: StreamContext

    @classmethod
    def of(cls, configuration: Configuration, *, server: bool) -> Settings:
        """What `configuration` says; a server's time-outs are None whatever it says."""
        settings = cls()
        for name in TIMEOUTS:
            setattr(settings, name, None if server else getattr(configuration, name))
        for name in (*SPEEDS, *DURATIONS):
            setattr(settings, name, getattr(configuration, name))
        settings.stream_context = StreamContext.of(configuration.stream_context)
        return settings

    def changed(self, values: dict[str, Any]) -> Settings:
        """A copy with these checked values."""
        settings = Settings()
        for name in self.__slots__:
            setattr(settings, name, values[name] if name in values else getattr(self, name))
        return settings


def _setting(name: str, kind: str) -> Any:
    def read(self: SocketMetadata) -> Any:
        return getattr(self._settings, name)

    def write(self: SocketMetadata, value: Any) -> None:
        self._check_thread()
        self.apply({name: value})

    return property(read, write, doc=f"{kind}. Negative or NaN: ValueError.")


class SocketMetadata:
    """Settings (writable) and counters (read-only) of one socket's life.

    A changed time-out acts at once, from the same start. Setting a read-only or unknown name is an
    AttributeError.
    """

    __slots__ = ("_address", "_channel", "_keep_alive", "_parsed", "_settings", "user_context")

    def __init__(self, channel: Channel, settings: Settings, keep_alive: bool) -> None:
        self._channel = channel
        self._settings = settings
        self._keep_alive = keep_alive
        self._address: str | None = None
        self._parsed: Address | None = None
        self.user_context: Any = None

    def _check_thread(self) -> None:
        self._channel.executor.check_thread()

    def apply(self, values: dict[str, Any]) -> None:
        """Set writable names, all or none. TypeError names the closest one for an unknown name."""
        settings: dict[str, Any] = {}
        address, parsed = self._address, self._parsed
        server = self._channel.socket.is_server
        for name, value in values.items():
            if name == "address":
                address = value
                parsed = None if value is None else parse_address(value, server=server)
            elif name in _CHECKS:
                value = _CHECKS[name](name, value)
                usual = getattr(self._settings, name)
                if value is not usual and value != usual:
                    settings[name] = value
            elif name not in WRITABLE:
                raise _unknown(name)
        self._address, self._parsed = address, parsed
        if "user_context" in values:
            self.user_context = values["user_context"]
        if "keep_alive" in values:
            self._keep_alive = bool(values["keep_alive"]) or self._channel.socket.persistent
        if settings:
            self._settings = self._channel.executor.settings_like(self._settings, settings)
            self._channel.settings_changed()

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
        """The URL, such as ``tls://host:443``. A malformed one: AddressError."""
        if self._address is None:
            self._channel.name_peer()
        return self._address

    @address.setter
    def address(self, value: str | None) -> None:
        self._check_thread()
        self.apply({"address": value})

    @property
    def stream_context(self) -> StreamContext:
        """Socket and TLS settings; None or a mapping may be assigned."""
        return self._settings.stream_context

    @stream_context.setter
    def stream_context(self, value: Any) -> None:
        self._check_thread()
        self.apply({"stream_context": value})

    @property
    def keep_alive(self) -> bool:
        """Whether the connection idles when there is no next operation, instead of being closed."""
        return self._keep_alive

    @keep_alive.setter
    def keep_alive(self, value: bool) -> None:
        self._check_thread()
        self.apply({"keep_alive": value})

    @property
    def request_complete(self) -> bool:
        """True from DISCONNECTED (else FINALIZE) on."""
        return self._channel.complete

    @property
    def connection_start_time(self) -> float | None:
        """Unix timestamp at which connecting began."""
        return self._channel.timestamp(self._channel.opened_at)

    @property
    def connection_finish_time(self) -> float | None:
        """Unix timestamp of CONNECTED."""
        start, finish = self._channel.opened_at, self._channel.connected_at
        # What is connected at once began at the same moment, which is read after the turn's time.
        return self._channel.timestamp(finish if start is None or finish is None else max(start.when, finish))

    @property
    def last_io_start_time(self) -> float | None:
        """Unix timestamp at which the I/O clock started last."""
        return self._channel.timestamp(self._channel.io_start)

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


def _unknown(name: str) -> TypeError:
    near = difflib.get_close_matches(name, WRITABLE, 1, 0.4)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(WRITABLE))}"
    return TypeError(f"unknown metadata {name!r}{hint}")
