"""Addresses: parsing of `scheme://target`, and socket addresses as text."""

from __future__ import annotations

import _socket
import functools
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from .errors import AddressError

if TYPE_CHECKING:
    from .typing import SocketAddress

# What a system call takes or gives as an address: a tuple for IP, str or bytes for unix, None if unnamed.
SockAddr = Any

# sun_path holds 108 bytes on Linux and 104 elsewhere, one of them for the closing NUL (or the leading one of
# an abstract name).
UNIX_PATH_LIMIT = 107 if sys.platform == "linux" else 103
HOST_LIMIT = 253
LABEL_LIMIT = 63
# The canonical scheme of each, and the version of TLS that it pins.
_SCHEMES = {
    "tcp": ("tcp", None),
    "tls": ("tls", None),
    "ssl": ("tls", None),
    "tlsv1.2": ("tls", "TLSv1.2"),
    "tlsv1.3": ("tls", "TLSv1.3"),
    "udp": ("udp", None),
    "unix": ("unix", None),
    "udg": ("udg", None),
    "fd": ("fd", None),
}


def get_transports() -> list[str]:
    """Return the schemes for both clients and servers (without `fd`, which is for servers only)."""
    return [name for name in _SCHEMES if name != "fd"]


class Address:
    """A parsed address. Addresses with the same meaning are equal, however they are spelt.

    `scheme` is canonical: "tcp", "tls" and "udp" have a `host` (an A-label name or a numeric address, IPv6
    without brackets but with its zone) and a `port`; "unix" and "udg" a `path` (`@name` in the abstract
    namespace); "fd" has the descriptor's number as its `port`. Attributes that an address lacks are None.
    `tls_version` is None unless the scheme pins one. `text` is the address as it was written.

    `is_stream`: tcp, tls and unix; `is_datagram`: udp and udg (an `fd` address is neither: it depends on the
    descriptor). `is_tls`: the connection starts with a TLS handshake. `fixed` is `(family, sockaddr)` if that
    needs no name resolution, for a descriptor (0, None); None for names and zones.
    """

    __slots__ = (
        "fixed", "host", "is_datagram", "is_stream", "is_tls", "path", "port", "scheme", "text",
        "tls_version",
    )  # fmt: skip

    def __init__(
        self, scheme: str, host: str | None = None, port: int | None = None, path: str | None = None,
        tls_version: str | None = None, text: str = "",
    ) -> None:  # fmt: skip
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.tls_version = tls_version
        self.text = text
        self.is_stream = scheme in ("tcp", "tls", "unix")
        self.is_datagram = scheme in ("udp", "udg")
        self.is_tls = scheme == "tls"
        self.fixed: tuple[int, SockAddr] | None = None
        if scheme == "fd":
            self.fixed = 0, None
        elif path is not None:
            self.fixed = int(_socket.AF_UNIX), sockaddr_of(path)
        elif host is not None and port is not None and "%" not in host:
            self.fixed = numeric_address(host, port)

    def _meaning(self) -> tuple[object, ...]:
        return self.scheme, self.host, self.port, self.path, self.tls_version

    def __eq__(self, other: object) -> bool:
        return self._meaning() == other._meaning() if isinstance(other, Address) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._meaning())

    def __repr__(self) -> str:
        return f"Address({self.text!r})"

    @property
    def written_scheme(self) -> str:
        """The scheme as `text` has it, in lower case: "ssl" and "tlsv1.3" stay what they are."""
        return self.text.partition("://")[0].lower()

    def __str__(self) -> str:
        return self.text


def parse_address(text: str, *, server: bool = False) -> Address:
    """Take `text` apart; `server` admits port 0 and `fd://N`.

    Raises AddressError with the reason, and TypeError for anything but a str.
    """
    if not isinstance(text, str):
        raise TypeError(f"an address is a str such as 'tcp://host:80', not {type(text).__name__}")
    return _parse(str(text), True) if server else client_address(str(text))


