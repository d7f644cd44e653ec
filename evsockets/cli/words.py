"""The words of `fetch`: each is an address, a URL, or a block of hosts with a list of ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..address import bracketed, get_transports, parse_address
from .habits import instead

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

#: What the schemes of URLs mean.
_WEB = {"http": ("tcp", 80), "https": ("tls", 443)}
#: Schemes of which one word may name many.
_MANY = frozenset(get_transports()) - {"unix", "udg"}
_TARGET = re.compile(r"(\[[^\]/]*(?:/[0-9]{1,3})?\]|[^:/\[\]]*)(?:/([0-9]{1,3}))?:([0-9,-]+)")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_BLOCK = re.compile(r"[^/?#]*/[0-9]{1,3}(?:\]|:[0-9,-]+(?:[/?#]|$))")
_HOST_RANGE = re.compile(r"[0-9]+(?:-[0-9]+)?(?:\.[0-9]+(?:-[0-9]+)?){3}")


@dataclass(slots=True)
class Word:
    """One parsed word. `url` is the URL if the word was one, `path` the path to request."""

    scheme: str
    hosts: str | IPv4Network | IPv6Network
    ports: tuple[range, ...]
    url: str | None = None
    path: str | None = None

    @property
    def count(self) -> int:
        """The number of addresses it stands for."""
        hosts = 1 if isinstance(self.hosts, str) else self.hosts.num_addresses
        return hosts * (sum(map(len, self.ports)) if self.ports else 1)

    def url_for(self, address: str) -> str:
        """The URL of one of its addresses."""
        scheme = (self.url or "").partition("://")[0]
        return f"{scheme}://{address.partition('://')[2]}{self.path or '/'}"

    def addresses(self) -> Iterator[str]:
        """Each of them, the ports of one host after another."""
        if not self.ports:
            yield f"{self.scheme}://{self.hosts}"
            return
        for host in [self.hosts] if isinstance(self.hosts, str) else self.hosts:
            place = bracketed(str(host))
            for ports in self.ports:
                for port in ports:
                    yield f"{self.scheme}://{place}:{port}"


def parse_word(text: str, most: int) -> Word:
    """Parse a word. ValueError (AddressError for an address), with the remedy, for a wrong one, and for one
    that stands for more than `most` addresses."""
    if not text.lower().startswith(("unix:", "udg:")):  # whose paths are in the locale's encoding
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    scheme, separator, target = text.partition("://")
    if not separator and text.partition(":")[0].lower() in {*_WEB, *get_transports()}:
        raise ValueError(f"{text!r} has no '://' behind {text.partition(':')[0]!r}")
    if not separator:
        if (advice := instead(text)) is not None:  # -4, which reads like a number
            raise ValueError(advice)
        raise ValueError(
            f"{text!r} has no scheme: write a URL (https://host/path) or an address (tcp://host:port, tls://...)"
        )
    if scheme.lower() not in {*_WEB, *get_transports(), "fd"}:
        known = ", ".join([*_WEB, *get_transports()])
        raise ValueError(f"{text!r} has the unknown scheme {scheme!r}; known are {known}")
    if "://" in target and scheme.lower() in _MANY:
        raise ValueError(f"{text!r} is more than one address: give each as a word, or a line, of its own")
    web = _WEB.get(scheme.lower())
    word = _many(text, scheme, target) if separator and web is None else None
    if web is not None:
        word = _url(text, *web, target)
    elif word is None:
        parse_address(text)
        word = Word(scheme, target, ())
    if word.count > most:
        raise ValueError(
            f"{text!r} stands for {word.count:,} addresses: give fewer, or --max-targets {word.count}"
        )
    parse_address(next(word.addresses()))
    return word


def _many(text: str, scheme: str, target: str) -> Word | None:
    """A block of hosts or a list of ports; None for a single address."""
    match = _TARGET.fullmatch(target) if scheme.lower() in _MANY else None
    if match is None:
        place, slash, path = target.partition("/")
        if slash and scheme.lower() in _MANY and re.search(":[0-9]+$", place):
            raise ValueError(
                f"{text!r} has no place for a path: write {scheme}://{place} --http /{path}, or a URL"
            )
        return None
    host, prefix, ports = match.groups()
    if "/" in host:
        host, _, prefix = host[1:-1].partition("/")
    elif host.startswith("["):
        host = host[1:-1]
    if "-" in host and _HOST_RANGE.fullmatch(host):
        raise ValueError(
            f"{text!r}: a range of hosts is a block such as 10.0.0.0/28, or a line each in --from"
        )
    if prefix is None and ports.isdigit():
        return None
    spans = tuple(_span(text, span) for span in ports.split(","))
    if prefix is not None:
        return Word(scheme, _block(text, host, prefix), spans)
    return Word(scheme, bracketed(host), spans)


def _block(text: str, host: str, prefix: str) -> IPv4Network | IPv6Network:
    import ipaddress  # 5 ms, for those who need it

    try:
        return ipaddress.ip_network(f"{host}/{prefix}", strict=False)
    except ValueError as error:
        raise ValueError(f"{text!r}: {host}/{prefix} is no block; write one such as 10.0.0.0/24") from error


def _span(text: str, span: str) -> range:
    """The ports of "80" or "8000-8010"."""
    match = _PORTS.fullmatch(span)
    first = int(match[1]) if match else 0
    last = int(match[2] or match[1]) if match else 0
    if not 0 < first <= last < 65536:
        raise ValueError(
            f"{text!r}: {span!r} is no port and no range of ports; write 80 or 8000-8010, from 1 to 65535"
        )
    return range(first, last + 1)


def _url(text: str, scheme: str, port: int, target: str) -> Word:
    """A URL: RFC 3986, of which the fragment is not sent (RFC 9110, 4.2.5)."""
    place, path = re.fullmatch(r"([^/?#]*)([^#]*).*", target, re.DOTALL).groups()  # type: ignore[union-attr]
    if "@" in place:
        raise ValueError(f"{text!r} names a user: write --header 'Authorization: Basic ...' instead")
    if not place:
        raise ValueError(f"{text!r} names no host: write {text.partition(':')[0]}://host/path")
    if _BLOCK.match(target):
        raise ValueError(
            f"{text!r}: a URL names one host; write a block as tcp://10.0.0.0/24:80 (or tls://) --http /path"
        )
    bare = ":" not in place.rpartition("]")[2]
    place = f"{place}:{port}" if bare else f"{place}{port}" if place.endswith(":") else place
    word = _many(text, scheme, place) or Word(scheme, place, ())
    word.url = text
    if path:
        word.path = path_of(path)
    return word


def path_of(text: str) -> str:
    """Return the target of a request for a path, with a leading slash. ValueError for an invalid path."""
    path = text if text.startswith("/") else f"/{text}"
    if not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"{text!r} is no path; write blanks and the like percent-encoded")
    return path
