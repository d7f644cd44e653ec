"""Settings: time-outs and engines of an executor (Configuration), socket and TLS settings (StreamContext)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from .immutable import Immutable
from .proxies import check_proxy, check_trusted
from .validation import (
    check_certificates,
    check_ciphers,
    check_duration,
    check_flag,
    check_group,
    check_int,
    check_keepalive,
    check_names,
    check_options,
    check_server_hostname,
    check_speed,
    check_timeout,
    parse_bind,
)

if TYPE_CHECKING:
    import ssl
    from typing import Unpack

    from .typing import ConfigurationKeywords, Path, StreamKeywords

WAIT_FOREVER = None

_TLS_FIELDS = ("alpn_protocols", "verify", "ca_file", "ca_data", "certificate", "private_key", "ciphers")


_FLAGS = (
    "reuse_port", "connect_datagrams", "broadcast", "no_delay", "require_close_notify", "unlink_socket",
)  # fmt: skip


_SYNONYMS = {
    "alpn": "alpn_protocols", "ca": "ca_file", "cert": "certificate", "key": "private_key",
    "sni": "server_hostname",
}  # fmt: skip


class StreamContext(
    Immutable, what="stream context setting", hidden=frozenset({"proxy"}), synonyms=_SYNONYMS
):
    """Socket and TLS settings. Immutable and hashable; every name is a keyword of the constructor.

    Sockets: `bind_to` is a client's local address: `(host, port)`, `"host:port"`, `"[ipv6]:port"`, `"host"`
    (any port) with a numeric host, "localhost" or "", or a unix path (`@name`: abstract). `backlog` is a
    listener's accept queue. `reuse_address` (SO_REUSEADDR): None is on for stream servers and multicast, else
    off. `reuse_port` lets several processes listen on one port. `tcp_keepalive`: True, the idle seconds
    before the first probe, or `(idle seconds, seconds between probes, probes)`. `ipv6_only`: None is the
    system's default. Buffer sizes are in bytes, None is the system's default. `options` are socket options of
    your own, `(level, name, value)` each with an int or bytes as for `setsockopt`, set after all others and
    before bind, connect or listen.

    Datagrams: with `connect_datagrams=False` a client sends to its address and accepts answers from any (the
    frame's `remote_address`). `broadcast`, `multicast_groups` to join (numeric addresses),
    `multicast_interface` (name, index or, for IPv4, address), `multicast_ttl` in hops, `multicast_loop`.

    TLS: `tls` is an `ssl.SSLContext`, or a function that makes one, which is called once in each process, on
    first use, and can be pickled for other processes. It excludes `alpn_protocols`, `verify`, `ca_file`,
    `ca_data`, `certificate`, `private_key` and `ciphers`. `verify`: None is True for clients and False for
    servers; for servers it may be "optional". `ca_file` (a PEM file, or a directory of hashed ones) and
    `ca_data` (PEM certificates themselves, str or bytes) replace the system's authorities. `certificate` and
    `private_key` are PEM files; the key may be in the certificate's file. `server_hostname` is the name sent
    and verified, None is the address's host; a certificate must have it among its alternative names (RFC
    9525: the common name does not count, unless a `tls` of your own allows it). `ciphers` is an OpenSSL
    cipher list for TLS 1.2; None is Mozilla's intermediate recommendation. The ciphers of TLS 1.3 are not
    configurable. With `require_close_notify=False` a connection that closes without TLS's close_notify
    counts as complete.

    `unlink_socket=False` leaves a unix server's socket file in place when it closes.

    Proxies: `proxy` is the proxy of tcp and tls clients, `socks5://user:password@host:port` or
    `http://user:password@host:port` (both parts of the login percent-encoded, or none). It resolves the names
    of peers; TLS is end to end. With `proxy_protocol=True` each connection to a stream server begins with a
    PROXY header (version 1 or 2), which has the client's address: only the load balancer may be able to reach
    the port. Networks (`["10.0.0.0/8", "::1"]`) limit the trusted load balancers: others are refused.

    Raises TypeError or ValueError naming the setting, ImportError for a SOCKS proxy without socksio
    (`pip install "evsockets[proxy]"`).
    """

    bind_to: tuple[str, int] | str | None = None
    backlog: int = 1024
    reuse_address: bool | None = None
    reuse_port: bool = False
    options: tuple[tuple[int, int, int | bytes], ...] = ()
    connect_datagrams: bool = True
    broadcast: bool = False
    multicast_groups: tuple[str, ...] = ()
    multicast_interface: str | int | None = None
    multicast_ttl: int | None = None
    multicast_loop: bool | None = None
    no_delay: bool = True
    tcp_keepalive: bool | float | tuple[float, float, int] = False
    ipv6_only: bool | None = None
    receive_buffer_size: int | None = None
    send_buffer_size: int | None = None
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None
    server_hostname: str | None = None
    alpn_protocols: tuple[str, ...] = ()
    verify: bool | Literal["optional"] | None = None
    ca_file: Path | None = None
    ca_data: str | bytes | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    ciphers: str | None = None
    require_close_notify: bool = True
    unlink_socket: bool = True
    proxy: str | None = None  # not shown: it may hold a password
    proxy_protocol: bool | tuple[str, ...] = False
    _usual: bool

    def __init__(self, **settings: Unpack[StreamKeywords]) -> None:
        super().__init__(**settings)
        kept = self.__dict__
        kept["options"] = check_options(self.options)
        for name in _FLAGS:
            check_flag(name, getattr(self, name))
        for name in ("reuse_address", "multicast_loop", "ipv6_only"):
            if getattr(self, name) is not None:
                check_flag(name, getattr(self, name))
        check_int("backlog", self.backlog, 0, 2**31 - 1)
        for name in ("receive_buffer_size", "send_buffer_size"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1, 2**30)
        if self.multicast_ttl is not None:
            check_int("multicast_ttl", self.multicast_ttl, 0, 255)
        bind_to: Any = self.bind_to
        if isinstance(bind_to, list):
            kept["bind_to"] = bind_to = tuple(bind_to)
        if bind_to is not None:
            parse_bind(bind_to)
        kept["multicast_groups"] = check_names("multicast_groups", self.multicast_groups)
        for group in self.multicast_groups:
            check_group(group)
        if isinstance(self.multicast_interface, bool) or not isinstance(
            self.multicast_interface, (str, int, type(None))
        ):
            raise TypeError("multicast_interface must be a name, an index or an IPv4 address")
        check_keepalive(self.tcp_keepalive)
        check_proxy(self.proxy)
        kept["proxy_protocol"] = check_trusted(self.proxy_protocol)
        self._check_tls(kept)
        # Whether a stream client's socket wants nothing but no_delay.
        unusual = (self.bind_to, self.reuse_address, self.ipv6_only, self.receive_buffer_size)
        kept["_usual"] = all(value is None for value in (*unusual, self.send_buffer_size)) and not (
            self.reuse_port or self.tcp_keepalive or self.options
        )

    def _check_tls(self, kept: dict[str, Any]) -> None:
        kept["alpn_protocols"] = check_names("alpn_protocols", self.alpn_protocols)
        for protocol in self.alpn_protocols:
            if not protocol.isascii() or not 0 < len(protocol) < 256:
                raise ValueError(f"alpn_protocols: {protocol!r} must have 1 to 255 ASCII characters")
        if self.ca_data is not None:
            kept["ca_data"] = check_certificates("ca_data", self.ca_data)
        for name in ("ca_file", "certificate", "private_key"):
            value = getattr(self, name)
            if value is not None:
                if not isinstance(value, (str, os.PathLike)):
                    raise TypeError(f"{name} must be a path (str or PathLike), not {type(value).__name__}")
                kept[name] = os.fspath(value)
        check_server_hostname(self.server_hostname)
        check_ciphers(self.ciphers)
        if self.verify not in (None, True, False, "optional") or isinstance(self.verify, (int, float)) != (
            isinstance(self.verify, bool)
        ):
            raise ValueError(f"verify must be True, False, 'optional' or None, not {self.verify!r}")
        if self.private_key is not None and self.certificate is None:
            raise ValueError("private_key needs the certificate it belongs to: set certificate too")
        if self.tls is not None:
            # After a monkey patch there are two SSLContext classes; both have what is used here.
            if not hasattr(self.tls, "wrap_bio") and not callable(self.tls):
                kind = type(self.tls).__name__
                raise TypeError(f"tls must be an ssl.SSLContext or a function that makes one, not {kind}")
            for name in _TLS_FIELDS:
                if getattr(self, name) not in (None, ()):
                    raise ValueError(f"tls= and {name}= exclude each other: set {name} in the SSLContext")


_DEFAULT = StreamContext()


def stream_context_of(value: StreamContext | StreamKeywords | None) -> StreamContext:
    """Return `value` as a StreamContext: itself, a mapping of its names, or None for the defaults.

    Raises TypeError for anything else, naming the nearest name to an unknown one.
    """
    if isinstance(value, StreamContext):
        return value
    if value is None:
        return _DEFAULT
    if not isinstance(value, Mapping):
        raise TypeError(f"a stream context is a StreamContext or a mapping, not {type(value).__name__}")
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"a stream context's names are str, not {name!r}")
    return StreamContext(**value)


def tls_settings_of(context: StreamContext) -> tuple[Any, ...]:
    """Everything in `context` that TLS depends on, hashable: equal tuples may share a connection."""
    settings = [getattr(context, name) for name in _TLS_FIELDS]
    return (context.tls, context.server_hostname, context.require_close_notify, *settings)


class Configuration(Immutable, what="setting of a configuration"):
    """An executor's defaults. Immutable; times in seconds (None: no limit), speeds in bytes/s.

    `preferred_engines` are tried in order if no engine is named. `stream_context` (a StreamContext, a mapping
    of its names, or None for the defaults) and the other values are the defaults of each socket.
    `isolate_handler_errors` makes an exception in a handler an EXCEPTION event of that socket, instead of the
    end of the run. `resolver_threads` (at least 1) is the number of names resolved at a time.

    Raises TypeError or ValueError naming the option.
    """

    connection_timeout: float | None = 60.0
    io_timeout: float | None = 60.0
    idle_timeout: float | None = None
    request_timeout: float | None = None
    preferred_engines: tuple[str, ...] = ("libev", "selectors")
    stream_context: StreamContext | None = None
    min_receive_speed: float | None = None
    min_receive_speed_duration: float | None = None
    min_send_speed: float | None = None
    min_send_speed_duration: float | None = None
    isolate_handler_errors: bool = False
    resolver_threads: int = 64

    def __init__(self, **settings: Unpack[ConfigurationKeywords]) -> None:
        super().__init__(**settings)
        kept = self.__dict__
        for name in ("connection_timeout", "io_timeout", "idle_timeout", "request_timeout"):
            kept[name] = check_timeout(name, getattr(self, name))
        for name in ("min_receive_speed", "min_send_speed"):
            kept[name] = check_speed(name, getattr(self, name))
            name += "_duration"
            kept[name] = check_duration(name, getattr(self, name))
        kept["preferred_engines"] = check_names("preferred_engines", self.preferred_engines)
        if self.stream_context is not None:
            kept["stream_context"] = stream_context_of(self.stream_context)
        check_flag("isolate_handler_errors", self.isolate_handler_errors)
        check_int("resolver_threads", self.resolver_threads, 1, 2**31 - 1)