def _parse(text: str, server: bool) -> Address:
    name, separator, target = text.partition("://")
    if not separator:
        if name.partition(":")[0].lower() in _SCHEMES:
            raise AddressError(f"address {text!r} has no '://' behind {name.partition(':')[0]!r}")
        raise AddressError(f"address {text!r} has no scheme: write one of {_known(server)} before '://'")
    scheme, tls_version = _SCHEMES.get(name.lower(), ("", None))
    if not scheme:
        raise AddressError(f"address {text!r} has the unknown scheme {name!r}; known are {_known(server)}")
    try:
        if scheme in ("unix", "udg"):
            return Address(scheme, path=_unix_path(target), text=text)
        if scheme == "fd":
            if not server:
                raise AddressError("fd:// is for servers only")
            return Address("fd", port=_number(target, "descriptor", 2**31 - 1), text=text)
        host, port = split_host_port(target)
        if port is None:
            raise AddressError("the port is missing: write host:port")
        if port == 0 and not server:
            raise AddressError("port 0 is for servers only")
        return Address(scheme, check_host(host), port, None, tls_version, text)
    except AddressError as error:
        raise AddressError(f"address {text!r}: {error}") from None


# What `parse_address` returns for a client: many requests go to few places.
client_address = functools.lru_cache(maxsize=1024)(functools.partial(_parse, server=False))


def _known(server: bool) -> str:
    return ", ".join([*get_transports(), "fd"] if server else get_transports())


def _number(text: str, what: str, limit: int) -> int:
    # str.isdigit() is true for digits int() takes in other scripts, and for some it does not.
    if not (text.isascii() and text.isdigit()):
        raise AddressError(f"the {what} must be a decimal number, not {text!r}")
    if len(text) > 10 or int(text) > limit:
        raise AddressError(f"the {what} {text[:20]} is out of range (0 to {limit})")
    return int(text)


def split_host_port(target: str) -> tuple[str, int | None]:
    """Split "host:port", "[ipv6]:port" or the same without a port (None); the host is not checked."""
    if target.startswith("["):
        host, closed, rest = target[1:].partition("]")
        if not closed:
            raise AddressError("the ']' after the IPv6 address is missing")
        if ":" not in host:
            raise AddressError(f"brackets are for IPv6 addresses, and {host!r} is none")
        if not rest:
            return host, None
        if not rest.startswith(":"):
            raise AddressError(f"only ':port' may follow the ']', not {rest!r}")
        return host, _number(rest[1:], "port", 65535)
    host, colon, port = target.rpartition(":")
    if not colon:
        return target, None
    if ":" in host:
        raise AddressError("an IPv6 address needs brackets: [address]:port")
    return host, _number(port, "port", 65535)


