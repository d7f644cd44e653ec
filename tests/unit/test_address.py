"""Addresses: what they mean, what is wrong with them, and the way back to text."""

from __future__ import annotations

import os
import socket
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.address import (
    UNIX_PATH_LIMIT,
    address_url,
    get_transports,
    numeric_address,
    parse_address,
    public_address,
    sockaddr_of,
)
from evsockets.errors import AddressError, EvSocketsError


def test_transports() -> None:
    assert get_transports() == ["tcp", "tls", "ssl", "tlsv1.2", "tlsv1.3", "udp", "unix", "udg"]


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port"),
    [
        ("tcp://127.0.0.1:80", "tcp", "127.0.0.1", 80),
        ("tcp://example.org:65535", "tcp", "example.org", 65535),
        ("TCP://Example.ORG:1", "tcp", "example.org", 1),
        ("tls://example.org.:443", "tls", "example.org.", 443),
        ("ssl://[::1]:443", "tls", "::1", 443),
        ("tlsv1.3://[fe80::1%eth0]:443", "tls", "fe80::1%eth0", 443),
        ("udp://[2001:DB8:0::1]:53", "udp", "2001:db8::1", 53),
        ("tcp://my_host:8", "tcp", "my_host", 8),
        ("tcp://bücher.example:80", "tcp", "xn--bcher-kva.example", 80),
    ],
)
def test_internet_addresses(text: str, scheme: str, host: str, port: int) -> None:
    address = parse_address(text)
    assert (address.scheme, address.host, address.port, address.path) == (scheme, host, port, None)
    assert address.text == text == str(address)
    assert address.is_tls == (scheme == "tls")
    assert address.is_stream == (scheme != "udp")
    assert address.is_datagram == (scheme == "udp")


@pytest.mark.parametrize(
    ("text", "version"),
    [("tls://h:1", None), ("ssl://h:1", None), ("tlsv1.2://h:1", "TLSv1.2"), ("tlsv1.3://h:1", "TLSv1.3")],
)
def test_versioned_schemes_pin_it(text: str, version: str | None) -> None:
    assert parse_address(text).tls_version == version


@pytest.mark.parametrize("path", ["/run/x.sock", "x.sock", "../a b", "@name", "/ü", "/with@sign:1", "@a/b"])
@pytest.mark.parametrize("scheme", ["unix", "udg"])
def test_unix_addresses(scheme: str, path: str) -> None:
    address = parse_address(f"{scheme}://{path}")
    assert (address.scheme, address.path, address.host, address.port) == (scheme, path, None, None)
    assert address.is_stream == (scheme == "unix")


def test_equal_means_the_same() -> None:
    assert parse_address("ssl://Host:1") == parse_address("tls://host:1")
    assert hash(parse_address("ssl://Host:1")) == hash(parse_address("tls://host:1"))
    assert parse_address("tls://host:1") != parse_address("tlsv1.2://host:1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no scheme"),
        ("example.org:80", "no scheme"),
        ("tcp:/example.org:80", "no '://' behind 'tcp'"),
        ("TLS:example.org:80", "no '://' behind 'TLS'"),
        ("http://example.org:80", "unknown scheme 'http'; known are tcp, tls, ssl"),
        ("tlsv1.1://example.org:80", "unknown scheme"),
        ("://example.org:80", "unknown scheme ''"),
        ("tcp://", "port is missing"),
        ("tcp://example.org", "port is missing"),
        ("tcp://[::1]", "port is missing"),
        ("tcp://example.org:", "port must be a decimal number"),
        ("tcp://example.org:http", "port must be a decimal number, not 'http'"),
        ("tcp://example.org:-1", "port must be"),
        ("tcp://example.org:+1", "port must be"),
        ("tcp://example.org: 1", "port must be"),
        ("tcp://example.org:1_0", "port must be"),
        ("tcp://example.org:²", "port must be"),
        ("tcp://example.org:65536", "65536 is out of range (0 to 65535)"),
        ("tcp://example.org:" + "9" * 5000, "out of range"),
        ("tcp://example.org:80/path", "port must be"),
        ("tcp://example.org:0", "port 0 is for servers"),
        ("tcp://:80", "host is missing"),
        ("tcp://::1:80", "needs brackets"),
        ("tcp://[::1:80", "']'"),
        ("tcp://[::1]80", "may follow"),
        ("tcp://[]:80", "brackets"),
        ("tcp://[127.0.0.1]:80", "brackets are for IPv6"),
        ("tcp://[::g]:80", "not an IPv6 address"),
        ("tcp://[fe80::1%]:80", "zone"),
        ("tcp://[fe80::1%a b]:80", "zone"),
        ("tcp://999.1.1.1:80", "not an IPv4 address"),
        ("tcp://a..b:80", "empty label"),
        ("tcp://.:80", "empty label"),
        ("tcp://" + "a" * 64 + ":80", "longer than 63"),
        ("tcp://" + "a." * 127 + "a:80", "longer than 253"),
        ("tcp://" + "ü" * 300 + ":80", "longer than 253"),
        ("tcp://" + "ü" * 63 + ":80", "not valid"),
        ("tcp://user@host:80", "no host name can have"),
        ("tcp://a b:80", "no host name can have"),
        ("tcp://a\n:80", "no host name can have"),
        ("tcp://a\0b:80", "no host name can have"),
        ("unix://", "missing"),
        ("unix://@", "missing"),
        ("unix:///a\0b", "NUL"),
        ("unix:///" + "a" * 107, "has 108 bytes, the system's limit is 107"),
        ("udg://@" + "a" * 108, "has 108 bytes, the system's limit is 107"),
        ("unix:///" + "ü" * 54, "limit is 107"),
        ("unix:///\ud800", "encoded"),
        ("fd://3", "servers only"),
    ],
)
def test_malformed(text: str, words: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, EvSocketsError)


