"""The settings for proxies: that of a client, and those whose PROXY header a server trusts."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from .address import bracketed, check_host, split_host_port
from .errors import AddressError

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

_SCHEMES = {"socks5": "socks5", "socks5h": "socks5", "http": "http"}
# What each part of a SOCKS5 login may have, in bytes (RFC 1929 2).
_LONGEST = 255


class Proxy(NamedTuple):
    """A client's proxy: `scheme` is "socks5" or "http". `shown` names it without its login."""

    scheme: str
    host: str
    port: int
    login: tuple[bytes, bytes] | None
    shown: str


@functools.lru_cache(maxsize=256)
def parse_proxy(text: str) -> Proxy:
    """Parse the URL of a proxy: `socks5://user:password@host:port` or `http://...`, with or without a login.

    Raises ValueError saying what is wrong, without showing a login; ImportError without the library for
    SOCKS.
    """
    name, separator, target = text.partition("://")
    scheme = _SCHEMES.get(name.lower())
    if not separator or scheme is None:
        shown = repr(name) if separator else "no scheme"
        raise ValueError(f"proxy has {shown}: write socks5://host:port or http://host:port")
    login, at, place = target.removesuffix("/").rpartition("@")
    try:
        host, port = split_host_port(place)
        host = check_host(host)
    except AddressError as error:
        raise ValueError(f"proxy: {error}") from None
    if not port:
        raise ValueError("proxy: the port is missing or 0: write host:port")
    if scheme == "socks5":
        _check_socksio()
    shown = f"{name.lower()}://{bracketed(host)}:{port}"
    return Proxy(scheme, host, port, _login(scheme, login) if at else None, shown)


def _check_socksio() -> None:
    from importlib.util import find_spec

    if find_spec("socksio") is None:
        raise ImportError('a SOCKS proxy needs socksio: pip install "evsockets[proxy]"', name="socksio")


def _login(scheme: str, text: str) -> tuple[bytes, bytes]:
    from urllib.parse import unquote_to_bytes

    user, _, password = text.partition(":")
    login = unquote_to_bytes(user), unquote_to_bytes(password)
    if scheme == "http" and b":" in login[0]:
        raise ValueError("proxy: a user's name cannot have a ':' in it (RFC 7617 2)")
    if scheme == "socks5" and not all(0 < len(part) <= _LONGEST for part in login):
        raise ValueError(f"proxy: user and password must have 1 to {_LONGEST} bytes each (RFC 1929 2)")
    return login


def check_proxy(value: object) -> None:
    """Raises TypeError for anything but a str and None; else as parse_proxy."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"proxy must be a URL such as 'socks5://host:port', not {type(value).__name__}")
    parse_proxy(value)


def check_trusted(value: object) -> bool | tuple[str, ...]:
    """Return the peers whose PROXY header a server trusts: all (True), none (False), or networks.

    Raises TypeError for any other value, ValueError with the malformed network.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"proxy_protocol must be True, False or a sequence of networks, not {value!r}")
    names = tuple(value)
    if not names:
        raise ValueError("proxy_protocol names no network: nobody could connect; False is without")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"proxy_protocol: a network is a str such as '10.0.0.0/8', not {name!r}")
    _networks(names)
    return names


@functools.lru_cache(maxsize=256)
def _networks(names: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    from ipaddress import ip_network

    found = []
    for name in names:
        try:
            found.append(ip_network(name))
        except ValueError as error:
            raise ValueError(f"proxy_protocol: {error}; write such as '10.0.0.0/8' or '::1'") from None
    return found


def is_trusted(trusted: bool | tuple[str, ...], remote: Any) -> bool:
    """Return whether a PROXY header of the peer `remote`, an address as `socket` gives it, is believed."""
    if isinstance(trusted, bool):
        return trusted
    if not isinstance(remote, tuple):  # a unix socket's
        return False
    from ipaddress import ip_address

    address = ip_address(remote[0].partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _networks(trusted))