def bracketed(host: str) -> str:
    """Return `host` as it stands before a port: an IPv6 address in brackets, unless it has them."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def check_host(host: str) -> str:
    """Return `host` in its canonical form: a numeric address, or a lower-case name in A-labels (IDNA).

    Raises AddressError for what can be neither.
    """
    if not host:
        raise AddressError("the host is missing (a server on all interfaces is 0.0.0.0 or [::])")
    if ":" in host:
        return _ipv6(host)
    name = host
    if not host.isascii():
        # The codec is quadratic in its input, so the length comes first.
        if len(host) > HOST_LIMIT:
            raise AddressError(f"the host name is longer than {HOST_LIMIT} characters")
        try:
            name = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise AddressError(f"the host name {host!r} is not valid: {error}") from None
    labels = name.removesuffix(".")
    if len(labels) > HOST_LIMIT:
        raise AddressError(f"the host name is longer than {HOST_LIMIT} characters")
    for label in labels.split("."):
        if not label:
            raise AddressError(f"the host name {host!r} has an empty label")
        if len(label) > LABEL_LIMIT:
            raise AddressError(f"the host name has a label longer than {LABEL_LIMIT} characters: {label!r}")
        if not label.replace("-", "a").replace("_", "a").isalnum():
            raise AddressError(f"the host name {host!r} has a character no host name can have")
    parts = labels.split(".")
    if len(parts) == 4 and all(part.isdigit() for part in parts):
        try:
            _socket.inet_pton(_socket.AF_INET, labels)
        except OSError:
            raise AddressError(f"{host!r} is not an IPv4 address") from None
        return labels
    return name.lower()


def _ipv6(host: str) -> str:
    base, percent, zone = host.partition("%")
    try:
        packed = _socket.inet_pton(_socket.AF_INET6, base)
    except (OSError, ValueError):
        raise AddressError(f"{base!r} is not an IPv6 address") from None
    if percent and (not zone or not zone.isprintable() or not set(zone).isdisjoint(" /%[]")):
        raise AddressError(f"{host!r} has no valid zone after the '%'")
    return _socket.inet_ntop(_socket.AF_INET6, packed) + percent + zone


def _unix_path(path: str) -> str:
    if path in ("", "@"):
        raise AddressError("the socket's path (or @name in the abstract namespace) is missing")
    if "\0" in path:
        raise AddressError("a socket's path cannot contain a NUL")
    try:
        length = len(os.fsencode(path.removeprefix("@")))
    except UnicodeError:
        raise AddressError("the socket's path cannot be encoded for the file system") from None
    if length > UNIX_PATH_LIMIT:
        raise AddressError(f"the socket's path has {length} bytes, the system's limit is {UNIX_PATH_LIMIT}")
    return path


@functools.lru_cache(maxsize=1024)
def _ipv4(host: str) -> bool:
    try:
        _socket.inet_pton(_socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return True


def numeric_address(host: str, port: int) -> tuple[int, SockAddr] | None:
    """Return `(family, sockaddr)` of a numeric `host`, or None for a name. No look-up is made.

    An IPv6 zone becomes the scope number; a zone without such an interface is an OSError.
    """
    base, _, zone = host.partition("%")
    try:
        if ":" not in host:
            return (int(_socket.AF_INET), (host, port)) if _ipv4(host) else None
        _socket.inet_pton(_socket.AF_INET6, base)
    except (OSError, ValueError):
        return None
    scope = 0
    if zone:
        scope = int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone)
    return int(_socket.AF_INET6), (base, port, 0, scope)


def sockaddr_of(path: str) -> str | bytes:
    """Return what bind and connect take for a unix socket's `path` (`@name` for the abstract namespace)."""
    return b"\0" + os.fsencode(path[1:]) if path.startswith("@") else path


def public_address(family: int, sockaddr: SockAddr) -> SocketAddress:
    """Return `sockaddr` as users see it: an IP tuple as it is, a unix path or `@name`; None if unnamed."""
    if family != _socket.AF_UNIX:
        return sockaddr or None
    if not sockaddr:
        return None
    text = os.fsdecode(sockaddr)
    return "@" + text[1:] if text.startswith("\0") else text


def address_url(scheme: str, family: int, sockaddr: SockAddr) -> str:
    """Return `scheme://target` for a peer's `sockaddr`; the target of an unnamed unix peer is empty."""
    if family == _socket.AF_UNIX:
        return f"{scheme}://{public_address(family, sockaddr) or ''}"
    host, port = sockaddr[0], sockaddr[1]
    if len(sockaddr) > 3 and sockaddr[3] and "%" not in host:
        try:
            host = f"{host}%{socket.if_indextoname(sockaddr[3])}"
        except OSError:  # the interface went away
            host = f"{host}%{sockaddr[3]}"
    return f"{scheme}://{bracketed(host)}:{port}"


def address_of(transport: Any, side: str) -> SocketAddress:
    """The result of `socket.getpeername` or `getsockname`; None without a socket or an answer."""
    try:
        return public_address(transport.sock.family, getattr(transport.sock, side)())
    except (OSError, AttributeError):
        return None