@pytest.mark.parametrize("text", ["unix:///" + "a" * 106, "unix://@" + "a" * 107])
def test_longest_unix_paths_can_be_bound(text: str) -> None:
    path = parse_address(text).path
    assert path is not None
    assert len(path.removeprefix("@")) == UNIX_PATH_LIMIT
    if path.startswith("@"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(sockaddr_of(path))
            assert public_address(socket.AF_UNIX, sock.getsockname()) == path


@pytest.mark.parametrize("value", [None, 80, b"tcp://h:1", ("h", 1)])
def test_only_text(value: object) -> None:
    with pytest.raises(TypeError, match="an address is a str"):
        parse_address(value)  # type: ignore[arg-type]


def test_servers_take_more() -> None:
    assert parse_address("tcp://127.0.0.1:0", server=True).port == 0
    assert parse_address("fd://3", server=True).port == 3
    with pytest.raises(AddressError, match="descriptor must be"):
        parse_address("fd://x", server=True)
    with pytest.raises(AddressError, match=r"unknown scheme 'x'; known are .*, udg, fd"):
        parse_address("x://", server=True)


names = st.lists(
    st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=20), min_size=1, max_size=5
).map(lambda labels: ".".join([*labels, "x"]))


@given(st.sampled_from(["tcp", "tls", "udp"]), names, st.integers(1, 65535))
def test_names_survive(scheme: str, host: str, port: int) -> None:
    address = parse_address(f"{scheme}://{host}:{port}")
    assert (address.scheme, address.host, address.port) == (scheme, host, port)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_numeric_addresses_survive(ip: object, port: int) -> None:
    host = str(ip)
    address = parse_address(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}")
    assert address.host is not None
    found = numeric_address(address.host, port)
    assert found is not None
    family, sockaddr = found
    url = address_url("tcp", family, sockaddr)
    assert parse_address(url) == address


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    for candidate in (text, "tcp://" + text, "unix://" + text, "tcp://[" + text, "fd://" + text):
        try:
            address = parse_address(candidate, server=True)
        except AddressError:
            continue
        assert address.scheme
        assert parse_address(candidate, server=True) == address


@pytest.mark.parametrize("host", ["localhost", "1.2.3", "0x7f.1", "::g", "1.2.3.4.5", "a:b", ""])
def test_names_are_not_numeric(host: str) -> None:
    assert numeric_address(host, 1) is None


def test_numeric_zones() -> None:
    index, name = socket.if_nameindex()[0]
    for zone in (name, str(index)):
        assert numeric_address(f"fe80::1%{zone}", 5) == (socket.AF_INET6, ("fe80::1", 5, 0, index))
    assert numeric_address("::1", 5) == (socket.AF_INET6, ("::1", 5, 0, 0))
    assert address_url("tcp", socket.AF_INET6, ("fe80::1", 5, 0, index)) == f"tcp://[fe80::1%{name}]:5"
    with pytest.raises(OSError, match="no interface|No such device"):
        numeric_address("fe80::1%nosuchif", 5)


def test_public_addresses() -> None:
    assert public_address(socket.AF_INET, ("127.0.0.1", 1)) == ("127.0.0.1", 1)
    assert public_address(socket.AF_INET6, ("::1", 1, 0, 0)) == ("::1", 1, 0, 0)
    assert public_address(socket.AF_UNIX, "/x") == "/x"
    assert public_address(socket.AF_UNIX, b"\0x") == "@x"
    assert public_address(socket.AF_UNIX, b"/x\xff") == os.fsdecode(b"/x\xff")
    for unnamed in ("", b"", None):
        assert public_address(socket.AF_UNIX, unnamed) is None
    assert address_url("unix", socket.AF_UNIX, b"\0x") == "unix://@x"
    assert address_url("unix", socket.AF_UNIX, "") == "unix://"
    assert address_url("tls", socket.AF_INET, ("127.0.0.1", 1)) == "tls://127.0.0.1:1"


def test_sockaddr_of() -> None:
    assert sockaddr_of("/x") == "/x"
    assert sockaddr_of("@x") == b"\0x"
